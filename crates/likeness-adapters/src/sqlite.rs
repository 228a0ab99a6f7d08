//! The catalog in one SQLite file.
//!
//! Write-ahead journal, `synchronous = FULL`: an answered call is on the disk. Several processes
//! may have the file open; SQLite lets one write at a time. The file carries likeness's
//! `application_id`, and the version of its schema as `user_version`; older schemas are migrated
//! at open, newer ones and other programs' files are refused.
//!
//! SQLite blocks, so every call runs on the blocking pool, one at a time.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use likeness_core::catalog::{Catalog, GenerationRecord, Lease, LeaseOutcome};
use likeness_core::{Generation, StoreError, StoreResult, Timestamp};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior};
use serde::Deserialize;

use crate::durable::create_folder;
use crate::sql;

pub(crate) const STORE: &str = "catalog (sqlite)";

/// `lkns`, in the file's header.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"lkns");

/// How long a call waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a [`SqliteCatalog`] lies.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqliteConfig {
    /// The file; created if missing, with its folder.
    pub path: PathBuf,
}

/// Opens the catalog, creates it if the file is missing, and brings its schema up to date. Blocks.
///
/// # Errors
/// - `Format` if the file was written by a later version, or by another program.
/// - `Corrupt` if it is damaged, or no SQLite file.
/// - `Unavailable` if it cannot be written, or another process does not stop writing.
pub fn open_sqlite(config: &SqliteConfig) -> StoreResult<Arc<SqliteCatalog>> {
    let path = config.path.as_path();
    if let Some(folder) = path.parent() {
        create_folder(folder).map_err(|error| StoreError::unavailable(STORE, error))?;
    }
    refuse_torn_header(path)?;
    let open = || {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Before anything is written: a foreign file must stay as it is.
        let found = read_version(&connection)?;
        if let Version::Known(_) = found {
            connection.pragma_update(None, "journal_mode", "WAL")?;
        }
        let migrated = migrate(&mut connection)?;
        Ok((connection, migrated))
    };
    let (connection, version) = open().map_err(|error| store_error(path, error))?;
    let refused = |found, advice| StoreError::Format {
        store: STORE,
        found,
        expected: sql::CATALOG_MIGRATIONS.len() as u32,
        advice,
    };
    match version {
        Version::Known(_) => {}
        Version::Newer(found) => {
            return Err(refused(
                found,
                "open it with the version that wrote it, or a later one",
            ));
        }
        Version::Foreign => {
            return Err(refused(
                0,
                "the file is another program's database; choose another path",
            ));
        }
    }
    Ok(Arc::new(SqliteCatalog {
        connection: Arc::new(Mutex::new(connection)),
        path: path.into(),
    }))
}

/// Refuses a file that is shorter than the smallest page but not empty: SQLite would take it for a
/// new one.
fn refuse_torn_header(path: &Path) -> StoreResult<()> {
    const SMALLEST_PAGE_BYTES: u64 = 512;
    let num_bytes = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(StoreError::unavailable(STORE, error)),
    };
    if (1..SMALLEST_PAGE_BYTES).contains(&num_bytes) {
        let reason = format!("the file has only {num_bytes} bytes");
        let path = path.display().to_string();
        return Err(StoreError::corrupt(STORE, path, reason));
    }
    Ok(())
}

/// Generations, settings, leases and runs of jobs in one SQLite file.
#[derive(Debug)]
pub struct SqliteCatalog {
    connection: Arc<Mutex<Connection>>,
    path: Arc<Path>,
}

/// Whose file it is.
enum Version {
    /// Ours, with so many migrations done; none for a new file.
    Known(usize),
    Newer(u32),
    Foreign,
}

fn read_version(connection: &Connection) -> rusqlite::Result<Version> {
    let application_id: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let n_tables: i64 =
        connection.query_row("SELECT COUNT(*) FROM sqlite_master", [], |row| row.get(0))?;
    let n_migrations = version as usize;
    Ok(match application_id {
        APPLICATION_ID if n_migrations <= sql::CATALOG_MIGRATIONS.len() => {
            Version::Known(n_migrations)
        }
        APPLICATION_ID => Version::Newer(version),
        0 if version == 0 && n_tables == 0 => Version::Known(0),
        _ => Version::Foreign,
    })
}

