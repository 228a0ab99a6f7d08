//! Queries over a lake of drawn pins: `likeness sql` beside DuckDB and Polars, on the same files, in one run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::{machine, python};
use crate::{process, report, workspace};

const FILL_LIMIT: Duration = Duration::from_secs(60 * 60);
const QUERY_LIMIT: Duration = Duration::from_secs(30 * 60);
/// How far two answers may differ in a number that is no whole one.
const TOLERANCE: f64 = 1e-6;
/// A word that some descriptions have.
const WORD: &str = "night trains";

/// What is asked, of whom.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Rows of the lake, a third each of pins, geolocations and users
    #[arg(long, default_value_t = 100_000_000)]
    rows: u64,
    /// Memory that a query may take, in MiB; Polars knows no such bound
    #[arg(long, default_value_t = 4_096)]
    memory: u64,
    /// Times each query is asked; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only these queries
    #[arg(long, value_delimiter = ',')]
    queries: Vec<String>,
    /// Only these engines
    #[arg(long, value_delimiter = ',', default_values = ["likeness", "duckdb", "polars"])]
    engines: Vec<String>,
    /// Seed of the rows
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the lake in the cache, to be used again by a run with the same rows and seed
    #[arg(long)]
    keep: bool,
}

struct Query {
    name: &'static str,
    sql: &'static str,
}

/// `{ARGUMENT}` is the key of a pin in `one`, a word in `text`.
const QUERIES: &[Query] = &[
    Query {
        name: "count",
        sql: "SELECT count(*) FROM pins_versions",
    },
    Query {
        name: "categories",
        sql: "SELECT category, count(*), avg(follower_count) FROM pins_versions GROUP BY 1 ORDER BY 1 NULLS LAST",
    },
    Query {
        name: "week",
        sql: "SELECT category, count(*) FROM pins_versions WHERE date BETWEEN DATE '2025-06-01' AND DATE '2025-06-07' \
              GROUP BY 1 ORDER BY 1 NULLS LAST",
    },
    Query {
        name: "text",
        sql: "SELECT count(*) FROM pins_versions WHERE description LIKE '%{ARGUMENT}%'",
    },
    Query {
        name: "profiles",
        sql: "SELECT poster_name, max(follower_count) AS followers, count(*) FROM pins_versions GROUP BY 1 \
              ORDER BY 2 DESC NULLS LAST, 1 LIMIT 10",
    },
    Query {
        name: "one",
        sql: "SELECT title, category, log_offset FROM pins_versions WHERE unique_id = '{ARGUMENT}' ORDER BY log_offset",
    },
    Query {
        name: "join",
        sql: "SELECT country, category, count(*) FROM pins_versions p JOIN geolocations_versions g \
              ON g.log_offset = p.log_offset GROUP BY 1, 2 ORDER BY 1 NULLS LAST, 2 NULLS LAST",
    },
    Query {
        name: "latest",
        sql: "SELECT category, count(*) FROM pins GROUP BY 1 ORDER BY 1 NULLS LAST",
    },
    Query {
        name: "report",
        sql: include_str!("../../../crates/likeness-lake/src/reports/top-category-by-country.sql"),
    },
];

/// Who answers, and from what.
struct Bench<'a> {
    arguments: &'a Arguments,
    binary: PathBuf,
    data: PathBuf,
    spill: PathBuf,
    threads: usize,
}

/// An answer, and what it cost.
struct Answer {
    rows: Vec<Vec<Value>>,
    seconds: f64,
    peak_memory: u64,
}

