//! `cargo xtask scorer`: the built-in scorer, fitted again from the sample sets.
//!
//! Everything that the fit depends on is fixed: packages by digest, families by a file, the seed. The
//! file that comes out is the built-in one, but for its date.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::{process, report, workspace};

const PULL_LIMIT: Duration = Duration::from_secs(30 * 60);
const FIT_LIMIT: Duration = Duration::from_secs(60 * 60);
/// The day that the data was fixed.
const SEED: &str = "20261122";
/// Stickers are many, and small: copies of some say enough.
const STICKER_COPIES_EVERY: &str = "5";
/// Sets that the trees are not fitted on: what they do is measured on these.
const HELD_OUT_SETS: [&str; 3] = ["nature", "ukui", "wallpapers-16"];
/// Pictures that the trees are not fitted on: three fifths of the rooms, for the same reason, and four stickers of
/// five, for time.
const HELD_OUT_PICTURES: [&str; 3] = [
    "interiors/pexels-[1-46km]*",
    "interiors/pexels-cup-of-couple-6*",
    "stickers/*[1-35-79abd-f].webp",
];

/// How to fit.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Least share of held-out copies of photos that are to be found
    #[arg(long, value_name = "SHARE", default_value_t = 0.97)]
    require: f64,
    /// What to fit: the regression that is built in, or two stages of trees, with pictures held out to evaluate on
    #[arg(long, value_enum, default_value_t = Form::Logistic)]
    form: Form,
    /// File to write [default: `scorer.json` in the build folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Sample sets of photos to do without, to evaluate on them
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    without: Vec<String>,
    /// Name the N pairs of strangers of each kind that score highest
    #[arg(long, value_name = "N", default_value_t = 0)]
    hardest: usize,
}

/// What is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Trees,
    Logistic,
}

impl Form {
    fn arguments(self) -> Vec<&'static str> {
        match self {
            Self::Logistic => vec!["--form", "logistic", "--revision", "3"],
            Self::Trees => {
                let fixed = [
                    "--form",
                    "trees",
                    "--revision",
                    "4",
                    "--copies-every",
                    "2",
                    "--soft-every",
                    "2",
                    "--drawn",
                    "16",
                    "--min-cosine",
                    "0.25",
                    "--fpr",
                    "1e-7",
                ];
                let left_out = HELD_OUT_PICTURES
                    .iter()
                    .flat_map(|glob| ["--leave-out", glob]);
                fixed.into_iter().chain(left_out).collect()
            }
        }
    }
}

/// Obtains the sets, fits, and returns what `likeness train scorer` says.
///
/// # Errors
/// If a set cannot be had, the fit fails, or finds fewer copies than required.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let binary = match std::env::var_os("LIKENESS_BINARY") {
        Some(binary) => PathBuf::from(binary),
        None => workspace::build_likeness_release()?,
    };
    let models = workspace::models(&binary)?;
    let samples = workspace::cache()?.join("samples");
    let listed = answer(&binary, &["samples", "list", "--json"], PULL_LIMIT, |_| {})?;
    let listed = listed.as_array().context("the sets are no list")?;
    let names: Vec<&str> = listed
        .iter()
        .filter_map(|set| set["name"].as_str())
        .collect();
    // By name, so that a set that cannot be had is an error.
    let pull = [&["samples", "pull", "--json"], &*names].concat();
    let pulled = answer(&binary, &pull, PULL_LIMIT, |command| {
        command.arg("--into").arg(&samples);
    })?;

    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => workspace::target()?.join("scorer.json"),
    };
    let hardest = arguments.hardest.to_string();
    let mut fit = vec![
        "train",
        "scorer",
        "--json",
        "--seed",
        SEED,
        "--hardest",
        &hardest,
    ];
    fit.extend(arguments.form.arguments());
    let trained = answer(&binary, &fit, FIT_LIMIT, |command| {
        for set in pulled["sets"].as_array().into_iter().flatten() {
            let name = set["name"].as_str().unwrap_or_default();
            let is_held_out = arguments.form == Form::Trees && HELD_OUT_SETS.contains(&name);
            if is_held_out || arguments.without.iter().any(|without| without == name) {
                continue;
            }
            let kind = if set["kind"] == "stickers" {
                "--stickers"
            } else {
                "--photos"
            };
            command.arg(kind).arg(samples.join(name));
        }
        let families = workspace::root().join("crates/likeness/src/samples/families.toml");
        command
            .arg("--families")
            .arg(families)
            .args(["--sticker-copies-every", STICKER_COPIES_EVERY, "--out"])
            .arg(&out)
            .env("LIKENESS_MODELS", &models);
    })?;
    let recall = match arguments.form {
        Form::Logistic => &trained["photos_held_out"]["recall"],
        Form::Trees => &trained["manifest"]["figures"][0]["held_out"]["recall"],
    };
    let recall = recall.as_f64();
    let recall = recall.context("the fit tells no recall of photos")?;
    if recall < arguments.require {
        report::figures(&trained);
        bail!(
            "{recall} of the held-out copies of photos are found, {} are required",
            arguments.require
        );
    }
    Ok(json!({"required": arguments.require, "fit": trained}))
}

/// Runs a command of the binary and reads its answer.
fn answer(
    binary: &std::path::Path,
    arguments: &[&str],
    limit: Duration,
    complete: impl FnOnce(&mut Command),
) -> anyhow::Result<Value> {
    let mut command = Command::new(binary);
    command.args(arguments);
    complete(&mut command);
    let output = process::output(command, limit)?;
    if !output.success {
        bail!(
            "`likeness {}` ended with {:?}: {}",
            arguments[..2].join(" "),
            output.code,
            output.stderr
        );
    }
    serde_json::from_str(output.stdout.trim()).context("reading the answer of likeness")
}
