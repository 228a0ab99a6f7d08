mod rows;

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use roaring::RoaringTreemap;

use super::*;
use crate::candidates::Neighbor;

const DIM: usize = 20;

/// Compares everything that shares a term, and everything does.
const ALL: HyperplanesSearch = HyperplanesSearch {
    probes: usize::MAX,
    max_candidates: usize::MAX,
    epsilon: f32::INFINITY,
};

/// Seeded bell curves: sums of uniform numbers.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn normal(&mut self) -> f32 {
        let sum: f32 = (0..4)
            .map(|_| (split_mix_64(&mut self.0) >> 40) as f32 / (1u64 << 24) as f32)
            .sum();
        (sum - 2.0) * 3f32.sqrt()
    }

    pub(super) fn vector(&mut self, dim: usize) -> Vec<f32> {
        (0..dim).map(|_| self.normal()).collect()
    }
}

fn vector_of(seed: u64) -> Vec<u16> {
    bf16::encode(&Random(seed).vector(DIM))
}

fn filled(params: HyperplanesParams, count: u64) -> Hyperplanes {
    let mut index = Hyperplanes::new(params);
    for number in 0..count {
        let vector = Random(number).vector(params.dim);
        index.insert(number, &bf16::encode(&vector)).unwrap();
    }
    index
}

/// Every vector is in the list of each of its terms, or was left out of it, and nothing else is in a list.
#[track_caller]
fn check_lists<V: Vectors>(index: &Hyperplanes<V>) {
    let mut expected: BTreeMap<(usize, u32), HashSet<u32>> = BTreeMap::new();
    for slot in index.directory.slots() {
        let vector = bf16::decode(index.vectors.get(slot));
        for place in index.terms(&vector).unwrap().into_iter().enumerate() {
            expected.entry(place).or_default().insert(slot);
        }
    }
    let mut num_lists = 0;
    for (&(term_idx, bits), slots) in &expected {
        let postings = &index.postings[term_idx];
        let list = postings.get(bits);
        let listed: HashSet<u32> = list.iter().copied().collect();
        assert_eq!(listed.len(), list.len(), "a slot is doubled");
        assert!(listed.is_subset(slots));
        assert!(list.len() <= index.params.max_list);
        assert_eq!(list.len() + postings.left_out(bits), slots.len());
        num_lists += usize::from(!list.is_empty());
    }
    let stats = index.stats();
    assert_eq!(stats.num_lists, num_lists);
    assert_eq!(stats.num_vectors, index.len());
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u64, u64),
    Update(u64, u64),
    Remove(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few numbers and few vectors: collisions of both are the hard part.
    let step = prop_oneof![
        4 => (0u64..60, 0u64..40).prop_map(|(number, seed)| Step::Insert(number * 31, seed)),
        1 => (0u64..60, 0u64..40).prop_map(|(number, seed)| Step::Update(number * 31, seed)),
        2 => (0u64..60).prop_map(|number| Step::Remove(number * 31)),
    ];
    prop::collection::vec(step, 0..160)
}

fn run(index: &mut Hyperplanes, history: &[Step]) -> BTreeMap<u64, Vec<u16>> {
    let mut model = BTreeMap::new();
    run_on(index, &mut model, history);
    model
}

fn run_on(index: &mut Hyperplanes, model: &mut BTreeMap<u64, Vec<u16>>, history: &[Step]) {
    for step in history {
        match *step {
            Step::Insert(number, seed) => {
                let outcome = index.insert(number, &vector_of(seed));
                assert_eq!(outcome.is_ok(), !model.contains_key(&number));
                model.entry(number).or_insert_with(|| vector_of(seed));
            }
            Step::Update(number, seed) => {
                index.update(number, &vector_of(seed)).unwrap();
                model.insert(number, vector_of(seed));
            }
            Step::Remove(number) => {
                assert_eq!(index.remove(number), model.remove(&number).is_some());
            }
        }
    }
}

