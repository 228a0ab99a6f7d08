use clap::{Args, Subcommand};
use likeness_core::ImageId;
use likeness_engine::dedup::{
    BankChange, Command, CorrectionOutcome, CorrectionView, FloodAct, NewCorrection, ReviewVerdict,
};
use serde::Serialize;

use super::Context;
use super::image::parse_id;
use crate::error::Refusal;
use crate::output::{Table, moment};
use crate::session::with_session;

/// Subcommands of `likeness correct`.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  likeness correct split holiday.jpg holiday-4.jpg --reason \"another beach\"
  likeness correct never holiday.jpg harbour.jpg --reason \"unlike\"
  likeness correct list
  likeness correct undo 7 --reason \"was right after all\"")]
pub(crate) enum CorrectCommand {
    /// Let members leave a cluster and found one of their own
    Split(SplitArgs),
    /// Give all images of one cluster the canonical id of another
    Merge(MergeArgs),
    /// Choose another member for images to be compared with
    Rehead(ReheadArgs),
    /// Keep two images in different clusters
    Never(PairArgs),
    /// Keep two images in one cluster
    Always(PairArgs),
    /// Take a correction back
    Undo(UndoArgs),
    /// List corrections, newest first
    List(ListArgs),
}

/// What every correction says.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Why it is made; kept with it
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    /// Who makes it [default: $USER]
    #[arg(long, value_name = "NAME", env = "USER", hide_env = true)]
    pub(super) author: String,
}

/// Arguments of `likeness correct split`.
#[derive(Debug, Args)]
pub(crate) struct SplitArgs {
    /// Canonical id of the cluster
    cluster: String,
    /// Ids of the members that leave, at most 1,000
    #[arg(required = true)]
    members: Vec<String>,
    /// Let each found a cluster of its own
    #[arg(long)]
    each_alone: bool,
    #[command(flatten)]
    why: Why,
}

/// Arguments of `likeness correct merge`.
#[derive(Debug, Args)]
pub(crate) struct MergeArgs {
    /// Canonical id that stays
    into: String,
    /// Canonical id that leads there from now on
    from: String,
    #[command(flatten)]
    why: Why,
}

/// Arguments of `likeness correct rehead`.
#[derive(Debug, Args)]
pub(crate) struct ReheadArgs {
    /// Canonical id of the cluster; it stays
    cluster: String,
    /// Id of the member
    head: String,
    #[command(flatten)]
    why: Why,
}

/// Arguments of `likeness correct never` and `always`.
#[derive(Debug, Args)]
pub(crate) struct PairArgs {
    /// Id of an image; if one of the two must leave, it is the other one, if that can
    first: String,
    /// Id of the other image
    second: String,
    #[command(flatten)]
    why: Why,
}

/// Arguments of `likeness correct undo`.
#[derive(Debug, Args)]
pub(crate) struct UndoArgs {
    /// Sequence number of the correction; `likeness correct list` shows it
    correction: u64,
    #[command(flatten)]
    why: Why,
}

/// Arguments of `likeness correct list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Most corrections to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=500))]
    limit: u64,
    /// Continue where an earlier list ended: the `next` that it gave
    #[arg(long, value_name = "TEXT")]
    cursor: Option<String>,
}

