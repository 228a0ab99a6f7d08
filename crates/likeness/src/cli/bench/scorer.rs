//! `likeness bench scorer`: what the candidates of an upload cost.

use clap::Args;
use likeness_engine::dedup::cascade_cost;
use serde::Serialize;

use super::super::Context;
use crate::error::Refusal;
use crate::output::count;
use crate::random::Random;
use crate::wire;

/// Arguments of `likeness bench scorer`.
#[derive(Debug, Args)]
#[command(after_help = "\
Compares drawn images with rows of drawn pictures, one in five hundred of them a copy, by the configured scorer, on
one thread: reading the row, all features that rows tell, and the score. No close looks are taken. The last line is
one JSON object.

Examples:
  likeness bench scorer
  likeness bench scorer --at-most 2ms
  LIKENESS__DEDUP__SCORER=pairs/3 likeness bench scorer --candidates 10000")]
pub(crate) struct ScorerArgs {
    /// Candidates of each image
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    candidates: u32,
    /// Images to score
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    images: u32,
    /// Components of an embedding
    #[arg(long, value_name = "D", default_value_t = 512, value_parser = clap::value_parser!(u16).range(8..=4_096))]
    dim: u16,
    /// End with an error if the median takes longer, for example `2ms`
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    at_most: Option<std::time::Duration>,
    /// Seed of the vectors
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Serialize)]
struct Measured {
    scorer: String,
    candidates: usize,
    images: u32,
    matches: usize,
    median_milliseconds: f64,
    longest_milliseconds: f64,
}

pub(super) async fn run(args: &ScorerArgs, context: &Context) -> anyhow::Result<()> {
    let scorer = wire::scorer_file(&context.config.dedup.scorer)?;
    let id = scorer.id();
    let mut random = Random::new(args.seed, 0);
    let cost = cascade_cost(
        scorer,
        usize::from(args.dim),
        args.candidates as usize,
        args.images as usize,
        || random.unit() - 0.5,
    )
    .await?;
    let measured = Measured {
        scorer: id,
        candidates: cost.candidates,
        images: args.images,
        matches: cost.matches,
        median_milliseconds: cost.median.as_secs_f64() * 1e3,
        longest_milliseconds: cost.longest.as_secs_f64() * 1e3,
    };
    context.output.text(format!(
        "{}: {} candidates in {:.3} ms (median of {} images; longest {:.3} ms)",
        measured.scorer,
        count(measured.candidates as u64),
        measured.median_milliseconds,
        count(u64::from(measured.images)),
        measured.longest_milliseconds,
    ))?;
    context.output.json_line(&measured)?;
    match args.at_most {
        Some(most) if cost.median > most => Err(Refusal::Input.because(format!(
            "the median is above {}",
            humantime::format_duration(most)
        ))),
        _ => Ok(()),
    }
}
