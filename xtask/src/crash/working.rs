//! A client that works beside the harness, until it is done or its server is gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, bail};

use crate::http::Client;

/// A client at work on what is planned in `T`.
#[derive(Debug)]
pub(crate) struct Working<T> {
    shared: Arc<Mutex<T>>,
    thread: JoinHandle<()>,
}

impl<T: Send + 'static> Working<T> {
    /// Starts a thread that does `act` with each entry of `queue` in turn.
    pub(crate) fn start(
        planned: T,
        client: &Client,
        queue: Vec<usize>,
        act: impl Fn(&Mutex<T>, &Client, usize) + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Mutex::new(planned));
        let (planned, client) = (Arc::clone(&shared), client.clone());
        let thread = thread::spawn(move || {
            for index in queue {
                act(&planned, &client, index);
            }
        });
        Self { shared, thread }
    }

    /// Returns whether everything is sent.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the client; the server must be gone or idle by now.
    ///
    /// # Errors
    /// If the client panicked.
    pub(crate) fn join(self) -> anyhow::Result<T> {
        if self.thread.join().is_err() {
            bail!("a client panicked");
        }
        let shared = Arc::into_inner(self.shared).context("the client still holds its plan")?;
        Ok(shared.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Locks a plan; that a thread panicked with it is found when that thread is joined.
pub(crate) fn lock<T>(planned: &Mutex<T>) -> MutexGuard<'_, T> {
    planned.lock().unwrap_or_else(PoisonError::into_inner)
}
