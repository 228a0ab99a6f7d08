//! The latest images, searched exactly.
//!
//! What was decided between an image's search and its decision is looked at again, and must be found
//! whatever it costs: so it is scanned. For a small corpus it is everything.

use std::collections::VecDeque;

use likeness_core::{ImageNumber, StoreResult};
use likeness_index::{Candidates, ExactIndex, ExactParams};

use super::{ROTATION_SEED, corrupt};
use crate::dedup::records::Candidate;

/// Numbers of a segment.
pub(in crate::dedup) const SEGMENT: u64 = 4_096;

/// Segments of numbers without a gap, the oldest dropped when there are too many.
#[derive(Debug)]
pub(in crate::dedup) struct Recent {
    segments: VecDeque<ExactIndex>,
    max_segments: usize,
    /// All numbers from here to `end` are held.
    begin: u64,
    end: u64,
    params: ExactParams,
}

impl Recent {
    /// Holds at least the last `capacity` images.
    pub(in crate::dedup) fn new(dim: usize, rerank: usize, capacity: u64) -> Self {
        Self {
            segments: VecDeque::new(),
            max_segments: usize::try_from(capacity.div_ceil(SEGMENT)).unwrap_or(usize::MAX) + 1,
            begin: 0,
            end: 0,
            params: ExactParams {
                dim,
                rotation_seed: ROTATION_SEED,
                rerank,
            },
        }
    }

    /// Where the numbers begin of which the last `capacity` before `end` are.
    pub(super) fn first_of(end: u64, capacity: u64) -> u64 {
        end.saturating_sub(capacity) / SEGMENT * SEGMENT
    }

    /// Empties it; numbers from `begin` on follow.
    pub(super) fn restart(&mut self, begin: u64) {
        self.segments.clear();
        (self.begin, self.end) = (begin, begin);
    }

    /// All numbers from here on are held.
    pub(super) fn begin(&self) -> u64 {
        self.begin
    }

    /// Adds an image; numbers ascend. The first one of an empty store is where it begins.
    pub(in crate::dedup) fn insert(
        &mut self,
        number: ImageNumber,
        vector: &[u16],
    ) -> StoreResult<()> {
        self.make_room(number);
        let segment = self.segments.back_mut().expect("one was just made sure of");
        segment
            .insert(number.0, vector)
            .map_err(|error| corrupt(&error))?;
        self.end = number.0 + 1;
        Ok(())
    }

    /// Passes the number of an image that was erased.
    pub(super) fn skip(&mut self, number: ImageNumber) {
        self.make_room(number);
        self.end = number.0 + 1;
    }

    /// Takes an image out, if it is held.
    pub(super) fn remove(&mut self, number: ImageNumber) {
        for segment in &mut self.segments {
            segment.remove(number.0);
        }
    }

    /// Makes sure that there is a segment for the next number.
    fn make_room(&mut self, number: ImageNumber) {
        if self.segments.is_empty() {
            (self.begin, self.end) = (number.0, number.0);
        }
        debug_assert_eq!(number.0, self.end, "numbers have no gaps");
        if self.segments.is_empty() || number.0.is_multiple_of(SEGMENT) {
            self.segments.push_back(ExactIndex::new(self.params));
        }
        if self.segments.len() > self.max_segments {
            self.segments.pop_front();
            self.begin = (self.begin / SEGMENT + 1) * SEGMENT;
        }
    }

    /// Returns the images at or above `from` with the highest estimates and their cosines; nothing if none
    /// are held. However the numbers are split over stores, what these find merges to the same.
    pub(in crate::dedup) fn candidates(
        &self,
        query: &[f32],
        from: u64,
    ) -> StoreResult<Option<Candidates>> {
        let mut found: Option<Candidates> = None;
        for segment in &self.segments {
            let part = segment
                .candidates(query, from)
                .map_err(|error| corrupt(&error))?;
            found = Some(match found {
                Some(found) => found.merge(part),
                None => part,
            });
        }
        Ok(found)
    }

    /// Returns at most `limit` images at or above `from`, best first.
    pub(super) fn search_since(
        &self,
        query: &[f32],
        from: u64,
        limit: usize,
    ) -> StoreResult<Vec<Candidate>> {
        Ok(top(self.candidates(query, from)?, limit))
    }

    /// Returns an image's vector, bf16 as raw bits, or nothing if it is not held.
    pub(super) fn vector(&self, number: u64) -> Option<&[u16]> {
        self.segments
            .iter()
            .find_map(|segment| segment.vector(number))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.segments.iter().map(ExactIndex::memory_bytes).sum()
    }
}

/// Returns the `limit` most similar of what was found, best first.
pub(super) fn top(found: Option<Candidates>, limit: usize) -> Vec<Candidate> {
    let best = found.map(|found| found.top_k(limit)).unwrap_or_default();
    best.iter()
        .map(|neighbor| Candidate {
            number: ImageNumber(neighbor.number),
            cosine: neighbor.similarity,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(seed: u64) -> Vec<f32> {
        (0..24)
            .map(|idx| ((seed * 37 + 11) as f32 * 0.618 * (idx + 1) as f32).sin())
            .collect()
    }

    #[test]
    fn holds_the_last_ones_and_finds_them_like_one_index() {
        let mut recent = Recent::new(24, 100, SEGMENT);
        let mut whole = ExactIndex::new(recent.params);
        for number in 100..100 + 3 * SEGMENT {
            let vector = likeness_index::bf16::encode(&vector(number));
            recent.insert(ImageNumber(number), &vector).expect("fits");
            whole.insert(number, &vector).expect("fits");
        }
        assert_eq!(recent.begin(), 2 * SEGMENT);
        let begin = recent.begin();
        for from in [0, begin, begin + 500, begin + 6_000] {
            let query = vector(from * 3 + 1);
            let found = recent.search_since(&query, from, 50).expect("finds");
            let expected = whole
                .candidates(&query, from.max(begin))
                .expect("finds")
                .top_k(50);
            let numbers = |found: &[Candidate]| -> Vec<u64> {
                found.iter().map(|candidate| candidate.number.0).collect()
            };
            let expected: Vec<u64> = expected.iter().map(|neighbor| neighbor.number).collect();
            assert_eq!(numbers(&found), expected);
        }
        assert_eq!(recent.vector(begin - 1), None);
        let stored = likeness_index::bf16::encode(&vector(begin));
        assert_eq!(recent.vector(begin), Some(&stored[..]));
    }
}
