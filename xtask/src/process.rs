//! Child processes with deadlines, and the server under test.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::http::Client;

const POLL: Duration = Duration::from_millis(10);
const READY_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// What a finished command left.
#[derive(Debug)]
pub(crate) struct Output {
    /// Whether it exited with status zero.
    pub(crate) success: bool,
    /// Its status; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it wrote to standard output.
    pub(crate) stdout: String,
    /// What it wrote to standard error.
    pub(crate) stderr: String,
    /// The largest resident memory seen, in bytes; 0 where the system does not tell.
    pub(crate) peak_memory: u64,
}

/// Runs a command to its end with our own standard output and error.
///
/// # Errors
/// If it cannot be started, fails, or takes longer than `limit`; it is killed then.
pub(crate) fn run(mut command: Command, limit: Duration) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {shown}"))?;
    let (status, _) = wait(child, limit).with_context(|| shown.clone())?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// Runs a command to its end and returns what it printed, whether it succeeded or not.
///
/// # Errors
/// If it cannot be started or takes longer than `limit`; it is killed then.
pub(crate) fn output(mut command: Command, limit: Duration) -> anyhow::Result<Output> {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {shown}"))?;
    // Both pipes are drained while waiting, or a talkative child would never end.
    let stdout = child.stdout.take().map(drain);
    let stderr = child.stderr.take().map(drain);
    let (status, peak_memory) = wait(child, limit).with_context(|| shown.clone())?;
    Ok(Output {
        success: status.success(),
        code: status.code(),
        stdout: stdout.map(joined).unwrap_or_default(),
        stderr: stderr.map(joined).unwrap_or_default(),
        peak_memory,
    })
}

fn drain(mut pipe: impl std::io::Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        if pipe.read_to_end(&mut bytes).is_err() {
            bytes.extend_from_slice(b"(output cut short)");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn joined(handle: thread::JoinHandle<String>) -> String {
    handle.join().unwrap_or_default()
}

/// Returns the status and the largest memory seen.
fn wait(mut child: Child, limit: Duration) -> anyhow::Result<(ExitStatus, u64)> {
    let deadline = Instant::now() + limit;
    let mut peak = 0;
    loop {
        if let Some(status) = child.try_wait().context("waiting for a child")? {
            return Ok((status, peak));
        }
        peak = peak.max(peak_memory_of(child.id()).unwrap_or(0));
        if Instant::now() >= deadline {
            end(&mut child);
            bail!("took longer than {} s", limit.as_secs());
        }
        thread::sleep(POLL);
    }
}

/// Kills and reaps; a child that is gone already is fine.
fn end(child: &mut Child) {
    if child.kill().is_ok() || child.try_wait().is_ok() {
        child.wait().ok();
    }
}

/// A child that does not outlive its owner.
#[derive(Debug)]
pub(crate) struct Guard(pub(crate) Child);

impl Drop for Guard {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

/// How to start a server.
#[derive(Debug, Clone)]
pub(crate) struct ServerOptions {
    /// The binary.
    pub(crate) binary: PathBuf,
    /// Where the models are.
    pub(crate) models: PathBuf,
    /// Where it keeps its data.
    pub(crate) data: PathBuf,
    /// Further environment.
    pub(crate) environment: Vec<(String, String)>,
}

/// A running `likeness serve` on a port of the system's choice, killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Guard,
    url: String,
    log: PathBuf,
    recovery: Duration,
}

/// Returns the environment of a server whose review queue takes every copy that is not of the same bytes, so
/// that there is something to look at.
pub(crate) fn review_all() -> Vec<(String, String)> {
    [("LOW", "0.001"), ("HIGH", "1.0")]
        .map(|(key, value)| (format!("LIKENESS__DEDUP__REVIEW__{key}"), value.to_owned()))
        .to_vec()
}

impl Server {
    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    /// If it ends or does not become ready in a minute; the end of its log is part of the error.
    pub(crate) fn start(options: &ServerOptions) -> anyhow::Result<Self> {
        let started = Instant::now();
        std::fs::create_dir_all(&options.data)
            .with_context(|| format!("creating {}", options.data.display()))?;
        let address = options.data.join("server.json");
        if address.exists() {
            std::fs::remove_file(&address).context("removing the last server's address")?;
        }
        let log = options.data.with_extension("log");
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("opening {}", log.display()))?;
        let child = Command::new(&options.binary)
            .arg("serve")
            .arg("--data-dir")
            .arg(&options.data)
            .args(["--port", "0"])
            .env("LIKENESS_MODELS", &options.models)
            .envs(options.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::from(log_file.try_clone().context("log file")?))
            .stderr(Stdio::from(log_file))
            .spawn()
            .with_context(|| format!("starting {}", options.binary.display()))?;
        let mut server = Self {
            child: Guard(child),
            url: String::new(),
            log,
            recovery: Duration::ZERO,
        };
        server.wait_ready(&address, started)?;
        server.recovery = started.elapsed();
        Ok(server)
    }

    fn wait_ready(&mut self, address: &Path, started: Instant) -> anyhow::Result<()> {
        while started.elapsed() < READY_LIMIT {
            if let Some(status) = self.ended()? {
                bail!(
                    "the server ended before it was ready: {status}\n{}",
                    self.log_tail()
                );
            }
            if self.url.is_empty() {
                self.url = read_url(address).unwrap_or_default();
            }
            if !self.url.is_empty()
                && Client::new(&self.url, Duration::from_secs(5))
                    .get("/readyz")
                    .is_ok_and(|response| response.status == 200)
            {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        bail!(
            "the server was not ready in {} s\n{}",
            READY_LIMIT.as_secs(),
            self.log_tail()
        )
    }

    /// Returns the address, such as `http://127.0.0.1:4000`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns a client whose calls take at most `limit`.
    pub(crate) fn client(&self, limit: Duration) -> Client {
        Client::new(&self.url, limit)
    }

    /// Returns the time from the start of the process to its readiness.
    pub(crate) fn recovery(&self) -> Duration {
        self.recovery
    }

    /// Returns the status if the process has ended.
    ///
    /// # Errors
    /// If the system cannot say.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.child.0.try_wait().context("asking for the server")
    }

    /// Kills the process at once (SIGKILL) and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        end(&mut self.child.0);
    }

    /// Asks the process to stop (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// If it does not stop in half a minute, or stops with an error.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let mut term = Command::new("kill");
        term.args(["-TERM", &self.child.0.id().to_string()]);
        run(term, STOP_LIMIT)?;
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            match self.ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the server stopped with {status}\n{}", self.log_tail()),
                None => thread::sleep(POLL),
            }
        }
        bail!("the server did not stop in {} s", STOP_LIMIT.as_secs())
    }

    /// Returns the largest resident memory so far, in bytes, where the system tells (Linux).
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        peak_memory_of(self.child.0.id())
    }

    /// Returns the last lines of the log.
    pub(crate) fn log_tail(&self) -> String {
        let mut text = String::new();
        if File::open(&self.log)
            .and_then(|mut file| file.read_to_string(&mut text))
            .is_err()
        {
            return format!("(no log at {})", self.log.display());
        }
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

fn peak_memory_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

fn read_url(address: &Path) -> Option<String> {
    let text = std::fs::read_to_string(address).ok()?;
    let value: Value = serde_json::from_str(&text).ok()?;
    Some(value["url"].as_str()?.trim_end_matches('/').to_owned())
}
