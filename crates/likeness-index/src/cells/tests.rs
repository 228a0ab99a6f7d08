mod growth;
mod history;
mod refining;
mod second_cell;
mod stopping;

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use super::*;
use crate::bf16;
use crate::candidates::Neighbor;
use crate::rotation::split_mix_64;
use crate::rows::{RowChange, RowKey};

const DIM: usize = 24;

fn params() -> CellsParams {
    CellsParams {
        max_list: 16,
        ..CellsParams::new(DIM)
    }
}

/// A vector as a function of a seed; seeds that agree modulo 50 lie close together.
fn vector(seed: u64) -> Vec<f32> {
    let draw = |seed: u64| {
        let mut state = seed;
        (0..DIM).map(move |_| split_mix_64(&mut state) as f32 / u64::MAX as f32 - 0.5)
    };
    draw(seed % 50)
        .zip(draw(seed.wrapping_mul(77) + 1_000))
        .map(|(centre, noise)| centre + 0.4 * noise)
        .collect()
}

fn stored(seed: u64) -> Vec<u16> {
    bf16::encode(&vector(seed))
}

fn index_of(numbers: impl IntoIterator<Item = u64>) -> Cells {
    let mut index = Cells::new(params());
    for number in numbers {
        index.insert(number, &stored(number)).unwrap();
    }
    index
}

/// A search that leaves nothing out.
fn thorough() -> SearchParams {
    SearchParams {
        probes: usize::MAX / 4,
        epsilon: 8.0,
        ..SearchParams::default()
    }
}

fn numbers(neighbors: &[Neighbor]) -> Vec<u64> {
    neighbors.iter().map(|neighbor| neighbor.number).collect()
}

/// Rows, as a store would keep them.
#[derive(Default)]
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

    fn load(&self, vectors: MemoryVectors) -> Result<Cells, IndexError> {
        let mut loader = CellsLoader::new(params(), vectors, &self.0[&RowKey::Head])
            .map_err(|(_, error)| error)?;
        for (key, value) in &self.0 {
            match *key {
                RowKey::Head => {}
                RowKey::Page(page) => loader.page(page, value)?,
                RowKey::Cell(cell) => loader.cell(cell, value)?,
                RowKey::Posting(cell, number) => loader.posting(cell, number, value)?,
            }
        }
        loader.check()?;
        Ok(loader.finish())
    }
}

#[test]
fn an_empty_index_gives_an_empty_answer() {
    let index = Cells::new(params());
    let answer = index.search(&vector(1), 5, &thorough(), None).unwrap();
    assert_eq!(answer.neighbors, vec![]);
    assert_eq!(index.similarity(&vector(1), 1), None);
    assert_eq!(
        index
            .range(&vector(1), 0.5, 5, &thorough(), None)
            .unwrap()
            .neighbors,
        vec![]
    );
    assert!(index.candidates(&vector(1), 5, 5).unwrap().is_empty());
}

#[test]
fn refuses_what_cannot_be_compared_and_stays_as_it_was() {
    let mut index = index_of(0..10);
    for bad in [
        vec![0u16; DIM],
        bf16::encode(&[f32::NAN; DIM]),
        bf16::encode(&[f32::INFINITY; DIM]),
    ] {
        assert_eq!(index.insert(99, &bad), Err(IndexError::NoDirection));
        assert_eq!(index.update(3, &bad), Err(IndexError::NoDirection));
    }
    assert_eq!(
        index.insert(99, &[1, 2]),
        Err(IndexError::WrongDimension {
            expected: DIM,
            got: 2
        })
    );
    assert_eq!(
        index.insert(3, &stored(77)),
        Err(IndexError::Duplicate { number: 3 })
    );
    assert_eq!(index.vector(3), Some(&stored(3)[..]));
    assert_eq!(index.len(), 10);
}

#[test]
fn a_batch_with_a_bad_vector_leaves_nothing_behind() {
    let mut index = index_of(0..10);
    let mut vectors: Vec<u16> = (20..30).flat_map(stored).collect();
    vectors[5 * DIM..6 * DIM].fill(0);
    let numbers: Vec<u64> = (20..30).collect();
    assert_eq!(
        index.insert_batch(&numbers, &vectors),
        Err(IndexError::NoDirection)
    );
    let short = index.insert_batch(&numbers, &stored(20));
    assert_eq!(
        short,
        Err(IndexError::WrongDimension {
            expected: 10 * DIM,
            got: DIM
        })
    );
    assert_eq!(index.len(), 10);
    assert!(!index.contains(20));
}

