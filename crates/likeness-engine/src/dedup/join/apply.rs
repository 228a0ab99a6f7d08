//! What uploads, embeddings and wishes about orphans change, in the order of the log. The one writer calls
//! it, between two commits; everything it changes is part of the commit that moves its position.
//!
//! A step may be run again after a crash, with some of its rows written and none of its events (two products,
//! see `likeness_core::step`). So an image that was passed on by the record at hand is passed on again, rows
//! are written again, and the row of `join` comes before what depends on it.

mod wish;

use std::collections::{BTreeMap, HashMap};

use likeness_core::log::{NewRecord, Offset, Redaction};
use likeness_core::state::{StateStore, Write};
use likeness_core::{ImageId, StoreError, StoreResult, Timestamp};

use super::{
    DayRecord, EmbeddingEvent, EmbeddingRecord, JoinConfig, JoinRow, JoinSide, JoinTotals,
    OrphanRecord, Place, claim_key, day, day_key, deadline_key, embedding_key, join_key,
    orphan_key, totals_key,
};
use crate::dedup::erasure::{Places, Tombstone, erased};
use crate::dedup::records::{Signature, SignatureEvent, UploadEvent};
use crate::dedup::tables::{
    PARTITION, UPLOADS, canonical_key, decode, encode, event, signature_key, upload_key,
};
use crate::dedup::view::Rejection;

/// A batch of the log while it is joined.
#[derive(Debug)]
pub(in crate::dedup) struct Joining<'a> {
    state: &'a dyn StateStore,
    config: &'a JoinConfig,
    totals: JoinTotals,
    /// Rows as this batch leaves them; none is the row that is to be deleted.
    rows: BTreeMap<ImageId, JoinRow>,
    days: BTreeMap<String, DayRecord>,
    embeddings: HashMap<(ImageId, String), EmbeddingRecord>,
    signatures: HashMap<ImageId, Signature>,
    writes: Vec<Write>,
    records: Vec<NewRecord>,
    journal: Vec<NewRecord>,
    redactions: Vec<Redaction>,
}

/// What the commit of a batch holds.
#[derive(Debug)]
pub(in crate::dedup) struct Joined {
    pub(in crate::dedup) writes: Vec<Write>,
    /// For the next stage, in order.
    pub(in crate::dedup) records: Vec<NewRecord>,
    /// For the journal of orphans.
    pub(in crate::dedup) journal: Vec<NewRecord>,
    /// Events that came after the erasure of their image.
    pub(in crate::dedup) redactions: Vec<Redaction>,
    pub(in crate::dedup) totals: JoinTotals,
}

impl<'a> Joining<'a> {
    /// Reads where the join stands; anew for every batch, so that an attempt whose outcome is unknown leaves
    /// nothing behind in memory.
    ///
    /// # Errors
    /// If the store fails.
    pub(in crate::dedup) async fn begin(
        state: &'a dyn StateStore,
        config: &'a JoinConfig,
    ) -> StoreResult<Self> {
        Ok(Self {
            state,
            config,
            totals: JoinTotals::read(state).await?,
            rows: BTreeMap::new(),
            days: BTreeMap::new(),
            embeddings: HashMap::new(),
            signatures: HashMap::new(),
            writes: Vec::new(),
            records: Vec::new(),
            journal: Vec::new(),
            redactions: Vec::new(),
        })
    }

    /// Passes on a record that is not joined, in its place.
    pub(in crate::dedup) fn pass_on(&mut self, record: NewRecord) {
        self.records.push(record);
    }

    /// Takes an upload with its signature. A picture that could not be decoded waits for nothing.
    ///
    /// # Errors
    /// If the store fails.
    pub(in crate::dedup) async fn upload(
        &mut self,
        offset: Offset,
        upload: UploadEvent,
        outcome: Result<Signature, Rejection>,
    ) -> StoreResult<()> {
        self.observe(upload.uploaded);
        let before = self.row(&upload.id).await?;
        if is_past(&before, offset) {
            return Ok(());
        }
        let mut row = before.clone();
        row.upload = Some(upload.uploaded);
        row.uploaded_at = Some(offset);
        match outcome {
            Ok(signature) => {
                self.signatures.insert(upload.id.clone(), signature);
                self.settle(&upload.id.clone(), &before, row, offset, Some(upload))
                    .await
            }
            Err(rejection) => {
                self.count_joined(&before);
                self.complete(&before, row, offset, upload, Some(rejection))
                    .await
            }
        }
    }

