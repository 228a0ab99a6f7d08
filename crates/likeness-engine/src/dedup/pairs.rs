//! Comparing an image with its candidates, and with the heads of their clusters.

use std::collections::{HashMap, HashSet};

use likeness_core::state::StateStore;
use likeness_core::{ImageNumber, Sha256, StoreError, StoreResult};

use super::live_index::{LiveIndex, Recent};
use super::records::{Candidate, NumberRecord, ScoredCandidate, Signature};
use super::scorer::{PairFeatures, Scorer};
use super::tables::{decode, number_key};
use super::view::CandidateSource;

/// Candidates that an explain record keeps, and that are looked at however far they are.
pub(super) const EXPLAINED: usize = 20;

/// The image that is compared.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// Digest of its bytes.
    pub sha256: Sha256,
    /// Its signature.
    pub signature: Signature,
    /// Its embedding, as it is compared.
    pub query: Vec<f32>,
}

impl Subject {
    /// Returns the image with its embedding unpacked.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the embedding is not one.
    pub(super) fn new(sha256: Sha256, signature: Signature) -> StoreResult<Self> {
        let query = signature.query()?;
        Ok(Self {
            sha256,
            signature,
            query,
        })
    }
}

/// The scorer with the bounds that follow from it.
#[derive(Debug, Clone)]
pub(super) struct PairScorer {
    scorer: Scorer,
    threshold: f32,
    floor: f32,
}

impl PairScorer {
    /// Returns a pair scorer with the scorer's threshold, or another one.
    pub(super) fn new(scorer: Scorer, threshold: Option<f32>) -> Self {
        let threshold = threshold.unwrap_or_else(|| scorer.threshold());
        let floor = scorer.cosine_floor(threshold);
        Self {
            scorer,
            threshold,
            floor,
        }
    }

    /// Score that a pair needs.
    pub(super) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Cosine under which no pair can reach the threshold, whatever its other features.
    pub(super) fn floor(&self) -> f32 {
        self.floor
    }

    /// The scorer.
    pub(super) fn scorer(&self) -> &Scorer {
        &self.scorer
    }

    fn score(
        &self,
        subject: &Subject,
        candidate: Candidate,
        source: CandidateSource,
        record: &NumberRecord,
    ) -> ScoredCandidate {
        let features = PairFeatures::of(
            candidate.cosine,
            &subject.signature.marks(),
            &record.marks(),
        );
        let exact_copy = subject.sha256 == record.sha256;
        let score = if exact_copy {
            1.0
        } else {
            self.scorer.score(&features)
        };
        ScoredCandidate {
            number: candidate.number,
            id: record.id.clone(),
            head: record.head.clone(),
            uploaded: record.uploaded,
            source,
            cosine: candidate.cosine,
            pdq_distance: features.pdq_distance,
            pdq_quality: features.pdq_quality_min,
            flat_percent: features.flat_min,
            exact_copy,
            score,
        }
    }

    /// Scores `candidates` and the heads of their clusters, and returns them best first, see
    /// [`sort_best_first`].
    ///
    /// # Errors
    /// If a store fails, or a number has no record.
    pub(super) async fn assess(
        &self,
        subject: &Subject,
        candidates: &[(Candidate, CandidateSource)],
        known: &Known<'_>,
    ) -> StoreResult<Vec<ScoredCandidate>> {
        let numbers: Vec<_> = candidates.iter().map(|(found, _)| found.number).collect();
        let records = known.records(&numbers).await?;
        let present: HashSet<_> = numbers.into_iter().collect();
        let mut head_numbers: Vec<_> = records
            .iter()
            .map(|record| record.head_number)
            .filter(|number| !present.contains(number))
            .collect();
        head_numbers.sort_unstable();
        head_numbers.dedup();
        let heads = known.records(&head_numbers).await?;

        let mut scored: Vec<_> = candidates
            .iter()
            .zip(&records)
            .map(|(&(candidate, source), record)| self.score(subject, candidate, source, record))
            .collect();
        for (&number, record) in head_numbers.iter().zip(&heads) {
            let cosine = known.cosine(&subject.query, number)?;
            let candidate = Candidate { number, cosine };
            scored.push(self.score(subject, candidate, CandidateSource::Head, record));
        }
        sort_best_first(&mut scored);
        Ok(scored)
    }
}

/// Sorts best first: by score, then by cosine (scores of plain copies saturate at 1), then by time
/// of upload, then by id. This is the order in which heads are preferred, so it decides ties.
pub(super) fn sort_best_first(scored: &mut [ScoredCandidate]) {
    scored.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| b.cosine.total_cmp(&a.cosine))
            .then_with(|| a.uploaded.cmp(&b.uploaded))
            .then_with(|| a.id.cmp(&b.id))
    });
}

/// Keeps what is at or above the threshold, and in any case the [`EXPLAINED`] best.
pub(super) fn keep_relevant(scored: &mut Vec<ScoredCandidate>, threshold: f32) {
    let above = scored.partition_point(|candidate| candidate.score >= threshold);
    scored.truncate(above.max(EXPLAINED));
}

/// Decided images: those committed, and those decided in the batch at hand.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// Committed records.
    pub state: &'a dyn StateStore,
    /// Committed embeddings.
    pub index: &'a LiveIndex,
    /// Decided, not committed yet.
    pub batch: Option<&'a Batch>,
}

/// What the batch at hand has decided so far.
#[derive(Debug)]
pub(super) struct Batch {
    /// Records by number.
    pub records: HashMap<ImageNumber, NumberRecord>,
    /// Their embeddings.
    pub index: Recent,
}

impl Known<'_> {
    /// Returns the records of `numbers`, in that order.
    ///
    /// # Errors
    /// If the store fails, or one has no record.
    pub(super) async fn records(&self, numbers: &[ImageNumber]) -> StoreResult<Vec<NumberRecord>> {
        let in_batch = |number| self.batch.and_then(|batch| batch.records.get(number));
        let keys: Vec<_> = numbers
            .iter()
            .filter(|number| in_batch(number).is_none())
            .map(|&number| number_key(number))
            .collect();
        let mut stored = self.state.get_many(&keys).await?.into_iter();
        numbers
            .iter()
            .map(|number| {
                if let Some(record) = in_batch(number) {
                    return Ok(record.clone());
                }
                let row = stored.next().flatten().ok_or_else(|| no_record(*number))?;
                decode("numbers", &row)
            })
            .collect()
    }

    fn cosine(&self, query: &[f32], number: ImageNumber) -> StoreResult<f32> {
        self.batch
            .and_then(|batch| batch.index.similarity(query, number))
            .or_else(|| self.index.similarity(query, number))
            .ok_or_else(|| no_record(number))
    }
}

fn no_record(number: ImageNumber) -> StoreError {
    StoreError::corrupt(
        "state",
        format!("numbers/{number}"),
        "the index knows a number that has no record",
    )
}
