//! The batch way: from the log into the lake, as it came and as clean rows.
//!
//! ```text
//! [pins] [geolocations] [users] ─▶ batch ─▶ clean ─▶ pending ─▶ files ─▶ one commit: files, positions
//! ```
//! Invariants:
//! - Files are entered in the same commit that moves the positions, and positions are only moved from where they were
//!   read: whatever is killed or tried again, each event is in the lake once, raw and as a row.
//! - A raw line says where in the log it stood, so rows can be made again from raw files alone (`rebuild`).
//! - What is pending is bounded by records, bytes and time, and is read again after a crash.
//! - A store that is away stops nothing but this way, which tries again, and says so.

pub(super) mod compact;
mod daily;
mod line;
mod pending;
pub(super) mod rebuild;
#[cfg(test)]
mod tests;
mod ways;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use likeness_core::lake::{Lake, LakeOutcome};
use likeness_core::log::EventLog;
use likeness_core::step::Consumer;
use likeness_core::{StoreResult, Timestamp, fault};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::info;
use utoipa::ToSchema;

use self::pending::Pending;
use super::EventKind;
use super::read::{Place, Reader, batch, lag_seconds, places, unread, wait};
use super::way::{Running, Way};
use crate::metrics;

pub use daily::{DailyConfig, PinsDaily};
pub use line::RawLine;
pub use ways::{LakeWay, TablesWay};

/// As what the batch way reads.
pub(super) const CONSUMER: Consumer = Consumer("pins-lake");
/// Most bytes that are read from the log at once: a part of what may be pending.
const MAX_READ_BYTES: usize = 8 << 20;
/// How often the lag is published while there is always more to read.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// Most merges after a commit: one for each table and topic of a day.
const MAX_MERGES: usize = 8;
/// How often what no list names is swept away.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// How the batch way works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LakeConfig {
    /// Longest time that an event waits for its file.
    pub flush_every: Duration,
    /// Most events of a commit.
    pub max_records: usize,
    /// Most bytes of their payloads.
    pub max_bytes: usize,
    /// So many files of one day and table are merged into one; at least two.
    pub merge_files: usize,
    /// Most rows of a merged file. A file with half of them is left alone.
    pub max_file_rows: u64,
    /// How long a file stays that no list names any longer: longer than any query, and any commit.
    pub keep: Duration,
}

impl Default for LakeConfig {
    fn default() -> Self {
        Self {
            flush_every: Duration::from_secs(5),
            max_records: 50_000,
            max_bytes: 32 << 20,
            merge_files: 12,
            max_file_rows: 1_000_000,
            keep: Duration::from_secs(2 * 3_600),
        }
    }
}

impl LakeConfig {
    fn reader(&self) -> Reader {
        Reader {
            consumer: CONSUMER,
            max_records: self.max_records,
            max_bytes: self.max_bytes.min(MAX_READ_BYTES),
        }
    }
}

/// How far the batch way is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct LakeStatus {
    /// Version of the list of files.
    pub version: u64,
    /// Pins that are in the log and not in the lake, at most: offsets may have gaps. Null until the list of files was read.
    pub unread_pins: Option<u64>,
    /// The same of geolocations.
    pub unread_geolocations: Option<u64>,
    /// The same of users.
    pub unread_users: Option<u64>,
    /// What keeps it from going on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// The batch way of a running service.
pub struct PinLake {
    shared: Arc<Shared>,
    running: Running,
}

impl fmt::Debug for PinLake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinLake")
            .field("lake", &self.shared.lake)
            .finish_non_exhaustive()
    }
}

/// What the task and those who ask have in common.
struct Shared {
    log: Arc<dyn EventLog>,
    lake: Arc<dyn Lake>,
    config: LakeConfig,
    progress: Mutex<Progress>,
}

/// What is committed.
#[derive(Debug, Clone, Default)]
struct Progress {
    version: u64,
    places: Vec<Place>,
    /// When the last event of each kind was received.
    received: [Timestamp; 3],
    trouble: Option<String>,
}

impl PinLake {
    /// Starts the way. The lake need not be there yet.
    pub fn start(log: Arc<dyn EventLog>, lake: Arc<dyn Lake>, config: LakeConfig) -> Self {
        let shared = Arc::new(Shared {
            log,
            lake,
            config,
            progress: Mutex::default(),
        });
        let running = Running::start(Arc::clone(&shared));
        Self { shared, running }
    }

    /// Stops it: what is pending is committed, or left after ten seconds.
    pub async fn shutdown(&self) {
        self.running.shutdown::<Shared>().await;
    }

    /// Tells whether the way does its work, or what keeps it from that.
    ///
    /// # Errors
    /// In words.
    pub fn ready(&self) -> Result<(), String> {
        self.running.ready(self.shared.as_ref())
    }

