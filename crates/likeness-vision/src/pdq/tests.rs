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
fn a_hash_tells_the_hashes_of_the_turned_pictures() {
    let image = picture(512, 384);
    let hash = pdq(&image).hash;
    let turned = hash.turned();

    assert_eq!(turned[0], hash);
    for ((orientation, form), exact) in Orientation::ALL
        .into_iter()
        .zip(turned)
        .zip(pdq_dihedral(&image))
    {
        let distance = form.distance(&exact);
        assert!(distance <= 16, "{orientation:?}: {distance}");
        let changed = pdq(&image.clone().oriented(orientation)).hash;
        let nearest = hash.dihedral_distance(&changed);
        assert!(nearest <= 24, "{orientation:?}: {nearest}");
    }
}

#[test]
fn a_turned_hash_is_as_far_from_another_as_that_one_turned_back() {
    let other = pdq(&picture(300, 200)).hash;
    let hash = pdq(&picture(210, 400)).hash;
    for (orientation, form) in Orientation::ALL.into_iter().zip(hash.turned()) {
        let back = match orientation {
            Orientation::Rotate90 => Orientation::Rotate270,
            Orientation::Rotate270 => Orientation::Rotate90,
            same => same,
        };
        let place = Orientation::ALL.iter().position(|one| *one == back);
        let turned_back = other.turned()[place.unwrap()];
        assert_eq!(form.distance(&other), hash.distance(&turned_back));
    }
    assert_eq!(
        hash.dihedral_distance(&other),
        other.dihedral_distance(&hash)
    );
}

#[test]
fn dihedral_hashes_of_a_tiny_picture_are_zero() {
    assert_eq!(pdq_dihedral(&picture(4, 4)), [PdqHash([0; 32]); 8]);
}

#[test]
fn the_nearest_form_is_the_one_that_was_made() {
    let image = picture(512, 384);
    let forms = pdq_dihedral(&image);
    for orientation in Orientation::ALL {
        let turned = image.clone().oriented(orientation);
        let mut negative = turned.clone();
        for byte in negative.data_mut() {
            *byte = 255 - *byte;
        }
        for (changed, is_inverted) in [(turned, false), (negative, true)] {
            let nearest = nearest_form(&forms, &pdq(&changed).hash);

            assert_eq!(
                (nearest.orientation, nearest.is_inverted),
                (orientation, is_inverted)
            );
            // As for the turned pictures above: rounding, and the middle of a cell.
            assert!(nearest.distance <= 16, "{nearest:?}");
        }
    }
}

#[test]
fn the_hash_of_a_negative_is_the_complement() {
    let image = picture(300, 200);
    let mut negative = image.clone();
    for byte in negative.data_mut() {
        *byte = 255 - *byte;
    }

    let distance = pdq(&image).hash.distance(&pdq(&negative).hash);

    assert!(distance >= 254, "{distance}");
}

#[test]
fn some_form_is_never_further_than_half_of_the_bits() {
    let forms = pdq_dihedral(&picture(300, 200));
    let nearest = nearest_form(&forms, &PdqHash([0; 32]));

    assert_eq!(nearest.distance, 128);
    assert_eq!(
        (nearest.orientation, nearest.is_inverted),
        (Orientation::Normal, false)
    );
}
