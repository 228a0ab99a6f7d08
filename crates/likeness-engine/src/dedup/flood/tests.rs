use std::collections::BTreeMap;

use likeness_core::log::{Offset, Record};
use likeness_core::state::StateStore;
use proptest::prelude::*;

use super::*;
use crate::dedup::assign_stage::tests::{Fixture, block_on};
use crate::dedup::assign_stage::totals;
use crate::dedup::corrections::tests::{outcome, record, snapshot};
use crate::dedup::corrections::{Command, CorrectionOutcome};

fn config() -> FloodConfig {
    FloodConfig {
        window: Duration::from_secs(60),
        growth_alarm: 10,
        quarantine_after: 20,
        max_cluster: 100,
    }
}

fn cluster(size: u64) -> ClusterRecord {
    ClusterRecord {
        size,
        ..ClusterRecord::new(ImageNumber(0), Timestamp(0))
    }
}

/// Lets images come at given seconds, and returns the alarms with the place of the image that raised each.
fn pour(
    config: &FloodConfig,
    cluster: &mut ClusterRecord,
    seconds: impl IntoIterator<Item = u64>,
) -> Vec<(usize, &'static str)> {
    let mut raised = Vec::new();
    for (place, second) in seconds.into_iter().enumerate() {
        cluster.size += 1;
        for kind in grown(config, cluster, Timestamp(second * 1_000), true) {
            raised.push((place, kind.name()));
        }
    }
    raised
}

#[test]
fn a_burst_raises_one_alarm_and_then_a_quarantine() {
    let mut watched = cluster(1);
    let raised = pour(&config(), &mut watched, std::iter::repeat_n(1_000_000, 50));
    assert_eq!(raised, [(10, "growth"), (20, "attraction")]);
    assert_eq!(watched.guard, Guard::Quarantined { confirmed: false });
}

#[test]
fn a_trickle_raises_nothing_until_the_cluster_is_too_large() {
    let mut watched = cluster(1);
    let raised = pour(&config(), &mut watched, (0..150).map(|idx| idx * 10));
    assert_eq!(raised, [(99, "size")]);
}

#[test]
fn another_alarm_comes_only_after_the_flood_has_ebbed() {
    let config = FloodConfig {
        quarantine_after: 0,
        max_cluster: 0,
        ..config()
    };
    let mut watched = cluster(1);
    let bursts = [1_000; 30]
        .into_iter()
        .chain([1_030; 30])
        .chain([9_000; 30]);
    let raised = pour(&config, &mut watched, bursts);
    assert_eq!(raised, [(10, "growth"), (70, "growth")]);
    assert!(watched.guard.is_open());
}

#[test]
fn nothing_is_watched_where_bounds_are_zero_and_a_lifted_cluster_stays_open() {
    let off = FloodConfig {
        growth_alarm: 0,
        quarantine_after: 0,
        max_cluster: 0,
        ..config()
    };
    let mut watched = cluster(1);
    assert_eq!(pour(&off, &mut watched, [1; 500]), []);
    let mut lifted = ClusterRecord {
        guard: Guard::Lifted,
        ..cluster(1)
    };
    let raised = pour(&config(), &mut lifted, [1; 500]);
    assert_eq!(raised, [(10, "growth")]);
    assert_eq!(lifted.guard, Guard::Lifted);
}

#[test]
fn bytes_that_are_equal_are_no_attraction() {
    let mut watched = cluster(1);
    for _ in 0..50 {
        let raised = grown(&config(), &mut watched, Timestamp(5_000), false);
        assert!(raised.iter().all(|kind| kind.name() == "growth"));
    }
    assert!(watched.guard.is_open());
}

proptest! {
    #[test]
    fn a_window_counts_every_image_of_its_length_and_none_of_an_eighth_more(
        steps in proptest::collection::vec(0u64..30_000, 1..200),
    ) {
        let slot_ms = 60_000 / SLOTS as u64;
        let mut watch = Watch::new(slot_ms);
        let (mut now, mut times) = (1_000_000u64, Vec::new());
        for step in steps {
            now += step;
            times.push(now);
            let (all, by_score) = watch.count(Timestamp(now), true);
            prop_assert_eq!(all, by_score);
            let within = |span: u64| times.iter().filter(|&&time| now - time < span).count() as u64;
            prop_assert!(all >= within(60_000), "{all} counted");
            prop_assert!(all <= within(60_000 + slot_ms), "{all} counted");
        }
    }

    #[test]
    fn images_that_come_late_are_counted_in_their_time_or_not_at_all(
        times in proptest::collection::vec(0u64..400_000, 1..100),
    ) {
        let slot_ms = 60_000 / SLOTS as u64;
        let mut watch = Watch::new(slot_ms);
        let mut by_slot: BTreeMap<u64, u64> = BTreeMap::new();
        let mut newest = 0;
        for time in times {
            let slot = time / slot_ms;
            newest = newest.max(slot);
            let is_in_window = |slot: u64| slot + SLOTS as u64 + 1 > newest;
            if is_in_window(slot) {
                *by_slot.entry(slot).or_default() += 1;
            }
            let expected: u64 = by_slot
                .iter()
                .filter(|(slot, _)| is_in_window(**slot))
                .map(|(_, count)| count)
                .sum();
            prop_assert_eq!(watch.count(Timestamp(time), false).0, expected);
        }
    }
}

