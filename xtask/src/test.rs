//! `cargo xtask test`: every check of the project, from a clean clone on. What CI runs.
//!
//! A failed section does not stop the others. The last line is `N passed, N failed`, the one before
//! it the same as JSON with the time of each section.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::postgres::Postgres;
use crate::report;
use crate::workspace::{self, cargo};
use crate::{browser, crash, deny, hostile, pins_reports, process, rest, setup};

const BUILD_LIMIT: Duration = Duration::from_secs(50 * 60);
const DEMO_LIMIT: Duration = Duration::from_secs(10 * 60);
/// Kills of the crash harness here, two in three at each fail point in turn; `cargo xtask crash` does more.
const KILLS: usize = 36;
/// Kills while images wait for embeddings.
const KILLS_JOINED: usize = 12;
/// Kills while pins are posted: enough to be killed once at each fail point that they pass.
const KILLS_PINS: usize = 30;
/// Pictures of the demo here.
const DEMO_IMAGES: &str = "120";

/// Which sections.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only these sections
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,
    /// List the sections and stop
    #[arg(long)]
    list: bool,
}

struct Section {
    name: &'static str,
    shows: &'static str,
    run: fn() -> anyhow::Result<Value>,
}

const SECTIONS: &[Section] = &[
    Section {
        name: "setup",
        shows: "system packages are there",
        run: setup_section,
    },
    Section {
        name: "fmt",
        shows: "the code is formatted",
        run: fmt,
    },
    Section {
        name: "deny",
        shows: "licences and duplicate dependencies",
        run: deny::run,
    },
    Section {
        name: "clippy",
        shows: "no warning in any feature set",
        run: clippy,
    },
    Section {
        name: "unit",
        shows: "unit, property, conformance, snapshot and documentation tests",
        run: unit,
    },
    Section {
        name: "doc",
        shows: "the documentation builds without a warning",
        run: doc,
    },
    Section {
        name: "rest",
        shows: "scenarios and OpenAPI against a real server",
        run: rest_section,
    },
    Section {
        name: "postgres",
        shows: "tables of pins on a PostgreSQL server, suite and scenarios",
        run: postgres,
    },
    Section {
        name: "browser",
        shows: "the pages in a real browser",
        run: browser::run,
    },
    Section {
        name: "demo",
        shows: "a small demo runs to its end",
        run: demo,
    },
    Section {
        name: "hostile",
        shows: "bad input by HTTP and command line",
        run: hostile_section,
    },
    Section {
        name: "reports",
        shows: "reports over pins say what an independent computation says",
        run: reports_section,
    },
    Section {
        name: "simultaneous",
        shows: "near-copies in the same moment, from many clients",
        run: simultaneous_section,
    },
    Section {
        name: "crash",
        shows: "kill -9 while images arrive, and while pins do",
        run: crash_section,
    },
];

