//! First stage: reads an upload's bytes and computes its signature, and joins it with embeddings that come
//! from elsewhere (`join/`).

use std::sync::Arc;

use async_trait::async_trait;
use likeness_core::log::{NewRecord, Offset, Record, Topic};
use likeness_core::objects::ObjectStore;
use likeness_core::state::{StateStore, Write};
use likeness_core::step::{Consumer, Durability, Emit, Position, Step, StepStore};
use likeness_core::{ImageId, StoreError, StoreResult, fault};
use likeness_vision::runtime::ModelError;
use tracing::error;

use super::backlog::Backlog;
use super::banks::sign_references;
use super::corrections::{self, CorrectionEvent};
use super::erasure::{Places, Tombstone};
use super::join::apply::Joining;
use super::join::{
    EmbeddingEvent, EmbeddingRecord, JoinEvent, OrphanCommand, OrphanEvent, Sweeper, join_event,
    journal,
};
use super::objects::image_path;
use super::records::{Signature, SignatureEvent, UploadEvent};
use super::signature::{SignatureError, Signer};
use super::stage::Stage;
use super::tables::{
    PARTITION, SIGNATURE_STAGE, SIGNATURES, UPLOADS, decode, encode, event, signature_key,
    upload_key,
};
use super::view::Rejection;
use crate::EngineError;

/// Uploads in, signatures out.
#[derive(Debug)]
pub(super) struct SignatureStage {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) state: Arc<dyn StateStore>,
    pub(super) steps: Arc<dyn StepStore>,
    pub(super) backlog: Arc<Backlog>,
    /// Signs uploads; without an embedding if the index holds another kind.
    pub(super) signer: Signer,
    /// Signs with the model that runs here, whatever the index holds.
    pub(super) own: Signer,
    pub(super) joins: Arc<Sweeper>,
}

/// A record of the log in its place.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) offset: Offset,
    pub(super) work: Work,
}

/// What a record asks for.
#[derive(Debug)]
pub(super) enum Work {
    /// Passed on as it is, with the signatures of the references that it brings.
    Correction(NewRecord, Vec<Write>),
    /// What stood here was of an image that is erased, and led to nothing by itself.
    Nothing,
    /// Joined, if there is anything to join, and passed on.
    Upload(Signed),
    /// Joined.
    Embedding(EmbeddingEvent),
    /// Done, with the embedding that was computed for it.
    Orphan(OrphanEvent, Option<EmbeddingRecord>),
}

/// An upload with its signature, or with what is wrong with it.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) upload: UploadEvent,
    pub(super) outcome: Result<Signature, Rejection>,
}

#[async_trait]
impl Stage for SignatureStage {
    const NAME: &'static str = "signature";
    const INPUT: Topic = UPLOADS;
    const CONSUMER: Consumer = SIGNATURE_STAGE;

    type Item = Item;

    async fn prepare(&self, record: Record) -> Result<Self::Item, EngineError> {
        let offset = record.offset;
        let work = if let Some(correction) = corrections::passed_on(&record) {
            let event: CorrectionEvent = decode("uploads", &correction.payload)?;
            let objects = self.objects.as_ref();
            let signatures = sign_references(&event, &self.signer, objects).await?;
            Work::Correction(correction, signatures)
        } else if let Some(tombstone) = Tombstone::of(&record.key, &record.payload)? {
            match tombstone.is_silent {
                true => Work::Nothing,
                false => Work::Correction(tombstone.record(), Vec::new()),
            }
        } else {
            match join_event(&record)? {
                Some(JoinEvent::Embedding(embedding)) => Work::Embedding(embedding),
                Some(JoinEvent::Orphan(wish)) => {
                    let signed = self.embedding_for(&wish).await?;
                    Work::Orphan(wish, signed)
                }
                None => {
                    let upload: UploadEvent = decode("uploads", &record.payload)?;
                    let outcome = self.sign(&self.signer, &upload).await?;
                    Work::Upload(Signed { upload, outcome })
                }
            }
        };
        Ok(Item { offset, work })
    }

    async fn commit(&self, items: Vec<Self::Item>, position: Position) -> Result<(), EngineError> {
        let is_plain = |item: &Item| matches!(item.work, Work::Correction(..) | Work::Upload(_));
        if self.joins.config().is_off() && items.iter().all(is_plain) {
            return self.commit_plain(items, position).await;
        }
        self.commit_joined(items, position).await
    }
}

impl SignatureStage {
    /// Commits uploads that wait for nothing: each is passed on.
    async fn commit_plain(&self, items: Vec<Item>, position: Position) -> Result<(), EngineError> {
        let mut writes = Vec::with_capacity(items.len());
        let mut records = Vec::with_capacity(items.len());
        for item in items {
            let places = Places {
                uploads: Some(item.offset),
                ..Places::default()
            };
            records.push(match item.work {
                Work::Correction(correction, references) => {
                    writes.extend(references);
                    correction
                }
                Work::Upload(Signed { upload, outcome }) => {
                    let rejection = match outcome {
                        Ok(signature) => {
                            writes.push(Write::Put(signature_key(&upload.id), encode(&signature)));
                            None
                        }
                        Err(rejection) => Some(rejection),
                    };
                    let id = upload.id.clone();
                    let event_of = SignatureEvent {
                        upload,
                        rejection,
                        places,
                    };
                    event(&id, &event_of)
                }
                Work::Embedding(_) | Work::Orphan(..) | Work::Nothing => {
                    unreachable!("the caller joins a batch with these")
                }
            });
        }
        fault::point("signature.before_commit");
        let step = Step {
            claim: None,
            redactions: Vec::new(),
            writes,
            emits: vec![Emit {
                topic: SIGNATURES,
                partition: PARTITION,
                records,
            }],
            positions: vec![position],
        };
        self.steps.commit(step, Durability::Process).await?;
        fault::point("signature.after_commit");
        Ok(())
    }

