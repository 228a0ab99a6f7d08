//! Threads that run a model, behind a bounded queue that forms batches.
//!
//! Invariants:
//! - At most `capacity` requests wait. [`ModelPool::embed`] waits for room (back-pressure),
//!   [`ModelPool::try_embed`] fails at once with [`ModelError::Overloaded`] instead.
//! - A lone request is never held back: a thread that finds one request and an empty queue runs it.
//!   Only when it finds several, that is under load, it lingers up to `max_wait` to fill the batch.
//! - A batch that fails or panics fails its own requests; the thread lives on.
//! - A request whose caller has gone away is dropped when a thread comes to it.
//! - Shutting down refuses new requests, answers what is queued, and ends the threads.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

use super::{Embedder, EmbedderSpec, Embedding, ModelError, check_input};
use crate::pixels::RgbImage;

/// Sizes of a [`ModelPool`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// Threads that run the model; at least one is started.
    pub n_threads: usize,
    /// Requests that may wait, not counting those a thread works on; at least one.
    pub capacity: usize,
    /// Images in a batch at most; at least one.
    pub max_batch: usize,
    /// How long a thread lingers to fill a batch once it has found several requests. Zero takes
    /// what is there.
    pub max_wait: Duration,
}

impl Default for PoolConfig {
    /// One thread per processor and small batches without waiting: on a processor a batch of eight
    /// costs what eight batches of one do, so waiting would only add latency.
    fn default() -> Self {
        Self {
            n_threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            capacity: 256,
            max_batch: 4,
            max_wait: Duration::ZERO,
        }
    }
}

/// Counts since the pool was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Batches handed to the model.
    pub n_batches: u64,
    /// Images handed to the model.
    pub n_images: u64,
    /// Images of batches that failed.
    pub n_failed: u64,
    /// Requests dropped because their caller had gone away.
    pub n_cancelled: u64,
    /// Time spent in the model, summed over threads.
    pub busy: Duration,
}

/// An embedder with threads of its own.
#[derive(Debug)]
pub struct ModelPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl ModelPool {
    /// Starts the threads. Fails if the system refuses one.
    pub fn start(embedder: Arc<dyn Embedder>, config: &PoolConfig) -> std::io::Result<Self> {
        let capacity = config.capacity.clamp(1, Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            embedder,
            capacity,
            max_batch: config.max_batch.max(1),
            max_wait: config.max_wait,
            room: Arc::new(Semaphore::new(capacity)),
            queue: Mutex::new(Queue::default()),
            arrived: Condvar::new(),
            counters: Counters::default(),
        });
        // Built first, so that a refused thread stops those already started.
        let mut pool = Self {
            shared,
            threads: Vec::new(),
        };
        for thread_idx in 0..config.n_threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            let handle = std::thread::Builder::new()
                .name(format!("likeness-model-{thread_idx}"))
                .spawn(move || shared.work())?;
            pool.threads.push(handle);
        }
        Ok(pool)
    }

    /// Tells which model the pool runs.
    pub fn spec(&self) -> &EmbedderSpec {
        self.shared.embedder.spec()
    }

    /// Returns the descriptor of `image`, waiting for room in the queue first.
    ///
    /// `image` must have the size that [`super::prepare`] gives. Dropping the future cancels the
    /// request unless a thread already works on it.
    pub async fn embed(&self, image: RgbImage) -> Result<Embedding, ModelError> {
        check_input(&image, self.spec())?;
        let room = Arc::clone(&self.shared.room)
            .acquire_owned()
            .await
            .map_err(|_closed| ModelError::Stopped)?;
        self.shared.answer(image, room).await
    }

    /// Like [`Self::embed`], but fails at once with [`ModelError::Overloaded`] if the queue is full.
    pub async fn try_embed(&self, image: RgbImage) -> Result<Embedding, ModelError> {
        check_input(&image, self.spec())?;
        let room =
            Arc::clone(&self.shared.room)
                .try_acquire_owned()
                .map_err(|error| match error {
                    TryAcquireError::NoPermits => ModelError::Overloaded {
                        capacity: self.shared.capacity,
                    },
                    TryAcquireError::Closed => ModelError::Stopped,
                })?;
        self.shared.answer(image, room).await
    }

    /// Returns how many requests wait, not counting those a thread works on.
    pub fn depth(&self) -> usize {
        self.shared.lock_queue().waiting.len()
    }

    /// Returns what has been done so far.
    pub fn stats(&self) -> PoolStats {
        self.shared.counters.read()
    }

    /// Refuses new requests from now on, also those that wait for room. What is queued is answered.
    pub fn close(&self) {
        self.shared.room.close();
        self.shared.lock_queue().stopped = true;
        self.shared.arrived.notify_all();
    }

    /// Closes, answers what is queued, and ends the threads.
    ///
    /// Blocks until the queue is drained, so call it where blocking is allowed. Dropping the pool
    /// does the same.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for ModelPool {
    fn drop(&mut self) {
        self.close();
        for thread in self.threads.drain(..) {
            // A thread catches the panics of the model, so this one would be a bug of ours.
            if thread.join().is_err() {
                tracing::error!("a model thread panicked outside the model");
            }
        }
    }
}

