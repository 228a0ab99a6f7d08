//! The arithmetic of evaluations: pure functions from labelled results to figures.
//!
//! - [`pairs`]: recall per edit, operating points at wanted false-positive rates, the hardest mistakes.
//! - [`clusters`]: how well a partition agrees with the truth, by pairs and by images (B-cubed).
//! - [`interval`]: how far a share may be off, being counted on a sample.
//! - [`report`]: what `likeness eval near-duplicates` writes, as JSON and as text.
//!
//! A share of nothing is `None`, never 0 or 1. Not here: making edits, running models, clocks.

pub mod clusters;
pub mod interval;
pub mod pairs;
pub mod report;

pub use clusters::{ClusterQuality, cluster_quality};
pub use interval::{Interval, Share};
pub use pairs::{
    EditRecall, Mistakes, OperatingPoint, ScoredPair, hardest_mistakes, operating_points,
    recall_per_edit,
};
pub use report::NearDuplicateReport;
