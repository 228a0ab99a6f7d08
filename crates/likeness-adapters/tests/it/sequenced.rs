//! The commit rule over two products, with a failure at every phase.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use likeness_adapters::MemoryStore;
use likeness_core::log::{
    EventLog, NewRecord, Offset, Partition, ReadLimits, Record, Redaction, SweptRecords, Topic,
};
use likeness_core::state::{CasOutcome, Key, Row, Scan, StateStore, SweptRows, Write};
use likeness_core::step::{
    Claim, Durability, Emit, SequencedStepStore, Step, StepOutcome, StepStore,
};
use likeness_core::{StoreError, StoreResult};

use crate::support::{
    CONSUMER, INPUT, PARTITION, TABLE, TOPIC, numbered_key, numbered_step, read_all,
};

/// Whether the change that fails has taken place.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Before,
    AfterAndTheAnswerIsLost,
}

/// A memory store whose n-th change fails.
#[derive(Debug)]
struct FaultyStore {
    inner: Arc<MemoryStore>,
    n_changes_left: AtomicUsize,
    fault: Fault,
}

impl FaultyStore {
    async fn change<T>(&self, change: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        let failed = || StoreError::unavailable("faulty store", "as the test wants it");
        if self.n_changes_left.fetch_sub(1, Ordering::Relaxed) != 1 {
            return change.await;
        }
        match self.fault {
            Fault::Before => {}
            Fault::AfterAndTheAnswerIsLost => drop(change.await?),
        }
        Err(failed())
    }
}

#[async_trait]
impl EventLog for FaultyStore {
    async fn append(
        &self,
        topic: Topic,
        partition: Partition,
        records: Vec<NewRecord>,
    ) -> StoreResult<Offset> {
        self.change(self.inner.append(topic, partition, records))
            .await
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        limits: ReadLimits,
    ) -> StoreResult<Vec<Record>> {
        self.inner.read(topic, partition, from, limits).await
    }

    async fn end(&self, topic: Topic, partition: Partition) -> StoreResult<Offset> {
        self.inner.end(topic, partition).await
    }

    async fn wait(&self, topic: Topic, partition: Partition, from: Offset) -> StoreResult<()> {
        self.inner.wait(topic, partition, from).await
    }

    async fn redact(&self, redactions: Vec<Redaction>) -> StoreResult<()> {
        self.change(self.inner.redact(redactions)).await
    }

    async fn sweep(&self, after: Option<Bytes>, limit: usize) -> StoreResult<SweptRecords> {
        EventLog::sweep(self.inner.as_ref(), after, limit).await
    }
}

#[async_trait]
impl StateStore for FaultyStore {
    async fn get(&self, key: &Key) -> StoreResult<Option<Bytes>> {
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> StoreResult<Vec<Option<Bytes>>> {
        self.inner.get_many(keys).await
    }

    async fn scan(&self, scan: Scan) -> StoreResult<Vec<Row>> {
        self.inner.scan(scan).await
    }

    async fn write(&self, batch: Vec<Write>) -> StoreResult<()> {
        self.change(self.inner.write(batch)).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<Bytes>,
        new: Option<Bytes>,
    ) -> StoreResult<CasOutcome> {
        self.change(self.inner.compare_and_set(key, expected, new))
            .await
    }

    async fn sweep(&self, after: Option<Bytes>, limit: usize) -> StoreResult<SweptRows> {
        StateStore::sweep(self.inner.as_ref(), after, limit).await
    }
}

fn claimed_step() -> Step {
    let mut step = numbered_step(7);
    step.claim = Some(Claim {
        key: Key::single(TABLE, "claim"),
        value: Bytes::from("mine"),
    });
    let second = Emit {
        topic: INPUT,
        ..step.emits[0].clone()
    };
    step.emits.push(second);
    step
}

fn sequenced<S: EventLog + StateStore + 'static>(store: &Arc<S>) -> SequencedStepStore {
    SequencedStepStore::new(store.clone(), store.clone())
}

#[tokio::test]
async fn a_step_that_failed_at_any_phase_can_be_run_again() {
    // Claim, rows, two emits, position: five changes.
    const N_CHANGES: usize = 5;
    for fault in [Fault::Before, Fault::AfterAndTheAnswerIsLost] {
        for failing in 1..=N_CHANGES {
            let case = format!("change {failing} fails {fault:?}");
            let inner = Arc::new(MemoryStore::new());
            let faulty = Arc::new(FaultyStore {
                inner: inner.clone(),
                n_changes_left: AtomicUsize::new(failing),
                fault,
            });
            let steps = sequenced(&faulty);
            let outcome = steps.commit(claimed_step(), Durability::Synced).await;
            assert!(
                matches!(outcome, Err(StoreError::Unavailable { .. })),
                "{case}: {outcome:?}"
            );
            let position = steps.position(CONSUMER, INPUT, PARTITION).await;
            let is_done = failing == N_CHANGES && !matches!(fault, Fault::Before);
            let expected = if is_done { Offset(8) } else { Offset(0) };
            assert_eq!(position.expect("position"), expected, "{case}");

            let outcome = steps.commit(claimed_step(), Durability::Synced).await;
            assert!(
                matches!(outcome, Ok(StepOutcome::Committed(_))),
                "{case}: {outcome:?}"
            );
            check_done(&inner, &case).await;
        }
    }
}

async fn check_done(store: &Arc<MemoryStore>, case: &str) {
    let value = Bytes::copy_from_slice(&7u64.to_be_bytes());
    let row = store.get(&numbered_key(7)).await.expect("get");
    assert_eq!(row, Some(value.clone()), "{case}");
    for topic in [TOPIC, INPUT] {
        // Twice two at most: once from either try.
        let events = read_all(&**store, topic).await;
        assert!(events.len() == 2 || events.len() == 4, "{case}: {events:?}");
        assert!(events.iter().all(|event| event.key == value), "{case}");
    }
    let position = sequenced(store).position(CONSUMER, INPUT, PARTITION).await;
    assert_eq!(position.expect("position"), Offset(8), "{case}");
}

#[tokio::test]
async fn a_step_that_failed_keeps_its_claim_from_others() {
    let inner = Arc::new(MemoryStore::new());
    let faulty = Arc::new(FaultyStore {
        inner: inner.clone(),
        n_changes_left: AtomicUsize::new(2),
        fault: Fault::Before,
    });
    let steps = sequenced(&faulty);
    let failed = steps.commit(claimed_step(), Durability::Synced).await;
    assert!(failed.is_err(), "{failed:?}");

    let mut other = claimed_step();
    other.claim = other.claim.map(|claim| Claim {
        value: Bytes::from("theirs"),
        ..claim
    });
    let outcome = steps.commit(other, Durability::Synced).await;
    assert_eq!(
        outcome.expect("commit"),
        StepOutcome::Conflict(Bytes::from("mine"))
    );
}
