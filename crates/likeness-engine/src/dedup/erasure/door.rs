//! The door for erasures: durable before it is acknowledged, idempotent by image.

use std::time::Duration;

use likeness_core::{ImageId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Digest;
use utoipa::ToSchema;

use super::finish::sharing;
use super::{CLAIM_OF_ERASED, ErasedRecord, erased, erasing_key};
use crate::EngineError;
use crate::dedup::assign_stage::totals;
use crate::dedup::corrections::apply::{Bench, apply_event};
use crate::dedup::corrections::{Command, CorrectionEvent, CorrectionOutcome, NewCorrection};
use crate::dedup::records::UploadEvent;
use crate::dedup::tables::{claim_key, upload_key};
use crate::dedup::{Dedup, OrphanCommand};

/// How often it is looked whether the bytes are gone: they are deleted right after the commit.
const POLL: Duration = Duration::from_millis(10);
/// Most images named that share the bytes.
const MAX_SHARING_SHOWN: usize = 20;

/// An erasure to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewErasure {
    /// The image.
    pub image: ImageId,
    /// Who wants it.
    pub author: String,
    /// Why.
    pub reason: String,
}

/// What is left of an erased image: its tombstone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErasureView {
    /// Its id. It is not given again.
    pub id: String,
    /// Its number; absent if it could not be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// When its erasure was accepted.
    pub erased_ms: u64,
    /// Who wanted it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// Sequence number of the correction that it was.
    pub correction: u64,
    /// Whether its bytes are gone as well, which follows at once; a crash may put it off until the next start.
    pub is_finished: bool,
}

/// What an erasure would do now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErasurePlan {
    /// Id of the image.
    pub id: String,
    /// Size of its bytes.
    pub num_bytes: u64,
    /// Whether the bytes go too. They stay if other images have the same.
    pub deletes_bytes: bool,
    /// Other images with the same bytes, at most 20.
    pub shares_bytes_with: Vec<String>,
    /// Canonical id of its cluster; absent if it is in none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical_id: Option<String>,
    /// Whether its cluster goes with it, having no other image.
    pub is_cluster_gone: bool,
    /// The head that its cluster gets, if it is the head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_head: Option<String>,
    /// Pairs with it that must never or always be together, which are lifted.
    pub constraints: u64,
    /// Rows that are written or deleted, those of the index apart.
    pub rows: u64,
    /// Events in the log that are replaced by tombstones.
    pub events: u64,
}

impl ErasedRecord {
    fn view(self, id: &ImageId, is_finished: bool) -> ErasureView {
        ErasureView {
            id: id.to_string(),
            number: self.number.map(|number| number.0),
            erased_ms: self.erased.0,
            author: self.author,
            reason: self.reason,
            correction: self.correction,
            is_finished,
        }
    }
}

