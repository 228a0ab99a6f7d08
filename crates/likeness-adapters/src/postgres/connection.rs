//! One connection: its settings, the statements that it has prepared, and what can go wrong with it.

use std::collections::{HashMap, HashSet};
use std::error::Error as _;
use std::pin::pin;
use std::time::Duration;

use likeness_core::sql::Advance;
use likeness_core::table::{Row, TableSpec};
use likeness_core::{BoxError, StoreError};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Statement, Transaction};
use tracing::debug;

use super::STORE;
use super::values::{Cell, all, type_of};
use crate::sql::tables as sql;

/// Statements that a connection keeps prepared; beyond it they are prepared again.
const PREPARED: usize = 256;

/// What every connection is told. A commit is on the disk when it returns, whatever the server's default is. Rows are
/// looked up by their keys, so a plan that reads a whole table is never what is wanted; one that was made while the table
/// was small would be kept.
const SETTINGS: &str = "SET synchronous_commit = on; SET statement_timeout = '100s'; \
    SET lock_timeout = '30s'; SET enable_seqscan = off; SET enable_hashjoin = off; \
    SET enable_mergejoin = off; SET client_min_messages = warning";

/// A connection.
pub(super) struct Connection {
    client: Client,
    statements: Statements,
    /// Tables that have a temporary one beside them.
    staged: HashSet<&'static str>,
}

/// Prepared statements, by their text.
#[derive(Default)]
struct Statements(HashMap<String, Statement>);

/// What went wrong.
#[derive(Debug)]
pub(super) enum Failure {
    Postgres(tokio_postgres::Error),
    Store(StoreError),
    TimedOut(Duration),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Failure {
    /// Returns whether another try may succeed.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::TimedOut(_) => false,
            Self::Store(error) => error.is_retryable(),
            Self::Postgres(error) => match error.code() {
                None => true,
                Some(code) => is_passing(code) && *code != SqlState::DISK_FULL,
            },
        }
    }
}

/// Returns whether it is the state of the server, instead of what it was asked.
fn is_passing(code: &SqlState) -> bool {
    // Connections, resources, operators, conflicts, the system; passwords and databases that someone can put right.
    let classes = ["08", "28", "3D", "40", "53", "55", "57", "58"];
    classes.contains(&code.code().get(..2).unwrap_or_default())
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let error = match failure {
            Failure::Store(error) => return error,
            Failure::TimedOut(limit) => {
                let reason = format!("no answer within {} s", limit.as_secs());
                return Self::unavailable(STORE, reason);
            }
            Failure::Postgres(error) => error,
        };
        let Some(found) = error.as_db_error() else {
            let cause = error.source().map(|cause| format!(": {cause}"));
            let cause = cause.unwrap_or_default();
            let reason = format!(
                "{error}{cause}; is the server of `pins.tables` up, and reached from here?"
            );
            return Self::unavailable(STORE, reason);
        };
        let (code, message) = (found.code(), found.message());
        let advice = match code.code() {
            "28P01" | "28000" => "; check user and password in `pins.tables`",
            "3D000" => "; make it with `createdb`, or name another in `pins.tables`",
            "42501" => "; the user of `pins.tables` must be able to create tables",
            _ => "",
        };
        let reason = format!("{} {message}{advice}", code.code());
        let source = || -> BoxError { reason.clone().into() };
        if *code == SqlState::DISK_FULL {
            return Self::NoSpace {
                store: STORE,
                source: source(),
            };
        }
        match is_passing(code) {
            true => Self::Unavailable {
                store: STORE,
                source: source(),
            },
            false => Self::corrupt(STORE, found.table().unwrap_or("the database"), reason),
        }
    }
}

