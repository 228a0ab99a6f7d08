//! Second stage: asks the index what an image is like.
//!
//! What it finds depends on when it looks. It is work done ahead for the score stage and for explanations;
//! the assign stage looks for itself (`live_index/decision.rs`).

use std::sync::Arc;

use async_trait::async_trait;
use likeness_core::log::{Record, Topic};
use likeness_core::state::StateStore;
use likeness_core::step::{Consumer, Durability, Emit, Position, Step, StepStore};
use likeness_core::{StoreError, StoreResult, fault};
use tracing::warn;

use super::compare::ViewsMode;
use super::erasure::erased;
use super::live_index::{Found, LiveIndex, unite};
use super::pairs::{EXPLAINED, Subject};
use super::records::{CandidatesEvent, Signature, SignatureEvent, UploadEvent};
use super::stage::{Passing, Stage, passed_on};
use super::tables::{
    CANDIDATES, CANDIDATES_STAGE, PARTITION, SIGNATURES, decode, event, signature_key,
};
use crate::EngineError;
use crate::cpu::CpuPool;
use crate::metrics::CANDIDATES_PER_IMAGE;

/// Signatures in, candidates out.
#[derive(Debug)]
pub(super) struct CandidatesStage {
    pub(super) state: Arc<dyn StateStore>,
    pub(super) steps: Arc<dyn StepStore>,
    pub(super) index: Arc<LiveIndex>,
    pub(super) cpu: CpuPool,
    /// Most candidates per image.
    pub(super) limit: usize,
    /// Cosine under which a pair cannot be near.
    pub(super) floor: f32,
    /// Which views are compared.
    pub(super) views: ViewsMode,
}

#[async_trait]
impl Stage for CandidatesStage {
    const NAME: &'static str = "candidates";
    const INPUT: Topic = SIGNATURES;
    const CONSUMER: Consumer = CANDIDATES_STAGE;

    type Item = Passing<CandidatesEvent>;

    async fn prepare(&self, record: Record) -> Result<Self::Item, EngineError> {
        if let Some(correction) = passed_on(&record) {
            return Ok(Passing::Correction(correction));
        }
        let SignatureEvent {
            upload,
            rejection,
            mut places,
        } = decode("signatures", &record.payload)?;
        places.signatures = Some(record.offset);
        if rejection.is_some() {
            return Ok(Passing::Image(CandidatesEvent {
                upload,
                rejection,
                num_indexed: 0,
                is_exact: true,
                candidates: Vec::new(),
                places,
            }));
        }
        let subject = match subject(self.state.as_ref(), &upload, self.views).await {
            // A repetition of an event; the last stage knows what to do with it.
            Err(EngineError::Erased(_)) => {
                return Ok(Passing::Image(CandidatesEvent {
                    upload,
                    rejection: None,
                    num_indexed: 0,
                    is_exact: true,
                    candidates: Vec::new(),
                    places,
                }));
            }
            outcome => outcome?,
        };
        let (index, limit, floor) = (Arc::clone(&self.index), self.limit, self.floor);
        let image = subject.descriptors.clone();
        let (mut found, by_views) = self
            .cpu
            .run(move || -> StoreResult<_> {
                let found = index.search(&image.vector, limit, floor, EXPLAINED)?;
                Ok((found, index.search_views(&image, limit, floor)?))
            })
            .await
            .map_err(|panic| StoreError::corrupt("index", "search", panic.to_string()))??;
        if found.is_due {
            self.audit(subject.descriptors.vector, &found);
        }
        found.candidates = unite(found.candidates, by_views, limit);
        metrics::histogram!(CANDIDATES_PER_IMAGE).record(found.candidates.len() as f64);
        Ok(Passing::Image(CandidatesEvent {
            upload,
            rejection: None,
            num_indexed: found.num_indexed,
            is_exact: found.is_exact,
            candidates: found.candidates,
            places,
        }))
    }

    async fn commit(&self, items: Vec<Self::Item>, position: Position) -> Result<(), EngineError> {
        let records = items
            .into_iter()
            .map(|item| item.into_record(|item| event(&item.upload.id, &item)))
            .collect();
        fault::point("candidates.before_commit");
        let step = Step {
            emits: vec![Emit {
                topic: CANDIDATES,
                partition: PARTITION,
                records,
            }],
            positions: vec![position],
            ..Step::default()
        };
        self.steps.commit(step, Durability::Process).await?;
        fault::point("candidates.after_commit");
        Ok(())
    }
}

impl CandidatesStage {
    /// Has a search looked at again, on a thread that otherwise idles: no image waits for it.
    fn audit(&self, query: Vec<f32>, found: &Found) {
        let index = Arc::clone(&self.index);
        let (num_indexed, candidates) = (found.num_indexed, found.candidates.clone());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = index.audit(&query, num_indexed, &candidates) {
                warn!(%error, "cannot audit a search");
            }
        });
    }
}

/// Reads the signature of an upload that has one.
///
/// # Errors
/// [`EngineError::Erased`] if the image was erased; [`StoreError::Corrupt`] if the signature is missing.
pub(super) async fn subject(
    state: &dyn StateStore,
    upload: &UploadEvent,
    views: ViewsMode,
) -> Result<Subject, EngineError> {
    let row = state.get(&signature_key(&upload.id)).await?;
    if row.is_none() && erased(state, &upload.id).await?.is_some() {
        return Err(EngineError::Erased(upload.id.clone()));
    }
    let row = row.ok_or_else(|| {
        StoreError::corrupt(
            "state",
            format!("signature/{}", upload.id),
            "missing, though its event says that it was written",
        )
    })?;
    let signature: Signature = decode("signature", &row)?;
    Ok(Subject::new(upload.sha256, signature, views)?)
}
