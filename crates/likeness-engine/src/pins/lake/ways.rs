//! Both ways as the parity check sees them.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use likeness_core::jobs::Interval;
use likeness_core::lake::{Lake, LatestRows, RowStream};
use likeness_core::sql::{Select, StoredPosition, Tables};
use likeness_core::table::{Row, TableSpec, Value};
use likeness_core::{StoreResult, Timestamp};
use tokio::sync::Mutex;

use crate::pins::clean::time::EventTime;
use crate::pins::parity::{Positions, Way, order};
use crate::pins::stream::{self, EXPERIMENTAL_DATA};
use crate::pins::tables::PINS;

/// The stream's tables.
#[derive(Debug)]
pub struct TablesWay(Arc<dyn Tables>);

impl TablesWay {
    /// Returns the way.
    pub fn new(tables: Arc<dyn Tables>) -> Self {
        Self(tables)
    }
}

/// Returns the table of SQL that has the columns of a table of clean events, and maybe more after them.
fn in_sql(table: &'static TableSpec) -> &'static TableSpec {
    match table.name == PINS.name {
        true => &EXPERIMENTAL_DATA,
        false => table,
    }
}

fn cut(mut row: Row, table: &TableSpec) -> Row {
    row.0.truncate(table.columns.len());
    row
}

fn positions(stored: Vec<StoredPosition>) -> Positions {
    let entry = |one: StoredPosition| ((one.topic, one.partition), one.next);
    stored.into_iter().map(entry).collect()
}

#[async_trait]
impl Way for TablesWay {
    fn name(&self) -> &'static str {
        "stream"
    }

    async fn positions(&self) -> StoreResult<Positions> {
        Ok(positions(self.0.positions(stream::CONSUMER).await?))
    }

    async fn rows(
        &self,
        table: &'static TableSpec,
        received: Interval,
        after: Option<&[Value]>,
        limit: usize,
    ) -> StoreResult<Vec<Row>> {
        let at = |time: Timestamp| Some(Value::Timestamp(EventTime::from(time).micros()));
        let select = Select {
            range: Some(("received", at(received.begin), at(received.end))),
            after: after.map(<[Value]>::to_vec),
            limit,
            ..Select::default()
        };
        let rows = self.0.select(in_sql(table), select).await?;
        Ok(rows.into_iter().map(|row| cut(row, table)).collect())
    }

    async fn row(&self, table: &'static TableSpec, key: &[Value]) -> StoreResult<Option<Row>> {
        let rows = self.0.get(in_sql(table), vec![key.to_vec()]).await?;
        Ok(rows.into_iter().next().map(|row| cut(row, table)))
    }
}

/// The lake.
#[derive(Debug)]
pub struct LakeWay {
    lake: Arc<dyn Lake>,
    rows: Arc<dyn LatestRows>,
    /// What is being read, so that its next page costs no new query.
    open: Mutex<Option<Open>>,
}

impl LakeWay {
    /// Returns the way: where it stands, and its rows.
    pub fn new(lake: Arc<dyn Lake>, rows: Arc<dyn LatestRows>) -> Self {
        Self {
            lake,
            rows,
            open: Mutex::new(None),
        }
    }
}

/// A query, and how far it was read.
struct Open {
    table: &'static TableSpec,
    received: Interval,
    last: Vec<Value>,
    rest: Vec<Row>,
    stream: RowStream,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("table", &self.table.name)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl Open {
    /// Returns the next rows, fewer than `limit` only at the end.
    async fn page(&mut self, limit: usize) -> StoreResult<Vec<Row>> {
        let mut page = std::mem::take(&mut self.rest);
        while page.len() < limit {
            match self.stream.next().await {
                Some(rows) => page.extend(rows?),
                None => break,
            }
        }
        self.rest = page.split_off(page.len().min(limit));
        if let Some(last) = page.last() {
            self.last = last.key(self.table).to_vec();
        }
        Ok(page)
    }

    fn goes_on(&self, table: &TableSpec, received: Interval, after: Option<&[Value]>) -> bool {
        self.table.name == table.name && self.received == received && after == Some(&self.last[..])
    }
}

#[async_trait]
impl Way for LakeWay {
    fn name(&self) -> &'static str {
        "batch"
    }

    async fn positions(&self) -> StoreResult<Positions> {
        let snapshot = self.lake.snapshot().await?;
        Ok(positions(snapshot.positions_of(super::CONSUMER)))
    }

    async fn rows(
        &self,
        table: &'static TableSpec,
        received: Interval,
        after: Option<&[Value]>,
        limit: usize,
    ) -> StoreResult<Vec<Row>> {
        let mut open = self.open.lock().await;
        let mut query = match open.take() {
            Some(query) if query.goes_on(table, received, after) => query,
            _ => Open {
                table,
                received,
                last: Vec::new(),
                rest: Vec::new(),
                stream: self.rows.latest(table, received).await?,
            },
        };
        let mut page = query.page(limit).await?;
        // One that begins anew finds its place.
        while let (Some(after), Some(last)) = (after, page.last())
            && !order(last.key(table), after).is_gt()
        {
            page = query.page(limit).await?;
        }
        if let Some(after) = after {
            page.retain(|row| order(row.key(table), after).is_gt());
            // A page that is short says that there is no more.
            let missing = limit.saturating_sub(page.len());
            page.extend(query.page(missing).await?);
        }
        *open = Some(query);
        Ok(page)
    }

    async fn row(&self, table: &'static TableSpec, key: &[Value]) -> StoreResult<Option<Row>> {
        self.rows.row(table, key).await
    }
}
