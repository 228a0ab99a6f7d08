//! Seeded random rotations in O(D log D): rounds of sign flips and a Walsh–Hadamard transform.
//!
//! A code of signs is only unbiased if no axis is special; real embeddings have special axes. A full
//! random rotation would cost D² per vector; three rounds of `H·diag(±1)` come close enough to one.
//!
//! Where D, padded, is no power of two, a round transforms only a part whose length is one: the first in
//! even rounds, the last in odd ones; then a quarter turn mixes the halves of the vector. RaBitQ's
//! library makes four such rounds (its `FhtKacRotator`); at 768 dimensions they leave queries that lie along
//! few axes a bias of a quarter of a standard deviation, eight leave nothing measurable.

use crate::kernels::Kernels;

/// Codes are stored in whole 64-bit words.
const MIN_PADDED_DIM: usize = 64;
/// Padded lengths are a multiple of this: whole 64-byte lines of codes in a block of 32 vectors.
pub(crate) const DIM_STEP: usize = 32;
const N_ROUNDS: usize = 3;
const N_KAC_ROUNDS: usize = 8;

/// An orthogonal map from `dim` to `padded_dim` dimensions, a function of dimension and seed alone.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    dim: usize,
    padded_dim: usize,
    /// Length of the transforms: the largest power of two in `padded_dim`.
    span: usize,
    /// ±1 for each round and dimension, round-major, scaled so that the round keeps lengths.
    signs: Vec<f32>,
}

impl Rotation {
    /// Pads to the next power of two, at least 64.
    pub(crate) fn new(dim: usize, seed: u64) -> Self {
        Self::padded(dim, dim.next_power_of_two().max(MIN_PADDED_DIM), seed)
    }

    /// Pads to the next multiple of [`DIM_STEP`].
    pub(crate) fn compact(dim: usize, seed: u64) -> Self {
        Self::padded(dim, dim.next_multiple_of(DIM_STEP), seed)
    }

    fn padded(dim: usize, padded_dim: usize, seed: u64) -> Self {
        let span = 1 << padded_dim.ilog2();
        let n_rounds = if span == padded_dim {
            N_ROUNDS
        } else {
            N_KAC_ROUNDS
        };
        let mut state = seed;
        let scale = 1.0 / (span as f32).sqrt();
        let mut signs: Vec<f32> = (0..(n_rounds * padded_dim).div_ceil(64))
            .flat_map(|_| {
                let bits = split_mix_64(&mut state);
                (0..64).map(move |bit| if bits >> bit & 1 == 1 { 1.0 } else { -1.0 })
            })
            .take(n_rounds * padded_dim)
            .collect();
        for (round, signs) in signs.chunks_exact_mut(padded_dim).enumerate() {
            let transformed = transformed_part(round, span, padded_dim);
            signs[transformed]
                .iter_mut()
                .for_each(|sign| *sign *= scale);
        }
        Self {
            dim,
            padded_dim,
            span,
            signs,
        }
    }

    pub(crate) fn padded_dim(&self) -> usize {
        self.padded_dim
    }

    /// Returns the rotated `vector` (`dim` components): `padded_dim` components of the same length.
    pub(crate) fn apply(&self, vector: &[f32]) -> Vec<f32> {
        let mut rotated = vec![0.0; self.padded_dim];
        self.apply_into(vector, &mut rotated, Kernels::detect());
        rotated
    }

    /// Writes the rotated `vector` (`dim` components) to `rotated` (`padded_dim` components).
    pub(crate) fn apply_into(&self, vector: &[f32], rotated: &mut [f32], kernels: Kernels) {
        debug_assert_eq!(vector.len(), self.dim);
        debug_assert_eq!(rotated.len(), self.padded_dim);
        let (copied, padding) = rotated.split_at_mut(vector.len());
        copied.copy_from_slice(vector);
        padding.fill(0.0);
        for (round, signs) in self.signs.chunks_exact(self.padded_dim).enumerate() {
            let part = transformed_part(round, self.span, self.padded_dim);
            kernels.flip_and_transform(rotated, signs, part);
        }
    }
}

/// Which components a round transforms.
fn transformed_part(round: usize, span: usize, padded_dim: usize) -> std::ops::Range<usize> {
    if round.is_multiple_of(2) {
        0..span
    } else {
        padded_dim - span..padded_dim
    }
}

/// Steele, Lea & Flood's generator: tiny, and the same on every machine and version.
pub(crate) fn split_mix_64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    }

    #[test]
    fn generator_gives_the_published_values() {
        let mut state = 1_234_567;
        let values: Vec<u64> = (0..3).map(|_| split_mix_64(&mut state)).collect();
        assert_eq!(
            values,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn pads_to_a_power_of_two_of_whole_words() {
        for (dim, padded) in [(1, 64), (64, 64), (65, 128), (512, 512), (513, 1024)] {
            assert_eq!(Rotation::new(dim, 7).apply(&vec![1.0; dim]).len(), padded);
        }
    }

    #[test]
    fn compact_rotations_pad_to_whole_lines_of_codes() {
        for (dim, padded) in [(1, 32), (100, 128), (256, 256), (257, 288), (768, 768)] {
            let rotation = Rotation::compact(dim, 7);
            assert_eq!(rotation.padded_dim(), padded);
            let vector: Vec<f32> = (0..dim).map(|idx| (idx as f32).cos()).collect();
            let rotated = rotation.apply(&vector);
            assert!((dot(&rotated, &rotated) / dot(&vector, &vector) - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn an_axis_is_spread_over_all_dimensions() {
        let mut axis = vec![0.0; 512];
        axis[3] = 1.0;
        let rotated = Rotation::new(512, 1).apply(&axis);
        assert!(
            rotated.iter().all(|component| component.abs() < 0.25),
            "{rotated:?}"
        );
        // ‖o′‖₁/√D is √(2/π) = 0.798 for a vector in general position.
        let l1: f32 = rotated.iter().map(|component| component.abs()).sum();
        assert!((l1 / 512f32.sqrt() - 0.798).abs() < 0.06);
    }

    proptest! {
        #[test]
        fn compact_rotations_keep_inner_products(seed: u64, a in prop::collection::vec(-1f32..1., 100), b in prop::collection::vec(-1f32..1., 100)) {
            for dim in [100, 70, 96] {
                let (a, b) = (&a[..dim], &b[..dim]);
                let rotation = Rotation::compact(dim, seed);
                let difference = dot(a, b) - dot(&rotation.apply(a), &rotation.apply(b));
                prop_assert!(difference.abs() < 1e-4, "{}", difference);
            }
        }

        #[test]
        fn keeps_inner_products(seed: u64, a in prop::collection::vec(-1f32..1., 100), b in prop::collection::vec(-1f32..1., 100)) {
            let rotation = Rotation::new(100, seed);
            let difference = dot(&a, &b) - dot(&rotation.apply(&a), &rotation.apply(&b));
            prop_assert!(difference.abs() < 1e-4, "{}", difference);
        }
    }
}
