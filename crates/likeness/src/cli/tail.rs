use clap::{Args, Subcommand};
use likeness_engine::dedup::Dedup;
use likeness_engine::dedup::view::DecisionEvent;

use super::Context;
use super::image::sentence;
use crate::client::{Client, EventsFrom};
use crate::output::{Output, harmless, moment};
use crate::session::{Session, with_session};

/// Decisions read at a time.
const BATCH: usize = 256;

/// Subcommands of `likeness tail`.
#[derive(Debug, Subcommand)]
pub(crate) enum TailCommand {
    /// Print decisions, one a line, and follow them while a server runs
    Decisions(DecisionsArgs),
}

/// Arguments of `likeness tail decisions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a server nothing can be added, so the command ends at the last decision.

Examples:
  likeness tail decisions
  likeness tail decisions --from beginning --json > decisions.jsonl
  likeness tail decisions --from 4711 --limit 100")]
pub(crate) struct DecisionsArgs {
    /// Where to begin: `beginning`, `latest`, or an offset that was printed before
    #[arg(long, value_name = "PLACE", default_value_t = EventsFrom::Latest)]
    from: EventsFrom,
    /// End after so many decisions
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

pub(crate) async fn run(command: TailCommand, context: Context) -> anyhow::Result<()> {
    let TailCommand::Decisions(args) = command;
    with_session(&context, async |session| match session {
        Session::Remote(client) => {
            let follow = follow(client.clone(), args, context.output);
            tokio::select! {
                () = context.stop.cancelled() => Ok(()),
                outcome = follow => outcome,
            }
        }
        Session::Local(dedup) => read_to_end(dedup, &args, context.output).await,
    })
    .await
}

async fn follow(client: Client, args: DecisionsArgs, output: Output) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || {
        let mut remaining = args.limit.unwrap_or(u64::MAX);
        client.follow_decisions(args.from, &mut |event| {
            output.show(&event, describe)?;
            remaining -= 1;
            Ok(remaining > 0)
        })
    })
    .await?
}

async fn read_to_end(dedup: &Dedup, args: &DecisionsArgs, output: Output) -> anyhow::Result<()> {
    let end = dedup.decisions_end().await?;
    let mut next = match args.from {
        EventsFrom::Beginning => 0,
        EventsFrom::Latest => end,
        EventsFrom::Offset(offset) => offset,
    };
    let mut remaining = args.limit.unwrap_or(u64::MAX);
    while next < end && remaining > 0 {
        let limit = usize::try_from(remaining).unwrap_or(BATCH).min(BATCH);
        let events = dedup.decisions(next, limit).await?;
        let Some(last) = events.last() else {
            break;
        };
        next = last.offset + 1;
        for event in &events {
            output.show(event, describe)?;
        }
        remaining -= events.len() as u64;
    }
    Ok(())
}

fn describe(event: &DecisionEvent) -> String {
    format!(
        "{offset:>8}  {time}  {id}  {verdict}",
        offset = event.offset,
        time = moment(event.decision.decided_ms),
        id = harmless(&event.decision.id),
        verdict = sentence(&event.decision)
    )
}
