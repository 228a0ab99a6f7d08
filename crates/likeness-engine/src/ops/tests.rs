use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use likeness_adapters::{MemoryCatalog, MemoryJobs};
use likeness_core::Timestamp;
use likeness_core::catalog::Catalog;
use likeness_core::jobs::{Interval, JobRun, JobStore, RunState};
use serde_json::json;

use super::*;
use crate::EngineError;
use std::sync::Arc;

const DAY: Duration = Duration::from_secs(86_400);
/// 2026-03-01, noon.
const NOON: Timestamp = Timestamp(1_772_366_400_000);

/// Fails as often as it is told, then says what it worked on.
#[derive(Debug, Default)]
struct Recorder {
    failures: AtomicU64,
    is_hopeless: bool,
    seen: Mutex<Vec<Interval>>,
}

#[async_trait]
impl Job for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn about(&self) -> &'static str {
        "Records what it is asked for"
    }

    async fn run(&self, interval: Interval) -> Result<serde_json::Value, JobError> {
        let left = self.failures.load(Ordering::Relaxed);
        if left > 0 {
            self.failures.store(left - 1, Ordering::Relaxed);
            return Err(JobError {
                message: "no luck".to_owned(),
                is_temporary: !self.is_hopeless,
            });
        }
        let mut seen = self.seen.lock().unwrap();
        seen.push(interval);
        Ok(json!({ "n": seen.len() }))
    }
}

struct Bench {
    job: Arc<Recorder>,
    jobs: Arc<MemoryJobs>,
    catalog: Arc<MemoryCatalog>,
    spec: JobSpec,
}

impl Bench {
    fn new(job: Recorder) -> Self {
        let job = Arc::new(job);
        let spec = JobSpec {
            job: Arc::clone(&job) as _,
            schedule: Some("15 0 * * *".parse().unwrap()),
            covers: Covers::DayBefore,
            catch_up: false,
            max_attempts: 3,
            retry_delay: Duration::from_secs(60),
            timeout: Duration::from_secs(5),
        };
        Self {
            job,
            jobs: Arc::new(MemoryJobs::new()),
            catalog: Arc::new(MemoryCatalog::new()),
            spec,
        }
    }

    /// A process of its own.
    fn scheduler(&self) -> Arc<Scheduler> {
        let specs = vec![self.spec.clone()];
        Scheduler::new(self.catalog.clone(), self.jobs.clone(), specs)
    }

    /// Works until there is nothing to do.
    async fn work(&self, now: Timestamp) {
        let scheduler = self.scheduler();
        while scheduler.work(&self.spec, || now).await.unwrap() {}
    }

    async fn runs(&self) -> Vec<JobRun> {
        let query = likeness_core::jobs::RunQuery {
            limit: 100,
            ..Default::default()
        };
        self.jobs.runs(&query).await.unwrap()
    }
}

fn days(first: u32, num_days: u32) -> Interval {
    let midnight = day_of(NOON).begin;
    Interval {
        begin: midnight.plus(DAY * first),
        end: midnight.plus(DAY * (first + num_days)),
    }
}

#[tokio::test]
async fn a_tick_runs_once_on_the_day_before_and_the_past_is_not_caught_up() {
    let bench = Bench::new(Recorder::default());
    bench.work(NOON).await;
    assert_eq!(bench.runs().await, [], "ticks before the first start");
    // Two processes notice the same tick.
    bench.work(NOON.plus(DAY)).await;
    bench.work(NOON.plus(DAY)).await;
    assert_eq!(*bench.job.seen.lock().unwrap(), [days(0, 1)]);
    // Nobody was there for a while: the latest tick only.
    bench.work(NOON.plus(DAY * 5)).await;
    assert_eq!(*bench.job.seen.lock().unwrap(), [days(0, 1), days(4, 1)]);
    let last = &bench.runs().await[0];
    assert_eq!(last.state, RunState::Succeeded);
    assert_eq!(last.output, Some(json!({ "n": 2 })));
}

