//! The index of decided images, in memory, rebuilt from `numbers` when the process starts.

use std::ops::Bound;
use std::sync::RwLock;

use bytes::Bytes;
use likeness_core::state::{Direction, Scan, StateStore};
use likeness_core::{ImageNumber, StoreError, StoreResult};
use likeness_index::{ExactIndex, ExactParams, IndexError};

use super::records::{Candidate, NumberRecord};
use super::tables::{NUMBERS, NUMBERS_PER_BLOCK, decode, number_block};

/// Seed of the index's rotation. Part of a generation's parameters.
pub(super) const ROTATION_SEED: u64 = 0x6c69_6b65_6e65_7373;

/// Decided images by their embeddings. Many readers; the assign stage is the one writer.
#[derive(Debug)]
pub(super) struct LiveIndex {
    // Held for one search or one batch of inserts, both well under a millisecond per image.
    inner: RwLock<ExactIndex>,
}

/// What a search found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Images in the index: those with a number below this one were looked at.
    pub num_indexed: u64,
    /// The best, best first.
    pub candidates: Vec<Candidate>,
}

impl LiveIndex {
    /// Returns an index without images.
    pub(super) fn new(dim: usize, rerank: usize) -> Self {
        Self {
            inner: RwLock::new(ExactIndex::new(ExactParams {
                dim,
                rotation_seed: ROTATION_SEED,
                rerank,
            })),
        }
    }

    /// Loads the numbers below `end` that the index does not hold yet.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if one is missing: the rows are written with the totals that `end`
    /// comes from.
    pub(super) async fn catch_up(&self, state: &dyn StateStore, end: u64) -> StoreResult<()> {
        const PAGE: usize = 1024;
        let mut next = self.size().0;
        while next < end {
            let rows = state
                .scan(Scan {
                    table: NUMBERS,
                    partition: number_block(next / NUMBERS_PER_BLOCK),
                    lower: Bound::Included(Bytes::copy_from_slice(&next.to_be_bytes())),
                    upper: Bound::Excluded(Bytes::copy_from_slice(&end.to_be_bytes())),
                    direction: Direction::Ascending,
                    limit: PAGE,
                })
                .await?;
            if rows.is_empty() {
                return Err(missing(next));
            }
            for row in &rows {
                if row.sort.as_ref() != next.to_be_bytes() {
                    return Err(missing(next));
                }
                let record: NumberRecord = decode("numbers", &row.value)?;
                self.insert(ImageNumber(next), &record)?;
                next += 1;
            }
        }
        Ok(())
    }

    /// Adds a decided image.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if its embedding is not one of this index's model.
    pub(super) fn insert(&self, number: ImageNumber, record: &NumberRecord) -> StoreResult<()> {
        let vector = record.bf16()?;
        self.write()
            .insert(number.0, &vector)
            .map_err(|error| corrupt(&error))
    }

    /// Returns at most `limit` images whose cosine with `query` is at least `floor`, and in any
    /// case the `keep` best.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the query is not an embedding of this index's model.
    pub(super) fn search(
        &self,
        query: &[f32],
        limit: usize,
        floor: f32,
        keep: usize,
    ) -> StoreResult<Found> {
        let index = self.read();
        let found = index
            .search(query, limit)
            .map_err(|error| corrupt(&error))?;
        let candidates = found
            .iter()
            .enumerate()
            .take_while(|(rank, neighbor)| *rank < keep || neighbor.similarity >= floor)
            .map(|(_, neighbor)| Candidate {
                number: ImageNumber(neighbor.number),
                cosine: neighbor.similarity,
            })
            .collect();
        Ok(Found {
            num_indexed: index.len() as u64,
            candidates,
        })
    }

    /// Like [`search`](LiveIndex::search), over the numbers at or above `from` alone.
    ///
    /// # Errors
    /// As [`search`](LiveIndex::search).
    pub(super) fn search_since(
        &self,
        query: &[f32],
        from: u64,
        limit: usize,
        floor: f32,
    ) -> StoreResult<Vec<Candidate>> {
        let found = self
            .read()
            .search_since(query, from, limit)
            .map_err(|error| corrupt(&error))?;
        Ok(found
            .iter()
            .take_while(|neighbor| neighbor.similarity >= floor)
            .map(|neighbor| Candidate {
                number: ImageNumber(neighbor.number),
                cosine: neighbor.similarity,
            })
            .collect())
    }

    /// Returns the cosine of `query` with one image, or nothing if the index does not hold it.
    pub(super) fn similarity(&self, query: &[f32], number: ImageNumber) -> Option<f32> {
        self.read().similarity(query, number.0)
    }

    /// Returns how many images the index holds, and its memory in bytes.
    pub(super) fn size(&self) -> (u64, usize) {
        let index = self.read();
        (index.len() as u64, index.memory_bytes())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, ExactIndex> {
        self.inner
            .read()
            .expect("a panic while inserting leaves no index to answer from")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, ExactIndex> {
        self.inner
            .write()
            .expect("a panic while inserting leaves no index to go on with")
    }
}

fn missing(number: u64) -> StoreError {
    StoreError::corrupt(
        "state",
        format!("numbers/{number}"),
        "missing, though the totals count it",
    )
}

fn corrupt(error: &IndexError) -> StoreError {
    StoreError::corrupt("index", "embedding", error.to_string())
}
