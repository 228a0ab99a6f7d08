//! Steps and point reads of the embedded store. A step writes a row of 1 KiB and an event of 1 KiB,
//! and moves a position.
//!
//! The folder is the system's temporary one: point `TMPDIR` at the disk to be measured.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use likeness_adapters::{EmbeddedConfig, EmbeddedStore, open_embedded};
use likeness_core::log::{NewRecord, Offset, Partition, Topic};
use likeness_core::state::{Key, StateStore, Table, Write};
use likeness_core::step::{Consumer, Durability, Emit, Position, Step, StepStore};
use tokio::runtime::Runtime;

const VALUE_BYTES: usize = 1024;
const N_ROWS: u64 = 100_000;
const N_KEYS_A_READ: u64 = 64;
const TABLE: Table = Table("bench");
const TOPIC: Topic = Topic("bench");

fn step(task: u32, n: u64, value: &Bytes) -> Step {
    Step {
        claim: None,
        redactions: Vec::new(),
        writes: vec![Write::Put(key(task, n), value.clone())],
        emits: vec![Emit {
            topic: TOPIC,
            partition: Partition(task),
            records: vec![NewRecord {
                key: Bytes::new(),
                payload: value.clone(),
            }],
        }],
        positions: vec![Position {
            consumer: Consumer("bench"),
            topic: TOPIC,
            partition: Partition(task),
            next: Offset(n),
        }],
    }
}

fn key(task: u32, n: u64) -> Key {
    // Multiplied by an odd number: every key once, in no order.
    let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Key::new(
        TABLE,
        task.to_be_bytes().to_vec(),
        scattered.to_be_bytes().to_vec(),
    )
}

async fn commit_all(
    store: &Arc<EmbeddedStore>,
    n_tasks: u32,
    n_steps: u64,
    durability: Durability,
    value: &Bytes,
) -> Duration {
    let started = Instant::now();
    let tasks: Vec<_> = (0..n_tasks)
        .map(|task| {
            let (store, value) = (Arc::clone(store), value.clone());
            tokio::spawn(async move {
                for n in (u64::from(task)..n_steps).step_by(n_tasks as usize) {
                    let outcome = store.commit(step(task, n, &value), durability).await;
                    outcome.expect("commit");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task");
    }
    started.elapsed()
}

fn commits(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let value = Bytes::from(vec![7; VALUE_BYTES]);
    let mut group = criterion.benchmark_group("step/commit");
    group.throughput(Throughput::Elements(1));
    for (durability, n_tasks) in [
        (Durability::Process, 1),
        (Durability::Process, 16),
        (Durability::Synced, 1),
        (Durability::Synced, 16),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = EmbeddedConfig::new(folder.path());
        let store = open_embedded(&config).expect("opening the store");
        let shape = format!("{durability:?},tasks={n_tasks},value=1KiB");
        group.bench_function(BenchmarkId::from_parameter(shape), |bencher| {
            bencher.iter_custom(|n_steps| {
                runtime.block_on(commit_all(&store, n_tasks, n_steps, durability, &value))
            });
        });
    }
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = EmbeddedConfig::new(folder.path());
    let store = open_embedded(&config).expect("opening the store");
    let value = Bytes::from(vec![7; VALUE_BYTES]);
    runtime.block_on(commit_all(&store, 1, N_ROWS, Durability::Process, &value));
    // From tables, as most reads of a big store.
    drop(store);
    let store = open_embedded(&config).expect("opening the store");

    let mut group = criterion.benchmark_group("state/get");
    let mut n = 0;
    group.throughput(Throughput::Elements(1));
    group.bench_function("rows=100k,value=1KiB", |bencher| {
        bencher.iter(|| {
            n = (n + 1) % N_ROWS;
            let row = runtime.block_on(store.get(&key(0, n))).expect("get");
            assert!(black_box(row).is_some());
        });
    });
    group.throughput(Throughput::Elements(N_KEYS_A_READ));
    group.bench_function("many=64,rows=100k,value=1KiB", |bencher| {
        bencher.iter(|| {
            n = (n + N_KEYS_A_READ) % (N_ROWS - N_KEYS_A_READ);
            let keys: Vec<Key> = (n..n + N_KEYS_A_READ).map(|n| key(0, n)).collect();
            let rows = runtime.block_on(store.get_many(&keys)).expect("get_many");
            assert!(black_box(rows).iter().all(Option::is_some));
        });
    });
    group.finish();
}

criterion_group!(benches, commits, reads);
criterion_main!(benches);
