//! The corrections that make the clusters of now those of a partition.
//!
//! A cluster keeps its canonical id and the image that gave it, so of the clusters that there would be, one that
//! holds that image is the one that the cluster becomes. The others that it shares images with take theirs, and
//! clusters that become the same are joined. What cannot leave, since a part of a merged cluster has its id,
//! stays where it is.

use std::collections::{BTreeMap, BTreeSet};

use likeness_core::{ImageId, Sha256};
use sha2::Digest;

use crate::dedup::corrections::{Command, MAX_MOVED};

/// An image where it is and where it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its id.
    pub id: ImageId,
    /// The cluster whose partition it is in: the id of that one's first image.
    pub part: ImageId,
    /// Canonical id of its cluster.
    pub home: ImageId,
    /// Place of the head that it would have.
    pub then: usize,
}

impl Place {
    /// Whether a cluster, or a part of one, has its id: it cannot leave.
    fn gave_name(&self) -> bool {
        self.id == self.part
    }
}

/// Returns the corrections, in the order in which they are made. `places` are in the order of numbers, `heads` by
/// canonical id.
pub(super) fn plan(places: &[Place], heads: &BTreeMap<ImageId, ImageId>) -> Vec<Command> {
    let mut plan = Plan {
        places,
        owners: owners(places),
        heads: heads.clone(),
        commands: Vec::new(),
    };
    let homes = plan.homes();
    plan.free_heads();
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (idx, place) in places.iter().enumerate() {
        groups.entry(place.then).or_default().push(idx);
    }
    // What is founded anew first, since it makes room.
    for (then, members) in &groups {
        if !homes.contains_key(then) {
            plan.found(members);
        }
    }
    for (then, members) in &groups {
        if let Some((home, _)) = homes.get(then) {
            plan.gather(home, *then, members);
        }
    }
    for (home, others) in homes.values() {
        for other in others {
            plan.commands.push(Command::Fold {
                into: home.clone(),
                from: other.clone(),
            });
            plan.heads.remove(other);
        }
    }
    for (then, (home, _)) in &homes {
        plan.lead(home, *then);
    }
    plan.commands
}

/// Returns the digest by which a plan is known.
pub(super) fn digest(commands: &[Command]) -> Sha256 {
    let json = serde_json::to_vec(commands).expect("commands hold nothing that JSON cannot say");
    Sha256(sha2::Sha256::digest(json).into())
}

/// Returns for each cluster of now which of those that there would be it becomes.
fn owners(places: &[Place]) -> BTreeMap<ImageId, usize> {
    let mut shares: BTreeMap<&ImageId, BTreeMap<usize, usize>> = BTreeMap::new();
    let mut named = BTreeMap::new();
    for place in places {
        *shares
            .entry(&place.home)
            .or_default()
            .entry(place.then)
            .or_default() += 1;
        if place.id == place.home {
            named.insert(&place.home, place.then);
        }
    }
    let of = |(home, shares): (&ImageId, BTreeMap<usize, usize>)| {
        // If the image that gave the id was erased, the largest share decides, the first of equals.
        let largest = shares
            .iter()
            .max_by_key(|(then, count)| (**count, std::cmp::Reverse(**then)));
        let then = named.get(home).copied().or(largest.map(|(then, _)| *then));
        then.map(|then| (home.clone(), then))
    };
    shares.into_iter().filter_map(of).collect()
}

struct Plan<'a> {
    places: &'a [Place],
    /// By canonical id, what the cluster becomes.
    owners: BTreeMap<ImageId, usize>,
    /// Heads as the plan leaves them so far.
    heads: BTreeMap<ImageId, ImageId>,
    commands: Vec<Command>,
}

