//! `likeness eval near-duplicates`: copies of photos through the whole pipeline.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use clap::Args;
use likeness_core::ImageId;
use likeness_engine::dedup::scorer::Scorer;
use likeness_engine::dedup::{NewImage, Signer};
use likeness_engine::eval::{
    NearDuplicateReport, ScoredPair, Share, cluster_quality, hardest_mistakes, operating_points,
    recall_per_edit,
};
use likeness_vision::edits::EditList;
use tokio::runtime::Handle;

use super::ListName;
use crate::cli::Context;
use crate::config::Overrides;
use crate::corpus::{self, Corpus, Signed, Variant};
use crate::files::Unusable;
use crate::intake::{Source, take_in};
use crate::output::note;
use crate::progress::Progress;
use crate::session::Session;
use crate::wire;

/// False-positive rates that the report gives operating points for.
const FPR_TARGETS: [f64; 4] = [0.0, 1e-6, 1e-5, 1e-4];

/// Mistakes of each kind that the report lists.
const MISTAKES: usize = 10;

/// Arguments of `likeness eval near-duplicates`.
#[derive(Debug, Args)]
#[command(after_help = "\
Photos should all be of different things: pairs of different files count as strangers. Copies are
made in memory by a published list of edits; equal seeds make equal copies. Everything goes through
the real pipeline in a temporary store, which is removed at the end.

Examples:
  likeness eval near-duplicates --photos ~/Pictures/2025 --limit 300
  likeness eval near-duplicates --photos a --photos b --list extreme --json > extreme.json")]
pub(crate) struct NearDuplicatesArgs {
    /// Folder of photos; may be given several times
    #[arg(long, required = true, value_name = "DIR")]
    photos: Vec<PathBuf>,
    /// Which edits
    #[arg(long, value_enum, default_value_t = ListName::Standard)]
    list: ListName,
    /// Seed of the edits
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Most photos to use
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Scorer to evaluate, a file of `likeness train scorer` [default: the configured one]
    #[arg(long, value_name = "FILE")]
    scorer: Option<PathBuf>,
    /// Score that a pair needs [default: the scorer's own]
    #[arg(long, value_name = "SCORE")]
    threshold: Option<f32>,
}

impl NearDuplicatesArgs {
    /// Puts the flags on top of the configuration.
    pub(in crate::cli) fn configure(&self, overrides: &mut Overrides) {
        let scorer = self.scorer.as_ref();
        overrides.set(
            "dedup.scorer",
            scorer.map(|file| file.display().to_string()),
        );
        overrides.set("dedup.threshold", self.threshold);
    }
}

pub(super) async fn run(args: NearDuplicatesArgs, context: Context) -> anyhow::Result<()> {
    let list = EditList::from(args.list);
    let limits = context.config.decode_limits();
    let corpus =
        tokio::task::spawn_blocking(move || Corpus::open(&args.photos, args.limit, limits));
    let corpus = Arc::new(corpus.await??);
    let models = wire::load_models(&context).await?;
    let spec = models.spec().clone();
    let scorer = wire::load_scorer(&context.config.dedup.scorer)?;
    let threshold = context.config.dedup_config().threshold;
    let threshold = threshold.unwrap_or_else(|| scorer.threshold());
    let variants = corpus.variants(list);
    note(format_args!(
        "{} photos, {} pictures with their copies",
        corpus.len(),
        variants.len()
    ));

    let source = Arc::new(Lab {
        signer: corpus::signer(&models, &context.config.decode_limits()),
        runtime: Handle::current(),
        corpus: Arc::clone(&corpus),
        seed: args.seed,
        signed: Mutex::default(),
    });
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let session = Session::Local(wire::open_at(&context, folder.path(), models).await?);
    let mut heads = HashMap::new();
    let progress = Progress::start("pictures", variants.len() as u64);
    let items = variants.iter().copied().enumerate().collect();
    let taken = take_in(
        &session,
        Arc::clone(&source),
        items,
        &progress,
        &context.stop,
        |decision| {
            heads.extend(
                decision
                    .canonical_id
                    .clone()
                    .map(|head| (decision.id.clone(), head)),
            );
        },
    )
    .await;
    progress.finish();
    session.close().await;
    let tally = taken?;
    anyhow::ensure!(!tally.interrupted, "stopped before the end");
    if let Some(skipped) = tally.skipped.first() {
        anyhow::bail!("`{}` could not be used: {}", skipped.name, skipped.reason);
    }

    let signed = source.take_signed(variants.len())?;
    let pairs = Pairs::of(&corpus, &variants, &signed, &scorer, threshold);
    let clusters = variants.iter().enumerate().filter_map(|(idx, variant)| {
        let head = heads.get(&lab_id(idx))?;
        Some((head.as_str(), variant.photo))
    });
    let report = NearDuplicateReport {
        edit_list: list.name().to_owned(),
        seed: args.seed,
        model: format!("{} {}", spec.model, spec.version),
        scorer: scorer.id(),
        threshold,
        pictures: corpus.len() as u64,
        recall: share_reaching(&pairs.copy_scores, threshold),
        false_positives: share_reaching(&pairs.stranger_scores, threshold),
        edits: recall_per_edit(&pairs.notable, threshold),
        operating_points: operating_points(
            &pairs.copy_scores,
            &pairs.stranger_scores,
            &FPR_TARGETS,
        ),
        clusters: Some(cluster_quality(clusters)),
        mistakes: hardest_mistakes(&pairs.notable, threshold, MISTAKES),
    };
    context.output.show(&report, ToString::to_string)
}

