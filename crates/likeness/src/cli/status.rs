use clap::Args;
use likeness_engine::dedup::view::Overview;
use serde::Serialize;

use super::Context;
use crate::output::{Table, count};
use crate::session::{Session, with_session};

/// Arguments of `likeness status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  likeness status
  likeness --server http://127.0.0.1:7878 status --json | jq .pending")]
pub(crate) struct StatusArgs {}

#[derive(Debug, Serialize)]
struct Status {
    /// The server that answered; absent if the data directory was opened here.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    data_dir: String,
    #[serde(flatten)]
    overview: Overview,
}

pub(crate) async fn run(_args: StatusArgs, context: Context) -> anyhow::Result<()> {
    let status = with_session(&context, async |session| {
        Ok(Status {
            server: match session {
                Session::Remote(client) => Some(client.url().to_owned()),
                Session::Local(_) => None,
            },
            data_dir: context.data_dir.display().to_string(),
            overview: session.overview().await?,
        })
    })
    .await?;
    context.output.show(&status, describe)
}

fn describe(status: &Status) -> String {
    let overview = &status.overview;
    let place = match &status.server {
        Some(url) => format!("server     {url}"),
        None => format!("data       {} (no server runs)", status.data_dir),
    };
    format!(
        "{place}\n\
         images     {}, {} of them copies\n\
         clusters   {}, {} of two images and more\n\
         rejected   {}\n\
         pending    {}{}\n\
         generation {}\n\
         model      {}\n\
         scorer     {}, threshold {:.4}\n\n{}",
        count(overview.images),
        count(overview.duplicates),
        count(overview.clusters),
        count(overview.duplicate_clusters),
        count(overview.rejected),
        count(overview.pending),
        waiting(overview.waiting),
        overview.generation,
        overview.model,
        overview.scorer,
        overview.threshold,
        stage_table(overview)
    )
}

fn waiting(count_waiting: u64) -> String {
    match count_waiting {
        0 => String::new(),
        _ => format!(", {} more wait for an embedding", count(count_waiting)),
    }
}

/// Sets what the stages have done since the process started.
pub(crate) fn stage_table(overview: &Overview) -> Table {
    let mut table = Table::new([
        "stage",
        "images",
        "per second",
        "seconds in it",
        "ms per image",
    ]);
    for stage in &overview.stages {
        let busy_ms = stage.busy_ms as f64;
        table.row([
            stage.name.clone(),
            count(stage.processed),
            format!("{:.1}", stage.per_second),
            format!("{:.1}", busy_ms / 1e3),
            if stage.processed == 0 {
                "–".to_owned()
            } else {
                format!("{:.2}", busy_ms / stage.processed as f64)
            },
        ]);
    }
    table
}
