//! Fits a scorer of two stages: [`fit_first`] on all pairs, [`fit_second`] on those that were looked at, [`finish`]
//! for threshold and manifest. Trees come from one part of the groups; calibration, threshold and all figures
//! from the rest. Deterministic: equal samples in equal order with equal options give an equal file.

use super::boost::{BoostOptions, Gains, Rows, boost};
use super::cascade::{
    CalibrationBin, CascadeSpec, CurvePoint, FORM, Grey, Importance, KindFigures, Manifest, Stage,
};
use super::logistic::{self, Row};
use super::sample::{N_KINDS, Sample, SampleKind};
use super::spec::{Calibration, HeldOut};
use super::{LookFeatures, PairFeatures, Scorer};
use crate::dedup::features::{FEATURES, N_FEATURES, Tier, values};

use super::fit::{FitError, round, uniform};

/// Trees of each stage.
const N_TREES: usize = 120;
/// Scores whose recall and false positives the manifest tells.
const CURVE: [f32; 22] = [
    0.999_999, 0.999_99, 0.999_9, 0.999, 0.998, 0.995, 0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5,
    0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001,
];
/// Upper ends of the bins that tell the calibration.
const BINS: [f32; 8] = [0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0];

/// How to fit, and what the file should say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct CascadeOptions {
    /// See [`CascadeSpec::name`].
    pub name: String,
    /// See [`CascadeSpec::version`].
    pub version: u32,
    /// See [`CascadeSpec::date`]. There is no clock here.
    pub date: String,
    /// See [`Manifest::data`].
    pub data: String,
    /// See [`Manifest::seed`].
    pub seed: u64,
    /// Share of the groups to hold out, above 0 and below 1.
    pub held_out: f64,
    /// Share of copies among the pairs that will be scored, above 0 and below 1.
    pub prior: f64,
    /// See [`CascadeSpec::min_cosine`].
    pub min_cosine: f32,
    /// See [`CascadeSpec::grey`].
    pub grey: Grey,
    /// See [`CascadeSpec::background`].
    pub background: Vec<f32>,
    /// Share of strangers that may reach the threshold, in the order of [`SampleKind::ALL`].
    pub fpr_targets: [f64; N_KINDS],
    /// Share of copies wanted among what reaches the threshold, at the prior; instead of `fpr_targets`.
    pub precision: Option<f64>,
    /// Held-out strangers below `min_cosine`, which are no samples, in the order of [`SampleKind::ALL`].
    pub num_far: [f64; N_KINDS],
}

impl CascadeOptions {
    /// Tells whether a group is held out.
    pub fn holds_out(&self, group: u64) -> bool {
        uniform(self.seed, group) < self.held_out
    }
}

/// A fitted stage, with what each feature brought.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedStage {
    stage: Stage,
    gains: Vec<(String, f64)>,
}

/// Fits the stage that reads rows only.
///
/// # Errors
/// See [`FitError`].
pub fn fit_first(samples: &[Sample], options: &CascadeOptions) -> Result<FittedStage, FitError> {
    let reads: Vec<usize> = (0..N_FEATURES)
        .filter(|&idx| FEATURES[idx].tier == Tier::Rows && !FEATURES[idx].retired)
        .filter(|&idx| FEATURES[idx].name != "normalised_cosine" || !options.background.is_empty())
        .collect();
    let used: Vec<&Sample> = samples.iter().collect();
    fit_stage(&used, &used, &reads, options)
}

/// Fits the stage for pairs that were looked at; `None` if too few were.
///
/// # Errors
/// See [`FitError`].
pub fn fit_second(
    samples: &[Sample],
    options: &CascadeOptions,
) -> Result<Option<FittedStage>, FitError> {
    let reads: Vec<usize> = (0..N_FEATURES)
        .filter(|&idx| !FEATURES[idx].retired)
        .filter(|&idx| FEATURES[idx].name != "normalised_cosine" || !options.background.is_empty())
        .collect();
    let all: Vec<&Sample> = samples.iter().collect();
    let used: Vec<&Sample> = samples
        .iter()
        .filter(|sample| sample.features.look.is_some())
        .collect();
    match fit_stage(&used, &all, &reads, options) {
        Err(FitError::TooFew { .. }) => Ok(None),
        fitted => fitted.map(Some),
    }
}

