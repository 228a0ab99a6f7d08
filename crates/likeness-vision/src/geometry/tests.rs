use proptest::prelude::*;

use super::*;
use crate::RgbImage;
use crate::edits::Edit;
use crate::random::Random;

/// Soft colours, and discs and boxes of many sizes over them: corners at every scale.
fn scene(seed: u64) -> RgbImage {
    const WIDTH: u32 = 480;
    const HEIGHT: u32 = 360;
    let mut random = Random::new(seed);
    let mut colour = || [(); 3].map(|()| random.below(256) as u8);
    let coarse = RgbImage::from_fn(8, 6, |_, _| colour()).unwrap();
    let mut image = coarse.resize_exact(WIDTH, HEIGHT, crate::pixels::Filter::Bilinear);
    let mut random = Random::new(seed ^ 1);
    for _ in 0..160 {
        let (x, y) = (random.below(WIDTH), random.below(HEIGHT));
        let size = 4 + random.below(random.clone().below(60) + 1);
        let stretch = 1 + random.below(3);
        let is_disc = random.below(2) == 0;
        let colour = [(); 3].map(|()| random.below(256) as u8);
        for (idx, pixel) in image.data_mut().chunks_exact_mut(3).enumerate() {
            let (dx, dy) = (
                (idx as u32 % WIDTH).abs_diff(x) * stretch,
                (idx as u32 / WIDTH).abs_diff(y),
            );
            let is_inside = if is_disc {
                dx * dx + dy * dy < size * size
            } else {
                dx.max(dy) < size
            };
            if is_inside {
                pixel.copy_from_slice(&colour);
            }
        }
    }
    image
}

#[track_caller]
fn check_copy(edit: Edit, form: Form) {
    let strangers: Vec<RgbImage> = (20..23).map(scene).collect();
    let others: Vec<&RgbImage> = strangers.iter().collect();
    for seed in 0..3 {
        let original = scene(seed);
        let copy = LocalFeatures::extract(&edit.pixels(&original, &others, seed));
        let found = verify(&copy, &LocalFeatures::extract(&original), &Form::ALL);
        assert!(
            found.evidence() >= EVIDENCE_THRESHOLD,
            "{} of {seed}: {found:?}",
            edit.name()
        );
        assert_eq!(found.form, form, "{} of {seed}", edit.name());

        let stranger = verify(
            &copy,
            &LocalFeatures::extract(&scene(seed + 50)),
            &Form::ALL,
        );
        assert!(
            stranger.evidence() < EVIDENCE_THRESHOLD,
            "{} of {seed} with a stranger: {stranger:?}",
            edit.name()
        );
    }
}

#[test]
fn finds_crops() {
    check_copy(Edit::Crop40, Form::Plain);
    check_copy(Edit::Crop20, Form::Plain);
}

#[test]
fn finds_turned_and_squashed_pictures() {
    check_copy(Edit::Rotate45, Form::Plain);
    check_copy(Edit::Rotate90, Form::Plain);
    check_copy(Edit::Squash, Form::Plain);
}

#[test]
fn finds_mirrored_and_inverted_pictures_and_says_so() {
    check_copy(Edit::Mirror, Form::Mirrored);
    check_copy(Edit::Invert, Form::Inverted);
}

#[test]
fn finds_pictures_in_others_and_under_boxes() {
    check_copy(Edit::Screenshot, Form::Plain);
    check_copy(Edit::Collage, Form::Plain);
    check_copy(Edit::BoxHalf, Form::Plain);
}

#[test]
fn finds_blurred_noisy_and_small_pictures() {
    check_copy(Edit::Jpeg20, Form::Plain);
    check_copy(Edit::Blur, Form::Plain);
    check_copy(Edit::Noise, Form::Plain);
    check_copy(Edit::Resize25, Form::Plain);
}

