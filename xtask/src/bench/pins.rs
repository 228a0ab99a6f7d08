//! Pins on both ways, into SQL and into the lake: whether the rate is taken, how far each way falls behind, and whether
//! every event that was acknowledged is in both, once.

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

/// How often it is asked how far the ways are.
const POLL: Duration = Duration::from_millis(200);
const CALL: Duration = Duration::from_secs(30);
/// How long either way may take to hold everything after the last event.
const DRAIN: Duration = Duration::from_secs(30);
/// Share of the rate that was asked for that must be acknowledged.
const LEAST_RATE: f64 = 0.98;
/// How far the lake is behind the log, by topic.
const LAKE_LAG_RECORDS: &str = "likeness_pins_lake_lag_records";
const LAKE_LAG_SECONDS: &str = "likeness_pins_lake_lag_seconds";
/// Tables of the lake that together hold each event once.
const LAKE_TABLES: [&str; 4] = [
    "pins_versions",
    "geolocations_versions",
    "users_versions",
    "pins_rejected",
];

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
/// If something cannot be run, the rate is not taken, a way does not catch up in half a minute, or an event that was
/// acknowledged is missing or counted twice.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let binary = workspace::build_likeness_full_release()?;
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
    let (mut stream, mut lake) = (Lags::default(), Lags::default());
    while emulator
        .0
        .try_wait()
        .context("asking for the emulator")?
        .is_none()
    {
        // Before the tables are reached, nobody knows.
        if let Some(lag) = stream_lag(&client)? {
            stream.add(lag);
        }
        lake.add(lake_lag(&client)?);
        thread::sleep(POLL);
    }
    let ended = Instant::now();
    let posted = posted(&mut emulator)?;
    let (mut stream_done, mut lake_done) = (None, None);
    while stream_done.is_none() || lake_done.is_none() {
        let after = ended.elapsed();
        if stream_done.is_none() && stream_lag(&client)?.is_some_and(|lag| lag.records == 0.0) {
            stream_done = Some(after);
        }
        if lake_done.is_none() && is_lake_complete(&client)? {
            lake_done = Some(after);
        }
        ensure!(
            after < DRAIN,
            "not complete {} s after the load: SQL after {stream_done:?}, the lake after {lake_done:?}",
            DRAIN.as_secs()
        );
        thread::sleep(POLL);
    }
    let status = client.get_json("/v1/pins/status")?;
    let rows = check(&client, &posted, &status)?;
    let in_lake = check_lake(&client, &posted)?;
    let rate = check_rate(arguments.rate, &posted)?;
    Ok(json!({
        "rate": rate,
        "events_per_second": rate * 3.0,
        "post_p99_ms": posted["p99_ms"],
        "accepted": posted["accepted"],
        "sent_again": posted["retries"],
        "sql": stream.figures(stream_done),
        "lake": lake.figures(lake_done),
        "rows": rows,
        "rejected": status["rejected"],
        "late": status["late"],
        "events_in_lake": in_lake,
        "peak_memory_bytes": server.peak_memory(),
    }))
}

/// How far behind the log a way is.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Lag {
    records: f64,
    seconds: f64,
}

/// The same over time.
#[derive(Debug, Default)]
struct Lags(Vec<Lag>);

impl Lags {
    fn add(&mut self, lag: Lag) {
        self.0.push(lag);
    }

    /// Returns median and maximum, and how long after the load the way was complete.
    fn figures(&self, done: Option<Duration>) -> Value {
        let of = |read: fn(&Lag) -> f64| {
            let mut values: Vec<f64> = self.0.iter().map(read).collect();
            values.sort_by(f64::total_cmp);
            let median = values.get(values.len() / 2).copied().unwrap_or(0.0);
            (median, values.last().copied().unwrap_or(0.0))
        };
        let (records, seconds) = (of(|lag| lag.records), of(|lag| lag.seconds));
        json!({
            "lag_records": {"median": records.0, "max": records.1},
            "lag_seconds": {"median": seconds.0, "max": seconds.1},
            "seconds_until_complete": done.map(|done| done.as_secs_f64()),
        })
    }
}

/// Returns how far behind the tables are: records of all topics, seconds of the last one.
fn stream_lag(client: &Client) -> anyhow::Result<Option<Lag>> {
    let status = client.get_json("/v1/pins/status")?;
    let topics = status["topics"].as_array().context("no topics")?;
    let records = topics.iter().map(|topic| topic["records"].as_f64());
    let seconds = topics.iter().filter_map(|topic| topic["seconds"].as_f64());
    let seconds = seconds.fold(0.0, f64::max);
    Ok(records
        .sum::<Option<f64>>()
        .map(|records| Lag { records, seconds }))
}

