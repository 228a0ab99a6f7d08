//! The state port: wide rows, as RocksDB, Cassandra and ScyllaDB keep them.
//!
//! A value is found by table, partition key and sort key. Rows of one partition lie together,
//! ordered by the bytes of their sort keys, and can be paged through in either direction.

use std::fmt;
use std::ops::Bound;

use async_trait::async_trait;
use bytes::Bytes;

use crate::log::is_name;
use crate::{StoreError, StoreResult};

/// Name of a table: lower-case letters, digits and `_`, at most 48 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Table(pub &'static str);

impl Table {
    /// Longest name, in bytes.
    pub const MAX_BYTES: usize = 48;

    /// Checks the name, on behalf of `store`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] if it breaks the rule above.
    pub fn validate(self, store: &'static str) -> StoreResult<()> {
        if is_name(self.0, Self::MAX_BYTES, b"_") {
            return Ok(());
        }
        Err(StoreError::invalid(
            store,
            format!("table {:?}: 1 to 48 of `a-z 0-9 _`", self.0),
        ))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Where a value is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The table.
    pub table: Table,
    /// At most [`Key::MAX_PART_BYTES`] bytes, not empty. A partition is meant to stay under
    /// 100 MB: put a bucket into the key of what grows without bound.
    pub partition: Bytes,
    /// At most [`Key::MAX_PART_BYTES`] bytes; may be empty.
    pub sort: Bytes,
}

impl Key {
    /// Longest partition key and longest sort key, in bytes.
    pub const MAX_PART_BYTES: usize = 1024;

    /// Returns the key of a row in a partition.
    pub fn new(table: Table, partition: impl Into<Bytes>, sort: impl Into<Bytes>) -> Self {
        Self {
            table,
            partition: partition.into(),
            sort: sort.into(),
        }
    }

    /// Returns the key of a partition's only row.
    pub fn single(table: Table, partition: impl Into<Bytes>) -> Self {
        Self::new(table, partition, Bytes::new())
    }

    /// Checks the lengths of the parts and the table's name, on behalf of `store`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] names the rule that is broken.
    pub fn validate(&self, store: &'static str) -> StoreResult<()> {
        self.table.validate(store)?;
        validate_partition(&self.partition, store)?;
        validate_sort(&self.sort, store)
    }
}

fn validate_partition(partition: &[u8], store: &'static str) -> StoreResult<()> {
    if (1..=Key::MAX_PART_BYTES).contains(&partition.len()) {
        return Ok(());
    }
    Err(StoreError::invalid(
        store,
        format!(
            "a partition key has 1 to {} bytes, not {}",
            Key::MAX_PART_BYTES,
            partition.len()
        ),
    ))
}

fn validate_sort(sort: &[u8], store: &'static str) -> StoreResult<()> {
    if sort.len() <= Key::MAX_PART_BYTES {
        return Ok(());
    }
    Err(StoreError::invalid(
        store,
        format!(
            "a sort key has at most {} bytes, not {}",
            Key::MAX_PART_BYTES,
            sort.len()
        ),
    ))
}

/// A change of one row. Writing a value again, or deleting what is not there, is not an error:
/// writes are idempotent upserts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets the value.
    Put(Key, Bytes),
    /// Removes the row.
    Delete(Key),
}

impl Write {
    /// Returns the key that is written.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put(key, _) | Self::Delete(key) => key,
        }
    }
}

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest sort key up.
    Ascending,
    /// From the greatest sort key down.
    Descending,
}

/// A range of sort keys in one partition.
#[derive(Debug, Clone)]
pub struct Scan {
    /// The table.
    pub table: Table,
    /// The partition.
    pub partition: Bytes,
    /// Smallest sort key.
    pub lower: Bound<Bytes>,
    /// Greatest sort key.
    pub upper: Bound<Bytes>,
    /// Which end comes first.
    pub direction: Direction,
    /// Most rows to return; at least 1.
    pub limit: usize,
}

impl Scan {
    /// Returns a scan of a whole partition, smallest sort key first.
    pub fn all(table: Table, partition: impl Into<Bytes>, limit: usize) -> Self {
        Self {
            table,
            partition: partition.into(),
            lower: Bound::Unbounded,
            upper: Bound::Unbounded,
            direction: Direction::Ascending,
            limit,
        }
    }

