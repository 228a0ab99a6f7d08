use clap::Args;
use likeness_engine::dedup::bank_cost;
use serde::Serialize;

use super::super::Context;
use crate::output::count;
use crate::random::Random;

/// Arguments of `likeness bench bank`.
#[derive(Debug, Args)]
#[command(after_help = "\
Makes a bank of drawn references, and compares drawn images with it, half of them like a reference, on one
thread. The last line is one JSON object.

Examples:
  likeness bench bank
  likeness bench bank --references 100000 --images 200")]
pub(crate) struct BankArgs {
    /// How many references
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    references: u32,
    /// Components of an embedding
    #[arg(long, value_name = "D", default_value_t = 512, value_parser = clap::value_parser!(u16).range(8..=4_096))]
    dim: u16,
    /// Images to compare
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    images: u32,
    /// Seed of the vectors
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Serialize)]
struct Measured {
    references: u32,
    dim: u16,
    images: usize,
    matches: usize,
    milliseconds_per_image: f64,
    memory_bytes: usize,
}

pub(super) async fn run(args: &BankArgs, context: &Context) -> anyhow::Result<()> {
    let mut random = Random::new(args.seed, 0);
    let cost = bank_cost(
        args.references as usize,
        usize::from(args.dim),
        args.images as usize,
        || random.unit() - 0.5,
    )
    .await?;
    let measured = Measured {
        references: args.references,
        dim: args.dim,
        images: cost.images,
        matches: cost.matches,
        milliseconds_per_image: cost.per_image.as_secs_f64() * 1e3,
        memory_bytes: cost.memory_bytes,
    };
    context.output.text(format!(
        "{} references: {:.3} ms for each image on one thread, {} of {} matched",
        count(u64::from(measured.references)),
        measured.milliseconds_per_image,
        count(measured.matches as u64),
        count(measured.images as u64),
    ))?;
    context.output.json_line(&measured)
}
