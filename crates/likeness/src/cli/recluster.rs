use clap::Args;
use likeness_engine::dedup::recluster::Reclustering;

use super::Context;
use crate::error::Refusal;
use crate::output::{Table, count};
use crate::session::{Session, with_session};

/// Arguments of `likeness recluster`.
#[derive(Debug, Args)]
#[command(after_help = "\
Sorts all images anew into clusters that do not depend on the order in which they came, keeping what
corrections ask for, and shows what that would change. Changes nothing; takes a search for each image.

Examples:
  likeness recluster
  likeness recluster --json | jq '.moves[] | .id'")]
pub(crate) struct ReclusterArgs {}

pub(crate) async fn run(ReclusterArgs {}: ReclusterArgs, context: Context) -> anyhow::Result<()> {
    let found = with_session(&context, async |session| match session {
        Session::Local(dedup) => Ok(dedup.recluster().await?),
        Session::Remote(_) => Err(Refusal::Unavailable.because(
            "a server has the data open; stop it first: this reads every image".to_owned(),
        )),
    })
    .await?;
    context.output.show(&found, describe)
}

fn describe(found: &Reclustering) -> String {
    let summary = format!(
        "{} images, {} pairs that score enough\n{} clusters now, {} then; {} images would move",
        count(found.images),
        count(found.pairs),
        count(found.clusters_now),
        count(found.clusters_then),
        count(found.moved),
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
