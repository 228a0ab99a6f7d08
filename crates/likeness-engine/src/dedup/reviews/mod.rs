//! The review queue: pairs that the scorer was least sure of, for people to look at, and their answers.
//!
//! When an image is decided, and the best head that it was compared with scores in the grey zone around the
//! threshold, the pair is queued in the commit of the decision, whichever side the decision fell. What people
//! answer is a correction ([`Command::Label`](super::Command::Label)) and travels as one: journalled,
//! idempotent, undoable, in its place among uploads (docs/adr/018-review-and-labels.md). An answer becomes a
//! label, the later one of a pair wins, and takes the pair off the queue, as does any correction that settles
//! it. So queue and labels are a fold of the log.
//!
//! ```text
//! table          partition, sort                                  → value
//! reviews        shard, uncertainty ↑ image ↓ head number         → ReviewRecord: the queue in its order
//! review_pairs   image id, other id; each pair twice              → its sort key in `reviews`
//! labels         shard, two numbers, the lower first              → LabelRecord
//! labels_by_image image id, other id; each pair twice             → its sort key in `labels`
//! ```
//! The queue is bounded by `dedup.review.max_open`: beyond it the pair that is least uncertain drops out, and
//! is counted. What is kept is the best of all that came, so it does not depend on how images were batched.

pub(super) mod forget;
mod query;
#[cfg(test)]
pub(super) mod tests;

use bytes::Bytes;
use likeness_core::state::{Key, Scan, StateStore, Table, Write};
use likeness_core::{ImageId, ImageNumber, StoreResult, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::records::{ScoredCandidate, Totals};
use super::tables::{SHARD, decode, encode};
use crate::metrics::{REVIEW_DROPPED_PAIRS, REVIEW_LABELS, REVIEW_OPEN_PAIRS};

pub use query::{LabelView, Pair, ReviewView};

/// The review queue, see the module's table.
pub(super) const REVIEWS: Table = Table("reviews");
const REVIEW_PAIRS: Table = Table("review_pairs");
/// Labels, see the module's table.
pub(super) const LABELS: Table = Table("labels");
const LABELS_BY_IMAGE: Table = Table("labels_by_image");

/// Greatest and least odds of the default grey zone, as a multiple of the threshold's.
const DEFAULT_ODDS: f32 = 10.0;
/// Scores are kept so far from 0 and 1 when their odds are taken.
const EDGE: f64 = 1e-7;

/// Which pairs are queued for review.
#[derive(Debug, Clone, PartialEq)]
pub struct ReviewConfig {
    /// Least score. Absent: a tenth of the odds of the threshold.
    pub low: Option<f32>,
    /// Greatest score. Absent: ten times the odds of the threshold.
    pub high: Option<f32>,
    /// Most pairs in the queue; beyond it the least uncertain drops out, and is counted. 0: nothing is queued.
    pub max_open: u64,
}

impl Default for ReviewConfig {
    fn default() -> Self {
        Self {
            low: None,
            high: None,
            max_open: 10_000,
        }
    }
}

/// What a person says of two images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReviewVerdict {
    /// They are near-copies.
    Same,
    /// They are not.
    Different,
    /// Cannot be told, or does not matter: the pair leaves the queue without a label.
    Skip,
}

/// The scores about which the scorer says little.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct GreyZone {
    low: f32,
    high: f32,
    threshold: f32,
    pub(super) max_open: u64,
}

impl GreyZone {
    /// Returns the grey zone of `config` around `threshold`.
    pub(super) fn of(config: &ReviewConfig, threshold: f32) -> Self {
        let odds = |factor: f32| {
            let margin = log_odds(threshold) + f64::from(factor).ln();
            (1.0 / (1.0 + (-margin).exp())) as f32
        };
        Self {
            low: config.low.unwrap_or_else(|| odds(1.0 / DEFAULT_ODDS)),
            high: config.high.unwrap_or_else(|| odds(DEFAULT_ODDS)),
            threshold,
            max_open: config.max_open,
        }
    }

    /// Returns how uncertain a score is, if it lies in the zone.
    pub(super) fn uncertainty(&self, score: f32) -> Option<u32> {
        let is_grey = self.max_open > 0 && (self.low..=self.high).contains(&score);
        is_grey.then(|| distance(score, self.threshold))
    }
}

/// Returns the logarithm of the odds of a score.
fn log_odds(score: f32) -> f64 {
    let score = f64::from(score).clamp(EDGE, 1.0 - EDGE);
    (score / (1.0 - score)).ln()
}

/// Returns how far a score is from the threshold, in thousandths of the logarithm of the odds: 0 is the most
/// uncertain.
fn distance(score: f32, threshold: f32) -> u32 {
    // At most 32,236: twice the log odds at the edge.
    ((log_odds(score) - log_odds(threshold)).abs() * 1e3).round() as u32
}

/// A pair that waits for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ReviewRecord {
    /// The image that was decided.
    pub image: ImageId,
    /// Its number.
    pub number: ImageNumber,
    /// The head that it was compared with.
    pub head: ImageId,
    /// By what it was compared with it; stored without ids.
    pub candidate: ScoredCandidate,
    /// Whether it joined that head's cluster.
    pub joined: bool,
    /// Score that the pair needed.
    pub threshold: f32,
    /// Scorer's name and version.
    pub scorer: String,
    /// See [`distance`].
    pub uncertainty: u32,
    /// When the image was stored.
    pub uploaded: Timestamp,
}

impl ReviewRecord {
    /// Returns its place in the queue: most uncertain first, then newest.
    fn sort(&self) -> Bytes {
        let mut sort = self.uncertainty.to_be_bytes().to_vec();
        sort.extend((!self.number.0).to_be_bytes());
        sort.extend(self.candidate.number.0.to_be_bytes());
        sort.into()
    }

