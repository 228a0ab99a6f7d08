use clap::{Args, Subcommand};
use likeness_core::ImageId;
use likeness_engine::dedup::{AlarmView, Command, FloodAct, HeldView, NewCorrection};
use serde::Serialize;

use super::Context;
use super::bank::{applied, with_next};
use super::correct::Why;
use super::image::parse_id;
use crate::output::{Table, moment};
use crate::session::with_session;

/// Subcommands of `likeness flood`.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  likeness flood alarms
  likeness flood held holiday.jpg
  likeness flood confirm holiday.jpg --bank spam --reason \"a grey page\"
  likeness flood release holiday.jpg --for-good --reason \"a picture that many share\"")]
pub(crate) enum FloodCommand {
    /// List alarms about clusters that grow too fast or too large, newest first
    Alarms(ListArgs),
    /// Say that you have seen an alarm
    Acknowledge(AcknowledgeArgs),
    /// List the images that a cluster under quarantine holds
    Held(HeldArgs),
    /// Put a cluster under quarantine: images that would join by score are held
    Quarantine(ClusterArgs),
    /// Say that a quarantine is right
    Confirm(ConfirmArgs),
    /// End a quarantine; the images that it held join, at most 1,000 at a time
    Release(ReleaseArgs),
}

/// Arguments of `likeness flood alarms`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Most entries to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=500))]
    limit: u64,
    /// Continue where an earlier list ended: the `next` that it gave
    #[arg(long, value_name = "TEXT")]
    cursor: Option<String>,
}

/// Arguments of `likeness flood acknowledge`.
#[derive(Debug, Args)]
pub(crate) struct AcknowledgeArgs {
    /// Number of the alarm; `likeness flood alarms` shows it
    alarm: u64,
    #[command(flatten)]
    why: Why,
}

/// Arguments of `likeness flood held`.
#[derive(Debug, Args)]
pub(crate) struct HeldArgs {
    /// Canonical id of the cluster
    cluster: String,
    #[command(flatten)]
    list: ListArgs,
}

/// Arguments of `likeness flood quarantine`.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Canonical id of the cluster
    cluster: String,
    #[command(flatten)]
    why: Why,
}

/// Arguments of `likeness flood confirm`.
#[derive(Debug, Args)]
pub(crate) struct ConfirmArgs {
    /// Canonical id of the cluster
    cluster: String,
    /// Negative bank that takes its head as a reference
    #[arg(long, value_name = "NAME")]
    bank: Option<String>,
    #[command(flatten)]
    why: Why,
}

/// Arguments of `likeness flood release`.
#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// Canonical id of the cluster
    cluster: String,
    /// Never put it under quarantine again, however fast it grows
    #[arg(long)]
    for_good: bool,
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, Serialize)]
struct AlarmList {
    items: Vec<AlarmView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct HeldList {
    items: Vec<HeldView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

pub(crate) async fn run(command: FloodCommand, context: Context) -> anyhow::Result<()> {
    let (act, why) = match command {
        FloodCommand::Alarms(args) => return alarms(args, context).await,
        FloodCommand::Held(args) => return held(args, context).await,
        FloodCommand::Acknowledge(args) => {
            let alarm = args.alarm;
            (FloodAct::Acknowledge { alarm }, args.why)
        }
        FloodCommand::Quarantine(args) => {
            let cluster = parse_id(args.cluster)?;
            (FloodAct::Quarantine { cluster }, args.why)
        }
        FloodCommand::Confirm(args) => {
            let (cluster, bank) = (parse_id(args.cluster)?, args.bank);
            (FloodAct::Confirm { cluster, bank }, args.why)
        }
        FloodCommand::Release(args) => {
            let (cluster, for_good) = (parse_id(args.cluster)?, args.for_good);
            (FloodAct::Release { cluster, for_good }, args.why)
        }
    };
    let correction = NewCorrection {
        // Made here, so that a call whose answer is lost can be repeated.
        id: Some(ImageId::generate()),
        author: why.author,
        reason: why.reason,
        command: Command::Flood(act),
    };
    let view = with_session(&context, async |session| session.correct(&correction).await).await?;
    let view = applied(view)?;
    context.output.show(&view, |view| {
        format!("done by correction {}", view.sequence)
    })
}

async fn alarms(args: ListArgs, context: Context) -> anyhow::Result<()> {
    let limit = usize::try_from(args.limit)?;
    let page = with_session(&context, async |session| {
        session.alarms(args.cursor.as_deref(), limit).await
    })
    .await?;
    let list = AlarmList {
        items: page.items,
        next: page.next,
    };
    context.output.show(&list, |list| {
        if list.items.is_empty() {
            return "no alarms".to_owned();
        }
        let mut table = Table::new(["number", "cluster", "what", "when", "seen by"]);
        for alarm in &list.items {
            let seen = alarm.acknowledged.as_ref();
            table.row([
                alarm.sequence.to_string(),
                alarm.cluster.clone(),
                alarm.what.in_words(),
                moment(alarm.time_ms),
                seen.map_or("nobody", |seen| &seen.author).to_owned(),
            ]);
        }
        with_next(table.to_string(), list.next.as_deref())
    })
}

async fn held(args: HeldArgs, context: Context) -> anyhow::Result<()> {
    let cluster = parse_id(args.cluster)?;
    let limit = usize::try_from(args.list.limit)?;
    let page = with_session(&context, async |session| {
        session
            .held(&cluster, args.list.cursor.as_deref(), limit)
            .await
    })
    .await?;
    let list = HeldList {
        items: page.items,
        next: page.next,
    };
    context.output.show(&list, |list| {
        if list.items.is_empty() {
            return "nothing is held".to_owned();
        }
        let mut table = Table::new(["image", "score", "when"]);
        for held in &list.items {
            table.row([
                held.id.clone(),
                format!("{:.4}", held.score),
                moment(held.held_ms),
            ]);
        }
        with_next(table.to_string(), list.next.as_deref())
    })
}
