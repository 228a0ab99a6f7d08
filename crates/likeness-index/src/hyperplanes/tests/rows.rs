//! The durable form: histories with commits, reopenings and crashes, and rows that are none.

use super::*;
use crate::rows::{RowChange, RowKey};

/// Rows, as a store would keep them.
#[derive(Default, Clone)]
struct Rows(BTreeMap<RowKey, Vec<u8>>);

impl Rows {
    fn apply(&mut self, changes: Vec<RowChange>) {
        for change in changes {
            match change.value {
                Some(value) => self.0.insert(change.key, value),
                None => self.0.remove(&change.key),
            };
        }
    }

    fn load(
        &self,
        params: HyperplanesParams,
        vectors: MemoryVectors,
    ) -> Result<Hyperplanes, IndexError> {
        let mut loader = HyperplanesLoader::new(params, vectors, &self.0[&RowKey::Head])
            .map_err(|(_, error)| error)?;
        for (key, value) in &self.0 {
            match *key {
                RowKey::Head => {}
                RowKey::Page(page) => loader.page(page, value)?,
                RowKey::Cell(_) => unreachable!("hyperplanes have no cells"),
                RowKey::Posting(page, number) => loader.posting(page, number, value)?,
            }
        }
        loader.check()?;
        Ok(loader.finish())
    }
}

/// Few bits and short lists: most lists are full at some time.
fn params(max_list: usize) -> HyperplanesParams {
    HyperplanesParams {
        max_list,
        ..HyperplanesParams::new(DIM, 5, 4)
    }
}

/// Equal in everything that an answer or a row may depend on. The order within a list is nothing of that.
fn assert_alike(a: &Hyperplanes, b: &Hyperplanes) {
    check_lists(a);
    check_lists(b);
    for (a, b) in a.postings.iter().zip(&b.postings) {
        for (term, len) in a.lengths() {
            let sorted = |postings: &Postings| {
                let mut list = postings.get(term).to_vec();
                list.sort_unstable();
                list
            };
            assert_eq!((len, sorted(a)), (b.get(term).len(), sorted(b)));
            assert_eq!(a.left_out(term), b.left_out(term));
        }
        assert_eq!(a.total_left_out(), b.total_left_out());
    }
    assert_eq!(a.capped(), b.capped());
    for seed in 0..10 {
        let query = Random(seed + 5_000).vector(DIM);
        for (limit, probes) in [(7, 1), (100, 3)] {
            let candidates = a.candidates(&query, limit, probes, None).unwrap();
            assert_eq!(
                candidates,
                b.candidates(&query, limit, probes, None).unwrap()
            );
        }
    }
}

/// What happens between two commits, and how the time between them ends.
#[derive(Debug, Clone)]
enum End {
    Commit,
    Reopen,
    Crash,
}

fn spans() -> impl Strategy<Value = Vec<(Vec<Step>, End)>> {
    let end = prop_oneof![2 => Just(End::Commit), 1 => Just(End::Reopen), 1 => Just(End::Crash)];
    prop::collection::vec((steps(), end), 0..8)
}

proptest! {
    #[test]
    fn commits_reopenings_and_crashes_give_what_a_plain_map_gives(history in spans(), max_list in 1usize..12) {
        let params = params(max_list);
        let mut index = Hyperplanes::new(params);
        index.track_changes();
        let mut rows = Rows::default();
        rows.apply(index.changes());
        let mut committed = (index.vectors.clone(), BTreeMap::new());
        let mut plain = BTreeMap::new();
        for (steps, end) in &history {
            run_on(&mut index, &mut plain, steps);
            if matches!(end, End::Crash) {
                // What was not committed is gone, vectors included.
                index = rows.load(params, committed.0.clone()).unwrap();
                plain.clone_from(&committed.1);
            } else {
                rows.apply(index.changes());
                index.wipe_removed().unwrap();
                committed = (index.vectors.clone(), plain.clone());
            }
            if matches!(end, End::Reopen) {
                let reopened = rows.load(params, committed.0.clone()).unwrap();
                assert_alike(&index, &reopened);
                index = reopened;
            }
            let held: BTreeMap<u64, Vec<u16>> = index.iter().map(|(number, vector)| (number, vector.to_vec())).collect();
            prop_assert_eq!(&held, &plain);
            check_lists(&index);
        }
    }

    #[test]
    fn a_reopened_index_goes_on_like_the_one_before(before in steps(), after in steps(), max_list in 1usize..12) {
        let params = params(max_list);
        let mut index = Hyperplanes::new(params);
        let mut plain = run(&mut index, &before);
        // Rows of an index that was not watched from the beginning.
        index.track_changes();
        let mut rows = Rows::default();
        rows.apply(index.changes());
        let mut reopened = rows.load(params, index.vectors.clone()).unwrap();
        assert_alike(&index, &reopened);
        run_on(&mut reopened, &mut plain.clone(), &after);
        run_on(&mut index, &mut plain, &after);
        let changes = index.changes();
        prop_assert_eq!(&changes, &reopened.changes());
        rows.apply(changes);
        assert_alike(&index, &rows.load(params, index.vectors.clone()).unwrap());
    }
}

