//! Fits a [`Scorer`] on labelled pairs: regression on one part of the groups, calibration and threshold
//! on the rest. Deterministic: the same pairs in the same order with the same options give the same file.
//!
//! Photos and stickers share weights and threshold, yet each kind has a rate of false positives of its
//! own: the threshold is the higher of the two that keep them.

use std::collections::HashSet;

use serde::Serialize;

use super::logistic::{self, Row};
use super::spec::{Calibration, HeldOut, ScorerSpec, Shape, SpecProblem, TERM_NAMES, TrainedOn};
use super::{N_TERMS, PairFeatures, Scorer, terms};

/// A pair whose truth is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelledPair {
    /// What is compared.
    pub features: PairFeatures,
    /// Whether the two are near-duplicates.
    pub label: bool,
    /// Pairs of one group are held out together: the picture that the pair's first image was made from.
    pub group: u64,
    /// Which rate of false positives the pair counts for.
    pub kind: PictureKind,
}

/// What a pair shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureKind {
    /// At least one photo.
    Photo,
    /// Two stickers: objects on a plain background.
    Sticker,
}

/// How to fit, and what the file should say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct FitOptions {
    /// See [`ScorerSpec::name`].
    pub name: String,
    /// See [`ScorerSpec::version`].
    pub version: u32,
    /// See [`ScorerSpec::date`]. There is no clock here.
    pub date: String,
    /// See [`TrainedOn::data`].
    pub data: String,
    /// See [`TrainedOn::edits`].
    pub edits: Vec<String>,
    /// Decides which groups are held out.
    pub seed: u64,
    /// Share of the groups to hold out, above 0 and below 1.
    pub held_out: f64,
    /// Share of copies among the pairs that will be scored, above 0 and below 1.
    pub prior: f64,
    /// Share of other pairs with a photo that may reach the threshold. Below one over their number, none
    /// may.
    pub fpr_target: f64,
    /// As `fpr_target`, of pairs of stickers.
    pub sticker_fpr_target: f64,
    /// Penalty of a standardised weight; keeps it finite where copies and others part cleanly.
    pub l2: f64,
    /// Constants of the terms.
    pub shape: Shape,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            name: "pairs".to_owned(),
            version: 3,
            date: String::new(),
            data: String::new(),
            edits: Vec::new(),
            seed: 1,
            held_out: 0.5,
            // Of the candidates of an upload, at most 2,000, one or two are copies.
            prior: 1e-3,
            fpr_target: 1e-6,
            sticker_fpr_target: 1e-4,
            l2: 1e-4,
            shape: Shape::default(),
        }
    }
}

/// How a fit went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FitReport {
    /// Pairs the weights come from.
    pub train_pairs: usize,
    /// Pairs held out.
    pub held_out_pairs: usize,
    /// Held-out other pairs that reach the threshold.
    pub false_positives: usize,
    /// Held-out copies that do not.
    pub missed: usize,
    /// Highest score of a held-out other pair.
    pub highest_other: f32,
    /// Mean cross-entropy in bits of the held-out pairs at the prior.
    pub cross_entropy: f64,
    /// Terms left out because their weight would have broken an invariant.
    pub dropped: Vec<String>,
}

/// Why there is no scorer.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum FitError {
    /// An option is out of its range.
    #[error("`{option}` must lie between 0 and 1")]
    Option {
        /// Its name.
        option: &'static str,
    },
    /// A part has no pairs of one kind.
    #[error("no {kind} among the {part} pairs; more groups are needed")]
    TooFew {
        /// `copies` or `others`.
        kind: &'static str,
        /// `training` or `held-out`.
        part: &'static str,
    },
    /// Copies do not have higher cosines than other pairs, or the numbers got out of hand.
    #[error("the pairs cannot be told apart: {0}")]
    NoSignal(String),
    /// Too many other pairs have the highest score there is.
    #[error("no threshold keeps the share of false positives at `{fpr_target}`")]
    NoThreshold {
        /// The share wanted.
        fpr_target: f64,
    },
}

