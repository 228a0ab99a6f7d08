//! What [`EventLog`] promises.

use std::sync::Arc;

use bytes::Bytes;

use super::{Random, assert_invalid, audit, in_time, join, unique};
use crate::log::{EventLog, NewRecord, Offset, Partition, ReadLimits, Record, Topic};

pub(super) const TOPIC: Topic = Topic("testsuite");
/// Its name continues the other's, which tells stores apart that glue names to keys.
pub(super) const LONGER_TOPIC: Topic = Topic("testsuite-2");
/// No check appends to this one.
const NO_TOPIC: Topic = Topic("testsuite-none");

/// Checks every clause that does not need a restart. Partitions 0 to 7 of the topics `testsuite`
/// and `testsuite-2` are written to, and nobody else may write to them meanwhile.
///
/// # Panics
/// If `log` breaks its contract.
pub async fn check_log(log: Arc<dyn EventLog>) {
    what_does_not_exist_reads_as_empty(&*log).await;
    reads_back_what_was_appended(&*log).await;
    reads_start_at_or_after_the_offset_asked_for(&*log).await;
    the_end_lies_between_old_and_new_records(&*log).await;
    reads_keep_their_limits(&*log).await;
    topics_and_partitions_are_separate(&*log).await;
    invalid_requests_are_refused(&*log).await;
    waiting_ends_when_there_is_a_record(&log).await;
    concurrent_appends_are_all_seen_in_order(&log).await;
    random_operations_agree_with_a_list(&*log).await;
    audit::redactions_change_records_where_they_stand(&*log).await;
    audit::a_sweep_returns_every_record_once(&*log).await;
}

/// Checks that acknowledged records survive a restart, and that offsets go on growing after it.
/// `open` opens the same log each time.
///
/// # Panics
/// If the log breaks its contract.
pub async fn check_log_reopen(open: impl AsyncFn() -> Arc<dyn EventLog>) {
    let partition = Partition(0);
    let log = open().await;
    let start = end(&*log, partition).await;
    let names = [unique("a"), unique("b"), unique("c")];
    let last = append(&*log, partition, names.iter().map(record).collect()).await;
    let before = read_all(&*log, TOPIC, partition, start).await;
    assert_eq!(payloads(&before), names);
    audit::redact(&*log, partition, before[1].offset, "redacted").await;
    let before = read_all(&*log, TOPIC, partition, start).await;
    let old_end = end(&*log, partition).await;
    drop(log);

    let log = open().await;
    let after = read_all(&*log, TOPIC, partition, start).await;
    assert_eq!(after, before, "acknowledged records after a restart");
    let expected = [names[0].clone(), Bytes::from("redacted"), names[2].clone()];
    assert_eq!(payloads(&after), expected);
    let new_end = end(&*log, partition).await;
    assert!(new_end > last, "the end {new_end} fell behind {last}");
    let next = append(&*log, partition, vec![record(&unique("d"))]).await;
    assert!(
        next > last && next >= old_end,
        "offset {next} after a restart, though {last} (end {old_end}) was given out before"
    );
}

async fn what_does_not_exist_reads_as_empty(log: &dyn EventLog) {
    for from in [Offset(0), Offset(u64::MAX)] {
        let records = log
            .read(NO_TOPIC, Partition(3), from, ReadLimits::default())
            .await
            .expect("read of a topic that does not exist");
        assert_eq!(records, []);
    }
    log.end(NO_TOPIC, Partition(3))
        .await
        .expect("end of a topic that does not exist");
}

async fn reads_back_what_was_appended(log: &dyn EventLog) {
    let partition = Partition(0);
    let start = end(log, partition).await;
    let appended = vec![
        record(&unique("plain")),
        NewRecord {
            key: Bytes::new(),
            payload: Bytes::from("no key"),
        },
        NewRecord {
            key: Bytes::from("no payload"),
            payload: Bytes::new(),
        },
        NewRecord {
            key: Bytes::from_static(b"\0\xff"),
            payload: Bytes::from(vec![0xff; 512 << 10]),
        },
    ];
    let last = append(log, partition, appended.clone()).await;
    let records = read_all(log, TOPIC, partition, start).await;
    assert_eq!(records.len(), appended.len());
    for (found, expected) in records.iter().zip(&appended) {
        assert!(found.key == expected.key, "keys differ");
        assert!(found.payload == expected.payload, "payloads differ");
    }
    assert_eq!(
        records.last().map(|record| record.offset),
        Some(last),
        "append must return the offset of its last record"
    );
}

async fn reads_start_at_or_after_the_offset_asked_for(log: &dyn EventLog) {
    let partition = Partition(0);
    let start = end(log, partition).await;
    for n in 0..3 {
        let records = (0..=n).map(|_| record(&unique("start"))).collect();
        append(log, partition, records).await;
    }
    let records = read_all(log, TOPIC, partition, start).await;
    assert_eq!(records.len(), 6);
    for (n, record) in records.iter().enumerate() {
        let at = read_all(log, TOPIC, partition, record.offset).await;
        assert_eq!(at, records[n..], "from the offset of record {n}");
        let after = read_all(log, TOPIC, partition, record.offset.next()).await;
        assert_eq!(after, records[n + 1..], "from after record {n}");
    }
}

