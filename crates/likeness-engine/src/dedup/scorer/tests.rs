use proptest::prelude::*;

use super::*;

/// A pair of pictures of which one at least is not flat.
fn features(cosine: f32, pdq_distance: u16, pdq_quality_min: u8) -> PairFeatures {
    flat_features(cosine, pdq_distance, pdq_quality_min, 0)
}

fn flat_features(cosine: f32, pdq_distance: u16, quality: u8, flat_min: u8) -> PairFeatures {
    PairFeatures {
        cosine,
        pdq_distance,
        pdq_quality_min: quality,
        flat_min,
        ..PairFeatures::default()
    }
}

/// The regression that was built in before there were trees.
fn pairs_3() -> Scorer {
    Scorer::from_json(include_str!("../scorer_v3.json")).unwrap()
}

/// Other pairs of stickers, one in every group: cosines up to 0.65.
fn stickers() -> impl Iterator<Item = LabelledPair> {
    (0..2_000).map(|idx| LabelledPair {
        features: flat_features((idx % 651) as f32 / 1_000.0, 128, 100, 100),
        label: false,
        group: idx % 200,
        kind: PictureKind::Sticker,
    })
}

/// 200 groups: two copies each with cosines from 0.45 up, other pairs up to 0.35.
fn pairs() -> Vec<LabelledPair> {
    let wave = |seed: u64| ((seed * 7_919 % 1_009) as f32) / 1_009.0;
    let mut pairs = Vec::new();
    for group in 0..200 {
        for idx in 0..2 {
            let cosine = 0.45 + 0.55 * wave(group * 2 + idx);
            pairs.push(LabelledPair {
                features: features(cosine, if idx == 0 { 20 } else { 128 }, 100),
                label: true,
                group,
                kind: PictureKind::Photo,
            });
        }
        for idx in 0..50 {
            let cosine = -0.2 + 0.55 * wave(group * 50 + idx + 13);
            pairs.push(LabelledPair {
                features: features(cosine, 100 + (idx as u16), 100),
                label: false,
                group,
                kind: PictureKind::Photo,
            });
        }
    }
    pairs
}

