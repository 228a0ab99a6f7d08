//! The queue's promises, against an embedder whose every batch waits for the test's word.

use std::future::Future;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

use super::*;

const SIDE: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(20);

/// Announces each batch's size, then does what the test says.
#[derive(Debug)]
struct Scripted {
    spec: EmbedderSpec,
    began: mpsc::SyncSender<usize>,
    orders: Mutex<mpsc::Receiver<Order>>,
}

#[derive(Debug)]
enum Order {
    Answer,
    Fail,
    Panic,
    AnswerOneTooFew,
}

impl Embedder for Scripted {
    fn spec(&self) -> &EmbedderSpec {
        &self.spec
    }

    fn embed(&self, batch: &[RgbImage]) -> Result<Vec<Embedding>, ModelError> {
        self.began.send(batch.len()).unwrap();
        let order = self.orders.lock().unwrap().recv().unwrap();
        let embeddings = batch.iter().map(first_pixel);
        match order {
            Order::Answer => embeddings.collect(),
            Order::AnswerOneTooFew => embeddings.skip(1).collect(),
            Order::Fail => Err(ModelError::Failed {
                model: "scripted".to_owned(),
                reason: "told to".to_owned(),
            }),
            Order::Panic => panic!("told to panic"),
        }
    }
}

/// A descriptor from which a test can tell the image.
fn first_pixel(image: &RgbImage) -> Result<Embedding, ModelError> {
    Embedding::normalised(vec![f32::from(image.data()[0]), 100.0])
}

fn image(value: u8) -> RgbImage {
    RgbImage::filled(SIDE, SIDE, [value; 3]).unwrap()
}

struct Stage {
    pool: ModelPool,
    began: mpsc::Receiver<usize>,
    orders: mpsc::SyncSender<Order>,
}

impl Stage {
    fn new(n_threads: usize, capacity: usize, max_batch: usize, max_wait: Duration) -> Self {
        let (began_sender, began) = mpsc::sync_channel(64);
        let (orders, order_receiver) = mpsc::sync_channel(64);
        let spec = EmbedderSpec {
            model: "scripted".to_owned(),
            version: "1".to_owned(),
            digest: "0".repeat(64),
            dim: 2,
            input_side: SIDE,
        };
        let embedder = Arc::new(Scripted {
            spec,
            began: began_sender,
            orders: Mutex::new(order_receiver),
        });
        let config = PoolConfig {
            n_threads,
            capacity,
            max_batch,
            max_wait,
        };
        let pool = ModelPool::start(embedder, &config).unwrap();
        Self {
            pool,
            began,
            orders,
        }
    }

    /// A pool of one thread that is busy with one request, which is returned.
    fn busy<'a>(&'a self) -> Submitted<'a> {
        let submitted = submit(self.pool.embed(image(1)));
        assert_eq!(self.next_batch(), 1);
        submitted
    }

    fn next_batch(&self) -> usize {
        self.began.recv_timeout(PATIENCE).expect("no batch began")
    }

    fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
    }
}

type Submitted<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Embedding, ModelError>> + 'a>>;

fn poll_once(submitted: &mut Submitted<'_>) -> Poll<Result<Embedding, ModelError>> {
    submitted
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls once, which puts the request into the queue if there is room.
fn submit<'a>(request: impl Future<Output = Result<Embedding, ModelError>> + 'a) -> Submitted<'a> {
    let mut submitted: Submitted<'a> = Box::pin(request);
    assert!(
        poll_once(&mut submitted).is_pending(),
        "answered or refused at once"
    );
    submitted
}

/// Waits for the answer with a deadline.
fn wait(submitted: Submitted<'_>) -> Result<Embedding, ModelError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, submitted).await })
        .expect("no answer in time")
}

#[test]
fn a_lone_request_does_not_wait_for_company() {
    // With a linger of an hour, an answer at all shows that it did not linger.
    let stage = Stage::new(1, 4, 4, Duration::from_secs(3600));
    let request = submit(stage.pool.embed(image(7)));
    assert_eq!(stage.next_batch(), 1);
    stage.order(Order::Answer);
    assert_eq!(wait(request), first_pixel(&image(7)));
}

