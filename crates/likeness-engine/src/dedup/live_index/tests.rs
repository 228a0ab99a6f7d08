use bytes::Bytes;
use likeness_adapters::MemoryStore;
use likeness_core::state::{Key, Scan, Table};
use likeness_core::{ImageId, Sha256, Timestamp};
use likeness_index::bf16;
use likeness_vision::PdqHash;

use super::*;
use crate::dedup::config::Planes;
use crate::dedup::tables::{encode, number_key};

const DIM: usize = 24;
/// More than two segments of the latest images, so that the first ones are in the index alone.
const N_IMAGES: u64 = 9_000;
const BATCH: u64 = 64;

/// Both schemes, with the probes that find near-copies, cells or buckets of each term, and the candidates that are
/// ranked: of hyperplanes more, since terms of 24 dimensions tell little.
const SCHEMES: [(IndexScheme, usize, usize); 2] = [
    (IndexScheme::Cells, 32, 100),
    (
        IndexScheme::Hyperplanes(Planes {
            terms: 24,
            bits: 10,
            max_list: 1_000,
        }),
        12,
        1_000,
    ),
];

fn config((of, probes, max_candidates): (IndexScheme, usize, usize)) -> IndexConfig {
    IndexConfig {
        scheme: scheme(of, DIM),
        max_candidates,
        probes,
        epsilon: 3.0,
        exact_below: 1,
        views: ViewsMode::Off,
        audit: AuditConfig {
            every: 1,
            wanted: 0.0,
            max_probes: 64,
        },
    }
}

/// Images come in pairs of near-copies, far apart in time.
fn vector(number: u64) -> Vec<f32> {
    let wave = |seed: u64, idx: usize| {
        let mixed = (seed * 1_000 + idx as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1 << 23) as f32
            - 1.0
    };
    (0..DIM)
        .map(|idx| wave(number % (N_IMAGES / 2), idx) + 0.05 * wave(number + 77_777, idx))
        .collect()
}

fn record(number: u64) -> (ImageNumber, NumberRecord) {
    let id = ImageId::new(format!("image-{number}")).expect("a good id");
    let record = NumberRecord {
        head: id.clone(),
        head_number: ImageNumber(number),
        uploaded: Timestamp(number),
        sha256: Sha256([0; 32]),
        pdq: PdqHash([0; 32]),
        pdq_quality: 100,
        flatness: 0,
        embedding: bf16::to_le_bytes(&bf16::encode(&vector(number))).into(),
        width: 0,
        height: 0,
        views: Vec::new(),
        id,
    };
    (ImageNumber(number), record)
}

fn rows(records: &[(ImageNumber, NumberRecord)]) -> impl Iterator<Item = Write> + '_ {
    records
        .iter()
        .map(|(number, record)| Write::Put(number_key(*number), encode(record)))
}

async fn open(store: &MemoryStore, config: IndexConfig, num_images: u64) -> LiveIndex {
    LiveIndex::open(store, OpenedVectors::memory(DIM), config, num_images)
        .await
        .expect("opens")
}

/// Lets whole blocks into the cells, and returns the rows that change.
fn stage(index: &LiveIndex, records: &[(ImageNumber, NumberRecord)]) -> Vec<Write> {
    let batch = records.iter().cloned().collect();
    let end = records.last().map_or(0, |(number, _)| number.0 + 1);
    index.grow(index_end(end), &batch).expect("grows");
    index.changes().expect("has rows")
}

async fn filled(store: &MemoryStore, config: IndexConfig) -> LiveIndex {
    let index = open(store, config, 0).await;
    for first in (0..N_IMAGES).step_by(BATCH as usize) {
        let records: Vec<_> = (first..N_IMAGES.min(first + BATCH)).map(record).collect();
        let mut writes = stage(&index, &records);
        writes.extend(rows(&records));
        store.write(writes).await.expect("writes");
        index.committed(&records).expect("commits");
    }
    index
}

fn answers(index: &LiveIndex) -> Vec<Vec<(u64, f32)>> {
    (0..200)
        .map(|number| {
            let found = index.search(&vector(number), 50, 0.9, 5).expect("searches");
            assert_eq!(found.num_indexed, N_IMAGES);
            assert!(!found.is_exact && found.is_due);
            let pairs = found.candidates.iter();
            pairs.map(|found| (found.number.0, found.cosine)).collect()
        })
        .collect()
}

#[tokio::test]
async fn near_copies_are_found_by_the_index_and_after_reopening_by_the_same_answer() {
    for config in SCHEMES.map(config) {
        let store = MemoryStore::new();
        let index = filled(&store, config).await;
        let before = answers(&index);
        for (number, answer) in before.iter().enumerate() {
            let number = number as u64;
            for expected in [number, number + N_IMAGES / 2] {
                assert!(
                    answer.iter().any(|&(found, _)| found == expected),
                    "{number}"
                );
            }
        }
        let reopened = open(&store, config, N_IMAGES).await;
        assert_eq!(answers(&reopened), before);
        assert_eq!(reopened.size().0, N_IMAGES);
    }
}

