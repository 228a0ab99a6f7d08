use std::path::Path;

use clap::Args;

use crate::config::{Config, DEFAULTS, Overrides, to_toml};
use crate::output::Output;

/// Arguments of `likeness config`.
#[derive(Debug, Args)]
#[command(after_help = "\
Layers, later ones win: built-in < --config FILE < LIKENESS__SECTION__KEY < flags.

Examples:
  likeness config --defaults > likeness.toml
  LIKENESS__DEDUP__MAX_PENDING=1000 likeness --config likeness.toml config")]
pub(crate) struct ConfigArgs {
    /// Print the built-in configuration with its comments instead
    #[arg(long)]
    defaults: bool,
}

pub(crate) fn run(
    args: &ConfigArgs,
    file: Option<&Path>,
    overrides: &Overrides,
    output: Output,
) -> anyhow::Result<()> {
    if args.defaults {
        return output.raw(DEFAULTS);
    }
    let effective = Config::effective(file, overrides)?;
    if output.is_json() {
        return output.json_line(&effective);
    }
    output.raw(&to_toml(&effective)?)
}
