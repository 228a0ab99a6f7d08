//! Whether both ways say the same of a day.
//!
//! Batch and stream clean the same events with the same function, each for itself, and each keeps the latest version
//! of a key. So the rows of events that were received on one day must be equal in both, once both have read all of
//! it. What differs is told row by row.
//!
//! A row that was replaced since is no difference: one way may have read the later version before the other. It is
//! told from a real one by what the other way holds under the same key.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use likeness_core::StoreResult;
use likeness_core::jobs::Interval;
use likeness_core::log::{EventLog, Offset, Partition, ReadLimits};
use likeness_core::table::{Row, TableSpec, Value};
use serde::Serialize;

use super::PARTITIONS;
use super::clean::time::EventTime;
use super::event::EventKind;
use super::tables::{GEOLOCATIONS, PINS, REJECTED, USERS};

/// Tables that are compared.
pub(super) const TABLES: [&TableSpec; 4] = [&PINS, &GEOLOCATIONS, &USERS, &REJECTED];
/// Rows that are read at once.
const PAGE: usize = 5_000;
/// Most differences that are told of; the others are counted.
const MAX_TOLD: usize = 100;
/// How often it is looked whether a way has come far enough.
const POLL: Duration = Duration::from_millis(500);

/// Where a way stands: the next offset of each partition of each topic; 0 where it has read nothing.
pub type Positions = BTreeMap<(String, Partition), Offset>;

/// One of the two ways, to be compared with the other one.
#[async_trait]
pub trait Way: fmt::Debug + Send + Sync {
    /// Returns what it is called.
    fn name(&self) -> &'static str;

    /// Returns how far it has come.
    async fn positions(&self) -> StoreResult<Positions>;

    /// Returns at most `limit` rows of a table, the latest version of each key, that were received in `received`: by
    /// their keys, from the one after `after` on. Columns are those of `table` alone.
    async fn rows(
        &self,
        table: &'static TableSpec,
        received: Interval,
        after: Option<&[Value]>,
        limit: usize,
    ) -> StoreResult<Vec<Row>>;

    /// Returns the latest version of a key.
    async fn row(&self, table: &'static TableSpec, key: &[Value]) -> StoreResult<Option<Row>>;
}

/// Why two ways could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum ParityError {
    /// A way has not read the day yet.
    #[error(
        "the {way} way is behind: partition {partition} of `{topic}` is read up to {at}, and its end was {end}"
    )]
    Behind {
        /// Its name.
        way: &'static str,
        /// A topic that is not read to its end.
        topic: String,
        /// A partition of it.
        partition: u32,
        /// How far it is read.
        at: u64,
        /// Where it ended when the check began.
        end: u64,
    },
    /// A store failed.
    #[error(transparent)]
    Store(#[from] likeness_core::StoreError),
}

/// What came of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parity {
    /// Of each table.
    pub tables: Vec<TableParity>,
    /// Rows that differ, of all tables.
    pub differing: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
}

/// What came of the comparison of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableParity {
    /// Its name.
    pub table: &'static str,
    /// Rows of the first way.
    pub first: u64,
    /// Rows of the second way.
    pub second: u64,
    /// Rows that differ, or that only one of them has.
    pub differing: u64,
    /// Rows that one of them had replaced already.
    pub replaced: u64,
}

/// A row that is not the same in both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Name of its table.
    pub table: &'static str,
    /// Its key, as JSON.
    pub key: Vec<serde_json::Value>,
    /// Columns that differ; empty if one way lacks the row.
    pub columns: Vec<&'static str>,
    /// What the first way has there, or in all columns; absent if it lacks the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Vec<serde_json::Value>>,
    /// The same of the second way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second: Option<Vec<serde_json::Value>>,
}

