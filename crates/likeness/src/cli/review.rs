use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use likeness_core::ImageId;
use likeness_engine::dedup::{
    Command, CorrectionOutcome, CorrectionView, NewCorrection, Pair, ReviewVerdict, ReviewView,
};
use serde::Serialize;

use super::Context;
use super::correct::Why;
use super::image::parse_id;
use crate::client::Answer;
use crate::error::Refusal;
use crate::output::{Table, moment};
use crate::session::{Session, with_session};

/// Labels of one page of an export.
const EXPORT_PAGE: usize = 500;

/// Subcommands of `likeness review`.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  likeness review list
  likeness review decide same 12-57 --reason \"the same advert\"
  likeness review undo 7 --reason \"looked again\"
  likeness review export --out labels.ndjson --pictures")]
pub(crate) enum ReviewCommand {
    /// List the pairs that the scorer is least sure of
    List(ListArgs),
    /// Say of pairs whether they are near-copies
    Decide(DecideArgs),
    /// Take an answer back
    Undo(UndoArgs),
    /// Write all labels, one JSON object per line, for `likeness train scorer --labels`
    Export(ExportArgs),
}

/// Arguments of `likeness review list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Most pairs to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=500))]
    limit: u64,
    /// Continue where an earlier list ended: the `next` that it gave
    #[arg(long, value_name = "TEXT")]
    cursor: Option<String>,
}

/// What can be said of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Said {
    /// They are near-copies
    Same,
    /// They are not
    Different,
    /// Cannot be told: off the queue, without a label
    Skip,
}

impl From<Said> for ReviewVerdict {
    fn from(said: Said) -> Self {
        match said {
            Said::Same => Self::Same,
            Said::Different => Self::Different,
            Said::Skip => Self::Skip,
        }
    }
}

/// Arguments of `likeness review decide`.
#[derive(Debug, Args)]
pub(crate) struct DecideArgs {
    /// What they are
    #[arg(value_enum)]
    verdict: Said,
    /// Pairs as `review list` names them, such as 12-57; they need not be in the queue
    #[arg(required = true, value_name = "PAIR")]
    pairs: Vec<Pair>,
    /// Label only: leave the clusters as they are
    #[arg(long)]
    label_only: bool,
    #[command(flatten)]
    why: Why,
}

/// Arguments of `likeness review undo`.
#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    /// Sequence number that `review decide` gave; `likeness correct list` shows it too
    correction: u64,
    #[command(flatten)]
    why: Why,
}

/// Arguments of `likeness review export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// File to write; an older one is replaced once the new one is whole [default: stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write the pictures, to the folder FILE.pictures, and name them by their paths instead of their
    /// ids: what `likeness train scorer --labels FILE` reads
    #[arg(long, requires = "out")]
    pictures: bool,
}

