use proptest::prelude::*;

use super::*;
use crate::edits::Edit;
use crate::random::Random;

const WHITE: [u8; 3] = [255; 3];

/// Soft spots of all sizes and some grain, like a photograph without a plain line in it.
fn photo(width: u32, height: u32, seed: u64) -> RgbImage {
    let mut random = Random::new(seed);
    let ground: [f32; 3] = std::array::from_fn(|_| random.between(60.0, 180.0));
    let spots: Vec<_> = (0..24)
        .map(|_| {
            let colour: [f32; 3] = std::array::from_fn(|_| random.between(-90.0, 90.0));
            let centre = [random.between(0.0, 1.0), random.between(0.0, 1.0)];
            (centre, random.between(0.02, 0.3), colour)
        })
        .collect();
    RgbImage::from_fn(width, height, |x, y| {
        let grain = random.between(-12.0, 12.0);
        let mut sums = ground.map(|level| level + grain);
        let at = [x as f32 / width as f32, y as f32 / height as f32];
        for (centre, radius, colour) in &spots {
            let (across, down) = (at[0] - centre[0], at[1] - centre[1]);
            let near = (1.0 - (across * across + down * down) / (radius * radius)).max(0.0);
            for (sum, level) in sums.iter_mut().zip(colour) {
                *sum += near * level;
            }
        }
        sums.map(|sum| sum as u8)
    })
    .unwrap()
}

fn paste(canvas: &mut RgbImage, picture: &RgbImage, x: u32, y: u32) -> Rect {
    let row_bytes = canvas.width() as usize * 3;
    let start = x as usize * 3;
    let rows = canvas.data_mut().chunks_exact_mut(row_bytes);
    for (row, source) in rows.skip(y as usize).zip(picture.rows()) {
        row[start..start + source.len()].copy_from_slice(source);
    }
    Rect {
        x,
        y,
        width: picture.width(),
        height: picture.height(),
    }
}

/// Strokes in lines, as far as the eye can tell from afar.
fn write(canvas: &mut RgbImage, ink: [u8; 3], size: u32) {
    let mut random = Random::new(5);
    let (width, height) = (canvas.width(), canvas.height());
    for top in (size * 3..height.saturating_sub(size * 4)).step_by(size as usize * 2) {
        let mut x = size * 3;
        while x + size * 3 < width {
            let stroke = RgbImage::filled((size / 5).max(1), size, ink).unwrap();
            paste(canvas, &stroke, x, top);
            x += if random.below(6) == 0 { size } else { size / 2 };
        }
    }
}

/// Intersection over union.
fn overlap(a: Rect, b: Rect) -> f64 {
    let along = |a: u32, a_len: u32, b: u32, b_len: u32| {
        u64::from((a + a_len).min(b + b_len).saturating_sub(a.max(b)))
    };
    let common = along(a.x, a.width, b.x, b.width) * along(a.y, a.height, b.y, b.height);
    common as f64 / (a.area() + b.area() - common) as f64
}

fn found(image: &RgbImage) -> Vec<Region> {
    find_regions(image, &RegionLimits::default())
}

#[track_caller]
fn check_finds(image: &RgbImage, expected: &[Rect]) {
    let regions = found(image);
    for rect in expected {
        let best = regions
            .iter()
            .map(|region| overlap(region.rect, *rect))
            .fold(0.0, f64::max);
        assert!(best > 0.85, "{rect:?} overlaps {best:.2} in {regions:?}");
    }
    assert_eq!(regions.len(), expected.len(), "{regions:?}");
}

#[test]
fn a_photo_or_a_page_of_text_has_no_regions() {
    for seed in 0..6 {
        check_finds(&photo(600, 400, seed), &[]);
    }
    let mut page = RgbImage::filled(800, 1_100, WHITE).unwrap();
    check_finds(&page, &[]);
    write(&mut page, [40; 3], 14);
    check_finds(&page, &[]);
}