/// Puts the stages together, chooses the threshold, and writes down how well it did.
///
/// # Errors
/// See [`FitError`].
pub fn finish(
    first: FittedStage,
    second: Option<FittedStage>,
    samples: &[Sample],
    options: &CascadeOptions,
) -> Result<Scorer, FitError> {
    let stages = [Some(&first), second.as_ref()];
    let mut importance: Vec<Importance> = Vec::new();
    for (number, stage) in (1..).zip(stages.into_iter().flatten()) {
        let total: f64 = stage.gains.iter().map(|(_, gain)| gain).sum();
        let mut shares: Vec<Importance> = stage
            .gains
            .iter()
            .map(|(feature, gain)| Importance {
                stage: number,
                feature: feature.clone(),
                share: round(gain / total.max(f64::MIN_POSITIVE)),
            })
            .collect();
        shares.sort_by(|a, b| b.share.total_cmp(&a.share));
        importance.extend(shares);
    }
    let threshold_by = match options.precision {
        Some(precision) => format!(
            "precision {precision} at a share of copies of {}",
            options.prior
        ),
        None => {
            let [photos, stickers, soft, drawn, judged] = options.fpr_targets;
            format!(
                "strangers that may reach it: {photos:e} of photos, {stickers:e} of stickers, {soft:e} of \
                 soft pictures, {drawn:e} of \
                 drawn pictures, {judged:e} of judged pairs"
            )
        }
    };
    let mut spec = CascadeSpec {
        form: FORM.to_owned(),
        name: options.name.clone(),
        version: options.version,
        date: options.date.clone(),
        min_cosine: options.min_cosine,
        background: options.background.clone(),
        grey: options.grey,
        first: first.stage,
        second: second.map(|fitted| fitted.stage),
        threshold: 1.0,
        threshold_unlooked: None,
        manifest: Manifest {
            data: options.data.clone(),
            seed: options.seed,
            held_out: options.held_out,
            prior: options.prior,
            pairs: samples.len() as u64,
            duplicate_pairs: samples.iter().filter(|sample| sample.label).count() as u64,
            threshold_by,
            importance,
            ..Manifest::default()
        },
    };
    let uncut = compiled(spec.clone())?;
    let scored = |look: fn(Option<LookFeatures>) -> Option<LookFeatures>| {
        let scored = samples
            .iter()
            .filter(|sample| options.holds_out(sample.group))
            .map(|sample| {
                let features = PairFeatures {
                    look: look(sample.features.look),
                    ..sample.features
                };
                (uncut.score(&features), sample)
            });
        Scored::of(scored.collect(), options)
    };
    let least = |held_out: &Scored<'_>| match options.precision {
        Some(precision) => held_out.least_for_precision(precision),
        None => held_out.least_for_rates(&options.fpr_targets),
    };
    let held_out = scored(|look| look);
    spec.threshold = least(&held_out)?;
    if spec.second.is_some() {
        spec.threshold_unlooked = Some(least(&scored(|_| None))?);
    }
    spec.manifest.figures = held_out.figures(spec.threshold, &options.fpr_targets);
    let mut thresholds = CURVE.to_vec();
    thresholds.push(spec.threshold);
    thresholds.sort_by(|a, b| b.total_cmp(a));
    thresholds.dedup();
    spec.manifest.curve = thresholds
        .into_iter()
        .map(|threshold| held_out.point(threshold))
        .collect();
    spec.manifest.calibration = held_out.calibration();
    compiled(spec)
}

fn compiled(spec: CascadeSpec) -> Result<Scorer, FitError> {
    Scorer::from_cascade(spec).map_err(|error| FitError::NoSignal(error.to_string()))
}

