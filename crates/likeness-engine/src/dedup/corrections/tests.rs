//! Random corrections among uploads: what must hold whatever people ask for.

use std::collections::HashMap;

use likeness_core::log::{Offset, Record};
use likeness_core::state::{Scan, StateStore};
use likeness_core::{ImageId, ImageNumber, Timestamp};
use proptest::prelude::*;

use super::constraints::{Bond, ConstraintRecord};
use super::*;
use crate::dedup::assign_stage::tests::{Fixture, Random, block_on};
use crate::dedup::assign_stage::totals;
use crate::dedup::erasure::{erased as is_erased, erased_number_key};
use crate::dedup::records::{ClusterRecord, MemberRecord, Totals, decode_number};
use crate::dedup::reviews::tests::{Reviews, reviews};
use crate::dedup::tables::{
    CLUSTERS_BY_SIZE, MEMBERS, canonical_key, cluster_key, decode, number_key,
};
use crate::dedup::upload::decode_decision;

pub(in crate::dedup) const N_IMAGES: u64 = 140;

pub(in crate::dedup) fn record(offset: u64, command: Command) -> Record {
    let event = correction_event(&CorrectionEvent {
        id: ImageId::new(format!("c{offset}")).expect("a good id"),
        author: "a person".to_owned(),
        reason: "to see what happens".to_owned(),
        time: Timestamp(offset),
        command,
        heads: Vec::new(),
    });
    Record {
        offset: Offset(offset),
        key: event.key,
        payload: event.payload,
    }
}

/// Everything that clusters are made of, without times.
#[derive(Debug, PartialEq)]
pub(in crate::dedup) struct Snapshot {
    pub(in crate::dedup) totals: Totals,
    /// Images that were erased, by id.
    pub(in crate::dedup) erased: Vec<ImageId>,
    /// By image: partition that it is in, canonical id.
    pub(in crate::dedup) images: Vec<(ImageId, String)>,
    pub(in crate::dedup) clusters: HashMap<ImageId, ClusterRecord>,
    /// By partition: image and score as bits.
    pub(in crate::dedup) members: HashMap<ImageId, Vec<(ImageId, u32)>>,
    constraints: Vec<ConstraintRecord>,
    lists: Vec<ImageId>,
    pub(in crate::dedup) reviews: Reviews,
}

pub(in crate::dedup) async fn snapshot(fixture: &Fixture) -> Snapshot {
    let store = fixture.store.as_ref();
    let totals = totals(store).await.expect("reads");
    let (mut images, mut clusters, mut members) = (Vec::new(), HashMap::new(), HashMap::new());
    let mut erased = Vec::new();
    for number in 0..totals.images {
        let row = store
            .get(&number_key(ImageNumber(number)))
            .await
            .expect("reads");
        let row = row.expect("there");
        let Some(record) = decode_number(&row).expect("a record") else {
            let key = erased_number_key(ImageNumber(number));
            assert!(store.get(&key).await.expect("reads").is_some());
            continue;
        };
        let row = store.get(&canonical_key(&record.id)).await.expect("reads");
        let decision = decode_decision(&row.expect("decided")).expect("a decision");
        let canonical = decision.canonical_id.expect("not rejected");
        assert_eq!(
            canonical,
            record.head.to_string(),
            "rows of {} agree",
            record.id
        );
        images.push((record.id, canonical));
    }
    // Numbers are given in the order of the ids.
    for idx in 0..totals.images {
        let id = ImageId::new(format!("i{idx}")).expect("a good id");
        if is_erased(store, &id).await.expect("reads").is_some() {
            erased.push(id.clone());
        }
        if let Some(row) = store.get(&cluster_key(&id)).await.expect("reads") {
            let mut cluster: ClusterRecord = decode("clusters", &row).expect("a cluster");
            (cluster.created, cluster.updated) = (Timestamp(0), Timestamp(0));
            // Says the same as `size`, once a merge was undone.
            if cluster.parts.is_empty() && cluster.merged_into.is_none() {
                assert_eq!(cluster.own(), cluster.size);
                cluster.own = None;
            }
            clusters.insert(id.clone(), cluster);
        }
        let scan = Scan::all(MEMBERS, Bytes::copy_from_slice(id.as_bytes()), 1_000);
        let rows = store.scan(scan).await.expect("reads");
        let list: Vec<_> = rows
            .iter()
            .map(|row| {
                let member: MemberRecord = decode("members", &row.value).expect("a member");
                (member.id, member.score.to_bits())
            })
            .collect();
        if !list.is_empty() {
            members.insert(id, list);
        }
    }
    let scan = Scan::all(CONSTRAINTS, Bytes::from_static(SHARD), 1_000);
    let rows = store.scan(scan).await.expect("reads");
    let constraints = rows
        .iter()
        .map(|row| decode("constraints", &row.value).expect("a constraint"))
        .collect();
    let scan = Scan::all(CLUSTERS_BY_SIZE, Bytes::from_static(SHARD), 1_000);
    let rows = store.scan(scan).await.expect("reads");
    let mut lists: Vec<_> = rows
        .iter()
        .map(|row| {
            ImageId::new(String::from_utf8(row.value.to_vec()).expect("text")).expect("an id")
        })
        .collect();
    lists.sort();
    Snapshot {
        totals,
        erased,
        images,
        clusters,
        members,
        constraints,
        lists,
        reviews: reviews(store).await,
    }
}

