//! What [`JobStore`] promises.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::join;
use crate::Timestamp;
use crate::jobs::{Interval, JobRun, JobStore, NewRun, RunQuery, RunState, Trigger};

const START: Timestamp = Timestamp(1_700_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

/// Checks every clause that does not need a restart.
///
/// # Panics
/// If `jobs` breaks its contract.
pub async fn check_jobs(jobs: Arc<dyn JobStore>) {
    a_schedule_has_one_run_for_an_interval(&jobs).await;
    a_run_changes_only_from_the_version_that_was_read(&*jobs).await;
    what_is_due_comes_in_order(&*jobs).await;
    runs_are_listed_latest_first_and_by_page(&*jobs).await;
}

/// Checks that what was answered survives a restart. `open` opens the same store each time.
///
/// # Panics
/// If the store breaks its contract.
pub async fn check_jobs_reopen(open: impl AsyncFn() -> Arc<dyn JobStore>) {
    let name = unique("reopen");
    let jobs = open().await;
    let added = add(&*jobs, &name, 0, Trigger::Schedule).await.expect("new");
    let changed = JobRun {
        state: RunState::Succeeded,
        attempts: 2,
        started: Some(START),
        finished: Some(START.plus(HOUR)),
        token: u64::from(u32::MAX),
        output: Some(json!({"rows": 3, "share": 0.1, "text": "ü\"\u{0}"})),
        error: Some("was \u{1F980}".to_owned()),
        ..added
    };
    let changed = jobs.change_run(&changed).await.expect("change");
    drop(jobs);

    let jobs = open().await;
    let found = jobs.run(added.id).await.expect("a run");
    assert_eq!(found, changed);
    assert!(add(&*jobs, &name, 0, Trigger::Schedule).await.is_none());
    let next = add(&*jobs, &name, 1, Trigger::Schedule).await.expect("new");
    assert!(next.id > added.id, "numbers grow over a restart");
}

fn unique(what: &str) -> String {
    format!("{what}-{}", uuid::Uuid::now_v7())
}

fn hour(n: u32) -> Interval {
    Interval {
        begin: START.plus(HOUR * n),
        end: START.plus(HOUR * (n + 1)),
    }
}

async fn add(jobs: &dyn JobStore, job: &str, n: u32, trigger: Trigger) -> Option<JobRun> {
    let run = NewRun {
        job: job.to_owned(),
        interval: hour(n),
        trigger,
        due: hour(n).end,
    };
    jobs.add_run(&run, START).await.expect("add")
}

async fn a_schedule_has_one_run_for_an_interval(jobs: &Arc<dyn JobStore>) {
    let name = unique("schedule");
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (jobs, name) = (Arc::clone(jobs), name.clone());
            tokio::spawn(async move { add(&*jobs, &name, 0, Trigger::Schedule).await })
        })
        .collect();
    let mut added = Vec::new();
    for task in tasks {
        added.extend(join(task).await);
    }
    assert_eq!(added.len(), 1, "one of several contenders adds it");
    let run = &added[0];
    let expected = JobRun {
        id: run.id,
        version: run.version,
        job: name.clone(),
        interval: hour(0),
        trigger: Trigger::Schedule,
        state: RunState::Queued,
        attempts: 0,
        queued: START,
        due: hour(0).end,
        started: None,
        finished: None,
        token: 0,
        output: None,
        error: None,
    };
    assert_eq!(run, &expected);

    let asked = add(&**jobs, &name, 0, Trigger::Request).await;
    let again = add(&**jobs, &name, 0, Trigger::Request).await;
    assert!(asked.is_some() && again.is_some() && asked != again);
    let later = add(&**jobs, &name, 2, Trigger::Schedule).await;
    assert!(add(&**jobs, &name, 1, Trigger::Schedule).await.is_some());
    let last = jobs.last_scheduled(&name).await.expect("the last one");
    assert_eq!(last, later, "the latest interval, not the latest run");
    let none = jobs.last_scheduled(&unique("none")).await;
    assert_eq!(none.expect("nothing"), None);
}

async fn a_run_changes_only_from_the_version_that_was_read(jobs: &dyn JobStore) {
    let name = unique("change");
    let run = add(jobs, &name, 0, Trigger::Request).await.expect("new");
    let begun = JobRun {
        state: RunState::Running,
        attempts: 1,
        started: Some(START),
        token: 7,
        // These stay as they are.
        job: "another".to_owned(),
        interval: hour(5),
        trigger: Trigger::Schedule,
        queued: Timestamp(1),
        ..run.clone()
    };
    let changed = jobs.change_run(&begun).await.expect("change");
    let expected = JobRun {
        version: run.version + 1,
        state: RunState::Running,
        attempts: 1,
        started: Some(START),
        token: 7,
        ..run.clone()
    };
    assert_eq!(changed.as_ref(), Some(&expected));
    // Read before that change.
    assert_eq!(jobs.change_run(&begun).await.expect("too late"), None);
    assert_eq!(jobs.run(run.id).await.expect("a run"), changed);
    let gone = JobRun {
        id: u64::from(u32::MAX),
        ..expected
    };
    assert_eq!(jobs.change_run(&gone).await.expect("not there"), None);
    assert_eq!(jobs.run(gone.id).await.expect("not there"), None);
}

async fn what_is_due_comes_in_order(jobs: &dyn JobStore) {
    let name = unique("due");
    let second = add(jobs, &name, 1, Trigger::Schedule).await.expect("new");
    let first = add(jobs, &name, 0, Trigger::Schedule).await.expect("new");
    let also = add(jobs, &name, 0, Trigger::Request).await.expect("new");
    let due = async |now| jobs.next_due(&name, now).await.expect("due");
    assert_eq!(due(START).await, None);
    assert_eq!(due(hour(0).end).await.as_ref(), Some(&first));
    for (run, next) in [(first, Some(also.clone())), (also, Some(second))] {
        let done = JobRun {
            state: RunState::Cancelled,
            ..run
        };
        assert!(jobs.change_run(&done).await.expect("change").is_some());
        assert_eq!(due(hour(9).end).await, next);
    }
}

async fn runs_are_listed_latest_first_and_by_page(jobs: &dyn JobStore) {
    let name = unique("list");
    let mut expected = Vec::new();
    for n in 0..5 {
        expected.extend(add(jobs, &name, n, Trigger::Schedule).await);
    }
    add(jobs, &unique("other"), 0, Trigger::Schedule).await;
    expected.reverse();
    let of = |before, state, limit| RunQuery {
        job: Some(name.clone()),
        state,
        before,
        limit,
    };
    let list = async |query| jobs.runs(&query).await.expect("runs");
    assert_eq!(list(of(None, None, 9)).await, expected);
    let page = list(of(None, None, 2)).await;
    assert_eq!(page, expected[..2]);
    assert_eq!(list(of(Some(page[1].id), None, 9)).await, expected[2..]);
    let none = list(of(None, Some(RunState::Failed), 9)).await;
    assert_eq!(none, []);
    let all = RunQuery {
        limit: 1_000,
        ..RunQuery::default()
    };
    assert!(list(all).await.len() > expected.len());
}
