//! Results of a search, their orders, and how results over parts become the result over the whole.
//!
//! Two total orders, each on properties of a pair alone:
//!
//! - *by estimate*: higher estimate first, then the smaller number. It chooses which vectors are ranked
//!   again, the `depth` first ones.
//! - *by similarity*: higher similarity first, then the smaller number. It orders answers.
//!
//! The first `depth` by estimate of a union are among the first `depth` of its parts, so [`Candidates`]
//! merge exactly. Lists cut by similarity do not carry enough for that: see [`merge_top_k`].

use std::cmp::Ordering;

/// A vector found, as answers give it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbor {
    /// The number the vector was inserted under.
    pub number: u64,
    /// Cosine, -1 to 1 up to rounding: exact for the query and the stored (bf16) vector.
    pub similarity: f32,
}

impl Neighbor {
    /// The order of answers: most similar first, then the smaller number.
    pub fn cmp_by_similarity(&self, other: &Self) -> Ordering {
        other
            .similarity
            .total_cmp(&self.similarity)
            .then(self.number.cmp(&other.number))
    }
}

/// A vector that was ranked again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The number the vector was inserted under.
    pub number: u64,
    /// Cosine as estimated from the 1-bit code.
    pub estimate: f32,
    /// Cosine, see [`Neighbor::similarity`].
    pub similarity: f32,
}

impl Candidate {
    /// The order of the scan: highest estimate first, then the smaller number.
    fn cmp_by_estimate(&self, other: &Self) -> Ordering {
        other
            .estimate
            .total_cmp(&self.estimate)
            .then(self.number.cmp(&other.number))
    }
}

/// The vectors with the highest estimates, at most `depth` of them, and their similarities.
///
/// For any way to split the numbers of an index in two, with the same query, depth and rotation:
/// `candidates(part a).merge(candidates(part b))` equals `candidates(whole)`. A reader can thus search
/// what is there, do slow work, then search what came since, and decide as if it had searched at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidates {
    /// Sorted by estimate, no number twice.
    entries: Vec<Candidate>,
    depth: usize,
}

impl Candidates {
    /// `entries` may come in any order, but no number twice.
    pub(crate) fn new(mut entries: Vec<Candidate>, depth: usize) -> Self {
        entries.sort_unstable_by(Candidate::cmp_by_estimate);
        entries.truncate(depth);
        Self { entries, depth }
    }

    /// Returns the candidates of both parts together; a number in both counts once. The smaller depth
    /// holds.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let depth = self.depth.min(other.depth);
        let mut entries = self.entries;
        entries.extend(other.entries);
        entries.sort_unstable_by(Candidate::cmp_by_estimate);
        // The same pair has the same estimate, so its two entries are side by side.
        entries.dedup_by_key(|candidate| candidate.number);
        entries.truncate(depth);
        Self { entries, depth }
    }

    /// Returns the `k` most similar, best first.
    pub fn top_k(&self, k: usize) -> Vec<Neighbor> {
        let neighbors = self.entries.iter().map(|entry| Neighbor {
            number: entry.number,
            similarity: entry.similarity,
        });
        take_top_k(neighbors.collect(), k)
    }

    /// The candidates, highest estimate first.
    pub fn entries(&self) -> &[Candidate] {
        &self.entries
    }
}

/// Returns the `k` most similar of two answers to one query, best first; a number in both counts once.
///
/// For answers of [`search_exact`](crate::ExactIndex::search_exact), or of parts no larger than the
/// re-ranking depth, this is exactly the answer over the union. Otherwise it holds every neighbour that a
/// search over the union would find, unless a nearer one which that search had missed pushes it out; where
/// even that must not happen, merge [`Candidates`].
pub fn merge_top_k(a: &[Neighbor], b: &[Neighbor], k: usize) -> Vec<Neighbor> {
    let mut merged = [a, b].concat();
    merged.sort_unstable_by(Neighbor::cmp_by_similarity);
    merged.dedup_by_key(|neighbor| neighbor.number);
    merged.truncate(k);
    merged
}

/// Sorts only what is returned.
pub(crate) fn take_top_k(mut neighbors: Vec<Neighbor>, k: usize) -> Vec<Neighbor> {
    if k == 0 {
        return Vec::new();
    }
    if k < neighbors.len() {
        neighbors.select_nth_unstable_by(k - 1, Neighbor::cmp_by_similarity);
        neighbors.truncate(k);
    }
    neighbors.sort_unstable_by(Neighbor::cmp_by_similarity);
    neighbors
}

