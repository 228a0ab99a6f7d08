//! Questions that change nothing.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use likeness_core::log::{Offset, ReadLimits};
use likeness_core::objects::PutOutcome;
use likeness_core::state::{Direction, Row, Scan, Table};
use likeness_core::{ImageId, Sha256, StoreError};
use likeness_vision::decode::decode as decode_image;
use likeness_vision::thumbnail::thumbnail_jpeg;

use super::Dedup;
use super::assign_stage::totals;
use super::objects::{image_path, thumbnail_path};
use super::pairs::{EXPLAINED, Known, Subject};
use super::records::{
    ClusterRecord, ExplainRecord, MemberRecord, ScoredCandidate, Signature, UploadEvent,
};
use super::rule::{Verdict, decide};
use super::signature::SignatureError;
use super::tables::{
    CLUSTERS_BY_SIZE, CLUSTERS_BY_TIME, DECISIONS, MEMBERS, PARTITION, SHARD, SHARD_OF_MANY,
    cluster_key, decode, descending_first, explain_key, signature_key, upload_key,
};
use super::upload::{decode_decision, digest};
use super::view::{
    CandidateSource, CandidateView, ClusterOrder, ClusterSummary, ClusterView, DecisionEvent,
    DecisionKind, ExplainView, ImageStatus, ImageView, MatchView, MemberView, Overview, Page,
    StageView,
};
use crate::EngineError;