impl Dedup {
    /// Erases an image, for good. Durable when it returns; waits until nothing is left of it, for at most
    /// `timeout`, and returns nothing if that is not reached: then the same call may be repeated. An image that
    /// was erased before is not an error: whoever did it first is told. One that waits for embeddings is given up
    /// as an orphan first.
    ///
    /// # Errors
    /// [`EngineError::ImageNotFound`]; [`EngineError::InvalidParameter`] if a text is too long;
    /// [`EngineError::Overloaded`]; if it could not be made durable.
    pub async fn erase(
        &self,
        erasure: NewErasure,
        timeout: Duration,
    ) -> Result<Option<ErasureView>, EngineError> {
        let image = erasure.image.clone();
        let deadline = tokio::time::Instant::now() + timeout;
        if self.erasure(&image).await?.is_none() {
            self.check_claimed(&image).await?;
            self.give_up_waiting(&erasure, timeout).await?;
            let command = Command::Erase {
                image: image.clone(),
            };
            // Follows from the image, so that a call that is repeated is the same erasure.
            let digest = likeness_core::Sha256(sha2::Sha256::digest(image.as_bytes()).into());
            let id = ImageId::new(format!("erase-{}", &digest.to_string()[..32]))?;
            let accepted = self
                .correct(NewCorrection {
                    id: Some(id.clone()),
                    author: erasure.author,
                    reason: erasure.reason,
                    command,
                })
                .await;
            match accepted {
                Ok(_) => {}
                // Somebody else was first, and gave another reason.
                Err(EngineError::InvalidParameter { name: "id", .. }) => {}
                Err(error) => return Err(error),
            }
            let Some(view) = self.wait_for_correction(&id, timeout).await? else {
                return Ok(None);
            };
            if let CorrectionOutcome::Refused { code, message } = view.outcome
                && code != "already_erased"
            {
                return Err(EngineError::InvalidParameter {
                    name: "image",
                    reason: format!("not erased ({code}): {message}"),
                });
            }
        }
        loop {
            match self.erasure(&image).await? {
                Some(view) if view.is_finished => return Ok(Some(view)),
                _ if tokio::time::Instant::now() >= deadline => return Ok(None),
                _ => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Returns the tombstone of an image; nothing if it was not erased.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn erasure(&self, id: &ImageId) -> Result<Option<ErasureView>, EngineError> {
        let state = self.ports.state.as_ref();
        let Some(record) = erased(state, id).await? else {
            return Ok(None);
        };
        let is_finished = state.get(&erasing_key(id)).await?.is_none();
        Ok(Some(record.view(id, is_finished)))
    }

    /// Tells what the erasure of an image would do, and does nothing.
    ///
    /// # Errors
    /// [`EngineError::ImageNotFound`], [`EngineError::Erased`], [`EngineError::NotDecided`]; if a store fails.
    pub async fn plan_erasure(&self, id: &ImageId) -> Result<ErasurePlan, EngineError> {
        self.check_claimed(id).await?;
        let upload: Option<UploadEvent> = self.row("upload", &upload_key(id)).await?;
        let upload = upload.ok_or_else(|| EngineError::ImageNotFound(id.clone()))?;
        let decision = self.decision(id).await?;
        let decision = decision.ok_or_else(|| EngineError::NotDecided(id.clone()))?;
        let state = self.ports.state.as_ref();
        let bench = Bench {
            state,
            log: self.ports.log.as_ref(),
            scorer: &self.scorer,
            limits: self.config.banks,
            keeper: self.config.keeper,
        };
        let event = CorrectionEvent {
            id: ImageId::generate(),
            author: String::new(),
            reason: String::new(),
            time: Timestamp::now(),
            command: Command::Erase { image: id.clone() },
            heads: Vec::new(),
        };
        let before = totals(state).await?;
        let planned = apply_event(&bench, before, event).await?;
        let planned = planned.ok_or_else(|| EngineError::NotDecided(id.clone()))?;
        let Some(erased) = planned.erased else {
            return Err(EngineError::NotDecided(id.clone()));
        };
        let mut sharing = sharing(state, &upload.sha256, MAX_SHARING_SHOWN + 1).await?;
        sharing.retain(|other| other.as_str() != id.as_str());
        sharing.truncate(MAX_SHARING_SHOWN);
        let new_head = erased
            .heads
            .into_iter()
            .find(|(cluster, _)| Some(cluster.as_str()) == decision.canonical_id.as_deref());
        Ok(ErasurePlan {
            id: id.to_string(),
            num_bytes: upload.num_bytes,
            deletes_bytes: sharing.is_empty(),
            shares_bytes_with: sharing,
            canonical_id: decision.canonical_id,
            is_cluster_gone: erased.is_cluster_gone,
            new_head: new_head.map(|(_, head)| head.id.to_string()),
            constraints: before.constraints - planned.totals.constraints,
            rows: planned.writes.len() as u64,
            events: planned.redactions.len() as u64,
        })
    }

    /// An image that waits for embeddings from elsewhere is given up as an orphan first: it would never be decided.
    async fn give_up_waiting(
        &self,
        erasure: &NewErasure,
        timeout: Duration,
    ) -> Result<(), EngineError> {
        let image = &erasure.image;
        if self.config.join.kinds.is_empty() || self.image(image).await?.waiting_for.is_empty() {
            return Ok(());
        }
        let (author, reason) = (erasure.author.clone(), erasure.reason.clone());
        self.orphan(image, OrphanCommand::Drop, author, reason, timeout)
            .await?;
        Ok(())
    }

    /// Makes sure that an image was uploaded and not erased.
    async fn check_claimed(&self, id: &ImageId) -> Result<(), EngineError> {
        match self.ports.state.get(&claim_key(id)).await? {
            None => Err(EngineError::ImageNotFound(id.clone())),
            Some(claim) if claim == CLAIM_OF_ERASED => Err(EngineError::Erased(id.clone())),
            Some(_) => Ok(()),
        }
    }
}
