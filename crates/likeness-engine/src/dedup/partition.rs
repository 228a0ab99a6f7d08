//! Clusters of a whole collection at once: stars that do not depend on the order of arrival.
//!
//! A greedy cover by stars. Images are taken by how much they have in common with others (the sum of their
//! scores), equals by digest and then by id: an image that no earlier head is near becomes a head. Then each
//! other image joins the head that it scores highest with. So a picture in the middle of its copies is
//! preferred as head to one at the edge, and no chain can grow: members are near their head, not each other.
//!
//! Images that must always be together are one unit: what is near one of them is near the unit, and the one
//! with the most in common with others stands for it, and what all of them have in common counts. So clusters that were merged by hand stay one. Units
//! that must never be together are not put into one cluster, whoever is near.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use likeness_core::{ImageId, Sha256};

/// An image to put into a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// Digest of its bytes.
    pub digest: Sha256,
    /// Its id; no two images have the same.
    pub id: ImageId,
}

/// Two images whose score is at or above the threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    /// Place of one of them among the nodes.
    pub a: usize,
    /// Place of the other.
    pub b: usize,
    /// Their score, 0 to 1. Of several for one pair the highest counts.
    pub score: f32,
}

/// What people asked for, by places among the nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bonds {
    /// Pairs that must be in different clusters.
    pub never: Vec<(usize, usize)>,
    /// Pairs that must be in one cluster.
    pub always: Vec<(usize, usize)>,
}

/// Two images must never be together, and are tied together by pairs that always must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "images {a} and {b} must never be together, and are tied together by others that always must"
)]
pub struct Contradiction {
    /// Place of one of them among the nodes.
    pub a: usize,
    /// Place of the other.
    pub b: usize,
}

/// Returns for each node the place of its head; a head's is its own.
///
/// Every member has an edge with its head, where images that must always be together count as one. The result
/// depends on the nodes, edges and bonds as sets, not on their order.
///
/// # Errors
/// [`Contradiction`] if bonds cannot all be kept.
///
/// # Panics
/// If an edge or a bond names a place that no node has.
pub fn partition(
    nodes: &[Node],
    edges: &[Edge],
    bonds: &Bonds,
) -> Result<Vec<usize>, Contradiction> {
    let mut scores: BTreeMap<(usize, usize), f32> = BTreeMap::new();
    for edge in edges.iter().filter(|edge| edge.a != edge.b) {
        let pair = (edge.a.min(edge.b), edge.a.max(edge.b));
        let score = scores.entry(pair).or_insert(edge.score);
        *score = score.max(edge.score);
    }
    let units = Units::new(nodes, &scores, &bonds.always);
    let mut apart = vec![BTreeSet::new(); units.leaders.len()];
    for &(a, b) in &bonds.never {
        let (first, second) = (units.of[a], units.of[b]);
        if first == second {
            return Err(Contradiction { a, b });
        }
        apart[first].insert(second);
        apart[second].insert(first);
    }
    let links = units.links(&scores);
    let assigned = cover(&links, &apart);
    Ok(units
        .of
        .iter()
        .map(|&unit| units.leaders[assigned[unit]])
        .collect())
}

/// Images that are placed together, in the order in which they are placed.
struct Units {
    /// Unit by node.
    of: Vec<usize>,
    /// The node that stands for a unit.
    leaders: Vec<usize>,
}

impl Units {
    fn new(
        nodes: &[Node],
        scores: &BTreeMap<(usize, usize), f32>,
        always: &[(usize, usize)],
    ) -> Self {
        // Sums of whole numbers do not depend on their order.
        let mut weights = vec![0u64; nodes.len()];
        for (&(a, b), &score) in scores {
            let weight = (f64::from(score.clamp(0.0, 1.0)) * f64::from(u32::MAX)) as u64;
            weights[a] += weight;
            weights[b] += weight;
        }
        let mut roots: Vec<usize> = (0..nodes.len()).collect();
        for &(a, b) in always {
            let (a, b) = (root(&mut roots, a), root(&mut roots, b));
            roots[a.max(b)] = a.min(b);
        }
        let unit_of: Vec<usize> = (0..nodes.len())
            .map(|node| root(&mut roots, node))
            .collect();
        let mut totals = vec![0u64; nodes.len()];
        for (node, &unit) in unit_of.iter().enumerate() {
            totals[unit] += weights[node];
        }
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        order.sort_unstable_by_key(|&node| {
            let total = totals[unit_of[node]];
            (Reverse(total), Reverse(weights[node]), &nodes[node])
        });
        let mut by_root = BTreeMap::new();
        let (mut of, mut leaders) = (vec![0; nodes.len()], Vec::new());
        // The first of a unit in the order stands for it.
        for node in order {
            of[node] = *by_root.entry(unit_of[node]).or_insert_with(|| {
                leaders.push(node);
                leaders.len() - 1
            });
        }
        Self { of, leaders }
    }

