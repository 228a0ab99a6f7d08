//! Scores of pairs of different pictures, which are too many to keep.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::interval::Share;

/// Counts scores, and keeps the highest of them.
#[derive(Debug, Clone)]
pub struct HighestScores {
    total: u64,
    capacity: usize,
    /// The lowest on top.
    kept: BinaryHeap<Reverse<Score>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Score(f32);

impl Eq for Score {}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl HighestScores {
    /// Counts nothing yet, and will keep `capacity` scores: more than there are of interest, since nothing can
    /// be said of thresholds below the lowest that is kept.
    pub fn new(capacity: usize) -> Self {
        Self {
            total: 0,
            capacity,
            kept: BinaryHeap::new(),
        }
    }

    /// Takes note of a score.
    pub fn add(&mut self, score: f32) {
        self.total += 1;
        if self.kept.len() < self.capacity {
            self.kept.push(Reverse(Score(score)));
        } else if let Some(mut lowest) = self.kept.peek_mut()
            && lowest.0.0 < score
        {
            *lowest = Reverse(Score(score));
        }
    }

    /// Takes note of scores that are lower than every one of interest.
    pub fn add_lower(&mut self, count: u64) {
        self.total += count;
    }

    /// Scores seen.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns the scores that were kept, highest first.
    pub fn descending(&self) -> Vec<f32> {
        let mut scores: Vec<f32> = self.kept.iter().map(|Reverse(score)| score.0).collect();
        scores.sort_unstable_by(|a, b| b.total_cmp(a));
        scores
    }

    /// Returns how many scores are at least `threshold`; if those are not all kept, how many at least.
    pub fn reaching(&self, threshold: f32) -> Share {
        let reaches = |Reverse(score): &&Reverse<Score>| score.0 >= threshold;
        Share {
            count: self.kept.iter().filter(reaches).count() as u64,
            total: self.total,
        }
    }
}

impl FromIterator<f32> for HighestScores {
    /// Keeps all.
    fn from_iter<I: IntoIterator<Item = f32>>(scores: I) -> Self {
        let mut highest = Self::new(usize::MAX);
        for score in scores {
            highest.add(score);
        }
        highest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keeps_the_highest_and_counts_all(scores in prop::collection::vec(0f32..1.0, 0..60), capacity in 0usize..70) {
            let mut highest = HighestScores::new(capacity);
            scores.iter().for_each(|&score| highest.add(score));
            let mut expected = scores.clone();
            expected.sort_unstable_by(|a, b| b.total_cmp(a));
            expected.truncate(capacity);
            prop_assert_eq!(highest.total(), scores.len() as u64);
            prop_assert_eq!(highest.descending(), expected);
        }
    }

    #[test]
    fn counts_what_reaches_a_threshold() {
        let highest: HighestScores = [0.1, 0.5, 0.9].into_iter().collect();
        assert_eq!(highest.reaching(0.5), Share { count: 2, total: 3 });
    }
}
