//! The tables port: rows with types in a relational product, for whoever knows SQL.
//!
//! What is asked for is plain enough that every product answers it the same way, and migrations are values
//! instead of text, so that a schema is written once for all dialects.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;

use async_trait::async_trait;

use crate::log::{Offset, Partition, Topic, is_name};
use crate::step::Consumer;
use crate::table::{Column, ColumnType, Row, TableSpec, Value};
use crate::{StoreError, StoreResult};

/// Longest name of a table, a column or an index, in bytes.
const MAX_NAME_BYTES: usize = 63;
/// Longest text in a column of a key or an index, in bytes: products bound what an index holds.
pub const MAX_INDEXED_BYTES: usize = 512;
/// Times that can be kept: the years 1 to 9999, in microseconds since 1970 UTC.
pub const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;

/// A change of a schema. Never edited once it was released: a later change is a further migration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Migration {
    /// Makes a table with the columns that it has here. Its key is its primary key.
    CreateTable(TableSpec),
    /// Makes an index of a table, for the columns that it is searched and sorted by.
    CreateIndex {
        /// Name; of an index of one database there is one of a name.
        name: &'static str,
        /// The table.
        table: &'static str,
        /// Columns, the most significant first.
        columns: &'static [Column],
    },
    /// Adds a column at the end, null in the rows that are there; so it must be one that can be null.
    AddColumn {
        /// The table.
        table: &'static str,
        /// The column.
        column: Column,
    },
}

impl fmt::Display for Migration {
    /// Says all of it in words of no dialect: this is what a store records, and compares.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = |f: &mut fmt::Formatter<'_>, column: &Column| {
            let null = if column.is_nullable { " or null" } else { "" };
            write!(f, "{} {:?}{null}", column.name, column.kind)
        };
        match self {
            Self::CreateTable(spec) => {
                write!(f, "create table {} (", spec.name)?;
                for (idx, one) in spec.columns.iter().enumerate() {
                    if idx > 0 {
                        f.write_str(", ")?;
                    }
                    column(f, one)?;
                }
                write!(f, ") key {}", spec.num_key_columns)
            }
            Self::CreateIndex {
                name,
                table,
                columns,
            } => {
                let columns: Vec<_> = columns.iter().map(|column| column.name).collect();
                write!(f, "create index {name} of {table} ({})", columns.join(", "))
            }
            Self::AddColumn { table, column: one } => {
                write!(f, "add to {table} ")?;
                column(f, one)
            }
        }
    }
}

impl Migration {
    /// Checks its names and types, on behalf of `store`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] names the first rule that is broken.
    pub fn validate(&self, store: &'static str) -> StoreResult<()> {
        let invalid = |reason: String| Err(StoreError::invalid(store, reason));
        let (names, columns): (Vec<&str>, &[Column]) = match self {
            Self::CreateTable(spec) => {
                if spec.num_key_columns == 0 || spec.num_key_columns > spec.columns.len() {
                    return invalid(format!("table `{}` has no key", spec.name));
                }
                if let Some(column) = spec.key().iter().find(|column| !is_keyable(column)) {
                    return invalid(format!("`{}` cannot be of a key", column.name));
                }
                (vec![spec.name], spec.columns)
            }
            Self::CreateIndex {
                name,
                table,
                columns,
            } => {
                if let Some(column) = columns.iter().find(|column| !is_scalar(column.kind)) {
                    return invalid(format!("`{}` cannot be of an index", column.name));
                }
                (vec![name, table], columns)
            }
            Self::AddColumn { table, column } => {
                if !column.is_nullable {
                    return invalid(format!("`{}` cannot be null, and would be", column.name));
                }
                (vec![table], std::slice::from_ref(column))
            }
        };
        let names = names
            .into_iter()
            .chain(columns.iter().map(|column| column.name));
        for name in names {
            if !is_name(name, MAX_NAME_BYTES, b"_") {
                return invalid(format!("name {name:?}: 1 to 63 of `a-z 0-9 _`"));
            }
        }
        Ok(())
    }
}

/// Returns whether values of a type have an order that all products agree on.
fn is_scalar(kind: ColumnType) -> bool {
    !matches!(
        kind,
        ColumnType::Json | ColumnType::Texts | ColumnType::Reals
    )
}

fn is_keyable(column: &Column) -> bool {
    is_scalar(column.kind) && column.kind != ColumnType::Real && !column.is_nullable
}

/// Compares two values of one column: nothing first, texts by their bytes, false before true.
pub fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::Integer(left), Value::Integer(right))
        | (Value::Timestamp(left), Value::Timestamp(right)) => left.cmp(right),
        (Value::Boolean(left), Value::Boolean(right)) => left.cmp(right),
        (Value::Real(left), Value::Real(right)) => left.total_cmp(right),
        // Of no order; `Select::validate` has refused to sort by them.
        _ => Ordering::Equal,
    }
}