/// Fits trees and calibration on `used`, of which each copy and each stranger counts as among `all`.
fn fit_stage(
    used: &[&Sample],
    all: &[&Sample],
    reads: &[usize],
    options: &CascadeOptions,
) -> Result<FittedStage, FitError> {
    for (option, share) in [("held_out", options.held_out), ("prior", options.prior)] {
        if !(share > 0.0 && share < 1.0) {
            return Err(FitError::Option { option });
        }
    }
    let of_part = |samples: &[&Sample], is_held_out: bool| -> Vec<Sample> {
        samples
            .iter()
            .filter(|sample| options.holds_out(sample.group) == is_held_out)
            .map(|sample| **sample)
            .collect()
    };
    let (train, held_out) = (of_part(used, false), of_part(used, true));
    for (part, samples) in [("training", &train), ("held-out", &held_out)] {
        for (kind, label) in [("copies", true), ("others", false)] {
            if !samples.iter().any(|sample| sample.label == label) {
                return Err(FitError::TooFew { kind, part });
            }
        }
    }
    // Copies and strangers in equal parts: what is rare is worth learning.
    let mass = |samples: &[Sample], label: bool| -> f64 {
        let of_label = samples.iter().filter(|sample| sample.label == label);
        of_label.map(|sample| sample.weight).sum()
    };
    let masses = [mass(&train, false), mass(&train, true)];
    let rows = Rows {
        values: train
            .iter()
            .map(|sample| values(&sample.features))
            .collect(),
        labels: train.iter().map(|sample| sample.label).collect(),
        weights: train
            .iter()
            .map(|sample| sample.weight / masses[usize::from(sample.label)])
            .collect(),
    };
    let boosting = BoostOptions {
        n_trees: N_TREES,
        learning_rate: 0.15,
        min_leaf: 2e-5,
        l2: 1e-4,
    };
    let (forest, gains): (_, Gains) = boost(&rows, reads, &boosting);
    let trees = forest.compile().map_err(FitError::NoSignal)?;

    // The share of copies among all candidates, not only among these.
    let everything = of_part(all, true);
    let far: f64 = options.num_far.iter().sum();
    let totals = [mass(&everything, false) + far, mass(&everything, true)];
    let shares = [1.0 - options.prior, options.prior];
    let n_copies = held_out.iter().filter(|sample| sample.label).count() as f64;
    let n_others = held_out.len() as f64 - n_copies;
    let targets = [1.0 / (n_others + 2.0), (n_copies + 1.0) / (n_copies + 2.0)];
    let rows: Vec<Row<2>> = held_out
        .iter()
        .map(|sample| {
            let label = usize::from(sample.label);
            Row {
                terms: [trees.raw(&values(&sample.features)), 1.0],
                target: targets[label],
                weight: sample.weight * shares[label] / totals[label],
            }
        })
        .collect();
    let [slope, intercept] = logistic::fit(&rows, [1e-9, 0.0])
        .ok_or_else(|| FitError::NoSignal("the calibration does not settle".to_owned()))?;
    let names = forest.reads.clone();
    Ok(FittedStage {
        stage: Stage {
            calibration: Calibration {
                slope: round(slope),
                intercept: round(intercept),
            },
            forest,
        },
        gains: names.into_iter().zip(gains).collect(),
    })
}

/// Held-out pairs with their scores, highest first.
struct Scored<'a> {
    pairs: Vec<(f32, &'a Sample)>,
    far: [f64; N_KINDS],
    prior: f64,
}