impl Plan<'_> {
    /// Returns for what there would be the cluster that becomes it, and those that are joined to that one.
    fn homes(&self) -> BTreeMap<usize, (ImageId, Vec<ImageId>)> {
        let mut shares: BTreeMap<(usize, &ImageId), usize> = BTreeMap::new();
        let mut first = BTreeMap::new();
        for (idx, place) in self.places.iter().enumerate() {
            *shares.entry((place.then, &place.home)).or_default() += 1;
            first.entry(&place.home).or_insert(idx);
        }
        let mut by_then: BTreeMap<usize, Vec<&ImageId>> = BTreeMap::new();
        for (home, then) in &self.owners {
            by_then.entry(*then).or_default().push(home);
        }
        let homes = by_then.into_iter().map(|(then, mut homes)| {
            // The one with most of the images, or else the oldest.
            homes.sort_by_key(|home| {
                let share = shares.get(&(then, *home)).copied().unwrap_or(0);
                (std::cmp::Reverse(share), first.get(home).copied())
            });
            let mut homes = homes.into_iter().cloned();
            let base = homes.next().expect("no group of clusters is empty");
            (then, (base, homes.collect()))
        });
        homes.collect()
    }

    /// Gives clusters whose head leaves another one, who stays.
    fn free_heads(&mut self) {
        let leaving: Vec<ImageId> = self
            .places
            .iter()
            .filter(|place| self.heads.get(&place.home) == Some(&place.id))
            .filter(|place| self.owners.get(&place.home) != Some(&place.then))
            .map(|place| place.home.clone())
            .collect();
        let mut first_to_stay: BTreeMap<&ImageId, &ImageId> = BTreeMap::new();
        for place in self.places {
            if self.owners.get(&place.home) == Some(&place.then) {
                first_to_stay.entry(&place.home).or_insert(&place.id);
            }
        }
        for home in leaving {
            if let Some(head) = first_to_stay.get(&home) {
                self.rehead(&home, head);
            }
        }
    }

    fn rehead(&mut self, cluster: &ImageId, head: &ImageId) {
        self.commands.push(Command::ReHead {
            cluster: cluster.clone(),
            head: head.clone(),
        });
        self.heads.insert(cluster.clone(), head.clone());
    }

    /// Whether an image can leave its cluster, once heads are free.
    fn can_leave(&self, place: &Place) -> bool {
        !place.gave_name() && self.heads.get(&place.home) != Some(&place.id)
    }

    /// Lets images found a cluster; the first of them gives it its id.
    fn found(&mut self, members: &[usize]) {
        let places = self.places;
        let movable: Vec<&Place> = members
            .iter()
            .map(|&idx| &places[idx])
            .filter(|place| self.can_leave(place))
            .collect();
        let Some(first) = movable.first() else {
            return;
        };
        let (founder, then) = (first.id.clone(), first.then);
        for (count, chunk) in movable.chunks(MAX_MOVED).enumerate() {
            self.commands.push(Command::Move {
                into: (count > 0).then(|| founder.clone()),
                members: chunk.iter().map(|place| place.id.clone()).collect(),
            });
        }
        self.heads.insert(founder.clone(), founder.clone());
        let head = &places[then];
        if movable.iter().any(|place| place.id == head.id) && head.id != founder {
            self.rehead(&founder, &head.id.clone());
        }
    }

    /// Moves images into the cluster that becomes theirs.
    fn gather(&mut self, home: &ImageId, then: usize, members: &[usize]) {
        let places = self.places;
        let coming: Vec<ImageId> = members
            .iter()
            .map(|&idx| &places[idx])
            .filter(|place| self.owners.get(&place.home) != Some(&then))
            .filter(|place| self.can_leave(place))
            .map(|place| place.id.clone())
            .collect();
        for chunk in coming.chunks(MAX_MOVED) {
            self.commands.push(Command::Move {
                into: Some(home.clone()),
                members: chunk.to_vec(),
            });
        }
    }

    /// Makes the head that a cluster would have its head, if it is there.
    fn lead(&mut self, home: &ImageId, then: usize) {
        let head = self.places[then].clone();
        let is_there = self.owners.get(&head.home) == Some(&then) || self.can_leave(&head);
        if is_there && self.heads.get(home) != Some(&head.id) {
            self.rehead(home, &head.id);
        }
    }
}

/// Returns the images that commands move, each once.
pub(super) fn moved(commands: &[Command]) -> usize {
    let members = commands.iter().filter_map(|command| match command {
        Command::Move { members, .. } => Some(members),
        _ => None,
    });
    members.flatten().collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(idx: usize) -> ImageId {
        ImageId::new(format!("i{idx}")).expect("a good id")
    }

    /// Clusters of now by the place of their first image, and the heads that there would be.
    fn planned(now: &[usize], then: &[usize]) -> Vec<Command> {
        let places: Vec<Place> = now
            .iter()
            .zip(then)
            .enumerate()
            .map(|(idx, (&home, &then))| Place {
                id: id(idx),
                part: id(home),
                home: id(home),
                then,
            })
            .collect();
        let heads = now.iter().map(|&home| (id(home), id(home))).collect();
        plan(&places, &heads)
    }

    #[test]
    fn nothing_is_done_where_nothing_changes() {
        assert_eq!(planned(&[0, 0, 2], &[0, 0, 2]), []);
    }

    #[test]
    fn images_move_clusters_join_and_heads_follow() {
        // 1 goes over to 2's cluster, whose head becomes 3.
        let moved = planned(&[0, 0, 2, 2], &[0, 3, 3, 3]);
        let expected = [
            Command::Move {
                into: Some(id(2)),
                members: vec![id(1)],
            },
            Command::ReHead {
                cluster: id(2),
                head: id(3),
            },
        ];
        assert_eq!(moved, expected);
        // Two become one, under the id of the larger.
        let joined = planned(&[0, 1, 1], &[1, 1, 1]);
        let expected = [Command::Fold {
            into: id(1),
            from: id(0),
        }];
        assert_eq!(joined, expected);
        // Some found a cluster of their own, with another head than their first.
        let founded = planned(&[0, 0, 0, 0], &[0, 3, 3, 3]);
        let expected = [
            Command::Move {
                into: None,
                members: vec![id(1), id(2), id(3)],
            },
            Command::ReHead {
                cluster: id(1),
                head: id(3),
            },
        ];
        assert_eq!(founded, expected);
    }
}
