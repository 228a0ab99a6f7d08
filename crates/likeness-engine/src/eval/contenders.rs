//! Several ways to compare pictures, side by side on the same pairs.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::highest::HighestScores;
use super::interval::Share;
use super::pairs::{ScoredPair, operating_points, recall_per_edit};
use super::report::{percent, rate};

/// What one way to compare pictures gives at a wanted rate of false positives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContenderPoint {
    /// Share of different pairs that may reach the threshold.
    pub fpr_target: f64,
    /// Least score that keeps it; `None` if even the highest there is does not.
    pub threshold: Option<f32>,
    /// Copies that reach it.
    pub found: Share,
    /// The same by edit.
    pub edits: BTreeMap<String, Share>,
}

/// What is used when nobody tunes anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AsRecommended {
    /// The threshold, and who recommends it, in words.
    pub rule: String,
    /// Copies that reach it.
    pub found: Share,
    /// Different pairs that reach it.
    pub false_positives: Share,
}

/// One way to compare pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContenderReport {
    /// Its name, with its version.
    pub name: String,
    /// What its score is.
    pub score: String,
    /// At its own threshold.
    pub recommended: AsRecommended,
    /// At the wanted rates, those that the pairs are enough to measure.
    pub points: Vec<ContenderPoint>,
}

impl ContenderReport {
    /// Works out the figures from the scores, 0 to 1, of all copies and of the highest different pairs.
    pub fn of(
        (name, score): (String, String),
        (rule, threshold): (String, f32),
        copies: &[ScoredPair],
        others: &HighestScores,
        fpr_targets: &[f64],
    ) -> Self {
        let scores: Vec<f32> = copies.iter().map(|pair| pair.score).collect();
        let mut found = Share::default();
        for score in &scores {
            found.add(*score >= threshold);
        }
        let points = operating_points(&scores, others, fpr_targets)
            .into_iter()
            .map(|point| {
                let reached = point.threshold.unwrap_or(f32::INFINITY);
                let edits = recall_per_edit(copies, reached);
                ContenderPoint {
                    fpr_target: point.fpr_target,
                    threshold: point.threshold,
                    found: point.true_positives,
                    edits: edits
                        .into_iter()
                        .map(|edit| (edit.edit, edit.found))
                        .collect(),
                }
            })
            .collect();
        Self {
            name,
            score,
            recommended: AsRecommended {
                rule,
                found,
                false_positives: others.reaching(threshold),
            },
            points,
        }
    }

    fn point(&self, fpr_target: f64) -> Option<&ContenderPoint> {
        self.points
            .iter()
            .find(|point| point.fpr_target == fpr_target)
    }
}

/// Several contenders on the same pairs; the first is likeness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SideBySide {
    /// In the order of columns.
    pub contenders: Vec<ContenderReport>,
    /// The rate that the table by edit is for.
    pub fpr_target: f64,
}

impl SideBySide {
    /// Returns the edits of which some other contender finds more than the first, with its name.
    pub fn behind(&self) -> Vec<(String, String)> {
        let Some((first, others)) = self.contenders.split_first() else {
            return Vec::new();
        };
        let Some(own) = first.point(self.fpr_target) else {
            return Vec::new();
        };
        own.edits
            .iter()
            .filter_map(|(edit, found)| {
                let better = others.iter().find(|other| {
                    other
                        .point(self.fpr_target)
                        .and_then(|point| point.edits.get(edit))
                        .is_some_and(|share| share.count > found.count)
                })?;
                Some((edit.clone(), better.name.clone()))
            })
            .collect()
    }
}

impl fmt::Display for SideBySide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nside by side, on the same files")?;
        for contender in &self.contenders {
            let recommended = &contender.recommended;
            writeln!(f, "  {} ({})", contender.name, contender.score)?;
            writeln!(
                f,
                "    {}: copies found {}; strangers joined {}",
                recommended.rule,
                percent(&recommended.found),
                rate(&recommended.false_positives)
            )?;
            for point in &contender.points {
                writeln!(
                    f,
                    "    {:>6.0e} of strangers: copies found {}",
                    point.fpr_target,
                    percent(&point.found)
                )?;
            }
        }
        self.write_edits(f)
    }
}

impl SideBySide {
    fn write_edits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points: Vec<_> = self
            .contenders
            .iter()
            .map(|contender| (contender, contender.point(self.fpr_target)))
            .collect();
        let Some((_, Some(first))) = points.first() else {
            return Ok(());
        };
        let width = first
            .edits
            .keys()
            .map(|edit| edit.chars().count())
            .max()
            .unwrap_or(0);
        write!(f, "\n{:width$}", format!("{:.0e}", self.fpr_target))?;
        for (contender, _) in &points {
            write!(f, "  {:>12.12}", contender.name)?;
        }
        writeln!(f)?;
        for edit in first.edits.keys() {
            write!(f, "{edit:width$}")?;
            for (_, point) in &points {
                let share = point.and_then(|point| point.edits.get(edit)?.value());
                match share {
                    Some(share) => write!(f, "  {:>12.2}", share * 100.0)?,
                    None => write!(f, "  {:>12}", "–")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(scores: [f32; 3]) -> Vec<ScoredPair> {
        ["crop", "crop", "gray"]
            .into_iter()
            .zip(scores)
            .map(|(edit, score)| ScoredPair {
                first: "a".to_owned(),
                second: "b".to_owned(),
                edit: Some(edit.to_owned()),
                score,
            })
            .collect()
    }

    fn contender(name: &str, scores: [f32; 3]) -> ContenderReport {
        let others: HighestScores = [0.3, 0.2].into_iter().collect();
        ContenderReport::of(
            (name.to_owned(), "cosine".to_owned()),
            ("at least 0.25".to_owned(), 0.25),
            &copies(scores),
            &others,
            &[0.0, 1e-6],
        )
    }

    #[test]
    fn figures_are_at_the_recommended_threshold_and_at_wanted_rates() {
        let report = contender("x", [0.9, 0.29, 0.1]);
        assert_eq!(report.recommended.found, Share { count: 2, total: 3 });
        assert_eq!(report.recommended.false_positives.count, 1);
        assert_eq!(report.points.len(), 1, "two pairs cannot show a millionth");
        let point = &report.points[0];
        assert_eq!(point.found, Share { count: 1, total: 3 });
        assert_eq!(point.edits["crop"], Share { count: 1, total: 2 });
    }

    #[test]
    fn edits_where_another_is_ahead_are_named() {
        let side_by_side = SideBySide {
            contenders: vec![
                contender("likeness", [0.9, 0.9, 0.1]),
                contender("other", [0.9, 0.1, 0.9]),
            ],
            fpr_target: 0.0,
        };
        assert_eq!(
            side_by_side.behind(),
            [("gray".to_owned(), "other".to_owned())]
        );
        let text = side_by_side.to_string();
        assert!(text.contains("crop        100.00         50.00"), "{text}");
    }
}
