//! Real pictures against a crowd of [`Distractors`]: how often a stranger comes near in a large collection.
//!
//! There are hundreds of millions of such pairs and nearly all are far apart, so those under a least cosine are
//! only counted.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::candidates::CosineSummary;
use super::distractors::Distractors;
use super::interval::Share;
use super::pairs::OperatingPoint;
use super::report::{percent, rate};

/// Distractors drawn at once: their vectors stay in the cache while all rows pass by.
const BLOCK: u64 = 256;

/// Sums kept side by side: as many as a vector unit has places for.
const LANES: usize = 16;

/// A row of a gallery and a distractor that are near each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NearDistractor {
    /// Number of the row.
    pub row: usize,
    /// Number of the distractor.
    pub distractor: u64,
    /// Their cosine.
    pub cosine: f32,
}

/// Returns the pairs of `rows`, of unit length and of the distractors' dimension, and distractors with a cosine
/// of at least `least`, by distractor and row.
pub fn near_distractors(
    rows: &[&[f32]],
    distractors: &Distractors,
    numbers: Range<u64>,
    least: f32,
) -> Vec<NearDistractor> {
    let mut near = Vec::new();
    let mut begin = numbers.start;
    while begin < numbers.end {
        let end = numbers.end.min(begin + BLOCK);
        let drawn: Vec<Vec<f32>> = (begin..end)
            .map(|number| distractors.draw(number))
            .collect();
        let first = near.len();
        for (row, vector) in rows.iter().enumerate() {
            for (distractor, other) in (begin..end).zip(&drawn) {
                let cosine = dot(vector, other);
                if cosine >= least {
                    near.push(NearDistractor {
                        row,
                        distractor,
                        cosine,
                    });
                }
            }
        }
        near[first..].sort_unstable_by_key(|pair| (pair.distractor, pair.row));
        begin = end;
    }
    near
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// What an evaluation against distractors says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrowdReport {
    /// How many were drawn.
    pub distractors: u64,
    /// Share of the identity in the covariance of their noise: 1 if the photos say nothing of its form.
    pub shrinkage: f32,
    /// Cosine under which pairs are only counted.
    pub least_cosine: f32,
    /// Pairs of real pictures of different photos, to compare with.
    pub real: Option<CosineSummary>,
    /// Pairs with distractors, a sample.
    pub synthetic: Option<CosineSummary>,
    /// Pairs with distractors that reach the threshold, of all.
    pub joined: Share,
    /// Pictures that one distractor or more would join with, of all.
    pub pictures: Share,
    /// What other thresholds would give, strangers being distractors.
    pub operating_points: Vec<OperatingPoint>,
}

impl fmt::Display for CrowdReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nagainst {} distractors (synthetic embeddings, drawn like real ones)",
            self.distractors
        )?;
        for (name, summary) in [
            ("real strangers", &self.real),
            ("distractors", &self.synthetic),
        ] {
            if let Some(summary) = summary {
                writeln!(
                    f,
                    "  cosines with {name:<14}  mean {:.3}, deviation {:.3}, highest {:.3} of {}",
                    summary.mean, summary.deviation, summary.largest, summary.pairs
                )?;
            }
        }
        writeln!(
            f,
            "  pairs that reach the threshold  {}",
            rate(&self.joined)
        )?;
        writeln!(
            f,
            "  pictures that would join one    {}",
            percent(&self.pictures)
        )?;
        for point in &self.operating_points {
            let threshold = point
                .threshold
                .map_or("none".to_owned(), |threshold| format!("{threshold:.4}"));
            writeln!(
                f,
                "  at most {:.0e}: threshold {threshold}, copies found {}",
                point.fpr_target,
                percent(&point.true_positives),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures() -> Vec<Vec<Vec<f32>>> {
        let vector = |seed: u32| {
            (0..24)
                .map(|place: u32| ((seed * 37 + place * 11) % 17) as f32 - 8.0)
                .collect()
        };
        (0..6)
            .map(|seed| vec![vector(seed), vector(seed + 50)])
            .collect()
    }

    #[test]
    fn finds_what_a_plain_loop_finds() {
        let distractors = Distractors::fit(&pictures(), 3).unwrap();
        let unit = |vector: &[f32]| -> Vec<f32> {
            let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
            vector.iter().map(|v| v / length).collect()
        };
        let rows: Vec<Vec<f32>> = pictures().iter().map(|one| unit(&one[0])).collect();
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        let found = near_distractors(&rows, &distractors, 10..900, 0.5);
        let mut expected = Vec::new();
        for distractor in 10..900 {
            let drawn = distractors.draw(distractor);
            for (row, vector) in rows.iter().enumerate() {
                let cosine: f32 = vector.iter().zip(&drawn).map(|(a, b)| a * b).sum();
                if cosine >= 0.5 {
                    expected.push((row, distractor));
                }
            }
        }
        assert!(expected.len() > 20, "the test compares something");
        let found: Vec<_> = found
            .iter()
            .map(|pair| (pair.row, pair.distractor))
            .collect();
        // A cosine within rounding of the least may fall on either side; none of these does.
        assert_eq!(found, expected);
    }
}