#[test]
fn the_map_says_where_a_crop_was_cut() {
    let original = scene(5);
    let crop = original.crop(120, 60, 300, 240).unwrap();

    let found = verify(
        &LocalFeatures::extract(&crop),
        &LocalFeatures::extract(&original),
        &[Form::Plain],
    );

    let map = found.map.unwrap();
    assert!((map.scale() - 1.0).abs() < 0.01, "{map:?}");
    let (x, y) = map.apply((100.0, 100.0));
    assert!(
        (x - 220.0).abs() < 1.5 && (y - 160.0).abs() < 1.5,
        "{x} {y}"
    );
    assert!(found.query_overlap > 0.98, "{found:?}");
    let share = 300.0 * 240.0 / (480.0 * 360.0);
    assert!((found.stored_overlap - share).abs() < 0.03, "{found:?}");
}

#[test]
fn one_caption_on_two_pictures_is_no_match() {
    for seed in 0..4 {
        // The seed draws the words.
        let [a, b] = [seed, seed + 80].map(|picture| Edit::Caption.pixels(&scene(picture), &[], 7));

        let found = verify(
            &LocalFeatures::extract(&a),
            &LocalFeatures::extract(&b),
            &Form::ALL,
        );

        assert!(found.evidence() < EVIDENCE_THRESHOLD, "{found:?}");
    }
}

#[test]
fn one_page_around_two_pictures_is_one_page() {
    for seed in 0..2 {
        let [a, b] = [seed, seed + 80].map(|picture| Edit::Page7.pixels(&scene(picture), &[], 7));

        let found = verify(
            &LocalFeatures::extract(&a),
            &LocalFeatures::extract(&b),
            &Form::ALL,
        );

        // Most of what is seen is the same; this check alone cannot know that it does not count.
        assert!(found.evidence() > EVIDENCE_THRESHOLD, "{found:?}");
    }
}

#[test]
fn flat_and_tiny_pictures_match_nothing() {
    let flat = LocalFeatures::extract(&RgbImage::filled(300, 200, [90; 3]).unwrap());
    assert!(flat.is_empty());
    for (width, height) in [(1, 1), (1, 10_000), (10_000, 1), (3, 500)] {
        let tiny = RgbImage::from_fn(width, height, |x, y| [(x * 97 + y * 31) as u8; 3]).unwrap();
        let tiny = LocalFeatures::extract(&tiny);
        assert_eq!(verify(&tiny, &flat, &Form::ALL), GeometricMatch::default());
        assert_eq!(verify(&flat, &tiny, &Form::ALL), GeometricMatch::default());
    }
}

#[test]
fn descriptors_of_other_forms_are_those_of_the_changed_picture() {
    let image = scene(9);
    let plane = |image: &RgbImage| pyramid::Plane {
        width: image.width() as usize,
        height: image.height() as usize,
        data: image.to_luma_u8(),
    };
    let drawn = plane(&image);
    let mirrored = plane(&image.clone().flip_horizontal());
    let inverted = pyramid::Plane {
        data: drawn.data.iter().map(|value| 255 - value).collect(),
        ..drawn.clone()
    };
    let mut random = Random::new(1);
    for _ in 0..200 {
        let (x, y) = (
            20 + random.below(440) as usize,
            20 + random.below(320) as usize,
        );
        let angle = descriptor::angle(&drawn, (x, y));
        let words = descriptor::describe(&drawn, (x, y), angle);

        let place = (drawn.width - 1 - x, y);
        let mirrored_angle = descriptor::angle(&mirrored, place);
        if (angle, mirrored_angle) == (0, 0) {
            // A flat place has no direction.
            continue;
        }
        assert_eq!(
            mirrored_angle,
            descriptor::angle_in_form(angle, Form::Mirrored)
        );
        assert_eq!(
            descriptor::describe(&mirrored, place, mirrored_angle),
            descriptor::in_form(words, Form::Mirrored)
        );

        // Equal brightnesses compare the same in the negative.
        let inverted_angle = descriptor::angle_in_form(angle, Form::Inverted);
        let found = descriptor::describe(&inverted, (x, y), inverted_angle);
        let expected = descriptor::in_form(words, Form::Inverted);
        assert!((0..4).all(|word| found[word] & !expected[word] == 0));
    }
}

