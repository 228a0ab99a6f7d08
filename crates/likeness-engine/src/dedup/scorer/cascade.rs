//! A scorer of two stages of boosted trees, as its file says it.
//!
//! The first stage reads what rows tell, for every pair. Where it is in doubt, between `grey.low` and `grey.high`,
//! a close look at the pixels may be taken; then the second stage, which reads that too, has the say. Both are
//! calibrated by Platt's method to the same prior, so their scores mean the same; where nothing is looked at, the first
//! stage alone needs a higher one for the same rates of strangers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::PairFeatures;
use super::forest::{Compiled, Forest};
use super::logistic::sigmoid;
use super::spec::{Calibration, HeldOut};
use crate::dedup::features::{FEATURES, Tier, values};

/// What the file says of its form.
pub(super) const FORM: &str = "cascade/1";

/// Most components of the mean of the background set.
const MAX_DIM: usize = 4_096;

/// A scorer of two stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CascadeSpec {
    /// `cascade/1`.
    pub form: String,
    /// What it is called in decisions, with `version`.
    pub name: String,
    /// Raised with every new fit.
    pub version: u32,
    /// Day of the fit, ISO 8601.
    pub date: String,
    /// Pairs of a lower cosine score 0, whatever else: most pairs cost no more than this comparison.
    pub min_cosine: f32,
    /// Mean of the embeddings of the background set; empty if there was none.
    pub background: Vec<f32>,
    /// Scores of the first stage between which a look is worth its time.
    pub grey: Grey,
    /// For every pair.
    pub first: Stage,
    /// For pairs that were looked at; without it no pair is.
    pub second: Option<Stage>,
    /// Least score of near-duplicates.
    pub threshold: f32,
    /// The same where nothing is looked at, so that the first stage has the say; `threshold` if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold_unlooked: Option<f32>,
    /// What it was made from, and how well it did.
    pub manifest: Manifest,
}

/// Where the first stage is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Grey {
    /// Least score of the first stage.
    pub low: f32,
    /// Highest score of the first stage.
    pub high: f32,
}

/// Trees, and the way from their sum to a probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// From the sum of the trees to log-odds.
    pub calibration: Calibration,
    /// The trees.
    pub forest: Forest,
}

/// What a scorer was made from, and how well it did on what was held out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Sources, in words.
    pub data: String,
    /// Seed of the edits, the drawn pictures and the hold-out.
    pub seed: u64,
    /// Share of the pictures held out for calibration, threshold and the figures below.
    pub held_out: f64,
    /// Share of copies at which a score is a probability.
    pub prior: f64,
    /// Labelled pairs, and the copies among them.
    pub pairs: u64,
    /// Copies among them.
    pub duplicate_pairs: u64,
    /// How the threshold was chosen, in words.
    pub threshold_by: String,
    /// Held-out figures at the threshold, by what the pairs are.
    pub figures: Vec<KindFigures>,
    /// Recall and false positives at thresholds, highest first.
    pub curve: Vec<CurvePoint>,
    /// Mean score and share of copies, by score.
    pub calibration: Vec<CalibrationBin>,
    /// What each feature brought, as a share of its stage's gain, most first.
    pub importance: Vec<Importance>,
}

/// Held-out figures of one kind of pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KindFigures {
    /// `photos`, `stickers`, `soft`, `drawn`, or `judged`.
    pub kind: String,
    /// The figures.
    pub held_out: HeldOut,
}

/// A point of the ROC and of the precision-recall curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CurvePoint {
    /// Least score.
    pub threshold: f32,
    /// Share of held-out copies that reach it.
    pub recall: f64,
    /// Share of held-out strangers that reach it.
    pub fpr: f64,
    /// Share of copies among what reaches it, at the prior.
    pub precision: f64,
}

/// How far scores are probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CalibrationBin {
    /// Held-out pairs.
    pub pairs: u64,
    /// Their mean score, weighted to the prior.
    pub mean_score: f64,
    /// Share of copies, weighted likewise.
    pub share: f64,
}

