//! `likeness eval candidates`: which near-duplicates an index hands over among very many vectors.

mod collection;
mod measure;
mod npy;
mod schemes;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use likeness_engine::dedup::compare::ViewsMode;
use likeness_engine::eval::SchemeReport;
use likeness_index::SearchParams;
use likeness_vision::edits::EditList;

use super::ListName;
use crate::cli::Context;
use crate::corpus::{self, Corpus, Variant};
use crate::output::note;
use crate::wire;
use measure::{Asked, measure};

/// Without a background of its own, every n-th photo is held out for it.
const HELD_OUT: usize = 4;

/// Arguments of `likeness eval candidates`.
#[derive(Debug, Args)]
#[command(after_help = "\
Photos should all be of different things. Photos and their edited copies are embedded and hidden
among distractors: vectors drawn like embeddings of other photos, which are held out, or given by
`--background`. Then each copy is a query. Wanted are the vectors that exact search has among its
first candidates and that the scorer could join. The last line is one JSON object.

Examples:
  likeness eval candidates --photos ~/Pictures/2025 --distractors 1000000
  likeness eval candidates --photos a --photos b --scheme cells --probes 256 --require 0.995")]
pub(crate) struct CandidatesArgs {
    /// Folder of photos; may be given several times
    #[arg(long, required = true, value_name = "DIR")]
    photos: Vec<PathBuf>,
    /// Folder of pictures that distractors are modelled on, as they are [default: every fourth photo,
    /// with its copies, which then is no query]
    #[arg(long, value_name = "DIR")]
    background: Vec<PathBuf>,
    /// Which edits
    #[arg(long, value_enum, default_value_t = ListName::Standard)]
    list: ListName,
    /// How many distractors
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(..=100_000_000))]
    distractors: u32,
    /// Seed of edits, distractors and the order of insertion
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Most photos, and most pictures of the background, to use
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Which indexes
    #[arg(long, value_enum, default_value_t = SchemeName::All)]
    scheme: SchemeName,
    /// Candidates for each query
    #[arg(long, value_name = "K", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    candidates: u32,
    /// Cells that a query looks at; several numbers, `64,128`, are tried one after the other [default:
    /// the configured number]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    probes: Vec<u32>,
    /// Recall that hyperplanes are planned for
    #[arg(long, value_name = "SHARE", default_value_t = 0.99)]
    plan_recall: f64,
    /// Cosine at which hyperplanes are to have it
    #[arg(long, value_name = "COSINE", default_value_t = 0.6)]
    plan_similarity: f64,
    /// Fail if one of them finds a smaller share of the copies that exact search finds
    #[arg(long, value_name = "SHARE")]
    require: Option<f64>,
    /// Write the embeddings of photos and copies, the background's last, to this NumPy file
    #[arg(long, value_name = "FILE")]
    save_vectors: Option<PathBuf>,
}

/// A way to find candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SchemeName {
    /// Scan the codes of all vectors
    Exact,
    /// Cells that grow with the vectors
    Cells,
    /// Random hyperplanes, as many as the planner says
    Hyperplanes,
    /// Each of them
    All,
}

impl SchemeName {
    fn includes(self, other: Self) -> bool {
        self == Self::All || self == other
    }
}

