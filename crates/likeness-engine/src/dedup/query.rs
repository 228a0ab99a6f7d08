//! Questions about images and decisions; nothing is changed. Lists of clusters: `clusters.rs`.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use likeness_core::log::{Offset, ReadLimits};
use likeness_core::objects::PutOutcome;
use likeness_core::{ImageId, Sha256, StoreError};
use likeness_vision::decode::decode as decode_image;
use likeness_vision::thumbnail::thumbnail_jpeg;

use super::Dedup;
use super::assign_stage::totals;
use super::erasure::{erased, is_tombstone};
use super::join::JoinTotals;
use super::objects::{image_path, thumbnail_path};
use super::records::{ClusterRecord, ExplainRecord, ScoredCandidate, Signature, UploadEvent};
use super::tables::{
    DECISIONS, PARTITION, cluster_key, decode, explain_key, signature_key, upload_key,
};
use super::upload::decode_decision;
use super::view::{
    CandidateView, DecisionEvent, DecisionKind, ExplainView, ImageStatus, ImageView, Overview,
    StageView,
};
use crate::EngineError;

/// Most entries on a page.
const MAX_PAGE: usize = 500;
/// JPEG quality of thumbnails.
const THUMBNAIL_QUALITY: u8 = 82;

/// An image's bytes.
#[derive(Debug, Clone)]
pub struct StoredFile {
    /// As uploaded.
    pub bytes: Bytes,
    /// Media type.
    pub mime: &'static str,
    /// Usual extension, without a dot.
    pub extension: &'static str,
    /// Name given at upload.
    pub name: Option<String>,
    /// Digest of the bytes.
    pub sha256: Sha256,
}

/// A small version of an image.
#[derive(Debug, Clone)]
pub struct Thumbnail {
    /// JPEG, at most [`Dedup::THUMBNAIL_SIDE`] pixels on a side.
    pub jpeg: Bytes,
    /// Digest of the original's bytes.
    pub sha256: Sha256,
}

impl Dedup {
    /// Longest side of a thumbnail, in pixels.
    pub const THUMBNAIL_SIDE: u32 = 384;

