//! Taking a correction back: exactly, or not at all.

use likeness_core::ImageId;
use likeness_core::state::Write;

use super::apply::{Applying, Attempt, Placed, Refused};
use super::constraints::Bond;
use super::merge::never;
use super::{
    Command, CorrectionOutcome, CorrectionRecord, Effect, Merged, Moved, Reheaded, sequence_key,
};
use crate::dedup::banks::BankChange;
use crate::dedup::records::{ClusterRecord, NumberRecord, encode_decision};
use crate::dedup::tables::{canonical_key, encode, member_key, number_key};

impl Applying<'_> {
    /// Takes back the correction with the number `sequence`. An undoing has no effect of its own that could
    /// be undone: the correction can be made again.
    pub(super) async fn undo(&mut self, sequence: u64) -> Attempt<Effect> {
        let record: Option<CorrectionRecord> =
            self.row("corrections", &sequence_key(sequence)).await?;
        let Some(mut record) = record else {
            return Err(Refused::because(
                "correction_not_found",
                format!("there is no correction {sequence}"),
            ));
        };
        if record.outcome != CorrectionOutcome::Applied {
            return Err(Refused::because(
                "nothing_to_undo",
                format!("correction {sequence} was refused"),
            ));
        }
        if let Some(by) = record.undone_by {
            return Err(Refused::because(
                "already_undone",
                format!("correction {sequence} was undone by correction {by}"),
            ));
        }
        if matches!(record.event.command, Command::Erase { .. }) {
            return Err(Refused::because(
                "undo_of_erasure",
                "an erasure is for good; upload the picture again, under another id",
            ));
        }
        if matches!(record.event.command, Command::Undo { .. }) {
            return Err(Refused::because(
                "undo_of_undo",
                "an undoing is not undone; make the correction again",
            ));
        }
        if matches!(
            record.event.command,
            Command::Flood(_) | Command::Bank(BankChange::Delete { .. })
        ) {
            return Err(Refused::because(
                "not_undoable",
                "acts about floods and deleted banks are not undone: make the opposite change",
            ));
        }
        let effect = std::mem::take(&mut record.effect);
        if let Some(bank) = &effect.bank {
            self.undo_bank(&record.event.command, bank).await?;
        }
        if let Some(Reheaded {
            cluster,
            before,
            after,
        }) = &effect.reheaded
        {
            let mut standing = self.standing(cluster).await?;
            let is_member = self.placed(&before.id).await?.home == *cluster;
            if standing.head(cluster) != *after || !is_member {
                return Err(superseded(format!(
                    "the head of `{cluster}` has changed since"
                )));
            }
            standing.set_head(cluster, before.clone());
            standing.updated = self.now;
            self.put(cluster, Some(standing)).await?;
        }
        if let Some(merged) = &effect.merged {
            self.part(merged, sequence).await?;
        }
        if !effect.moved.is_empty() {
            self.move_back(&effect.moved, sequence).await?;
        }
        self.crown(&effect.beheaded).await?;
        self.unbind(&effect.bound).await?;
        if let Some(labelled) = &effect.labelled {
            self.unlabel(labelled).await?;
        }
        self.unsettle(&effect).await?;
        record.effect = effect;
        record.undone_by = Some(self.sequence);
        let key = sequence_key(sequence);
        self.writes.push(Write::Put(key, encode(&record)));
        Ok(Effect::default())
    }

    /// Takes a merge back.
    async fn part(&mut self, merged: &Merged, sequence: u64) -> Attempt<()> {
        let Merged { into, from } = merged;
        let mut whole = self.standing(into).await?;
        let part = self.cluster(from).await?;
        let Some(mut part) = part.filter(|part| part.merged_into.as_ref() == Some(into)) else {
            return Err(superseded(format!(
                "`{from}` is no longer a part of `{into}`"
            )));
        };
        let mut leaving = part.parts.clone();
        leaving.push(from.clone());
        let head = self.placed(&whole.head(into).id).await?;
        if leaving.contains(&head.record.head) {
            return Err(superseded(format!(
                "the head of `{into}`, `{}`, came from `{from}`; choose another head first",
                head.id
            )));
        }
        for pair in self.pairs(Bond::Always, Some(sequence)).await? {
            let (a, b) = (self.placed(&pair.a).await?, self.placed(&pair.b).await?);
            let leaves = |part: &ImageId| leaving.contains(part);
            if a.home == *into
                && b.home == *into
                && leaves(&a.record.head) != leaves(&b.record.head)
            {
                return Err(Refused::because(
                    "always_together",
                    format!(
                        "`{}` and `{}` must always be together (correction {}); undo that first",
                        pair.a, pair.b, pair.correction
                    ),
                ));
            }
        }
        part.size = part.own();
        for id in part.parts.clone() {
            if let Some(mut smaller) = self.cluster(&id).await? {
                part.size += smaller.own();
                smaller.merged_into = Some(from.clone());
                self.put(&id, Some(smaller)).await?;
            }
        }
        part.merged_into = None;
        part.updated = self.now;
        whole.parts.retain(|id| !leaving.contains(id));
        whole.size -= part.size;
        whole.updated = self.now;
        self.put_unless_empty(from, part).await?;
        self.put_unless_empty(into, whole).await
    }

    /// Writes a cluster that stands on its own again, or deletes it with its parts if all of its images were
    /// erased meanwhile.
    async fn put_unless_empty(&mut self, id: &ImageId, cluster: ClusterRecord) -> Attempt<()> {
        if cluster.size > 0 {
            return self.put(id, Some(cluster)).await;
        }
        for part in &cluster.parts {
            self.put(part, None).await?;
        }
        self.put(id, None).await
    }

    /// Lets images go back where they were.
    async fn move_back(&mut self, moved: &[Moved], sequence: u64) -> Attempt<()> {
        let mut founded: Vec<&ImageId> = moved
            .iter()
            .filter(|moved| !moved.has_joined)
            .map(|moved| &moved.after)
            .collect();
        founded.dedup();
        for id in founded {
            let cluster = self.cluster(id).await?;
            let moved_there = moved.iter().filter(|moved| moved.after == *id).count() as u64;
            let is_as_left = cluster.is_some_and(|cluster| {
                cluster.is_standing() && cluster.parts.is_empty() && cluster.size == moved_there
            });
            if !is_as_left {
                return Err(superseded(format!(
                    "the cluster `{id}` that came of it has changed since: images have joined or left it, or it was merged"
                )));
            }
        }
        let mut back = Vec::with_capacity(moved.len());
        for one in moved {
            let id = ImageId::new(one.decision.id.clone())
                .map_err(|error| Refused::Failed(error.into()))?;
            let placed = self.placed(&id).await?;
            if placed.record.head != one.after {
                return Err(superseded(format!("`{id}` has been moved since")));
            }
            if one.has_joined && self.standing(&placed.home).await?.head(&placed.home).id == id {
                return Err(superseded(format!(
                    "`{id}` is the head of `{}` now",
                    placed.home
                )));
            }
            if self.cluster(&one.before).await?.is_none() {
                return Err(superseded(format!("the cluster `{}` is gone", one.before)));
            }
            back.push((placed, self.home(&one.before).await?));
        }
        for pair in self.pairs(Bond::Never, Some(sequence)).await? {
            for (here, there) in [(&pair.a, &pair.b), (&pair.b, &pair.a)] {
                let Some((_, home)) = back.iter().find(|(placed, _)| placed.id == *here) else {
                    continue;
                };
                let goes_too = back
                    .iter()
                    .any(|(placed, other)| placed.id == *there && other == home);
                if goes_too || self.placed(there).await?.home == *home {
                    return Err(never(&pair.a, &pair.b, pair.correction));
                }
            }
        }
        let leaving: Vec<Placed> = back.iter().map(|(placed, _)| placed.clone()).collect();
        for group in leaving.chunk_by(|a, b| a.home == b.home) {
            self.behead(group).await?;
        }
        for (one, (placed, _)) in moved.iter().zip(back) {
            self.writes.extend([
                Write::Delete(member_key(&one.after, one.number)),
                Write::Put(member_key(&one.before, one.number), encode(&one.member)),
                Write::Put(
                    number_key(one.number),
                    encode(&NumberRecord {
                        head: one.before.clone(),
                        head_number: one.before_number,
                        ..placed.record
                    }),
                ),
                Write::Put(canonical_key(&placed.id), encode_decision(&one.decision)),
            ]);
            if one.has_joined {
                self.resize(&one.after, -1).await?;
            } else if self.cluster(&one.after).await?.is_some() {
                self.put(&one.after, None).await?;
            }
            self.resize(&one.before, 1).await?;
        }
        Ok(())
    }
}

pub(super) fn superseded(what: String) -> Refused {
    Refused::because(
        "superseded",
        format!("{what}, so this can no longer be undone as it was made"),
    )
}
