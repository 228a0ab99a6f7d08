//! What an evaluation of near-duplicates says: [`NearDuplicateReport`] is its JSON form, its `Display`
//! the text for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::clusters::ClusterQuality;
use super::contenders::SideBySide;
use super::crowd::CrowdReport;
use super::interval::Share;
use super::pairs::{EditRecall, Mistakes, OperatingPoint, ScoredPair};

/// Different pictures over one template, or of one scene.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NegativesOfKind {
    /// What they have in common.
    pub kind: String,
    /// Pictures.
    pub pictures: u64,
    /// Pairs within a family that reach the threshold, of all.
    pub pairs: Share,
    /// Pictures that ended in a cluster of another one.
    pub merged: Share,
}

/// Hard negatives of all kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HardNegatives {
    /// In the order of the report.
    pub kinds: Vec<NegativesOfKind>,
    /// Pairs of all kinds.
    pub pairs: Share,
    /// Pictures of all kinds.
    pub merged: Share,
}

impl HardNegatives {
    /// Adds the kinds up.
    pub fn of(kinds: Vec<NegativesOfKind>) -> Self {
        let sum = |share: fn(&NegativesOfKind) -> Share| {
            kinds
                .iter()
                .map(share)
                .fold(Share::default(), |a, b| Share {
                    count: a.count + b.count,
                    total: a.total + b.total,
                })
        };
        Self {
            pairs: sum(|kind| kind.pairs),
            merged: sum(|kind| kind.merged),
            kinds,
        }
    }
}

/// An evaluation of near-duplicates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NearDuplicateReport {
    /// Name of the list of edits.
    pub edit_list: String,
    /// Seed of the edits.
    pub seed: u64,
    /// Embedding model.
    pub model: String,
    /// Scorer's name and version.
    pub scorer: String,
    /// Score that joins.
    pub threshold: f32,
    /// Pictures that the copies were made from.
    pub pictures: u64,
    /// Copies that reach the threshold, of all.
    pub recall: Share,
    /// Pairs of different pictures that reach it, of all.
    pub false_positives: Share,
    /// Recall of each edit.
    pub edits: Vec<EditRecall>,
    /// What other thresholds would give.
    pub operating_points: Vec<OperatingPoint>,
    /// The clusters that came out; `None` if only pairs were scored.
    pub clusters: Option<ClusterQuality>,
    /// Different pictures that are hard to tell apart; `None` if none were made.
    pub hard_negatives: Option<HardNegatives>,
    /// Against distractors; `None` if none were drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crowd: Option<CrowdReport>,
    /// Other ways to compare the same pictures; `None` if only the scorer was asked.
    pub side_by_side: Option<SideBySide>,
    /// The pairs to look at.
    pub mistakes: Mistakes,
}

