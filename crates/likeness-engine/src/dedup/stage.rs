//! What the stages of the pipeline have in common: read the log from where the last commit ended,
//! work on several records at once, commit in the order of the log.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::{Stream, StreamExt};
use likeness_core::log::{EventLog, NewRecord, Offset, ReadLimits, Record, Topic};
use likeness_core::scoring::ROLE;
use likeness_core::step::{Consumer, Position, StepStore};
use likeness_core::{StoreError, StoreResult};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::health::Health;
use super::tables::PARTITION;
use super::{corrections, erasure};
use crate::EngineError;
use crate::metrics::{
    RateMeter, STAGE_BUSY_SECONDS_TOTAL, STAGE_COMMIT_IMAGES, STAGE_IMAGES_TOTAL,
    STAGE_RETRIES_TOTAL,
};

/// First and longest pause between attempts of a stage that fails for a passing reason.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// One stage.
#[async_trait]
pub(super) trait Stage: fmt::Debug + Send + Sync + 'static {
    /// Name in logs, metrics and on the overview page.
    const NAME: &'static str;
    /// What it reads.
    const INPUT: Topic;
    /// As what it reads.
    const CONSUMER: Consumer;

    /// What [`prepare`](Stage::prepare) hands to [`commit`](Stage::commit).
    type Item: Send;

    /// Does what can be done for one record without regard to others. Runs for several records at
    /// a time; after a failure it runs again for the same record.
    async fn prepare(&self, record: Record) -> Result<Self::Item, EngineError>;

    /// Commits `items`, in the order of their records, together with `position`. Runs for one
    /// batch at a time.
    async fn commit(&self, items: Vec<Self::Item>, position: Position) -> Result<(), EngineError>;
}

/// What a stage makes of a record of the log.
#[derive(Debug)]
pub(super) enum Passing<T> {
    /// A correction, or what stands for an erased image: passed on as it is, in its place.
    Correction(NewRecord),
    /// An image.
    Image(T),
}

impl<T> Passing<T> {
    /// Returns the record for the next stage.
    pub(super) fn into_record(self, of_image: impl FnOnce(T) -> NewRecord) -> NewRecord {
        match self {
            Self::Correction(record) => record,
            Self::Image(image) => of_image(image),
        }
    }
}

/// Returns the record to pass on if `record` is no image's.
pub(super) fn passed_on(record: &Record) -> Option<NewRecord> {
    corrections::passed_on(record).or_else(|| erasure::passed_on(record))
}

/// What every stage is given.
#[derive(Debug, Clone)]
pub(super) struct StageRunner {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) steps: Arc<dyn StepStore>,
    pub(super) health: Arc<Health>,
    pub(super) shutdown: CancellationToken,
    /// Records that a stage works on at once.
    pub(super) concurrency: usize,
    /// Most records in one commit.
    pub(super) max_commit: usize,
}

/// What a stage tells of itself.
#[derive(Debug, Default)]
pub(super) struct StageMeter {
    pub(super) rate: RateMeter,
    busy_nanos: AtomicU64,
}

impl StageMeter {
    pub(super) fn busy_ms(&self) -> u64 {
        self.busy_nanos.load(Ordering::Relaxed) / 1_000_000
    }

    fn add_busy(&self, name: &'static str, since: Instant) {
        let elapsed = since.elapsed();
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let busy = self.busy_nanos.fetch_add(nanos, Ordering::Relaxed) + nanos;
        // A gauge, since the recorder's counters are whole numbers.
        metrics::gauge!(STAGE_BUSY_SECONDS_TOTAL, "stage" => name).set(busy as f64 / 1e9);
    }
}

