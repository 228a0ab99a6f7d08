//! An inverted file of random hyperplanes: near vectors share terms, by chance alone.
//!
//! A term is b bits, the sides of b random hyperplanes that a vector is on; a vector has T of them, each in a
//! posting list of its own. Two vectors at an angle θ share a given term with probability (1 − θ/π)ᵇ
//! (Charikar, STOC 2002). Nothing is learnt from the vectors, so nothing has to be learnt again as they change,
//! and parts of an index that were built apart have the same terms. What T, b and the number of probes should
//! be, and what they cost, [`plan`](crate::plan()) says.
//!
//! ```text
//! numbers → directory → slot      vectors by slot, exact      codes by slot, 1 bit a dimension
//! (index of term, its bits) → slots                            T tables of posting lists
//! ```
//!
//! A query looks up its own T buckets and, for each term, those that differ in the bits it was least sure of
//! (see `flips`). What is found is ranked by the number of terms that led to it, then by the cosine estimated
//! from its code, then by number.
//!
//! A list takes no more than [`max_list`](HyperplanesParams::max_list) vectors, so that no query reads more than
//! T · probes of such lists: a term that is everybody's says nothing. A vector that finds lists full is in the
//! index by its other terms. With c of its T terms capped, a query at a distance at which a term is shared with
//! probability m finds it with probability 1 − (1−m)ᵀ⁻ᶜ in place of 1 − (1−m)ᵀ, and never if c = T. It stays so
//! when the list becomes shorter; [`update`](Hyperplanes::update) with the same vector files it again. Capped
//! terms are counted and listed in the [statistics](Hyperplanes::stats).
//!
//! The same history of calls gives the same answers, on every machine.

pub(crate) mod codes;
pub(crate) mod costs;
pub(crate) mod flips;
mod journal;
pub(crate) mod postings;
pub(crate) mod projections;
mod search;
mod stats;
mod tally;
#[cfg(test)]
mod tests;

use crate::bf16;
use crate::directory::{Directory, Place};
use crate::error::IndexError;
use crate::kernels::Kernels;
use crate::rotation::{Rotation, split_mix_64};
use crate::vectors::{MemoryVectors, Vectors};
use codes::Codes;
use journal::Journal;
use postings::Postings;
use projections::Projections;

pub use costs::Costs;
pub use journal::HyperplanesLoader;
pub use search::{HyperplanesSearch, TermCandidate};
pub use stats::{Capped, HotTerm, HyperplanesStats};

/// Most terms of a vector.
pub const MAX_TERMS: usize = 64;

/// Most bits of a term.
pub const MAX_BITS: usize = flips::MAX_BITS;

/// Length at which a posting list takes nothing more, if nothing else is said.
pub const DEFAULT_MAX_LIST: usize = 4_096;

/// The longest list that can be asked for.
pub const MAX_MAX_LIST: usize = postings::CHUNK;

/// What is fixed when an index is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HyperplanesParams {
    /// Components of a vector, at least 1.
    pub dim: usize,
    /// Terms of a vector, T: 1 to [`MAX_TERMS`].
    pub terms: usize,
    /// Bits of a term, b: 1 to [`MAX_BITS`].
    pub bits: usize,
    /// Seed of the hyperplanes and of the rotation of codes.
    pub seed: u64,
    /// Vectors that a posting list takes: 1 to [`MAX_MAX_LIST`].
    pub max_list: usize,
}

impl HyperplanesParams {
    /// A fixed seed, and lists of at most [`DEFAULT_MAX_LIST`] vectors.
    pub fn new(dim: usize, terms: usize, bits: usize) -> Self {
        Self {
            dim,
            terms,
            bits,
            seed: 0x6c69_6b65_6e65_7373,
            max_list: DEFAULT_MAX_LIST,
        }
    }
}

/// Inverted file over random hyperplanes; see the [module](self). Vectors are compared by their cosine.
#[derive(Debug, Clone)]
pub struct Hyperplanes<V = MemoryVectors> {
    params: HyperplanesParams,
    padded_dim: usize,
    kernels: Kernels,
    /// Of the codes. It is not one of those that make terms: an estimate would be too high for a vector that
    /// was found because some of its signs agree.
    rotation: Rotation,
    projections: Projections,
    directory: Directory,
    vectors: V,
    codes: Codes,
    /// By index of the term.
    postings: Vec<Postings>,
    journal: Journal,
}

