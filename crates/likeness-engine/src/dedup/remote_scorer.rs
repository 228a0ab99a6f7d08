//! Scoring by a model that is served elsewhere (docs/adr/022-remote-scorer.md).
//!
//! What is compared of two pictures goes to it as rows of named features, many pairs in a call; the best
//! comparison of a pair counts, as with a scorer in this process. While the model is away the stages that need
//! it wait, and skip nothing.
//!
//! Such a model has one stage: it gets what rows tell ([`Tier::Rows`]). A close look costs milliseconds, and its
//! bounds are part of a scorer's file, which a model elsewhere has none of.

use std::sync::Arc;

use likeness_core::scoring::RowScorer;
use likeness_core::{StoreError, StoreResult};

use super::compare::{Background, Comparison, Descriptors, ViewsMode, compare, each_comparison};
use super::features::{FEATURES, Tier, index_of, values};
use super::records::NumberRecord;
use super::scorer::Scorer;

/// Features of a row unless others are named, in order: what rows tell without anything from a scorer's file.
pub const DEFAULT_FEATURES: [&str; 5] = ["cosine", "pdq_distance", "pdq_quality", "flat", "view"];

/// Needs a background set, which is part of a scorer's file.
const NEEDS_BACKGROUND: &str = "normalised_cosine";

/// What scores pairs.
#[derive(Debug, Clone)]
pub enum PairModel {
    /// A scorer in this process.
    Local(Scorer),
    /// A model served elsewhere.
    Remote(RemoteModel),
}

/// A model served elsewhere, with what cannot be asked of it.
#[derive(Debug, Clone)]
pub struct RemoteModel {
    model: Arc<dyn RowScorer>,
    /// Places in [`FEATURES`] of the numbers of a row.
    columns: Vec<usize>,
    threshold: f32,
    cosine_floor: f32,
}

impl From<Scorer> for PairModel {
    fn from(scorer: Scorer) -> Self {
        Self::Local(scorer)
    }
}

impl PairModel {
    /// Name and version.
    pub fn id(&self) -> String {
        match self {
            Self::Local(scorer) => scorer.id(),
            Self::Remote(remote) => remote.model.id().to_owned(),
        }
    }

    /// Returns the score that a pair needs, unless [`DedupConfig::threshold`](super::DedupConfig::threshold) is
    /// set.
    pub fn threshold(&self) -> f32 {
        match self {
            Self::Local(scorer) => scorer.threshold(),
            Self::Remote(remote) => remote.threshold,
        }
    }

    /// Returns the names of the features that it reads, see [`super::features`].
    pub fn reads(&self) -> Vec<&str> {
        match self {
            Self::Local(scorer) => scorer.reads(),
            Self::Remote(remote) => remote.reads(),
        }
    }

    /// Returns the cosine under which no pair can score `threshold`.
    pub(super) fn cosine_floor(&self, threshold: f32) -> f32 {
        match self {
            Self::Local(scorer) => scorer.cosine_floor(threshold),
            Self::Remote(remote) => remote.cosine_floor,
        }
    }

    /// Compares an image with several others, and returns the best comparison of each, in order. Each is a
    /// function of two images, so it does not matter when or where it is computed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if a model that is served elsewhere does not answer.
    pub(super) async fn compare(
        &self,
        image: &Descriptors,
        others: &[&Descriptors],
    ) -> StoreResult<Vec<Comparison>> {
        match self {
            Self::Local(scorer) => Ok(others
                .iter()
                .map(|other| compare(scorer, image, other))
                .collect()),
            Self::Remote(remote) => remote.compare(image, others).await,
        }
    }

    /// As [`compare`](Self::compare), with decided images.
    ///
    /// # Errors
    /// As there; [`StoreError::Corrupt`] if an embedding is none.
    pub(super) async fn compare_records(
        &self,
        image: &Descriptors,
        others: &[&NumberRecord],
        views: ViewsMode,
    ) -> StoreResult<Vec<Comparison>> {
        let others = others.iter().map(|other| other.descriptors(views));
        match self {
            // One after the other: the vectors of thousands need not be in memory at once.
            Self::Local(scorer) => others
                .map(|other| Ok(compare(scorer, image, &other?)))
                .collect(),
            Self::Remote(remote) => {
                let others = others.collect::<StoreResult<Vec<_>>>()?;
                let others: Vec<_> = others.iter().collect();
                remote.compare(image, &others).await
            }
        }
    }