    /// Takes note of an erasure that is on its way to the writer of clusters.
    ///
    /// # Errors
    /// If the store fails.
    pub(in crate::dedup) async fn erasure(&mut self, image: &ImageId) -> StoreResult<()> {
        let before = self.row(image).await?;
        // Of one that was not passed on the erasure is refused.
        if matches!(before.place, Place::Joined(_)) && !before.is_going {
            let row = JoinRow {
                is_going: true,
                ..before.clone()
            };
            self.put(image, &before, row).await?;
        }
        Ok(())
    }

    /// Whether what comes of an image comes after its erasure. `row` was read before this is asked: the erasure
    /// deletes that row and leaves its own in one commit.
    async fn is_of_nothing(&self, image: &ImageId, row: &JoinRow) -> StoreResult<bool> {
        Ok(row.is_going || erased(self.state, image).await?.is_some())
    }

    /// Takes an event out of the log.
    fn redact(&mut self, image: &ImageId, offset: Offset) {
        self.redactions.push(Redaction {
            topic: UPLOADS,
            partition: PARTITION,
            offset,
            replacement: Tombstone::silent(image).record(),
        });
    }

    /// Takes an embedding. One that came before, of the same image and kind, stays.
    ///
    /// # Errors
    /// If the store fails.
    pub(in crate::dedup) async fn embedding(
        &mut self,
        offset: Offset,
        embedding: EmbeddingEvent,
    ) -> StoreResult<()> {
        self.observe(embedding.time);
        let EmbeddingEvent {
            image,
            kind,
            model,
            vector,
            time,
        } = embedding;
        let record = EmbeddingRecord {
            model,
            vector,
            time,
            signed_here: false,
        };
        let before = self.row(&image).await?;
        if self.is_of_nothing(&image, &before).await? {
            self.writes.push(Write::Delete(claim_key(&image, &kind)));
            self.redact(&image, offset);
            return Ok(());
        }
        if before.kinds.contains_key(&kind)
            && let Some(there) = self.stored(&image, &kind).await?
            && there != record
        {
            let mut row = before.clone();
            note(&mut row, offset);
            return self.put(&image, &before, row).await;
        }
        let mut row = before.clone();
        note(&mut row, offset);
        self.attach(&image, &mut row, kind, record);
        if is_past(&before, offset) {
            // Passed on without it, or decided before there was a join: kept beside the image.
            self.put(&image, &before, row).await
        } else {
            self.settle(&image, &before, row, offset, None).await
        }
    }

    /// Deletes all that the join keeps of an image, its embeddings and their claims included, whether it was
    /// passed on or not.
    ///
    /// # Errors
    /// If the store fails.
    pub(in crate::dedup) async fn forget(&mut self, image: &ImageId) -> StoreResult<()> {
        let before = self.row(image).await?;
        for kind in before.kinds.keys() {
            self.embeddings.remove(&(image.clone(), kind.clone()));
            self.writes.extend([
                Write::Delete(embedding_key(image, kind)),
                Write::Delete(claim_key(image, kind)),
            ]);
        }
        self.put(image, &before, JoinRow::default()).await
    }

    /// Returns what is to be committed.
    pub(in crate::dedup) fn finish(mut self) -> Joined {
        let mut writes: Vec<Write> = self
            .rows
            .iter()
            .map(|(image, row)| match row.place {
                Place::Nowhere => Write::Delete(join_key(image)),
                _ => Write::Put(join_key(image), encode(row)),
            })
            .collect();
        writes.append(&mut self.writes);
        for (image, signature) in &self.signatures {
            writes.push(Write::Put(signature_key(image), encode(signature)));
        }
        for (day, record) in &self.days {
            writes.push(match record.orphans {
                0 => Write::Delete(day_key(day)),
                _ => Write::Put(day_key(day), encode(record)),
            });
        }
        writes.push(Write::Put(totals_key(), encode(&self.totals)));
        Joined {
            writes,
            records: self.records,
            journal: self.journal,
            redactions: self.redactions,
            totals: self.totals,
        }
    }

