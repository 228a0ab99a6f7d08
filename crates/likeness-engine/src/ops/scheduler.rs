//! Puts runs into the queue when they are due, and works on them.

use std::sync::Arc;
use std::time::Duration;

use likeness_core::catalog::{Catalog, Lease, LeaseOutcome};
use likeness_core::jobs::{Interval, JobRun, JobStore, NewRun, RunQuery, RunState, Trigger};
use likeness_core::{StoreResult, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::job::{JobError, JobSpec, MAX_BACKFILL};
use crate::EngineError;
use crate::metrics::{JOB_LAST_SUCCESS_SECONDS, JOB_RUN_SECONDS, JOB_RUNS_TOTAL};

/// How long a lease is held without being renewed; a worker that is gone is noticed after so long.
const LEASE: Duration = Duration::from_secs(30);
/// How often a lease is renewed, and a run looked at whether it was cancelled.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How often the queue is looked at: another process may have put something in.
const POLL: Duration = Duration::from_secs(5);
/// Most runs of a schedule that are caught up at once, the latest; older ones are for a request.
const MAX_CATCH_UP: usize = 100;

/// Runs jobs by the clock and on request.
#[derive(Debug)]
pub struct Scheduler {
    pub(super) jobs: Arc<dyn JobStore>,
    catalog: Arc<dyn Catalog>,
    pub(super) specs: Vec<JobSpec>,
    /// Of this process and no other.
    owner: String,
    changed: Notify,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Scheduler {
    /// Returns a scheduler that does nothing before [`start`](Self::start).
    pub fn new(
        catalog: Arc<dyn Catalog>,
        jobs: Arc<dyn JobStore>,
        specs: Vec<JobSpec>,
    ) -> Arc<Self> {
        Arc::new(Self {
            jobs,
            catalog,
            specs,
            owner: uuid::Uuid::now_v7().to_string(),
            changed: Notify::new(),
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Begins to run jobs, each on a task of its own.
    pub fn start(self: &Arc<Self>) {
        for idx in 0..self.specs.len() {
            let this = Arc::clone(self);
            self.tasks.spawn(async move { this.serve(idx).await });
        }
        self.tasks.close();
    }

    /// Stops. An attempt that is under way is dropped, and made again by whoever comes next.
    pub async fn stop(&self) {
        self.shutdown.cancel();
        self.tasks.wait().await;
    }

    /// Returns a job.
    ///
    /// # Errors
    /// [`EngineError::JobNotFound`].
    pub(super) fn spec(&self, name: &str) -> Result<&JobSpec, EngineError> {
        let mut specs = self.specs.iter();
        specs
            .find(|spec| spec.job.name() == name)
            .ok_or_else(|| EngineError::JobNotFound(name.to_owned()))
    }

    /// Puts runs into the queue, one for each interval of the job that begins in `wanted`, earliest first.
    ///
    /// # Errors
    /// [`EngineError::JobNotFound`]; [`EngineError::InvalidParameter`] if there is no such interval, if one is not
    /// over at `now`, or if there are more than one request may ask for.
    pub async fn request(
        &self,
        name: &str,
        wanted: Interval,
        now: Timestamp,
    ) -> Result<Vec<JobRun>, EngineError> {
        let spec = self.spec(name)?;
        let invalid = |reason: String| EngineError::InvalidParameter { name: "to", reason };
        let intervals = spec.intervals(wanted);
        if intervals.is_empty() {
            return Err(invalid(
                "no interval of the job begins between `from` and it".to_owned(),
            ));
        }
        if intervals.len() > MAX_BACKFILL {
            return Err(invalid(format!(
                "more than {MAX_BACKFILL} intervals; ask for them in parts"
            )));
        }
        if intervals.iter().any(|interval| interval.end > now) {
            return Err(invalid("the last interval is not over yet".to_owned()));
        }
        let mut runs = Vec::with_capacity(intervals.len());
        for interval in intervals {
            let run = NewRun {
                job: name.to_owned(),
                interval,
                trigger: Trigger::Request,
                due: now,
            };
            runs.extend(self.jobs.add_run(&run, now).await?);
        }
        self.changed.notify_waiters();
        Ok(runs)
    }

    /// Takes a run out of the queue, or makes its worker give it up within seconds.
    ///
    /// # Errors
    /// [`EngineError::RunNotFound`]; [`EngineError::InvalidParameter`] if it has come to its end.
    pub async fn cancel(&self, name: &str, id: u64, now: Timestamp) -> Result<JobRun, EngineError> {
        self.spec(name)?;
        loop {
            let run = self.jobs.run(id).await?.filter(|run| run.job == name);
            let run = run.ok_or(EngineError::RunNotFound(id))?;
            if run.state.is_final() {
                return Err(EngineError::InvalidParameter {
                    name: "id",
                    reason: format!("run {id} has {} already", run.state.name()),
                });
            }
            let cancelled = JobRun {
                state: RunState::Cancelled,
                finished: Some(now),
                ..run
            };
            if let Some(cancelled) = self.jobs.change_run(&cancelled).await? {
                return Ok(cancelled);
            }
        }
    }

    async fn serve(&self, idx: usize) {
        let spec = &self.specs[idx];
        while !self.shutdown.is_cancelled() {
            // Before the queue is looked at: what comes after that is not missed.
            let changed = self.changed.notified();
            let worked = self.work(spec, Timestamp::now).await;
            match worked {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => {
                    warn!(job = spec.job.name(), %error, "cannot see to a job, will try again");
                }
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(POLL) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// Puts what is due into the queue and works on one run; returns whether there was one.
    ///
    /// # Errors
    /// If a store fails. A run that fails is no error here.
    pub(super) async fn work(
        &self,
        spec: &JobSpec,
        now: impl Fn() -> Timestamp + Send + Sync,
    ) -> StoreResult<bool> {
        self.enqueue(spec, now()).await?;
        if self.jobs.next_due(spec.job.name(), now()).await?.is_none()
            && !self.is_any_running(spec).await?
        {
            return Ok(false);
        }
        let name = format!("job/{}", spec.job.name());
        let lease = self.catalog.acquire_lease(&name, &self.owner, LEASE, now());
        let LeaseOutcome::Acquired(lease) = lease.await? else {
            return Ok(false);
        };
        let worked = self.work_under(spec, &lease, &now).await;
        self.catalog.release_lease(&lease).await?;
        worked
    }

    async fn is_any_running(&self, spec: &JobSpec) -> StoreResult<bool> {
        let query = RunQuery {
            job: Some(spec.job.name().to_owned()),
            state: Some(RunState::Running),
            before: None,
            limit: 1,
        };
        Ok(!self.jobs.runs(&query).await?.is_empty())
    }

    async fn work_under(
        &self,
        spec: &JobSpec,
        lease: &Lease,
        now: &(impl Fn() -> Timestamp + Send + Sync),
    ) -> StoreResult<bool> {
        self.take_back(spec, now()).await?;
        let Some(due) = self.jobs.next_due(spec.job.name(), now()).await? else {
            return Ok(false);
        };
        let begun = JobRun {
            state: RunState::Running,
            attempts: due.attempts + 1,
            started: Some(now()),
            token: lease.token,
            error: None,
            ..due
        };
        // Cancelled meanwhile.
        let Some(run) = self.jobs.change_run(&begun).await? else {
            return Ok(true);
        };
        info!(job = %run.job, run = run.id, attempt = run.attempts, "begun");
        let started = std::time::Instant::now();
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(spec.timeout, spec.job.run(run.interval)) => outcome,
            lost = self.guard(lease, &run, now) => return lost.map(|()| true),
            // It stays as it is, and is taken back by whoever comes next.
            () = self.shutdown.cancelled() => return Ok(true),
        };
        metrics::histogram!(JOB_RUN_SECONDS, "job" => run.job.clone())
            .record(started.elapsed().as_secs_f64());
        let outcome = outcome.unwrap_or_else(|_| {
            Err(JobError {
                message: format!("took longer than {} s", spec.timeout.as_secs()),
                is_temporary: true,
            })
        });
        self.finish(spec, run, outcome, now()).await?;
        Ok(true)
    }

    /// Puts ticks that have come into the queue.
    async fn enqueue(&self, spec: &JobSpec, now: Timestamp) -> StoreResult<()> {
        let Some(schedule) = &spec.schedule else {
            return Ok(());
        };
        let name = spec.job.name();
        let last = self.jobs.last_scheduled(name).await?;
        let since = match last {
            Some(last) => last.due,
            // From the first time on that the job was seen, whatever came before.
            None => self.first_seen(name, now).await?,
        };
        let mut ticks = Vec::new();
        let mut tick = schedule.last_until(now);
        let most = if spec.catch_up { MAX_CATCH_UP } else { 1 };
        while let Some(at) = tick.filter(|at| *at > since && ticks.len() < most) {
            ticks.push(at);
            tick = schedule.last_until(Timestamp(at.0 - 1));
        }
        for tick in ticks.into_iter().rev() {
            let Some(interval) = spec.interval(schedule, tick) else {
                continue;
            };
            let run = NewRun {
                job: name.to_owned(),
                interval,
                trigger: Trigger::Schedule,
                due: tick,
            };
            self.jobs.add_run(&run, now).await?;
        }
        Ok(())
    }

    /// Returns when a job was seen for the first time, which is now if it never was.
    async fn first_seen(&self, name: &str, now: Timestamp) -> StoreResult<Timestamp> {
        let setting = format!("job/{name}/first_seen_ms");
        let text = now.0.to_string();
        self.catalog
            .compare_and_set_setting(&setting, None, Some(&text))
            .await?;
        let known = self.catalog.setting(&setting).await?;
        let seen = known.and_then(|seen| seen.parse().ok());
        Ok(seen.map_or(now, Timestamp))
    }

    /// Takes back what somebody worked on who is gone. Only under the lease.
    async fn take_back(&self, spec: &JobSpec, now: Timestamp) -> StoreResult<()> {
        let query = RunQuery {
            job: Some(spec.job.name().to_owned()),
            state: Some(RunState::Running),
            before: None,
            limit: MAX_BACKFILL,
        };
        for run in self.jobs.runs(&query).await? {
            let gone = JobError {
                message: "its worker ended before the run did".to_owned(),
                is_temporary: true,
            };
            self.finish(spec, run, Err(gone), now).await?;
        }
        Ok(())
    }

    /// Returns when the lease is lost, or the run changed by somebody else.
    async fn guard(
        &self,
        lease: &Lease,
        run: &JobRun,
        now: &(impl Fn() -> Timestamp + Send + Sync),
    ) -> StoreResult<()> {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            let renewed = self.catalog.renew_lease(lease, LEASE, now()).await;
            let known = self.jobs.run(run.id).await;
            match (renewed, known) {
                (Ok(None), _) => {
                    warn!(job = %run.job, run = run.id, "the lease is lost, the run is given up");
                    return Ok(());
                }
                (_, Ok(known)) if known.as_ref() != Some(run) => {
                    info!(job = %run.job, run = run.id, "cancelled");
                    return Ok(());
                }
                // The lease lapses if this goes on.
                (Err(error), _) | (_, Err(error)) => {
                    warn!(job = %run.job, run = run.id, %error, "cannot renew the lease");
                }
                (Ok(Some(_)), Ok(_)) => {}
            }
        }
    }

    async fn finish(
        &self,
        spec: &JobSpec,
        run: JobRun,
        outcome: Result<serde_json::Value, JobError>,
        now: Timestamp,
    ) -> StoreResult<()> {
        let job = run.job.clone();
        let (label, done) = match outcome {
            Ok(output) => {
                metrics::gauge!(JOB_LAST_SUCCESS_SECONDS, "job" => job.clone())
                    .set(now.0 as f64 / 1e3);
                let done = JobRun {
                    state: RunState::Succeeded,
                    finished: Some(now),
                    output: Some(output),
                    ..run
                };
                ("succeeded", done)
            }
            Err(error) if error.is_temporary && run.attempts < spec.max_attempts => {
                let delay = spec
                    .retry_delay
                    .saturating_mul(1 << (run.attempts.max(1) - 1).min(16));
                warn!(%job, run = run.id, %error, ?delay, "an attempt failed, another one follows");
                let again = JobRun {
                    state: RunState::Queued,
                    due: now.plus(delay),
                    error: Some(error.message),
                    ..run
                };
                ("retried", again)
            }
            Err(error) => {
                warn!(%job, run = run.id, %error, "failed");
                let failed = JobRun {
                    state: RunState::Failed,
                    finished: Some(now),
                    error: Some(error.message),
                    ..run
                };
                ("failed", failed)
            }
        };
        metrics::counter!(JOB_RUNS_TOTAL, "job" => job.clone(), "outcome" => label).increment(1);
        if self.jobs.change_run(&done).await?.is_none() {
            info!(%job, run = done.id, "was cancelled at its end");
        }
        Ok(())
    }
}
