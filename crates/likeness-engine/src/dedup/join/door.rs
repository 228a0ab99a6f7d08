//! The doors for embeddings and for wishes about orphans: durable before they are acknowledged.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use likeness_core::log::Offset;
use likeness_core::state::Key;
use likeness_core::step::{Claim, Durability, Emit, Step, StepOutcome};
use likeness_core::{ImageId, Timestamp};
use likeness_index::bf16;
use likeness_vision::runtime::Embedding;
use serde::{Deserialize, Serialize};
use sha2::Digest;
use utoipa::ToSchema;

use super::{
    EMBEDDING_MARK, EmbeddingEvent, JoinRow, ORPHAN_MARK, OrphanCommand, OrphanEvent,
    OrphanOutcome, Place, claim_key, join_key, marked,
};
use crate::EngineError;
use crate::dedup::Dedup;
use crate::dedup::erasure::CLAIM_OF_ERASED;
use crate::dedup::tables::{
    PARTITION, SIGNATURE_STAGE, UPLOADS, canonical_key, claim_key as upload_claim_key, upload_key,
};
use crate::dedup::upload::decode_decision;
use crate::dedup::view::DecisionKind;
use crate::metrics::EMBEDDINGS_TOTAL;

/// Most embeddings of one call; more are refused.
pub const MAX_EMBEDDINGS: usize = 1_000;
/// Event time that may lie ahead of the clock here; more is refused, for one event far ahead would make
/// orphans of all that wait.
pub const MAX_AHEAD: Duration = Duration::from_secs(300);
/// Embeddings of one call that are committed at once, so that they are synced together.
const CONCURRENCY: usize = 64;
/// Longest author and reason, in bytes; longer ones are refused.
const MAX_TEXT_BYTES: usize = 1_024;
/// How often a wish is looked after.
const POLL: Duration = Duration::from_millis(20);

/// An embedding to join.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEmbedding {
    /// The image.
    pub image: ImageId,
    /// Its kind, one of [`JoinConfig::kinds`](super::JoinConfig::kinds).
    pub kind: String,
    /// The model that made it.
    pub model: String,
    /// Finite, not all zero, of the kind's dimension. Its length is of no account.
    pub vector: Vec<f32>,
    /// When it was made; now, if absent.
    pub time: Option<Timestamp>,
}

/// What became of an embedding at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingOutcome {
    /// It is durable.
    Stored,
    /// It was stored before; nothing was done.
    Existed,
    /// Another one is stored under its image and kind, and stays.
    Conflict,
}

/// Answer to an embedding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EmbeddingReceipt {
    /// The image.
    pub image: String,
    /// The kind.
    pub kind: String,
    /// What became of it.
    pub outcome: EmbeddingOutcome,
}

/// Answer to a wish about an orphan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrphanReceipt {
    /// The image.
    pub image: String,
    /// How it stands; absent if that was not known in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<OrphanOutcome>,
}

/// An embedding that was checked.
struct Checked {
    event: EmbeddingEvent,
    digest: Bytes,
}

