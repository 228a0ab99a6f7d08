use std::collections::BTreeSet;

use likeness_adapters::MemoryStore;
use likeness_core::log::{EventLog, Offset, ReadLimits, Record};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::*;
use crate::pins::clean::clean;
use crate::pins::clean::time::EventTime;
use crate::pins::emulate::{Emulator, EmulatorOptions};

struct Instance {
    log: Arc<MemoryStore>,
    pins: Pins,
}

impl Instance {
    fn start() -> Self {
        let log = Arc::new(MemoryStore::new());
        let pins = Pins::new(log.clone());
        Self { log, pins }
    }

    async fn ingest(&self, kind: EventKind, events: &[Value]) -> Vec<Ingested> {
        let raw: Vec<_> = events
            .iter()
            .map(|event| to_raw_value(event).unwrap())
            .collect();
        let raw: Vec<&RawValue> = raw.iter().map(AsRef::as_ref).collect();
        self.pins.ingest(kind, &raw).await.unwrap()
    }

    async fn read(&self, kind: EventKind, partition: u32) -> Vec<Record> {
        let limits = ReadLimits {
            max_records: usize::MAX,
            max_bytes: usize::MAX,
        };
        let partition = Partition(partition);
        let from = Offset::default();
        let records = self.log.read(kind.topic(), partition, from, limits).await;
        records.unwrap()
    }
}

#[tokio::test]
async fn what_is_accepted_stands_in_the_log_where_it_says() {
    let instance = Instance::start();
    let emulator = Emulator::new(EmulatorOptions::default());
    let now = EventTime::from(Timestamp::now());
    for kind in EventKind::ALL {
        let events: Vec<Value> = (0..100)
            .map(|number| Value::Object(emulator.post(number, now).event(kind)))
            .collect();
        let items = instance.ingest(kind, &events).await;
        assert_eq!(items.len(), events.len());
        let mut partitions = BTreeSet::new();
        for (item, event) in items.into_iter().zip(events) {
            let Ingested::Accepted {
                key,
                topic,
                partition,
                offset,
            } = item
            else {
                panic!("{item:?}");
            };
            assert_eq!(topic, kind.topic().0);
            assert_eq!(Partition(partition), partition_of(&key));
            partitions.insert(partition);
            let records = instance.read(kind, partition).await;
            let record = records.iter().find(|record| record.offset.0 == offset);
            let record = record.unwrap();
            assert_eq!(record.key, key);
            let stored = RawEvent::decode(&record.payload).unwrap();
            assert_eq!(Value::Object(stored.event), event);
        }
        assert_eq!(partitions.len(), PARTITIONS as usize);
    }
}

#[tokio::test]
async fn one_that_is_refused_keeps_no_other_from_being_stored() {
    let instance = Instance::start();
    let long = "x".repeat(MAX_EVENT_BYTES);
    let mut deep = json!(1);
    for _ in 0..200 {
        deep = json!([deep]);
    }
    let events = [
        json!({"unique_id": "a", "title": "one"}),
        json!({"title": "no key"}),
        json!(["unique_id"]),
        json!({"unique_id": "b", "title": long}),
        json!({"unique_id": "c", "deep": deep}),
        json!({"unique_id": "d", "follower_count": "what cannot be cleaned"}),
    ];
    let items = instance.ingest(EventKind::Pin, &events).await;
    let accepted: Vec<bool> = items.iter().map(Ingested::is_accepted).collect();
    assert_eq!(accepted, [true, false, false, false, false, true]);
    for (item, (wanted_field, wanted)) in items[1..5].iter().zip([
        (Some("unique_id"), "is missing"),
        (None, "must be a JSON object"),
        (None, "is longer than"),
        (None, "cannot be read: recursion limit"),
    ]) {
        let Ingested::Refused { field, reason } = item else {
            panic!("{item:?}");
        };
        assert_eq!(field.as_deref(), wanted_field);
        assert!(reason.starts_with(wanted), "{reason}");
    }
    let mut stored = Vec::new();
    for partition in 0..PARTITIONS {
        stored.extend(instance.read(EventKind::Pin, partition).await);
    }
    assert_eq!(stored.len(), 2);
}

#[tokio::test]
async fn the_same_event_may_come_twice_and_its_versions_keep_their_order() {
    let instance = Instance::start();
    let versions = ["one", "two", "one"];
    let events = versions.map(|title| json!({"unique_id": 7, "title": title}));
    let again = [json!({"unique_id": " 7 ", "title": "three"})];
    instance.ingest(EventKind::Pin, &events).await;
    instance.ingest(EventKind::Pin, &again).await;
    let Partition(partition) = partition_of("7");
    let titles: Vec<_> = instance
        .read(EventKind::Pin, partition)
        .await
        .iter()
        .map(|record| {
            let raw = RawEvent::decode(&record.payload).unwrap();
            clean(EventKind::Pin, &raw.event).unwrap()
        })
        .map(|row| serde_json::to_value(row).unwrap()["title"].clone())
        .collect();
    assert_eq!(titles, ["one", "two", "one", "three"]);
}

#[tokio::test]
async fn too_many_at_once_are_refused_and_none_is_fine() {
    let instance = Instance::start();
    assert_eq!(instance.ingest(EventKind::User, &[]).await, []);
    let event = to_raw_value(&json!({"ind": 1})).unwrap();
    let events = vec![event.as_ref(); MAX_BATCH + 1];
    let outcome = instance.pins.ingest(EventKind::User, &events).await;
    let error = outcome.unwrap_err();
    assert_eq!(error.code(), "invalid_parameter");
    assert!(instance.read(EventKind::User, 0).await.is_empty());
}

#[test]
fn bytes_in_flight_are_bounded() {
    let pins = Instance::start().pins;
    let all = pins.admit(u64::MAX).unwrap();
    assert_eq!(pins.admit(1).unwrap_err().code(), "overloaded");
    drop(all);
    pins.admit(1).unwrap();
}

#[test]
fn the_partition_of_a_key_never_changes() {
    let partitions = ["", "0", "7528", "fbe53c66-3442-4773-b19e-d3ec6f54dddf"];
    let partitions = partitions.map(|key| partition_of(key).0);
    assert_eq!(partitions, EXPECTED);
}

/// By an implementation of FNV-1a elsewhere.
const EXPECTED: [u32; 4] = [1, 3, 3, 2];
