//! What [`StepStore`] promises.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::log::read_all;
use super::{assert_invalid, in_time, join, unique};
use crate::log::{EventLog, NewRecord, Offset, Partition, Record, Redaction, Topic};
use crate::state::{Key, StateStore, Table, Write};
use crate::step::{Claim, Consumer, Durability, Emit, Position, Step, StepOutcome, StepStore};

const TOPIC: Topic = Topic("testsuite-steps");
const INPUT: Topic = Topic("testsuite-input");
const TABLE: Table = Table("testsuite_steps");
const CONSUMER: Consumer = Consumer("testsuite");
/// No check moves its positions.
const NEW_CONSUMER: Consumer = Consumer("testsuite-new");

/// A step store, and the log and state it joins.
#[derive(Debug, Clone)]
pub struct StepParts {
    /// What is checked.
    pub steps: Arc<dyn StepStore>,
    /// Where its events go.
    pub log: Arc<dyn EventLog>,
    /// Where its rows go.
    pub state: Arc<dyn StateStore>,
}

/// What a step store knows of a step that comes a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// It answers `AlreadyCommitted` and appends no event again: log and state are one database.
    Detected,
    /// It may run the step again; readers of the log drop what they have seen.
    Possible,
}

/// Checks every clause that does not need a restart. Partitions 0 to 7 of the topic
/// `testsuite-steps` are written to, and nobody else may write to them meanwhile.
///
/// # Panics
/// If the step store breaks its contract.
pub async fn check_step(parts: StepParts, repeats: Repeats) {
    a_new_consumer_starts_at_the_beginning(&parts).await;
    a_commit_shows_the_whole_step(&parts).await;
    an_empty_step_is_committed(&parts).await;
    several_emits_keep_their_order(&parts).await;
    steps_of_one_caller_keep_their_order(&parts).await;
    an_unequal_claim_is_a_conflict_and_writes_nothing(&parts).await;
    an_equal_claim_is_the_same_step(&parts, repeats).await;
    one_of_unequal_contenders_is_committed(&parts).await;
    equal_contenders_commit_one_step(&parts, repeats).await;
    invalid_steps_write_nothing(&parts).await;
    who_reads_an_event_reads_its_rows(&parts).await;
    a_redaction_is_part_of_its_step(&parts).await;
}

/// Checks that committed steps survive a restart, whole. `open` opens the same store each time.
///
/// # Panics
/// If the step store breaks its contract.
pub async fn check_step_reopen(open: impl AsyncFn() -> StepParts) {
    let partition = Partition(0);
    let names: Vec<Bytes> = (0..6).map(|_| unique("reopen")).collect();
    let parts = open().await;
    let start = end(&parts, partition).await;
    let mut last = Offset::default();
    for (n, name) in names.iter().enumerate() {
        // A restart in good order is no loss of power: both durabilities survive it.
        let durability = if n % 2 == 0 {
            Durability::Process
        } else {
            Durability::Synced
        };
        let step = sample_step(name, partition, Offset(10 + n as u64));
        last = committed(parts.steps.commit(step, durability).await)[0];
    }
    parts.steps.sync().await.expect("sync");
    drop(parts);

    let parts = open().await;
    for name in &names {
        assert_row(&parts, name, Some(name)).await;
    }
    assert_eq!(names_since(&parts, partition, start).await, names);
    assert_eq!(position(&parts, CONSUMER, partition).await, Offset(15));
    let next = parts
        .steps
        .commit(
            sample_step(&unique("later"), partition, Offset(16)),
            Durability::Synced,
        )
        .await;
    assert!(
        committed(next)[0] > last,
        "offsets must go on growing after a restart"
    );
}

async fn a_new_consumer_starts_at_the_beginning(parts: &StepParts) {
    let found = position(parts, NEW_CONSUMER, Partition(0)).await;
    assert_eq!(found, Offset::default());
}

async fn a_commit_shows_the_whole_step(parts: &StepParts) {
    let partition = Partition(0);
    for durability in [Durability::Process, Durability::Synced] {
        let start = end(parts, partition).await;
        let (name, gone) = (unique("whole"), unique("whole-gone"));
        let mut step = sample_step(&gone, partition, Offset(1));
        committed(parts.steps.commit(step, durability).await);

        step = sample_step(&name, partition, Offset(7));
        step.claim = Some(Claim {
            key: key(&unique("claim")),
            value: name.clone(),
        });
        let claim_key = step.claim.as_ref().map(|claim| claim.key.clone());
        step.writes.push(Write::Delete(key(&gone)));
        let offsets = committed(parts.steps.commit(step, durability).await);

        assert_row(parts, &name, Some(&name)).await;
        assert_row(parts, &gone, None).await;
        let claim_key = claim_key.expect("set above");
        let claimed = parts.state.get(&claim_key).await.expect("get");
        assert_eq!(claimed, Some(name.clone()), "the claimed row");
        let records = read_all(&*parts.log, TOPIC, partition, start).await;
        assert_eq!(names_of(&records), [gone, name], "the events");
        assert_eq!(offsets, [records[1].offset]);
        assert_eq!(position(parts, CONSUMER, partition).await, Offset(7));
        assert_eq!(
            position(parts, NEW_CONSUMER, partition).await,
            Offset::default(),
            "another consumer's position moved"
        );
    }
    parts.steps.sync().await.expect("sync");
}

