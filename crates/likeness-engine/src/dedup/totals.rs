//! Where a shard stands.

use likeness_core::ImageNumber;
use serde::{Deserialize, Serialize};

/// Absolute counts, kept by the one writer of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Totals {
    /// Numbers given out: images in clusters, and those erased; also the next number.
    pub images: u64,
    /// Clusters.
    pub clusters: u64,
    /// Clusters of two images and more.
    pub duplicate_clusters: u64,
    /// Images that could not be decoded.
    pub rejected: u64,
    /// Corrections dealt with, refused ones included; also the next one's sequence number.
    #[serde(default)]
    pub corrections: u64,
    /// Pairs that must never or always be together.
    #[serde(default)]
    pub constraints: u64,
    /// Of the corrections, those of a kind that leaves every image in its cluster.
    #[serde(default)]
    pub harmless: u64,
    /// Changes of banks that were made.
    #[serde(default)]
    pub bank_changes: u64,
    /// Serial that the next bank gets.
    #[serde(default)]
    pub next_bank: u64,
    /// Banks.
    #[serde(default)]
    pub banks: u64,
    /// Clusters that were ever given another guard than an open one. While there are none, nothing is read of
    /// them.
    #[serde(default)]
    pub guarded: u64,
    /// Alarms raised; also the next one's sequence number.
    #[serde(default)]
    pub alarms: u64,
    /// Of these, those that nobody has acknowledged.
    #[serde(default)]
    pub open_alarms: u64,
    /// Images that clusters under quarantine hold.
    #[serde(default)]
    pub held: u64,
    /// Pairs that wait for review.
    #[serde(default)]
    pub open_reviews: u64,
    /// Pairs that dropped out of the full review queue.
    #[serde(default)]
    pub dropped_reviews: u64,
    /// Pairs that have a label.
    #[serde(default)]
    pub labels: u64,
    /// Numbers whose images were erased.
    #[serde(default)]
    pub erased: u64,
    /// Whether the keeper rule has ever moved a head.
    #[serde(default)]
    pub has_moved_heads: bool,
}

impl Totals {
    /// Whether an image may be elsewhere than where it was put when it was decided, or its cluster may have
    /// another head than its first image.
    pub(super) fn is_corrected(&self) -> bool {
        self.corrections > self.harmless || self.has_moved_heads
    }

    /// Returns the number that the next image gets.
    pub(super) fn next_number(&self) -> ImageNumber {
        ImageNumber(self.images)
    }
}