    /// Returns for each unit those that it has an edge with: the highest score first, then the earlier unit.
    fn links(&self, scores: &BTreeMap<(usize, usize), f32>) -> Vec<Vec<usize>> {
        let mut best: Vec<BTreeMap<usize, f32>> = vec![BTreeMap::new(); self.leaders.len()];
        for (&(a, b), &score) in scores {
            for (head, member) in [(a, b), (b, a)] {
                let (to, from) = (self.of[head], self.of[member]);
                if to != from {
                    let link = best[from].entry(to).or_insert(score);
                    *link = link.max(score);
                }
            }
        }
        best.into_iter()
            .map(|links| {
                let mut links: Vec<_> = links.into_iter().collect();
                links.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                links.into_iter().map(|(unit, _)| unit).collect()
            })
            .collect()
    }
}

/// Finds the root of a tree, and shortens the way there.
fn root(roots: &mut [usize], mut node: usize) -> usize {
    while roots[node] != node {
        roots[node] = roots[roots[node]];
        node = roots[node];
    }
    node
}

/// Returns for each unit the one whose cluster it is in.
fn cover(links: &[Vec<usize>], apart: &[BTreeSet<usize>]) -> Vec<usize> {
    let mut is_head = vec![false; links.len()];
    for unit in 0..links.len() {
        is_head[unit] = !links[unit]
            .iter()
            .any(|&head| is_head[head] && !apart[unit].contains(&head));
    }
    let mut assigned: Vec<Option<usize>> = is_head
        .iter()
        .enumerate()
        .map(|(unit, &is_head)| is_head.then_some(unit))
        .collect();
    for unit in 0..links.len() {
        if assigned[unit].is_some() {
            continue;
        }
        let head = links[unit].iter().copied().find(|&head| {
            is_head[head]
                && apart[unit]
                    .iter()
                    .all(|&other| assigned[other] != Some(head))
        });
        // Where all that are near hold an image that it must never be with, it is a head after all.
        is_head[unit] = head.is_none();
        assigned[unit] = Some(head.unwrap_or(unit));
    }
    assigned
        .into_iter()
        .enumerate()
        .map(|(unit, head)| head.unwrap_or(unit))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes(count: usize) -> Vec<Node> {
        (0..count)
            .map(|idx| Node {
                // Few digests, so that ids decide too.
                digest: Sha256([(idx * 7 % 5) as u8; 32]),
                id: ImageId::new(format!("i{idx}")).expect("a good id"),
            })
            .collect()
    }

    fn edge(a: usize, b: usize, score: f32) -> Edge {
        Edge { a, b, score }
    }

    #[track_caller]
    fn check(count: usize, edges: &[Edge], bonds: &Bonds, expected: &[usize]) {
        let heads = partition(&nodes(count), edges, bonds);
        assert_eq!(heads.as_deref(), Ok(expected));
    }

    #[test]
    fn the_image_in_the_middle_is_the_head_and_a_chain_is_cut() {
        let star = [edge(0, 1, 0.9), edge(1, 2, 0.9)];
        check(3, &star, &Bonds::default(), &[1, 1, 1]);
        // 0 – 1 – 2 – 3 – 4: no one is near all.
        let chain: Vec<_> = (0..4).map(|idx| edge(idx, idx + 1, 0.9)).collect();
        let heads = partition(&nodes(5), &chain, &Bonds::default()).expect("no bonds");
        let distinct: BTreeSet<_> = heads.iter().collect();
        assert_eq!(distinct.len(), 2, "{heads:?}");
    }

    #[test]
    fn what_people_asked_for_comes_before_scores() {
        let edges = [edge(0, 1, 0.9), edge(1, 2, 0.9)];
        let bonds = Bonds {
            never: vec![(0, 2)],
            always: vec![],
        };
        let heads = partition(&nodes(3), &edges, &bonds).expect("can be kept");
        assert_ne!(heads[0], heads[2]);
        let bonds = Bonds {
            never: vec![],
            always: vec![(0, 3)],
        };
        check(4, &edges, &bonds, &[1, 1, 1, 1]);
        let bonds = Bonds {
            never: vec![(0, 2)],
            always: vec![(0, 1), (2, 1)],
        };
        let contradiction = partition(&nodes(3), &edges, &bonds);
        assert_eq!(contradiction, Err(Contradiction { a: 0, b: 2 }));
    }

    /// Returns the permutation that sorts random keys.
    fn shuffled(keys: &[u64]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by_key(|&idx| keys[idx]);
        order
    }

    proptest! {
        #[test]
        fn stars_keep_bonds_and_do_not_depend_on_the_order(
            count in 1usize..24,
            pairs in proptest::collection::vec((0usize..24, 0usize..24, 0u8..4), 0..80),
            never in proptest::collection::vec((0usize..24, 0usize..24), 0..6),
            always in proptest::collection::vec((0usize..24, 0usize..24), 0..3),
            keys in proptest::collection::vec(any::<u64>(), 24),
        ) {
            let place = |idx: usize| idx % count;
            let edges: Vec<_> = pairs
                .iter()
                // Few scores: ties are the hard part.
                .map(|&(a, b, score)| edge(place(a), place(b), 0.6 + f32::from(score) / 10.0))
                .collect();
            let pair = |&(a, b): &(usize, usize)| (place(a), place(b));
            let bonds = Bonds {
                never: never.iter().map(pair).filter(|(a, b)| a != b).collect(),
                always: always.iter().map(pair).collect(),
            };
            let nodes = nodes(count);
            let heads = partition(&nodes, &edges, &bonds);

            let order = shuffled(&keys[..count]);
            let mut place_of = vec![0; count];
            for (to, &from) in order.iter().enumerate() {
                place_of[from] = to;
            }
            let moved: Vec<_> = order.iter().map(|&from| nodes[from].clone()).collect();
            let turned = |pairs: &[(usize, usize)]| -> Vec<_> {
                pairs.iter().rev().map(|&(a, b)| (place_of[b], place_of[a])).collect()
            };
            let moved_edges: Vec<_> = edges
                .iter()
                .rev()
                .map(|it| edge(place_of[it.b], place_of[it.a], it.score))
                .collect();
            let moved_bonds = Bonds {
                never: turned(&bonds.never),
                always: turned(&bonds.always),
            };
            let again = partition(&moved, &moved_edges, &moved_bonds);
            let Ok(heads) = heads else {
                prop_assert!(again.is_err());
                return Ok(());
            };
            let again = again.expect("the same bonds");
            let back: Vec<_> = (0..count).map(|idx| order[again[place_of[idx]]]).collect();
            prop_assert_eq!(&back, &heads);

            let mut tied: Vec<BTreeSet<usize>> = (0..count).map(|idx| [idx].into()).collect();
            for _ in 0..count {
                for &(a, b) in &bonds.always {
                    let both: BTreeSet<_> = tied[a].union(&tied[b]).copied().collect();
                    (tied[a], tied[b]) = (both.clone(), both);
                }
            }
            for (idx, &head) in heads.iter().enumerate() {
                prop_assert_eq!(heads[head], head);
                let is_near = tied[idx].contains(&head)
                    || edges.iter().any(|it| {
                        [(it.a, it.b), (it.b, it.a)].iter().any(|(one, other)| {
                            tied[idx].contains(one) && tied[head].contains(other)
                        })
                    });
                prop_assert!(is_near, "{idx} and {head}");
            }
            for &(a, b) in &bonds.never {
                prop_assert_ne!(heads[a], heads[b]);
            }
            for &(a, b) in &bonds.always {
                prop_assert_eq!(heads[a], heads[b]);
            }
        }
    }
}