#[derive(Debug)]
struct Shared {
    embedder: Arc<dyn Embedder>,
    capacity: usize,
    max_batch: usize,
    max_wait: Duration,
    /// One permit per free place in the queue.
    room: Arc<Semaphore>,
    queue: Mutex<Queue>,
    arrived: Condvar,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Request>,
    stopped: bool,
}

#[derive(Debug)]
struct Request {
    image: RgbImage,
    reply: oneshot::Sender<Result<Embedding, ModelError>>,
    /// Given back when the request leaves the queue.
    _room: OwnedSemaphorePermit,
}

impl Shared {
    async fn answer(
        &self,
        image: RgbImage,
        room: OwnedSemaphorePermit,
    ) -> Result<Embedding, ModelError> {
        let (reply, answered) = oneshot::channel();
        {
            let mut queue = self.lock_queue();
            if queue.stopped {
                return Err(ModelError::Stopped);
            }
            queue.waiting.push_back(Request {
                image,
                reply,
                _room: room,
            });
        }
        self.arrived.notify_one();
        // The sender is dropped unanswered only if a thread died outside the model.
        answered.await.unwrap_or(Err(ModelError::Stopped))
    }

    /// The life of a thread: until stopped and drained.
    fn work(&self) {
        while let Some(batch) = self.next_batch() {
            if !batch.is_empty() {
                self.run(batch);
            }
        }
    }

    /// Waits for requests and takes up to `max_batch` of them, oldest first. May return an empty
    /// batch when all were cancelled; `None` ends the thread.
    fn next_batch(&self) -> Option<Vec<Request>> {
        let mut queue = self.lock_queue();
        while queue.waiting.is_empty() {
            if queue.stopped {
                return None;
            }
            queue = self
                .arrived
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut batch = Vec::new();
        self.take_waiting(&mut queue, &mut batch);
        if batch.len() < 2 {
            return Some(batch);
        }
        let deadline = Instant::now() + self.max_wait;
        while batch.len() < self.max_batch && !queue.stopped {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            (queue, _) = self
                .arrived
                .wait_timeout(queue, left)
                .unwrap_or_else(PoisonError::into_inner);
            self.take_waiting(&mut queue, &mut batch);
        }
        Some(batch)
    }

    /// Moves requests from the queue to the batch, without those nobody waits for any more.
    fn take_waiting(&self, queue: &mut Queue, batch: &mut Vec<Request>) {
        while batch.len() < self.max_batch {
            let Some(request) = queue.waiting.pop_front() else {
                break;
            };
            if request.reply.is_closed() {
                self.counters.n_cancelled.fetch_add(1, Ordering::Relaxed);
            } else {
                batch.push(request);
            }
        }
    }

    fn run(&self, batch: Vec<Request>) {
        let mut images = Vec::with_capacity(batch.len());
        let mut replies = Vec::with_capacity(batch.len());
        for request in batch {
            images.push(request.image);
            replies.push(request.reply);
        }
        let started = Instant::now();
        let outcome = self.embed_caught(&images);
        self.counters
            .add_batch(images.len(), started.elapsed(), outcome.is_err());
        // A failed send means that the caller has gone away meanwhile: nothing to do.
        match outcome {
            Ok(embeddings) => {
                for (reply, embedding) in replies.into_iter().zip(embeddings) {
                    drop(reply.send(Ok(embedding)));
                }
            }
            Err(error) => {
                tracing::warn!(%error, n_images = images.len(), "failed to embed a batch");
                for reply in replies {
                    drop(reply.send(Err(error.clone())));
                }
            }
        }
    }

    fn embed_caught(&self, images: &[RgbImage]) -> Result<Vec<Embedding>, ModelError> {
        // Unwind safe: the embedder is shared by `&self`, and what it keeps behind locks is its own
        // to keep whole; nothing of ours is half changed.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.embedder.embed(images)));
        let embeddings = outcome.unwrap_or_else(|panic| {
            Err(ModelError::Failed {
                model: self.embedder.spec().model.clone(),
                reason: format!("panicked: {}", panic_message(panic.as_ref())),
            })
        })?;
        if embeddings.len() != images.len() {
            return Err(ModelError::BadOutput {
                reason: format!(
                    "`{}` descriptors for `{}` images",
                    embeddings.len(),
                    images.len()
                ),
            });
        }
        Ok(embeddings)
    }

    fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while holding it, and a queue is whole between any two statements.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// The counters behind [`PoolStats`]; relaxed, since they order nothing.
#[derive(Debug, Default)]
struct Counters {
    n_batches: AtomicU64,
    n_images: AtomicU64,
    n_failed: AtomicU64,
    n_cancelled: AtomicU64,
    busy_nanos: AtomicU64,
}

impl Counters {
    fn add_batch(&self, n_images: usize, busy: Duration, failed: bool) {
        let n_images = n_images as u64;
        self.n_batches.fetch_add(1, Ordering::Relaxed);
        self.n_images.fetch_add(n_images, Ordering::Relaxed);
        if failed {
            self.n_failed.fetch_add(n_images, Ordering::Relaxed);
        }
        let nanos = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        self.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn read(&self) -> PoolStats {
        PoolStats {
            n_batches: self.n_batches.load(Ordering::Relaxed),
            n_images: self.n_images.load(Ordering::Relaxed),
            n_failed: self.n_failed.load(Ordering::Relaxed),
            n_cancelled: self.n_cancelled.load(Ordering::Relaxed),
            busy: Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests;
