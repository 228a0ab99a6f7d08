//! Project automation: everything that builds, checks, attacks or measures likeness from the outside.
//!
//! Invariants: every command that starts a server ends it, also when it fails; every wait has a
//! deadline; a command that measures prints one JSON object as its last line; a command that finds a
//! breach exits with a status other than zero. Nothing here links against likeness: the harnesses know
//! it by its binary, its files and its HTTP interface only.

mod bench;
mod browser;
mod crash;
mod deny;
mod formats;
mod fuzz;
mod hostile;
mod http;
mod kernels;
mod pictures;
mod pins_reports;
mod postgres;
mod process;
mod remote_scorer;
mod report;
mod rest;
mod rng;
mod scorer;
mod setup;
mod sqlite;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

/// Builds, checks and measures likeness.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what the build needs from the system's packages, or name it
    Setup,
    /// Run every check of the project; what CI runs
    Test(test::Arguments),
    /// Build in release and run `likeness demo` with the given arguments
    Demo {
        /// Passed on to `likeness demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Kill the server at every fail point and at random while images or pins arrive, and check what it kept
    Crash(crash::Arguments),
    /// Send near-copies in the same moment by many clients, and count their clusters
    Simultaneous(crash::simultaneous::Arguments),
    /// Fill the disk under a running server, give it room again, and check what it kept
    FullDisk(crash::full_disk::Arguments),
    #[command(hide = true)]
    FullDiskInside(crash::full_disk::Inside),
    /// Send hostile files and requests to a real server and to the command line
    Hostile(hostile::Arguments),
    /// Run every fuzz target for a stated time
    Fuzz(fuzz::Arguments),
    /// Run the REST scenarios of `tests/rest` against a real server
    Rest(rest::Arguments),
    /// Drive the pages in a real browser
    Browser,
    /// Measure likeness side by side with its peers
    Bench(bench::Arguments),
    /// Test the index's kernels under emulation, with a sanitizer, and under Miri
    Kernels(kernels::Arguments),
    /// Fit the built-in scorer again, from the sample sets
    Scorer(scorer::Arguments),
    /// Score by a real model server, compare, and kill it in the middle
    RemoteScorer,
    /// Check the tables of pins on a PostgreSQL server of the system's packages
    Postgres,
    /// Check the reports over pins against an independent computation from the raw events
    PinsReports(pins_reports::Arguments),
    /// Check licences and duplicate dependencies against `deny.toml`
    Deny,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            report::note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Test(arguments) => return test::run(&arguments),
        Command::Demo { arguments } => return demo(&arguments),
        Command::Setup => setup::run()?,
        Command::Crash(arguments) => report::figures(&crash::run(&arguments)?),
        Command::Simultaneous(arguments) => {
            report::figures(&crash::simultaneous::run(&arguments)?);
        }
        Command::FullDisk(arguments) => {
            report::figures(&crash::full_disk::run(&arguments)?);
        }
        Command::FullDiskInside(inside) => crash::full_disk::inside(&inside)?,
        Command::Hostile(arguments) => report::figures(&hostile::run(&arguments)?),
        Command::Fuzz(arguments) => report::figures(&fuzz::run(&arguments)?),
        Command::Rest(arguments) => report::figures(&rest::run(&arguments)?),
        Command::Bench(arguments) => report::figures(&bench::run(&arguments)?),
        Command::Kernels(arguments) => report::figures(&kernels::run(&arguments)?),
        Command::Scorer(arguments) => report::figures(&scorer::run(&arguments)?),
        Command::Browser => report::figures(&browser::run()?),
        Command::RemoteScorer => report::figures(&remote_scorer::run()?),
        Command::Postgres => report::figures(&test::postgres()?),
        Command::PinsReports(arguments) => report::figures(&pins_reports::run(&arguments)?),
        Command::Deny => report::figures(&deny::run()?),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the demo in the foreground; its exit status is ours.
fn demo(arguments: &[String]) -> anyhow::Result<ExitCode> {
    setup::run()?;
    let binary = workspace::build_likeness_release()?;
    let status = std::process::Command::new(&binary)
        .arg("demo")
        .args(arguments)
        .status()
        .with_context(|| format!("starting {}", binary.display()))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