/// Returns how far behind the lake is, as [`stream_lag`].
fn lake_lag(client: &Client) -> anyhow::Result<Lag> {
    let metrics = client.get("/metrics")?;
    let text = String::from_utf8_lossy(&metrics.body);
    Ok(Lag {
        records: gauge(&text, LAKE_LAG_RECORDS).sum(),
        seconds: gauge(&text, LAKE_LAG_SECONDS).fold(0.0, f64::max),
    })
}

/// Returns the values of a gauge with labels in Prometheus text.
fn gauge<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = f64> + 'a {
    text.lines().filter_map(move |line| {
        let labelled = line.strip_prefix(name)?.strip_prefix('{')?;
        labelled.rsplit_once("} ")?.1.trim().parse().ok()
    })
}

/// Returns whether the lake holds all of the log. Not from the metrics, which tell of a moment ago.
fn is_lake_complete(client: &Client) -> anyhow::Result<bool> {
    let status = client.get_json("/v1/pins/lake")?;
    let names = ["unread_pins", "unread_geolocations", "unread_users"];
    Ok(names.iter().all(|&name| status[name] == 0))
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
    check_count("the tables", rows + count(&status["rejected"])?, posted)?;
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

/// Checks that the lake holds every acknowledged event once, clean or rejected. Returns how many it holds.
fn check_lake(client: &Client, posted: &Value) -> anyhow::Result<u64> {
    let mut found = 0;
    for table in LAKE_TABLES {
        let query = json!({"sql": format!("SELECT count(*) FROM {table}")});
        let headers = [("content-type", "application/json")];
        let body = query.to_string().into_bytes();
        let answer = client.send("POST", "/v1/sql", &headers, body)?;
        ensure!(answer.status == 200, "{query}: {}", answer.excerpt());
        let rows = answer.json()?;
        found += rows["rows"][0][0].as_u64().context("no count")?;
    }
    check_count("the lake", found, posted)?;
    Ok(found)
}

/// Checks that what was found is what was acknowledged, but for what may have been stored without an answer.
fn check_count(place: &str, found: u64, posted: &Value) -> anyhow::Result<()> {
    let count = |name: &str| posted[name].as_u64().context("no count");
    let accepted = count("accepted")?;
    let most = match count("retries")? {
        0 => accepted,
        // Of a call that got no answer, nobody knows.
        _ => count("sent")? * 2,
    };
    ensure!(
        (accepted..=most).contains(&found),
        "{accepted} events were acknowledged, {found} are in {place}"
    );
    Ok(())
}

/// Returns the pins per second that were acknowledged, each with its companions.
fn check_rate(wanted: u32, posted: &Value) -> anyhow::Result<f64> {
    let accepted = posted["accepted"].as_f64().context("no count")?;
    let seconds = posted["seconds"].as_f64().context("no time")?;
    let rate = accepted / 3.0 / seconds.max(f64::MIN_POSITIVE);
    ensure!(
        rate >= f64::from(wanted) * LEAST_RATE,
        "{rate:.0} pins per second were acknowledged, {wanted} were to be"
    );
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_read_by_their_whole_name() {
        let text = "# TYPE likeness_pins_lake_lag_records gauge\n\
                    likeness_pins_lake_lag_records{topic=\"pins\"} 12\n\
                    likeness_pins_lake_lag_records{topic=\"users\"} 3.5\n\
                    likeness_pins_lake_lag_records_other{topic=\"pins\"} 100\n\
                    likeness_pins_lag_records{topic=\"pins\"} 100\n";
        let values: Vec<f64> = gauge(text, LAKE_LAG_RECORDS).collect();
        assert_eq!(values, [12.0, 3.5]);
    }

    #[test]
    fn lags_are_summed_up_as_median_and_maximum() {
        let mut lags = Lags::default();
        for records in [5.0, 1.0, 90.0] {
            let seconds = records / 10.0;
            lags.add(Lag { records, seconds });
        }
        let figures = lags.figures(Some(Duration::from_millis(1_500)));
        assert_eq!(figures["lag_records"], json!({"median": 5.0, "max": 90.0}));
        assert_eq!(figures["lag_seconds"], json!({"median": 0.5, "max": 9.0}));
        assert_eq!(figures["seconds_until_complete"], 1.5);
    }

    #[test]
    fn a_rate_may_be_two_percent_short_and_counts_not_at_all() {
        let posted = |accepted: u64| json!({"accepted": accepted, "retries": 0, "seconds": 10.0});
        assert!(check_rate(1_000, &posted(29_400)).is_ok());
        assert!(check_rate(1_000, &posted(29_399)).is_err());
        assert!(check_count("there", 30, &posted(30)).is_ok());
        for found in [29, 31] {
            assert!(check_count("there", found, &posted(30)).is_err());
        }
        let again = json!({"accepted": 30, "sent": 30, "retries": 1});
        assert!(check_count("there", 60, &again).is_ok());
        assert!(check_count("there", 61, &again).is_err());
    }
}
