//! The search that a decision is made from: a function of the images before it, and of nothing else.
//!
//! Which images a search of the lists misses depends on what the lists hold at that moment. So for the
//! image with the number `n`
//! ```text
//! lists   hold  [0, n / BLOCK * BLOCK)         and answer for  [0, begin)
//! latest                                       answers for     [begin, n), exactly
//! begin = min(n − exact_below, n / BLOCK * BLOCK)
//! ```
//! whenever it is decided, in whatever batch, before or after a restart. Between two blocks the lists do
//! not change, so the images of a block are searched for in parallel; what the batch itself has decided
//! is added when an image's turn comes. Exact parts merge to what a search over the whole would find
//! (see [`likeness_index::Candidates`]), so it does not matter where batches begin.

use std::collections::HashMap;
use std::ops::Range;

use likeness_core::{ImageNumber, StoreError, StoreResult};
use likeness_index::Candidates;

use super::{Index, LiveIndex, corrupt, recent};
use crate::dedup::records::{Candidate, NumberRecord};

/// Images that enter the lists of an index at a time; after each, cells are refined. Part of a generation's parameters.
pub const BLOCK: u64 = 64;

/// The numbers of a block, if this is its last one.
fn block_ending(number: u64) -> Option<Range<u64>> {
    let end = number + 1;
    end.is_multiple_of(BLOCK).then(|| end - BLOCK..end)
}

/// Refines an index that nobody searches yet, if `number` ends a block.
pub(in crate::dedup) fn refine_after(index: &mut Index, number: u64) {
    if let Some(block) = block_ending(number) {
        index.refine(index.refinements_due(block));
    }
}

/// Returns how many images the lists hold when `num_images` are decided.
pub(in crate::dedup) fn index_end(num_images: u64) -> u64 {
    num_images / BLOCK * BLOCK
}

/// What was found for an image among what was decided before its batch.
#[derive(Debug)]
pub(in crate::dedup) struct Before {
    /// Every number from here on is looked at exactly.
    pub begin: u64,
    /// Where the lists end: later numbers are too recent for them.
    pub index_end: u64,
    indexed: Vec<Candidate>,
    latest: Option<Candidates>,
}

impl Before {
    /// Adds what the image's own batch has decided, and returns at most `limit` images whose cosine is at
    /// least `floor`, best first.
    pub(in crate::dedup) fn with(
        self,
        batch: Option<Candidates>,
        limit: usize,
        floor: f32,
    ) -> Vec<Candidate> {
        let latest = match (self.latest, batch) {
            (Some(latest), Some(batch)) => Some(latest.merge(batch)),
            (latest, batch) => latest.or(batch),
        };
        let mut found = recent::top(latest, limit);
        found.extend(self.indexed);
        best_first(&mut found, limit);
        let near = found.partition_point(|candidate| candidate.cosine >= floor);
        found.truncate(near);
        found
    }
}

/// Sorts by cosine, then by number, and keeps the first `limit`.
pub(super) fn best_first(found: &mut Vec<Candidate>, limit: usize) {
    found.sort_unstable_by(|a, b| {
        b.cosine
            .total_cmp(&a.cosine)
            .then_with(|| a.number.cmp(&b.number))
    });
    found.truncate(limit);
}

impl LiveIndex {
    /// Searches for the image that will have `number`, among what is committed and in the lists. The lists
    /// must hold what they do when that number is decided.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the query is not an embedding of this index's model.
    pub(in crate::dedup) fn search_before(
        &self,
        query: &[f32],
        number: u64,
        limit: usize,
        floor: f32,
    ) -> StoreResult<Before> {
        let inner = self.read();
        let index_end = index_end(number);
        let begin = number
            .saturating_sub(self.config.exact_below)
            .min(index_end);
        let mut indexed = Vec::new();
        if begin > 0 {
            debug_assert_eq!(inner.in_index, index_end);
            let probes = self.config.probes;
            indexed = self.search_index(&inner, query, begin, probes, limit, floor, 0)?;
        }
        Ok(Before {
            begin,
            index_end,
            indexed,
            latest: inner.recent.candidates(query, begin)?,
        })
    }

    /// Takes the numbers below `end`, the end of a block, into the lists; `batch` has the records of those
    /// that are not committed. No search returns these before [`committed`](Self::committed) is called.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if an embedding is not one of this index's model, `Unavailable` if there is
    /// no room for it. The index is then stale.
    pub(in crate::dedup) fn grow(
        &self,
        end: u64,
        batch: &HashMap<ImageNumber, NumberRecord>,
    ) -> StoreResult<()> {
        let from = self.read().in_index;
        for number in from..end {
            if self.read().erased.contains(&number) {
                self.write().in_index = number + 1;
                self.refine_after(number)?;
                continue;
            }
            let vector = match batch.get(&ImageNumber(number)) {
                Some(record) => record.bf16()?,
                None => self.read().recent.vector(number).map(<[u16]>::to_vec).ok_or_else(|| {
                    StoreError::corrupt(
                        "index",
                        format!("numbers/{number}"),
                        "neither in the index nor among the latest images; restart to read the index again",
                    )
                })?,
            };
            // One lock for each: readers wait for one insertion, not for a block of them.
            let mut inner = self.write();
            inner.is_stale = true;
            inner
                .index_mut()?
                .insert(number, &vector)
                .map_err(|error| corrupt(&error))?;
            inner.in_index = number + 1;
            drop(inner);
            self.refine_after(number)?;
        }
        Ok(())
    }

    /// Makes cells better if a number is the last one of a block. Readers wait while what was found is done, not
    /// while it is looked for.
    fn refine_after(&self, number: u64) -> StoreResult<()> {
        let Some(block) = block_ending(number) else {
            return Ok(());
        };
        let num_due = self.read().index_ref()?.refinements_due(block);
        for _ in 0..num_due {
            let Some(refinement) = self.read().index_ref()?.next_refinement() else {
                break;
            };
            let mut inner = self.write();
            inner.is_stale = true;
            inner.index_mut()?.apply_refinement(refinement);
        }
        Ok(())
    }
}
