//! Random operations on a state store, and on a map that answers as it should.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::super::{Random, unique};
use super::{LONGER_TABLE, TABLE, get, scan, write};
use crate::state::{CasOutcome, Direction, Key, Row, Scan, StateStore, Table, Write};

pub(super) async fn random_operations_agree_with_a_map(store: &dyn StateStore) {
    let mut random = Random::new();
    let base = unique("model");
    let partitions: Vec<Bytes> = (0..3)
        .map(|n| Bytes::from([&base[..], &[b'/'; 3][..n]].concat()))
        .collect();
    let mut model: BTreeMap<Key, Bytes> = BTreeMap::new();
    for operation in 0..400 {
        let context = format!("{random}, operation {operation}");
        let table = *random.pick(&[TABLE, LONGER_TABLE]);
        let partition = random.pick(&partitions).clone();
        let key = Key::new(table, partition.clone(), random.bytes(3));
        match random.below(4) {
            0 => {
                let batch: Vec<Write> = (0..random.below(6))
                    .map(|_| {
                        let key = Key::new(table, partition.clone(), random.bytes(3));
                        if random.chance(4) {
                            Write::Delete(key)
                        } else {
                            Write::Put(key, random.bytes(20))
                        }
                    })
                    .collect();
                for change in &batch {
                    match change.clone() {
                        Write::Put(key, value) => model.insert(key, value),
                        Write::Delete(key) => model.remove(&key),
                    };
                }
                write(store, batch).await;
            }
            1 => {
                let found = get(store, &key).await;
                assert_eq!(found.as_ref(), model.get(&key), "{context}: get {key:?}");
            }
            2 => {
                let present = model.get(&key).cloned();
                let expected = if random.chance(3) {
                    Some(random.bytes(2))
                } else {
                    present.clone()
                };
                let new = (!random.chance(3)).then(|| random.bytes(20));
                let outcome = store
                    .compare_and_set(&key, expected.clone(), new.clone())
                    .await
                    .expect("compare_and_set");
                if expected == present {
                    assert_eq!(outcome, CasOutcome::Applied, "{context}: {key:?}");
                    match new {
                        Some(new) => model.insert(key, new),
                        None => model.remove(&key),
                    };
                } else {
                    let conflict = CasOutcome::Conflict(present);
                    assert_eq!(outcome, conflict, "{context}: {key:?}");
                }
            }
            _ => {
                let range = random_scan(&mut random, table, partition);
                let expected = scan_model(&model, &range);
                let found = scan(store, range.clone()).await;
                assert_eq!(found, expected, "{context}: {range:?}");
            }
        }
    }
}

fn random_scan(random: &mut Random, table: Table, partition: Bytes) -> Scan {
    let (mut low, mut high) = (random.bytes(3), random.bytes(3));
    if low > high {
        std::mem::swap(&mut low, &mut high);
    }
    let mut bound = |sort| match random.below(3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(sort),
        _ => Bound::Excluded(sort),
    };
    let (lower, upper) = (bound(low), bound(high));
    Scan {
        table,
        partition,
        lower,
        upper,
        direction: *random.pick(&[Direction::Ascending, Direction::Descending]),
        limit: 1 + random.below(8),
    }
}

fn scan_model(model: &BTreeMap<Key, Bytes>, scan: &Scan) -> Vec<Row> {
    let above = |sort: &Bytes| match &scan.lower {
        Bound::Included(lower) => sort >= lower,
        Bound::Excluded(lower) => sort > lower,
        Bound::Unbounded => true,
    };
    let below = |sort: &Bytes| match &scan.upper {
        Bound::Included(upper) => sort <= upper,
        Bound::Excluded(upper) => sort < upper,
        Bound::Unbounded => true,
    };
    let mut rows: Vec<Row> = model
        .iter()
        .filter(|(key, _)| key.table == scan.table && key.partition == scan.partition)
        .filter(|(key, _)| above(&key.sort) && below(&key.sort))
        .map(|(key, value)| Row {
            sort: key.sort.clone(),
            value: value.clone(),
        })
        .collect();
    if scan.direction == Direction::Descending {
        rows.reverse();
    }
    rows.truncate(scan.limit);
    rows
}