async fn the_end_lies_between_old_and_new_records(log: &dyn EventLog) {
    let partition = Partition(1);
    for _ in 0..20 {
        let last = append(log, partition, vec![record(&unique("end"))]).await;
        let end_between = end(log, partition).await;
        assert!(
            end_between > last,
            "end {end_between}, but {last} is readable"
        );
        let records = read_all(log, TOPIC, partition, end_between).await;
        assert_eq!(records, [], "records at or past the end");
        append(log, partition, vec![record(&unique("end"))]).await;
        let records = read_all(log, TOPIC, partition, end_between).await;
        assert_eq!(records.len(), 1, "a record appended after `end` is past it");
    }
}

async fn reads_keep_their_limits(log: &dyn EventLog) {
    let partition = Partition(2);
    let start = end(log, partition).await;
    let records: Vec<NewRecord> = (0..10u8)
        .map(|n| NewRecord {
            key: Bytes::from(vec![n; 10]),
            payload: Bytes::from(vec![n; 90]),
        })
        .collect();
    append(log, partition, records).await;
    // (most records, most bytes, records expected) with 100 bytes a record.
    let cases = [
        (10, 10_000, 10),
        (3, 10_000, 3),
        (1, 10_000, 1),
        (10, 1_000, 10),
        (10, 999, 9),
        (10, 250, 2),
        (10, 100, 1),
        (10, 99, 1),
        (10, 0, 1),
        (0, 10_000, 1),
    ];
    for (max_records, max_bytes, expected) in cases {
        let limits = ReadLimits {
            max_records,
            max_bytes,
        };
        let found = log
            .read(TOPIC, partition, start, limits)
            .await
            .expect("read");
        assert_eq!(found.len(), expected, "{limits:?}");
        assert_eq!(found[0].key[0], 0, "a read begins with the first record");
    }
}

async fn topics_and_partitions_are_separate(log: &dyn EventLog) {
    let places = [
        (TOPIC, Partition(3)),
        (TOPIC, Partition(4)),
        (LONGER_TOPIC, Partition(3)),
        (LONGER_TOPIC, Partition(4)),
    ];
    let mut starts = Vec::new();
    for (topic, partition) in places {
        starts.push(log.end(topic, partition).await.expect("end"));
    }
    let mut names = Vec::new();
    for (topic, partition) in places {
        let name = unique("place");
        log.append(topic, partition, vec![record(&name)])
            .await
            .expect("append");
        names.push(name);
    }
    for (n, (topic, partition)) in places.into_iter().enumerate() {
        let records = read_all(log, topic, partition, starts[n]).await;
        assert_eq!(payloads(&records), [names[n].clone()], "{topic}");
    }
}

async fn invalid_requests_are_refused(log: &dyn EventLog) {
    let partition = Partition(0);
    let start = end(log, partition).await;
    assert_invalid(log.append(TOPIC, partition, Vec::new()).await);
    assert_eq!(read_all(log, TOPIC, partition, start).await, []);
    for bad in ["", "Upper", "under score\0", &"x".repeat(65)] {
        let bad = Topic(String::from(bad).leak());
        let records = vec![record(&unique("bad"))];
        assert_invalid(log.append(bad, partition, records).await);
        let limits = ReadLimits::default();
        assert_invalid(log.read(bad, partition, Offset(0), limits).await);
        assert_invalid(log.end(bad, partition).await);
        assert_invalid(log.wait(bad, partition, Offset(0)).await);
    }
}

