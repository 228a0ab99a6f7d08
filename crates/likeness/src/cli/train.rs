use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use likeness_engine::dedup::scorer::{
    FitOptions, FitReport, HeldOut, LabelledPair, PictureKind, fit,
};
use likeness_vision::edits::EditList;
use serde::Serialize;

use super::Context;
use super::eval::ListName;
use crate::corpus::{self, Corpus, Signed};
use crate::output::{Table, count, moment, note};
use crate::wire;

/// Most pairs of different pictures used; beyond it every n-th is taken. 24 bytes each.
const MAX_STRANGERS: usize = 20_000_000;

/// Subcommands of `likeness train`.
#[derive(Debug, Subcommand)]
pub(crate) enum TrainCommand {
    /// Fit the scorer of pairs, and write it to a file
    Scorer(ScorerArgs),
}

/// Arguments of `likeness train scorer`.
#[derive(Debug, Args)]
#[command(after_help = "\
Copies are made by a published list of edits. Half of the photos are held out for calibration, for the
threshold, and for the figures that are printed; equal seeds give equal files. A rate of strangers
far below one over the number of pairs cannot be measured: then the threshold lies above all of them.

Examples:
  likeness train scorer --photos ~/Pictures/2024 --out scorer.json
  likeness eval near-duplicates --photos ~/Pictures/2025 --scorer scorer.json
  LIKENESS__DEDUP__SCORER=scorer.json likeness serve --data-dir ./new")]
pub(crate) struct ScorerArgs {
    /// Folder of photos, all of different things; may be given several times
    #[arg(long, required = true, value_name = "DIR")]
    photos: Vec<PathBuf>,
    /// Folder of stickers, all different; may be given several times
    #[arg(long, value_name = "DIR")]
    stickers: Vec<PathBuf>,
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "scorer.json")]
    out: PathBuf,
    /// Which edits
    #[arg(long, value_enum, default_value_t = ListName::Standard)]
    list: ListName,
    /// Seed of the edits and of what is held out
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Share of strangers with a photo among them that may reach the threshold
    #[arg(long, value_name = "RATE", default_value_t = 1e-6)]
    fpr: f64,
    /// Share of pairs of different stickers that may reach the threshold
    #[arg(long, value_name = "RATE", default_value_t = 1e-4)]
    sticker_fpr: f64,
    /// Most photos, and most stickers, to use
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Name of the scorer; decisions show it with the version
    #[arg(long, default_value = "pairs")]
    name: String,
    /// Version of the scorer
    #[arg(long, default_value_t = 1)]
    revision: u32,
}

#[derive(Debug, Serialize)]
struct Trained {
    file: String,
    scorer: String,
    threshold: f32,
    photos: usize,
    stickers: usize,
    pairs: usize,
    photos_held_out: HeldOut,
    #[serde(skip_serializing_if = "Option::is_none")]
    stickers_held_out: Option<HeldOut>,
    report: FitReport,
}

pub(crate) async fn run(command: TrainCommand, context: Context) -> anyhow::Result<()> {
    let TrainCommand::Scorer(args) = command;
    let args = Arc::new(args);
    let limits = context.config.decode_limits();
    let (photos, stickers) = {
        let (args, limits) = (Arc::clone(&args), limits.clone());
        tokio::task::spawn_blocking(move || open_corpora(&args, &limits)).await??
    };
    let models = wire::load_models(&context).await?;
    let signer = corpus::signer(&models, &limits);
    let list = EditList::from(args.list);
    let mut pictures = Vec::new();
    for (kind, corpus) in [
        (PictureKind::Photo, Some(&photos)),
        (PictureKind::Sticker, stickers.as_ref()),
    ] {
        let Some(corpus) = corpus else { continue };
        let variants = corpus.variants(list);
        let signed = corpus::sign_all(corpus, &variants, args.seed, &signer).await?;
        let first_group = pictures.last().map_or(0, |last: &Picture| last.group + 1);
        pictures.extend(
            variants
                .iter()
                .zip(signed)
                .map(|(variant, signed)| Picture {
                    kind,
                    group: first_group + variant.photo as u64,
                    is_copy: variant.edit.is_some(),
                    signed,
                }),
        );
    }
    let n_stickers = stickers.as_ref().map_or(0, |stickers| stickers.len());

    let options = FitOptions {
        name: args.name.clone(),
        version: args.revision,
        date: moment(likeness_core::Timestamp::now().0)[..10].to_owned(),
        data: describe_data(&args, photos.len(), n_stickers, &models.spec().model),
        edits: list
            .edits()
            .iter()
            .map(|edit| edit.name().to_owned())
            .collect(),
        seed: args.seed,
        fpr_target: args.fpr,
        sticker_fpr_target: args.sticker_fpr,
        ..FitOptions::default()
    };
    let n_photos = photos.len();
    let (scorer, report, n_pairs) = tokio::task::spawn_blocking(move || {
        let pairs = label(&pictures);
        note(format_args!(
            "fitting on {} pairs",
            count(pairs.len() as u64)
        ));
        let (scorer, report) = fit(&pairs, &options)?;
        anyhow::Ok((scorer, report, pairs.len()))
    })
    .await??;
    std::fs::write(&args.out, scorer.to_json())
        .with_context(|| format!("cannot write `{}`", args.out.display()))?;
    let trained_on = &scorer.spec().trained_on;
    let trained = Trained {
        file: args.out.display().to_string(),
        scorer: scorer.id(),
        threshold: scorer.threshold(),
        photos: n_photos,
        stickers: n_stickers,
        pairs: n_pairs,
        photos_held_out: trained_on.photos_held_out.clone(),
        stickers_held_out: trained_on.stickers_held_out.clone(),
        report,
    };
    context.output.show(&trained, describe)
}

