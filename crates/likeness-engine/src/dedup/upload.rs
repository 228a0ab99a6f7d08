//! The door for images: durable before it is acknowledged, idempotent, and shut before memory
//! grows.

use std::time::Duration;

use bytes::Bytes;
use likeness_core::objects::PutOutcome;
use likeness_core::state::Write;
use likeness_core::step::{Claim, Durability, Emit, Step, StepOutcome};
use likeness_core::{ImageId, Sha256, StoreError, StoreResult, Timestamp, fault};
use likeness_vision::decode::probe;
use sha2::Digest;

use super::Dedup;
use super::backlog::Admission;
use super::erasure::{CLAIM_OF_ERASED, same_bytes_key};
use super::objects::image_path;
use super::records::{ClusterRecord, UploadEvent};
use super::tables::{
    PARTITION, UPLOADS, canonical_key, claim_key, cluster_key, encode, event, upload_key,
};
use super::view::{Decision, UploadReceipt};
use crate::EngineError;
use crate::metrics::UPLOADS_TOTAL;

/// Longest name kept with an image, in bytes; longer ones are cut.
const MAX_NAME_BYTES: usize = 512;

/// An image to store.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// Its id; one is generated if absent.
    pub id: Option<ImageId>,
    /// A name to show, such as a file name. Cut at 512 bytes; control characters are replaced.
    pub name: Option<String>,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Dedup {
    /// Returns the right to hold `num_bytes` of an upload in memory. Ask before reading a body.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`] at once when too much is pending or being received,
    /// [`EngineError::ShuttingDown`].
    pub fn admit(&self, num_bytes: u64) -> Result<Admission, EngineError> {
        if self.health.is_stopping() {
            return Err(EngineError::ShuttingDown);
        }
        let admission = self.backlog.admit(num_bytes);
        if admission.is_err() {
            metrics::counter!(UPLOADS_TOTAL, "outcome" => "refused").increment(1);
        }
        admission
    }

    /// Stores an image; durable when it returns. Its decision follows.
    ///
    /// # Errors
    /// - [`EngineError::Image`] if the header shows that it cannot be decoded. Damage further in is
    ///   found later: then the decision is a rejection.
    /// - [`EngineError::Conflict`] if the id is taken by other bytes, [`EngineError::Erased`] if it was that of
    ///   an image that was erased.
    /// - [`EngineError::Store`] if it could not be made durable; the same call may be repeated.
    pub async fn upload(&self, image: NewImage) -> Result<UploadReceipt, EngineError> {
        let outcome = self.store(image).await;
        let label = match &outcome {
            Ok(receipt) if receipt.existed => "existed",
            Ok(_) => "created",
            Err(_) => "refused",
        };
        metrics::counter!(UPLOADS_TOTAL, "outcome" => label).increment(1);
        outcome
    }

    async fn store(&self, image: NewImage) -> Result<UploadReceipt, EngineError> {
        if self.health.is_stopping() {
            return Err(EngineError::ShuttingDown);
        }
        let info = probe(&image.bytes, &self.config.limits)?;
        let sha256 = digest(&image.bytes);
        let id = image.id.unwrap_or_else(ImageId::generate);
        let claim = Claim {
            key: claim_key(&id),
            value: Bytes::copy_from_slice(&sha256.0),
        };
        // A cheap look before the bytes are written; the commit below decides.
        // Bytes that are put are not deleted by an erasure of equal ones before the upload is committed.
        let _using = self.object_locks.using(&sha256).await;
        if let Some(existing) = self.ports.state.get(&claim.key).await? {
            self.check_same(&id, &sha256, &existing)?;
            if self.ports.state.get(&upload_key(&id)).await?.is_some() {
                return Ok(receipt(&id, &sha256, true));
            }
        }

        self.check_room_for_upload(&id).await?;
        fault::point("upload.before_object");
        self.put_bytes(&sha256, image.bytes.clone()).await?;
        fault::point("upload.before_commit");

        let upload = UploadEvent {
            id: id.clone(),
            name: image.name.map(|name| clean_name(&name)),
            sha256,
            num_bytes: image.bytes.len() as u64,
            format: info.format,
            uploaded: Timestamp::now(),
        };
        let step = Step {
            claim: Some(claim),
            writes: vec![
                Write::Put(upload_key(&id), encode(&upload)),
                Write::Put(same_bytes_key(&sha256, &id), Bytes::new()),
            ],
            emits: vec![Emit {
                topic: UPLOADS,
                partition: PARTITION,
                records: vec![event(&id, &upload)],
            }],
            ..Step::default()
        };
        // Counted first: the decision may come before this call returns.
        self.backlog.stored();
        let outcome = self.ports.steps.commit(step, Durability::Synced).await;
        if !matches!(outcome, Ok(StepOutcome::Committed(_))) {
            self.backlog.done(1);
        }
        fault::point("upload.after_commit");
        match outcome? {
            StepOutcome::Committed(_) => Ok(receipt(&id, &sha256, false)),
            StepOutcome::AlreadyCommitted => Ok(receipt(&id, &sha256, true)),
            StepOutcome::Conflict(existing) => {
                self.check_same(&id, &sha256, &existing)?;
                Ok(receipt(&id, &sha256, true))
            }
        }
    }

    /// Puts the bytes where their digest says. Bytes that are there already are read back and
    /// checked: what an interrupted disk left behind must not stand in for an upload.
    pub(super) async fn put_bytes(&self, sha256: &Sha256, bytes: Bytes) -> StoreResult<()> {
        let path = image_path(sha256)?;
        if self.ports.objects.put_new(&path, bytes.clone()).await? == PutOutcome::Created {
            return Ok(());
        }
        let there = self.ports.objects.get(&path).await?;
        if there.is_some_and(|there| there == bytes) {
            return Ok(());
        }
        self.ports.objects.put(&path, bytes).await
    }

    fn check_same(
        &self,
        id: &ImageId,
        sha256: &Sha256,
        existing: &[u8],
    ) -> Result<(), EngineError> {
        if existing == CLAIM_OF_ERASED {
            return Err(EngineError::Erased(id.clone()));
        }
        let existing: [u8; 32] = existing.try_into().map_err(|_| {
            StoreError::corrupt("state", format!("claims/{id}"), "not a SHA-256 digest")
        })?;
        if existing == sha256.0 {
            return Ok(());
        }
        Err(EngineError::Conflict {
            id: id.clone(),
            existing: Sha256(existing),
        })
    }

    /// Waits for the decision about an image. Returns nothing if it does not come within `timeout`.
    ///
    /// # Errors
    /// [`EngineError::ImageNotFound`]; if the store fails.
    pub async fn wait_for_decision(
        &self,
        id: &ImageId,
        timeout: Duration,
    ) -> Result<Option<Decision>, EngineError> {
        match self.ports.state.get(&claim_key(id)).await? {
            None => return Err(EngineError::ImageNotFound(id.clone())),
            Some(claim) if claim == CLAIM_OF_ERASED => return Err(EngineError::Erased(id.clone())),
            Some(_) => {}
        }
        // Registered before the look, so that a decision in between is not missed.
        let receiver = self.waiters.register(id);
        if let Some(decision) = self.decision(id).await? {
            drop(receiver);
            self.waiters.sweep(id);
            return Ok(Some(decision));
        }
        let outcome = tokio::select! {
            outcome = tokio::time::timeout(timeout, receiver) => outcome,
            () = self.shutdown.cancelled() => return Err(EngineError::ShuttingDown),
        };
        match outcome {
            Ok(Ok(decision)) => Ok(Some(decision)),
            // In time or not, another process may have decided: the row knows.
            Ok(Err(_)) | Err(_) => {
                self.waiters.sweep(id);
                self.decision(id).await
            }
        }
    }

    /// Returns the decision about an image, with the canonical id as it is now.
    pub(super) async fn decision(&self, id: &ImageId) -> Result<Option<Decision>, EngineError> {
        let row = self.ports.state.get(&canonical_key(id)).await?;
        let decision = row.map(|row| decode_decision(&row)).transpose()?;
        let Some(mut decision) = decision else {
            return Ok(None);
        };
        if let Some(canonical) = decision.canonical_id.take() {
            let canonical = ImageId::new(canonical)?;
            let cluster: Option<ClusterRecord> =
                self.row("clusters", &cluster_key(&canonical)).await?;
            // A merge rewrites no images: the old canonical id leads to the new one, in one step.
            let merged_into = cluster.and_then(|cluster| cluster.merged_into);
            decision.canonical_id = Some(merged_into.unwrap_or(canonical).to_string());
        }
        Ok(Some(decision))
    }
}

