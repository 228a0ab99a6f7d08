use clap::Args;
use likeness_core::Sha256;
use likeness_engine::dedup::recluster::{ApplyPlan, Reclustered, Reclustering};

use super::Context;
use crate::error::Refusal;
use crate::output::{Table, count};
use crate::session::with_session;

/// Arguments of `likeness recluster`.
#[derive(Debug, Args)]
#[command(after_help = "\
Sorts all images anew into clusters that do not depend on the order in which they came, keeping
what corrections ask for, and shows what that would change, with the digest of the plan. Takes a
search for each image. With `--apply` and that digest it makes the changes, as corrections that can
be undone; if something has changed since the plan was shown, it refuses. A run that was cut off
goes on with the same command.

Examples:
  likeness recluster
  likeness recluster --json | jq '.moves[] | .id'
  likeness recluster --apply 5f0c… --reason \"after the import\"")]
pub(crate) struct ReclusterArgs {
    /// Apply the plan with this digest
    #[arg(long, value_name = "PLAN", requires = "reason")]
    apply: Option<String>,
    /// Why it is applied; kept
    #[arg(long, value_name = "TEXT", requires = "apply")]
    reason: Option<String>,
    /// Who applies it; kept [default: $USER]
    #[arg(long, value_name = "NAME", env = "USER", hide_env = true)]
    author: Option<String>,
}

pub(crate) async fn run(args: ReclusterArgs, context: Context) -> anyhow::Result<()> {
    let (Some(plan), Some(reason)) = (args.apply, args.reason) else {
        let found = with_session(&context, async |session| session.recluster().await).await?;
        return context.output.show(&found, describe);
    };
    let plan: Sha256 = plan
        .parse()
        .map_err(|error| Refusal::Input.because(format!("`--apply {plan}`: {error}")))?;
    let apply = ApplyPlan {
        plan,
        author: args.author.unwrap_or_else(|| "unknown".to_owned()),
        reason,
    };
    let applied = with_session(&context, async |session| {
        session.apply_reclustering(apply).await
    })
    .await?;
    context.output.show(&applied, describe_applied)
}

fn describe(found: &Reclustering) -> String {
    let summary = format!(
        "{} images, {} pairs that score enough\n{} clusters now, {} then; {} images would move\n\
         plan {}, {} corrections",
        count(found.images),
        count(found.pairs),
        count(found.clusters_now),
        count(found.clusters_then),
        count(found.moved),
        found.plan,
        count(found.steps),
    );
    if found.moves.is_empty() {
        return summary;
    }
    let mut table = Table::new(["image", "cluster now", "head then"]);
    for one in &found.moves {
        table.row([one.id.clone(), one.now.clone(), one.then.clone()]);
    }
    format!("{summary}\n\n{table}")
}

fn describe_applied(applied: &Reclustered) -> String {
    let mut text = format!(
        "{} corrections applied, {} refused",
        count(applied.applied),
        count(applied.refused)
    );
    if let (Some(first), Some(last)) = (applied.first, applied.last) {
        text.push_str(&format!(
            "\nnumbers {first} to {last}: `likeness correct undo`, the last one first, takes them back"
        ));
    }
    for refusal in &applied.refusals {
        text.push_str(&format!("\n  {refusal}"));
    }
    text
}
