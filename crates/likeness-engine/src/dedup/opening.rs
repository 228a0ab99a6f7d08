//! What opening a large index takes: makes one of vectors alone, and opens it as the service does.
//!
//! For `likeness bench opening`. Nothing else may lie in the store.

use std::time::Instant;

use bytes::Bytes;
use likeness_core::state::{StateStore, Write};
use likeness_core::{ImageId, ImageNumber, Sha256, StoreResult, Timestamp};
use likeness_index::{OpenedVectors, TermIndex, TermScheme};
use likeness_vision::PdqHash;

use super::config::DedupConfig;
use super::live_index::{
    BLOCK, IndexConfig, LiveIndex, SEGMENT, corrupt, refine_after, scheme, write_all,
};
use super::records::NumberRecord;
use super::tables::{encode, number_key};

/// Records of one write.
const PAGE: usize = 1_024;

/// An index that was opened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Opening {
    /// Images in it.
    pub images: u64,
    /// Its memory.
    pub memory_bytes: usize,
    /// How long it took.
    pub seconds: f64,
}

/// Writes the rows of an index over `vectors`, bf16 as raw bits, and the records of the latest images, which
/// are read as well. Returns how many vectors there were.
///
/// # Errors
/// If a store fails, or a vector is not of `dim` components.
pub async fn write_index(
    state: &dyn StateStore,
    opened: OpenedVectors,
    config: &DedupConfig,
    dim: usize,
    vectors: &mut (dyn Iterator<Item = Vec<u16>> + Send),
) -> StoreResult<u64> {
    let mut latest = std::collections::VecDeque::new();
    let room = usize::try_from(config.exact_below.saturating_add(SEGMENT)).unwrap_or(usize::MAX);
    let noted = vectors.inspect(|vector| {
        if latest.len() == room {
            latest.pop_front();
        }
        latest.push_back(vector.clone());
    });
    let scheme = scheme(config.index_scheme, dim);
    let num_images = write_new(state, opened, scheme, noted).await?;
    let first = num_images - latest.len() as u64;
    let mut records = (first..num_images).zip(latest).map(|(number, vector)| {
        let record = record(ImageNumber(number), &vector);
        Write::Put(number_key(ImageNumber(number)), encode(&record))
    });
    loop {
        let page: Vec<Write> = records.by_ref().take(PAGE).collect();
        if page.is_empty() {
            return Ok(num_images);
        }
        state.write(page).await?;
    }
}

/// Makes an index over vectors numbered from 0 in a store that has none, and writes its rows; the last ones,
/// which make no whole block, are not in it. Returns how many vectors there were.
///
/// # Errors
/// If a store fails, or a vector is not of `dim` components.
async fn write_new(
    state: &dyn StateStore,
    opened: OpenedVectors,
    scheme: TermScheme,
    vectors: impl Iterator<Item = Vec<u16>>,
) -> StoreResult<u64> {
    let mut index = TermIndex::with_vectors(scheme, opened.vectors);
    let mut num_images = 0;
    let mut block = Vec::new();
    for vector in vectors {
        block.push(vector);
        num_images += 1;
        if block.len() as u64 == BLOCK {
            for (number, vector) in (num_images - BLOCK..).zip(block.drain(..)) {
                index
                    .insert(number, &vector)
                    .map_err(|error| corrupt(&error))?;
                refine_after(&mut index, number);
            }
        }
    }
    index.confirm_vectors();
    index.track_changes();
    write_all(state, index.changes()).await?;
    Ok(num_images)
}

fn record(number: ImageNumber, vector: &[u16]) -> NumberRecord {
    let id = ImageId::new(format!("bench-{}", number.0)).expect("letters and digits are an id");
    NumberRecord {
        head: id.clone(),
        id,
        head_number: number,
        uploaded: Timestamp(0),
        sha256: Sha256([0; 32]),
        pdq: PdqHash([0; 32]),
        pdq_quality: 0,
        flatness: 0,
        embedding: Bytes::from_iter(vector.iter().flat_map(|component| component.to_le_bytes())),
        width: 0,
        height: 0,
        views: Vec::new(),
    }
}

/// Opens the index that [`write_index`] wrote.
///
/// # Errors
/// If a store fails.
pub async fn open_index(
    state: &dyn StateStore,
    opened: OpenedVectors,
    config: &DedupConfig,
    dim: usize,
    num_images: u64,
) -> StoreResult<Opening> {
    let started = Instant::now();
    let index = LiveIndex::open(state, opened, IndexConfig::of(config, dim), num_images).await?;
    let seconds = started.elapsed().as_secs_f64();
    let (images, memory_bytes) = index.size();
    Ok(Opening {
        images,
        memory_bytes,
        seconds,
    })
}