/// Reads a decision as the row or the event holds it.
pub(super) fn decode_decision(bytes: &[u8]) -> Result<Decision, EngineError> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError::corrupt("state", "decision", error.to_string()).into())
}

/// Returns the digest of an image's bytes.
pub(super) fn digest(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}

fn receipt(id: &ImageId, sha256: &Sha256, existed: bool) -> UploadReceipt {
    UploadReceipt {
        id: id.to_string(),
        sha256: sha256.to_string(),
        existed,
        waiting_for: Vec::new(),
        decision: None,
    }
}

/// Makes a name fit to be shown: no control characters, no text direction tricks, not too long.
pub(super) fn clean_name(name: &str) -> String {
    let is_harmless = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut clean = String::with_capacity(name.len().min(MAX_NAME_BYTES));
    for c in name.chars() {
        let c = if is_harmless(c) { c } else { '\u{fffd}' };
        if clean.len() + c.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        clean.push(c);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_control_characters_and_direction_marks() {
        assert_eq!(clean_name("a\r\nb\0"), "a\u{fffd}\u{fffd}b\u{fffd}");
        assert_eq!(clean_name("gpj.\u{202e}exe"), "gpj.\u{fffd}exe");
        assert_eq!(clean_name("Grüße.jpg"), "Grüße.jpg");
    }

    #[test]
    fn names_are_cut_between_characters() {
        let name = clean_name(&"ü".repeat(400));
        assert_eq!(name.len(), 512);
        assert!(name.chars().all(|c| c == 'ü'));
    }
}
