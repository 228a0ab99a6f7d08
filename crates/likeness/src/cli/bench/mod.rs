//! `likeness bench pipeline`: where the time goes, from the bytes of a file to a committed decision.
//! `likeness bench opening`: what a start costs. `likeness bench bank`: what a bank costs each image.
//! `likeness bench scorer`: what scoring costs. `likeness bench lake`: a lake of drawn pins, to ask queries of.

mod bank;
mod lake;
mod opening;
mod pictures;
mod scorer;
mod stages;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, Subcommand};
use likeness_core::ImageId;
use likeness_engine::dedup::NewImage;
use likeness_engine::dedup::view::Overview;
use serde::Serialize;

use super::Context;
use super::status::stage_table;
use crate::files::Unusable;
use crate::intake::{Source, take_in};
use crate::output::{Table, count, note};
use crate::progress::Progress;
use crate::session::Session;
use crate::wire;

use stages::StageFigure;

/// Subcommands of `likeness bench`.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Measure each stage alone on one thread, then all of it on all cores
    Pipeline(PipelineArgs),
    /// Measure how long a large index takes to be read when data is opened
    Opening(opening::OpeningArgs),
    /// Measure what a bank of references costs each image
    Bank(bank::BankArgs),
    /// Measure what scoring the candidates of an image costs
    Scorer(scorer::ScorerArgs),
    /// Fill a lake with drawn pins, and measure how fast it is written
    Lake(lake::LakeArgs),
}

/// Arguments of `likeness bench pipeline`.
#[derive(Debug, Args)]
#[command(after_help = "\
Makes JPEGs of one size from photos by seeded cuts and changes of colour, or draws them if there are
no photos. Stores lie in a temporary folder; commits are synced as in use. The last line is one JSON
object.

Examples:
  likeness bench pipeline
  likeness bench pipeline --images 5000 --photos ~/Pictures --json > bench.json")]
