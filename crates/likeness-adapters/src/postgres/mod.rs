//! Rows in a PostgreSQL database.
//!
//! - Batches go in by a binary `COPY` into a temporary table, and from there with one `INSERT … ON CONFLICT`: three
//!   round trips, however many rows.
//! - A connection that is lost is made again, a few times for a call; what could then not be done is `Unavailable`, and
//!   whoever called tries again later. A commit that is tried again is safe: positions say whether it was done.
//! - One connection writes, others read. They are made when they are first needed, so that likeness starts without the
//!   database too.
//! - There is no TLS: use a server on this machine or in a network that is trusted, or a tunnel.

mod connection;
mod values;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use likeness_core::log::{Offset, Partition};
use likeness_core::sql::{
    Find, Migration, Select, StoredPosition, Tables, TablesOutcome, TablesStep, check_keys,
    distinct,
};
use likeness_core::step::Consumer;
use likeness_core::table::{Row, TableSpec, Value};
use likeness_core::{StoreError, StoreResult};
use tokio::sync::Mutex;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use self::connection::{Connection, Failure};
use self::values::{Cell, Columns};
use crate::sql::tables::{self as sql, Dialect};

pub(crate) const STORE: &str = "tables (postgres)";

/// Connections that read; further readers wait.
const READERS: usize = 3;
/// Tries of one call, and the pause after the first one, which then doubles.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(100);
/// Longest time for one try of a call.
const TRY_LIMIT: Duration = Duration::from_secs(120);

/// Rows in a PostgreSQL database.
pub struct PostgresTables {
    config: Config,
    writer: Mutex<Option<Connection>>,
    readers: [Mutex<Option<Connection>>; READERS],
    /// Reader that is next in turn.
    next: AtomicUsize,
}

impl fmt::Debug for PostgresTables {
    /// Without the URL, which may have a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTables").finish_non_exhaustive()
    }
}

/// Returns tables in the database that `url` names, such as `postgres://user:password@localhost:5432/likeness`.
/// Connects when it is first asked.
///
/// # Errors
/// `Invalid` if the URL cannot be used; it is not repeated in the message, since it may have a password.
pub fn open_postgres(url: &str) -> StoreResult<Arc<PostgresTables>> {
    Ok(Arc::new(PostgresTables {
        config: read_url(url)?,
        writer: Mutex::default(),
        readers: Default::default(),
        next: AtomicUsize::new(0),
    }))
}

/// Reads a URL.
fn read_url(url: &str) -> StoreResult<Config> {
    let invalid = |reason: &str| {
        let form = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";
        StoreError::invalid(STORE, format!("{reason}; write it as `{form}`"))
    };
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(invalid("the URL does not begin with `postgres://`"));
    }
    let mut config: Config = url.parse().map_err(|_| invalid("the URL cannot be read"))?;
    if config.get_hosts().is_empty() {
        return Err(invalid("the URL names no host"));
    }
    if config.get_dbname().is_none_or(str::is_empty) {
        return Err(invalid("the URL names no database"));
    }
    if config.get_user().is_none_or(str::is_empty) {
        return Err(invalid("the URL names no user"));
    }
    if config.get_ssl_mode() == SslMode::Require {
        return Err(invalid(
            "TLS is not built in: remove `sslmode=require`, and use a tunnel",
        ));
    }
    config
        .application_name("likeness")
        .connect_timeout(Duration::from_secs(5))
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(Duration::from_secs(60));
    Ok(config)
}

impl PostgresTables {
    /// Does `work` with a connection; again with a new one while that may help.
    async fn run<W: Work>(&self, work: W) -> StoreResult<W::Output> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % READERS;
        let place = if W::WRITES {
            &self.writer
        } else {
            &self.readers[turn]
        };
        let mut held = place.lock().await;
        let mut pause = PAUSE;
        for tried in 1.. {
            let attempt = async {
                if held.as_ref().is_none_or(Connection::is_closed) {
                    *held = Some(Connection::open(&self.config).await?);
                }
                let connection = held.as_mut().expect("it was just made");
                work.run(connection).await
            };
            let outcome = match tokio::time::timeout(TRY_LIMIT, attempt).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Failure::TimedOut(TRY_LIMIT)),
            };
            let failure = match outcome {
                Ok(output) => return Ok(output),
                Err(failure) => failure,
            };
            // Whatever it was doing is not finished: its transaction ends with it.
            *held = None;
            if !failure.may_pass() || tried == TRIES {
                return Err(failure.into());
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        unreachable!("the last try has returned")
    }
}

