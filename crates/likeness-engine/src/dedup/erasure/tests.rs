//! Random histories of uploads, corrections and erasures: what must hold whatever is erased, and when.

use std::collections::HashSet;

use likeness_core::log::{EventLog, NewRecord, Offset, ReadLimits, Record, Topic};
use likeness_core::state::StateStore;
use proptest::prelude::*;

use super::proof::{Found, Needle, in_event, in_row};
use super::*;
use crate::dedup::assign_stage::tests::{FEW_PLANES, Fixture, Random, block_on};
use crate::dedup::compare::ViewsMode;
use crate::dedup::config::IndexScheme;
use crate::dedup::corrections::Command;
use crate::dedup::corrections::tests::{N_IMAGES, Snapshot, image_of, record, snapshot};
use crate::dedup::keeper::{Keeper, MAX_COMPARED};
use crate::dedup::tables::{DECISIONS, PARTITION, SCORES};

async fn fixture(keeper: Keeper, scheme: IndexScheme) -> Fixture {
    let mut fixture = Fixture::with(scheme, 8, ViewsMode::Off).await;
    fixture.families = 12;
    fixture.set_keeper(keeper);
    fixture
}

/// Appends an event to the log, as the score stage does, and returns it as it is read.
async fn append(fixture: &Fixture, event: Record) -> Record {
    let new = NewRecord {
        key: event.key,
        payload: event.payload,
    };
    let log: &dyn EventLog = fixture.store.as_ref();
    let offset = log
        .append(SCORES, PARTITION, vec![new])
        .await
        .expect("appends");
    read(fixture, SCORES, offset).await.remove(0)
}

async fn read(fixture: &Fixture, topic: Topic, from: Offset) -> Vec<Record> {
    let limits = ReadLimits {
        max_records: usize::MAX,
        max_bytes: usize::MAX,
    };
    let log: &dyn EventLog = fixture.store.as_ref();
    log.read(topic, PARTITION, from, limits)
        .await
        .expect("reads")
}

/// Commits, through failures before and after the commit.
async fn commit(fixture: &Fixture, records: &[Record], random: &mut Random) {
    if random.below(4) == 0 {
        fixture.fail_next(random.below(2) == 0);
    }
    while let Err(error) = fixture.commit(records).await {
        assert!(error.to_string().contains("unavailable"), "{error}");
    }
}

/// Makes sure that what is left of erased images is what is kept on purpose.
async fn check_remains(fixture: &Fixture, snapshot: &Snapshot) {
    let state: &dyn StateStore = fixture.store.as_ref();
    let rows = state.sweep(None, usize::MAX).await.expect("sweeps").rows;
    let log: &dyn EventLog = fixture.store.as_ref();
    let events = log.sweep(None, usize::MAX).await.expect("sweeps").records;
    for id in &snapshot.erased {
        let record = erased(state, id).await.expect("reads").expect("erased");
        let needle = Needle {
            id: id.clone(),
            number: record.number,
            sha256: None,
        };
        for row in &rows {
            let found = in_row(&needle, row);
            assert!(
                !matches!(found, Found::Left(_)),
                "{id}: {found:?} in {row:?}"
            );
        }
        for event in &events {
            let found = in_event(&needle, event);
            assert!(
                !matches!(found, Found::Left(_)),
                "{id}: {found:?} in {event:?}"
            );
        }
        let number = record.number.expect("none of these is rejected");
        assert!(!fixture.stage.index.holds(number), "{id} can be found");
    }
}

/// What a replay must come to. Left out is what came of an image that was erased: scores with it cannot be
/// computed again, what was most uncertain beside it is queued for review, and it is not counted in a flood.
fn without_scores(mut snapshot: Snapshot) -> Snapshot {
    for (_, score) in snapshot.members.values_mut().flatten() {
        *score = 0;
    }
    for cluster in snapshot.clusters.values_mut() {
        cluster.watch = None;
    }
    snapshot.reviews.forget_queue();
    (
        snapshot.totals.open_reviews,
        snapshot.totals.dropped_reviews,
    ) = (0, 0);
    snapshot
}

