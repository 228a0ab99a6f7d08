//! The daily batch: the rows of a day made again of what came, and compared with what the stream made of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use likeness_core::Timestamp;
use likeness_core::jobs::Interval;
use likeness_core::lake::{Day, Lake};
use likeness_core::log::EventLog;

use super::rebuild::rebuild;
use super::ways::{LakeWay, TablesWay};
use crate::metrics;
use crate::ops::{Job, JobError};
use crate::pins::parity::{self, Parity, ParityError, Way};

/// Most bytes of the differences that a failed run tells of.
const MAX_TOLD_BYTES: usize = 16 << 10;

/// How the daily batch works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyConfig {
    /// How long it waits for a way that is behind.
    pub patience: Duration,
}

impl Default for DailyConfig {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(600),
        }
    }
}

/// The job `pins-daily`.
#[derive(Debug)]
pub struct PinsDaily {
    log: Arc<dyn EventLog>,
    lake: Arc<dyn Lake>,
    batch: LakeWay,
    stream: TablesWay,
    config: DailyConfig,
}

impl PinsDaily {
    /// Returns the job over both ways.
    pub fn new(
        log: Arc<dyn EventLog>,
        lake: Arc<dyn Lake>,
        batch: LakeWay,
        stream: TablesWay,
        config: DailyConfig,
    ) -> Self {
        Self {
            log,
            lake,
            batch,
            stream,
            config,
        }
    }
}

#[async_trait]
impl Job for PinsDaily {
    fn name(&self) -> &'static str {
        "pins-daily"
    }

    fn about(&self) -> &'static str {
        "Makes the lake's rows of a day again from what came, and checks that batch and stream agree on it"
    }

    /// A day that is not over yet is done as far as it is there.
    async fn run(&self, interval: Interval) -> Result<serde_json::Value, JobError> {
        let ways: [&dyn Way; 2] = [&self.batch, &self.stream];
        parity::wait_for(self.log.as_ref(), &ways[..1], self.config.patience)
            .await
            .map_err(failure)?;
        let mut days = Vec::new();
        let mut at = interval.begin;
        while at < interval.end {
            let day = Day::of(at);
            let rebuilt = rebuild(self.lake.as_ref(), day).await?;
            days.push(serde_json::json!({"day": day, "rebuilt": rebuilt}));
            if day == Day::MAX {
                break;
            }
            at = day.end();
        }
        let parity = parity::compare(
            self.log.as_ref(),
            (&self.batch, &self.stream),
            interval,
            self.config.patience,
        )
        .await
        .map_err(failure)?;
        ::metrics::gauge!(metrics::PINS_PARITY_DIFFERING_ROWS).set(parity.differing as f64);
        if parity.differing > 0 {
            return Err(JobError {
                message: told(&parity, interval.begin),
                is_temporary: false,
            });
        }
        Ok(serde_json::json!({"days": days, "parity": parity}))
    }
}

fn failure(error: ParityError) -> JobError {
    match error {
        ParityError::Store(error) => error.into(),
        behind @ ParityError::Behind { .. } => JobError {
            message: behind.to_string(),
            is_temporary: true,
        },
    }
}

/// Says what differs: the counts of each table, and the first rows, one in a line.
fn told(parity: &Parity, day: Timestamp) -> String {
    let mut text = format!(
        "batch and stream differ in {} rows of {}",
        parity.differing,
        Day::of(day)
    );
    for table in parity.tables.iter().filter(|table| table.differing > 0) {
        text += &format!(
            "; {}: {} of {} in the lake and {} in SQL",
            table.table, table.differing, table.first, table.second
        );
    }
    for difference in &parity.differences {
        let line = serde_json::to_string(difference).unwrap_or_default();
        if text.len() + line.len() > MAX_TOLD_BYTES {
            text += "\n…";
            break;
        }
        text += "\n";
        text += &line;
    }
    text
}
