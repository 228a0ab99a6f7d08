//! Blur and thin to 64 × 64: the step of PDQ that costs.
//!
//! The definition (§3.3, "two-pass Jarosz filters"): a box filter along the rows, one along the
//! columns, both again, then the pixel in the middle of each of 64 × 64 cells. A box is `w` wide,
//! ⌈side / 128⌉, and narrower at the borders.
//!
//! All of that is linear, rows and columns do not mix, and only 64 × 64 results are used. So the
//! two boxes of an axis and the choice of the middle are one list of weights per result, `2w - 1`
//! of them: the vertical lists are applied first, on whole rows of bytes, then the horizontal ones
//! on the 64 rows that are left. Away from the borders the weights are whole numbers times 1/w²,
//! and their sums fit 16 bits: eight at a time even with the oldest SIMD.

use crate::pixels::{RgbImage, luma};

/// Side of the result.
pub(super) const SIDE: usize = 64;

/// Widest box whose sums fit 16 bits: 16² × 255 is 65,280. Sides up to 2,048 have it.
const MAX_INTEGER_BOX: usize = 16;

/// How one result is made from the samples along one axis.
struct Tap {
    /// Index of the first sample with a weight.
    first: usize,
    /// Weights of the samples from `first` on; they add up to 1.
    weights: Vec<f32>,
    /// The same weights times the factor, whole, if they are so.
    integer: Option<(Vec<u16>, f32)>,
}

/// Returns the brightness of `image`, 0 to 255, blurred and thinned; rows from the top.
pub(super) fn blur_and_thin(image: &RgbImage) -> [[f32; SIDE]; SIDE] {
    let columns = taps(image.width() as usize);
    let rows = taps(image.height() as usize);
    let row_len = image.width() as usize * 3;

    let mut integer_sums = vec![0_u16; row_len];
    let mut float_sums = vec![0.0_f32; row_len];
    let mut brightness = vec![0.0_f32; row_len / 3];
    let mut thinned = [[0.0; SIDE]; SIDE];
    for (tap, target) in rows.iter().zip(&mut thinned) {
        let source = image.data()[tap.first * row_len..].chunks_exact(row_len);
        match &tap.integer {
            Some((weights, factor)) => {
                integer_sums.fill(0);
                for (row, &weight) in source.zip(weights) {
                    for (sum, &sample) in integer_sums.iter_mut().zip(row) {
                        *sum += weight * u16::from(sample);
                    }
                }
                for (value, rgb) in brightness.iter_mut().zip(integer_sums.as_chunks::<3>().0) {
                    let [r, g, b] = rgb.map(f32::from);
                    *value = luma(r, g, b) / factor;
                }
            }
            None => {
                float_sums.fill(0.0);
                for (row, &weight) in source.zip(&tap.weights) {
                    for (sum, &sample) in float_sums.iter_mut().zip(row) {
                        *sum += weight * f32::from(sample);
                    }
                }
                for (value, &[r, g, b]) in brightness.iter_mut().zip(float_sums.as_chunks::<3>().0)
                {
                    *value = luma(r, g, b);
                }
            }
        }
        for (tap, value) in columns.iter().zip(target) {
            let samples = &brightness[tap.first..];
            *value = tap
                .weights
                .iter()
                .zip(samples)
                .map(|(weight, sample)| weight * sample)
                .sum();
        }
    }
    thinned
}

/// Returns the 64 taps along a side of `len` samples.
fn taps(len: usize) -> Vec<Tap> {
    let box_len = len.div_ceil(2 * SIDE);
    // An even box reaches one sample further to the right.
    let after = box_len / 2;
    let before = box_len - 1 - after;
    let covered = |centre: usize| centre.saturating_sub(before)..(centre + after + 1).min(len);

    (0..SIDE)
        .map(|cell| {
            let middle = (2 * cell + 1) * len / (2 * SIDE);
            let second = covered(middle);
            let first = covered(second.start).start;
            let end = covered(second.end - 1).end;
            let mut weights = vec![0.0; end - first];
            let mut counts = vec![0; end - first];
            let mut is_whole = box_len <= MAX_INTEGER_BOX && second.len() == box_len;
            for centre in second.clone() {
                let inner = covered(centre);
                is_whole &= inner.len() == box_len;
                let weight = 1.0 / (second.len() * inner.len()) as f32;
                for sample in inner {
                    weights[sample - first] += weight;
                    counts[sample - first] += 1;
                }
            }
            Tap {
                first,
                weights,
                integer: is_whole.then(|| (counts, (box_len * box_len) as f32)),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, word for word, in double precision.
    fn by_definition(image: &RgbImage) -> Vec<f64> {
        fn box_filter(line: &[f64], box_len: usize) -> Vec<f64> {
            let after = box_len / 2;
            let before = box_len - 1 - after;
            (0..line.len())
                .map(|at| {
                    let covered =
                        &line[at.saturating_sub(before)..(at + after + 1).min(line.len())];
                    covered.iter().sum::<f64>() / covered.len() as f64
                })
                .collect()
        }
        let (width, height) = (image.width() as usize, image.height() as usize);
        let mut plane: Vec<f64> = image
            .data()
            .chunks_exact(3)
            .map(|rgb| {
                0.299 * f64::from(rgb[0]) + 0.587 * f64::from(rgb[1]) + 0.114 * f64::from(rgb[2])
            })
            .collect();
        for _ in 0..2 {
            for row in plane.chunks_exact_mut(width) {
                row.copy_from_slice(&box_filter(row, width.div_ceil(128)));
            }
            for x in 0..width {
                let column: Vec<f64> = plane.iter().skip(x).step_by(width).copied().collect();
                for (y, value) in box_filter(&column, height.div_ceil(128))
                    .into_iter()
                    .enumerate()
                {
                    plane[y * width + x] = value;
                }
            }
        }
        let middle = |cell: usize, len: usize| ((cell as f64 + 0.5) * len as f64 / 64.0) as usize;
        let mut thinned = Vec::new();
        for row in 0..SIDE {
            for column in 0..SIDE {
                thinned.push(plane[middle(row, height) * width + middle(column, width)]);
            }
        }
        thinned
    }

    #[test]
    fn equals_the_definition_on_every_kind_of_side() {
        // Shorter than the result, as long, odd and even boxes, and boxes beyond 16 bits.
        for (width, height) in [
            (5, 64),
            (63, 65),
            (128, 129),
            (640, 480),
            (257, 700),
            (2_049, 90),
        ] {
            let mut state = 1_u32;
            let image = RgbImage::from_fn(width, height, |_, _| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                [(state >> 24) as u8, (state >> 16) as u8, (state >> 8) as u8]
            })
            .unwrap();

            let thinned = blur_and_thin(&image);

            for (ours, exact) in thinned.as_flattened().iter().zip(by_definition(&image)) {
                assert!(
                    (f64::from(*ours) - exact).abs() < 2e-3,
                    "{width}×{height}: {ours} {exact}"
                );
            }
        }
    }

    #[test]
    fn weights_add_up_to_one() {
        for len in [5, 64, 100, 128, 129, 480, 640, 2_048, 2_049, 5_000] {
            for tap in taps(len) {
                let sum: f32 = tap.weights.iter().sum();
                assert!((sum - 1.0).abs() < 1e-5);
                assert!(tap.first + tap.weights.len() <= len);
                if let Some((counts, factor)) = tap.integer {
                    let sum: u16 = counts.iter().sum();
                    assert_eq!(f32::from(sum), factor);
                }
            }
        }
    }
}
