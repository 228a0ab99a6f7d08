//! Figures about an index.

use super::Cells;
use crate::vectors::Vectors;

/// What has happened since the index was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) splits: u64,
    pub(crate) dissolved: u64,
    pub(crate) moved: u64,
    /// The next cell to refine is the first from this name on.
    pub(crate) next_refined: u32,
}

/// How an index is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct CellsStats {
    /// Vectors.
    pub num_vectors: usize,
    /// Cells.
    pub num_cells: usize,
    /// Lengths of the lists: least, median, largest.
    pub list_lengths: [usize; 3],
    /// Σ len² · cells / (Σ len)²: 1 for lists of one length; how much longer a random vector's list is than
    /// the mean.
    pub imbalance: f64,
    /// Mean squared distance of a vector to its centroid.
    pub quantisation_error: f64,
    /// Bytes of lists: codes, factors, slots, and what is spare in them.
    pub list_bytes: usize,
    /// Bytes of centroids and their codes.
    pub router_bytes: usize,
    /// Bytes of the map from numbers to places.
    pub directory_bytes: usize,
    /// Bytes of exact vectors in memory.
    pub vector_bytes: usize,
    /// Splits so far.
    pub splits: u64,
    /// Cells dissolved so far.
    pub dissolved: u64,
    /// Vectors moved to other cells by splits and refinement so far.
    pub moved: u64,
}

impl<V: Vectors> Cells<V> {
    /// Bytes of memory held, about.
    pub fn memory_bytes(&self) -> usize {
        self.list_bytes()
            + self.router.memory_bytes()
            + self.directory.memory_bytes()
            + self.vectors.memory_bytes()
    }

    fn list_bytes(&self) -> usize {
        self.lists
            .iter()
            .map(|list| list.memory_bytes() + size_of_val(list))
            .sum()
    }

    /// Returns figures about the index. Reads all lists.
    pub fn stats(&self) -> CellsStats {
        let mut lengths: Vec<usize> = self
            .router
            .cells()
            .map(|cell| self.lists[cell as usize].len())
            .collect();
        lengths.sort_unstable();
        let squares: f64 = lengths.iter().map(|&len| (len * len) as f64).sum();
        let total = self.len().max(1) as f64;
        let dim = self.layout.padded_dim();
        let error: f64 = self
            .lists
            .iter()
            .flat_map(|list| {
                (0..list.len()).map(move |position| {
                    let factors = list.factors(self.layout, position);
                    f64::from(crate::rabitq::residual_square(
                        factors.scale,
                        factors.error,
                        dim,
                    ))
                })
            })
            .sum();
        CellsStats {
            num_vectors: self.len(),
            num_cells: lengths.len(),
            list_lengths: [
                lengths.first().copied().unwrap_or(0),
                lengths.get(lengths.len() / 2).copied().unwrap_or(0),
                lengths.last().copied().unwrap_or(0),
            ],
            imbalance: squares * lengths.len() as f64 / (total * total),
            quantisation_error: error / total,
            list_bytes: self.list_bytes(),
            router_bytes: self.router.memory_bytes(),
            directory_bytes: self.directory.memory_bytes(),
            vector_bytes: self.vectors.memory_bytes(),
            splits: self.counters.splits,
            dissolved: self.counters.dissolved,
            moved: self.counters.moved,
        }
    }
}
