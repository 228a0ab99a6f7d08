//! `likeness train`: a scorer fitted to pictures of the user's.

mod cascade;
mod drawn;
mod labels;
mod pairs;
mod report;
mod soft;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use likeness_engine::dedup::compare::ViewsMode;
use likeness_engine::dedup::scorer::{FitOptions, FitReport, HeldOut, PictureKind, fit};
use likeness_vision::DecodeLimits;
use likeness_vision::edits::{EditList, WORKING_SIDE};
use serde::Serialize;

use self::pairs::{Gallery, HardPair, Original, Picture, StrangerCounts};
use self::soft::Soft;
use super::Context;
use super::eval::ListName;
use crate::corpus::{self, Corpus, Variant};
use crate::error::Refusal;
use crate::families::Families;
use crate::files::find_named;
use crate::output::{Table, count, moment, note};
use crate::wire;

/// Subcommands of `likeness train`.
#[derive(Debug, Subcommand)]
pub(crate) enum TrainCommand {
    /// Fit the scorer of pairs, and write it to a file
    Scorer(ScorerArgs),
}

/// Arguments of `likeness train scorer`.
#[derive(Debug, Args)]
#[command(after_help = "\
Copies are made by published lists of edits, hard negatives are drawn. Three tenths of the photos (half, for a regression) are held out for calibration, for the
threshold, and for the figures that are printed; equal seeds give equal files. A rate of strangers
far below one over the number of pairs cannot be measured: then the threshold lies above all of them.

Pictures that are alike by design (one room from two sides, one drawing in five colours) spoil a
fit if they count as strangers. `--hardest` names the strangers that look most alike. Look at them, and
write those that are such near-copies to the file of `--families`; the others are what a scorer has to
learn:

  leave_out = [\"stickers/*-1f3f[b-f]*\"]            # not taken at all
  [families]                                       # pairs within one count as neither
  kitchen = [\"2024/IMG_10[1-4].jpg\"]

Examples:
  likeness train scorer --photos ~/Pictures/2024 --out scorer.json
  likeness train scorer --photos ~/Pictures/2024 --families families.toml --hardest 30
  likeness train scorer --photos a --stickers b --labels judged.ndjson --precision 0.9999 --min-recall 0.99
  likeness eval near-duplicates --photos ~/Pictures/2025 --scorer scorer.json
  LIKENESS__DEDUP__SCORER=scorer.json likeness serve --data-dir ./new")]
pub(crate) struct ScorerArgs {
    /// Folder of photos, all of different things; may be given several times
    #[arg(long, required = true, value_name = "DIR")]
    photos: Vec<PathBuf>,
    /// Folder of stickers, all different; may be given several times
    #[arg(long, value_name = "DIR")]
    stickers: Vec<PathBuf>,
    /// Pictures to leave out, and families of near-copies by design; TOML, see below
    #[arg(long, value_name = "FILE")]
    families: Option<PathBuf>,
    /// Pictures to leave out besides, a glob as in that file; may be given several times
    #[arg(long, value_name = "GLOB")]
    leave_out: Vec<String>,
    /// Name the N pairs of strangers of each kind that score highest
    #[arg(long, value_name = "N", default_value_t = 0)]
    hardest: usize,
    /// Make copies of every N-th sticker only
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    sticker_copies_every: u64,
    /// File to write
    #[arg(long, value_name = "FILE", default_value = "scorer.json")]
    out: PathBuf,
    /// What to fit: two stages of boosted trees, or the regression of earlier versions
    #[arg(long, value_enum, default_value_t = Form::Trees)]
    form: Form,
    /// Which edits; may be given several times [default: both lists for trees, else the standard one]
    #[arg(long, value_enum, value_name = "LIST")]
    list: Vec<ListName>,
    /// Make every N-th copy only, others of each photo
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    copies_every: u64,
    /// Of every N-th photo learn from a soft picture too, of which only blots of colour are left; 0 for none
    #[arg(long, value_name = "N", default_value_t = 0)]
    soft_every: usize,
    /// Families of each kind of drawn hard negatives to learn from: other texts over one template
    #[arg(long, value_name = "N", default_value_t = 16)]
    drawn: u32,
    /// Pairs that people have judged, NDJSON of {"a": FILE, "b": FILE, "same": BOOL}; more fields are ignored
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Share of copies wanted among what reaches the threshold, instead of rates of strangers
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["fpr", "sticker_fpr"])]
    precision: Option<f64>,
    /// Cosine below which a pair is not looked at by anything
    #[arg(long, value_name = "COSINE", default_value_t = 0.2)]
    min_cosine: f32,
    /// End with an error if a smaller share of the held-out copies of photos is found
    #[arg(long, value_name = "SHARE")]
    min_recall: Option<f64>,
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
    #[arg(long, default_value_t = 4)]
    revision: u32,
}

/// What is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Trees,
    Logistic,
}

