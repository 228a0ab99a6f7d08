//! What auditors count on: records can be replaced, and everything can be looked at.

use super::log::{LONGER_TOPIC, TOPIC, append, end, read_all, record};
use super::{assert_invalid, unique};
use crate::log::{EventLog, NewRecord, Offset, Partition, Redaction, SweptRecord, Topic};

pub(super) async fn redactions_change_records_where_they_stand(log: &dyn EventLog) {
    let partition = Partition(7);
    let start = end(log, partition).await;
    let names = [unique("a"), unique("b"), unique("c")];
    append(log, partition, names.iter().map(record).collect()).await;
    let mut expected = read_all(log, TOPIC, partition, start).await;
    let old_end = end(log, partition).await;
    // Twice, and where no record is: neither is an error.
    for _ in 0..2 {
        redact(log, partition, expected[1].offset, "redacted").await;
        redact(log, partition, Offset(old_end.0 + 1_000), "nowhere").await;
    }
    (expected[1].key, expected[1].payload) = ("gone".into(), "redacted".into());
    assert_eq!(read_all(log, TOPIC, partition, start).await, expected);
    let new_end = end(log, partition).await;
    assert_eq!(new_end, old_end, "a redaction appends nothing");
    let from = read_all(log, TOPIC, partition, expected[1].offset).await;
    assert_eq!(from, expected[1..], "from the redacted record on");
    let invalid = log.redact(vec![Redaction {
        topic: Topic("NOT A TOPIC"),
        partition,
        offset: Offset(0),
        replacement: record(&unique("x")),
    }]);
    assert_invalid(invalid.await);
}

pub(super) async fn redact(
    log: &dyn EventLog,
    partition: Partition,
    offset: Offset,
    payload: &'static str,
) {
    let redaction = Redaction {
        topic: TOPIC,
        partition,
        offset,
        replacement: NewRecord {
            key: "gone".into(),
            payload: payload.into(),
        },
    };
    log.redact(vec![redaction]).await.expect("redacts");
}

pub(super) async fn a_sweep_returns_every_record_once(log: &dyn EventLog) {
    let name = unique("swept");
    for topic in [TOPIC, LONGER_TOPIC] {
        for partition in [Partition(0), Partition(7)] {
            let records = vec![record(&name), record(&name)];
            log.append(topic, partition, records).await.expect("append");
        }
    }
    for limit in [3, 1_000] {
        let mut found: Vec<SweptRecord> = Vec::new();
        let mut after = None;
        loop {
            let page = log.sweep(after.clone(), limit).await.expect("sweeps");
            assert!(page.records.len() <= limit, "the limit is kept");
            found.extend(
                page.records
                    .into_iter()
                    .filter(|swept| swept.record.payload == name),
            );
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), 8);
        for (topic, partition) in [(TOPIC, 0), (TOPIC, 7), (LONGER_TOPIC, 0), (LONGER_TOPIC, 7)] {
            let partition = Partition(partition);
            let mut of_it: Vec<_> = found
                .iter()
                .filter(|swept| swept.topic == topic.0 && swept.partition == partition)
                .map(|swept| swept.record.offset)
                .collect();
            of_it.sort();
            of_it.dedup();
            assert_eq!(of_it.len(), 2, "{topic}/{}", partition.0);
        }
    }
}