    /// Commits a batch in which images wait for their parts, and are passed on once they have them.
    async fn commit_joined(&self, items: Vec<Item>, position: Position) -> Result<(), EngineError> {
        let num_items = items.len();
        let mut references = Vec::new();
        let mut joining = Joining::begin(self.state.as_ref(), self.joins.config()).await?;
        for Item { offset, work } in items {
            match work {
                Work::Correction(correction, signatures) => {
                    references.extend(signatures);
                    if let Some(image) = corrections::erased_by(&correction)? {
                        joining.erasure(&image).await?;
                    }
                    joining.pass_on(correction);
                }
                Work::Nothing => {}
                Work::Upload(Signed { upload, outcome }) => {
                    self.joins.note(upload.uploaded);
                    joining.upload(offset, upload, outcome).await?;
                }
                Work::Embedding(embedding) => {
                    self.joins.note(embedding.time);
                    joining.embedding(offset, embedding).await?;
                }
                Work::Orphan(wish, signed) => {
                    self.joins.note(wish.time);
                    let signs = |kind: &str| self.signs(kind);
                    joining.orphan(offset, wish, signed, signs).await?;
                }
            }
        }
        let mut joined = joining.finish();
        joined.writes.extend(references);
        let num_passed_on = joined.records.len();
        let mut emits: Vec<Emit> = journal(joined.journal).into_iter().collect();
        if num_passed_on > 0 {
            emits.push(Emit {
                topic: SIGNATURES,
                partition: PARTITION,
                records: joined.records,
            });
        }
        fault::point("signature.before_commit");
        let step = Step {
            claim: None,
            redactions: joined.redactions,
            writes: joined.writes,
            emits,
            positions: vec![position],
        };
        if let Err(error) = self.steps.commit(step, Durability::Process).await {
            // It may have been committed: then it is not done again, and has to be counted now.
            let Position {
                consumer,
                topic,
                partition,
                next,
            } = position;
            if self.steps.position(consumer, topic, partition).await? < next {
                return Err(error.into());
            }
        }
        fault::point("signature.after_commit");
        // What waits for a partner does not wait for this service.
        self.backlog
            .done(num_items.saturating_sub(num_passed_on) as u64);
        Ok(self.joins.sweep().await?)
    }

    /// Whether the model that runs here makes embeddings of a kind.
    fn signs(&self, kind: &str) -> bool {
        let kind = self.joins.config().kind(kind);
        kind.is_some_and(|kind| kind.is_made_by(self.own.spec()))
    }

    /// Computes the embedding that someone asked for in place of one that did not come. None if the upload is
    /// missing, or cannot be signed.
    async fn embedding_for(
        &self,
        wish: &OrphanEvent,
    ) -> Result<Option<EmbeddingRecord>, EngineError> {
        if wish.command != (OrphanCommand::Retry { sign: true }) {
            return Ok(None);
        }
        let Some(upload) = self.uploaded(&wish.image).await? else {
            return Ok(None);
        };
        let spec = self.own.spec();
        let model = format!("{} {}", spec.model, spec.version);
        Ok(match self.sign(&self.own, &upload).await? {
            Ok(signature) => Some(EmbeddingRecord {
                model,
                vector: signature.embedding,
                time: wish.time,
                signed_here: true,
            }),
            Err(_) => None,
        })
    }

    async fn uploaded(&self, image: &ImageId) -> Result<Option<UploadEvent>, StoreError> {
        let row = self.state.get(&upload_key(image)).await?;
        row.map(|row| decode("upload", &row)).transpose()
    }

    /// Returns the signature, or why there can be none. An error is one that may pass.
    async fn sign(
        &self,
        signer: &Signer,
        upload: &UploadEvent,
    ) -> Result<Result<Signature, Rejection>, EngineError> {
        let Some(bytes) = self.bytes(upload).await? else {
            // Never expected: the object is durable before the event is. Rejecting keeps the
            // stream going; the digest stays on record for whoever restores the object.
            error!(id = %upload.id, sha256 = %upload.sha256, "bytes of an acknowledged upload are missing");
            return Ok(Err(Rejection {
                code: "bytes_missing".to_owned(),
                message: "the stored bytes are gone; upload the image again under another id"
                    .to_owned(),
            }));
        };
        match signer.sign(bytes).await {
            Ok(signature) => Ok(Ok(signature)),
            Err(SignatureError::Decode(error)) => Ok(Err(Rejection {
                code: error.code().to_owned(),
                message: error.to_string(),
            })),
            Err(SignatureError::Panicked(panic)) => {
                error!(id = %upload.id, sha256 = %upload.sha256, %panic, "decoder panicked");
                Ok(Err(Rejection {
                    code: "decoder_failed".to_owned(),
                    message: "the decoder failed on this file; convert it to PNG or JPEG anew"
                        .to_owned(),
                }))
            }
            // The model answered, and the answer has no direction: it will be the same next time.
            Err(SignatureError::Model(error @ ModelError::BadOutput { .. })) => {
                Ok(Err(Rejection {
                    code: "no_embedding".to_owned(),
                    message: error.to_string(),
                }))
            }
            Err(SignatureError::Model(error)) => Err(error.into()),
        }
    }

    async fn bytes(&self, upload: &UploadEvent) -> StoreResult<Option<bytes::Bytes>> {
        self.objects.get(&image_path(&upload.sha256)?).await
    }
}
