//! Steps whose number can be read back from every place that they write to.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use likeness_adapters::{EmbeddedConfig, EmbeddedStore, open_embedded};
use likeness_core::log::{EventLog, NewRecord, Offset, Partition, ReadLimits, Record, Topic};
use likeness_core::state::{Key, StateStore, Table, Write};
use likeness_core::step::{Consumer, Emit, Position, Step, StepStore};

pub(crate) const TOPIC: Topic = Topic("numbers");
pub(crate) const INPUT: Topic = Topic("input");
pub(crate) const TABLE: Table = Table("numbers");
pub(crate) const CONSUMER: Consumer = Consumer("counter");
pub(crate) const PARTITION: Partition = Partition(0);

/// A store as small as it gets, so that tests may open many.
pub(crate) fn small_config(path: &Path) -> EmbeddedConfig {
    EmbeddedConfig {
        block_cache_bytes: 1 << 20,
        write_buffer_bytes: 8 << 20,
        ..EmbeddedConfig::new(path)
    }
}

pub(crate) fn open_small(path: &Path) -> Arc<EmbeddedStore> {
    open_embedded(&small_config(path)).expect("opening the store")
}

/// Step number `n`: a row, two events, and the position `n + 1`.
pub(crate) fn numbered_step(n: u64) -> Step {
    let value = Bytes::copy_from_slice(&n.to_be_bytes());
    let record = NewRecord {
        key: value.clone(),
        payload: value.clone(),
    };
    Step {
        claim: None,
        redactions: Vec::new(),
        writes: vec![Write::Put(numbered_key(n), value)],
        emits: vec![Emit {
            topic: TOPIC,
            partition: PARTITION,
            records: vec![record.clone(), record],
        }],
        positions: vec![Position {
            consumer: CONSUMER,
            topic: INPUT,
            partition: PARTITION,
            next: Offset(n + 1),
        }],
    }
}

pub(crate) fn numbered_key(n: u64) -> Key {
    Key::single(TABLE, n.to_be_bytes().to_vec())
}

pub(crate) async fn read_all(log: &dyn EventLog, topic: Topic) -> Vec<Record> {
    let limits = ReadLimits {
        max_records: usize::MAX,
        max_bytes: usize::MAX,
    };
    log.read(topic, PARTITION, Offset(0), limits)
        .await
        .expect("read")
}

/// Returns how many of the steps 0, 1, 2, … the store shows, having checked that it shows each of
/// them whole and nothing of the next ones.
pub(crate) async fn count_whole_steps(store: &EmbeddedStore) -> u64 {
    let n_steps = store
        .position(CONSUMER, INPUT, PARTITION)
        .await
        .expect("position")
        .0;
    let events: Vec<Bytes> = read_all(store, TOPIC)
        .await
        .into_iter()
        .map(|event| event.payload)
        .collect();
    let expected: Vec<Bytes> = (0..n_steps)
        .flat_map(|n| [n, n])
        .map(|n| Bytes::copy_from_slice(&n.to_be_bytes()))
        .collect();
    assert_eq!(events, expected, "events of {n_steps} steps");
    for n in 0..n_steps + 5 {
        let row = store.get(&numbered_key(n)).await.expect("get");
        assert_eq!(row.is_some(), n < n_steps, "row {n} of {n_steps} steps");
    }
    n_steps
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("creating a folder");
    for entry in std::fs::read_dir(from).expect("reading a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        std::fs::copy(entry.path(), target).expect("copying a file");
    }
}
