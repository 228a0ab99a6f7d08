//! What both ways of pins have in common: a task that reads on from its last commit, is begun again after errors that may pass, and
//! says what keeps it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use likeness_core::StoreResult;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::error::with_causes;

/// First and longest pause before it begins again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How long a task may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The work of a way.
pub(super) trait Way: Send + Sync + 'static {
    /// What it is called in messages.
    const NAME: &'static str;
    /// Counter of how often it began again.
    const RETRIES: &'static str;

    /// Works until it is told to stop, beginning with what is committed.
    fn work(&self, stop: &CancellationToken) -> impl Future<Output = StoreResult<()>> + Send;

    /// Returns a number that grows with what is done.
    fn done(&self) -> u64;

    /// Returns what keeps it from going on.
    fn trouble(&self) -> Option<String>;

    /// Says what keeps it from going on. The work itself says when nothing does any longer.
    fn set_trouble(&self, trouble: String);
}

/// A way at work.
#[derive(Debug)]
pub(super) struct Running {
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Running {
    pub(super) fn start<W: Way>(way: Arc<W>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(way, stop.clone()));
        Self {
            stop,
            task: Mutex::new(Some(task)),
        }
    }

    /// Stops it: what is in progress is committed, or left after ten seconds.
    pub(super) async fn shutdown<W: Way>(&self) {
        self.stop.cancel();
        let task = self.task.lock().ok().and_then(|mut task| task.take());
        let Some(mut task) = task else { return };
        if tokio::time::timeout(STOP_LIMIT, &mut task).await.is_err() {
            warn!(
                "{} did not end in time and was left; it goes on from its last commit",
                W::NAME
            );
            task.abort();
        }
    }

    /// Tells whether a way does its work, or what keeps it from that.
    ///
    /// # Errors
    /// In words.
    pub(super) fn ready<W: Way>(&self, way: &W) -> Result<(), String> {
        if let Some(trouble) = way.trouble() {
            return Err(format!("{} waits: {trouble}", W::NAME));
        }
        let task = self.task.lock().ok();
        let has_ended = task.is_some_and(|task| task.as_ref().is_some_and(JoinHandle::is_finished));
        match has_ended && !self.stop.is_cancelled() {
            true => Err(format!("{} has ended; the log has the cause", W::NAME)),
            false => Ok(()),
        }
    }
}

async fn run<W: Way>(way: Arc<W>, stop: CancellationToken) {
    let mut pause = BACKOFF.0;
    loop {
        let before = way.done();
        let Err(error) = way.work(&stop).await else {
            info!("{} stopped", W::NAME);
            return;
        };
        way.set_trouble(with_causes(&error));
        if !error.is_retryable() {
            error!(?error, "{} failed, and has stopped", W::NAME);
            return;
        }
        if way.done() > before {
            pause = BACKOFF.0;
        }
        ::metrics::counter!(W::RETRIES).increment(1);
        warn!(
            error = with_causes(&error),
            ?pause,
            "{} failed, will retry",
            W::NAME
        );
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        pause = (pause * 2).min(BACKOFF.1);
    }
}
