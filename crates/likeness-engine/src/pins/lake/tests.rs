use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use likeness_adapters::{MemoryLake, MemoryStore, MemoryTables};
use likeness_core::StoreError;
use likeness_core::jobs::Interval;
use likeness_core::lake::{
    Day, FileKind, LakeChange, LakeFile, LatestRows, RowStream, Snapshot, Swept,
};
use likeness_core::log::Topic;
use likeness_core::sql::{Select, Tables, TablesStep};
use likeness_core::table::{Row, TableSpec, Value};
use serde_json::value::to_raw_value;

use super::*;
use crate::ops::{Job, day_of};
use crate::pins::emulate::{Emulator, EmulatorOptions};
use crate::pins::event::key;
use crate::pins::parity::TABLES;
use crate::pins::stream::EXPERIMENTAL_DATA;
use crate::pins::tables::{PINS, REJECTED};
use crate::pins::{PinStream, Pins, StreamConfig};

/// A lake that fails now and then: before a commit, or after it, so that the answer is lost.
#[derive(Debug, Default)]
struct Shaky {
    lake: MemoryLake,
    calls: AtomicU32,
    /// Every so many calls fail; 0: none.
    every: AtomicU32,
}

impl Shaky {
    /// Returns the number of this failure if this call is to fail.
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
    StoreError::unavailable("lake (test)", "gone for a while")
}

#[async_trait]
impl Lake for Shaky {
    async fn snapshot(&self) -> StoreResult<Snapshot> {
        self.check()?;
        self.lake.snapshot().await
    }

    async fn write_rows(
        &self,
        spec: &'static TableSpec,
        day: Day,
        rows: Vec<Row>,
    ) -> StoreResult<LakeFile> {
        self.check()?;
        self.lake.write_rows(spec, day, rows).await
    }

    async fn write_raw(&self, topic: Topic, day: Day, lines: Vec<Bytes>) -> StoreResult<LakeFile> {
        self.check()?;
        self.lake.write_raw(topic, day, lines).await
    }

    async fn read_raw(&self, file: &LakeFile) -> StoreResult<Vec<Bytes>> {
        self.check()?;
        self.lake.read_raw(file).await
    }

    async fn read_rows(&self, spec: &'static TableSpec, file: &LakeFile) -> StoreResult<Vec<Row>> {
        self.check()?;
        self.lake.read_rows(spec, file).await
    }

    async fn commit(&self, change: LakeChange) -> StoreResult<LakeOutcome> {
        match self.fails() {
            Some(number) if number % 2 == 0 => Err(away()),
            Some(_) => {
                self.lake.commit(change).await?;
                Err(away())
            }
            None => self.lake.commit(change).await,
        }
    }

    async fn sweep(&self, keep: Duration) -> StoreResult<Swept> {
        self.check()?;
        self.lake.sweep(keep).await
    }
}

#[async_trait]
impl LatestRows for Shaky {
    async fn latest(&self, spec: &'static TableSpec, received: Interval) -> StoreResult<RowStream> {
        self.lake.latest(spec, received).await
    }

    async fn row(&self, spec: &'static TableSpec, key: &[Value]) -> StoreResult<Option<Row>> {
        self.lake.row(spec, key).await
    }
}

fn config() -> LakeConfig {
    LakeConfig {
        flush_every: Duration::from_millis(20),
        max_records: 60,
        merge_files: 4,
        max_file_rows: 400,
        ..LakeConfig::default()
    }
}

