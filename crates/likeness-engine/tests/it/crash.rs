//! Steps that fail at any moment. A killed process is tried by `cargo xtask crash`; here the stores
//! refuse, which a process survives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use likeness_core::log::{Offset, Partition, Topic};
use likeness_core::step::{Consumer, Durability, Step, StepOutcome, StepStore};
use likeness_core::{StoreError, StoreResult};
use likeness_engine::dedup::{DedupConfig, Ports};

use crate::support::{jpeg, memory_ports, partition, start, start_with, upload};

/// Fails every n-th commit, in turn before it is made and after: a caller cannot tell which.
#[derive(Debug)]
struct Unreliable {
    inner: Arc<dyn StepStore>,
    every: u64,
    calls: AtomicU64,
}

#[async_trait]
impl StepStore for Unreliable {
    async fn commit(&self, step: Step, durability: Durability) -> StoreResult<StepOutcome> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let lost = || StoreError::unavailable("steps (test)", "connection lost");
        match (call % self.every, call / self.every % 2) {
            (0, 0) => Err(lost()),
            (0, _) => {
                self.inner.commit(step, durability).await?;
                Err(lost())
            }
            _ => self.inner.commit(step, durability).await,
        }
    }

    async fn position(
        &self,
        consumer: Consumer,
        topic: Topic,
        partition: Partition,
    ) -> StoreResult<Offset> {
        self.inner.position(consumer, topic, partition).await
    }

    async fn sync(&self) -> StoreResult<()> {
        self.inner.sync().await
    }
}

fn unreliable(ports: &Ports, every: u64) -> Ports {
    Ports {
        steps: Arc::new(Unreliable {
            inner: ports.steps.clone(),
            every,
            calls: AtomicU64::new(0),
        }),
        ..ports.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_fail_before_or_after_lose_and_double_nothing() {
    let reliable = start(&memory_ports()).await;
    for i in 0..40u64 {
        upload(&reliable, &format!("i{i:02}"), jpeg(i % 11, 90))
            .await
            .unwrap();
    }
    reliable.drain().await.unwrap();
    let expected = partition(&reliable).await;
    reliable.shutdown().await;

    let ports = memory_ports();
    let config = DedupConfig {
        max_commit: 4,
        ..DedupConfig::default()
    };
    let dedup = start_with(&unreliable(&ports, 5), config).await;
    for i in 0..40u64 {
        let name = format!("i{i:02}");
        // As a client does: repeat until acknowledged.
        while upload(&dedup, &name, jpeg(i % 11, 90)).await.is_err() {}
    }
    let deadline = std::time::Instant::now() + crate::support::DEADLINE;
    while partition(&dedup).await.len() < 40 {
        assert!(std::time::Instant::now() < deadline, "not decided in time");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    dedup.shutdown().await;

    // What was acknowledged is decided once, and as if nothing had happened.
    let reopened = start(&ports).await;
    reopened.drain().await.unwrap();
    assert_eq!(partition(&reopened).await, expected);
    assert_eq!(reopened.overview().await.unwrap().images, 40);
    reopened.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_dropped_in_the_middle_goes_on_where_it_was() {
    let ports = memory_ports();
    let dedup = start(&ports).await;
    for i in 0..30u64 {
        upload(&dedup, &format!("i{i:02}"), jpeg(i % 7, 90))
            .await
            .unwrap();
    }
    // Not drained: stages are stopped wherever they are.
    dedup.shutdown().await;

    let dedup = start(&ports).await;
    dedup.drain().await.unwrap();
    let partition = partition(&dedup).await;
    assert_eq!(partition.len(), 30);
    dedup.shutdown().await;
}
