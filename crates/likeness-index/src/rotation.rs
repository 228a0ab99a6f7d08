//! Seeded random rotation in O(D log D): three rounds of sign flips and a Walsh–Hadamard transform.
//!
//! A code of signs is only unbiased if no axis is special; real embeddings have special axes. A full
//! random rotation would cost D² per vector; three rounds of `H·diag(±1)` come close enough to one
//! (RaBitQ's library uses four on lengths that are not powers of two). Vectors are padded with zeros to
//! the next power of two, at least [`MIN_PADDED_DIM`].

/// Codes are stored in whole 64-bit words.
const MIN_PADDED_DIM: usize = 64;
const N_ROUNDS: usize = 3;

/// An orthogonal map from `dim` to `padded_dim` dimensions, a function of dimension and seed alone.
#[derive(Debug, Clone)]
pub(crate) struct Rotation {
    dim: usize,
    padded_dim: usize,
    /// ±1 for each round and dimension, round-major.
    signs: Vec<f32>,
}

impl Rotation {
    pub(crate) fn new(dim: usize, seed: u64) -> Self {
        let padded_dim = dim.next_power_of_two().max(MIN_PADDED_DIM);
        let mut state = seed;
        let signs = (0..N_ROUNDS * padded_dim / 64)
            .flat_map(|_| {
                let bits = split_mix_64(&mut state);
                (0..64).map(move |bit| if bits >> bit & 1 == 1 { 1.0 } else { -1.0 })
            })
            .collect();
        Self {
            dim,
            padded_dim,
            signs,
        }
    }

    pub(crate) fn padded_dim(&self) -> usize {
        self.padded_dim
    }

    /// Returns the rotated `vector` (`dim` components): `padded_dim` components of the same length.
    pub(crate) fn apply(&self, vector: &[f32]) -> Vec<f32> {
        debug_assert_eq!(vector.len(), self.dim);
        let mut rotated = vec![0.0; self.padded_dim];
        rotated[..vector.len()].copy_from_slice(vector);
        let scale = 1.0 / (self.padded_dim as f32).sqrt();
        for signs in self.signs.chunks_exact(self.padded_dim) {
            for (component, sign) in rotated.iter_mut().zip(signs) {
                *component *= sign * scale;
            }
            walsh_hadamard(&mut rotated);
        }
        rotated
    }
}

/// In place, not normalised: multiplies lengths by √n. The length is a power of two.
fn walsh_hadamard(values: &mut [f32]) {
    let mut half = 1;
    while half < values.len() {
        for block in values.chunks_exact_mut(2 * half) {
            let (left, right) = block.split_at_mut(half);
            for (a, b) in left.iter_mut().zip(right) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

/// Steele, Lea & Flood's generator: tiny, and the same on every machine and version.
fn split_mix_64(state: &mut u64) -> u64 {
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
        fn keeps_inner_products(seed: u64, a in prop::collection::vec(-1f32..1., 100), b in prop::collection::vec(-1f32..1., 100)) {
            let rotation = Rotation::new(100, seed);
            let difference = dot(&a, &b) - dot(&rotation.apply(&a), &rotation.apply(&b));
            prop_assert!(difference.abs() < 1e-4, "{}", difference);
        }
    }
}