/// Runs the sections.
///
/// # Errors
/// If a section that was named does not exist.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    if arguments.list {
        for section in SECTIONS {
            report::line(&format!("{:<12} {}", section.name, section.shows));
        }
        return Ok(ExitCode::SUCCESS);
    }
    for name in &arguments.only {
        if !SECTIONS.iter().any(|section| section.name == name) {
            bail!("there is no section `{name}`; see `cargo xtask test --list`");
        }
    }
    let mut results = Vec::new();
    let mut num_failed = 0;
    for section in SECTIONS {
        let is_wanted =
            arguments.only.is_empty() || arguments.only.iter().any(|name| name == section.name);
        if !is_wanted {
            continue;
        }
        report::line(&format!("── {}: {}", section.name, section.shows));
        let started = Instant::now();
        let outcome = (section.run)();
        let seconds = started.elapsed().as_secs_f64();
        let passed = outcome.is_ok();
        let figures = match outcome {
            Ok(figures) => figures,
            Err(error) => {
                num_failed += 1;
                report::line(&format!("{error:#}"));
                json!({"error": format!("{error:#}")})
            }
        };
        let verdict = if passed { "passed" } else { "FAILED" };
        report::line(&format!("── {}: {verdict} in {seconds:.1} s", section.name));
        results.push(json!({
            "section": section.name,
            "passed": passed,
            "seconds": (seconds * 10.0).round() / 10.0,
            "figures": figures,
        }));
    }
    let num_passed = results.len() - num_failed;
    report::figures(&json!({
        "passed": num_passed,
        "failed": num_failed,
        "sections": results,
    }));
    report::line(&format!("{num_passed} passed, {num_failed} failed"));
    Ok(if num_failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn setup_section() -> anyhow::Result<Value> {
    setup::run_for_tests()?;
    Ok(Value::Null)
}

fn fmt() -> anyhow::Result<Value> {
    process::run(cargo(&["fmt", "--all", "--check"])?, BUILD_LIMIT)?;
    Ok(Value::Null)
}

/// Arguments that select each set of features worth checking, from the manifests themselves: the
/// default, every crate without its default features, and all features at once. Always over the whole workspace where
/// features are added, so that dependencies keep the features (and the build outputs) that they have everywhere else.
fn feature_sets(metadata: &Value) -> anyhow::Result<Vec<Vec<String>>> {
    let to_words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let mut sets: Vec<Vec<String>> = vec![to_words(&["--workspace"])];
    let members = metadata["workspace_members"]
        .as_array()
        .context("no members")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    for package in packages
        .iter()
        .filter(|package| members.contains(&package["id"]))
    {
        let name = package["name"].as_str().context("a package without name")?;
        let features = package["features"].as_object().context("no features")?;
        let defaults = features.get("default").and_then(Value::as_array);
        let defaults = defaults.map(Vec::as_slice).unwrap_or_default();
        if !defaults.is_empty() {
            sets.push(to_words(&["-p", name, "--no-default-features"]));
        }
    }
    sets.push(to_words(&["--workspace", "--all-features"]));
    Ok(sets)
}

fn clippy() -> anyhow::Result<Value> {
    let sets = feature_sets(&workspace::metadata(&["--no-deps"])?)?;
    let mut failures = Vec::new();
    for set in &sets {
        let mut command = cargo(&["clippy", "--quiet", "--all-targets"])?;
        command.args(set).args(["--", "-D", "warnings"]);
        let started = Instant::now();
        if process::run(command, BUILD_LIMIT).is_err() {
            failures.push(set.join(" "));
        }
        let seconds = started.elapsed().as_secs();
        report::line(&format!("  clippy {} ({seconds} s)", set.join(" ")));
    }
    if !failures.is_empty() {
        bail!("clippy fails with {}", failures.join("; "));
    }
    Ok(json!({"feature_sets": sets.len()}))
}

fn unit() -> anyhow::Result<Value> {
    // The suites that need models must find them, or fail.
    let binary = workspace::build_likeness()?;
    let models = workspace::models(&binary)?;
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast"])?;
    command
        .env("LIKENESS_MODELS", &models)
        .env("LIKENESS_REQUIRE_MODELS", "1");
    process::run(command, BUILD_LIMIT)?;
    Ok(Value::Null)
}

fn doc() -> anyhow::Result<Value> {
    let mut command = cargo(&[
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ])?;
    command.env("RUSTDOCFLAGS", "-D warnings");
    process::run(command, BUILD_LIMIT)?;
    Ok(Value::Null)
}

fn rest_section() -> anyhow::Result<Value> {
    rest::run(&rest::Arguments::all())
}

/// Tables on PostgreSQL: the conformance suite against a server that is started here, and the scenarios of pins with their
/// tables on it.
///
/// # Errors
/// If the server cannot be started, or a check fails.
pub(crate) fn postgres() -> anyhow::Result<Value> {
    let postgres = Postgres::start()?;
    let binary = workspace::build_likeness_all_features()?;
    let arguments = [
        "test",
        "--workspace",
        "--all-features",
        "--test",
        "postgres",
    ];
    let mut suite = cargo(&arguments)?;
    suite.env("LIKENESS_TEST_POSTGRES", postgres.database("suite")?);
    process::run(suite, BUILD_LIMIT)?;
    rest::run_with(&binary, Some("pins"), &|number| {
        let url = postgres.database(&format!("rest_{number}"))?;
        Ok(vec![("LIKENESS__PINS__TABLES".to_owned(), url)])
    })
}

fn hostile_section() -> anyhow::Result<Value> {
    hostile::run(&hostile::Arguments::default())
}

fn reports_section() -> anyhow::Result<Value> {
    pins_reports::run(&pins_reports::Arguments {
        pins: 5_000,
        seed: 5,
    })
}

fn simultaneous_section() -> anyhow::Result<Value> {
    crash::simultaneous::run(&crash::simultaneous::Arguments {
        families: 8,
        clients: 8,
        seed: 1,
    })
}

fn crash_section() -> anyhow::Result<Value> {
    let run = |kills, join, pins| {
        crash::run(&crash::Arguments {
            kills,
            seed: 1,
            join,
            pins,
            keep: None,
        })
    };
    Ok(json!({
        "alone": run(KILLS, false, false)?,
        "with_embeddings": run(KILLS_JOINED, true, false)?,
        "pins": run(KILLS_PINS, false, true)?,
    }))
}

/// The demo as a newcomer sees it, with few pictures and an end.
fn demo() -> anyhow::Result<Value> {
    let binary = workspace::build_likeness()?;
    let models = workspace::models(&binary)?;
    let temporary = tempfile::tempdir().context("making a folder")?;
    let mut command = std::process::Command::new(&binary);
    command
        .args(["demo", "--exit", "--json", "--images", DEMO_IMAGES])
        .args(["--port", "0", "--data-dir"])
        .arg(temporary.path().join("demo"))
        .env("LIKENESS_MODELS", &models);
    let output = process::output(command, DEMO_LIMIT)?;
    if !output.success {
        bail!("the demo ended with {:?}: {}", output.code, output.stderr);
    }
    let summary: Value =
        serde_json::from_str(output.stdout.trim()).context("reading the demo's summary")?;
    if summary["images"].as_u64().unwrap_or(0) == 0
        || summary["overview"]["clusters"].as_u64().unwrap_or(0) == 0
    {
        bail!("the demo's summary has no images or no clusters: {summary}");
    }
    let candidates = candidates(&binary, &models, &temporary.path().join("demo/samples"))?;
    Ok(json!({"demo": summary, "candidates": candidates}))
}

/// Recall of the index's candidates on the demo's photos, among few strangers.
fn candidates(binary: &Path, models: &Path, samples: &Path) -> anyhow::Result<Value> {
    let mut command = std::process::Command::new(binary);
    command.args(["eval", "candidates"]);
    for set in ["nature", "wallpapers-16", "wallpapers-20"] {
        command.arg("--photos").arg(samples.join(set));
    }
    command
        .args([
            "--limit",
            "12",
            "--distractors",
            "20000",
            "--scheme",
            "cells",
        ])
        .args(["--require", "0.99", "--json"])
        .env("LIKENESS_MODELS", models);
    let output = process::output(command, DEMO_LIMIT)?;
    if !output.success {
        bail!(
            "the evaluation of candidates ended with {:?}: {}",
            output.code,
            output.stderr
        );
    }
    let last = output.stdout.trim().lines().last().unwrap_or_default();
    serde_json::from_str(last).context("reading the figures of the evaluation")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{SECTIONS, feature_sets};

    #[test]
    fn feature_sets_are_the_default_none_and_all() {
        let metadata = json!({
            "workspace_members": ["a", "b"],
            "packages": [
                {"id": "a", "name": "a", "features": {"default": ["x"], "x": [], "y": []}},
                {"id": "b", "name": "b", "features": {}},
                {"id": "other", "name": "other", "features": {"z": []}},
            ],
        });
        let sets: Vec<String> = feature_sets(&metadata)
            .unwrap()
            .iter()
            .map(|set| set.join(" "))
            .collect();
        assert_eq!(
            sets,
            [
                "--workspace",
                "-p a --no-default-features",
                "--workspace --all-features"
            ]
        );
    }

    #[test]
    fn sections_have_names_of_their_own() {
        let mut names: Vec<&str> = SECTIONS.iter().map(|section| section.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SECTIONS.len());
    }
}
