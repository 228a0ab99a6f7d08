//! The lake port: rows and raw events in files, under one list that changes as a whole.
//!
//! A file is written first and belongs to nothing; a commit enters files into the list, takes others out, and moves the
//! positions of who read the log, all at once. So a reader, who begins with a list, never sees half a file, and what
//! is killed between the two leaves a file that no list names.

use std::fmt;
use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use serde::{Deserialize, Serialize};

use crate::jobs::Interval;
use crate::log::Topic;
use crate::sql::{Advance, StoredPosition};
use crate::step::Consumer;
use crate::table::{Row, TableSpec, Value};
use crate::{StoreResult, Timestamp};

const DAY_MS: u64 = 86_400_000;

/// A day in UTC, counted from the first of January 1970. Written as `2026-01-31`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Day(u32);

/// A text that is no day.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no day: write `YYYY-MM-DD`, from 1970-01-01 to 9999-12-31")]
pub struct InvalidDay(pub String);

impl Day {
    /// The last one, of the year 9999.
    pub const MAX: Self = Self(2_932_896);

    /// Returns the day in which a moment lies; moments after the last day lie in it.
    pub fn of(at: Timestamp) -> Self {
        let number = u32::try_from(at.0 / DAY_MS).unwrap_or(u32::MAX);
        Self(number).min(Self::MAX)
    }

    /// Returns its number: 0 is 1970-01-01.
    pub fn number(self) -> u32 {
        self.0
    }

    /// Returns its first moment.
    pub fn begin(self) -> Timestamp {
        Timestamp(u64::from(self.0) * DAY_MS)
    }

    /// Returns the first moment after it.
    pub fn end(self) -> Timestamp {
        Timestamp(self.begin().0 + DAY_MS)
    }

    /// Returns year, month and day of the month.
    ///
    /// Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`, for days from 1970 on.
    pub fn civil(self) -> (u32, u32, u32) {
        let shifted = self.0 + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (year + era * 400 + u32::from(month <= 2), month, day)
    }

    /// Returns the day of a date, if there is one.
    pub fn from_civil(year: u32, month: u32, day: u32) -> Option<Self> {
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
            return None;
        }
        // The same paper, `days_from_civil`.
        let shifted = year - u32::from(month <= 2);
        let (era, of_era) = (shifted / 400, shifted % 400);
        let month_from_march = (month + 9) % 12;
        let of_year = (153 * month_from_march + 2) / 5 + day.checked_sub(1)?;
        let number = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        let found = Self(number.checked_sub(719_468)?);
        // A thirtieth of February is another day when it is read back.
        (found.civil() == (year, month, day)).then_some(found)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl FromStr for Day {
    type Err = InvalidDay;

    fn from_str(text: &str) -> Result<Self, InvalidDay> {
        let invalid = || InvalidDay(text.chars().take(40).collect());
        let bytes = text.as_bytes();
        let is_form = bytes.len() == 10
            && (0..10).all(|at| match at {
                4 | 7 => bytes[at] == b'-',
                _ => bytes[at].is_ascii_digit(),
            });
        if !is_form {
            return Err(invalid());
        }
        let part = |range: std::ops::Range<usize>| text[range].parse().ok();
        let (year, month, day) = (part(0..4), part(5..7), part(8..10));
        let found = year
            .zip(month)
            .zip(day)
            .and_then(|((year, month), day)| Self::from_civil(year, month, day));
        found.ok_or_else(invalid)
    }
}

impl TryFrom<String> for Day {
    type Error = InvalidDay;

    fn try_from(text: String) -> Result<Self, InvalidDay> {
        text.parse()
    }
}

impl From<Day> for String {
    fn from(day: Day) -> Self {
        day.to_string()
    }
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Events as they came: lines of JSON, compressed.
    Raw,
    /// Rows of a table, in Parquet.
    Rows,
}

/// A file that was written. It is read only once a commit has entered it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LakeFile {
    /// Where it lies; no two files ever have one path.
    pub path: String,
    /// What it holds.
    pub kind: FileKind,
    /// Name of the table of its rows, or of the topic of its lines.
    pub name: String,
    /// The day in which all of it was received.
    pub day: Day,
    /// Its rows, or lines.
    pub num_rows: u64,
    /// Its size in bytes.
    pub num_bytes: u64,
    /// Names of the columns that it has, for rows: a column that a table got later is null in older files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

/// What a commit changes.
#[derive(Debug, Clone, Default)]
pub struct LakeChange {
    /// Files to enter.
    pub add: Vec<LakeFile>,
    /// Paths of files to take out.
    pub remove: Vec<String>,
    /// Positions to move.
    pub positions: Vec<Advance>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LakeOutcome {
    /// All of it is durable, as this version.
    Committed(u64),
    /// A position does not stand where it was expected, or a file to take out is not in the list: another writer, or
    /// an earlier try, was first. Nothing was changed.
    Conflict,
}

/// The list of files at one version.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Number of the commit that made it; 0: nothing was ever committed.
    pub version: u64,
    /// Files, by their paths.
    pub files: Vec<LakeFile>,
    /// Positions, by consumer, topic and partition.
    pub positions: Vec<(String, StoredPosition)>,
}

impl Snapshot {
    /// Returns the files of one kind and name.
    pub fn files_of(&self, kind: FileKind, name: &str) -> impl Iterator<Item = &LakeFile> {
        let wanted = move |file: &&LakeFile| file.kind == kind && file.name == name;
        self.files.iter().filter(wanted)
    }

