use clap::{Args, Subcommand, ValueEnum};
use likeness_core::ImageId;
use likeness_engine::dedup::{
    JoinSide, JoinView, OrphanCommand, OrphanOutcome, OrphanQuery, OrphanReceipt, OrphanView,
};
use serde::{Deserialize, Serialize};

use super::Context;
use super::image::parse_id;
use crate::error::Refusal;
use crate::output::{Table, count, harmless, moment};
use crate::session::{Session, with_session};

/// Orphans of a page when all of a day are wanted.
const PAGE: usize = 500;

/// Subcommands of `likeness orphans`.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  likeness orphans list --side upload
  likeness orphans retry holiday.jpg --reason \"the embedder was down\"
  likeness orphans retry --day 2026-01-31 --sign --reason \"its embeddings are lost\"
  likeness orphans drop holiday.jpg --reason \"deleted meanwhile\"")]
pub(crate) enum OrphansCommand {
    /// List what has no partner: newest day first
    List(ListArgs),
    /// Look again and wait anew; with `--sign`, compute here what is missing
    Retry(RetryArgs),
    /// Give up: an upload is decided as rejected, embeddings are forgotten
    Drop(DropArgs),
}

/// Which side is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Side {
    /// Uploads without an embedding
    Upload,
    /// Embeddings without an upload
    Embedding,
}

/// Arguments of `likeness orphans list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Those of one day of event time, UTC
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<String>,
    /// Those that lack this kind of embedding
    #[arg(long, value_name = "NAME")]
    kind: Option<String>,
    /// Those of which this side is there
    #[arg(long, value_enum)]
    side: Option<Side>,
    /// Most orphans to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=500))]
    limit: u64,
    /// Continue where an earlier list ended: the `next` that it gave
    #[arg(long, value_name = "TEXT")]
    cursor: Option<String>,
}

/// Which orphans, and why.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Ids of the images
    #[arg(required_unless_present = "day")]
    images: Vec<String>,
    /// All of one day of event time, UTC
    #[arg(long, value_name = "YYYY-MM-DD", conflicts_with = "images")]
    day: Option<String>,
    /// Why; kept in the journal
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who wants it [default: $USER]
    #[arg(long, value_name = "NAME", env = "USER", hide_env = true)]
    author: String,
}

/// Arguments of `likeness orphans retry`.
#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    which: Which,
    /// Compute the missing embeddings here; their kinds must be of the model that runs here
    #[arg(long)]
    sign: bool,
}

/// Arguments of `likeness orphans drop`.
#[derive(Debug, Args)]
pub(crate) struct DropArgs {
    #[command(flatten)]
    which: Which,
}

/// A page of orphans, as the HTTP interface answers it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OrphanList {
    pub(crate) join: JoinView,
    pub(crate) items: Vec<OrphanView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

pub(crate) async fn run(command: OrphansCommand, context: Context) -> anyhow::Result<()> {
    match command {
        OrphansCommand::List(args) => list(args, context).await,
        OrphansCommand::Retry(args) => {
            let command = OrphanCommand::Retry { sign: args.sign };
            act(args.which, command, context).await
        }
        OrphansCommand::Drop(args) => act(args.which, OrphanCommand::Drop, context).await,
    }
}

async fn list(args: ListArgs, context: Context) -> anyhow::Result<()> {
    let query = OrphanQuery {
        day: args.day,
        kind: args.kind,
        side: args.side.map(|side| match side {
            Side::Upload => JoinSide::Upload,
            Side::Embedding => JoinSide::Embedding,
        }),
        cursor: args.cursor,
        limit: usize::try_from(args.limit)?,
    };
    let found = with_session(&context, async |session| session.orphans(&query).await).await?;
    context.output.show(&found, describe)
}

fn describe(found: &OrphanList) -> String {
    let join = &found.join;
    if join.kinds.is_empty() {
        return "nothing is joined: `dedup.join.kinds` is empty".to_owned();
    }
    let mut text = format!(
        "{} uploads and the embeddings of {} images wait; orphans: {} uploads, embeddings of {} images",
        count(join.waiting_uploads),
        count(join.waiting_embeddings),
        count(join.orphan_uploads),
        count(join.orphan_embeddings),
    );
    if !found.items.is_empty() {
        let mut table = Table::new(["image", "there", "missing", "since"]);
        for orphan in &found.items {
            let (there, missing) = match orphan.side {
                JoinSide::Upload => ("upload".to_owned(), orphan.missing.join(", ")),
                JoinSide::Embedding => (orphan.present.join(", "), "upload".to_owned()),
            };
            let since = moment(orphan.event_time_ms);
            table.row([harmless(&orphan.image), there, missing, since]);
        }
        text.push_str(&format!("\n\n{table}"));
    }
    if let Some(next) = &found.next {
        text.push_str(&format!("\nmore: --cursor '{}'", harmless(next)));
    }
    text
}

async fn act(which: Which, command: OrphanCommand, context: Context) -> anyhow::Result<()> {
    let Which {
        images,
        day,
        reason,
        author,
    } = which;
    let receipts = with_session(&context, async |session| {
        let images: Vec<ImageId> = match &day {
            Some(day) => of_day(session, day).await?,
            None => images.into_iter().map(parse_id).collect::<Result<_, _>>()?,
        };
        if images.is_empty() {
            return Err(Refusal::Missing.because("there are no orphans of that day"));
        }
        let mut receipts = Vec::with_capacity(images.len());
        for image in &images {
            receipts.push(session.orphan(image, command, &author, &reason).await?);
        }
        Ok(receipts)
    })
    .await?;
    context.output.show(&receipts, |receipts| {
        let mut table = Table::new(["image", "outcome"]);
        for receipt in receipts {
            table.row([harmless(&receipt.image), outcome(receipt).to_owned()]);
        }
        table.to_string()
    })
}

/// Returns all orphans of a day. Read before any of them is dealt with, which takes it off the list.
async fn of_day(session: &Session, day: &str) -> anyhow::Result<Vec<ImageId>> {
    let mut query = OrphanQuery {
        day: Some(day.to_owned()),
        limit: PAGE,
        ..OrphanQuery::default()
    };
    let mut images = Vec::new();
    loop {
        let page = session.orphans(&query).await?;
        for orphan in page.items {
            images.push(parse_id(orphan.image)?);
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return Ok(images),
        }
    }
}

fn outcome(receipt: &OrphanReceipt) -> &'static str {
    match receipt.outcome {
        Some(OrphanOutcome::Joined) => "joined",
        Some(OrphanOutcome::Waiting) => "waits",
        Some(OrphanOutcome::Dropped) => "given up",
        Some(OrphanOutcome::Nothing) => "was not waiting any more",
        None => "accepted",
    }
}
