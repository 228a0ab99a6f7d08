use super::*;
use crate::Orientation;

/// Soft random blotches: something at every frequency that is hashed.
fn picture(width: u32, height: u32) -> RgbImage {
    let mut state = 7_u32;
    let coarse = RgbImage::from_fn(28, 21, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        [(state >> 24) as u8, (state >> 16) as u8, (state >> 8) as u8]
    });
    coarse
        .unwrap()
        .resize_exact(width, height, crate::pixels::Filter::Bilinear)
}

#[test]
fn half_of_the_bits_are_set() {
    let Pdq { hash, quality } = pdq(&picture(300, 200));

    assert_eq!(hash.distance(&PdqHash([0; 32])), 128);
    assert!(quality > 50, "{quality}");
}

#[test]
fn a_resized_picture_still_matches() {
    let image = picture(640, 480);
    let small = image.resize_exact(200, 150, crate::pixels::Filter::Box);

    let distance = pdq(&image).hash.distance(&pdq(&small).hash);

    // 31 is the published threshold.
    assert!(distance <= 31, "{distance}");
}

#[test]
fn flat_and_tiny_pictures_have_no_quality() {
    let flat = RgbImage::filled(200, 100, [90, 90, 90]).unwrap();
    assert_eq!(pdq(&flat).quality, 0);

    let tiny = Pdq {
        hash: PdqHash([0; 32]),
        quality: 0,
    };
    assert_eq!(pdq(&picture(4, 400)), tiny);
    assert_ne!(pdq(&picture(5, 400)).hash, tiny.hash);
}

#[test]
fn dihedral_hashes_are_those_of_the_turned_pictures() {
    // A multiple of 128, so that the middle of a cell stays the middle up to half a box.
    let image = picture(512, 384);
    let hashes = pdq_dihedral(&image);

    assert_eq!(hashes[0], pdq(&image).hash);
    for (orientation, hash) in Orientation::ALL.into_iter().zip(hashes) {
        let turned = pdq(&image.clone().oriented(orientation)).hash;
        let distance = turned.distance(&hash);
        assert!(distance <= 16, "{orientation:?}: {distance}");
    }
}

#[test]
fn dihedral_hashes_of_a_tiny_picture_are_zero() {
    assert_eq!(pdq_dihedral(&picture(4, 4)), [PdqHash([0; 32]); 8]);
}
