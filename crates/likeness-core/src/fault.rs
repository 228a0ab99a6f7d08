//! Named points at which a crash test kills the process.
//!
//! `cargo xtask crash` builds likeness with the feature `failpoints`, sets
//! `LIKENESS_KILL_AT=name:count` and finds the process killed (SIGKILL, as by `kill -9`) the
//! `count`-th time it comes by. Without the feature a point costs nothing.

/// Every point: those of images, in the order in which one passes them, then those of pins.
pub const POINTS: &[&str] = &[
    "upload.before_object",
    "objects.before_rename",
    "objects.after_rename",
    "upload.before_commit",
    "step.before_write",
    "step.after_write",
    "step.before_sync",
    "step.after_sync",
    "upload.after_commit",
    "signature.before_commit",
    "signature.after_commit",
    "candidates.before_commit",
    "candidates.after_commit",
    "score.before_commit",
    "score.after_commit",
    "correction.before_commit",
    "correction.after_commit",
    "assign.before_correction",
    "assign.after_correction",
    "assign.before_commit",
    "assign.after_commit",
    "assign.after_index",
    "erase.before_objects",
    "erase.after_objects",
    "erase.finished",
    "pins.ingest.before_commit",
    "pins.ingest.after_commit",
    "pins.stream.before_apply",
    "pins.stream.before_commit",
    "tables.before_commit",
    "tables.after_commit",
    "pins.stream.after_commit",
    "pins.lake.between_files",
    "pins.lake.before_commit",
    "pins.lake.after_commit",
    "pins.lake.before_merge_commit",
    "pins.lake.after_merge_commit",
    "pins.lake.before_rebuild_commit",
];

/// Marks a place where a crash is worth trying.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn point(_name: &'static str) {}

/// Kills this process if `LIKENESS_KILL_AT` names this point and its count is reached.
///
/// # Panics
/// If `name` is not in [`POINTS`]: a harness could not find it.
#[cfg(feature = "failpoints")]
pub fn point(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static TARGET: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);

    assert!(POINTS.contains(&name), "`{name}` is not listed in POINTS");
    let target = TARGET.get_or_init(|| {
        let text = std::env::var("LIKENESS_KILL_AT").ok()?;
        let (name, count) = text
            .rsplit_once(':')
            .expect("LIKENESS_KILL_AT is name:count");
        assert!(POINTS.contains(&name), "`{name}` is not a fail point");
        Some((name.to_owned(), count.parse().expect("count is a number")))
    });
    let Some((wanted, count)) = target else {
        return;
    };
    if wanted == name && HITS.fetch_add(1, Ordering::SeqCst) + 1 == *count {
        let this = rustix::process::getpid();
        rustix::process::kill_process(this, rustix::process::Signal::KILL)
            .expect("a process may kill itself");
        // The signal is asynchronous: no instruction after this one may run.
        loop {
            std::thread::park();
        }
    }
}