/// The directory is made for places in lists. Here a slot has T of them, which its vector tells.
const PRESENT: Place = Place {
    cell: 0,
    position: 0,
};

/// A checked vector and all that hyperplanes say of it.
#[derive(Debug)]
struct Projected {
    /// Unit length, padded with zeros.
    unit: Vec<f32>,
    /// For the code.
    rotated: Vec<f32>,
    /// b for each term.
    projections: Vec<f32>,
}

const CHECKED: &str = "it was checked when it was inserted";

/// Length to which vectors are padded: codes are whole words.
pub(crate) fn padded_dim(dim: usize) -> usize {
    dim.next_multiple_of(64)
}

impl Hyperplanes<MemoryVectors> {
    /// Makes an empty index that holds its vectors in memory.
    ///
    /// # Panics
    ///
    /// If `params` breaks a rule that its fields state.
    pub fn new(params: HyperplanesParams) -> Self {
        Self::with_vectors(params, MemoryVectors::new(params.dim))
    }
}

impl<V: Vectors> Hyperplanes<V> {
    /// Makes an empty index over a store of vectors.
    ///
    /// # Panics
    ///
    /// As [`new`](Hyperplanes::new).
    pub fn with_vectors(params: HyperplanesParams, vectors: V) -> Self {
        assert!(params.dim > 0, "an index needs at least one dimension");
        assert!((1..=MAX_TERMS).contains(&params.terms), "1 to 64 terms");
        assert!((1..=MAX_BITS).contains(&params.bits), "1 to 32 bits a term");
        assert!(
            (1..=MAX_MAX_LIST).contains(&params.max_list),
            "lists of 1 to 16,384 vectors"
        );
        let padded_dim = padded_dim(params.dim);
        let mut state = params.seed;
        Self {
            params,
            padded_dim,
            kernels: Kernels::detect(),
            rotation: Rotation::compact(padded_dim, split_mix_64(&mut state)),
            projections: Projections::new(padded_dim, params.terms, params.bits, &mut state),
            directory: Directory::default(),
            vectors,
            codes: Codes::new(padded_dim),
            postings: vec![Postings::new(params.max_list); params.terms],
            journal: Journal::default(),
        }
    }

