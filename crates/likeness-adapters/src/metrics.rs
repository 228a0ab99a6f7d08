//! Names of the metrics of the stores on this machine, and their recording.

use std::time::Duration;

use likeness_core::step::Durability;

/// Seconds from the call of a commit to its acknowledgement; label `durability`.
pub const STATE_COMMIT_DURATION_SECONDS: &str = "likeness_state_commit_duration_seconds";
/// Seconds of one sync of the write-ahead log.
pub const STATE_SYNC_DURATION_SECONDS: &str = "likeness_state_sync_duration_seconds";
/// Number of writers acknowledged by one sync.
pub const STATE_SYNCED_STEPS: &str = "likeness_state_synced_steps";

/// Upper bounds for the histograms of durations, in seconds: from a write into memory to a disk
/// that hangs.
pub const DURATION_BUCKETS: [f64; 14] = [
    0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0,
];
/// Upper bounds for the histogram of [`STATE_SYNCED_STEPS`].
pub const SYNCED_STEPS_BUCKETS: [f64; 10] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Tells the installed recorder what the metrics mean.
pub fn describe() {
    use ::metrics::Unit;
    ::metrics::describe_histogram!(
        STATE_COMMIT_DURATION_SECONDS,
        Unit::Seconds,
        "time from the call of a commit to its acknowledgement"
    );
    ::metrics::describe_histogram!(
        STATE_SYNC_DURATION_SECONDS,
        Unit::Seconds,
        "time of one sync of the write-ahead log"
    );
    ::metrics::describe_histogram!(
        STATE_SYNCED_STEPS,
        Unit::Count,
        "writers acknowledged by one sync"
    );
}

pub(crate) fn record_commit(durability: Durability, duration: Duration) {
    let durability = match durability {
        Durability::Process => "process",
        Durability::Synced => "synced",
    };
    ::metrics::histogram!(STATE_COMMIT_DURATION_SECONDS, "durability" => durability)
        .record(duration);
}

pub(crate) fn record_sync(n_waiting: u64, duration: Duration) {
    ::metrics::histogram!(STATE_SYNC_DURATION_SECONDS).record(duration);
    // The last sync before closing has nobody waiting for it.
    if n_waiting > 0 {
        ::metrics::histogram!(STATE_SYNCED_STEPS).record(n_waiting as f64);
    }
}
