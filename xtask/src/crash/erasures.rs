//! Images that clients erase while the server is being killed.
//!
//! An erasure is idempotent by its image, so it is sent again until it is answered; and what was erased once must
//! stay erased, whatever is sent again.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::corrections::Corrected;
use super::stream::Decided;
use super::working::{Working, lock};
use crate::http::{Client, Response};
use crate::report::Checks;
use crate::rng::Rng;

/// How far back in the stream images are chosen from, every other time.
const RECENT: usize = 12;
/// Most erasures that are proved: a proof reads everything.
const MAX_PROVED: usize = 60;
const LIMIT: Duration = Duration::from_secs(120);

/// An image to erase.
#[derive(Debug, Clone)]
struct Planned {
    image: String,
    is_acknowledged: bool,
    /// Its tombstone, as it was once answered.
    answered: Option<Value>,
}

/// Everything that is to be erased.
#[derive(Debug, Clone, Default)]
pub(crate) struct Erasures {
    planned: Vec<Planned>,
    breaches: Vec<String>,
}

/// Erased images by id, with their numbers.
pub(crate) type Erased = BTreeMap<String, u64>;

impl Erasures {
    /// Plans to erase one more image, of those whose decisions were read.
    pub(crate) fn plan(&mut self, decisions: &[Decided], rng: &mut Rng) {
        let known = self.images();
        let left: Vec<&Decided> = decisions
            .iter()
            .filter(|decided| decided.number.is_some() && !known.contains(&decided.id))
            .collect();
        if left.len() < 4 {
            return;
        }
        let span = match rng.below(2) {
            0 => left.len().min(RECENT),
            _ => left.len(),
        };
        self.planned.push(Planned {
            image: left[left.len() - 1 - rng.below(span)].id.clone(),
            is_acknowledged: false,
            answered: None,
        });
    }

    /// Returns the images that may be erased by now.
    pub(crate) fn images(&self) -> HashSet<String> {
        let images = self.planned.iter().map(|planned| planned.image.clone());
        images.collect()
    }

    /// Starts a client that sends what is not acknowledged, and one that is; it gives up when the server is
    /// gone.
    pub(crate) fn start(self, client: &Client, rng: &mut Rng) -> Working<Self> {
        let (known, mut queue): (Vec<usize>, Vec<usize>) =
            (0..self.planned.len()).partition(|&index| self.planned[index].is_acknowledged);
        if !known.is_empty() {
            queue.push(known[rng.below(known.len())]);
        }
        Working::start(self, client, queue, |erasures, client, index| {
            let image = lock(erasures).planned[index].image.clone();
            let answer = send(client, &image);
            lock(erasures).note(index, answer);
        })
    }