proptest! {
    #[test]
    fn any_history_gives_what_a_plain_map_gives(history in steps(), max_list in prop_oneof![1usize..6, Just(1_000)]) {
        let params = HyperplanesParams { max_list, ..HyperplanesParams::new(DIM, 5, 4) };
        let mut index = Hyperplanes::new(params);
        let model = run(&mut index, &history);
        prop_assert_eq!(index.len(), model.len());
        let held: BTreeMap<u64, Vec<u16>> = index.iter().map(|(number, vector)| (number, vector.to_vec())).collect();
        prop_assert_eq!(held.len(), index.iter().count());
        prop_assert_eq!(&held, &model);
        check_lists(&index);

        let query = Random(1_000).vector(DIM);
        let exact = index.search_exact(&query, 50, None).unwrap();
        prop_assert_eq!(exact.len(), model.len().min(50));
        for neighbor in &exact {
            prop_assert_eq!(index.similarity(&query, neighbor.number), Some(neighbor.similarity));
        }
        let found = index.search(&query, 50, &ALL, None).unwrap();
        if max_list == 1_000 {
            // Nothing is left out, and every bucket of every term is looked up.
            prop_assert_eq!(&found, &exact);
            let near = index.range(&query, 0.2, 1_000, &ALL, None).unwrap();
            let expected = index.search_exact(&query, 1_000, None).unwrap();
            let expected: Vec<Neighbor> = expected.into_iter().filter(|neighbor| neighbor.similarity >= 0.2).collect();
            prop_assert_eq!(near, expected);
        }
        let numbers: HashSet<u64> = found.iter().map(|neighbor| neighbor.number).collect();
        prop_assert_eq!(numbers.len(), found.len());
        prop_assert!(numbers.iter().all(|number| model.contains_key(number)));
    }

    #[test]
    fn the_same_history_gives_the_same_answers(history in steps(), max_list in 1usize..20) {
        let params = HyperplanesParams { max_list, ..HyperplanesParams::new(DIM, 5, 6) };
        let (mut first, mut second) = (Hyperplanes::new(params), Hyperplanes::new(params));
        run(&mut first, &history);
        run(&mut second, &history);
        let query = Random(1_000).vector(DIM);
        prop_assert_eq!(first.candidates(&query, 30, 3, None), second.candidates(&query, 30, 3, None));
        // The directory's hash map is seeded anew each time, and with it when it grows.
        let stats = |index: &Hyperplanes| HyperplanesStats { directory_bytes: 0, ..index.stats() };
        prop_assert_eq!(stats(&first), stats(&second));
    }

    #[test]
    fn candidates_come_by_terms_then_estimate_then_number(limit in 0usize..300, probes in 0usize..40) {
        let index = filled(HyperplanesParams::new(DIM, 8, 6), 300);
        let query = Random(1_000).vector(DIM);
        let all = index.candidates(&query, usize::MAX, probes, None).unwrap();
        let mut sorted = all.clone();
        sorted.sort_by(|a, b| b.terms.cmp(&a.terms).then(b.estimate.total_cmp(&a.estimate)).then(a.number.cmp(&b.number)));
        prop_assert_eq!(&all, &sorted);
        prop_assert!(all.iter().all(|candidate| (1..=8).contains(&candidate.terms)));
        let cut = index.candidates(&query, limit, probes, None).unwrap();
        prop_assert_eq!(&cut[..], &all[..limit.min(all.len())]);
    }
}

#[test]
fn candidates_match_in_the_terms_that_are_equal() {
    let index = filled(HyperplanesParams::new(DIM, 12, 5), 400);
    let query = Random(77_777).vector(DIM);
    let terms = index.terms(&query).unwrap();
    let candidates = index.candidates(&query, usize::MAX, 1, None).unwrap();
    let mut num_expected = 0;
    for (number, vector) in index.iter() {
        let others = index.terms(&bf16::decode(vector)).unwrap();
        let equal = terms.iter().zip(&others).filter(|(a, b)| a == b).count();
        let found = candidates
            .iter()
            .find(|candidate| candidate.number == number);
        assert_eq!(found.map_or(0, |candidate| candidate.terms as usize), equal);
        num_expected += usize::from(equal > 0);
    }
    assert!(num_expected > 50 && num_expected < 400);
    assert_eq!(candidates.len(), num_expected);
}

#[test]
fn a_full_list_takes_no_more_and_is_counted() {
    const MAX_LIST: usize = 10;
    let params = HyperplanesParams {
        max_list: MAX_LIST,
        ..HyperplanesParams::new(DIM, 3, 8)
    };
    let mut index = Hyperplanes::new(params);
    let vector = vector_of(5);
    let query = bf16::decode(&vector);
    for number in 0..25 {
        index.insert(number, &vector).unwrap();
    }
    let found = |index: &Hyperplanes| -> Vec<u64> {
        let mut found: Vec<u64> = index
            .search(&query, 100, &ALL, None)
            .unwrap()
            .iter()
            .map(|neighbor| neighbor.number)
            .collect();
        found.sort_unstable();
        found
    };
    assert_eq!(found(&index), (0..10).collect::<Vec<u64>>());
    let stats = index.stats();
    assert_eq!(stats.capped_lists, 3);
    assert_eq!(stats.left_out, 3 * 15);
    let terms = index.terms(&query).unwrap();
    let hot: Vec<HotTerm> = (0..3)
        .map(|index| HotTerm {
            index,
            bits: terms[index],
            len: MAX_LIST,
            left_out: 15,
        })
        .collect();
    assert_eq!(stats.hot_terms, hot);

    // Whoever was left out can be removed, and filed again once there is room.
    assert!(index.remove(20));
    assert!(index.remove(3));
    assert_eq!(index.stats().left_out, 3 * 14);
    index.update(24, &vector).unwrap();
    assert_eq!(found(&index), [0, 1, 2, 4, 5, 6, 7, 8, 9, 24]);
    assert_eq!(index.stats().left_out, 3 * 13);
    check_lists(&index);
}

