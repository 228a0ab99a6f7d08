//! Comparing an image with its candidates, and with the heads of their clusters.

mod closely;
mod known;
mod measure;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use likeness_core::{ImageNumber, Sha256, StoreResult};

use super::compare::{Comparison, Descriptors, ViewsMode, compare};
use super::looks::Looker;
use super::records::{NumberRecord, ScoredCandidate, Signature};
use super::remote_scorer::PairModel;
use super::scorer::{PairFeatures, Scorer};
use super::view::CandidateSource;
pub(super) use known::{Batch, Known};
pub use measure::{CascadeCost, cascade_cost};

/// Candidates that an explain record keeps, and that are looked at however far they are.
pub(super) const EXPLAINED: usize = 20;

/// The image that is compared.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// Digest of its bytes.
    pub sha256: Sha256,
    /// Its signature.
    pub signature: Signature,
    /// What it is compared by.
    pub descriptors: Descriptors,
    /// Its bytes, if they are not stored.
    pub bytes: Option<Bytes>,
}

impl Subject {
    /// Returns the image with its embedding unpacked.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](likeness_core::StoreError::Corrupt) if the embedding is not one.
    pub(super) fn new(sha256: Sha256, signature: Signature, views: ViewsMode) -> StoreResult<Self> {
        let descriptors = signature.descriptors(views)?;
        Ok(Self {
            sha256,
            signature,
            descriptors,
            bytes: None,
        })
    }
}

/// The scorer with the bounds that follow from it.
#[derive(Debug, Clone)]
pub(super) struct PairScorer {
    model: PairModel,
    threshold: f32,
    floor: f32,
    views: ViewsMode,
    /// Absent if no looks are taken: then first scores stand.
    looker: Option<Arc<Looker>>,
}

impl PairScorer {
    /// Returns a pair scorer with the model's threshold, or another one.
    pub(super) fn new(
        model: impl Into<PairModel>,
        threshold: Option<f32>,
        views: ViewsMode,
    ) -> Self {
        let model = model.into();
        let threshold = threshold.unwrap_or_else(|| model.threshold());
        Self {
            floor: model.cosine_floor(threshold),
            model,
            threshold,
            views,
            looker: None,
        }
    }

    /// Returns the same pair scorer, taking close looks at pairs in doubt.
    pub(super) fn with_looker(self, looker: Looker) -> Self {
        let looker = Some(Arc::new(looker));
        Self { looker, ..self }
    }

    /// Returns the same pair scorer for pairs that are not looked at, whatever the model could make of it.
    pub(super) fn without_looks(self, threshold: Option<f32>) -> Self {
        let own = self.scorer().map(Scorer::threshold_unlooked);
        let threshold = threshold.or(own).unwrap_or(self.threshold);
        Self {
            floor: self.model.cosine_floor(threshold),
            threshold,
            looker: None,
            ..self
        }
    }

    /// Most looks for an image; 0 if none are taken.
    pub(super) fn max_looks(&self) -> usize {
        self.looker.as_ref().map_or(0, |looker| looker.max_looks())
    }

    /// Score that a pair needs.
    pub(super) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Cosine under which no pair can reach the threshold, whatever its other features.
    pub(super) fn floor(&self) -> f32 {
        self.floor
    }

    /// Which views are compared.
    pub(super) fn views(&self) -> ViewsMode {
        self.views
    }

    /// Cosine under which no pair can reach another threshold than this one's.
    pub(super) fn floor_of(&self, threshold: f32) -> f32 {
        self.model.cosine_floor(threshold)
    }

    /// Name and version of what scores.
    pub(super) fn id(&self) -> String {
        self.model.id()
    }

    /// What scores.
    pub(super) fn model(&self) -> &PairModel {
        &self.model
    }

    /// The scorer, if it is in this process.
    pub(super) fn scorer(&self) -> Option<&Scorer> {
        self.model.scorer()
    }

    async fn compare_records(
        &self,
        subject: &Subject,
        others: &[&NumberRecord],
    ) -> StoreResult<Vec<Comparison>> {
        let model = &self.model;
        model
            .compare_records(&subject.descriptors, others, self.views)
            .await
    }