/// Keeps the `depth` best of a stream of (estimate, number, row) in O(1) amortised a piece.
///
/// A buffer of twice the depth is cut to half by selection whenever it is full; what is worse than the
/// last cut never enters.
#[derive(Debug)]
pub(crate) struct BestEstimates {
    buffer: Vec<Estimated>,
    depth: usize,
    /// No estimate below this can be among the best any more.
    pub(crate) floor: f32,
}

/// A row and what the scan knows of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimated {
    pub(crate) estimate: f32,
    pub(crate) number: u64,
    pub(crate) row: usize,
}

impl Estimated {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .estimate
            .total_cmp(&self.estimate)
            .then(self.number.cmp(&other.number))
    }
}

impl BestEstimates {
    /// `n_rows` is how many will be offered at most.
    pub(crate) fn new(depth: usize, n_rows: usize) -> Self {
        Self {
            buffer: Vec::with_capacity(depth.saturating_mul(2).min(n_rows)),
            depth,
            floor: f32::NEG_INFINITY,
        }
    }

    #[inline]
    pub(crate) fn offer(&mut self, row: Estimated) {
        if row.estimate < self.floor || self.depth == 0 {
            return;
        }
        self.buffer.push(row);
        if self.buffer.len() >= self.depth.saturating_mul(2) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.buffer.len() > self.depth {
            let (_, last, _) = self
                .buffer
                .select_nth_unstable_by(self.depth - 1, Estimated::cmp);
            self.floor = last.estimate;
            self.buffer.truncate(self.depth);
        }
    }

    /// Returns the best in no particular order.
    pub(crate) fn into_best(mut self) -> Vec<Estimated> {
        self.cut();
        self.buffer
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn neighbor(number: u64, similarity: f32) -> Neighbor {
        Neighbor { number, similarity }
    }

    #[test]
    fn equal_similarities_are_ordered_by_number() {
        let answer = take_top_k(
            vec![
                neighbor(9, 0.5),
                neighbor(2, 0.5),
                neighbor(5, 0.5),
                neighbor(7, 0.9),
            ],
            3,
        );
        assert_eq!(
            answer,
            [neighbor(7, 0.9), neighbor(2, 0.5), neighbor(5, 0.5)]
        );
    }

    #[test]
    fn merging_counts_a_number_once() {
        let a = [neighbor(1, 0.9), neighbor(2, 0.8)];
        let b = [neighbor(1, 0.9), neighbor(3, 0.7)];
        assert_eq!(
            merge_top_k(&a, &b, 3),
            [neighbor(1, 0.9), neighbor(2, 0.8), neighbor(3, 0.7)]
        );
        assert_eq!(merge_top_k(&a, &b, 0), []);
    }

    proptest! {
        #[test]
        fn the_best_of_a_stream_are_those_of_a_sort(estimates in prop::collection::vec(0u8..20, 0..200), depth in 0usize..40) {
            // Few distinct values: ties are the hard part.
            let rows: Vec<Estimated> = estimates.iter().enumerate()
                .map(|(row, &estimate)| Estimated { estimate: f32::from(estimate), number: (row as u64 * 77) % 211, row })
                .collect();
            let mut best = BestEstimates::new(depth, rows.len());
            rows.iter().for_each(|&row| best.offer(row));
            let mut got: Vec<usize> = best.into_best().iter().map(|row| row.row).collect();
            let mut expected = rows;
            expected.sort_by(Estimated::cmp);
            expected.truncate(depth);
            let mut expected: Vec<usize> = expected.iter().map(|row| row.row).collect();
            got.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn top_k_lists_of_parts_merge_to_that_of_the_whole(similarities in prop::collection::vec(0u8..20, 0..80), split in 0usize..80, k in 0usize..30) {
            let all: Vec<Neighbor> = similarities.iter().enumerate().map(|(number, &s)| neighbor(number as u64, f32::from(s))).collect();
            let (a, b) = all.split_at(split.min(all.len()));
            let merged = merge_top_k(&take_top_k(a.to_vec(), k), &take_top_k(b.to_vec(), k), k);
            prop_assert_eq!(merged, take_top_k(all, k));
        }
    }
}