impl fmt::Display for NearDuplicateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Near-duplicates: list `{}`, seed {}, {} pictures",
            self.edit_list, self.seed, self.pictures
        )?;
        writeln!(
            f,
            "model {}, scorer {}, threshold {:.4}",
            self.model, self.scorer, self.threshold
        )?;
        writeln!(f)?;
        writeln!(f, "copies found         {}", percent(&self.recall))?;
        writeln!(f, "strangers joined     {}", rate(&self.false_positives))?;
        writeln!(f)?;
        let width = self
            .edits
            .iter()
            .map(|edit| edit.edit.chars().count())
            .max()
            .unwrap_or(0)
            .max("edit".len());
        writeln!(
            f,
            "{:width$}   found   95 % interval     of  mean score",
            "edit"
        )?;
        for edit in &self.edits {
            let (interval, found) = (edit.found.interval(), edit.found.value().unwrap_or(0.0));
            writeln!(
                f,
                "{:width$}  {:>6.2}  {:>6.2} – {:>6.2}  {:>5}  {:>10.4}",
                edit.edit,
                found * 100.0,
                interval.low * 100.0,
                interval.high * 100.0,
                edit.found.total,
                edit.mean_score,
            )?;
        }
        if !self.operating_points.is_empty() {
            writeln!(
                f,
                "\nstrangers allowed  threshold  copies found  strangers joined"
            )?;
        }
        for point in &self.operating_points {
            let threshold = point
                .threshold
                .map_or("none".to_owned(), |threshold| format!("{threshold:.4}"));
            writeln!(
                f,
                "{:>17.0e}  {threshold:>9}  {:>10.2} %  {}",
                point.fpr_target,
                point.true_positives.value().unwrap_or(0.0) * 100.0,
                rate(&point.false_positives),
            )?;
        }
        if let Some(clusters) = &self.clusters {
            write_clusters(f, clusters)?;
        }
        if let Some(negatives) = &self.hard_negatives {
            write_negatives(f, negatives)?;
        }
        if let Some(crowd) = &self.crowd {
            write!(f, "{crowd}")?;
        }
        if let Some(side_by_side) = &self.side_by_side {
            write!(f, "{side_by_side}")?;
        }
        write_mistakes(
            f,
            "copies missed, lowest score first",
            &self.mistakes.missed,
        )?;
        write_mistakes(
            f,
            "strangers joined, highest score first",
            &self.mistakes.joined,
        )
    }
}

fn write_clusters(f: &mut fmt::Formatter<'_>, clusters: &ClusterQuality) -> fmt::Result {
    let ratio =
        |value: Option<f64>| value.map_or("     –".to_owned(), |value| format!("{value:.4}"));
    writeln!(
        f,
        "\n{} images in {} clusters, truly {}; the largest has {}",
        clusters.images, clusters.clusters, clusters.true_clusters, clusters.largest_cluster
    )?;
    writeln!(f, "           precision  recall      F1")?;
    for (name, precision, recall, f1) in [
        (
            "pairs",
            clusters.pair_precision.value(),
            clusters.pair_recall.value(),
            clusters.pair_f1,
        ),
        (
            "B-cubed",
            clusters.bcubed_precision,
            clusters.bcubed_recall,
            clusters.bcubed_f1,
        ),
    ] {
        writeln!(
            f,
            "{name:<8}      {}  {}  {}",
            ratio(precision),
            ratio(recall),
            ratio(f1)
        )?;
    }
    Ok(())
}

fn write_negatives(f: &mut fmt::Formatter<'_>, negatives: &HardNegatives) -> fmt::Result {
    writeln!(
        f,
        "\nhard negatives joined (pairs of one family that reach the threshold)"
    )?;
    for kind in &negatives.kinds {
        writeln!(f, "  {:<10}  {}", kind.kind, percent(&kind.pairs))?;
    }
    writeln!(f, "  {:<10}  {}", "all", percent(&negatives.pairs))?;
    writeln!(
        f,
        "  pictures that ended in a cluster of another one: {}",
        percent(&negatives.merged)
    )
}

fn write_mistakes(f: &mut fmt::Formatter<'_>, title: &str, pairs: &[ScoredPair]) -> fmt::Result {
    if pairs.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}")?;
    for pair in pairs {
        let edit = pair.edit.as_deref().unwrap_or("");
        writeln!(
            f,
            "{:.4}  {}  {}  {edit}",
            pair.score, pair.first, pair.second
        )?;
    }
    Ok(())
}

/// `99.40 % (98.71 – 99.72), 1,000 of 1,006` without the grouping.
pub(super) fn percent(share: &Share) -> String {
    let Some(value) = share.value() else {
        return "none to find".to_owned();
    };
    let interval = share.interval();
    let (low, high) = (interval.low * 100.0, interval.high * 100.0);
    format!(
        "{:.2} % ({low:.2} – {high:.2}), {} of {}",
        value * 100.0,
        share.count,
        share.total
    )
}

