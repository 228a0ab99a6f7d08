//! Random uploads, changes of banks and floods: what must hold, and that a replay gives the same.

use std::collections::BTreeMap;
use std::time::Duration;

use likeness_core::ImageId;
use likeness_core::log::{Offset, Record};
use likeness_core::state::StateStore;
use proptest::prelude::*;

use super::*;
use crate::dedup::assign_stage::tests::{Fixture, Random, block_on};
use crate::dedup::corrections::tests::{Snapshot, image_of, outcome, record, snapshot};
use crate::dedup::corrections::{Command, CorrectionOutcome, passed_on};
use crate::dedup::flood::{
    FloodAct, FloodConfig, Guard, HeldRecord, alarm_key, decode_alarm, held_scan,
};
use crate::dedup::records::ExplainRecord;
use crate::dedup::tables::{canonical_key, decode, explain_key};
use crate::dedup::upload::decode_decision;

const N_IMAGES: u64 = 160;
const NAMES: [&str; 3] = ["spam", "blank", "known"];

/// Everything that banks and floods keep, without times.
#[derive(Debug, PartialEq)]
struct Kept {
    banks: Vec<BankRecord>,
    references: BTreeMap<(u64, u64), ReferenceRecord>,
    matches: BTreeMap<(ImageId, u64), BankMatchView>,
    counts: Vec<u64>,
    alarms: Vec<crate::dedup::AlarmView>,
    held: BTreeMap<ImageId, Vec<(ImageId, u32)>>,
}

async fn kept(fixture: &Fixture, snapshot: &Snapshot) -> Kept {
    let store = fixture.store.as_ref();
    let banks = set::records(store).await.expect("reads");
    let (mut references, mut matches, mut held) = Default::default();
    let mut counts = Vec::new();
    for serial in 0..snapshot.totals.next_bank {
        let scan = likeness_core::state::Scan::all(REFERENCES, serial_partition(serial), 1_000);
        for row in store.scan(scan).await.expect("reads") {
            let record: ReferenceRecord = decode("references", &row.value).expect("a reference");
            let references: &mut BTreeMap<_, _> = &mut references;
            references.insert((serial, record.sequence), record);
        }
        let row = store.get(&count_key(serial)).await.expect("reads");
        counts.push(row.map_or(0, |row| read_u64(&row).expect("a count")));
    }
    for (id, _) in &snapshot.images {
        let row = store.get(&canonical_key(id)).await.expect("reads");
        let decision = decode_decision(&row.expect("decided")).expect("a decision");
        let number = decision.number.expect("not rejected");
        for serial in 0..snapshot.totals.next_bank {
            let key = match_by_image_key(id, serial);
            let row = store.get(&key).await.expect("reads");
            let other = store.get(&match_key(serial, number)).await;
            assert_eq!(row, other.expect("reads"), "both rows of a match agree");
            let Some(row) = row else { continue };
            let mut view: BankMatchView = serde_json::from_slice(&row).expect("a match");
            view.time_ms = 0;
            let matches: &mut BTreeMap<_, _> = &mut matches;
            matches.insert((id.clone(), serial), view);
        }
    }
    for id in snapshot.clusters.keys() {
        let rows = store.scan(held_scan(id, 1_000)).await.expect("reads");
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let record: HeldRecord = decode("held", &row.value).expect("a record");
                (record.id, record.score.to_bits())
            })
            .collect();
        if !rows.is_empty() {
            let held: &mut BTreeMap<_, _> = &mut held;
            held.insert(id.clone(), rows);
        }
    }
    let mut alarms = Vec::new();
    for sequence in 0..snapshot.totals.alarms {
        let row = store.get(&alarm_key(sequence)).await.expect("reads");
        alarms.push(decode_alarm(&row.expect("there")).expect("an alarm"));
    }
    Kept {
        banks,
        references,
        matches,
        counts,
        alarms,
        held,
    }
}

impl Kept {
    /// Checks what must hold at any time.
    fn check(&self, snapshot: &Snapshot) {
        let totals = &snapshot.totals;
        assert_eq!(self.banks.len() as u64, totals.banks);
        for bank in &self.banks {
            let own = self
                .references
                .keys()
                .filter(|(serial, _)| *serial == bank.serial);
            assert_eq!(own.count() as u64, bank.references, "{}", bank.name);
        }
        let live: u64 = self.counts.iter().sum();
        assert_eq!(live, self.matches.len() as u64);
        assert_eq!(
            self.held.values().map(Vec::len).sum::<usize>() as u64,
            totals.held
        );
        let open = self
            .alarms
            .iter()
            .filter(|alarm| alarm.acknowledged.is_none());
        assert_eq!(open.count() as u64, totals.open_alarms);
        for found in self.matches.values() {
            assert!(found.score >= found.threshold && found.draw < found.share);
        }
    }
}

