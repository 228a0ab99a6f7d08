//! Where plain functions run: decoding, hashing, search and scoring.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// Runs plain functions off the async threads, at most `threads` of them at a time. Further
/// callers wait in order of arrival.
///
/// Bounded by permits over the runtime's blocking threads, so that idle threads cost nothing and
/// each role need not size a pool of its own.
#[derive(Debug, Clone)]
pub struct CpuPool {
    permits: Arc<Semaphore>,
}

/// A function on the pool panicked; the message is what it said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a worker panicked: {0}")]
pub struct Panicked(pub String);

impl CpuPool {
    /// Returns a pool that runs `threads` functions at a time, at least one.
    pub fn new(threads: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(threads.max(1))),
        }
    }

    /// Runs `work` and returns what it returns.
    ///
    /// A caller that goes away does not stop work that has begun; its permit is held to the end,
    /// so the bound holds.
    ///
    /// # Errors
    /// [`Panicked`] if `work` panics; the thread and the pool live on.
    pub async fn run<T, F>(&self, work: F) -> Result<T, Panicked>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let permits = Arc::clone(&self.permits);
        // A task of its own: a permit that is given to a caller whom nobody polls at the moment would be kept
        // from all others, and they may be what that caller's consumer waits for.
        let waiting = tokio::spawn(async move {
            let permit = permits
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            let handle = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                catch_unwind(AssertUnwindSafe(work))
            });
            handle.await
        });
        let outcome = match AbortOnDropHandle::new(waiting).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) | Err(error) => return Err(Panicked(error.to_string())),
        };
        outcome.map_err(|payload| {
            let message = payload
                .downcast_ref::<&str>()
                .map(ToString::to_string)
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".to_owned());
            Panicked(message)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn runs_no_more_at_once_than_it_was_told() {
        let pool = CpuPool::new(2);
        let running = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let (pool, running, most) = (pool.clone(), running.clone(), most.clone());
                tokio::spawn(async move {
                    pool.run(move || {
                        let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::sleep(std::time::Duration::from_millis(2));
                        running.fetch_sub(1, Ordering::SeqCst);
                    })
                    .await
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_caller_that_nobody_polls_keeps_no_other_from_running() {
        use futures::FutureExt as _;
        let pool = CpuPool::new(1);
        let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
        let mut first = Box::pin(pool.run(move || released.recv().is_ok()));
        assert!((&mut first).now_or_never().is_none());
        let mut neglected = Box::pin(pool.run(|| 1));
        assert!((&mut neglected).now_or_never().is_none());
        tokio::task::yield_now().await;
        release.send(()).unwrap();
        let other = tokio::time::timeout(std::time::Duration::from_secs(30), pool.run(|| 2));
        assert_eq!(other.await.expect("in time"), Ok(2));
        assert_eq!((first.await, neglected.await), (Ok(true), Ok(1)));
    }

    #[tokio::test]
    async fn survives_a_panic_and_says_what_it_was() {
        let pool = CpuPool::new(1);
        let outcome = pool.run(|| -> u32 { panic!("bad pixel {}", 7) }).await;
        assert_eq!(outcome, Err(Panicked("bad pixel 7".to_owned())));
        assert_eq!(pool.run(|| 5).await, Ok(5));
    }
}