/// Compares two ways over what was received in `received`, once both have read the log as far as it reaches now.
///
/// # Errors
/// [`ParityError::Behind`] if one has not come so far within `patience`; if a store fails.
pub async fn compare(
    log: &dyn EventLog,
    (first, second): (&dyn Way, &dyn Way),
    received: Interval,
    patience: Duration,
) -> Result<Parity, ParityError> {
    wait_for(log, &[first, second], patience).await?;
    let mut parity = Parity {
        tables: Vec::new(),
        differing: 0,
        differences: Vec::new(),
    };
    for table in TABLES {
        let mut check = Check {
            table,
            received,
            found: TableParity {
                table: table.name,
                first: 0,
                second: 0,
                differing: 0,
                replaced: 0,
            },
            told: &mut parity.differences,
        };
        check.run(first, second).await?;
        parity.differing += check.found.differing;
        let found = check.found;
        parity.tables.push(found);
    }
    Ok(parity)
}

/// Waits until ways have read the log as far as it reaches now.
///
/// # Errors
/// As [`compare`].
pub async fn wait_for(
    log: &dyn EventLog,
    ways: &[&dyn Way],
    patience: Duration,
) -> Result<(), ParityError> {
    let ends = ends(log).await?;
    let deadline = tokio::time::Instant::now() + patience;
    for way in ways {
        wait(log, *way, &ends, deadline).await?;
    }
    Ok(())
}

async fn ends(log: &dyn EventLog) -> StoreResult<Positions> {
    let mut ends = Positions::new();
    for kind in EventKind::ALL {
        for partition in (0..PARTITIONS).map(Partition) {
            let end = log.end(kind.topic(), partition).await?;
            ends.insert((kind.topic().0.to_owned(), partition), end);
        }
    }
    Ok(ends)
}

async fn wait(
    log: &dyn EventLog,
    way: &dyn Way,
    ends: &Positions,
    deadline: tokio::time::Instant,
) -> Result<(), ParityError> {
    loop {
        let positions = way.positions().await?;
        let mut behind = None;
        for kind in EventKind::ALL {
            for partition in (0..PARTITIONS).map(Partition) {
                let place = (kind.topic().0.to_owned(), partition);
                let at = positions.get(&place).copied().unwrap_or_default();
                let end = ends.get(&place).copied().unwrap_or_default();
                if at < end && is_unread(log, kind, partition, at..end).await? {
                    behind = Some((place, at, end));
                }
            }
        }
        let Some(((topic, partition), at, end)) = behind else {
            return Ok(());
        };
        if tokio::time::Instant::now() >= deadline {
            return Err(ParityError::Behind {
                way: way.name(),
                topic,
                partition: partition.0,
                at: at.0,
                end: end.0,
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Tells whether there is a record in a part of the log: offsets have gaps.
async fn is_unread(
    log: &dyn EventLog,
    kind: EventKind,
    partition: Partition,
    part: std::ops::Range<Offset>,
) -> StoreResult<bool> {
    let limits = ReadLimits {
        max_records: 1,
        max_bytes: 1,
    };
    let next = log
        .read(kind.topic(), partition, part.start, limits)
        .await?;
    Ok(next.first().is_some_and(|record| record.offset < part.end))
}

/// Reads the rows of a way, page by page.
struct Reader<'a> {
    way: &'a dyn Way,
    table: &'static TableSpec,
    received: Interval,
    page: std::collections::VecDeque<Row>,
    last: Option<Vec<Value>>,
    is_done: bool,
    num_rows: u64,
}

impl<'a> Reader<'a> {
    fn new(way: &'a dyn Way, table: &'static TableSpec, received: Interval) -> Self {
        Self {
            way,
            table,
            received,
            page: std::collections::VecDeque::new(),
            last: None,
            is_done: false,
            num_rows: 0,
        }
    }

    /// Returns the next row, which stays there.
    async fn peek(&mut self) -> StoreResult<Option<&Row>> {
        if self.page.is_empty() && !self.is_done {
            let after = self.last.as_deref();
            let rows = self
                .way
                .rows(self.table, self.received, after, PAGE)
                .await?;
            self.is_done = rows.len() < PAGE;
            if let Some(last) = rows.last() {
                self.last = Some(last.key(self.table).to_vec());
            }
            self.num_rows += rows.len() as u64;
            self.page = rows.into();
        }
        Ok(self.page.front())
    }

    fn take(&mut self) -> Option<Row> {
        self.page.pop_front()
    }
}

/// The comparison of a table.
struct Check<'a> {
    table: &'static TableSpec,
    received: Interval,
    found: TableParity,
    told: &'a mut Vec<Difference>,
}

impl Check<'_> {
    async fn run(&mut self, first: &dyn Way, second: &dyn Way) -> StoreResult<()> {
        let mut left = Reader::new(first, self.table, self.received);
        let mut right = Reader::new(second, self.table, self.received);
        loop {
            let order = match (left.peek().await?, right.peek().await?) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(left), Some(right)) => order(left.key(self.table), right.key(self.table)),
            };
            match order {
                Ordering::Equal => {
                    let rows = (left.take(), right.take());
                    if rows.0 != rows.1 {
                        self.differ(first, second, rows).await?;
                    }
                }
                Ordering::Less => self.differ(first, second, (left.take(), None)).await?,
                Ordering::Greater => self.differ(first, second, (None, right.take())).await?,
            }
        }
        (self.found.first, self.found.second) = (left.num_rows, right.num_rows);
        Ok(())
    }

    /// Looks again at what was not the same, and counts it.
    async fn differ(
        &mut self,
        first: &dyn Way,
        second: &dyn Way,
        rows: (Option<Row>, Option<Row>),
    ) -> StoreResult<()> {
        let either = rows.0.as_ref().or(rows.1.as_ref());
        let Some(key) = either.map(|row| row.key(self.table).to_vec()) else {
            return Ok(());
        };
        for way in [first, second] {
            let now = way.row(self.table, &key).await?;
            if now.is_some_and(|row| self.is_later(&row)) {
                self.found.replaced += 1;
                return Ok(());
            }
        }
        self.found.differing += 1;
        if self.told.len() < MAX_TOLD {
            self.told.push(difference(self.table, &key, &rows));
        }
        Ok(())
    }

    /// Tells whether a row was received after the time that is compared.
    fn is_later(&self, row: &Row) -> bool {
        let end = EventTime::from(self.received.end).micros();
        let at = self.table.column("received").and_then(|at| row.0.get(at));
        matches!(at, Some(Value::Timestamp(received)) if *received >= end)
    }
}

