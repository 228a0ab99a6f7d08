//! The stream: from the log into SQL, and live numbers on the way.
//!
//! ```text
//! [pins] [geolocations] [users] ─▶ batch ─▶ clean ─▶ apply ─▶ one transaction: rows, numbers, positions
//! ```
//! Invariants:
//! - Rows, numbers and positions are one commit, and positions are only moved from where they were read: whatever is
//!   killed or tried again, each record counts once.
//! - One task writes. Numbers are absolute values that it computes, never incremented in place.
//! - Tables are a fold of the log: an empty database is filled from its beginning.
//! - A database that is away stops nothing but the stream, which tries again, and says so.
//!
//! Time is event time. The watermark is the greatest that was seen less what is allowed to be late; what comes behind it is
//! called late, and corrects the numbers all the same.

mod apply;
mod decay;
mod numbers;
mod queries;
mod schema;
mod state;
#[cfg(test)]
mod tests;
pub mod view;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use likeness_core::log::EventLog;
use likeness_core::sql::{Tables, TablesOutcome};
use likeness_core::step::Consumer;
use likeness_core::{StoreResult, Timestamp, fault};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::apply::{Report, apply};
use self::decay::HalfLife;
use self::schema::{MIGRATIONS, SET};
use self::state::State;
use super::EventKind;
use super::read::{Place, Reader, batch, lag_seconds, places, unread, wait};
use super::way::{Running, Way};
use crate::metrics;

pub use queries::MAX_PAGE;
pub use schema::{EXPERIMENTAL_DATA, PINS_PER_MINUTE, PROFILE_ACTIVITY, PROFILES, STREAM_STATE};

/// As what the stream reads.
pub(super) const CONSUMER: Consumer = Consumer("pins-stream");

/// How the stream works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamConfig {
    /// Time in which the weight of a pin in scores halves; at least a second.
    pub half_life: Duration,
    /// How much earlier than the greatest event time an event may be, and not be called late.
    pub allowed_lateness: Duration,
    /// Most records of a batch, shared equally by the partitions, each of which may have one at least.
    pub max_batch_records: usize,
    /// Most bytes of a batch, shared in the same way.
    pub max_batch_bytes: usize,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            half_life: Duration::from_secs(24 * 3_600),
            allowed_lateness: Duration::from_secs(600),
            max_batch_records: 6_000,
            max_batch_bytes: 24 << 20,
        }
    }
}

impl StreamConfig {
    fn reader(&self) -> Reader {
        Reader {
            consumer: CONSUMER,
            max_records: self.max_batch_records,
            max_bytes: self.max_batch_bytes,
        }
    }

    fn half_life(&self) -> HalfLife {
        let micros = self.half_life.max(Duration::from_secs(1)).as_micros();
        HalfLife::new(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

/// The stream of a running service.
pub struct PinStream {
    shared: Arc<Shared>,
    running: Running,
}

impl fmt::Debug for PinStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinStream")
            .field("tables", &self.shared.tables)
            .finish_non_exhaustive()
    }
}

/// What the task and those who ask have in common.
struct Shared {
    log: Arc<dyn EventLog>,
    tables: Arc<dyn Tables>,
    config: StreamConfig,
    progress: Mutex<Progress>,
    /// Counts what is to be told: commits, and that all was read.
    changes: watch::Sender<u64>,
}

/// How far the stream is.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// Empty until the tables were reached.
    places: Vec<Place>,
    state: State,
    /// When the last record that was committed of each kind was received.
    received: [Timestamp; 3],
    /// What keeps it from going on.
    trouble: Option<String>,
}

impl PinStream {
    /// Starts the stream. The tables need not be there yet.
    pub fn start(log: Arc<dyn EventLog>, tables: Arc<dyn Tables>, config: StreamConfig) -> Self {
        let shared = Arc::new(Shared {
            log,
            tables,
            config,
            progress: Mutex::default(),
            changes: watch::Sender::new(0),
        });
        let running = Running::start(Arc::clone(&shared));
        Self { shared, running }
    }

    /// Stops it: the batch in progress is committed, or left after ten seconds.
    pub async fn shutdown(&self) {
        self.running.shutdown::<Shared>().await;
    }

    /// Tells whether the stream does its work, or what keeps it from that.
    ///
    /// # Errors
    /// In words.
    pub fn ready(&self) -> Result<(), String> {
        self.running.ready(self.shared.as_ref())
    }

