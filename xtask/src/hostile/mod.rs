//! `cargo xtask hostile`: bad input against a real server and the command line.
//!
//! Every file and request has a table entry that says what must become of it. While they are sent, a
//! second client uploads good pictures; all of them must be decided. The server must live, stay
//! within a bound of memory, write nothing outside its folder, and be ready at the end.

mod cli;
pub(crate) mod corpus;
mod doors;
mod pins;
mod requests;
mod sql;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use self::corpus::Case;
use crate::http::{Client, Response};
use crate::pictures::Picture;
use crate::process::{Server, ServerOptions};
use crate::report::{self, Checks};
use crate::workspace;

/// What a bad file may cost: the decoder's budget (512 MiB), a few uploads in flight, and slack.
const MEMORY_BOUND: u64 = 768 << 20;
const LIMIT: Duration = Duration::from_secs(60);

/// What to attack.
#[derive(Debug, Default, Args)]
pub(crate) struct Arguments {
    /// Write the hostile files to this folder and stop
    #[arg(long, value_name = "DIR")]
    write: Option<std::path::PathBuf>,
    /// Leave out the command line, which starts the program once a file
    #[arg(long)]
    http_only: bool,
}

/// Runs the attack and returns its figures.
///
/// # Errors
/// If anything broke that must hold.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let cases = corpus::build();
    if let Some(folder) = &arguments.write {
        return write(&cases, folder);
    }
    let started = Instant::now();
    let binary = workspace::build_likeness()?;
    let models = workspace::models(&binary)?;
    let temporary = tempfile::tempdir().context("making a folder")?;
    let mut checks = Checks::default();
    let mut server = Server::start(&ServerOptions {
        binary: binary.clone(),
        models: models.clone(),
        data: temporary.path().join("data"),
        environment: Vec::new(),
    })?;
    let address = server.url().trim_start_matches("http://").to_owned();

    // What the server takes in honest work is the base that the bound is counted from.
    warm_up(&server)?;
    let base = server.peak_memory();
    let slow = wire::start_slow(&address);
    let good = Good::start(server.client(LIMIT));
    report::line(&format!("{} hostile files by HTTP", cases.len()));
    for (index, case) in cases.iter().enumerate() {
        send(&server.client(LIMIT), index, case, &mut checks);
        if let Some(status) = server.ended()? {
            anyhow::bail!(
                "the server ended ({status}) on `{}`\n{}",
                case.name,
                server.log_tail()
            );
        }
    }
    report::line("hostile requests");
    let num_requests = requests::run(&server, &mut checks)?;
    let num_attacks = wire::run(&address, &mut checks) + wire::finish_slow(slow, &mut checks);
    let num_good = good.finish(&server.client(LIMIT), &mut checks);

    let peak = server.peak_memory();
    if let (Some(base), Some(peak)) = (base, peak) {
        checks.that(peak <= base + MEMORY_BOUND, || {
            format!(
                "memory rose from {} to {} MiB, more than {} MiB",
                base >> 20,
                peak >> 20,
                MEMORY_BOUND >> 20
            )
        });
    }
    checks.that(server.ended()?.is_none(), || {
        "the server has ended".to_owned()
    });
    let ready = server.client(LIMIT).get("/readyz");
    checks.that(ready.is_ok_and(|answer| answer.status == 200), || {
        "the server is not ready at the end".to_owned()
    });
    checks.step("a clean stop at the end", server.stop());
    checks.step(
        "nothing outside its folder",
        nothing_outside(temporary.path()),
    );

    let mut cli_peak = None;
    if !arguments.http_only {
        report::line("hostile files on the command line");
        let peak = cli::run(&binary, &models, temporary.path(), &cases, &mut checks)?;
        if let Some(base) = base {
            checks.that(peak.num_bytes <= base + MEMORY_BOUND, || {
                format!("`{}` took {} MiB", peak.command, peak.num_bytes >> 20)
            });
        }
        cli_peak = Some(peak);
    }
    checks.verdict("hostile")?;
    Ok(json!({
        "files": cases.len(),
        "requests": num_requests,
        "attacks": num_attacks,
        "good_images_decided": num_good,
        "checks_passed": checks.passed(),
        "checks_failed": checks.failed(),
        "base_memory_mib": base.map(|bytes| bytes >> 20),
        "peak_memory_mib": peak.map(|bytes| bytes >> 20),
        "memory_bound_mib": base.map(|bytes| (bytes + MEMORY_BOUND) >> 20),
        "cli_peak_memory_mib": cli_peak.as_ref().map(|peak| peak.num_bytes >> 20),
        "cli_peak_command": cli_peak.as_ref().map(|peak| peak.command.as_str()),
        "seconds": started.elapsed().as_secs(),
    }))
}