    fn observe(&mut self, time: Timestamp) {
        self.totals.greatest = self.totals.greatest.max(time);
    }

    fn attach(
        &mut self,
        image: &ImageId,
        row: &mut JoinRow,
        kind: String,
        record: EmbeddingRecord,
    ) {
        self.writes
            .push(Write::Put(embedding_key(image, &kind), encode(&record)));
        row.kinds.insert(kind.clone(), record.time);
        self.embeddings.insert((image.clone(), kind), record);
    }

    /// Passes an image on if nothing is missing, and otherwise lets it wait.
    async fn settle(
        &mut self,
        image: &ImageId,
        before: &JoinRow,
        mut row: JoinRow,
        offset: Offset,
        upload: Option<UploadEvent>,
    ) -> StoreResult<()> {
        if row.upload.is_some() && row.missing(self.config).is_empty() {
            let upload = match upload {
                Some(upload) => upload,
                None => self.upload_of(image).await?,
            };
            self.count_joined(before);
            return self.complete(before, row, offset, upload, None).await;
        }
        let deadline = row
            .deadline()
            .expect("a side is there, or nothing would wait");
        row.place = match before.place {
            Place::Orphan(since) if since == deadline => Place::Orphan(since),
            _ => Place::Waiting(deadline),
        };
        self.put(image, before, row).await
    }

    fn count_joined(&mut self, before: &JoinRow) {
        if let Place::Waiting(since) | Place::Orphan(since) = before.place {
            self.totals.joined += 1;
            self.totals.late += u64::from(since < self.totals.watermark(self.config));
        }
    }

    async fn complete(
        &mut self,
        before: &JoinRow,
        mut row: JoinRow,
        offset: Offset,
        upload: UploadEvent,
        rejection: Option<Rejection>,
    ) -> StoreResult<()> {
        let image = upload.id.clone();
        if let Some(primary) = &self.config.primary
            && rejection.is_none()
        {
            let embedding = self.stored(&image, primary).await?.ok_or_else(|| {
                StoreError::corrupt("state", format!("embeddings/{image}"), "missing")
            })?;
            let mut signature = self.signature_of(&image).await?;
            signature.embedding = embedding.vector;
            self.signatures.insert(image.clone(), signature);
        }
        let places = Places {
            uploads: row.uploaded_at,
            ..Places::default()
        };
        row.place = Place::Joined(Some(offset.0));
        self.put(&image, before, row).await?;
        self.records.push(event(
            &image,
            &SignatureEvent {
                upload,
                rejection,
                places,
            },
        ));
        Ok(())
    }

    /// Returns a row as this batch has left it so far.
    async fn row(&self, image: &ImageId) -> StoreResult<JoinRow> {
        if let Some(row) = self.rows.get(image) {
            return Ok(row.clone());
        }
        if let Some(row) = self.state.get(&join_key(image)).await? {
            return decode("join", &row);
        }
        // Images that were passed on before there was anything to join have no row.
        let traces = [signature_key(image), canonical_key(image)];
        let was_passed_on = self
            .state
            .get_many(&traces)
            .await?
            .iter()
            .any(Option::is_some);
        Ok(JoinRow {
            place: match was_passed_on {
                true => Place::Joined(None),
                false => Place::Nowhere,
            },
            ..JoinRow::default()
        })
    }

    /// Puts a row, and keeps lists and totals in step.
    async fn put(&mut self, image: &ImageId, before: &JoinRow, after: JoinRow) -> StoreResult<()> {
        match before.place {
            Place::Waiting(deadline) => {
                self.writes
                    .push(Write::Delete(deadline_key(deadline, image)));
            }
            Place::Orphan(time) => {
                self.writes.push(Write::Delete(orphan_key(time, image)));
                self.day(time).await?.orphans -= 1;
            }
            Place::Nowhere | Place::Joined(_) => {}
        }
        if let Some(count) = self.count_of(before) {
            *count -= 1;
        }
        match after.place {
            Place::Waiting(deadline) => {
                let none = bytes::Bytes::new();
                self.writes
                    .push(Write::Put(deadline_key(deadline, image), none));
            }
            Place::Orphan(time) => {
                let record = orphan_record(&after, time, self.config);
                self.writes
                    .push(Write::Put(orphan_key(time, image), encode(&record)));
                self.day(time).await?.orphans += 1;
            }
            Place::Nowhere | Place::Joined(_) => {}
        }
        if let Some(count) = self.count_of(&after) {
            *count += 1;
        }
        self.rows.insert(image.clone(), after);
        Ok(())
    }

