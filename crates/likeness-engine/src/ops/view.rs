//! Jobs and their runs as they are shown.

use likeness_core::Timestamp;
use likeness_core::jobs::{JobRun, RunQuery};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::job::JobSpec;
use super::scheduler::Scheduler;
use crate::EngineError;

/// Most runs of one page.
const MAX_PAGE: usize = 100;

/// A job, and how it does.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// What it does.
    pub about: String,
    /// Cron expression in UTC; absent if it runs on request only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// When it comes next by its schedule, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_ms: Option<u64>,
    /// Whether all ticks that were missed are caught up, instead of the latest.
    pub catch_up: bool,
    /// Most attempts of a run.
    pub max_attempts: u32,
    /// Its latest run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<RunView>,
}

/// All jobs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JobList {
    /// By name.
    pub jobs: Vec<JobView>,
}

/// A run of a job. Moments are milliseconds since 1970.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// Its number.
    pub id: u64,
    /// Name of the job.
    pub job: String,
    /// `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    pub state: String,
    /// `schedule` or `request`.
    pub trigger: String,
    /// First moment of the time that it works on.
    pub begin_ms: u64,
    /// First moment after that time.
    pub end_ms: u64,
    /// Attempts that were begun.
    pub attempts: u32,
    /// When it was put into the queue.
    pub queued_ms: u64,
    /// Before this it is not begun.
    pub due_ms: u64,
    /// When the latest attempt was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_ms: Option<u64>,
    /// When it came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_ms: Option<u64>,
    /// Its figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<serde_json::Value>,
    /// Why the latest attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A page of runs, latest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RunList {
    /// The runs.
    pub runs: Vec<RunView>,
    /// `before` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

impl From<JobRun> for RunView {
    fn from(run: JobRun) -> Self {
        let trigger = match run.trigger {
            likeness_core::jobs::Trigger::Schedule => "schedule",
            likeness_core::jobs::Trigger::Request => "request",
        };
        Self {
            id: run.id,
            job: run.job,
            state: run.state.name().to_owned(),
            trigger: trigger.to_owned(),
            begin_ms: run.interval.begin.0,
            end_ms: run.interval.end.0,
            attempts: run.attempts,
            queued_ms: run.queued.0,
            due_ms: run.due.0,
            started_ms: run.started.map(|time| time.0),
            finished_ms: run.finished.map(|time| time.0),
            output: run.output,
            error: run.error,
        }
    }
}

impl Scheduler {
    /// Returns all jobs, by name.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn list(&self, now: Timestamp) -> Result<JobList, EngineError> {
        let mut jobs = Vec::with_capacity(self.specs.len());
        for spec in &self.specs {
            jobs.push(self.view(spec, now).await?);
        }
        jobs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(JobList { jobs })
    }

    async fn view(&self, spec: &JobSpec, now: Timestamp) -> Result<JobView, EngineError> {
        let name = spec.job.name().to_owned();
        let schedule = spec.schedule.as_ref();
        Ok(JobView {
            about: spec.job.about().to_owned(),
            schedule: schedule.map(ToString::to_string),
            next_ms: schedule.and_then(|schedule| Some(schedule.next_after(now)?.0)),
            catch_up: spec.catch_up,
            max_attempts: spec.max_attempts,
            last: self.runs(&name, None, 1).await?.runs.pop(),
            name,
        })
    }

    /// Returns runs of a job, latest first, those with numbers below `before` if it is given.
    ///
    /// # Errors
    /// [`EngineError::JobNotFound`]; [`EngineError::InvalidParameter`] for a page that is too long or empty.
    pub async fn runs(
        &self,
        name: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<RunList, EngineError> {
        self.spec(name)?;
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(EngineError::InvalidParameter {
                name: "limit",
                reason: format!("must be from 1 to {MAX_PAGE}"),
            });
        }
        let query = RunQuery {
            job: Some(name.to_owned()),
            state: None,
            before,
            limit: limit + 1,
        };
        let mut runs = self.jobs.runs(&query).await?;
        let has_more = runs.len() > limit;
        runs.truncate(limit);
        let next = runs.last().map(|run| run.id).filter(|_| has_more);
        Ok(RunList {
            runs: runs.into_iter().map(RunView::from).collect(),
            next,
        })
    }

    /// Returns a run of a job.
    ///
    /// # Errors
    /// [`EngineError::JobNotFound`], [`EngineError::RunNotFound`].
    pub async fn run(&self, name: &str, id: u64) -> Result<RunView, EngineError> {
        self.spec(name)?;
        let run = self.jobs.run(id).await?.filter(|run| run.job == name);
        run.map(RunView::from).ok_or(EngineError::RunNotFound(id))
    }
}
