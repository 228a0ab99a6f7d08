//! From what two pictures have in common to a score, 0 to 1: how likely they are near-duplicates.
//!
//! A scorer is a JSON file that says what it was made from. There are two forms: two stages of boosted trees over
//! named features ([`CascadeSpec`], `"form": "cascade/1"`; `docs/adr/016-a-scorer-of-two-stages.md`), and, without
//! a form, a logistic regression over three terms, calibrated by Platt's method ([`ScorerSpec`]):
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

use likeness_index::inner_product;
use likeness_vision::PdqHash;
use likeness_vision::geometry::CloseLook;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

mod boost;
mod cascade;
mod cascade_fit;
#[cfg(test)]
mod cascade_tests;
mod fit;
mod forest;
mod logistic;
mod sample;
mod spec;
#[cfg(test)]
mod tests;

pub use cascade::{
    CalibrationBin, CascadeSpec, CurvePoint, Grey, Importance, KindFigures, Manifest, Stage,
};
pub use cascade_fit::{CascadeOptions, FittedStage, finish, fit_first, fit_second};
pub use fit::{FitError, FitOptions, FitReport, LabelledPair, PictureKind, fit};
pub use sample::{N_KINDS, Sample, SampleKind};
pub use spec::{Calibration, FeatureSpec, HeldOut, ScorerSpec, Shape, TrainedOn};

use cascade::Cascade;
use spec::SpecProblem;

/// What is compared of two pictures; `dedup::features` gives the names.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PairFeatures {
    /// Cosine of the embeddings.
    pub cosine: f32,
    /// Bits, of 256, in which the PDQ hashes differ.
    pub pdq_distance: u16,
    /// As `pdq_distance`, of the nearest of the eight turned and mirrored forms.
    pub pdq_dihedral: u16,
    /// The lower of the two PDQ qualities, 0 to 100.
    pub pdq_quality_min: u8,
    /// The lower of the two flatnesses, 0 to 100.
    pub flat_min: u8,
    /// How much the sides' ratios differ, see [`Marks::aspect`]; 0 if one is not known.
    pub aspect: u8,
    /// Mean of both pictures' similarities to the background set of the scorer; 0 if it has none.
    pub background: f32,
    /// Whether a view of one was compared with the other.
    pub is_view: bool,
    /// What a close look found, if one was taken.
    pub look: Option<LookFeatures>,
}

/// What a close look at two pictures found, see [`likeness_vision::geometry::CloseLook`].
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct LookFeatures {
    /// Share of the common structure that differs, 0 to 1.
    pub differing: f32,
    /// Mean correlation of blocks, -1 to 1.
    pub block_correlation: f32,
    /// Blocks with structure.
    pub blocks: f32,
    /// Share of blocks without, 0 to 1.
    pub plain: f32,
    /// Share of the picture of which more is shown that both show, 0 to 1.
    pub overlap: f32,
    /// Greatest difference of the channels' means, 0 to 255.
    pub colour_difference: f32,
    /// Keypoints that one map lays on each other.
    pub inliers: f32,
    /// Share of the expected keypoints that are there, 0 to 1.
    pub met: f32,
    /// Correlation of small blocks under the keypoints' map, -1 to 1.
    pub plane_agreement: f32,
    /// What the keypoints' map is worth.
    pub evidence: f32,
    /// Keypoints of the picture that has fewer; 0 in rows of versions that did not count them.
    #[serde(default)]
    pub keypoints: f32,
    /// Mean deviation of brightness in the blocks that were compared, 0 to 24; 0 in rows of versions that did not
    /// measure it.
    #[serde(default)]
    pub structure: f32,
}

impl From<&CloseLook> for LookFeatures {
    fn from(look: &CloseLook) -> Self {
        Self {
            differing: look.differing,
            block_correlation: look.correlation,
            blocks: look.n_blocks as f32,
            plain: look.plain,
            overlap: look.overlap,
            colour_difference: f32::from(look.colour),
            inliers: look.geometric.inliers as f32,
            met: look.geometric.met,
            plane_agreement: look.geometric.agreement,
            evidence: look.geometric.evidence(),
            keypoints: look.n_keypoints as f32,
            structure: look.structure,
        }
    }
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
    /// Width to height, see [`aspect`]; nothing in rows of versions that did not keep it.
    pub aspect: Option<i8>,
}

