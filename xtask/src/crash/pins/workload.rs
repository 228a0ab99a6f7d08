//! The events that are posted: versions of few keys, some dirty, some late, some that cannot be cleaned.
//!
//! Each client has keys of its own and posts one call after the other, so versions of a key have one order. Every event
//! has a field `version`, which no other version of its key has; it is kept as a field that is not known.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::rng::Rng;

/// Inds of two clients never meet.
const INDS_PER_CLIENT: usize = 1_000_000;
/// Keys of each kind that a client gets with each plan.
const KEYS_PER_PLAN: usize = 8;
/// Most events of a call.
const MAX_BATCH: usize = 40;
/// One in so many events cannot be cleaned.
const HOPELESS: usize = 12;
/// Times lie in so many seconds before the run.
const SPAN_SECONDS: usize = 20 * 3_600;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Pin,
    Geolocation,
    User,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Pin, Self::Geolocation, Self::User];

    /// Returns its name in rejected events.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pin => "pin",
            Self::Geolocation => "geolocation",
            Self::User => "user",
        }
    }

    /// Returns its topic, which is also the name of its table in the lake.
    pub(super) fn topic(self) -> &'static str {
        match self {
            Self::Pin => "pins",
            Self::Geolocation => "geolocations",
            Self::User => "users",
        }
    }

    /// Returns the kind of a topic.
    pub(super) fn of_topic(topic: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.topic() == topic)
    }

    /// Returns the kind of a name.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Returns the column of its key.
    pub(super) fn key_column(self) -> &'static str {
        match self {
            Self::Pin => "unique_id",
            Self::Geolocation | Self::User => "ind",
        }
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub(super) kind: Kind,
    /// As the log has it.
    pub(super) key: String,
    pub(super) version: u64,
    /// Whether it becomes a row.
    pub(super) is_clean: bool,
    /// Number of the pin.
    pub(super) ind: Option<usize>,
    /// When the pin was posted, as a geolocation says, in seconds since 1970.
    pub(super) time: Option<u64>,
    pub(super) body: Value,
}

/// How events are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    One,
    Array,
    Lines,
}

/// A call: events of one kind.
#[derive(Debug, Clone)]
pub(super) struct Post {
    pub(super) form: Form,
    pub(super) kind: Kind,
    pub(super) events: Vec<Arc<Event>>,
}

impl Post {
    /// Returns path, content type and body.
    pub(super) fn request(&self) -> (String, &'static str, Vec<u8>) {
        let bodies: Vec<&Value> = self.events.iter().map(|event| &event.body).collect();
        let path = format!("/v1/{}", self.kind.topic());
        match (self.form, bodies.as_slice()) {
            (Form::One, [body]) => {
                // The door of services that post pins one by one.
                let path = match self.kind {
                    Kind::Pin => "/pin/".to_owned(),
                    _ => path,
                };
                (path, "application/json", body.to_string().into_bytes())
            }
            (Form::Lines, bodies) => {
                let lines: Vec<String> = bodies.iter().map(ToString::to_string).collect();
                (path, "application/x-ndjson", lines.join("\n").into_bytes())
            }
            (_, bodies) => (
                path,
                "application/json",
                json!(bodies).to_string().into_bytes(),
            ),
        }
    }
}

/// Makes the events of one client.
#[derive(Debug)]
pub(super) struct Planner {
    client: usize,
    rng: Rng,
    versions: u64,
    num_keys: usize,
    /// Seconds since 1970; times lie before it.
    now: u64,
}

impl Planner {
    /// Returns the planner of a client of a run that began at `now`, in seconds since 1970.
    pub(super) fn new(seed: u64, client: usize, now: u64) -> Self {
        let seed = seed ^ crate::rng::mix(client as u64 + 1);
        Self {
            client,
            rng: Rng::new(seed),
            versions: 0,
            num_keys: 0,
            now,
        }
    }

    /// Returns the next calls, half of them of one event.
    pub(super) fn plan(&mut self, num_posts: usize) -> Vec<Post> {
        self.num_keys += KEYS_PER_PLAN;
        (0..num_posts)
            .map(|_| {
                let kind = Kind::ALL[self.rng.below(3)];
                let (form, len) = match self.rng.below(4) {
                    0 => (Form::Array, 1 + self.rng.below(MAX_BATCH)),
                    1 => (Form::Lines, 1 + self.rng.below(MAX_BATCH)),
                    _ => (Form::One, 1),
                };
                let events = (0..len).map(|_| Arc::new(self.event(kind))).collect();
                Post { form, kind, events }
            })
            .collect()
    }