    /// Returns how far it is.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn status(&self) -> StoreResult<LakeStatus> {
        let progress = self.shared.progress().clone();
        let unread = unread(self.shared.log.as_ref(), &progress.places).await?;
        let is_known = !progress.places.is_empty();
        let of = |kind: EventKind| is_known.then_some(unread[kind as usize]);
        Ok(LakeStatus {
            version: progress.version,
            unread_pins: of(EventKind::Pin),
            unread_geolocations: of(EventKind::Geolocation),
            unread_users: of(EventKind::User),
            trouble: progress.trouble,
        })
    }
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress
            .lock()
            .expect("no code that holds this lock can panic")
    }

    /// Reads on, until enough is pending, what is pending waits for long enough, or the way is to stop.
    async fn collect(
        &self,
        places: &mut [Place],
        stop: &CancellationToken,
    ) -> StoreResult<Pending> {
        let mut pending = Pending::default();
        let mut deadline = None;
        let mut measured = Instant::now();
        loop {
            if stop.is_cancelled() || pending.is_full(&self.config) {
                return Ok(pending);
            }
            let batch = batch(self.log.as_ref(), places, self.config.reader()).await?;
            for &(number, end) in &batch.empty {
                places[number].empty_at = end;
            }
            if !batch.events.is_empty() {
                deadline
                    .get_or_insert_with(|| tokio::time::Instant::now() + self.config.flush_every);
                for advance in &batch.positions {
                    let is_of = |place: &&mut Place| {
                        place.kind.topic() == advance.topic && place.partition == advance.partition
                    };
                    if let Some(place) = places.iter_mut().find(is_of) {
                        place.next = advance.next;
                    }
                }
                pending.push(batch);
                if measured.elapsed() >= MEASURE_EVERY {
                    measured = Instant::now();
                    self.measure().await?;
                }
                if deadline.is_some_and(|at| tokio::time::Instant::now() < at) {
                    continue;
                }
                return Ok(pending);
            }
            self.measure().await?;
            let flush = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(pending),
                () = flush => return Ok(pending),
                waited = wait(self.log.as_ref(), places) => waited?,
            }
        }
    }

    /// Merges small files, a bounded number of times: events wait meanwhile.
    async fn merge(&self) -> StoreResult<()> {
        for _ in 0..MAX_MERGES {
            match compact::merge_one(self.lake.as_ref(), &self.config).await? {
                // Nothing to merge, or somebody else is at it.
                Some(0) | None => break,
                Some(_) => ::metrics::counter!(metrics::PINS_LAKE_MERGES_TOTAL).increment(1),
            }
        }
        Ok(())
    }

    /// Writes what is pending, and commits it. Returns whether this was the one to commit it.
    async fn flush(&self, pending: Pending, places: &[Place]) -> StoreResult<bool> {
        let (received, records) = (pending.received, pending.num_records);
        let change = pending.write(self.lake.as_ref()).await?;
        let files = change.add.len();
        let LakeOutcome::Committed(version) = self.lake.commit(change).await? else {
            return Ok(false);
        };
        fault::point("pins.lake.after_commit");
        {
            let mut progress = self.progress();
            progress.version = version;
            progress.places = places.to_vec();
            progress.trouble = None;
            for (newest, received) in progress.received.iter_mut().zip(received) {
                *newest = (*newest).max(received);
            }
        }
        ::metrics::counter!(metrics::PINS_LAKE_EVENTS_TOTAL).increment(records as u64);
        ::metrics::counter!(metrics::PINS_LAKE_FILES_TOTAL).increment(files as u64);
        self.measure().await?;
        Ok(true)
    }

    /// Publishes how far behind the log the lake is.
    async fn measure(&self) -> StoreResult<()> {
        let Progress {
            places, received, ..
        } = self.progress().clone();
        let unread = unread(self.log.as_ref(), &places).await?;
        for kind in EventKind::ALL {
            let (unread, received) = (unread[kind as usize], received[kind as usize]);
            let topic = kind.topic().0;
            ::metrics::gauge!(metrics::PINS_LAKE_LAG_RECORDS, "topic" => topic).set(unread as f64);
            ::metrics::gauge!(metrics::PINS_LAKE_LAG_SECONDS, "topic" => topic)
                .set(lag_seconds(unread, received));
        }
        Ok(())
    }
}

impl Way for Shared {
    const NAME: &'static str = "the way of pins into the lake";
    const RETRIES: &'static str = metrics::PINS_LAKE_RETRIES_TOTAL;

    /// Reads, writes and commits until told to stop.
    async fn work(&self, stop: &CancellationToken) -> StoreResult<()> {
        let mut swept = Instant::now();
        loop {
            let snapshot = self.lake.snapshot().await?;
            let committed = places(&snapshot.positions_of(CONSUMER));
            {
                let mut progress = self.progress();
                (progress.version, progress.places) = (snapshot.version, committed.clone());
                progress.trouble = None;
            }
            // Until another writer was first, or an error comes.
            let mut places = committed;
            loop {
                let pending = self.collect(&mut places, stop).await?;
                let is_last = stop.is_cancelled();
                if !pending.is_empty() && !self.flush(pending, &places).await? {
                    break;
                }
                if is_last {
                    return Ok(());
                }
                self.merge().await?;
                if swept.elapsed() >= SWEEP_EVERY {
                    swept = Instant::now();
                    let removed = self.lake.sweep(self.config.keep).await?;
                    info!(?removed, "swept the lake");
                }
            }
        }
    }

    fn done(&self) -> u64 {
        self.progress().version
    }

    fn trouble(&self) -> Option<String> {
        self.progress().trouble.clone()
    }

    fn set_trouble(&self, trouble: String) {
        self.progress().trouble = Some(trouble);
    }
}
