//! Searches that stop early.

use super::*;
use crate::cells::best::Goal;
use crate::cells::probe::{FIRST_CELLS, Probe};

const NUM_VECTORS: u64 = 20_000;

fn searched(probes: usize, stop_early: bool) -> SearchParams {
    SearchParams {
        probes,
        stop_early,
        ..SearchParams::default()
    }
}

/// How many cells a search looks into that begins with these, and at most how many it would.
fn num_wanted(index: &Cells, query: &[f32], params: &SearchParams) -> usize {
    let comparable = index.comparable(query).unwrap();
    let rotated = RotatedQuery::new(index.kernels, index.rotate(&comparable));
    let near = index.router.nearest(&rotated, FIRST_CELLS);
    let mut probe = Probe::new(index, &comparable, params, None, Goal::Nearest, 10);
    probe.run(&rotated, &near);
    probe.wanted_cells()
}

#[test]
fn fewer_cells_find_as_much_where_answers_are_near() {
    let index = index_of(0..NUM_VECTORS);
    let (mut found, mut found_early, mut wanted) = (0, 0, 0);
    for query in 0..100 {
        let query = vector(query * 53 + 100_000);
        let exact = numbers(&index.search_exact(&query, 10, None).unwrap());
        let count = |params| {
            let answer = index.search(&query, 10, &params, None).unwrap();
            numbers(&answer.neighbors)
                .iter()
                .filter(|number| exact.contains(number))
                .count()
        };
        found += count(searched(200, false));
        found_early += count(searched(200, true));
        wanted += num_wanted(&index, &query, &searched(200, true));
    }
    assert!(
        found >= 980 && found_early >= found - 20,
        "{found_early} of {found}"
    );
    assert!(wanted < 13_000, "{wanted} of 20,000 cells");
}

#[test]
fn nothing_is_stopped_before_there_are_enough_answers() {
    let index = index_of(0..NUM_VECTORS);
    // Three of all, which are in no cell near the query.
    let allowed: RoaringTreemap = [1_021, 7_033, 15_047].into_iter().collect();
    for query in [4, 9, 13] {
        let query = vector(query);
        let [plain, early] = [false, true].map(|stop_early| {
            index
                .search(&query, 10, &searched(10_000, stop_early), Some(&allowed))
                .unwrap()
        });
        assert_eq!(plain.neighbors.len(), 3);
        assert_eq!(early, plain);
    }
}

#[test]
fn what_is_further_than_centroids_is_looked_for_in_all_cells_asked_for() {
    let index = index_of(0..NUM_VECTORS);
    for query in 0..20 {
        let query = vector(query * 17 + 5);
        let [plain, early] = [false, true].map(|stop_early| {
            index
                .range(&query, -0.5, 1_000, &searched(100, stop_early), None)
                .unwrap()
        });
        assert_eq!(early, plain);
    }
}

#[test]
fn few_probes_are_all_made_and_certified_answers_never_stop_early() {
    let index = index_of(0..NUM_VECTORS);
    for query in 0..20 {
        let query = vector(query * 29 + 1);
        for probes in [0, 1, FIRST_CELLS] {
            let [plain, early] = [false, true].map(|stop_early| {
                index
                    .search(&query, 10, &searched(probes, stop_early), None)
                    .unwrap()
            });
            assert_eq!(early, plain, "{probes} probes");
        }
        let [plain, early] = [false, true].map(|stop_early| {
            let params = SearchParams {
                accuracy: Accuracy::Certified,
                ..searched(100, stop_early)
            };
            index.search(&query, 10, &params, None).unwrap()
        });
        assert_eq!(early, plain);
    }
}

#[test]
fn a_query_that_is_inserted_stops_where_one_that_is_not_stops() {
    let mut index = index_of(0..NUM_VECTORS);
    for number in NUM_VECTORS..NUM_VECTORS + 50 {
        let query = bf16::decode(&stored(number));
        let params = searched(200, true);
        let before = index.search(&query, 10, &params, None).unwrap();
        let answer = index
            .insert_search(number, &stored(number), 10, &params)
            .unwrap();
        assert_eq!(answer, before);
    }
}