#[tokio::test]
async fn catches_up_if_the_job_says_so() {
    let mut bench = Bench::new(Recorder::default());
    bench.spec.catch_up = true;
    bench.work(NOON).await;
    bench.work(NOON.plus(DAY * 3)).await;
    let expected = [days(0, 1), days(1, 1), days(2, 1)];
    assert_eq!(*bench.job.seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn what_fails_is_tried_again_later_and_at_most_so_often() {
    let bench = Bench::new(Recorder {
        failures: AtomicU64::new(2),
        ..Recorder::default()
    });
    bench.work(NOON).await;
    let tick = NOON.plus(DAY);
    bench.work(tick).await;
    let run = &bench.runs().await[0];
    assert_eq!((run.state, run.attempts), (RunState::Queued, 1));
    assert_eq!(run.error.as_deref(), Some("no luck"));
    assert_eq!(run.due, tick.plus(Duration::from_secs(60)));
    let later = run.due;
    bench.work(later).await;
    let run = &bench.runs().await[0];
    let twice = Duration::from_secs(120);
    assert_eq!((run.attempts, run.due), (2, later.plus(twice)));
    bench.work(run.due).await;
    let run = &bench.runs().await[0];
    assert_eq!((run.state, run.attempts), (RunState::Succeeded, 3));
    assert_eq!(run.error, None);

    for (failures, is_hopeless, attempts) in [(9, false, 3), (9, true, 1)] {
        let bench = Bench::new(Recorder {
            failures: AtomicU64::new(failures),
            is_hopeless,
            ..Recorder::default()
        });
        bench.work(NOON).await;
        for n in 0..9 {
            bench.work(tick.plus(Duration::from_secs(600 * n))).await;
        }
        let run = &bench.runs().await[0];
        assert_eq!((run.state, run.attempts), (RunState::Failed, attempts));
    }
}

#[tokio::test]
async fn a_range_is_filled_in_order_and_refused_if_it_is_none() {
    let bench = Bench::new(Recorder::default());
    let scheduler = bench.scheduler();
    let now = NOON.plus(DAY * 3);
    let asked = scheduler.request("recorder", days(0, 3), now).await;
    assert_eq!(asked.unwrap().len(), 3);
    // Again, whatever was done already.
    scheduler
        .request("recorder", days(1, 1), now)
        .await
        .unwrap();
    bench.work(now).await;
    let expected = [days(0, 1), days(1, 1), days(2, 1), days(1, 1)];
    assert_eq!(*bench.job.seen.lock().unwrap(), expected);
    let page = scheduler.runs("recorder", None, 3).await.unwrap();
    assert_eq!(page.runs.len(), 3);
    let rest = scheduler.runs("recorder", page.next, 3).await.unwrap();
    assert_eq!((rest.runs.len(), rest.next), (1, None));

    for wanted in [days(3, 1), days(2, 0), days(0, 2_000)] {
        let error = scheduler.request("recorder", wanted, now).await;
        assert_eq!(error.unwrap_err().code(), "invalid_parameter", "{wanted:?}");
    }
    let error = scheduler.request("nobody", days(0, 1), now).await;
    assert!(matches!(error, Err(EngineError::JobNotFound(_))));
    let listed = scheduler.list(now).await.unwrap().jobs;
    assert_eq!(listed[0].next_ms, Some(now.0 + 12 * 3_600_000 + 900_000));
}

#[tokio::test]
async fn what_is_cancelled_does_not_run() {
    let bench = Bench::new(Recorder::default());
    let scheduler = bench.scheduler();
    let now = NOON.plus(DAY * 3);
    let asked = scheduler
        .request("recorder", days(0, 2), now)
        .await
        .unwrap();
    scheduler
        .cancel("recorder", asked[0].id, now)
        .await
        .unwrap();
    bench.work(now).await;
    assert_eq!(*bench.job.seen.lock().unwrap(), [days(1, 1)]);
    for run in &asked {
        let error = scheduler.cancel("recorder", run.id, now).await;
        assert_eq!(error.unwrap_err().code(), "invalid_parameter");
    }
    let error = scheduler.cancel("recorder", 99, now).await.unwrap_err();
    assert_eq!(error.code(), "run_not_found");
}

#[tokio::test]
async fn a_run_whose_worker_is_gone_is_made_again_once_the_lease_lapses() {
    let bench = Bench::new(Recorder::default());
    let scheduler = bench.scheduler();
    let now = NOON.plus(DAY);
    scheduler
        .request("recorder", days(0, 1), now)
        .await
        .unwrap();
    // A process takes the lease and the run, and is killed.
    let length = Duration::from_secs(30);
    let lease = bench
        .catalog
        .acquire_lease("job/recorder", "gone", length, now);
    lease.await.unwrap();
    let begun = JobRun {
        state: RunState::Running,
        attempts: 1,
        ..bench.runs().await[0].clone()
    };
    bench.jobs.change_run(&begun).await.unwrap().unwrap();
    bench.work(now).await;
    assert_eq!(*bench.job.seen.lock().unwrap(), [], "the lease is held");

    let later = now.plus(Duration::from_secs(31));
    bench.work(later).await;
    bench.work(later.plus(Duration::from_secs(60))).await;
    assert_eq!(*bench.job.seen.lock().unwrap(), [days(0, 1)]);
    let run = &bench.runs().await[0];
    assert_eq!((run.state, run.attempts), (RunState::Succeeded, 2));
}

#[tokio::test]
async fn starts_and_stops() {
    let bench = Bench::new(Recorder::default());
    let scheduler = bench.scheduler();
    scheduler.start();
    let yesterday = day_of(Timestamp(day_of(Timestamp::now()).begin.0 - 1));
    let asked = scheduler.request("recorder", yesterday, Timestamp::now());
    let id = asked.await.unwrap()[0].id;
    for _ in 0..200 {
        if bench.jobs.run(id).await.unwrap().unwrap().state == RunState::Succeeded {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scheduler.stop().await;
    assert_eq!(*bench.job.seen.lock().unwrap(), [yesterday]);
}
