//! From what two pictures have in common to a score, 0 to 1: how likely they are near-duplicates.
//!
//! A logistic regression over three terms, calibrated by Platt's method, in a JSON file that says what it
//! was made from:
//!
//! ```text
//! cosine     c, of the embeddings                                               -1 ..= 1
//! rise       max(0, c - cosine_bend): lets the slope change                      0 ..= 1
//! doubt      flat × (1 - agreement × trust): lowers the score                    0 ..= 1
//!              flat      = flatness of the less flat picture
//!              agreement = max(0, 1 - distance / pdq_no_evidence), of the perceptual hashes
//!              trust     = quality from pdq_quality_none (0) to pdq_quality_full (1), linear
//! raw   = bias + Σ weight · term
//! score = 1 / (1 + exp(-(slope · raw + intercept)))
//! ```
//!
//! Two stickers are alike for their white backgrounds, so a pair of flat pictures needs a higher cosine
//! ([`flatness`](super::flatness)) unless their hashes agree. A photo in a white frame is compared with
//! the photo: one of the two is not flat, and nothing more is asked. Hashes say nothing of photos, where the cosine knows all that they
//! could add; so there is a cosine under which no pair can be near-duplicates.
//!
//! Invariants, checked when a file is read: the score never falls when the cosine rises; PDQ only helps,
//! so a crop, whose hash has nothing in common with the original's, is judged by its cosine; flatness
//! never helps; no input gives NaN. A cosine that is no number counts as -1.
//!
//! The score is a probability at the share of copies named in `trained_on.prior`, the share among the
//! pairs that reach the scorer, not among all pairs of pictures.

use likeness_vision::PdqHash;

mod fit;
mod logistic;
mod spec;
#[cfg(test)]
mod tests;

pub use fit::{FitError, FitOptions, FitReport, LabelledPair, PictureKind, fit};
pub use spec::{Calibration, FeatureSpec, HeldOut, ScorerSpec, Shape, TrainedOn};

use spec::SpecProblem;

/// What is compared of two pictures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairFeatures {
    /// Cosine of the embeddings.
    pub cosine: f32,
    /// Bits, of 256, in which the PDQ hashes differ.
    pub pdq_distance: u16,
    /// The lower of the two PDQ qualities, 0 to 100.
    pub pdq_quality_min: u8,
    /// The lower of the two flatnesses, 0 to 100.
    pub flat_min: u8,
}

/// What a picture is compared by, besides its embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// PDQ hash.
    pub pdq: PdqHash,
    /// PDQ quality, 0 to 100.
    pub pdq_quality: u8,
    /// Flatness, 0 to 100.
    pub flatness: u8,
}

impl PairFeatures {
    /// Returns the features of two pictures whose embeddings have this cosine; which is first does not
    /// matter.
    pub fn of(cosine: f32, first: &Marks, second: &Marks) -> Self {
        Self {
            cosine,
            pdq_distance: u16::try_from(first.pdq.distance(&second.pdq))
                .expect("256 bits differ in at most 256 places"),
            pdq_quality_min: first.pdq_quality.min(second.pdq_quality),
            flat_min: first.flatness.min(second.flatness),
        }
    }
}

/// How many terms the regression has.
pub(crate) const N_TERMS: usize = 3;

/// A calibrated model of pairs, see the [module](self).
#[derive(Debug, Clone, PartialEq)]
pub struct Scorer {
    spec: ScorerSpec,
    /// Weights of the terms and bias, calibration included.
    slopes: [f64; N_TERMS],
    bias: f64,
}

/// Why a scorer's JSON was refused.
#[derive(Debug, thiserror::Error)]
pub enum ScorerError {
    /// It is not JSON of this form.
    #[error("scorer file has another form")]
    Json(#[from] serde_json::Error),
    /// It breaks one of the invariants.
    #[error("scorer file is not valid: {0}")]
    Invalid(String),
}

impl From<SpecProblem> for ScorerError {
    fn from(problem: SpecProblem) -> Self {
        Self::Invalid(problem.0)
    }
}

impl Scorer {
    /// Returns the scorer that comes with this version.
    pub fn builtin() -> Self {
        Self::from_json(include_str!("scorer_v3.json")).expect("the file is checked by a test")
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// If it is not a scorer, or one that breaks an invariant of the [module](self).
    pub fn from_json(json: &str) -> Result<Self, ScorerError> {
        Ok(Self::from_spec(serde_json::from_str(json)?)?)
    }

    /// Returns the scorer as JSON with a line feed at its end.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(&self.spec);
        json.expect("a map of strings and finite numbers") + "\n"
    }

    pub(crate) fn from_spec(spec: ScorerSpec) -> Result<Self, SpecProblem> {
        spec.check()?;
        let slope = spec.calibration.slope;
        Ok(Self {
            slopes: spec.weights().map(|weight| weight * slope),
            bias: spec.bias * slope + spec.calibration.intercept,
            spec,
        })
    }

    /// Returns the score, 0 to 1. Two pairs with equal features have equal scores on every machine of one
    /// architecture; the last bit of the exponential is the platform's.
    pub fn score(&self, features: &PairFeatures) -> f32 {
        self.score_terms(&terms(&self.spec.shape, features))
    }

    /// Returns the least score of near-duplicates.
    pub fn threshold(&self) -> f32 {
        self.spec.threshold
    }

    /// Returns the score of two pictures that are not flat: no pair of this cosine scores higher, so most
    /// pairs need no more than it.
    pub fn max_score_for_cosine(&self, cosine: f32) -> f32 {
        self.score(&PairFeatures {
            cosine,
            pdq_distance: 256,
            pdq_quality_min: 0,
            flat_min: 0,
        })
    }

    /// Returns the cosine under which no pair can score `threshold`, to 1e-6: -1 if any pair can, 1 if none.
    pub fn cosine_floor(&self, threshold: f32) -> f32 {
        let (mut low, mut high) = (-1.0_f32, 1.0_f32);
        // The score grows with the cosine, so there is one such place.
        for _ in 0..24 {
            let middle = f32::midpoint(low, high);
            if self.max_score_for_cosine(middle) < threshold {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Name and version, as decisions and answers give them.
    pub fn id(&self) -> String {
        format!("{}/{}", self.spec.name, self.spec.version)
    }

    /// What the file says: coefficients, units, and what they were fitted on.
    pub fn spec(&self) -> &ScorerSpec {
        &self.spec
    }

    fn score_terms(&self, terms: &[f64; N_TERMS]) -> f32 {
        // In f64 and one order, so that a greater term cannot lower the rounded sum.
        let logit = terms
            .iter()
            .zip(&self.slopes)
            .fold(self.bias, |sum, (term, slope)| sum + term * slope);
        logistic::sigmoid(logit) as f32
    }
}

/// Returns cosine, rise and doubt, see the [module](self).
pub(crate) fn terms(shape: &Shape, features: &PairFeatures) -> [f64; N_TERMS] {
    let cosine = if features.cosine.is_nan() {
        -1.0
    } else {
        f64::from(features.cosine.clamp(-1.0, 1.0))
    };
    let agreement = (1.0 - f64::from(features.pdq_distance) / shape.pdq_no_evidence).max(0.0);
    let quality = f64::from(features.pdq_quality_min);
    let trust =
        (quality - shape.pdq_quality_none) / (shape.pdq_quality_full - shape.pdq_quality_none);
    let flat = f64::from(features.flat_min.min(100)) / 100.0;
    [
        cosine,
        (cosine - shape.cosine_bend).max(0.0),
        flat * (1.0 - agreement * trust.clamp(0.0, 1.0)),
    ]
}
