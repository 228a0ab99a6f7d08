mod fold;
mod running;

use std::sync::Arc;

use likeness_adapters::MemoryTables;
use likeness_core::Timestamp;
use likeness_core::log::Offset;
use likeness_core::sql::{Select, Tables};
use likeness_core::table::{Row, TableSpec, Value};
use serde_json::{Value as Json, json};

use super::apply::{Report, apply};
use super::schema::{EXPERIMENTAL_DATA, MIGRATIONS, PINS_PER_MINUTE, PROFILES, SET, fields};
use super::state::State;
use crate::pins::event::key;
use crate::pins::read::{Batch, Incoming};
use crate::pins::tables::{REJECTED, read};
use crate::pins::{EventKind, RawEvent, StreamConfig, partition_of};

/// 2025-10-09T08:53:20Z, a whole number of minutes after which is 08:53.
const NOW: u64 = 1_760_000_000_000;

/// An event that came `seconds` after [`NOW`], at a place of the log.
fn incoming(kind: EventKind, event: &Json, seconds: u64, offset: u64) -> Incoming {
    let Json::Object(event) = event.clone() else {
        panic!("{event} is no object");
    };
    let key = key(kind, &event).unwrap();
    let payload = RawEvent {
        received: Timestamp(NOW + seconds * 1_000),
        event,
    }
    .encode();
    let place = (partition_of(&key), Offset(offset));
    Incoming {
        kind,
        cleaned: read(kind, place, &payload).unwrap(),
        key,
    }
}

/// Tables, and what the stream remembers of them.
struct Bench {
    tables: Arc<MemoryTables>,
    state: State,
    config: StreamConfig,
}

impl Bench {
    async fn new() -> Self {
        let tables = Arc::new(MemoryTables::new());
        tables.migrate(SET, &MIGRATIONS).await.unwrap();
        let config = StreamConfig::default();
        Self {
            state: State::load(tables.as_ref(), &config).await.unwrap(),
            tables,
            config,
        }
    }

    async fn apply(&mut self, events: Vec<Incoming>) -> Report {
        let batch = Batch {
            events,
            ..Batch::default()
        };
        let (step, state, report) = apply(self.tables.as_ref(), &self.state, batch, &self.config)
            .await
            .unwrap();
        self.tables.commit(step).await.unwrap();
        self.state = state;
        let stored = State::load(self.tables.as_ref(), &self.config)
            .await
            .unwrap();
        assert_eq!(stored, state, "what a restart would read");
        report
    }

    async fn rows(&self, spec: &'static TableSpec) -> Vec<Row> {
        rows(self.tables.as_ref(), spec).await
    }

    /// Returns `minute category pins late`, minutes after that of [`NOW`].
    async fn minutes(&self) -> Vec<String> {
        let rows = self.rows(&PINS_PER_MINUTE).await;
        let start = (NOW / 60_000 * 60_000 * 1_000) as i64;
        let line = |row: &Row| {
            let [
                Value::Text(category),
                Value::Timestamp(minute),
                Value::Integer(pins),
                Value::Integer(late),
            ] = &row.0[..]
            else {
                panic!("{row:?}");
            };
            format!("{} {category} {pins} {late}", (minute - start) / 60_000_000)
        };
        rows.iter().map(line).collect()
    }
}

async fn rows(tables: &dyn Tables, spec: &'static TableSpec) -> Vec<Row> {
    let select = Select {
        limit: usize::MAX,
        ..Select::default()
    };
    tables.select(spec, select).await.unwrap()
}

fn pin(id: &str, ind: u64, category: &str) -> Json {
    json!({"unique_id": id, "index": ind, "category": category, "poster_name": "Anna"})
}

fn geolocation(ind: u64, seconds: i64) -> Json {
    let seconds = (NOW / 1_000) as i64 + seconds;
    json!({"ind": ind, "timestamp": seconds})
}

#[tokio::test]
async fn a_geolocation_gives_pins_their_time_whenever_it_comes() {
    let mut bench = Bench::new().await;
    let before = incoming(EventKind::Geolocation, &geolocation(1, -120), 0, 0);
    bench.apply(vec![before]).await;
    let pins = vec![
        incoming(EventKind::Pin, &pin("a", 1, "art"), 0, 0),
        incoming(EventKind::Pin, &pin("b", 2, "art"), 0, 1),
        incoming(EventKind::Pin, &pin("c", 3, "art"), 0, 2),
    ];
    let beside = incoming(EventKind::Geolocation, &geolocation(2, -60), 0, 1);
    bench.apply([pins, vec![beside]].concat()).await;
    assert_eq!(
        bench.minutes().await,
        ["-2 art 1 0", "-1 art 1 0", "0 art 1 0"]
    );
    let after = incoming(EventKind::Geolocation, &geolocation(3, -180), 0, 2);
    let report = bench.apply(vec![after]).await;
    assert_eq!(report.moved, 1);
    assert_eq!(
        bench.minutes().await,
        ["-3 art 1 0", "-2 art 1 0", "-1 art 1 0"]
    );
}

