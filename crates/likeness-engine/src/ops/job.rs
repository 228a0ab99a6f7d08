//! What a job is, and when it runs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use likeness_core::jobs::Interval;
use likeness_core::{StoreError, Timestamp};

use super::schedule::{Schedule, day_of};
use crate::EngineError;

/// Most runs that one request puts into the queue; a longer one is refused.
pub(super) const MAX_BACKFILL: usize = 1_000;

/// What a job does.
#[async_trait]
pub trait Job: fmt::Debug + Send + Sync {
    /// Returns its name: lower-case letters, digits and `-`.
    fn name(&self) -> &'static str;

    /// Returns what it does, in a sentence.
    fn about(&self) -> &'static str;

    /// Works on an interval, and returns figures. May be dropped at any point, and run again on the same interval,
    /// at once or years later: it must find or overwrite what it left.
    async fn run(&self, interval: Interval) -> Result<serde_json::Value, JobError>;
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct JobError {
    /// What went wrong, and what to do.
    pub message: String,
    /// Whether another attempt may help.
    pub is_temporary: bool,
}

impl From<EngineError> for JobError {
    fn from(error: EngineError) -> Self {
        Self {
            message: error.to_string(),
            is_temporary: true,
        }
    }
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        EngineError::from(error).into()
    }
}

/// Which time a run of a tick works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covers {
    /// The day before the one that the tick lies in, in UTC.
    DayBefore,
    /// From the tick before, to this one.
    SinceLastTick,
}

/// A job, and when it runs.
#[derive(Debug, Clone)]
pub struct JobSpec {
    /// The job.
    pub job: Arc<dyn Job>,
    /// When; on request only if there is none.
    pub schedule: Option<Schedule>,
    /// What a run works on.
    pub covers: Covers,
    /// Whether ticks that were missed are caught up, all of them instead of the latest.
    pub catch_up: bool,
    /// Most attempts of a run, at least one.
    pub max_attempts: u32,
    /// Time between the first two attempts; twice as long each time after.
    pub retry_delay: Duration,
    /// Most time of an attempt; then it is given up, and counts as failed.
    pub timeout: Duration,
}

impl JobSpec {
    /// Returns the interval that a tick's run works on; `None` if there was no tick before.
    pub(super) fn interval(&self, schedule: &Schedule, tick: Timestamp) -> Option<Interval> {
        match self.covers {
            Covers::DayBefore => {
                let today = day_of(tick);
                let before = Timestamp(today.begin.0.checked_sub(1)?);
                Some(day_of(before))
            }
            Covers::SinceLastTick => Some(Interval {
                begin: schedule.last_until(Timestamp(tick.0.checked_sub(1)?))?,
                end: tick,
            }),
        }
    }

    /// Returns the intervals that begin in `wanted`, in their order, at most one more than a request may have.
    pub(super) fn intervals(&self, wanted: Interval) -> Vec<Interval> {
        let mut found = Vec::new();
        let mut at = wanted.begin;
        while at < wanted.end && found.len() <= MAX_BACKFILL {
            let next = match (self.covers, &self.schedule) {
                (Covers::DayBefore, _) => Some(day_of(at)),
                (Covers::SinceLastTick, Some(schedule)) => schedule
                    .next_after(at)
                    .and_then(|tick| self.interval(schedule, tick)),
                // Without ticks it is what was asked for.
                (Covers::SinceLastTick, None) => Some(wanted),
            };
            let Some(interval) = next else { break };
            at = interval.end;
            if wanted.begin <= interval.begin && interval.begin < wanted.end {
                found.push(interval);
            }
        }
        found
    }
}
