//! The way in: checked, durable, acknowledged; in this order.
//!
//! Invariants:
//! - All events of a call are checked before one is stored, and those that pass are one commit: durable
//!   together, or not at all.
//! - What was acknowledged survives kill -9 and loss of power.
//! - A client that got no answer sends again, so an event may stand in the log twice, or in two versions. The
//!   key of a record is that of the event (`unique_id`, `ind`); records of one key are in one partition, in
//!   the order of their coming. Who reads them upserts by the key, the later one counts. So nothing is looked
//!   up here, and no `Idempotency-Key` is needed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use likeness_core::log::{NewRecord, Partition};
use likeness_core::step::{Durability, Emit, Step, StepOutcome, StepStore};
use likeness_core::{StoreError, Timestamp, fault};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::ToSchema;

use super::event::{EventKind, MAX_EVENT_BYTES, RawEvent, key};
use crate::EngineError;
use crate::metrics::PIN_EVENTS_TOTAL;

/// Most events of one call; more are refused.
pub const MAX_BATCH: usize = 1_000;
/// Partitions of each topic. Must not change while there are records: a key would change its partition.
pub const PARTITIONS: u32 = 4;
/// Most bytes of events that are received at once; beyond it, more is refused with `overloaded`.
const MAX_BYTES_IN_FLIGHT: u32 = 64 << 20;
/// Bytes in a permit of the semaphore.
const PERMIT_BYTES: u64 = 1 << 10;

/// Takes pins and their companions.
pub struct Pins {
    steps: Arc<dyn StepStore>,
    bytes: Arc<Semaphore>,
}

/// The right to hold bytes of events in memory; given back when dropped.
#[derive(Debug)]
pub struct PinAdmission(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Ingested {
    /// It is durable.
    Accepted {
        /// Its key.
        key: String,
        /// Topic of the log.
        topic: String,
        /// Partition of the topic.
        partition: u32,
        /// Place in the partition.
        offset: u64,
    },
    /// It cannot be stored.
    Refused {
        /// The field that is wrong; absent if it is the whole event.
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<String>,
        /// What is wrong, to be read after the name of the field.
        reason: String,
    },
}

impl Ingested {
    /// Returns whether it is durable.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted { .. })
    }

    fn refused(reason: impl Into<String>) -> Self {
        Self::Refused {
            field: None,
            reason: reason.into(),
        }
    }
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pins")
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl Pins {
    /// Returns a way in to the log that `steps` commits to.
    pub fn new(steps: Arc<dyn StepStore>) -> Self {
        let permits = u64::from(MAX_BYTES_IN_FLIGHT) / PERMIT_BYTES;
        Self {
            steps,
            bytes: Arc::new(Semaphore::new(permits as usize)),
        }
    }

    /// Makes room for `num_bytes` of events, which are then read.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`] if there is none.
    pub fn admit(&self, num_bytes: u64) -> Result<PinAdmission, EngineError> {
        let num_bytes = num_bytes.min(u64::from(MAX_BYTES_IN_FLIGHT));
        let wanted = u32::try_from(num_bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
        Arc::clone(&self.bytes)
            .try_acquire_many_owned(wanted.max(1))
            .map(PinAdmission)
            .map_err(|_| EngineError::Overloaded {
                reason: "too many bytes of events are being received",
                retry_after: Duration::from_secs(1),
            })
    }

    /// Takes events of one kind, each one JSON object; what was accepted is durable when it returns. Says of
    /// each, in their order, what became of it. One that is refused keeps no other from being stored.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for more than [`MAX_BATCH`]; [`EngineError::Store`] if they could not
    /// be made durable: the same call may be repeated.
    pub async fn ingest(
        &self,
        kind: EventKind,
        events: &[&RawValue],
    ) -> Result<Vec<Ingested>, EngineError> {
        if events.len() > MAX_BATCH {
            return Err(EngineError::InvalidParameter {
                name: "events",
                reason: format!(
                    "{} in one call, at most {MAX_BATCH} are taken",
                    events.len()
                ),
            });
        }
        let now = Timestamp::now();
        let mut emits = Vec::with_capacity(events.len());
        let mut items = Vec::with_capacity(events.len());
        for event in events {
            match check(kind, event, now) {
                Ok((key, payload)) => {
                    let partition = partition_of(&key);
                    // One emit for each: a commit tells the offset of the last record of an emit.
                    emits.push(Emit {
                        topic: kind.topic(),
                        partition,
                        records: vec![NewRecord {
                            key: Bytes::copy_from_slice(key.as_bytes()),
                            payload: Bytes::from(payload),
                        }],
                    });
                    items.push(Ingested::Accepted {
                        key,
                        topic: kind.topic().0.to_owned(),
                        partition: partition.0,
                        offset: 0,
                    });
                }
                Err(refused) => items.push(refused),
            }
        }
        let accepted = emits.len();
        if accepted > 0 {
            self.append(emits, &mut items).await?;
        }
        for (outcome, count) in [("accepted", accepted), ("refused", items.len() - accepted)] {
            metrics::counter!(PIN_EVENTS_TOTAL, "kind" => kind.name(), "outcome" => outcome)
                .increment(count as u64);
        }
        Ok(items)
    }

    /// Commits, and tells each accepted item its place.
    async fn append(&self, emits: Vec<Emit>, items: &mut [Ingested]) -> Result<(), EngineError> {
        let step = Step {
            emits,
            ..Step::default()
        };
        fault::point("pins.ingest.before_commit");
        let outcome = self.steps.commit(step, Durability::Synced).await?;
        fault::point("pins.ingest.after_commit");
        let StepOutcome::Committed(offsets) = outcome else {
            let reason = "a step without a claim was not committed";
            return Err(StoreError::unavailable("steps", reason).into());
        };
        let places = items.iter_mut().filter_map(|item| match item {
            Ingested::Accepted { offset, .. } => Some(offset),
            Ingested::Refused { .. } => None,
        });
        for (place, offset) in places.zip(offsets) {
            *place = offset.0;
        }
        Ok(())
    }
}

/// Returns the partition of a key: FNV-1a, 64 bits (Fowler, Noll, Vo), modulo their number.
pub fn partition_of(key: &str) -> Partition {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let partition = hash % u64::from(PARTITIONS);
    Partition(u32::try_from(partition).expect("less than a number of 32 bits"))
}

/// Returns key and payload of what can be stored.
fn check(kind: EventKind, raw: &RawValue, now: Timestamp) -> Result<(String, Vec<u8>), Ingested> {
    let too_long = || Ingested::refused(format!("is longer than {MAX_EVENT_BYTES} bytes"));
    // Before it is read: what a value takes in memory is a multiple of its text.
    if raw.get().len() > MAX_EVENT_BYTES {
        return Err(too_long());
    }
    let event = match serde_json::from_str(raw.get()) {
        Ok(Value::Object(event)) => event,
        Ok(_) => return Err(Ingested::refused("must be a JSON object")),
        // It is JSON, so it is nested too deep, or has a number that is too great.
        Err(error) => return Err(Ingested::refused(format!("cannot be read: {error}"))),
    };
    let key = key(kind, &event).map_err(|rejection| Ingested::Refused {
        field: Some(rejection.field),
        reason: rejection.reason,
    })?;
    let received = now;
    let payload = RawEvent { received, event }.encode();
    // Numbers may be spelled longer than they came.
    if payload.len() > MAX_EVENT_BYTES + MAX_ENVELOPE_BYTES {
        return Err(too_long());
    }
    Ok((key, payload))
}

/// What a record adds to its event.
const MAX_ENVELOPE_BYTES: usize = 64;

#[cfg(test)]
mod tests;
