//! Moves what the watermark has passed to the orphans.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use likeness_core::state::{Direction, Scan, StateStore};
use likeness_core::step::{Durability, Emit, Step, StepStore};
use likeness_core::{ImageId, StoreError, StoreResult, Timestamp};

use super::apply::{Joined, Joining};
use super::{DEADLINES, JoinConfig, JoinTotals, ORPHAN_JOURNAL};
use crate::dedup::tables::{PARTITION, SHARD};
use crate::metrics::{JOIN_ORPHANS, JOIN_WAITING, JOINED_IMAGES, JOINED_LATE};

/// Most images that one commit moves to the orphans; the next commit goes on.
const SWEPT_PER_COMMIT: usize = 256;

/// What the join keeps in memory: nothing that a restart would miss.
#[derive(Debug)]
pub(in crate::dedup) struct Sweeper {
    state: Arc<dyn StateStore>,
    steps: Arc<dyn StepStore>,
    config: JoinConfig,
    /// Event time before which nothing waits: scans begin there, and not at rows that were deleted.
    swept: AtomicU64,
    /// For the door, which bounds it.
    unjoined: AtomicU64,
}

impl Sweeper {
    pub(in crate::dedup) fn new(
        state: Arc<dyn StateStore>,
        steps: Arc<dyn StepStore>,
        config: JoinConfig,
    ) -> Self {
        Self {
            state,
            steps,
            config,
            swept: AtomicU64::new(0),
            unjoined: AtomicU64::new(0),
        }
    }

    pub(in crate::dedup) fn config(&self) -> &JoinConfig {
        &self.config
    }

    /// Images of which one side only is there, as of the last commit.
    pub(in crate::dedup) fn unjoined(&self) -> u64 {
        self.unjoined.load(Ordering::Relaxed)
    }

    /// Notes the earliest event time that a batch may have let wait.
    pub(in crate::dedup) fn note(&self, time: Timestamp) {
        self.swept.fetch_min(time.0, Ordering::Relaxed);
    }

    /// Moves what the watermark has passed, in commits of its own. A crash between two of them leaves the
    /// rest for the next call.
    ///
    /// # Errors
    /// If the store fails.
    pub(in crate::dedup) async fn sweep(&self) -> StoreResult<()> {
        let mut totals = JoinTotals::read(self.state.as_ref()).await?;
        let watermark = totals.watermark(&self.config);
        while totals.waiting_uploads + totals.waiting_embeddings > 0 {
            let from = self.swept.load(Ordering::Relaxed);
            if from >= watermark.0 {
                break;
            }
            let at = |millis: u64| bytes::Bytes::copy_from_slice(&millis.to_be_bytes());
            let passed = self
                .state
                .scan(Scan {
                    table: DEADLINES,
                    partition: bytes::Bytes::from_static(SHARD),
                    lower: Bound::Included(at(from)),
                    upper: Bound::Excluded(at(watermark.0)),
                    direction: Direction::Ascending,
                    limit: SWEPT_PER_COMMIT,
                })
                .await?;
            let mut joining = Joining::begin(self.state.as_ref(), &self.config).await?;
            for row in &passed {
                let (deadline, image) = read_deadline(&row.sort)?;
                joining.orphaned(&image, deadline).await?;
            }
            let Joined {
                writes,
                totals: after,
                ..
            } = joining.finish();
            if !passed.is_empty() {
                let step = Step {
                    writes,
                    ..Step::default()
                };
                self.steps.commit(step, Durability::Process).await?;
            }
            totals = after;
            if passed.len() < SWEPT_PER_COMMIT {
                self.swept.store(watermark.0, Ordering::Relaxed);
            }
        }
        self.report(&totals);
        Ok(())
    }

    fn report(&self, totals: &JoinTotals) {
        self.unjoined.store(totals.unjoined(), Ordering::Relaxed);
        for (name, side, value) in [
            (JOIN_WAITING, "upload", totals.waiting_uploads),
            (JOIN_WAITING, "embedding", totals.waiting_embeddings),
            (JOIN_ORPHANS, "upload", totals.orphan_uploads),
            (JOIN_ORPHANS, "embedding", totals.orphan_embeddings),
        ] {
            metrics::gauge!(name, "side" => side).set(value as f64);
        }
        metrics::gauge!(JOINED_IMAGES).set(totals.joined as f64);
        metrics::gauge!(JOINED_LATE).set(totals.late as f64);
    }
}

/// Returns the events that a joined batch emits beside those of its stage.
pub(in crate::dedup) fn journal(records: Vec<likeness_core::log::NewRecord>) -> Option<Emit> {
    (!records.is_empty()).then_some(Emit {
        topic: ORPHAN_JOURNAL,
        partition: PARTITION,
        records,
    })
}

fn read_deadline(sort: &[u8]) -> StoreResult<(Timestamp, ImageId)> {
    let damaged = |reason: &str| StoreError::corrupt("state", "join_deadlines", reason.to_owned());
    let (time, image) = sort
        .split_first_chunk::<8>()
        .ok_or_else(|| damaged("a key without a time"))?;
    let image = std::str::from_utf8(image).map_err(|_| damaged("an id that is not text"))?;
    let image = ImageId::new(image).map_err(|error| damaged(&error.to_string()))?;
    Ok((Timestamp(u64::from_be_bytes(*time)), image))
}
