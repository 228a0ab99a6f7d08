//! An image leaves everything: its cluster, every row that is about it, and the log.

use std::collections::HashSet;

use bytes::Bytes;
use likeness_core::log::{EventLog, Offset, ReadLimits, Redaction, Topic};
use likeness_core::state::{Scan, Write};
use likeness_core::{ImageId, ImageNumber, StoreError, StoreResult};

use super::apply::{Applying, Attempt, Placed, Refused};
use super::{BY_IMAGE, CorrectionRecord, Effect, by_image_key, sequence_key};
use crate::dedup::erasure::{
    CLAIM_OF_ERASED, ErasedRecord, ErasingRecord, Places, Tombstone, erased, erased_key,
    erased_number_key, erasing_key, places_key, same_bytes_key,
};
use crate::dedup::keeper::{Choice, MAX_COMPARED, Merits};
use crate::dedup::records::{Head, MemberRecord, UploadEvent, decode_number};
use crate::dedup::tables::{
    CANDIDATES, DECISIONS, MEMBERS, PARTITION, SCORES, SIGNATURES, UPLOADS, canonical_key,
    claim_key, decode, encode, explain_key, member_key, number_key, signature_key, upload_key,
};
use crate::dedup::upload::decode_decision;
use crate::dedup::view::Decision;

/// Rows of one read.
const PAGE: usize = 1_024;

/// What an erasure does besides writing rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::dedup) struct Erased {
    /// The image's number; absent if it was rejected.
    pub(in crate::dedup) number: Option<ImageNumber>,
    /// Heads that were chosen, by cluster. A replay takes them from the log: the images that they were chosen
    /// among may be erased by then.
    pub(in crate::dedup) heads: Vec<(ImageId, Head)>,
    /// Whether the cluster that it was in is gone with it.
    pub(in crate::dedup) is_cluster_gone: bool,
}