    /// Returns the scorer, if it is in this process.
    pub(super) fn scorer(&self) -> Option<&Scorer> {
        match self {
            Self::Local(scorer) => Some(scorer),
            Self::Remote(_) => None,
        }
    }
}

/// Returns the places in [`FEATURES`] of the features with these names.
///
/// # Errors
/// What is wrong with them: none are named, one twice, or one that a model elsewhere cannot get.
pub fn columns(features: &[impl AsRef<str>]) -> Result<Vec<usize>, String> {
    let mut columns = Vec::with_capacity(features.len());
    for name in features.iter().map(AsRef::as_ref) {
        let column = index_of(name).ok_or_else(|| {
            format!("there is no feature `{name}`; `likeness features list` names them")
        })?;
        let feature = FEATURES[column];
        if feature.retired {
            return Err(format!("the feature `{name}` is retired"));
        }
        if feature.tier == Tier::Look {
            return Err(format!(
                "`{name}` is known after a close look only; a model elsewhere gets what rows tell"
            ));
        }
        if name == NEEDS_BACKGROUND {
            return Err(format!(
                "`{name}` needs a background set, which is part of a scorer's file; name `cosine`"
            ));
        }
        if columns.contains(&column) {
            return Err(format!("`{name}` is named twice"));
        }
        columns.push(column);
    }
    if columns.is_empty() {
        return Err("no features are named".to_owned());
    }
    Ok(columns)
}

impl RemoteModel {
    /// Returns a model that gets rows of `features`, in their order. `threshold` is the score that a pair needs,
    /// and under `cosine_floor` no candidates are looked for.
    ///
    /// # Errors
    /// As [`columns`].
    pub fn new(
        model: Arc<dyn RowScorer>,
        features: &[impl AsRef<str>],
        threshold: f32,
        cosine_floor: f32,
    ) -> Result<Self, String> {
        Ok(Self {
            model,
            columns: columns(features)?,
            threshold,
            cosine_floor,
        })
    }

    fn reads(&self) -> Vec<&'static str> {
        let columns = self.columns.iter();
        columns.map(|&column| FEATURES[column].name).collect()
    }

    /// Compares an image with several others, and returns the best comparison of each, in order.
    ///
    /// # Errors
    /// If the model does not answer, or not what its port promises: then it has scored nothing.
    async fn compare(
        &self,
        image: &Descriptors,
        others: &[&Descriptors],
    ) -> StoreResult<Vec<Comparison>> {
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let n_features = self.columns.len();
        let none = Background {
            similarity: &|_| 0.0,
            least_cosine: -1.0,
        };
        let mut comparisons = Vec::with_capacity(others.len());
        let mut rows = Vec::with_capacity(others.len() * n_features);
        for (idx, other) in others.iter().enumerate() {
            each_comparison(image, other, &none, &mut |comparison| {
                let values = values(&comparison.features);
                rows.extend(self.columns.iter().map(|&column| values[column]));
                comparisons.push((idx, comparison));
            });
        }
        let scores = self.model.score(&rows, n_features).await?;
        if scores.len() != comparisons.len() {
            return Err(StoreError::invalid(
                likeness_core::scoring::ROLE,
                format!("{} scores for {} pairs", scores.len(), comparisons.len()),
            ));
        }
        let mut best: Vec<Option<Comparison>> = vec![None; others.len()];
        for ((idx, comparison), score) in comparisons.into_iter().zip(scores) {
            // Of equal ones the first counts: the wholes.
            if best[idx].as_ref().is_none_or(|best| score > best.score) {
                best[idx] = Some(Comparison {
                    score,
                    ..comparison
                });
            }
        }
        let best: Option<Vec<Comparison>> = best.into_iter().collect();
        Ok(best.expect("the wholes of each pair were compared"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_elsewhere_cannot_get_is_refused_by_name() {
        assert_eq!(columns(&DEFAULT_FEATURES).map(|it| it.len()), Ok(5));
        for (features, wanted) in [
            (vec![], "no features"),
            (vec!["colour"], "no feature `colour`"),
            (vec!["cosine", "differing"], "close look"),
            (vec!["normalised_cosine"], "background set"),
            (vec!["cosine", "flat", "cosine"], "twice"),
        ] {
            let refused = columns(&features).unwrap_err();
            assert!(refused.contains(wanted), "{refused}");
        }
    }
}
