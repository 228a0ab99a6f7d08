//! A picture is compared with everything decided, and not stored.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use likeness_core::{ImageId, StoreError, StoreResult, Timestamp};

use super::Dedup;
use super::assign_stage::totals;
use super::banks::BankMatchView;
use super::guard::{Guards, Weighing};
use super::live_index::unite;
use super::pairs::{Done, EXPLAINED, Known, Subject};
use super::query::{candidate_views, check_limit};
use super::rule::Verdict;
use super::signature::SignatureError;
use super::upload::digest;
use super::view::{CandidateSource, MatchView};
use crate::EngineError;

impl Dedup {
    /// Compares a picture with everything decided, and stores nothing.
    ///
    /// # Errors
    /// [`EngineError::Image`] if it cannot be decoded, [`EngineError::InvalidParameter`] for a
    /// limit out of range.
    pub async fn match_image(&self, bytes: Bytes, limit: usize) -> Result<MatchView, EngineError> {
        check_limit(limit)?;
        self.check_askable()?;
        let started = Instant::now();
        let sha256 = digest(&bytes);
        let signing = self.signer.sign(bytes.clone());
        let signature = signing.await.map_err(|error| match error {
            SignatureError::Decode(error) => EngineError::Image(error),
            SignatureError::Model(error) => EngineError::Model(error),
            SignatureError::Panicked(panic) => {
                EngineError::Image(likeness_vision::decode::DecodeError::Corrupt {
                    reason: panic.to_string(),
                })
            }
        })?;
        let view = signature.view(&self.model);
        let subject = Subject {
            bytes: Some(bytes),
            ..Subject::new(sha256, signature, self.scorer.views())?
        };
        let image = subject.descriptors.clone();
        let (index, floor) = (Arc::clone(&self.index), self.scorer.floor());
        let (max, keep) = (self.config.max_candidates, limit.max(EXPLAINED));
        let found = self
            .cpu
            .run(move || -> StoreResult<_> {
                let found = index.search(&image.vector, max, floor, keep)?;
                let by_views = index.search_views(&image, max, floor)?;
                Ok(unite(found.candidates, by_views, max))
            })
            .await
            .map_err(|panic| StoreError::corrupt("index", "search", panic.to_string()))??;
        let candidates: Vec<_> = found
            .into_iter()
            .map(|candidate| (candidate.number, CandidateSource::Index))
            .collect();
        let state = self.ports.state.as_ref();
        let totals = totals(state).await?;
        let banks = self.banks.current(state, totals.bank_changes).await?;
        let known = Known {
            state,
            batch: None,
            is_corrected: totals.is_corrected(),
        };
        let mut scored = self
            .scorer
            .assess(&subject, &candidates, Done::default(), &known)
            .await?;
        // Of a picture that has no id the digest is drawn, so that an answer can be had again.
        let place = ImageId::new(sha256.to_string())?;
        let matches = banks
            .matches(&self.scorer, &place, &sha256, &subject.descriptors)
            .await?;
        let weighing = Weighing {
            scorer: &self.scorer,
            subject: &subject,
            known: &known,
            pending: &HashMap::new(),
            has_guards: totals.guarded > 0,
        };
        let guarded = weighing
            .verdict(&mut scored, &matches, &mut Guards::default())
            .await?;
        let canonical_id = match guarded.verdict {
            Verdict::Join { cluster, .. } => Some(cluster.to_string()),
            Verdict::Found { .. } => None,
        };
        scored.truncate(limit);
        Ok(MatchView {
            signature: view,
            canonical_id,
            threshold: self.scorer.threshold(),
            matches: candidate_views(&scored),
            bank_matches: matches
                .into_iter()
                .map(|found| BankMatchView {
                    time_ms: Timestamp::now().0,
                    ..found.view
                })
                .collect(),
            took_ms: started.elapsed().as_secs_f64() * 1e3,
        })
    }

    /// Refuses a picture if the index holds embeddings that cannot be computed here.
    pub(super) fn check_askable(&self) -> Result<(), EngineError> {
        match self.config.join.primary() {
            Some(kind) if !kind.is_made_by(self.signer.spec()) => {
                Err(EngineError::InvalidParameter {
                    name: "picture",
                    reason: format!(
                        "the index holds embeddings of `{}`, which are not computed here; store the \
                         picture and send its embedding, then ask for its explanation",
                        kind.model
                    ),
                })
            }
            _ => Ok(()),
        }
    }
}