impl Statements {
    async fn prepare(
        &mut self,
        client: &Transaction<'_>,
        text: &str,
    ) -> Result<Statement, Failure> {
        if let Some(statement) = self.0.get(text) {
            return Ok(statement.clone());
        }
        if self.0.len() >= PREPARED {
            self.0.clear();
        }
        let statement = client.prepare(text).await?;
        self.0.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl Connection {
    /// Connects.
    pub(super) async fn open(config: &Config) -> Result<Self, Failure> {
        let (client, driver) = config.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                debug!(%error, "a connection to PostgreSQL ended");
            }
        });
        client.batch_execute(SETTINGS).await?;
        Ok(Self {
            client,
            statements: Statements::default(),
            staged: HashSet::new(),
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs statements without parameters.
    pub(super) async fn execute_batch(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.client.batch_execute(text).await?)
    }

    /// Asks for rows.
    pub(super) async fn query(
        &mut self,
        text: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, Failure> {
        let statement = match self.statements.0.get(text) {
            Some(statement) => statement.clone(),
            None => {
                if self.statements.0.len() >= PREPARED {
                    self.statements.0.clear();
                }
                let statement = self.client.prepare(text).await?;
                self.statements.0.insert(text.to_owned(), statement.clone());
                statement
            }
        };
        Ok(self.client.query(&statement, parameters).await?)
    }

    /// Makes the temporary table through which rows of a table come in. It lives as long as the connection.
    pub(super) async fn make_stage(&mut self, spec: &'static TableSpec) -> Result<(), Failure> {
        if self.staged.contains(spec.name) {
            return Ok(());
        }
        let name = spec.name;
        let text = format!(
            "CREATE TEMPORARY TABLE IF NOT EXISTS \"stage_{name}\" (LIKE \"{name}\") ON COMMIT DELETE ROWS"
        );
        self.client.batch_execute(&text).await?;
        self.staged.insert(name);
        Ok(())
    }

    /// Begins a transaction. Dropped without a commit, it is rolled back.
    pub(super) async fn begin(&mut self) -> Result<Running<'_>, Failure> {
        Ok(Running {
            transaction: self.client.transaction().await?,
            statements: &mut self.statements,
        })
    }
}

/// A transaction.
pub(super) struct Running<'a> {
    transaction: Transaction<'a>,
    statements: &'a mut Statements,
}

impl Running<'_> {
    pub(super) async fn batch_execute(&self, text: &str) -> Result<(), Failure> {
        Ok(self.transaction.batch_execute(text).await?)
    }

    pub(super) async fn query(
        &self,
        text: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, Failure> {
        Ok(self.transaction.query(text, parameters).await?)
    }

    /// Runs a statement, and returns how many rows it changed.
    pub(super) async fn execute(
        &mut self,
        text: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Failure> {
        let statement = self.statements.prepare(&self.transaction, text).await?;
        Ok(self.transaction.execute(&statement, parameters).await?)
    }

    /// Moves a position; false if it stands elsewhere.
    pub(super) async fn advance(&mut self, advance: &Advance) -> Result<bool, Failure> {
        let (consumer, topic) = (advance.consumer.0, advance.topic.0);
        let (partition, from) = (i64::from(advance.partition.0), advance.from.0 as i64);
        let next = advance.next.0 as i64;
        let num_moved = match from {
            0 => {
                let values: [&(dyn ToSql + Sync); 4] = [&consumer, &topic, &partition, &next];
                self.execute(sql::FIRST_POSITION, &values).await?
            }
            _ => {
                let values: [&(dyn ToSql + Sync); 5] =
                    [&next, &consumer, &topic, &partition, &from];
                self.execute(sql::MOVE_POSITION, &values).await?
            }
        };
        Ok(num_moved == 1)
    }

    /// Inserts rows, or puts them in the place of those with the same key.
    pub(super) async fn upsert(&mut self, spec: &TableSpec, rows: &[Row]) -> Result<(), Failure> {
        let (name, columns) = (spec.name, sql::names(spec.columns));
        let copy = format!("COPY \"stage_{name}\" ({columns}) FROM STDIN BINARY");
        let copy = self.statements.prepare(&self.transaction, &copy).await?;
        let sink = self.transaction.copy_in(&copy).await?;
        let types: Vec<_> = spec.columns.iter().map(|one| type_of(one.kind)).collect();
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
        for row in rows {
            let cells: Vec<_> = row.0.iter().map(Cell).collect();
            writer.as_mut().write(&all(&cells)).await?;
        }
        writer.finish().await?;
        let insert = format!(
            "INSERT INTO \"{name}\" ({columns}) SELECT {columns} FROM \"stage_{name}\" {}",
            sql::on_conflict(spec)
        );
        self.execute(&insert, &[]).await?;
        Ok(())
    }

    pub(super) async fn commit(self) -> Result<(), Failure> {
        Ok(self.transaction.commit().await?)
    }

    pub(super) async fn roll_back(self) -> Result<(), Failure> {
        Ok(self.transaction.rollback().await?)
    }
}
