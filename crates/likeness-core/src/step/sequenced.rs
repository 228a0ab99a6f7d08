//! The commit rule over a log and a state store that share nothing.
//!
//! ```text
//! claim (compare-and-set) → upserts → events → redactions → positions (upserts)
//! ```
//!
//! Each phase is durable before the next begins. A crash between two leaves the positions old, so
//! the step runs again: the claim is found to be its own, the upserts write the same rows, the
//! events are appended a second time, the positions move. Which of these an earlier try reached
//! is not known, hence [`StepOutcome::AlreadyCommitted`] never comes from here.
//!
//! Positions are rows of the table `positions`:
//! ```text
//! partition key: consumer \0 topic   sort key: partition be32   value: next offset be64
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Claim, Consumer, Durability, Position, Step, StepOutcome, StepStore};
use crate::log::{EventLog, Offset, Partition, Topic};
use crate::state::{CasOutcome, Key, StateStore, Table, Write};
use crate::{StoreError, StoreResult};

const STORE: &str = "steps (sequenced)";
const POSITIONS: Table = Table("positions");

/// Commits steps to any log and any state store, one phase after the other.
#[derive(Debug, Clone)]
pub struct SequencedStepStore {
    log: Arc<dyn EventLog>,
    state: Arc<dyn StateStore>,
}

impl SequencedStepStore {
    /// Joins a log and a state store.
    pub fn new(log: Arc<dyn EventLog>, state: Arc<dyn StateStore>) -> Self {
        Self { log, state }
    }

    /// Returns the value of another contender's claim, or nothing if the claim is held now.
    async fn claim(&self, claim: Claim) -> StoreResult<Option<Bytes>> {
        let outcome = self
            .state
            .compare_and_set(&claim.key, None, Some(claim.value.clone()))
            .await?;
        match outcome {
            CasOutcome::Applied => Ok(None),
            CasOutcome::Conflict(Some(found)) if found == claim.value => Ok(None),
            CasOutcome::Conflict(Some(found)) => Ok(Some(found)),
            // The row was there at the comparison and was gone at the answer.
            CasOutcome::Conflict(None) => Err(StoreError::unavailable(
                STORE,
                "a claimed row was removed while it was claimed again",
            )),
        }
    }
}

#[async_trait]
impl StepStore for SequencedStepStore {
    async fn commit(&self, step: Step, _durability: Durability) -> StoreResult<StepOutcome> {
        step.validate(STORE)?;
        if let Some(claim) = step.claim
            && let Some(other) = self.claim(claim).await?
        {
            return Ok(StepOutcome::Conflict(other));
        }
        if !step.writes.is_empty() {
            self.state.write(step.writes).await?;
        }
        let mut offsets = Vec::with_capacity(step.emits.len());
        for emit in step.emits {
            let offset = self
                .log
                .append(emit.topic, emit.partition, emit.records)
                .await?;
            offsets.push(offset);
        }
        if !step.redactions.is_empty() {
            self.log.redact(step.redactions).await?;
        }
        if !step.positions.is_empty() {
            let rows = step.positions.into_iter().map(position_row).collect();
            self.state.write(rows).await?;
        }
        Ok(StepOutcome::Committed(offsets))
    }

    async fn position(
        &self,
        consumer: Consumer,
        topic: Topic,
        partition: Partition,
    ) -> StoreResult<Offset> {
        consumer.validate(STORE)?;
        topic.validate(STORE)?;
        let key = position_key(consumer, topic, partition);
        let Some(value) = self.state.get(&key).await? else {
            return Ok(Offset::default());
        };
        let next = value.as_ref().try_into().map_err(|_| {
            StoreError::corrupt(
                STORE,
                format!("position of {consumer} in {topic}/{}", partition.0),
                format!("{} bytes instead of 8", value.len()),
            )
        })?;
        Ok(Offset(u64::from_be_bytes(next)))
    }

    async fn sync(&self) -> StoreResult<()> {
        // Every phase of a commit is durable before the commit returns.
        Ok(())
    }
}

fn position_key(consumer: Consumer, topic: Topic, partition: Partition) -> Key {
    let mut group = Vec::with_capacity(consumer.0.len() + 1 + topic.0.len());
    group.extend_from_slice(consumer.0.as_bytes());
    group.push(0);
    group.extend_from_slice(topic.0.as_bytes());
    Key::new(POSITIONS, group, partition.0.to_be_bytes().to_vec())
}

fn position_row(position: Position) -> Write {
    Write::Put(
        position_key(position.consumer, position.topic, position.partition),
        Bytes::copy_from_slice(&position.next.0.to_be_bytes()),
    )
}