impl ScorerArgs {
    fn lists(&self) -> Vec<EditList> {
        match (self.list.as_slice(), self.form) {
            ([], Form::Trees) => EditList::ALL.to_vec(),
            ([], Form::Logistic) => vec![EditList::Standard],
            (lists, _) => lists.iter().map(|list| EditList::from(*list)).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Trained {
    file: String,
    scorer: String,
    threshold: f32,
    photos: usize,
    stickers: usize,
    pairs: usize,
    strangers: StrangerCounts,
    photos_held_out: HeldOut,
    #[serde(skip_serializing_if = "Option::is_none")]
    stickers_held_out: Option<HeldOut>,
    report: FitReport,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hardest: Vec<HardPair>,
}

pub(crate) async fn run(command: TrainCommand, context: Context) -> anyhow::Result<()> {
    let TrainCommand::Scorer(args) = command;
    let args = Arc::new(args);
    let limits = context.config.decode_limits();
    let sources = {
        let (args, limits) = (Arc::clone(&args), limits.clone());
        tokio::task::spawn_blocking(move || Sources::open(&args, &limits)).await??
    };
    let models = wire::load_models(&context).await?;
    if args.form == Form::Trees {
        return cascade::run(args, sources, &models, &limits, &context).await;
    }
    let signer = corpus::signer(&models, &limits, ViewsMode::Off);
    let lists = args.lists();
    let mut gallery = Gallery {
        originals: Vec::new(),
        pictures: Vec::new(),
    };
    for (kind, corpus) in sources.corpora() {
        let mut variants = variants(corpus, &lists);
        if kind == PictureKind::Sticker {
            let every = usize::try_from(args.sticker_copies_every)?;
            variants.retain(|variant| variant.edit.is_none() || variant.photo % every == 0);
        }
        let signed = corpus::sign_all(corpus, &variants, args.seed, &signer).await?;
        let first = gallery.originals.len();
        gallery
            .originals
            .extend((0..corpus.len()).map(|photo| Original {
                name: corpus.name(photo).to_owned(),
                kind,
                families: sources.families_of(corpus.name(photo)),
            }));
        gallery
            .pictures
            .extend(variants.iter().zip(signed).map(|(variant, signed)| {
                Picture {
                    original: first + variant.photo,
                    edit: variant.edit_name(),
                    shows: corpus
                        .shown_by(variant)
                        .map(|other| first + other)
                        .collect(),
                    signed,
                }
            }));
    }

    let options = FitOptions {
        name: args.name.clone(),
        version: args.revision,
        date: moment(likeness_core::Timestamp::now().0)[..10].to_owned(),
        data: sources.describe(&args, &models.spec().model),
        edits: lists
            .iter()
            .flat_map(|list| list.edits())
            .map(|edit| edit.name().to_owned())
            .collect(),
        seed: args.seed,
        fpr_target: args.fpr,
        sticker_fpr_target: args.sticker_fpr,
        ..FitOptions::default()
    };
    let trained = tokio::task::spawn_blocking(move || {
        let (pairs, strangers) = gallery.label(args.seed);
        note(format_args!(
            "fitting on {} pairs",
            count(pairs.len() as u64)
        ));
        let (scorer, report) = fit(&pairs, &options)?;
        std::fs::write(&args.out, scorer.to_json())
            .with_context(|| format!("cannot write `{}`", args.out.display()))?;
        let spec = scorer.spec().context("a regression has coefficients")?;
        let trained_on = &spec.trained_on;
        anyhow::Ok(Trained {
            file: args.out.display().to_string(),
            scorer: scorer.id(),
            threshold: scorer.threshold(),
            photos: sources.photos.len(),
            stickers: sources
                .stickers
                .as_ref()
                .map_or(0, |stickers| stickers.len()),
            pairs: pairs.len(),
            strangers,
            photos_held_out: trained_on.photos_held_out.clone(),
            stickers_held_out: trained_on.stickers_held_out.clone(),
            report,
            hardest: gallery.hardest(&scorer, args.hardest),
        })
    })
    .await??;
    context.output.show(&trained, describe)
}

/// Returns every photo, each followed by its copies by all of the lists.
fn variants(corpus: &Corpus, lists: &[EditList]) -> Vec<Variant> {
    let of_photo = |photo| {
        let copies = lists
            .iter()
            .flat_map(|list| list.edits())
            .map(move |&edit| Variant {
                photo,
                edit: Some(edit),
            });
        [Variant { photo, edit: None }].into_iter().chain(copies)
    };
    (0..corpus.len()).flat_map(of_photo).collect()
}

/// The pictures to fit on.
struct Sources {
    photos: Arc<Corpus>,
    stickers: Option<Arc<Corpus>>,
    soft: Option<Soft>,
    families: Families,
    n_left_out: usize,
}

impl Sources {
    fn open(args: &ScorerArgs, limits: &DecodeLimits) -> anyhow::Result<Self> {
        let mut families = match &args.families {
            Some(file) => Families::read(file)?,
            None => Families::default(),
        };
        families.also_leave_out(&args.leave_out)?;
        let (mut photos, mut stickers) = (find_named(&args.photos)?, find_named(&args.stickers)?);
        let found = photos.iter().chain(&stickers);
        let names: Vec<String> = found.map(|file| file.relative.clone()).collect();
        check_globs(&families, &names, args.limit.is_some())?;
        for files in [&mut photos, &mut stickers] {
            files.retain(|file| !families.leaves_out(&file.relative));
        }
        let n_left_out = names.len() - photos.len() - stickers.len();
        let open = |files| Corpus::of_files(files, args.limit, limits.clone(), WORKING_SIDE);
        let stickers = if args.stickers.is_empty() {
            None
        } else {
            Some(Arc::new(open(stickers)?))
        };
        let photos = open(photos)?;
        let soft = match (args.form, args.soft_every) {
            (Form::Logistic, _) | (_, 0) => None,
            (Form::Trees, every) => Some(Soft::of(&photos, every, limits)?),
        };
        Ok(Self {
            photos: Arc::new(photos),
            stickers,
            soft,
            families,
            n_left_out,
        })
    }

    fn corpora(&self) -> impl Iterator<Item = (PictureKind, &Arc<Corpus>)> {
        let (stickers, soft) = (self.stickers.iter(), self.soft.iter());
        [(PictureKind::Photo, &self.photos)]
            .into_iter()
            .chain(stickers.map(|stickers| (PictureKind::Sticker, stickers)))
            .chain(soft.map(|soft| (PictureKind::Photo, &soft.corpus)))
    }

    /// Returns the numbers of the families that a picture is of. A soft picture and the photo that it was made of are
    /// one more.
    fn families_of(&self, name: &str) -> Vec<usize> {
        let mut families = self.families.of(soft::plain_name(name));
        let number = self.soft.as_ref().and_then(|soft| soft.number(name));
        families.extend(number.map(|number| self.families.len() + number));
        families
    }

    /// Says what the scorer comes from: `30 photos (nature 12, wallpapers 18), …`.
    fn describe(&self, args: &ScorerArgs, model: &str) -> String {
        let of_corpus = |corpus: &Corpus, what: &str| {
            let mut folders = BTreeMap::<&str, usize>::new();
            for photo in 0..corpus.len() {
                let folder = corpus.name(photo).split('/').next().unwrap_or_default();
                *folders.entry(folder).or_default() += 1;
            }
            let folders: Vec<String> = folders
                .iter()
                .map(|(folder, n_files)| format!("{folder} {n_files}"))
                .collect();
            format!("{} {what} ({})", corpus.len(), folders.join(", "))
        };
        let mut data = of_corpus(&self.photos, "photos");
        if let Some(stickers) = &self.stickers {
            data += &format!(
                " and {} with copies of one in {}",
                of_corpus(stickers, "stickers"),
                args.sticker_copies_every
            );
        }
        if let Some(soft) = &self.soft {
            data += &format!("; {} of the photos as soft pictures too", soft.corpus.len());
        }
        if args.families.is_some() || !args.leave_out.is_empty() {
            data += &format!(
                "; {} pictures left out; pairs within {} families of near-copies by design left out",
                self.n_left_out,
                self.families.len()
            );
        }
        let lists: Vec<&str> = args.lists().iter().map(|list| list.name()).collect();
        let lists = lists.join(" and the ");
        data + &format!("; copies by the {lists} list; model {model}")
    }
}

/// A glob that matches nothing is a mistake, unless not all pictures are there.
fn check_globs(families: &Families, names: &[String], is_limited: bool) -> anyhow::Result<()> {
    let (unknown, of_other_folders) = families.unmatched(names);
    if let Some(glob) = unknown.first()
        && !is_limited
    {
        return Err(Refusal::Input.because(format!(
            "`{glob}` in the file of families matches no picture; globs that do not: {}",
            unknown.len()
        )));
    }
    let n_unmatched = unknown.len() + of_other_folders.len();
    if n_unmatched > 0 {
        note(format_args!(
            "globs in the file of families that match no picture of these folders: {n_unmatched}"
        ));
    }
    Ok(())
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
    let mut hardest = Table::new(["score", "strangers", "of"]);
    for pair in &trained.hardest {
        let edit = pair.edit.map_or(String::new(), |edit| format!(", {edit}"));
        hardest.row([
            format!("{:.4}", pair.score),
            format!("{} and {}{edit}", pair.first, pair.second),
            pair.kind.to_owned(),
        ]);
    }
    let hardest = if hardest.is_empty() {
        String::new()
    } else {
        format!("\n\n{hardest}")
    };
    format!(
        "scorer     {} in {}\n\
         made from  {} photos, {} stickers, {} pairs\n\
         threshold  {:.4}; the hardest stranger scores {:.4}{dropped}\n\n\
         {table}{hardest}",
        trained.scorer,
        trained.file,
        count(trained.photos as u64),
        count(trained.stickers as u64),
        count(trained.pairs as u64),
        trained.threshold,
        report.highest_other,
    )
}
