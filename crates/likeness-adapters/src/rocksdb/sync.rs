//! Group commit: one thread syncs the write-ahead log for all who wait.
//!
//! Whoever waits has written before, and draws a ticket. A sync that begins when `n` tickets are
//! drawn covers these `n`; all that are drawn while it runs share the next one.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use likeness_core::{StoreError, StoreResult, fault};
use tokio::sync::watch;
use tracing::error;

use super::{Database, STORE};
use crate::metrics;

/// The thread that syncs. Dropping it syncs once more and ends it.
pub(super) struct SyncThread {
    demand: Arc<Demand>,
    progress: watch::Receiver<Progress>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is asked for.
#[derive(Default)]
struct Demand {
    tickets: Mutex<Tickets>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tickets {
    n_drawn: u64,
    is_closing: bool,
}

/// What the thread has done.
#[derive(Debug, Default)]
struct Progress {
    /// So many tickets are covered by a sync.
    n_synced: u64,
    /// Why there will be no further sync.
    failure: Option<String>,
}

impl SyncThread {
    pub(super) fn spawn(database: Arc<Database>) -> StoreResult<Self> {
        let demand = Arc::new(Demand::default());
        let (reporter, progress) = watch::channel(Progress::default());
        let demand_of_thread = Arc::clone(&demand);
        let thread = std::thread::Builder::new()
            .name("store-sync".to_owned())
            .spawn(move || serve(&database, &demand_of_thread, &reporter))
            .map_err(|error| StoreError::unavailable(STORE, error))?;
        Ok(Self {
            demand,
            progress,
            thread: Some(thread),
        })
    }

    /// Returns once everything written before this call is on the disk.
    pub(super) async fn sync(&self) -> StoreResult<()> {
        let ticket = self.demand.draw();
        let mut progress = self.progress.clone();
        let reached = progress
            .wait_for(|progress| progress.n_synced >= ticket || progress.failure.is_some())
            .await
            .map_err(|_| StoreError::unavailable(STORE, "the sync thread has ended"))?;
        match &reached.failure {
            Some(failure) if reached.n_synced < ticket => {
                Err(StoreError::unavailable(STORE, failure.as_str()))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for SyncThread {
    fn drop(&mut self) {
        self.demand.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the sync thread panicked");
        }
    }
}

impl Demand {
    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        // Poison says nothing here: the counters change in one piece.
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self) -> u64 {
        let mut tickets = self.tickets();
        tickets.n_drawn += 1;
        let ticket = tickets.n_drawn;
        drop(tickets);
        self.changed.notify_one();
        ticket
    }

    fn close(&self) {
        self.tickets().is_closing = true;
        self.changed.notify_one();
    }

    /// Waits until more than `n_synced` tickets are drawn or the store closes.
    fn wait(&self, n_synced: u64) -> Tickets {
        let idle = |tickets: &mut Tickets| tickets.n_drawn == n_synced && !tickets.is_closing;
        *self
            .changed
            .wait_while(self.tickets(), idle)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(database: &Database, demand: &Demand, progress: &watch::Sender<Progress>) {
    let mut n_synced = 0;
    loop {
        let tickets = demand.wait(n_synced);
        let started = Instant::now();
        fault::point("step.before_sync");
        if let Err(cause) = database.db.flush_wal(true) {
            // The system may have dropped what it could not write, and call the next sync a
            // success (as Linux does): nothing is acknowledged again before the store is reopened.
            error!(error = %cause, "failed to sync the log; nothing is acknowledged until a restart");
            let failure = format!("a sync failed and a restart is needed: {cause}");
            progress.send_modify(|progress| progress.failure = Some(failure));
            return;
        }
        fault::point("step.after_sync");
        metrics::record_sync(tickets.n_drawn - n_synced, started.elapsed());
        n_synced = tickets.n_drawn;
        progress.send_modify(|progress| progress.n_synced = n_synced);
        if tickets.is_closing {
            return;
        }
    }
}