impl Snapshot {
    pub(in crate::dedup) fn home(&self, image: &ImageId) -> ImageId {
        let (_, part) = self
            .images
            .iter()
            .find(|(id, _)| id == image)
            .expect("decided");
        let part = ImageId::new(part.clone()).expect("an id");
        let cluster = &self.clusters[&part];
        cluster.merged_into.clone().unwrap_or(part)
    }

    /// Returns the standing clusters with their heads.
    pub(in crate::dedup) fn heads(&self) -> Vec<(ImageId, ImageId)> {
        let standing = self
            .clusters
            .iter()
            .filter(|(_, cluster)| cluster.is_standing());
        standing
            .map(|(id, cluster)| (id.clone(), cluster.head(id).id))
            .collect()
    }

    pub(in crate::dedup) fn check(&self, threshold: f32) {
        let standing: Vec<_> = self
            .clusters
            .iter()
            .filter(|(_, cluster)| cluster.is_standing())
            .collect();
        assert_eq!(self.totals.clusters, standing.len() as u64);
        let duplicates = standing.iter().filter(|(_, cluster)| cluster.size > 1);
        assert_eq!(self.totals.duplicate_clusters, duplicates.count() as u64);
        let mut names: Vec<_> = standing.iter().map(|(id, _)| (*id).clone()).collect();
        names.sort();
        assert_eq!(self.lists, names);
        let all: u64 = standing.iter().map(|(_, cluster)| cluster.size).sum();
        assert_eq!(all, self.totals.images - self.totals.erased);
        assert_eq!(self.images.len() as u64, all);
        assert_eq!(self.erased.len() as u64, self.totals.erased);
        assert_eq!(self.constraints.len() as u64, self.totals.constraints);
        self.reviews.check(&self.totals);
        for (id, cluster) in &self.clusters {
            let home = cluster.merged_into.as_ref().unwrap_or(id);
            // A merged cluster whose images were all erased, or let in by the one that held them, has a name only.
            if cluster.is_standing() || cluster.head.is_some() {
                assert_eq!(self.home(&cluster.head(id).id), *home, "a head is a member");
            }
        }
        for (id, cluster) in &standing {
            let mut size = 0;
            for part in std::iter::once(*id).chain(&cluster.parts) {
                // None are left if all of its images were erased.
                let members = self.members.get(part).map_or(&[][..], |members| members);
                assert_eq!(self.clusters[part].own(), members.len() as u64);
                size += members.len() as u64;
                for (member, _) in members {
                    assert_eq!(self.home(member), **id);
                }
            }
            assert_eq!(cluster.size, size);
        }
        for pair in &self.constraints {
            let is_together = self.home(&pair.a) == self.home(&pair.b);
            assert_eq!(is_together, pair.bond == Bond::Always, "{pair:?}");
        }
        if self.totals.corrections == 0 {
            for score in self.members.values().flatten().map(|(_, score)| score) {
                assert!(f32::from_bits(*score) >= threshold);
            }
        }
    }