/// For shares far below one percent.
pub(super) fn rate(share: &Share) -> String {
    let Some(value) = share.value() else {
        return "none to join".to_owned();
    };
    format!(
        "{value:.1e} (at most {:.1e}), {} of {}",
        share.interval().high,
        share.count,
        share.total
    )
}

#[cfg(test)]
mod tests {
    use super::super::{cluster_quality, hardest_mistakes, operating_points, recall_per_edit};
    use super::*;

    fn report() -> NearDuplicateReport {
        let pair = |first: &str, edit: Option<&str>, score| ScoredPair {
            first: first.to_owned(),
            second: "lake.jpg".to_owned(),
            edit: edit.map(str::to_owned),
            score,
        };
        let pairs = [
            pair("a", Some("crop40"), 0.9),
            pair("b", Some("crop40"), 0.25),
            pair("c", Some("gray"), 1.0),
            pair("hill.jpg", None, 0.75),
        ];
        NearDuplicateReport {
            edit_list: "standard".to_owned(),
            seed: 7,
            model: "m/1".to_owned(),
            scorer: "pairs/1".to_owned(),
            threshold: 0.5,
            pictures: 2,
            recall: Share { count: 2, total: 3 },
            false_positives: Share { count: 1, total: 1 },
            edits: recall_per_edit(&pairs, 0.5),
            operating_points: operating_points(
                &[0.9, 0.25, 1.0],
                &[0.75].into_iter().collect(),
                &[0.0],
            ),
            clusters: Some(cluster_quality([(1, 1), (1, 1), (2, 1), (2, 2)])),
            hard_negatives: Some(HardNegatives::of(vec![NegativesOfKind {
                kind: "card".to_owned(),
                pictures: 3,
                pairs: Share { count: 1, total: 3 },
                merged: Share { count: 0, total: 3 },
            }])),
            crowd: None,
            side_by_side: None,
            mistakes: hardest_mistakes(&pairs, 0.5, 5),
        }
    }

    #[test]
    fn text_has_every_figure() {
        let expected = "\
Near-duplicates: list `standard`, seed 7, 2 pictures
model m/1, scorer pairs/1, threshold 0.5000

copies found         66.67 % (20.77 – 93.85), 2 of 3
strangers joined     1.0e0 (at most 1.0e0), 1 of 1

edit     found   95 % interval     of  mean score
crop40   50.00    9.45 –  90.55      2      0.5750
gray    100.00   20.65 – 100.00      1      1.0000

strangers allowed  threshold  copies found  strangers joined
              0e0     0.7500       66.67 %  0.0e0 (at most 7.9e-1), 0 of 1

4 images in 2 clusters, truly 2; the largest has 2
           precision  recall      F1
pairs         0.5000  0.3333  0.4000
B-cubed       0.7500  0.6667  0.7059

hard negatives joined (pairs of one family that reach the threshold)
  card        33.33 % (6.15 – 79.23), 1 of 3
  all         33.33 % (6.15 – 79.23), 1 of 3
  pictures that ended in a cluster of another one: 0.00 % (0.00 – 56.15), 0 of 3

copies missed, lowest score first
0.2500  b  lake.jpg  crop40

strangers joined, highest score first
0.7500  hill.jpg  lake.jpg  
";
        assert_eq!(report().to_string(), expected);
    }

    #[test]
    fn an_empty_report_is_still_a_text() {
        let report = NearDuplicateReport {
            recall: Share::default(),
            false_positives: Share::default(),
            edits: vec![],
            operating_points: vec![],
            clusters: None,
            hard_negatives: None,
            mistakes: Mistakes::default(),
            ..report()
        };
        let text = report.to_string();
        assert!(
            text.contains("none to find") && text.contains("none to join") && !text.contains("NaN"),
            "{text}"
        );
    }

    #[test]
    fn json_survives_a_round_trip() {
        let json = serde_json::to_string(&report()).unwrap();
        assert_eq!(
            serde_json::from_str::<NearDuplicateReport>(&json).unwrap(),
            report()
        );
    }
}