#[test]
fn a_filter_is_applied_before_the_cut() {
    let index = filled(HyperplanesParams::new(DIM, 8, 4), 500);
    let query = Random(1_000).vector(DIM);
    let wanted: RoaringTreemap = (0..500).filter(|number| number % 7 == 0).collect();
    let candidates = index.candidates(&query, 20, 8, Some(&wanted)).unwrap();
    assert_eq!(candidates.len(), 20);
    assert!(candidates.iter().all(|candidate| candidate.number % 7 == 0));
    let found = index.search(&query, 10, &ALL, Some(&wanted)).unwrap();
    assert_eq!(
        found,
        index.search_exact(&query, 10, Some(&wanted)).unwrap()
    );
}

#[test]
fn ruling_out_by_codes_misses_next_to_nothing() {
    const DIM: usize = 128;
    let mut index = Hyperplanes::new(HyperplanesParams::new(DIM, 8, 4));
    let mut random = Random(3);
    let centres: Vec<Vec<f32>> = (0..20).map(|_| random.vector(DIM)).collect();
    for number in 0..2_000u64 {
        let noise = random.vector(DIM);
        // Some are near their centre, some very near, some equal to it.
        let width = [0.0, 0.02, 0.3, 1.0][number as usize % 4];
        let centre = &centres[number as usize / 4 % 20];
        let vector: Vec<f32> = centre
            .iter()
            .zip(&noise)
            .map(|(a, b)| a + width * b)
            .collect();
        index.insert(number, &bf16::encode(&vector)).unwrap();
    }
    let (mut found, mut expected) = (0, 0);
    for centre in &centres {
        let pruned = HyperplanesSearch {
            epsilon: 3.0,
            ..ALL
        };
        let exact = index.search_exact(centre, 40, None).unwrap();
        let answer = index.search(centre, 40, &pruned, None).unwrap();
        expected += exact.len();
        found += exact
            .iter()
            .filter(|neighbor| answer.contains(neighbor))
            .count();
    }
    assert!(found * 1_000 >= expected * 995, "{found} of {expected}");
}

#[test]
fn estimates_are_not_biased_by_shared_terms() {
    const DIM: usize = 256;
    let index = filled(HyperplanesParams::new(DIM, 16, 8), 3_000);
    let (mut sum, mut count) = (0f64, 0f64);
    for seed in 0..50 {
        let query = Random(1 << 20 | seed).vector(DIM);
        for candidate in index.candidates(&query, usize::MAX, 1, None).unwrap() {
            sum += f64::from(candidate.estimate - candidate.similarity);
            count += 1.0;
        }
    }
    // A standard deviation of 0.05 for one; queries are few, and errors of one query go together.
    assert!(count > 1_000.0);
    assert!((sum / count).abs() < 0.002, "{}", sum / count);
}

#[test]
fn inserting_and_searching_in_one_is_searching_first() {
    let params = HyperplanesParams::new(DIM, 6, 5);
    let (mut both, mut apart) = (Hyperplanes::new(params), Hyperplanes::new(params));
    let search = HyperplanesSearch::default();
    for number in 0..200 {
        let vector = vector_of(number);
        let expected = apart
            .search(&bf16::decode(&vector), 5, &search, None)
            .unwrap();
        apart.insert(number, &vector).unwrap();
        assert_eq!(
            both.insert_search(number, &vector, 5, &search).unwrap(),
            expected
        );
    }
    assert_eq!(both.stats().num_lists, apart.stats().num_lists);
    check_lists(&both);
    assert_eq!(
        both.insert_search(7, &vector_of(7), 5, &search),
        Err(IndexError::Duplicate { number: 7 })
    );
}

#[test]
fn a_batch_is_taken_as_a_whole_or_not_at_all() {
    let mut index = Hyperplanes::new(HyperplanesParams::new(DIM, 4, 6));
    index.insert(9, &vector_of(9)).unwrap();
    let rows: Vec<u16> = (0..3).flat_map(vector_of).collect();
    let before = index.stats();
    assert_eq!(
        index.insert_batch(&[1, 2, 9], &rows),
        Err(IndexError::Duplicate { number: 9 })
    );
    assert_eq!(
        index.insert_batch(&[1, 2], &rows),
        Err(IndexError::WrongDimension {
            expected: 2 * DIM,
            got: 3 * DIM
        })
    );
    assert_eq!(index.len(), 1);
    assert_eq!(index.stats().num_lists, before.num_lists);
    index.insert_batch(&[1, 2, 3], &rows).unwrap();
    assert_eq!(index.vector(3), Some(&vector_of(2)[..]));
    check_lists(&index);
}