    /// Continues after `sort`, in the direction of the scan.
    #[must_use]
    pub fn after(mut self, sort: impl Into<Bytes>) -> Self {
        let bound = Bound::Excluded(sort.into());
        match self.direction {
            Direction::Ascending => self.lower = bound,
            Direction::Descending => self.upper = bound,
        }
        self
    }

    /// Reverses the direction. Call before [`after`](Scan::after).
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.direction = Direction::Descending;
        self
    }

    /// Checks the names, lengths, limit and bounds, on behalf of `store`. A range may be empty
    /// (which paging with [`after`](Scan::after) ends in), but not upside down.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] names the rule that is broken.
    pub fn validate(&self, store: &'static str) -> StoreResult<()> {
        self.table.validate(store)?;
        validate_partition(&self.partition, store)?;
        if self.limit == 0 {
            return Err(StoreError::invalid(store, "a scan's limit is at least 1"));
        }
        let sort_of = |bound: &Bound<Bytes>| match bound {
            Bound::Included(sort) | Bound::Excluded(sort) => Some(sort.clone()),
            Bound::Unbounded => None,
        };
        let (lower, upper) = (sort_of(&self.lower), sort_of(&self.upper));
        for sort in lower.iter().chain(&upper) {
            validate_sort(sort, store)?;
        }
        if let (Some(lower), Some(upper)) = (lower, upper)
            && lower > upper
        {
            return Err(StoreError::invalid(store, "a scan's range is upside down"));
        }
        Ok(())
    }

    /// Returns whether no sort key lies in the range: both bounds are the same key, and one of
    /// them excludes it.
    pub fn is_empty_range(&self) -> bool {
        match (&self.lower, &self.upper) {
            (Bound::Excluded(lower), Bound::Excluded(upper) | Bound::Included(upper))
            | (Bound::Included(lower), Bound::Excluded(upper)) => lower == upper,
            _ => false,
        }
    }
}

/// A row as a scan returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its sort key.
    pub sort: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// A row as a sweep returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweptRow {
    /// Name of its table.
    pub table: String,
    /// Its partition.
    pub partition: Bytes,
    /// Its sort key.
    pub sort: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// A part of a sweep of the state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweptRows {
    /// Rows, in an order of the store's own.
    pub rows: Vec<SweptRow>,
    /// Where to go on; absent if that was all.
    pub next: Option<Bytes>,
}

/// Wide rows with point reads, ordered scans within a partition, and rare compare-and-set.
///
/// Contract, checked by [`crate::testsuite::check_state`]:
/// - A reader sees its own earlier writes. Between partitions nothing is isolated: a reader may
///   see a part of another's batch.
/// - Within one partition a batch is atomic: all of its rows or none, also after a crash.
/// - A later write of a row wins over an earlier one of the same writer.
/// - Sort keys order as unsigned bytes, a prefix before its extensions.
/// - No counters, no increments: they are not idempotent.
/// - A sweep returns every row that is there throughout, once, whatever its table.
///
/// Writes that belong to a step of a pipeline go through [`crate::step::StepStore`] instead.
#[async_trait]
pub trait StateStore: fmt::Debug + Send + Sync {
    /// Returns a row's value, or nothing.
    async fn get(&self, key: &Key) -> StoreResult<Option<Bytes>>;

    /// Returns one entry per key, in the order of `keys`.
    async fn get_many(&self, keys: &[Key]) -> StoreResult<Vec<Option<Bytes>>>;

    /// Returns at most `scan.limit` rows in the order of the scan; fewer means that the range is
    /// exhausted.
    async fn scan(&self, scan: Scan) -> StoreResult<Vec<Row>>;

    /// Writes `batch`; durable when the call returns.
    async fn write(&self, batch: Vec<Write>) -> StoreResult<()>;

    /// Sets `key` to `new` (or removes it) if its value is `expected` (nothing: the row does not
    /// exist). Linearizable per key among compare-and-set calls. Returns what is there afterwards
    /// and whether that is due to this call.
    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<Bytes>,
        new: Option<Bytes>,
    ) -> StoreResult<CasOutcome>;

    /// Returns at most `limit` rows of all tables, after those of the sweep whose `next` is given. For audits:
    /// it reads everything.
    async fn sweep(&self, after: Option<Bytes>, limit: usize) -> StoreResult<SweptRows>;
}

/// What [`StateStore::compare_and_set`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CasOutcome {
    /// The value was as expected and has been replaced.
    Applied,
    /// The value was another one and is untouched.
    Conflict(Option<Bytes>),
}