fn write(cases: &[Case], folder: &std::path::Path) -> anyhow::Result<Value> {
    std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    for case in cases {
        let path = folder.join(format!("{}.{}", case.name, case.extension));
        std::fs::write(&path, &case.bytes)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(json!({"files": cases.len(), "folder": folder}))
}

fn warm_up(server: &Server) -> anyhow::Result<()> {
    for seed in 0..4 {
        let bytes = Picture::draw(5_000 + seed, 1_600, 1_200).png();
        let answer =
            server
                .client(LIMIT)
                .upload(&format!("warm-up-{seed}"), "a.png", &bytes, true)?;
        anyhow::ensure!(
            matches!(answer.status, 200 | 201),
            "an honest upload was answered with {} {}",
            answer.status,
            answer.excerpt()
        );
    }
    Ok(())
}

/// Sends one file and checks the answer against its entry.
fn send(client: &Client, index: usize, case: &Case, checks: &mut Checks) {
    let id = format!("hostile-{index}");
    let file_name = format!("{}.{}", case.name, case.extension);
    let answer = match client.upload(&id, &file_name, &case.bytes, true) {
        Ok(answer) => answer,
        Err(error) => return checks.fail(format!("file `{}`: {error:#}", case.name)),
    };
    checks.that(fits(case, &answer), || {
        format!(
            "file `{}` ({} bytes): expected {:?}, got {} {}",
            case.name,
            case.bytes.len(),
            case.expected,
            answer.status,
            answer.excerpt()
        )
    });
    // What was refused is unknown or marked as rejected, and never half there.
    if answer.status >= 400 {
        let view = client.get(&format!("/v1/images/{id}"));
        let is_clean = view.is_ok_and(|view| {
            view.status == 404 || view.json().is_ok_and(|view| view["status"] == "rejected")
        });
        checks.that(is_clean, || {
            format!(
                "file `{}` was refused and is neither unknown nor rejected",
                case.name
            )
        });
    }
}

fn fits(case: &Case, answer: &Response) -> bool {
    match answer.status {
        200 | 201 => {
            let kind = answer
                .json()
                .map(|body| body["decision"]["kind"].clone())
                .unwrap_or_default();
            case.expected.accepted && (kind == "new_cluster" || kind == "joined")
        }
        400..=422 => {
            let code = answer.error_code();
            case.expected.codes.contains(&code.as_str())
        }
        _ => false,
    }
}

/// A server keeps what it has in its own folder: beside it there is its log, and nothing else.
fn nothing_outside(folder: &std::path::Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).context("reading the folder")? {
        let name = entry.context("reading the folder")?.file_name();
        anyhow::ensure!(
            name == "data" || name == "data.log",
            "there is {name:?} beside the data directory"
        );
    }
    Ok(())
}

/// A client that uploads good pictures until it is told to stop.
struct Good {
    stop: Arc<AtomicBool>,
    handle: thread::JoinHandle<Vec<String>>,
}

impl Good {
    fn start(client: Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let handle = thread::spawn(move || {
            let mut acknowledged = Vec::new();
            for seed in 0.. {
                if told.load(Ordering::Relaxed) {
                    break;
                }
                let id = format!("good-{seed}");
                let bytes = Picture::draw(10_000 + seed, 96, 72).png();
                let answer = client.upload(&id, "good.png", &bytes, false);
                if answer.is_ok_and(|answer| matches!(answer.status, 200..=202)) {
                    acknowledged.push(id);
                }
                // A steady trickle, not a load test.
                thread::sleep(Duration::from_millis(150));
            }
            acknowledged
        });
        Self { stop, handle }
    }

    /// Returns how many were acknowledged; each must be decided, and there must be some.
    fn finish(self, client: &Client, checks: &mut Checks) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let acknowledged = self.handle.join().unwrap_or_default();
        checks.that(acknowledged.len() >= 20, || {
            format!("only {} good pictures got in", acknowledged.len())
        });
        for id in &acknowledged {
            checks.step(&format!("good picture `{id}`"), decided(client, id));
        }
        acknowledged.len()
    }
}

fn decided(client: &Client, id: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let view = client.get_json(&format!("/v1/images/{id}"))?;
        if view["status"] == "decided" {
            return Ok(());
        }
        anyhow::ensure!(
            view["status"] == "pending" && Instant::now() < deadline,
            "is {}",
            view["status"]
        );
        thread::sleep(Duration::from_millis(50));
    }
}