fn open_corpora(
    args: &ScorerArgs,
    limits: &likeness_vision::DecodeLimits,
) -> anyhow::Result<(Arc<Corpus>, Option<Arc<Corpus>>)> {
    let photos = Corpus::open(&args.photos, args.limit, limits.clone())?;
    let stickers = if args.stickers.is_empty() {
        None
    } else {
        Some(Arc::new(Corpus::open(
            &args.stickers,
            args.limit,
            limits.clone(),
        )?))
    };
    Ok((Arc::new(photos), stickers))
}

fn describe_data(args: &ScorerArgs, n_photos: usize, n_stickers: usize, model: &str) -> String {
    let list = EditList::from(args.list).name();
    format!("{n_photos} photos, {n_stickers} stickers, copies by the {list} list; model {model}")
}

/// A photo or sticker, or a copy of one.
struct Picture {
    kind: PictureKind,
    /// Its original: pictures of one group are copies of each other.
    group: u64,
    is_copy: bool,
    signed: Signed,
}

/// Pairs each original with its copies and with every picture of other groups; two originals once.
fn label(pictures: &[Picture]) -> Vec<LabelledPair> {
    let originals = || pictures.iter().filter(|picture| !picture.is_copy);
    let stride = (originals().count() * pictures.len())
        .div_ceil(MAX_STRANGERS)
        .max(1);
    let mut pairs = Vec::new();
    let mut n_strangers = 0_usize;
    for first in originals() {
        for second in pictures {
            if !second.is_copy && second.group <= first.group {
                continue;
            }
            let is_copy_of_first = second.group == first.group;
            if !is_copy_of_first {
                n_strangers += 1;
                if !n_strangers.is_multiple_of(stride) {
                    continue;
                }
            }
            let both_stickers = [first.kind, second.kind] == [PictureKind::Sticker; 2];
            pairs.push(LabelledPair {
                features: first.signed.features(&second.signed),
                label: is_copy_of_first,
                group: first.group,
                kind: if both_stickers {
                    PictureKind::Sticker
                } else {
                    PictureKind::Photo
                },
            });
        }
    }
    pairs
}

fn describe(trained: &Trained) -> String {
    let report = &trained.report;
    let mut table = Table::new([
        "held out",
        "copies found",
        "of",
        "strangers joined",
        "of",
        "allowed",
    ]);
    let kinds = [
        ("photos", Some(&trained.photos_held_out)),
        ("stickers", trained.stickers_held_out.as_ref()),
    ];
    for (name, held_out) in kinds {
        let Some(held_out) = held_out else { continue };
        table.row([
            name.to_owned(),
            format!("{:.2} %", 100.0 * held_out.recall),
            count(held_out.recall_pairs),
            format!("{:.1e}", held_out.fpr),
            count(held_out.fpr_pairs),
            format!("{:.0e}", held_out.fpr_target),
        ]);
    }
    let dropped = match report.dropped.as_slice() {
        [] => String::new(),
        dropped => format!("; terms left out: {}", dropped.join(", ")),
    };
    format!(
        "scorer     {} in {}\n\
         made from  {} photos, {} stickers, {} pairs\n\
         threshold  {:.4}; the hardest stranger scores {:.4}{dropped}\n\n\
         {table}",
        trained.scorer,
        trained.file,
        count(trained.photos as u64),
        count(trained.stickers as u64),
        count(trained.pairs as u64),
        trained.threshold,
        report.highest_other,
    )
}