async fn waiting_ends_when_there_is_a_record(log: &Arc<dyn EventLog>) {
    let partition = Partition(5);
    let last = append(&**log, partition, vec![record(&unique("wait"))]).await;
    in_time("waiting for a record that is there", async {
        log.wait(TOPIC, partition, last).await.expect("wait");
    })
    .await;

    let waiters: Vec<_> = (0..4)
        .map(|_| {
            let log = Arc::clone(log);
            tokio::spawn(async move {
                // A wait may end early: only a read tells.
                loop {
                    let found = read_all(&*log, TOPIC, partition, last.next()).await;
                    if !found.is_empty() {
                        return found;
                    }
                    log.wait(TOPIC, partition, last.next()).await.expect("wait");
                }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let name = unique("awaited");
    append(&**log, partition, vec![record(&name)]).await;
    for waiter in waiters {
        let found = in_time("the wake-up of a waiting reader", join(waiter)).await;
        assert_eq!(payloads(&found), std::slice::from_ref(&name));
    }
}

async fn concurrent_appends_are_all_seen_in_order(log: &Arc<dyn EventLog>) {
    const N_WRITERS: u8 = 6;
    const N_BATCHES: u8 = 40;
    const N_RECORDS: usize = N_WRITERS as usize * N_BATCHES as usize * 2;
    let partition = Partition(6);
    let start = end(&**log, partition).await;

    let reader = {
        let log = Arc::clone(log);
        tokio::spawn(async move {
            let mut seen: Vec<Record> = Vec::new();
            while seen.len() < N_RECORDS {
                let from = seen.last().map_or(start, |record| record.offset.next());
                log.wait(TOPIC, partition, from).await.expect("wait");
                seen.extend(read_all(&*log, TOPIC, partition, from).await);
            }
            seen
        })
    };
    let writers: Vec<_> = (0..N_WRITERS)
        .map(|writer| {
            let log = Arc::clone(log);
            tokio::spawn(async move {
                for batch in 0..N_BATCHES {
                    let records = [2 * batch, 2 * batch + 1].map(|n| NewRecord {
                        key: Bytes::from(vec![writer]),
                        payload: Bytes::from(vec![n]),
                    });
                    append(&*log, partition, records.to_vec()).await;
                }
            })
        })
        .collect();
    for writer in writers {
        join(writer).await;
    }
    let tailed = in_time("reading all that was appended", join(reader)).await;

    let offsets: Vec<Offset> = tailed.iter().map(|record| record.offset).collect();
    assert!(
        offsets.windows(2).all(|pair| pair[0] < pair[1]),
        "offsets must grow from record to record"
    );
    assert_eq!(
        tailed,
        read_all(&**log, TOPIC, partition, start).await,
        "a reader that follows the log must not miss what a later one finds"
    );
    for writer in 0..N_WRITERS {
        let own: Vec<u8> = tailed
            .iter()
            .filter(|record| record.key[0] == writer)
            .map(|record| record.payload[0])
            .collect();
        let all: Vec<u8> = (0..2 * N_BATCHES).collect();
        assert_eq!(own, all, "records of writer {writer}");
    }
}

async fn random_operations_agree_with_a_list(log: &dyn EventLog) {
    let mut random = Random::new();
    let places = [
        (TOPIC, Partition(7)),
        (LONGER_TOPIC, Partition(7)),
        (LONGER_TOPIC, Partition(0)),
    ];
    let mut starts = Vec::new();
    for (topic, partition) in places {
        starts.push(log.end(topic, partition).await.expect("end"));
    }
    let mut model: [Vec<Record>; 3] = Default::default();
    for operation in 0..150 {
        let context = format!("{random}, operation {operation}");
        let place = random.below(places.len());
        let (topic, partition) = places[place];
        let known = &mut model[place];
        if random.chance(2) {
            let new: Vec<NewRecord> = (0..=random.below(5))
                .map(|_| NewRecord {
                    key: random.bytes(4),
                    payload: random.bytes(40),
                })
                .collect();
            let last = log
                .append(topic, partition, new.clone())
                .await
                .expect("append");
            let from = known
                .last()
                .map_or(starts[place], |record| record.offset.next());
            let found = read_all(log, topic, partition, from).await;
            let found_new: Vec<NewRecord> = found
                .iter()
                .map(|record| NewRecord {
                    key: record.key.clone(),
                    payload: record.payload.clone(),
                })
                .collect();
            assert_eq!(found_new, new, "{context}");
            assert_eq!(found[found.len() - 1].offset, last, "{context}");
            known.extend(found);
        } else {
            let from = match known.len() {
                0 => starts[place],
                len => known[random.below(len)].offset,
            };
            let limits = ReadLimits {
                max_records: 1 + random.below(6),
                max_bytes: 1 << 20,
            };
            let found = log
                .read(topic, partition, from, limits)
                .await
                .expect("read");
            let expected: Vec<Record> = known
                .iter()
                .filter(|record| record.offset >= from)
                .take(limits.max_records)
                .cloned()
                .collect();
            assert_eq!(found, expected, "{context}: from {from}");
        }
    }
}

pub(super) fn record(name: &Bytes) -> NewRecord {
    NewRecord {
        key: Bytes::from("key"),
        payload: name.clone(),
    }
}

fn payloads(records: &[Record]) -> Vec<Bytes> {
    records
        .iter()
        .map(|record| record.payload.clone())
        .collect()
}

pub(super) async fn append(
    log: &dyn EventLog,
    partition: Partition,
    records: Vec<NewRecord>,
) -> Offset {
    log.append(TOPIC, partition, records).await.expect("append")
}

pub(super) async fn end(log: &dyn EventLog, partition: Partition) -> Offset {
    log.end(TOPIC, partition).await.expect("end")
}

/// Reads from `from` to the end, in as many reads as it takes.
pub(super) async fn read_all(
    log: &dyn EventLog,
    topic: Topic,
    partition: Partition,
    mut from: Offset,
) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        let more = log
            .read(topic, partition, from, ReadLimits::default())
            .await
            .expect("read");
        if more.is_empty() {
            return records;
        }
        for record in more {
            assert!(
                record.offset >= from,
                "a read from {from} on returned offset {}: offsets must grow",
                record.offset
            );
            from = record.offset.next();
            records.push(record);
        }
    }
}
