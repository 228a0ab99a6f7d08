//! Clients that upload while the server is being killed.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::workload::Workload;
use crate::http::Client;
use crate::rng::Rng;

const NUM_CLIENTS: usize = 4;
const LIMIT: Duration = Duration::from_secs(120);

/// What one server is sent.
#[derive(Debug)]
pub(crate) struct Round {
    workload: Arc<Workload>,
    acknowledged: Vec<bool>,
    /// Images to send, in order.
    queue: Vec<usize>,
    /// Images that may be erased by now: their ids are not given again.
    erased: Arc<HashSet<String>>,
    breaches: Vec<String>,
}

/// What became of one upload.
enum Outcome {
    Acknowledged,
    /// No answer, or one that says to come again.
    Unknown,
    Breach(String),
}

impl Round {
    /// Plans to send everything that is not acknowledged.
    pub(crate) fn new(
        workload: &Arc<Workload>,
        acknowledged: &[bool],
        erased: HashSet<String>,
    ) -> Self {
        let queue = (0..acknowledged.len())
            .filter(|&index| !acknowledged[index])
            .collect();
        Self {
            workload: Arc::clone(workload),
            acknowledged: acknowledged.to_vec(),
            queue,
            erased: Arc::new(erased),
            breaches: Vec::new(),
        }
    }

    /// Adds two images that are acknowledged already: a client whose answer got lost repeats itself.
    pub(crate) fn also_resend(&mut self, rng: &mut Rng) {
        let known: Vec<usize> = (0..self.acknowledged.len())
            .filter(|&index| self.acknowledged[index])
            .collect();
        for _ in 0..known.len().min(2) {
            self.queue.push(known[rng.below(known.len())]);
        }
    }

    /// Starts the clients; they give up when the server is gone.
    pub(crate) fn start(self, client: &Client) -> Handle {
        let round = Arc::new(Mutex::new(self));
        let next = Arc::new(AtomicUsize::new(0));
        let threads = (0..NUM_CLIENTS)
            .map(|_| {
                let (round, next, client) = (Arc::clone(&round), Arc::clone(&next), client.clone());
                thread::spawn(move || work(&round, &next, &client))
            })
            .collect();
        Handle { round, threads }
    }

    /// Sends everything to a server that stays.
    ///
    /// # Errors
    /// If something is still not acknowledged after two minutes.
    pub(crate) fn send_all(&mut self, client: &Client) -> anyhow::Result<()> {
        let deadline = Instant::now() + LIMIT;
        for index in self.queue.clone() {
            loop {
                let was_acknowledged = self.acknowledged[index];
                match upload(
                    &self.workload,
                    index,
                    was_acknowledged,
                    &self.erased,
                    client,
                ) {
                    Outcome::Acknowledged => break,
                    Outcome::Unknown if Instant::now() < deadline => {
                        thread::sleep(Duration::from_millis(100));
                    }
                    Outcome::Unknown => bail!("`{}` is never acknowledged", Workload::id(index)),
                    Outcome::Breach(breach) => bail!("{breach}"),
                }
            }
            self.acknowledged[index] = true;
        }
        Ok(())
    }

    /// Returns the answers that must not be.
    pub(crate) fn breaches(&self) -> &[String] {
        &self.breaches
    }

    /// Returns whether each image is acknowledged.
    pub(crate) fn into_acknowledged(self) -> Vec<bool> {
        self.acknowledged
    }
}

/// Clients at work.
#[derive(Debug)]
pub(crate) struct Handle {
    round: Arc<Mutex<Round>>,
    threads: Vec<JoinHandle<()>>,
}

impl Handle {
    /// Returns whether all clients are done.
    pub(crate) fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the clients; the server must be gone or idle by now.
    ///
    /// # Errors
    /// If a client panicked.
    pub(crate) fn join(self) -> anyhow::Result<Round> {
        for thread in self.threads {
            if thread.join().is_err() {
                bail!("a client panicked");
            }
        }
        let round = Arc::into_inner(self.round).context("a client still holds the round")?;
        Ok(round.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

fn work(round: &Mutex<Round>, next: &AtomicUsize, client: &Client) {
    loop {
        let position = next.fetch_add(1, Ordering::Relaxed);
        let (workload, index, was_acknowledged, erased) = {
            let round = round.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(&index) = round.queue.get(position) else {
                return;
            };
            (
                Arc::clone(&round.workload),
                index,
                round.acknowledged[index],
                Arc::clone(&round.erased),
            )
        };
        let outcome = upload(&workload, index, was_acknowledged, &erased, client);
        let mut round = round.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Outcome::Acknowledged => round.acknowledged[index] = true,
            Outcome::Unknown => {}
            Outcome::Breach(breach) => round.breaches.push(breach),
        }
    }
}

fn upload(
    workload: &Workload,
    index: usize,
    was_acknowledged: bool,
    erased: &HashSet<String>,
    client: &Client,
) -> Outcome {
    let id = Workload::id(index);
    let bytes = workload.bytes(index);
    let Ok(answer) = client.upload(&id, &format!("{id}.png"), &bytes, false) else {
        return Outcome::Unknown;
    };
    match answer.status {
        200..=202 => {
            let existed = answer.json().is_ok_and(|body| body["existed"] == true);
            if was_acknowledged && !existed {
                return Outcome::Breach(format!("`{id}` was acknowledged, and is new again"));
            }
            Outcome::Acknowledged
        }
        410 if erased.contains(&id) => Outcome::Acknowledged,
        429 | 503 | 507 => Outcome::Unknown,
        status => Outcome::Breach(format!("`{id}`: {status} {}", answer.excerpt())),
    }
}