#[test]
fn finds_the_picture_in_a_border_and_between_bars() {
    for colour in [WHITE, [0; 3], [20, 60, 120]] {
        let mut framed = RgbImage::filled(700, 500, colour).unwrap();
        let rect = paste(&mut framed, &photo(560, 400, 1), 70, 50);
        check_finds(&framed, &[rect]);

        let mut screen = RgbImage::filled(540, 1_170, colour).unwrap();
        let rect = paste(&mut screen, &photo(540, 405, 2), 0, 380);
        check_finds(&screen, &[rect]);
    }
}

#[test]
fn finds_what_a_box_leaves_of_a_picture() {
    let mut image = photo(600, 400, 3);
    paste(
        &mut image,
        &RgbImage::filled(300, 400, [0; 3]).unwrap(),
        0,
        0,
    );
    let rest = Rect {
        x: 300,
        y: 0,
        width: 300,
        height: 400,
    };
    check_finds(&image, &[rest]);
}

#[test]
fn finds_several_pictures_on_a_page_and_not_its_text() {
    let mut page = RgbImage::filled(800, 1_100, WHITE).unwrap();
    write(&mut page, [40; 3], 14);
    let clear = RgbImage::filled(332, 252, WHITE).unwrap();
    let mut expected = Vec::new();
    for (x, y, seed) in [(90, 120, 4), (380, 640, 5)] {
        paste(&mut page, &clear, x - 16, y - 16);
        expected.push(paste(&mut page, &photo(300, 220, seed), x, y));
    }
    check_finds(&page, &expected);
}

#[test]
fn keeps_a_plain_sky_that_belongs_to_the_picture() {
    let below = photo(400, 300, 6);
    // The sky ends in haze.
    let picture = RgbImage::from_fn(400, 300, |x, y| {
        let haze = (y.saturating_sub(100) as f32 / 200.0).min(1.0);
        let level = |sky: u8, ground: u8| f32::from(sky) * (1.0 - haze) + f32::from(ground) * haze;
        let ground = below.pixel(x, y).unwrap();
        std::array::from_fn(|channel| level([120, 170, 230][channel], ground[channel]) as u8)
    })
    .unwrap();
    let mut framed = RgbImage::filled(600, 500, WHITE).unwrap();
    let rect = paste(&mut framed, &picture, 100, 100);
    check_finds(&framed, &[rect]);
}

#[test]
fn finds_the_panels_of_a_collage_with_and_without_gutters() {
    for gutter in [0, 12] {
        let mut collage = RgbImage::filled(800 + gutter, 600 + gutter, WHITE).unwrap();
        let mut expected = Vec::new();
        for (number, (x, y)) in [(0, 0), (1, 0), (0, 1), (1, 1)].into_iter().enumerate() {
            let panel = photo(400, 300, 20 + number as u64);
            expected.push(paste(
                &mut collage,
                &panel,
                x * (400 + gutter),
                y * (300 + gutter),
            ));
        }
        check_finds(&collage, &expected);
    }
}

#[test]
fn finds_an_object_beside_text_but_not_alone_on_its_ground() {
    let object = |canvas: &mut RgbImage| {
        let mut rect = Rect {
            x: 300,
            y: 300,
            width: 240,
            height: 240,
        };
        for y in 0..240_u32 {
            let half = (y.min(239 - y)).max(1);
            let line = RgbImage::filled(2 * half, 1, [180, 40, 30]).unwrap();
            paste(canvas, &line, 420 - half, 300 + y);
        }
        rect.width = 240;
        rect
    };
    let mut alone = RgbImage::filled(800, 800, WHITE).unwrap();
    object(&mut alone);
    check_finds(&alone, &[]);

    let mut page = RgbImage::filled(800, 800, WHITE).unwrap();
    write(&mut page, [40; 3], 14);
    paste(
        &mut page,
        &RgbImage::filled(300, 300, WHITE).unwrap(),
        270,
        270,
    );
    let rect = object(&mut page);
    check_finds(&page, &[rect]);
    assert_eq!(found(&page)[0].kind, RegionKind::Figure);
}