#[test]
fn a_vector_that_is_forgotten_leaves_no_row() {
    let mut index = filled(params(1_000), 100);
    index.track_changes();
    let mut rows = Rows::default();
    rows.apply(index.changes());
    for number in 64..100 {
        assert!(index.forget(number));
    }
    rows.apply(index.changes());
    index.wipe_removed().unwrap();
    let is_of = |key: &RowKey| matches!(key, RowKey::Posting(_, number) if *number >= 64);
    assert!(!rows.0.keys().any(is_of));
    assert!(!rows.0.contains_key(&RowKey::Page(1)));
    for slot in 64..100 {
        assert!(
            index
                .vectors
                .get(slot)
                .iter()
                .all(|&component| component == 0)
        );
    }
    assert_eq!(
        rows.load(params(1_000), index.vectors.clone())
            .unwrap()
            .len(),
        64
    );
}

#[test]
fn lists_may_be_made_shorter_or_longer_between_two_openings() {
    let mut index = filled(params(10), 400);
    index.track_changes();
    let mut rows = Rows::default();
    rows.apply(index.changes());
    for max_list in [3, 500] {
        let mut reopened = rows.load(params(max_list), index.vectors.clone()).unwrap();
        let capped = reopened.capped();
        assert_eq!(capped, index.capped());
        assert!(capped.left_out > capped.terms && capped.terms > 0);
        reopened.insert(1_000, &vector_of(1)).unwrap();
        let grew = reopened.capped().left_out - capped.left_out;
        assert_eq!(grew, if max_list == 3 { 5 } else { 0 });
    }
}

#[test]
fn rows_of_another_index_and_torn_rows_are_refused() {
    let wanted = params(1_000);
    let mut index = filled(wanted, 200);
    index.track_changes();
    let mut rows = Rows::default();
    rows.apply(index.changes());
    let vectors = || index.vectors.clone();
    let head = rows.0[&RowKey::Head].clone();
    let wrong = |params, head: &[u8]| {
        HyperplanesLoader::new(params, vectors(), head)
            .map(|_| ())
            .map_err(|(_, error)| error)
    };
    assert!(matches!(
        wrong(wanted, b"LKCI...."),
        Err(IndexError::Foreign { .. })
    ));
    assert!(matches!(
        wrong(wanted, &head[..40]),
        Err(IndexError::Corrupt { .. })
    ));
    assert!(matches!(
        wrong(wanted, &[]),
        Err(IndexError::Corrupt { .. })
    ));
    for other in [
        HyperplanesParams { seed: 1, ..wanted },
        HyperplanesParams { terms: 6, ..wanted },
        HyperplanesParams { bits: 5, ..wanted },
    ] {
        assert!(matches!(
            wrong(other, &head),
            Err(IndexError::Foreign { .. })
        ));
    }
    for key in rows.0.keys().copied().filter(|key| *key != RowKey::Head) {
        let refused = |rows: &Rows| {
            let outcome = rows.load(wanted, vectors());
            assert!(
                matches!(outcome, Err(IndexError::Corrupt { .. })),
                "{key:?}"
            );
        };
        let mut torn = rows.clone();
        let value = torn.0.get_mut(&key).unwrap();
        value.truncate(value.len() / 2);
        refused(&torn);
        let mut longer = rows.clone();
        longer.0.get_mut(&key).unwrap().push(0);
        refused(&longer);
        let mut lost = rows.clone();
        lost.0.remove(&key);
        refused(&lost);
    }
    // A term of more bits than there are, a list that there is not, and a vector in another's page.
    let key = RowKey::Posting(0, 3);
    let len = rows.0[&key].len();
    for (at, bits) in [(len - 1, 0xf0), (len - 5 - 8, 0xe0)] {
        let mut wrong = rows.clone();
        wrong.0.get_mut(&key).unwrap()[at] |= bits;
        let outcome = wrong.load(wanted, vectors());
        assert!(
            matches!(outcome, Err(IndexError::Corrupt { .. })),
            "byte {at}"
        );
    }
    let mut moved = rows.clone();
    let row = moved.0.remove(&key).unwrap();
    moved.0.insert(RowKey::Posting(1, 3), row);
    assert!(matches!(
        moved.load(wanted, vectors()),
        Err(IndexError::Corrupt { .. })
    ));
}
