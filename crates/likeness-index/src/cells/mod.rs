//! An inverted file of cells that grows from nothing: near vectors share a posting list of 1-bit codes.
//!
//! A vector belongs to the cell whose centroid is nearest. A list that grows too long gets a new neighbour or is split
//! by 2-means, and vectors around move to where they are nearer (LIRE: Xu et al., "SPFresh", SOSP 2023, §3); one that
//! becomes too short is dissolved into its neighbours. Both touch a few lists only, so there is no training, no rebuild,
//! and the work of one insertion is bounded. In between, cells are refined one at a time (`refine`).
//!
//! ```text
//! numbers → directory → (cell, position)         vectors by slot, exact
//! cells   → router: centroids, their codes       lists by cell: codes, factors, slots
//! ```
//!
//! Everything happens in rotated space (see `rotation`); distances are squared Euclidean ones throughout,
//! and similarities only at the surface: for unit vectors cos = 1 − d²/2.
//!
//! The same history of calls gives the same answers, on every machine.

mod best;
mod insert;
mod journal;
mod list;
mod maintain;
mod probe;
mod refine;
mod router;
mod search;
mod stats;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::directory::{Directory, Place};
use crate::error::IndexError;
use crate::kernels::{BlockLayout, Kernels};
use crate::rotation::Rotation;
use crate::vectors::{MemoryVectors, Vectors};
use journal::Journal;
use list::List;
use router::{RotatedQuery, Router};

pub use journal::CellsLoader;
pub use refine::{REFINED_PER_INSERTION, Refinement};
pub use search::{Accuracy, Answer, Certificate, SearchParams};
pub use stats::CellsStats;

/// How vectors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// By angle; a similarity is the cosine.
    Cosine,
    /// By Euclidean distance; a similarity is the negated squared distance.
    Euclidean,
}

/// What is fixed when an index is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CellsParams {
    /// Components of a vector, at least 1.
    pub dim: usize,
    /// How vectors are compared.
    pub metric: Metric,
    /// Seed of the random rotation.
    pub rotation_seed: u64,
    /// Vectors in a list at which an insertion splits it, at least 16; refinement may leave half as many again in one.
    /// In a large index lists grow beyond it, to an eighth of the square root of the number of vectors.
    pub max_list: usize,
}

impl CellsParams {
    /// Cosine, and lists of at most [`DEFAULT_MAX_LIST`] vectors.
    pub fn new(dim: usize) -> Self {
        Self {
            dim,
            metric: Metric::Cosine,
            rotation_seed: 0x6c69_6b65_6e65_7373,
            max_list: DEFAULT_MAX_LIST,
        }
    }
}

/// Length of a list at which it is split, if nothing else is said.
pub const DEFAULT_MAX_LIST: usize = 128;

/// Lists are at least as long as the square root of the number of vectors, divided by this: the centroids of all cells
/// are scanned for every vector, and so their number grows no faster than the work on some lists. With the default
/// length that begins at a million vectors.
const ROOT_SHARE: usize = 8;

/// A list shorter than this share of the longest is dissolved.
const DISSOLVE_SHARE: usize = 16;

/// Inverted file over cells; see the [module](self).
#[derive(Debug, Clone)]
pub struct Cells<V = MemoryVectors> {
    params: CellsParams,
    layout: BlockLayout,
    kernels: Kernels,
    rotation: Rotation,
    directory: Directory,
    vectors: V,
    router: Router,
    lists: Vec<List>,
    /// No vector of the cell is further from its centroid; by cell.
    radii: Vec<f32>,
    /// The least is used first, so that nothing depends on the order in which cells became free.
    free_cells: BTreeSet<u32>,
    counters: stats::Counters,
    journal: Journal,
}

impl Cells<MemoryVectors> {
    /// Makes an empty index that holds its vectors in memory.
    ///
    /// # Panics
    ///
    /// If `params` breaks a rule that its fields state.
    pub fn new(params: CellsParams) -> Self {
        Self::with_vectors(params, MemoryVectors::new(params.dim))
    }
}

impl<V: Vectors> Cells<V> {
    /// Makes an empty index over a store of vectors.
    ///
    /// # Panics
    ///
    /// As [`new`](Cells::new).
    pub fn with_vectors(params: CellsParams, vectors: V) -> Self {
        assert!(params.dim > 0, "an index needs at least one dimension");
        assert!(params.max_list >= 16, "lists hold at least 16 vectors");
        let rotation = Rotation::compact(params.dim, params.rotation_seed);
        let kernels = Kernels::detect();
        let layout = BlockLayout::new(rotation.padded_dim(), kernels);
        Self {
            params,
            layout,
            kernels,
            rotation,
            directory: Directory::default(),
            vectors,
            router: Router::new(layout, kernels),
            lists: Vec::new(),
            radii: Vec::new(),
            free_cells: BTreeSet::new(),
            counters: stats::Counters::default(),
            journal: Journal::default(),
        }
    }

