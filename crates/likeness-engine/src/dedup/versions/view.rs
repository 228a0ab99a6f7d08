//! What callers see of a comparison.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::measure::{Agreement, ComparisonVerdict};

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompareOptions {
    /// Version that may be promoted.
    pub candidate: String,
    /// Version that it is compared with; the one that decides now if absent.
    pub against: Option<String>,
    /// Images, and labels, that are looked at, at most [`MAX_SAMPLE`](super::MAX_SAMPLE).
    pub sample: usize,
    /// Which images: the same seed gives the same.
    pub seed: u64,
}

/// One of two scorers that are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScorerSide {
    /// Name and version.
    pub id: String,
    /// Score that a pair needs.
    pub threshold: f32,
    /// Images of the sample that join a cluster.
    pub joins: u64,
    /// How many of the images score so much with their best head, in 20 steps from 0 to 1.
    pub histogram: Vec<u64>,
    /// How it agrees with labels.
    pub agreement: Agreement,
}

/// How a decision changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It joined a cluster, and would found one of its own.
    JoinToAlone,
    /// It founded a cluster, and would join one.
    AloneToJoin,
    /// It would join another cluster.
    OtherHead,
}

/// A decision that would change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChangedDecision {
    /// How.
    pub kind: ChangeKind,
    /// The image.
    pub image: String,
    /// The head that the two disagree about.
    pub head: String,
    /// Their score by the scorer of now.
    pub score_now: f32,
    /// Their score by the candidate.
    pub score_then: f32,
}

/// What would change with another scorer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScorerComparison {
    /// The scorer that may be promoted.
    pub candidate: ScorerSide,
    /// The one that it is compared with.
    pub against: ScorerSide,
    /// Seed of the sample.
    pub seed: u64,
    /// Decided images in all.
    pub images: u64,
    /// Images of the sample whose decision was made again; those that came near nothing stay as they are.
    pub sampled: u64,
    /// Images of the sample that cannot be decided again, since what they were compared with is gone.
    pub skipped: u64,
    /// Decisions that stay.
    pub unchanged: u64,
    /// Images that joined a cluster and would not.
    pub join_to_alone: u64,
    /// Images that founded a cluster and would join one.
    pub alone_to_join: u64,
    /// Images that would join another cluster.
    pub other_head: u64,
    /// Pairs of the review queue that were looked at.
    pub reviews: u64,
    /// Those of them that the two put on different sides.
    pub reviews_changed: u64,
    /// Labels that were looked at.
    pub labels: u64,
    /// Labels with which the candidate alone agrees.
    pub candidate_alone_right: u64,
    /// Labels with which the other one alone agrees.
    pub against_alone_right: u64,
    /// Chance of so great a difference between two scorers that are equally good.
    pub chance: f64,
    /// What labels say.
    pub verdict: ComparisonVerdict,
    /// Changed decisions, those whose scores differ most first.
    pub changed: Vec<ChangedDecision>,
}

impl ScorerComparison {
    /// Returns the verdict in words.
    pub fn in_words(&self) -> String {
        let changes = self.join_to_alone + self.alone_to_join + self.other_head;
        let (candidate, against) = (&self.candidate.id, &self.against.id);
        let said = match self.verdict {
            ComparisonVerdict::TooFewLabels => format!(
                "{} labels are too few to say which is better; 30 in the review queue would do",
                self.labels
            ),
            ComparisonVerdict::NoDifference => format!(
                "{} labels do not tell {candidate} and {against} apart",
                self.labels
            ),
            ComparisonVerdict::Better => {
                format!("{candidate} agrees better with people than {against}")
            }
            ComparisonVerdict::Worse => {
                format!("{candidate} agrees worse with people than {against}")
            }
        };
        format!(
            "{changes} of {} decisions would change; {said}",
            self.sampled
        )
    }
}