/// Brings the schema up to date, and returns what was found.
fn migrate(connection: &mut Connection) -> rusqlite::Result<Version> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Read again: another process may have been faster.
    let found = read_version(&transaction)?;
    if let Version::Known(n_done) = found {
        for (n, migration) in sql::CATALOG_MIGRATIONS.iter().enumerate().skip(n_done) {
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", n as u32 + 1)?;
        }
        if n_done == 0 {
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        transaction.commit()?;
    }
    Ok(found)
}

impl SqliteCatalog {
    /// Runs `work` in a transaction that no other writer can come between, and commits it if it
    /// returns `Ok`.
    pub(crate) async fn transaction<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, CatalogError> + Send + 'static,
    {
        let (connection, path) = (Arc::clone(&self.connection), Arc::clone(&self.path));
        let run = move || {
            // A panic while it was held rolled the transaction back.
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let output = work(&transaction)?;
            transaction.commit()?;
            Ok(output)
        };
        tokio::task::spawn_blocking(run)
            .await
            .map_err(|error| StoreError::unavailable(STORE, error))?
            .map_err(|error| match error {
                CatalogError::Sqlite(error) => store_error(&path, error),
                CatalogError::Store(error) => error,
            })
    }
}

/// What can go wrong inside a transaction.
pub(crate) enum CatalogError {
    Sqlite(rusqlite::Error),
    Store(StoreError),
}

impl From<rusqlite::Error> for CatalogError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for CatalogError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[async_trait]
impl Catalog for SqliteCatalog {
    async fn ensure_generation(
        &self,
        fingerprint: &str,
        parameters: &serde_json::Value,
        now: Timestamp,
    ) -> StoreResult<GenerationRecord> {
        let fingerprint = fingerprint.to_owned();
        let parameters = parameters.to_string();
        let now = to_sql(now.0)?;
        self.transaction(move |transaction| {
            let known = transaction
                .query_row(sql::SELECT_GENERATION, [&fingerprint], read_generation)
                .optional()?;
            if let Some(known) = known {
                return Ok(known?);
            }
            let values = (now, &fingerprint, &parameters);
            Ok(transaction.query_row(sql::INSERT_GENERATION, values, read_generation)??)
        })
        .await
    }

    async fn generations(&self) -> StoreResult<Vec<GenerationRecord>> {
        self.transaction(|transaction| {
            let mut statement = transaction.prepare(sql::SELECT_GENERATIONS)?;
            let mut records = Vec::new();
            for record in statement.query_map([], read_generation)? {
                records.push(record??);
            }
            Ok(records)
        })
        .await
    }

    async fn setting(&self, name: &str) -> StoreResult<Option<String>> {
        let name = name.to_owned();
        self.transaction(move |transaction| Ok(select_setting(transaction, &name)?))
            .await
    }

    async fn compare_and_set_setting(
        &self,
        name: &str,
        expected: Option<&str>,
        new: Option<&str>,
    ) -> StoreResult<bool> {
        let name = name.to_owned();
        let (expected, new) = (expected.map(str::to_owned), new.map(str::to_owned));
        self.transaction(move |transaction| {
            let n_changed = match (expected, new) {
                (None, None) => return Ok(select_setting(transaction, &name)?.is_none()),
                (None, Some(new)) => transaction.execute(sql::INSERT_SETTING, [name, new])?,
                (Some(expected), Some(new)) => {
                    transaction.execute(sql::UPDATE_SETTING, [new, name, expected])?
                }
                (Some(expected), None) => {
                    transaction.execute(sql::DELETE_SETTING, [name, expected])?
                }
            };
            Ok(n_changed == 1)
        })
        .await
    }

