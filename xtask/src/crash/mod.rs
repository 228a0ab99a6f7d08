//! `cargo xtask crash`: kill -9 at every named point and at random, while images arrive.
//!
//! One data directory lives through all kills. In each round a server starts on it, several clients
//! upload, another one corrects clusters by hand, a third one erases images, with `--join` a fourth one sends the
//! embeddings that images wait for, and it is killed: at a fail point (which the server
//! does to itself, see `LIKENESS_KILL_AT`), or at a random moment. What was not acknowledged is sent
//! again in the next round, and now and then something that was. In the end:
//!
//! - every acknowledged upload is decided, exactly once, and its bytes come back unchanged;
//! - every acknowledged correction is dealt with, exactly once, and as was once answered;
//! - of every erased image nothing is left but its tombstone, which the server proves, and its id is never given again;
//! - with `--join`, every image whose embedding came is decided, others are once given up or join late, and
//!   embeddings that nobody uploaded an image for are listed as orphans, all of them and nothing else;
//! - nothing is there that was not sent, and the internal numbers have no gap;
//! - a decision that was once read from the stream is never changed or taken back;
//! - the list of clusters says what the images say;
//! - a fresh, undisturbed server that gets images, corrections and erasures in the order in which they were dealt
//!   with makes the same decisions, corrects the same, and ends with the same clusters and heads.
//!
//! With `--pins` events are posted instead: see [`pins`].

mod check;
mod clients;
mod corrections;
mod erasures;
pub(crate) mod full_disk;
mod partners;
mod pins;
pub(crate) mod simultaneous;
mod stream;
mod working;
mod workload;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use self::clients::Round;
use self::corrections::{Corrected, Corrections};
use self::erasures::{Erased, Erasures};
use self::partners::Partners;
use self::stream::Decided;
use self::working::Working;
use self::workload::Workload;
use crate::process::{self, Server, ServerOptions};
use crate::report::{self, Checks};
use crate::rng::Rng;
use crate::workspace;

/// Images that each round adds to what is still to be sent.
const IMAGES_PER_ROUND: usize = 6;
/// Corrections that each round adds.
const CORRECTIONS_PER_ROUND: usize = 2;
/// How long a round may take before a fail point that is not reached counts as such.
const ROUND_LIMIT: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_secs(60);

/// How often to kill, and with which seed.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Number of kills
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) kills: usize,
    /// Seed of everything that is random
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Let images wait for embeddings from elsewhere, some of which never come
    #[arg(long)]
    pub(crate) join: bool,
    /// Post pins, geolocations and users instead of images
    #[arg(long, conflicts_with = "join")]
    pub(crate) pins: bool,
    /// Keep the data directory here instead of in a temporary folder
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

