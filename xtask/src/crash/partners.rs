//! Embeddings that clients send while the server is being killed, without which no image is decided.
//!
//! An image's embedding comes before its upload or after it; that of one image in ten never comes, and some
//! embeddings are of images that nobody uploads. What lacks its partner is an orphan: some are given up while the
//! server is being killed, the others in the end.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::working::{Working, lock};
use super::workload::Workload;
use crate::http::{Client, Response};
use crate::report::Checks;
use crate::rng::Rng;

const LIMIT: Duration = Duration::from_secs(60);
const KIND: &str = "partner";
const MODEL: &str = "elsewhere 1";
/// Images ahead of what is uploaded whose embeddings are sent already.
const AHEAD: usize = 6;
/// One image in so many has no embedding.
const WITHOUT: usize = 10;
/// Image in whose stead a stranger gets an embedding: one in so many.
const STRANGER: usize = 15;

/// How a server is started that waits for embeddings.
pub(crate) fn environment() -> Vec<(String, String)> {
    let kinds = format!(r#"[{{name="{KIND}", model="{MODEL}", dimension=2}}]"#);
    [
        ("KINDS", kinds),
        ("REQUIRED", format!(r#"["{KIND}"]"#)),
        // Of event time, so that orphans are found while the server is being killed.
        ("LATENESS", "1s".to_owned()),
    ]
    .map(|(name, value)| (format!("LIKENESS__DEDUP__JOIN__{name}"), value))
    .into()
}

/// What is sent of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Its embedding.
    Embedding,
    /// It is given up.
    Drop,
}

#[derive(Debug, Clone)]
struct Planned {
    image: String,
    plan: Plan,
    is_acknowledged: bool,
}

/// Everything that is to be sent besides uploads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partners {
    planned: Vec<Planned>,
    /// Images of the workload that are planned for.
    num_images: usize,
    /// What may be erased: nothing can be sent of it.
    erased: HashSet<String>,
    breaches: Vec<String>,
}

impl Partners {
    /// Plans for all images up to some beyond `num_sent`, and gives up one that has none and was uploaded
    /// rounds ago.
    pub(crate) fn plan(
        &mut self,
        num_sent: usize,
        workload: &Workload,
        erased: HashSet<String>,
        rng: &mut Rng,
    ) {
        self.erased = erased;
        let end = (num_sent + AHEAD).min(workload.len());
        let mut new = Vec::new();
        for index in self.num_images..end {
            if !is_without(index) {
                new.push((Workload::id(index), Plan::Embedding));
            }
            if index % STRANGER == STRANGER - 1 {
                new.push((stranger(index), Plan::Embedding));
            }
            // Long uploaded, and without a partner.
            if let Some(past) = index.checked_sub(3 * WITHOUT)
                && is_without(past)
                && past % (2 * WITHOUT) != 0
            {
                new.push((Workload::id(past), Plan::Drop));
            }
        }
        for place in (1..new.len()).rev() {
            new.swap(place, rng.below(place + 1));
        }
        self.num_images = self.num_images.max(end);
        self.planned
            .extend(new.into_iter().map(|(image, plan)| Planned {
                image,
                plan,
                is_acknowledged: false,
            }));
    }

    /// Starts a client that sends what is not acknowledged, and one that is; it gives up when the server is
    /// gone.
    pub(crate) fn start(self, client: &Client, rng: &mut Rng) -> Working<Self> {
        let (known, mut queue): (Vec<usize>, Vec<usize>) =
            (0..self.planned.len()).partition(|&index| self.planned[index].is_acknowledged);
        if !known.is_empty() {
            queue.push(known[rng.below(known.len())]);
        }
        Working::start(self, client, queue, |partners, client, index| {
            let planned = lock(partners).planned[index].clone();
            let answer = send(client, &planned);
            lock(partners).note(index, answer);
        })
    }

    fn note(&mut self, index: usize, answer: anyhow::Result<Response>) {
        let Ok(answer) = answer else {
            return;
        };
        let planned = &mut self.planned[index];
        let breach = match (planned.plan, answer.status) {
            (Plan::Embedding, 200 | 202) => {
                let existed = answer.json().is_ok_and(|body| body["outcome"] == "existed");
                let is_lost = planned.is_acknowledged && !existed;
                planned.is_acknowledged = true;
                is_lost
            }
            // Of what was given up before, or joined after all, there is nothing to give up.
            (Plan::Drop, 200 | 404) => {
                planned.is_acknowledged = true;
                false
            }
            (_, 410) if self.erased.contains(&planned.image) => {
                planned.is_acknowledged = true;
                false
            }
            (_, 202 | 429 | 503 | 507) => false,
            _ => true,
        };
        if breach {
            let breach = format!(
                "{:?} of `{}`: {} {}",
                planned.plan,
                planned.image,
                answer.status,
                answer.excerpt()
            );
            self.breaches.push(breach);
        }
    }

    /// Sends everything that is not acknowledged to a server that stays, and settles what is left: every other
    /// image that has no embedding is given up, the others get theirs after all.
    ///
    /// # Errors
    /// If something is not taken.
    pub(crate) fn send_all(
        &mut self,
        client: &Client,
        workload: &Workload,
        erased: HashSet<String>,
    ) -> anyhow::Result<()> {
        self.plan(workload.len(), workload, erased, &mut Rng::new(1));
        let known: HashSet<(String, bool)> = self
            .planned
            .iter()
            .map(|planned| (planned.image.clone(), planned.plan == Plan::Drop))
            .collect();
        for index in (0..workload.len()).filter(|&index| is_without(index)) {
            let image = Workload::id(index);
            if known.contains(&(image.clone(), true)) {
                continue;
            }
            let plan = match index % (2 * WITHOUT) {
                0 => Plan::Embedding,
                _ => Plan::Drop,
            };
            let is_acknowledged = false;
            self.planned.push(Planned {
                image,
                plan,
                is_acknowledged,
            });
        }
        for index in 0..self.planned.len() {
            for _ in 0..200 {
                if self.planned[index].is_acknowledged {
                    break;
                }
                let answer = send(client, &self.planned[index]);
                self.note(index, answer);
                if let Some(breach) = self.breaches.first() {
                    bail!("{breach}");
                }
            }
            if !self.planned[index].is_acknowledged {
                bail!("{:?} is not acknowledged", self.planned[index]);
            }
        }
        // One that was given up before its upload was there is given up now.
        for planned in self.planned.iter().filter(|one| one.plan == Plan::Drop) {
            settle(client, planned)?;
        }
        Ok(())
    }

    /// Everything that waits is a stranger's embedding, and everything that was given up was so once. Returns the
    /// images of the workload that were given up.
    ///
    /// # Errors
    /// If the server does not answer.
    pub(crate) fn check(
        &self,
        client: &Client,
        erased: &HashSet<String>,
        checks: &mut Checks,
    ) -> anyhow::Result<BTreeSet<String>> {
        for breach in &self.breaches {
            checks.fail(breach.clone());
        }
        let strangers = self
            .planned
            .iter()
            .filter(|one| one.image.starts_with("stranger"));
        let strangers: BTreeSet<String> = strangers.map(|one| one.image.clone()).collect();
        let join = client.get_json("/v1/orphans?limit=1")?["join"].clone();
        let count = |name: &str| join[name].as_u64().unwrap_or(u64::MAX);
        let num_waiting = count("orphan_embeddings") + count("waiting_embeddings");
        checks.that(num_waiting == strangers.len() as u64, || {
            format!("{} strangers, but {join}", strangers.len())
        });
        let num_uploads = count("orphan_uploads") + count("waiting_uploads");
        checks.that(num_uploads == 0, || format!("uploads wait: {join}"));
        let listed = listed(client)?;
        checks.that(listed.is_subset(&strangers), || {
            format!("orphans: {listed:?}, of the strangers {strangers:?}")
        });
        checks.that(listed.len() as u64 == count("orphan_embeddings"), || {
            format!("{} orphans listed, {join}", listed.len())
        });
        let dropped = dropped(client)?;
        for (image, times) in &dropped {
            checks.that(*times == 1, || {
                format!("`{image}` was given up {times} times")
            });
        }
        for planned in self.planned.iter().filter(|one| one.plan == Plan::Drop) {
            let is_known = dropped.contains_key(&planned.image)
                || erased.contains(&planned.image)
                || is_broken_or_joined(client, &planned.image)?;
            checks.that(is_known, || format!("`{}` was not given up", planned.image));
        }
        Ok(dropped.into_keys().collect())
    }
}

/// Whether an image was decided without being given up: those that cannot be decoded wait for nothing.
fn is_broken_or_joined(client: &Client, image: &str) -> anyhow::Result<bool> {
    let view = client.get_json(&format!("/v1/images/{image}"))?;
    Ok(view["status"] == "rejected" && view["rejection"]["code"] != "orphan_dropped")
}

fn is_without(index: usize) -> bool {
    index.is_multiple_of(WITHOUT)
}

fn stranger(index: usize) -> String {
    format!("stranger-{index:06}")
}

/// Sends an image's embedding.
///
/// # Errors
/// If the server does not answer.
pub(crate) fn push(client: &Client, image: &str) -> anyhow::Result<Response> {
    // Anything that differs from image to image.
    let sum: u32 = image.bytes().map(u32::from).sum();
    let vector = [1.0, f64::from(sum % 100) / 100.0];
    let body = json!({"image": image, "kind": KIND, "model": MODEL, "vector": vector});
    post(client, "/v1/embeddings", &body)
}

fn send(client: &Client, planned: &Planned) -> anyhow::Result<Response> {
    match planned.plan {
        Plan::Embedding => push(client, &planned.image),
        Plan::Drop => {
            let body = json!({"author": "crash", "reason": "a test"});
            post(
                client,
                &format!("/v1/orphans/{}/drop", planned.image),
                &body,
            )
        }
    }
}

fn post(client: &Client, path: &str, body: &Value) -> anyhow::Result<Response> {
    let headers = [("content-type", "application/json")];
    client.send("POST", path, &headers, body.to_string().into_bytes())
}

/// Gives an image up until it is decided.
fn settle(client: &Client, planned: &Planned) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let view = client.get(&format!("/v1/images/{}", planned.image))?;
        if view.status == 410 || view.json().is_ok_and(|view| view["status"] != "pending") {
            return Ok(());
        }
        if started.elapsed() > LIMIT {
            bail!("`{}` cannot be given up: {}", planned.image, view.excerpt());
        }
        let answer = send(client, planned)?;
        if !matches!(answer.status, 200 | 202 | 404) {
            bail!(
                "`{}`: {} {}",
                planned.image,
                answer.status,
                answer.excerpt()
            );
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns all images that are listed as orphans.
fn listed(client: &Client) -> anyhow::Result<BTreeSet<String>> {
    let mut listed = BTreeSet::new();
    let mut path = "/v1/orphans?limit=100".to_owned();
    loop {
        let page = client.get_json(&path)?;
        for item in page["items"].as_array().context("a page without items")? {
            let image = item["image"].as_str().context("an orphan without image")?;
            if !listed.insert(image.to_owned()) {
                bail!("`{image}` is listed twice");
            }
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/orphans?limit=100&cursor={next}"),
            None => return Ok(listed),
        }
    }
}

/// Returns how often each image was given up, as the journal says.
fn dropped(client: &Client) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut times = BTreeMap::new();
    let mut from = 0;
    loop {
        let page = client.get_json(&format!("/v1/orphans/journal?limit=100&from={from}"))?;
        for item in page["items"].as_array().context("a page without items")? {
            if item["outcome"] == "dropped" {
                let image = item["image"].as_str().context("an act without image")?;
                *times.entry(image.to_owned()).or_default() += 1;
            }
        }
        match page["next"].as_u64() {
            Some(next) if next > from => from = next,
            _ => return Ok(times),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_gets_its_embedding_or_is_one_without() {
        let workload = Workload::new(1, 200);
        let mut partners = Partners::default();
        for round in 0..40 {
            partners.plan(
                round * 6,
                &workload,
                HashSet::new(),
                &mut Rng::new(round as u64),
            );
        }
        let with: BTreeSet<&str> = partners
            .planned
            .iter()
            .filter(|one| one.plan == Plan::Embedding)
            .map(|one| one.image.as_str())
            .collect();
        for index in 0..200 {
            assert_eq!(
                with.contains(Workload::id(index).as_str()),
                !is_without(index)
            );
        }
        assert!(partners.planned.iter().any(|one| one.plan == Plan::Drop));
        assert!(with.contains(stranger(14).as_str()));
    }

    #[test]
    fn an_embedding_that_is_new_again_was_lost() {
        let workload = Workload::new(1, 20);
        let mut partners = Partners::default();
        partners.plan(6, &workload, HashSet::new(), &mut Rng::new(1));
        let answer = |outcome: &str| {
            Ok(Response {
                status: 202,
                headers: Vec::new(),
                body: json!({"outcome": outcome}).to_string().into_bytes(),
            })
        };
        partners.note(0, answer("stored"));
        partners.note(0, answer("existed"));
        assert!(partners.breaches.is_empty());
        partners.note(0, answer("stored"));
        assert_eq!(partners.breaches.len(), 1);
    }
}
