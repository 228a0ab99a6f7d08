//! `likeness sql`: queries over what the lake and the tables of pins hold.
//!
//! A running server is asked where there is one; else the files of the data directory are read here.

mod answer;

use std::io::Read;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use likeness_core::query::QueryTable;

use super::Context;
use crate::error::Refusal;
use crate::output::{count, harmless};
use crate::units::ByteSize;

pub(crate) use self::answer::{AnswerArgs, Engine};

/// Arguments of `likeness sql`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).args(["query", "file", "tables"]),
    after_help = "\
Asks the server that has the data directory open, or the one that `--server` names; without one it
reads the data directory itself. Queries change nothing. CSV, NDJSON and Parquet have all rows;
tables and JSON the first ones.

Examples:
  likeness sql --tables
  likeness sql \"SELECT category, count(*) AS pins FROM pins GROUP BY 1 ORDER BY 2 DESC\"
  likeness sql \"SELECT * FROM pins WHERE category = 'art'\" --output art.parquet
  likeness sql --file monthly.sql --format csv | head
  echo 'SELECT count(*) FROM pins' | likeness sql - --json"
)]
pub(crate) struct SqlArgs {
    /// The query; `-` reads it from stdin
    #[arg(value_name = "SQL")]
    query: Option<String>,
    /// Read the query from a file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// List the tables that can be queried, with their columns
    #[arg(long)]
    tables: bool,
    #[command(flatten)]
    answer: AnswerArgs,
}

pub(crate) async fn run(args: SqlArgs, context: Context) -> anyhow::Result<()> {
    let engine = Engine::open(&context).await?;
    if args.tables {
        let tables = engine.tables().await?;
        return context.output.show(&tables, |tables| describe(tables));
    }
    let sql = read_query(&args)?;
    args.answer.answer(&engine, &sql, &context).await
}

fn read_query(args: &SqlArgs) -> anyhow::Result<String> {
    if let Some(file) = &args.file {
        return std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the query `{}`", file.display()));
    }
    let query = args.query.clone().unwrap_or_default();
    let query = match query.as_str() {
        "-" => {
            let mut text = String::new();
            let read = std::io::stdin().lock().read_to_string(&mut text);
            read.context("cannot read the query from stdin")?;
            text
        }
        _ => query,
    };
    match query.trim().is_empty() {
        true => Err(Refusal::Input.because("the query is empty")),
        false => Ok(query),
    }
}

fn describe(tables: &[QueryTable]) -> String {
    if tables.is_empty() {
        return "no tables".to_owned();
    }
    let blocks: Vec<String> = tables.iter().map(block).collect();
    blocks.join("\n\n")
}

/// A table, and below it a line for each column.
fn block(table: &QueryTable) -> String {
    let rows = table.rows.map(|rows| format!("{} rows", count(rows)));
    let bytes = table.bytes.map(|bytes| ByteSize(bytes).rounded());
    let facts: Vec<String> = rows.into_iter().chain(bytes).collect();
    let mut text = format!("{}  {}", harmless(&table.name), harmless(&table.about));
    if !facts.is_empty() {
        text.push_str(&format!(" ({})", facts.join(", ")));
    }
    let widest = table.columns.iter().map(|it| it.name.chars().count()).max();
    for column in &table.columns {
        let null = if column.nullable { ", or null" } else { "" };
        let name = harmless(&column.name);
        let width = widest.unwrap_or(0);
        text.push_str(&format!("\n  {name:width$}  {}{null}", column.kind));
    }
    text
}

#[cfg(test)]
mod tests {
    use likeness_core::query::QueryColumn;

    use super::*;

    #[test]
    fn tables_are_listed_with_their_columns() {
        let column = |name: &str, kind: &str, nullable| QueryColumn {
            name: name.to_owned(),
            kind: kind.to_owned(),
            nullable,
        };
        let table = QueryTable {
            name: "pins".to_owned(),
            about: "Clean pins.".to_owned(),
            rows: Some(1_234),
            bytes: Some(2 << 20),
            columns: vec![
                column("unique_id", "Utf8", false),
                column("ind", "Int64", true),
            ],
        };
        assert_eq!(
            describe(&[table]),
            "pins  Clean pins. (1,234 rows, 2.0 MiB)\n  unique_id  Utf8\n  ind        Int64, or null"
        );
        assert_eq!(describe(&[]), "no tables");
    }
}
