//! The stream of pins into SQL: at which rate it keeps up, how far it falls behind, and whether every event that was
//! acknowledged is there once.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::machine;
use crate::http::Client;
use crate::postgres::Postgres;
use crate::process::{Guard, Server, ServerOptions};
use crate::report;
use crate::workspace;

/// How often the status is asked for.
const POLL: Duration = Duration::from_millis(200);
const CALL: Duration = Duration::from_secs(30);
/// How long the tables may take to hold everything after the last event.
const DRAIN: Duration = Duration::from_secs(15 * 60);

/// What load.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Pins per second, each with its geolocation and its user
    #[arg(long, default_value_t = 5_000)]
    rate: u32,
    /// Seconds of posting
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// Only into these tables
    #[arg(long, value_delimiter = ',', default_values = ["sqlite", "postgres"])]
    tables: Vec<String>,
}

/// Measures.
///
/// # Errors
/// If something cannot be run, or an event that was acknowledged is missing or counted twice.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let binary = workspace::build_likeness_full(true)?;
    let models = workspace::models(&binary)?;
    let temporary = tempfile::tempdir().context("making a folder")?;
    let mut results = serde_json::Map::new();
    for tables in &arguments.tables {
        let (postgres, url) = match tables.as_str() {
            "sqlite" => (None, "sqlite".to_owned()),
            "postgres" => {
                let postgres = Postgres::start()?;
                let url = postgres.database("bench")?;
                (Some(postgres), url)
            }
            other => bail!("there are no tables `{other}`: `sqlite`, `postgres`"),
        };
        let server = Server::start(&ServerOptions {
            binary: binary.clone(),
            models: models.clone(),
            data: temporary.path().join(tables),
            environment: vec![("LIKENESS__PINS__TABLES".to_owned(), url)],
        })?;
        let figures = load(arguments, &binary, &server);
        let figures = figures.with_context(|| format!("into {tables}: {}", server.log_tail()))?;
        report::note(&format!("{tables}: {figures}"));
        server.stop()?;
        drop(postgres);
        results.insert(tables.clone(), figures);
    }
    let command = format!(
        "cargo xtask bench pins --rate {} --seconds {}",
        arguments.rate, arguments.seconds
    );
    let origin = machine::origin(command)?;
    Ok(json!({
        "wanted_rate": arguments.rate,
        "seconds": arguments.seconds,
        "commit": origin.commit,
        "machine": origin.machine,
        "command": origin.command,
        "tables": results,
    }))
}

/// Posts, watches, waits, and counts.
fn load(arguments: &Arguments, binary: &std::path::Path, server: &Server) -> anyhow::Result<Value> {
    let client = server.client(CALL);
    let mut emulate = Command::new(binary);
    emulate
        .args(["emulate", "--json", "--server", server.url()])
        .args(["--rate", &arguments.rate.to_string()])
        .args(["--seconds", &arguments.seconds.to_string()])
        .args(["--dirty", "10%", "--late", "10%"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut emulator = Guard(emulate.spawn().context("starting `likeness emulate`")?);
    let (mut most_records, mut most_seconds) = (0_u64, 0_f64);
    while emulator
        .0
        .try_wait()
        .context("asking for the emulator")?
        .is_none()
    {
        let lag = lag(&client)?;
        // Before the tables are reached, nobody knows.
        if lag.records != u64::MAX {
            most_records = most_records.max(lag.records);
        }
        most_seconds = most_seconds.max(lag.seconds);
        thread::sleep(POLL);
    }
    let ended = Instant::now();
    let at_the_end = lag(&client)?;
    let posted = posted(&mut emulator)?;
    let status = loop {
        let lag = lag(&client)?;
        if lag.records == 0 {
            break lag.status;
        }
        ensure!(
            ended.elapsed() < DRAIN,
            "the stream did not catch up: {}",
            lag.status
        );
        thread::sleep(POLL);
    };
    let caught_up = ended.elapsed().as_secs_f64();
    let rows = check(&client, &posted, &status)?;
    Ok(json!({
        "rate": posted["rate"],
        "events_per_second": posted["accepted"].as_f64().unwrap_or(0.0) / posted["seconds"].as_f64().unwrap_or(1.0),
        "post_p99_ms": posted["p99_ms"],
        "accepted": posted["accepted"],
        "sent_again": posted["retries"],
        "lag_records_max": most_records.max(at_the_end.records),
        "lag_seconds_max": most_seconds.max(at_the_end.seconds),
        "lag_records_at_the_end": at_the_end.records,
        "seconds_until_zero": caught_up,
        "rows": rows,
        "rejected": status["rejected"],
        "late": status["late"],
        "peak_memory_bytes": server.peak_memory(),
    }))
}

struct Lag {
    records: u64,
    seconds: f64,
    status: Value,
}

fn lag(client: &Client) -> anyhow::Result<Lag> {
    let status = client.get_json("/v1/pins/status")?;
    let topics = status["topics"].as_array().context("no topics")?;
    let records = topics.iter().map(|topic| topic["records"].as_u64());
    let seconds = topics.iter().filter_map(|topic| topic["seconds"].as_f64());
    Ok(Lag {
        records: records.sum::<Option<u64>>().unwrap_or(u64::MAX),
        seconds: seconds.fold(0.0, f64::max),
        status,
    })
}

/// Returns the summary that the emulator has printed.
fn posted(emulator: &mut Guard) -> anyhow::Result<Value> {
    let status = emulator.0.wait().context("waiting for the emulator")?;
    let mut text = String::new();
    let mut stdout = emulator.0.stdout.take().context("no output")?;
    std::io::Read::read_to_string(&mut stdout, &mut text).context("reading its output")?;
    ensure!(status.success(), "`likeness emulate` ended with {status}");
    serde_json::from_str(text.trim()).context("reading its summary")
}

/// Checks that every acknowledged event is in the tables, and counted once. Keys of the emulator are all different, so
/// each clean event is a row; an event that was sent again is the same row, or rejected twice.
fn check(client: &Client, posted: &Value, status: &Value) -> anyhow::Result<u64> {
    let count = |value: &Value| value.as_u64().context("no count");
    let mut rows = 0;
    for name in ["pins", "geolocations", "users"] {
        rows += count(&status[name])?;
    }
    let found = rows + count(&status["rejected"])?;
    let accepted = count(&posted["accepted"])?;
    ensure!(
        found >= accepted,
        "{accepted} events were acknowledged, {found} are in the tables"
    );
    let most = match count(&posted["retries"])? {
        0 => accepted,
        // Of a call that got no answer, nobody knows.
        _ => count(&posted["sent"])? * 2,
    };
    ensure!(
        found <= most,
        "{accepted} events were acknowledged, {found} are in the tables"
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let (from, until) = (now.as_secs() - 4 * 86_400, now.as_secs() + 3_600);
    let path = format!("/v1/pins/series?from={from}&until={until}&step=1h");
    let series = client.get_json(&path)?;
    let points = series["points"].as_array().context("no points")?;
    let counted: u64 = points
        .iter()
        .filter_map(|point| point["pins"].as_u64())
        .sum();
    let pins = count(&status["pins"])?;
    ensure!(
        counted == pins,
        "{pins} pins are rows, {counted} are counted in minutes"
    );
    Ok(rows)
}