async fn an_empty_step_is_committed(parts: &StepParts) {
    let outcome = parts
        .steps
        .commit(Step::default(), Durability::Synced)
        .await;
    assert_eq!(committed(outcome), []);
}

async fn several_emits_keep_their_order(parts: &StepParts) {
    let (first, second) = (Partition(1), Partition(2));
    let starts = [end(parts, first).await, end(parts, second).await];
    let names: Vec<Bytes> = (0..5).map(|_| unique("emit")).collect();
    let emit = |partition, names: &[Bytes]| Emit {
        topic: TOPIC,
        partition,
        records: names.iter().map(record).collect(),
    };
    let step = Step {
        emits: vec![
            emit(first, &names[0..2]),
            emit(second, &names[2..3]),
            emit(first, &names[3..5]),
        ],
        ..Step::default()
    };
    let offsets = committed(parts.steps.commit(step, Durability::Process).await);
    let in_first = read_all(&*parts.log, TOPIC, first, starts[0]).await;
    let in_second = read_all(&*parts.log, TOPIC, second, starts[1]).await;
    let expected = [&names[0..2], &names[3..5]].concat();
    assert_eq!(names_of(&in_first), expected);
    assert_eq!(names_of(&in_second), names[2..3]);
    assert_eq!(
        offsets,
        [in_first[1].offset, in_second[0].offset, in_first[3].offset],
        "an offset per emit: that of its last record"
    );
}

async fn steps_of_one_caller_keep_their_order(parts: &StepParts) {
    let partition = Partition(3);
    let start = end(parts, partition).await;
    let row = unique("ordered");
    let names: Vec<Bytes> = (0..20).map(|_| unique("ordered")).collect();
    for (n, name) in names.iter().enumerate() {
        let mut step = sample_step(name, partition, Offset(n as u64));
        step.writes.push(Write::Put(key(&row), name.clone()));
        committed(parts.steps.commit(step, Durability::Process).await);
    }
    assert_row(parts, &row, names.last()).await;
    assert_eq!(names_since(parts, partition, start).await, names);
    assert_eq!(position(parts, CONSUMER, partition).await, Offset(19));
}

async fn an_unequal_claim_is_a_conflict_and_writes_nothing(parts: &StepParts) {
    let partition = Partition(4);
    let claim_key = key(&unique("claim"));
    let (winner, loser) = (unique("winner"), unique("loser"));
    let mut step = sample_step(&winner, partition, Offset(3));
    step.claim = Some(Claim {
        key: claim_key.clone(),
        value: winner.clone(),
    });
    committed(parts.steps.commit(step, Durability::Process).await);

    let start = end(parts, partition).await;
    let mut step = sample_step(&loser, partition, Offset(4));
    step.claim = Some(Claim {
        key: claim_key.clone(),
        value: loser.clone(),
    });
    let outcome = parts.steps.commit(step, Durability::Synced).await;
    assert_eq!(
        outcome.expect("commit"),
        StepOutcome::Conflict(winner.clone())
    );
    assert_row(parts, &loser, None).await;
    assert_eq!(names_since(parts, partition, start).await, [] as [Bytes; 0]);
    assert_eq!(position(parts, CONSUMER, partition).await, Offset(3));
    let held = parts.state.get(&claim_key).await.expect("get");
    assert_eq!(held, Some(winner));
}

async fn an_equal_claim_is_the_same_step(parts: &StepParts, repeats: Repeats) {
    let partition = Partition(4);
    let start = end(parts, partition).await;
    let name = unique("repeated");
    let mut step = sample_step(&name, partition, Offset(5));
    step.claim = Some(Claim {
        key: key(&unique("claim")),
        value: name.clone(),
    });
    committed(parts.steps.commit(step.clone(), Durability::Process).await);
    step.positions[0].next = Offset(6);
    let outcome = parts.steps.commit(step, Durability::Synced).await;

    let names = names_since(parts, partition, start).await;
    match (repeats, outcome.expect("commit")) {
        (_, StepOutcome::AlreadyCommitted) => {
            assert_eq!(names, std::slice::from_ref(&name));
        }
        (Repeats::Possible, StepOutcome::Committed(_)) => {
            assert_eq!(names, [name.clone(), name.clone()]);
        }
        (_, outcome) => panic!("a repeated step ended as {outcome:?}"),
    }
    assert_row(parts, &name, Some(&name)).await;
    assert_eq!(
        position(parts, CONSUMER, partition).await,
        Offset(6),
        "a repeated step must pass its input all the same"
    );
}