    /// Draws something to ask for, that often can be done.
    pub(in crate::dedup) fn draw(&self, random: &mut Random) -> Command {
        let mut image = || {
            let (id, _) = &self.images[random.below(self.images.len() as u64) as usize];
            id.clone()
        };
        let (a, b) = (image(), image());
        let home = self.home(&a);
        let mates: Vec<ImageId> = self
            .images
            .iter()
            .map(|(id, _)| id.clone())
            .filter(|id| self.home(id) == home)
            .collect();
        let mate = mates[random.below(mates.len() as u64) as usize].clone();
        if !self.erased.is_empty() && random.below(12) == 0 {
            let gone = self.erased[random.below(self.erased.len() as u64) as usize].clone();
            return Command::AlwaysTogether { a, b: gone };
        }
        match random.below(12) {
            11 => Command::Erase { image: mate },
            0 | 1 => Command::Split {
                cluster: home,
                members: mates.into_iter().filter(|_| random.below(3) == 0).collect(),
                each_alone: random.below(2) == 0,
            },
            2 => Command::Merge {
                into: home,
                from: self.home(&b),
            },
            3 => Command::ReHead {
                cluster: home,
                head: mate,
            },
            4 => Command::NeverTogether { a, b: mate },
            5 => Command::AlwaysTogether { a, b },
            6..=8 => {
                let (a, b) = match self.reviews.pairs.is_empty() {
                    true => (a, mate),
                    false => self.reviews.pairs
                        [random.below(self.reviews.pairs.len() as u64) as usize]
                        .clone(),
                };
                let verdicts = [
                    ReviewVerdict::Same,
                    ReviewVerdict::Different,
                    ReviewVerdict::Skip,
                ];
                Command::Label {
                    a,
                    b,
                    verdict: verdicts[random.below(3) as usize],
                    correct: random.below(2) == 0,
                }
            }
            _ => Command::Undo {
                correction: random.below(self.totals.corrections + 1),
            },
        }
    }
}

pub(in crate::dedup) async fn outcome(fixture: &Fixture, sequence: u64) -> CorrectionOutcome {
    dealt_with(fixture, sequence).await.outcome
}

async fn dealt_with(fixture: &Fixture, sequence: u64) -> CorrectionRecord {
    let row = fixture
        .store
        .get(&sequence_key(sequence))
        .await
        .expect("reads");
    decode("corrections", &row.expect("dealt with")).expect("a record")
}

async fn fixture() -> Fixture {
    let mut fixture = Fixture::new(8).await;
    fixture.families = 12;
    fixture
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn corrections_keep_clusters_whole_can_be_undone_and_are_replayed_to_the_bit(
        seed in 0u64..1 << 20,
        accident in any::<u64>(),
    ) {
        block_on(async {
            let mut random = Random(seed);
            let first = fixture().await;
            let threshold = first.stage.scorer.threshold();
            let (mut log, mut next, mut num_applied) = (Vec::new(), 0, 0);
            while next < N_IMAGES {
                let is_image = next < 40 || random.below(2) == 0;
                let offset = log.len() as u64;
                if is_image {
                    let mut record = first.event(seed, next).await;
                    record.offset = Offset(offset);
                    next += 1;
                    first.commit(std::slice::from_ref(&record)).await.expect("commits");
                    log.push(record);
                    continue;
                }
                let before = snapshot(&first).await;
                before.check(threshold);
                let command = before.draw(&mut random);
                let is_final = matches!(command, Command::Undo { .. } | Command::Erase { .. });
                let sequence = before.totals.corrections;
                log.push(record(offset, command));
                first.commit(&log[log.len() - 1..]).await.expect("commits");
                let after = snapshot(&first).await;
                after.check(threshold);
                if outcome(&first, sequence).await != CorrectionOutcome::Applied {
                    let mut expected = before;
                    expected.totals.corrections += 1;
                    expected.totals.harmless = after.totals.harmless;
                    prop_assert_eq!(expected, after);
                    continue;
                }
                num_applied += 1;
                if is_final || random.below(2) == 0 {
                    continue;
                }
                // At once undone, it is as if it had never been.
                log.push(record(offset + 1, Command::Undo { correction: sequence }));
                first.commit(&log[log.len() - 1..]).await.expect("commits");
                let undone = outcome(&first, sequence + 1).await;
                prop_assert_eq!(undone, CorrectionOutcome::Applied);
                let mut expected = before;
                expected.totals.corrections += 2;
                let after = snapshot(&first).await;
                expected.totals.harmless = after.totals.harmless;
                prop_assert_eq!(expected, after);
            }
            prop_assert!(num_applied > 10, "{num_applied} corrections could be made");

            let mut second = fixture().await;
            let mut random = Random(accident);
            let mut left = &log[..];
            while !left.is_empty() {
                let count = (1 + random.below(30) as usize).min(left.len());
                for record in &left[..count] {
                    if passed_on(record).is_none() {
                        let idx = image_of(record);
                        second.event(seed, idx).await;
                    }
                }
                second.commit(&left[..count]).await.expect("commits");
                left = &left[count..];
                if random.below(4) == 0 {
                    second.restart(2).await;
                }
            }
            prop_assert_eq!(snapshot(&first).await, snapshot(&second).await);
            Ok(())
        })?;
    }
}

/// Reads which image an event is of.
pub(in crate::dedup) fn image_of(record: &Record) -> u64 {
    let event: crate::dedup::records::ScoreEvent =
        decode("scores", &record.payload).expect("an event");
    event.upload.id.as_str()[1..].parse().expect("a number")
}