    /// Moves an image that waits to the orphans.
    pub(super) async fn orphaned(
        &mut self,
        image: &ImageId,
        deadline: Timestamp,
    ) -> StoreResult<()> {
        let before = self.row(image).await?;
        if before.place != Place::Waiting(deadline) {
            // A row that a crash between two products has left behind.
            self.writes
                .push(Write::Delete(deadline_key(deadline, image)));
            return Ok(());
        }
        let after = JoinRow {
            place: Place::Orphan(deadline),
            ..before.clone()
        };
        self.put(image, &before, after).await
    }

    fn count_of(&mut self, row: &JoinRow) -> Option<&mut u64> {
        let is_upload = row.upload.is_some();
        match row.place {
            Place::Waiting(_) if is_upload => Some(&mut self.totals.waiting_uploads),
            Place::Waiting(_) => Some(&mut self.totals.waiting_embeddings),
            Place::Orphan(_) if is_upload => Some(&mut self.totals.orphan_uploads),
            Place::Orphan(_) => Some(&mut self.totals.orphan_embeddings),
            Place::Nowhere | Place::Joined(_) => None,
        }
    }

    async fn day(&mut self, time: Timestamp) -> StoreResult<&mut DayRecord> {
        let day = day::text(time);
        if !self.days.contains_key(&day) {
            let row = self.state.get(&day_key(&day)).await?;
            let record = row.map(|row| decode("orphan_days", &row)).transpose()?;
            self.days.insert(day.clone(), record.unwrap_or_default());
        }
        Ok(self.days.entry(day).or_default())
    }

    async fn stored(&self, image: &ImageId, kind: &str) -> StoreResult<Option<EmbeddingRecord>> {
        if let Some(record) = self.embeddings.get(&(image.clone(), kind.to_owned())) {
            return Ok(Some(record.clone()));
        }
        let row = self.state.get(&embedding_key(image, kind)).await?;
        row.map(|row| decode("embeddings", &row)).transpose()
    }

    async fn signature_of(&self, image: &ImageId) -> StoreResult<Signature> {
        if let Some(signature) = self.signatures.get(image) {
            return Ok(signature.clone());
        }
        let row = self.state.get(&signature_key(image)).await?;
        let row = row
            .ok_or_else(|| StoreError::corrupt("state", format!("signature/{image}"), "missing"))?;
        decode("signature", &row)
    }

    async fn upload_of(&self, image: &ImageId) -> StoreResult<UploadEvent> {
        let row = self.state.get(&upload_key(image)).await?;
        let row = row.ok_or_else(|| {
            StoreError::corrupt(
                "state",
                format!("upload/{image}"),
                "missing, though its event came",
            )
        })?;
        decode("upload", &row)
    }
}

/// Notes where an event about an image is, so that it can be found when the image is erased.
fn note(row: &mut JoinRow, offset: Offset) {
    if !row.events.contains(&offset) {
        row.events.push(offset);
    }
}

/// Whether an image was passed on by another record than the one at `offset`.
fn is_past(row: &JoinRow, offset: Offset) -> bool {
    matches!(row.place, Place::Joined(at) if at != Some(offset.0))
}

fn orphan_record(row: &JoinRow, time: Timestamp, config: &JoinConfig) -> OrphanRecord {
    let is_upload = row.upload.is_some();
    OrphanRecord {
        side: match is_upload {
            true => JoinSide::Upload,
            false => JoinSide::Embedding,
        },
        missing: row.missing(config),
        present: row.kinds.keys().cloned().collect(),
        time,
    }
}