    fn event(&mut self, kind: Kind) -> Event {
        self.versions += 1;
        let is_clean = self.rng.below(HOPELESS) != 0;
        let number = self.rng.below(self.num_keys);
        let ind = self.client * INDS_PER_CLIENT + number;
        let mut body = Map::new();
        body.insert("version".to_owned(), json!(self.versions));
        let (key, ind, time) = match kind {
            Kind::Pin => {
                let key = format!("pin-{}-{number}", self.client);
                (key, self.pin(number, is_clean, &mut body), None)
            }
            Kind::Geolocation => {
                body.insert("ind".to_owned(), json!(ind));
                let time = self.geolocation(is_clean, &mut body);
                (ind.to_string(), Some(ind), Some(time))
            }
            Kind::User => {
                // Numbers may be texts.
                body.insert("ind".to_owned(), json!(ind.to_string()));
                self.user(is_clean, &mut body);
                (ind.to_string(), Some(ind), None)
            }
        };
        Event {
            kind,
            key,
            version: self.versions,
            is_clean,
            ind,
            time,
            body: Value::Object(body),
        }
    }

    /// Returns the number of the pin, which changes from version to version.
    fn pin(
        &mut self,
        number: usize,
        is_clean: bool,
        body: &mut Map<String, Value>,
    ) -> Option<usize> {
        let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
        set("unique_id", json!(format!("pin-{}-{number}", self.client)));
        let followers = ["15k", "1,234", "7", "User Info Error"][self.rng.below(4)];
        set("follower_count", json!(followers));
        if !is_clean {
            set("follower_count", json!("1.2.3k"));
        }
        let category = ["art", "food", "travel", "tattoos", "No category"][self.rng.below(5)];
        set("category", json!(category));
        if self.rng.below(5) != 0 {
            // Profiles have pins of several clients.
            set(
                "poster_name",
                json!(format!("Poster {}", self.rng.below(12))),
            );
        }
        if self.rng.below(6) == 0 {
            return None;
        }
        let ind = self.client * INDS_PER_CLIENT + self.rng.below(self.num_keys);
        set("index", json!(ind));
        Some(ind)
    }

    /// Returns its time.
    fn geolocation(&mut self, is_clean: bool, body: &mut Map<String, Value>) -> u64 {
        let time = self.now - self.rng.below(SPAN_SECONDS) as u64;
        let spelled = match (is_clean, self.rng.below(2)) {
            (false, _) => json!("yesterday"),
            (true, 0) => json!(time),
            (true, _) => json!(time.to_string()),
        };
        body.insert("timestamp".to_owned(), spelled);
        if self.rng.below(3) != 0 {
            body.insert("latitude".to_owned(), json!(self.rng.unit() * 80.0));
            body.insert("longitude".to_owned(), json!(self.rng.unit() * 80.0));
        }
        body.insert(
            "country".to_owned(),
            json!(["N/A", "Peru"][self.rng.below(2)]),
        );
        time
    }

    fn user(&mut self, is_clean: bool, body: &mut Map<String, Value>) {
        let age = if is_clean {
            18 + self.rng.below(60)
        } else {
            999
        };
        body.insert("age".to_owned(), json!(age));
        body.insert(
            "first_name".to_owned(),
            json!(["Anna", "N/A"][self.rng.below(2)]),
        );
        body.insert("date_joined".to_owned(), json!("2015-10-24 11:23:51"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NOW: u64 = 1_760_000_000;

    #[test]
    fn a_seed_makes_the_same_events_and_no_version_twice() {
        let mut one = Planner::new(3, 1, NOW);
        let mut two = Planner::new(3, 1, NOW);
        let mut other = Planner::new(3, 2, NOW);
        let events = |planner: &mut Planner| -> Vec<Arc<Event>> {
            let posts = planner.plan(60).into_iter().chain(planner.plan(60));
            posts.flat_map(|post| post.events).collect()
        };
        let planned = events(&mut one);
        assert_eq!(planned, events(&mut two));
        let versions: HashSet<_> = planned.iter().map(|event| event.version).collect();
        assert_eq!(versions.len(), planned.len());
        let keys: HashSet<_> = planned.iter().map(|one| (one.kind, &one.key)).collect();
        assert!(keys.len() * 3 < planned.len(), "keys come again");
        assert!(planned.iter().any(|event| !event.is_clean));
        let others = events(&mut other);
        assert!(
            others
                .iter()
                .all(|one| !keys.contains(&(one.kind, &one.key)))
        );
    }

    #[test]
    fn calls_are_of_one_kind_and_have_every_form() {
        let posts = Planner::new(1, 0, NOW).plan(200);
        for form in [Form::One, Form::Array, Form::Lines] {
            assert!(posts.iter().any(|post| post.form == form));
        }
        for post in &posts {
            assert!(post.events.iter().all(|event| event.kind == post.kind));
            let (path, content_type, body) = post.request();
            assert!(path == "/pin/" || path == format!("/v1/{}", post.kind.topic()));
            let text = String::from_utf8(body).unwrap();
            let num_events = match post.form {
                Form::One => 1,
                Form::Array => serde_json::from_str::<Vec<Value>>(&text).unwrap().len(),
                Form::Lines => text.lines().count(),
            };
            assert_eq!(num_events, post.events.len());
            assert_eq!(content_type.ends_with("ndjson"), post.form == Form::Lines);
        }
    }
}
