//! Callers that wait for the decision about an image.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use likeness_core::ImageId;
use tokio::sync::oneshot;

use super::view::Decision;

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    by_id: Mutex<HashMap<ImageId, Vec<oneshot::Sender<Decision>>>>,
}

impl Waiters {
    /// Returns what will receive the next decision about `id` made in this process.
    pub(super) fn register(&self, id: &ImageId) -> oneshot::Receiver<Decision> {
        let (sender, receiver) = oneshot::channel();
        let mut by_id = self.lock();
        let waiting = by_id.entry(id.clone()).or_default();
        // Callers that gave up leave closed channels behind; the next one sweeps them out.
        waiting.retain(|sender| !sender.is_closed());
        waiting.push(sender);
        receiver
    }

    /// Forgets callers that gave up waiting for `id`.
    pub(super) fn sweep(&self, id: &ImageId) {
        let mut by_id = self.lock();
        if let Some(waiting) = by_id.get_mut(id) {
            waiting.retain(|sender| !sender.is_closed());
            if waiting.is_empty() {
                by_id.remove(id);
            }
        }
    }

    /// Tells everyone who waits for `id`.
    pub(super) fn announce(&self, id: &ImageId, decision: &Decision) {
        let waiting = self.lock().remove(id);
        for sender in waiting.into_iter().flatten() {
            // A caller that has gone away needs no answer.
            drop(sender.send(decision.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ImageId, Vec<oneshot::Sender<Decision>>>> {
        self.by_id
            .lock()
            .expect("no code that holds this lock can panic")
    }
}
