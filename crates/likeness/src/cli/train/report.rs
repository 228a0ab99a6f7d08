//! What `likeness train scorer` says of a scorer of two stages.

use likeness_engine::dedup::scorer::Manifest;
use serde::Serialize;

use super::pairs::HardPair;
use crate::output::{Table, count};

/// What a fit of two stages gave.
#[derive(Debug, Serialize)]
pub(super) struct Trained {
    pub(super) file: String,
    pub(super) scorer: String,
    pub(super) threshold: f32,
    pub(super) pictures: usize,
    pub(super) looks: usize,
    pub(super) manifest: Manifest,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) hardest: Vec<HardPair>,
}

/// Tables of figures, curve, calibration and importance.
pub(super) fn describe(trained: &Trained) -> String {
    let manifest = &trained.manifest;
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let mut figures = Table::new([
        "held out",
        "copies found",
        "of",
        "strangers joined",
        "of",
        "allowed",
    ]);
    for kind in &manifest.figures {
        let held_out = &kind.held_out;
        figures.row([
            kind.kind.clone(),
            percent(held_out.recall),
            count(held_out.recall_pairs),
            format!("{:.1e}", held_out.fpr),
            count(held_out.fpr_pairs),
            format!("{:.0e}", held_out.fpr_target),
        ]);
    }
    let mut curve = Table::new(["score", "recall", "strangers", "precision"]);
    for point in &manifest.curve {
        curve.row([
            format!("{:.6}", point.threshold),
            percent(point.recall),
            format!("{:.1e}", point.fpr),
            format!("{:.4} %", 100.0 * point.precision),
        ]);
    }
    let mut calibration = Table::new(["mean score", "copies among them", "pairs"]);
    for bin in &manifest.calibration {
        calibration.row([
            format!("{:.4}", bin.mean_score),
            format!("{:.4}", bin.share),
            count(bin.pairs),
        ]);
    }
    let mut importance = Table::new(["stage", "feature", "share of the gain"]);
    for feature in manifest
        .importance
        .iter()
        .filter(|feature| feature.share > 0.0)
    {
        importance.row([
            feature.stage.to_string(),
            feature.feature.clone(),
            percent(feature.share),
        ]);
    }
    let mut hardest = Table::new(["score", "strangers", "of"]);
    for pair in &trained.hardest {
        let edit = pair.edit.map_or(String::new(), |edit| format!(", {edit}"));
        hardest.row([
            format!("{:.4}", pair.score),
            format!("{} and {}{edit}", pair.first, pair.second),
            pair.kind.to_owned(),
        ]);
    }
    let hardest = if hardest.is_empty() {
        String::new()
    } else {
        format!("\n{hardest}")
    };
    format!(
        "scorer     {} in {}\n\
         made from  {} pictures, {} pairs, {} of them looked at closely\n\
         threshold  {:.6}, by {}\n\n\
         {figures}\n{curve}\n{calibration}\n{importance}{hardest}",
        trained.scorer,
        trained.file,
        count(trained.pictures as u64),
        count(manifest.pairs),
        count(trained.looks as u64),
        trained.threshold,
        manifest.threshold_by,
    )
}
