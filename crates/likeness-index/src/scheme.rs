//! The two ways to turn a vector into terms, behind one closed enum.
//!
//! A *term* names a posting list. [`Cells`] gives a vector one term, the nearest of centroids that follow
//! the data; [`Hyperplanes`] gives it several, each a few signs of projections that follow a seed alone.
//! What both can do is here; what only one can (certificates, rows, the terms themselves) is reached by a
//! `match`, which the compiler checks since there will be no third kind behind a caller's back.

use crate::candidates::Neighbor;
use crate::cells::{Cells, CellsParams, SearchParams};
use crate::error::IndexError;
use crate::filter::Filter;
use crate::hyperplanes::{Hyperplanes, HyperplanesParams, HyperplanesSearch, TermCandidate};
use crate::vectors::{MemoryVectors, Vectors};

/// Which terms vectors get.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TermScheme {
    /// The nearest of centroids that grow with the data.
    Cells(CellsParams),
    /// Signs of seeded projections.
    Hyperplanes(HyperplanesParams),
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
        match scheme {
            TermScheme::Cells(params) => Self::Cells(Box::new(Cells::new(params))),
            TermScheme::Hyperplanes(params) => {
                Self::Hyperplanes(Box::new(Hyperplanes::new(params)))
            }
        }
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

    /// Returns the `k` most similar vectors, looking into `probes` cells, or so many buckets of each term.
    ///
    /// # Errors
    ///
    /// As [`Cells::search`].
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        probes: usize,
        filter: Option<&dyn Filter>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        match self {
            Self::Cells(index) => {
                let params = SearchParams {
                    probes,
                    ..SearchParams::default()
                };
                Ok(index.search(query, k, &params, filter)?.neighbors)
            }
            Self::Hyperplanes(index) => {
                let params = HyperplanesSearch {
                    probes,
                    ..HyperplanesSearch::default()
                };
                index.search(query, k, &params, filter)
            }
        }
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
                let found = index.search(&query, 3, 16, None).unwrap();
                assert_eq!(found[0].number, number, "{scheme:?}");
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
