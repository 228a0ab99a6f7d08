//! The section `[jobs]` of the configuration: a section of its own for each job.

use std::sync::Arc;

use likeness_engine::ops::{Covers, Job, JobSpec, Schedule};
use serde::Deserialize;

use crate::units::Period;

/// What runs by the clock.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct JobsSection {
    pub(crate) recluster_plan: JobSection,
    pub(crate) pins_daily: JobSection,
}

/// When a job runs, and how often it is tried.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobSection {
    schedule: String,
    catch_up: bool,
    attempts: u32,
    retry_delay: Period,
    timeout: Period,
}

impl JobsSection {
    /// Checks values.
    ///
    /// # Errors
    /// Names the key.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.recluster_plan.check("jobs.recluster-plan")?;
        self.pins_daily.check("jobs.pins-daily")
    }
}

impl JobSection {
    fn check(&self, key: &str) -> Result<(), String> {
        self.schedule()
            .map_err(|error| format!("`{key}.schedule`: {error}"))?;
        if self.attempts == 0 {
            return Err(format!("`{key}.attempts` must be at least 1"));
        }
        Ok(())
    }

    fn schedule(&self) -> Result<Option<Schedule>, String> {
        let text = self.schedule.trim();
        let schedule = (!text.is_empty()).then(|| text.parse().map_err(|error| format!("{error}")));
        schedule.transpose()
    }

    /// Returns the job with when it runs. The section was checked.
    pub(crate) fn spec(&self, job: Arc<dyn Job>, covers: Covers) -> JobSpec {
        JobSpec {
            job,
            schedule: self.schedule().ok().flatten(),
            covers,
            catch_up: self.catch_up,
            max_attempts: self.attempts,
            retry_delay: self.retry_delay.0,
            timeout: self.timeout.0,
        }
    }
}