/// What is done with a connection, once or several times.
trait Work: Send + Sync {
    /// Whether with the one that writes.
    const WRITES: bool;
    type Output: Send;

    fn run(
        &self,
        connection: &mut Connection,
    ) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

struct Migrate<'a> {
    set: &'static str,
    migrations: &'a [Migration],
}

impl Work for Migrate<'_> {
    const WRITES: bool = true;
    type Output = ();

    async fn run(&self, connection: &mut Connection) -> Result<(), Failure> {
        connection.execute_batch(sql::OWN_TABLES).await?;
        loop {
            let mut transaction = connection.begin().await?;
            // One process at a time; released with the transaction.
            let lock = "LOCK TABLE likeness_migrations IN EXCLUSIVE MODE";
            transaction.batch_execute(lock).await?;
            let rows = transaction
                .query(sql::SELECT_MIGRATIONS, &[&self.set])
                .await?;
            let run: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            let number = sql::num_run(STORE, self.set, &run, self.migrations)?;
            let Some(migration) = self.migrations.get(number) else {
                return transaction.commit().await;
            };
            let text = Dialect::Postgres.migration(migration);
            transaction.batch_execute(&text).await?;
            let (number, text) = (number as i64, migration.to_string());
            transaction
                .execute(sql::INSERT_MIGRATION, &[&self.set, &number, &text])
                .await?;
            transaction.commit().await?;
        }
    }
}

/// A query for rows of a table.
struct Query<'a> {
    spec: &'static TableSpec,
    text: String,
    parameters: Parameters<'a>,
}

enum Parameters<'a> {
    Keys(Columns<'a>),
    Values(Vec<Cell<'a>>),
}

impl Work for Query<'_> {
    const WRITES: bool = false;
    type Output = Vec<Row>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<Row>, Failure> {
        let parameters = match &self.parameters {
            Parameters::Keys(columns) => columns.parameters(),
            Parameters::Values(cells) => values::all(cells),
        };
        let rows = connection.query(&self.text, &parameters).await?;
        rows.iter().map(|row| values::row(self.spec, row)).collect()
    }
}

struct Commit(TablesStep);

impl Work for Commit {
    const WRITES: bool = true;
    type Output = TablesOutcome;

    async fn run(&self, connection: &mut Connection) -> Result<TablesOutcome, Failure> {
        let Self(step) = self;
        for (spec, rows) in &step.upserts {
            if !rows.is_empty() {
                connection.make_stage(spec).await?;
            }
        }
        let mut transaction = connection.begin().await?;
        for advance in &step.positions {
            if !transaction.advance(advance).await? {
                transaction.roll_back().await?;
                return Ok(TablesOutcome::AlreadyCommitted);
            }
        }
        for (spec, keys) in &step.deletes {
            if keys.is_empty() {
                continue;
            }
            let text = format!(
                "DELETE FROM \"{}\" AS t USING {}",
                spec.name,
                keys_of(spec, "WHERE")
            );
            let keys = distinct(keys);
            let columns = Columns::of(spec.key(), &keys);
            transaction.execute(&text, &columns.parameters()).await?;
        }
        for (spec, rows) in &step.upserts {
            if !rows.is_empty() {
                transaction.upsert(spec, rows).await?;
            }
        }
        transaction.commit().await?;
        Ok(TablesOutcome::Committed)
    }
}

struct Positions(Consumer);

impl Work for Positions {
    const WRITES: bool = false;
    type Output = Vec<StoredPosition>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<StoredPosition>, Failure> {
        connection.execute_batch(sql::OWN_TABLES).await?;
        let Self(consumer) = self;
        let rows = connection
            .query(sql::SELECT_POSITIONS, &[&consumer.0])
            .await?;
        let damaged = |_| StoreError::corrupt(STORE, "likeness_positions", "below 0");
        let mut positions = Vec::with_capacity(rows.len());
        for row in rows {
            let (partition, next): (i64, i64) = (row.get(1), row.get(2));
            positions.push(StoredPosition {
                topic: row.get(0),
                partition: Partition(u32::try_from(partition).map_err(damaged)?),
                next: Offset(u64::try_from(next).map_err(damaged)?),
            });
        }
        Ok(positions)
    }
}