/// Most entries on a page.
const MAX_PAGE: usize = 500;
/// Members shown of a cluster in a list.
const SAMPLE: usize = 6;
/// Clusters looked at for one page of a filtered list; then the page ends early, with a cursor.
const MAX_SCANNED: usize = 5_000;
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

    async fn row<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        key: &likeness_core::state::Key,
    ) -> Result<Option<T>, EngineError> {
        let row = self.ports.state.get(key).await?;
        Ok(row.map(|row| decode(what, &row)).transpose()?)
    }

    async fn uploaded(&self, id: &ImageId) -> Result<UploadEvent, EngineError> {
        self.row("upload", &upload_key(id))
            .await?
            .ok_or_else(|| EngineError::ImageNotFound(id.clone()))
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
        Ok(ImageView {
            id: upload.id.to_string(),
            status,
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
            bytes: self.bytes(&upload).await?,
            mime: upload.format.mime(),
            extension: upload.format.extension(),
            name: upload.name,
            sha256: upload.sha256,
        })
    }

    async fn bytes(&self, upload: &UploadEvent) -> Result<Bytes, EngineError> {
        let path = image_path(&upload.sha256)?;
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
        let path = thumbnail_path(&upload.sha256, Self::THUMBNAIL_SIDE)?;
        if let Some(jpeg) = self.ports.objects.get(&path).await? {
            return Ok(Thumbnail {
                jpeg,
                sha256: upload.sha256,
            });
        }
        let bytes = self.bytes(&upload).await?;
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
        Ok(Thumbnail {
            jpeg,
            sha256: upload.sha256,
        })
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
        let record = record.unwrap_or_else(|| ExplainRecord {
            rule: "the image could not be decoded, so nothing was compared".to_owned(),
            threshold: self.scorer.threshold(),
            scorer: self.scorer.scorer().id(),
            model: self.model.clone(),
            num_indexed: 0,
            num_candidates: 0,
            num_recent: 0,
            num_scored: 0,
            candidates: Vec::new(),
        });
        Ok(ExplainView {
            decision,
            rule: record.rule,
            threshold: record.threshold,
            scorer: record.scorer,
            model: record.model,
            index: "exact scan of 1-bit codes, exact re-rank".to_owned(),
            num_indexed: record.num_indexed,
            num_candidates: record.num_candidates,
            num_recent: record.num_recent,
            num_scored: record.num_scored,
            candidates: candidate_views(&record.candidates),
        })
    }

    /// Compares a picture with everything decided, and stores nothing.
    ///
    /// # Errors
    /// [`EngineError::Image`] if it cannot be decoded, [`EngineError::InvalidParameter`] for a
    /// limit out of range.
    pub async fn match_image(&self, bytes: Bytes, limit: usize) -> Result<MatchView, EngineError> {
        check_limit(limit)?;
        let started = Instant::now();
        let sha256 = digest(&bytes);
        let signature = self.signer.sign(bytes).await.map_err(|error| match error {
            SignatureError::Decode(error) => EngineError::Image(error),
            SignatureError::Model(error) => EngineError::Model(error),
            SignatureError::Panicked(panic) => {
                EngineError::Image(likeness_vision::decode::DecodeError::Corrupt {
                    reason: panic.to_string(),
                })
            }
        })?;
        let view = signature.view(&self.model);
        let subject = Subject::new(sha256, signature)?;
        let query = subject.query.clone();
        let (index, floor) = (Arc::clone(&self.index), self.scorer.floor());
        let (max, keep) = (self.config.max_candidates, limit.max(EXPLAINED));
        let found = self
            .cpu
            .run(move || index.search(&query, max, floor, keep))
            .await
            .map_err(|panic| StoreError::corrupt("index", "search", panic.to_string()))??;
        let candidates: Vec<_> = found
            .candidates
            .into_iter()
            .map(|candidate| (candidate, CandidateSource::Index))
            .collect();
        let known = Known {
            state: self.ports.state.as_ref(),
            index: &self.index,
            batch: None,
        };
        let mut scored = self.scorer.assess(&subject, &candidates, &known).await?;
        let canonical_id = match decide(&scored, self.scorer.threshold()) {
            Verdict::Join { head, .. } => Some(head.to_string()),
            Verdict::Found { .. } => None,
        };
        scored.truncate(limit);
        Ok(MatchView {
            signature: view,
            canonical_id,
            threshold: self.scorer.threshold(),
            matches: candidate_views(&scored),
            took_ms: started.elapsed().as_secs_f64() * 1e3,
        })
    }

    /// Lists clusters of at least `min_size` images. A page may be short, even empty, and still
    /// have a cursor, when the filter passed over many.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a limit or a cursor that is not one.
    pub async fn clusters(
        &self,
        order: ClusterOrder,
        min_size: u64,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<ClusterSummary>, EngineError> {
        check_limit(limit)?;
        let (table, shard) = match order {
            ClusterOrder::Biggest => (CLUSTERS_BY_SIZE, SHARD),
            ClusterOrder::Newest if min_size >= 2 => (CLUSTERS_BY_TIME, SHARD_OF_MANY),
            ClusterOrder::Newest => (CLUSTERS_BY_TIME, SHARD),
        };
        let mut after = cursor.map(parse_cursor).transpose()?;
        let mut items = Vec::with_capacity(limit);
        let mut num_scanned = 0;
        loop {
            let page = limit + 1;
            let rows = self.scan(table, shard, after.clone(), page).await?;
            let is_last_page = rows.len() < page;
            for row in rows {
                if items.len() == limit || num_scanned >= MAX_SCANNED {
                    return Ok(page_of(items, after));
                }
                num_scanned += 1;
                let too_small = descending_first(&row.sort).is_some_and(|size| size < min_size);
                if order == ClusterOrder::Biggest && too_small {
                    return Ok(page_of(items, None));
                }
                let head = ImageId::new(String::from_utf8_lossy(&row.value))?;
                if let Some(summary) = self.summary(&head, min_size).await? {
                    items.push(summary);
                }
                after = Some(row.sort);
            }
            if is_last_page {
                return Ok(page_of(items, None));
            }
        }
    }

    async fn scan(
        &self,
        table: Table,
        partition: &[u8],
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<Vec<Row>, EngineError> {
        let scan = Scan {
            table,
            partition: Bytes::copy_from_slice(partition),
            lower: after.map_or(Bound::Unbounded, Bound::Excluded),
            upper: Bound::Unbounded,
            direction: Direction::Ascending,
            limit,
        };
        Ok(self.ports.state.scan(scan).await?)
    }

    /// Returns a cluster for a list; nothing if it is smaller than wanted, or if its row in the
    /// list was read while the cluster was moving.
    async fn summary(
        &self,
        head: &ImageId,
        min_size: u64,
    ) -> Result<Option<ClusterSummary>, EngineError> {
        let cluster: Option<ClusterRecord> = self.row("clusters", &cluster_key(head)).await?;
        let Some(cluster) = cluster.filter(|cluster| cluster.size >= min_size) else {
            return Ok(None);
        };
        let sample = self
            .scan(MEMBERS, head.as_bytes(), None, SAMPLE)
            .await?
            .iter()
            .map(|row| {
                Ok(decode::<MemberRecord>("members", &row.value)?
                    .id
                    .to_string())
            })
            .collect::<Result<_, EngineError>>()?;
        Ok(Some(ClusterSummary {
            head: head.to_string(),
            size: cluster.size,
            created_ms: cluster.created.0,
            updated_ms: cluster.updated.0,
            sample,
        }))
    }

    /// Returns a cluster with a page of its members, in the order of joining.
    ///
    /// # Errors
    /// [`EngineError::ClusterNotFound`] if `head` is not the head of a cluster;
    /// [`EngineError::InvalidParameter`] for a limit or a cursor that is not one.
    pub async fn cluster(
        &self,
        head: &ImageId,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ClusterView, EngineError> {
        check_limit(limit)?;
        let after = cursor.map(parse_cursor).transpose()?;
        let cluster: ClusterRecord = self
            .row("clusters", &cluster_key(head))
            .await?
            .ok_or_else(|| EngineError::ClusterNotFound(head.clone()))?;
        let mut rows = self
            .scan(MEMBERS, head.as_bytes(), after, limit + 1)
            .await?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_more).map(|row| hex(&row.sort));
        let members = rows
            .iter()
            .map(|row| Ok(member_view(decode("members", &row.value)?)))
            .collect::<Result<_, EngineError>>()?;
        Ok(ClusterView {
            head: head.to_string(),
            size: cluster.size,
            created_ms: cluster.created.0,
            updated_ms: cluster.updated.0,
            members,
            next,
        })
    }

    /// Returns counts and rates.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn overview(&self) -> Result<Overview, EngineError> {
        let totals = totals(self.ports.state.as_ref()).await?;
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
            images: totals.images,
            clusters: totals.clusters,
            duplicate_clusters: totals.duplicate_clusters,
            duplicates: totals.images - totals.clusters,
            rejected: totals.rejected,
            pending: self.backlog.pending(),
            per_second: stages.last().map_or(0.0, |assign| assign.per_second),
            generation: self.generation.0,
            model: self.model.clone(),
            scorer: self.scorer.scorer().id(),
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
        self.ports
            .log
            .read(DECISIONS, PARTITION, Offset(from), limits)
            .await?
            .into_iter()
            .map(|record| {
                Ok(DecisionEvent {
                    offset: record.offset.0,
                    decision: decode_decision(&record.payload)?,
                })
            })
            .collect()
    }

    /// Waits until a decision at `from` or after it can be read; may return early.
    ///
    /// # Errors
    /// [`EngineError::ShuttingDown`]; if the log fails.
    pub async fn wait_for_decisions(&self, from: u64) -> Result<(), EngineError> {
        tokio::select! {
            outcome = self.ports.log.wait(DECISIONS, PARTITION, Offset(from)) => Ok(outcome?),
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

    /// Returns where the time of signatures goes, in nanoseconds: decode, PDQ, resize, model.
    pub fn signature_nanos(&self) -> [u64; 4] {
        let times = self.signer.times();
        let model = self.signer.model_busy().as_nanos();
        [
            times.decode.load(Ordering::Relaxed),
            times.pdq.load(Ordering::Relaxed),
            times.resize.load(Ordering::Relaxed),
            u64::try_from(model).unwrap_or(u64::MAX),
        ]
    }
}

fn candidate_views(scored: &[ScoredCandidate]) -> Vec<CandidateView> {
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
        })
        .collect()
}

