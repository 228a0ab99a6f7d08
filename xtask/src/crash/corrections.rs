//! Corrections that clients send while the server is being killed.
//!
//! Each is planned from decisions that were read before, and has an id, so that it can be sent again. Many
//! are refused, as the clusters have changed since: a refusal is an outcome that must be kept as well.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::stream::Decided;
use super::working::{Working, lock};
use crate::http::Client;
use crate::report::Checks;
use crate::rng::Rng;

/// How far back in the stream images are chosen from, most of the time: where clusters still grow.
const RECENT: usize = 40;

/// A correction to send.
#[derive(Debug, Clone)]
struct Planned {
    id: String,
    body: Vec<u8>,
    is_acknowledged: bool,
    /// What was once answered: sequence number and outcome.
    answered: Option<(u64, Value)>,
}

/// Everything that is to be corrected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Corrections {
    planned: Vec<Planned>,
    breaches: Vec<String>,
}

/// A correction that was dealt with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Corrected {
    pub(crate) sequence: u64,
    pub(crate) id: String,
    /// Images that were decided before it.
    pub(crate) images: u64,
    pub(crate) command: Value,
    pub(crate) outcome: Value,
}

impl Corrected {
    /// Whether it is an erasure, which has a door of its own.
    pub(crate) fn is_erasure(&self) -> bool {
        self.command["kind"] == "erase"
    }
}

impl Corrections {
    /// Plans some more, over images whose decisions were read.
    pub(crate) fn plan(&mut self, count: usize, decisions: &[Decided], rng: &mut Rng) {
        for _ in 0..count {
            let id = format!("correction-{:05}", self.planned.len());
            let Some(command) = command(decisions, self.planned.len(), rng) else {
                return;
            };
            let body = json!({"id": id, "author": "crash", "reason": "a test", "command": command});
            self.planned.push(Planned {
                id,
                body: body.to_string().into_bytes(),
                is_acknowledged: false,
                answered: None,
            });
        }
    }

    /// Starts a client that sends what is not acknowledged, and one that is; it gives up when the server is
    /// gone.
    pub(crate) fn start(self, client: &Client, rng: &mut Rng) -> Working<Self> {
        let known: Vec<usize> = (0..self.planned.len())
            .filter(|&index| self.planned[index].is_acknowledged)
            .collect();
        let mut queue: Vec<usize> = (0..self.planned.len())
            .filter(|&index| !self.planned[index].is_acknowledged)
            .collect();
        if !known.is_empty() {
            queue.push(known[rng.below(known.len())]);
        }
        Working::start(self, client, queue, |corrections, client, index| {
            let body = lock(corrections).planned[index].body.clone();
            let answer = send(client, body);
            lock(corrections).note(index, answer);
        })
    }

    /// Sends everything that is not acknowledged to a server that stays.
    ///
    /// # Errors
    /// If a correction is not accepted.
    pub(crate) fn send_all(&mut self, client: &Client) -> anyhow::Result<()> {
        for index in 0..self.planned.len() {
            if self.planned[index].is_acknowledged {
                continue;
            }
            let answer = send(client, self.planned[index].body.clone());
            self.note(index, answer);
            if !self.planned[index].is_acknowledged {
                bail!("`{}` is not acknowledged", self.planned[index].id);
            }
        }
        Ok(())
    }

    fn note(&mut self, index: usize, answer: anyhow::Result<crate::http::Response>) {
        let Ok(answer) = answer else {
            return;
        };
        let planned = &mut self.planned[index];
        match answer.status {
            200 => {
                planned.is_acknowledged = true;
                let Ok(view) = answer.json() else {
                    let breach = format!("`{}`: {}", planned.id, answer.excerpt());
                    self.breaches.push(breach);
                    return;
                };
                let now = (
                    view["sequence"].as_u64().unwrap_or(u64::MAX),
                    view["outcome"].clone(),
                );
                match &planned.answered {
                    Some(before) if *before != now => {
                        let breach = format!("`{}` was {before:?} and is {now:?}", planned.id);
                        self.breaches.push(breach);
                    }
                    _ => planned.answered = Some(now),
                }
            }
            202 => planned.is_acknowledged = true,
            429 | 503 | 507 => {}
            status => {
                let breach = format!("`{}`: {status} {}", planned.id, answer.excerpt());
                self.breaches.push(breach);
            }
        }
    }

    /// Every acknowledged correction was dealt with once, as was once answered, and nothing else was.
    ///
    /// # Errors
    /// If the server does not answer.
    pub(crate) fn check(
        &self,
        client: &Client,
        checks: &mut Checks,
    ) -> anyhow::Result<Vec<Corrected>> {
        for breach in &self.breaches {
            checks.fail(breach.clone());
        }
        let listed = list(client)?;
        let planned: HashMap<&str, &Planned> = self
            .planned
            .iter()
            .map(|planned| (planned.id.as_str(), planned))
            .collect();
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for (place, corrected) in listed.iter().enumerate() {
            checks.that(corrected.sequence == place as u64, || {
                format!("correction {} stands at {place}", corrected.sequence)
            });
            if corrected.is_erasure() {
                continue;
            }
            *times.entry(&corrected.id).or_default() += 1;
            let is_as_answered = planned.get(corrected.id.as_str()).is_some_and(|planned| {
                planned.answered.as_ref().is_none_or(|(sequence, outcome)| {
                    *sequence == corrected.sequence && *outcome == corrected.outcome
                })
            });
            checks.that(is_as_answered, || {
                format!("`{}` is not what was sent or answered", corrected.id)
            });
        }
        for planned in &self.planned {
            let count = times.get(planned.id.as_str()).copied().unwrap_or(0);
            checks.that(count == usize::from(planned.is_acknowledged), || {
                format!(
                    "`{}` (acknowledged: {}) was dealt with {count} times",
                    planned.id, planned.is_acknowledged
                )
            });
        }
        Ok(listed)
    }
}