    /// What the index was made with.
    pub fn params(&self) -> &CellsParams {
        &self.params
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.directory.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many cells there are.
    pub fn num_cells(&self) -> usize {
        self.router.len()
    }

    /// Whether `number` is in the index.
    pub fn contains(&self, number: u64) -> bool {
        self.directory.slot(number).is_some()
    }

    /// Numbers and vectors, in an order that is the same for the same history.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[u16])> {
        self.directory
            .slots()
            .map(|slot| (self.directory.number(slot), self.vectors.get(slot)))
    }

    /// Removes a vector; returns whether it was there. Its space is used again.
    pub fn remove(&mut self, number: u64) -> bool {
        let Some(slot) = self.directory.slot(number) else {
            return false;
        };
        let cell = self.directory.place(slot).cell;
        self.take_out(slot);
        self.journal.remember(cell, slot, number);
        self.directory.remove(slot);
        self.journal.touch_page(slot);
        if self.is_short(cell) {
            self.dissolve(cell);
        }
        true
    }

    /// Removes a vector so that nothing of it can be read from the rows; returns whether it was there. The first
    /// vector of an index is the centroid of its first cell: then the cell is moved to the mean of the others.
    /// What the store of vectors still holds goes by [`wipe_removed`](Self::wipe_removed).
    pub fn forget(&mut self, number: u64) -> bool {
        let Some(slot) = self.directory.slot(number) else {
            return false;
        };
        let cell = self.directory.place(slot).cell;
        let vector = self.rotated_stored(self.vectors.get(slot));
        let was_centroid = vector.is_ok_and(|vector| vector == self.router.centroid(cell));
        self.remove(number);
        // Dissolved cells are gone, or empty until they are used again.
        if was_centroid && self.lists[cell as usize].len() > 0 {
            self.recentre(cell);
        }
        true
    }

    /// Overwrites what the store of vectors still holds of vectors that were removed. Call it once a removal is
    /// committed: the rows of before it speak of these vectors.
    ///
    /// # Errors
    ///
    /// [`IndexError::Storage`].
    pub fn wipe_removed(&mut self) -> Result<(), IndexError> {
        self.directory
            .wipe_empty(&mut self.vectors, self.params.dim)
    }

    /// Replaces the vector of a number, or adds it.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert), but for [`IndexError::Duplicate`]; the index is as before, save that after
    /// [`IndexError::Full`] or [`IndexError::Storage`] the number is gone.
    pub fn update(&mut self, number: u64, vector: &[u16]) -> Result<(), IndexError> {
        let query = self.rotate_stored(vector)?;
        self.remove(number);
        let cell = self.nearest_cell(&query);
        self.place(number, vector, query, cell)
    }

    /// Returns the similarity of the query and one vector; `None` if the number is not in the index or the
    /// query cannot be compared.
    pub fn similarity(&self, query: &[f32], number: u64) -> Option<f32> {
        let slot = self.directory.slot(number)?;
        let unit = self.comparable(query).ok()?;
        Some(self.to_similarity(self.exact_distance(&unit, slot)))
    }

    /// Returns the vector of a number, bf16 as raw bits.
    pub fn vector(&self, number: u64) -> Option<&[u16]> {
        Some(self.vectors.get(self.directory.slot(number)?))
    }

    /// Gives the store of vectors back.
    pub fn into_vectors(self) -> V {
        self.vectors
    }

    /// Whether the store of vectors has a place for every vector.
    pub fn has_all_vectors(&self) -> bool {
        self.directory.slots().all(|slot| self.vectors.has(slot))
    }

    /// Tells the store of vectors that it holds everything again.
    pub fn confirm_vectors(&mut self) {
        self.vectors.confirm();
    }

    /// Writes the vector of a number again, where the store of vectors has lost it. It must be the vector
    /// that was inserted.
    ///
    /// # Errors
    ///
    /// [`IndexError::WrongDimension`], [`IndexError::NoDirection`], [`IndexError::Storage`];
    /// [`IndexError::Corrupt`] if the number is not in the index.
    pub fn restore_vector(&mut self, number: u64, vector: &[u16]) -> Result<(), IndexError> {
        self.check_dim(vector.len())?;
        self.stored_scale(vector)?;
        let slot = self.directory.slot(number).ok_or(IndexError::Corrupt {
            reason: format!("vector {number} is not in the index"),
        })?;
        self.vectors.set(slot, vector)
    }