async fn one_of_unequal_contenders_is_committed(parts: &StepParts) {
    const N_CONTENDERS: usize = 6;
    let partition = Partition(5);
    for _ in 0..10 {
        let start = end(parts, partition).await;
        let claim_key = key(&unique("contended"));
        let names: Vec<Bytes> = (0..N_CONTENDERS).map(|_| unique("contender")).collect();
        let tasks: Vec<_> = names
            .iter()
            .map(|name| {
                let mut step = sample_step(name, partition, Offset(0));
                step.claim = Some(Claim {
                    key: claim_key.clone(),
                    value: name.clone(),
                });
                let steps = Arc::clone(&parts.steps);
                tokio::spawn(async move { steps.commit(step, Durability::Process).await })
            })
            .collect();
        let (mut winners, mut found) = (Vec::new(), BTreeSet::new());
        for (task, name) in tasks.into_iter().zip(&names) {
            match join(task).await.expect("commit") {
                StepOutcome::Committed(_) => winners.push(name.clone()),
                StepOutcome::Conflict(value) => {
                    found.insert(value);
                }
                outcome => panic!("unequal claims ended as {outcome:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "of unequal contenders one is committed");
        assert_eq!(
            found,
            BTreeSet::from([winners[0].clone()]),
            "losers must be told the winner's value"
        );
        assert_eq!(names_since(parts, partition, start).await, winners);
        for name in &names {
            let expected = (*name == winners[0]).then_some(name);
            assert_row(parts, name, expected).await;
        }
    }
}

async fn equal_contenders_commit_one_step(parts: &StepParts, repeats: Repeats) {
    let partition = Partition(5);
    let start = end(parts, partition).await;
    let name = unique("equal");
    let claim_key = key(&unique("equal-claim"));
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let mut step = sample_step(&name, partition, Offset(0));
            step.claim = Some(Claim {
                key: claim_key.clone(),
                value: name.clone(),
            });
            let steps = Arc::clone(&parts.steps);
            tokio::spawn(async move { steps.commit(step, Durability::Process).await })
        })
        .collect();
    let mut n_committed = 0;
    for task in tasks {
        match join(task).await.expect("commit") {
            StepOutcome::Committed(_) => n_committed += 1,
            StepOutcome::AlreadyCommitted => {}
            StepOutcome::Conflict(value) => panic!("an equal claim conflicts with {value:?}"),
        }
    }
    let names = names_since(parts, partition, start).await;
    assert_eq!(names.len(), n_committed, "events per committed step");
    assert!(names.iter().all(|found| *found == name));
    match repeats {
        Repeats::Detected => assert_eq!(n_committed, 1),
        Repeats::Possible => assert!(n_committed >= 1),
    }
    assert_row(parts, &name, Some(&name)).await;
}

async fn invalid_steps_write_nothing(parts: &StepParts) {
    let partition = Partition(6);
    let start = end(parts, partition).await;
    let name = unique("invalid");
    let before = position(parts, CONSUMER, partition).await;
    let good = sample_step(&name, partition, before.next());
    let mut bad_steps = vec![good; 6];
    bad_steps[0].emits[0].records.clear();
    bad_steps[1].emits[0].topic = Topic("Not A Topic");
    bad_steps[2].writes.push(Write::Delete(key(&Bytes::new())));
    bad_steps[3].positions[0].consumer = Consumer("");
    bad_steps[4].claim = Some(Claim {
        key: key(&Bytes::new()),
        value: Bytes::new(),
    });
    bad_steps[5].redactions.push(Redaction {
        topic: Topic("Not A Topic"),
        partition,
        offset: start,
        replacement: record(&name),
    });
    for step in bad_steps {
        assert_invalid(parts.steps.commit(step, Durability::Process).await);
        assert_row(parts, &name, None).await;
        assert_eq!(names_since(parts, partition, start).await, [] as [Bytes; 0]);
        assert_eq!(position(parts, CONSUMER, partition).await, before);
    }
    let bad = parts.steps.position(Consumer("A"), INPUT, partition);
    assert_invalid(bad.await);
}

async fn who_reads_an_event_reads_its_rows(parts: &StepParts) {
    const N_WRITERS: usize = 4;
    const N_STEPS: usize = 50;
    let partition = Partition(7);
    let start = end(parts, partition).await;
    let writers: Vec<_> = (0..N_WRITERS)
        .map(|_| {
            let steps = Arc::clone(&parts.steps);
            tokio::spawn(async move {
                for n in 0..N_STEPS {
                    let step = sample_step(&unique("visible"), partition, Offset(n as u64));
                    committed(steps.commit(step, Durability::Process).await);
                }
            })
        })
        .collect();

    let mut seen = 0;
    let mut from = start;
    in_time("reading the events of all steps", async {
        while seen < N_WRITERS * N_STEPS {
            parts.log.wait(TOPIC, partition, from).await.expect("wait");
            for event in read_all(&*parts.log, TOPIC, partition, from).await {
                assert!(event.offset >= from, "offsets must grow");
                from = event.offset.next();
                seen += 1;
                assert_row(parts, &event.payload, Some(&event.payload)).await;
            }
        }
    })
    .await;
    for writer in writers {
        join(writer).await;
    }
    assert_eq!(
        names_since(parts, partition, start).await.len(),
        N_WRITERS * N_STEPS,
        "a reader that follows the log must not miss what a later one finds"
    );
}

async fn a_redaction_is_part_of_its_step(parts: &StepParts) {
    let partition = Partition(5);
    let start = end(parts, partition).await;
    let (first, second) = (unique("redacted"), unique("redacting"));
    let step = sample_step(&first, partition, Offset(1));
    let offset = committed(parts.steps.commit(step, Durability::Process).await)[0];
    let mut step = sample_step(&second, partition, Offset(2));
    step.redactions = vec![Redaction {
        topic: TOPIC,
        partition,
        offset,
        replacement: record(&Bytes::from("gone")),
    }];
    committed(parts.steps.commit(step.clone(), Durability::Synced).await);
    let names = names_since(parts, partition, start).await;
    assert_eq!(names, [Bytes::from("gone"), second.clone()]);
    assert_row(parts, &second, Some(&second)).await;
    // Of a step that is refused nothing is redacted.
    step.claim = Some(Claim {
        key: key(&second),
        value: Bytes::from("another"),
    });
    step.redactions[0].replacement = record(&Bytes::from("never"));
    let refused = parts.steps.commit(step, Durability::Synced).await;
    assert!(
        matches!(refused, Ok(StepOutcome::Conflict(_))),
        "{refused:?}"
    );
    let names = names_since(parts, partition, start).await;
    assert_eq!(names[0], Bytes::from("gone"));
}

/// A step that writes the row `name`, emits the event `name`, and moves [`CONSUMER`] to `next` in
/// the input partition of the same number.
fn sample_step(name: &Bytes, partition: Partition, next: Offset) -> Step {
    Step {
        claim: None,
        writes: vec![Write::Put(key(name), name.clone())],
        emits: vec![Emit {
            topic: TOPIC,
            partition,
            records: vec![record(name)],
        }],
        redactions: Vec::new(),
        positions: vec![Position {
            consumer: CONSUMER,
            topic: INPUT,
            partition,
            next,
        }],
    }
}

fn key(name: &Bytes) -> Key {
    Key::single(TABLE, name.clone())
}

fn record(name: &Bytes) -> NewRecord {
    NewRecord {
        key: Bytes::from("key"),
        payload: name.clone(),
    }
}

fn names_of(records: &[Record]) -> Vec<Bytes> {
    records
        .iter()
        .map(|record| record.payload.clone())
        .collect()
}

async fn names_since(parts: &StepParts, partition: Partition, start: Offset) -> Vec<Bytes> {
    names_of(&read_all(&*parts.log, TOPIC, partition, start).await)
}

async fn end(parts: &StepParts, partition: Partition) -> Offset {
    parts.log.end(TOPIC, partition).await.expect("end")
}

async fn position(parts: &StepParts, consumer: Consumer, partition: Partition) -> Offset {
    parts
        .steps
        .position(consumer, INPUT, partition)
        .await
        .expect("position")
}

async fn assert_row(parts: &StepParts, name: &Bytes, expected: Option<&Bytes>) {
    let found = parts.state.get(&key(name)).await.expect("get");
    assert_eq!(found.as_ref(), expected, "row {name:?}");
}

#[track_caller]
fn committed(outcome: crate::StoreResult<StepOutcome>) -> Vec<Offset> {
    match outcome {
        Ok(StepOutcome::Committed(offsets)) => offsets,
        other => panic!("expected a committed step, got {other:?}"),
    }
}
