//! Whether the pipeline does its work.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::EngineError;

/// Collects what makes the service unfit for traffic.
#[derive(Debug, Default)]
pub(super) struct Health {
    failure: Mutex<Option<String>>,
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
