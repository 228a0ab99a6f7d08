//! Two vectors compared exactly, by the same loops and to the same bits on every machine.

use std::sync::LazyLock;

use crate::kernels::Kernels;

static KERNELS: LazyLock<Kernels> = LazyLock::new(Kernels::detect);

/// Returns the cosine of two vectors; of the longer one as much as the shorter one has. No number if one is zero.
/// `cosine(a, b)` and `cosine(b, a)` are the same bits.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let (dot, square_a, square_b) = sums(a, b);
    (f64::from(dot) / (f64::from(square_a) * f64::from(square_b)).sqrt()) as f32
}

/// Returns Σ aᵢ·bᵢ; of the longer vector as much as the shorter one has.
pub fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    sums(a, b).0
}

fn sums(a: &[f32], b: &[f32]) -> (f32, f32, f32) {
    let len = a.len().min(b.len());
    KERNELS.dot_and_squares_f32(&a[..len], &b[..len])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_is_of_directions() {
        let a: Vec<f32> = (0..70).map(|idx| (idx as f32).sin()).collect();
        let twice: Vec<f32> = a.iter().map(|value| 2.0 * value).collect();
        let negative: Vec<f32> = a.iter().map(|value| -value).collect();
        assert!((cosine(&a, &twice) - 1.0).abs() < 1e-6);
        assert!((cosine(&a, &negative) + 1.0).abs() < 1e-6);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 5.0]), 0.0);
        assert!(cosine(&[0.0; 3], &[1.0; 3]).is_nan());
        assert_eq!(inner_product(&[1.0, 2.0, 3.0], &[4.0, 5.0]), 14.0);
    }
}
