//! Asks a query, and writes its answer to where it is wanted, in the form that is wanted.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use futures::stream::{BoxStream, StreamExt, unfold};
use likeness_core::query::{ExportFormat, QueryProgress, QueryRows, QueryTable, SqlEngine};
use likeness_server::ReportView;
use serde_json::Value;

use crate::cli::Context;
use crate::client::Client;
use crate::error::Refusal;
use crate::output::{Table, count, note};
use crate::progress::Meter;
use crate::units::ByteSize;
use crate::wire;

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(200);
const DEFAULT_ROWS: u64 = 1_000;
const MAX_ROWS: u64 = 10_000;

/// A form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswerFormat {
    /// Columns of text, the first rows
    Table,
    /// One JSON object with columns and the first rows
    Json,
    /// All rows, with a line of names
    Csv,
    /// All rows, one JSON object a line
    Ndjson,
    /// All rows, Apache Parquet
    Parquet,
}

/// Where an answer goes, and in which form.
#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    /// Form of the answer [default: what the ending of `--output` says, else `table`; `json` with `--json`]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<AnswerFormat>,
    /// Write the answer to this file, which appears once it is whole
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Most rows of a table and of JSON [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_ROWS))]
    limit: Option<u64>,
}

/// What answers: a server, or this process.
#[derive(Debug)]
pub(crate) enum Engine {
    /// A running server.
    Remote(Client),
    /// The data directory, opened here.
    Local(Arc<dyn SqlEngine>),
}

impl Engine {
    /// Returns the server that was named or has the data directory open, else opens the data directory.
    ///
    /// # Errors
    /// If the data directory cannot be opened.
    pub(crate) async fn open(context: &Context) -> anyhow::Result<Self> {
        match Client::running(context).await {
            Some(client) => Ok(Self::Remote(client)),
            None => Ok(Self::Local(wire::open_sql(context).await?)),
        }
    }

    pub(super) async fn tables(&self) -> anyhow::Result<Vec<QueryTable>> {
        match self {
            Self::Remote(client) => client.sql_tables().await,
            Self::Local(engine) => Ok(engine.tables().await?),
        }
    }

    /// Returns the queries that have a name.
    ///
    /// # Errors
    /// If the server does not answer.
    pub(crate) async fn reports(&self) -> anyhow::Result<Vec<ReportView>> {
        match self {
            Self::Remote(client) => client.pin_reports().await,
            Self::Local(engine) => Ok(engine.reports().iter().map(ReportView::from).collect()),
        }
    }

    async fn query(
        &self,
        sql: &str,
        limit: usize,
        progress: Arc<QueryProgress>,
    ) -> anyhow::Result<QueryRows> {
        match self {
            Self::Remote(client) => client.query_sql(sql, limit).await,
            Self::Local(engine) => Ok(engine.query(sql, limit, progress).await?),
        }
    }

    async fn export(
        &self,
        sql: &str,
        format: ExportFormat,
        progress: Arc<QueryProgress>,
    ) -> anyhow::Result<BoxStream<'static, anyhow::Result<Bytes>>> {
        match self {
            Self::Remote(client) => {
                let pieces = client.export_sql(sql, format).await?;
                let next = |mut pieces: tokio::sync::mpsc::Receiver<_>| async move {
                    let piece = pieces.recv().await?;
                    Some((piece, pieces))
                };
                Ok(unfold(pieces, next).boxed())
            }
            Self::Local(engine) => {
                let pieces = engine.export(sql, format, progress).await?;
                Ok(pieces.map(|piece| Ok(piece?)).boxed())
            }
        }
    }
}