    fn scored(
        subject: &Subject,
        number: ImageNumber,
        source: CandidateSource,
        record: &NumberRecord,
        compared: Comparison,
    ) -> ScoredCandidate {
        let features = &compared.features;
        let exact_copy = subject.sha256 == record.sha256;
        let score = if exact_copy { 1.0 } else { compared.score };
        ScoredCandidate {
            number,
            id: record.id.clone(),
            head: record.head.clone(),
            head_number: Some(record.head_number),
            cluster: None,
            uploaded: record.uploaded,
            source,
            cosine: compared.cosine,
            pdq_distance: features.pdq_distance,
            pdq_quality: features.pdq_quality_min,
            flat_percent: features.flat_min,
            exact_copy,
            score,
            view: compared.view,
            first_score: None,
            look: None,
        }
    }

    /// Scores `candidates` and the heads of their clusters, and returns them best first, see
    /// [`sort_best_first`]. What is in `done` is not scored again.
    ///
    /// # Errors
    /// If a store fails, or a number has no record.
    pub(super) async fn assess(
        &self,
        subject: &Subject,
        candidates: &[(ImageNumber, CandidateSource)],
        mut done: Done,
        known: &Known<'_>,
    ) -> StoreResult<Vec<ScoredCandidate>> {
        let mut scored = Vec::with_capacity(candidates.len());
        self.add(subject, candidates, &mut done, known, &mut scored)
            .await?;
        let present: HashSet<_> = scored.iter().map(|candidate| candidate.number).collect();
        let mut heads: Vec<_> = scored
            .iter()
            .filter_map(|candidate| candidate.head_number)
            .filter(|number| !present.contains(number))
            .collect();
        heads.sort_unstable();
        heads.dedup();
        let heads: Vec<_> = heads
            .into_iter()
            .map(|number| (number, CandidateSource::Head))
            .collect();
        self.add(subject, &heads, &mut done, known, &mut scored)
            .await?;
        sort_best_first(&mut scored);
        self.look_closely(subject, &mut scored, known).await?;
        Ok(scored)
    }

    /// Looks closely at heads whose first scores are in doubt, best first, and sorts anew. A function of the image
    /// and of what is in `scored`, not of the looks that were taken before: those are only not taken again.
    ///
    /// Only heads, since nothing else decides. None if a twin or a head that is beyond doubt decides anyway, and none
    /// after one that puts a head beyond doubt. Heads in doubt beyond the most looks score at most what the best of
    /// those does that were looked at.
    async fn look_closely(
        &self,
        subject: &Subject,
        scored: &mut [ScoredCandidate],
        known: &Known<'_>,
    ) -> StoreResult<()> {
        let mut taken = HashMap::new();
        let mut is_sorted = true;
        for candidate in scored.iter_mut() {
            let Some(first_score) = candidate.first_score.take() else {
                continue;
            };
            candidate.score = first_score;
            is_sorted = false;
            if let Some(look) = candidate.look.take() {
                taken.insert(candidate.number, look);
            }
        }
        if !is_sorted {
            sort_best_first(scored);
        }
        // A model that is served elsewhere takes no looks.
        let (Some(looker), PairModel::Local(scorer)) = (&self.looker, &self.model) else {
            return Ok(());
        };
        if scored.iter().any(|candidate| candidate.exact_copy) {
            return Ok(());
        }
        let is_settled = |candidate: &ScoredCandidate| {
            candidate.score >= self.threshold && !scorer.is_grey(candidate.score)
        };
        let mut doubtful: Vec<usize> = scored
            .iter()
            .enumerate()
            .filter(|(_, candidate)| candidate.id == candidate.head)
            .take_while(|(_, head)| !is_settled(head))
            .filter(|(_, head)| scorer.is_grey(head.score))
            .map(|(place, _)| place)
            .collect();
        if doubtful.is_empty() {
            return Ok(());
        }
        let left = doubtful.split_off(doubtful.len().min(looker.max_looks()));
        let mut highest: Option<f32> = None;
        let numbers: Vec<_> = doubtful.iter().map(|&place| scored[place].number).collect();
        let records = known.records(&numbers).await?;
        for (place, record) in doubtful.into_iter().zip(&records) {
            if highest.is_some_and(|highest| scorer.is_beyond_doubt(highest)) {
                break;
            }
            let Some(record) = record else { continue };
            let head = &mut scored[place];
            let look = match taken.remove(&head.number) {
                Some(look) => Some(look),
                None => {
                    let own = (subject.sha256, subject.bytes.as_ref());
                    looker.look(own, record.sha256, head.view.as_ref()).await?
                }
            };
            if look.is_none() {
                continue;
            }
            let other = record.descriptors(self.views)?;
            let compared = compare(scorer, &subject.descriptors, &other);
            let features = PairFeatures {
                look,
                ..compared.features
            };
            head.first_score = Some(head.score);
            head.score = scorer.score(&features);
            head.look = look;
            highest = Some(highest.map_or(head.score, |highest| highest.max(head.score)));
        }
        // What is in doubt and is not looked at is not better than the best that is: else the next of many
        // pictures over one template would be joined unseen.
        for place in left {
            let head = &mut scored[place];
            if let Some(highest) = highest
                && head.score > highest
            {
                head.first_score = Some(head.score);
                head.score = highest;
            }
        }
        sort_best_first(scored);
        Ok(())
    }