fn draw_change(random: &mut Random, snapshot: &Snapshot, kept: &Kept) -> Command {
    let bank = NAMES[random.below(3) as usize].to_owned();
    let mut image = || {
        let (id, _) = &snapshot.images[random.below(snapshot.images.len() as u64) as usize];
        id.clone()
    };
    let (first, second) = (image(), image());
    let unit = |random: &mut Random| random.below(101) as f32 / 100.0;
    match random.below(10) {
        0 | 1 => Command::Bank(BankChange::Create {
            bank,
            threshold: 0.3 + 0.6 * unit(random),
            share: unit(random),
            negative: random.below(2) == 0,
        }),
        2 => Command::Bank(BankChange::Set {
            bank,
            threshold: None,
            share: Some(unit(random)),
            enabled: Some(random.below(4) > 0),
        }),
        3..=5 => Command::Bank(BankChange::Add {
            bank,
            references: vec![
                NewReference::Image { image: first },
                NewReference::Image { image: second },
            ],
        }),
        6 => {
            let all: Vec<_> = kept.references.values().collect();
            let drawn = random.below(all.len().max(1) as u64) as usize;
            let digest = all.get(drawn).map_or_else(
                || Sha256([0; 32]).to_string(),
                |reference| reference.digest.to_string(),
            );
            Command::Bank(BankChange::Remove {
                bank,
                references: vec![digest],
            })
        }
        7 if random.below(3) == 0 => Command::Bank(BankChange::Delete { bank }),
        7 => Command::Flood(FloodAct::Acknowledge {
            alarm: random.below(snapshot.totals.alarms + 1),
        }),
        8 => Command::Flood(FloodAct::Quarantine {
            cluster: snapshot.home(&first),
        }),
        _ => {
            let holding: Vec<_> = kept.held.keys().collect();
            let drawn = random.below(holding.len().max(1) as u64) as usize;
            let cluster = match holding.get(drawn) {
                Some(cluster) => (*cluster).clone(),
                None => snapshot.home(&second),
            };
            match random.below(3) {
                0 => Command::Flood(FloodAct::Confirm {
                    cluster,
                    bank: Some(bank),
                }),
                _ => Command::Flood(FloodAct::Release {
                    cluster,
                    for_good: random.below(3) == 0,
                }),
            }
        }
    }
}

async fn fixture() -> Fixture {
    let mut fixture = Fixture::new(8).await;
    fixture.families = 10;
    // Event times of these logs are a millisecond apart.
    fixture.flood = FloodConfig {
        window: Duration::from_millis(40),
        growth_alarm: 5,
        quarantine_after: 6,
        max_cluster: 12,
    };
    fixture.stage.flood = fixture.flood;
    fixture
}

