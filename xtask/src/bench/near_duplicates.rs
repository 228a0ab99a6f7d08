//! `cargo xtask bench near-duplicates`: copies and hard negatives, by likeness and by its peers on the same files.
//!
//! `likeness eval near-duplicates --write` makes the files, the peers make hashes of them, and a second run of the
//! command judges all by the same pairs. Photos are the sample sets; those of one family count as neither
//! copies nor strangers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use super::python;
use crate::{process, report, workspace};

const PULL_LIMIT: Duration = Duration::from_secs(30 * 60);
const RUN_LIMIT: Duration = Duration::from_secs(3 * 60 * 60);
/// The peers' hashes that are compared.
const METHODS: [&str; 2] = ["phash", "dhash"];
/// Sample set whose photos show a few scenes from several sides.
const SCENES: &str = "interiors";

/// What to evaluate.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Lists of edits
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LISTS",
        default_value = "standard,extreme"
    )]
    lists: Vec<String>,
    /// Sample sets of photos; those that the built-in scorer was not fitted on, and four photos that it was
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAMES",
        default_value = "nature,ukui,wallpapers-16,wallpapers-20"
    )]
    sets: Vec<String>,
    /// Most photos of all sets together
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Synthetic embeddings that every photo and copy is compared with besides
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    distractors: u64,
    /// Which views are compared, as `dedup.views`
    #[arg(long, value_name = "VIEWS", default_value = "regions+inverted")]
    views: String,
    /// Scorer to evaluate [default: the built-in one]
    #[arg(long, value_name = "FILE")]
    scorer: Option<PathBuf>,
    /// Folder for the reports
    #[arg(long, value_name = "DIR", default_value = "docs/benchmarks")]
    out: PathBuf,
    /// Least share of copies to be found at a false-positive rate of a millionth, by list
    #[arg(long, value_delimiter = ',', value_name = "SHARES")]
    require: Vec<f64>,
}

/// Evaluates and returns the reports' main figures.
///
/// # Errors
/// If something cannot be had or run, or less is found than required.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let binary = match std::env::var_os("LIKENESS_BINARY") {
        Some(binary) => PathBuf::from(binary),
        None => workspace::build_likeness_release()?,
    };
    let bench = Bench {
        models: workspace::models(&binary)?,
        samples: workspace::cache()?.join("samples"),
        binary,
        arguments,
    };
    bench.pull()?;
    std::fs::create_dir_all(&arguments.out).context("making the folder of the reports")?;
    let mut figures = Vec::new();
    let mut missed = None;
    for (idx, list) in arguments.lists.iter().enumerate() {
        report::line(&format!("list `{list}`"));
        let evaluated = bench.evaluate(list)?;
        let own = &evaluated["side_by_side"]["contenders"][0];
        let at_a_millionth = at(own, 1e-6);
        if let Some(&required) = arguments.require.get(idx)
            && at_a_millionth.is_none_or(|share| share < required)
        {
            missed = Some(format!(
                "{list}: {at_a_millionth:?} found, {required} required"
            ));
        }
        figures.push(json!({
            "list": list,
            "photos": evaluated["pictures"],
            "found_at_1e-6": at_a_millionth,
            "found": evaluated["recall"],
            "strangers_joined": evaluated["false_positives"],
            "crowd": evaluated["crowd"],
            "hard_negatives": evaluated["hard_negatives"]["pairs"],
            "pair_f1": evaluated["clusters"]["pair_f1"],
            "bcubed_f1": evaluated["clusters"]["bcubed_f1"],
        }));
    }
    let figures = json!({"lists": figures});
    if let Some(missed) = missed {
        report::figures(&figures);
        bail!(missed);
    }
    Ok(figures)
}

/// The share that a contender finds at a rate of false positives.
fn at(contender: &Value, fpr_target: f64) -> Option<f64> {
    let points = contender["points"].as_array()?;
    let point = points
        .iter()
        .find(|point| point["fpr_target"].as_f64() == Some(fpr_target))?;
    let (count, total) = (
        point["found"]["count"].as_f64()?,
        point["found"]["total"].as_f64()?,
    );
    Some(count / total)
}

struct Bench<'a> {
    binary: PathBuf,
    models: PathBuf,
    samples: PathBuf,
    arguments: &'a Arguments,
}

impl Bench<'_> {
    fn pull(&self) -> anyhow::Result<()> {
        let mut pull = Command::new(&self.binary);
        pull.args(["samples", "pull", SCENES])
            .args(&self.arguments.sets)
            .arg("--into")
            .arg(&self.samples);
        process::run(pull, PULL_LIMIT)
    }

    fn evaluate(&self, list: &str) -> anyhow::Result<Value> {
        let folder = tempfile::tempdir().context("making a folder")?;
        let pictures = folder.path().join("pictures");
        let mut write = self.command(list);
        write.arg("--write").arg(&pictures);
        process::run(write, RUN_LIMIT)?;
        let mut hash = python::script("imagededup", "peer_imagededup.py")?;
        hash.arg(&pictures)
            .arg(folder.path())
            .arg("--methods")
            .args(METHODS);
        process::run(hash, RUN_LIMIT)?;
        let mut evaluate = self.command(list);
        for method in METHODS {
            let file = folder.path().join(method).with_extension("json");
            evaluate.arg("--hashes").arg(file);
        }
        let distractors = self.arguments.distractors.to_string();
        evaluate.args(["--json", "--distractors", &distractors]);
        let output = process::output(evaluate, RUN_LIMIT)?;
        if !output.success {
            bail!("`likeness eval near-duplicates` failed: {}", output.stderr);
        }
        let report = self
            .arguments
            .out
            .join(format!("near-duplicates-{list}.json"));
        std::fs::write(&report, &output.stdout)
            .with_context(|| format!("writing {}", report.display()))?;
        serde_json::from_str(&output.stdout).context("a report that is not JSON")
    }

    fn command(&self, list: &str) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(["eval", "near-duplicates", "--list", list, "--negatives"])
            .arg("--same-scene")
            .arg(self.samples.join(SCENES))
            .arg("--families")
            .arg(families())
            .env("LIKENESS_MODELS", &self.models)
            .env("LIKENESS__DEDUP__VIEWS", &self.arguments.views);
        for set in &self.arguments.sets {
            command.arg("--photos").arg(self.samples.join(set));
        }
        if let Some(limit) = self.arguments.limit {
            command.args(["--limit", &limit.to_string()]);
        }
        if let Some(scorer) = &self.arguments.scorer {
            command.arg("--scorer").arg(scorer);
        }
        command
    }
}

fn families() -> PathBuf {
    workspace::root().join(Path::new("crates/likeness/src/samples/families.toml"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::at;

    #[test]
    fn a_share_is_read_at_its_rate() {
        let contender = json!({"points": [
            {"fpr_target": 0.0, "found": {"count": 1, "total": 4}},
            {"fpr_target": 1e-6, "found": {"count": 3, "total": 4}},
        ]});
        assert_eq!(at(&contender, 1e-6), Some(0.75));
        assert_eq!(at(&contender, 1e-5), None);
    }
}