/// Runs the harness and returns its figures.
///
/// # Errors
/// If anything acknowledged was lost, doubled or changed.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let started = Instant::now();
    let binary = workspace::build_likeness_all_features()?;
    let models = workspace::models(&binary)?;
    let mut points = fail_points(&binary)?;
    let temporary = tempfile::tempdir().context("making a folder")?;
    let folder = arguments
        .keep
        .clone()
        .unwrap_or_else(|| temporary.path().to_path_buf());
    let options = ServerOptions {
        binary,
        models,
        data: folder.join("disturbed"),
        environment: match arguments.join {
            true => partners::environment(),
            false => Vec::new(),
        },
    };
    if arguments.pins {
        return pins::run(arguments, options, points);
    }
    points.retain(|name| !is_of_pins(name));
    report::line(&format!(
        "seed {}: {} kills, at {} fail points in turn and at random",
        arguments.seed,
        arguments.kills,
        points.len()
    ));
    let mut checks = Checks::default();
    let mut disturbed = Disturbed::new(arguments, options.clone(), points);
    disturbed.run(&mut checks)?;

    report::line("every upload is sent; waiting for the last decisions");
    let server = Server::start(&options)?;
    disturbed.recoveries.push(server.recovery());
    let mut clients = disturbed.clients();
    clients.send_all(&server.client(LIMIT))?;
    disturbed.acknowledged = clients.into_acknowledged();
    if let Some(partners) = &mut disturbed.partners {
        let may_be_erased = disturbed.erasures.images();
        partners.send_all(&server.client(LIMIT), &disturbed.workload, may_be_erased)?;
    }
    disturbed.corrections.send_all(&server.client(LIMIT))?;
    disturbed.erasures.send_all(&server.client(LIMIT))?;
    let corrected = disturbed
        .corrections
        .check(&server.client(LIMIT), &mut checks)?;
    let erased = disturbed
        .erasures
        .check(&server.client(LIMIT), &corrected, &mut checks)?;
    let num_left = disturbed.acknowledged.len() - erased.len();
    let decisions = stream::read_all(&server, num_left)?;
    let dropped = match &disturbed.partners {
        Some(partners) => {
            let erased = erased.keys().cloned().collect();
            partners.check(&server.client(LIMIT), &erased, &mut checks)?
        }
        None => BTreeSet::new(),
    };
    check::history(&disturbed.read, &decisions, &erased, &mut checks);
    check::decisions(
        &disturbed.workload,
        &disturbed.acknowledged,
        &decisions,
        &check::Expected {
            erased: &erased,
            dropped: &dropped,
        },
        &mut checks,
    );
    let clusters = check::store(&server, &disturbed.workload, &decisions, &mut checks)?;
    checks.step("a clean stop at the end", server.stop());

    report::line("the same images and corrections, in the same order, to an undisturbed server");
    let undisturbed = ServerOptions {
        data: folder.join("undisturbed"),
        ..options
    };
    let replayed = check::replay(
        &undisturbed,
        &disturbed.workload,
        &decisions,
        &corrected,
        &erased,
        &mut checks,
    )?;
    check::same_clusters(&clusters, &replayed, &mut checks);
    disturbed.figures(
        arguments,
        &decisions,
        &corrected,
        &erased,
        &mut checks,
        started.elapsed(),
    )
}

/// Asks the binary for the names of its fail points.
fn fail_points(binary: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let mut command = Command::new(binary);
    command.arg("failpoints");
    let output = process::output(command, LIMIT)?;
    if !output.success {
        bail!("`likeness failpoints` failed: {}", output.stderr.trim());
    }
    let points: Vec<String> = output.stdout.lines().map(str::to_owned).collect();
    if points.is_empty() {
        bail!("the binary has no fail points; was it built with `--features failpoints`?");
    }
    Ok(points)
}

/// Returns whether only pins come by a point.
fn is_of_pins(name: &str) -> bool {
    name.starts_with("pins.") || name.starts_with("tables.")
}

/// Returns whether a server that did not start met its fail point before it was ready.
fn died_at_point(error: &anyhow::Error) -> bool {
    error.to_string().contains("signal: 9")
}

/// Returns the times from start to readiness in milliseconds, and prints them.
fn recovery_figures(recoveries: &[Duration]) -> Value {
    let mut recoveries = recoveries.to_vec();
    recoveries.sort();
    let at = |share: usize| {
        let index = (recoveries.len() * share / 100).min(recoveries.len().saturating_sub(1));
        recoveries.get(index).map_or(0, Duration::as_millis) as u64
    };
    report::line(&format!(
        "recovery, start to ready: median {} ms, 99th percentile {} ms, worst {} ms",
        at(50),
        at(99),
        at(100)
    ));
    json!({"median": at(50), "p99": at(99), "max": at(100)})
}

/// Returns whether everything that was stored is decided.
fn is_idle(server: &Server) -> bool {
    let overview = server.client(LIMIT).get_json("/v1/overview");
    overview.is_ok_and(|overview| overview["pending"] == 0)
}