/// Returns each of some values, or keys, once, in the order of their first coming.
pub fn distinct<T: fmt::Debug>(items: &[T]) -> Vec<&T> {
    let mut seen = HashSet::new();
    let items = items.iter();
    items
        .filter(|item| seen.insert(format!("{item:?}")))
        .collect()
}

/// What to look up by one column.
#[derive(Debug, Clone, PartialEq)]
pub struct Find {
    /// The column; an index should begin with it.
    pub column: &'static str,
    /// What it holds in the rows that are wanted. None of them is null.
    pub values: Vec<Value>,
    /// Which rows of a value come first.
    pub order_by: &'static str,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// Most rows of each value.
    pub limit_each: usize,
}

/// Rows to select.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Select {
    /// Columns and what they hold, none of it null.
    pub equals: Vec<(&'static str, Value)>,
    /// A column, its least value, and the one that it stays below.
    pub range: Option<(&'static str, Option<Value>, Option<Value>)>,
    /// Columns to sort by, the most significant first; none: the key. Rows that are equal in them come in any order.
    pub order_by: Vec<&'static str>,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// Values of the columns of `order_by`, after which to go on. For columns that cannot be null.
    pub after: Option<Vec<Value>>,
    /// Most rows.
    pub limit: usize,
}

/// How far a consumer is moved in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advance {
    /// Who reads.
    pub consumer: Consumer,
    /// What is read.
    pub topic: Topic,
    /// Which part of it.
    pub partition: Partition,
    /// Where it must stand now; 0 if it never moved.
    pub from: Offset,
    /// Where it stands afterwards.
    pub next: Offset,
}

/// Where a consumer stands in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPosition {
    /// Name of the topic.
    pub topic: String,
    /// Which part of it.
    pub partition: Partition,
    /// The offset to go on at.
    pub next: Offset,
}

