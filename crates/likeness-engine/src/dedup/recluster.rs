//! What clusters would be if the whole collection were sorted anew, and what that would change. Changes
//! nothing, until what was shown is applied (`apply.rs`).

mod apply;
mod plan;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use likeness_core::{ImageId, ImageNumber, StoreError, StoreResult};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Dedup;
use super::assign_stage::totals;
use super::corrections::{Command, constraints};
use super::live_index::unite;
use super::pairs::{Known, Subject};
use super::partition::{Bonds, Contradiction, Edge, Node, partition};
use super::records::{ClusterRecord, NumberRecord, Signature, decode_number};
use super::tables::{cluster_key, number_key, signature_key};
use crate::EngineError;
pub use apply::{ApplyPlan, MAX_PLANNED_MOVES, Reclustered};
use plan::Place;

/// Most images that are sorted at once; more are refused. All of their pairs are held in memory.
pub const MAX_RECLUSTERED: u64 = 500_000;
/// Most pairs that may score enough: about a gigabyte of them. Beyond it the run is refused.
pub const MAX_PAIRS: usize = 30_000_000;
/// Most moves that are shown.
pub const MAX_MOVES_SHOWN: usize = 100;

/// The clusters of now beside those of a partition that does not depend on the order of arrival.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reclustering {
    /// Images looked at.
    pub images: u64,
    /// Pairs that score enough.
    pub pairs: u64,
    /// Clusters of now.
    pub clusters_now: u64,
    /// Clusters that there would be.
    pub clusters_then: u64,
    /// Images that would be in another cluster. Of each cluster that there would be, those that it shares with
    /// one of now stay: the one with which it shares the most.
    pub moved: u64,
    /// The first of these, in the order of decisions.
    pub moves: Vec<Move>,
    /// Digest of the plan: of the corrections that would make it so. Pass it on to apply it.
    pub plan: String,
    /// Corrections that the plan consists of.
    pub steps: u64,
}

/// An image that would be in another cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Move {
    /// Its id.
    pub id: String,
    /// Canonical id of its cluster.
    pub now: String,
    /// Head of the cluster that it would be in.
    pub then: String,
}

impl Dedup {
    /// Sorts all decided images anew, keeping what corrections ask for, and tells what would change. Takes a
    /// search for each image; images that are decided meanwhile are left out.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] if there are more than [`MAX_RECLUSTERED`] images or [`MAX_PAIRS`]
    /// pairs, or corrections contradict one another; if a store fails.
    pub async fn recluster(&self) -> Result<Reclustering, EngineError> {
        Ok(self.find_plan().await?.0)
    }

    /// As [`recluster`](Self::recluster), with the corrections.
    async fn find_plan(&self) -> Result<(Reclustering, Vec<Command>), EngineError> {
        let state = self.ports.state.as_ref();
        let totals = totals(state).await?;
        let images = totals.images;
        let banks = self.banks.current(state, totals.bank_changes).await?;
        if images > MAX_RECLUSTERED {
            return Err(too_many(format!("at most {MAX_RECLUSTERED} images")));
        }
        let mut nodes = Vec::new();
        let (mut now, mut parts) = (Vec::new(), Vec::new());
        let mut homes = HashMap::new();
        let mut pairs = Pairs::default();
        let mut places = HashMap::new();
        for number in 0..images {
            let Some(record) = self.number_record(ImageNumber(number)).await? else {
                continue;
            };
            places.insert(number, nodes.len());
            now.push(self.home(&record.head, &mut homes).await?);
            if !banks.is_empty() {
                let image = record.descriptors(self.scorer.views())?;
                let found = banks
                    .matches(&self.scorer, &record.id, &record.sha256, &image)
                    .await?;
                if found.iter().any(|found| found.view.negative) {
                    pairs.alone.insert(number);
                }
            }
            parts.push(record.head.clone());
            self.add_pairs(number, images, &record, &mut pairs).await?;
            if pairs.edges.len() > MAX_PAIRS {
                return Err(too_many(format!("at most {MAX_PAIRS} pairs")));
            }
            nodes.push(Node {
                digest: record.sha256,
                id: record.id,
            });
        }
        let heads = self.heads(&now).await?;
        let bonds = self.bonds(&nodes).await?;
        // What negative banks match as they are now joins nothing, and nothing joins it.
        pairs
            .edges
            .retain(|(a, b, _)| !pairs.alone.contains(a) && !pairs.alone.contains(b));
        let edges = pairs.between(&places);
        let num_pairs = edges.len() as u64;
        let sorted = self
            .cpu
            .run(move || {
                let then = partition(&nodes, &edges, &bonds)?;
                let found = difference(&nodes, &now, &then);
                let places: Vec<Place> = nodes
                    .into_iter()
                    .zip(parts.into_iter().zip(now))
                    .zip(then)
                    .map(|((node, (part, home)), then)| Place {
                        id: node.id,
                        part,
                        home,
                        then,
                    })
                    .collect();
                Ok::<_, Contradiction>((found, plan::plan(&places, &heads)))
            })
            .await
            .map_err(|panic| StoreError::corrupt("state", "partition", panic.to_string()))?;
        let (found, commands) =
            sorted.map_err(
                |contradiction: Contradiction| EngineError::InvalidParameter {
                    name: "corrections",
                    reason: contradiction.to_string(),
                },
            )?;
        let found = Reclustering {
            pairs: num_pairs,
            plan: plan::digest(&commands).to_string(),
            steps: commands.len() as u64,
            ..found
        };
        Ok((found, commands))
    }