/// Checks the decision about an image against what it was made from.
async fn check_decision(fixture: &Fixture, snapshot: &Snapshot, id: &ImageId) {
    let row = fixture.store.get(&explain_key(id)).await.expect("reads");
    let explain: ExplainRecord = decode("explain", &row.expect("there")).expect("a record");
    let home = snapshot.home(id);
    let cluster = &snapshot.clusters[&home];
    let negative = explain.bank_matches.iter().find(|found| found.negative);
    match (&cluster.guard, negative, &explain.held_by) {
        (Guard::Negative { bank }, Some(found), None) => {
            assert_eq!((bank, home == *id, cluster.size), (&found.bank, true, 1));
            assert!(
                explain.rule.starts_with("negative_bank: "),
                "{}",
                explain.rule
            );
        }
        (Guard::Held { by }, None, Some(holder)) => {
            assert_eq!((by, home == *id, cluster.size), (holder, true, 1));
            let held = &snapshot.clusters[by];
            assert!(matches!(held.guard, Guard::Quarantined { .. }));
            assert!(explain.rule.starts_with("held: "), "{}", explain.rule);
        }
        // It founded, or joined one that took it; the join may have filled it.
        (Guard::Open | Guard::Lifted | Guard::Quarantined { .. }, None, None) => {}
        other => panic!("{id}: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn banks_and_floods_are_replayed_to_the_bit_and_hold_what_they_promise(
        seed in 0u64..1 << 20,
        accident in any::<u64>(),
    ) {
        block_on(async {
            let mut random = Random(seed);
            let first = fixture().await;
            let threshold = first.stage.scorer.threshold();
            let (mut log, mut next) = (Vec::<Record>::new(), 0);
            let mut num_applied = 0;
            while next < N_IMAGES {
                let offset = log.len() as u64;
                if next < 30 || random.below(3) > 0 {
                    let mut event = first.event(seed, next).await;
                    event.offset = Offset(offset);
                    next += 1;
                    first.commit(std::slice::from_ref(&event)).await.expect("commits");
                    let after = snapshot(&first).await;
                    after.check(threshold);
                    let (id, _) = after.images.last().expect("one was decided");
                    check_decision(&first, &after, id).await;
                    log.push(event);
                    continue;
                }
                let before = snapshot(&first).await;
                let held_before = kept(&first, &before).await;
                let command = match random.below(4) {
                    0 => before.draw(&mut random),
                    _ => draw_change(&mut random, &before, &held_before),
                };
                let is_change = matches!(&command, Command::Bank(change) if !matches!(change, BankChange::Delete { .. }));
                let sequence = before.totals.corrections;
                log.push(record(offset, command));
                first.commit(&log[log.len() - 1..]).await.expect("commits");
                let after = snapshot(&first).await;
                after.check(threshold);
                kept(&first, &after).await.check(&after);
                if outcome(&first, sequence).await != CorrectionOutcome::Applied {
                    prop_assert_eq!(&held_before, &kept(&first, &after).await);
                    continue;
                }
                num_applied += 1;
                if !is_change || random.below(2) > 0 {
                    continue;
                }
                // At once undone, a bank's settings and references are as before.
                log.push(record(offset + 1, Command::Undo { correction: sequence }));
                first.commit(&log[log.len() - 1..]).await.expect("commits");
                prop_assert_eq!(outcome(&first, sequence + 1).await, CorrectionOutcome::Applied);
                let undone = snapshot(&first).await;
                prop_assert_eq!(without_places(held_before), without_places(kept(&first, &undone).await));
            }
            prop_assert!(num_applied > 8, "{num_applied} could be made");
            let end = snapshot(&first).await;
            let first_kept = kept(&first, &end).await;

            let mut second = fixture().await;
            let mut random = Random(accident);
            let mut left = &log[..];
            while !left.is_empty() {
                let count = (1 + random.below(30) as usize).min(left.len());
                for record in &left[..count] {
                    if passed_on(record).is_none() {
                        second.event(seed, image_of(record)).await;
                    }
                }
                second.commit(&left[..count]).await.expect("commits");
                left = &left[count..];
                if random.below(4) == 0 {
                    second.restart(2).await;
                }
            }
            let replayed = snapshot(&second).await;
            prop_assert_eq!(&end, &replayed);
            prop_assert_eq!(first_kept, kept(&second, &replayed).await);
            Ok(())
        })?;
    }
}

/// Places and counters go on when a change is undone.
fn without_places(mut kept: Kept) -> Kept {
    for bank in &mut kept.banks {
        (bank.next_reference, bank.removals) = (0, 0);
    }
    let references = std::mem::take(&mut kept.references);
    kept.references = references
        .into_iter()
        .map(|((serial, _), reference)| {
            (
                serial,
                ReferenceRecord {
                    sequence: 0,
                    ..reference
                },
            )
        })
        .map(|(serial, reference)| {
            let place = u64::from_be_bytes(reference.digest.0[..8].try_into().expect("8 bytes"));
            ((serial, place), reference)
        })
        .collect();
    kept.counts.retain(|count| *count > 0);
    kept
}

#[test]
fn a_share_that_grows_keeps_who_took_part_and_takes_its_part() {
    let ids: Vec<_> = (0..10_000)
        .map(|idx| ImageId::new(format!("i{idx}")).expect("a good id"))
        .collect();
    let taking = |share: f32| ids.iter().filter(move |id| draw("spam", id) < share);
    for share in [0.0, 0.1, 0.5, 1.0] {
        let count = taking(share).count() as f32;
        assert!(
            (count / 1e4 - share).abs() < 0.015,
            "{count} of 10,000 at {share}"
        );
    }
    assert!(taking(0.1).all(|id| draw("spam", id) < 0.2));
    let both = taking(0.1).filter(|id| draw("known", id) < 0.1).count();
    assert!(
        both < 200,
        "banks draw apart: {both} of 10,000 take part in both tenths"
    );
}

#[test]
fn names_bounds_and_digests_are_checked() {
    let create = |bank: &str, threshold: f32| BankChange::Create {
        bank: bank.to_owned(),
        threshold,
        share: 1.0,
        negative: false,
    };
    assert!(create("known-spam_2", 0.5).check().is_ok());
    for bad in ["", "Spam", "a b", "a/b", "é", &"x".repeat(65)] {
        assert!(create(bad, 0.5).check().is_err(), "{bad:?}");
    }
    for bad in [-0.1, 1.1, f32::NAN] {
        assert!(create("spam", bad).check().is_err(), "{bad}");
    }
    for references in [vec![], vec!["zz".to_owned()], vec!["00".repeat(32); 101]] {
        let bank = "spam".to_owned();
        assert!(BankChange::Remove { bank, references }.check().is_err());
    }
}
