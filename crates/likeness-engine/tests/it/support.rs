//! Pictures, ports and a service to test with.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use likeness_adapters::{MemoryCatalog, MemoryObjectStore, MemoryStore};
use likeness_core::ImageId;
use likeness_engine::EngineError;
use likeness_engine::dedup::scorer::Scorer;
use likeness_engine::dedup::view::{Decision, UploadReceipt};
use likeness_engine::dedup::{Dedup, DedupConfig, NewImage, OpenedVectors, Ports};
use likeness_vision::pixels::RgbImage;
use likeness_vision::runtime::fake::TestEmbedder;
use likeness_vision::runtime::queue::{ModelPool, PoolConfig};

/// Longest time a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Ports over one set of memory stores; a clone sees the same data, like a reopened database.
pub(crate) fn memory_ports() -> Ports {
    let store = Arc::new(MemoryStore::new());
    Ports {
        log: store.clone(),
        state: store.clone(),
        steps: store,
        objects: Arc::new(MemoryObjectStore::new()),
        catalog: Arc::new(MemoryCatalog::new()),
    }
}

pub(crate) fn embedder() -> Arc<ModelPool> {
    let pool = ModelPool::start(Arc::new(TestEmbedder::new(7)), &PoolConfig::default());
    Arc::new(pool.expect("the system gives a thread"))
}

pub(crate) async fn start(ports: &Ports) -> Arc<Dedup> {
    start_with(ports, DedupConfig::default()).await
}

pub(crate) async fn start_with(ports: &Ports, config: DedupConfig) -> Arc<Dedup> {
    let embedder = embedder();
    let vectors = OpenedVectors::memory(embedder.spec().dim);
    Dedup::start(
        ports.clone(),
        vectors,
        embedder,
        Scorer::regression(),
        config,
    )
    .await
    .expect("memory stores open")
}

/// A picture full of detail; other seeds give unlike pictures.
pub(crate) fn picture(seed: u64) -> RgbImage {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let (width, height) = (320, 240);
    let mut data = vec![128; width * height * 3];
    for _ in 0..60 {
        let (x, y) = (next() as usize % width, next() as usize % height);
        let (w, h) = (20 + next() as usize % 120, 20 + next() as usize % 90);
        let colour = next().to_le_bytes();
        for row in y..(y + h).min(height) {
            for column in x..(x + w).min(width) {
                let at = (row * width + column) * 3;
                data[at..at + 3].copy_from_slice(&colour[..3]);
            }
        }
    }
    RgbImage::new(320, 240, data).expect("three bytes per pixel")
}

/// The picture as a JPEG file.
pub(crate) fn jpeg(seed: u64, quality: u8) -> Bytes {
    picture(seed).encode_jpeg(quality).into()
}

pub(crate) fn id(text: &str) -> ImageId {
    ImageId::new(text).expect("test ids are valid")
}

pub(crate) async fn upload(
    dedup: &Dedup,
    name: &str,
    bytes: Bytes,
) -> Result<UploadReceipt, EngineError> {
    dedup
        .upload(NewImage {
            id: Some(id(name)),
            name: Some(format!("{name}.jpg")),
            bytes,
        })
        .await
}

/// Uploads and waits for the decision.
pub(crate) async fn decide(dedup: &Dedup, name: &str, bytes: Bytes) -> Decision {
    upload(dedup, name, bytes).await.expect("upload is stored");
    dedup
        .wait_for_decision(&id(name), DEADLINE)
        .await
        .expect("the pipeline runs")
        .expect("decided in time")
}

/// Returns `(image, canonical id)` of every decision, sorted, and checks that none came twice.
pub(crate) async fn partition(dedup: &Dedup) -> Vec<(String, Option<String>)> {
    let mut from = 0;
    let mut found = Vec::new();
    loop {
        let page = dedup.decisions(from, 500).await.expect("the log reads");
        let Some(last) = page.last() else { break };
        from = last.offset + 1;
        found.extend(
            page.into_iter()
                .map(|event| (event.decision.id, event.decision.canonical_id)),
        );
    }
    found.sort();
    let ids: std::collections::HashSet<_> = found.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), found.len(), "an image was decided twice");
    found
}