impl Applying<'_> {
    pub(super) async fn erase(&mut self, image: &ImageId) -> Attempt<Effect> {
        if erased(self.state, image).await?.is_some() {
            return Err(Refused::because(
                "already_erased",
                format!("`{image}` was erased before"),
            ));
        }
        let row = self.state.get(&canonical_key(image)).await?;
        let Some(decision) = row.map(|row| decode_decision(&row)).transpose()? else {
            return Err(Refused::because(
                "image_not_found",
                format!("there is no image `{image}`"),
            ));
        };
        let number = decision.number.map(ImageNumber);
        let mut done = Erased {
            number,
            heads: Vec::new(),
            is_cluster_gone: false,
        };
        let mut gone = None;
        match number {
            Some(number) => {
                let placed = self.placed(image).await?;
                self.leave(&placed, &mut done).await?;
                self.free(number).await?;
                if !placed.record.is_placeholder() {
                    self.totals.erased += 1;
                }
                self.writes.extend([
                    Write::Put(number_key(number), Bytes::new()),
                    Write::Put(erased_number_key(number), Bytes::new()),
                ]);
                gone = Some(placed);
            }
            None => self.totals.rejected -= 1,
        }
        self.forget_journal(image, gone.as_ref()).await?;
        let tombstone = self.redact(image, &decision).await?;
        self.forget_traces(image, gone.as_ref(), &tombstone).await?;
        self.delete_rows(image, number).await?;
        self.erased = Some(done);
        Ok(Effect::default())
    }

    /// Takes an image out of its cluster. A cluster that loses its head gets another; one that loses its last
    /// image is gone.
    async fn leave(&mut self, placed: &Placed, done: &mut Erased) -> Attempt<()> {
        let part = &placed.record.head;
        let key = member_key(part, placed.number);
        self.writes.push(Write::Delete(key));
        self.resize(part, -1).await?;
        let missing =
            || StoreError::corrupt("state", format!("clusters/{}", placed.home), "missing");
        let whole = self.cluster(&placed.home).await?.ok_or_else(missing)?;
        let parts = whole.parts.clone();
        if whole.size == 0 {
            for part in &parts {
                self.put(part, None).await?;
            }
            self.put(&placed.home, None).await?;
            done.is_cluster_gone = true;
            return Ok(());
        }
        // A cluster that was merged keeps its head: it may stand on its own again.
        for id in std::iter::once(&placed.home).chain(&parts) {
            let Some(mut cluster) = self.cluster(id).await? else {
                continue;
            };
            if cluster.head(id).id != placed.id {
                continue;
            }
            let recorded = self.event.heads.iter().find(|(of, _)| of == id);
            let head = match recorded {
                Some((_, head)) => Some(head.clone()),
                None => self.new_head(id, &cluster.parts, placed.number).await?,
            };
            // A part whose images were all erased has a name only.
            cluster.head = None;
            if let Some(head) = head {
                done.heads.push((id.clone(), head.clone()));
                cluster.set_head(id, head);
            }
            cluster.updated = self.now;
            self.put(id, Some(cluster)).await?;
        }
        Ok(())
    }

    /// Chooses a head by the keeper rule among the members of a cluster, without the one with the number
    /// `leaver`.
    async fn new_head(
        &self,
        cluster: &ImageId,
        parts: &[ImageId],
        leaver: ImageNumber,
    ) -> Attempt<Option<Head>> {
        let mut members = Vec::new();
        for part in std::iter::once(cluster).chain(parts) {
            let mut scan = Scan::all(MEMBERS, Bytes::copy_from_slice(part.as_bytes()), PAGE);
            // One more than are compared, since the leaver may be among them.
            scan.limit = MAX_COMPARED + 1 - members.len();
            for row in self.state.scan(scan).await? {
                let number = ImageNumber(read_number(&row.sort)?);
                let member: MemberRecord = decode("members", &row.value)?;
                let record = self.state.get(&number_key(number)).await?;
                let record = record.map(|row| decode_number(&row)).transpose()?.flatten();
                if let Some(record) = record
                    && number != leaver
                    && !record.is_placeholder()
                {
                    members.push((Merits::of(number, &member, &record), record));
                }
            }
            if members.len() >= MAX_COMPARED {
                break;
            }
        }
        members.truncate(MAX_COMPARED);
        members.sort_by_key(|(merits, _)| self.keeper.rank(merits));
        let mut subjects = Vec::with_capacity(members.len());
        for (_, record) in &members {
            subjects.push(self.subject(record).await?);
        }
        let threshold = self.scorer.threshold();
        let mut choice = Choice::of(members.len());
        for (head, subject) in subjects.iter().enumerate() {
            let others = members
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != head);
            let others: Vec<_> = others.map(|(_, (_, record))| record).collect();
            let scores = self.scorer.score_pairs(subject, &others).await?;
            let near = scores.iter().filter(|(score, _)| *score >= threshold);
            if choice.offer(head, near.count()) {
                break;
            }
        }
        Ok(choice.chosen().map(|idx| Head {
            id: members[idx].1.id.clone(),
            number: members[idx].0.number,
        }))
    }

    /// Lifts what was asked of pairs with an image.
    async fn free(&mut self, number: ImageNumber) -> Attempt<()> {
        for key in self.pairs_with(number).await? {
            self.totals.constraints -= 1;
            self.writes.push(Write::Delete(key));
        }
        Ok(())
    }

    /// Takes an image out of what corrections keep for their undoing. That they name it stays.
    async fn forget_journal(&mut self, image: &ImageId, placed: Option<&Placed>) -> Attempt<()> {
        let mut scan = Scan::all(BY_IMAGE, Bytes::copy_from_slice(image.as_bytes()), PAGE);
        loop {
            let rows = self.state.scan(scan.clone()).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            scan = scan.after(last.sort.clone());
            for row in &rows {
                let sequence = read_number(&row.sort)?;
                self.writes
                    .push(Write::Delete(by_image_key(image, sequence)));
                let key = sequence_key(sequence);
                let record: Option<CorrectionRecord> = self.row("corrections", &key).await?;
                let Some(mut record) = record else { continue };
                if record.effect.forget(image, placed) {
                    self.writes.push(Write::Put(key, encode(&record)));
                }
            }
        }
    }

    /// Replaces the events of an image by tombstones.
    async fn redact(&mut self, image: &ImageId, decision: &Decision) -> Attempt<Tombstone> {
        let row = self
            .row::<Vec<Places>>("places", &places_key(image))
            .await?;
        let is_known = row.is_some();
        let mut found = HashSet::new();
        // The decision as it was made: where the image is now may be due to a correction.
        let mut first = None;
        for places in row.unwrap_or_default() {
            for (topic, place) in [
                (UPLOADS, places.uploads),
                (SIGNATURES, places.signatures),
                (CANDIDATES, places.candidates),
                (SCORES, places.scores),
            ] {
                let offset = match place {
                    Some(offset) => of_key(self.log, topic, offset, 1, image.as_bytes()).await?,
                    None => None,
                };
                found.extend(offset.map(|(offset, _)| (topic, offset)));
            }
            if let Some(from) = places.decisions {
                let event = of_key(self.log, DECISIONS, from, LOOKED_AT, image.as_bytes()).await?;
                if let Some((offset, payload)) = event {
                    found.insert((DECISIONS, offset));
                    first.get_or_insert(decode_decision(&payload)?);
                }
            }
        }
        // Data of before places were kept, or a part of them: everything is looked at.
        for topic in [UPLOADS, SIGNATURES, CANDIDATES, SCORES, DECISIONS] {
            if is_known && found.iter().any(|(of, _)| *of == topic) {
                continue;
            }
            for (offset, payload) in all_of_key(self.log, topic, image.as_bytes()).await? {
                found.insert((topic, offset));
                if topic == DECISIONS && first.is_none() {
                    first = Some(decode_decision(&payload)?);
                }
            }
        }
        let first = first.as_ref().unwrap_or(decision);
        let cluster = first.canonical_id.clone().map(ImageId::new).transpose();
        let cluster = cluster.map_err(|error| Refused::Failed(error.into()))?;
        let tombstone = Tombstone {
            id: image.clone(),
            decided: first.number.map(ImageNumber).zip(cluster),
            is_head: first.is_head,
            is_silent: false,
        };
        let mut places: Vec<_> = found.into_iter().collect();
        places.sort_unstable();
        self.redactions
            .extend(places.into_iter().map(|(topic, offset)| Redaction {
                topic,
                partition: PARTITION,
                offset,
                replacement: tombstone.record(),
            }));
        Ok(tombstone)
    }

    async fn delete_rows(&mut self, image: &ImageId, number: Option<ImageNumber>) -> Attempt<()> {
        let upload: Option<UploadEvent> = self.row("upload", &upload_key(image)).await?;
        // A replay has none.
        if let Some(upload) = upload {
            let sha256 = upload.sha256;
            self.writes.extend([
                Write::Delete(same_bytes_key(&sha256, image)),
                Write::Put(erasing_key(image), encode(&ErasingRecord { sha256 })),
            ]);
        }
        let record = ErasedRecord {
            number,
            erased: self.now,
            author: self.event.author.clone(),
            reason: self.event.reason.clone(),
            correction: self.sequence,
        };
        self.writes.extend([
            Write::Delete(upload_key(image)),
            Write::Delete(signature_key(image)),
            Write::Delete(canonical_key(image)),
            Write::Delete(explain_key(image)),
            Write::Delete(places_key(image)),
            // The id stays taken, by nothing that an upload could be equal to.
            Write::Put(claim_key(image), Bytes::from_static(CLAIM_OF_ERASED)),
            Write::Put(erased_key(image), encode(&record)),
        ]);
        Ok(())
    }
}

