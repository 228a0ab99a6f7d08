//! The scorer's JSON file. Its form is stable: a new term is a new `version`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::N_TERMS;

/// Names of the terms, in order.
pub(super) const TERM_NAMES: [&str; N_TERMS] = ["cosine", "rise", "doubt"];
const TERM_UNITS: [&str; N_TERMS] = [
    "cosine of embeddings, -1 to 1",
    "max(0, cosine - cosine_bend)",
    "flatness of the less flat picture times (1 - PDQ agreement times trust), 0 to 1",
];

/// A scorer, as the file says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScorerSpec {
    /// What it is called in decisions, with `version`.
    pub name: String,
    /// Raised with every new set of coefficients.
    pub version: u32,
    /// Day of the fit, ISO 8601.
    pub date: String,
    /// Constants of the terms.
    pub shape: Shape,
    /// The terms in order: `cosine`, `rise`, `doubt`.
    pub features: Vec<FeatureSpec>,
    /// Raw score of a pair whose standardised terms are all zero.
    pub standardised_bias: f64,
    /// Raw score of a pair whose terms are all zero.
    pub bias: f64,
    /// From raw score to log-odds.
    pub calibration: Calibration,
    /// Least score of near-duplicates.
    pub threshold: f32,
    /// What the coefficients come from.
    pub trained_on: TrainedOn,
}

/// Constants of the terms; see the module's table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Cosine from which on `rise` counts.
    pub cosine_bend: f64,
    /// Distance, in bits of 256, from which on PDQ says nothing. Hashes of unlike pictures differ in 128.
    pub pdq_no_evidence: f64,
    /// Quality up to which PDQ is not trusted at all.
    pub pdq_quality_none: f64,
    /// Quality from which on it is trusted fully.
    pub pdq_quality_full: f64,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            cosine_bend: 0.3,
            pdq_no_evidence: 96.0,
            pdq_quality_none: 50.0,
            pdq_quality_full: 100.0,
        }
    }
}

/// One term of the regression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSpec {
    /// Its name.
    pub name: String,
    /// What it measures, for people.
    pub unit: String,
    /// Raw score per unit of the term.
    pub weight: f64,
    /// Mean of the training pairs, copies and others in equal parts.
    pub mean: f64,
    /// Standard deviation of the same; `weight · scale` compares terms with each other.
    pub scale: f64,
}

/// Platt's calibration: log-odds = slope · raw + intercept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Above zero.
    pub slope: f64,
    /// In log-odds.
    pub intercept: f64,
}

/// What a scorer was fitted on, and how well it did on what was held out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainedOn {
    /// Sources and their kinds, in words.
    pub data: String,
    /// Groups of pairs: pictures, or families of stickers.
    pub groups: u64,
    /// Pairs, copies included.
    pub pairs: u64,
    /// Copies among them.
    pub duplicate_pairs: u64,
    /// Edits the copies were made with.
    pub edits: Vec<String>,
    /// Seed of the edits and of the hold-out.
    pub seed: u64,
    /// Share of copies at which a score is a probability.
    pub prior: f64,
    /// Share of the groups held out for calibration, threshold and the figures below.
    pub held_out: f64,
    /// Figures of pairs with a photo in them.
    pub photos_held_out: HeldOut,
    /// Figures of pairs of stickers, if there were any.
    pub stickers_held_out: Option<HeldOut>,
}

/// How well a scorer did on held-out pairs of one kind.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeldOut {
    /// Share of other pairs that may reach the threshold.
    pub fpr_target: f64,
    /// Share of held-out other pairs that do.
    pub fpr: f64,
    /// Held-out other pairs.
    pub fpr_pairs: u64,
    /// Share of held-out copies that reach the threshold.
    pub recall: f64,
    /// Held-out copies.
    pub recall_pairs: u64,
}

/// What is wrong with a spec.
#[derive(Debug)]
pub(crate) struct SpecProblem(pub(crate) String);

impl ScorerSpec {
    /// Weights of the terms in order.
    pub(super) fn weights(&self) -> [f64; N_TERMS] {
        std::array::from_fn(|idx| self.features[idx].weight)
    }

    /// Returns the terms with their names and units.
    pub(super) fn features(
        weights: [f64; N_TERMS],
        means: [f64; N_TERMS],
        scales: [f64; N_TERMS],
    ) -> Vec<FeatureSpec> {
        let feature = |idx: usize| FeatureSpec {
            name: TERM_NAMES[idx].to_owned(),
            unit: TERM_UNITS[idx].to_owned(),
            weight: weights[idx],
            mean: means[idx],
            scale: scales[idx],
        };
        (0..N_TERMS).map(feature).collect()
    }

    /// Checks the invariants of the [scorer](super).
    pub(super) fn check(&self) -> Result<(), SpecProblem> {
        let ensure = |holds: bool, problem: &str| {
            if holds {
                Ok(())
            } else {
                Err(SpecProblem(problem.to_owned()))
            }
        };
        let names: Vec<&str> = self
            .features
            .iter()
            .map(|feature| feature.name.as_str())
            .collect();
        ensure(
            names == TERM_NAMES,
            &format!(
                "the features must be `{}` in this order",
                TERM_NAMES.join("`, `")
            ),
        )?;
        let shape = &self.shape;
        let numbers = [
            shape.cosine_bend,
            shape.pdq_no_evidence,
            shape.pdq_quality_none,
            shape.pdq_quality_full,
            self.bias,
            self.calibration.slope,
            self.calibration.intercept,
        ];
        ensure(
            numbers
                .iter()
                .chain(&self.weights())
                .all(|number| number.abs() < 1e6),
            "a number is not finite or beyond a million",
        )?;
        ensure(
            shape.pdq_no_evidence > 0.0,
            "`pdq_no_evidence` must be above 0",
        )?;
        ensure(
            shape.pdq_quality_full > shape.pdq_quality_none,
            "`pdq_quality_full` must be above `pdq_quality_none`",
        )?;
        ensure(
            self.calibration.slope > 0.0,
            "the slope of the calibration must be above 0",
        )?;
        let [cosine, rise, doubt] = self.weights();
        ensure(
            cosine >= 0.0 && cosine + rise >= 0.0,
            "the score must not fall when the cosine rises",
        )?;
        ensure(doubt <= 0.0, "doubt must not raise the score")?;
        ensure(
            self.threshold > 0.0 && self.threshold <= 1.0,
            "the threshold must be above 0 and at most 1",
        )
    }
}
