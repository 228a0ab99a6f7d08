//! Which side of each hyperplane a vector is on, and how far from it.

use crate::kernels::Kernels;
use crate::rotation::{Rotation, split_mix_64};

/// T·b random hyperplanes through the origin, T terms of b bits.
///
/// The rows of a random rotation are normals of random hyperplanes, so D projections cost O(D log D) and
/// not D². Normals of one rotation are at right angles to each other and so are not independent; the bits
/// of a term are dealt to as many rotations as there are, and what is left of it is far below what the
/// planner's model errs by (see the test of the collision probability).
#[derive(Debug, Clone)]
pub(super) struct Projections {
    terms: usize,
    bits: usize,
    padded_dim: usize,
    rotations: Vec<Rotation>,
}

impl Projections {
    /// `padded_dim` is that of the vectors given to [`project`](Self::project), a multiple of 64; `state` is
    /// where the seeds come from.
    pub(super) fn new(padded_dim: usize, terms: usize, bits: usize, state: &mut u64) -> Self {
        Self {
            terms,
            bits,
            padded_dim,
            rotations: (0..num_rotations(padded_dim, terms, bits))
                .map(|_| Rotation::compact(padded_dim, split_mix_64(state)))
                .collect(),
        }
    }

    /// Returns the T·b projections of a vector, those of a term side by side.
    pub(super) fn project(&self, vector: &[f32], kernels: Kernels) -> Vec<f32> {
        let dim = self.padded_dim;
        let mut rotated = vec![0.0; self.rotations.len() * dim];
        for (rotation, rotated) in self.rotations.iter().zip(rotated.chunks_exact_mut(dim)) {
            rotation.apply_into(vector, rotated, kernels);
        }
        let count = self.rotations.len();
        (0..self.terms * self.bits)
            .map(|idx| rotated[idx % count * dim + idx / count])
            .collect()
    }

    /// Returns the bits of each term, given its projections.
    pub(super) fn terms<'a>(&self, projections: &'a [f32]) -> impl Iterator<Item = u32> + use<'a> {
        projections.chunks_exact(self.bits).map(term_of)
    }

    /// Bytes held.
    pub(super) fn memory_bytes(&self) -> usize {
        // Up to four rounds of signs; see `rotation`.
        self.rotations.len() * self.padded_dim * 4 * size_of::<f32>()
    }
}

/// How many rotations give T·b projections.
pub(crate) fn num_rotations(padded_dim: usize, terms: usize, bits: usize) -> usize {
    (terms * bits).div_ceil(padded_dim)
}

/// Returns the bits of a term from its projections, the first one lowest.
pub(super) fn term_of(projections: &[f32]) -> u32 {
    projections
        .iter()
        .enumerate()
        .fold(0, |term, (bit, &projection)| {
            term | u32::from(projection >= 0.0) << bit
        })
}

#[cfg(test)]
mod tests {
    use super::super::padded_dim;
    use super::super::tests::Random;
    use super::*;

    /// A pair of unit vectors at this cosine, up to rounding.
    fn pair(random: &mut Random, dim: usize, cosine: f32) -> (Vec<f32>, Vec<f32>) {
        let unit = |vector: Vec<f32>| crate::exact::normalise(vector).unwrap().0;
        let first = unit(random.vector(dim));
        let other = random.vector(dim);
        let along: f32 = first.iter().zip(&other).map(|(a, b)| a * b).sum();
        let across = unit(
            first
                .iter()
                .zip(&other)
                .map(|(a, b)| b - along * a)
                .collect(),
        );
        let sine = (1.0 - cosine * cosine).sqrt();
        let second = first
            .iter()
            .zip(&across)
            .map(|(a, b)| cosine * a + sine * b);
        let second = second.collect();
        (first, second)
    }

    /// Measures how often a term of a pair at this angle is the same, over seeds and pairs.
    #[track_caller]
    fn check_collisions(dim: usize, terms: usize, bits: usize, degrees: f64) {
        const N_PAIRS: usize = 1_500;
        let mut random = Random(degrees as u64 * 1_000 + bits as u64);
        let cosine = degrees.to_radians().cos() as f32;
        let shares: Vec<f64> = (0..N_PAIRS)
            .map(|_| {
                let (first, second) = pair(&mut random, padded_dim(dim), cosine);
                let planes = Projections::new(padded_dim(dim), terms, bits, &mut random.0);
                let kernels = Kernels::detect();
                let of = |vector: &[f32]| planes.project(vector, kernels);
                let (first, second) = (of(&first), of(&second));
                let equal = planes
                    .terms(&first)
                    .zip(planes.terms(&second))
                    .filter(|(a, b)| a == b);
                equal.count() as f64 / terms as f64
            })
            .collect();
        let mean = shares.iter().sum::<f64>() / N_PAIRS as f64;
        let variance = shares
            .iter()
            .map(|share| (share - mean).powi(2))
            .sum::<f64>()
            / (N_PAIRS - 1) as f64;
        let sigma = (variance / N_PAIRS as f64).sqrt();
        let expected = (1.0 - degrees / 180.0).powi(bits as i32);
        assert!(
            (mean - expected).abs() < 3.0 * sigma,
            "measured {mean}, expected {expected}, sigma {sigma}"
        );
    }

    #[test]
    fn a_term_is_shared_with_the_probability_of_the_angle() {
        check_collisions(256, 16, 8, 20.0);
        check_collisions(256, 16, 8, 60.0);
        check_collisions(512, 16, 16, 30.0);
        check_collisions(768, 8, 12, 40.0);
    }
}