/// Returns the ratio of width to height in quarters of an octave, rounded: 0 for a square, 4 for twice as wide as high,
/// -4 for twice as high as wide. So coarse that it tells shapes, not files, from each other: edits of one photograph have
/// its very size, and a scorer is to learn the picture. Nothing for a side of 0.
pub fn aspect(width: u32, height: u32) -> Option<i8> {
    let ratio = f64::from(width) / f64::from(height);
    (width > 0 && height > 0).then(|| (4.0 * ratio.log2()).round() as i8)
}

impl PairFeatures {
    /// Returns the features of two pictures whose embeddings have this cosine; which is first does not
    /// matter.
    pub fn of(cosine: f32, first: &Marks, second: &Marks) -> Self {
        let turned = first.pdq.dihedral_distance(&second.pdq);
        Self {
            pdq_dihedral: u16::try_from(turned).expect("256 bits differ in at most 256 places"),
            aspect: aspect_difference(first.aspect, second.aspect),
            ..Self::upright(cosine, first, second)
        }
    }

    /// Returns the features of two pictures of which none but the cosine matters, since it is too low: as if turning one
    /// of them made no difference.
    pub(super) fn upright(cosine: f32, first: &Marks, second: &Marks) -> Self {
        let distance = u16::try_from(first.pdq.distance(&second.pdq))
            .expect("256 bits differ in at most 256 places");
        Self {
            cosine,
            pdq_distance: distance,
            pdq_dihedral: distance,
            pdq_quality_min: first.pdq_quality.min(second.pdq_quality),
            flat_min: first.flatness.min(second.flatness),
            ..Self::default()
        }
    }
}

/// Returns how far two ratios of sides are from each other, or one from the other after a quarter turn.
fn aspect_difference(first: Option<i8>, second: Option<i8>) -> u8 {
    let (Some(first), Some(second)) = (first, second) else {
        return 0;
    };
    let upright = i16::from(first) - i16::from(second);
    let turned = i16::from(first) + i16::from(second);
    let least = upright.unsigned_abs().min(turned.unsigned_abs());
    u8::try_from(least).expect("one of a sum and a difference of bytes is a byte")
}

/// The files of [`Scorer::builtins`], newest first.
const BUILTINS: [&str; 2] = [include_str!("scorer_v4.json"), REGRESSION];
/// The file of [`Scorer::regression`].
const REGRESSION: &str = include_str!("scorer_v3.json");

/// How many terms the regression has.
pub(crate) const N_TERMS: usize = 3;

/// A calibrated model of pairs, see the [module](self).
#[derive(Debug, Clone, PartialEq)]
pub struct Scorer(Model);

#[derive(Debug, Clone, PartialEq)]
enum Model {
    Logistic(Box<Logistic>),
    Cascade(Box<Cascade>),
}

#[derive(Debug, Clone, PartialEq)]
struct Logistic {
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
    /// Returns the scorer that decides where no other is named: the newest that comes with this version.
    pub fn builtin() -> Self {
        Self::from_json(BUILTINS[0]).expect("the file is checked by a test")
    }

    /// Returns the scorers that come with this version, newest first: a service may stay with the one that it has.
    pub fn builtins() -> impl Iterator<Item = Self> {
        let read = |file| Self::from_json(file).expect("the files are checked by a test");
        BUILTINS.into_iter().map(read)
    }