impl StageRunner {
    /// Runs `stage` until shut down. An error that may pass is tried again with growing pauses; any
    /// other one is reported to [`Health`] and ends the stage, so that nothing is skipped.
    pub(super) async fn run<S: Stage>(self, stage: S, meter: Arc<StageMeter>) {
        let mut pause = BACKOFF.0;
        loop {
            let before = meter.rate.total();
            let Err(error) = self.run_until_error(&stage, &meter).await else {
                info!(stage = S::NAME, "stage stopped");
                return;
            };
            if !may_pass(&error) {
                error!(stage = S::NAME, %error, "stage failed, decisions have stopped");
                self.health.fail(S::NAME, &error);
                return;
            }
            if meter.rate.total() > before {
                pause = BACKOFF.0;
            }
            if is_of_the_scorer(&error) {
                self.health.stall(S::NAME, &error);
            }
            metrics::counter!(STAGE_RETRIES_TOTAL, "stage" => S::NAME).increment(1);
            warn!(stage = S::NAME, %error, ?pause, "stage failed, will retry");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shutdown.cancelled() => return,
            }
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    async fn run_until_error<S: Stage>(
        &self,
        stage: &S,
        meter: &StageMeter,
    ) -> Result<(), EngineError> {
        let start = self
            .steps
            .position(S::CONSUMER, S::INPUT, PARTITION)
            .await?;
        let records = records(self.log.as_ref(), S::INPUT, start);
        let prepared = records
            .map(|record| async {
                let record = record?;
                let (offset, started) = (record.offset, Instant::now());
                let item = stage.prepare(record).await?;
                meter.add_busy(S::NAME, started);
                Ok::<_, EngineError>((offset, item))
            })
            .buffered(self.concurrency)
            .ready_chunks(self.max_commit);
        let mut prepared = std::pin::pin!(prepared);
        loop {
            let chunk = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Ok(()),
                chunk = prepared.next() => chunk,
            };
            let Some(chunk) = chunk else {
                return Ok(());
            };
            let mut items = Vec::with_capacity(chunk.len());
            let mut failure = None;
            let mut last = None;
            for outcome in chunk {
                match outcome {
                    Ok((offset, item)) => {
                        items.push(item);
                        last = Some(offset);
                    }
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                }
            }
            if let Some(last) = last {
                let (count, started) = (items.len() as u64, Instant::now());
                stage
                    .commit(
                        items,
                        Position {
                            consumer: S::CONSUMER,
                            topic: S::INPUT,
                            partition: PARTITION,
                            next: last.next(),
                        },
                    )
                    .await?;
                meter.add_busy(S::NAME, started);
                self.health.go_on(S::NAME);
                meter.rate.add(count);
                metrics::counter!(STAGE_IMAGES_TOTAL, "stage" => S::NAME).increment(count);
                metrics::histogram!(STAGE_COMMIT_IMAGES, "stage" => S::NAME).record(count as f64);
            }
            if let Some(error) = failure {
                return Err(error);
            }
        }
    }
}

/// Returns whether another try can succeed without anyone changing anything.
fn may_pass(error: &EngineError) -> bool {
    match error {
        EngineError::Store(error) => error.is_retryable(),
        EngineError::Model(_) | EngineError::Overloaded { .. } => true,
        _ => false,
    }
}

/// Returns whether a model that is served elsewhere is away: readers of `/readyz` are told.
fn is_of_the_scorer(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Store(StoreError::Unavailable { store, .. }) if store.starts_with(ROLE)
    )
}

/// Returns the records of a topic from `start` on, without end: past the last one it waits.
fn records(
    log: &dyn EventLog,
    topic: Topic,
    start: Offset,
) -> impl Stream<Item = StoreResult<Record>> + '_ {
    let first: (Offset, std::vec::IntoIter<Record>) = (start, Vec::new().into_iter());
    futures::stream::try_unfold(first, move |(mut from, mut page)| async move {
        loop {
            if let Some(record) = page.next() {
                from = record.offset.next();
                return Ok::<_, StoreError>(Some((record, (from, page))));
            }
            page = log
                .read(topic, PARTITION, from, ReadLimits::default())
                .await?
                .into_iter();
            if page.len() == 0 {
                log.wait(topic, PARTITION, from).await?;
            }
        }
    })
}
