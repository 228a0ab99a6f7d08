//! `cargo xtask simultaneous`: near-copies that arrive in the same moment, from many clients.
//!
//! 1. For each family of near-copies, all clients wait for each other and then send one member each.
//! 2. All clients send further members of all families, shuffled, without waiting.
//! 3. The same, while clusters are corrected by hand and images are erased.
//! 4. All clients send the same id at once: the same bytes, then each its own.
//!
//! In the end every family of 1 and 2 has one canonical id, everything is decided once, and a fresh server
//! that gets all of it one by one, in the same order, decides the same. Nothing is left of what was erased.

use std::collections::BTreeSet;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use super::corrections::Corrections;
use super::erasures::Erasures;
use super::stream::{self, Decided};
use super::workload::Workload;
use super::{check, is_idle};
use crate::http::Client;
use crate::process::{Server, ServerOptions};
use crate::report::{self, Checks};
use crate::rng::Rng;
use crate::workspace;

const LIMIT: Duration = Duration::from_secs(120);
/// Waits between two attempts of an upload that is to come again.
const RETRY: Duration = Duration::from_millis(50);
/// Members of each family that are sent by every part but the first.
const FURTHER: usize = 4;
/// Corrections made in the third part.
const CORRECTIONS: usize = 60;
/// Images erased in the third part.
const ERASURES: usize = 30;
/// Ids that all clients send at once, half of them with bytes of their own.
const CONTESTED: usize = 20;

/// How many at once.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Families of near-copies, at most 32
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u16).range(2..=32))]
    pub(crate) families: u16,
    /// Clients that send at the same moment
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=64))]
    pub(crate) clients: u16,
    /// Seed of everything that is random
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Runs the parts and returns their figures.
///
/// # Errors
/// If a family is split, or anything is lost, doubled or decided otherwise.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let started = Instant::now();
    let binary = workspace::build_likeness()?;
    let models = workspace::models(&binary)?;
    let folder = tempfile::tempdir().context("making a folder")?;
    let options = ServerOptions {
        binary,
        models,
        data: folder.path().join("simultaneous"),
        environment: Vec::new(),
    };
    let server = Server::start(&options)?;
    let mut run = Run::new(arguments, &server);
    let mut checks = Checks::default();

    report::line(&format!(
        "{} families, {} clients, seed {}",
        arguments.families, arguments.clients, arguments.seed
    ));
    let first: Vec<_> = (0..run.families)
        .map(|family| run.members(family, 0..run.clients))
        .collect();
    for images in &first {
        run.at_once(images)?;
    }
    let mut second: Vec<usize> = (0..run.families)
        .flat_map(|family| run.members(family, run.clients..run.clients + FURTHER))
        .collect();
    run.shuffled(&mut second)?;
    let num_sent = run.families * (run.clients + FURTHER);
    let decisions = stream::read_all(&server, num_sent)?;
    run.one_cluster_each(&decisions, &mut checks);
    let clusters: BTreeSet<_> = decisions.iter().map(|one| &one.canonical_id).collect();
    report::line(&format!(
        "{num_sent} near-copies of {} families are in {} clusters",
        run.families,
        clusters.len()
    ));

    let mut corrections = Corrections::default();
    corrections.plan(CORRECTIONS, &decisions, &mut run.rng);
    let handle = corrections.start(&server.client(LIMIT), &mut run.rng);
    let mut erasures = Erasures::default();
    for _ in 0..ERASURES {
        erasures.plan(&decisions, &mut run.rng);
    }
    let eraser = erasures.start(&server.client(LIMIT), &mut run.rng);
    let mut third: Vec<usize> = (0..run.families)
        .flat_map(|family| run.members(family, run.clients + FURTHER..run.per_family))
        .collect();
    run.shuffled(&mut third)?;
    let corrections = handle.join()?;
    let mut erasures = eraser.join()?;
    erasures.send_all(&server.client(LIMIT))?;
    let corrected = corrections.check(&server.client(LIMIT), &mut checks)?;
    let erased = erasures.check(&server.client(LIMIT), &corrected, &mut checks)?;
    let decisions = stream::read_all(&server, run.workload.len() - erased.len())?;
    check::decisions(
        &run.workload,
        &vec![true; run.workload.len()],
        &decisions,
        &check::Expected {
            erased: &erased,
            dropped: &BTreeSet::new(),
        },
        &mut checks,
    );
    let clusters = check::store(&server, &run.workload, &decisions, &mut checks)?;

    run.contest(&mut checks)?;
    wait_until_idle(&server)?;
    run.contested_decided_once(&server, decisions.len(), &mut checks)?;
    checks.step("a clean stop", server.stop());

    report::line("the same images and corrections, one by one, to a fresh server");
    let alone = ServerOptions {
        data: folder.path().join("alone"),
        ..options
    };
    let replayed = check::replay(
        &alone,
        &run.workload,
        &decisions,
        &corrected,
        &erased,
        &mut checks,
    )?;
    check::same_clusters(&clusters, &replayed, &mut checks);
    checks.verdict(&format!("simultaneous, seed {}", arguments.seed))?;
    Ok(json!({
        "seed": arguments.seed,
        "families": run.families,
        "clients": run.clients,
        "images": run.workload.len(),
        "corrections": corrected.len() - erased.len(),
        "erasures": erased.len(),
        "contested_ids": CONTESTED,
        "checks_passed": checks.passed(),
        "checks_failed": checks.failed(),
        "seconds": started.elapsed().as_secs(),
    }))
}

