//! Positions, writers that meet, and many steps.

use std::collections::BTreeMap;

use super::*;
use crate::testsuite::{Random, join};

pub(super) async fn a_position_moves_from_where_it_stands(tables: &dyn Tables) {
    let run = unique();
    let consumer = consumer(&run);
    let before = tables.positions(consumer).await.expect("positions");
    assert_eq!(before, [], "of a consumer that never moved");
    let step = |number, from, next| TablesStep {
        upserts: vec![(&THINGS, vec![thing(&run, number)])],
        positions: vec![
            Advance {
                partition: Partition(1),
                next: Offset(next),
                ..advance(consumer, from)
            },
            Advance {
                next: Offset(next),
                ..advance(consumer, from)
            },
        ],
        ..TablesStep::default()
    };
    // (row, from, next, whether it is committed)
    for (number, from, next, is_committed) in [
        (1, 3, 5, false),
        (2, 0, 0, true),
        (3, 0, 5, true),
        (4, 0, 5, false),
        (5, 4, 9, false),
        (6, 5, 5, true),
        (7, 5, 1 << 62, true),
        (8, 5, 6, false),
    ] {
        let expected = match is_committed {
            true => TablesOutcome::Committed,
            false => TablesOutcome::AlreadyCommitted,
        };
        let outcome = commit(tables, step(number, from, next)).await;
        assert_eq!(outcome, expected, "{from} → {next}");
    }
    assert_eq!(numbers(&all(tables, &run).await), [2, 3, 6, 7]);
    // One of two positions that stands elsewhere is enough.
    let mut half = step(9, 1 << 62, (1 << 62) + 1);
    half.positions[1].from = Offset(2);
    assert_eq!(commit(tables, half).await, TablesOutcome::AlreadyCommitted);
    let mut positions = tables.positions(consumer).await.expect("positions");
    positions.sort_by_key(|position| position.partition);
    let found: Vec<_> = positions
        .iter()
        .map(|one| (one.topic.as_str(), one.partition.0, one.next.0))
        .collect();
    assert_eq!(found, [(TOPIC.0, 1, 1 << 62), (TOPIC.0, 3, 1 << 62)]);
}

pub(super) async fn of_two_writers_one_commits(tables: &Arc<dyn Tables>) {
    let run = unique();
    let consumer = consumer(&run);
    for round in 0..6 {
        let tasks: Vec<_> = (0..6)
            .map(|writer| {
                let tables = Arc::clone(tables);
                let step = TablesStep {
                    upserts: vec![(&THINGS, vec![thing(&run, 10 * round as i64 + writer)])],
                    positions: vec![Advance {
                        next: Offset(round + 1),
                        ..advance(consumer, round)
                    }],
                    ..TablesStep::default()
                };
                tokio::spawn(async move { commit(&*tables, step).await })
            })
            .collect();
        let mut num_committed = 0;
        for task in tasks {
            num_committed += usize::from(join(task).await == TablesOutcome::Committed);
        }
        assert_eq!(num_committed, 1, "in round {round}");
    }
    assert_eq!(
        all(&**tables, &run).await.len(),
        6,
        "rows of those that committed"
    );
}

pub(super) async fn random_steps_do_as_a_map_does(tables: &dyn Tables) {
    let mut random = Random::new();
    let run = unique();
    let mut expected = BTreeMap::new();
    for _ in 0..30 {
        let mut step = TablesStep::default();
        let deleted: Vec<_> = (0..random.below(4))
            .map(|_| random.below(30) as i64)
            .collect();
        for number in &deleted {
            expected.remove(number);
        }
        let keys = deleted.into_iter().map(|number| key(&run, number));
        step.deletes.push((&THINGS, keys.collect()));
        let mut rows = BTreeMap::new();
        for _ in 0..random.below(8) {
            let number = random.below(30) as i64;
            let row = match random.chance(3) {
                true => full(&run, number),
                false => named(&run, number, None, Some(random.below(9) as f64)),
            };
            rows.insert(number, row);
        }
        expected.extend(rows.clone());
        step.upserts.push((&THINGS, rows.into_values().collect()));
        assert_eq!(commit(tables, step).await, TablesOutcome::Committed);
        let found = all(tables, &run).await;
        let wanted: Vec<_> = expected.values().cloned().collect();
        assert_eq!(found, wanted, "{random}");
    }
}
