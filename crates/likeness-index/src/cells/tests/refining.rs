//! Refinement: what it finds, when it is due, and what becomes of what was found for an index that has changed since.

use super::*;

#[test]
fn refined_cells_find_more_with_as_many_probes() {
    let mut index = index_of(0..5_000);
    let before = index.stats();
    let recall = |index: &Cells| {
        let params = SearchParams {
            probes: 6,
            ..SearchParams::default()
        };
        let mut found = 0;
        for query in 0..100 {
            let query = vector(query * 53 + 100_000);
            let exact = numbers(&index.search_exact(&query, 10, None).unwrap());
            let answer = index.search(&query, 10, &params, None).unwrap();
            let is_wanted = |number: &&u64| exact.contains(number);
            found += numbers(&answer.neighbors).iter().filter(is_wanted).count();
        }
        found
    };
    let found = recall(&index);
    let first = index.refine(index.num_cells());
    let second = index.refine(index.num_cells());
    assert!(second < first, "{second} moved after {first}");
    let after = index.stats();
    assert_eq!(after.num_vectors, before.num_vectors);
    assert!(after.quantisation_error < 0.97 * before.quantisation_error);
    assert!(recall(&index) > found, "{found} before");
}

#[test]
fn refinement_keeps_pace_with_insertions() {
    let mut index = Cells::new(params());
    let (mut num_refined, mut num_in_them) = (0, 0);
    for number in 0..4_096u64 {
        index.insert(number, &stored(number)).unwrap();
        if (number + 1).is_multiple_of(64) && number >= 2_048 {
            let due = index.refinements_due(number - 63..number + 1);
            num_refined += due;
            num_in_them += due * index.len() / index.num_cells();
            index.refine(due);
        }
    }
    assert!(num_refined > index.num_cells(), "{num_refined} refined");
    let wanted = 2_048 * REFINED_PER_INSERTION as usize;
    assert!(
        num_in_them.abs_diff(wanted) < wanted / 10,
        "{num_in_them} looked up again"
    );
    assert_eq!(Cells::new(params()).refinements_due(0..64), 0);
    let few = index_of(0..50);
    assert_eq!(few.refinements_due(0..64), few.num_cells());
}

#[test]
fn what_was_found_for_an_index_that_changed_is_not_done() {
    let changes: [fn(&mut Cells); 4] = [
        |index| assert!(index.remove(3)),
        |index| index.update(3, &stored(9_999)).unwrap(),
        |index| index.insert(500, &stored(500)).unwrap(),
        |index| assert!(index.refine(1) < index.len()),
    ];
    for change in changes {
        let mut index = index_of(0..500);
        // Something is found for the second cell at the latest: none has been refined before.
        let refinement = index.next_refinement().unwrap();
        change(&mut index);
        let before = index.stats();
        assert_eq!(index.apply_refinement(refinement), 0);
        assert_eq!(index.stats(), before);
    }
    let mut index = index_of(0..500);
    let found: usize = (0..index.num_cells())
        .map(|_| {
            let refinement = index.next_refinement().unwrap();
            // Neither changes a cell.
            index.track_changes();
            index.changes();
            index.apply_refinement(refinement)
        })
        .sum();
    assert!(found > 0);
    let mut empty = Cells::new(params());
    assert!(empty.next_refinement().is_none());
    assert_eq!(empty.refine(10), 0);
}

#[test]
fn cells_of_a_few_vectors_are_given_up_when_their_turn_comes() {
    let params = CellsParams {
        max_list: 64,
        ..params()
    };
    let mut index = Cells::new(params);
    for number in 0..500 {
        index.insert(number, &stored(number)).unwrap();
    }
    let num_cells = index.num_cells();
    let few = [7, 107, 207];
    let centroid = index.rotated_stored(&stored(7)).unwrap();
    let cell = index.new_cell(&centroid);
    for number in few {
        let slot = index.directory.slot(number).unwrap();
        let vector = index.rotated_stored(&stored(number)).unwrap();
        index.take_out(slot);
        index.push(cell, slot, &vector);
    }
    assert_eq!(index.num_cells(), num_cells + 1);
    index.counters.next_refined = cell;
    index.refine(1);
    assert!(index.free_cells.contains(&cell));
    assert_eq!(index.len(), 500);
    for number in few {
        let found = index.search(&vector(number), 1, &thorough(), None).unwrap();
        assert_eq!(numbers(&found.neighbors), [number]);
    }
}