#[tokio::test]
async fn what_is_not_committed_is_not_found_and_is_gone_once_settled() {
    for config in SCHEMES.map(config) {
        let store = MemoryStore::new();
        let index = filled(&store, config).await;
        let before = answers(&index);
        let records: Vec<_> = (N_IMAGES..N_IMAGES + BATCH).map(record).collect();
        let first = stage(&index, &records);
        assert!(!first.is_empty());
        let known = |answer: &Vec<(u64, f32)>| answer.iter().all(|&(number, _)| number < N_IMAGES);
        assert!(answers(&index).iter().all(known));
        // The commit failed: nothing was written.
        index.settle(&store, N_IMAGES).await.expect("settles");
        assert_eq!(answers(&index), before);
        // Trying again writes the same rows.
        assert_eq!(stage(&index, &records), first);
    }
}

#[tokio::test]
async fn an_index_that_cannot_be_read_is_made_anew() {
    for config in SCHEMES.map(config) {
        let store = MemoryStore::new();
        let grown = answers(&filled(&store, config).await);
        for garbage in [&b"garbage"[..], b"LKCI"] {
            let head = Key::single(Table("index"), Bytes::from_static(&[0]));
            let write = Write::Put(head, Bytes::copy_from_slice(garbage));
            store.write(vec![write]).await.expect("writes");
            let index = open(&store, config, N_IMAGES).await;
            let answer = index.search(&vector(3), 50, 0.9, 5).expect("searches");
            assert!(answer.candidates.iter().any(|found| found.number.0 == 3));
            // It is the one that grew, refined at the same places.
            assert_eq!(answers(&index), grown);
            // And is there the next time.
            let again = open(&store, config, N_IMAGES).await;
            assert_eq!(answers(&again), answers(&index));
        }
    }
}

#[tokio::test]
async fn a_decision_finds_near_copies_old_and_new_and_nothing_at_or_above_its_number() {
    for config in SCHEMES.map(config) {
        let store = MemoryStore::new();
        let index = filled(&store, config).await;
        let before = index
            .search_before(&vector(N_IMAGES / 2 + 7), N_IMAGES, 50, 0.9)
            .expect("searches");
        assert_eq!(before.index_end, N_IMAGES / BLOCK * BLOCK);
        assert_eq!(
            before.begin, before.index_end,
            "not all are searched exactly"
        );
        let found = before.with(None, 50, 0.9);
        let numbers: Vec<u64> = found.iter().map(|found| found.number.0).collect();
        assert!(
            numbers.contains(&7) && numbers.contains(&(N_IMAGES / 2 + 7)),
            "{numbers:?}"
        );
        // The latest ones are not in the cells, and found all the same.
        let last = N_IMAGES - 1;
        assert!(last >= index_end(N_IMAGES));
        let found = index
            .search_before(&vector(last), N_IMAGES, 50, 0.9)
            .expect("searches")
            .with(None, 50, 0.9);
        assert!(found.iter().any(|found| found.number.0 == last));
    }
}

#[tokio::test]
async fn an_index_of_the_other_scheme_is_made_anew_and_leaves_no_row() {
    let [cells, planes] = SCHEMES.map(config);
    let postings = Table("postings");
    for (before, after) in [(cells, planes), (planes, cells)] {
        let store = MemoryStore::new();
        drop(filled(&store, before).await);
        let index = open(&store, after, N_IMAGES).await;
        let answer = index.search(&vector(3), 50, 0.9, 5).expect("searches");
        assert!(answer.candidates.iter().any(|found| found.number.0 == 3));
        // One row for each image in the lists, and none of those before.
        let mut num_rows = 0;
        for block in 0..1_000u32 {
            let block = Bytes::copy_from_slice(&block.to_be_bytes());
            let rows = store.scan(Scan::all(postings, block, 10_000)).await;
            num_rows += rows.expect("reads").len() as u64;
        }
        assert_eq!(num_rows, index_end(N_IMAGES));
        let again = open(&store, after, N_IMAGES).await;
        assert_eq!(answers(&again), answers(&index));
    }
}

#[tokio::test]
async fn audits_tell_the_recall() {
    for config in SCHEMES.map(config) {
        let store = MemoryStore::new();
        let index = filled(&store, config).await;
        for number in 0..50 {
            let found = index
                .search(&vector(number), 50, 0.9, 10)
                .expect("searches");
            index
                .audit(&vector(number), found.num_indexed, &found.candidates)
                .expect("audits");
        }
        let recall = index.auditor.recall().expect("fifty searches");
        assert!(
            recall.value > 0.9 && recall.low < recall.value,
            "{recall:?}"
        );
    }
}