fn wait_until_idle(server: &Server) -> anyhow::Result<()> {
    let started = Instant::now();
    while !is_idle(server) {
        if started.elapsed() > LIMIT {
            bail!("something is still pending after {} s", LIMIT.as_secs());
        }
        thread::sleep(RETRY);
    }
    Ok(())
}

struct Run {
    workload: Arc<Workload>,
    client: Client,
    rng: Rng,
    families: usize,
    clients: usize,
    per_family: usize,
}

impl Run {
    fn new(arguments: &Arguments, server: &Server) -> Self {
        let (families, clients) = (
            usize::from(arguments.families),
            usize::from(arguments.clients),
        );
        let per_family = clients + 2 * FURTHER;
        Self {
            workload: Arc::new(Workload::families(families, per_family)),
            client: server.client(LIMIT),
            rng: Rng::new(arguments.seed),
            families,
            clients,
            per_family,
        }
    }

    /// Returns some members of a family, by their place in the workload.
    fn members(&self, family: usize, places: std::ops::Range<usize>) -> Vec<usize> {
        places
            .map(|place| family * self.per_family + place)
            .collect()
    }

    /// Sends one image by each client, all in the same moment.
    fn at_once(&self, images: &[usize]) -> anyhow::Result<()> {
        let barrier = Arc::new(Barrier::new(images.len()));
        self.in_parallel(images.iter().map(|&index| {
            let (workload, barrier) = (Arc::clone(&self.workload), Arc::clone(&barrier));
            move |client: &Client| {
                let bytes = workload.bytes(index);
                barrier.wait();
                store(client, &Workload::id(index), &bytes)
            }
        }))?;
        Ok(())
    }

    /// Sends images in a random order, by all clients.
    fn shuffled(&mut self, images: &mut [usize]) -> anyhow::Result<()> {
        for place in (1..images.len()).rev() {
            images.swap(place, self.rng.below(place + 1));
        }
        let images: Arc<[usize]> = images.into();
        let clients = self.clients;
        self.in_parallel((0..clients).map(|first| {
            let (workload, images) = (Arc::clone(&self.workload), Arc::clone(&images));
            move |client: &Client| {
                for &index in images.iter().skip(first).step_by(clients) {
                    store(client, &Workload::id(index), &workload.bytes(index))?;
                }
                Ok(())
            }
        }))?;
        Ok(())
    }

