//! Figures over scored pairs whose truth is known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::highest::HighestScores;
use super::interval::Share;

/// A pair, its truth and its score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoredPair {
    /// One picture, as reports name it.
    pub first: String,
    /// The other.
    pub second: String,
    /// Edit that made one from the other; `None` for different pictures.
    pub edit: Option<String>,
    /// Score, 0 to 1.
    pub score: f32,
}

/// Recall of one edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EditRecall {
    /// Its name.
    pub edit: String,
    /// Copies that reach the threshold, of all.
    pub found: Share,
    /// Mean score of the copies.
    pub mean_score: f64,
}

/// What a threshold gives that keeps a wanted share of false positives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// Share of different pairs that may reach the threshold.
    pub fpr_target: f64,
    /// Least score that keeps it; `None` if even the highest score there is does not.
    pub threshold: Option<f32>,
    /// Different pairs that reach it.
    pub false_positives: Share,
    /// Copies that reach it.
    pub true_positives: Share,
}

/// The worst pairs on either side of a threshold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Mistakes {
    /// Copies below it, lowest score first.
    pub missed: Vec<ScoredPair>,
    /// Different pairs that reach it, highest score first.
    pub joined: Vec<ScoredPair>,
}

/// Returns the recall of each edit at `threshold`, in the order of names.
pub fn recall_per_edit(pairs: &[ScoredPair], threshold: f32) -> Vec<EditRecall> {
    let mut edits: BTreeMap<&str, (Share, f64)> = BTreeMap::new();
    for pair in pairs {
        if let Some(edit) = &pair.edit {
            let (found, sum) = edits.entry(edit).or_default();
            found.add(pair.score >= threshold);
            *sum += f64::from(pair.score);
        }
    }
    let recall = |(edit, (found, sum)): (&str, (Share, f64))| EditRecall {
        edit: edit.to_owned(),
        found,
        mean_score: sum / found.total as f64,
    };
    edits.into_iter().map(recall).collect()
}

/// Returns, for each target that `others` are enough to measure, the least threshold that at most
/// `floor(target · n)` of the `n` different pairs reach, and what it gives. Scores lie in 0 to 1.
///
/// A rate of 1e-8 takes 10⁸ pairs to be seen: targets above 0 that allow less than one pair are left out, and
/// so are those that allow more pairs than were kept.
pub fn operating_points(
    copies: &[f32],
    others: &HighestScores,
    fpr_targets: &[f64],
) -> Vec<OperatingPoint> {
    let descending = others.descending();
    let is_whole = descending.len() as u64 == others.total();
    let point = |&fpr_target: &f64| {
        let num_allowed = fpr_target * others.total() as f64;
        if fpr_target > 0.0 && num_allowed < 1.0 {
            return None;
        }
        let num_allowed = num_allowed.floor() as usize;
        if num_allowed >= descending.len() && !is_whole {
            return None;
        }
        // With all allowed, or none to keep away, any score will do.
        let threshold = descending
            .get(num_allowed)
            .map_or(0.0, |score| score.next_up());
        let threshold = (threshold <= 1.0).then_some(threshold);
        Some(OperatingPoint {
            fpr_target,
            threshold,
            false_positives: threshold.map_or(
                Share {
                    count: 0,
                    total: others.total(),
                },
                |threshold| others.reaching(threshold),
            ),
            true_positives: reaching(copies, threshold),
        })
    };
    fpr_targets.iter().filter_map(point).collect()
}

/// Returns the `n` worst mistakes of each kind at `threshold`; equal scores in the order of names.
pub fn hardest_mistakes(pairs: &[ScoredPair], threshold: f32, n: usize) -> Mistakes {
    let by_name =
        |a: &&ScoredPair, b: &&ScoredPair| (&a.first, &a.second).cmp(&(&b.first, &b.second));
    let (mut missed, mut joined): (Vec<&ScoredPair>, Vec<&ScoredPair>) = pairs
        .iter()
        .filter(|pair| pair.edit.is_some() != (pair.score >= threshold))
        .partition(|pair| pair.edit.is_some());
    missed.sort_by(|a, b| a.score.total_cmp(&b.score).then_with(|| by_name(a, b)));
    joined.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| by_name(a, b)));
    let first = |pairs: Vec<&ScoredPair>| pairs.into_iter().take(n).cloned().collect();
    Mistakes {
        missed: first(missed),
        joined: first(joined),
    }
}

