//! Runs of jobs, kept: what was run, over which time, how often it was tried and what came of it.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{StoreResult, Timestamp};

/// The time that a run works on: from `begin` on, before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Interval {
    /// Its first moment.
    pub begin: Timestamp,
    /// The first moment after it.
    pub end: Timestamp,
}

/// Why a run is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The schedule of its job said so.
    Schedule,
    /// Somebody asked for it.
    Request,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It waits for its turn, the first one or another attempt.
    Queued,
    /// Somebody works on it.
    Running,
    /// It is done.
    Succeeded,
    /// All of its attempts have failed.
    Failed,
    /// Somebody did not want it any more.
    Cancelled,
}

impl RunState {
    /// All states.
    pub const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Returns the name, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns whether nothing more becomes of it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// A run of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRun {
    /// Its number: later runs have greater ones.
    pub id: u64,
    /// Grows by one with every change: see [`JobStore::change_run`].
    pub version: u64,
    /// Name of the job.
    pub job: String,
    /// The time that it works on.
    pub interval: Interval,
    /// Why it is there.
    pub trigger: Trigger,
    /// Where it stands.
    pub state: RunState,
    /// Attempts that were begun.
    pub attempts: u32,
    /// When it was put into the queue.
    pub queued: Timestamp,
    /// Before this it is not begun: the end of its interval at first, later when to try again.
    pub due: Timestamp,
    /// When the latest attempt was begun.
    pub started: Option<Timestamp>,
    /// When it came to its end.
    pub finished: Option<Timestamp>,
    /// Token of the lease of who works on it, or did last.
    pub token: u64,
    /// What it said when it succeeded: figures.
    pub output: Option<serde_json::Value>,
    /// Why the latest attempt failed, if it did.
    pub error: Option<String>,
}

/// A run to put into the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// Name of the job.
    pub job: String,
    /// The time that it works on.
    pub interval: Interval,
    /// Why.
    pub trigger: Trigger,
    /// Before this it is not begun.
    pub due: Timestamp,
}

impl NewRun {
    /// Returns the run as it is when it is added. For stores.
    pub fn into_run(self, id: u64, now: Timestamp) -> JobRun {
        JobRun {
            id,
            version: 1,
            job: self.job,
            interval: self.interval,
            trigger: self.trigger,
            state: RunState::Queued,
            attempts: 0,
            queued: now,
            due: self.due,
            started: None,
            finished: None,
            token: 0,
            output: None,
            error: None,
        }
    }
}

impl JobRun {
    /// Returns what becomes of this run by a change to `next`: its next version. For stores.
    #[must_use]
    pub fn changed_to(self, next: Self) -> Self {
        Self {
            id: self.id,
            version: self.version + 1,
            job: self.job,
            interval: self.interval,
            trigger: self.trigger,
            queued: self.queued,
            ..next
        }
    }
}

/// Which runs to return.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// Of this job only.
    pub job: Option<String>,
    /// In this state only.
    pub state: Option<RunState>,
    /// With smaller numbers only: the `id` of the last run of the page before.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// History and queue of jobs.
///
/// Contract, checked by [`crate::testsuite::check_jobs`]:
/// - Every method is one serialisable transaction, durable when it returns.
/// - Time is the caller's.
/// - A job has at most one run of a schedule for each end of an interval, whoever adds it; what is asked for
///   comes besides.
#[async_trait]
pub trait JobStore: fmt::Debug + Send + Sync {
    /// Puts a run into the queue. Nothing if it is of the schedule and the job has one for that interval.
    async fn add_run(&self, run: &NewRun, now: Timestamp) -> StoreResult<Option<JobRun>>;

    /// Replaces a run that is at the version of `run`, and returns it with the next version. Nothing if it is at
    /// another one, or is not there: read it again. `id`, `job`, `interval`, `trigger` and `queued` stay as they are.
    async fn change_run(&self, run: &JobRun) -> StoreResult<Option<JobRun>>;

    /// Returns a run, or nothing.
    async fn run(&self, id: u64) -> StoreResult<Option<JobRun>>;

    /// Returns runs, latest first.
    async fn runs(&self, query: &RunQuery) -> StoreResult<Vec<JobRun>>;

    /// Returns the run of a job that is in the queue and due at `now`, of several the one that is due the longest,
    /// then the first.
    async fn next_due(&self, job: &str, now: Timestamp) -> StoreResult<Option<JobRun>>;

    /// Returns the run of a job's schedule with the latest interval, or nothing.
    async fn last_scheduled(&self, job: &str) -> StoreResult<Option<JobRun>>;
}