impl AnswerArgs {
    /// Asks `sql` and writes the answer.
    ///
    /// # Errors
    /// Those of the query; if flags contradict each other, or the answer cannot be written.
    pub(crate) async fn answer(
        &self,
        engine: &Engine,
        sql: &str,
        context: &Context,
    ) -> anyhow::Result<()> {
        let format = self.format(context)?;
        let progress = Arc::new(QueryProgress::default());
        let watch = Watch {
            meter: Meter::start(),
            progress: Arc::clone(&progress),
            num_written: 0,
        };
        let export = match format {
            AnswerFormat::Table | AnswerFormat::Json => {
                return self.first_rows(engine, sql, format, context, watch).await;
            }
            AnswerFormat::Csv => ExportFormat::Csv,
            AnswerFormat::Ndjson => ExportFormat::Ndjson,
            AnswerFormat::Parquet => ExportFormat::Parquet,
        };
        if self.limit.is_some() {
            let reason = "`--limit` is for tables and JSON; write LIMIT in the query";
            return Err(Refusal::Input.because(reason));
        }
        if export == ExportFormat::Parquet && self.output.is_none() {
            use std::io::IsTerminal;
            if io::stdout().is_terminal() {
                let reason = "Parquet is not for terminals; name a file with `--output`";
                return Err(Refusal::Input.because(reason));
            }
        }
        self.all_rows(engine, sql, export, context, watch).await
    }

    /// Returns the form that was asked for.
    fn format(&self, context: &Context) -> anyhow::Result<AnswerFormat> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let default = match context.output.is_json() {
            true => AnswerFormat::Json,
            false => AnswerFormat::Table,
        };
        let Some(output) = &self.output else {
            return Ok(default);
        };
        let ending = output.extension().and_then(|ending| ending.to_str());
        match ending.unwrap_or_default().to_ascii_lowercase().as_str() {
            "csv" => Ok(AnswerFormat::Csv),
            "ndjson" | "jsonl" => Ok(AnswerFormat::Ndjson),
            "parquet" => Ok(AnswerFormat::Parquet),
            "json" => Ok(AnswerFormat::Json),
            "txt" => Ok(AnswerFormat::Table),
            _ => Err(Refusal::Input.because(format!(
                "the ending of `{}` does not say a form; name one with `--format`",
                output.display()
            ))),
        }
    }

    async fn first_rows(
        &self,
        engine: &Engine,
        sql: &str,
        format: AnswerFormat,
        context: &Context,
        mut watch: Watch,
    ) -> anyhow::Result<()> {
        let limit = usize::try_from(self.limit.unwrap_or(DEFAULT_ROWS))?;
        let progress = Arc::clone(&watch.progress);
        let rows = watch
            .until(context, engine.query(sql, limit, progress))
            .await??;
        drop(watch);
        let text = match format {
            AnswerFormat::Table => describe(&rows),
            _ => serde_json::to_string(&rows).context("cannot encode the answer")?,
        };
        let mut sink = Sink::open(self.output.as_deref())?;
        sink.write(format!("{text}\n").as_bytes())?;
        sink.finish()?;
        if rows.is_truncated {
            let num_rows = count(rows.rows.len() as u64);
            note(format_args!(
                "these are the first {num_rows} rows; there are more: `--format csv` has all of them"
            ));
        }
        Ok(())
    }

    async fn all_rows(
        &self,
        engine: &Engine,
        sql: &str,
        format: ExportFormat,
        context: &Context,
        mut watch: Watch,
    ) -> anyhow::Result<()> {
        let progress = Arc::clone(&watch.progress);
        let asked = engine.export(sql, format, progress);
        let mut pieces = watch.until(context, asked).await??;
        // Not before: a query that is wrong leaves no file.
        let mut sink = Sink::open(self.output.as_deref())?;
        while let Some(piece) = watch.until(context, pieces.next()).await? {
            let piece = piece?;
            sink.write(&piece)?;
            watch.num_written += piece.len() as u64;
        }
        drop(watch);
        sink.finish()
    }
}

/// Shows how far a query is while it is waited for.
struct Watch {
    meter: Meter,
    progress: Arc<QueryProgress>,
    num_written: u64,
}

impl Watch {
    /// Waits for `work`, or for Ctrl-C.
    async fn until<T>(
        &mut self,
        context: &Context,
        work: impl Future<Output = T>,
    ) -> anyhow::Result<T> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                () = context.stop.cancelled() => anyhow::bail!("interrupted"),
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(TICK) => self.meter.show(&self.text()),
            }
        }
    }

    fn text(&self) -> String {
        let size = |num_bytes: u64| ByteSize(num_bytes).rounded();
        let load = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
        let mut parts = Vec::new();
        // A server does not say how far it is.
        let all = load(&self.progress.bytes_in_all);
        if all > 0 {
            let read = load(&self.progress.bytes_read).min(all);
            parts.push(format!("{} of {} read", size(read), size(all)));
        }
        let rows = load(&self.progress.rows);
        if rows > 0 {
            parts.push(format!("{} rows", count(rows)));
        }
        if self.num_written > 0 {
            parts.push(format!("{} written", size(self.num_written)));
        }
        match parts.is_empty() {
            true => "running".to_owned(),
            false => parts.join(", "),
        }
    }
}