    /// Every id is stored once, whoever sends it, and others are told so.
    fn contest(&self, checks: &mut Checks) -> anyhow::Result<()> {
        for place in 0..CONTESTED {
            let (id, is_equal) = (contested(place), place % 2 == 0);
            let barrier = Arc::new(Barrier::new(self.clients));
            let answers = self.in_parallel((0..self.clients).map(|number| {
                let (workload, barrier) = (Arc::clone(&self.workload), Arc::clone(&barrier));
                let id = id.clone();
                move |client: &Client| {
                    let index = if is_equal { place } else { number };
                    let bytes = workload.bytes(index);
                    barrier.wait();
                    let answer = client.upload(&id, "contested.png", &bytes, false)?;
                    let existed = answer.json().is_ok_and(|body| body["existed"] == true);
                    Ok((answer.status, existed, index))
                }
            }))?;
            let is_stored = |status: u16| (200..=202).contains(&status);
            let created: Vec<_> = answers
                .iter()
                .filter(|(status, existed, _)| is_stored(*status) && !existed)
                .collect();
            let file = self.client.get(&format!("/v1/images/{id}/file"))?.body;
            // Some clients' files are equal.
            let others_fit = answers.iter().all(|&(status, _, index)| {
                let is_kept = self.workload.bytes(index) == file;
                if is_kept {
                    is_stored(status)
                } else {
                    status == 409
                }
            });
            checks.that(created.len() == 1 && others_fit, || {
                format!("`{id}`, sent by all at once, was answered {answers:?}")
            });
        }
        Ok(())
    }

    fn contested_decided_once(
        &self,
        server: &Server,
        num_before: usize,
        checks: &mut Checks,
    ) -> anyhow::Result<()> {
        let decisions = stream::read_all(server, num_before + CONTESTED)?;
        for place in 0..CONTESTED {
            let id = contested(place);
            let count = decisions.iter().filter(|one| one.id == id).count();
            checks.that(count == 1, || format!("`{id}` was decided {count} times"));
        }
        Ok(())
    }

    fn one_cluster_each(&self, decisions: &[Decided], checks: &mut Checks) {
        let mut all = BTreeSet::new();
        for family in 0..self.families {
            let ids: BTreeSet<String> = self
                .members(family, 0..self.per_family)
                .into_iter()
                .map(Workload::id)
                .collect();
            let canonical: BTreeSet<&str> = decisions
                .iter()
                .filter(|one| ids.contains(&one.id))
                .map(|one| one.canonical_id.as_str())
                .collect();
            checks.that(canonical.len() == 1, || {
                format!("family {family} is in the clusters {canonical:?}")
            });
            for id in canonical {
                checks.that(all.insert(id.to_owned()), || {
                    format!("`{id}` has images of two families")
                });
            }
        }
    }

    /// Runs each on a thread of its own, with its own client.
    fn in_parallel<F, T>(&self, jobs: impl Iterator<Item = F>) -> anyhow::Result<Vec<T>>
    where
        F: FnOnce(&Client) -> anyhow::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let threads: Vec<_> = jobs
            .map(|job| {
                let client = self.client.clone();
                thread::spawn(move || job(&client))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(outcome) => outcome,
                Err(_) => bail!("a client panicked"),
            })
            .collect()
    }
}

fn contested(place: usize) -> String {
    format!("contested-{place:03}")
}

/// Sends an image until it is acknowledged.
fn store(client: &Client, id: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let answer = client.upload(id, &format!("{id}.png"), bytes, false)?;
        match answer.status {
            200..=202 => return Ok(()),
            429 | 503 if started.elapsed() < LIMIT => thread::sleep(RETRY),
            status => bail!("`{id}`: {status} {}", answer.excerpt()),
        }
    }
}