#[derive(Debug, Serialize)]
struct ReviewList {
    items: Vec<ReviewView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Exported {
    labels: u64,
    file: String,
}

pub(crate) async fn run(command: ReviewCommand, context: Context) -> anyhow::Result<()> {
    match command {
        ReviewCommand::List(args) => list(args, context).await,
        ReviewCommand::Decide(args) => decide(args, context).await,
        ReviewCommand::Undo(args) => undo(args, context).await,
        ReviewCommand::Export(args) => export(args, context).await,
    }
}

async fn list(args: ListArgs, context: Context) -> anyhow::Result<()> {
    let limit = usize::try_from(args.limit)?;
    let page = with_session(&context, async |session| {
        session.reviews(args.cursor.as_deref(), limit).await
    })
    .await?;
    let found = ReviewList {
        items: page.items,
        next: page.next,
    };
    context.output.show(&found, |found| {
        if found.items.is_empty() {
            return "nothing to review".to_owned();
        }
        let mut table = Table::new(["pair", "earlier", "new", "score", "needed", "is", "stored"]);
        for view in &found.items {
            table.row([
                view.pair.clone(),
                view.a.clone(),
                view.b.clone(),
                format!("{:.4}", view.score),
                format!("{:.4}", view.threshold),
                if view.joined { "together" } else { "apart" }.to_owned(),
                moment(view.uploaded_ms),
            ]);
        }
        match &found.next {
            Some(next) => format!("{table}\nmore: --cursor {next}"),
            None => table.to_string(),
        }
    })
}

async fn decide(args: DecideArgs, context: Context) -> anyhow::Result<()> {
    let verdict = ReviewVerdict::from(args.verdict);
    let views = with_session(&context, async |session| {
        let mut views = Vec::with_capacity(args.pairs.len());
        for &pair in &args.pairs {
            let answer = Answer {
                // Made here, so that a call whose answer is lost can be repeated.
                id: ImageId::generate(),
                author: args.why.author.clone(),
                reason: args.why.reason.clone(),
                verdict,
                correct: !args.label_only,
            };
            let view = session.review(pair, &answer).await?;
            check_applied(&view)?;
            views.push(view);
        }
        Ok(views)
    })
    .await?;
    context.output.show(&views, |views| {
        let lines: Vec<String> = args.pairs.iter().zip(views).map(line).collect();
        lines.join("\n")
    })
}

fn line((pair, view): (&Pair, &CorrectionView)) -> String {
    let noted = format!("{pair} noted as correction {}", view.sequence);
    match &view.not_corrected {
        Some(refusal) => format!(
            "{noted}; the clusters stay: {} ({})",
            refusal.message, refusal.code
        ),
        None => noted,
    }
}

fn check_applied(view: &CorrectionView) -> anyhow::Result<()> {
    match &view.outcome {
        CorrectionOutcome::Applied => Ok(()),
        CorrectionOutcome::Refused { code, message } => {
            Err(Refusal::Input.because(format!("refused ({code}): {message}")))
        }
    }
}

async fn undo(args: UndoArgs, context: Context) -> anyhow::Result<()> {
    let correction = NewCorrection {
        id: Some(ImageId::generate()),
        author: args.why.author,
        reason: args.why.reason,
        command: Command::Undo {
            correction: args.correction,
        },
    };
    let view = with_session(&context, async |session| session.correct(&correction).await).await?;
    check_applied(&view)?;
    context.output.show(&view, |_| {
        format!("correction {} taken back", args.correction)
    })
}

async fn export(args: ExportArgs, context: Context) -> anyhow::Result<()> {
    let output = context.output;
    let Some(path) = args.out else {
        return with_session(&context, async |session| {
            each_page(session, &mut |lines, _| output.raw(lines)).await?;
            Ok(())
        })
        .await;
    };
    let labels = with_session(&context, async |session| {
        if args.pictures {
            write_with_pictures(session, &path).await
        } else {
            write(session, &path).await
        }
    })
    .await?;
    let exported = Exported {
        labels,
        file: path.display().to_string(),
    };
    output.show(&exported, |exported| {
        format!("{} labels written to {}", exported.labels, exported.file)
    })
}

/// Writes labels beside `path`, and puts them in its place once they are all there.
async fn write(session: &Session, path: &Path) -> anyhow::Result<u64> {
    let cannot_write = || format!("cannot write `{}`", path.display());
    let mut name = path.file_name().with_context(cannot_write)?.to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let mut file = std::fs::File::create(&part).with_context(cannot_write)?;
    let mut labels = 0;
    each_page(session, &mut |lines, count| {
        labels += count;
        file.write_all(lines.as_bytes()).with_context(cannot_write)
    })
    .await?;
    file.sync_all().with_context(cannot_write)?;
    std::fs::rename(&part, path).with_context(cannot_write)?;
    Ok(labels)
}

/// Writes the pictures of all labels to a folder beside `path`, and the labels, with their paths, to `path`.
async fn write_with_pictures(session: &Session, path: &Path) -> anyhow::Result<u64> {
    let cannot_write = || format!("cannot write `{}`", path.display());
    let mut folder = path.file_name().with_context(cannot_write)?.to_owned();
    folder.push(".pictures");
    let target = path.with_file_name(&folder);
    std::fs::create_dir_all(&target).with_context(cannot_write)?;
    let folder = folder.to_string_lossy().into_owned();
    let mut names: HashMap<String, String> = HashMap::new();
    let mut lines = String::new();
    let (mut labels, mut cursor) = (0, None);
    loop {
        let page = session.labels(cursor.as_deref(), EXPORT_PAGE).await?;
        for mut label in page.items {
            for id in [&mut label.a, &mut label.b] {
                if !names.contains_key(id) {
                    let bytes = session.file(&parse_id(id.clone())?).await?;
                    // Ids may hold what file names may not.
                    let name = format!("picture-{}", names.len());
                    std::fs::write(target.join(&name), &bytes).with_context(cannot_write)?;
                    names.insert(id.clone(), format!("{folder}/{name}"));
                }
                id.clone_from(&names[id.as_str()]);
            }
            lines += &serde_json::to_string(&label)?;
            lines.push('\n');
            labels += 1;
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    std::fs::write(path, lines).with_context(cannot_write)?;
    Ok(labels)
}

/// Hands over all labels as lines of JSON, page by page, with how many there are.
async fn each_page(
    session: &Session,
    take: &mut dyn FnMut(&str, u64) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut cursor = None;
    loop {
        let page = session.labels(cursor.as_deref(), EXPORT_PAGE).await?;
        let mut lines = String::new();
        for label in &page.items {
            lines += &serde_json::to_string(label)?;
            lines.push('\n');
        }
        take(&lines, page.items.len() as u64)?;
        cursor = page.next;
        if cursor.is_none() {
            return Ok(());
        }
    }
}