/// Makes variants, and signs each on its way into the pipeline.
struct Lab {
    corpus: Arc<Corpus>,
    signer: Signer,
    runtime: Handle,
    seed: u64,
    signed: Mutex<HashMap<usize, Signed>>,
}

impl Source for Lab {
    type Item = (usize, Variant);

    fn name(&self, (_, variant): &Self::Item) -> String {
        let photo = self.corpus.name(variant.photo);
        format!("{photo} ({})", variant.edit_name().unwrap_or("as it is"))
    }

    fn load(&self, &(idx, variant): &Self::Item) -> Result<NewImage, Unusable> {
        let unusable = |error: anyhow::Error| Unusable::Unreadable(format!("{error:#}"));
        let bytes = self.corpus.bytes(variant, self.seed).map_err(unusable)?;
        let signing = corpus::sign(&self.signer, bytes.clone());
        // Called on a thread that may block.
        let signed = self.runtime.block_on(signing).map_err(unusable)?;
        let mut all = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(idx, signed);
        Ok(NewImage {
            id: ImageId::new(lab_id(idx)).ok(),
            name: Some(self.name(&(idx, variant))),
            bytes,
        })
    }
}

impl Lab {
    /// Returns the signatures by number.
    fn take_signed(&self, count: usize) -> anyhow::Result<Vec<Signed>> {
        let mut all = self.signed.lock().unwrap_or_else(PoisonError::into_inner);
        (0..count)
            .map(|idx| all.remove(&idx).context("a picture was not signed"))
            .collect()
    }
}

fn lab_id(idx: usize) -> String {
    format!("picture-{idx}")
}

fn share_reaching(scores: &[f32], threshold: f32) -> Share {
    let mut share = Share::default();
    for score in scores {
        share.add(*score >= threshold);
    }
    share
}

/// Scores of all pairs of a photo with copies of it and of others.
#[derive(Debug, Default)]
struct Pairs {
    copy_scores: Vec<f32>,
    stranger_scores: Vec<f32>,
    /// All copies, and the strangers that reach the threshold: those are few, all would not fit.
    notable: Vec<ScoredPair>,
}

impl Pairs {
    fn of(
        corpus: &Corpus,
        variants: &[Variant],
        signed: &[Signed],
        scorer: &Scorer,
        threshold: f32,
    ) -> Self {
        let name = |variant: &Variant| match variant.edit_name() {
            None => corpus.name(variant.photo).to_owned(),
            Some(edit) => format!("{} {edit}", corpus.name(variant.photo)),
        };
        let mut pairs = Self::default();
        let originals = || {
            variants
                .iter()
                .zip(signed)
                .filter(|(variant, _)| variant.edit.is_none())
        };
        for (original, original_signed) in originals() {
            for (variant, variant_signed) in variants.iter().zip(signed) {
                let is_own = variant.photo == original.photo;
                // Each pair of originals once, and none with itself.
                if variant.edit.is_none() && variant.photo <= original.photo {
                    continue;
                }
                let score = scorer.score(&original_signed.features(variant_signed));
                if is_own {
                    pairs.copy_scores.push(score);
                } else {
                    pairs.stranger_scores.push(score);
                }
                if is_own || score >= threshold {
                    pairs.notable.push(ScoredPair {
                        first: name(original),
                        second: name(variant),
                        edit: variant.edit_name().filter(|_| is_own).map(str::to_owned),
                        score,
                    });
                }
            }
        }
        pairs
    }
}
