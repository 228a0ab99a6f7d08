//! Rows in one SQLite file of their own.
//!
//! Write-ahead journal, `synchronous = FULL`: a commit is on the disk when it returns. One connection writes, others
//! read beside it, all on the blocking pool. Lists and JSON are text, times are microseconds.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use likeness_core::log::{Offset, Partition};
use likeness_core::sql::{
    Find, Migration, Select, StoredPosition, Tables, TablesOutcome, TablesStep, check_keys,
    distinct,
};
use likeness_core::step::Consumer;
use likeness_core::table::{ColumnType, Row, TableSpec, Value};
use likeness_core::{StoreError, StoreResult, fault};
use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, Transaction, TransactionBehavior, params_from_iter};

use crate::durable::create_folder;
use crate::sql::tables::{self as sql, Dialect};
use crate::sqlite::SqliteConfig;

const STORE: &str = "tables (sqlite)";

/// `lknt`, in the file's header.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"lknt");
/// How long a call waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that read; further readers wait.
const READERS: usize = 2;
/// Statements that a connection keeps prepared.
const PREPARED: usize = 64;

/// Opens a file of tables, makes it if it is missing, with its folder. Blocks.
///
/// # Errors
/// - `Format` if it is another program's file.
/// - `Corrupt` if it is damaged, or no SQLite file.
/// - `Unavailable` if it cannot be written.
pub fn open_sqlite_tables(config: &SqliteConfig) -> StoreResult<Arc<SqliteTables>> {
    let path = config.path.as_path();
    if let Some(folder) = path.parent() {
        create_folder(folder).map_err(|error| StoreError::unavailable(STORE, error))?;
    }
    refuse_torn_header(path)?;
    let opened = || {
        let mut writer = Connection::open(path)?;
        writer.busy_timeout(BUSY_TIMEOUT)?;
        writer.set_prepared_statement_cache_capacity(PREPARED);
        writer.pragma_update(None, "synchronous", "FULL")?;
        if !is_ours(&writer)? {
            return Ok(None);
        }
        writer.pragma_update(None, "journal_mode", "WAL")?;
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.execute_batch(sql::OWN_TABLES)?;
        transaction.commit()?;
        let mut readers = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            let reader = Connection::open(path)?;
            reader.busy_timeout(BUSY_TIMEOUT)?;
            reader.set_prepared_statement_cache_capacity(PREPARED);
            reader.pragma_update(None, "query_only", true)?;
            readers.push(Mutex::new(reader));
        }
        Ok(Some((writer, readers)))
    };
    match opened().map_err(|error| store_error(path, error))? {
        Some((writer, readers)) => Ok(Arc::new(SqliteTables {
            shared: Arc::new(Shared {
                writer: Mutex::new(writer),
                readers,
                next: AtomicUsize::new(0),
                path: path.into(),
            }),
        })),
        None => Err(StoreError::Format {
            store: STORE,
            found: 0,
            expected: 1,
            advice: "the file is another program's database; choose another path",
        }),
    }
}

/// SQLite would take a file that is shorter than the smallest page for a new one.
fn refuse_torn_header(path: &Path) -> StoreResult<()> {
    const SMALLEST_PAGE_BYTES: u64 = 512;
    let num_bytes = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(StoreError::unavailable(STORE, error)),
    };
    if (1..SMALLEST_PAGE_BYTES).contains(&num_bytes) {
        let reason = format!("the file has only {num_bytes} bytes");
        return Err(StoreError::corrupt(
            STORE,
            path.display().to_string(),
            reason,
        ));
    }
    Ok(())
}

fn is_ours(connection: &Connection) -> rusqlite::Result<bool> {
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let num_tables: i64 =
        connection.query_row("SELECT COUNT(*) FROM sqlite_master", [], |row| row.get(0))?;
    Ok(id == APPLICATION_ID || id == 0 && num_tables == 0)
}

/// Rows in one SQLite file.
#[derive(Debug)]
pub struct SqliteTables {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    writer: Mutex<Connection>,
    readers: Vec<Mutex<Connection>>,
    /// Reader that is next in turn.
    next: AtomicUsize,
    path: Box<Path>,
}

impl SqliteTables {
    /// Runs `work` on the blocking pool, with the connection that writes or one that reads.
    async fn run<T, F>(&self, writes: bool, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let run = move || {
            let connection = match writes {
                true => &shared.writer,
                false => {
                    let turn = shared.next.fetch_add(1, Ordering::Relaxed);
                    &shared.readers[turn % READERS]
                }
            };
            // A panic while it was held rolled the transaction back.
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut connection).map_err(|failure| match failure {
                Failure::Sqlite(error) => store_error(&shared.path, error),
                Failure::Store(error) => error,
            })
        };
        tokio::task::spawn_blocking(run)
            .await
            .map_err(|error| StoreError::unavailable(STORE, error))?
    }
}