/// Replays a log into a new state.
async fn replay(seed: u64, mut replayed: Fixture, live: &Fixture, random: &mut Random) -> Fixture {
    let log = read(live, SCORES, Offset(0)).await;
    for topic in [SCORES, DECISIONS] {
        for record in read(live, topic, Offset(0)).await {
            let new = NewRecord {
                key: record.key,
                payload: record.payload,
            };
            let store: &dyn EventLog = replayed.store.as_ref();
            let offset = store.append(topic, PARTITION, vec![new]).await;
            assert_eq!(offset.expect("appends"), record.offset);
        }
    }
    let mut left = &log[..];
    while !left.is_empty() {
        let count = (1 + random.below(30) as usize).min(left.len());
        for record in &left[..count] {
            if crate::dedup::stage::passed_on(record).is_none() {
                replayed.event(seed, image_of(record)).await;
            }
        }
        commit(&replayed, &left[..count], random).await;
        left = &left[count..];
        if random.below(4) == 0 {
            replayed.restart(2).await;
        }
    }
    replayed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn an_erased_image_is_gone_and_a_replay_of_what_is_left_of_the_log_gives_the_same_clusters(
        seed in 0u64..1 << 20,
        accident in any::<u64>(),
        keeper in prop_oneof![Just(Keeper::First), Just(Keeper::Largest), Just(Keeper::Quality)],
        scheme in prop_oneof![Just(IndexScheme::Cells), Just(FEW_PLANES)],
    ) {
        block_on(async {
            let (mut random, mut accidents) = (Random(seed), Random(accident));
            let mut live = fixture(keeper, scheme).await;
            let threshold = live.stage.scorer.threshold();
            let (mut next, mut num_events) = (0, 0);
            while next < N_IMAGES {
                let is_image = next < 30 || random.below(3) > 0;
                let event = if is_image {
                    next += 1;
                    live.event(seed, next - 1).await
                } else {
                    let now = snapshot(&live).await;
                    now.check(threshold);
                    let command = match random.below(2) {
                        0 => now.draw(&mut random),
                        _ => {
                            let (image, _) = &now.images[random.below(now.images.len() as u64) as usize];
                            Command::Erase { image: image.clone() }
                        }
                    };
                    record(num_events, command)
                };
                num_events += 1;
                let event = append(&live, event).await;
                commit(&live, &[event], &mut accidents).await;
                if accidents.below(10) == 0 {
                    live.restart(1 + accidents.below(3) as usize).await;
                }
            }
            let now = snapshot(&live).await;
            now.check(threshold);
            prop_assert!(now.erased.len() > 10, "{} were erased", now.erased.len());
            check_remains(&live, &now).await;

            let replayed = replay(seed, fixture(keeper, scheme).await, &live, &mut accidents).await;
            let then = snapshot(&replayed).await;
            then.check(threshold);
            check_remains(&replayed, &then).await;
            let images: HashSet<_> = then.images.iter().map(|(id, _)| id).collect();
            prop_assert!(now.erased.iter().all(|id| !images.contains(id)), "one came back");
            prop_assert_eq!(without_scores(then), without_scores(now));

            // A repetition of an event, as a log that is no database may have them.
            let last = read(&live, SCORES, Offset(0)).await;
            let repeated = last.iter().filter(|record| !is_tombstone(&record.key));
            let repeated: Vec<_> = repeated.take(5).cloned().collect();
            let before = without_scores(snapshot(&live).await);
            commit(&live, &repeated, &mut accidents).await;
            prop_assert_eq!(without_scores(snapshot(&live).await), before);
            Ok(())
        })?;
    }

    #[test]
    fn a_rule_moves_heads_within_their_stars_and_is_replayed(
        seed in 0u64..1 << 20,
        accident in any::<u64>(),
        keeper in prop_oneof![Just(Keeper::Largest), Just(Keeper::Quality)],
    ) {
        block_on(async {
            let mut accidents = Random(accident);
            let mut live = fixture(keeper, IndexScheme::Cells).await;
            let threshold = live.stage.scorer.threshold();
            for idx in 0..N_IMAGES {
                let event = live.event(seed, idx).await;
                let event = append(&live, event).await;
                commit(&live, &[event], &mut accidents).await;
                if accidents.below(10) == 0 {
                    live.restart(2).await;
                }
            }
            let now = snapshot(&live).await;
            now.check(threshold);
            let num_moved = check_stars(&live, &now, threshold).await;
            prop_assert!(num_moved > 0, "the rule has moved no head");

            // In other batches, with the decisions and without them.
            let replayed = replay(seed, fixture(keeper, IndexScheme::Cells).await, &live, &mut accidents).await;
            prop_assert_eq!(&snapshot(&replayed).await, &now);
            let mut anew = fixture(keeper, IndexScheme::Cells).await;
            let log = read(&live, SCORES, Offset(0)).await;
            for batch in log.chunks(1 + accidents.below(40) as usize) {
                for record in batch {
                    anew.event(seed, image_of(record)).await;
                }
                commit(&anew, batch, &mut accidents).await;
                if accidents.below(4) == 0 {
                    anew.restart(1).await;
                }
            }
            prop_assert_eq!(snapshot(&anew).await, now);
            Ok(())
        })?;
    }
}

/// Makes sure that all members score enough with their head, in clusters in which the rule may have moved it, and
/// returns how many have another head than their first image.
async fn check_stars(fixture: &Fixture, snapshot: &Snapshot, threshold: f32) -> usize {
    let heads = snapshot.heads();
    let mut num_moved = 0;
    for (cluster, head) in &heads {
        num_moved += usize::from(cluster != head);
        let members = &snapshot.members[cluster];
        if members.len() > MAX_COMPARED {
            continue;
        }
        for (member, _) in members {
            let score = fixture.score(member, head).await;
            assert!(
                member == head || score >= threshold,
                "{member} and {head}: {score}"
            );
        }
    }
    num_moved
}
