use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use likeness_adapters::{EmbeddedConfig, SyncPolicy, open_embedded};
use likeness_core::log::{EventLog, NewRecord, Offset, Partition, ReadLimits, Topic};
use likeness_core::state::{Key, StateStore, Write};
use likeness_core::step::{Durability, Emit, Step, StepOutcome, StepStore};
use likeness_core::{StoreError, StoreResult};
use proptest::prelude::*;

use crate::support::{
    PARTITION, TABLE, TOPIC, copy_folder, count_whole_steps, numbered_step, open_small, read_all,
    small_config,
};

#[test]
fn opening_twice_is_locked_until_the_first_is_dropped() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = open_small(folder.path());
    let refused = open_embedded(&small_config(folder.path())).expect_err("open already");
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused:?}");
    assert!(
        refused.to_string().contains("is open elsewhere"),
        "{refused}"
    );
    drop(first);
    drop(open_small(folder.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_open_files_shows_every_acknowledged_step() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open_small(&folder.path().join("live"));
    for round in 0..3 {
        for n in round * 50..(round + 1) * 50 {
            let outcome = store.commit(numbered_step(n), Durability::Process).await;
            outcome.expect("commit");
        }
        let copy = folder.path().join(format!("copy-{round}"));
        copy_folder(&folder.path().join("live"), &copy);
        let found = count_whole_steps(&open_small(&copy)).await;
        assert_eq!(found, (round + 1) * 50);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_nobody_waits_for_any_more_are_whole_or_absent() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open_small(folder.path());
    let tasks: Vec<_> = (0..200u64)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut step = numbered_step(n);
                step.positions.clear();
                store.commit(step, Durability::Synced).await
            })
        })
        .collect();
    for (n, task) in tasks.iter().enumerate() {
        if n % 3 != 0 {
            task.abort();
        }
    }
    let mut committed = BTreeSet::new();
    for (n, task) in (0u64..).zip(tasks) {
        match task.await {
            Ok(outcome) => {
                outcome.expect("commit");
                committed.insert(n);
            }
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
    }
    drop(store);

    let store = open_small(folder.path());
    let events = read_all(&*store, TOPIC).await;
    assert_eq!(events.len() % 2, 0, "half a step's events");
    let in_log: BTreeSet<Bytes> = events.into_iter().map(|event| event.payload).collect();
    for n in 0..200u64 {
        let name = Bytes::copy_from_slice(&n.to_be_bytes());
        let row = store.get(&Key::single(TABLE, name.clone())).await;
        let has_row = row.expect("get").is_some();
        assert_eq!(has_row, in_log.contains(&name), "half of step {n}");
        assert!(has_row || !committed.contains(&n), "step {n} is lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_go_on_while_rocksdb_slows_writers_down() {
    const N_WRITERS: u64 = 4;
    const N_ROWS: u64 = 400;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = EmbeddedConfig {
        // Full after a few rows, so that flushing cannot keep up.
        write_buffer_bytes: 128 << 10,
        sync: SyncPolicy::Never,
        ..small_config(folder.path())
    };
    let store = open_embedded(&config).expect("opening the store");
    let writers: Vec<_> = (0..N_WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for n in (writer..N_ROWS).step_by(N_WRITERS as usize) {
                    let mut step = numbered_step(n);
                    step.positions.clear();
                    let noise: Vec<u8> = (0..30_000u64)
                        .map(|i| (i.wrapping_mul(n + 7) >> 5) as u8)
                        .collect();
                    step.writes.push(Write::Put(noise_key(n), noise.into()));
                    store.commit(step, Durability::Process).await?;
                }
                StoreResult::Ok(())
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a task").expect("commit");
    }
    drop(store);
    let store = open_small(folder.path());
    assert_eq!(read_all(&*store, TOPIC).await.len() as u64, 2 * N_ROWS);
    for n in 0..N_ROWS {
        let row = store.get(&noise_key(n)).await.expect("get");
        assert_eq!(row.map(|row| row.len()), Some(30_000));
    }
}

fn noise_key(n: u64) -> Key {
    Key::new(TABLE, "noise", n.to_be_bytes().to_vec())
}

#[test]
fn a_config_with_an_unknown_key_is_refused_and_sizes_have_defaults() {
    let config: EmbeddedConfig =
        serde_json::from_str(r#"{ "path": "data" }"#).expect("a path is enough");
    assert_eq!(config, EmbeddedConfig::new("data"));
    let never: EmbeddedConfig = serde_json::from_str(r#"{ "path": "data", "sync": "never" }"#)
        .expect("a policy by its name");
    assert_eq!(never.sync, SyncPolicy::Never);
    let typo = serde_json::from_str::<EmbeddedConfig>(r#"{ "path": "data", "snyc": "never" }"#);
    assert!(typo.is_err(), "{typo:?}");
}

const TOPICS: [Topic; 2] = [Topic("numbers"), Topic("others")];

/// For each task, for each step, for each emit: where to, and how many records.
type Plan = Vec<Vec<Vec<(usize, usize)>>>;

fn plan() -> impl Strategy<Value = Plan> {
    let emit = (0..TOPICS.len(), 1..4usize);
    let step = prop::collection::vec(emit, 0..4);
    let task = prop::collection::vec(step, 1..12);
    prop::collection::vec(task, 1..6)
}

async fn run_plan(plan: Plan) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open_small(folder.path());
    let n_expected = |topic: usize| -> usize {
        let emits = plan.iter().flatten().flatten();
        emits
            .filter(|emit| emit.0 == topic)
            .map(|emit| emit.1)
            .sum()
    };
    let n_expected = [n_expected(0), n_expected(1)];

    // Readers follow while the writers run: a record that shows up late, behind a greater offset,
    // is missed by them and found below.
    let followers = [0, 1].map(|topic| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let (mut seen, mut from) = (Vec::new(), Offset(0));
            while seen.len() < n_expected[topic] {
                store.wait(TOPICS[topic], PARTITION, from).await?;
                let limits = ReadLimits::default();
                let more = store.read(TOPICS[topic], PARTITION, from, limits).await?;
                from = more.last().map_or(from, |record| record.offset.next());
                seen.extend(more);
            }
            StoreResult::Ok(seen)
        })
    });
    let writers: Vec<_> = plan
        .into_iter()
        .enumerate()
        .map(|(task, steps)| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut written = [Vec::new(), Vec::new()];
                for emits in steps {
                    commit_emits(&*store, task, &emits, &mut written).await?;
                }
                StoreResult::Ok(written)
            })
        })
        .collect();

    let mut offsets_by_task = Vec::new();
    for writer in writers {
        offsets_by_task.push(writer.await.expect("a task").expect("commit"));
    }
    for (topic, follower) in followers.into_iter().enumerate() {
        let seen = follower.await.expect("a task").expect("read");
        assert_eq!(seen, read_all(&*store, TOPICS[topic]).await);
        assert!(seen.windows(2).all(|pair| pair[0].offset < pair[1].offset));
        for (task, offsets) in offsets_by_task.iter().enumerate() {
            let own = seen.iter().filter(|record| record.key[0] == task as u8);
            let own: Vec<(Offset, u8)> = own
                .map(|record| (record.offset, record.payload[0]))
                .collect();
            let in_order = own
                .iter()
                .enumerate()
                .all(|(n, (_, found))| *found == n as u8);
            assert!(in_order, "records of a task: {own:?}");
            let lasts: BTreeSet<Offset> = own.iter().map(|(offset, _)| *offset).collect();
            assert!(
                offsets[topic].iter().all(|last| lasts.contains(last)),
                "offsets that were answered: {offsets:?}"
            );
        }
    }
}