#[async_trait]
impl Tables for PostgresTables {
    async fn migrate(&self, set: &'static str, migrations: &[Migration]) -> StoreResult<()> {
        self.run(Migrate { set, migrations }).await?;
        // What connections know of tables may be older.
        *self.writer.lock().await = None;
        for reader in &self.readers {
            *reader.lock().await = None;
        }
        Ok(())
    }

    async fn get(&self, spec: &'static TableSpec, keys: Vec<Vec<Value>>) -> StoreResult<Vec<Row>> {
        check_keys(STORE, spec, &keys)?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let columns = spec.columns.iter().map(|one| format!("t.\"{}\"", one.name));
        let columns: Vec<_> = columns.collect();
        let text = format!(
            "SELECT {} FROM \"{}\" AS t JOIN {}",
            columns.join(", "),
            spec.name,
            keys_of(spec, "ON"),
        );
        let keys = distinct(&keys);
        let parameters = Parameters::Keys(Columns::of(spec.key(), &keys));
        self.run(Query {
            spec,
            text,
            parameters,
        })
        .await
    }

    async fn find(&self, spec: &'static TableSpec, find: Find) -> StoreResult<Vec<Row>> {
        find.validate(STORE, spec)?;
        if find.values.is_empty() {
            return Ok(Vec::new());
        }
        let idx = spec.column(find.column).expect("it was checked");
        let column = spec.columns[idx];
        let text = format!(
            "SELECT f.* FROM UNNEST($1::{}[]) AS v (value) CROSS JOIN LATERAL ({}) AS f",
            sql::plain_type(column.kind),
            Dialect::Postgres.find(spec, &find, "v.value"),
        );
        let keys = find.values.iter().map(|value| vec![value.clone()]);
        let keys: Vec<_> = keys.collect();
        let keys = distinct(&keys);
        let parameters = Parameters::Keys(Columns::of(&[column], &keys));
        self.run(Query {
            spec,
            text,
            parameters,
        })
        .await
    }

    async fn select(&self, spec: &'static TableSpec, select: Select) -> StoreResult<Vec<Row>> {
        select.validate(STORE, spec)?;
        let (text, values) = Dialect::Postgres.select(spec, &select);
        let parameters = Parameters::Values(values.iter().map(Cell).collect());
        self.run(Query {
            spec,
            text,
            parameters,
        })
        .await
    }

    async fn commit(&self, mut step: TablesStep) -> StoreResult<TablesOutcome> {
        step.validate(STORE)?;
        // Two writers lock rows in one order.
        step.positions
            .sort_by_key(|advance| (advance.consumer, advance.topic, advance.partition));
        self.run(Commit(step)).await
    }

    async fn positions(&self, consumer: Consumer) -> StoreResult<Vec<StoredPosition>> {
        consumer.validate(STORE)?;
        self.run(Positions(consumer)).await
    }
}

/// Returns a list of keys beside `t`, of a parameter for each of their columns.
fn keys_of(spec: &TableSpec, condition: &str) -> String {
    let (mut arrays, mut names, mut equal) = (Vec::new(), Vec::new(), Vec::new());
    for (idx, column) in spec.key().iter().enumerate() {
        arrays.push(format!("${}::{}[]", idx + 1, sql::plain_type(column.kind)));
        names.push(format!("k{idx}"));
        equal.push(format!("t.\"{}\" = k.k{idx}", column.name));
    }
    let (arrays, names, equal) = (arrays.join(", "), names.join(", "), equal.join(" AND "));
    format!("UNNEST({arrays}) AS k ({names}) {condition} {equal}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_and_never_repeated() {
        open_postgres("postgres://me:secret@localhost/pins").unwrap();
        open_postgres("postgresql://me@localhost:5433/pins?connect_timeout=3").unwrap();
        for url in [
            "postgres://",
            "postgres://me:secret@localhost",
            "postgres://localhost/pins",
            "postgres://me:secret@localhost/pins?sslmode=require",
            "postgres://me:secret@localhost/pins?secret=1",
            "postgres://me:secret@localhost:secret/pins",
            "mysql://me:secret@localhost/pins",
        ] {
            let error = open_postgres(url).unwrap_err();
            assert!(matches!(error, StoreError::Invalid { .. }), "{url}");
            let text = format!("{error} {error:?}");
            assert!(
                !text.contains("secret") && text.contains("write it as"),
                "{text}"
            );
        }
        let tables = open_postgres("postgres://me:secret@localhost/pins").unwrap();
        assert!(!format!("{tables:?}").contains("secret"));
    }
}
