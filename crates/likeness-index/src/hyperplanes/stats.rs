//! Figures about an index.

use std::cmp::Reverse;

use super::Hyperplanes;
use crate::vectors::Vectors;

/// Terms that statistics list at most.
const NUM_HOT_TERMS: usize = 16;

/// A term with a long posting list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HotTerm {
    /// Which of the T terms of a vector, from 0.
    pub index: usize,
    /// Its bits.
    pub bits: u32,
    /// Vectors in its list.
    pub len: usize,
    /// Vectors that found the list full and have not been removed.
    pub left_out: usize,
}

/// What full lists have not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capped {
    /// Terms whose list was full for a vector that is still there.
    pub terms: usize,
    /// Vectors that these lists have not taken, over all of them.
    pub left_out: usize,
}

/// How an index is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct HyperplanesStats {
    /// Vectors.
    pub num_vectors: usize,
    /// Posting lists, over all T tables.
    pub num_lists: usize,
    /// Lengths of the lists: least, median, largest.
    pub list_lengths: [usize; 3],
    /// Σ len² / Σ len: the length of the list that a term of a vector of the index is in, on average.
    pub met_length: f64,
    /// Lists that are full.
    pub capped_lists: usize,
    /// Terms of vectors that found their list full; a vector of which no term found room counts T times and
    /// cannot be found.
    pub left_out: usize,
    /// The terms with the most vectors, those left out included, at most 16, most first.
    pub hot_terms: Vec<HotTerm>,
    /// Bytes of posting lists and their tables.
    pub list_bytes: usize,
    /// Bytes of 1-bit codes.
    pub code_bytes: usize,
    /// Bytes of the map from numbers to slots.
    pub directory_bytes: usize,
    /// Bytes of exact vectors in memory.
    pub vector_bytes: usize,
}

impl<V: Vectors> Hyperplanes<V> {
    /// Bytes of memory held, about.
    pub fn memory_bytes(&self) -> usize {
        self.list_bytes()
            + self.codes.memory_bytes()
            + self.projections.memory_bytes()
            + self.directory.memory_bytes()
            + self.vectors.memory_bytes()
    }

    fn list_bytes(&self) -> usize {
        self.postings
            .iter()
            .map(|postings| postings.memory_bytes() + size_of_val(postings))
            .sum()
    }

    /// Returns what full lists have not taken. Cheap: looks at the capped terms only.
    pub fn capped(&self) -> Capped {
        Capped {
            terms: self.postings.iter().map(super::Postings::num_capped).sum(),
            left_out: self
                .postings
                .iter()
                .map(super::Postings::total_left_out)
                .sum(),
        }
    }

    /// Returns figures about the index. Looks at every list, but not into it.
    pub fn stats(&self) -> HyperplanesStats {
        let mut lengths = Vec::new();
        let mut hot_terms = Vec::new();
        let by_heat = |term: &HotTerm| (Reverse(term.len + term.left_out), term.index, term.bits);
        for (index, postings) in self.postings.iter().enumerate() {
            for (bits, len) in postings.lengths() {
                lengths.push(len);
                hot_terms.push(HotTerm {
                    index,
                    bits,
                    len,
                    left_out: postings.left_out(bits),
                });
            }
            // The tables have no order of their own; what is kept does not depend on theirs.
            if hot_terms.len() > NUM_HOT_TERMS {
                hot_terms.select_nth_unstable_by_key(NUM_HOT_TERMS - 1, by_heat);
                hot_terms.truncate(NUM_HOT_TERMS);
            }
        }
        hot_terms.sort_unstable_by_key(by_heat);
        lengths.sort_unstable();
        let total: usize = lengths.iter().sum();
        let squares: f64 = lengths.iter().map(|&len| (len * len) as f64).sum();
        HyperplanesStats {
            num_vectors: self.len(),
            num_lists: lengths.len(),
            list_lengths: [
                lengths.first().copied().unwrap_or(0),
                lengths.get(lengths.len() / 2).copied().unwrap_or(0),
                lengths.last().copied().unwrap_or(0),
            ],
            met_length: squares / total.max(1) as f64,
            capped_lists: lengths
                .iter()
                .filter(|&&len| len >= self.params.max_list)
                .count(),
            left_out: self.capped().left_out,
            hot_terms,
            list_bytes: self.list_bytes(),
            code_bytes: self.codes.memory_bytes(),
            directory_bytes: self.directory.memory_bytes(),
            vector_bytes: self.vectors.memory_bytes(),
        }
    }
}
