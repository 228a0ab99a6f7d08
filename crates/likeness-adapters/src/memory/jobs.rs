use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use likeness_core::jobs::{JobRun, JobStore, NewRun, RunQuery, RunState, Trigger};
use likeness_core::{StoreResult, Timestamp};

/// History and queue of jobs in memory.
#[derive(Debug, Default)]
pub struct MemoryJobs {
    /// Run `n` stands at `n - 1`.
    runs: Mutex<Vec<JobRun>>,
}

impl MemoryJobs {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<JobRun>> {
        self.runs
            .lock()
            .expect("no holder of the lock panics: it only moves values")
    }
}

#[async_trait]
impl JobStore for MemoryJobs {
    async fn add_run(&self, run: &NewRun, now: Timestamp) -> StoreResult<Option<JobRun>> {
        let mut runs = self.lock();
        let is_known = |known: &JobRun| {
            known.job == run.job
                && known.trigger == Trigger::Schedule
                && known.interval.end == run.interval.end
        };
        if run.trigger == Trigger::Schedule && runs.iter().any(is_known) {
            return Ok(None);
        }
        let run = run.clone().into_run(runs.len() as u64 + 1, now);
        runs.push(run.clone());
        Ok(Some(run))
    }

    async fn change_run(&self, run: &JobRun) -> StoreResult<Option<JobRun>> {
        let mut runs = self.lock();
        let mut all = runs.iter_mut();
        let Some(known) = all.find(|known| (known.id, known.version) == (run.id, run.version))
        else {
            return Ok(None);
        };
        *known = known.clone().changed_to(run.clone());
        Ok(Some(known.clone()))
    }

    async fn run(&self, id: u64) -> StoreResult<Option<JobRun>> {
        Ok(self.lock().iter().find(|run| run.id == id).cloned())
    }

    async fn runs(&self, query: &RunQuery) -> StoreResult<Vec<JobRun>> {
        let runs = self.lock();
        let wanted = runs.iter().rev().filter(|run| {
            query.job.as_ref().is_none_or(|job| run.job == *job)
                && query.state.is_none_or(|state| run.state == state)
                && query.before.is_none_or(|before| run.id < before)
        });
        Ok(wanted.take(query.limit).cloned().collect())
    }

    async fn next_due(&self, job: &str, now: Timestamp) -> StoreResult<Option<JobRun>> {
        let runs = self.lock();
        let due = runs
            .iter()
            .filter(|run| run.job == job && run.state == RunState::Queued && run.due <= now);
        Ok(due.min_by_key(|run| (run.due, run.id)).cloned())
    }

    async fn last_scheduled(&self, job: &str) -> StoreResult<Option<JobRun>> {
        let runs = self.lock();
        let scheduled = runs
            .iter()
            .filter(|run| run.job == job && run.trigger == Trigger::Schedule);
        Ok(scheduled.max_by_key(|run| run.interval.end).cloned())
    }
}
