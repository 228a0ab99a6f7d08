//! `cargo xtask fuzz`: every fuzz target for a stated time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::hostile::corpus;
use crate::process;
use crate::report;
use crate::setup;
use crate::workspace;

const INSTALL_LIMIT: Duration = Duration::from_secs(20 * 60);
const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);
/// Memory of a fuzzed process, in MiB: a decoder's budget and the sanitizer's own.
const MEMORY_MIB: u32 = 2_560;

/// For how long, and what.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Time for each target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Only these targets
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,
}

/// Runs the targets and returns the executions of each.
///
/// # Errors
/// If one crashes, or there is none.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let folder = workspace::root().join("fuzz");
    let targets = targets(&folder)?;
    let chosen: Vec<&String> = targets
        .iter()
        .filter(|name| arguments.only.is_empty() || arguments.only.contains(name))
        .collect();
    if chosen.is_empty() {
        bail!("no such fuzz target; there are {}", targets.join(", "));
    }
    provide()?;
    let mut executions = Map::new();
    for target in chosen {
        report::line(&format!("fuzzing {target} for {} s", arguments.seconds));
        let limit = BUILD_LIMIT + Duration::from_secs(arguments.seconds);
        let mut command = cargo_fuzz()?;
        command
            .args(["run", "--fuzz-dir"])
            .arg(&folder)
            .arg(target)
            .arg(seeds(target)?)
            .arg("--");
        command.args([
            format!("-max_total_time={}", arguments.seconds),
            format!("-rss_limit_mb={MEMORY_MIB}"),
            "-timeout=20".to_owned(),
            "-print_final_stats=1".to_owned(),
        ]);
        let output = process::output(command, limit)?;
        if !output.success {
            bail!("{target} failed:\n{}", tail(&output.stderr));
        }
        let count = output
            .stderr
            .lines()
            .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
            .and_then(|number| number.trim().parse::<u64>().ok())
            .with_context(|| format!("{target} printed no statistics"))?;
        report::line(&format!("{target}: {count} executions, no failure"));
        executions.insert(target.clone(), json!(count));
    }
    Ok(json!({"seconds_each": arguments.seconds, "executions": executions}))
}

/// Returns the names of the targets: the files of `fuzz/fuzz_targets`.
fn targets(folder: &Path) -> anyhow::Result<Vec<String>> {
    let sources = folder.join("fuzz_targets");
    let mut names = Vec::new();
    for entry in
        std::fs::read_dir(&sources).with_context(|| format!("reading {}", sources.display()))?
    {
        let path = entry.context("reading a folder")?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(stem) = path.file_stem()
        {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Installs the nightly toolchain and cargo-fuzz where they are missing.
fn provide() -> anyhow::Result<()> {
    setup::nightly()?;
    let mut version = workspace::cargo(&["fuzz", "--version"])?;
    version.env_remove("CARGO_TARGET_DIR");
    if !process::output(version, INSTALL_LIMIT)?.success {
        process::run(
            workspace::cargo(&["install", "cargo-fuzz", "--locked"])?,
            INSTALL_LIMIT,
        )?;
    }
    Ok(())
}

/// Returns the folder of inputs of a target, with small files of every format to begin with: random
/// bytes alone hardly get past a signature. What the fuzzer finds interesting is added to it.
fn seeds(target: &str) -> anyhow::Result<PathBuf> {
    const MAX_BYTES: usize = 64 << 10;
    let folder = workspace::target()?.join("fuzz-corpus").join(target);
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    for case in corpus::build() {
        if case.bytes.len() <= MAX_BYTES {
            let path = folder.join(&case.name);
            std::fs::write(&path, &case.bytes)
                .with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(folder)
}

/// Sanitized builds have a target folder of their own.
fn cargo_fuzz() -> anyhow::Result<Command> {
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly", "cargo", "fuzz"])
        .current_dir(workspace::root())
        .env("CARGO_TARGET_DIR", workspace::target()?.join("fuzz"))
        .env_remove("RUSTUP_TOOLCHAIN");
    Ok(command)
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