enum Failure {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[async_trait]
impl Tables for SqliteTables {
    async fn migrate(&self, set: &'static str, migrations: &[Migration]) -> StoreResult<()> {
        let migrations = migrations.to_vec();
        self.run(true, move |connection| {
            loop {
                let transaction =
                    connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let run: Vec<String> = transaction
                    .prepare(sql::SELECT_MIGRATIONS)?
                    .query_map([set], |row| row.get(0))?
                    .collect::<Result<_, _>>()?;
                let number = sql::num_run(STORE, set, &run, &migrations)?;
                let Some(migration) = migrations.get(number) else {
                    return Ok(());
                };
                transaction.execute_batch(&Dialect::Sqlite.migration(migration))?;
                let values = (set, number as i64, migration.to_string());
                transaction.execute(sql::INSERT_MIGRATION, values)?;
                transaction.commit()?;
            }
        })
        .await
    }

    async fn get(&self, spec: &'static TableSpec, keys: Vec<Vec<Value>>) -> StoreResult<Vec<Row>> {
        check_keys(STORE, spec, &keys)?;
        self.run(false, move |connection| {
            let columns = sql::names(spec.columns);
            let condition = sql::key_condition(spec);
            let text = format!("SELECT {columns} FROM \"{}\" WHERE {condition}", spec.name);
            // One state of the file for all keys.
            let transaction = connection.transaction()?;
            let mut statement = transaction.prepare_cached(&text)?;
            let mut rows = Vec::new();
            for key in distinct(&keys) {
                let mut found = statement.query(params_from_iter(key.iter().map(Cell)))?;
                if let Some(row) = found.next()? {
                    rows.push(read(spec, row)?);
                }
            }
            Ok(rows)
        })
        .await
    }

    async fn find(&self, spec: &'static TableSpec, find: Find) -> StoreResult<Vec<Row>> {
        find.validate(STORE, spec)?;
        self.run(false, move |connection| {
            let text = Dialect::Sqlite.find(spec, &find, "$1");
            let transaction = connection.transaction()?;
            let mut statement = transaction.prepare_cached(&text)?;
            let mut rows = Vec::new();
            for value in distinct(&find.values) {
                let mut found = statement.query([Cell(value)])?;
                while let Some(row) = found.next()? {
                    rows.push(read(spec, row)?);
                }
            }
            Ok(rows)
        })
        .await
    }

    async fn select(&self, spec: &'static TableSpec, select: Select) -> StoreResult<Vec<Row>> {
        select.validate(STORE, spec)?;
        self.run(false, move |connection| {
            let (text, parameters) = Dialect::Sqlite.select(spec, &select);
            let mut statement = connection.prepare_cached(&text)?;
            let mut found = statement.query(params_from_iter(parameters.iter().map(Cell)))?;
            let mut rows = Vec::new();
            while let Some(row) = found.next()? {
                rows.push(read(spec, row)?);
            }
            Ok(rows)
        })
        .await
    }

    async fn commit(&self, step: TablesStep) -> StoreResult<TablesOutcome> {
        step.validate(STORE)?;
        self.run(true, move |connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if !write(&transaction, &step)? {
                return Ok(TablesOutcome::AlreadyCommitted);
            }
            fault::point("tables.before_commit");
            transaction.commit()?;
            fault::point("tables.after_commit");
            Ok(TablesOutcome::Committed)
        })
        .await
    }

    async fn positions(&self, consumer: Consumer) -> StoreResult<Vec<StoredPosition>> {
        consumer.validate(STORE)?;
        self.run(false, move |connection| {
            let mut statement = connection.prepare_cached(sql::SELECT_POSITIONS)?;
            let mut found = statement.query([consumer.0])?;
            let mut positions = Vec::new();
            while let Some(row) = found.next()? {
                let number = |idx| -> Result<i64, Failure> { Ok(row.get(idx)?) };
                let damaged = |_| StoreError::corrupt(STORE, "likeness_positions", "below 0");
                positions.push(StoredPosition {
                    topic: row.get(0)?,
                    partition: Partition(u32::try_from(number(1)?).map_err(damaged)?),
                    next: Offset(u64::try_from(number(2)?).map_err(damaged)?),
                });
            }
            Ok(positions)
        })
        .await
    }
}