#[test]
fn bad_vectors_are_refused_and_change_nothing() {
    let mut index = filled(HyperplanesParams::new(DIM, 4, 6), 10);
    let zero = vec![0; DIM];
    assert_eq!(index.insert(99, &zero), Err(IndexError::NoDirection));
    assert_eq!(index.update(3, &zero), Err(IndexError::NoDirection));
    assert_eq!(
        index.insert(99, &[0; 3]),
        Err(IndexError::WrongDimension {
            expected: DIM,
            got: 3
        })
    );
    assert_eq!(
        index.search(&[f32::NAN; DIM], 1, &ALL, None),
        Err(IndexError::NoDirection)
    );
    assert_eq!(index.len(), 10);
    assert_eq!(index.similarity(&[1.0; 3], 3), None);
    check_lists(&index);
}

/// Has room for the vectors of slots below 64 alone.
#[derive(Debug)]
struct SmallStore {
    vectors: MemoryVectors,
    is_broken: bool,
}

impl Vectors for SmallStore {
    fn set(&mut self, slot: u32, vector: &[u16]) -> Result<(), IndexError> {
        if slot >= 64 || self.is_broken {
            return Err(no_room());
        }
        self.vectors.set(slot, vector)
    }

    fn get(&self, slot: u32) -> &[u16] {
        self.vectors.get(slot)
    }

    fn has(&self, slot: u32) -> bool {
        slot < 64
    }

    fn memory_bytes(&self) -> usize {
        self.vectors.memory_bytes()
    }
}

fn no_room() -> IndexError {
    IndexError::Storage {
        reason: "no room".to_owned(),
    }
}

#[test]
fn a_store_without_room_leaves_the_index_as_it_was() {
    let store = SmallStore {
        vectors: MemoryVectors::new(DIM),
        is_broken: false,
    };
    let mut index = Hyperplanes::with_vectors(HyperplanesParams::new(DIM, 4, 6), store);
    for number in 0..64 {
        index.insert(number, &vector_of(number)).unwrap();
    }
    assert_eq!(index.insert(64, &vector_of(64)), Err(no_room()));
    assert_eq!(index.update(64, &vector_of(64)), Err(no_room()));
    index.vectors.is_broken = true;
    assert_eq!(index.update(7, &vector_of(70)), Err(no_room()));
    assert!(!index.contains(64));
    assert_eq!(index.len(), 64);
    assert_eq!(index.vector(7), Some(&vector_of(7)[..]));
    check_lists(&index);
    index.vectors.is_broken = false;
    assert!(index.remove(3));
    index.insert(3, &vector_of(64)).unwrap();
    check_lists(&index);
}

#[test]
fn an_empty_index_and_empty_wishes_give_empty_answers() {
    let index = Hyperplanes::new(HyperplanesParams::new(DIM, 4, 6));
    assert!(index.is_empty());
    let query = Random(1).vector(DIM);
    assert_eq!(index.search(&query, 10, &ALL, None), Ok(Vec::new()));
    let index = filled(*index.params(), 50);
    assert_eq!(index.search(&query, 0, &ALL, None), Ok(Vec::new()));
    let nothing = HyperplanesSearch { probes: 0, ..ALL };
    assert_eq!(index.search(&query, 10, &nothing, None), Ok(Vec::new()));
}

#[test]
fn memory_is_counted_and_given_back_to_later_vectors() {
    let mut index = filled(HyperplanesParams::new(DIM, 16, 8), 4_000);
    let stats = index.stats();
    let parts = [
        stats.list_bytes,
        stats.code_bytes,
        stats.directory_bytes,
        stats.vector_bytes,
    ];
    let signs = index.projections.memory_bytes();
    assert_eq!(index.memory_bytes(), parts.iter().sum::<usize>() + signs);
    // 16 lists of 4 bytes each, and less than as much again and a chunk a table.
    let entries = 4_000 * 16 * 4;
    assert!(stats.list_bytes > entries, "{stats:?}");
    assert!(
        stats.list_bytes < 2 * entries + 16 * (postings::CHUNK * 4 + 30 * 256),
        "{stats:?}"
    );

    // Hash tables may grow once more as they are churned, but not again.
    let mut sizes = Vec::new();
    for round in 1..8 {
        for number in 0..4_000 {
            assert!(index.remove((round - 1) * 10_000 + number));
            let vector = Random(round * 10_000 + number).vector(DIM);
            index
                .insert(round * 10_000 + number, &bf16::encode(&vector))
                .unwrap();
        }
        sizes.push(index.memory_bytes());
    }
    assert!(sizes[6] <= sizes[1] + sizes[1] / 10, "{sizes:?}");
    check_lists(&index);
}