/// The run that is disturbed.
struct Disturbed {
    options: ServerOptions,
    points: Vec<String>,
    num_kills: usize,
    rng: Rng,
    workload: Arc<Workload>,
    /// Whether each image of the workload is acknowledged.
    acknowledged: Vec<bool>,
    corrections: Corrections,
    erasures: Erasures,
    /// Set if images wait for embeddings.
    partners: Option<Partners>,
    /// What was read from the stream so far, by offset.
    read: Vec<Decided>,
    kills_by_point: BTreeMap<String, usize>,
    not_reached: HashMap<String, usize>,
    recoveries: Vec<Duration>,
}

impl Disturbed {
    fn new(arguments: &Arguments, options: ServerOptions, points: Vec<String>) -> Self {
        // Rounds whose fail point is not reached kill all the same, so this many images suffice.
        let num_images = arguments.kills * IMAGES_PER_ROUND;
        Self {
            options,
            num_kills: arguments.kills,
            rng: Rng::new(arguments.seed),
            workload: Arc::new(Workload::new(arguments.seed, num_images)),
            acknowledged: Vec::new(),
            corrections: Corrections::default(),
            erasures: Erasures::default(),
            partners: arguments.join.then(Partners::default),
            read: Vec::new(),
            kills_by_point: points.iter().map(|name| (name.clone(), 0)).collect(),
            points,
            not_reached: HashMap::new(),
            recoveries: Vec::new(),
        }
    }

    /// Plans to send what is not acknowledged.
    fn clients(&self) -> Round {
        let erased = self.erasures.images();
        Round::new(&self.workload, &self.acknowledged, erased)
    }

    fn run(&mut self, checks: &mut Checks) -> anyhow::Result<()> {
        for kill in 0..self.num_kills {
            // Every third kill is at a random moment, the others at each fail point in turn.
            let turn = kill - kill / 3;
            let target = (kill % 3 != 2).then(|| self.points[turn % self.points.len()].clone());
            self.round(kill, target.as_deref(), checks)
                .with_context(|| {
                    format!("kill {kill}, at {}", target.as_deref().unwrap_or("random"))
                })?;
            if (kill + 1) % 20 == 0 || kill + 1 == self.num_kills {
                let acknowledged = self.acknowledged.iter().filter(|&&is| is).count();
                report::line(&format!(
                    "{} kills, {acknowledged} uploads acknowledged",
                    kill + 1
                ));
            }
        }
        Ok(())
    }

