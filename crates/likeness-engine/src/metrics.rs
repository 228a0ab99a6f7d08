//! Names of the engine's metrics, and the meter behind the rates on the overview page.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Attempts of jobs, by `job` and `outcome`.
pub const JOB_RUNS_TOTAL: &str = "likeness_job_runs_total";
/// Time of an attempt, by `job`.
pub const JOB_RUN_SECONDS: &str = "likeness_job_run_seconds";
/// When a job last succeeded, by `job`.
pub const JOB_LAST_SUCCESS_SECONDS: &str = "likeness_job_last_success_seconds";
/// Uploads, by `outcome` (`created`, `existed`, `refused`).
pub const UPLOADS_TOTAL: &str = "likeness_dedup_uploads_total";
/// Images that a stage has committed, by `stage`.
pub const STAGE_IMAGES_TOTAL: &str = "likeness_dedup_stage_images_total";
/// Time a stage spent on its images, waiting for a processor included, summed over what ran at
/// once, by `stage`. Only grows.
pub const STAGE_BUSY_SECONDS_TOTAL: &str = "likeness_dedup_stage_busy_seconds_total";
/// Attempts of a stage that failed and were made again, by `stage`.
pub const STAGE_RETRIES_TOTAL: &str = "likeness_dedup_stage_retries_total";
/// Images in one commit of a stage, by `stage`.
pub const STAGE_COMMIT_IMAGES: &str = "likeness_dedup_stage_commit_images";
/// Uploads stored and not decided.
pub const PENDING_IMAGES: &str = "likeness_dedup_pending_images";
/// Bytes of uploads in flight.
pub const IN_FLIGHT_BYTES: &str = "likeness_dedup_in_flight_bytes";
/// Decisions, by `kind` (`new_cluster`, `joined`, `rejected`).
pub const DECISIONS_TOTAL: &str = "likeness_dedup_decisions_total";
/// Time from stored to decided.
pub const DECISION_LATENCY_SECONDS: &str = "likeness_dedup_decision_latency_seconds";
/// Images that matched a bank, by `bank` (there are few) and `when` (`decision`, `scan`).
pub const BANK_MATCHES_TOTAL: &str = "likeness_dedup_bank_matches_total";
/// Alarms of floods, by `kind` (`growth`, `attraction`, `size`).
pub const ALARMS_TOTAL: &str = "likeness_dedup_alarms_total";
/// Images that clusters under quarantine have held.
pub const HELD_TOTAL: &str = "likeness_dedup_held_images_total";
/// Candidates that the index returned for an image.
pub const CANDIDATES_PER_IMAGE: &str = "likeness_dedup_candidates_per_image";
/// Embeddings at the door, by `outcome` (`stored`, `existed`, `conflict`).
pub const EMBEDDINGS_TOTAL: &str = "likeness_join_embeddings_total";
/// Images that wait for a side, by the `side` that is there (`upload`, `embedding`).
pub const JOIN_WAITING: &str = "likeness_join_waiting_images";
/// Images whose other side did not come in time, by the `side` that is there.
pub const JOIN_ORPHANS: &str = "likeness_join_orphan_images";
/// Images that had to wait for a side and got it, since the data was made.
pub const JOINED_IMAGES: &str = "likeness_join_joined_images";
/// Of these, those that the watermark had passed.
pub const JOINED_LATE: &str = "likeness_join_late_images";
/// Images in the index.
pub const INDEX_IMAGES: &str = "likeness_index_images";
/// Memory of the index.
pub const INDEX_BYTES: &str = "likeness_index_bytes";
/// Cells that a search looks into, or buckets of each term.
pub const INDEX_PROBES: &str = "likeness_index_probes";
/// Terms of hyperplanes whose list is full.
pub const INDEX_CAPPED_TERMS: &str = "likeness_index_capped_terms";
/// Vectors that full lists have not taken, over all terms.
pub const INDEX_LEFT_OUT: &str = "likeness_index_left_out";
/// Searches that were answered again by looking at everything.
pub const INDEX_AUDITED: &str = "likeness_index_audited_searches";
/// Recall@10 of the latest audited searches.
pub const INDEX_RECALL: &str = "likeness_index_recall_ratio";
/// Lower end of the recall's 95 % interval.
pub const INDEX_RECALL_LOW: &str = "likeness_index_recall_low_ratio";
/// Upper end of the recall's 95 % interval.
pub const INDEX_RECALL_HIGH: &str = "likeness_index_recall_high_ratio";
/// Pins, geolocations and users at the door, by `kind` and `outcome` (`accepted`, `refused`).
pub const PIN_EVENTS_TOTAL: &str = "likeness_pins_events_total";
/// Records that the stream of pins has not committed yet, at most, by `topic`.
pub const PINS_LAG_RECORDS: &str = "likeness_pins_lag_records";
/// How long ago the last record that it committed was received, while there are more, by `topic`.
pub const PINS_LAG_SECONDS: &str = "likeness_pins_lag_seconds";
/// Event time before which what comes is late, in seconds since 1970.
pub const PINS_WATERMARK_SECONDS: &str = "likeness_pins_watermark_seconds";
/// Rows of clean events that were written, by `kind`.
pub const PINS_ROWS_TOTAL: &str = "likeness_pins_rows_total";
/// Events that could not be cleaned, by `kind`.
pub const PINS_REJECTED_TOTAL: &str = "likeness_pins_rejected_events_total";
/// Pins whose event time the watermark had passed when it was learnt.
pub const PINS_LATE_TOTAL: &str = "likeness_pins_late_events_total";
/// Pins that were moved by a geolocation that came later.
pub const PINS_MOVED_TOTAL: &str = "likeness_pins_moved_events_total";
/// Attempts of the stream of pins that failed and were made again.
pub const PINS_RETRIES_TOTAL: &str = "likeness_pins_stream_retries_total";
/// Gauge by `topic`: records that the lake has not, at most.
pub const PINS_LAKE_LAG_RECORDS: &str = "likeness_pins_lake_lag_records";
/// Gauge by `topic`: how long ago the last record that the lake has was received, if there are more.
pub const PINS_LAKE_LAG_SECONDS: &str = "likeness_pins_lake_lag_seconds";
/// Counter: events that were committed to the lake.
pub const PINS_LAKE_EVENTS_TOTAL: &str = "likeness_pins_lake_events_total";
/// Counter: files that were entered, merged ones apart.
pub const PINS_LAKE_FILES_TOTAL: &str = "likeness_pins_lake_files_total";
/// Counter: merged files.
pub const PINS_LAKE_MERGES_TOTAL: &str = "likeness_pins_lake_merges_total";
/// Counter: attempts that failed and were made again.
pub const PINS_LAKE_RETRIES_TOTAL: &str = "likeness_pins_lake_retries_total";
/// Gauge: rows in which batch and stream differed, as the last check found.
pub const PINS_PARITY_DIFFERING_ROWS: &str = "likeness_pins_parity_differing_rows";
/// Pairs that wait for review.
pub const REVIEW_OPEN_PAIRS: &str = "likeness_review_open_pairs";
/// Pairs that dropped out of the full review queue. Only grows.
pub const REVIEW_DROPPED_PAIRS: &str = "likeness_review_dropped_pairs";
/// Pairs that have a label.
pub const REVIEW_LABELS: &str = "likeness_review_labels";

