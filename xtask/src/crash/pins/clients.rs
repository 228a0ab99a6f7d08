//! Clients that post while the server is being killed.

use std::collections::VecDeque;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::ledger::{Ledger, Place};
use super::workload::{Form, Kind, Planner, Post};
use crate::http::{self, Response};
use crate::rng::Rng;

/// One in so many calls that were answered is repeated.
const REPEATS: usize = 8;
/// How long a client waits when it is told to come again.
const PAUSE: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(120);

/// A client: what it has to post, and what it knows.
#[derive(Debug)]
pub(super) struct Client {
    planner: Planner,
    rng: Rng,
    /// A call stays in front until it is answered, so versions of a key come in their order.
    queue: VecDeque<Post>,
    ledger: Ledger,
    num_posts: usize,
}

/// What became of a call.
enum Outcome {
    /// The place of each event.
    Acknowledged(Vec<Place>),
    /// No answer, or one that says to come again.
    Unknown,
    Breach(String),
}

impl Client {
    /// Returns a client of a run that began at `now`, in seconds since 1970.
    pub(super) fn new(seed: u64, number: usize, now: u64) -> Self {
        Self {
            planner: Planner::new(seed, number, now),
            rng: Rng::new(seed.wrapping_add(number as u64)),
            queue: VecDeque::new(),
            ledger: Ledger::default(),
            num_posts: 0,
        }
    }

    /// Adds calls to what is to be posted.
    pub(super) fn plan(&mut self, num_posts: usize) {
        self.queue.extend(self.planner.plan(num_posts));
    }

    /// Starts to post; it gives up when the server is gone.
    pub(super) fn start(mut self, client: &http::Client) -> JoinHandle<Self> {
        let client = client.clone();
        thread::spawn(move || {
            while self.post_next(&client) {}
            self
        })
    }

    /// Posts everything to a server that stays.
    ///
    /// # Errors
    /// If something is still not acknowledged after two minutes.
    pub(super) fn post_all(&mut self, client: &http::Client) -> anyhow::Result<()> {
        let deadline = Instant::now() + LIMIT;
        while let Some(post) = self.queue.front() {
            if Instant::now() >= deadline {
                bail!("{post:?} is never acknowledged");
            }
            if !self.post_next(client) {
                thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// Returns what it knows, and how often it has posted.
    pub(super) fn into_ledger(self) -> (Ledger, usize) {
        (self.ledger, self.num_posts)
    }

    /// Posts the first call of the queue; false if there is none, or it got no answer.
    fn post_next(&mut self, client: &http::Client) -> bool {
        let Some(post) = self.queue.pop_front() else {
            return false;
        };
        self.num_posts += 1;
        match send(client, &post) {
            Outcome::Acknowledged(places) => {
                for (place, event) in places.into_iter().zip(&post.events) {
                    self.ledger.acknowledge(place, event);
                }
                // A client whose answer got lost on the way repeats itself.
                if self.rng.below(REPEATS) == 0 {
                    self.queue.push_front(post);
                }
                true
            }
            Outcome::Unknown => {
                for event in &post.events {
                    self.ledger.no_answer(event);
                }
                self.queue.push_front(post);
                false
            }
            // It is noted, and not posted again.
            Outcome::Breach(breach) => {
                self.ledger.breach(breach);
                true
            }
        }
    }
}

fn send(client: &http::Client, post: &Post) -> Outcome {
    let (path, content_type, body) = post.request();
    let headers = [("content-type", content_type)];
    let Ok(answer) = client.send("POST", &path, &headers, body) else {
        return Outcome::Unknown;
    };
    if matches!(answer.status, 429 | 503 | 507) {
        return Outcome::Unknown;
    }
    match places(post, &answer) {
        Ok(places) => Outcome::Acknowledged(places),
        Err(error) => {
            let (status, excerpt) = (answer.status, answer.excerpt());
            Outcome::Breach(format!("POST {path}: {error:#}: {status} {excerpt}"))
        }
    }
}

/// Returns the places that an answer names, one for each event.
fn places(post: &Post, answer: &Response) -> anyhow::Result<Vec<Place>> {
    let body = answer.json()?;
    let items = match post.form {
        Form::One => {
            ensure!(answer.status == 202, "one event, not accepted");
            std::slice::from_ref(&body)
        }
        _ => {
            ensure!(answer.status == 200, "several events, no answer about each");
            body["items"].as_array().context("no items")?
        }
    };
    ensure!(
        items.len() == post.events.len(),
        "not one item for each event"
    );
    items
        .iter()
        .zip(&post.events)
        .map(|(item, event)| {
            ensure!(
                item["outcome"] == "accepted",
                "{} is not accepted",
                event.key
            );
            ensure!(
                item["key"] == event.key.as_str(),
                "{} has another key",
                event.key
            );
            let place = place(item)?;
            ensure!(place.kind == post.kind, "{} is in another topic", event.key);
            Ok(place)
        })
        .collect()
}

fn place(item: &Value) -> anyhow::Result<Place> {
    let topic = item["topic"].as_str().context("no topic")?;
    Ok(Place {
        kind: Kind::of_topic(topic).context("an unknown topic")?,
        partition: item["partition"].as_u64().context("no partition")?,
        offset: item["offset"].as_u64().context("no offset")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: &Value) -> Response {
        Response {
            status,
            headers: Vec::new(),
            body: body.to_string().into_bytes(),
        }
    }

    #[test]
    fn an_answer_names_the_place_of_each_event() {
        let mut posts = Planner::new(1, 0, 1_760_000_000).plan(100).into_iter();
        let several = posts.find(|post| post.events.len() > 1).unwrap();
        let items: Vec<Value> = (0..several.events.len())
            .map(|number| {
                json!({
                    "outcome": "accepted", "key": several.events[number].key,
                    "topic": several.kind.topic(), "partition": 2, "offset": number,
                })
            })
            .collect();
        let found = places(&several, &answer(200, &json!({"items": items}))).unwrap();
        assert_eq!(found.len(), items.len());
        assert_eq!((found[1].partition, found[1].offset), (2, 1));
        for broken in [
            answer(202, &json!({"items": items})),
            answer(200, &json!({"items": items[1..]})),
            answer(
                200,
                &json!({"items": vec![json!({"outcome": "refused"}); items.len()]}),
            ),
        ] {
            assert!(places(&several, &broken).is_err());
        }
        let one = posts.find(|post| post.form == Form::One).unwrap();
        let item = json!({
            "outcome": "accepted", "key": one.events[0].key,
            "topic": one.kind.topic(), "partition": 0, "offset": 7,
        });
        assert_eq!(places(&one, &answer(202, &item)).unwrap()[0].offset, 7);
        assert!(places(&one, &answer(422, &item)).is_err());
    }
}
