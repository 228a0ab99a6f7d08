use super::cascade_fit::{CascadeOptions, finish, fit_first, fit_second};
use super::sample::{Sample, SampleKind};
use super::*;
use crate::dedup::features::{FEATURES, Tier};

/// 300 groups: a copy and a stranger over one template, both flat and with a high cosine, which only a look tells
/// apart; strangers with low cosines, and photos that are copies.
fn samples() -> Vec<Sample> {
    let wave = |seed: u64| ((seed * 7_919 % 1_009) as f32) / 1_009.0;
    let mut samples = Vec::new();
    for group in 0..300_u64 {
        let sample = |cosine: f32, flat_min: u8, label: bool, differing: f32| Sample {
            features: PairFeatures {
                cosine,
                pdq_distance: 100,
                pdq_quality_min: 80,
                flat_min,
                look: Some(LookFeatures {
                    differing,
                    ..LookFeatures::default()
                }),
                ..PairFeatures::default()
            },
            label,
            group,
            kind: if flat_min > 0 {
                SampleKind::Drawn
            } else {
                SampleKind::Photo
            },
            weight: 1.0,
        };
        let jitter = 0.1 * wave(group);
        samples.push(sample(0.75 + jitter, 95, true, 0.1 + jitter));
        samples.push(sample(0.75 + jitter, 95, false, 0.6 + jitter));
        samples.push(sample(0.8 + jitter, 0, true, 0.1));
        samples.extend((0..5).map(|idx| sample(0.2 + 0.2 * wave(group * 5 + idx), 0, false, 0.9)));
    }
    samples
}

fn options() -> CascadeOptions {
    CascadeOptions {
        name: "test".to_owned(),
        version: 7,
        date: "2026-11-22".to_owned(),
        data: "drawn".to_owned(),
        seed: 3,
        held_out: 0.5,
        prior: 1e-3,
        min_cosine: 0.2,
        grey: Grey {
            low: 1e-6,
            high: 0.99,
        },
        background: Vec::new(),
        fpr_targets: [1e-3; 5],
        precision: None,
        num_far: [1e6, 0.0, 0.0, 0.0, 0.0],
    }
}

fn fitted(options: &CascadeOptions) -> Scorer {
    let samples = samples();
    let first = fit_first(&samples, options).unwrap();
    let second = fit_second(&samples, options).unwrap();
    assert!(second.is_some());
    finish(first, second, &samples, options).unwrap()
}

#[test]
fn a_look_tells_copies_from_other_texts_over_one_template() {
    let scorer = fitted(&options());
    assert!(scorer.can_look());
    for Sample {
        features, label, ..
    } in samples().iter().step_by(7)
    {
        let is_joined = scorer.score(features) >= scorer.threshold();
        assert_eq!(is_joined, *label, "{features:?}");
        let unseen = PairFeatures {
            look: None,
            ..*features
        };
        if features.flat_min > 0 {
            let score = scorer.score(&unseen);
            assert!(scorer.is_grey(score), "{score}");
        }
    }
    let manifest = &scorer.cascade().unwrap().manifest;
    let drawn = manifest
        .figures
        .iter()
        .find(|kind| kind.kind == "drawn")
        .unwrap();
    assert_eq!((drawn.held_out.recall, drawn.held_out.fpr), (1.0, 0.0));
    let read = manifest
        .importance
        .iter()
        .find(|feature| feature.stage == 2)
        .unwrap();
    assert_eq!(read.feature, "differing");
    assert!(scorer.reads().contains(&"differing"));
}

#[test]
fn equal_samples_give_an_equal_file_and_a_file_gives_the_scorer_back() {
    let scorer = fitted(&options());
    assert_eq!(fitted(&options()).to_json(), scorer.to_json());
    assert_eq!(Scorer::from_json(&scorer.to_json()).unwrap(), scorer);
    assert_eq!(scorer.id(), "test/7");
}

#[test]
fn a_wanted_precision_sets_the_threshold() {
    let at = |precision| {
        let scorer = fitted(&CascadeOptions {
            precision: Some(precision),
            ..options()
        });
        let threshold = scorer.threshold();
        let curve = &scorer.cascade().unwrap().manifest.curve;
        *curve
            .iter()
            .find(|point| point.threshold.to_bits() == threshold.to_bits())
            .unwrap()
    };
    let (loose, strict) = (at(0.5), at(0.9999));
    assert!(loose.precision >= 0.5 && strict.precision >= 0.9999);
    assert!(loose.threshold <= strict.threshold);
}

#[test]
fn scores_keep_the_directions_of_the_features() {
    let scorer = fitted(&options());
    let pair = |cosine: f32, differing: f32| PairFeatures {
        cosine,
        look: Some(LookFeatures {
            differing,
            ..LookFeatures::default()
        }),
        flat_min: 95,
        ..PairFeatures::default()
    };
    for step in 0..100 {
        let low = step as f32 / 100.0;
        let high = low + 0.01;
        assert!(scorer.score(&pair(low, 0.5)) <= scorer.score(&pair(high, 0.5)));
        assert!(scorer.score(&pair(0.8, low)) >= scorer.score(&pair(0.8, high)));
    }
    assert_eq!(scorer.score(&pair(0.19, 0.0)), 0.0);
    assert_eq!(scorer.score(&pair(f32::NAN, 0.0)), 0.0);
    let floor = scorer.cosine_floor(scorer.threshold());
    assert!((floor - 0.2).abs() < 1e-5, "{floor}");
}

#[track_caller]
fn check_refused(change: impl FnOnce(&mut CascadeSpec), expected: &str) {
    let mut spec = fitted(&options()).cascade().unwrap().clone();
    change(&mut spec);
    let json = serde_json::to_string(&spec).unwrap();
    let error = Scorer::from_json(&json).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_file_that_cannot_be_trusted_is_refused() {
    check_refused(|spec| spec.form = "cascade/2".to_owned(), "cascade/2");
    check_refused(|spec| spec.threshold = 0.0, "threshold");
    check_refused(|spec| spec.grey.low = 0.999, "grey.low");
    check_refused(
        |spec| spec.first.forest.reads[0] = "colour".to_owned(),
        "no feature `colour`",
    );
    check_refused(
        |spec| spec.first.forest.reads[0] = "differing".to_owned(),
        "needs a look",
    );
    check_refused(|spec| spec.first.calibration.slope = -1.0, "slope");
    check_refused(
        |spec| spec.first.forest.trees[0].leaves.truncate(15),
        "16 leaves",
    );
    check_refused(
        |spec| {
            for tree in &mut spec.first.forest.trees {
                tree.leaves.reverse();
            }
        },
        "against the direction",
    );
}

#[test]
fn the_first_stage_reads_rows_only() {
    let scorer = fitted(&options());
    let first = &scorer.cascade().unwrap().first.forest.reads;
    let looks = FEATURES.iter().filter(|feature| feature.tier == Tier::Look);
    for feature in looks {
        assert!(!first.iter().any(|name| name == feature.name));
    }
}
