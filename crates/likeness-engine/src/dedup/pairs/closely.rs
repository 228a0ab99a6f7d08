//! Pairs that are scored outside of the pipeline's stages, by corrections and by sorting anew: with looks too.

use std::sync::Arc;

use likeness_core::StoreResult;

use super::super::looks::Looker;
use super::super::records::NumberRecord;
use super::super::scorer::PairFeatures;
use super::{PairModel, PairScorer, Subject};

impl PairScorer {
    /// Returns what takes the looks, if any are taken.
    pub(in crate::dedup) fn looker(&self) -> Option<Arc<Looker>> {
        self.looker.clone()
    }

    /// Returns the score of an image with another one, looked at if it is in doubt, and whether their bytes are the same.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](likeness_core::StoreError::Corrupt) if the other one's embedding is none; if the
    /// store of originals fails.
    pub(in crate::dedup) async fn look_at_pair(
        &self,
        subject: &Subject,
        other: &NumberRecord,
    ) -> StoreResult<(f32, bool)> {
        let is_same = subject.sha256 == other.sha256;
        let scores = self.look_at_pairs(subject, &[other]).await?;
        Ok((scores[0], is_same))
    }

    /// Returns the scores of an image with others, in their order. As when an image is decided: the best of those in
    /// doubt are looked at, at most as many as for an image and none after one that leaves no doubt, and the rest of
    /// them score at most what the best of these does. A function of what is compared and of the stored bytes.
    ///
    /// # Errors
    /// As [`look_at_pair`](Self::look_at_pair).
    pub(in crate::dedup) async fn look_at_pairs(
        &self,
        subject: &Subject,
        others: &[&NumberRecord],
    ) -> StoreResult<Vec<f32>> {
        let compared = self.compare_records(subject, others).await?;
        let is_same = |other: &NumberRecord| subject.sha256 == other.sha256;
        let mut scores: Vec<f32> = others
            .iter()
            .zip(&compared)
            .map(|(other, compared)| match is_same(other) {
                true => 1.0,
                false => compared.score,
            })
            .collect();
        // A model that is served elsewhere takes no looks.
        let (Some(looker), PairModel::Local(scorer)) = (&self.looker, &self.model) else {
            return Ok(scores);
        };
        let mut doubtful = Vec::new();
        for (place, (other, compared)) in others.iter().zip(&compared).enumerate() {
            if !is_same(other) && scorer.is_grey(scores[place]) {
                doubtful.push((scores[place], compared.cosine, place));
            }
        }
        doubtful.sort_by(|a, b| {
            b.0.total_cmp(&a.0)
                .then_with(|| b.1.total_cmp(&a.1))
                .then_with(|| others[a.2].id.cmp(&others[b.2].id))
        });
        let mut highest: Option<f32> = None;
        let left = doubtful.split_off(doubtful.len().min(looker.max_looks()));
        for (_, _, place) in doubtful {
            if highest.is_some_and(|highest| scorer.is_beyond_doubt(highest)) {
                break;
            }
            let (other, compared) = (others[place], &compared[place]);
            let own = (subject.sha256, subject.bytes.as_ref());
            let look = looker.look(own, other.sha256, compared.view.as_ref());
            let Some(look) = look.await? else { continue };
            let score = scorer.score(&PairFeatures {
                look: Some(look),
                ..compared.features
            });
            scores[place] = score;
            highest = Some(highest.map_or(score, |highest| highest.max(score)));
        }
        for (_, _, place) in left {
            scores[place] = highest.map_or(scores[place], |highest| scores[place].min(highest));
        }
        Ok(scores)
    }
}