    async fn add(
        &self,
        subject: &Subject,
        candidates: &[(ImageNumber, CandidateSource)],
        done: &mut Done,
        known: &Known<'_>,
        scored: &mut Vec<ScoredCandidate>,
    ) -> StoreResult<()> {
        let numbers: Vec<_> = candidates.iter().map(|(number, _)| *number).collect();
        let records = known.records(&numbers).await?;
        let first = scored.len();
        let mut left = Vec::new();
        for (&(number, source), record) in candidates.iter().zip(&records) {
            // Erased since it was found.
            let Some(record) = record else { continue };
            match done.0.remove(&number) {
                Some(candidate) => scored.push(ScoredCandidate {
                    source,
                    id: record.id.clone(),
                    head: record.head.clone(),
                    head_number: Some(record.head_number),
                    uploaded: record.uploaded,
                    ..candidate
                }),
                None => left.push((number, source, record)),
            }
        }
        let others: Vec<_> = left.iter().map(|(_, _, record)| *record).collect();
        let compared = self.compare_records(subject, &others).await?;
        for ((number, source, record), compared) in left.into_iter().zip(compared) {
            scored.push(Self::scored(subject, number, source, record, compared));
        }
        known.resolve(&mut scored[first..]).await
    }

    /// Returns the first score of an image with another one, without a look, and whether their bytes are the same.
    ///
    /// # Errors
    /// As [`score_pairs`](Self::score_pairs).
    pub(super) async fn score_pair(
        &self,
        subject: &Subject,
        other: &NumberRecord,
    ) -> StoreResult<(f32, bool)> {
        let scores = self.score_pairs(subject, &[other]).await?;
        Ok(scores[0])
    }

    /// Returns the scores of an image with others, in order, and whether their bytes are the same.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](likeness_core::StoreError::Corrupt) if an embedding is none,
    /// [`StoreError::Unavailable`](likeness_core::StoreError::Unavailable) if a model that is served
    /// elsewhere does not answer.
    pub(super) async fn score_pairs(
        &self,
        subject: &Subject,
        others: &[&NumberRecord],
    ) -> StoreResult<Vec<(f32, bool)>> {
        let compared = self.compare_records(subject, others).await?;
        let scores = others.iter().zip(compared).map(|(other, compared)| {
            if subject.sha256 == other.sha256 {
                (1.0, true)
            } else {
                (compared.score, false)
            }
        });
        Ok(scores.collect())
    }
}

/// Pairs of one image that a stage before has scored, by the other image's number.
#[derive(Debug, Default)]
pub(super) struct Done(HashMap<ImageNumber, ScoredCandidate>);

impl Done {
    /// Takes scores; who the candidates are is looked up again.
    pub(super) fn of(scored: &[ScoredCandidate]) -> Self {
        let by_number = scored
            .iter()
            .map(|candidate| (candidate.number, candidate.clone()));
        Self(by_number.collect())
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

/// Fills an explanation up to [`EXPLAINED`] with what a stage before found far off. Nothing among it could
/// have decided anything: what scored enough and was not found again is left out.
pub(super) fn add_distant(
    scored: &mut Vec<ScoredCandidate>,
    found_before: Vec<ScoredCandidate>,
    threshold: f32,
) {
    let present: HashSet<_> = scored.iter().map(|candidate| candidate.number).collect();
    scored.extend(found_before.into_iter().filter(|candidate| {
        candidate.score < threshold && !candidate.exact_copy && !present.contains(&candidate.number)
    }));
    sort_best_first(scored);
    scored.truncate(EXPLAINED);
}
