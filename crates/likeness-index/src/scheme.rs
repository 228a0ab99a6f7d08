//! The two ways to turn a vector into terms, behind one closed enum.
//!
//! A *term* names a posting list. [`Cells`] gives a vector one term, the nearest of centroids that follow
//! the data; [`Hyperplanes`] gives it several, each a few signs of projections that follow a seed alone.
//! What both can do is here, their durable form included; what only one can (certificates, the terms themselves)
//! is reached by a `match`, which the compiler checks since there will be no third kind behind a caller's back.

mod loader;

use std::ops::Range;

use crate::candidates::Neighbor;
use crate::cells::{Cells, CellsParams, Refinement, SearchParams};
use crate::error::IndexError;
use crate::filter::Filter;
use crate::hyperplanes::{
    Capped, Hyperplanes, HyperplanesParams, HyperplanesSearch, TermCandidate,
};
use crate::rows::RowChange;
use crate::vectors::{MemoryVectors, Vectors};

pub use loader::TermLoader;

/// Which terms vectors get.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TermScheme {
    /// The nearest of centroids that grow with the data.
    Cells(CellsParams),
    /// Signs of seeded projections.
    Hyperplanes(HyperplanesParams),
}

impl TermScheme {
    /// Components of a vector.
    pub fn dim(&self) -> usize {
        match self {
            Self::Cells(params) => params.dim,
            Self::Hyperplanes(params) => params.dim,
        }
    }
}

/// How hard a search tries, whatever the terms are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TermSearch {
    /// Cells looked into, or buckets of each term.
    pub probes: usize,
    /// ε₀: a vector is ruled out by its code if its estimate is so many standard deviations of the estimate's
    /// error worse than what could still count.
    pub epsilon: f32,
    /// Of an index of hyperplanes: candidates that are ranked at most, those with the most matching terms. In one
    /// of cells everything in the cells is.
    pub max_candidates: usize,
}

impl Default for TermSearch {
    fn default() -> Self {
        let HyperplanesSearch {
            probes,
            max_candidates,
            epsilon,
        } = HyperplanesSearch::default();
        Self {
            probes,
            epsilon,
            max_candidates,
        }
    }
}

impl From<TermSearch> for SearchParams {
    fn from(search: TermSearch) -> Self {
        Self {
            probes: search.probes,
            epsilon: search.epsilon,
            ..Self::default()
        }
    }
}

impl From<TermSearch> for HyperplanesSearch {
    fn from(search: TermSearch) -> Self {
        Self {
            probes: search.probes,
            max_candidates: search.max_candidates,
            epsilon: search.epsilon,
        }
    }
}

/// An index of either scheme.
#[derive(Debug, Clone)]
pub enum TermIndex<V = MemoryVectors> {
    /// See [`Cells`].
    Cells(Box<Cells<V>>),
    /// See [`Hyperplanes`].
    Hyperplanes(Box<Hyperplanes<V>>),
}

impl TermIndex {
    /// Makes an empty index that holds its vectors in memory.
    ///
    /// # Panics
    ///
    /// If the parameters break a rule that their fields state.
    pub fn new(scheme: TermScheme) -> Self {
        Self::with_vectors(scheme, MemoryVectors::new(scheme.dim()))
    }
}

/// Calls the method of that name of whichever index it is.
macro_rules! either {
    ($index:expr, $inner:ident => $call:expr) => {
        match $index {
            TermIndex::Cells($inner) => $call,
            TermIndex::Hyperplanes($inner) => $call,
        }
    };
}

