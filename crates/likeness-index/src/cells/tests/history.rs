//! Histories of insertions, removals, updates, commits, crashes and reopenings, against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What can be done to an index.
#[derive(Debug, Clone)]
enum Step {
    Insert(u64, u64),
    Remove(u64),
    Forget(u64),
    Update(u64, u64),
    Refine(usize),
    Commit,
    Reopen,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = 0u64..400;
    let step = prop_oneof![
        12 => (number.clone(), any::<u64>()).prop_map(|(number, seed)| Step::Insert(number * 3, seed)),
        3 => number.clone().prop_map(|number| Step::Remove(number * 3)),
        2 => number.clone().prop_map(|number| Step::Forget(number * 3)),
        2 => (number, any::<u64>()).prop_map(|(number, seed)| Step::Update(number * 3, seed)),
        2 => (1usize..8).prop_map(Step::Refine),
        1 => Just(Step::Commit),
        1 => Just(Step::Reopen),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..800)
}

/// An index with the rows that are committed, and what a plain map says should be in each.
struct Model {
    index: Cells,
    rows: Rows,
    plain: BTreeMap<u64, u64>,
    committed: BTreeMap<u64, u64>,
    committed_vectors: MemoryVectors,
}

impl Model {
    fn new() -> Self {
        let mut index = Cells::new(params());
        index.track_changes();
        let mut rows = Rows::default();
        rows.apply(index.changes());
        Self {
            committed_vectors: index.vectors.clone(),
            index,
            rows,
            plain: BTreeMap::new(),
            committed: BTreeMap::new(),
        }
    }

    fn commit(&mut self) {
        self.rows.apply(self.index.changes());
        self.index.wipe_removed().unwrap();
        self.committed = self.plain.clone();
        self.committed_vectors = self.index.vectors.clone();
    }

    fn reopen(&mut self) {
        self.index = self.rows.load(self.committed_vectors.clone()).unwrap();
        self.plain = self.committed.clone();
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Insert(number, seed) => {
                let is_new = self
                    .plain
                    .insert(number, *self.plain.get(&number).unwrap_or(&seed))
                    .is_none();
                let outcome = self.index.insert(number, &stored(seed));
                assert_eq!(outcome.is_ok(), is_new);
            }
            Step::Remove(number) => {
                assert_eq!(
                    self.index.remove(number),
                    self.plain.remove(&number).is_some()
                );
            }
            Step::Forget(number) => {
                let was_there = self.plain.remove(&number).is_some();
                assert_eq!(self.index.forget(number), was_there);
            }
            Step::Update(number, seed) => {
                self.index.update(number, &stored(seed)).unwrap();
                self.plain.insert(number, seed);
            }
            Step::Refine(count) => {
                self.index.refine(count);
            }
            Step::Commit => self.commit(),
            Step::Reopen => {
                self.commit();
                self.reopen();
            }
            Step::Crash => self.reopen(),
        }
    }

    fn check(&self) {
        let held: BTreeMap<u64, Vec<u16>> = self
            .index
            .iter()
            .map(|(number, vector)| (number, vector.to_vec()))
            .collect();
        let expected: BTreeMap<u64, Vec<u16>> = self
            .plain
            .iter()
            .map(|(&number, &seed)| (number, stored(seed)))
            .collect();
        assert_eq!(held, expected);
        assert_eq!(self.index.len(), self.plain.len());
        let in_lists: usize = self.index.lists.iter().map(List::len).sum();
        assert_eq!(in_lists, self.plain.len());
        for slot in self.index.directory.slots() {
            let Place { cell, position } = self.index.directory.place(slot);
            assert_eq!(
                self.index.lists[cell as usize].slot(self.index.layout, position as usize),
                slot
            );
        }
        for seed in 0..3 {
            let query = vector(seed * 1_013);
            let exact = self.index.search_exact(&query, 10, None).unwrap();
            assert_eq!(
                self.index
                    .search(&query, 10, &thorough(), None)
                    .unwrap()
                    .neighbors,
                exact
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_history_answers_like_a_plain_map(steps in steps()) {
        let mut model = Model::new();
        for step in &steps {
            model.apply(step);
        }
        model.check();
    }

    #[test]
    fn nothing_of_a_forgotten_vector_is_in_the_rows_or_among_the_vectors(
        others in prop::collection::btree_set(0u64..400, 0..60),
        first in 400u64..800,
        is_first in any::<bool>(),
    ) {
        let mut index = Cells::new(params());
        index.track_changes();
        let mut numbers: Vec<u64> = others.into_iter().collect();
        numbers.insert(if is_first { 0 } else { numbers.len() / 2 }, first);
        for &number in &numbers {
            index.insert(number, &stored(number)).unwrap();
        }
        let mut rows = Rows::default();
        rows.apply(index.changes());
        let rotated = index.rotated_stored(&stored(first)).unwrap();
        let as_bytes: Vec<u8> = rotated.iter().flat_map(|it| it.to_le_bytes()).collect();
        let has = |rows: &Rows, needle: &[u8]| {
            rows.0.values().any(|row| row.windows(needle.len()).any(|part| part == needle))
        };
        if is_first && numbers.len() <= 16 {
            prop_assert!(has(&rows, &as_bytes), "the first vector is a centroid");
        }
        prop_assert!(index.forget(first));
        rows.apply(index.changes());
        index.wipe_removed().unwrap();
        prop_assert!(!has(&rows, &as_bytes));
        for slot in 0..1_000 {
            if index.vectors.has(slot) {
                prop_assert_ne!(index.vectors.get(slot), stored(first));
            }
        }
    }

    #[test]
    fn a_reopened_index_goes_on_like_the_one_before(steps in steps(), more in steps()) {
        let mut model = Model::new();
        for step in &steps {
            model.apply(step);
        }
        model.commit();
        let mut other = model.rows.load(model.committed_vectors.clone()).unwrap();
        let few = SearchParams { probes: 3, ..SearchParams::default() };
        for step in &more {
            match *step {
                Step::Insert(number, seed) => {
                    let outcome = model.index.insert(number, &stored(seed));
                    prop_assert_eq!(outcome, other.insert(number, &stored(seed)));
                }
                Step::Remove(number) => {
                    prop_assert_eq!(model.index.remove(number), other.remove(number));
                }
                Step::Forget(number) => {
                    prop_assert_eq!(model.index.forget(number), other.forget(number));
                }
                Step::Update(number, seed) => {
                    model.index.update(number, &stored(seed)).unwrap();
                    other.update(number, &stored(seed)).unwrap();
                }
                Step::Refine(count) => prop_assert_eq!(model.index.refine(count), other.refine(count)),
                Step::Commit | Step::Reopen | Step::Crash => {
                    prop_assert_eq!(model.index.changes(), other.changes());
                }
            }
        }
        prop_assert_eq!(model.index.changes(), other.changes());
        for seed in 0..5 {
            let query = vector(seed * 701 + 9);
            prop_assert_eq!(model.index.search(&query, 10, &few, None), other.search(&query, 10, &few, None));
        }
    }
}

/// Numbers far from each other are on pages of their own, and the last page is free when the index is read.
#[test]
fn free_places_at_the_end_leave_no_trace() {
    let mut model = Model::new();
    for number in [504, 0, 642] {
        model.apply(&Step::Insert(number, 0));
    }
    model.apply(&Step::Remove(642));
    model.commit();
    let mut other = model.rows.load(model.committed_vectors.clone()).unwrap();
    model.index.insert(3, &stored(0)).unwrap();
    other.insert(3, &stored(0)).unwrap();
    assert_eq!(model.index.changes(), other.changes());
}