/// Describes every metric to the recorder. Call once, after the recorder is installed.
pub fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!(
        JOB_RUNS_TOTAL,
        "Attempts of jobs by outcome: succeeded, retried, failed"
    );
    describe_histogram!(
        JOB_RUN_SECONDS,
        Unit::Seconds,
        "Time of an attempt of a job"
    );
    describe_gauge!(
        JOB_LAST_SUCCESS_SECONDS,
        Unit::Seconds,
        "When a job last succeeded, since 1970"
    );
    describe_counter!(UPLOADS_TOTAL, "Uploads by outcome");
    describe_counter!(STAGE_IMAGES_TOTAL, "Images that a stage has committed");
    describe_gauge!(
        STAGE_BUSY_SECONDS_TOTAL,
        Unit::Seconds,
        "Time a stage spent on its images since the start, waiting for a processor included, summed over images at once"
    );
    describe_counter!(
        STAGE_RETRIES_TOTAL,
        "Attempts of a stage that failed and were made again"
    );
    describe_histogram!(STAGE_COMMIT_IMAGES, "Images in one commit of a stage");
    describe_gauge!(PENDING_IMAGES, "Uploads stored and not decided");
    describe_gauge!(IN_FLIGHT_BYTES, Unit::Bytes, "Bytes of uploads in flight");
    describe_counter!(DECISIONS_TOTAL, "Decisions by kind");
    describe_histogram!(
        DECISION_LATENCY_SECONDS,
        Unit::Seconds,
        "Time from stored to decided"
    );
    describe_histogram!(
        CANDIDATES_PER_IMAGE,
        "Candidates that the index returned for an image"
    );
    describe_counter!(BANK_MATCHES_TOTAL, "Images that matched a bank");
    describe_counter!(ALARMS_TOTAL, "Alarms of floods by kind");
    describe_counter!(
        HELD_TOTAL,
        "Images that clusters under quarantine have held"
    );
    describe_counter!(EMBEDDINGS_TOTAL, "Embeddings at the door by outcome");
    describe_gauge!(
        JOIN_WAITING,
        "Images that wait for a side, by the side that is there"
    );
    describe_gauge!(
        JOIN_ORPHANS,
        "Images whose other side did not come in time, by the side that is there"
    );
    describe_gauge!(
        JOINED_IMAGES,
        "Images that had to wait for a side and got it"
    );
    describe_gauge!(JOINED_LATE, "Of these, those that the watermark had passed");
    describe_gauge!(INDEX_IMAGES, "Images in the index");
    describe_gauge!(INDEX_BYTES, Unit::Bytes, "Memory of the index");
    describe_gauge!(
        INDEX_PROBES,
        "Cells that a search looks into, or buckets of each term"
    );
    describe_gauge!(
        INDEX_CAPPED_TERMS,
        "Terms of hyperplanes whose list is full: too many images share them"
    );
    describe_gauge!(
        INDEX_LEFT_OUT,
        "Images that full lists have not taken, over all terms"
    );
    describe_gauge!(
        INDEX_AUDITED,
        "Searches that were answered again by looking at everything"
    );
    describe_gauge!(INDEX_RECALL, "Recall@10 of the latest audited searches");
    describe_gauge!(INDEX_RECALL_LOW, "Lower end of the recall's 95 % interval");
    describe_gauge!(INDEX_RECALL_HIGH, "Upper end of the recall's 95 % interval");
    describe_counter!(
        PIN_EVENTS_TOTAL,
        "Pins, geolocations and users at the door by outcome"
    );
    describe_gauge!(
        PINS_LAG_RECORDS,
        "Records that the stream of pins has not committed yet, at most"
    );
    describe_gauge!(
        PINS_LAG_SECONDS,
        Unit::Seconds,
        "How long ago the last committed record was received, while there are more"
    );
    describe_gauge!(
        PINS_WATERMARK_SECONDS,
        Unit::Seconds,
        "Event time before which pins are late, since 1970"
    );
    describe_counter!(PINS_ROWS_TOTAL, "Rows of clean events that were written");
    describe_counter!(PINS_REJECTED_TOTAL, "Events that could not be cleaned");
    describe_counter!(PINS_LATE_TOTAL, "Pins behind the watermark");
    describe_counter!(
        PINS_MOVED_TOTAL,
        "Pins that were moved by a geolocation that came later"
    );
    describe_counter!(
        PINS_RETRIES_TOTAL,
        "Attempts of the stream of pins that failed and were made again"
    );
    describe_gauge!(
        PINS_LAKE_LAG_RECORDS,
        "Records of a topic that the lake has not yet, at most"
    );
    describe_gauge!(
        PINS_LAKE_LAG_SECONDS,
        Unit::Seconds,
        "How long ago the last record in the lake was received, if there are more"
    );
    describe_counter!(
        PINS_LAKE_EVENTS_TOTAL,
        "Events that were committed to the lake"
    );
    describe_counter!(
        PINS_LAKE_FILES_TOTAL,
        "Files that were entered into the lake"
    );
    describe_counter!(
        PINS_LAKE_MERGES_TOTAL,
        "Files of the lake that were merged of smaller ones"
    );
    describe_counter!(
        PINS_LAKE_RETRIES_TOTAL,
        "Attempts of the way into the lake that failed and were made again"
    );
    describe_gauge!(
        PINS_PARITY_DIFFERING_ROWS,
        "Rows in which batch and stream differed at the last check"
    );
    describe_gauge!(REVIEW_OPEN_PAIRS, "Pairs that wait for review");
    describe_gauge!(
        REVIEW_DROPPED_PAIRS,
        "Pairs that dropped out of the full review queue"
    );
    describe_gauge!(REVIEW_LABELS, "Pairs that have a label");
}

