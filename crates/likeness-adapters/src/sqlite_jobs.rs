//! History and queue of jobs, in the file of the catalog.

use async_trait::async_trait;
use likeness_core::jobs::{JobRun, JobStore, NewRun, RunQuery, RunState, Trigger};
use likeness_core::{StoreError, StoreResult, Timestamp};
use rusqlite::{OptionalExtension as _, Row, Transaction};

use crate::sql;
use crate::sqlite::{CatalogError, STORE, SqliteCatalog, to_sql};

#[async_trait]
impl JobStore for SqliteCatalog {
    async fn add_run(&self, run: &NewRun, now: Timestamp) -> StoreResult<Option<JobRun>> {
        let run = run.clone();
        let due = to_sql(run.due.0)?;
        let scheduled = match run.trigger {
            Trigger::Schedule => Some(to_sql(run.interval.end.0)?),
            Trigger::Request => None,
        };
        self.transaction(move |transaction| {
            let id: i64 = transaction.query_row(sql::NEXT_RUN, [], |row| row.get(0))?;
            let run = run.into_run(id.unsigned_abs(), now);
            let values = (
                id,
                to_sql(run.version)?,
                &run.job,
                run.state.name(),
                due,
                scheduled,
                encode(&run),
            );
            let n_added = transaction.execute(sql::INSERT_RUN, values)?;
            Ok((n_added == 1).then_some(run))
        })
        .await
    }

    async fn change_run(&self, run: &JobRun) -> StoreResult<Option<JobRun>> {
        let run = run.clone();
        let (id, due) = (to_sql(run.id)?, to_sql(run.due.0)?);
        let (read, next) = (to_sql(run.version)?, to_sql(run.version + 1)?);
        self.transaction(move |transaction| {
            let Some(known) = select(transaction, id)? else {
                return Ok(None);
            };
            let run = known.changed_to(run);
            let values = (next, run.state.name(), due, encode(&run), id, read);
            let n_changed = transaction.execute(sql::UPDATE_RUN, values)?;
            Ok((n_changed == 1).then_some(run))
        })
        .await
    }

    async fn run(&self, id: u64) -> StoreResult<Option<JobRun>> {
        let id = to_sql(id)?;
        self.transaction(move |transaction| select(transaction, id))
            .await
    }

    async fn runs(&self, query: &RunQuery) -> StoreResult<Vec<JobRun>> {
        let query = query.clone();
        self.transaction(move |transaction| {
            let mut statement = transaction.prepare(sql::SELECT_RUNS)?;
            let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            let values = (
                query.job,
                query.state.map(RunState::name),
                query.before.map_or(i64::MAX, number),
                number(query.limit as u64),
            );
            let mut runs = Vec::new();
            for run in statement.query_map(values, read_run)? {
                runs.push(run??);
            }
            Ok(runs)
        })
        .await
    }

    async fn next_due(&self, job: &str, now: Timestamp) -> StoreResult<Option<JobRun>> {
        let (job, now) = (job.to_owned(), to_sql(now.0)?);
        self.transaction(move |transaction| {
            let values = (job, RunState::Queued.name(), now);
            let due = transaction.query_row(sql::SELECT_DUE_RUN, values, read_run);
            Ok(due.optional()?.transpose()?)
        })
        .await
    }

    async fn last_scheduled(&self, job: &str) -> StoreResult<Option<JobRun>> {
        let job = job.to_owned();
        self.transaction(move |transaction| {
            let last = transaction.query_row(sql::SELECT_LAST_SCHEDULED, [job], read_run);
            Ok(last.optional()?.transpose()?)
        })
        .await
    }
}

fn select(transaction: &Transaction<'_>, id: i64) -> Result<Option<JobRun>, CatalogError> {
    let found = transaction.query_row(sql::SELECT_RUN, [id], read_run);
    Ok(found.optional()?.transpose()?)
}

fn encode(run: &JobRun) -> String {
    serde_json::to_string(run).expect("JSON with text as keys can be written")
}

/// Reads `id, body`.
fn read_run(row: &Row<'_>) -> rusqlite::Result<StoreResult<JobRun>> {
    let (id, body): (i64, String) = (row.get(0)?, row.get(1)?);
    let run = serde_json::from_str(&body);
    Ok(run.map_err(|error| StoreError::corrupt(STORE, format!("run {id}"), error.to_string())))
}