impl From<SpecProblem> for FitError {
    fn from(problem: SpecProblem) -> Self {
        Self::NoSignal(problem.0)
    }
}

/// Fits weights, calibration and threshold.
///
/// # Errors
/// See [`FitError`].
pub fn fit(pairs: &[LabelledPair], options: &FitOptions) -> Result<(Scorer, FitReport), FitError> {
    let shares = [
        ("held_out", options.held_out),
        ("prior", options.prior),
        ("fpr_target", options.fpr_target),
        ("sticker_fpr_target", options.sticker_fpr_target),
    ];
    for (option, share) in shares {
        if !(share > 0.0 && share < 1.0) {
            return Err(FitError::Option { option });
        }
    }
    let (held_out, train): (Vec<&LabelledPair>, Vec<&LabelledPair>) = pairs
        .iter()
        .partition(|pair| uniform(options.seed, pair.group) < options.held_out);
    let train_counts = Counts::of(&train, "training")?;
    let held_out_counts = Counts::of(&held_out, "held-out")?;

    let regression = regress(&train, &train_counts, options)?;
    let raw = |pair: &LabelledPair| {
        let terms = terms(&options.shape, &pair.features);
        (0..N_TERMS).fold(regression.bias, |sum, idx| {
            sum + terms[idx] * regression.weights[idx]
        })
    };
    let calibration = calibrate(&held_out, raw, &held_out_counts, options.prior)?;

    let groups: HashSet<u64> = pairs.iter().map(|pair| pair.group).collect();
    let mut spec = ScorerSpec {
        name: options.name.clone(),
        version: options.version,
        date: options.date.clone(),
        shape: options.shape.clone(),
        features: ScorerSpec::features(regression.weights, regression.means, regression.scales),
        standardised_bias: regression.standardised_bias,
        bias: regression.bias,
        calibration,
        threshold: 1.0,
        trained_on: TrainedOn {
            data: options.data.clone(),
            groups: groups.len() as u64,
            pairs: pairs.len() as u64,
            duplicate_pairs: pairs.iter().filter(|pair| pair.label).count() as u64,
            edits: options.edits.clone(),
            seed: options.seed,
            prior: options.prior,
            held_out: options.held_out,
            photos_held_out: HeldOut::default(),
            stickers_held_out: None,
        },
    };
    let uncut = Scorer::from_spec(spec.clone())?;
    let photos = Scores::of(&held_out, PictureKind::Photo, &uncut);
    let stickers = Scores::of(&held_out, PictureKind::Sticker, &uncut);
    spec.threshold = f32::max(
        photos.least_threshold(options.fpr_target)?,
        stickers.least_threshold(options.sticker_fpr_target)?,
    );
    spec.trained_on.photos_held_out = photos.figures(spec.threshold, options.fpr_target);
    if !stickers.is_empty() {
        let figures = stickers.figures(spec.threshold, options.sticker_fpr_target);
        spec.trained_on.stickers_held_out = Some(figures);
    }

    let report = FitReport {
        train_pairs: train.len(),
        held_out_pairs: held_out.len(),
        false_positives: photos.false_positives(spec.threshold)
            + stickers.false_positives(spec.threshold),
        missed: photos.missed(spec.threshold) + stickers.missed(spec.threshold),
        highest_other: f32::max(photos.highest_other(), stickers.highest_other()),
        cross_entropy: options.prior * mean_bits([&photos.copies, &stickers.copies], true)
            + (1.0 - options.prior) * mean_bits([&photos.others, &stickers.others], false),
        dropped: regression.dropped,
    };
    Ok((Scorer::from_spec(spec)?, report))
}

/// Scores of held-out pairs of one kind.
struct Scores {
    copies: Vec<f32>,
    /// Highest first.
    others: Vec<f32>,
}

