use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use likeness_engine::dedup::{
    Agreement, ChangeKind, CompareOptions, MAX_SCORER_BYTES, ScorerComparison, ScorerSide,
    ScorerVersion,
};
use serde::Serialize;

use super::Context;
use crate::error::Refusal;
use crate::output::Table;
use crate::session::{Session, with_session};

/// Subcommands of `likeness scorer`.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Keeping a version changes nothing. To decide with it, set `dedup.scorer` to its file and start again.

Examples:
  likeness scorer add scorer.json
  likeness scorer list")]
pub(crate) enum ScorerCommand {
    /// Keep a file of `likeness train scorer`, so that it can be compared
    Add(AddArgs),
    /// List the versions that can be compared
    List(ListArgs),
}

/// Arguments of `likeness scorer add`.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The file
    file: PathBuf,
}

/// Arguments of `likeness scorer list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {}

/// Arguments of `likeness compare-scorers`.
#[derive(Debug, Args)]
#[command(after_help = "\
Decisions of a sample of images are made again with both, from what they were compared with; labels
and the most uncertain pairs of the review queue are scored with both. Nothing changes; a FILE is kept
as by `likeness scorer add`.

Examples:
  likeness compare-scorers --candidate scorer.json
  likeness compare-scorers --candidate pairs/4 --against pairs/3 --sample 5000")]
pub(crate) struct CompareArgs {
    /// File or version that may be promoted
    #[arg(long, value_name = "FILE|VERSION")]
    candidate: String,
    /// File or version to compare it with [default: the one that decides now]
    #[arg(long, value_name = "FILE|VERSION")]
    against: Option<String>,
    /// Images, and labels, to look at
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    sample: u64,
    /// Which images; the same seed gives the same
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Serialize)]
struct ScorerList {
    items: Vec<ScorerVersion>,
}

pub(crate) async fn run(command: ScorerCommand, context: Context) -> anyhow::Result<()> {
    match command {
        ScorerCommand::Add(args) => {
            let json = read(&args.file)?;
            let version = with_session(&context, async |session| session.add_scorer(&json).await);
            let version = version.await?;
            context.output.show(&version, |it| {
                format!("kept as {}; it decides nothing", it.id)
            })
        }
        ScorerCommand::List(ListArgs {}) => {
            let items = with_session(&context, async |session| session.scorers().await).await?;
            let list = ScorerList { items };
            context.output.show(&list, |list| {
                let mut table = Table::new(["version", "threshold", "decides", "kept"]);
                for it in &list.items {
                    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
                    let threshold = format!("{:.4}", it.threshold);
                    table.row([it.id.clone(), threshold, yes(it.is_live), yes(it.is_kept)]);
                }
                table.to_string()
            })
        }
    }
}

pub(crate) async fn compare(args: CompareArgs, context: Context) -> anyhow::Result<()> {
    let sample = usize::try_from(args.sample)?;
    let comparison = with_session(&context, async |session| {
        let against = match &args.against {
            Some(named) => Some(version(session, named).await?),
            None => None,
        };
        let options = CompareOptions {
            candidate: version(session, &args.candidate).await?,
            against,
            sample,
            seed: args.seed,
        };
        session.compare_scorers(&options).await
    })
    .await?;
    context.output.show(&comparison, text)
}

/// Returns the version that a file or a name stands for. A file is kept.
async fn version(session: &Session, named: &str) -> anyhow::Result<String> {
    let path = Path::new(named);
    if !path.is_file() {
        return Ok(named.to_owned());
    }
    Ok(session.add_scorer(&read(path)?).await?.id)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let cannot_read = || format!("cannot read `{}`", path.display());
    let num_bytes = std::fs::metadata(path).with_context(cannot_read)?.len();
    if num_bytes > MAX_SCORER_BYTES as u64 {
        return Err(Refusal::Input.because(format!(
            "`{}` has {num_bytes} bytes, a scorer has at most {MAX_SCORER_BYTES}",
            path.display()
        )));
    }
    std::fs::read_to_string(path).with_context(cannot_read)
}

fn text(it: &ScorerComparison) -> String {
    let mut sides = Table::new([
        "",
        "threshold",
        "join",
        "precision",
        "95 %",
        "recall",
        "95 %",
        "alone right",
    ]);
    for (side, alone) in [
        (&it.candidate, it.candidate_alone_right),
        (&it.against, it.against_alone_right),
    ] {
        sides.row(side_row(side, alone));
    }
    let mut changed = Table::new(["change", "image", "head", "score now", "score then"]);
    for it in &it.changed {
        let what = match it.kind {
            ChangeKind::JoinToAlone => "no longer joins",
            ChangeKind::AloneToJoin => "joins",
            ChangeKind::OtherHead => "joins another",
        };
        changed.row([
            what.to_owned(),
            it.image.clone(),
            it.head.clone(),
            format!("{:.4}", it.score_now),
            format!("{:.4}", it.score_then),
        ]);
    }
    let mut text = format!(
        "{sides}\n{} decisions of {} images: {} would no longer join, {} would join, {} would join another; \
         {} of {} queued pairs change sides; {} labels\n",
        it.sampled,
        it.images,
        it.join_to_alone,
        it.alone_to_join,
        it.other_head,
        it.reviews_changed,
        it.reviews,
        it.labels
    );
    if !changed.is_empty() {
        text += &format!("{changed}\n");
    }
    text + &it.in_words()
}

fn side_row(side: &ScorerSide, alone: u64) -> [String; 8] {
    let Agreement {
        right_joins,
        joins,
        copies,
        ..
    } = side.agreement;
    let share = |total: u64| match total {
        0 => "–".to_owned(),
        total => format!("{:.3}", right_joins as f64 / total as f64),
    };
    let interval = |[low, high]: [f64; 2]| format!("{low:.3} to {high:.3}");
    [
        side.id.clone(),
        format!("{:.4}", side.threshold),
        side.joins.to_string(),
        share(joins),
        interval(side.agreement.precision_interval),
        share(copies),
        interval(side.agreement.recall_interval),
        alone.to_string(),
    ]
}