/// Measures.
///
/// # Errors
/// If something cannot be run, or two engines give different answers. That an engine cannot answer within its memory is
/// a result.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    for name in &arguments.queries {
        let is_known = QUERIES.iter().any(|query| query.name == name);
        ensure!(is_known, "there is no query `{name}`");
    }
    ensure!(arguments.rounds > 0, "`--rounds` must be at least 1");
    let temporary = tempfile::tempdir().context("making a folder")?;
    let name = format!("lake-{}-{}", arguments.rows, arguments.seed);
    let data = match arguments.keep {
        true => python::cache()?.join(name),
        false => temporary.path().join(name),
    };
    let bench = Bench {
        arguments,
        binary: workspace::build_likeness_full_release()?,
        data,
        spill: temporary.path().join("spill"),
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    };
    let filled = bench.fill()?;
    report::note(&format!("the lake: {filled}"));
    let argument_of = bench.arguments_of_queries()?;
    let mut results = serde_json::Map::new();
    for query in QUERIES {
        let is_wanted =
            arguments.queries.is_empty() || arguments.queries.iter().any(|it| it == query.name);
        if is_wanted {
            let figures = bench.compare(query, argument_of(query.name))?;
            report::note(&format!("{}: {figures}", query.name));
            results.insert(query.name.to_owned(), figures);
        }
    }
    let command = format!(
        "cargo xtask bench sql --rows {} --memory {} --rounds {}",
        arguments.rows, arguments.memory, arguments.rounds
    );
    let origin = machine::origin(command)?;
    Ok(json!({
        "rows": arguments.rows,
        "memory_mib": arguments.memory,
        "threads": bench.threads,
        "lake": filled,
        "commit": origin.commit,
        "machine": origin.machine,
        "date": origin.date,
        "command": origin.command,
        "queries": results,
    }))
}

impl Bench<'_> {
    /// Makes the lake, unless it is there. Returns what making it came to.
    fn fill(&self) -> anyhow::Result<Value> {
        // Written last, so what is there was made to its end.
        let told = self.data.with_extension("json");
        if let Ok(text) = std::fs::read_to_string(&told) {
            return serde_json::from_str(&text).context("reading what is told of the lake");
        }
        if self.data.exists() {
            std::fs::remove_dir_all(&self.data).context("removing an unfinished lake")?;
        }
        let mut fill = Command::new(&self.binary);
        fill.args(["bench", "lake", "--json", "--into"])
            .arg(&self.data);
        fill.args(["--rows", &self.arguments.rows.to_string()]);
        fill.args(["--seed", &self.arguments.seed.to_string()]);
        let filled = process::output(fill, FILL_LIMIT)?;
        ensure!(filled.success, "`likeness bench lake`: {}", filled.stderr);
        let last = filled.stdout.trim().lines().last().unwrap_or_default();
        std::fs::write(&told, last).context("telling of the lake")?;
        serde_json::from_str(last).context("`likeness bench lake`")
    }

    /// Returns what stands for `{ARGUMENT}` in a query.
    fn arguments_of_queries(&self) -> anyhow::Result<impl Fn(&str) -> String + use<>> {
        let middle = self.arguments.rows / 6;
        let sql = format!("SELECT unique_id FROM pins_versions WHERE ind = {middle} LIMIT 1");
        let found = self.likeness(&sql)?;
        let id = found.rows.first().and_then(|row| row.first()?.as_str());
        let id = id.context("there is no pin in the middle")?.to_owned();
        Ok(move |name: &str| match name {
            "one" => id.clone(),
            _ => WORD.to_owned(),
        })
    }

    /// Asks each engine in turn, some times; answers must be the same.
    fn compare(&self, query: &Query, argument: String) -> anyhow::Result<Value> {
        let sql = query.sql.replace("{ARGUMENT}", &argument);
        let mut figures = serde_json::Map::new();
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); self.arguments.engines.len()];
        let mut first: Option<(String, Vec<Vec<Value>>)> = None;
        for _ in 0..self.arguments.rounds {
            for (engine, times) in self.arguments.engines.iter().zip(&mut times) {
                if figures
                    .get(engine)
                    .is_some_and(|of| of["error"].is_string())
                {
                    continue;
                }
                let answer = match engine.as_str() {
                    "likeness" => self.likeness(&sql),
                    "duckdb" => self.duckdb(&sql),
                    "polars" => self.polars(query.name, &argument),
                    other => bail!("there is no engine `{other}`"),
                };
                let answer = match answer {
                    Ok(answer) => answer,
                    Err(error) => {
                        figures.insert(engine.clone(), json!({"error": format!("{error:#}")}));
                        continue;
                    }
                };
                times.push(answer.seconds);
                times.sort_by(f64::total_cmp);
                let of = json!({
                    "seconds": times[times.len() / 2],
                    "peak_memory_bytes": answer.peak_memory,
                    "rows": answer.rows.len(),
                });
                figures.insert(engine.clone(), of);
                match &first {
                    None => first = Some((engine.clone(), answer.rows)),
                    Some((name, rows)) => ensure!(
                        are_same(rows, &answer.rows),
                        "`{}`: {name} says {}, {engine} {}",
                        query.name,
                        excerpt(rows),
                        excerpt(&answer.rows)
                    ),
                }
            }
        }
        Ok(Value::Object(figures))
    }

    /// The time is that of the whole process.
    fn likeness(&self, sql: &str) -> anyhow::Result<Answer> {
        let mut command = Command::new(&self.binary);
        command.arg("--data-dir").arg(&self.data);
        command.args(["sql", "--json", "--limit", "10000", sql]);
        command
            .env(
                "LIKENESS__SQL__MEMORY",
                format!("{}MiB", self.arguments.memory),
            )
            .env("LIKENESS__SQL__SPILL", "40GiB")
            .env("LIKENESS__SQL__TIMEOUT", "30m");
        let started = Instant::now();
        let output = process::output(command, QUERY_LIMIT)?;
        let seconds = started.elapsed().as_secs_f64();
        ensure!(output.success, "{}", output.stderr.trim());
        answer(&output, Some(seconds))
    }

    fn duckdb(&self, sql: &str) -> anyhow::Result<Answer> {
        let mut command = python::script("duckdb", "sql_duckdb.py")?;
        command.arg(self.lake());
        command.arg((self.arguments.memory << 20).to_string());
        command.arg(self.threads.to_string()).arg(&self.spill);
        command.arg(sql);
        peer(command)
    }

    fn polars(&self, name: &str, argument: &str) -> anyhow::Result<Answer> {
        let mut command = python::script("polars", "sql_polars.py")?;
        command.arg(self.lake()).arg(name).arg(argument);
        command.env("POLARS_MAX_THREADS", self.threads.to_string());
        peer(command)
    }

    /// Returns where the files are.
    fn lake(&self) -> PathBuf {
        Path::new(&self.data).join("objects/lake")
    }
}