    /// Returns the heads of clusters.
    async fn heads(&self, homes: &[ImageId]) -> Result<BTreeMap<ImageId, ImageId>, EngineError> {
        let mut heads = BTreeMap::new();
        for home in homes {
            if heads.contains_key(home) {
                continue;
            }
            let cluster: Option<ClusterRecord> = self.row("clusters", &cluster_key(home)).await?;
            if let Some(cluster) = cluster {
                heads.insert(home.clone(), cluster.head(home).id);
            }
        }
        Ok(heads)
    }

    /// Returns the record of a number; nothing if its image was erased.
    async fn number_record(
        &self,
        number: ImageNumber,
    ) -> Result<Option<NumberRecord>, EngineError> {
        let row = self.ports.state.get(&number_key(number)).await?;
        let row = row.ok_or_else(|| {
            StoreError::corrupt(
                "state",
                format!("numbers/{number}"),
                "missing, though the totals count it",
            )
        })?;
        let record = decode_number(&row)?;
        Ok(record.filter(|record| !record.is_placeholder()))
    }

    async fn home(
        &self,
        part: &ImageId,
        homes: &mut HashMap<ImageId, ImageId>,
    ) -> Result<ImageId, EngineError> {
        if let Some(home) = homes.get(part) {
            return Ok(home.clone());
        }
        let cluster: Option<ClusterRecord> = self.row("clusters", &cluster_key(part)).await?;
        let merged_into = cluster.and_then(|cluster| cluster.merged_into);
        let home = merged_into.unwrap_or_else(|| part.clone());
        homes.insert(part.clone(), home.clone());
        Ok(home)
    }

    /// Finds what an image scores enough with.
    async fn add_pairs(
        &self,
        number: u64,
        images: u64,
        record: &NumberRecord,
        pairs: &mut Pairs,
    ) -> Result<(), EngineError> {
        let signature: Option<Signature> =
            self.row("signature", &signature_key(&record.id)).await?;
        let signature = signature.ok_or_else(|| {
            StoreError::corrupt("state", format!("signature/{}", record.id), "missing")
        })?;
        let subject = Subject::new(record.sha256, signature, self.scorer.views())?;
        let image = subject.descriptors.clone();
        let (index, floor) = (Arc::clone(&self.index), self.scorer.floor());
        let limit = self.config.max_candidates;
        let found = self
            .cpu
            .run(move || -> StoreResult<_> {
                let found = index.search(&image.vector, limit, floor, 0)?;
                let by_views = index.search_views(&image, limit, floor)?;
                Ok(unite(found.candidates, by_views, limit))
            })
            .await
            .map_err(|panic| StoreError::corrupt("index", "search", panic.to_string()))??;
        // A pair that the other image has found is known already.
        let new: Vec<ImageNumber> = found
            .iter()
            .map(|candidate| candidate.number)
            .filter(|other| other.0 < images && other.0 != number)
            .filter(|other| {
                pairs
                    .seen
                    .insert((number.min(other.0), number.max(other.0)))
            })
            .collect();
        let known = Known {
            state: self.ports.state.as_ref(),
            is_corrected: false,
            batch: None,
        };
        let others = known.records(&new).await?;
        // What was erased is nothing's copy.
        let (new, others): (Vec<ImageNumber>, Vec<&NumberRecord>) = new
            .into_iter()
            .zip(&others)
            .filter_map(|(number, record)| Some((number, record.as_ref()?)))
            .unzip();
        let scores = self.scorer.look_at_pairs(&subject, &others).await?;
        for (other, score) in new.into_iter().zip(scores) {
            if score >= self.scorer.threshold() {
                pairs.edges.push((number, other.0, score));
            }
        }
        Ok(())
    }

