//! PDQ: a 256-bit hash of how a picture looks.
//!
//! After "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm" (Facebook,
//! 2019, `hashing.pdf` of ThreatExchange), §3. In short:
//!
//! 1. brightness, blurred and thinned to 64 × 64 (`filter.rs`);
//! 2. quality, from how much neighbours in it differ (§3.6): flat pictures hash badly;
//! 3. the 16 × 16 lowest frequencies of its DCT but the constant ones;
//! 4. a bit for each: above their median or not.
//!
//! Two hashes match at a distance of 31 bits or less, when both qualities are 50 or more; that is
//! the advice of its authors. Ours differ from those of the published implementation by rounding
//! only: the same filter is computed in another order. The blur is always done on the picture as
//! given; shrinking to 512 × 512 first is a shortcut of their command line tool, not of the hash.

mod dihedral;
mod filter;
mod hash;

use std::sync::LazyLock;

use crate::pixels::RgbImage;

pub use dihedral::{NearestForm, nearest_form};
pub use hash::{ParsePdqHashError, PdqHash};

use filter::SIDE;

/// Frequencies along a side, and bits along a side of the hash.
const FREQUENCIES: usize = 16;

/// Sides shorter than this have no hash.
const MIN_SIDE: u32 = 5;

type Spectrum = [[f32; FREQUENCIES]; FREQUENCIES];

/// A hash and how far it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pdq {
    /// The hash; all zero for a picture with a side under five pixels.
    pub hash: PdqHash,
    /// 0 for a flat picture, up to 100; below 50 a match means little.
    pub quality: u8,
}

/// Returns the hash of `image`.
pub fn pdq(image: &RgbImage) -> Pdq {
    match spectrum(image) {
        Some((spectrum, quality)) => Pdq {
            hash: above_median(&spectrum),
            quality,
        },
        None => Pdq {
            hash: PdqHash([0; 32]),
            quality: 0,
        },
    }
}

/// Returns the hashes that the eight turned and mirrored forms of `image` have, in the order of
/// [`Orientation::ALL`](crate::Orientation::ALL): element `i` is the hash of the picture after
/// [`RgbImage::oriented`] by that orientation, but for rounding.
///
/// Costs little more than one hash: turning a picture permutes its frequencies and changes signs.
pub fn pdq_dihedral(image: &RgbImage) -> [PdqHash; 8] {
    let Some((spectrum, _)) = spectrum(image) else {
        return [PdqHash([0; 32]); 8];
    };
    crate::Orientation::ALL.map(|orientation| {
        // First rows and columns are exchanged, then the result is mirrored.
        let (mirror_x, mirror_y) = dihedral::mirrors(orientation);
        let mut turned = [[0.0; FREQUENCIES]; FREQUENCIES];
        for (y, row) in turned.iter_mut().enumerate() {
            for (x, value) in row.iter_mut().enumerate() {
                let source = if orientation.swaps_sides() {
                    spectrum[x][y]
                } else {
                    spectrum[y][x]
                };
                // The cosines of odd frequency change sign in a mirror; index 0 is frequency 1.
                let is_negated = (mirror_x && x % 2 == 0) != (mirror_y && y % 2 == 0);
                *value = if is_negated { -source } else { source };
            }
        }
        above_median(&turned)
    })
}

/// Returns the low frequencies, rows being vertical ones, and the quality; `None` if a side is
/// too short.
fn spectrum(image: &RgbImage) -> Option<(Spectrum, u8)> {
    if image.shorter_side() < MIN_SIDE {
        return None;
    }
    let thinned = filter::blur_and_thin(image);
    Some((dct(&thinned), quality(&thinned)))
}

/// Sums the differences of neighbours, each in whole hundredths of the full scale, so that many
/// tiny ones count nothing. The divisor is the published one.
fn quality(thinned: &[[f32; SIDE]; SIDE]) -> u8 {
    let step = |a: f32, b: f32| (((a - b) * 100.0 / 255.0) as i32).unsigned_abs();
    let mut sum = 0;
    for (y, row) in thinned.iter().enumerate() {
        for (x, &value) in row.iter().enumerate() {
            if let Some(right) = row.get(x + 1) {
                sum += step(value, *right);
            }
            if let Some(below) = thinned.get(y + 1) {
                sum += step(value, below[x]);
            }
        }
    }
    (sum / 90).min(100) as u8
}

/// Rows 1 to 16 of the orthonormal DCT-II matrix of size 64; row 0, the mean, is left out.
static DCT_MATRIX: LazyLock<[[f32; SIDE]; FREQUENCIES]> = LazyLock::new(|| {
    let scale = (2.0 / SIDE as f64).sqrt();
    let mut matrix = [[0.0; SIDE]; FREQUENCIES];
    for (idx, row) in matrix.iter_mut().enumerate() {
        for (sample, weight) in row.iter_mut().enumerate() {
            let turns = (idx + 1) as f64 * (2 * sample + 1) as f64 / (4 * SIDE) as f64;
            *weight = (scale * (std::f64::consts::TAU * turns).cos()) as f32;
        }
    }
    matrix
});

/// Returns `D × thinned × Dᵀ`. Both products run along rows, so that they become SIMD.
fn dct(thinned: &[[f32; SIDE]; SIDE]) -> Spectrum {
    let matrix = &*DCT_MATRIX;
    let mut spectrum = [[0.0; FREQUENCIES]; FREQUENCIES];
    for (weights, target) in matrix.iter().zip(&mut spectrum) {
        let mut column_sums = [0.0; SIDE];
        for (&weight, row) in weights.iter().zip(thinned) {
            for (sum, value) in column_sums.iter_mut().zip(row) {
                *sum += weight * value;
            }
        }
        for (value, weights) in target.iter_mut().zip(matrix) {
            *value = dot(weights, &column_sums);
        }
    }
    spectrum
}

/// Returns the inner product, summed in eight lanes.
fn dot(a: &[f32; SIDE], b: &[f32; SIDE]) -> f32 {
    let mut lanes = [0.0; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum()
}

/// Returns a bit for each frequency above the median. Of an even number of values the median is
/// the lower of the two in the middle, so exactly half of the bits are set unless some are equal.
fn above_median(spectrum: &Spectrum) -> PdqHash {
    let values = spectrum.as_flattened();
    let mut sorted = [0.0; FREQUENCIES * FREQUENCIES];
    sorted.copy_from_slice(values);
    let (_, &mut median, _) = sorted.select_nth_unstable_by(values.len() / 2 - 1, f32::total_cmp);
    let mut hash = [0; 32];
    for (bit, value) in values.iter().enumerate() {
        if *value > median {
            // Bit 0 is the last of the number that the bytes spell.
            hash[31 - bit / 8] |= 1 << (bit % 8);
        }
    }
    PdqHash(hash)
}

#[cfg(test)]
mod tests;