/// Posts of the emulator, some of them twice with another text.
async fn post(pins: &Pins, numbers: std::ops::Range<u32>) -> u64 {
    let emulator = Emulator::new(EmulatorOptions {
        dirty: 0.3,
        late: 0.1,
        ..EmulatorOptions::default()
    });
    let mut num_events = 0;
    for kind in EventKind::ALL {
        let posts = numbers.clone().flat_map(|number| {
            let first = emulator.post(number, Timestamp::now().into()).event(kind);
            let mut again = first.clone();
            again.insert("note".to_owned(), "again".into());
            let is_repeated = number % 5 == 0;
            std::iter::once(first).chain(is_repeated.then_some(again))
        });
        let raw: Vec<_> = posts
            .filter(|event| key(kind, event).is_ok())
            .map(|event| to_raw_value(&event).unwrap())
            .collect();
        let raw: Vec<_> = raw.iter().map(|event| &**event).collect();
        let items = pins.ingest(kind, &raw).await.unwrap();
        num_events += items.iter().filter(|item| item.is_accepted()).count() as u64;
    }
    num_events
}

async fn caught_up(lake: &PinLake) {
    let all_read = async {
        loop {
            let status = lake.status().await.unwrap();
            let is_well = status.version > 0 && status.trouble.is_none();
            let unread = [
                status.unread_pins,
                status.unread_geolocations,
                status.unread_users,
            ];
            if is_well && unread == [Some(0); 3] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all_read)
        .await
        .expect("the lake reads all of the log");
}

/// Every raw line, and every row, by its place in the log.
async fn places_of(lake: &dyn Lake) -> (Vec<(String, u32, u64)>, Vec<(String, i64, i64)>) {
    let snapshot = lake.snapshot().await.unwrap();
    let mut lines = Vec::new();
    for file in snapshot
        .files
        .iter()
        .filter(|file| file.kind == FileKind::Raw)
    {
        for line in lake.read_raw(file).await.unwrap() {
            let line = RawLine::decode(&line, &file.path).unwrap();
            assert_eq!(Day::of(line.received_ms), file.day);
            lines.push((file.name.clone(), line.log_partition.0, line.log_offset.0));
        }
    }
    let mut rows = Vec::new();
    for spec in TABLES {
        let at = |name| spec.column(name).unwrap();
        for file in snapshot.files_of(FileKind::Rows, spec.name) {
            for row in lake.read_rows(spec, file).await.unwrap() {
                let (Value::Integer(partition), Value::Integer(offset)) =
                    (&row.0[at("log_partition")], &row.0[at("log_offset")])
                else {
                    panic!("{row:?}");
                };
                let table = match &row.0[0] {
                    Value::Text(kind) if spec.name == REJECTED.name => format!("{kind}s"),
                    _ => spec.name.to_owned(),
                };
                rows.push((table, *partition, *offset));
            }
        }
    }
    (lines, rows)
}

#[tokio::test]
async fn a_lake_that_fails_holds_every_event_once_raw_and_as_a_row() {
    for every in [0, 17, 29] {
        let store = Arc::new(MemoryStore::new());
        let pins = Pins::new(store.clone());
        let lake = Arc::new(Shaky::default());
        lake.every.store(every, Ordering::Relaxed);
        let mut num_events = 0;
        // Started anew in between, as servers are.
        for round in 0..3 {
            let way = PinLake::start(store.clone(), lake.clone(), config());
            num_events += post(&pins, 60 * round..60 * round + 60).await;
            caught_up(&way).await;
            way.shutdown().await;
        }
        lake.every.store(0, Ordering::Relaxed);
        let (lines, rows) = places_of(&*lake).await;
        assert_eq!(lines.len() as u64, num_events, "every {every}");
        assert_eq!(rows.len() as u64, num_events, "every {every}");
        let lines: BTreeSet<_> = lines.into_iter().collect();
        let rows: BTreeSet<_> = rows.into_iter().collect();
        assert_eq!(lines.len() as u64, num_events, "none is there twice");
        assert_eq!(rows.len() as u64, num_events, "none is there twice");
        let as_rows = |(topic, partition, offset): &(String, u32, u64)| {
            (topic.clone(), i64::from(*partition), *offset as i64)
        };
        assert_eq!(lines.iter().map(as_rows).collect::<BTreeSet<_>>(), rows);
        let snapshot = lake.lake.snapshot().await.unwrap();
        let small = |file: &&LakeFile| file.kind == FileKind::Rows && file.num_rows < 200;
        let mut files = BTreeMap::new();
        for file in snapshot.files.iter().filter(small) {
            *files.entry((file.name.clone(), file.day)).or_insert(0) += 1;
        }
        // Where most merges fail there are more.
        let most = if every == 0 { 8 } else { 40 };
        assert!(
            files.values().all(|n| *n <= most),
            "small files are merged: {files:?}"
        );
    }
}

#[tokio::test]
async fn a_lake_that_is_away_is_told_and_awaited() {
    let store = Arc::new(MemoryStore::new());
    let pins = Pins::new(store.clone());
    let lake = Arc::new(Shaky::default());
    lake.every.store(1, Ordering::Relaxed);
    let way = PinLake::start(store, lake.clone(), config());
    post(&pins, 0..3).await;
    let told = async {
        while way.ready().is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told)
        .await
        .expect("it is told");
    assert!(way.ready().unwrap_err().contains("gone for a while"));
    lake.every.store(0, Ordering::Relaxed);
    caught_up(&way).await;
    assert_eq!(way.ready(), Ok(()));
    way.shutdown().await;
}

async fn all_latest(lake: &dyn LatestRows) -> Vec<Vec<Row>> {
    let ever = Interval {
        begin: Timestamp(0),
        end: Day::MAX.begin(),
    };
    let mut all = Vec::new();
    for spec in TABLES {
        let parts: Vec<_> = lake.latest(spec, ever).await.unwrap().collect().await;
        all.push(parts.into_iter().flat_map(|rows| rows.unwrap()).collect());
    }
    all
}

#[tokio::test]
async fn rows_of_a_day_are_made_again_of_what_came() {
    let store = Arc::new(MemoryStore::new());
    let pins = Pins::new(store.clone());
    let lake = Arc::new(MemoryLake::new());
    let way = PinLake::start(store, lake.clone(), config());
    let num_events = post(&pins, 0..50).await;
    caught_up(&way).await;
    way.shutdown().await;
    let (before, places) = (all_latest(&*lake).await, places_of(&*lake).await);

    // As if a rule of cleaning had been another one.
    let snapshot = lake.snapshot().await.unwrap();
    let file = snapshot.files_of(FileKind::Rows, PINS.name).next().unwrap();
    let mut rows = lake.read_rows(&PINS, file).await.unwrap();
    let title = PINS.column("title").unwrap();
    for row in &mut rows {
        row.0[title] = Value::Text("of an older rule".to_owned());
    }
    let other = lake.write_rows(&PINS, file.day, rows).await.unwrap();
    let change = LakeChange {
        add: vec![other],
        remove: vec![file.path.clone()],
        positions: Vec::new(),
    };
    assert!(matches!(
        lake.commit(change).await.unwrap(),
        LakeOutcome::Committed(_)
    ));
    assert_ne!(all_latest(&*lake).await, before);

    for day in [file.day, Day::of(Timestamp::now())] {
        let report = rebuild::rebuild(&*lake, day).await.unwrap();
        assert_eq!(report.events, report.rows + report.rejected);
        assert!(report.events <= num_events);
    }
    assert_eq!(all_latest(&*lake).await, before);
    let sorted = |(mut lines, mut rows): (Vec<_>, Vec<_>)| {
        lines.sort();
        rows.sort();
        (lines, rows)
    };
    assert_eq!(sorted(places_of(&*lake).await), sorted(places));
    let empty = rebuild::rebuild(&*lake, Day::MAX).await.unwrap();
    assert_eq!(empty, rebuild::Rebuilt::default());
}

/// Both ways over one log, and the daily batch that compares them.
struct Both {
    pins: Pins,
    tables: Arc<MemoryTables>,
    lake: Arc<MemoryLake>,
    stream: PinStream,
    way: PinLake,
    daily: PinsDaily,
}

impl Both {
    fn start() -> Self {
        let store = Arc::new(MemoryStore::new());
        let (tables, lake) = (Arc::new(MemoryTables::new()), Arc::new(MemoryLake::new()));
        Self {
            pins: Pins::new(store.clone()),
            stream: PinStream::start(store.clone(), tables.clone(), StreamConfig::default()),
            way: PinLake::start(store.clone(), lake.clone(), config()),
            daily: PinsDaily::new(
                store,
                lake.clone(),
                LakeWay::new(lake.clone(), lake.clone()),
                TablesWay::new(tables.clone()),
                DailyConfig::default(),
            ),
            tables,
            lake,
        }
    }

    async fn stop(self) {
        self.way.shutdown().await;
        self.stream.shutdown().await;
    }
}

#[tokio::test]
async fn the_daily_batch_finds_that_both_ways_agree_or_the_rows_that_differ() {
    let both = Both::start();
    post(&both.pins, 0..120).await;
    // A test at midnight meets two days.
    let now = Timestamp::now();
    let days = Interval {
        begin: Day::of(Timestamp(now.0 - 3_600_000)).begin(),
        end: Day::of(Timestamp(now.0 + 3_600_000)).end(),
    };
    let figures = both.daily.run(days).await.unwrap();
    assert_eq!(figures["parity"]["differing"], 0, "{figures:#}");
    let tables = figures["parity"]["tables"].as_array().unwrap();
    assert_eq!(tables.len(), TABLES.len());
    for table in tables {
        assert_eq!(table["first"], table["second"], "{table}");
        assert!(table["first"].as_u64().unwrap() > 0, "{table}");
    }

    // One row is changed in SQL, behind the stream's back.
    let select = Select {
        limit: 1,
        ..Select::default()
    };
    let mut row = both
        .tables
        .select(&EXPERIMENTAL_DATA, select)
        .await
        .unwrap()
        .remove(0);
    let Value::Text(id) = row.0[0].clone() else {
        panic!("{row:?}");
    };
    row.0[PINS.column("title").unwrap()] = "of no event".into();
    let step = TablesStep {
        upserts: vec![(&EXPERIMENTAL_DATA, vec![row])],
        ..TablesStep::default()
    };
    both.tables.commit(step).await.unwrap();
    let error = both.daily.run(days).await.unwrap_err();
    assert!(!error.is_temporary, "another attempt finds the same");
    assert!(
        error
            .message
            .starts_with("batch and stream differ in 1 rows"),
        "{error}"
    );
    assert!(error.message.contains(&format!("{id:?}")), "{error}");
    assert!(error.message.contains("\"title\""), "{error}");
    // Days without events agree too.
    let empty = both.daily.run(day_of(Timestamp(0))).await.unwrap();
    assert_eq!(empty["days"][0]["rebuilt"]["events"], 0);
    assert!(both.lake.snapshot().await.unwrap().version > 0);
    both.stop().await;
}

#[tokio::test]
async fn pages_of_the_lake_go_on_where_they_ended_and_can_begin_anywhere() {
    let both = Both::start();
    post(&both.pins, 0..90).await;
    caught_up(&both.way).await;
    let way = LakeWay::new(both.lake.clone(), both.lake.clone());
    let ever = Interval {
        begin: Timestamp(0),
        end: Day::MAX.begin(),
    };
    use crate::pins::parity::Way as _;
    let all = way.rows(&PINS, ever, None, 10_000).await.unwrap();
    assert!(all.len() > 60);
    let mut paged: Vec<Row> = Vec::new();
    loop {
        let after = paged.last().map(|row| row.key(&PINS).to_vec());
        let page = way.rows(&PINS, ever, after.as_deref(), 7).await.unwrap();
        let is_last = page.len() < 7;
        paged.extend(page);
        if is_last {
            break;
        }
    }
    assert_eq!(paged, all);
    let after = all[30].key(&PINS);
    let page = way.rows(&PINS, ever, Some(after), 7).await.unwrap();
    assert_eq!(page, all[31..38]);
    let one = way.row(&PINS, all[5].key(&PINS)).await.unwrap();
    assert_eq!(one.as_ref(), Some(&all[5]));
    both.stop().await;
}
