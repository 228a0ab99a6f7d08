//! The commit rule: a step's writes, its output events and its new input positions are one commit.
//!
//! ```text
//! embedded (log and state share a database):  one atomic batch
//! scale-out (log and state are two products):  claim → upserts → events → redactions → positions
//! ```
//!
//! In the second form a crash may leave a step half done. It is then run again from its input
//! position, so a step must be a function of its input and of rows it may read twice: its writes
//! are upserts keyed by what they are about, and its events carry ids derived from their inputs,
//! by which consumers drop what they have seen.

mod sequenced;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::log::{NewRecord, Offset, Partition, Redaction, Topic, is_name};
use crate::state::{Key, Write};
use crate::{StoreError, StoreResult};

pub use sequenced::SequencedStepStore;

/// Name of a consumer of the log: lower-case letters, digits, `-` and `_`, at most 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Consumer(pub &'static str);

impl Consumer {
    /// Longest name, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Checks the name, on behalf of `store`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if it breaks the rule above.
    pub fn validate(self, store: &'static str) -> StoreResult<()> {
        if is_name(self.0, Self::MAX_BYTES, b"-_") {
            return Ok(());
        }
        Err(StoreError::invalid(
            store,
            format!("consumer {:?}: 1 to 64 of `a-z 0-9 - _`", self.0),
        ))
    }
}

impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// How far a consumer has come in one partition: every record before `next` is dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Who reads.
    pub consumer: Consumer,
    /// What is read.
    pub topic: Topic,
    /// Which part of it.
    pub partition: Partition,
    /// The offset to go on at.
    pub next: Offset,
}

/// A row that only the first of several contenders may create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The row.
    pub key: Key,
    /// What the winner writes. Equal claims by two contenders are the same claim.
    pub value: Bytes,
}

/// Records for one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emit {
    /// Where to.
    pub topic: Topic,
    /// Which part of it.
    pub partition: Partition,
    /// What, in order.
    pub records: Vec<NewRecord>,
}

/// When a commit is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Once kill -9 cannot undo it. A loss of power may take back a suffix of such steps, never a
    /// step in the middle; they are then run again from the log.
    Process,
    /// Once a loss of power cannot undo it, nor any step before it.
    Synced,
}

/// What one step of a pipeline changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// A row that must be new, or equal to what this step would write.
    pub claim: Option<Claim>,
    /// Rows to upsert or delete, in order.
    pub writes: Vec<Write>,
    /// Events to append.
    pub emits: Vec<Emit>,
    /// Records of the log to replace; see [`EventLog::redact`](crate::log::EventLog::redact).
    pub redactions: Vec<Redaction>,
    /// Input positions to move.
    pub positions: Vec<Position>,
}

impl Step {
    /// Checks every name and key, and that no emit is empty, on behalf of `store`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] names the first rule that is broken.
    pub fn validate(&self, store: &'static str) -> StoreResult<()> {
        if let Some(claim) = &self.claim {
            claim.key.validate(store)?;
        }
        for write in &self.writes {
            write.key().validate(store)?;
        }
        for emit in &self.emits {
            emit.topic.validate(store)?;
            if emit.records.is_empty() {
                return Err(StoreError::invalid(store, "an emit without records"));
            }
        }
        for redaction in &self.redactions {
            redaction.topic.validate(store)?;
        }
        for position in &self.positions {
            position.consumer.validate(store)?;
            position.topic.validate(store)?;
        }
        Ok(())
    }
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepOutcome {
    /// Everything is written. Holds, in the order of [`Step::emits`], the offset of the last
    /// record of each.
    Committed(Vec<Offset>),
    /// An equal claim was there before, so the step had been committed by an earlier try (or by
    /// a contender with the same claim). Only its positions were written now, so that an input
    /// which came twice is passed. A store that cannot know this repeats the step and answers
    /// `Committed`.
    AlreadyCommitted,
    /// Another contender holds the claim, with this value. Nothing was written.
    Conflict(Bytes),
}

/// Commits steps. Implemented by what joins a log and a state store.
///
/// Contract, checked by [`crate::testsuite::check_step`]:
/// - After `commit` returns, state, log and positions show the whole step.
/// - After a crash during `commit`, either the same holds, or the positions are the old ones and
///   running the step again gives the same rows; its events may then stand in the log twice.
///   A store with one database shows the whole step or nothing of it.
/// - Who reads an event of a step also reads its rows, or later ones.
/// - Of contenders with unequal claims on one key exactly one is committed.
/// - Steps of one caller are committed in the order of its calls.
/// - A step that breaks a rule is [`StoreError::Invalid`], and nothing of it is written.
#[async_trait]
pub trait StepStore: fmt::Debug + Send + Sync {
    /// Commits `step`.
    async fn commit(&self, step: Step, durability: Durability) -> StoreResult<StepOutcome>;

    /// Returns where `consumer` goes on; the log's beginning if it never committed.
    async fn position(
        &self,
        consumer: Consumer,
        topic: Topic,
        partition: Partition,
    ) -> StoreResult<Offset>;

    /// Returns once everything committed before this call is synced.
    async fn sync(&self) -> StoreResult<()>;
}