#[test]
fn a_batch_is_what_one_vector_after_the_other_is() {
    let numbers: Vec<u64> = (0..3_001).collect();
    let one_by_one = index_of(0..3_001);
    let mut batched = index_of(0..0);
    for numbers in numbers.chunks(203) {
        let vectors: Vec<u16> = numbers.iter().copied().flat_map(stored).collect();
        batched.insert_batch(numbers, &vectors).unwrap();
    }
    assert!(batched.stats().num_cells > 100);
    assert_eq!(batched.stats(), one_by_one.stats());
    for query in 0..50 {
        let query = vector(query * 7);
        let answer = |index: &Cells| index.search(&query, 10, &SearchParams::default(), None);
        assert_eq!(answer(&batched), answer(&one_by_one));
    }
}

#[test]
fn a_thorough_search_is_exact() {
    let index = index_of(0..3_000);
    assert!(index.stats().num_cells > 100);
    for query in 0..50 {
        let query = vector(query * 31 + 7);
        let exact = index.search_exact(&query, 10, None).unwrap();
        assert_eq!(
            index
                .search(&query, 10, &thorough(), None)
                .unwrap()
                .neighbors,
            exact
        );
        let floor = exact[9].similarity;
        let range = index.range(&query, floor, 100, &thorough(), None).unwrap();
        assert!(
            range
                .neighbors
                .iter()
                .all(|neighbor| neighbor.similarity >= floor)
        );
        assert_eq!(numbers(&range.neighbors)[..10], numbers(&exact));
    }
}

#[test]
fn few_probes_find_most() {
    let index = index_of(0..5_000);
    let params = SearchParams {
        probes: 12,
        ..SearchParams::default()
    };
    let mut found = 0;
    for query in 0..100 {
        let query = vector(query * 53 + 100_000);
        let exact = numbers(&index.search_exact(&query, 10, None).unwrap());
        let answer = index.search(&query, 10, &params, None).unwrap();
        found += numbers(&answer.neighbors)
            .iter()
            .filter(|number| exact.contains(number))
            .count();
    }
    assert!(found >= 900, "{found} of 1,000");
}

#[test]
fn rows_from_before_cells_were_refined_are_read() {
    let mut index = index_of(0..200);
    index.track_changes();
    let mut rows = Rows::default();
    rows.apply(index.changes());
    let head = rows.0.get_mut(&RowKey::Head).unwrap();
    let root_bytes = index.layout.padded_dim() * size_of::<f32>();
    let next_refined = head.len() - root_bytes - size_of::<u32>();
    head.drain(next_refined..next_refined + size_of::<u32>());
    head[4..8].copy_from_slice(&1u32.to_le_bytes());
    let mut old = rows.load(index.vectors.clone()).unwrap();
    assert_eq!(old.refine(7), index.refine(7));
    assert_eq!(
        old.search(&vector(3), 10, &thorough(), None),
        index.search(&vector(3), 10, &thorough(), None)
    );
}

#[test]
fn a_filter_lets_through_only_what_it_holds() {
    let index = index_of(0..2_000);
    let allowed: RoaringTreemap = (0..2_000).step_by(7).collect();
    let query = vector(5);
    let exact = index.search_exact(&query, 10, Some(&allowed)).unwrap();
    assert!(exact.iter().all(|neighbor| neighbor.number % 7 == 0));
    let answer = index
        .search(&query, 10, &thorough(), Some(&allowed))
        .unwrap();
    assert_eq!(answer.neighbors, exact);
}

#[test]
fn a_certified_answer_is_exact_or_says_that_it_may_not_be() {
    let index = index_of(0..3_000);
    let certified = |probes| SearchParams {
        probes,
        epsilon: 8.0,
        accuracy: Accuracy::Certified,
        ..SearchParams::default()
    };
    let mut num_open = 0;
    for query in 0..30 {
        let query = vector(query * 91 + 3);
        let exact = index.search_exact(&query, 10, None).unwrap();
        let all = index
            .search(&query, 10, &certified(usize::MAX), None)
            .unwrap();
        let certificate = all.certificate.unwrap();
        assert!(certificate.is_complete && certificate.open_cells == 0);
        assert_eq!(all.neighbors, exact);
        let few = index.search(&query, 10, &certified(3), None).unwrap();
        let certificate = few.certificate.unwrap();
        assert_eq!(certificate.is_complete, certificate.open_cells == 0);
        if few.neighbors != exact {
            assert!(!certificate.is_complete);
        }
        num_open += certificate.open_cells;
    }
    assert!(num_open > 0);
    // What is inserted after its search gets the same certificate.
    let mut index = index;
    let before = index.search(&bf16::decode(&stored(9_999)), 10, &certified(3), None);
    let inserted = index.insert_search(9_999, &stored(9_999), 10, &certified(3));
    assert_eq!(inserted, before);
}