    /// Returns where a consumer stands, in the order of topics and partitions.
    pub fn positions_of(&self, consumer: Consumer) -> Vec<StoredPosition> {
        let of = |(name, position): &(String, StoredPosition)| {
            (name == consumer.0).then(|| position.clone())
        };
        self.positions.iter().filter_map(of).collect()
    }
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Files that no list names any longer, or never named.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lists that no reader begins with any longer.
    pub lists: u64,
}

/// Rows and raw events in files.
///
/// Contract, checked by [`crate::testsuite::check_lake`]:
/// - A commit is seen whole or not at all, and is durable when it returns. Of commits that move a position from the same
///   place, or take out the same file, one is committed.
/// - A file is what was written, to the value, as long as a list names it, and for at least `keep` after.
/// - Rows and lines of a file keep their order.
/// - A snapshot never changes; a later one has a greater version.
#[async_trait]
pub trait Lake: fmt::Debug + Send + Sync {
    /// Returns the latest list.
    async fn snapshot(&self) -> StoreResult<Snapshot>;

    /// Writes rows of a table that were received on one day, in this order.
    ///
    /// # Errors
    /// [`StoreError::Invalid`](crate::StoreError::Invalid) for a row that is none of the table, or no row.
    async fn write_rows(
        &self,
        spec: &'static TableSpec,
        day: Day,
        rows: Vec<Row>,
    ) -> StoreResult<LakeFile>;

    /// Writes raw events of a topic that were received on one day, each one line without its end.
    ///
    /// # Errors
    /// [`StoreError::Invalid`](crate::StoreError::Invalid) for a line that has an end within, or no line.
    async fn write_raw(&self, topic: Topic, day: Day, lines: Vec<Bytes>) -> StoreResult<LakeFile>;

    /// Reads the lines of a raw file.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](crate::StoreError::Corrupt) if it is gone or damaged.
    async fn read_raw(&self, file: &LakeFile) -> StoreResult<Vec<Bytes>>;

    /// Reads the rows of a file. Columns of `spec` that the file lacks are null.
    ///
    /// # Errors
    /// As [`read_raw`](Self::read_raw).
    async fn read_rows(&self, spec: &'static TableSpec, file: &LakeFile) -> StoreResult<Vec<Row>>;

    /// Writes a file with the rows of several, in their order. All are of this table and one day.
    ///
    /// # Errors
    /// As [`read_rows`](Self::read_rows).
    async fn merge_rows(
        &self,
        spec: &'static TableSpec,
        files: &[LakeFile],
    ) -> StoreResult<LakeFile> {
        let mut rows = Vec::new();
        for file in files {
            rows.extend(self.read_rows(spec, file).await?);
        }
        let day = files.first().map(|file| file.day).unwrap_or_default();
        self.write_rows(spec, day, rows).await
    }

    /// Writes a file with the lines of several, in their order. All are of this topic and one day.
    ///
    /// # Errors
    /// As [`read_raw`](Self::read_raw).
    async fn merge_raw(&self, topic: Topic, files: &[LakeFile]) -> StoreResult<LakeFile> {
        let mut lines = Vec::new();
        for file in files {
            lines.extend(self.read_raw(file).await?);
        }
        let day = files.first().map(|file| file.day).unwrap_or_default();
        self.write_raw(topic, day, lines).await
    }

    /// Commits a change of the list.
    ///
    /// # Errors
    /// [`StoreError::Invalid`](crate::StoreError::Invalid) for positions that move back, or a file that is entered
    /// twice.
    async fn commit(&self, change: LakeChange) -> StoreResult<LakeOutcome>;

    /// Removes what is older than `keep` and named by no list that is younger: files, and lists but for the latest.
    async fn sweep(&self, keep: Duration) -> StoreResult<Swept>;
}

/// Rows, part by part. Dropping it ends what makes them.
pub type RowStream = Pin<Box<dyn Stream<Item = StoreResult<Vec<Row>>> + Send>>;

/// Rows of a lake by their keys. Of the rows of one key, in different files or not, the one with the greatest
/// `log_offset` is the latest; tables have that column and `received`.
#[async_trait]
pub trait LatestRows: fmt::Debug + Send + Sync {
    /// Returns the rows of a table that are the latest of their keys and were received in `received`, in the order of
    /// the keys: texts by their bytes. All are of one version of the lake.
    async fn latest(&self, spec: &'static TableSpec, received: Interval) -> StoreResult<RowStream>;

    /// Returns the latest row of a key.
    async fn row(&self, spec: &'static TableSpec, key: &[Value]) -> StoreResult<Option<Row>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_the_same_in_both_directions() {
        for (text, number) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("2026-11-22", 20_779),
            ("9999-12-31", Day::MAX.0),
        ] {
            let day: Day = text.parse().unwrap();
            assert_eq!((day.number(), day.to_string().as_str()), (number, text));
        }
        let mut last = (1969, 12, 31);
        for number in 0..=100_000 {
            let civil = Day(number).civil();
            assert!(civil > last, "{civil:?} after {last:?}");
            assert_eq!(
                Day::from_civil(civil.0, civil.1, civil.2),
                Some(Day(number))
            );
            last = civil;
        }
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "2026-02-29",
            "2026-13-01",
            "2026-00-01",
            "2026-01-00",
            "2026-1-01",
            "1969-12-31",
            "2026-01-01 ",
            "+026-01-01",
            "２026-01-0",
        ] {
            assert!(text.parse::<Day>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_day_begins_where_the_one_before_ends() {
        let day = Day::of(Timestamp(DAY_MS * 3 - 1));
        assert_eq!((day.number(), day.end()), (2, Timestamp(DAY_MS * 3)));
        assert_eq!(Day::of(day.end()).begin(), day.end());
        assert_eq!(Day::of(Timestamp(u64::MAX)), Day::MAX);
    }
}