/// What one transaction changes.
#[derive(Debug, Clone, Default)]
pub struct TablesStep {
    /// Tables and keys of rows to delete; those that are not there are passed over.
    pub deletes: Vec<(&'static TableSpec, Vec<Vec<Value>>)>,
    /// Tables and rows to insert, or to put in the place of those with the same key. After the deletes.
    pub upserts: Vec<(&'static TableSpec, Vec<Row>)>,
    /// Positions to move.
    pub positions: Vec<Advance>,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TablesOutcome {
    /// All of it is durable.
    Committed,
    /// A position does not stand where it was expected: another writer, or an earlier try, has moved it. Nothing
    /// was written.
    AlreadyCommitted,
}

impl TablesStep {
    /// Checks names and rows, on behalf of `store`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] names the first rule that is broken.
    pub fn validate(&self, store: &'static str) -> StoreResult<()> {
        let invalid = |reason: String| Err(StoreError::invalid(store, reason));
        for (spec, keys) in &self.deletes {
            check_keys(store, spec, keys)?;
        }
        let mut seen = HashSet::new();
        for (spec, rows) in &self.upserts {
            for row in rows {
                row.check(spec)
                    .map_err(|error| StoreError::invalid(store, error.to_string()))?;
                if let Some(reason) = row.0.iter().find_map(out_of_range) {
                    return invalid(format!("a row of `{}`: {reason}", spec.name));
                }
                check_key(store, spec, row.key(spec))?;
                if !seen.insert((spec.name, format!("{:?}", row.key(spec)))) {
                    let key = row.key(spec);
                    return invalid(format!("two rows of `{}` with the key {key:?}", spec.name));
                }
            }
        }
        for advance in &self.positions {
            advance.consumer.validate(store)?;
            advance.topic.validate(store)?;
            if advance.next < advance.from || i64::try_from(advance.next.0).is_err() {
                return invalid(format!("a position moves back: {advance:?}"));
            }
        }
        Ok(())
    }
}

fn out_of_range(value: &Value) -> Option<String> {
    match value {
        Value::Timestamp(micros) if !TIMES.contains(micros) => {
            Some(format!("{micros} is no time of the years 1 to 9999"))
        }
        _ => None,
    }
}

fn check_key(store: &'static str, spec: &TableSpec, key: &[Value]) -> StoreResult<()> {
    let fits = key.len() == spec.num_key_columns
        && key
            .iter()
            .zip(spec.key())
            .all(|(value, column)| value.fits(column) && is_indexable(value));
    match fits {
        true => Ok(()),
        false => Err(StoreError::invalid(
            store,
            format!("{key:?} is no key of `{}`", spec.name),
        )),
    }
}

fn is_indexable(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.len() <= MAX_INDEXED_BYTES && !text.contains('\0'),
        Value::Timestamp(micros) => TIMES.contains(micros),
        _ => true,
    }
}

/// Checks keys of a table, on behalf of `store`.
///
/// # Errors
/// [`StoreError::Invalid`] if one is none.
pub fn check_keys(store: &'static str, spec: &TableSpec, keys: &[Vec<Value>]) -> StoreResult<()> {
    keys.iter().try_for_each(|key| check_key(store, spec, key))
}

/// Returns a column that rows can be compared by.
fn scalar(store: &'static str, spec: &TableSpec, name: &str) -> StoreResult<usize> {
    match spec.column(name) {
        Some(idx) if is_scalar(spec.columns[idx].kind) => Ok(idx),
        _ => Err(StoreError::invalid(
            store,
            format!("`{name}` of `{}` cannot be searched by", spec.name),
        )),
    }
}

fn check_value(
    store: &'static str,
    spec: &TableSpec,
    name: &str,
    value: &Value,
) -> StoreResult<()> {
    let column = spec.columns[scalar(store, spec, name)?];
    match *value != Value::Null && value.fits(&column) && out_of_range(value).is_none() {
        true => Ok(()),
        false => Err(StoreError::invalid(
            store,
            format!("`{name}` of `{}` never holds {value:?}", spec.name),
        )),
    }
}

impl Find {
    /// Checks it against a table, on behalf of `store`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] names the column.
    pub fn validate(&self, store: &'static str, spec: &TableSpec) -> StoreResult<()> {
        scalar(store, spec, self.column)?;
        scalar(store, spec, self.order_by)?;
        self.values
            .iter()
            .try_for_each(|value| check_value(store, spec, self.column, value))
    }
}

impl Select {
    /// Checks it against a table, on behalf of `store`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] names the column.
    pub fn validate(&self, store: &'static str, spec: &TableSpec) -> StoreResult<()> {
        for (name, value) in &self.equals {
            check_value(store, spec, name, value)?;
        }
        if let Some((name, from, before)) = &self.range {
            scalar(store, spec, name)?;
            for value in from.iter().chain(before) {
                check_value(store, spec, name, value)?;
            }
        }
        let order = self.order(spec);
        for name in &order {
            scalar(store, spec, name)?;
        }
        let Some(after) = &self.after else {
            return Ok(());
        };
        if after.len() != order.len() {
            let reason = format!("{} values for {} columns", after.len(), order.len());
            return Err(StoreError::invalid(store, reason));
        }
        for (name, value) in order.iter().zip(after) {
            check_value(store, spec, name, value)?;
            if spec.columns[scalar(store, spec, name)?].is_nullable {
                let reason = format!("`{name}` can be null: it has no place to go on after");
                return Err(StoreError::invalid(store, reason));
            }
        }
        Ok(())
    }

    /// Returns the columns that it is sorted by.
    pub fn order(&self, spec: &TableSpec) -> Vec<&'static str> {
        match self.order_by.is_empty() {
            true => spec.key().iter().map(|column| column.name).collect(),
            false => self.order_by.clone(),
        }
    }
}

/// Rows in a relational product.
///
/// Contract, checked by [`crate::testsuite::check_tables`]:
/// - A value comes back as it was written: text to the byte, numbers to the bit (but for the sign of a zero), JSON by
///   what it says.
/// - A commit is one transaction, durable when it returns: kill -9 and loss of power do not undo it. Who reads sees the
///   whole of it or nothing.
/// - Of commits that move a position from the same place, one is committed; so a step that is a function of what was
///   read there counts once, whoever tries it and how often.
/// - Nothing sorts before everything; texts sort by their bytes.
/// - A step, a search or a migration that breaks a rule is [`StoreError::Invalid`], and nothing is done. Batches may be
///   of any size.
#[async_trait]
pub trait Tables: fmt::Debug + Send + Sync {
    /// Brings a schema up to date: of the numbered `migrations` of a `set`, those that were not run yet, in their
    /// order; each is one transaction with the record of it.
    ///
    /// # Errors
    /// [`StoreError::Format`] if more were run than are known, or others.
    async fn migrate(&self, set: &'static str, migrations: &[Migration]) -> StoreResult<()>;

    /// Returns the rows with these keys that are there, each once, in any order.
    async fn get(&self, spec: &'static TableSpec, keys: Vec<Vec<Value>>) -> StoreResult<Vec<Row>>;

    /// Returns, of each value of a column, the first rows in an order; values in any order, each one once.
    async fn find(&self, spec: &'static TableSpec, find: Find) -> StoreResult<Vec<Row>>;

    /// Returns rows in an order.
    async fn select(&self, spec: &'static TableSpec, select: Select) -> StoreResult<Vec<Row>>;

    /// Commits a step.
    async fn commit(&self, step: TablesStep) -> StoreResult<TablesOutcome>;

    /// Returns where a consumer stands, in any order; partitions in which it never moved are missing.
    async fn positions(&self, consumer: Consumer) -> StoreResult<Vec<StoredPosition>>;
}