/// Writes a step; false if a position stands elsewhere, and the transaction must not be committed.
fn write(transaction: &Transaction<'_>, step: &TablesStep) -> Result<bool, Failure> {
    for advance in &step.positions {
        let (consumer, topic) = (advance.consumer.0, advance.topic.0);
        let (partition, from) = (advance.partition.0, advance.from.0 as i64);
        let next = advance.next.0 as i64;
        let num_moved = match from {
            0 => {
                let values = (consumer, topic, partition, next);
                transaction
                    .prepare_cached(sql::FIRST_POSITION)?
                    .execute(values)?
            }
            _ => {
                let values = (next, consumer, topic, partition, from);
                transaction
                    .prepare_cached(sql::MOVE_POSITION)?
                    .execute(values)?
            }
        };
        if num_moved != 1 {
            return Ok(false);
        }
    }
    for (spec, keys) in &step.deletes {
        let condition = sql::key_condition(spec);
        let text = format!("DELETE FROM \"{}\" WHERE {condition}", spec.name);
        let mut statement = transaction.prepare_cached(&text)?;
        for key in keys {
            statement.execute(params_from_iter(key.iter().map(Cell)))?;
        }
    }
    for (spec, rows) in &step.upserts {
        let text = format!(
            "INSERT INTO \"{}\" ({}) VALUES ({}) {}",
            spec.name,
            sql::names(spec.columns),
            sql::placeholders(spec.columns.len()),
            sql::on_conflict(spec)
        );
        let mut statement = transaction.prepare_cached(&text)?;
        for row in rows {
            statement.execute(params_from_iter(row.0.iter().map(Cell)))?;
        }
    }
    Ok(true)
}

/// A value on its way in.
struct Cell<'a>(&'a Value);

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let json = |text: serde_json::Result<String>| match text {
            Ok(text) => Ok(ToSqlOutput::Owned(SqlValue::Text(text))),
            Err(error) => Err(rusqlite::Error::ToSqlConversionFailure(error.into())),
        };
        match self.0 {
            Value::Null => Ok(ToSqlOutput::Borrowed(ValueRef::Null)),
            Value::Text(text) => Ok(ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()))),
            Value::Integer(number) | Value::Timestamp(number) => {
                Ok(ToSqlOutput::Borrowed(ValueRef::Integer(*number)))
            }
            Value::Real(number) => Ok(ToSqlOutput::Borrowed(ValueRef::Real(*number))),
            Value::Boolean(truth) => {
                Ok(ToSqlOutput::Borrowed(ValueRef::Integer(i64::from(*truth))))
            }
            Value::Json(value) => json(serde_json::to_string(value)),
            Value::Texts(texts) => json(serde_json::to_string(texts)),
            Value::Reals(reals) => json(serde_json::to_string(reals)),
        }
    }
}

/// Reads a row of the columns of a table.
fn read(spec: &TableSpec, row: &rusqlite::Row<'_>) -> Result<Row, Failure> {
    let mut values = Vec::with_capacity(spec.columns.len());
    for (idx, column) in spec.columns.iter().enumerate() {
        let damaged = |reason: String| {
            StoreError::corrupt(STORE, format!("{}.{}", spec.name, column.name), reason)
        };
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).map_err(|error| damaged(error.to_string()))
        };
        let value = match (column.kind, row.get_ref(idx)?) {
            (_, ValueRef::Null) => Value::Null,
            (ColumnType::Text, ValueRef::Text(bytes)) => Value::Text(text(bytes)?),
            (ColumnType::Integer, ValueRef::Integer(number)) => Value::Integer(number),
            (ColumnType::Timestamp, ValueRef::Integer(number)) => Value::Timestamp(number),
            (ColumnType::Boolean, ValueRef::Integer(number)) => Value::Boolean(number != 0),
            (ColumnType::Real, ValueRef::Real(number)) => Value::Real(number),
            (kind, ValueRef::Text(bytes)) => {
                let parsed = match kind {
                    ColumnType::Json => serde_json::from_slice(bytes).map(Value::Json),
                    ColumnType::Texts => serde_json::from_slice(bytes).map(Value::Texts),
                    _ => serde_json::from_slice(bytes).map(Value::Reals),
                };
                parsed.map_err(|error| damaged(error.to_string()))?
            }
            (kind, found) => {
                let reason = format!("{} where {kind:?} should be", found.data_type());
                return Err(damaged(reason).into());
            }
        };
        values.push(value);
    }
    Ok(Row(values))
}

fn store_error(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::NoSpace {
            store: STORE,
            source: error.into(),
        },
        // A table or a column that must be there and is not, besides damage.
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown) | None => {
            StoreError::corrupt(STORE, path.display().to_string(), error.to_string())
        }
        Some(_) => StoreError::unavailable(STORE, error),
    }
}
