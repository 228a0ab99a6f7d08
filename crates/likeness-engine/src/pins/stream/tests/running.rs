//! The stream at work: over a log, with tables that fail.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use likeness_adapters::MemoryStore;
use likeness_core::sql::{Find, Migration, StoredPosition, TablesOutcome, TablesStep};
use likeness_core::step::Consumer;
use likeness_core::{StoreError, StoreResult};
use serde_json::value::to_raw_value;

use super::*;
use crate::pins::emulate::{Emulator, EmulatorOptions};
use crate::pins::stream::view::ProfileOrder;
use crate::pins::{Ingested, PinStream, Pins};

/// Tables that fail now and then: before a commit, or after it, so that the answer is lost.
#[derive(Debug)]
struct Shaky {
    tables: MemoryTables,
    calls: AtomicU32,
    /// Every so many calls fail; 0: none.
    every: AtomicU32,
}

impl Shaky {
    fn new(every: u32) -> Arc<Self> {
        Arc::new(Self {
            tables: MemoryTables::new(),
            calls: AtomicU32::new(0),
            every: AtomicU32::new(every),
        })
    }

    /// Returns the number of this call if it is to fail.
    fn fails(&self) -> Option<u32> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let every = self.every.load(Ordering::Relaxed);
        (every > 0 && call % every == every - 1).then(|| call / every)
    }

    fn check(&self) -> StoreResult<()> {
        match self.fails() {
            Some(_) => Err(away()),
            None => Ok(()),
        }
    }
}

fn away() -> StoreError {
    StoreError::unavailable("tables (test)", "gone for a while")
}

#[async_trait]
impl Tables for Shaky {
    async fn migrate(&self, set: &'static str, migrations: &[Migration]) -> StoreResult<()> {
        self.check()?;
        self.tables.migrate(set, migrations).await
    }

    async fn get(&self, spec: &'static TableSpec, keys: Vec<Vec<Value>>) -> StoreResult<Vec<Row>> {
        self.check()?;
        self.tables.get(spec, keys).await
    }

    async fn find(&self, spec: &'static TableSpec, find: Find) -> StoreResult<Vec<Row>> {
        self.check()?;
        self.tables.find(spec, find).await
    }

    async fn select(&self, spec: &'static TableSpec, select: Select) -> StoreResult<Vec<Row>> {
        self.check()?;
        self.tables.select(spec, select).await
    }

    async fn commit(&self, step: TablesStep) -> StoreResult<TablesOutcome> {
        match self.fails() {
            Some(number) if number % 2 == 0 => Err(away()),
            Some(_) => {
                self.tables.commit(step).await?;
                Err(away())
            }
            None => self.tables.commit(step).await,
        }
    }

    async fn positions(&self, consumer: Consumer) -> StoreResult<Vec<StoredPosition>> {
        self.check()?;
        self.tables.positions(consumer).await
    }
}

async fn ingest(pins: &Pins, kind: EventKind, events: &[Json]) {
    let raw: Vec<_> = events
        .iter()
        .map(|one| to_raw_value(one).unwrap())
        .collect();
    let raw: Vec<_> = raw.iter().map(|event| &**event).collect();
    let items = pins.ingest(kind, &raw).await.unwrap();
    assert!(items.iter().any(Ingested::is_accepted));
}

async fn caught_up(stream: &PinStream, num_rows: u64) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let mut commits = stream.changes();
        let status = stream.status().await.unwrap();
        let has_all =
            status.pins + status.geolocations + status.users + status.rejected >= num_rows;
        if has_all && status.topics.iter().all(|topic| topic.records == Some(0)) {
            return;
        }
        tokio::time::timeout_at(deadline, commits.changed())
            .await
            .unwrap_or_else(|_| panic!("{status:?}"))
            .unwrap();
    }
}

/// Posts of the emulator through a stream whose tables fail at every so many calls, and the rows of all tables.
async fn run(every: u32) -> Vec<Vec<Row>> {
    let store = Arc::new(MemoryStore::new());
    let pins = Pins::new(store.clone());
    let emulator = Emulator::new(EmulatorOptions {
        dirty: 0.2,
        late: 0.1,
        ..EmulatorOptions::default()
    });
    let now = Timestamp(NOW).into();
    let (tables, mut num_events) = (Shaky::new(every), 0);
    let config = StreamConfig {
        max_batch_records: 60,
        ..StreamConfig::default()
    };
    // Started anew in between, as servers are.
    for round in 0..3 {
        let stream = PinStream::start(store.clone(), tables.clone(), config.clone());
        for kind in EventKind::ALL {
            let posts = (0..40).map(|number| emulator.post(40 * round + number, now).event(kind));
            let events: Vec<Json> = posts
                .filter(|event| key(kind, event).is_ok())
                .map(Json::Object)
                .collect();
            num_events += events.len() as u64;
            ingest(&pins, kind, &events).await;
        }
        caught_up(&stream, num_events).await;
        assert_eq!(stream.ready(), Ok(()));
        stream.shutdown().await;
    }
    tables.every.store(0, Ordering::Relaxed);
    let mut all = Vec::new();
    for spec in [&EXPERIMENTAL_DATA, &PROFILES, &PINS_PER_MINUTE, &REJECTED] {
        let mut rows = rows(tables.as_ref(), spec).await;
        for row in &mut rows {
            // Each run receives at times of its own.
            row.0.retain(|value| !matches!(value, Value::Timestamp(_)));
        }
        all.push(rows);
    }
    all
}