    /// Starts a server, uploads, kills it.
    fn round(
        &mut self,
        kill: usize,
        target: Option<&str>,
        checks: &mut Checks,
    ) -> anyhow::Result<()> {
        let mut options = self.options.clone();
        if let Some(name) = target {
            let at = format!("{name}:{}", self.count(name));
            options
                .environment
                .push(("LIKENESS_KILL_AT".to_owned(), at));
        }
        // What is left from the round before may lead the server to its point before it is ready.
        let mut server = match Server::start(&options) {
            Ok(server) => server,
            Err(error) => {
                let Some(name) = target.filter(|_| died_at_point(&error)) else {
                    return Err(error);
                };
                *self.kills_by_point.entry(name.to_owned()).or_default() += 1;
                return Ok(());
            }
        };
        self.recoveries.push(server.recovery());
        self.acknowledged.resize(
            ((kill + 1) * IMAGES_PER_ROUND).min(self.workload.len()),
            false,
        );
        let mut erasures = std::mem::take(&mut self.erasures);
        erasures.plan(&self.read, &mut self.rng);
        let erased = erasures.images();
        let num_sent = self.acknowledged.len();
        let partner = self.partners.take().map(|mut partners| {
            partners.plan(num_sent, &self.workload, erased.clone(), &mut self.rng);
            partners.start(&server.client(LIMIT), &mut self.rng)
        });
        let mut round = Round::new(&self.workload, &self.acknowledged, erased);
        round.also_resend(&mut self.rng);
        let delay = Duration::from_millis(self.rng.below(400) as u64);
        let handle = round.start(&server.client(LIMIT));
        let mut corrections = std::mem::take(&mut self.corrections);
        corrections.plan(CORRECTIONS_PER_ROUND, &self.read, &mut self.rng);
        let corrector = corrections.start(&server.client(LIMIT), &mut self.rng);
        let eraser = erasures.start(&server.client(LIMIT), &mut self.rng);
        let started = Instant::now();
        let mut has_died = false;
        loop {
            if let Some(status) = server.ended()? {
                use std::os::unix::process::ExitStatusExt as _;
                has_died = true;
                checks.that(target.is_some() && status.signal() == Some(9), || {
                    format!(
                        "kill {kill}: the server ended by itself: {status}\n{}",
                        server.log_tail()
                    )
                });
                break;
            }
            let is_over = match target {
                None => started.elapsed() >= delay,
                Some(_) => {
                    let is_sent = handle.is_finished()
                        && corrector.is_finished()
                        && eraser.is_finished()
                        && partner.as_ref().is_none_or(Working::is_finished);
                    started.elapsed() >= ROUND_LIMIT || is_sent && is_idle(&server)
                }
            };
            if is_over {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        // A reader that was cut off in the middle keeps what it has read.
        if !has_died {
            let more = stream::read_available(&server, self.read.last());
            self.read.extend(more);
        }
        server.kill();
        let round = handle.join()?;
        self.corrections = corrector.join()?;
        self.erasures = eraser.join()?;
        self.partners = partner.map(Working::join).transpose()?;
        for breach in round.breaches() {
            checks.fail(format!("kill {kill}: {breach}"));
        }
        self.acknowledged = round.into_acknowledged();
        let label = match target {
            Some(name) if has_died => name.to_owned(),
            Some(name) => {
                *self.not_reached.entry(name.to_owned()).or_default() += 1;
                "random".to_owned()
            }
            None => "random".to_owned(),
        };
        *self.kills_by_point.entry(label).or_default() += 1;
        Ok(())
    }

    /// Returns at which pass to kill: the first to the third, or the first if the point was missed
    /// before.
    fn count(&mut self, name: &str) -> usize {
        let missed = self.not_reached.get(name).copied().unwrap_or(0);
        let kills = self.kills_by_point.get(name).copied().unwrap_or(0);
        // One image is erased in a round.
        if missed > kills || name.starts_with("erase.") {
            1
        } else {
            self.rng.below(3) + 1
        }
    }

    fn figures(
        &self,
        arguments: &Arguments,
        decisions: &[Decided],
        corrected: &[Corrected],
        erased: &Erased,
        checks: &mut Checks,
        elapsed: Duration,
    ) -> anyhow::Result<Value> {
        for (name, kills) in &self.kills_by_point {
            report::line(&format!("{kills:>5} kills at {name}"));
        }
        if arguments.kills >= 2 * self.points.len() {
            for name in &self.points {
                let kills = self.kills_by_point.get(name).copied().unwrap_or(0);
                let missed = self.not_reached.get(name).copied().unwrap_or(0);
                checks.that(kills > 0, || {
                    format!("fail point `{name}` was never reached in {missed} rounds")
                });
            }
        }
        let recovery_ms = recovery_figures(&self.recoveries);
        let clusters: std::collections::HashSet<_> = decisions
            .iter()
            .map(|decided| &decided.canonical_id)
            .collect();
        let num_dropped = decisions
            .iter()
            .filter(|decided| decided.body["rejection"]["code"] == "orphan_dropped")
            .count();
        let is_applied = |one: &&Corrected| one.outcome["kind"] == "applied";
        let num_applied = corrected.iter().filter(is_applied).count();
        checks.verdict(&format!("crash, seed {}", arguments.seed))?;
        Ok(json!({
            "seed": arguments.seed,
            "kills": self.kills_by_point.values().sum::<usize>(),
            "kills_by_point": self.kills_by_point,
            "images": decisions.len(),
            "clusters": clusters.len(),
            "corrections": corrected.len() - erased.len(),
            "corrections_applied": num_applied - erased.len(),
            "erasures": erased.len(),
            "given_up": num_dropped,
            "recovery_ms": recovery_ms,
            "checks_passed": checks.passed(),
            "checks_failed": checks.failed(),
            "seconds": elapsed.as_secs(),
        }))
    }
}