fn member_view(member: MemberRecord) -> MemberView {
    MemberView {
        id: member.id.to_string(),
        name: member.name,
        score: member.score,
        exact_copy: member.exact_copy,
        joined_ms: member.joined.0,
        width: member.width,
        height: member.height,
        num_bytes: member.num_bytes,
        format: member.format.as_str().to_owned(),
    }
}

fn page_of<T>(items: Vec<T>, after: Option<Bytes>) -> Page<T> {
    Page {
        items,
        next: after.map(|sort| hex(&sort)),
    }
}

fn check_limit(limit: usize) -> Result<(), EngineError> {
    if (1..=MAX_PAGE).contains(&limit) {
        return Ok(());
    }
    Err(EngineError::InvalidParameter {
        name: "limit",
        reason: format!("must be from 1 to {MAX_PAGE}"),
    })
}

/// A cursor is the sort key of the last row given out, in hex.
fn hex(sort: &[u8]) -> String {
    use std::fmt::Write;
    sort.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}

fn parse_cursor(text: &str) -> Result<Bytes, EngineError> {
    let digits = text.as_bytes();
    let is_cursor = matches!(digits.len(), 16 | 32) && digits.iter().all(u8::is_ascii_hexdigit);
    if !is_cursor {
        return Err(EngineError::InvalidParameter {
            name: "cursor",
            reason: "must be the `next` of the page before".to_owned(),
        });
    }
    let value = |digit: u8| (digit as char).to_digit(16).map_or(0, |value| value as u8);
    Ok(digits
        .chunks_exact(2)
        .map(|pair| value(pair[0]) << 4 | value(pair[1]))
        .collect::<Vec<_>>()
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_nothing_else_is_one() {
        let sort = Bytes::from_static(&[0, 1, 0xfe, 0xff, 9, 8, 7, 6]);
        assert_eq!(parse_cursor(&hex(&sort)).unwrap(), sort);
        for bad in [
            "",
            "00",
            "zz00000000000000",
            "0001fe ff09080706",
            "é001feff0908070",
        ] {
            assert!(parse_cursor(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn limits_are_checked() {
        assert!(check_limit(0).is_err());
        assert!(check_limit(500).is_ok());
        assert!(check_limit(501).is_err());
    }
}