    /// Length of a list at which it is split.
    fn max_list(&self) -> usize {
        self.params.max_list.max(self.len().isqrt() / ROOT_SHARE)
    }

    /// Whether a cell has so few vectors that they are better off elsewhere.
    fn is_short(&self, cell: u32) -> bool {
        self.lists[cell as usize].len() < self.params.max_list / DISSOLVE_SHARE
    }

    /// Takes a vector out of its list; the last one takes its place.
    fn take_out(&mut self, slot: u32) {
        let Place { cell, position } = self.directory.place(slot);
        self.journal.leave(cell, slot);
        let list = &mut self.lists[cell as usize];
        if let Some(moved) = list.swap_remove(self.layout, position as usize) {
            self.directory.set(moved, Place { cell, position });
        }
    }

    /// Rotates a stored vector, brought to unit length where only its direction counts.
    fn rotate_stored(&self, vector: &[u16]) -> Result<RotatedQuery, IndexError> {
        self.check_dim(vector.len())?;
        let rotated = self.rotated_stored(vector)?;
        Ok(RotatedQuery::new(self.kernels, rotated))
    }

    fn rotated_stored(&self, vector: &[u16]) -> Result<Vec<f32>, IndexError> {
        let scale = self.stored_scale(vector)?;
        let mut comparable = vec![0.0; vector.len()];
        self.kernels.decode_scaled(&mut comparable, vector, scale);
        Ok(self.rotate(&comparable))
    }

    /// What a stored vector is multiplied by to be compared.
    fn stored_scale(&self, vector: &[u16]) -> Result<f32, IndexError> {
        let square = self.kernels.square(vector);
        let scale = match self.params.metric {
            Metric::Cosine => 1.0 / square.sqrt(),
            Metric::Euclidean => 1.0,
        };
        // Neither zero nor so large or small that squares leave the range of f32.
        if (MIN_SQUARE..MAX_SQUARE).contains(&square) || (square == 0.0 && scale == 1.0) {
            Ok(scale)
        } else {
            Err(IndexError::NoDirection)
        }
    }

    fn rotate(&self, comparable: &[f32]) -> Vec<f32> {
        let mut rotated = vec![0.0; self.layout.padded_dim()];
        self.rotation
            .apply_into(comparable, &mut rotated, self.kernels);
        rotated
    }

    /// Checks a vector and brings it to unit length where only its direction counts.
    fn comparable(&self, vector: &[f32]) -> Result<Vec<f32>, IndexError> {
        self.check_dim(vector.len())?;
        match self.params.metric {
            Metric::Cosine => crate::exact::normalise(vector.to_vec()).map(|(unit, _)| unit),
            Metric::Euclidean => {
                let square: f32 = vector.iter().map(|component| component * component).sum();
                if square == 0.0 || (MIN_SQUARE..MAX_SQUARE).contains(&square) {
                    Ok(vector.to_vec())
                } else {
                    Err(IndexError::NoDirection)
                }
            }
        }
    }

    fn exact_distance(&self, comparable: &[f32], slot: u32) -> f32 {
        let vector = self.vectors.get(slot);
        match self.params.metric {
            Metric::Cosine => {
                let (dot, square) = self.kernels.dot_and_square(comparable, vector);
                2.0 - 2.0 * dot / square.sqrt()
            }
            Metric::Euclidean => self.kernels.squared_distance(comparable, vector),
        }
    }

    fn to_similarity(&self, distance: f32) -> f32 {
        match self.params.metric {
            Metric::Cosine => 1.0 - distance * 0.5,
            Metric::Euclidean => -distance,
        }
    }

    fn to_distance(&self, similarity: f32) -> f32 {
        match self.params.metric {
            Metric::Cosine => 2.0 - 2.0 * similarity,
            Metric::Euclidean => -similarity,
        }
    }

    fn check_dim(&self, got: usize) -> Result<(), IndexError> {
        let expected = self.params.dim;
        if got == expected {
            Ok(())
        } else {
            Err(IndexError::WrongDimension { expected, got })
        }
    }
}

/// Squared lengths of vectors that can be compared.
const MIN_SQUARE: f32 = 1e-30;
const MAX_SQUARE: f32 = 1e30;
