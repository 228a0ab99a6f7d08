//! `cargo xtask full-disk`: a disk that fills up under a running server, and gets room again.
//!
//! The command starts itself again in a mount namespace of its own (`unshare`), where it mounts a small file
//! system that disappears with it. Two acts, each on a new data directory:
//!
//! 1. *while images arrive*: the last byte is taken, images are uploaded, room is given back;
//! 2. *before the first image is decided*: there is room for uploads, but none for the file of exact vectors,
//!    which grows in large pieces.
//!
//! In both: while the disk is full every upload gets an answer with a code, what was stored can be read, and the
//! server stays; once there is room everything acknowledged is decided, once, with its bytes unchanged, and the
//! rest can be sent. Whether that took a restart is among the figures.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use super::clients::Round;
use super::erasures::Erased;
use super::workload::Workload;
use super::{check, is_idle, stream};
use crate::process::{self, Server, ServerOptions};
use crate::report::{self, Checks};
use crate::{setup, workspace};

/// Room of the small file system: a fresh store, its vectors and the images take about half.
const DISK_MIB: u64 = 192;
/// Room that act 2 leaves: enough for uploads, not for a piece of the file of vectors (16 MiB).
const TIGHT: u64 = 10 << 20;
const IMAGES: usize = 40;
/// Images sent before the disk is full, and after these while it is.
const BEFORE: usize = 16;
const DURING: usize = 12;
const LIMIT: Duration = Duration::from_secs(60);
const RUN_LIMIT: Duration = Duration::from_secs(15 * 60);
/// How long a server may take to work by itself again once there is room.
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(200);

/// Which workload.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Seed of the images
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

/// Where the command that was started in a namespace works.
#[derive(Debug, Args)]
pub(crate) struct Inside {
    folder: PathBuf,
    binary: PathBuf,
    models: PathBuf,
    seed: u64,
}

/// Runs both acts and returns their figures.
///
/// # Errors
/// If anything acknowledged was lost, or the system does not let a file system be mounted.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    if !setup::in_path("unshare") {
        bail!("`unshare` is missing; install the package util-linux");
    }
    let binary = workspace::build_likeness()?;
    let models = workspace::models(&binary)?;
    let folder = tempfile::tempdir().context("making a folder")?;
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0);
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !is_root {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .arg(std::env::current_exe().context("the path of this program")?)
        .arg("full-disk-inside")
        .args([folder.path(), &binary, &models])
        .arg(arguments.seed.to_string());
    process::run(command, RUN_LIMIT)?;
    let text = std::fs::read_to_string(figures_file(folder.path())).context("no figures")?;
    serde_json::from_str(&text).context("figures that are not JSON")
}

/// What [`run`] starts in a namespace.
///
/// # Errors
/// As [`run`].
pub(crate) fn inside(inside: &Inside) -> anyhow::Result<()> {
    let disk = inside.folder.join("disk");
    std::fs::create_dir(&disk).context("making a folder")?;
    let mut mount = Command::new("mount");
    mount
        .args([
            "-t",
            "tmpfs",
            "-o",
            &format!("size={DISK_MIB}m"),
            "likeness",
        ])
        .arg(&disk);
    process::run(mount, LIMIT)?;
    let mut checks = Checks::default();
    let mut figures = Vec::new();
    for act in [Act::WhileImagesArrive, Act::BeforeTheFirst] {
        report::line(&format!("the disk is full {}", act.name()));
        let play = Play {
            options: ServerOptions {
                binary: inside.binary.clone(),
                models: inside.models.clone(),
                data: disk.join(act.name().replace(' ', "-")),
                environment: Vec::new(),
            },
            ballast: Ballast(disk.join("ballast")),
            workload: Arc::new(Workload::new(inside.seed, IMAGES)),
        };
        figures.push(play.run(act, &mut checks)?);
        std::fs::remove_dir_all(&play.options.data).context("removing the store")?;
    }
    checks.verdict("full disk")?;
    let figures = json!({"acts": figures, "checks": checks.passed(), "failed": checks.failed()});
    std::fs::write(figures_file(&inside.folder), figures.to_string()).context("the figures")
}

fn figures_file(folder: &Path) -> PathBuf {
    folder.join("figures.json")
}

/// When the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    WhileImagesArrive,
    BeforeTheFirst,
}

impl Act {
    fn name(self) -> &'static str {
        match self {
            Self::WhileImagesArrive => "while images arrive",
            Self::BeforeTheFirst => "before the first is decided",
        }
    }
}

/// A file that takes room.
#[derive(Debug)]
struct Ballast(PathBuf);

impl Ballast {
    /// Fills the disk but for `left` bytes.
    fn fill(&self, left: u64) -> anyhow::Result<()> {
        let mut file = File::create(&self.0).context("making the ballast")?;
        let piece = vec![0x5a; 64 << 10];
        let mut len = 0;
        while let Ok(written) = file.write(&piece) {
            if written == 0 {
                break;
            }
            len += written as u64;
        }
        if left == 0 {
            // What is left of a last piece.
            while file.write(&[0x5a; 512]).is_ok_and(|written| written > 0) {}
            return Ok(());
        }
        file.set_len(len.saturating_sub(left))
            .context("cutting the ballast")
    }

    fn drop(&self) -> anyhow::Result<()> {
        std::fs::remove_file(&self.0).context("removing the ballast")
    }
}

/// One act.
struct Play {
    options: ServerOptions,
    ballast: Ballast,
    workload: Arc<Workload>,
}