/// One picture, again and again: what the fixture makes of one family with next to no noise.
async fn flooded(quarantine_after: u64, count: u64) -> Fixture {
    let mut fixture = Fixture::new(u64::MAX).await;
    (fixture.families, fixture.noise) = (1, 0.05);
    fixture.flood = FloodConfig {
        quarantine_after,
        growth_alarm: quarantine_after / 2,
        ..FloodConfig::default()
    };
    fixture.stage.flood = fixture.flood;
    let mut records: Vec<Record> = Vec::new();
    for idx in 0..count {
        records.push(fixture.event(7, idx).await);
        if records.len() == 64 || idx + 1 == count {
            fixture.commit(&records).await.expect("commits");
            records.clear();
        }
    }
    fixture
}

fn id(idx: u64) -> ImageId {
    ImageId::new(format!("i{idx}")).expect("a good id")
}

#[test]
fn a_flood_is_alarmed_once_held_back_and_released() {
    block_on(async {
        let fixture = flooded(40, 300).await;
        let flooded = snapshot(&fixture).await;
        // The head, 41 that joined, and then none.
        assert_eq!(flooded.clusters[&id(0)].size, 42);
        assert_eq!(flooded.totals.held, 258);
        assert_eq!(flooded.totals.alarms, 2);
        assert_eq!(
            flooded.totals.clusters, 259,
            "what is held attracts nothing"
        );

        let mut offset = 300;
        let act = async |command: Command, offset: u64| {
            let sequence = totals(fixture.store.as_ref())
                .await
                .expect("reads")
                .corrections;
            fixture
                .commit(&[record(offset, command)])
                .await
                .expect("commits");
            outcome(&fixture, sequence).await
        };
        let release = |for_good| {
            Command::Flood(FloodAct::Release {
                cluster: id(0),
                for_good,
            })
        };
        let outcome = act(release(true), offset).await;
        assert_eq!(outcome, CorrectionOutcome::Applied);
        let released = snapshot(&fixture).await;
        released.check(fixture.stage.scorer.threshold());
        assert_eq!(released.clusters[&id(0)].size, 300);
        assert_eq!((released.totals.held, released.totals.clusters), (0, 1));
        assert_eq!(released.home(&id(299)), id(0));

        // Lifted for good: what comes now joins, however much.
        for idx in 300..400 {
            offset += 1;
            let mut event = fixture.event(7, idx).await;
            event.offset = Offset(offset);
            fixture.commit(&[event]).await.expect("commits");
        }
        let after = snapshot(&fixture).await;
        assert_eq!(after.clusters[&id(0)].size, 400);
        let again = act(release(false), offset + 1).await;
        assert!(
            matches!(again, CorrectionOutcome::Refused { code, .. } if code == "not_quarantined")
        );
    });
}

#[test]
fn a_release_takes_a_thousand_at_a_time_and_goes_on() {
    block_on(async {
        let fixture = flooded(30, 1_150).await;
        let held = totals(fixture.store.as_ref()).await.expect("reads").held;
        assert_eq!(held, 1_150 - 32);
        for (offset, left) in [(2_000, 118), (2_001, 0)] {
            let command = Command::Flood(FloodAct::Release {
                cluster: id(0),
                for_good: false,
            });
            fixture
                .commit(&[record(offset, command)])
                .await
                .expect("commits");
            let held = totals(fixture.store.as_ref()).await.expect("reads").held;
            assert_eq!(held, left);
        }
        let row = fixture
            .store
            .get(&crate::dedup::tables::cluster_key(&id(0)))
            .await;
        let row = row.expect("reads").expect("there");
        let cluster: ClusterRecord = crate::dedup::tables::decode("clusters", &row).expect("one");
        assert_eq!(cluster.size, 1_150);
    });
}