    pub(super) async fn row<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        key: &likeness_core::state::Key,
    ) -> Result<Option<T>, EngineError> {
        let row = self.ports.state.get(key).await?;
        Ok(row.map(|row| decode(what, &row)).transpose()?)
    }

    async fn uploaded(&self, id: &ImageId) -> Result<UploadEvent, EngineError> {
        if let Some(upload) = self.row("upload", &upload_key(id)).await? {
            return Ok(upload);
        }
        match erased(self.ports.state.as_ref(), id).await? {
            Some(_) => Err(EngineError::Erased(id.clone())),
            None => Err(EngineError::ImageNotFound(id.clone())),
        }
    }

    /// Returns what is known about an image.
    ///
    /// # Errors
    /// [`EngineError::ImageNotFound`]; if the store fails.
    pub async fn image(&self, id: &ImageId) -> Result<ImageView, EngineError> {
        let upload = self.uploaded(id).await?;
        let signature: Option<Signature> = self.row("signature", &signature_key(id)).await?;
        let decision = self.decision(id).await?;
        let cluster_size = match decision.as_ref().and_then(|d| d.canonical_id.clone()) {
            Some(head) => {
                let head = ImageId::new(head)?;
                let cluster: Option<ClusterRecord> =
                    self.row("clusters", &cluster_key(&head)).await?;
                cluster.map(|cluster| cluster.size)
            }
            None => None,
        };
        let status = match decision.as_ref().map(|decision| decision.kind) {
            None => ImageStatus::Pending,
            Some(DecisionKind::Rejected) => ImageStatus::Rejected,
            Some(DecisionKind::NewCluster | DecisionKind::Joined) => ImageStatus::Decided,
        };
        let waiting_for = match decision {
            Some(_) => Vec::new(),
            None => self.waiting_for(id).await?,
        };
        Ok(ImageView {
            id: upload.id.to_string(),
            status,
            waiting_for,
            name: upload.name,
            sha256: upload.sha256.to_string(),
            num_bytes: upload.num_bytes,
            uploaded_ms: upload.uploaded.0,
            signature: signature.map(|signature| signature.view(&self.model)),
            rejection: decision.as_ref().and_then(|d| d.rejection.clone()),
            decision,
            cluster_size,
        })
    }

    /// Returns an image's bytes.
    ///
    /// # Errors
    /// [`EngineError::ImageNotFound`]; if the store fails or has lost them.
    pub async fn file(&self, id: &ImageId) -> Result<StoredFile, EngineError> {
        let upload = self.uploaded(id).await?;
        Ok(StoredFile {
            bytes: self.bytes(&upload.sha256).await?,
            mime: upload.format.mime(),
            extension: upload.format.extension(),
            name: upload.name,
            sha256: upload.sha256,
        })
    }

    async fn bytes(&self, sha256: &Sha256) -> Result<Bytes, EngineError> {
        let path = image_path(sha256)?;
        let bytes = self.ports.objects.get(&path).await?;
        bytes.ok_or_else(|| {
            StoreError::corrupt(
                "objects",
                path.as_str(),
                "missing, though it was acknowledged",
            )
            .into()
        })
    }

    /// Returns a thumbnail, made on the first call and kept.
    ///
    /// # Errors
    /// [`EngineError::ImageNotFound`]; [`EngineError::Image`] if the image cannot be decoded.
    pub async fn thumbnail(&self, id: &ImageId) -> Result<Thumbnail, EngineError> {
        let upload = self.uploaded(id).await?;
        // Held until the thumbnail is stored, so that an erasure deletes it afterwards, not before.
        let _using = self.object_locks.using(&upload.sha256).await;
        // Asked again, since an erasure may have come first.
        self.uploaded(id).await?;
        self.thumbnail_of(&upload.sha256).await
    }

    /// As [`thumbnail`](Self::thumbnail), of the bytes with a digest.
    pub(super) async fn thumbnail_of(&self, sha256: &Sha256) -> Result<Thumbnail, EngineError> {
        let sha256 = *sha256;
        let path = thumbnail_path(&sha256, Self::THUMBNAIL_SIDE)?;
        if let Some(jpeg) = self.ports.objects.get(&path).await? {
            return Ok(Thumbnail { jpeg, sha256 });
        }
        let bytes = self.bytes(&sha256).await?;
        let limits = self.config.limits.clone();
        let jpeg = self
            .cpu
            .run(move || {
                let decoded = decode_image(&bytes, &limits, Some(Self::THUMBNAIL_SIDE))?;
                Ok::<_, EngineError>(Bytes::from(thumbnail_jpeg(
                    &decoded.image,
                    Self::THUMBNAIL_SIDE,
                    THUMBNAIL_QUALITY,
                )))
            })
            .await
            .map_err(|panic| StoreError::corrupt("objects", path.as_str(), panic.to_string()))??;
        // Of two makers one wins; both made the same.
        let _: PutOutcome = self.ports.objects.put_new(&path, jpeg.clone()).await?;
        Ok(Thumbnail { jpeg, sha256 })
    }

    /// Returns why an image was decided as it was.
    ///
    /// # Errors
    /// [`EngineError::ImageNotFound`], [`EngineError::NotDecided`]; if the store fails.
    pub async fn explain(&self, id: &ImageId) -> Result<ExplainView, EngineError> {
        self.uploaded(id).await?;
        let decision = self
            .decision(id)
            .await?
            .ok_or_else(|| EngineError::NotDecided(id.clone()))?;
        let record: Option<ExplainRecord> = self.row("explain", &explain_key(id)).await?;
        let mut record = record.unwrap_or_else(|| ExplainRecord {
            rule: "the image could not be decoded, so nothing was compared".to_owned(),
            threshold: self.scorer.threshold(),
            scorer: self.scorer.id(),
            model: self.model.clone(),
            is_exact: true,
            num_indexed: 0,
            num_candidates: 0,
            num_recent: 0,
            num_scored: 0,
            candidates: Vec::new(),
            bank_matches: Vec::new(),
            held_by: None,
        });
        self.look_up(&mut record).await?;
        Ok(ExplainView {
            decision,
            rule: record.rule,
            threshold: record.threshold,
            scorer: record.scorer,
            model: record.model,
            index: if record.is_exact {
                "every image looked at".to_owned()
            } else {
                "nearest cells of the index looked at, and all of the latest images".to_owned()
            },
            num_indexed: record.num_indexed,
            num_candidates: record.num_candidates,
            num_recent: record.num_recent,
            num_scored: record.num_scored,
            candidates: candidate_views(&record.candidates),
            bank_matches: record.bank_matches,
            held_by: record.held_by.map(|cluster| cluster.to_string()),
        })
    }

    /// Returns counts and rates.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn overview(&self) -> Result<Overview, EngineError> {
        let totals = totals(self.ports.state.as_ref()).await?;
        let join = JoinTotals::read(self.ports.state.as_ref()).await?;
        let stages: Vec<_> = self
            .meters
            .iter()
            .map(|(name, meter)| StageView {
                name: (*name).to_owned(),
                processed: meter.rate.total(),
                per_second: meter.rate.per_second(),
                busy_ms: meter.busy_ms(),
            })
            .collect();
        Ok(Overview {
            images: totals.images - totals.erased,
            clusters: totals.clusters,
            duplicate_clusters: totals.duplicate_clusters,
            duplicates: (totals.images - totals.erased).saturating_sub(totals.clusters),
            open_alarms: totals.open_alarms,
            held: totals.held,
            rejected: totals.rejected,
            pending: self.backlog.pending(),
            waiting: join.waiting_uploads + join.orphan_uploads,
            per_second: stages.last().map_or(0.0, |assign| assign.per_second),
            generation: self.generation.0,
            model: self.model.clone(),
            scorer: self.scorer.id(),
            threshold: self.scorer.threshold(),
            started_ms: self.started.0,
            stages,
        })
    }

    /// Returns decisions in order, the first one at `from` or after it.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a limit out of range; if the log fails.
    pub async fn decisions(
        &self,
        from: u64,
        limit: usize,
    ) -> Result<Vec<DecisionEvent>, EngineError> {
        check_limit(limit)?;
        let limits = ReadLimits {
            max_records: limit,
            ..ReadLimits::default()
        };
        let mut from = Offset(from);
        loop {
            let page = self
                .ports
                .log
                .read(DECISIONS, PARTITION, from, limits)
                .await?;
            let Some(last) = page.last() else {
                return Ok(Vec::new());
            };
            from = last.offset.next();
            let decisions: Vec<_> = page
                .into_iter()
                // What was decided of an erased image is no longer told.
                .filter(|record| !is_tombstone(&record.key))
                .map(|record| {
                    Ok(DecisionEvent {
                        offset: record.offset.0,
                        decision: decode_decision(&record.payload)?,
                    })
                })
                .collect::<Result<_, EngineError>>()?;
            if !decisions.is_empty() {
                return Ok(decisions);
            }
        }
    }

    /// Waits until a decision at `from` or after it can be read; may return early.
    ///
    /// # Errors
    /// [`EngineError::ShuttingDown`]; if the log fails.
    pub async fn wait_for_decisions(&self, from: u64) -> Result<(), EngineError> {
        let mut from = Offset(from);
        // What stands for an erased image is no decision: past it, or a caller would come back at once.
        loop {
            let limits = ReadLimits::default();
            let log = &self.ports.log;
            let page = log.read(DECISIONS, PARTITION, from, limits).await?;
            match page.last() {
                Some(last) if page.iter().all(|record| is_tombstone(&record.key)) => {
                    from = last.offset.next();
                }
                Some(_) => return Ok(()),
                None => break,
            }
        }
        tokio::select! {
            outcome = self.ports.log.wait(DECISIONS, PARTITION, from) => Ok(outcome?),
            () = self.shutdown.cancelled() => Err(EngineError::ShuttingDown),
        }
    }

    /// Returns the offset at which the next decision will be, or before it.
    ///
    /// # Errors
    /// If the log fails.
    pub async fn decisions_end(&self) -> Result<u64, EngineError> {
        Ok(self.ports.log.end(DECISIONS, PARTITION).await?.0)
    }

    /// Returns the latest decisions, newest first.
    ///
    /// # Errors
    /// As [`decisions`](Dedup::decisions).
    pub async fn latest_decisions(&self, limit: usize) -> Result<Vec<DecisionEvent>, EngineError> {
        check_limit(limit)?;
        let end = self.decisions_end().await?;
        // Offsets may have gaps, so look further back until there are enough.
        let mut span = 2 * limit as u64;
        loop {
            let from = end.saturating_sub(span);
            let mut found = Vec::new();
            let mut next = from;
            loop {
                let page = self.decisions(next, MAX_PAGE).await?;
                let Some(last) = page.last() else { break };
                next = last.offset + 1;
                found.extend(page);
            }
            if found.len() >= limit || from == 0 {
                let mut latest: Vec<_> = found.into_iter().rev().collect();
                latest.truncate(limit);
                return Ok(latest);
            }
            span *= 8;
        }
    }

    /// Returns where the time of signatures goes, in nanoseconds: decode, PDQ, resize, views,
    /// model.
    pub fn signature_nanos(&self) -> [u64; 5] {
        let times = self.signer.times();
        let model = self.signer.model_busy().as_nanos();
        [
            times.decode.load(Ordering::Relaxed),
            times.pdq.load(Ordering::Relaxed),
            times.resize.load(Ordering::Relaxed),
            times.views.load(Ordering::Relaxed),
            u64::try_from(model).unwrap_or(u64::MAX),
        ]
    }
}

pub(super) fn candidate_views(scored: &[ScoredCandidate]) -> Vec<CandidateView> {
    scored
        .iter()
        .zip(1..)
        .map(|(candidate, rank)| CandidateView {
            rank,
            id: candidate.id.to_string(),
            head: candidate.head.to_string(),
            source: candidate.source,
            cosine: candidate.cosine,
            pdq_distance: candidate.pdq_distance,
            pdq_quality: candidate.pdq_quality,
            flat_percent: candidate.flat_percent,
            exact_copy: candidate.exact_copy,
            score: candidate.score,
            view: candidate.view,
            look: candidate.look,
        })
        .collect()
}

pub(super) fn check_limit(limit: usize) -> Result<(), EngineError> {
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok(());
    }
    Err(EngineError::InvalidParameter {
        name: "limit",
        reason: format!("must be from 1 to {MAX_PAGE}"),
    })
}

#[cfg(test)]
mod tests;