    async fn bonds(&self, nodes: &[Node]) -> Result<Bonds, EngineError> {
        let places: HashMap<&ImageId, usize> = nodes.iter().map(|node| &node.id).zip(0..).collect();
        let mut bonds = Bonds::default();
        for record in constraints::all(self.ports.state.as_ref()).await? {
            let (Some(&a), Some(&b)) = (places.get(&record.a), places.get(&record.b)) else {
                continue;
            };
            match record.bond {
                constraints::Bond::Never => bonds.never.push((a, b)),
                constraints::Bond::Always => bonds.always.push((a, b)),
            }
        }
        Ok(bonds)
    }
}

/// Pairs looked at, and those that score enough.
#[derive(Debug, Default)]
struct Pairs {
    seen: HashSet<(u64, u64)>,
    /// Two numbers and their score.
    edges: Vec<(u64, u64, f32)>,
    /// Numbers of images that match a negative bank.
    alone: HashSet<u64>,
}

impl Pairs {
    /// Returns the pairs by the places of their images; those of an image that has none are left out.
    fn between(self, places: &HashMap<u64, usize>) -> Vec<Edge> {
        let edges = self.edges.into_iter();
        edges
            .filter_map(|(a, b, score)| {
                let (a, b) = (*places.get(&a)?, *places.get(&b)?);
                Some(Edge { a, b, score })
            })
            .collect()
    }
}

fn too_many(reason: String) -> EngineError {
    EngineError::InvalidParameter {
        name: "images",
        reason: format!("{reason} can be sorted at once"),
    }
}

/// Compares two partitions.
fn difference(nodes: &[Node], now: &[ImageId], then: &[usize]) -> Reclustering {
    let mut shared: BTreeMap<(&ImageId, usize), u64> = BTreeMap::new();
    for (now, &then) in now.iter().zip(then) {
        *shared.entry((now, then)).or_default() += 1;
    }
    let mut by_size: Vec<_> = shared.into_iter().collect();
    // Those that share the most first; the sort is stable, and the map was in order.
    by_size.sort_by_key(|&((now, then), count)| (std::cmp::Reverse(count), now, &nodes[then]));
    let (mut of_now, mut of_then) = (HashMap::new(), HashSet::new());
    for ((now, then), _) in by_size {
        if !of_now.contains_key(now) && of_then.insert(then) {
            of_now.insert(now, then);
        }
    }
    let moved: Vec<_> = now
        .iter()
        .zip(then)
        .enumerate()
        .filter(|(_, (now, then))| of_now.get(now) != Some(then))
        .collect();
    let distinct = |count: HashSet<&ImageId>| count.len() as u64;
    Reclustering {
        images: nodes.len() as u64,
        pairs: 0,
        clusters_now: distinct(now.iter().collect()),
        clusters_then: distinct(then.iter().map(|&head| &nodes[head].id).collect()),
        moved: moved.len() as u64,
        moves: moved
            .into_iter()
            .take(MAX_MOVES_SHOWN)
            .map(|(node, (now, &then))| Move {
                id: nodes[node].id.to_string(),
                now: now.to_string(),
                then: nodes[then].id.to_string(),
            })
            .collect(),
        plan: String::new(),
        steps: 0,
    }
}

#[cfg(test)]
mod tests {
    use likeness_core::Sha256;

    use super::*;

    #[test]
    fn the_larger_part_stays_and_the_rest_moves() {
        let id = |idx: usize| ImageId::new(format!("i{idx}")).expect("a good id");
        let nodes: Vec<_> = (0..6)
            .map(|idx| Node {
                digest: Sha256([0; 32]),
                id: id(idx),
            })
            .collect();
        let now: Vec<_> = [0, 0, 0, 0, 4, 4].map(id).to_vec();
        // The same clusters under other heads: nothing moves.
        let same = difference(&nodes, &now, &[1, 1, 1, 1, 5, 5]);
        assert_eq!(
            (same.moved, same.clusters_now, same.clusters_then),
            (0, 2, 2)
        );
        // One goes over to the second cluster, one is alone.
        let other = difference(&nodes, &now, &[0, 0, 2, 4, 4, 4]);
        assert_eq!((other.moved, other.clusters_then), (2, 3));
        let moves: Vec<_> = other
            .moves
            .iter()
            .map(|it| (it.id.as_str(), it.now.as_str(), it.then.as_str()))
            .collect();
        assert_eq!(moves, [("i2", "i0", "i2"), ("i3", "i0", "i4")]);
    }
}
