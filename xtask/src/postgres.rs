//! A PostgreSQL server of the system's packages, for one run: in a temporary folder, on a free port of loopback, with a
//! password, ended with whoever started it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::process::{self, Guard};
use crate::setup;

/// Seconds on an idle machine; a busy one takes its time.
const LIMIT: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(50);
/// Tries, should another process take the port that was free.
const TRIES: u32 = 3;
const USER: &str = "likeness";
/// Of a server that lives for minutes and listens on loopback.
const PASSWORD: &str = "not a secret";

/// A running server; stopped when dropped.
#[derive(Debug)]
pub(crate) struct Postgres {
    child: Guard,
    programs: PathBuf,
    port: u16,
    /// Removed after the server has ended.
    _folder: TempDir,
}

impl Postgres {
    /// Installs it if need be, makes a cluster and starts it.
    ///
    /// # Errors
    /// If there is none and it cannot be installed from here, or it does not start in time.
    pub(crate) fn start() -> anyhow::Result<Self> {
        setup::postgres()?;
        let programs = programs().context("there is no PostgreSQL")?;
        let folder = tempfile::tempdir().context("making a folder")?;
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).context("writing a password")?;
        if is_root() {
            let mut give = Command::new("chown");
            give.args(["-R", "postgres:postgres"]).arg(folder.path());
            process::run(give, LIMIT)?;
        }
        let data = folder.path().join("data");
        let mut make = as_owner(&programs.join("initdb"));
        make.arg("-D").arg(&data);
        make.args([
            "-U",
            USER,
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C",
        ]);
        make.arg("--no-sync").arg("--pwfile").arg(&password);
        let made = process::output(make, LIMIT)?;
        if !made.success {
            bail!("initdb failed: {}", made.stderr);
        }
        let mut last = anyhow::anyhow!("it was not tried");
        for _ in 0..TRIES {
            match run(&programs, folder.path(), &data) {
                Ok((child, port)) => {
                    return Ok(Self {
                        child,
                        programs,
                        port,
                        _folder: folder,
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Makes an empty database and returns its URL.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn database(&self, name: &str) -> anyhow::Result<String> {
        let mut create = Command::new(self.programs.join("createdb"));
        create
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", USER, name])
            .env("PGPASSWORD", PASSWORD);
        let created = process::output(create, LIMIT)?;
        if !created.success {
            bail!("createdb failed: {}", created.stderr);
        }
        let password = PASSWORD.replace(' ', "%20");
        Ok(format!(
            "postgres://{USER}:{password}@127.0.0.1:{}/{name}",
            self.port
        ))
    }
}

impl Drop for Postgres {
    /// A fast stop, in which connections are ended; killed if that takes too long.
    fn drop(&mut self) {
        let mut stop = Command::new("kill");
        stop.args(["-INT", &self.child.0.id().to_string()]);
        if process::run(stop, LIMIT).is_err() {
            return;
        }
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline && matches!(self.child.0.try_wait(), Ok(None)) {
            thread::sleep(POLL);
        }
    }
}

/// Starts the server, and waits until it answers.
fn run(programs: &Path, folder: &Path, data: &Path) -> anyhow::Result<(Guard, u16)> {
    let socket = TcpListener::bind("127.0.0.1:0").context("asking for a free port")?;
    let port = socket
        .local_addr()
        .context("asking for a free port")?
        .port();
    drop(socket);
    let log = std::fs::File::create(folder.join("log")).context("making a log")?;
    let mut server = as_owner(&programs.join("postgres"));
    server
        .arg("-D")
        .arg(data)
        .args(["-p", &port.to_string()])
        .args(["-c", "listen_addresses=127.0.0.1"])
        .args(["-c", "unix_socket_directories="])
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("a log")?)
        .stderr(log);
    let mut child = Guard(server.spawn().context("starting PostgreSQL")?);
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        if let Some(status) = child.0.try_wait().context("asking for PostgreSQL")? {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            bail!("PostgreSQL ended with {status}: {log}");
        }
        let mut ask = Command::new(programs.join("pg_isready"));
        ask.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
        if process::output(ask, LIMIT)?.success {
            return Ok((child, port));
        }
        thread::sleep(POLL);
    }
    bail!("PostgreSQL was not ready in {} s", LIMIT.as_secs())
}

/// Returns the folder of the newest version's programs.
pub(crate) fn programs() -> Option<PathBuf> {
    // Debian's and Ubuntu's, Fedora's, Homebrew's.
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    let others = ["/usr/bin", "/opt/homebrew/bin", "/usr/local/bin"].map(PathBuf::from);
    let newest_first = versions.into_iter().rev().map(|(_, path)| path);
    newest_first
        .chain(others)
        .find(|path| path.join("initdb").is_file() && path.join("postgres").is_file())
}

/// Returns a command that runs as the user `postgres` where this is root, which PostgreSQL refuses.
fn as_owner(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program)
        .current_dir("/");
    command
}

fn is_root() -> bool {
    let mut command = Command::new("id");
    command.arg("-u");
    process::output(command, LIMIT).is_ok_and(|output| output.stdout.trim() == "0")
}