    /// What the index was made with.
    pub fn params(&self) -> &HyperplanesParams {
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

    /// Returns the vector of a number, bf16 as raw bits.
    pub fn vector(&self, number: u64) -> Option<&[u16]> {
        Some(self.vectors.get(self.directory.slot(number)?))
    }

    /// Adds a vector, bf16 as raw bits (see [`mod@bf16`]), of any length but zero.
    ///
    /// # Errors
    ///
    /// [`IndexError::Duplicate`], [`IndexError::WrongDimension`], [`IndexError::NoDirection`],
    /// [`IndexError::Full`], [`IndexError::Storage`]; the index is as before.
    pub fn insert(&mut self, number: u64, vector: &[u16]) -> Result<(), IndexError> {
        let projected = self.project_stored(vector)?;
        self.place(number, vector, &projected)
    }

    /// Adds vectors, or none of them: `vectors` holds `numbers.len()` rows. The result is that of inserting
    /// them one after the other.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert); [`IndexError::WrongDimension`] also if there are more or fewer rows.
    pub fn insert_batch(&mut self, numbers: &[u64], vectors: &[u16]) -> Result<(), IndexError> {
        let expected = numbers.len() * self.params.dim;
        if vectors.len() != expected {
            return Err(IndexError::WrongDimension {
                expected,
                got: vectors.len(),
            });
        }
        let rows = vectors.chunks_exact(self.params.dim);
        for (done, (&number, vector)) in numbers.iter().zip(rows).enumerate() {
            if let Err(error) = self.insert(number, vector) {
                for &number in &numbers[..done] {
                    self.remove(number);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes a vector; returns whether it was there. Its space is used again.
    pub fn remove(&mut self, number: u64) -> bool {
        let Some(slot) = self.directory.slot(number) else {
            return false;
        };
        let vector = self.vectors.get(slot).to_vec();
        self.take_out(slot, &vector);
        self.note_removed(slot);
        self.directory.remove(slot);
        self.release_unless_tracked();
        true
    }

    /// Removes a vector so that nothing of it can be read from the rows, as [`remove`](Self::remove) does: no row
    /// but its own tells of it. What the store of vectors still holds goes by
    /// [`wipe_removed`](Self::wipe_removed).
    pub fn forget(&mut self, number: u64) -> bool {
        self.remove(number)
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
        self.unit(&bf16::decode(vector))?;
        let slot = self.directory.slot(number).ok_or(IndexError::Corrupt {
            reason: format!("vector {number} is not in the index"),
        })?;
        self.vectors.set(slot, vector)
    }

    /// Lets a page that became empty be used again, unless rows that are still to be asked for speak of it.
    fn release_unless_tracked(&mut self) {
        if !self.journal.is_on {
            self.directory.release();
        }
    }

    /// Replaces the vector of a number, or adds it.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert), but for [`IndexError::Duplicate`]; the index is as before.
    pub fn update(&mut self, number: u64, vector: &[u16]) -> Result<(), IndexError> {
        let projected = self.project_stored(vector)?;
        let Some(slot) = self.directory.slot(number) else {
            return self.place(number, vector, &projected);
        };
        let before = self.vectors.get(slot).to_vec();
        self.vectors.set(slot, vector)?;
        self.take_out(slot, &before);
        self.file(slot, &projected);
        Ok(())
    }

    /// Returns the cosine of the query and one vector; `None` if the number is not in the index or the query
    /// has the wrong dimension or no direction.
    pub fn similarity(&self, query: &[f32], number: u64) -> Option<f32> {
        let slot = self.directory.slot(number)?;
        let unit = self.unit(query).ok()?;
        Some(self.exact_similarity(&unit, slot))
    }

    /// Returns the T terms of a vector, the bits of each with that of its first hyperplane lowest.
    ///
    /// # Errors
    ///
    /// [`IndexError::WrongDimension`], [`IndexError::NoDirection`].
    pub fn terms(&self, vector: &[f32]) -> Result<Vec<u32>, IndexError> {
        let projected = self.project(vector)?;
        Ok(self.projections.terms(&projected.projections).collect())
    }

    fn place(
        &mut self,
        number: u64,
        vector: &[u16],
        projected: &Projected,
    ) -> Result<(), IndexError> {
        if self.contains(number) {
            return Err(IndexError::Duplicate { number });
        }
        let slot = self.directory.add(number).ok_or(IndexError::Full)?;
        self.directory.set(slot, PRESENT);
        if let Err(error) = self.vectors.set(slot, vector) {
            self.directory.remove(slot);
            self.release_unless_tracked();
            return Err(error);
        }
        self.file(slot, projected);
        Ok(())
    }

    /// Writes the code of a slot and adds it to the lists of its terms.
    fn file(&mut self, slot: u32, projected: &Projected) {
        self.codes.set(slot, &projected.rotated);
        let terms = self.projections.terms(&projected.projections);
        let mut filed = 0;
        for (index, (postings, term)) in self.postings.iter_mut().zip(terms).enumerate() {
            filed |= u64::from(postings.push(term, slot)) << index;
        }
        self.note_filed(slot, projected, filed);
    }

    /// Takes a slot, filed with this vector, out of the lists.
    fn take_out(&mut self, slot: u32, vector: &[u16]) {
        let projected = self.project_stored(vector).expect(CHECKED);
        let terms = self.projections.terms(&projected.projections);
        for (postings, term) in self.postings.iter_mut().zip(terms) {
            postings.remove(term, slot);
        }
    }

    fn project_slot(&self, slot: u32) -> Projected {
        let vector = self.vectors.get(slot);
        self.project_stored(vector).expect(CHECKED)
    }

    fn project_stored(&self, vector: &[u16]) -> Result<Projected, IndexError> {
        self.check_dim(vector.len())?;
        self.project(&bf16::decode(vector))
    }

    fn project(&self, vector: &[f32]) -> Result<Projected, IndexError> {
        let mut unit = self.unit(vector)?;
        unit.resize(self.padded_dim, 0.0);
        let mut rotated = vec![0.0; self.padded_dim];
        self.rotation.apply_into(&unit, &mut rotated, self.kernels);
        Ok(Projected {
            projections: self.projections.project(&unit, self.kernels),
            rotated,
            unit,
        })
    }

    fn unit(&self, vector: &[f32]) -> Result<Vec<f32>, IndexError> {
        self.check_dim(vector.len())?;
        crate::exact::normalise(vector.to_vec()).map(|(unit, _)| unit)
    }

    /// `unit` may be padded.
    fn exact_similarity(&self, unit: &[f32], slot: u32) -> f32 {
        let vector = self.vectors.get(slot);
        let (dot, square) = self
            .kernels
            .dot_and_square(&unit[..self.params.dim], vector);
        dot / square.sqrt()
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