/// Scores at or above the threshold; with `None`, no score is.
fn reaching(scores: &[f32], threshold: Option<f32>) -> Share {
    let count = threshold.map_or(0, |threshold| {
        scores.iter().filter(|score| **score >= threshold).count()
    });
    Share {
        count: count as u64,
        total: scores.len() as u64,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(first: &str, edit: Option<&str>, score: f32) -> ScoredPair {
        ScoredPair {
            first: first.to_owned(),
            second: "x".to_owned(),
            edit: edit.map(str::to_owned),
            score,
        }
    }

    #[test]
    fn recall_counts_copies_of_each_edit() {
        let pairs = [
            pair("a", Some("crop"), 0.9),
            pair("b", Some("crop"), 0.3),
            pair("a", Some("blur"), 0.5),
            pair("a", None, 0.99),
        ];
        let recalls = recall_per_edit(&pairs, 0.5);
        let expected = [("blur", 1, 1, 0.5), ("crop", 1, 2, 0.6)];
        assert_eq!(recalls.len(), expected.len());
        for (recall, (edit, count, total, mean_score)) in recalls.iter().zip(expected) {
            assert_eq!(
                (recall.edit.as_str(), recall.found),
                (edit, Share { count, total })
            );
            assert!((recall.mean_score - mean_score).abs() < 1e-6);
        }
    }

    #[test]
    fn operating_points_allow_what_is_wanted_and_no_more() {
        let others: Vec<f32> = (0..100).map(|idx| idx as f32 / 1_000.0).collect();
        let copies = [0.05, 0.097, 0.0985, 0.5];
        let others: HighestScores = others.into_iter().collect();
        let points = operating_points(&copies, &others, &[0.0, 1e-6, 0.02, 1.0]);
        assert_eq!(
            points
                .iter()
                .map(|point| point.false_positives.count)
                .collect::<Vec<_>>(),
            [0, 2, 100]
        );
        assert_eq!(
            points
                .iter()
                .map(|point| point.true_positives.count)
                .collect::<Vec<_>>(),
            [1, 2, 4]
        );
        assert_eq!(points[1].threshold, Some(0.097f32.next_up()));
    }

    #[test]
    fn no_threshold_keeps_certain_strangers_away() {
        let points = operating_points(&[1.0], &[1.0, 0.2].into_iter().collect(), &[0.0]);
        assert_eq!(points[0].threshold, None);
        assert_eq!(points[0].true_positives, Share { count: 0, total: 1 });
    }

    #[test]
    fn hardest_mistakes_come_first() {
        let pairs = [
            pair("a", Some("crop"), 0.4),
            pair("b", Some("crop"), 0.1),
            pair("c", Some("crop"), 0.6),
            pair("d", None, 0.7),
            pair("f", None, 0.8),
            pair("e", None, 0.8),
            pair("g", None, 0.2),
        ];
        let mistakes = hardest_mistakes(&pairs, 0.5, 2);
        let names = |pairs: &[ScoredPair]| {
            pairs
                .iter()
                .map(|pair| pair.first.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&mistakes.missed), ["b", "a"]);
        assert_eq!(names(&mistakes.joined), ["e", "f"]);
    }

    proptest! {
        #[test]
        fn a_point_keeps_its_target_and_a_lower_threshold_would_not(
            others in prop::collection::vec(0u8..50, 0..200), target in 0.0f64..1.0
        ) {
            let others: Vec<f32> = others.into_iter().map(|score| f32::from(score) / 50.0).collect();
            let allowed = (target * others.len() as f64).floor() as u64;
            let Some(point) = operating_points(&[], &others.iter().copied().collect(), &[target]).pop() else {
                prop_assert!(target > 0.0 && allowed == 0);
                return Ok(());
            };
            prop_assert!(point.false_positives.count <= allowed);
            let threshold = point.threshold.expect("scores below 1 leave room");
            if threshold > 0.0 {
                prop_assert!(reaching(&others, Some(threshold.next_down())).count > allowed);
            }
        }
    }
}