    /// Returns the rows that queue it.
    pub(super) fn put(&self) -> [Write; 3] {
        let sort = self.sort();
        let [one, two] = self.pair_keys();
        [
            Write::Put(queue_key(sort.clone()), encode(self)),
            Write::Put(one, sort.clone()),
            Write::Put(two, sort),
        ]
    }

    /// Takes it off the queue.
    pub(super) fn delete(&self) -> [Write; 3] {
        let [one, two] = self.pair_keys();
        [
            Write::Delete(queue_key(self.sort())),
            Write::Delete(one),
            Write::Delete(two),
        ]
    }

    fn pair_keys(&self) -> [Key; 2] {
        let (image, head) = (&self.image, &self.head);
        [open_key(image, head), open_key(head, image)]
    }
}

/// What a person said of a pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct LabelRecord {
    /// The image with the lower number.
    pub a: ImageId,
    /// The other one.
    pub b: ImageId,
    /// Their numbers.
    pub numbers: (ImageNumber, ImageNumber),
    /// Whether they are near-copies.
    pub same: bool,
    /// Their score, by the scorer that was in force.
    pub score: f32,
    /// Sequence number of the correction that said so: who, why and when.
    pub correction: u64,
}

impl LabelRecord {
    /// Returns the rows that keep it.
    pub(super) fn put(&self) -> [Write; 3] {
        let (low, high) = self.numbers;
        let key = label_key(low, high);
        let [one, two] = self.by_image_keys();
        [
            Write::Put(one, key.sort.clone()),
            Write::Put(two, key.sort.clone()),
            Write::Put(key, encode(self)),
        ]
    }

    /// Takes it back.
    pub(super) fn delete(&self) -> [Write; 3] {
        let (low, high) = self.numbers;
        let [one, two] = self.by_image_keys();
        [
            Write::Delete(label_key(low, high)),
            Write::Delete(one),
            Write::Delete(two),
        ]
    }

    fn by_image_keys(&self) -> [Key; 2] {
        let by_image = |image: &ImageId, other: &ImageId| {
            let of = Bytes::copy_from_slice(image.as_bytes());
            Key::new(
                LABELS_BY_IMAGE,
                of,
                Bytes::copy_from_slice(other.as_bytes()),
            )
        };
        [by_image(&self.a, &self.b), by_image(&self.b, &self.a)]
    }
}

fn queue_key(sort: Bytes) -> Key {
    Key::new(REVIEWS, Bytes::from_static(SHARD), sort)
}

fn open_key(image: &ImageId, other: &ImageId) -> Key {
    Key::new(
        REVIEW_PAIRS,
        Bytes::copy_from_slice(image.as_bytes()),
        Bytes::copy_from_slice(other.as_bytes()),
    )
}

/// Row of the label of two images.
pub(super) fn label_key(a: ImageNumber, b: ImageNumber) -> Key {
    let (low, high) = (a.min(b).0, a.max(b).0);
    let mut sort = low.to_be_bytes().to_vec();
    sort.extend(high.to_be_bytes());
    Key::new(LABELS, Bytes::from_static(SHARD), sort)
}

/// Returns the queued ones among `pairs`.
///
/// # Errors
/// If the store fails.
pub(super) async fn queued(
    state: &dyn StateStore,
    pairs: &[(ImageId, ImageId)],
) -> StoreResult<Vec<ReviewRecord>> {
    let keys: Vec<_> = pairs.iter().map(|(a, b)| open_key(a, b)).collect();
    let mut sorts: Vec<Bytes> = state.get_many(&keys).await?.into_iter().flatten().collect();
    sorts.sort_unstable();
    sorts.dedup();
    let keys: Vec<_> = sorts.into_iter().map(queue_key).collect();
    let rows = state.get_many(&keys).await?;
    rows.iter()
        .flatten()
        .map(|row| decode("reviews", row))
        .collect()
}

/// Queues the pairs of one commit, and lets the least uncertain of all drop out if there are too many.
///
/// # Errors
/// If the store fails.
pub(super) async fn enqueue(
    state: &dyn StateStore,
    totals: &mut Totals,
    new: Vec<ReviewRecord>,
    max_open: u64,
) -> StoreResult<Vec<Write>> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let open = totals.open_reviews + new.len() as u64;
    let excess = usize::try_from(open.saturating_sub(max_open)).unwrap_or(usize::MAX);
    let num_new = new.len();
    let mut last: Vec<(ReviewRecord, bool)> = new.into_iter().map(|new| (new, true)).collect();
    if excess > 0 {
        let scan = Scan::all(REVIEWS, Bytes::from_static(SHARD), excess).descending();
        for row in state.scan(scan).await? {
            last.push((decode("reviews", &row.value)?, false));
        }
    }
    last.sort_by_key(|(record, _)| std::cmp::Reverse(record.sort()));
    let dropped = excess.min(last.len());
    let mut writes = Vec::with_capacity(3 * (num_new + dropped));
    for (idx, (record, is_new)) in last.iter().enumerate() {
        match (idx < dropped, is_new) {
            (true, false) => writes.extend(record.delete()),
            (false, true) => writes.extend(record.put()),
            (true, true) | (false, false) => {}
        }
    }
    totals.open_reviews = open - dropped as u64;
    totals.dropped_reviews += dropped as u64;
    Ok(writes)
}

/// Tells the metrics where queue and labels stand.
pub(super) fn report(totals: &Totals) {
    metrics::gauge!(REVIEW_OPEN_PAIRS).set(totals.open_reviews as f64);
    metrics::gauge!(REVIEW_DROPPED_PAIRS).set(totals.dropped_reviews as f64);
    metrics::gauge!(REVIEW_LABELS).set(totals.labels as f64);
}
