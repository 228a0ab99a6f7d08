use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use crate::output::Output;

/// Arguments of `likeness completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  likeness completions bash > ~/.local/share/bash-completion/completions/likeness
  likeness completions zsh > \"${fpath[1]}/_likeness\"
  likeness completions fish > ~/.config/fish/completions/likeness.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, output: Output) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "likeness", &mut script);
    output.raw(&String::from_utf8_lossy(&script))
}