/// What a feature brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Importance {
    /// `1` or `2`.
    pub stage: u8,
    /// Its name in the registry.
    pub feature: String,
    /// Share of the gain of that stage, 0 to 1.
    pub share: f64,
}

/// A cascade made ready for pairs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cascade {
    pub(super) spec: CascadeSpec,
    first: Compiled,
    second: Option<Compiled>,
}

impl Cascade {
    /// Checks a file and makes it ready.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(spec: CascadeSpec) -> Result<Self, String> {
        let ensure = |holds: bool, problem: &str| {
            if holds {
                Ok(())
            } else {
                Err(problem.to_owned())
            }
        };
        ensure(
            spec.form == FORM,
            &format!(
                "its form is `{}`; this version reads `{FORM}` and files without a form",
                spec.form
            ),
        )?;
        ensure(
            (-1.0..=1.0).contains(&spec.min_cosine),
            "`min_cosine` must lie between -1 and 1",
        )?;
        ensure(
            spec.background.len() <= MAX_DIM
                && spec.background.iter().all(|value| value.abs() <= 1.0),
            "the background must have at most 4,096 numbers between -1 and 1",
        )?;
        let Grey { low, high } = spec.grey;
        ensure(
            low >= 0.0 && low <= high && high <= 1.0,
            "`grey.low` must not be above `grey.high`, and both must lie between 0 and 1",
        )?;
        ensure(
            spec.threshold > 0.0 && spec.threshold <= 1.0,
            "the threshold must be above 0 and at most 1",
        )?;
        ensure(
            spec.threshold_unlooked
                .is_none_or(|threshold| threshold > 0.0 && threshold <= 1.0),
            "the threshold without looks must be above 0 and at most 1",
        )?;
        for stage in [Some(&spec.first), spec.second.as_ref()]
            .into_iter()
            .flatten()
        {
            let Calibration { slope, intercept } = stage.calibration;
            ensure(
                slope > 0.0 && slope < 1e6 && intercept.abs() < 1e6,
                "the slope of a calibration must be above 0, and its numbers below a million",
            )?;
        }
        let reads_look = |name: &String| {
            FEATURES
                .iter()
                .any(|feature| feature.name == name && feature.tier == Tier::Look)
        };
        ensure(
            !spec.first.forest.reads.iter().any(reads_look),
            "the first stage reads a feature that needs a look",
        )?;
        let first = spec.first.forest.compile()?;
        let second = spec.second.as_ref();
        let second = second.map(|stage| stage.forest.compile()).transpose()?;
        Ok(Self {
            spec,
            first,
            second,
        })
    }

    pub(super) fn score(&self, pair: &PairFeatures) -> f32 {
        let values = values(pair);
        if values[0] < self.spec.min_cosine {
            return 0.0;
        }
        match (&self.second, &self.spec.second, &pair.look) {
            (Some(forest), Some(stage), Some(_)) => calibrated(forest.raw(&values), stage),
            _ => calibrated(self.first.raw(&values), &self.spec.first),
        }
    }

    pub(super) fn is_grey(&self, first_score: f32) -> bool {
        let Grey { low, high } = self.spec.grey;
        self.second.is_some() && (low..=high).contains(&first_score)
    }

    pub(super) fn reads(&self) -> Vec<&str> {
        let stages = [Some(&self.spec.first), self.spec.second.as_ref()];
        let mut reads: Vec<&str> = stages
            .into_iter()
            .flatten()
            .flat_map(|stage| stage.forest.reads.iter().map(String::as_str))
            .collect();
        reads.sort_unstable();
        reads.dedup();
        reads
    }
}

fn calibrated(raw: f64, stage: &Stage) -> f32 {
    sigmoid(stage.calibration.slope * raw + stage.calibration.intercept) as f32
}
