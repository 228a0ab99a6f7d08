use std::time::Duration;

use likeness_vision::decode::DecodeLimits;

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
    /// Uploads stored and not decided; beyond it uploads are refused with `overloaded`.
    pub max_pending: u64,
    /// Bytes of uploads that are being received or stored; beyond it uploads are refused with
    /// `overloaded`.
    pub max_bytes_in_flight: u64,
    /// Overrides the scorer's own threshold.
    pub threshold: Option<f32>,
    /// How long an upload that asked for its decision is kept waiting.
    pub decision_timeout: Duration,
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
            max_pending: 20_000,
            max_bytes_in_flight: 256 << 20,
            threshold: None,
            decision_timeout: Duration::from_secs(30),
        }
    }
}