pub(super) async fn run(args: CandidatesArgs, context: Context) -> anyhow::Result<()> {
    let embedded = Embedded::make(&args, &context).await?;
    if let Some(file) = &args.save_vectors {
        npy::write(file, &embedded.all())
            .with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    let scorer = wire::scorer_file(&context.config.dedup.scorer)?;
    let config = context.config.dedup_config();
    let threshold = config.threshold.unwrap_or_else(|| scorer.threshold());
    let asked = Asked {
        floor: scorer.cosine_floor(threshold),
        cells: SearchParams {
            probes: config.index_probes,
            epsilon: config.index_epsilon,
            ..SearchParams::default()
        },
        scorer: scorer.id(),
    };
    let require = args.require;
    let stop = context.stop.clone();
    let measured = tokio::task::spawn_blocking(move || measure(&args, &asked, embedded, &stop));
    let report = measured.await??;
    context.output.text(&report)?;
    context.output.json_line(&report)?;
    check(&report.schemes, require)
}

/// Embeddings of photos with their copies, and of the background.
struct Embedded {
    model: String,
    variants: Vec<Variant>,
    vectors: Vec<Vec<f32>>,
    /// By picture.
    background: Vec<Vec<Vec<f32>>>,
}

impl Embedded {
    async fn make(args: &CandidatesArgs, context: &Context) -> anyhow::Result<Self> {
        let limits = context.config.decode_limits();
        let (photos, background) = {
            let (photos, background) = (args.photos.clone(), args.background.clone());
            let (limit, limits) = (args.limit, limits.clone());
            let open = move || -> anyhow::Result<_> {
                let photos = Corpus::open(&photos, limit, limits.clone())?;
                let background = match background.as_slice() {
                    [] => None,
                    folders => Some(Arc::new(Corpus::open(folders, limit, limits)?)),
                };
                Ok((Arc::new(photos), background))
            };
            tokio::task::spawn_blocking(open).await??
        };
        let models = wire::load_models(context).await?;
        let spec = models.spec();
        let model = format!("{} {}", spec.model, spec.version);
        let signer = corpus::signer(&models, &limits, ViewsMode::Off);
        let embed = async |corpus: &Arc<Corpus>, variants: &[Variant]| -> anyhow::Result<Vec<_>> {
            let signed = corpus::sign_all(corpus, variants, args.seed, &signer).await?;
            Ok(signed
                .into_iter()
                .map(|signed| signed.descriptors.vector)
                .collect())
        };
        let all = photos.variants(EditList::from(args.list));
        note(format_args!(
            "{} photos, {} pictures with their copies",
            photos.len(),
            all.len()
        ));
        let of_all: Vec<Vec<f32>> = embed(&photos, &all).await?;
        let mut embedded = Self {
            model,
            variants: Vec::new(),
            vectors: Vec::new(),
            background: Vec::new(),
        };
        let holds_out = background.is_none() && args.distractors > 0;
        let mut held_out_photo = None;
        for (variant, vector) in all.into_iter().zip(of_all) {
            if !holds_out || variant.photo % HELD_OUT != HELD_OUT - 1 {
                embedded.variants.push(variant);
                embedded.vectors.push(vector);
                continue;
            }
            if held_out_photo.replace(variant.photo) != Some(variant.photo) {
                embedded.background.push(Vec::new());
            }
            if let Some(picture) = embedded.background.last_mut() {
                picture.push(vector);
            }
        }
        if let Some(background) = background {
            let as_they_are = |photo| Variant { photo, edit: None };
            let variants: Vec<Variant> = (0..background.len()).map(as_they_are).collect();
            let vectors = embed(&background, &variants).await?;
            embedded.background = vectors.into_iter().map(|vector| vec![vector]).collect();
        }
        Ok(embedded)
    }

    fn all(&self) -> Vec<&[f32]> {
        let background = self.background.iter().flatten();
        self.vectors
            .iter()
            .chain(background)
            .map(Vec::as_slice)
            .collect()
    }
}

/// Fails if nothing was wanted, or if the share of copies that were found is lower than required, or not known.
fn check(schemes: &[SchemeReport], require: Option<f64>) -> anyhow::Result<()> {
    for SchemeReport { scheme, found, .. } in schemes {
        anyhow::ensure!(
            found.recall.value().is_some(),
            "no picture has another near enough to be wanted: there is no recall"
        );
        if let Some(require) = require {
            let share = found.copies.value().context(
                "no copy is near enough to its picture's other versions: the share of copies that are found is not known",
            )?;
            anyhow::ensure!(
                share >= require,
                "{scheme} found {share:.4} of the copies, less than the required {require}"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use likeness_engine::eval::{FoundCandidates, Share};

    use super::*;

    fn report(count: u64, total: u64) -> SchemeReport {
        SchemeReport {
            scheme: "cells".to_owned(),
            settings: String::new(),
            found: FoundCandidates {
                recall: Share {
                    count,
                    total: total + 1,
                },
                copies: Share { count, total },
                ..FoundCandidates::default()
            },
            micros_per_query: 0.0,
            micros_per_insert: 0.0,
            bytes_per_image: 0.0,
        }
    }

    #[test]
    fn a_recall_that_is_missing_or_too_low_is_a_failure() {
        let check = |schemes: &[SchemeReport], require| check(schemes, require).is_ok();
        assert!(check(&[report(99, 100)], None));
        assert!(check(&[report(99, 100)], Some(0.99)));
        assert!(!check(&[report(99, 100), report(98, 100)], Some(0.99)));
        // Strangers alone are wanted.
        assert!(check(&[report(0, 0)], None));
        assert!(!check(&[report(0, 0)], Some(0.0)));
        let nothing = SchemeReport {
            found: FoundCandidates::default(),
            ..report(0, 0)
        };
        assert!(!check(&[nothing], None));
    }

    #[test]
    fn all_includes_each() {
        assert!(SchemeName::All.includes(SchemeName::Cells));
        assert!(SchemeName::Cells.includes(SchemeName::Cells));
        assert!(!SchemeName::Cells.includes(SchemeName::Exact));
    }
}