    /// Returns `pairs/3`, a regression that takes no looks: it says which of several comparisons is the best while
    /// there is no other scorer.
    pub fn regression() -> Self {
        Self::from_json(REGRESSION).expect("the file is checked by a test")
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// If it is not a scorer, or one that breaks an invariant of the [module](self).
    pub fn from_json(json: &str) -> Result<Self, ScorerError> {
        /// Tells the forms apart.
        #[derive(Deserialize)]
        struct Form {
            form: Option<String>,
        }
        let Form { form } = serde_json::from_str(json)?;
        match form {
            None => Ok(Self::from_spec(serde_json::from_str(json)?)?),
            Some(_) => Self::from_cascade(serde_json::from_str(json)?),
        }
    }

    /// Returns the scorer as JSON with a line feed at its end.
    pub fn to_json(&self) -> String {
        let json = match &self.0 {
            Model::Logistic(logistic) => serde_json::to_string_pretty(&logistic.spec),
            // Some thousand numbers: a line each would be read by nobody.
            Model::Cascade(cascade) => serde_json::to_string(&cascade.spec),
        };
        json.expect("a map of strings and finite numbers") + "\n"
    }

    pub(crate) fn from_spec(spec: ScorerSpec) -> Result<Self, SpecProblem> {
        spec.check()?;
        let slope = spec.calibration.slope;
        Ok(Self(Model::Logistic(Box::new(Logistic {
            slopes: spec.weights().map(|weight| weight * slope),
            bias: spec.bias * slope + spec.calibration.intercept,
            spec,
        }))))
    }

    pub(crate) fn from_cascade(spec: CascadeSpec) -> Result<Self, ScorerError> {
        let cascade = Cascade::new(spec).map_err(ScorerError::Invalid)?;
        Ok(Self(Model::Cascade(Box::new(cascade))))
    }

    /// Returns the score, 0 to 1. Two pairs with equal features have equal scores on every machine of one
    /// architecture; the last bit of the exponential is the platform's.
    pub fn score(&self, features: &PairFeatures) -> f32 {
        match &self.0 {
            Model::Logistic(logistic) => logistic.score(features),
            Model::Cascade(cascade) => cascade.score(features),
        }
    }

    /// Returns the least score of near-duplicates.
    pub fn threshold(&self) -> f32 {
        match &self.0 {
            Model::Logistic(logistic) => logistic.spec.threshold,
            Model::Cascade(cascade) => cascade.spec.threshold,
        }
    }

    /// Returns the least score of near-duplicates where nothing is looked at.
    pub fn threshold_unlooked(&self) -> f32 {
        let unlooked = self.cascade().and_then(|spec| spec.threshold_unlooked);
        unlooked.unwrap_or_else(|| self.threshold())
    }

    /// Tells whether a close look can change the score of a pair that scores this without one.
    pub fn is_grey(&self, score: f32) -> bool {
        match &self.0 {
            Model::Logistic(_) => false,
            Model::Cascade(cascade) => cascade.is_grey(score),
        }
    }

    /// Tells whether a pair that was looked at scores so high that no other needs to be.
    pub(super) fn is_beyond_doubt(&self, score: f32) -> bool {
        self.cascade().is_some_and(|spec| score > spec.grey.high)
    }

    /// Tells whether it can make use of close looks.
    pub fn can_look(&self) -> bool {
        self.cascade().is_some_and(|spec| spec.second.is_some())
    }

    /// Returns the similarity of an embedding of unit length to the background set, 0 if there is none.
    pub fn background(&self, embedding: &[f32]) -> f32 {
        match &self.0 {
            Model::Cascade(cascade) if cascade.spec.background.len() == embedding.len() => {
                inner_product(embedding, &cascade.spec.background)
            }
            _ => 0.0,
        }
    }

    /// Returns the cosine under which every pair scores 0 without more; -1 if there is none.
    pub(super) fn least_cosine(&self) -> f32 {
        self.cascade().map_or(-1.0, |spec| spec.min_cosine)
    }

    /// Returns a score that no pair of this cosine exceeds: most pairs need no more than it.
    pub fn max_score_for_cosine(&self, cosine: f32) -> f32 {
        match &self.0 {
            // Two pictures that are not flat.
            Model::Logistic(logistic) => logistic.score(&PairFeatures {
                cosine,
                pdq_distance: 256,
                ..PairFeatures::default()
            }),
            // A look may find anything.
            Model::Cascade(cascade) => f32::from(u8::from(cosine >= cascade.spec.min_cosine)),
        }
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
        let (name, version) = match &self.0 {
            Model::Logistic(logistic) => (&logistic.spec.name, logistic.spec.version),
            Model::Cascade(cascade) => (&cascade.spec.name, cascade.spec.version),
        };
        format!("{name}/{version}")
    }

    /// Returns the names of the features that it reads, see `dedup::features`.
    pub fn reads(&self) -> Vec<&str> {
        match &self.0 {
            Model::Logistic(_) => vec!["cosine", "flat", "pdq_distance", "pdq_quality"],
            Model::Cascade(cascade) => cascade.reads(),
        }
    }

    /// What the file says, if it is a regression: coefficients, units, and what they were fitted on.
    pub fn spec(&self) -> Option<&ScorerSpec> {
        match &self.0 {
            Model::Logistic(logistic) => Some(&logistic.spec),
            Model::Cascade(_) => None,
        }
    }

    /// What the file says, if it is of two stages of trees.
    pub fn cascade(&self) -> Option<&CascadeSpec> {
        match &self.0 {
            Model::Logistic(_) => None,
            Model::Cascade(cascade) => Some(&cascade.spec),
        }
    }
}

impl Logistic {
    fn score(&self, features: &PairFeatures) -> f32 {
        let terms = terms(&self.spec.shape, features);
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
