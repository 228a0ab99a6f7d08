//! `cargo xtask bench`: likeness measured side by side with its peers.
//!
//! Speeds decide no test: a command here fails if something could not be run, and prints whether the
//! project's aims were met. Only `pins`, which is asked for a rate, fails if it is not kept.

mod contenders;
mod front;
mod index;
mod machine;
mod near_duplicates;
mod page;
mod pins;
mod plot;
pub(crate) mod python;
mod results;
mod sets;
mod sql;

use clap::{Args, Subcommand};
use serde_json::Value;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Debug, Subcommand)]
enum Subject {
    /// The index against hnswlib, usearch, faiss and ScaNN: one thread, one vector a call
    Index(index::Arguments),
    /// Copies and hard negatives, against PDQ, the plain cosine and imagededup's hashes on the same files
    NearDuplicates(near_duplicates::Arguments),
    /// Pins into SQLite, PostgreSQL and the lake at a rate: lag of each way, and whether all are there once
    Pins(pins::Arguments),
    /// Queries over a lake of drawn pins, against DuckDB and Polars on the same files
    Sql(sql::Arguments),
}

/// Measures and returns the figures.
///
/// # Errors
/// If something could not be run.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    match &arguments.subject {
        Subject::Index(arguments) => index::run(arguments),
        Subject::NearDuplicates(arguments) => near_duplicates::run(arguments),
        Subject::Pins(arguments) => pins::run(arguments),
        Subject::Sql(arguments) => sql::run(arguments),
    }
}