    async fn acquire_lease(
        &self,
        name: &str,
        owner: &str,
        length: Duration,
        now: Timestamp,
    ) -> StoreResult<LeaseOutcome> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        let (expires, now) = (to_sql(now.plus(length).0)?, to_sql(now.0)?);
        self.transaction(move |transaction| {
            let values = (&name, &owner, expires, now);
            let acquired = transaction
                .query_row(sql::ACQUIRE_LEASE, values, read_lease)
                .optional()?;
            if let Some(lease) = acquired {
                return Ok(LeaseOutcome::Acquired(lease?));
            }
            let held = transaction.query_row(sql::SELECT_LEASE, [&name], read_lease)?;
            Ok(LeaseOutcome::Held(held?))
        })
        .await
    }

    async fn renew_lease(
        &self,
        lease: &Lease,
        length: Duration,
        now: Timestamp,
    ) -> StoreResult<Option<Lease>> {
        let lease = lease.clone();
        let expires = to_sql(now.plus(length).0)?;
        let token = to_sql(lease.token)?;
        self.transaction(move |transaction| {
            let values = (expires, &lease.name, &lease.owner, token);
            let renewed = transaction
                .query_row(sql::RENEW_LEASE, values, read_lease)
                .optional()?;
            Ok(renewed.transpose()?)
        })
        .await
    }

    async fn release_lease(&self, lease: &Lease) -> StoreResult<()> {
        let lease = lease.clone();
        let token = to_sql(lease.token)?;
        self.transaction(move |transaction| {
            transaction.execute(sql::RELEASE_LEASE, (&lease.name, &lease.owner, token))?;
            Ok(())
        })
        .await
    }
}

fn select_setting(transaction: &Transaction<'_>, name: &str) -> rusqlite::Result<Option<String>> {
    transaction
        .query_row(sql::SELECT_SETTING, [name], |row| row.get(0))
        .optional()
}

/// Reads `number, created_ms, fingerprint, parameters`.
fn read_generation(row: &Row<'_>) -> rusqlite::Result<StoreResult<GenerationRecord>> {
    let (number, created): (i64, i64) = (row.get(0)?, row.get(1)?);
    let (fingerprint, parameters): (String, String) = (row.get(2)?, row.get(3)?);
    let key = format!("generation {number}");
    let record = || {
        Ok(GenerationRecord {
            generation: Generation(from_sql(&key, number)?),
            created: Timestamp(from_sql(&key, created)?),
            parameters: serde_json::from_str(&parameters)
                .map_err(|error| StoreError::corrupt(STORE, &key, error.to_string()))?,
            fingerprint,
        })
    };
    Ok(record())
}

/// Reads `name, owner, token, expires_ms`.
fn read_lease(row: &Row<'_>) -> rusqlite::Result<StoreResult<Lease>> {
    let (name, owner): (String, String) = (row.get(0)?, row.get(1)?);
    let (token, expires): (i64, i64) = (row.get(2)?, row.get(3)?);
    let key = format!("lease {name}");
    let lease = || {
        Ok(Lease {
            token: from_sql(&key, token)?,
            expires: Timestamp(from_sql(&key, expires)?),
            name,
            owner,
        })
    };
    Ok(lease())
}

pub(crate) fn to_sql(number: u64) -> StoreResult<i64> {
    i64::try_from(number)
        .map_err(|_| StoreError::invalid(STORE, format!("{number} does not fit into 63 bits")))
}

fn from_sql<T: TryFrom<i64>>(key: &str, number: i64) -> StoreResult<T> {
    T::try_from(number)
        .map_err(|_| StoreError::corrupt(STORE, key, format!("{number} is out of range")))
}

fn store_error(path: &Path, error: rusqlite::Error) -> StoreError {
    let is_damage = matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    );
    // A column of another type, or a row that must be there and is not.
    if is_damage || error.sqlite_error_code().is_none() {
        return StoreError::corrupt(STORE, path.display().to_string(), error.to_string());
    }
    StoreError::unavailable(STORE, error)
}
