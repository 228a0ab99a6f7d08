//! Whether the pipeline does its work.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::EngineError;

/// Collects what makes the service unfit for traffic.
#[derive(Debug, Default)]
pub(super) struct Health {
    failure: Mutex<Option<String>>,
    /// By stage: what it waits for.
    stalled: Mutex<BTreeMap<&'static str, String>>,
    stopping: AtomicBool,
}

impl Health {
    /// Records that a stage has ended with an error. The first one is kept.
    pub(super) fn fail(&self, stage: &'static str, error: &EngineError) {
        self.failure
            .lock()
            .expect("no code that holds this lock can panic")
            .get_or_insert_with(|| format!("stage `{stage}` has failed: {error}"));
    }

    /// Records that a stage waits for what is away.
    pub(super) fn stall(&self, stage: &'static str, error: &EngineError) {
        let mut reason = format!("stage `{stage}` waits: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            reason += &format!(": {cause}");
            source = cause.source();
        }
        self.stalls().insert(stage, reason);
    }

    /// Records that a stage goes on.
    pub(super) fn go_on(&self, stage: &'static str) {
        self.stalls().remove(stage);
    }

    fn stalls(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.stalled
            .lock()
            .expect("no code that holds this lock can panic")
    }

    /// Returns what a stage waits for, if one does.
    pub(super) fn check_stalled(&self) -> Result<(), String> {
        let stalled = self.stalls().values().next().cloned();
        stalled.map_or(Ok(()), Err)
    }

    /// Records that the service is being shut down.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Returns whether [`stop`](Health::stop) was called.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Returns why the service is not ready, if so.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.is_stopping() {
            return Err("shutting down".to_owned());
        }
        let failure = self
            .failure
            .lock()
            .expect("no code that holds this lock can panic");
        failure.clone().map_or(Ok(()), Err)
    }
}
