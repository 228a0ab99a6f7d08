//! Images leave a cluster and found one of their own.

use std::collections::BTreeMap;

use likeness_core::state::Write;
use likeness_core::{ImageId, StoreError};

use super::apply::{Applying, Attempt, Placed, Refused};
use super::constraints::Bond;
use super::{Effect, MAX_MOVED, Moved};
use crate::dedup::pairs::Subject;
use crate::dedup::records::{
    ClusterRecord, MemberRecord, NumberRecord, Signature, encode_decision,
};
use crate::dedup::tables::{canonical_key, encode, member_key, number_key, signature_key};
use crate::dedup::view::{Decision, DecisionKind};

impl Applying<'_> {
    pub(super) async fn split(
        &mut self,
        cluster: &ImageId,
        members: &[ImageId],
        each_alone: bool,
    ) -> Attempt<Effect> {
        let standing = self.standing(cluster).await?;
        if members.is_empty() || members.len() > MAX_MOVED {
            return Err(Refused::because(
                "too_many_members",
                format!("name 1 to {MAX_MOVED} members; split a longer list in several steps"),
            ));
        }
        let mut leaving = BTreeMap::new();
        for id in members {
            let placed = self.placed(id).await?;
            self.check_can_leave(&placed, cluster, &standing)?;
            leaving.insert(placed.number, placed);
        }
        let leaving: Vec<Placed> = leaving.into_values().collect();
        let groups: Vec<&[Placed]> = if each_alone {
            leaving.chunks(1).collect()
        } else {
            vec![&leaving]
        };
        let head = standing.head(cluster);
        let head = self.placed(&head.id).await?;
        let mut effect = Effect {
            beheaded: self.behead(&leaving).await?,
            ..Effect::default()
        };
        for group in groups {
            self.check_stays_whole(group).await?;
            self.move_out(group, &mut effect).await?;
        }
        for placed in &leaving {
            self.bind(Bond::Never, placed, &head, &mut effect).await?;
        }
        Ok(effect)
    }

    pub(super) fn check_can_leave(
        &self,
        placed: &Placed,
        cluster: &ImageId,
        standing: &ClusterRecord,
    ) -> Attempt<()> {
        let id = &placed.id;
        if placed.home != *cluster {
            return Err(Refused::because(
                "not_a_member",
                format!(
                    "`{id}` is in the cluster `{}`, not in `{cluster}`",
                    placed.home
                ),
            ));
        }
        if placed.gave_name() {
            return Err(Refused::because(
                "gave_the_id",
                format!(
                    "`{id}` gave its cluster the canonical id and stays; split off the others, or undo the merge"
                ),
            ));
        }
        if standing.head(cluster).id == *id {
            return Err(Refused::because(
                "is_the_head",
                format!("`{id}` is the head of `{cluster}`; choose another head first"),
            ));
        }
        Ok(())
    }

    /// Refuses to part images that must always be together.
    pub(super) async fn check_stays_whole(&self, group: &[Placed]) -> Attempt<()> {
        let is_in = |id: &ImageId| group.iter().any(|placed| placed.id == *id);
        for pair in self.pairs(Bond::Always, None).await? {
            if is_in(&pair.a) != is_in(&pair.b) {
                return Err(Refused::because(
                    "always_together",
                    format!(
                        "`{}` and `{}` must always be together (correction {}); undo that first",
                        pair.a, pair.b, pair.correction
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Lets images of one cluster found a new one; the first of them gives it its id.
    pub(super) async fn move_out(&mut self, group: &[Placed], effect: &mut Effect) -> Attempt<()> {
        let first = &group[0];
        let size = group.len() as u64;
        let mut founded = ClusterRecord::new(first.number, self.now);
        founded.size = size;
        for placed in group {
            let part = &placed.record.head;
            self.resize(part, -1).await?;
            let key = member_key(part, placed.number);
            let member: MemberRecord = self.row("members", &key).await?.ok_or_else(|| {
                StoreError::corrupt(
                    "state",
                    format!("members/{part}/{}", placed.number),
                    "missing",
                )
            })?;
            let is_first = placed.number == first.number;
            let (score, exact_copy) = match is_first {
                true => (1.0, false),
                false => self.score(placed, &first.record).await?,
            };
            let kind = match is_first {
                true => DecisionKind::NewCluster,
                false => DecisionKind::Joined,
            };
            self.writes.extend([
                Write::Delete(key),
                Write::Put(
                    member_key(&first.id, placed.number),
                    encode(&MemberRecord {
                        score,
                        exact_copy,
                        ..member.clone()
                    }),
                ),
                Write::Put(
                    number_key(placed.number),
                    encode(&NumberRecord {
                        head: first.id.clone(),
                        head_number: first.number,
                        ..placed.record.clone()
                    }),
                ),
                Write::Put(
                    canonical_key(&placed.id),
                    encode_decision(&Decision {
                        kind,
                        canonical_id: Some(first.id.to_string()),
                        score: Some(score),
                        exact_copy,
                        ..placed.decision.clone()
                    }),
                ),
            ]);
            effect.moved.push(Moved {
                number: placed.number,
                before: part.clone(),
                before_number: placed.record.head_number,
                after: first.id.clone(),
                has_joined: false,
                member,
                decision: placed.decision.clone(),
            });
        }
        self.put(&first.id, Some(founded)).await
    }

    /// Adds images to a cluster's own partition, and to the cluster that it is a part of.
    pub(super) async fn resize(&mut self, part: &ImageId, by: i64) -> Attempt<()> {
        let home = self.home(part).await?;
        let missing = || StoreError::corrupt("state", format!("clusters/{part}"), "missing");
        let mut own = self.cluster(part).await?.ok_or_else(missing)?;
        own.own = Some(own.own().saturating_add_signed(by));
        if home == *part {
            own.size = own.size.saturating_add_signed(by);
            own.updated = self.now;
            return self.put(part, Some(own)).await;
        }
        self.put(part, Some(own)).await?;
        let mut whole = self.cluster(&home).await?.ok_or_else(missing)?;
        whole.size = whole.size.saturating_add_signed(by);
        whole.updated = self.now;
        self.put(&home, Some(whole)).await
    }

    pub(super) async fn score(&self, placed: &Placed, head: &NumberRecord) -> Attempt<(f32, bool)> {
        // What was erased later in the log cannot be scored again.
        if placed.record.is_placeholder() || head.is_placeholder() {
            return Ok((0.0, false));
        }
        let subject = self.subject(&placed.record).await?;
        Ok(self.scorer.look_at_pair(&subject, head).await?)
    }

    /// Returns a decided image as one that is compared.
    pub(super) async fn subject(&self, record: &NumberRecord) -> Attempt<Subject> {
        let key = signature_key(&record.id);
        let signature: Signature = self.row("signature", &key).await?.ok_or_else(|| {
            StoreError::corrupt("state", format!("signature/{}", record.id), "missing")
        })?;
        Ok(Subject::new(record.sha256, signature, self.scorer.views())?)
    }
}
