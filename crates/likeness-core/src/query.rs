//! The query port: SQL by whoever asks, over tables that are only read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use serde::{Deserialize, Serialize};

use crate::StoreError;

/// Why there is no answer, by what the one who asked can do about it.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It is no query: not SQL, more than one statement, one that changes something, or of names that there are not.
    #[error("{0}")]
    Invalid(String),
    /// Its data cannot be computed with: a division by zero, a text that is no number.
    #[error("the query failed: {0}")]
    Failed(String),
    /// It needed more memory, or more disk to spill to, than a query may have.
    #[error(
        "the query needs more than it may have: {0}; ask for less, or raise `sql.memory` or `sql.spill`"
    )]
    TooLarge(String),
    /// It took too long.
    #[error("the query was ended after {0:?}; ask for less, or raise `sql.timeout`")]
    TimedOut(Duration),
    /// As many queries run as may.
    #[error("{0} queries run already; try again later")]
    Busy(usize),
    /// What is queried cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A column of an answer, or of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryColumn {
    /// Its name; two may have one.
    pub name: String,
    /// Its type, in words of the product, such as `Int64` or `Utf8`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it can be null.
    pub nullable: bool,
}

/// A table that can be queried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryTable {
    /// Name as it stands in a query, such as `pins` or `live.profiles`.
    pub name: String,
    /// What it holds, in a sentence.
    pub about: String,
    /// Rows, where they are known without counting.
    pub rows: Option<u64>,
    /// Bytes of its files.
    pub bytes: Option<u64>,
    /// Columns, in order.
    pub columns: Vec<QueryColumn>,
}

/// How far a query is. All of it is only ever an indication.
#[derive(Debug, Default)]
pub struct QueryProgress {
    /// Bytes of files that were read.
    pub bytes_read: AtomicU64,
    /// Bytes of all the files that the query looks at; more if it looks at one twice.
    pub bytes_in_all: AtomicU64,
    /// Rows of the answer so far.
    pub rows: AtomicU64,
}

impl QueryProgress {
    /// Returns the part that was read, from 0 to 1; nothing where there is nothing to read.
    pub fn fraction(&self) -> Option<f64> {
        let all = self.bytes_in_all.load(Ordering::Relaxed);
        let read = self.bytes_read.load(Ordering::Relaxed);
        (all > 0).then(|| (read as f64 / all as f64).min(1.0))
    }
}

/// The first rows of an answer, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryRows {
    /// Columns, in order.
    pub columns: Vec<QueryColumn>,
    /// Rows, each with a value for each column: numbers, texts, truths, lists and null as themselves, times in
    /// RFC 3339, whole numbers that JSON's readers would round as text.
    pub rows: Vec<Vec<serde_json::Value>>,
    /// Whether there are more.
    pub is_truncated: bool,
}

/// A form in which an answer is written whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// RFC 4180, with a line of names.
    Csv,
    /// One JSON object per line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
}

impl ExportFormat {
    /// Returns the media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Returns the ending of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
        }
    }
}

/// Bytes of an answer, piece by piece. Dropping it ends the query.
pub type QueryBytes =
    std::pin::Pin<Box<dyn Stream<Item = Result<Bytes, QueryError>> + Send + 'static>>;

/// A report: a query with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Name: lower-case letters, digits and `-`.
    pub name: &'static str,
    /// What it answers, in a sentence.
    pub about: &'static str,
    /// The query.
    pub sql: &'static str,
    /// Number of the column whose values are labels of a chart.
    pub label: usize,
    /// Number of the column whose values are its bars.
    pub value: usize,
}

/// SQL over tables that are only read.
///
/// - Only single queries are taken; nothing that writes, creates, sets, or reads files of the machine.
/// - Memory, disk to spill to, time and the number of queries at once are bounded, and each bound has its error.
/// - A query sees one version of the lake from its beginning to its end.
/// - Whatever a query is (deeply nested, endless, huge), it harms nothing but itself.
#[async_trait]
pub trait SqlEngine: fmt::Debug + Send + Sync {
    /// Returns the tables, by their names.
    async fn tables(&self) -> Result<Vec<QueryTable>, QueryError>;

    /// Returns the named queries.
    fn reports(&self) -> &'static [Report];

    /// Returns the first `limit` rows of an answer.
    async fn query(
        &self,
        sql: &str,
        limit: usize,
        progress: Arc<QueryProgress>,
    ) -> Result<QueryRows, QueryError>;

    /// Begins to write an answer. Errors of the query itself come before the first byte, as an error of this call.
    async fn export(
        &self,
        sql: &str,
        format: ExportFormat,
        progress: Arc<QueryProgress>,
    ) -> Result<QueryBytes, QueryError>;
}