impl Play {
    fn run(&self, act: Act, checks: &mut Checks) -> anyhow::Result<Value> {
        let mut server = Server::start(&self.options)?;
        let mut acknowledged = Vec::new();
        if act == Act::WhileImagesArrive {
            acknowledged.resize(BEFORE, false);
            acknowledged = self.send_all(&server, &acknowledged)?;
            wait_until("the first images are decided", || is_idle(&server))?;
        }
        let before = acknowledged.len();
        self.ballast.fill(match act {
            Act::WhileImagesArrive => 0,
            Act::BeforeTheFirst => TIGHT,
        })?;
        acknowledged.resize(before + DURING, false);
        let refused = self.send_each(&server, &mut acknowledged, checks);
        if act == Act::BeforeTheFirst {
            // The first insertion is tried, in vain, meanwhile.
            std::thread::sleep(Duration::from_secs(3));
            let overview = server.client(LIMIT).get_json("/v1/overview")?;
            checks.that(overview["pending"].as_u64().unwrap_or(0) > 0, || {
                format!("nothing waits, so the disk was not full for the index: {overview}")
            });
        }
        self.read_all(&server, before, checks);
        checks.that(server.ended()?.is_none(), || {
            format!("the server ended:\n{}", server.log_tail())
        });

        self.ballast.drop()?;
        let freed = Instant::now();
        let is_well = || {
            server
                .client(LIMIT)
                .get("/readyz")
                .is_ok_and(|answer| answer.status == 200)
                && is_idle(&server)
                && self.accepts(&server, &acknowledged)
        };
        let has_restarted = wait_for(RECOVERY_LIMIT, is_well).is_none();
        if has_restarted {
            report::line(&format!(
                "  does not recover by itself:\n{}",
                server.log_tail()
            ));
            server.kill();
            server = Server::start(&self.options)?;
        }
        let recovery = freed.elapsed();
        acknowledged.resize(self.workload.len(), false);
        let sent = self.send_all(&server, &acknowledged)?;
        let decisions = stream::read_all(&server, sent.len())?;
        let expected = check::Expected {
            erased: &Erased::new(),
            dropped: &BTreeSet::new(),
        };
        check::decisions(&self.workload, &sent, &decisions, &expected, checks);
        check::store(&server, &self.workload, &decisions, checks)?;
        checks.step("a clean stop", server.stop());
        Ok(json!({
            "act": act.name(),
            "refused": refused,
            "acknowledged_while_full": acknowledged[before..before + DURING].iter().filter(|&&is| is).count(),
            "restarted": has_restarted,
            "recovery_ms": recovery.as_millis() as u64,
        }))
    }

    fn send_all(&self, server: &Server, acknowledged: &[bool]) -> anyhow::Result<Vec<bool>> {
        let mut round = Round::new(&self.workload, acknowledged, HashSet::new());
        round.send_all(&server.client(LIMIT))?;
        let all = round.into_acknowledged();
        Ok(vec![true; all.len()])
    }

    /// Sends what is not acknowledged, once, and returns how much was refused.
    fn send_each(&self, server: &Server, acknowledged: &mut [bool], checks: &mut Checks) -> usize {
        let mut num_refused = 0;
        for (index, is_acknowledged) in acknowledged.iter_mut().enumerate() {
            if *is_acknowledged {
                continue;
            }
            let answer = self.send(server, index);
            match answer {
                Ok(answer) if (200..=202).contains(&answer.status) => *is_acknowledged = true,
                Ok(answer) => {
                    num_refused += 1;
                    let code = answer.error_code();
                    checks.that(answer.status == 507 && code == "no_space", || {
                        format!("refused with {}: {}", answer.status, answer.excerpt())
                    });
                }
                Err(error) => checks.fail(format!("no answer while the disk is full: {error:#}")),
            }
        }
        num_refused
    }

    fn send(&self, server: &Server, index: usize) -> anyhow::Result<crate::http::Response> {
        let id = Workload::id(index);
        let bytes = self.workload.bytes(index);
        server
            .client(LIMIT)
            .upload(&id, &format!("{id}.png"), &bytes, false)
    }

    /// Returns whether an upload that was acknowledged before, or else the first, is accepted.
    fn accepts(&self, server: &Server, acknowledged: &[bool]) -> bool {
        let known = acknowledged.iter().position(|&is| is).unwrap_or(0);
        self.send(server, known)
            .is_ok_and(|answer| (200..=202).contains(&answer.status))
    }

    /// What was stored before can be read.
    fn read_all(&self, server: &Server, stored: usize, checks: &mut Checks) {
        for index in 0..stored {
            let path = format!("/v1/images/{}/file", Workload::id(index));
            let answer = server.client(LIMIT).get(&path);
            checks.that(
                answer.is_ok_and(|answer| {
                    answer.status == 200 && answer.body == self.workload.bytes(index)
                }),
                || format!("{path} cannot be read while the disk is full"),
            );
        }
    }
}

fn wait_until(what: &str, holds: impl Fn() -> bool) -> anyhow::Result<()> {
    match wait_for(LIMIT, holds) {
        Some(_) => Ok(()),
        None => bail!("waited for {} s until {what}", LIMIT.as_secs()),
    }
}

/// Returns how long it took, or nothing if it took too long.
fn wait_for(limit: Duration, holds: impl Fn() -> bool) -> Option<Duration> {
    let started = Instant::now();
    while started.elapsed() < limit {
        if holds() {
            return Some(started.elapsed());
        }
        std::thread::sleep(POLL);
    }
    None
}