#[tokio::test]
async fn tables_that_fail_hold_every_record_once_in_the_end() {
    let rejected = |rows: &[Vec<Row>]| rows[3].len();
    let smooth = run(0).await;
    // More calls than a batch takes from the start, or none would ever be committed.
    let shaky = run(23).await;
    assert!(rejected(&smooth) > 0);
    assert_eq!(smooth[0].len(), shaky[0].len());
    assert_eq!(rejected(&smooth), rejected(&shaky));
    let names = |rows: &[Vec<Row>]| {
        rows[1]
            .iter()
            .map(|row| row.0[..3].to_vec())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&smooth), names(&shaky));
}

#[tokio::test]
async fn tables_that_are_away_are_told_and_awaited() {
    let store = Arc::new(MemoryStore::new());
    let pins = Pins::new(store.clone());
    let tables = Shaky::new(1);
    let stream = PinStream::start(store, tables.clone(), StreamConfig::default());
    ingest(&pins, EventKind::Pin, &[pin("a", 1, "art")]).await;
    let told = async {
        loop {
            match stream.ready() {
                Ok(()) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(reason) => break reason,
            }
        }
    };
    let reason = tokio::time::timeout(Duration::from_secs(30), told);
    let reason = reason.await.expect("it is told");
    assert!(reason.contains("gone for a while"), "{reason}");
    let status = stream.status().await.unwrap();
    assert!(status.waits_for.is_some());
    tables.every.store(0, Ordering::Relaxed);
    caught_up(&stream, 1).await;
    assert_eq!(stream.ready(), Ok(()));
    stream.shutdown().await;
}

#[tokio::test]
async fn questions_are_answered() {
    let store = Arc::new(MemoryStore::new());
    let pins = Pins::new(store.clone());
    let stream = PinStream::start(
        store,
        Arc::new(MemoryTables::new()),
        StreamConfig::default(),
    );
    let start = (NOW / 60_000 * 60) as i64;
    let at = |ind: u64, minutes: i64| json!({"ind": ind, "timestamp": start + 60 * minutes});
    let minutes = [-70, -65, -10, -5, 0, 0, 0];
    let times: Vec<Json> = (0..)
        .zip(minutes)
        .map(|(ind, minute)| at(ind, minute))
        .collect();
    ingest(&pins, EventKind::Geolocation, &times).await;
    let category = |ind: u64| if ind < 3 { "art" } else { "food" };
    let mut posts: Vec<Json> = (0..7)
        .map(|ind| pin(&format!("p{ind}"), ind, category(ind)))
        .collect();
    posts[6] = json!({"unique_id": "p6", "index": 6, "poster_name": "Bob", "follower_count": "2M"});
    let bad = |id: u64| json!({"unique_id": format!("x{id}"), "follower_count": "?"});
    posts.extend((0..5).map(bad));
    ingest(&pins, EventKind::Pin, &posts).await;
    caught_up(&stream, 19).await;

    let status = stream.status().await.unwrap();
    assert_eq!(
        (status.pins, status.geolocations, status.rejected),
        (7, 7, 5)
    );
    let until = "2025-10-09T08:53:00Z".parse().unwrap();
    let trends = stream.trends(3_600, Some(until), 10).await.unwrap();
    assert_eq!(trends.until, "2025-10-09T08:54:00Z");
    let found: Vec<_> = trends
        .items
        .iter()
        .map(|item| (item.category.as_deref(), item.pins, item.before))
        .collect();
    assert_eq!(
        found,
        [(Some("food"), 3, 0), (None, 1, 0), (Some("art"), 1, 2)]
    );
    let from = "2025-10-09T08:43:00Z".parse().unwrap();
    let series = stream
        .series(Some("food"), Some(from), Some(until), 300)
        .await
        .unwrap();
    let points: Vec<_> = series
        .points
        .iter()
        .map(|point| (&point.from[11..16], point.pins))
        .collect();
    assert_eq!(points, [("08:40", 0), ("08:45", 1), ("08:50", 0)]);
    let series = stream.series(None, None, Some(until), 3_600).await.unwrap();
    assert_eq!(series.points.len(), 60);
    assert_eq!(series.points.iter().map(|point| point.pins).sum::<u64>(), 4);
    let far = stream
        .series(None, Some("2001-01-01".parse().unwrap()), Some(until), 60)
        .await;
    assert_eq!(far.unwrap_err().code(), "invalid_parameter");

    for (order, expected) in [
        (ProfileOrder::Score, ["Anna", "Bob"]),
        (ProfileOrder::Pins, ["Anna", "Bob"]),
        (ProfileOrder::Followers, ["Bob", "Anna"]),
    ] {
        let profiles = stream.profiles(order, 10).await.unwrap();
        let names: Vec<_> = profiles
            .iter()
            .map(|one| one.poster_name.as_str())
            .collect();
        assert_eq!(names, expected, "{order:?}");
        assert!(
            profiles
                .iter()
                .all(|one| one.score > 0.0 && one.score <= 6.0)
        );
    }
    assert_eq!(
        stream.profiles(ProfileOrder::Score, 1).await.unwrap().len(),
        1
    );

    let mut found = Vec::new();
    let mut cursor = None;
    loop {
        let page = stream.rejected(cursor.as_deref(), 2).await.unwrap();
        assert!(page.items.iter().all(|item| item.field == "follower_count"));
        found.extend(page.items.into_iter().map(|item| item.key));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    found.sort();
    assert_eq!(found, ["x0", "x1", "x2", "x3", "x4"]);
    assert!(stream.rejected(Some("1.pin.2"), 2).await.is_err());
    stream.shutdown().await;
}
