//! The log port: what happened, in order, kept.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{StoreError, StoreResult};

/// Name of a stream of events: lower-case letters, digits, `-` and `_`, at most 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(pub &'static str);

impl Topic {
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
            format!("topic {:?}: 1 to 64 of `a-z 0-9 - _`", self.0),
        ))
    }
}

/// Returns whether `text` is made of 1 to `max_bytes` lower-case letters, digits and `others`.
pub(crate) fn is_name(text: &str, max_bytes: usize, others: &[u8]) -> bool {
    (1..=max_bytes).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || others.contains(&b))
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// One of the ordered parts of a topic.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Partition(pub u32);

/// Place of a record in its partition. Grows from record to record; may skip values.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// Returns the smallest offset that a later record can have.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A record to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// What the record is about; records of one key keep their order under re-partitioning.
    pub key: Bytes,
    /// The event, in the encoding of its topic.
    pub payload: Bytes,
}

/// A record as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub offset: Offset,
    /// As appended.
    pub key: Bytes,
    /// As appended.
    pub payload: Bytes,
}

/// A record to put in the place of one that is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redaction {
    /// Topic of the record.
    pub topic: Topic,
    /// Its partition.
    pub partition: Partition,
    /// Its place, which stays.
    pub offset: Offset,
    /// What is read there from then on.
    pub replacement: NewRecord,
}

/// A record as a sweep returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptRecord {
    /// Name of its topic.
    pub topic: String,
    /// Its partition.
    pub partition: Partition,
    /// The record.
    pub record: Record,
}

/// A part of a sweep of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweptRecords {
    /// Records, in an order of the log's own.
    pub records: Vec<SweptRecord>,
    /// Where to go on; absent if that was all.
    pub next: Option<Bytes>,
}

/// Bounds of one read. A read returns at least one record if there is one, whatever its size.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimits {
    /// Most records to return.
    pub max_records: usize,
    /// Most bytes of keys and payloads to return.
    pub max_bytes: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            max_records: 256,
            max_bytes: 8 << 20,
        }
    }
}

/// An append-only log, split into topics and partitions.
///
/// Contract, checked by [`crate::testsuite::check_log`]:
/// - Offsets of a partition only grow; gaps are allowed; readers must not do arithmetic on them
///   beyond [`Offset::next`].
/// - What [`append`](EventLog::append) has acknowledged survives kill -9 and loss of power.
/// - A batch becomes visible in order; a crash may keep a prefix of an unacknowledged batch.
/// - Topics and partitions come into being with their first record; reading one that does not
///   exist returns nothing.
/// - Any number of readers; a read never blocks a writer for longer than one batch.
/// - [`redact`](EventLog::redact) is the one way to change what was appended. It moves no other record.
/// - A sweep returns every record that is there throughout, once, whatever its topic.
#[async_trait]
pub trait EventLog: fmt::Debug + Send + Sync {
    /// Appends `records` in order, and returns the offset of the last one once all are durable.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for an empty batch.
    async fn append(
        &self,
        topic: Topic,
        partition: Partition,
        records: Vec<NewRecord>,
    ) -> StoreResult<Offset>;

    /// Returns records in order, the first one at `from` or after it; empty past the end.
    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        limits: ReadLimits,
    ) -> StoreResult<Vec<Record>>;

    /// Returns an offset that is greater than that of every record readable now, and not greater
    /// than that of any record appended later.
    async fn end(&self, topic: Topic, partition: Partition) -> StoreResult<Offset>;

    /// Waits until a record at `from` or after it can be read. May return early without cause.
    async fn wait(&self, topic: Topic, partition: Partition, from: Offset) -> StoreResult<()>;

    /// Puts other records in the place of some that are there, and returns once that is durable. What stood
    /// there can no longer be read. An offset without a record is passed over, so this can be repeated.
    ///
    /// What is part of a step goes through [`Step::redactions`](crate::step::Step::redactions) instead.
    async fn redact(&self, redactions: Vec<Redaction>) -> StoreResult<()>;

    /// Returns at most `limit` records of all topics, after those of the sweep whose `next` is given. For
    /// audits: it reads everything.
    async fn sweep(&self, after: Option<Bytes>, limit: usize) -> StoreResult<SweptRecords>;
}
