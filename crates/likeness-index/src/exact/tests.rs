use proptest::prelude::*;

use super::*;

const DIM: usize = 24;

fn params(rerank: usize) -> ExactParams {
    ExactParams {
        dim: DIM,
        rotation_seed: 42,
        rerank,
    }
}

/// A vector as a function of a seed; seeds that agree modulo 1,000 lie close together.
fn vector(seed: u64) -> Vec<f32> {
    let wave = |seed: u64, idx: usize| ((seed * 37 + 11) as f32 * 0.618 * (idx + 1) as f32).sin();
    (0..DIM)
        .map(|idx| wave(seed % 1_000, idx) + 0.2 * wave(seed / 1_000 + 5_000, idx))
        .collect()
}

fn stored(seed: u64) -> Vec<u16> {
    bf16::encode(&vector(seed))
}

fn index_of(rerank: usize, entries: impl IntoIterator<Item = (u64, u64)>) -> ExactIndex {
    let mut index = ExactIndex::new(params(rerank));
    for (number, seed) in entries {
        index.insert(number, &stored(seed)).unwrap();
    }
    index
}

/// Cosine in f64, as the definition says it.
fn cosine(query: &[f32], vector: &[u16]) -> f64 {
    let vector = bf16::decode(vector);
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    dot(query, &vector) / (dot(query, query) * dot(&vector, &vector)).sqrt()
}

#[test]
fn an_empty_index_gives_an_empty_answer() {
    let index = ExactIndex::new(params(10));
    assert!(index.is_empty());
    assert_eq!(index.search(&vector(1), 5), Ok(vec![]));
    assert_eq!(index.search_exact(&vector(1), 5), Ok(vec![]));
    assert_eq!(index.similarity(&vector(1), 1), None);
}

#[test]
fn refuses_what_has_no_direction_or_another_dimension() {
    let mut index = index_of(10, [(1, 1)]);
    let short = IndexError::WrongDimension {
        expected: DIM,
        got: 3,
    };
    assert_eq!(index.insert(2, &[0; 3]), Err(short.clone()));
    assert_eq!(index.search(&[1.0; 3], 1), Err(short.clone()));
    assert_eq!(index.search_exact(&[1.0; 3], 1), Err(short));
    for bad in [0.0, f32::NAN, f32::INFINITY, 1e-45] {
        assert_eq!(
            index.insert(2, &bf16::encode(&[bad; DIM])),
            Err(IndexError::NoDirection),
            "{bad}"
        );
        assert_eq!(
            index.search(&[bad; DIM], 1),
            Err(IndexError::NoDirection),
            "{bad}"
        );
        assert_eq!(index.similarity(&[bad; DIM], 1), None, "{bad}");
    }
    assert_eq!(index.len(), 1);
    assert!(!index.contains(2));
}

#[test]
fn refuses_a_number_twice_and_keeps_the_first_vector() {
    let mut index = index_of(10, [(1, 1)]);
    let before = index.similarity(&vector(1), 1);
    assert_eq!(
        index.insert(1, &stored(2)),
        Err(IndexError::Duplicate { number: 1 })
    );
    assert_eq!(index.similarity(&vector(1), 1), before);
    assert_eq!(index.len(), 1);
}

#[test]
fn length_of_a_vector_does_not_matter() {
    let mut index = ExactIndex::new(params(10));
    let scaled = |scale: f32| -> Vec<f32> {
        vector(3)
            .iter()
            .map(|component| component * scale)
            .collect()
    };
    index.insert(1, &bf16::encode(&scaled(1.0))).unwrap();
    index.insert(2, &bf16::encode(&scaled(1024.0))).unwrap();
    let found = index.search(&scaled(1e-10), 2).unwrap();
    assert_eq!(
        found
            .iter()
            .map(|neighbor| neighbor.number)
            .collect::<Vec<_>>(),
        [1, 2]
    );
    assert!(
        found.iter().all(|neighbor| neighbor.similarity > 0.9999),
        "{found:?}"
    );
}

#[test]
fn equal_vectors_are_ordered_by_number() {
    let index = index_of(3, [9, 4, 7, 1, 8].map(|number| (number, 6)));
    let numbers: Vec<u64> = index
        .search(&vector(6), 3)
        .unwrap()
        .iter()
        .map(|neighbor| neighbor.number)
        .collect();
    assert_eq!(numbers, [1, 4, 7]);
}

#[test]
fn estimates_follow_similarities() {
    let index = index_of(2_000, (0..2_000).map(|number| (number, number)));
    let candidates = index.candidates(&vector(77), 0).unwrap();
    let n = candidates.entries().len() as f64;
    let bias = candidates
        .entries()
        .iter()
        .map(|c| f64::from(c.estimate - c.similarity))
        .sum::<f64>()
        / n;
    let squares = candidates
        .entries()
        .iter()
        .map(|c| f64::from(c.estimate - c.similarity).powi(2))
        .sum::<f64>()
        / n;
    // 64 padded dimensions: the theory's standard deviation is 0.095 at a right angle.
    assert!(bias.abs() < 0.03, "{bias}");
    assert!(squares.sqrt() < 0.11, "{}", squares.sqrt());
}

