//! What a reclustering moves: images go to another cluster, clusters become one. As by hand, but nothing is bound:
//! the next one may find something else.

use std::collections::BTreeMap;

use likeness_core::state::Write;
use likeness_core::{ImageId, StoreError};

use super::apply::{Applying, Attempt, Placed, Refused};
use super::constraints::Bond;
use super::merge::never;
use super::{Effect, MAX_MOVED, Moved};
use crate::dedup::records::{MemberRecord, NumberRecord, encode_decision};
use crate::dedup::tables::{canonical_key, encode, member_key, number_key};
use crate::dedup::view::{Decision, DecisionKind};

impl Applying<'_> {
    /// Moves images into a cluster, or lets them found one.
    pub(super) async fn move_images(
        &mut self,
        into: Option<&ImageId>,
        members: &[ImageId],
    ) -> Attempt<Effect> {
        if members.is_empty() || members.len() > MAX_MOVED {
            return Err(Refused::because(
                "too_many_members",
                format!("name 1 to {MAX_MOVED} members; move a longer list in several steps"),
            ));
        }
        let mut leaving = BTreeMap::new();
        for id in members {
            let placed = self.placed(id).await?;
            if Some(&placed.home) == into {
                return Err(Refused::because(
                    "already_so",
                    format!("`{id}` is in `{}` already", placed.home),
                ));
            }
            let standing = self.standing(&placed.home).await?;
            self.check_can_leave(&placed, &placed.home.clone(), &standing)?;
            leaving.insert(placed.number, placed);
        }
        let leaving: Vec<Placed> = leaving.into_values().collect();
        self.check_stays_whole(&leaving).await?;
        self.check_may_meet(&leaving, into).await?;
        let mut effect = Effect::default();
        for group in leaving.chunk_by(|a, b| a.home == b.home) {
            effect.beheaded.extend(self.behead(group).await?);
        }
        match into {
            None => self.move_out(&leaving, &mut effect).await?,
            Some(into) => self.move_in(&leaving, into, &mut effect).await?,
        }
        Ok(effect)
    }

    /// Makes one cluster of two, as a merge does.
    pub(super) async fn fold(&mut self, into: &ImageId, from: &ImageId) -> Attempt<Effect> {
        let mut effect = Effect::default();
        self.join(into, from, &mut effect).await?;
        Ok(effect)
    }

    /// Refuses to bring images together that must never be.
    async fn check_may_meet(&self, group: &[Placed], into: Option<&ImageId>) -> Attempt<()> {
        let is_in = |id: &ImageId| group.iter().any(|placed| placed.id == *id);
        for pair in self.pairs(Bond::Never, None).await? {
            for (here, there) in [(&pair.a, &pair.b), (&pair.b, &pair.a)] {
                if !is_in(here) {
                    continue;
                }
                if is_in(there) || Some(&self.placed(there).await?.home) == into {
                    return Err(never(&pair.a, &pair.b, pair.correction));
                }
            }
        }
        Ok(())
    }

    async fn move_in(
        &mut self,
        group: &[Placed],
        into: &ImageId,
        effect: &mut Effect,
    ) -> Attempt<()> {
        let standing = self.standing(into).await?;
        let head = self.placed(&standing.head(into).id).await?;
        for placed in group {
            let part = &placed.record.head;
            let key = member_key(part, placed.number);
            let member: MemberRecord = self.row("members", &key).await?.ok_or_else(|| {
                StoreError::corrupt(
                    "state",
                    format!("members/{part}/{}", placed.number),
                    "missing",
                )
            })?;
            self.resize(part, -1).await?;
            self.resize(into, 1).await?;
            let (score, exact_copy) = self.score(placed, &head.record).await?;
            let moved = MemberRecord {
                score,
                exact_copy,
                ..member.clone()
            };
            let record = NumberRecord {
                head: into.clone(),
                head_number: standing.first_number,
                ..placed.record.clone()
            };
            let decision = Decision {
                kind: DecisionKind::Joined,
                canonical_id: Some(into.to_string()),
                score: Some(score),
                exact_copy,
                ..placed.decision.clone()
            };
            self.writes.extend([
                Write::Delete(key),
                Write::Put(member_key(into, placed.number), encode(&moved)),
                Write::Put(number_key(placed.number), encode(&record)),
                Write::Put(canonical_key(&placed.id), encode_decision(&decision)),
            ]);
            effect.moved.push(Moved {
                number: placed.number,
                before: part.clone(),
                before_number: placed.record.head_number,
                after: into.clone(),
                has_joined: true,
                member,
                decision: placed.decision.clone(),
            });
        }
        Ok(())
    }
}