impl<'a> Scored<'a> {
    fn of(mut pairs: Vec<(f32, &'a Sample)>, options: &CascadeOptions) -> Self {
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        Self {
            pairs,
            far: options.num_far,
            prior: options.prior,
        }
    }

    fn weight(&self, wanted: impl Fn(f32, &Sample) -> bool) -> f64 {
        self.pairs
            .iter()
            .filter(|(score, sample)| wanted(*score, sample))
            // Not `sum`, whose nothing is -0.
            .fold(0.0, |sum, (_, sample)| sum + sample.weight)
    }

    fn strangers(&self, kind: SampleKind) -> f64 {
        self.weight(|_, sample| !sample.label && sample.kind == kind) + self.far[kind as usize]
    }

    /// Returns the least threshold that keeps the rate of every kind.
    fn least_for_rates(&self, targets: &[f64; N_KINDS]) -> Result<f32, FitError> {
        let mut threshold = 0.0_f32;
        for kind in SampleKind::ALL {
            let target = targets[kind as usize];
            let mut left = target * self.strangers(kind);
            for (score, sample) in &self.pairs {
                if sample.label || sample.kind != kind {
                    continue;
                }
                left -= sample.weight;
                if left < 0.0 {
                    threshold = threshold.max(score.next_up());
                    break;
                }
            }
            if threshold > 1.0 {
                return Err(FitError::NoThreshold { fpr_target: target });
            }
        }
        Ok(threshold.max(f32::MIN_POSITIVE))
    }

    fn least_for_precision(&self, precision: f64) -> Result<f32, FitError> {
        let copies = self.weight(|_, sample| sample.label);
        let strangers: f64 = SampleKind::ALL
            .map(|kind| self.strangers(kind))
            .iter()
            .sum();
        let (mut found, mut joined) = (0.0, 0.0);
        let mut least = None;
        let mut pairs = self.pairs.iter().peekable();
        while let Some((score, sample)) = pairs.next() {
            match sample.label {
                true => found += sample.weight,
                false => joined += sample.weight,
            }
            // Equal scores are joined together.
            if pairs.peek().is_some_and(|(next, _)| next == score) {
                continue;
            }
            if *score > 0.0 && self.precision(found / copies, joined / strangers) >= precision {
                least = Some(*score);
            }
        }
        least.ok_or(FitError::NoThreshold {
            fpr_target: 1.0 - precision,
        })
    }

    fn precision(&self, recall: f64, fpr: f64) -> f64 {
        let (copies, others) = (self.prior * recall, (1.0 - self.prior) * fpr);
        if copies + others > 0.0 {
            copies / (copies + others)
        } else {
            1.0
        }
    }

    fn point(&self, threshold: f32) -> CurvePoint {
        let strangers: f64 = SampleKind::ALL
            .map(|kind| self.strangers(kind))
            .iter()
            .sum();
        let recall = self.weight(|score, sample| sample.label && score >= threshold)
            / self.weight(|_, sample| sample.label);
        let fpr = self.weight(|score, sample| !sample.label && score >= threshold) / strangers;
        CurvePoint {
            threshold,
            recall: round(recall),
            fpr: round(fpr),
            precision: round(self.precision(recall, fpr)),
        }
    }

    fn figures(&self, threshold: f32, targets: &[f64; N_KINDS]) -> Vec<KindFigures> {
        let of_kind = |kind: SampleKind| {
            let strangers = self.strangers(kind);
            let copies = self.weight(|_, sample| sample.label && sample.kind == kind);
            let reaching = |label: bool| {
                self.weight(|score, sample| {
                    sample.label == label && sample.kind == kind && score >= threshold
                })
            };
            (strangers + copies > 0.0).then(|| KindFigures {
                kind: kind.name().to_owned(),
                held_out: HeldOut {
                    fpr_target: targets[kind as usize],
                    fpr: round(reaching(false) / strangers.max(1.0)),
                    fpr_pairs: strangers as u64,
                    recall: round(reaching(true) / copies.max(1.0)),
                    recall_pairs: copies as u64,
                },
            })
        };
        SampleKind::ALL.into_iter().filter_map(of_kind).collect()
    }

    fn calibration(&self) -> Vec<CalibrationBin> {
        let copies = self.weight(|_, sample| sample.label);
        let strangers: f64 = SampleKind::ALL
            .map(|kind| self.strangers(kind))
            .iter()
            .sum();
        let mut low = -1.0;
        let mut bins = Vec::new();
        for high in BINS {
            let (mut pairs, mut mass, mut score_mass, mut copy_mass) = (0, 0.0, 0.0, 0.0);
            for (score, sample) in &self.pairs {
                if *score <= low || *score > high {
                    continue;
                }
                let weight = if sample.label {
                    self.prior * sample.weight / copies
                } else {
                    (1.0 - self.prior) * sample.weight / strangers
                };
                pairs += 1;
                mass += weight;
                score_mass += weight * f64::from(*score);
                copy_mass += if sample.label { weight } else { 0.0 };
            }
            if pairs > 0 {
                bins.push(CalibrationBin {
                    pairs,
                    mean_score: round(score_mass / mass),
                    share: round(copy_mass / mass),
                });
            }
            low = high;
        }
        bins
    }
}
