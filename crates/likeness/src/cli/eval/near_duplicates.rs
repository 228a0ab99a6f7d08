//! `likeness eval near-duplicates`: copies of photos through the whole pipeline.

mod contenders;
mod crowd;
mod lab;
mod pairs;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use likeness_engine::dedup::Signer;
use likeness_engine::eval::{
    NearDuplicateReport, Share, SideBySide, cluster_quality, hardest_mistakes, operating_points,
    recall_per_edit,
};
use likeness_vision::DecodeLimits;
use likeness_vision::edits::{EditList, WORKING_SIDE};
use serde::Serialize;

use self::contenders::{Contender, Hashes};
use self::crowd::Crowd;
use self::lab::{Lab, Picture, lab_id};
use self::pairs::Gallery;
use super::ListName;
use crate::cli::Context;
use crate::config::Overrides;
use crate::corpus::{self, Corpus, Variant};
use crate::families::Families;
use crate::files::find_named;
use crate::intake::take_in;
use crate::output::note;
use crate::progress::Progress;
use crate::session::Session;
use crate::wire;

/// False-positive rates that the report gives operating points for, if there are pairs enough to measure them.
const FPR_TARGETS: [f64; 6] = [0.0, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4];

/// The rate that edits are compared at side by side.
const COMPARED_AT: f64 = 1e-6;

/// Scores of strangers that are kept: more than a ten-thousandth of the pairs of a thousand photos.
const KEPT_STRANGERS: usize = 1 << 21;

/// Mistakes of each kind that the report lists.
const MISTAKES: usize = 10;

/// Arguments of `likeness eval near-duplicates`.
#[derive(Debug, Args)]
#[command(after_help = "\
Photos should all be of different things: pairs of different files count as strangers, unless
`--families` says otherwise. Copies are made in memory by a published list of edits; equal
seeds make equal copies. Everything goes through the real pipeline in a temporary store,
which is removed at the end.

Beside the scorer, the report has the plain cosine, PDQ, and whatever else made hashes of the
same files: `--write DIR` writes these and stops; `--hashes FILE` reads JSON of the form
{\"name\": …, \"bits\": 64, \"recommended\": 10, \"hashes\": {\"picture-0\": \"<hex>\", …}}.

Examples:
  likeness eval near-duplicates --photos ~/Pictures/2025 --limit 300
  likeness eval near-duplicates --photos a --photos b --list extreme --json > extreme.json
  likeness eval near-duplicates --photos a --distractors 1000000
  likeness eval near-duplicates --photos a --negatives --same-scene rooms --families f.toml")]
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
    /// Pictures to leave out, and families whose pairs count as neither; see `likeness train scorer`
    #[arg(long, value_name = "FILE")]
    families: Option<PathBuf>,
    /// Add drawn hard negatives: cards, pages, chats, charts over one template each, flat pictures
    #[arg(long)]
    negatives: bool,
    /// Folder of photos that show one scene from several sides, as further hard negatives
    #[arg(long, value_name = "DIR")]
    same_scene: Option<PathBuf>,
    /// Compare all photos and copies with so many synthetic embeddings, drawn like those of real pictures
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u64).range(..=10_000_000))]
    distractors: u64,
    /// Folder of other photos that those are modelled on; may be given several times [default: every other photo]
    #[arg(long, value_name = "DIR", requires = "distractors")]
    background: Vec<PathBuf>,
    /// Hashes that another program made of the same files; may be given several times
    #[arg(long, value_name = "FILE")]
    hashes: Vec<PathBuf>,
    /// Write all pictures to this folder, and stop
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
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

/// What `--write` says.
#[derive(Debug, Serialize)]
struct Written {
    folder: String,
    pictures: usize,
}

/// What is evaluated.
struct Subject {
    corpus: Corpus,
    scenes: Option<Corpus>,
    background: Option<Corpus>,
    families: Families,
}

impl Subject {
    /// Finds the photos. Blocks.
    fn open(args: &NearDuplicatesArgs, limits: &DecodeLimits) -> anyhow::Result<Self> {
        let families = match &args.families {
            Some(file) => Families::read(file)?,
            None => Families::default(),
        };
        let open = |folders: &[PathBuf], limit| {
            let mut files = find_named(folders)?;
            files.retain(|file| !families.leaves_out(&file.relative));
            Corpus::of_files(files, limit, limits.clone(), WORKING_SIDE)
        };
        let scenes = args.same_scene.as_ref();
        let has_background = !args.background.is_empty();
        Ok(Self {
            corpus: open(&args.photos, args.limit)?,
            background: has_background
                .then(|| open(&args.background, None))
                .transpose()?,
            scenes: scenes
                .map(|folder| open(std::slice::from_ref(folder), None))
                .transpose()?,
            families,
        })
    }
}

