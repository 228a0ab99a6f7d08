//! `likeness features`: the registry of pair features, and which scorers read which.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use likeness_engine::dedup::features::{FEATURES, Feature, Tier, index_of, readers};
use likeness_engine::dedup::scorer::Scorer;
use serde::Serialize;

use super::Context;
use crate::error::Refusal;
use crate::output::Table;
use crate::scorer_model::is_model;
use crate::wire;

/// Subcommands of `likeness features`.
#[derive(Debug, Subcommand)]
pub(crate) enum FeaturesCommand {
    /// List what scorers can read of a pair of pictures
    List(ListArgs),
    /// Show a feature, and the scorers that read it
    Show(ShowArgs),
    /// Check that nothing reads a feature any more, before it is retired; refused if a scorer does
    Retire(ShowArgs),
}

/// Arguments of `likeness features list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Further scorer to look for readers in, a file; may be given several times
    #[arg(long, value_name = "FILE")]
    scorer: Vec<PathBuf>,
}

/// Arguments of `likeness features show` and `retire`.
#[derive(Debug, Args)]
#[command(after_help = "\
Looks at the built-in scorer, the configured one, and the files given. A retired feature is left out of new
scorers, and a file that names it is refused. It is retired by its entry in the registry
(`crates/likeness-engine/src/dedup/features.rs`), so with a new version of the program.

Examples:
  likeness features show flat --scorer old.json
  likeness features retire plane_agreement --scorer old.json")]
pub(crate) struct ShowArgs {
    /// Name of the feature
    feature: String,
    /// Further scorer to look for readers in, a file; may be given several times
    #[arg(long, value_name = "FILE")]
    scorer: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Listed {
    #[serde(flatten)]
    feature: Feature,
    readers: Vec<String>,
}

pub(crate) fn run(command: FeaturesCommand, context: &Context) -> anyhow::Result<()> {
    match command {
        FeaturesCommand::List(args) => {
            let scorers = scorers(&args.scorer, context)?;
            let listed: Vec<Listed> = FEATURES
                .iter()
                .map(|feature| listed(*feature, &scorers, context))
                .collect();
            context.output.show(&listed, |listed| table(listed))
        }
        FeaturesCommand::Show(args) => {
            let found = find(&args, context)?;
            context.output.show(&found, describe)
        }
        FeaturesCommand::Retire(args) => {
            let found = find(&args, context)?;
            if !found.readers.is_empty() {
                return Err(Refusal::Input.because(format!(
                    "feature_in_use: `{}` is read by {}; fit scorers without it first",
                    found.feature.name,
                    found.readers.join(", ")
                )));
            }
            context.output.show(&found, |found| {
                format!(
                    "nothing reads `{}`: it can be retired in the registry",
                    found.feature.name
                )
            })
        }
    }
}

fn find(args: &ShowArgs, context: &Context) -> anyhow::Result<Listed> {
    let number = index_of(&args.feature).ok_or_else(|| {
        Refusal::Missing.because(format!(
            "there is no feature `{}`; `likeness features list` names them",
            args.feature
        ))
    })?;
    let scorers = scorers(&args.scorer, context)?;
    Ok(listed(FEATURES[number], &scorers, context))
}

/// Returns the built-in scorers, the configured one unless it is served elsewhere, and those of `files`; each once.
fn scorers(files: &[PathBuf], context: &Context) -> anyhow::Result<Vec<Scorer>> {
    let mut scorers: Vec<Scorer> = Scorer::builtins().collect();
    let configured = &context.config.dedup.scorer;
    let configured = (!is_model(configured)).then(|| Path::new(configured));
    for file in configured
        .into_iter()
        .chain(files.iter().map(PathBuf::as_path))
    {
        let scorer = wire::load_scorer(file)?;
        if !scorers.contains(&scorer) {
            scorers.push(scorer);
        }
    }
    Ok(scorers)
}

fn listed(feature: Feature, scorers: &[Scorer], context: &Context) -> Listed {
    let mut readers = readers(feature.name, scorers);
    let config = &context.config.dedup;
    let is_sent = config
        .scorer_model
        .features
        .iter()
        .any(|it| it == feature.name);
    if is_model(&config.scorer) && is_sent {
        readers.push(config.scorer.clone());
    }
    Listed { feature, readers }
}

fn cost(tier: Tier) -> &'static str {
    match tier {
        Tier::Rows => "row",
        Tier::Look => "look",
    }
}

fn table(listed: &[Listed]) -> String {
    let mut table = Table::new(["feature", "cost", "since", "owner", "read by", "what it is"]);
    for Listed { feature, readers } in listed {
        let readers = if feature.retired {
            "retired".to_owned()
        } else {
            readers.join(", ")
        };
        table.row([
            feature.name.to_owned(),
            cost(feature.tier).to_owned(),
            feature.since.to_string(),
            feature.owner.to_owned(),
            readers,
            feature.unit.to_owned(),
        ]);
    }
    table.to_string()
}

fn describe(found: &Listed) -> String {
    let Listed { feature, readers } = found;
    let readers = if readers.is_empty() {
        "nothing".to_owned()
    } else {
        readers.join(", ")
    };
    format!(
        "feature  {}\nwhat     {}\nowner    {}\nsince    version {} of the built-in scorer\ncost     {}\nread by  {readers}",
        feature.name,
        feature.unit,
        feature.owner,
        feature.since,
        match feature.tier {
            Tier::Rows => "from rows, for every pair",
            Tier::Look => "a close look at the pixels of both, for pairs in doubt",
        },
    )
}
