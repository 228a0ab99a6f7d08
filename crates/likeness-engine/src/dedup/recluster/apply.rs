//! Making the clusters those that were shown.

use std::time::Duration;

use bytes::Bytes;
use likeness_core::state::{Key, Table, Write};
use likeness_core::{ImageId, Sha256};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::plan;
use crate::EngineError;
use crate::dedup::Dedup;
use crate::dedup::corrections::{Command, CorrectionOutcome, NewCorrection};
use crate::dedup::tables::{SHARD, encode};

/// Most images that one plan moves; a larger one is refused when it is to be applied.
pub const MAX_PLANNED_MOVES: usize = 100_000;
/// Refusals that are told.
const MAX_REFUSALS_SHOWN: usize = 20;
/// How long one correction may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);

/// The plan that is being applied, one at a time: gone once it is done.
const PLAN: Table = Table("recluster_plan");

/// A plan to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyPlan {
    /// [`Reclustering::plan`](super::Reclustering::plan) of what was shown.
    pub plan: Sha256,
    /// Who wants it.
    pub author: String,
    /// Why.
    pub reason: String,
}

/// What came of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reclustered {
    /// Digest of the plan.
    pub plan: String,
    /// Corrections that were made.
    pub applied: u64,
    /// Corrections that were refused, since something came in between: the next run takes them up.
    pub refused: u64,
    /// Sequence number of the first correction. Undone from the last to the first, all is as before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Sequence number of the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
    /// The first refusals, in words.
    pub refusals: Vec<String>,
}

/// A plan while it is applied: what a crash leaves is gone on with.
#[derive(Debug, Serialize, Deserialize)]
struct PlanRecord {
    plan: Sha256,
    author: String,
    reason: String,
    commands: Vec<Command>,
}

fn plan_key() -> Key {
    Key::single(PLAN, Bytes::from_static(SHARD))
}

impl Dedup {
    /// Makes the corrections of a plan that [`recluster`](Self::recluster) has shown, one after the other, each
    /// journalled and durable. A plan that was begun and cut off is gone on with.
    ///
    /// # Errors
    /// [`EngineError::PlanChanged`] if the plan is no longer what a reclustering comes to;
    /// [`EngineError::InvalidParameter`] if it moves more than [`MAX_PLANNED_MOVES`] images, or another plan was
    /// begun and is to be finished first; [`EngineError::Overloaded`] while one is applied; if a store fails.
    pub async fn apply_reclustering(&self, apply: ApplyPlan) -> Result<Reclustered, EngineError> {
        let _turn = self
            .reclustering
            .try_acquire()
            .map_err(|_| EngineError::Overloaded {
                reason: "another reclustering is being applied",
                retry_after: Duration::from_secs(30),
            })?;
        let begun: Option<PlanRecord> = self.row("recluster_plan", &plan_key()).await?;
        let record = match begun {
            Some(begun) if begun.plan == apply.plan => begun,
            Some(begun) => {
                return Err(EngineError::InvalidParameter {
                    name: "plan",
                    reason: format!(
                        "the plan {} was begun; apply that one to its end first",
                        begun.plan
                    ),
                });
            }
            None => self.begin(apply).await?,
        };
        let outcome = self.carry_out(&record).await?;
        let done = Write::Delete(plan_key());
        self.ports.state.write(vec![done]).await?;
        Ok(outcome)
    }

    /// Makes sure that a plan is still what comes out, and writes it down.
    async fn begin(&self, apply: ApplyPlan) -> Result<PlanRecord, EngineError> {
        let (_, commands) = self.find_plan().await?;
        let current = plan::digest(&commands);
        if current != apply.plan {
            return Err(EngineError::PlanChanged { current });
        }
        let moved = plan::moved(&commands);
        if moved > MAX_PLANNED_MOVES {
            return Err(EngineError::InvalidParameter {
                name: "plan",
                reason: format!("moves {moved} images; at most {MAX_PLANNED_MOVES} at a time"),
            });
        }
        let record = PlanRecord {
            plan: apply.plan,
            author: apply.author,
            reason: apply.reason,
            commands,
        };
        let row = Write::Put(plan_key(), encode(&record));
        self.ports.state.write(vec![row]).await?;
        Ok(record)
    }

    async fn carry_out(&self, record: &PlanRecord) -> Result<Reclustered, EngineError> {
        let mut outcome = Reclustered {
            plan: record.plan.to_string(),
            applied: 0,
            refused: 0,
            first: None,
            last: None,
            refusals: Vec::new(),
        };
        for (number, command) in record.commands.iter().enumerate() {
            // Follows from the plan, so that what was made before a crash is not made again.
            let id = format!("recluster-{}-{number}", &record.plan.to_string()[..32]);
            let id = ImageId::new(id)?;
            self.correct(NewCorrection {
                id: Some(id.clone()),
                author: record.author.clone(),
                reason: record.reason.clone(),
                command: command.clone(),
            })
            .await?;
            let view = loop {
                if let Some(view) = self.wait_for_correction(&id, STEP_TIMEOUT).await? {
                    break view;
                }
            };
            outcome.first.get_or_insert(view.sequence);
            outcome.last = Some(view.sequence);
            match view.outcome {
                CorrectionOutcome::Applied => outcome.applied += 1,
                CorrectionOutcome::Refused { code, message } => {
                    outcome.refused += 1;
                    if outcome.refusals.len() < MAX_REFUSALS_SHOWN {
                        outcome.refusals.push(format!("{code}: {message}"));
                    }
                }
            }
        }
        Ok(outcome)
    }
}
