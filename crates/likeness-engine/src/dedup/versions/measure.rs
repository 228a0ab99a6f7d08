//! How two scorers agree with what people said.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::eval::interval::Share;

/// Labels under which nothing is said of which scorer is better.
pub(super) const MIN_LABELS: u64 = 30;
/// Chance under which a difference is called one.
const SIGNIFICANT: f64 = 0.05;

/// How a scorer agrees with labels.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Agreement {
    /// Of the pairs that it puts together, those that people say are near-copies.
    pub right_joins: u64,
    /// Pairs that it puts together.
    pub joins: u64,
    /// Pairs that people say are near-copies.
    pub copies: u64,
    /// Ends of Wilson's 95 % interval of the precision, `right_joins` of `joins`.
    pub precision_interval: [f64; 2],
    /// Ends of Wilson's 95 % interval of the recall, `right_joins` of `copies`.
    pub recall_interval: [f64; 2],
}

impl Agreement {
    pub(super) fn add(&mut self, says_same: bool, is_same: bool) {
        self.right_joins += u64::from(says_same && is_same);
        self.joins += u64::from(says_same);
        self.copies += u64::from(is_same);
    }

    /// Puts in the intervals, once everything is counted.
    pub(super) fn close(&mut self) {
        let interval = |total| {
            let count = self.right_joins;
            let interval = Share { count, total }.interval();
            [interval.low, interval.high]
        };
        (self.precision_interval, self.recall_interval) =
            (interval(self.joins), interval(self.copies));
    }
}

/// Which scorer labels speak for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComparisonVerdict {
    /// There are too few labels to tell.
    TooFewLabels,
    /// The labels do not tell them apart.
    NoDifference,
    /// The candidate agrees better with people.
    Better,
    /// The candidate agrees worse with people.
    Worse,
}

/// Returns what labels say, given on how many the one alone was right and on how many the other, and the
/// chance of so great a difference between two that are equally good: McNemar's test, exact (McNemar 1947).
pub(super) fn verdict(
    num_labels: u64,
    candidate_alone: u64,
    against_alone: u64,
) -> (ComparisonVerdict, f64) {
    let chance = sign_test(candidate_alone, against_alone);
    let verdict = if num_labels < MIN_LABELS {
        ComparisonVerdict::TooFewLabels
    } else if chance >= SIGNIFICANT {
        ComparisonVerdict::NoDifference
    } else if candidate_alone > against_alone {
        ComparisonVerdict::Better
    } else {
        ComparisonVerdict::Worse
    };
    (verdict, chance)
}

/// Returns the chance that of `one + other` tosses of a fair coin one side comes as rarely as the rarer of the
/// two, or more rarely, times two.
fn sign_test(one: u64, other: u64) -> f64 {
    let (n, rarer) = (one + other, one.min(other));
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut sum = log_term.exp();
    for idx in 1..=rarer {
        log_term += ((n - idx + 1) as f64 / idx as f64).ln();
        sum += log_term.exp();
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sign_test_is_that_of_the_tables() {
        assert_eq!(sign_test(0, 0), 1.0);
        assert_eq!(sign_test(3, 3), 1.0);
        // 2 · 2⁻⁶, and 2 · (1 + 10) · 2⁻¹⁰.
        assert!((sign_test(0, 6) - 0.031_25).abs() < 1e-12);
        assert!((sign_test(9, 1) - 0.021_484_375).abs() < 1e-12);
        assert!(sign_test(4_000, 6_000) < 1e-80);
    }

    #[test]
    fn a_verdict_needs_labels_and_a_difference() {
        assert_eq!(verdict(29, 20, 0).0, ComparisonVerdict::TooFewLabels);
        assert_eq!(verdict(100, 3, 2).0, ComparisonVerdict::NoDifference);
        assert_eq!(verdict(100, 12, 1).0, ComparisonVerdict::Better);
        assert_eq!(verdict(100, 1, 12).0, ComparisonVerdict::Worse);
    }

    #[test]
    fn agreement_counts_what_it_says() {
        let mut agreement = Agreement::default();
        for (says, is) in [(true, true), (true, false), (false, true), (false, false)] {
            agreement.add(says, is);
        }
        agreement.close();
        assert_eq!(
            (agreement.right_joins, agreement.joins, agreement.copies),
            (1, 2, 2)
        );
        let [low, high] = agreement.precision_interval;
        assert!(low > 0.0 && low < 0.5 && 0.5 < high && high < 1.0);
    }
}
