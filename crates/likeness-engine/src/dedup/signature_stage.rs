//! First stage: reads an upload's bytes and computes its signature.

use std::sync::Arc;

use async_trait::async_trait;
use likeness_core::log::{Record, Topic};
use likeness_core::objects::ObjectStore;
use likeness_core::state::Write;
use likeness_core::step::{Consumer, Durability, Emit, Position, Step, StepStore};
use likeness_core::{StoreResult, fault};
use likeness_vision::runtime::ModelError;
use tracing::error;

use super::banks::sign_references;
use super::corrections::{CorrectionEvent, passed_on};
use super::objects::image_path;
use super::records::{Signature, SignatureEvent, UploadEvent};
use super::signature::{SignatureError, Signer};
use super::stage::{Passing, Stage};
use super::tables::{
    PARTITION, SIGNATURE_STAGE, SIGNATURES, UPLOADS, decode, encode, event, signature_key,
};
use super::view::Rejection;
use crate::EngineError;

/// Uploads in, signatures out.
#[derive(Debug)]
pub(super) struct SignatureStage {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) steps: Arc<dyn StepStore>,
    pub(super) signer: Signer,
}

/// An upload with its signature, or with what is wrong with it.
#[derive(Debug)]
pub(super) struct Signed {
    upload: UploadEvent,
    outcome: Result<Signature, Rejection>,
}

#[async_trait]
impl Stage for SignatureStage {
    const NAME: &'static str = "signature";
    const INPUT: Topic = UPLOADS;
    const CONSUMER: Consumer = SIGNATURE_STAGE;

    type Item = (Passing<Signed>, Vec<Write>);

    async fn prepare(&self, record: Record) -> Result<Self::Item, EngineError> {
        if let Some(correction) = passed_on(&record) {
            let event: CorrectionEvent = decode("uploads", &correction.payload)?;
            let objects = self.objects.as_ref();
            let signatures = sign_references(&event, &self.signer, objects).await?;
            return Ok((Passing::Correction(correction), signatures));
        }
        let upload: UploadEvent = decode("uploads", &record.payload)?;
        let outcome = self.sign(&upload).await?;
        Ok((Passing::Image(Signed { upload, outcome }), Vec::new()))
    }

    async fn commit(&self, items: Vec<Self::Item>, position: Position) -> Result<(), EngineError> {
        let mut writes = Vec::with_capacity(items.len());
        let mut records = Vec::with_capacity(items.len());
        for (item, references) in items {
            writes.extend(references);
            records.push(item.into_record(|Signed { upload, outcome }| {
                let rejection = match outcome {
                    Ok(signature) => {
                        writes.push(Write::Put(signature_key(&upload.id), encode(&signature)));
                        None
                    }
                    Err(rejection) => Some(rejection),
                };
                let id = upload.id.clone();
                event(&id, &SignatureEvent { upload, rejection })
            }));
        }
        fault::point("signature.before_commit");
        let step = Step {
            claim: None,
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
}

impl SignatureStage {
    /// Returns the signature, or why there can be none. An error is one that may pass.
    async fn sign(
        &self,
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
        match self.signer.sign(bytes).await {
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