/// Commits one step. `written` has the answered offsets by topic, one per record before the last
/// of an emit repeated, so that its length numbers the records.
async fn commit_emits(
    store: &dyn StepStore,
    task: usize,
    emits: &[(usize, usize)],
    written: &mut [Vec<Offset>; 2],
) -> StoreResult<()> {
    let mut n_records = [written[0].len(), written[1].len()];
    let emit = |&(topic, len): &(usize, usize)| {
        let records = (0..len).map(|n| NewRecord {
            key: Bytes::from(vec![task as u8]),
            payload: Bytes::from(vec![(n_records[topic] + n) as u8]),
        });
        let records = records.collect();
        n_records[topic] += len;
        Emit {
            topic: TOPICS[topic],
            partition: PARTITION,
            records,
        }
    };
    let step = Step {
        emits: emits.iter().map(emit).collect(),
        ..Step::default()
    };
    let StepOutcome::Committed(offsets) = store.commit(step, Durability::Process).await? else {
        panic!("a step without a claim is committed");
    };
    for (&(topic, len), offset) in emits.iter().zip(offsets) {
        written[topic].extend(std::iter::repeat_n(offset, len));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn offsets_stay_in_order_however_commits_interleave(plan in plan()) {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .build()
            .expect("a runtime")
            .block_on(run_plan(plan));
    }
}

#[tokio::test]
async fn partitions_end_where_they_ended_before_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // Neighbours in the key space: an empty partition between, and a topic that continues another.
    let places = [
        (Topic("a"), Partition(0)),
        (Topic("a"), Partition(2)),
        (Topic("a-b"), Partition(0)),
    ];
    let record = NewRecord {
        key: Bytes::new(),
        payload: Bytes::from("1"),
    };
    let store = open_small(folder.path());
    for (n, (topic, partition)) in places.into_iter().enumerate() {
        let records = vec![record.clone(); n + 1];
        store
            .append(topic, partition, records)
            .await
            .expect("append");
    }
    drop(store);
    let store = open_small(folder.path());
    for (n, (topic, partition)) in places.into_iter().enumerate() {
        let end = store.end(topic, partition).await.expect("end");
        assert_eq!(end, Offset(n as u64 + 1), "{topic}");
    }
    let empty = store.end(Topic("a"), Partition(1)).await.expect("end");
    assert_eq!(empty, Offset(0));
}
