//! How much is waiting, and the door that closes when it is too much.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::EngineError;
use crate::metrics::{IN_FLIGHT_BYTES, PENDING_IMAGES};

/// Bytes in a permit of the semaphore, whose permits are 32-bit.
const PERMIT_BYTES: u64 = 1024;

/// Uploads stored and not decided, and bytes being received.
#[derive(Debug)]
pub(super) struct Backlog {
    pending: AtomicU64,
    max_pending: u64,
    bytes: Arc<Semaphore>,
    num_permits: u32,
    decided: Notify,
}

/// The right to hold an upload's bytes in memory; given back when dropped.
#[derive(Debug)]
pub struct Admission {
    permit: OwnedSemaphorePermit,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let bytes = self.permit.num_permits() as u64 * PERMIT_BYTES;
        metrics::gauge!(IN_FLIGHT_BYTES).decrement(bytes as f64);
    }
}

impl Backlog {
    pub(super) fn new(pending: u64, max_pending: u64, max_bytes: u64) -> Self {
        let permits = max_bytes
            .div_ceil(PERMIT_BYTES)
            .clamp(1, u64::from(u32::MAX));
        let num_permits = u32::try_from(permits).expect("clamped to 32 bits");
        metrics::gauge!(PENDING_IMAGES).set(pending as f64);
        Self {
            pending: AtomicU64::new(pending),
            max_pending,
            bytes: Arc::new(Semaphore::new(num_permits as usize)),
            num_permits,
            decided: Notify::new(),
        }
    }

    /// Admits an upload of `num_bytes`, or refuses it at once. An upload larger than the whole
    /// allowance is admitted alone.
    pub(super) fn admit(&self, num_bytes: u64) -> Result<Admission, EngineError> {
        if self.pending() >= self.max_pending {
            return Err(EngineError::Overloaded {
                reason: "too many images wait for their decision",
                retry_after: Duration::from_secs(5),
            });
        }
        let wanted = u32::try_from(num_bytes.div_ceil(PERMIT_BYTES))
            .unwrap_or(u32::MAX)
            .clamp(1, self.num_permits);
        let permit = Arc::clone(&self.bytes)
            .try_acquire_many_owned(wanted)
            .map_err(|_| EngineError::Overloaded {
                reason: "too many bytes are being received",
                retry_after: Duration::from_secs(1),
            })?;
        metrics::gauge!(IN_FLIGHT_BYTES).increment((u64::from(wanted) * PERMIT_BYTES) as f64);
        Ok(Admission { permit })
    }

    /// Counts an upload that was stored.
    pub(super) fn stored(&self) {
        let before = self.pending.fetch_add(1, Ordering::SeqCst);
        metrics::gauge!(PENDING_IMAGES).set((before + 1) as f64);
    }

    /// Counts uploads that were dealt with.
    pub(super) fn done(&self, count: u64) {
        let before = self
            .pending
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |pending| {
                Some(pending.saturating_sub(count))
            })
            .expect("the closure always returns a value");
        metrics::gauge!(PENDING_IMAGES).set(before.saturating_sub(count) as f64);
        self.decided.notify_waiters();
    }

    /// Returns how many uploads wait for their decision.
    pub(super) fn pending(&self) -> u64 {
        self.pending.load(Ordering::SeqCst)
    }

    /// Returns when something was decided after this call, or after half a second.
    pub(super) async fn progress(&self) {
        // The timeout covers a decision between the caller's look and this wait.
        let wait = self.decided.notified();
        tokio::time::timeout(Duration::from_millis(500), wait)
            .await
            .ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_goes_beyond_the_bounds_and_recovers() {
        let backlog = Backlog::new(0, 2, 10 * 1024);
        let first = backlog.admit(6 * 1024).unwrap();
        assert_eq!(backlog.admit(6 * 1024).unwrap_err().code(), "overloaded");
        drop(first);
        assert!(backlog.admit(6 * 1024).is_ok());

        backlog.stored();
        backlog.stored();
        assert_eq!(backlog.admit(1).unwrap_err().code(), "overloaded");
        backlog.done(1);
        assert!(backlog.admit(1).is_ok());
    }

    #[test]
    fn admits_one_upload_that_is_larger_than_the_allowance() {
        let backlog = Backlog::new(0, 2, 1024);
        let whole = backlog.admit(1 << 40).unwrap();
        assert!(backlog.admit(1).is_err());
        drop(whole);
        assert!(backlog.admit(1).is_ok());
    }
}
