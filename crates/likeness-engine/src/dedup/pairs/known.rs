//! What is known of the images that one is compared with.

use std::collections::HashMap;

use likeness_core::state::StateStore;
use likeness_core::{ImageId, ImageNumber, StoreError, StoreResult};

use super::super::live_index::{Recent, RecentViews};
use super::super::records::{ClusterRecord, Head, NumberRecord, ScoredCandidate, decode_number};
use super::super::tables::{cluster_key, decode, number_key};

/// Decided images: those committed, and those decided in the batch at hand.
#[derive(Debug)]
pub(in crate::dedup) struct Known<'a> {
    /// Committed records.
    pub state: &'a dyn StateStore,
    /// Whether there have been corrections, or heads chosen by a rule: without any, an image's cluster is the
    /// one it joined, and that cluster's head is its first image.
    pub is_corrected: bool,
    /// Decided, not committed yet.
    pub batch: Option<&'a Batch>,
}

/// What the batch at hand has decided so far.
#[derive(Debug)]
pub(in crate::dedup) struct Batch {
    /// Records by number.
    pub records: HashMap<ImageNumber, NumberRecord>,
    /// Clusters that have changed, as they are now.
    pub clusters: HashMap<ImageId, ClusterRecord>,
    /// Their embeddings.
    pub index: Recent,
    /// Those of their views.
    pub views: RecentViews,
}

impl Known<'_> {
    /// Puts in the clusters and heads of candidates as corrections have left them.
    pub(super) async fn resolve(&self, scored: &mut [ScoredCandidate]) -> StoreResult<()> {
        if !self.is_corrected {
            return Ok(());
        }
        let mut homes: HashMap<ImageId, (ImageId, Option<Head>)> = HashMap::new();
        for candidate in scored {
            if !homes.contains_key(&candidate.head) {
                let home = self.home(&candidate.head).await?;
                homes.insert(candidate.head.clone(), home);
            }
            if let Some((cluster, Some(head))) = homes.get(&candidate.head) {
                candidate.cluster = Some(cluster.clone());
                candidate.head_number = Some(head.number);
                candidate.head = head.id.clone();
            }
        }
        Ok(())
    }

    /// Returns the cluster that the one of `part` belongs to, and its head; no head if it was founded in the
    /// batch at hand.
    async fn home(&self, part: &ImageId) -> StoreResult<(ImageId, Option<Head>)> {
        let Some(cluster) = self.cluster(part).await? else {
            return Ok((part.clone(), None));
        };
        let Some(into) = cluster.merged_into else {
            let head = cluster.head(part);
            return Ok((part.clone(), Some(head)));
        };
        let whole = self.cluster(&into).await?.ok_or_else(|| {
            StoreError::corrupt(
                "state",
                format!("clusters/{into}"),
                "missing, though another was merged into it",
            )
        })?;
        let head = whole.head(&into);
        Ok((into, Some(head)))
    }

    async fn cluster(&self, id: &ImageId) -> StoreResult<Option<ClusterRecord>> {
        if let Some(cluster) = self.batch.and_then(|batch| batch.clusters.get(id)) {
            return Ok(Some(cluster.clone()));
        }
        let row = self.state.get(&cluster_key(id)).await?;
        row.map(|row| decode("clusters", &row)).transpose()
    }

    /// Returns the records of `numbers`, in that order; nothing for an image that was erased.
    ///
    /// # Errors
    /// If the store fails, or one has no record.
    pub(in crate::dedup) async fn records(
        &self,
        numbers: &[ImageNumber],
    ) -> StoreResult<Vec<Option<NumberRecord>>> {
        let in_batch = |number| self.batch.and_then(|batch| batch.records.get(number));
        let keys: Vec<_> = numbers
            .iter()
            .filter(|number| in_batch(number).is_none())
            .map(|&number| number_key(number))
            .collect();
        let mut stored = self.state.get_many(&keys).await?.into_iter();
        numbers
            .iter()
            .map(|number| {
                if let Some(record) = in_batch(number) {
                    return Ok(Some(record.clone()));
                }
                let row = stored.next().flatten().ok_or_else(|| no_record(*number))?;
                let record = decode_number(&row)?;
                Ok(record.filter(|record| !record.is_placeholder()))
            })
            .collect()
    }
}

fn no_record(number: ImageNumber) -> StoreError {
    StoreError::corrupt(
        "state",
        format!("numbers/{number}"),
        "the index knows a number that has no record",
    )
}
