//! Queries and reports. They may take as long as the server lets them, so nothing here has a limit of its own.

use std::io::Read;

use anyhow::Context as _;
use bytes::Bytes;
use likeness_core::query::{ExportFormat, QueryRows, QueryTable};
use likeness_server::ReportView;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{Client, blocking, remote_error};
use crate::cli;
use crate::instance;

/// Most bytes of the first rows of an answer.
const MAX_ROWS_BYTES: u64 = 256 << 20;
/// Bytes of a piece of a whole answer.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that were read and not written yet.
const MAX_PIECES: usize = 8;

#[derive(Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

impl Client {
    /// Returns a client of the server that was named, or of the one that has the data directory open, if there is one.
    pub(crate) async fn running(context: &cli::Context) -> Option<Self> {
        let key = context.key.as_deref();
        if let Some(url) = &context.server {
            return Some(Self::new(url, key));
        }
        let client = Self::new(&instance::read(&context.data_dir)?.url, key);
        client.is_alive().await.then_some(client)
    }

    pub(crate) async fn sql_tables(&self) -> anyhow::Result<Vec<QueryTable>> {
        let tables: Items<QueryTable> = self.get("/v1/sql/tables".to_owned()).await?;
        Ok(tables.items)
    }

    pub(crate) async fn pin_reports(&self) -> anyhow::Result<Vec<ReportView>> {
        let reports: Items<ReportView> = self.get("/v1/pins/reports".to_owned()).await?;
        Ok(reports.items)
    }

    /// Returns the first rows of an answer.
    pub(crate) async fn query_sql(&self, sql: &str, limit: usize) -> anyhow::Result<QueryRows> {
        let client = self.clone();
        let body = serde_json::json!({"sql": sql, "limit": limit}).to_string();
        blocking(move || {
            let mut response = client.ask_sql("", &body)?;
            let config = response.body_mut().with_config().limit(MAX_ROWS_BYTES);
            let bytes = config
                .read_to_vec()
                .context("cannot read the server's answer")?;
            serde_json::from_slice(&bytes)
                .context("the server's answer is not what this version expects")
        })
        .await
    }

    /// Begins to read a whole answer. An error, of which there is one at most, is the last piece.
    pub(crate) async fn export_sql(
        &self,
        sql: &str,
        format: ExportFormat,
    ) -> anyhow::Result<mpsc::Receiver<anyhow::Result<Bytes>>> {
        let client = self.clone();
        let body = serde_json::json!({"sql": sql}).to_string();
        let query = format!("?format={}", format.extension());
        let response = blocking(move || client.ask_sql(&query, &body)).await?;
        let (sender, receiver) = mpsc::channel(MAX_PIECES);
        // Ends when the receiver is gone, with the next piece that comes.
        tokio::task::spawn_blocking(move || {
            let mut reader = response.into_body().into_reader();
            let mut piece = vec![0; PIECE_BYTES];
            loop {
                let read = reader.read(&mut piece);
                let read = read.context("the answer broke off; the server's log has the cause");
                let (is_last, sent) = match read {
                    Ok(0) => return,
                    Ok(len) => (false, Ok(Bytes::copy_from_slice(&piece[..len]))),
                    Err(error) => (true, Err(error)),
                };
                if sender.blocking_send(sent).is_err() || is_last {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    fn ask_sql(&self, query: &str, body: &str) -> anyhow::Result<super::Response> {
        let request = self.signed(self.streams.post(format!("{}/v1/sql{query}", self.base)));
        let response = request
            .content_type("application/json")
            .send(body)
            .map_err(|error| self.unreachable(error))?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(remote_error(response)),
        }
    }
}
