//! The arithmetic of evaluations: pure functions from labelled results to figures.
//!
//! - [`pairs`]: recall per edit, operating points at wanted false-positive rates, the hardest mistakes.
//! - [`highest`]: scores of strangers, of which there are too many to keep.
//! - [`contenders`]: several ways to compare pictures, side by side on the same pairs.
//! - [`clusters`]: how well a partition agrees with the truth, by pairs and by images (B-cubed).
//! - [`interval`]: how far a share may be off, being counted on a sample.
//! - [`candidates`]: which of the vectors that exact search finds an index hands over as candidates.
//! - [`distractors`]: vectors that look like embeddings of further pictures.
//! - [`crowd`]: pictures against very many of those.
//! - [`report`]: what `likeness eval near-duplicates` writes, as JSON and as text.
//!
//! A share of nothing is `None`, never 0 or 1. Not here: making edits, running models, clocks.

pub mod candidates;
pub mod clusters;
pub mod contenders;
pub mod crowd;
pub mod distractors;
pub mod highest;
pub mod interval;
pub mod pairs;
pub mod report;

pub use candidates::{
    CandidatesReport, CosineSummary, EditCandidates, FoundCandidates, SchemeReport, Strangers,
    Tally, Target,
};
pub use clusters::{ClusterQuality, cluster_quality};
pub use contenders::{ContenderPoint, ContenderReport, SideBySide};
pub use crowd::{CrowdReport, NearDistractor, near_distractors};
pub use distractors::Distractors;
pub use highest::HighestScores;
pub use interval::{Interval, Share};
pub use pairs::{
    EditRecall, Mistakes, OperatingPoint, ScoredPair, hardest_mistakes, operating_points,
    recall_per_edit,
};
pub use report::{HardNegatives, NearDuplicateReport, NegativesOfKind};