/// Keys are texts, by their bytes, or whole numbers.
pub(super) fn order(left: &[Value], right: &[Value]) -> Ordering {
    let one = |(left, right): (&Value, &Value)| match (left, right) {
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::Integer(left), Value::Integer(right)) => left.cmp(right),
        _ => Ordering::Equal,
    };
    let mut parts = left.iter().zip(right).map(one);
    parts.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn difference(
    table: &'static TableSpec,
    key: &[Value],
    (first, second): &(Option<Row>, Option<Row>),
) -> Difference {
    let differs = |at: &usize| match (first, second) {
        (Some(first), Some(second)) => first.0.get(*at) != second.0.get(*at),
        _ => true,
    };
    let columns: Vec<usize> = (0..table.columns.len()).filter(differs).collect();
    let of = |row: &Option<Row>| {
        let row = row.as_ref()?;
        let values = columns.iter().filter_map(|at| row.0.get(*at));
        Some(values.map(json).collect())
    };
    let is_in_both = first.is_some() && second.is_some();
    Difference {
        table: table.name,
        key: key.iter().map(json).collect(),
        columns: match is_in_both {
            true => columns.iter().map(|at| table.columns[*at].name).collect(),
            false => Vec::new(),
        },
        first: of(first),
        second: of(second),
    }
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Text(text) => text.as_str().into(),
        Value::Integer(integer) => (*integer).into(),
        Value::Real(real) => (*real).into(),
        Value::Boolean(truth) => (*truth).into(),
        Value::Timestamp(micros) => match EventTime::from_micros(*micros) {
            Some(time) => time.to_string().into(),
            None => (*micros).into(),
        },
        Value::Json(json) => json.clone(),
        Value::Texts(texts) => texts.clone().into(),
        Value::Reals(reals) => reals.clone().into(),
    }
}

#[cfg(test)]
#[path = "parity_tests.rs"]
mod tests;