impl<V: Vectors> TermIndex<V> {
    /// Makes an empty index over a store of vectors.
    ///
    /// # Panics
    ///
    /// As [`new`](TermIndex::new).
    pub fn with_vectors(scheme: TermScheme, vectors: V) -> Self {
        match scheme {
            TermScheme::Cells(params) => {
                Self::Cells(Box::new(Cells::with_vectors(params, vectors)))
            }
            TermScheme::Hyperplanes(params) => {
                Self::Hyperplanes(Box::new(Hyperplanes::with_vectors(params, vectors)))
            }
        }
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        either!(self, index => index.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `number` is in the index.
    pub fn contains(&self, number: u64) -> bool {
        either!(self, index => index.contains(number))
    }

    /// Numbers and vectors, in an order that is the same for the same history.
    pub fn iter(&self) -> Box<dyn Iterator<Item = (u64, &[u16])> + '_> {
        either!(self, index => Box::new(index.iter()))
    }

    /// Adds a vector, bf16 as raw bits.
    ///
    /// # Errors
    ///
    /// As [`Cells::insert`].
    pub fn insert(&mut self, number: u64, vector: &[u16]) -> Result<(), IndexError> {
        either!(self, index => index.insert(number, vector))
    }

    /// Adds vectors, or none of them.
    ///
    /// # Errors
    ///
    /// As [`Cells::insert_batch`].
    pub fn insert_batch(&mut self, numbers: &[u64], vectors: &[u16]) -> Result<(), IndexError> {
        either!(self, index => index.insert_batch(numbers, vectors))
    }

    /// Removes a vector; returns whether it was there.
    pub fn remove(&mut self, number: u64) -> bool {
        either!(self, index => index.remove(number))
    }

    /// Replaces the vector of a number, or adds it.
    ///
    /// # Errors
    ///
    /// As [`Cells::update`].
    pub fn update(&mut self, number: u64, vector: &[u16]) -> Result<(), IndexError> {
        either!(self, index => index.update(number, vector))
    }

    /// Returns the similarity of the query and one vector.
    pub fn similarity(&self, query: &[f32], number: u64) -> Option<f32> {
        either!(self, index => index.similarity(query, number))
    }

    /// Bytes of memory held, about.
    pub fn memory_bytes(&self) -> usize {
        either!(self, index => index.memory_bytes())
    }

    /// Removes a vector so that nothing of it can be read from the rows; returns whether it was there.
    pub fn forget(&mut self, number: u64) -> bool {
        either!(self, index => index.forget(number))
    }

    /// Overwrites what the store of vectors still holds of vectors that were removed. Call it once a removal is
    /// committed.
    ///
    /// # Errors
    ///
    /// [`IndexError::Storage`].
    pub fn wipe_removed(&mut self) -> Result<(), IndexError> {
        either!(self, index => index.wipe_removed())
    }

    /// Starts to keep track of rows; [`changes`](Self::changes) then returns those of the whole index first.
    pub fn track_changes(&mut self) {
        either!(self, index => index.track_changes());
    }

    /// Returns the rows that changed since the last call, in the order of their keys, and forgets them.
    pub fn changes(&mut self) -> Vec<RowChange> {
        either!(self, index => index.changes())
    }

    /// Gives the store of vectors back.
    pub fn into_vectors(self) -> V {
        either!(self, index => index.into_vectors())
    }

    /// Whether the store of vectors has a place for every vector.
    pub fn has_all_vectors(&self) -> bool {
        either!(self, index => index.has_all_vectors())
    }

    /// Tells the store of vectors that it holds everything again.
    pub fn confirm_vectors(&mut self) {
        either!(self, index => index.confirm_vectors());
    }

    /// Writes the vector of a number again, where the store of vectors has lost it.
    ///
    /// # Errors
    ///
    /// As [`Cells::restore_vector`].
    pub fn restore_vector(&mut self, number: u64, vector: &[u16]) -> Result<(), IndexError> {
        either!(self, index => index.restore_vector(number, vector))
    }

    /// How many cells to refine at the end of these insertions: see [`Cells::refinements_due`].
    pub fn refinements_due(&self, insertions: Range<u64>) -> usize {
        match self {
            Self::Cells(index) => index.refinements_due(insertions),
            Self::Hyperplanes(_) => 0,
        }
    }

    /// Makes that many cells better, those whose turn it is; returns how many vectors changed their cell. Hyperplanes
    /// stay as they are.
    pub fn refine(&mut self, count: usize) -> usize {
        match self {
            Self::Cells(index) => index.refine(count),
            Self::Hyperplanes(_) => 0,
        }
    }

    /// Finds out what would make the next cell better: see [`Cells::next_refinement`]. Hyperplanes stay as they are.
    pub fn next_refinement(&self) -> Option<Refinement> {
        match self {
            Self::Cells(index) => index.next_refinement(),
            Self::Hyperplanes(_) => None,
        }
    }

    /// Does what [`next_refinement`](Self::next_refinement) has found; returns how many vectors changed their cell.
    pub fn apply_refinement(&mut self, refinement: Refinement) -> usize {
        match self {
            Self::Cells(index) => index.apply_refinement(refinement),
            Self::Hyperplanes(_) => 0,
        }
    }

    /// What full lists have not taken. Cells are split instead.
    pub fn capped(&self) -> Capped {
        match self {
            Self::Cells(_) => Capped::default(),
            Self::Hyperplanes(index) => index.capped(),
        }
    }

    /// Returns the `k` most similar vectors among those that `filter` lets through, best first.
    ///
    /// # Errors
    ///
    /// As [`Cells::search`].
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        search: TermSearch,
        filter: Option<&dyn Filter>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        match self {
            Self::Cells(index) => Ok(index.search(query, k, &search.into(), filter)?.neighbors),
            Self::Hyperplanes(index) => index.search(query, k, &search.into(), filter),
        }
    }

