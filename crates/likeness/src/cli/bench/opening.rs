use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;
use likeness_adapters::{VectorFileConfig, open_vector_file};
use likeness_engine::dedup::OpenedVectors;
use likeness_engine::dedup::opening::{Opening, open_index, write_index};
use likeness_index::bf16;
use serde::Serialize;

use super::super::Context;
use crate::output::{Table, count, note};
use crate::random::Random;
use crate::units::ByteSize;
use crate::wire;

/// Times the index is opened; the median counts.
const ROUNDS: usize = 5;
/// Vectors of one cluster, about.
const CLUSTER: u64 = 100;
/// Share of a vector's length that is its own.
const NOISE: f32 = 0.7;

/// Arguments of `likeness bench opening`.
#[derive(Debug, Args)]
#[command(after_help = "\
Makes an index of drawn vectors with its rows in embedded stores, closes it, and opens it again some
times: database, file of exact vectors, rows, latest images. The files are then in the system's
cache, as after a restart of the program, not of the machine. The last line is one JSON object.

Examples:
  likeness bench opening
  likeness bench opening --vectors 5000000 --require 10")]
pub(crate) struct OpeningArgs {
    /// How many vectors
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    vectors: u64,
    /// Their components
    #[arg(long, value_name = "D", default_value_t = 512, value_parser = clap::value_parser!(u16).range(8..=4_096))]
    dim: u16,
    /// Seed of the vectors
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Fail if the median is longer
    #[arg(long, value_name = "SECONDS")]
    require: Option<f64>,
    /// Where the temporary stores lie [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    store_in: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Measured {
    vectors: u64,
    dim: usize,
    cores: usize,
    /// From nothing to an index that can be searched, database included; median of all rounds.
    seconds: f64,
    /// Of which the database.
    database_seconds: f64,
    /// Of which the rows and the latest images.
    rows_seconds: f64,
    /// Every round.
    rounds: Vec<f64>,
    memory_bytes: usize,
    seconds_required: Option<f64>,
}

pub(super) async fn run(args: OpeningArgs, context: Context) -> anyhow::Result<()> {
    let folder = match &args.store_in {
        Some(parent) => tempfile::tempdir_in(parent),
        None => tempfile::tempdir(),
    };
    let folder = folder.context("cannot make a temporary folder")?;
    let dim = usize::from(args.dim);
    note(format_args!(
        "making an index of {} vectors",
        count(args.vectors)
    ));
    let started = Instant::now();
    make(&args, &context, folder.path()).await?;
    note(format_args!(
        "made in {:.0} s; opening it",
        started.elapsed().as_secs_f64()
    ));
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(open(&args, &context, folder.path()).await?);
    }
    let mut seconds: Vec<f64> = rounds
        .iter()
        .map(|(database, opening)| database + opening.seconds)
        .collect();
    let measured_rounds = seconds.clone();
    seconds.sort_by(f64::total_cmp);
    let median = seconds[ROUNDS / 2];
    let (database_seconds, opening) = rounds
        .into_iter()
        .find(|(database, opening)| database + opening.seconds == median)
        .context("the median is one of the rounds")?;
    let measured = Measured {
        vectors: opening.images,
        dim,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        seconds: median,
        database_seconds,
        rows_seconds: opening.seconds,
        rounds: measured_rounds,
        memory_bytes: opening.memory_bytes,
        seconds_required: args.require,
    };
    context.output.text(describe(&measured))?;
    context.output.json_line(&measured)?;
    match args.require {
        Some(required) if median > required => {
            anyhow::bail!("opening took {median:.2} s, longer than {required} s")
        }
        _ => Ok(()),
    }
}

async fn make(args: &OpeningArgs, context: &Context, folder: &Path) -> anyhow::Result<()> {
    let store = wire::open_store(&folder.join("store"), &context.config.stores).await?;
    let config = context.config.dedup_config();
    let dim = usize::from(args.dim);
    let seed = args.seed;
    let mut vectors = (0..args.vectors).map(move |number| {
        let clusters = u32::try_from(number / CLUSTER + 1).unwrap_or(u32::MAX);
        let cluster = Random::new(seed, number | 1 << 63).below(clusters);
        let mut centre = Random::new(seed, u64::from(cluster) | 1 << 62);
        let mut own = Random::new(seed, number);
        let vector: Vec<f32> = (0..dim)
            .map(|_| centre.unit() - 0.5 + NOISE * (own.unit() - 0.5))
            .collect();
        bf16::encode(&vector)
    });
    write_index(
        store.as_ref(),
        exact_vectors(folder, dim)?,
        &config,
        dim,
        &mut vectors,
    )
    .await?;
    Ok(())
}

/// Returns the seconds that the database took, and what reading the index came to.
async fn open(
    args: &OpeningArgs,
    context: &Context,
    folder: &Path,
) -> anyhow::Result<(f64, Opening)> {
    let started = Instant::now();
    let store = wire::open_store(&folder.join("store"), &context.config.stores).await?;
    let dim = usize::from(args.dim);
    let vectors = exact_vectors(folder, dim)?;
    let database_seconds = started.elapsed().as_secs_f64();
    let config = context.config.dedup_config();
    let opening = open_index(store.as_ref(), vectors, &config, dim, args.vectors).await?;
    anyhow::ensure!(
        opening.images == args.vectors,
        "{} of {} vectors are in the index that was opened",
        opening.images,
        args.vectors
    );
    Ok((database_seconds, opening))
}

fn exact_vectors(folder: &Path, dim: usize) -> anyhow::Result<OpenedVectors> {
    Ok(open_vector_file(&VectorFileConfig {
        path: folder.join("index/vectors.bin"),
        dim,
    })?)
}

fn describe(measured: &Measured) -> String {
    let mut table = Table::new(["opening", "seconds"]);
    table.row(["database", &format!("{:.2}", measured.database_seconds)].map(str::to_owned));
    table.row(["index", &format!("{:.2}", measured.rows_seconds)].map(str::to_owned));
    table.row(["all", &format!("{:.2}", measured.seconds)].map(str::to_owned));
    format!(
        "{} vectors of {} components, {} in memory; median of {ROUNDS}\n{table}",
        count(measured.vectors),
        measured.dim,
        ByteSize(measured.memory_bytes as u64).rounded(),
    )
}