/// Sends a correction again, to another server, as it was first sent.
///
/// # Errors
/// If it is not dealt with at once.
pub(crate) fn repeat(client: &Client, corrected: &Corrected) -> anyhow::Result<Value> {
    let body = json!({
        "id": corrected.id, "author": "crash", "reason": "a test", "command": corrected.command,
    });
    let answer = send(client, body.to_string().into_bytes())?;
    if answer.status != 200 {
        bail!("`{}`: {} {}", corrected.id, answer.status, answer.excerpt());
    }
    answer.json()
}

fn send(client: &Client, body: Vec<u8>) -> anyhow::Result<crate::http::Response> {
    let headers = [("content-type", "application/json")];
    client.send("POST", "/v1/corrections", &headers, body)
}

/// Returns all corrections, oldest first.
fn list(client: &Client) -> anyhow::Result<Vec<Corrected>> {
    let mut listed = Vec::new();
    let mut path = "/v1/corrections?limit=100".to_owned();
    loop {
        let page = client.get_json(&path)?;
        for item in page["items"].as_array().context("a page without items")? {
            listed.push(Corrected {
                sequence: item["sequence"].as_u64().context("without sequence")?,
                id: item["id"].as_str().context("without id")?.to_owned(),
                images: item["images"].as_u64().context("without images")?,
                command: item["command"].clone(),
                outcome: item["outcome"].clone(),
            });
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/corrections?limit=100&cursor={next}"),
            None => break,
        }
    }
    listed.reverse();
    Ok(listed)
}

/// Returns a correction of some kind; nothing if too little is decided.
fn command(decisions: &[Decided], num_planned: usize, rng: &mut Rng) -> Option<Value> {
    let decided: Vec<&Decided> = decisions
        .iter()
        .filter(|decided| decided.number.is_some())
        .collect();
    let joined: Vec<&&Decided> = decided
        .iter()
        .filter(|decided| decided.kind == "joined")
        .collect();
    if decided.len() < 4 || joined.len() < 2 {
        return None;
    }
    let mut any = || {
        let span = decided.len().min(RECENT);
        decided[decided.len() - 1 - rng.below(span)]
    };
    let (one, other) = (any(), any());
    let span = joined.len().min(RECENT);
    let member = joined[joined.len() - 1 - rng.below(span)];
    Some(match rng.below(8) {
        0 | 1 => json!({
            "kind": "split", "cluster": member.canonical_id, "members": [member.id],
            "each_alone": rng.below(2) == 0,
        }),
        2 => json!({"kind": "merge", "into": one.canonical_id, "from": other.canonical_id}),
        3 => json!({"kind": "rehead", "cluster": member.canonical_id, "head": member.id}),
        4 => json!({"kind": "never_together", "a": member.canonical_id, "b": member.id}),
        5 => json!({"kind": "always_together", "a": one.id, "b": other.id}),
        // Of the first there may be nothing to undo: it is refused then.
        _ => {
            let back = rng.below(num_planned.clamp(1, 6)) as u64;
            json!({"kind": "undo", "correction": (num_planned as u64).saturating_sub(1 + back)})
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(index: usize, head: usize) -> Decided {
        let id = format!("image-{index}");
        let kind = if index == head {
            "new_cluster"
        } else {
            "joined"
        };
        Decided {
            offset: index as u64,
            kind: kind.to_owned(),
            canonical_id: format!("image-{head}"),
            number: Some(index as u64),
            body: json!({}),
            id,
        }
    }

    #[test]
    fn plans_are_the_same_for_a_seed_and_of_every_kind() {
        let decisions: Vec<_> = (0..60).map(|index| decided(index, index / 3 * 3)).collect();
        let plan = || {
            let mut corrections = Corrections::default();
            corrections.plan(80, &decisions, &mut Rng::new(4));
            corrections.planned
        };
        let (first, second) = (plan(), plan());
        assert_eq!(first.len(), 80);
        let bodies = |planned: &[Planned]| -> Vec<_> {
            planned.iter().map(|one| one.body.clone()).collect()
        };
        assert_eq!(bodies(&first), bodies(&second));
        for kind in [
            "split",
            "merge",
            "rehead",
            "never_together",
            "always_together",
            "undo",
        ] {
            let is_kind = |planned: &Planned| {
                let body: Value = serde_json::from_slice(&planned.body).unwrap();
                body["command"]["kind"] == kind
            };
            assert!(first.iter().any(is_kind), "no {kind} among 80");
        }
    }

    #[test]
    fn nothing_is_planned_before_there_is_something_to_correct() {
        let mut corrections = Corrections::default();
        corrections.plan(5, &[decided(0, 0)], &mut Rng::new(1));
        assert!(corrections.planned.is_empty());
    }

    #[test]
    fn an_outcome_that_changes_is_a_breach() {
        let decisions: Vec<_> = (0..9).map(|index| decided(index, index / 3 * 3)).collect();
        let mut corrections = Corrections::default();
        corrections.plan(1, &decisions, &mut Rng::new(2));
        let answer = |sequence: u64| {
            Ok(crate::http::Response {
                status: 200,
                headers: Vec::new(),
                body: json!({"sequence": sequence, "outcome": {"kind": "applied"}})
                    .to_string()
                    .into_bytes(),
            })
        };
        corrections.note(0, answer(0));
        corrections.note(0, answer(0));
        assert!(corrections.breaches.is_empty());
        corrections.note(0, answer(1));
        assert_eq!(corrections.breaches.len(), 1);
    }
}
