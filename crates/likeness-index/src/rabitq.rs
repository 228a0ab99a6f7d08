//! 1-bit codes of residuals with their error bounds: RaBitQ (Gao & Long, SIGMOD 2024, §3).
//!
//! For a vector x in a list with centroid c, both rotated: r = x − c, n = ‖r‖, code bᵢ = [rᵢ ≥ 0], ō the unit
//! vector of components ±1/√D with those signs, a = ⟨ō, r/n⟩ = ‖r‖₁/(n√D). For a query q, rotated,
//!
//! ```text
//! ‖x − q‖² ≈ F_add + ‖q − c‖² + F_rescale·√D·⟨ō,q⟩      unbiased over random rotations
//! F_add     = n² + 2n⟨ō,c⟩/a      F_rescale = −2n/(a√D)      F_error = 2n·√((1−a²)/a²)/√(D−1)
//! ```
//!
//! The centroid is folded into F_add, so that a query is rotated once and not once a list. The estimate's
//! standard deviation is `F_error·‖q − c‖·√(1−cos²θ)`, θ the angle of x − c and q − c; a bound takes ε₀ of
//! them. Without the angle factor it holds for every θ; with it (see [`angle_aware_error`]) only for vectors
//! that are near enough to matter, which is all that pruning needs.

use crate::kernels::{Kernels, ResidualSums};

/// What is stored with a code: three floats.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Factors {
    /// F_add.
    pub(crate) add: f32,
    /// F_rescale.
    pub(crate) scale: f32,
    /// F_error at ε₀ = 1.
    pub(crate) error: f32,
}

/// Writes the code of `rotated` (D components, a multiple of 32) in a list around `centroid` as D/4 nibbles,
/// first component lowest, and returns the factors and the length of the residual.
pub(crate) fn encode(
    kernels: Kernels,
    rotated: &[f32],
    centroid: &[f32],
    nibbles: &mut [u8],
) -> (Factors, f32) {
    let ResidualSums { square, l1, along } = kernels.signs(rotated, centroid, nibbles);
    if l1 <= f32::MIN_POSITIVE {
        // The vector is the centroid: its distance is known exactly.
        return (Factors::default(), 0.0);
    }
    let dim = rotated.len() as f32;
    // n/(a√D) = n²/‖r‖₁
    let scale = square / l1;
    let factors = Factors {
        add: square + 2.0 * scale * along,
        scale: -2.0 * scale,
        error: 2.0 * ((scale * scale * dim - square).max(0.0) / (dim - 1.0)).sqrt(),
    };
    (factors, square.sqrt())
}

/// Returns n², the squared length of the residual, from what is stored.
pub(crate) fn residual_square(scale: f32, error: f32, dim: usize) -> f32 {
    let dim = dim as f32;
    ((scale * scale * dim - error * error * (dim - 1.0)) * 0.25).max(0.0)
}

/// Returns the error bound for a vector that is at most `limit` (a squared distance) away, given the bound
/// without the angle factor, n², and the query's squared distance g² to the centroid.
///
/// ‖x−q‖² ≤ limit means cos θ ≥ t = (n² + g² − limit)/(2ng), so sin θ ≤ √(1−t²) where t > 0. A vector whose
/// true distance is within the limit errs by no more than this with the stated probability, so one whose
/// estimate is further off than that is not within the limit.
pub(crate) fn angle_aware_error(error: f32, residual_square: f32, add: f32, limit: f32) -> f32 {
    let doubled = residual_square + add - limit;
    let product = 4.0 * residual_square * add;
    if doubled <= 0.0 || product <= 0.0 {
        return error;
    }
    let cos_square = (doubled * doubled / product).min(1.0);
    error * (1.0 - cos_square).sqrt()
}

#[cfg(test)]
mod tests;
