//! Conformance suites: what each port's contract says, as code that every implementation runs.
//!
//! A suite is an async function that panics at the first clause that does not hold, and says
//! which. It asks no more than the contract: offsets may have gaps, a step store may repeat a
//! step where it cannot know better, partitions need not be isolated from each other. Stores need
//! not be empty: keys are unique to a run, and logs are read from where they end. What is durable
//! also runs the `…_reopen` variant, which drops the store and opens it again between its acts.
//!
//! The suites want a tokio runtime with time enabled, and find more on one with several threads.
//! Random operations are drawn from a seed that stands in every message; set
//! `LIKENESS_TEST_SEED` to run the same ones again.

mod audit;
mod catalog;
mod jobs;
mod lake;
mod log;
mod objects;
mod scoring;
mod state;
mod step;
mod tables;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::{StoreError, StoreResult};

pub use catalog::{check_catalog, check_catalog_reopen};
pub use jobs::{check_jobs, check_jobs_reopen};
pub use lake::{check_lake, check_lake_reopen};
pub use log::{check_log, check_log_reopen};
pub use objects::{check_objects, check_objects_reopen};
pub use scoring::check_row_scorer;
pub use state::{check_state, check_state_reopen};
pub use step::{Repeats, StepParts, check_step, check_step_reopen};
pub use tables::{check_tables, check_tables_reopen};

/// How long a check waits for what must happen before it calls it missing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A small deterministic source of numbers (SplitMix64), shown as its seed.
#[derive(Debug)]
struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    fn new() -> Self {
        let seed = match std::env::var("LIKENESS_TEST_SEED") {
            Ok(text) => text
                .parse()
                .expect("`LIKENESS_TEST_SEED` is an unsigned number"),
            Err(_) => uuid::Uuid::now_v7().as_u64_pair().1 >> 32,
        };
        Self { seed, state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number under `bound`, which is at least 1.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 32).expect("32 bits fit") % bound
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Returns up to `max_len` bytes, with many zeros and 0xff among them.
    fn bytes(&mut self, max_len: usize) -> Bytes {
        let len = self.below(max_len + 1);
        (0..len)
            .map(|_| *self.pick(&[0x00, 0x01, 0x2f, 0x7f, 0x80, 0xfe, 0xff]))
            .collect()
    }
}

impl fmt::Display for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LIKENESS_TEST_SEED={}", self.seed)
    }
}

/// Returns a key that no other run has used.
fn unique(name: &str) -> Bytes {
    Bytes::from(format!("{name}-{}", uuid::Uuid::now_v7()))
}

/// Returns the result of `future`, or panics if it takes too long.
async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

/// Runs a task to its end and passes its panic on.
async fn join<T>(task: tokio::task::JoinHandle<T>) -> T {
    match task.await {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("a task of the suite was cancelled: {error}"),
        },
    }
}

#[track_caller]
fn assert_invalid<T: fmt::Debug>(result: StoreResult<T>) {
    assert!(
        matches!(result, Err(StoreError::Invalid { .. })),
        "expected `StoreError::Invalid`, got {result:?}"
    );
}