pub(crate) struct PipelineArgs {
    /// How many pictures
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(16..=1_000_000))]
    images: u64,
    /// Their longer side, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 640, value_parser = clap::value_parser!(u32).range(64..=4_096))]
    side: u32,
    /// Folder of photos to cut from [default: sample photos, if they were pulled]
    #[arg(long, value_name = "DIR")]
    photos: Vec<PathBuf>,
    /// Seed of the pictures
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the temporary stores lie [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    store_in: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Measured {
    images: usize,
    side: u32,
    /// Mean size of a file in bytes.
    mean_bytes: u64,
    /// What the pictures were made from.
    source: String,
    cores: usize,
    model: String,
    /// Each stage alone, on one thread.
    stages: Vec<StageFigure>,
    /// From the first upload to the last decision, on all cores.
    seconds: f64,
    images_per_second: f64,
    /// What decoding alone would allow on all cores.
    decode_floor_per_second: f64,
    /// `images_per_second` of `decode_floor_per_second`.
    share_of_decode_floor: f64,
    /// What the sum of all stages alone would allow on all cores.
    stage_sum_per_second: f64,
    clusters: u64,
    /// The stages of the pipeline as they ran together.
    pipeline: Overview,
}

pub(crate) async fn run(command: BenchCommand, context: Context) -> anyhow::Result<()> {
    match command {
        BenchCommand::Pipeline(args) => run_pipeline(args, context).await,
        BenchCommand::Opening(args) => opening::run(args, context).await,
        BenchCommand::Bank(args) => bank::run(&args, &context).await,
        BenchCommand::Scorer(args) => scorer::run(&args, &context).await,
        BenchCommand::Lake(args) => lake::run(&args, &context).await,
    }
}

async fn run_pipeline(args: PipelineArgs, context: Context) -> anyhow::Result<()> {
    let n_images = usize::try_from(args.images)?;
    let photos = if args.photos.is_empty() {
        [context.data_dir.join("samples")]
            .into_iter()
            .filter(|path| path.is_dir())
            .collect()
    } else {
        args.photos.clone()
    };
    let limits = context.config.decode_limits();
    let made = tokio::task::spawn_blocking(move || {
        pictures::make(&photos, n_images, args.side, args.seed, &limits)
    });
    let pictures::Pictures { files, source } = made.await??;
    note(format_args!(
        "{} pictures of {source}; measuring stages",
        count(files.len() as u64)
    ));

    let stages = stages::measure(&context, &files).await?;
    let (overview, seconds, model) = measure_pipeline(&context, &args, files.clone()).await?;

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let per_second = |millis: f64| cores as f64 * 1e3 / millis;
    let decode_ms = stages.iter().find(|stage| stage.name == "decode");
    let decode_ms = decode_ms.context("decoding was not measured")?.ms_per_image;
    let images_per_second = files.len() as f64 / seconds;
    let measured = Measured {
        images: files.len(),
        side: args.side,
        mean_bytes: files.iter().map(|file| file.len() as u64).sum::<u64>() / files.len() as u64,
        source,
        cores,
        model,
        seconds,
        images_per_second,
        decode_floor_per_second: per_second(decode_ms),
        share_of_decode_floor: images_per_second / per_second(decode_ms),
        stage_sum_per_second: per_second(stages.iter().map(|stage| stage.ms_per_image).sum()),
        clusters: overview.clusters,
        stages,
        pipeline: overview,
    };
    context.output.text(describe(&measured))?;
    context.output.json_line(&measured)
}

/// Sends `files` through the pipeline on embedded stores; returns its state at the end and the
/// seconds from the first upload to the last decision.
async fn measure_pipeline(
    context: &Context,
    args: &PipelineArgs,
    files: Vec<Bytes>,
) -> anyhow::Result<(Overview, f64, String)> {
    let models = wire::load_models(context).await?;
    let model = format!("{} {}", models.spec().model, models.spec().version);
    let folder = match &args.store_in {
        Some(parent) => tempfile::tempdir_in(parent),
        None => tempfile::tempdir(),
    };
    let folder = folder.context("cannot make a temporary folder")?;
    let session = Session::Local(wire::open_at(context, folder.path(), models).await?);
    let progress = Progress::start("images", files.len() as u64);
    let items = files.into_iter().enumerate().collect();
    let started = Instant::now();
    let taken = take_in(
        &session,
        Arc::new(InMemory),
        items,
        &progress,
        &context.stop,
        |_| {},
    )
    .await;
    let seconds = started.elapsed().as_secs_f64();
    progress.finish();
    let overview = session.overview().await;
    session.close().await;
    let tally = taken?;
    anyhow::ensure!(!tally.interrupted, "stopped before the end");
    if let Some(skipped) = tally.skipped.first() {
        anyhow::bail!("picture {} was refused: {}", skipped.name, skipped.reason);
    }
    Ok((overview?, seconds, model))
}

/// Files that are there already.
struct InMemory;

impl Source for InMemory {
    type Item = (usize, Bytes);

    fn name(&self, (number, _): &Self::Item) -> String {
        number.to_string()
    }

    fn load(&self, (number, bytes): &Self::Item) -> Result<NewImage, Unusable> {
        Ok(NewImage {
            id: ImageId::new(format!("bench-{number}")).ok(),
            name: None,
            bytes: bytes.clone(),
        })
    }
}

fn describe(measured: &Measured) -> String {
    let sum_ms: f64 = measured.stages.iter().map(|stage| stage.ms_per_image).sum();
    let mut table = Table::new([
        "stage alone, one thread",
        "ms per image",
        "images/s",
        "share",
    ]);
    for stage in &measured.stages {
        table.row([
            stage.name.to_owned(),
            format!("{:.3}", stage.ms_per_image),
            format!("{:.0}", 1e3 / stage.ms_per_image),
            format!("{:.1} %", 100.0 * stage.ms_per_image / sum_ms),
        ]);
    }
    format!(
        "{table}\n\n\
         as a pipeline, on {cores} cores\n{pipeline}\n\n\
         end to end           {rate:.0} images/s ({images} in {seconds:.1} s), {clusters} clusters\n\
         sum of the stages    {sum:.0} images/s would be possible\n\
         decode floor         {floor:.0} images/s; reached: {share:.0} %\n",
        pipeline = stage_table(&measured.pipeline),
        cores = measured.cores,
        rate = measured.images_per_second,
        images = count(measured.images as u64),
        seconds = measured.seconds,
        clusters = count(measured.clusters),
        sum = measured.stage_sum_per_second,
        floor = measured.decode_floor_per_second,
        share = 100.0 * measured.share_of_decode_floor,
    )
}
