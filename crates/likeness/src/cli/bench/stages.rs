//! Each stage alone, on one thread: what its work costs when nothing waits for anything.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use likeness_core::log::{NewRecord, Offset, Partition, Topic};
use likeness_core::state::{Key, Table, Write};
use likeness_core::step::{Consumer, Durability, Emit, Position, Step, StepStore};
use likeness_engine::dedup::SIGNATURE_MIN_SIDE;
use likeness_index::{DEFAULT_RERANK, ExactIndex, ExactParams, bf16};
use likeness_vision::models::store::ModelStore;
use likeness_vision::pdq::pdq;
use likeness_vision::runtime::{Embedder, prepare};
use likeness_vision::{DecodeLimits, RgbImage, decode};
use serde::Serialize;

use super::super::Context;
use crate::wire;

/// Pictures that a stage is measured on; more would only take longer.
const MAX_SAMPLE: usize = 512;

/// Bytes of what a stage writes for an image: a signature with its embedding, about.
const ROW_BYTES: usize = 1_200;

/// Candidates asked for.
const TOP_K: usize = 100;

/// What a stage costs.
#[derive(Debug, Clone, Serialize)]
pub(super) struct StageFigure {
    pub(super) name: &'static str,
    pub(super) ms_per_image: f64,
}

impl StageFigure {
    fn new(name: &'static str, took: Duration, n_images: usize) -> Self {
        Self {
            name,
            ms_per_image: took.as_secs_f64() * 1e3 / n_images as f64,
        }
    }
}

/// Measures decode, pdq, resize, embed, search and commit.
///
/// # Errors
/// If models are missing, a picture cannot be decoded, or the store fails.
pub(super) async fn measure(
    context: &Context,
    files: &[Bytes],
) -> anyhow::Result<Vec<StageFigure>> {
    let sample: Vec<Bytes> = files.iter().take(MAX_SAMPLE).cloned().collect();
    let n_rows = files.len();
    let limits = context.config.decode_limits();
    let store = ModelStore::new(context.models_dir.clone());
    let models = context.config.models.clone();
    let mut figures = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let embedder = wire::open_embedder(&store, &models.embedder, 1)?;
        measure_computing(&embedder, models.max_batch, &sample, n_rows, &limits)
    })
    .await??;
    figures.push(measure_commit(context, files.len().min(MAX_SAMPLE)).await?);
    Ok(figures)
}

fn measure_computing(
    embedder: &dyn Embedder,
    max_batch: usize,
    sample: &[Bytes],
    n_rows: usize,
    limits: &DecodeLimits,
) -> anyhow::Result<Vec<StageFigure>> {
    let n_images = sample.len();
    let mut figures = Vec::new();
    let mut timed = |name, started: Instant| {
        figures.push(StageFigure::new(name, started.elapsed(), n_images));
    };

    let started = Instant::now();
    let decoded: Vec<RgbImage> = sample
        .iter()
        .map(|bytes| Ok(decode(bytes, limits, Some(SIGNATURE_MIN_SIDE))?.image))
        .collect::<anyhow::Result<_>>()?;
    timed("decode", started);

    let started = Instant::now();
    for image in &decoded {
        std::hint::black_box(pdq(image));
    }
    timed("pdq", started);

    let started = Instant::now();
    let inputs: Vec<RgbImage> = decoded
        .iter()
        .map(|image| prepare(image, embedder.spec()))
        .collect();
    timed("resize", started);

    // The first run of a model allocates; it is not what the others cost.
    embedder.embed(&inputs[..1])?;
    let started = Instant::now();
    let mut vectors = Vec::with_capacity(n_images);
    for batch in inputs.chunks(max_batch) {
        vectors.extend(embedder.embed(batch)?);
    }
    timed("embed", started);

    let mut index = ExactIndex::new(ExactParams {
        dim: embedder.spec().dim,
        rotation_seed: 1,
        rerank: DEFAULT_RERANK,
    });
    for number in 0..n_rows as u64 {
        let vector = &vectors[number as usize % n_images];
        index.insert(number, &bf16::encode(vector.as_slice()))?;
    }
    let started = Instant::now();
    for vector in &vectors {
        std::hint::black_box(index.search(vector.as_slice(), TOP_K)?);
    }
    timed("search", started);
    Ok(figures)
}

/// Commits steps as the stages do: so many images to a step, a row and an event for each.
async fn measure_commit(context: &Context, n_images: usize) -> anyhow::Result<StageFigure> {
    /// Stages of the pipeline, each with a commit of its own.
    const STAGES: u64 = 4;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let store = wire::open_store(folder.path(), &context.config.stores).await?;
    let row = Bytes::from(vec![0x5a; ROW_BYTES]);
    let max_commit = context.config.dedup.max_commit;
    let started = Instant::now();
    for first in (0..n_images).step_by(max_commit) {
        let numbers = first..(first + max_commit).min(n_images);
        for stage in 0..STAGES {
            let key = |number: usize| {
                Bytes::from((number as u64 * STAGES + stage).to_be_bytes().to_vec())
            };
            let mut writes = Vec::new();
            let mut records = Vec::new();
            for number in numbers.clone() {
                writes.push(Write::Put(
                    Key::single(Table("bench"), key(number)),
                    row.clone(),
                ));
                records.push(NewRecord {
                    key: key(number),
                    payload: row.slice(..256),
                });
            }
            let step = Step {
                claim: None,
                redactions: Vec::new(),
                writes,
                emits: vec![Emit {
                    topic: Topic("bench"),
                    partition: Partition(0),
                    records,
                }],
                positions: vec![Position {
                    consumer: Consumer("bench"),
                    topic: Topic("bench"),
                    partition: Partition(0),
                    next: Offset(first as u64),
                }],
            };
            store.commit(step, Durability::Process).await?;
        }
    }
    Ok(StageFigure::new("commit", started.elapsed(), n_images))
}