    /// Returns the vectors whose similarity is at least `least`, at most `limit` of them, the most similar,
    /// best first.
    ///
    /// # Errors
    ///
    /// As [`Cells::search`].
    pub fn range(
        &self,
        query: &[f32],
        least: f32,
        limit: usize,
        search: TermSearch,
        filter: Option<&dyn Filter>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        match self {
            Self::Cells(index) => {
                let answer = index.range(query, least, limit, &search.into(), filter)?;
                Ok(answer.neighbors)
            }
            Self::Hyperplanes(index) => index.range(query, least, limit, &search.into(), filter),
        }
    }

    /// Returns the `k` most similar of `count` places from `first` on, all of them looked at, and where to go on,
    /// if anywhere: the oracle, in parts. What changes between the calls may be missed or seen twice.
    ///
    /// # Errors
    ///
    /// As [`Cells::search`].
    pub fn search_exact_part(
        &self,
        query: &[f32],
        k: usize,
        filter: Option<&dyn Filter>,
        first: u32,
        count: usize,
    ) -> Result<(Vec<Neighbor>, Option<u32>), IndexError> {
        either!(self, index => index.search_exact_part(query, k, filter, first, count))
    }

    /// Returns at most `limit` candidates: those that share the most terms with the query, then those with
    /// the highest estimates. In an index of cells every candidate shares one term.
    ///
    /// # Errors
    ///
    /// As [`Cells::candidates`].
    pub fn candidates(
        &self,
        query: &[f32],
        limit: usize,
        probes: usize,
    ) -> Result<Vec<TermCandidate>, IndexError> {
        match self {
            Self::Cells(index) => Ok(index
                .candidates(query, limit, probes)?
                .into_iter()
                .map(|candidate| TermCandidate {
                    number: candidate.number,
                    terms: 1,
                    estimate: candidate.estimate,
                    similarity: candidate.similarity,
                })
                .collect()),
            Self::Hyperplanes(index) => index.candidates(query, limit, probes, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16;

    #[test]
    fn both_schemes_keep_one_contract() {
        let vector = |seed: u64| -> Vec<f32> {
            (0..32)
                .map(|idx| ((seed * 37 + 11) as f32 * 0.618 * (idx + 1) as f32).sin())
                .collect()
        };
        for scheme in [
            TermScheme::Cells(CellsParams::new(32)),
            TermScheme::Hyperplanes(HyperplanesParams::new(32, 16, 8)),
        ] {
            let mut index = TermIndex::new(scheme);
            assert!(index.is_empty());
            for number in 0..500 {
                index
                    .insert(number, &bf16::encode(&vector(number)))
                    .unwrap();
            }
            let taken = index.insert(3, &bf16::encode(&vector(3)));
            assert_eq!(taken, Err(IndexError::Duplicate { number: 3 }));
            assert!(index.remove(499) && !index.remove(499));
            index.update(7, &bf16::encode(&vector(1_007))).unwrap();
            assert_eq!(index.len(), 499);
            assert!(index.memory_bytes() > 0 && index.contains(7));
            for number in [1, 50, 498] {
                let query = vector(number);
                let thorough = TermSearch {
                    probes: 16,
                    ..TermSearch::default()
                };
                let found = index.search(&query, 3, thorough, None).unwrap();
                assert_eq!(found[0].number, number, "{scheme:?}");
                let near = index.range(&query, 0.99, 3, thorough, None).unwrap();
                assert_eq!(near[0], found[0]);
                let candidates = index.candidates(&query, 20, 16).unwrap();
                assert!(
                    candidates
                        .iter()
                        .any(|candidate| candidate.number == number)
                );
                assert!(candidates.iter().all(|candidate| candidate.terms >= 1));
                assert!(index.similarity(&query, number).unwrap() > 0.99);
            }
        }
    }
}