#[track_caller]
fn check_invalid(change: impl FnOnce(&mut ScorerSpec), expected: &str) {
    let mut spec = pairs_3().spec().unwrap().clone();
    change(&mut spec);
    let json = serde_json::to_string(&spec).unwrap();
    let error = Scorer::from_json(&json).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn builtin_joins_copies_and_parts_strangers() {
    let scorer = pairs_3();
    let joins = |features: PairFeatures| scorer.score(&features) >= scorer.threshold();
    assert!(joins(features(1.0, 0, 100)));
    assert!(joins(features(0.9, 256, 0)), "a crop has another hash");
    assert!(joins(features(0.5, 128, 100)));
    assert!(!joins(features(0.4, 128, 100)));
    assert!(
        !joins(flat_features(0.6, 128, 100, 100)),
        "two drawings on white"
    );
    assert!(joins(flat_features(0.8, 128, 100, 100)));
    assert!(
        joins(flat_features(0.6, 4, 100, 100)),
        "hashes vouch for a drawing on white"
    );
    assert!(
        !joins(flat_features(0.6, 0, 0, 100)),
        "plain pictures have equal hashes of no quality"
    );
    assert!(!joins(features(f32::NAN, 128, 100)));
}

#[test]
fn builtin_says_what_it_was_made_from() {
    let spec = pairs_3().spec().unwrap().clone();
    let trained_on = &spec.trained_on;
    assert_eq!(pairs_3().id(), format!("{}/{}", spec.name, spec.version));
    assert!(!trained_on.data.is_empty() && !trained_on.edits.is_empty() && !spec.date.is_empty());
    let stickers = trained_on.stickers_held_out.as_ref().unwrap();
    for held_out in [&trained_on.photos_held_out, stickers] {
        assert!(held_out.fpr <= held_out.fpr_target, "{held_out:?}");
        assert!(
            held_out.fpr_pairs as f64 * held_out.fpr_target >= 1.0,
            "too few pairs to speak of such a share"
        );
    }
}

#[test]
fn the_newest_builtin_says_how_far_its_figures_can_be_trusted() {
    let scorer = Scorer::builtin();
    let spec = scorer.cascade().unwrap();
    let manifest = &spec.manifest;
    assert!(!manifest.data.is_empty() && !spec.date.is_empty() && scorer.can_look());
    assert_eq!(scorer.id(), "pairs/4");
    let unlooked = scorer.threshold_unlooked();
    assert!(unlooked > scorer.threshold(), "{unlooked}");
    for KindFigures { kind, held_out } in &manifest.figures {
        assert!(held_out.fpr <= held_out.fpr_target, "{kind}: {held_out:?}");
        assert!(held_out.recall > 0.8, "{kind}: {held_out:?}");
    }
}

#[test]
fn json_survives_a_round_trip() {
    let files = [
        include_str!("../scorer_v4.json"),
        include_str!("../scorer_v3.json"),
    ];
    for (scorer, file) in Scorer::builtins().zip(files) {
        assert_eq!(scorer.to_json(), file);
        assert_eq!(Scorer::from_json(file).unwrap(), scorer);
    }
    assert_eq!(Scorer::builtins().count(), files.len());
}

#[test]
fn a_file_that_breaks_an_invariant_is_refused() {
    check_invalid(|spec| spec.features[0].weight = -1.0, "must not fall");
    check_invalid(|spec| spec.features[1].weight = -1e3, "must not fall");
    check_invalid(|spec| spec.features[2].weight = 0.1, "doubt");
    check_invalid(|spec| spec.features.swap(0, 1), "in this order");
    check_invalid(|spec| spec.features.clear(), "in this order");
    check_invalid(|spec| spec.calibration.slope = 0.0, "slope");
    check_invalid(|spec| spec.bias = 1e300, "not finite");
    check_invalid(|spec| spec.threshold = 0.0, "threshold");
    check_invalid(|spec| spec.shape.pdq_no_evidence = 0.0, "pdq_no_evidence");
    check_invalid(
        |spec| spec.shape.pdq_quality_full = spec.shape.pdq_quality_none,
        "pdq_quality_full",
    );
    assert!(matches!(Scorer::from_json("{}"), Err(ScorerError::Json(_))));
}

#[test]
fn fit_parts_what_can_be_parted() {
    let (scorer, report) = fit(
        &pairs(),
        &FitOptions {
            fpr_target: 1e-3,
            ..FitOptions::default()
        },
    )
    .unwrap();
    assert_eq!((report.missed, report.dropped.len()), (0, 0), "{report:?}");
    assert!(
        report.false_positives <= 5 && report.train_pairs + report.held_out_pairs == pairs().len()
    );
    let trained_on = &scorer.spec().unwrap().trained_on;
    assert_eq!(
        (
            trained_on.groups,
            trained_on.pairs,
            trained_on.duplicate_pairs
        ),
        (200, 10_400, 400)
    );
    assert_eq!(trained_on.photos_held_out.recall, 1.0);
    assert_eq!(trained_on.stickers_held_out, None);
    assert_eq!(Scorer::from_json(&scorer.to_json()).unwrap(), scorer);
}

#[test]
fn fit_is_deterministic() {
    let options = FitOptions::default();
    assert_eq!(fit(&pairs(), &options), fit(&pairs(), &options));
}

#[test]
fn threshold_is_the_least_that_keeps_the_share() {
    let mut pairs = pairs();
    // One other pair in each group looks like a copy: 2 % of them.
    pairs.extend((0..200).map(|group| LabelledPair {
        features: features(0.7, 128, 100),
        label: false,
        group,
        kind: PictureKind::Photo,
    }));
    let strict = fit(
        &pairs,
        &FitOptions {
            fpr_target: 1e-3,
            ..FitOptions::default()
        },
    )
    .unwrap()
    .0;
    let lax = fit(
        &pairs,
        &FitOptions {
            fpr_target: 0.03,
            ..FitOptions::default()
        },
    )
    .unwrap()
    .0;
    let lookalike = features(0.7, 128, 100);
    assert_eq!(strict.threshold(), strict.score(&lookalike).next_up());
    assert!(lax.threshold() <= lax.score(&lookalike));
    let recall = |scorer: &Scorer| scorer.spec().unwrap().trained_on.photos_held_out.recall;
    assert!(recall(&lax) > recall(&strict));
}

#[test]
fn stickers_are_kept_apart_at_no_cost_to_photos() {
    let photos = pairs();
    let both: Vec<LabelledPair> = photos.iter().copied().chain(stickers()).collect();
    let options = FitOptions {
        fpr_target: 1e-3,
        sticker_fpr_target: 1e-2,
        ..FitOptions::default()
    };
    let (scorer, report) = fit(&both, &options).unwrap();
    assert_eq!((report.missed, report.dropped.len()), (0, 0), "{report:?}");
    let joins = |features| scorer.score(&features) >= scorer.threshold();
    assert!(joins(features(0.45, 128, 100)) && !joins(flat_features(0.6, 128, 100, 100)));
    let held_out = scorer
        .spec()
        .unwrap()
        .trained_on
        .stickers_held_out
        .clone()
        .unwrap();
    assert!(held_out.fpr <= 1e-2 && held_out.fpr_pairs > 500 && held_out.recall_pairs == 0);
}

#[test]
fn the_kind_that_needs_more_sets_the_threshold() {
    // Nothing but cosines tells these stickers from copies, and no share of them is allowed.
    let lookalikes = stickers().map(|mut pair| {
        pair.features.flat_min = 0;
        pair
    });
    let pairs: Vec<LabelledPair> = pairs().into_iter().chain(lookalikes).collect();
    let threshold_at = |sticker_fpr_target| {
        let options = FitOptions {
            fpr_target: 1e-3,
            sticker_fpr_target,
            ..FitOptions::default()
        };
        fit(&pairs, &options).unwrap().0.threshold()
    };
    assert!(threshold_at(1e-9) > threshold_at(0.5));
}

#[test]
fn score_at_the_prior_is_a_probability() {
    // At every cosine, copies are as many as the rule says: the share found must be the score.
    let share = |cosine: f32| 1.0 / (1.0 + (-20.0 * (f64::from(cosine) - 0.5)).exp());
    let pairs: Vec<LabelledPair> = (0..40_000u64)
        .map(|idx| {
            let cosine = (idx % 100) as f32 / 100.0;
            let label = ((idx / 100) as f64 + 0.5) / 400.0 < share(cosine);
            LabelledPair {
                features: features(cosine, 128, 0),
                label,
                group: idx,
                kind: PictureKind::Photo,
            }
        })
        .collect();
    let n_copies = pairs.iter().filter(|pair| pair.label).count();
    let prior = n_copies as f64 / pairs.len() as f64;
    let (scorer, _) = fit(
        &pairs,
        &FitOptions {
            prior,
            fpr_target: 0.1,
            ..FitOptions::default()
        },
    )
    .unwrap();
    for cosine in [0.3, 0.4, 0.5, 0.6, 0.7] {
        let score = f64::from(scorer.score(&features(cosine, 128, 0)));
        assert!(
            (score - share(cosine)).abs() < 0.03,
            "{cosine}: {score}, {}",
            share(cosine)
        );
    }
}

#[test]
fn flatness_that_misleads_is_left_out() {
    let mut pairs = pairs();
    for pair in &mut pairs {
        pair.features.flat_min = if pair.label { 100 } else { 0 };
        pair.features.pdq_distance = 128;
    }
    let (scorer, report) = fit(&pairs, &FitOptions::default()).unwrap();
    assert_eq!(report.dropped, ["doubt"]);
    assert_eq!(scorer.spec().unwrap().features[2].weight, 0.0);
}

#[test]
fn fit_refuses_what_it_cannot_learn_from() {
    let few = |part| FitError::TooFew {
        kind: "copies",
        part,
    };
    assert_eq!(
        fit(&[], &FitOptions::default()).unwrap_err(),
        few("training")
    );
    let mut one_group = pairs();
    one_group.retain(|pair| pair.group == 3);
    assert!(matches!(
        fit(&one_group, &FitOptions::default()),
        Err(FitError::TooFew { .. })
    ));
    let mut turned = pairs();
    turned.iter_mut().for_each(|pair| pair.label = !pair.label);
    assert!(matches!(
        fit(&turned, &FitOptions::default()),
        Err(FitError::NoSignal(_))
    ));
    for fpr_target in [0.0, 1.0, f64::NAN] {
        let error = fit(
            &pairs(),
            &FitOptions {
                fpr_target,
                ..FitOptions::default()
            },
        )
        .unwrap_err();
        assert_eq!(
            error,
            FitError::Option {
                option: "fpr_target"
            }
        );
    }
}

#[test]
fn a_framed_photo_is_compared_as_a_photo() {
    let marks = |pdq_quality, flatness| Marks {
        pdq: PdqHash([0; 32]),
        pdq_quality,
        flatness,
        aspect: None,
    };
    let (photo, framed) = (marks(100, 12), marks(80, 100));
    let expected = flat_features(0.5, 0, 80, 12);
    assert_eq!(PairFeatures::of(0.5, &photo, &framed), expected);
    assert_eq!(PairFeatures::of(0.5, &framed, &photo), expected);
}

proptest! {
    #[test]
    fn any_input_scores_between_zero_and_one(bits: u32, pdq_distance: u16, quality: u8, flat: u8) {
        let score = pairs_3().score(&flat_features(f32::from_bits(bits), pdq_distance, quality, flat));
        prop_assert!((0.0..=1.0).contains(&score), "{}", score);
    }

    #[test]
    fn score_rises_with_the_cosine(a in -1.5f32..1.5, b in -1.5f32..1.5, distance in 0u16..=256, quality: u8, flat: u8) {
        let scorer = pairs_3();
        let score = |cosine: f32| scorer.score(&flat_features(cosine, distance, quality, flat));
        prop_assert!(score(a.min(b)) <= score(a.max(b)));
    }

    #[test]
    fn score_never_rises_with_flatness(cosine in -1f32..1., distance in 0u16..=256, quality: u8, a: u8, b: u8) {
        let scorer = pairs_3();
        let score = |flat: u8| scorer.score(&flat_features(cosine, distance, quality, flat));
        prop_assert!(score(a.max(b)) <= score(a.min(b)));
    }

    #[test]
    fn hashes_only_help(cosine in -1f32..1., near in 0u16..=256, far in 0u16..=256, quality: u8, flat: u8) {
        let scorer = pairs_3();
        let score = |distance: u16| scorer.score(&flat_features(cosine, distance, quality, flat));
        prop_assert!(score(near.max(far)) <= score(near.min(far)));
        prop_assert!(score(near) >= scorer.score(&flat_features(cosine, 256, 0, flat)));
        prop_assert_eq!(score(96), score(256));
    }

    #[test]
    fn no_pair_beats_the_bound_of_its_cosine(cosine in -1f32..1., distance in 0u16..=256, quality: u8, flat: u8) {
        let scorer = pairs_3();
        let score = scorer.score(&flat_features(cosine, distance, quality, flat));
        prop_assert!(score <= scorer.max_score_for_cosine(cosine));
    }
}

#[test]
fn no_pair_below_the_floor_reaches_the_threshold_and_some_at_it_do() {
    let scorer = pairs_3();
    let threshold = scorer.threshold();
    let floor = scorer.cosine_floor(threshold);
    assert!((0.2..0.6).contains(&floor), "{floor}");
    assert!(scorer.max_score_for_cosine(floor - 1e-6) < threshold);
    assert!(scorer.max_score_for_cosine(floor + 1e-6) >= threshold);
    assert!(scorer.cosine_floor(0.0) < -0.999_999);
    assert!(scorer.cosine_floor(1.1) > 0.999_999);
}