#[test]
fn features_are_bounded_and_the_same_every_time() {
    let mut random = Random::new(4);
    let noise = RgbImage::from_fn(900, 700, |_, _| [random.below(256) as u8; 3]).unwrap();
    let features = LocalFeatures::extract(&noise);
    assert!(features.len() > MAX_KEYPOINTS / 2 && features.len() <= MAX_KEYPOINTS);
    assert!(features.to_bytes().len() <= MAX_ENCODED_LEN);
    assert_eq!(features, LocalFeatures::extract(&noise));
}

#[test]
fn bytes_go_there_and_back_and_damaged_ones_are_refused() {
    let features = LocalFeatures::extract(&scene(3));
    let bytes = features.to_bytes();
    assert_eq!(LocalFeatures::from_bytes(&bytes), Ok(features));

    assert!(LocalFeatures::from_bytes(&[]).is_err());
    assert!(LocalFeatures::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(LocalFeatures::from_bytes(&longer).is_err());
    let mut other_version = bytes;
    other_version[0] += 1;
    let error = LocalFeatures::from_bytes(&other_version).unwrap_err();
    assert_eq!(
        error.to_string(),
        "these bytes are no local features: another version; compute them again from the picture"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_that_are_read_can_be_compared(seed: u64, n_keypoints in 0_u16..60) {
        let mut random = Random::new(seed);
        let mut bytes = vec![1];
        let side = |random: &mut Random| (1 + random.below(700)) as u16;
        bytes.extend(side(&mut random).to_le_bytes());
        bytes.extend(side(&mut random).to_le_bytes());
        let (width, height) = (1 + random.below(64), 1 + random.below(64));
        bytes.extend([width as u8, height as u8]);
        bytes.extend(n_keypoints.to_le_bytes());
        for _ in 0..n_keypoints {
            // Few different words, so that many keypoints match.
            let record: [u8; 38] = std::array::from_fn(|idx| match idx {
                4 => random.below(7) as u8,
                0..6 => random.below(256) as u8,
                _ => random.below(2) as u8 * 255,
            });
            bytes.extend(record);
        }
        bytes.extend((0..width * height).map(|_| random.below(256) as u8));

        let features = LocalFeatures::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&features.to_bytes(), &bytes);
        let found = verify(&features, &LocalFeatures::extract(&scene(1)), &Form::ALL);
        prop_assert!(found.evidence().is_finite());
        let found = verify(&features, &features, &Form::ALL);
        prop_assert!(found.evidence().is_finite());
    }
}

/// A card with lines of dark words, which differ by `seed`, in a frame that does not.
fn card(seed: u64) -> crate::RgbImage {
    use crate::edits::Negative;
    Negative::Card.pixels(3, u32::try_from(seed).unwrap(), 1)
}

#[test]
fn a_close_look_tells_a_copy_from_another_text_over_one_template() {
    let (one, other) = (card(0), card(1));
    let look = |image: &crate::RgbImage| CloseUp::of(image);
    let copy = crate::edits::Edit::Jpeg20.pixels(&one, &[], 1);
    let (of_copy, of_other) = (
        look(&one).compare(&look(&copy)),
        look(&one).compare(&look(&other)),
    );
    assert!(of_copy.differing < 0.1, "{of_copy:?}");
    assert!(
        of_other.differing > 2.0 * of_copy.differing + 0.05,
        "{of_other:?}"
    );
    assert!(
        of_copy.overlap > 0.99 && of_copy.n_blocks > 20,
        "{of_copy:?}"
    );
    let keypoints = |image| look(image).features().len() as u32;
    assert_eq!(of_copy.n_keypoints, keypoints(&one).min(keypoints(&copy)));
    assert!(
        of_copy.n_keypoints > 50 && of_copy.structure > 3.0,
        "{of_copy:?}"
    );
    // The same bits every time.
    assert_eq!(look(&one).compare(&look(&other)), of_other);
}

#[test]
fn a_close_look_at_plain_pictures_compares_their_colours_only() {
    let plain = |level: u8| crate::RgbImage::filled(300, 200, [level; 3]).unwrap();
    let look = CloseUp::of(&plain(40)).compare(&CloseUp::of(&plain(90)));
    assert_eq!((look.n_blocks, look.colour), (0, 50));
    assert_eq!((look.differing, look.plain), (0.0, 1.0));
    assert_eq!((look.n_keypoints, look.structure), (0, 0.0));
}
