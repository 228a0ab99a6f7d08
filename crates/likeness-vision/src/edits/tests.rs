use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::decode::{DecodeLimits, decode};
use crate::models::digest::FileDigest;

/// Smooth colours with a few edges, so that every edit has something to change.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let stripe = if (x / 9 + y / 7) % 3 == 0 { 60 } else { 0 };
        [
            (x * 255 / width) as u8,
            (y * 255 / height) as u8,
            ((x + y) % 97) as u8 + stripe,
        ]
    })
    .unwrap()
}

fn all_edits() -> impl Iterator<Item = Edit> {
    EditList::ALL
        .into_iter()
        .flat_map(|list| list.edits().iter().copied())
}

/// The pixels of every edit are pinned: a change here changes published results, so it must be
/// meant, and said in the change log.
#[test]
fn the_pixels_of_every_edit_are_the_published_ones() {
    let image = picture(160, 120);
    let other = picture(50, 70);
    let found: String = all_edits()
        .map(|edit| {
            let pixels = edit.pixels(&image, &[&other], 7);
            let digest = FileDigest::of(pixels.data()).to_string();
            let (width, height) = (pixels.width(), pixels.height());
            format!("{} {width}x{height} {}\n", edit.name(), &digest[..16])
        })
        .collect();
    assert_eq!(found, include_str!("golden.txt"), "got:\n{found}");
}

#[test]
fn both_lists_hold_what_the_requirement_names_and_names_are_unique() {
    assert_eq!(EditList::Standard.edits().len(), 17);
    assert_eq!(EditList::Extreme.edits().len(), 17);
    let names: HashSet<_> = all_edits().map(Edit::name).collect();
    assert_eq!(names.len(), 34);
}

#[test]
fn every_edit_changes_the_file_and_can_be_decoded() {
    let image = picture(90, 70);
    let original = image.encode_jpeg(JPEG_QUALITY);
    let mut seen = HashSet::from([original]);
    for list in EditList::ALL {
        for copy in list.apply(&image, &[], 3) {
            let decoded = decode(&copy.bytes, &DecodeLimits::default(), None).unwrap();
            assert!(decoded.image.width() > 0);
            assert!(seen.insert(copy.bytes), "{} changes nothing", copy.name);
        }
    }
}

#[test]
fn large_pictures_are_shrunk_first() {
    let large = RgbImage::filled(WORKING_SIDE * 2, 16, [9; 3]).unwrap();
    let mirrored = Edit::Mirror.pixels(&large, &[], 0);
    assert_eq!((mirrored.width(), mirrored.height()), (WORKING_SIDE, 8));
}

#[test]
fn a_collage_shows_the_other_pictures() {
    let colours = [[200, 0, 0], [0, 200, 0], [0, 0, 200], [90, 90, 90]];
    let tiles = colours.map(|colour| RgbImage::filled(30, 20, colour).unwrap());
    let collage = Edit::Collage.pixels(&tiles[0], &[&tiles[1], &tiles[2], &tiles[3]], 5);
    let middles: HashSet<_> = [(200, 200), (600, 200), (200, 600), (600, 600)]
        .into_iter()
        .map(|(x, y)| collage.pixel(x, y).unwrap())
        .collect();
    assert_eq!(middles, HashSet::from(colours));
}

#[test]
fn a_page_shows_the_share_it_promises() {
    let red = RgbImage::filled(120, 90, [255, 0, 0]).unwrap();
    for (edit, share) in [(Edit::Page15, 0.15), (Edit::Page7, 0.07)] {
        let page = edit.pixels(&red, &[], 11);
        let n_red = page
            .data()
            .chunks_exact(3)
            .filter(|rgb| *rgb == [255, 0, 0])
            .count();
        let n_pixels = page.data().len() / 3;
        let found = n_red as f64 / n_pixels as f64;
        assert!((found - share).abs() < 0.002, "{found}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn edits_are_pure_functions_of_picture_and_seed(
        width in 1_u32..70,
        height in 1_u32..70,
        seed in any::<u64>(),
    ) {
        let image = picture(width, height);
        for edit in all_edits() {
            let once = edit.pixels(&image, &[&image], seed);
            prop_assert_eq!(&once, &edit.pixels(&image, &[&image], seed), "{}", edit.name());
            // Nothing is enlarged without bound: a page or a collage, or less than twofold.
            let largest = (2 * image.longer_side()).max(1_414) + 2;
            prop_assert!(once.longer_side() <= largest, "{}", edit.name());
        }
    }
}