impl Dedup {
    /// Takes embeddings; durable when it returns. All are checked before the first is stored; of those that
    /// pass, each is an event of its own. Receipts come in the order of the embeddings.
    ///
    /// # Errors
    /// - [`EngineError::InvalidParameter`] names the field that is wrong, and which embedding of several.
    /// - [`EngineError::Overloaded`] if too much waits for its partner; what has its partner is taken.
    /// - [`EngineError::Store`] if one could not be made durable: the same call may be repeated.
    pub async fn push_embeddings(
        &self,
        embeddings: Vec<NewEmbedding>,
    ) -> Result<Vec<EmbeddingReceipt>, EngineError> {
        let count = embeddings.len();
        if count > MAX_EMBEDDINGS {
            return Err(invalid(
                "embeddings",
                format!("{count} in one call, at most {MAX_EMBEDDINGS} are taken"),
            ));
        }
        let now = Timestamp::now();
        let checked = embeddings
            .into_iter()
            .enumerate()
            .map(|(idx, embedding)| {
                self.check(embedding, now).map_err(|error| match error {
                    EngineError::InvalidParameter { name, reason } if count > 1 => {
                        invalid(name, format!("of embedding {}: {reason}", idx + 1))
                    }
                    error => error,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let _admission = self.admit(0)?;
        futures::stream::iter(checked)
            .map(|checked| self.store_embedding(checked))
            .buffered(CONCURRENCY)
            .try_collect()
            .await
    }

    fn check(&self, embedding: NewEmbedding, now: Timestamp) -> Result<Checked, EngineError> {
        let join = &self.config.join;
        let NewEmbedding {
            image,
            kind,
            model,
            vector,
            time,
        } = embedding;
        let Some(known) = join.kind(&kind) else {
            let names: Vec<&str> = join.kinds.iter().map(|kind| kind.name.as_str()).collect();
            return Err(invalid(
                "kind",
                if names.is_empty() {
                    "no embeddings are taken; `dedup.join.kinds` says which".to_owned()
                } else {
                    format!("`{kind}` is none of `{}`", names.join("`, `"))
                },
            ));
        };
        if model != known.model {
            return Err(invalid(
                "model",
                format!("`{kind}` is made by `{}`, not by `{model}`", known.model),
            ));
        }
        if vector.len() != known.dimension {
            return Err(invalid(
                "vector",
                format!(
                    "has {} components, `{kind}` has {}",
                    vector.len(),
                    known.dimension
                ),
            ));
        }
        if let Some(idx) = vector.iter().position(|component| !component.is_finite()) {
            return Err(invalid("vector", format!("component {idx} is not finite")));
        }
        let unit = Embedding::normalised(vector).map_err(|_| {
            invalid(
                "vector",
                "all components are zero, or too large to be scaled",
            )
        })?;
        let time = time.unwrap_or(now);
        if time > now.plus(MAX_AHEAD) {
            return Err(invalid(
                "event_time_ms",
                format!(
                    "lies {} s ahead of the clock here, at most {} are taken",
                    time.since(now).as_secs(),
                    MAX_AHEAD.as_secs()
                ),
            ));
        }
        let vector = Bytes::from(bf16::to_le_bytes(&bf16::encode(unit.as_slice())));
        Ok(Checked {
            digest: digest(&model, &vector),
            event: EmbeddingEvent {
                image,
                kind,
                model,
                vector,
                time,
            },
        })
    }

    async fn store_embedding(&self, checked: Checked) -> Result<EmbeddingReceipt, EngineError> {
        let Checked { event, digest } = checked;
        let (image, kind) = (event.image.clone(), event.kind.clone());
        let claim = Claim {
            key: claim_key(&image, &kind),
            value: digest.clone(),
        };
        let receipt = |outcome| {
            let label = match outcome {
                EmbeddingOutcome::Stored => "stored",
                EmbeddingOutcome::Existed => "existed",
                EmbeddingOutcome::Conflict => "conflict",
            };
            metrics::counter!(EMBEDDINGS_TOTAL, "outcome" => label).increment(1);
            EmbeddingReceipt {
                image: image.to_string(),
                kind: kind.clone(),
                outcome,
            }
        };
        let compared = |existing: &Bytes| match *existing == digest {
            true => EmbeddingOutcome::Existed,
            false => EmbeddingOutcome::Conflict,
        };
        let taken = self.ports.state.get(&upload_claim_key(&image)).await?;
        if taken.is_some_and(|claim| claim == CLAIM_OF_ERASED) {
            return Err(EngineError::Erased(image));
        }
        if let Some(existing) = self.ports.state.get(&claim.key).await? {
            return Ok(receipt(compared(&existing)));
        }
        self.check_room(&upload_key(&image)).await?;
        let step = Step {
            claim: Some(claim),
            emits: vec![Emit {
                topic: UPLOADS,
                partition: PARTITION,
                records: vec![marked(EMBEDDING_MARK, &image, &event)],
            }],
            ..Step::default()
        };
        Ok(receipt(match self.commit_wish(step).await? {
            StepOutcome::Committed(_) => EmbeddingOutcome::Stored,
            StepOutcome::AlreadyCommitted => EmbeddingOutcome::Existed,
            StepOutcome::Conflict(existing) => compared(&existing),
        }))
    }

    /// Refuses what would wait for a partner, while too much does. `partner` is a row that its partner has.
    async fn check_room(&self, partner: &Key) -> Result<(), EngineError> {
        if self.joins.unjoined() < self.config.join.max_unjoined
            || self.ports.state.get(partner).await?.is_some()
        {
            return Ok(());
        }
        Err(EngineError::Overloaded {
            reason: "too many uploads and embeddings wait for their partner; see `likeness orphans list`",
            retry_after: Duration::from_secs(30),
        })
    }

    /// As [`check_room`](Self::check_room), for an upload.
    pub(in crate::dedup) async fn check_room_for_upload(
        &self,
        image: &ImageId,
    ) -> Result<(), EngineError> {
        for kind in self.config.join.required_kinds() {
            self.check_room(&claim_key(image, kind)).await?;
        }
        Ok(())
    }

    /// Commits an event for the signature stage, counted until it is dealt with.
    async fn commit_wish(&self, step: Step) -> Result<StepOutcome, EngineError> {
        self.backlog.stored();
        let outcome = self.ports.steps.commit(step, Durability::Synced).await;
        if !matches!(outcome, Ok(StepOutcome::Committed(_))) {
            self.backlog.done(1);
        }
        Ok(outcome?)
    }

    /// Does something with an orphan, or with an image that waits; durable when it returns, and waited for as
    /// long as `timeout`.
    ///
    /// # Errors
    /// [`EngineError::NotWaiting`] if nothing waits under this id; [`EngineError::InvalidParameter`] if a text
    /// is too long, or a kind that is missing cannot be computed here; [`EngineError::Overloaded`]; if a store
    /// fails.
    pub async fn orphan(
        &self,
        image: &ImageId,
        command: OrphanCommand,
        author: String,
        reason: String,
        timeout: Duration,
    ) -> Result<OrphanReceipt, EngineError> {
        check_text("author", &author)?;
        check_text("reason", &reason)?;
        let row: Option<JoinRow> = self.row("join", &join_key(image)).await?;
        let row = row
            .filter(|row| matches!(row.place, Place::Waiting(_) | Place::Orphan(_)))
            .ok_or_else(|| EngineError::NotWaiting(image.clone()))?;
        if let OrphanCommand::Retry { sign: true } = command {
            self.check_signable(&row)?;
        }
        let _admission = self.admit(0)?;
        let event = OrphanEvent {
            image: image.clone(),
            author,
            reason,
            time: Timestamp::now(),
            command,
        };
        let step = Step {
            emits: vec![Emit {
                topic: UPLOADS,
                partition: PARTITION,
                records: vec![marked(ORPHAN_MARK, image, &event)],
            }],
            ..Step::default()
        };
        let outcome = match self.commit_wish(step).await? {
            StepOutcome::Committed(offsets) => match offsets.last() {
                Some(&offset) => self.wait_for_wish(image, command, offset, timeout).await?,
                None => None,
            },
            StepOutcome::AlreadyCommitted | StepOutcome::Conflict(_) => None,
        };
        Ok(OrphanReceipt {
            image: image.to_string(),
            outcome,
        })
    }

    fn check_signable(&self, row: &JoinRow) -> Result<(), EngineError> {
        if row.upload.is_none() {
            return Err(invalid(
                "sign",
                "the upload is missing, so there is nothing to sign",
            ));
        }
        for kind in row.missing(&self.config.join) {
            if !self.signs(&kind) {
                return Err(invalid(
                    "sign",
                    format!(
                        "`{kind}` is of another model than `{}`, which runs here",
                        self.own_model
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Whether the model that runs here makes embeddings of a kind.
    fn signs(&self, kind: &str) -> bool {
        let kind = self.config.join.kind(kind);
        kind.is_some_and(|kind| kind.is_made_by(self.signer.spec()))
    }

    async fn wait_for_wish(
        &self,
        image: &ImageId,
        command: OrphanCommand,
        offset: Offset,
        timeout: Duration,
    ) -> Result<Option<OrphanOutcome>, EngineError> {
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            let position = self
                .ports
                .steps
                .position(SIGNATURE_STAGE, UPLOADS, PARTITION)
                .await?;
            if position > offset {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = self.shutdown.cancelled() => return Err(EngineError::ShuttingDown),
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(None);
            }
        }
        let row: Option<JoinRow> = self.row("join", &join_key(image)).await?;
        Ok(Some(match row.map(|row| row.place) {
            Some(Place::Waiting(_) | Place::Orphan(_)) => OrphanOutcome::Waiting,
            None | Some(Place::Nowhere) => OrphanOutcome::Dropped,
            Some(Place::Joined(_)) if command == OrphanCommand::Drop => {
                // It may have got its partner just before.
                let row = self.ports.state.get(&canonical_key(image)).await?;
                let decision = row.map(|row| decode_decision(&row)).transpose()?;
                match decision.map(|decision| decision.kind) {
                    Some(DecisionKind::NewCluster | DecisionKind::Joined) => OrphanOutcome::Nothing,
                    Some(DecisionKind::Rejected) | None => OrphanOutcome::Dropped,
                }
            }
            Some(Place::Joined(_)) => OrphanOutcome::Joined,
        }))
    }
}

/// Returns what the claim of an embedding holds.
pub(super) fn digest(model: &str, vector: &[u8]) -> Bytes {
    let mut hasher = sha2::Sha256::new();
    hasher.update(model.as_bytes());
    hasher.update([0]);
    hasher.update(vector);
    Bytes::copy_from_slice(&hasher.finalize())
}

fn check_text(name: &'static str, text: &str) -> Result<(), EngineError> {
    if (1..=MAX_TEXT_BYTES).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(invalid(
        name,
        format!("must be 1 to {MAX_TEXT_BYTES} bytes of text without control characters"),
    ))
}

fn invalid(name: &'static str, reason: impl Into<String>) -> EngineError {
    EngineError::InvalidParameter {
        name,
        reason: reason.into(),
    }
}
