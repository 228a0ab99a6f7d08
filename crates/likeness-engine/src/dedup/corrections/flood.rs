//! What people do about floods: acknowledge alarms, begin and end quarantines.

use std::collections::BTreeSet;

use bytes::Bytes;
use likeness_core::state::{Scan, Write};
use likeness_core::{ImageId, ImageNumber};

use super::apply::{Applying, Attempt, Placed, Refused};
use super::constraints::Bond;
use super::{Effect, MAX_MOVED};
use crate::dedup::banks::{NewReference, read_u64};
use crate::dedup::flood::{
    Acknowledgement, AlarmView, FloodAct, Guard, HeldRecord, alarm_key, begin_anew, decode_alarm,
    encode_alarm, held_key, held_scan,
};
use crate::dedup::records::{ClusterRecord, MemberRecord, NumberRecord, encode_decision};
use crate::dedup::tables::{MEMBERS, canonical_key, decode, encode, member_key, number_key};
use crate::dedup::view::{Decision, DecisionKind};

impl Applying<'_> {
    pub(super) async fn flood(&mut self, act: &FloodAct) -> Attempt<Effect> {
        match act {
            FloodAct::Acknowledge { alarm } => self.acknowledge(*alarm).await?,
            FloodAct::Quarantine { cluster } => {
                self.set_guard(cluster, Guard::Quarantined { confirmed: true })
                    .await?;
            }
            FloodAct::Confirm { cluster, bank } => {
                return self.confirm(cluster, bank.as_deref()).await;
            }
            FloodAct::Release { cluster, for_good } => self.release(cluster, *for_good).await?,
        }
        Ok(Effect::default())
    }

    async fn acknowledge(&mut self, sequence: u64) -> Attempt<()> {
        let key = alarm_key(sequence);
        let Some(row) = self.state.get(&key).await? else {
            return Err(Refused::because(
                "alarm_not_found",
                format!("there is no alarm {sequence}"),
            ));
        };
        let alarm = decode_alarm(&row)?;
        if alarm.acknowledged.is_some() {
            return Err(Refused::because(
                "already_acknowledged",
                format!("alarm {sequence} is acknowledged already"),
            ));
        }
        let alarm = AlarmView {
            acknowledged: Some(Acknowledgement {
                author: self.event.author.clone(),
                reason: self.event.reason.clone(),
                time_ms: self.now.0,
            }),
            ..alarm
        };
        self.totals.open_alarms = self.totals.open_alarms.saturating_sub(1);
        self.writes.push(Write::Put(key, encode_alarm(&alarm)));
        self.alarms.push(alarm);
        Ok(())
    }

    async fn confirm(&mut self, cluster: &ImageId, bank: Option<&str>) -> Attempt<Effect> {
        let standing = self.standing(cluster).await?;
        if !matches!(standing.guard, Guard::Quarantined { .. }) {
            return Err(not_quarantined(cluster));
        }
        let head = standing.head(cluster).id;
        self.set_guard(cluster, Guard::Quarantined { confirmed: true })
            .await?;
        let Some(bank) = bank else {
            return Ok(Effect::default());
        };
        if !self.known_bank(bank).await?.negative {
            return Err(Refused::because(
                "not_negative",
                format!(
                    "the bank `{bank}` is not negative: what matches it would still be attracted"
                ),
            ));
        }
        let reference = NewReference::Image { image: head };
        let effect = self.add_references(bank, &[reference]).await?;
        self.totals.bank_changes += 1;
        Ok(Effect {
            bank: Some(effect),
            ..Effect::default()
        })
    }

    async fn set_guard(&mut self, cluster: &ImageId, guard: Guard) -> Attempt<()> {
        let mut standing = self.standing(cluster).await?;
        if matches!(standing.guard, Guard::Held { .. } | Guard::Negative { .. }) {
            return Err(Refused::because(
                "attracts_nothing",
                format!(
                    "`{cluster}` attracts nothing as it is: its first image is held, or matched a negative bank"
                ),
            ));
        }
        self.totals.guarded += 1;
        standing.guard = guard;
        standing.updated = self.now;
        self.put(cluster, Some(standing)).await
    }

    /// Ends a quarantine; images that it held join, the earliest first.
    async fn release(&mut self, cluster: &ImageId, for_good: bool) -> Attempt<()> {
        let standing = self.standing(cluster).await?;
        let mut held = Vec::new();
        for part in std::iter::once(cluster).chain(&standing.parts) {
            let room = MAX_MOVED - held.len();
            if room == 0 {
                break;
            }
            for row in self.state.scan(held_scan(part, room)).await? {
                let number = ImageNumber(read_u64(&row.sort)?);
                let record: HeldRecord = decode("held", &row.value)?;
                held.push((part.clone(), number, record));
            }
        }
        let is_quarantined = matches!(standing.guard, Guard::Quarantined { .. });
        if !is_quarantined && held.is_empty() && !(for_good && standing.guard == Guard::Open) {
            return Err(not_quarantined(cluster));
        }
        let mut apart = BTreeSet::new();
        for pair in self.pairs(Bond::Never, None).await? {
            apart.extend([pair.a, pair.b]);
        }
        let mut room = MAX_MOVED as u64;
        for (part, number, record) in held {
            // Corrections may have put it elsewhere since: then it is theirs.
            let own = self.cluster(&record.id).await?.filter(|own| {
                let held = Guard::Held { by: part.clone() };
                own.is_standing() && own.parts.is_empty() && own.guard == held
            });
            if let Some(own) = own {
                let is_alone = own.head(&record.id).id == record.id;
                // What must be apart from something, or is more than fits, is let go and can be merged by hand.
                if apart.contains(&record.id) || !is_alone || own.size > MAX_MOVED as u64 {
                    let open = ClusterRecord {
                        guard: Guard::Open,
                        ..own
                    };
                    self.put(&record.id, Some(open)).await?;
                } else if own.size <= room {
                    room -= own.size;
                    self.take_in(cluster, &record, own).await?;
                } else {
                    break;
                }
            }
            self.totals.held = self.totals.held.saturating_sub(1);
            self.writes.push(Write::Delete(held_key(&part, number)));
        }
        let mut standing = self.standing(cluster).await?;
        standing.guard = if for_good { Guard::Lifted } else { Guard::Open };
        begin_anew(&mut standing);
        standing.updated = self.now;
        self.put(cluster, Some(standing)).await
    }

    /// Moves the images of a held cluster into the one that held it. Its id leads there from now on.
    async fn take_in(
        &mut self,
        cluster: &ImageId,
        held: &HeldRecord,
        own: ClusterRecord,
    ) -> Attempt<()> {
        let partition = Bytes::copy_from_slice(held.id.as_bytes());
        let scan = Scan::all(MEMBERS, partition, MAX_MOVED);
        let whole = self.standing(cluster).await?;
        let mut num_members = 0;
        for row in self.state.scan(scan).await? {
            let member: MemberRecord = decode("members", &row.value)?;
            let placed = self.placed(&member.id).await?;
            self.let_in(cluster, &whole, &placed, member, held.score);
            num_members += 1;
        }
        let redirect = ClusterRecord {
            guard: Guard::Open,
            merged_into: Some(cluster.clone()),
            size: 0,
            own: Some(0),
            updated: self.now,
            ..own
        };
        self.put(&held.id, Some(redirect)).await?;
        self.resize(cluster, num_members).await
    }

    fn let_in(
        &mut self,
        cluster: &ImageId,
        whole: &ClusterRecord,
        placed: &Placed,
        member: MemberRecord,
        score: f32,
    ) {
        self.writes.extend([
            Write::Delete(member_key(&placed.record.head, placed.number)),
            Write::Put(
                member_key(cluster, placed.number),
                encode(&MemberRecord {
                    score,
                    exact_copy: false,
                    ..member
                }),
            ),
            Write::Put(
                number_key(placed.number),
                encode(&NumberRecord {
                    head: cluster.clone(),
                    head_number: whole.first_number,
                    ..placed.record.clone()
                }),
            ),
            Write::Put(
                canonical_key(&placed.id),
                encode_decision(&Decision {
                    kind: DecisionKind::Joined,
                    canonical_id: Some(cluster.to_string()),
                    score: Some(score),
                    exact_copy: false,
                    ..placed.decision.clone()
                }),
            ),
        ]);
    }
}

fn not_quarantined(cluster: &ImageId) -> Refused {
    Refused::because(
        "not_quarantined",
        format!("the cluster `{cluster}` is not under quarantine, and holds nothing"),
    )
}
