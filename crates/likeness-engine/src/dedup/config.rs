use std::time::Duration;

use likeness_vision::decode::DecodeLimits;

use super::banks::BankLimits;
use super::compare::ViewsMode;
use super::flood::FloodConfig;
use super::join::JoinConfig;
use super::keeper::Keeper;
use super::reviews::ReviewConfig;

/// What the terms of the index are made of. Part of a generation's parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IndexScheme {
    /// Cells that grow with the images: one term an image.
    #[default]
    Cells,
    /// Random hyperplanes that follow a seed alone: several terms an image.
    Hyperplanes(Planes),
}

/// Terms of random hyperplanes; what they should be, and what they cost, `likeness index plan` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planes {
    /// Terms of an image, 1 to 64.
    pub terms: usize,
    /// Bits of a term, 1 to 32.
    pub bits: usize,
    /// Images that the list of a term takes, 1 to 16,384; further ones are found by their other terms.
    pub max_list: usize,
}

impl IndexScheme {
    /// What a search looks into, if nothing else is said: cells, or buckets of each term.
    pub fn default_probes(self) -> usize {
        match self {
            Self::Cells => 512,
            Self::Hyperplanes(_) => 64,
        }
    }

    /// Returns what is wrong with it.
    ///
    /// # Errors
    /// If a number lies out of its range.
    pub fn check(self) -> Result<(), String> {
        let Self::Hyperplanes(planes) = self else {
            return Ok(());
        };
        for (name, value, most) in [
            (
                "terms",
                planes.terms,
                likeness_index::hyperplanes::MAX_TERMS,
            ),
            ("bits", planes.bits, likeness_index::hyperplanes::MAX_BITS),
            (
                "max_list",
                planes.max_list,
                likeness_index::hyperplanes::MAX_MAX_LIST,
            ),
        ] {
            if !(1..=most).contains(&value) {
                return Err(format!(
                    "`dedup.index_{name}` must lie in 1..={most}, got `{value}`"
                ));
            }
        }
        Ok(())
    }

    /// The scheme and its numbers, as a generation keeps them.
    pub(super) fn parameters(self, seed: u64) -> serde_json::Value {
        match self {
            Self::Cells => serde_json::json!({
                "kind": "cells",
                "rotation_seed": seed,
                "refined_per_image": likeness_index::REFINED_PER_INSERTION,
            }),
            Self::Hyperplanes(planes) => serde_json::json!({
                "kind": "hyperplanes",
                "seed": seed,
                "terms": planes.terms,
                "bits": planes.bits,
                "max_list": planes.max_list,
            }),
        }
    }
}

/// What near-duplicate detection can be told. Every bound says what happens when it is met.
#[derive(Debug, Clone)]
pub struct DedupConfig {
    /// Bounds on what is decoded; beyond them an image is refused, or rejected if the breach shows
    /// only after it was stored.
    pub limits: DecodeLimits,
    /// Threads that decode, hash and score.
    pub cpu_threads: usize,
    /// Images that a stage works on at once; further ones wait in the log.
    pub stage_concurrency: usize,
    /// Most images in one commit of a stage.
    pub max_commit: usize,
    /// Candidates kept per image.
    pub max_candidates: usize,
    /// What the terms of the index are made of.
    pub index_scheme: IndexScheme,
    /// Cells of the index that a search looks into, or buckets of each term.
    pub index_probes: usize,
    /// One in so many searches of the index is answered again exactly, for its live recall. 0: none.
    pub audit_every: u64,
    /// Recall@10 that is wanted: probes go up while the live recall is below it beyond doubt. 0: they stay.
    pub wanted_recall: f64,
    /// Most probes, see `wanted_recall`.
    pub max_probes: usize,
    /// ε₀: an image is ruled out by its code if its estimated distance is so many standard deviations of
    /// the estimate's error too large.
    pub index_epsilon: f32,
    /// Images up to which every one is looked at, and the latest that are looked at again before a
    /// decision; beyond it the index is asked.
    pub exact_below: u64,
    /// Which views of pictures are made and compared. Views of stored images are searched among the latest
    /// `exact_below`.
    pub views: ViewsMode,
    /// Embeddings from elsewhere that uploads are joined with.
    pub join: JoinConfig,
    /// Heads that are looked at closely for an image, at most; 0: none, first scores stand. Part of a generation's
    /// parameters.
    pub max_looks: usize,
    /// Uploads stored and not decided; beyond it uploads are refused with `overloaded`.
    pub max_pending: u64,
    /// Bytes of uploads that are being received or stored; beyond it uploads are refused with
    /// `overloaded`.
    pub max_bytes_in_flight: u64,
    /// Which member of a cluster images are compared with.
    pub keeper: Keeper,
    /// Overrides the scorer's own threshold.
    pub threshold: Option<f32>,
    /// How long an upload that asked for its decision is kept waiting.
    pub decision_timeout: Duration,
    /// Bounds on banks.
    pub banks: BankLimits,
    /// What is a flood.
    pub flood: FloodConfig,
    /// Which pairs are queued for review.
    pub review: ReviewConfig,
}

impl Default for DedupConfig {
    fn default() -> Self {
        let cpu_threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            limits: DecodeLimits::default(),
            cpu_threads,
            stage_concurrency: 4 * cpu_threads,
            max_commit: 64,
            max_candidates: 2_000,
            index_scheme: IndexScheme::default(),
            index_probes: IndexScheme::default().default_probes(),
            audit_every: 1_000,
            wanted_recall: 0.0,
            max_probes: 4_096,
            index_epsilon: 3.0,
            exact_below: 16_384,
            views: ViewsMode::Off,
            join: JoinConfig::default(),
            max_looks: 2,
            max_pending: 20_000,
            max_bytes_in_flight: 256 << 20,
            keeper: Keeper::First,
            threshold: None,
            decision_timeout: Duration::from_secs(30),
            banks: BankLimits::default(),
            flood: FloodConfig::default(),
            review: ReviewConfig::default(),
        }
    }
}