#[test]
fn finds_the_picture_in_the_published_edits() {
    for seed in 0..3 {
        let picture = photo(640, 480, 50 + seed);
        let others: Vec<_> = (0..3).map(|number| photo(400, 400, 60 + number)).collect();
        let others: Vec<_> = others.iter().collect();
        let expected_of = [
            (Edit::Border10, 0.69),
            (Edit::Screenshot, 0.59),
            (Edit::BoxHalf, 0.5),
            (Edit::Page15, 0.15),
            (Edit::Page7, 0.07),
            (Edit::Collage, 0.235),
        ];
        for (edit, share) in expected_of {
            let copy = edit.pixels(&picture, &others, seed);
            let whole = f64::from(copy.width()) * f64::from(copy.height());
            let regions = found(&copy);
            let is_found = regions
                .iter()
                .any(|region| (region.rect.area() as f64 / whole / share - 1.0).abs() < 0.1);
            assert!(is_found, "{} of {seed}: {regions:?}", edit.name());
        }
    }
}

#[test]
fn more_regions_than_wanted_are_the_largest() {
    let mut page = RgbImage::filled(900, 900, WHITE).unwrap();
    for (number, side) in [160_u32, 240, 200].into_iter().enumerate() {
        let number = number as u32;
        paste(
            &mut page,
            &photo(side, side, u64::from(number)),
            40 + number * 290,
            40 + number * 290,
        );
    }
    let all = found(&page);
    assert_eq!(all.len(), 3, "{all:?}");
    for max_regions in 0..3 {
        let limits = RegionLimits {
            max_regions,
            ..RegionLimits::default()
        };
        assert_eq!(find_regions(&page, &limits), all[..max_regions]);
    }
}

#[test]
fn pictures_of_any_shape_are_looked_at() {
    for (width, height) in [
        (1, 1),
        (1, 10_000),
        (10_000, 1),
        (2, 3),
        (19, 400),
        (384, 9),
    ] {
        assert_eq!(found(&photo(width, height, 1)), [], "{width}×{height}");
        assert_eq!(found(&RgbImage::filled(width, height, [9; 3]).unwrap()), []);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn regions_lie_within_the_picture_and_do_not_change(
        width in 1_u32..500,
        height in 1_u32..500,
        rectangles in prop::collection::vec((0_u32..500, 0_u32..500, 1_u32..400, 1_u32..400, any::<u64>()), 0..6),
        max_regions in 0_usize..6,
    ) {
        let mut image = RgbImage::filled(width, height, WHITE).unwrap();
        for (x, y, rect_width, rect_height, seed) in rectangles {
            let (x, y) = (x % width, y % height);
            let (rect_width, rect_height) = (rect_width.min(width - x), rect_height.min(height - y));
            let picture = if seed % 2 == 0 {
                photo(rect_width, rect_height, seed)
            } else {
                RgbImage::filled(rect_width, rect_height, [seed as u8, (seed >> 8) as u8, 90]).unwrap()
            };
            paste(&mut image, &picture, x, y);
        }
        let limits = RegionLimits { max_regions, ..RegionLimits::default() };
        let regions = find_regions(&image, &limits);
        prop_assert!(regions.len() <= max_regions);
        prop_assert_eq!(&regions, &find_regions(&image, &limits));
        for Region { rect, confidence, .. } in &regions {
            prop_assert!(rect.width > 0 && rect.x + rect.width <= width, "{rect:?}");
            prop_assert!(rect.height > 0 && rect.y + rect.height <= height, "{rect:?}");
            prop_assert!((0.0..=1.0).contains(confidence), "{confidence}");
        }
        for pair in regions.windows(2) {
            // The copy is at most two thirds as fine, so areas may be off by a line.
            prop_assert!(pair[0].rect.area() * 11 >= pair[1].rect.area() * 10, "{pair:?}");
        }
    }
}

#[test]
fn a_rectangle_follows_when_its_picture_is_resized() {
    let rect = Rect {
        x: 10,
        y: 20,
        width: 30,
        height: 40,
    };
    let larger = Rect {
        x: 20,
        y: 60,
        width: 60,
        height: 120,
    };
    assert_eq!(rect.resized((100, 100), (200, 300)), larger);
    assert_eq!(larger.resized((200, 300), (100, 100)), rect);
    let corner = Rect {
        x: 99,
        y: 99,
        width: 1,
        height: 1,
    };
    let point = Rect {
        x: 0,
        y: 0,
        width: 1,
        height: 1,
    };
    assert_eq!(corner.resized((100, 100), (1, 1)), point);
}
