//! What an erased image leaves behind elsewhere than with itself: the review queue, labels, banks, floods, the
//! join, and what corrections keep for their undoing.

use std::collections::BTreeSet;

use bytes::Bytes;
use likeness_core::log::{NewRecord, Offset, Redaction, Topic};
use likeness_core::state::{Scan, Write};
use likeness_core::{ImageId, StoreError};

use super::apply::{Applying, Attempt, Placed};
use super::erase::{all_of_key, of_key};
use super::{Effect, MAX_MOVED};
use crate::dedup::banks::{
    BANK_MATCHES, BANKS, BankMatchView, BankRecord, MATCHES_BY_IMAGE, ReferenceRecord, count_key,
    match_by_image_key, match_key, read_u64, reference_key,
};
use crate::dedup::erasure::Tombstone;
use crate::dedup::flood::{
    ALARMS, ALARMS_TOPIC, Guard, HeldRecord, alarm_key, decode_alarm, encode_alarm, held_key,
    held_scan,
};
use crate::dedup::join;
use crate::dedup::records::ClusterRecord;
use crate::dedup::reviews::forget::forget_image;
use crate::dedup::tables::{PARTITION, SHARD, UPLOADS, decode};

/// Rows of one read.
const PAGE: usize = 1_024;

impl Applying<'_> {
    /// Takes an image out of everything that is not its own. To be called after it has left its cluster.
    pub(super) async fn forget_traces(
        &mut self,
        image: &ImageId,
        placed: Option<&Placed>,
        tombstone: &Tombstone,
    ) -> Attempt<()> {
        let rows = forget_image(self.state, &mut self.totals, image).await?;
        self.writes.extend(rows);
        if let Some(placed) = placed {
            self.forget_matches(placed, tombstone).await?;
            self.forget_references(placed).await?;
            self.forget_held(placed).await?;
        }
        self.forget_alarms(image).await?;
        self.forget_join(image, tombstone).await
    }

    /// Deletes the image's matches with banks, those that are gone included, and takes them out of the counts.
    async fn forget_matches(&mut self, placed: &Placed, tombstone: &Tombstone) -> Attempt<()> {
        let image = &placed.id;
        let partition = Bytes::copy_from_slice(image.as_bytes());
        let mut scan = Scan::all(MATCHES_BY_IMAGE, partition, PAGE);
        let mut has_matched = false;
        loop {
            let rows = self.state.scan(scan.clone()).await?;
            let Some(last) = rows.last() else { break };
            scan = scan.after(last.sort.clone());
            has_matched = true;
            for row in &rows {
                let serial = read_u64(&row.sort)?;
                self.writes.extend([
                    Write::Delete(match_by_image_key(image, serial)),
                    Write::Delete(match_key(serial, placed.number.0)),
                ]);
                let found: BankMatchView = serde_json::from_slice(&row.value).map_err(|error| {
                    StoreError::corrupt("state", "bank_matches", error.to_string())
                })?;
                // What a scan found is in the count of the scan, which says what was found then.
                if found.retroactive {
                    continue;
                }
                let count = self.state.get(&count_key(serial)).await?;
                let count = count.map_or(Ok(0), |row| read_u64(&row))?.saturating_sub(1);
                let count = Bytes::copy_from_slice(&count.to_be_bytes());
                self.writes.push(Write::Put(count_key(serial), count));
            }
        }
        // The topic keeps no places, so it is read as a whole, for images that matched.
        if has_matched {
            for (offset, _) in all_of_key(self.log, BANK_MATCHES, image.as_bytes()).await? {
                self.redact_one(BANK_MATCHES, offset, tombstone.record());
            }
        }
        Ok(())
    }

    /// Takes references away that were taken from the image. A file with the same bytes that was handed over as a
    /// reference stays: it is not the image.
    async fn forget_references(&mut self, placed: &Placed) -> Attempt<()> {
        let banks = Scan::all(BANKS, Bytes::from_static(SHARD), PAGE);
        for row in self.state.scan(banks).await? {
            let mut bank: BankRecord = decode("banks", &row.value)?;
            let digest = &placed.record.sha256;
            let Some(sequence) = self.sequence_of(&bank, digest).await? else {
                continue;
            };
            let key = reference_key(bank.serial, sequence);
            let record: Option<ReferenceRecord> = self.row("bank_references", &key).await?;
            if record.and_then(|record| record.image).as_ref() != Some(&placed.id) {
                continue;
            }
            self.forget_reference(bank.serial, sequence, digest);
            bank.references = bank.references.saturating_sub(1);
            bank.removals += 1;
            self.totals.bank_changes += 1;
            self.put_bank(&bank);
        }
        Ok(())
    }

    /// Takes the image off the list of what a cluster under quarantine holds; what is left of its own cluster
    /// takes images as others do. If its own cluster is gone with it, what that held is let go, at most
    /// [`MAX_MOVED`] images: others stay as they are, and can be merged by hand.
    async fn forget_held(&mut self, placed: &Placed) -> Attempt<()> {
        let id = &placed.id;
        if !placed.gave_name() {
            return Ok(());
        }
        let before: Option<ClusterRecord> = self
            .row("clusters", &crate::dedup::tables::cluster_key(id))
            .await?;
        if let Some(Guard::Held { by }) = before.map(|cluster| cluster.guard) {
            let key = held_key(&by, placed.number);
            if self.state.get(&key).await?.is_some() {
                self.totals.held = self.totals.held.saturating_sub(1);
                self.writes.push(Write::Delete(key));
            }
        }
        if let Some(cluster) = self.cluster(id).await? {
            if matches!(cluster.guard, Guard::Held { .. }) {
                let guard = Guard::Open;
                self.put(id, Some(ClusterRecord { guard, ..cluster }))
                    .await?;
            }
            return Ok(());
        }
        for row in self.state.scan(held_scan(id, MAX_MOVED)).await? {
            let number = likeness_core::ImageNumber(read_u64(&row.sort)?);
            let held: HeldRecord = decode("held", &row.value)?;
            let own = self.cluster(&held.id).await?;
            let is_held = |own: &ClusterRecord| own.guard == Guard::Held { by: id.clone() };
            if let Some(own) = own.filter(is_held) {
                let guard = Guard::Open;
                self.put(&held.id, Some(ClusterRecord { guard, ..own }))
                    .await?;
            }
            self.totals.held = self.totals.held.saturating_sub(1);
            self.writes.push(Write::Delete(held_key(id, number)));
        }
        Ok(())
    }

    /// Takes the image out of the alarms that it raised. There are few of them, so all are looked at.
    async fn forget_alarms(&mut self, image: &ImageId) -> Attempt<()> {
        let mut scan = Scan::all(ALARMS, Bytes::from_static(SHARD), PAGE);
        let mut clusters = BTreeSet::new();
        loop {
            let rows = self.state.scan(scan.clone()).await?;
            let Some(last) = rows.last() else { break };
            scan = scan.after(last.sort.clone());
            for row in &rows {
                let mut alarm = decode_alarm(&row.value)?;
                if alarm.image != image.as_str() {
                    continue;
                }
                clusters.insert(alarm.cluster.clone());
                alarm.image.clear();
                let key = alarm_key(alarm.sequence);
                self.writes.push(Write::Put(key, encode_alarm(&alarm)));
            }
        }
        for cluster in clusters {
            let key = cluster.as_bytes();
            for (offset, payload) in all_of_key(self.log, ALARMS_TOPIC, key).await? {
                let mut alarm = decode_alarm(&payload)?;
                if alarm.image == image.as_str() {
                    alarm.image.clear();
                    let replacement = NewRecord {
                        key: Bytes::copy_from_slice(key),
                        payload: encode_alarm(&alarm),
                    };
                    self.redact_one(ALARMS_TOPIC, offset, replacement);
                }
            }
        }
        Ok(())
    }

    /// Deletes what the join keeps of the image, with the events that its embeddings came by.
    async fn forget_join(&mut self, image: &ImageId, tombstone: &Tombstone) -> Attempt<()> {
        let Some(traces) = join::traces(self.state, image).await? else {
            return Ok(());
        };
        self.writes.extend(traces.writes);
        for offset in traces.events {
            // A step that was run again may have left a place that another event took.
            for key in join::event_keys(image) {
                let event = of_key(self.log, UPLOADS, offset, 1, &key).await?;
                if let Some((offset, _)) = event {
                    self.redact_one(UPLOADS, offset, tombstone.record());
                }
            }
        }
        // In a replay its number is taken where it was passed on, not where its first part came.
        if let Some(passed_on) = traces.passed_on {
            let silent = Tombstone::silent(image);
            let others = self.redactions.iter_mut();
            for other in others.filter(|it| it.topic == UPLOADS && it.offset != passed_on) {
                other.replacement = silent.record();
            }
        }
        if traces.has_acts {
            for (offset, _) in all_of_key(self.log, join::ORPHAN_JOURNAL, image.as_bytes()).await? {
                self.redact_one(join::ORPHAN_JOURNAL, offset, tombstone.record());
            }
        }
        Ok(())
    }

    fn redact_one(&mut self, topic: Topic, offset: Offset, replacement: NewRecord) {
        self.redactions.push(Redaction {
            topic,
            partition: PARTITION,
            offset,
            replacement,
        });
    }
}

impl Effect {
    /// Drops what is kept of an image for undoing; says whether there was anything.
    pub(super) fn forget(&mut self, image: &ImageId, placed: Option<&Placed>) -> bool {
        let count = |it: &Self| (it.moved.len(), it.settled.len(), it.beheaded.len());
        let before = count(self);
        if let Some(placed) = placed {
            self.moved.retain(|moved| moved.number != placed.number);
        }
        self.settled
            .retain(|record| record.image != *image && record.head != *image);
        self.beheaded
            .retain(|part| part.before.id != *image && part.after.id != *image);
        let is_less = before != count(self);
        let digest = placed.map(|placed| placed.record.sha256);
        let bank = self.bank.as_mut();
        bank.is_some_and(|bank| bank.forget(image, digest.as_ref())) || is_less
    }
}
