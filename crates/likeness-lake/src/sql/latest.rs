//! Rows by their keys, for who compares the lake with something else.

use async_trait::async_trait;
use futures::stream;
use likeness_core::jobs::Interval;
use likeness_core::lake::{Day, LatestRows, RowStream};
use likeness_core::query::QueryError;
use likeness_core::table::{Row, TableSpec, Value};
use likeness_core::{StoreError, StoreResult, Timestamp};

use super::versions::DATE;
use super::{LakeSql, OFFSET, quoted, versions_of};
use crate::STORE;
use crate::rows::from_batch;

/// Column that says when a row was received.
const RECEIVED: &str = "received";

impl LakeSql {
    /// Returns the name of the table that has all rows.
    fn source(&self, spec: &TableSpec) -> StoreResult<(String, bool)> {
        let table = self
            .tables
            .iter()
            .find(|table| table.spec.name == spec.name);
        match table {
            Some(table) if table.has_versions => Ok((versions_of(spec), true)),
            Some(_) => Ok((spec.name.to_owned(), false)),
            None => Err(StoreError::invalid(
                STORE,
                format!("there is no `{}`", spec.name),
            )),
        }
    }

    async fn stream(&self, spec: &'static TableSpec, sql: String) -> StoreResult<RowStream> {
        let context = self
            .context(&std::sync::Arc::default())
            .await
            .map_err(store_error)?;
        let running = self
            .runner
            .run_own(context, sql)
            .await
            .map_err(store_error)?;
        let parts = stream::try_unfold(running, move |mut running| async move {
            let Some(batch) = running.next().await else {
                return Ok(None);
            };
            let rows = from_batch(spec, &batch.map_err(store_error)?);
            let rows = rows.map_err(|reason| StoreError::corrupt(STORE, spec.name, reason))?;
            Ok(Some((rows, running)))
        });
        Ok(Box::pin(parts))
    }
}

fn store_error(error: QueryError) -> StoreError {
    match error {
        QueryError::Store(error) => error,
        other => StoreError::unavailable(STORE, other),
    }
}

/// Returns a moment, in microseconds, as an expression.
fn moment(micros: i64) -> String {
    format!("arrow_cast({micros}, 'Timestamp(Microsecond, Some(\"UTC\"))')")
}

fn micros(at: Timestamp) -> String {
    moment(i64::try_from(at.0.saturating_mul(1_000)).unwrap_or(i64::MAX))
}

fn literal(value: &Value) -> String {
    match value {
        Value::Integer(integer) => integer.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        Value::Timestamp(micros) => moment(*micros),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        _ => "NULL".to_owned(),
    }
}

#[async_trait]
impl LatestRows for LakeSql {
    async fn latest(&self, spec: &'static TableSpec, received: Interval) -> StoreResult<RowStream> {
        let (source, has_versions) = self.source(spec)?;
        let all = quoted(spec.columns.iter().map(|column| column.name));
        let key = quoted(spec.key().iter().map(|column| column.name));
        let (begin, end) = (micros(received.begin), micros(received.end));
        // A later version was received later, but for a clock that was set back.
        let slack = Timestamp(received.begin.0.saturating_sub(86_400_000));
        let since = Day::of(slack);
        let rows = match has_versions {
            false => format!("SELECT {all}, 1 AS \"nth version\" FROM \"{source}\""),
            true => format!(
                "SELECT {all}, row_number() OVER (PARTITION BY {key} ORDER BY \"{OFFSET}\" DESC) AS \"nth version\" \
                 FROM \"{source}\""
            ),
        };
        let sql = format!(
            "SELECT {all} FROM ({rows} WHERE \"{DATE}\" >= DATE '{since}') WHERE \"nth version\" = 1 \
             AND \"{RECEIVED}\" >= {begin} AND \"{RECEIVED}\" < {end} ORDER BY {key}"
        );
        self.stream(spec, sql).await
    }

    async fn row(&self, spec: &'static TableSpec, key: &[Value]) -> StoreResult<Option<Row>> {
        use futures::TryStreamExt as _;
        let (source, _) = self.source(spec)?;
        let all = quoted(spec.columns.iter().map(|column| column.name));
        let is_key = spec.key().iter().zip(key);
        let is_key: Vec<_> = is_key
            .map(|(column, value)| format!("\"{}\" = {}", column.name, literal(value)))
            .collect();
        let sql = format!(
            "SELECT {all} FROM \"{source}\" WHERE {} ORDER BY \"{OFFSET}\" DESC LIMIT 1",
            is_key.join(" AND ")
        );
        let parts: Vec<Vec<Row>> = self.stream(spec, sql).await?.try_collect().await?;
        Ok(parts.into_iter().flatten().next())
    }
}