#[test]
fn a_search_since_reads_new_blocks_only() {
    let mut index = index_of(10, (0..1_000).map(|number| (number, number)));
    assert_eq!(index.max_numbers, [255, 511, 767, 999]);
    assert!(index.remove(3));
    assert_eq!(
        index.max_numbers,
        [999, 511, 767, 998 + 1],
        "an upper bound, raised by the row moved in"
    );
    assert_eq!(index.search_since(&vector(999), 999, 5).unwrap().len(), 1);
    for number in 700..1_000 {
        index.remove(number);
    }
    assert_eq!(index.max_numbers.len(), 3);
    assert_eq!(index.search_since(&vector(1), 700, 5), Ok(vec![]));
}

#[test]
fn memory_grows_with_the_rows() {
    let index = index_of(10, (0..1_000).map(|number| (number, number)));
    let least = 1_000 * (DIM * 2 + 8 + 8 + 4 + 4 + 16);
    assert!(
        (least..3 * least).contains(&index.memory_bytes()),
        "{}",
        index.memory_bytes()
    );
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u64, u64),
    Remove(u64),
    Search { query: u64, from: u64, k: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u64..600, 0u64..5_000).prop_map(|(number, seed)| Step::Insert(number, seed)),
        2 => (0u64..600).prop_map(Step::Remove),
        1 => (0u64..5_000, 0u64..600, 0usize..20).prop_map(|(query, from, k)| Step::Search { query, from, k }),
    ]
}

proptest! {
    /// With everything ranked again, a search is the exact search.
    #[test]
    fn any_history_answers_like_a_plain_scan(steps in prop::collection::vec(step(), 1..800)) {
        let mut index = ExactIndex::new(params(10_000));
        let mut model: Vec<(u64, Vec<u16>)> = Vec::new();
        for step in steps {
            match step {
                Step::Insert(number, seed) => {
                    let is_new = model.iter().all(|(other, _)| *other != number);
                    let expected = if is_new { Ok(()) } else { Err(IndexError::Duplicate { number }) };
                    prop_assert_eq!(index.insert(number, &stored(seed)), expected);
                    if is_new {
                        model.push((number, stored(seed)));
                    }
                }
                Step::Remove(number) => {
                    let n_before = model.len();
                    model.retain(|(other, _)| *other != number);
                    prop_assert_eq!(index.remove(number), model.len() < n_before);
                }
                Step::Search { query, from, k } => {
                    let query = vector(query);
                    let found = index.search_since(&query, from, k).unwrap();
                    let mut expected: Vec<(u64, f64)> = model.iter().filter(|(number, _)| *number >= from)
                        .map(|(number, vector)| (*number, cosine(&query, vector))).collect();
                    expected.sort_by(|a, b| b.1.total_cmp(&a.1));
                    prop_assert_eq!(found.len(), expected.len().min(k));
                    for (neighbor, (_, similarity)) in found.iter().zip(&expected) {
                        let truth = model.iter().find(|(number, _)| *number == neighbor.number).expect("a number of the model");
                        prop_assert!((f64::from(neighbor.similarity) - similarity).abs() < 1e-5);
                        prop_assert!((f64::from(neighbor.similarity) - cosine(&query, &truth.1)).abs() < 1e-5);
                        prop_assert_eq!(index.similarity(&query, neighbor.number), Some(neighbor.similarity));
                    }
                    prop_assert!(found.is_sorted_by(|a, b| a.cmp_by_similarity(b).is_lt()));
                    if from == 0 {
                        prop_assert_eq!(found, index.search_exact(&query, k).unwrap());
                    }
                }
            }
            prop_assert_eq!(index.len(), model.len());
        }
        for number in 0..600 {
            prop_assert_eq!(index.contains(number), model.iter().any(|(other, _)| *other == number));
        }
    }

    /// The promise of `Candidates`, at a depth that cuts.
    #[test]
    fn parts_merge_to_exactly_the_whole(
        seeds in prop::collection::vec(0u64..400, 1..400), split in 0u64..400, rerank in 1usize..40, k in 1usize..20, query in 0u64..5_000
    ) {
        let entries = || seeds.iter().enumerate().map(|(number, &seed)| (number as u64, seed));
        let whole = index_of(rerank, entries());
        let seen = index_of(rerank, entries().filter(|(number, _)| *number < split));
        let query = vector(query);
        let merged = seen.candidates(&query, 0).unwrap().merge(whole.candidates(&query, split).unwrap());
        prop_assert_eq!(&merged, &whole.candidates(&query, 0).unwrap());
        if k <= rerank {
            prop_assert_eq!(merged.top_k(k), whole.search(&query, k).unwrap());
        }
        // Parts that overlap change nothing.
        prop_assert_eq!(merged.clone().merge(seen.candidates(&query, 0).unwrap()), merged);
    }

    #[test]
    fn the_order_of_insertion_does_not_matter(seeds in prop::collection::vec(0u64..400, 1..300), rotate in 0usize..300, query in 0u64..5_000) {
        let mut entries: Vec<(u64, u64)> = seeds.iter().enumerate().map(|(number, &seed)| (number as u64, seed)).collect();
        let forward = index_of(7, entries.iter().copied());
        let middle = rotate % entries.len();
        entries.rotate_left(middle);
        entries.reverse();
        let backward = index_of(7, entries);
        let query = vector(query);
        prop_assert_eq!(forward.candidates(&query, 0), backward.candidates(&query, 0));
    }

    #[test]
    fn all_kernels_give_the_same_answer(query in 0u64..5_000) {
        let mut index = index_of(20, (0..600).map(|number| (number, number * 7)));
        let answers: Vec<_> = Kernels::available().into_iter().map(|kernels| {
            index.kernels = kernels;
            index.candidates(&vector(query), 0)
        }).collect();
        prop_assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