impl Scores {
    fn of(pairs: &[&LabelledPair], kind: PictureKind, scorer: &Scorer) -> Self {
        let scores_of = |label: bool| -> Vec<f32> {
            pairs
                .iter()
                .filter(|pair| pair.kind == kind && pair.label == label)
                .map(|pair| scorer.score(&pair.features))
                .collect()
        };
        let mut others = scores_of(false);
        others.sort_unstable_by(|a, b| b.total_cmp(a));
        Self {
            copies: scores_of(true),
            others,
        }
    }

    fn is_empty(&self) -> bool {
        self.copies.is_empty() && self.others.is_empty()
    }

    fn highest_other(&self) -> f32 {
        self.others.first().copied().unwrap_or(0.0)
    }

    /// Returns the least score that at most `floor(fpr_target · n)` of the other pairs reach; the least
    /// above zero if there are none.
    fn least_threshold(&self, fpr_target: f64) -> Result<f32, FitError> {
        let n_allowed = (fpr_target * self.others.len() as f64).floor() as usize;
        let highest_kept_out = self.others.get(n_allowed).copied().unwrap_or(0.0);
        let threshold = highest_kept_out.next_up();
        if threshold <= 1.0 {
            Ok(threshold)
        } else {
            Err(FitError::NoThreshold { fpr_target })
        }
    }

    fn false_positives(&self, threshold: f32) -> usize {
        self.others.partition_point(|score| *score >= threshold)
    }

    fn missed(&self, threshold: f32) -> usize {
        self.copies
            .iter()
            .filter(|score| **score < threshold)
            .count()
    }

    fn figures(&self, threshold: f32, fpr_target: f64) -> HeldOut {
        let share = |part: usize, whole: usize| round(part as f64 / whole.max(1) as f64);
        HeldOut {
            fpr_target,
            fpr: share(self.false_positives(threshold), self.others.len()),
            fpr_pairs: self.others.len() as u64,
            recall: share(
                self.copies.len() - self.missed(threshold),
                self.copies.len(),
            ),
            recall_pairs: self.copies.len() as u64,
        }
    }
}

/// Pairs of both kinds, at least one of each.
struct Counts {
    copies: usize,
    others: usize,
}

impl Counts {
    fn of(pairs: &[&LabelledPair], part: &'static str) -> Result<Self, FitError> {
        let copies = pairs.iter().filter(|pair| pair.label).count();
        let others = pairs.len() - copies;
        match (copies, others) {
            (0, _) => Err(FitError::TooFew {
                kind: "copies",
                part,
            }),
            (_, 0) => Err(FitError::TooFew {
                kind: "others",
                part,
            }),
            _ => Ok(Self { copies, others }),
        }
    }

    /// Weight of a pair when copies have the share `prior` of the whole.
    fn weight(&self, label: bool, prior: f64) -> f64 {
        if label {
            prior / self.copies as f64
        } else {
            (1.0 - prior) / self.others as f64
        }
    }
}

struct Regression {
    weights: [f64; N_TERMS],
    bias: f64,
    means: [f64; N_TERMS],
    scales: [f64; N_TERMS],
    standardised_bias: f64,
    dropped: Vec<String>,
}