    /// Sends everything again to a server that stays, until it is done.
    ///
    /// # Errors
    /// If an image is not erased after two minutes.
    pub(crate) fn send_all(&mut self, client: &Client) -> anyhow::Result<()> {
        let deadline = Instant::now() + LIMIT;
        for index in 0..self.planned.len() {
            while self.planned[index].answered.is_none() {
                let answer = send(client, &self.planned[index].image);
                self.note(index, answer);
                if Instant::now() > deadline {
                    bail!("`{}` is never erased", self.planned[index].image);
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, index: usize, answer: anyhow::Result<Response>) {
        let Ok(answer) = answer else {
            return;
        };
        let planned = &mut self.planned[index];
        match answer.status {
            200 => {
                planned.is_acknowledged = true;
                let view = answer.json().unwrap_or_default();
                let is_same = planned.answered.as_ref().is_none_or(|then| *then == view);
                if view["id"] != planned.image || view["is_finished"] != true || !is_same {
                    let then = &planned.answered;
                    let breach = format!("`{}` was {then:?} and is {view}", planned.image);
                    self.breaches.push(breach);
                    return;
                }
                planned.answered = Some(view);
            }
            202 => planned.is_acknowledged = true,
            429 | 503 | 507 => {}
            status => {
                let breach = format!("`{}`: {status} {}", planned.image, answer.excerpt());
                self.breaches.push(breach);
            }
        }
    }

    /// Every erasure was made once, nothing else is gone, and nothing is left of what is. Returns what is gone.
    ///
    /// # Errors
    /// If the server does not answer.
    pub(crate) fn check(
        &self,
        client: &Client,
        corrected: &[Corrected],
        checks: &mut Checks,
    ) -> anyhow::Result<Erased> {
        for breach in &self.breaches {
            checks.fail(breach.clone());
        }
        let mut gone = Erased::new();
        for one in corrected.iter().filter(|one| one.is_erasure()) {
            let image = one.command["image"].as_str().unwrap_or_default();
            let planned = self.planned.iter().find(|planned| planned.image == image);
            let view = planned.and_then(|planned| planned.answered.clone());
            let view = view.unwrap_or_default();
            checks.that(view["correction"] == one.sequence, || {
                format!(
                    "correction {} erased `{image}`, and {view} was answered",
                    one.sequence
                )
            });
            let number = view["number"]
                .as_u64()
                .context("an erasure without number")?;
            checks.that(gone.insert(image.to_owned(), number).is_none(), || {
                format!("`{image}` was erased twice")
            });
        }
        checks.that(gone.len() == self.planned.len(), || {
            format!(
                "{} of {} images were erased",
                gone.len(),
                self.planned.len()
            )
        });
        let every = gone.len().div_ceil(MAX_PROVED).max(1);
        for (place, image) in gone.keys().enumerate() {
            for path in ["", "/file", "/explain"] {
                let answer = client.get(&format!("/v1/images/{image}{path}"))?;
                checks.that(answer.status == 410, || {
                    format!("`{image}{path}` is {} after its erasure", answer.status)
                });
            }
            if place % every == 0 {
                let proof = client.get_json(&format!("/v1/images/{image}/erasure"))?;
                checks.that(proof["is_proved"] == true, || format!("`{image}`: {proof}"));
            }
        }
        Ok(gone)
    }
}

/// Erases an image on another server, as it was first erased; returns its tombstone.
///
/// # Errors
/// If it is not done at once.
pub(crate) fn repeat(client: &Client, image: &str) -> anyhow::Result<Value> {
    let answer = send(client, image)?;
    if answer.status != 200 {
        bail!("`{image}`: {} {}", answer.status, answer.excerpt());
    }
    answer.json()
}

fn send(client: &Client, image: &str) -> anyhow::Result<Response> {
    let body = json!({"author": "crash", "reason": "a test"}).to_string();
    let headers = [("content-type", "application/json")];
    client.send(
        "DELETE",
        &format!("/v1/images/{image}"),
        &headers,
        body.into_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(index: usize) -> Decided {
        Decided {
            offset: index as u64,
            id: format!("image-{index}"),
            kind: "new_cluster".to_owned(),
            canonical_id: format!("image-{index}"),
            number: Some(index as u64),
            body: json!({}),
        }
    }

    fn answer(view: &Value) -> anyhow::Result<Response> {
        Ok(Response {
            status: 200,
            headers: Vec::new(),
            body: view.to_string().into_bytes(),
        })
    }

    #[test]
    fn no_image_is_planned_twice() {
        let decisions: Vec<_> = (0..20).map(decided).collect();
        let mut erasures = Erasures::default();
        for _ in 0..40 {
            erasures.plan(&decisions, &mut Rng::new(7));
        }
        assert_eq!(erasures.planned.len(), 17, "three are left alone");
        assert_eq!(erasures.images().len(), 17);
    }

    #[test]
    fn a_tombstone_that_changes_is_a_breach() {
        let decisions: Vec<_> = (0..20).map(decided).collect();
        let mut erasures = Erasures::default();
        erasures.plan(&decisions, &mut Rng::new(7));
        let id = erasures.planned[0].image.clone();
        let view = json!({"id": id, "is_finished": true, "correction": 3, "number": 1});
        erasures.note(0, answer(&view));
        erasures.note(0, answer(&view));
        assert!(erasures.breaches.is_empty());
        erasures.note(
            0,
            answer(&json!({"id": id, "is_finished": true, "correction": 4})),
        );
        assert_eq!(erasures.breaches.len(), 1);
    }
}