/// Runs a script that tells its own time: that of the query, without loading the package.
fn peer(command: Command) -> anyhow::Result<Answer> {
    let output = process::output(command, QUERY_LIMIT)?;
    let last = output
        .stderr
        .trim()
        .lines()
        .last()
        .unwrap_or("it was killed");
    ensure!(output.success, "{last}");
    answer(&output, None)
}

fn answer(output: &process::Output, seconds: Option<f64>) -> anyhow::Result<Answer> {
    let said: Value = serde_json::from_str(output.stdout.trim()).context("reading an answer")?;
    Ok(Answer {
        rows: serde_json::from_value(said["rows"].clone()).context("reading rows")?,
        seconds: match seconds {
            Some(seconds) => seconds,
            None => said["seconds"].as_f64().context("no time")?,
        },
        peak_memory: output.peak_memory,
    })
}

fn are_same(a: &[Vec<Value>], b: &[Vec<Value>]) -> bool {
    let same = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(1.0),
        _ => a == b,
    };
    let same_row = |(a, b): (&Vec<Value>, &Vec<Value>)| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
    };
    a.len() == b.len() && a.iter().zip(b).all(same_row)
}

fn excerpt(rows: &[Vec<Value>]) -> String {
    let text = json!(rows).to_string();
    text.chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &Value) -> Vec<Vec<Value>> {
        serde_json::from_value(rows.clone()).unwrap()
    }

    #[test]
    fn answers_are_the_same_up_to_rounding() {
        let one = rows(&json!([["a", 1, 2.5], [null, 3, 1e9]]));
        assert!(are_same(
            &one,
            &rows(&json!([["a", 1.0, 2.5], [null, 3, 1e9 + 0.1]]))
        ));
        for other in [
            json!([["a", 1, 2.5]]),
            json!([["a", 1, 2.5], [null, 4, 1e9]]),
            json!([["a", 1, 2.5], ["", 3, 1e9]]),
            json!([["a", 1], [null, 3]]),
        ] {
            assert!(!are_same(&one, &rows(&other)), "{other}");
        }
    }

    #[test]
    fn queries_have_names_of_their_own() {
        let mut names: Vec<&str> = QUERIES.iter().map(|query| query.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), QUERIES.len());
    }
}