/// Fits the weights with copies and others in equal parts, terms standardised, invariants kept: a term
/// whose weight breaks one is left out, one after the other.
fn regress(
    train: &[&LabelledPair],
    counts: &Counts,
    options: &FitOptions,
) -> Result<Regression, FitError> {
    const BALANCED: f64 = 0.5;
    let plain: Vec<([f64; N_TERMS], bool)> = train
        .iter()
        .map(|pair| (terms(&options.shape, &pair.features), pair.label))
        .collect();
    let mean_of = |value: &dyn Fn(&[f64; N_TERMS]) -> f64| -> f64 {
        plain
            .iter()
            .map(|(terms, label)| counts.weight(*label, BALANCED) * value(terms))
            .sum()
    };
    let means: [f64; N_TERMS] = std::array::from_fn(|idx| mean_of(&|terms| terms[idx]));
    let scales: [f64; N_TERMS] = std::array::from_fn(|idx| {
        let deviation = mean_of(&|terms| (terms[idx] - means[idx]).powi(2)).sqrt();
        // A term that never varies has no say; any scale will do.
        if deviation > 1e-9 { deviation } else { 1.0 }
    });
    let rows: Vec<Row<{ N_TERMS + 1 }>> = plain
        .iter()
        .map(|(terms, label)| Row {
            terms: std::array::from_fn(|idx| {
                if idx < N_TERMS {
                    (terms[idx] - means[idx]) / scales[idx]
                } else {
                    1.0
                }
            }),
            target: f64::from(u8::from(*label)),
            weight: counts.weight(*label, BALANCED),
        })
        .collect();

    let mut penalties = [options.l2; N_TERMS + 1];
    penalties[N_TERMS] = 0.0;
    let mut dropped = Vec::new();
    loop {
        let fitted = logistic::fit(&rows, penalties)
            .ok_or_else(|| FitError::NoSignal("the regression does not settle".to_owned()))?;
        let weights: [f64; N_TERMS] = std::array::from_fn(|idx| fitted[idx] / scales[idx]);
        let [cosine, rise, doubt] = weights;
        let offender = if doubt > 0.0 {
            2
        } else if cosine < 0.0 {
            0
        } else if cosine + rise < 0.0 {
            1
        } else if cosine + rise == 0.0 {
            return Err(FitError::NoSignal(
                "copies do not have higher cosines".to_owned(),
            ));
        } else {
            let standardised_bias = fitted[N_TERMS];
            let shift: f64 = (0..N_TERMS).map(|idx| weights[idx] * means[idx]).sum();
            return Ok(Regression {
                weights: weights.map(round),
                bias: round(standardised_bias - shift),
                means: means.map(round),
                scales: scales.map(round),
                standardised_bias: round(standardised_bias),
                dropped,
            });
        };
        penalties[offender] = f64::INFINITY;
        dropped.push(TERM_NAMES[offender].to_owned());
    }
}

/// Platt (1999), with the softened targets of his appendix, so that a part without errors stays finite.
fn calibrate(
    held_out: &[&LabelledPair],
    raw: impl Fn(&LabelledPair) -> f64,
    counts: &Counts,
    prior: f64,
) -> Result<Calibration, FitError> {
    let copy_target = (counts.copies as f64 + 1.0) / (counts.copies as f64 + 2.0);
    let other_target = 1.0 / (counts.others as f64 + 2.0);
    let rows: Vec<Row<2>> = held_out
        .iter()
        .map(|pair| Row {
            terms: [raw(pair), 1.0],
            target: if pair.label {
                copy_target
            } else {
                other_target
            },
            weight: counts.weight(pair.label, prior),
        })
        .collect();
    let fitted = logistic::fit(&rows, [0.0; 2]);
    let [slope, intercept] =
        fitted.ok_or_else(|| FitError::NoSignal("the calibration does not settle".to_owned()))?;
    Ok(Calibration {
        slope: round(slope),
        intercept: round(intercept),
    })
}

fn mean_bits(kinds: [&[f32]; 2], label: bool) -> f64 {
    // A score of exactly 0 or 1 would cost infinity; f32 cannot tell it from 1e-9 off.
    let bits = kinds.iter().copied().flatten().map(|&score| {
        let probability = if label {
            f64::from(score)
        } else {
            1.0 - f64::from(score)
        };
        -probability.max(1e-9).log2()
    });
    let n_scores: usize = kinds.iter().map(|scores| scores.len()).sum();
    bits.sum::<f64>() / n_scores as f64
}

/// Rounds to ten significant digits: as exact as the data by far, and JSON gives them back to the last bit.
pub(super) fn round(value: f64) -> f64 {
    format!("{value:.9e}")
        .parse()
        .expect("a number, as it was written")
}

/// Returns a number in 0..1 that depends on seed and group alone.
pub(super) fn uniform(seed: u64, group: u64) -> f64 {
    // The finaliser of MurmurHash3 over both.
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ group;
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^= mixed >> 33;
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}