#[tokio::test]
async fn what_is_replaced_no_longer_counts() {
    let mut bench = Bench::new().await;
    let version = |category: &str, poster: Option<&str>, followers: Option<u64>| json!({"unique_id": "a", "category": category, "poster_name": poster, "follower_count": followers});
    for (offset, event) in [
        version("art", Some("Anna"), Some(5)),
        version("art", Some("Anna"), Some(5)),
        version("food", Some("Anna"), None),
        version("", Some("Bob"), Some(7)),
        version("food", None, None),
    ]
    .iter()
    .enumerate()
    {
        bench
            .apply(vec![incoming(EventKind::Pin, event, 0, offset as u64)])
            .await;
        let profiles = bench.rows(&PROFILES).await;
        let summary: Vec<_> = profiles
            .iter()
            .map(|row| {
                let [name, followers, pins] =
                    fields(&PROFILES, row, ["poster_name", "followers", "pins"]);
                (name.clone(), followers.clone(), pins.clone())
            })
            .collect();
        let expected: (&str, Option<(&str, Value)>) = match offset {
            0 | 1 => ("0 art 1 0", Some(("Anna", 5.into()))),
            2 => ("0 food 1 0", Some(("Anna", Value::Null))),
            3 => ("0  1 0", Some(("Bob", 7.into()))),
            _ => ("0 food 1 0", None),
        };
        assert_eq!(bench.minutes().await, [expected.0]);
        let expected: Vec<_> = expected
            .1
            .into_iter()
            .map(|(name, followers)| (name.into(), followers, 1.into()))
            .collect();
        assert_eq!(summary, expected, "version {offset}");
    }
    // An older version that comes again changes nothing.
    let old = incoming(EventKind::Pin, &version("art", Some("Anna"), Some(5)), 0, 1);
    assert_eq!(bench.apply(vec![old]).await.rows, [0, 0, 0]);
    assert_eq!(bench.state.pins, 1);
}

#[tokio::test]
async fn what_comes_behind_the_watermark_is_late_and_counts() {
    let mut bench = Bench::new().await;
    let mut offset = 0;
    let mut post = |id: &str, ind: u64, at: i64, received: u64| {
        offset += 1;
        vec![
            incoming(
                EventKind::Geolocation,
                &geolocation(ind, at),
                received,
                offset,
            ),
            incoming(EventKind::Pin, &pin(id, ind, "art"), received, offset),
        ]
    };
    let (first, within, late) = (
        post("a", 1, 0, 0),
        post("b", 2, -600, 0),
        post("c", 3, -601, 0),
    );
    assert_eq!(bench.apply(first).await.late, 0);
    assert_eq!(bench.apply(within).await.late, 0, "as late as is allowed");
    assert_eq!(bench.apply(late).await.late, 1);
    assert_eq!(bench.minutes().await, ["-10 art 2 1", "0 art 1 0"]);

    // A time of the future pushes the watermark no further than what has come.
    let (future, next) = (post("d", 4, 1_000_000, 60), post("e", 5, -540, 61));
    assert_eq!(bench.apply(future).await.late, 0);
    assert_eq!(bench.apply(next).await.late, 0);
    let greatest = bench.state.greatest.unwrap();
    assert_eq!(greatest, (NOW * 1_000 + 60_000_000) as i64);

    // Moved to another late minute, and out of it.
    let moved = vec![incoming(
        EventKind::Geolocation,
        &geolocation(3, -1_000),
        0,
        20,
    )];
    assert_eq!(bench.apply(moved).await.late, 1);
    assert!(bench.minutes().await.contains(&"-17 art 1 1".to_owned()));
    let moved = vec![incoming(EventKind::Geolocation, &geolocation(3, 0), 0, 21)];
    assert_eq!(bench.apply(moved).await.late, 0);
    let minutes = bench.minutes().await;
    assert!(minutes.contains(&"0 art 2 0".to_owned()), "{minutes:?}");
    assert_eq!(bench.state.late, 2);
}

#[tokio::test]
async fn what_cannot_be_cleaned_is_kept_with_its_reason() {
    let mut bench = Bench::new().await;
    let event = json!({"unique_id": "a", "follower_count": "many", "title": "\u{0}"});
    let report = bench
        .apply(vec![incoming(EventKind::Pin, &event, 0, 3)])
        .await;
    assert_eq!(report.rejected, [1, 0, 0]);
    assert_eq!(bench.state.rejected, 1);
    let rejected = bench.rows(&REJECTED).await;
    let [field, found] = fields(&REJECTED, &rejected[0], ["field", "event"]);
    assert_eq!(*field, "follower_count".into());
    assert_eq!(*found, event.into());
    assert!(bench.rows(&EXPERIMENTAL_DATA).await.is_empty());
}

#[tokio::test]
async fn another_half_life_is_refused() {
    let mut bench = Bench::new().await;
    bench
        .apply(vec![incoming(EventKind::Pin, &pin("a", 1, "art"), 0, 0)])
        .await;
    bench.config.half_life *= 2;
    let error = State::load(bench.tables.as_ref(), &bench.config)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("pins.half_life"), "{error}");
}