    /// Returns what changes with every commit, and when all was read.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress
            .lock()
            .expect("no code that holds this lock can panic")
    }

    /// Publishes how far behind the log the stream is.
    async fn measure(&self, places: &[Place]) -> StoreResult<()> {
        let unread = unread(self.log.as_ref(), places).await?;
        let received = self.progress().received;
        for kind in EventKind::ALL {
            let (unread, received) = (unread[kind as usize], received[kind as usize]);
            let topic = kind.topic().0;
            let seconds = lag_seconds(unread, received);
            ::metrics::gauge!(metrics::PINS_LAG_RECORDS, "topic" => topic).set(unread as f64);
            ::metrics::gauge!(metrics::PINS_LAG_SECONDS, "topic" => topic).set(seconds);
        }
        Ok(())
    }
}

impl Way for Shared {
    const NAME: &'static str = "the stream of pins";
    const RETRIES: &'static str = metrics::PINS_RETRIES_TOTAL;

    /// Reads, applies and commits until told to stop.
    async fn work(&self, stop: &CancellationToken) -> StoreResult<()> {
        self.tables.migrate(SET, &MIGRATIONS).await?;
        let mut is_current = false;
        loop {
            if stop.is_cancelled() {
                return Ok(());
            }
            if !is_current {
                let places = places(&self.tables.positions(CONSUMER).await?);
                let state = State::load(self.tables.as_ref(), &self.config).await?;
                let mut progress = self.progress();
                (progress.places, progress.state) = (places, state);
                progress.trouble = None;
                is_current = true;
            }
            let Progress {
                mut places, state, ..
            } = self.progress().clone();
            let batch = batch(self.log.as_ref(), &places, self.config.reader()).await?;
            for &(number, end) in &batch.empty {
                places[number].empty_at = end;
            }
            if batch.events.is_empty() {
                self.measure(&places).await?;
                let before = std::mem::replace(&mut self.progress().places, places.clone());
                if before != places {
                    self.changes.send_modify(|changes| *changes += 1);
                }
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    waited = wait(self.log.as_ref(), &places) => waited?,
                }
                continue;
            }
            let mut received = self.progress().received;
            for event in &batch.events {
                let newest = &mut received[event.kind as usize];
                *newest = (*newest).max(event.cleaned.origin.received);
            }
            let moved = batch.positions.clone();
            fault::point("pins.stream.before_apply");
            let applied = apply(self.tables.as_ref(), &state, batch, &self.config).await?;
            let (step, state, report) = applied;
            fault::point("pins.stream.before_commit");
            if self.tables.commit(step).await? == TablesOutcome::AlreadyCommitted {
                // By an earlier try whose answer was lost, or by another process.
                is_current = false;
                continue;
            }
            fault::point("pins.stream.after_commit");
            let places: Vec<_> = places
                .into_iter()
                .map(|place| {
                    let moved = moved.iter().find(|one| {
                        one.topic == place.kind.topic() && one.partition == place.partition
                    });
                    Place {
                        next: moved.map_or(place.next, |one| one.next),
                        ..place
                    }
                })
                .collect();
            {
                let mut progress = self.progress();
                (progress.places, progress.state) = (places.clone(), state);
                (progress.received, progress.trouble) = (received, None);
            }
            count(&report, &state, &self.config);
            self.measure(&places).await?;
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    fn done(&self) -> u64 {
        *self.changes.borrow()
    }

    fn trouble(&self) -> Option<String> {
        self.progress().trouble.clone()
    }

    fn set_trouble(&self, trouble: String) {
        self.progress().trouble = Some(trouble);
    }
}

fn count(report: &Report, state: &State, config: &StreamConfig) {
    for kind in EventKind::ALL {
        let (rows, rejected) = (report.rows[kind as usize], report.rejected[kind as usize]);
        let kind = kind.name();
        ::metrics::counter!(metrics::PINS_ROWS_TOTAL, "kind" => kind).increment(rows);
        ::metrics::counter!(metrics::PINS_REJECTED_TOTAL, "kind" => kind).increment(rejected);
    }
    ::metrics::counter!(metrics::PINS_LATE_TOTAL).increment(report.late);
    ::metrics::counter!(metrics::PINS_MOVED_TOTAL).increment(report.moved);
    if let Some(watermark) = state.watermark(config) {
        ::metrics::gauge!(metrics::PINS_WATERMARK_SECONDS).set(watermark as f64 / 1e6);
    }
}