/// Stdout, or a file that appears once it is whole.
enum Sink {
    Stdout,
    File {
        file: File,
        part: Part,
        path: PathBuf,
    },
}

/// A file that is removed unless it was renamed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::trace!(%error, "there is no unfinished file");
        }
    }
}

impl Sink {
    fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self::Stdout);
        };
        let cannot_write = || format!("cannot write `{}`", path.display());
        let mut name = path.file_name().with_context(cannot_write)?.to_owned();
        name.push(".part");
        let part = path.with_file_name(name);
        let file = File::create(&part).with_context(cannot_write)?;
        Ok(Self::File {
            file,
            part: Part(part),
            path: path.to_owned(),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Stdout => io::stdout()
                .lock()
                .write_all(bytes)
                .context("cannot write to stdout"),
            Self::File { file, path, .. } => file
                .write_all(bytes)
                .with_context(|| format!("cannot write `{}`", path.display())),
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Stdout => io::stdout().flush().context("cannot write to stdout"),
            Self::File { file, part, path } => file
                .sync_all()
                .and_then(|()| std::fs::rename(&part.0, &path))
                .with_context(|| format!("cannot write `{}`", path.display())),
        }
    }
}

/// The rows as columns of text; `–` stands for null.
fn describe(rows: &QueryRows) -> String {
    let names = rows.columns.iter().map(|column| column.name.clone());
    let mut table = Table::of(names.collect());
    for row in &rows.rows {
        table.row_of(row.iter().map(cell).collect());
    }
    match rows.rows.is_empty() {
        true => format!("{table}\n(no rows)"),
        false => table.to_string(),
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use likeness_core::query::QueryColumn;
    use serde_json::json;

    use super::*;

    fn rows(rows: Vec<Vec<Value>>) -> QueryRows {
        let columns = ["category", "pins"].map(|name| QueryColumn {
            name: name.to_owned(),
            kind: "Utf8".to_owned(),
            nullable: true,
        });
        QueryRows {
            columns: columns.to_vec(),
            rows,
            is_truncated: false,
        }
    }

    #[test]
    fn rows_are_columns_of_text() {
        let some = rows(vec![
            vec![json!("art\u{1b}[2J"), json!(1_000)],
            vec![json!(null), json!([1, "a"])],
        ]);
        assert_eq!(
            describe(&some),
            "category  pins\nart\u{fffd}[2J   1000\n–         [1,\"a\"]"
        );
        assert_eq!(describe(&rows(Vec::new())), "category  pins\n(no rows)");
    }

    #[test]
    fn a_file_appears_once_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answer.csv");
        let names = || {
            let entries = std::fs::read_dir(folder.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let mut sink = Sink::open(Some(&path)).unwrap();
        sink.write(b"half").unwrap();
        assert_eq!(names(), ["answer.csv.part"]);
        drop(sink);
        assert!(names().is_empty(), "what is not finished leaves nothing");
        let mut sink = Sink::open(Some(&path)).unwrap();
        sink.write(b"whole").unwrap();
        sink.finish().unwrap();
        assert_eq!(names(), ["answer.csv"]);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn progress_says_what_is_known() {
        let mut watch = Watch {
            meter: Meter::start(),
            progress: Arc::new(QueryProgress::default()),
            num_written: 0,
        };
        assert_eq!(watch.text(), "running");
        watch
            .progress
            .bytes_in_all
            .store(4 << 20, Ordering::Relaxed);
        watch.progress.bytes_read.store(9 << 20, Ordering::Relaxed);
        watch.progress.rows.store(1_500, Ordering::Relaxed);
        watch.num_written = 2_048;
        assert_eq!(
            watch.text(),
            "4.0 MiB of 4.0 MiB read, 1,500 rows, 2.0 KiB written"
        );
    }
}