#[test]
fn a_query_that_is_inserted_gets_the_answer_from_before() {
    let mut index = Cells::new(params());
    for number in 0..1_000 {
        let before = index.search(&vector(number), 5, &thorough(), None).unwrap();
        let answer = index
            .insert_search(number, &stored(number), 5, &thorough())
            .unwrap();
        // The query of the one is rounded to bf16, that of the other is not.
        let close = answer
            .neighbors
            .iter()
            .zip(&before.neighbors)
            .all(|(a, b)| (a.similarity - b.similarity).abs() < 0.01);
        assert!(close && answer.neighbors.len() == before.neighbors.len());
        assert!(index.contains(number));
    }
}

#[test]
fn euclidean_distances_are_found_too() {
    let mut index = Cells::new(CellsParams {
        metric: Metric::Euclidean,
        ..params()
    });
    for number in 0..2_000 {
        let scaled: Vec<f32> = vector(number)
            .iter()
            .map(|component| component * (1.0 + number as f32 / 500.0))
            .collect();
        index.insert(number, &bf16::encode(&scaled)).unwrap();
    }
    for query in 0..30 {
        let query: Vec<f32> = vector(query * 17)
            .iter()
            .map(|component| component * 3.0)
            .collect();
        let answer = index.search(&query, 10, &thorough(), None).unwrap();
        assert_eq!(
            answer.neighbors,
            index.search_exact(&query, 10, None).unwrap()
        );
        assert!(answer.neighbors[0].similarity <= 0.0);
    }
}

#[test]
fn equal_vectors_without_end_are_split_and_found() {
    let mut index = Cells::new(params());
    for number in 0..500 {
        index.insert(number, &stored(1)).unwrap();
    }
    assert_eq!(
        index
            .search(&vector(1), 500, &thorough(), None)
            .unwrap()
            .neighbors
            .len(),
        500
    );
    for number in 0..500 {
        assert!(index.remove(number));
    }
    assert!(index.is_empty());
    assert_eq!(index.stats().num_cells, 0);
}

#[test]
fn space_of_what_is_removed_is_used_again() {
    let mut index = index_of(0..4_000);
    let before = index.memory_bytes();
    for round in 0..5 {
        for number in 0..3_500 {
            assert!(index.remove(number + round * 10_000));
        }
        for number in 0..3_500 {
            index
                .insert(number + (round + 1) * 10_000, &stored(number))
                .unwrap();
        }
        let _ = index.changes();
    }
    assert_eq!(index.len(), 4_000);
    assert!(
        index.memory_bytes() < before * 3 / 2,
        "{before} {}",
        index.memory_bytes()
    );
}

#[test]
fn rows_of_another_index_and_torn_rows_are_refused() {
    let mut index = index_of(0..200);
    index.track_changes();
    let mut rows = Rows::default();
    rows.apply(index.changes());
    let vectors = || index.vectors.clone();
    let head = rows.0[&RowKey::Head].clone();
    let wrong = |head: &[u8]| {
        CellsLoader::new(params(), vectors(), head)
            .map(|_| ())
            .map_err(|(_, error)| error)
    };
    assert!(matches!(
        wrong(b"not an index"),
        Err(IndexError::Foreign { .. })
    ));
    assert!(matches!(
        wrong(&head[..40]),
        Err(IndexError::Corrupt { .. })
    ));
    assert!(matches!(wrong(&[]), Err(IndexError::Corrupt { .. })));
    let other = CellsParams {
        rotation_seed: 1,
        ..params()
    };
    assert!(matches!(
        CellsLoader::new(other, vectors(), &head).map(|_| ()),
        Err((_, IndexError::Foreign { .. }))
    ));
    for key in rows.0.keys().copied().collect::<Vec<_>>() {
        if key == RowKey::Head {
            continue;
        }
        let mut torn = Rows(rows.0.clone());
        let value = torn.0.get_mut(&key).unwrap();
        value.truncate(value.len() / 2);
        assert!(
            matches!(torn.load(vectors()), Err(IndexError::Corrupt { .. })),
            "{key:?}"
        );
        let mut lost = Rows(rows.0.clone());
        lost.0.remove(&key);
        assert!(
            matches!(lost.load(vectors()), Err(IndexError::Corrupt { .. })),
            "{key:?}"
        );
    }
}

#[test]
fn a_number_that_leaves_with_its_page_and_comes_back_is_not_lost() {
    let mut index = Cells::new(params());
    for number in [1, 1_000] {
        index.insert(number, &stored(number)).unwrap();
    }
    index.track_changes();
    let mut rows = Rows::default();
    rows.apply(index.changes());
    // The first page becomes free, so that the number of the second can come back to a lower slot.
    index.remove(1);
    rows.apply(index.changes());
    index.remove(1_000);
    index.insert(1_000, &stored(1_000)).unwrap();
    rows.apply(index.changes());
    let reopened = rows.load(index.vectors.clone()).unwrap();
    assert!(reopened.contains(1_000) && reopened.len() == 1);
}
