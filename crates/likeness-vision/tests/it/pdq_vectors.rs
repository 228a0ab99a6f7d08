//! PDQ against an independent implementation.
//!
//! The pictures are drawn by the same integer arithmetic here and in `tests/pdq_vectors.py`, which
//! hashes them with the PyPI package `pdqhash` (the published C++ behind a Python binding) and
//! prints the table below. The rule for other implementations is a distance of 10 bits or less
//! where the quality is 80 or more; ours is held to 2, in faint pictures as well.

use likeness_vision::{PdqHash, RgbImage, pdq::pdq};

/// What is drawn, then width, height, hash and quality by `pdqhash` 0.2.8.
#[rustfmt::skip] // as printed
const VECTORS: &[(Pattern, u32, u32, &str, u8)] = &[
    (Pattern::Mosaic, 640, 480, "83de86ea9b5e1f4e298b12fdaf04b89dd73050af566bc02b3463221669839b4f", 100),
    (Pattern::Mosaic, 512, 512, "31b7daaa17c715416afff1903e47d2a87ac6473579919e1965b71408a84392b7", 100),
    (Pattern::Mosaic, 1024, 768, "e61fbad7cfb065caf4380a6b0726844a07f6124ad6bd412a4990f406d67fadda", 100),
    (Pattern::Mosaic, 333, 777, "e7b198cab566d39e5b3a3047f3350da5d6c77668bb77e45080c2101914ebcc2e", 100),
    (Pattern::NoisyMosaic, 640, 480, "83de84ea9b5e1f4e298b12fdaf04b89dd73050af566bc02b3c63221669839b4f", 100),
    (Pattern::NoisyMosaic, 200, 150, "178a6bfaaab02bf9cc313365cc5c33a38cc237ced446d54f968de8352bb12b80", 100),
    (Pattern::NoisyMosaic, 2100, 300, "12f30c5b27de857ceb490436eae6d333b0d26f1fc634bbd236286aba11e2059c", 100),
    (Pattern::Faint, 640, 480, "7fd1d9205da50b7163ded84cc24672ad430ee4f9d1aa1c30188ce11ee3f7bea4", 20),
    (Pattern::Faint, 320, 200, "370f0f7447796e424fd619da7486b71b0e79b60d653c2aca48d3f0d784222787", 14),
    (Pattern::Noise, 64, 64, "f0b80e6b13b6c422065ac7fe0366d29f86fdc72a498a4190f506963f8d5be2fa", 100),
    (Pattern::Noise, 100, 37, "17ca4624fdcffcc988bfbbca136997a4c3d82258e4bc88ea63797050c3aa48ae", 100),
    (Pattern::Discs, 640, 480, "7772c89dc89d9add78e5c721684a86f1311e95729772e89d488d0a9d38f1c51e", 100),
    (Pattern::Discs, 768, 1024, "7775c892c8b29aa27b1e84e16a0a86f17d1e9562cf7235cd308d729d8ae1751e", 100),
    (Pattern::Discs, 128, 128, "3772d8ddc88d8a8878fec5f1280ad4f57b1e8164cf7228c9288d7a9d9ae12f0e", 100),
];

#[derive(Clone, Copy, Debug)]
enum Pattern {
    /// Squares of 16 pixels, each of a random colour.
    Mosaic,
    /// Squares of 16 pixels under noise of a quarter of the scale.
    NoisyMosaic,
    /// Fields of 7 × 9 pixels, each of a random colour close to gray: little quality.
    Faint,
    /// Every pixel random.
    Noise,
    /// From black to white, left to right, with a random disc in each of 5 × 5 fields.
    Discs,
}

/// A bijection of 32 bits that leaves no pattern (the finaliser of MurmurHash3).
fn mix(mut value: u32) -> u32 {
    value ^= value >> 16;
    value = value.wrapping_mul(0x85eb_ca6b);
    value ^= value >> 13;
    value = value.wrapping_mul(0xc2b2_ae35);
    value ^ value >> 16
}

/// The random byte of `channel` at column `x`, row `y`.
fn random_byte(x: u32, y: u32, channel: u32) -> u8 {
    (mix(x.wrapping_mul(73_856_093)
        ^ y.wrapping_mul(19_349_663)
        ^ channel.wrapping_mul(83_492_791))
        >> 24) as u8
}

fn draw(pattern: Pattern, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        [0, 1, 2].map(|channel| match pattern {
            Pattern::Mosaic => random_byte(x / 16, y / 16, channel),
            Pattern::NoisyMosaic => {
                let square = u32::from(random_byte(x / 16, y / 16, channel));
                let noise = u32::from(random_byte(x, y, channel + 3));
                ((3 * square + noise) / 4) as u8
            }
            Pattern::Faint => 112 + random_byte(x / 7, y / 9, channel) / 24,
            Pattern::Noise => random_byte(x, y, channel),
            Pattern::Discs => {
                let (column, row) = (x * 5 / width, y * 5 / height);
                let centre_x = (2 * column + 1) * width / 10;
                let centre_y = (2 * row + 1) * height / 10;
                let radius = width.min(height) / 10;
                let (dx, dy) = (x.abs_diff(centre_x), y.abs_diff(centre_y));
                if dx * dx + dy * dy <= radius * radius {
                    random_byte(column, row, channel)
                } else {
                    (x * 255 / width) as u8
                }
            }
        })
    })
    .unwrap()
}

#[test]
fn hashes_agree_with_the_published_implementation() {
    assert!(VECTORS.len() >= 10);
    for &(pattern, width, height, hash, quality) in VECTORS {
        let ours = pdq(&draw(pattern, width, height));

        let theirs: PdqHash = hash.parse().unwrap();
        let distance = ours.hash.distance(&theirs);
        assert!(
            distance <= 2,
            "{pattern:?} {width}×{height}: {distance} bits apart"
        );
        assert!(
            ours.quality.abs_diff(quality) <= 1,
            "{pattern:?}: {}",
            ours.quality
        );
    }
}