#[test]
fn requests_that_queued_up_share_a_batch_and_get_their_own_answers() {
    let stage = Stage::new(1, 8, 4, Duration::ZERO);
    let first = stage.busy();
    let waiting: Vec<_> = (10..16)
        .map(|value| submit(stage.pool.embed(image(value))))
        .collect();
    assert_eq!(stage.pool.depth(), 6);
    stage.order(Order::Answer);
    assert_eq!(stage.next_batch(), 4);
    stage.order(Order::Answer);
    assert_eq!(stage.next_batch(), 2);
    stage.order(Order::Answer);
    wait(first).unwrap();
    for (value, request) in (10..16).zip(waiting) {
        assert_eq!(wait(request), first_pixel(&image(value)));
    }
    let stats = stage.pool.stats();
    assert_eq!((stats.n_batches, stats.n_images), (3, 7));
    assert!(stats.busy > Duration::ZERO);
}

#[test]
fn under_load_a_thread_lingers_until_the_batch_is_full() {
    let stage = Stage::new(1, 8, 3, Duration::from_secs(3600));
    let first = stage.busy();
    let second = submit(stage.pool.embed(image(2)));
    let third = submit(stage.pool.embed(image(3)));
    stage.order(Order::Answer);
    wait(first).unwrap();
    // The thread holds two requests and waits for a third one.
    let fourth = submit(stage.pool.embed(image(4)));
    assert_eq!(stage.next_batch(), 3);
    stage.order(Order::Answer);
    for (value, request) in (2..5).zip([second, third, fourth]) {
        assert_eq!(wait(request), first_pixel(&image(value)));
    }
}

#[test]
fn a_full_queue_refuses_those_who_will_not_wait_and_holds_back_the_others() {
    let stage = Stage::new(1, 2, 1, Duration::ZERO);
    let first = stage.busy();
    let second = submit(stage.pool.embed(image(2)));
    let third = submit(stage.pool.embed(image(3)));
    assert_eq!(
        wait(Box::pin(stage.pool.try_embed(image(4)))),
        Err(ModelError::Overloaded { capacity: 2 })
    );
    let held_back = submit(stage.pool.embed(image(5)));
    assert_eq!(stage.pool.depth(), 2);
    for _ in 0..4 {
        stage.order(Order::Answer);
    }
    for request in [first, second, third, held_back] {
        wait(request).unwrap();
    }
}

#[test]
fn failures_and_panics_fail_their_batch_only() {
    let stage = Stage::new(1, 4, 1, Duration::ZERO);
    for (order, reason) in [
        (Order::Fail, "told to"),
        (Order::Panic, "panicked: told to panic"),
        (Order::AnswerOneTooFew, "`0` descriptors for `1` images"),
    ] {
        let request = stage.busy();
        stage.order(order);
        let error = wait(request).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert_eq!(stage.pool.stats().n_failed, 3);
    let request = stage.busy();
    stage.order(Order::Answer);
    wait(request).unwrap();
}

#[test]
fn requests_of_callers_that_went_away_are_skipped() {
    let stage = Stage::new(1, 4, 1, Duration::ZERO);
    let first = stage.busy();
    drop(submit(stage.pool.embed(image(2))));
    let third = submit(stage.pool.embed(image(3)));
    stage.order(Order::Answer);
    stage.order(Order::Answer);
    wait(first).unwrap();
    assert_eq!(wait(third), first_pixel(&image(3)));
    let stats = stage.pool.stats();
    assert_eq!((stats.n_images, stats.n_cancelled), (2, 1));
}

#[test]
fn shutting_down_answers_what_is_queued() {
    let stage = Stage::new(2, 8, 2, Duration::ZERO);
    for _ in 0..5 {
        stage.order(Order::Answer);
    }
    // The replies outlive the pool, unlike futures that borrow it.
    let answers: Vec<_> = (1..=5)
        .map(|value| {
            let room = Arc::clone(&stage.pool.shared.room)
                .try_acquire_owned()
                .unwrap();
            let (reply, answer) = oneshot::channel();
            stage.pool.shared.lock_queue().waiting.push_back(Request {
                image: image(value),
                reply,
                _room: room,
            });
            answer
        })
        .collect();
    let shared = Arc::clone(&stage.pool.shared);
    stage.pool.shutdown();
    for (value, answer) in (1..=5).zip(answers) {
        assert_eq!(answer.blocking_recv().unwrap(), first_pixel(&image(value)));
    }
    let late = Arc::clone(&shared.room).try_acquire_owned();
    assert!(matches!(late, Err(TryAcquireError::Closed)));
}

#[test]
fn images_of_the_wrong_size_never_reach_the_queue() {
    let stage = Stage::new(1, 1, 1, Duration::ZERO);
    let wrong = RgbImage::filled(1, 1, [0; 3]).unwrap();
    let error = wait(Box::pin(stage.pool.embed(wrong))).unwrap_err();
    assert!(matches!(
        error,
        ModelError::WrongInput {
            expected: SIDE,
            width: 1,
            height: 1,
            ..
        }
    ));
}