/// Counts events and tells their rate over the last minute.
#[derive(Debug)]
pub struct RateMeter {
    started: Instant,
    total: AtomicU64,
    seconds: Mutex<Ring>,
}

/// Events of each of the last 60 seconds; slot `s % 60` holds second `s`.
#[derive(Debug)]
struct Ring {
    counts: [u64; 60],
    newest: u64,
}

impl Default for RateMeter {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            total: AtomicU64::new(0),
            seconds: Mutex::new(Ring {
                counts: [0; 60],
                newest: 0,
            }),
        }
    }
}

impl RateMeter {
    /// Counts `events` now.
    pub fn add(&self, events: u64) {
        self.total.fetch_add(events, Ordering::Relaxed);
        self.add_at(self.started.elapsed(), events);
    }

    /// Returns how many events were counted in all.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Returns events per second over the last minute, or since the start if that is shorter.
    pub fn per_second(&self) -> f64 {
        self.per_second_at(self.started.elapsed())
    }

    fn add_at(&self, elapsed: Duration, events: u64) {
        let mut ring = self.lock();
        ring.advance(elapsed.as_secs());
        let slot = (ring.newest % 60) as usize;
        ring.counts[slot] += events;
    }

    fn per_second_at(&self, elapsed: Duration) -> f64 {
        let mut ring = self.lock();
        ring.advance(elapsed.as_secs());
        let window = elapsed.as_secs_f64().clamp(1.0, 60.0);
        ring.counts.iter().sum::<u64>() as f64 / window
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.seconds
            .lock()
            .expect("no code that holds this lock can panic")
    }
}

impl Ring {
    /// Clears the seconds that have passed since the newest one.
    fn advance(&mut self, second: u64) {
        for passed in (self.newest + 1..=second).take(60) {
            self.counts[(passed % 60) as usize] = 0;
        }
        self.newest = self.newest.max(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_what_is_older_than_a_minute() {
        let meter = RateMeter::default();
        meter.add_at(Duration::from_secs(0), 120);
        assert_eq!(meter.per_second_at(Duration::from_secs(30)), 4.0);
        meter.add_at(Duration::from_secs(61), 60);
        assert_eq!(meter.per_second_at(Duration::from_secs(61)), 1.0);
        assert_eq!(meter.per_second_at(Duration::from_secs(600)), 0.0);
    }
}