#[derive(Debug, Serialize)]
struct CorrectionList {
    items: Vec<CorrectionView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(crate) async fn run(command: CorrectCommand, context: Context) -> anyhow::Result<()> {
    let (command, why) = match command {
        CorrectCommand::List(args) => return list(args, context).await,
        CorrectCommand::Split(args) => {
            let members: Result<Vec<ImageId>, _> = args.members.into_iter().map(parse_id).collect();
            let command = Command::Split {
                cluster: parse_id(args.cluster)?,
                members: members?,
                each_alone: args.each_alone,
            };
            (command, args.why)
        }
        CorrectCommand::Merge(args) => {
            let (into, from) = (parse_id(args.into)?, parse_id(args.from)?);
            (Command::Merge { into, from }, args.why)
        }
        CorrectCommand::Rehead(args) => {
            let (cluster, head) = (parse_id(args.cluster)?, parse_id(args.head)?);
            (Command::ReHead { cluster, head }, args.why)
        }
        CorrectCommand::Never(args) => {
            let (a, b) = (parse_id(args.first)?, parse_id(args.second)?);
            (Command::NeverTogether { a, b }, args.why)
        }
        CorrectCommand::Always(args) => {
            let (a, b) = (parse_id(args.first)?, parse_id(args.second)?);
            (Command::AlwaysTogether { a, b }, args.why)
        }
        CorrectCommand::Undo(args) => {
            let correction = args.correction;
            (Command::Undo { correction }, args.why)
        }
    };
    let correction = NewCorrection {
        // Made here, so that a call whose answer is lost can be repeated.
        id: Some(ImageId::generate()),
        author: why.author,
        reason: why.reason,
        command,
    };
    let view = with_session(&context, async |session| session.correct(&correction).await).await?;
    if let CorrectionOutcome::Refused { code, message } = &view.outcome {
        return Err(Refusal::Input.because(format!("refused ({code}): {message}")));
    }
    context.output.show(&view, |view| {
        format!("correction {} applied", view.sequence)
    })
}

async fn list(args: ListArgs, context: Context) -> anyhow::Result<()> {
    let limit = usize::try_from(args.limit)?;
    let page = with_session(&context, async |session| {
        session.corrections(args.cursor.as_deref(), limit).await
    })
    .await?;
    let found = CorrectionList {
        items: page.items,
        next: page.next,
    };
    context.output.show(&found, |found| {
        if found.items.is_empty() {
            return "no corrections".to_owned();
        }
        let mut table = Table::new(["number", "what", "outcome", "author", "reason", "when"]);
        for view in &found.items {
            table.row([
                view.sequence.to_string(),
                sentence(&view.command),
                outcome(view),
                view.author.clone(),
                view.reason.clone(),
                moment(view.time_ms),
            ]);
        }
        match &found.next {
            Some(next) => format!("{table}\nmore: --cursor {next}"),
            None => table.to_string(),
        }
    })
}

fn sentence(command: &Command) -> String {
    match command {
        Command::Split {
            cluster, members, ..
        } => format!("split {} off {cluster}", members.len()),
        Command::Move { into, members } => match into {
            Some(into) => format!("move {} to {into}", members.len()),
            None => format!("move {} to a cluster of their own", members.len()),
        },
        Command::Merge { into, from } | Command::Fold { into, from } => {
            format!("merge {from} into {into}")
        }
        Command::ReHead { cluster, head } => format!("make {head} the head of {cluster}"),
        Command::NeverTogether { a, b } => format!("never {a} with {b}"),
        Command::AlwaysTogether { a, b } => format!("always {a} with {b}"),
        Command::Bank(change) => bank_sentence(change),
        Command::Flood(act) => flood_sentence(act),
        Command::Label { a, b, verdict, .. } => match verdict {
            ReviewVerdict::Same => format!("label {a} and {b} the same"),
            ReviewVerdict::Different => format!("label {a} and {b} different"),
            ReviewVerdict::Skip => format!("skip {a} and {b}"),
        },
        Command::Erase { image } => format!("erase {image}"),
        Command::Undo { correction } => format!("undo {correction}"),
    }
}

fn bank_sentence(change: &BankChange) -> String {
    let bank = change.bank();
    match change {
        BankChange::Create { .. } => format!("make bank {bank}"),
        BankChange::Set { .. } => format!("set bank {bank}"),
        BankChange::Delete { .. } => format!("delete bank {bank}"),
        BankChange::Add { references, .. } => format!("add {} to bank {bank}", references.len()),
        BankChange::Remove { references, .. } => {
            format!("remove {} from bank {bank}", references.len())
        }
    }
}

fn flood_sentence(act: &FloodAct) -> String {
    match act {
        FloodAct::Acknowledge { alarm } => format!("acknowledge alarm {alarm}"),
        FloodAct::Quarantine { cluster } => format!("quarantine {cluster}"),
        FloodAct::Confirm { cluster, .. } => format!("confirm quarantine of {cluster}"),
        FloodAct::Release { cluster, .. } => format!("release {cluster}"),
    }
}

fn outcome(view: &CorrectionView) -> String {
    match (&view.outcome, view.undone_by) {
        (CorrectionOutcome::Refused { code, .. }, _) => format!("refused: {code}"),
        (CorrectionOutcome::Applied, Some(by)) => format!("undone by {by}"),
        (CorrectionOutcome::Applied, None) => "applied".to_owned(),
    }
}
