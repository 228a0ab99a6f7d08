//! Ending in good order: doors, workers, stores, in this order, within a limit.
//!
//! The first Ctrl-C or SIGTERM cancels the token that doors and long commands watch; the second
//! ends the process at once, which is safe: what was acknowledged is durable.

use tokio_util::sync::CancellationToken;

use crate::output::note;

/// Exit code after a second signal, as shells report an interrupt.
const HARD_EXIT_CODE: i32 = 130;

/// Returns a token that is cancelled by the first signal to stop.
///
/// # Errors
/// If the signal handlers cannot be installed.
pub(crate) fn watch_signals() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut signals = Signals::new()?;
    let stop = token.clone();
    tokio::spawn(async move {
        signals.next().await;
        note("stopping; press Ctrl-C again to stop at once");
        stop.cancel();
        signals.next().await;
        std::process::exit(HARD_EXIT_CODE);
    });
    Ok(token)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
