//! The daily batch over the real lake: files, lists and DataFusion, beside the stream's tables.

use std::sync::Arc;
use std::time::Duration;

use likeness_adapters::{MemoryObjectStore, MemoryStore, MemoryTables};
use likeness_core::Timestamp;
use likeness_core::jobs::Interval;
use likeness_core::lake::Day;
use likeness_core::sql::{Select, Tables, TablesStep};
use likeness_core::table::Value;
use likeness_engine::ops::Job as _;
use likeness_engine::pins::emulate::{Emulator, EmulatorOptions};
use likeness_engine::pins::lake::{DailyConfig, LakeWay, PinsDaily, TablesWay};
use likeness_engine::pins::stream::EXPERIMENTAL_DATA;
use likeness_engine::pins::tables::{GEOLOCATIONS, PINS, REJECTED, USERS};
use likeness_engine::pins::{
    EventKind, Ingested, LakeConfig, PinLake, PinStream, Pins, StreamConfig,
};
use likeness_lake::{LakeSql, LakeTable, ObjectLake, SqlConfig};
use serde_json::value::to_raw_value;

/// Posts, a part of them in a later version as well.
async fn post(pins: &Pins) {
    let emulator = Emulator::new(EmulatorOptions {
        dirty: 0.3,
        late: 0.1,
        ..EmulatorOptions::default()
    });
    for kind in EventKind::ALL {
        let numbers = (0..400).chain(0..90);
        let events =
            numbers.map(|number| emulator.post(number, Timestamp::now().into()).event(kind));
        let raw: Vec<_> = events
            .map(|event| to_raw_value(&event).expect("an object"))
            .collect();
        let raw: Vec<_> = raw.iter().map(|event| &**event).collect();
        let items = pins.ingest(kind, &raw).await.expect("a memory store");
        assert!(items.iter().all(Ingested::is_accepted));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_and_stream_agree_on_a_day_and_a_changed_row_is_named() {
    let store = Arc::new(MemoryStore::new());
    let tables = Arc::new(MemoryTables::new());
    let lake = Arc::new(ObjectLake::new(Arc::new(MemoryObjectStore::new())));
    let table = |spec, has_versions| LakeTable {
        spec,
        about: "Things.",
        has_versions,
    };
    let specs = vec![
        table(&PINS, true),
        table(&GEOLOCATIONS, true),
        table(&USERS, true),
        table(&REJECTED, false),
    ];
    let config = SqlConfig {
        memory_bytes: 256 << 20,
        spill_bytes: 0,
        spill_dir: std::env::temp_dir(),
        timeout: Duration::from_secs(60),
        max_queries: 2,
        threads: 2,
    };
    let sql = Arc::new(LakeSql::new(lake.clone(), specs, None, &config).unwrap());
    let stream = PinStream::start(store.clone(), tables.clone(), StreamConfig::default());
    let lake_config = LakeConfig {
        flush_every: Duration::from_millis(50),
        max_records: 400,
        merge_files: 3,
        ..LakeConfig::default()
    };
    let way = PinLake::start(store.clone(), lake.clone(), lake_config);
    let daily = PinsDaily::new(
        store.clone(),
        lake.clone(),
        LakeWay::new(lake, sql),
        TablesWay::new(tables.clone()),
        DailyConfig::default(),
    );
    post(&Pins::new(store)).await;

    // A test at midnight meets two days.
    let now = Timestamp::now();
    let days = Interval {
        begin: Day::of(Timestamp(now.0 - 3_600_000)).begin(),
        end: Day::of(Timestamp(now.0 + 3_600_000)).end(),
    };
    for _ in 0..2 {
        let figures = daily.run(days).await.unwrap();
        assert_eq!(figures["parity"]["differing"], 0, "{figures:#}");
        let pins = &figures["parity"]["tables"][0];
        assert_eq!(pins["first"], pins["second"]);
        assert!(pins["first"].as_u64().unwrap() > 300, "{figures:#}");
    }

    let select = Select {
        limit: 1,
        ..Select::default()
    };
    let mut rows = tables.select(&EXPERIMENTAL_DATA, select).await.unwrap();
    rows[0].0[PINS.column("category").unwrap()] = Value::from("changed by nobody");
    let step = TablesStep {
        upserts: vec![(&EXPERIMENTAL_DATA, rows)],
        ..TablesStep::default()
    };
    tables.commit(step).await.unwrap();
    let error = daily.run(days).await.unwrap_err();
    assert!(error.message.contains("differ in 1 rows"), "{error}");
    assert!(error.message.contains("changed by nobody"), "{error}");
    way.shutdown().await;
    stream.shutdown().await;
}
