//! `cargo xtask pins-reports`: whether the reports say what an independent computation says, on emulated posts of a fixed seed.
//!
//! The other computation is a script of Python's standard library alone: it reads the lake's list and raw lines from the disk,
//! cleans them with code of its own, and counts.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::http::Client;
use crate::process::{self, Server, ServerOptions};
use crate::{report, workspace};

const SCRIPT: &str = include_str!("independent.py");
const CALL: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(600);
/// How long the lake may take to hold all events.
const DRAIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(200);
/// Tables that together hold every event once.
const TABLES: [&str; 4] = [
    "pins_versions",
    "geolocations_versions",
    "users_versions",
    "pins_rejected",
];

/// What is posted.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Pins, each with its geolocation and its user
    #[arg(long, default_value_t = 20_000)]
    pub(crate) pins: u32,
    /// Seed of the emulator
    #[arg(long, default_value_t = 5)]
    pub(crate) seed: u64,
}

/// Compares.
///
/// # Errors
/// If a report says something else, or something cannot be run.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let binary = workspace::build_likeness()?;
    let models = workspace::models(&binary)?;
    let temporary = tempfile::tempdir().context("making a folder")?;
    let data = temporary.path().join("data");
    let server = Server::start(&ServerOptions {
        binary: binary.clone(),
        models,
        data: data.clone(),
        environment: Vec::new(),
    })?;
    let likeness = |arguments: &[&str]| {
        let mut command = Command::new(&binary);
        command.args(arguments).args(["--server", server.url()]);
        said(command)
    };
    let (pins, seed) = (arguments.pins.to_string(), arguments.seed.to_string());
    // The second time a part of the pins comes again, as later versions.
    let again = (arguments.pins / 4).max(1).to_string();
    let mut accepted = 0;
    for count in [&pins, &again] {
        let said = likeness(&[
            "emulate", "--json", "--rate", "5000", "--count", count, "--seed", &seed, "--dirty",
            "20%", "--late", "10%",
        ])?;
        let said: Value = serde_json::from_str(&said).context("`emulate --json`")?;
        accepted += said["accepted"]
            .as_u64()
            .context("`emulate` tells no count")?;
    }
    wait(&server, accepted)?;
    let mut found = serde_json::Map::new();
    let listed = likeness(&["pins", "report", "--json"])?;
    for name in names(&listed)? {
        let said = likeness(&["pins", "report", &name, "--format", "json"])?;
        let answer: Value = serde_json::from_str(&said).context("a report")?;
        found.insert(name, answer["rows"].clone());
    }
    let script = temporary.path().join("independent.py");
    std::fs::write(&script, SCRIPT).context("writing the script")?;
    let mut python = Command::new("python3");
    python.arg(&script).arg(data.join("objects"));
    let expected: Value = serde_json::from_str(&said(python)?)?;
    server.stop()?;

    ensure!(
        expected["events"] == accepted,
        "the script found {} events of {accepted}",
        expected["events"]
    );
    let mut rows = 0;
    for (name, wanted) in expected["reports"]
        .as_object()
        .context("the script's answer")?
    {
        let said = found
            .get(name)
            .with_context(|| format!("there is no report `{name}`"))?;
        ensure!(
            said == wanted,
            "`{name}` says {said}, and the script {wanted}"
        );
        let count = wanted.as_array().map_or(0, Vec::len);
        ensure!(count > 0, "`{name}` says nothing");
        report::note(&format!("{name}: {count} rows, the same in both"));
        rows += count;
    }
    ensure!(found.len() == 7, "there are {} reports", found.len());
    Ok(json!({
        "pins": arguments.pins,
        "seed": arguments.seed,
        "events": accepted,
        "rejected": expected["rejected"],
        "reports": found.len(),
        "rows": rows,
        "differing": 0,
    }))
}

/// Returns what a command prints.
fn said(command: Command) -> anyhow::Result<String> {
    let shown = format!("{command:?}");
    let output = process::output(command, LIMIT)?;
    ensure!(output.success, "{shown}: {}", output.stderr);
    Ok(output.stdout)
}

fn query(client: &Client, sql: &str) -> anyhow::Result<Value> {
    let body = json!({"sql": sql}).to_string().into_bytes();
    let headers = [("content-type", "application/json")];
    let answer = client.send("POST", "/v1/sql", &headers, body)?;
    ensure!(answer.status == 200, "{sql}: {}", answer.excerpt());
    answer.json()
}

/// Waits until the lake has every event once.
fn wait(server: &Server, accepted: u64) -> anyhow::Result<()> {
    let client = server.client(CALL);
    let counts = TABLES.map(|table| format!("SELECT count(*) AS n FROM {table}"));
    let sql = format!("SELECT sum(n) FROM ({})", counts.join(" UNION ALL "));
    let begun = Instant::now();
    loop {
        let answer = query(&client, &sql)?;
        let rows = answer["rows"][0][0].as_u64();
        if rows == Some(accepted) {
            return Ok(());
        }
        if begun.elapsed() > DRAIN {
            bail!(
                "the lake has {rows:?} events of {accepted}: {}",
                server.log_tail()
            );
        }
        thread::sleep(POLL);
    }
}

fn names(listed: &str) -> anyhow::Result<Vec<String>> {
    let listed: Value = serde_json::from_str(listed).context("`pins report --json`")?;
    let items = listed["reports"]
        .as_array()
        .or_else(|| listed["items"].as_array());
    let items = items
        .or_else(|| listed.as_array())
        .context("no list of reports")?;
    let name = |item: &Value| item["name"].as_str().map(str::to_owned);
    Ok(items.iter().filter_map(name).collect())
}