/// Records of `decisions` that are looked at from the place where a batch of them began: more than a batch.
const LOOKED_AT: usize = 4_096;

/// Returns the first record with a key among `count` from `from` on.
pub(in crate::dedup) async fn of_key(
    log: &dyn EventLog,
    topic: Topic,
    from: Offset,
    count: usize,
    key: &[u8],
) -> StoreResult<Option<(Offset, Bytes)>> {
    let (mut from, mut left) = (from, count);
    while left > 0 {
        let limits = ReadLimits {
            max_records: left.min(PAGE),
            ..ReadLimits::default()
        };
        let page = log.read(topic, PARTITION, from, limits).await?;
        let Some(last) = page.last() else { break };
        from = last.offset.next();
        left -= page.len().min(left);
        for record in page {
            if record.key == key {
                return Ok(Some((record.offset, record.payload)));
            }
        }
    }
    Ok(None)
}

/// Returns all records with a key. Reads the whole topic.
pub(super) async fn all_of_key(
    log: &dyn EventLog,
    topic: Topic,
    key: &[u8],
) -> StoreResult<Vec<(Offset, Bytes)>> {
    let (mut from, mut found) = (Offset(0), Vec::new());
    loop {
        let limits = ReadLimits::default();
        let page = log.read(topic, PARTITION, from, limits).await?;
        let Some(last) = page.last() else {
            return Ok(found);
        };
        from = last.offset.next();
        let of_image = page.into_iter().filter(|record| record.key == key);
        found.extend(of_image.map(|record| (record.offset, record.payload)));
    }
}

pub(super) fn read_number(sort: &[u8]) -> StoreResult<u64> {
    let bytes = sort
        .try_into()
        .map_err(|_| StoreError::corrupt("state", "a number", "not eight bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}
