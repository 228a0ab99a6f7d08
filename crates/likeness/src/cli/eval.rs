//! `likeness eval`: how well it works, on pictures of the user's.

mod candidates;
mod near_duplicates;

use clap::{Subcommand, ValueEnum};
use likeness_vision::edits::EditList;

use super::Context;

/// Subcommands of `likeness eval`.
#[derive(Debug, Subcommand)]
pub(crate) enum EvalCommand {
    /// Make copies of photos, send all through the pipeline, and count what was found
    NearDuplicates(near_duplicates::NearDuplicatesArgs),
    /// Make copies of photos, hide them among many others, and count which ones an index finds
    Candidates(candidates::CandidatesArgs),
}

/// A published list of edits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListName {
    /// What people do to pictures every day
    Standard,
    /// What still is recognisable to a person
    Extreme,
}

impl From<ListName> for EditList {
    fn from(name: ListName) -> Self {
        match name {
            ListName::Standard => Self::Standard,
            ListName::Extreme => Self::Extreme,
        }
    }
}

pub(crate) async fn run(command: EvalCommand, context: Context) -> anyhow::Result<()> {
    match command {
        EvalCommand::NearDuplicates(args) => near_duplicates::run(args, context).await,
        EvalCommand::Candidates(args) => candidates::run(args, context).await,
    }
}