pub(super) async fn run(args: NearDuplicatesArgs, context: Context) -> anyhow::Result<()> {
    let args = Arc::new(args);
    let limits = context.config.decode_limits();
    let opening = {
        let (args, limits) = (Arc::clone(&args), limits.clone());
        tokio::task::spawn_blocking(move || Subject::open(&args, &limits))
    };
    let Subject {
        corpus,
        scenes,
        background,
        families,
    } = opening.await??;
    let list = EditList::from(args.list);
    let num_scenes = scenes.as_ref().map_or(0, Corpus::len);
    let pictures = Picture::all(&corpus, list, args.negatives, num_scenes);
    let hashes = args
        .hashes
        .iter()
        .map(|file| Hashes::read(file, pictures.len()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    note(format_args!(
        "{} photos, {} pictures with their copies{}",
        corpus.len(),
        pictures.len(),
        if args.negatives || num_scenes > 0 {
            " and hard negatives"
        } else {
            ""
        }
    ));
    let models = wire::load_models(&context).await?;
    let spec = models.spec().clone();
    let signer = corpus::signer(&models, &limits, context.config.dedup.views);
    let background = match background {
        Some(photos) => Some(embed(photos, args.seed, &signer).await?),
        None => None,
    };
    let lab = Arc::new(Lab::new(
        Arc::new(corpus),
        scenes,
        signer,
        limits.clone(),
        args.seed,
    ));
    if let Some(folder) = &args.write {
        return write(&lab, pictures, folder, &context).await;
    }
    let heads = through_the_pipeline(&lab, &pictures, models, &context).await?;

    let signed = lab.take_signed(pictures.len())?;
    let gallery = Gallery::new(&lab, &pictures, &signed, &families);
    let scorer = wire::scorer_file(&context.config.dedup.scorer)?;
    let threshold = context.config.dedup_config().threshold;
    let threshold = threshold.unwrap_or_else(|| scorer.threshold());
    let own = Contender::Scorer(&scorer, threshold);
    let pairs = gallery.score(&own);
    let scores: Vec<f32> = pairs.copies.iter().map(|pair| pair.score).collect();
    let mut found = Share::default();
    for score in &scores {
        found.add(*score >= threshold);
    }
    let crowd = Crowd {
        count: args.distractors,
        seed: args.seed,
        scorer: &scorer,
        threshold,
        background,
        stop: &context.stop,
    };
    let crowd = (args.distractors > 0)
        .then(|| crowd.compare(&pictures, &signed, &scores))
        .transpose()?;
    let notable: Vec<_> = pairs.copies.iter().chain(&pairs.joined).cloned().collect();
    let clusters = pictures.iter().enumerate().filter_map(|(idx, picture)| {
        let head = heads.get(&lab_id(idx))?;
        // A hard negative belongs to nothing but itself.
        let truth = picture
            .variant()
            .map_or(Err(idx), |variant| Ok(variant.photo));
        Some((head.as_str(), truth))
    });
    let others = [Contender::Cosine, Contender::Pdq]
        .into_iter()
        .chain(hashes.into_iter().map(Contender::Hashes));
    let contenders = std::iter::once(own)
        .chain(others)
        .map(|contender| gallery.report(&contender, &FPR_TARGETS))
        .collect();
    let own = Contender::Scorer(&scorer, threshold);
    let is_member = |idx: usize| {
        heads
            .get(&lab_id(idx))
            .is_some_and(|head| *head != lab_id(idx))
    };
    let report = NearDuplicateReport {
        edit_list: list.name().to_owned(),
        seed: args.seed,
        model: format!("{} {}", spec.model, spec.version),
        scorer: scorer.id(),
        threshold,
        pictures: lab.corpus.len() as u64,
        recall: found,
        false_positives: pairs.strangers.reaching(threshold),
        edits: recall_per_edit(&pairs.copies, threshold),
        operating_points: operating_points(&scores, &pairs.strangers, &FPR_TARGETS),
        clusters: Some(cluster_quality(clusters)),
        hard_negatives: gallery.hard_negatives(&own, &families, is_member),
        crowd,
        side_by_side: Some(SideBySide {
            contenders,
            fpr_target: measurable(pairs.strangers.total()),
        }),
        mistakes: hardest_mistakes(&notable, threshold, MISTAKES),
    };
    context.output.show(&report, ToString::to_string)
}

/// Returns the embeddings of photos as they are.
async fn embed(photos: Corpus, seed: u64, signer: &Signer) -> anyhow::Result<Vec<Vec<Vec<f32>>>> {
    let variants: Vec<Variant> = (0..photos.len())
        .map(|photo| Variant { photo, edit: None })
        .collect();
    let signed = corpus::sign_all(&Arc::new(photos), &variants, seed, signer).await?;
    let vectors = signed
        .into_iter()
        .map(|signed| vec![signed.descriptors.vector]);
    Ok(vectors.collect())
}

/// The rate to compare at: a millionth, or none at all if there are too few pairs to see one.
fn measurable(num_strangers: u64) -> f64 {
    if COMPARED_AT * num_strangers as f64 >= 1.0 {
        COMPARED_AT
    } else {
        0.0
    }
}

async fn write(
    lab: &Arc<Lab>,
    pictures: Vec<Picture>,
    folder: &Path,
    context: &Context,
) -> anyhow::Result<()> {
    let written = Written {
        folder: folder.display().to_string(),
        pictures: pictures.len(),
    };
    let (lab, target) = (Arc::clone(lab), folder.to_owned());
    tokio::task::spawn_blocking(move || lab.write_all(&pictures, &target)).await??;
    context.output.show(&written, |written| {
        format!("{} pictures in {}", written.pictures, written.folder)
    })
}

/// Brings all pictures into a new store, and returns the head of each by its id.
async fn through_the_pipeline(
    lab: &Arc<Lab>,
    pictures: &[Picture],
    models: Arc<likeness_vision::runtime::queue::ModelPool>,
    context: &Context,
) -> anyhow::Result<HashMap<String, String>> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let session = Session::Local(wire::open_at(context, folder.path(), models).await?);
    let mut heads = HashMap::new();
    let progress = Progress::start("pictures", pictures.len() as u64);
    let items = pictures.iter().copied().enumerate().collect();
    let taken = take_in(
        &session,
        Arc::clone(lab),
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
    Ok(heads)
}
