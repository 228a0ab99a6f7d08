//! Where the exact vectors are.

use std::fmt;

use crate::error::IndexError;

/// Exact vectors by slot, bf16 as raw bits (see [`mod@crate::bf16`]).
///
/// Slots are dense: the index uses them again after a removal. What is read is what was last written.
pub trait Vectors: fmt::Debug + Send + Sync {
    /// Writes the vector of `slot`. All vectors have the same length.
    ///
    /// # Errors
    ///
    /// [`IndexError::Storage`] if there is no room for it.
    fn set(&mut self, slot: u32, vector: &[u16]) -> Result<(), IndexError>;

    /// Returns the vector of a slot that was written.
    fn get(&self, slot: u32) -> &[u16];

    /// Whether there is a place for `slot`; what was written has one.
    fn has(&self, slot: u32) -> bool;

    /// Takes note that everything that should be here has been written again, see
    /// [`OpenedVectors::is_intact`].
    fn confirm(&mut self) {}

    /// Bytes of memory held; what is only mapped from a file does not count.
    fn memory_bytes(&self) -> usize;
}

/// Vectors in a piece of memory of 4 MiB and more, whose addresses never change.
#[derive(Debug, Clone)]
pub struct MemoryVectors {
    dim: usize,
    chunks: Vec<Box<[u16]>>,
}

/// Vectors of a chunk: a few megabytes, so that growing copies nothing and wastes little.
const CHUNK: usize = 4_096;

impl MemoryVectors {
    /// Makes an empty store for vectors of `dim` components.
    pub fn new(dim: usize) -> Self {
        Self {
            dim,
            chunks: Vec::new(),
        }
    }
}

impl Vectors for MemoryVectors {
    fn set(&mut self, slot: u32, vector: &[u16]) -> Result<(), IndexError> {
        let (chunk, row) = (slot as usize / CHUNK, slot as usize % CHUNK);
        while self.chunks.len() <= chunk {
            self.chunks.push(vec![0; CHUNK * self.dim].into());
        }
        self.chunks[chunk][row * self.dim..(row + 1) * self.dim].copy_from_slice(vector);
        Ok(())
    }

    #[inline]
    fn get(&self, slot: u32) -> &[u16] {
        let (chunk, row) = (slot as usize / CHUNK, slot as usize % CHUNK);
        &self.chunks[chunk][row * self.dim..(row + 1) * self.dim]
    }

    fn has(&self, slot: u32) -> bool {
        (slot as usize) < self.chunks.len() * CHUNK
    }

    fn memory_bytes(&self) -> usize {
        self.chunks.len() * CHUNK * self.dim * size_of::<u16>()
    }
}

impl<V: Vectors + ?Sized> Vectors for Box<V> {
    fn set(&mut self, slot: u32, vector: &[u16]) -> Result<(), IndexError> {
        (**self).set(slot, vector)
    }

    #[inline]
    fn get(&self, slot: u32) -> &[u16] {
        (**self).get(slot)
    }

    fn has(&self, slot: u32) -> bool {
        (**self).has(slot)
    }

    fn confirm(&mut self) {
        (**self).confirm();
    }

    fn memory_bytes(&self) -> usize {
        (**self).memory_bytes()
    }
}

/// A store of vectors as it was found.
#[derive(Debug)]
pub struct OpenedVectors {
    /// The store.
    pub vectors: Box<dyn Vectors>,
    /// Whether it holds everything that was written to it. If not, everything has to be written again, and
    /// [`Vectors::confirm`]ed.
    pub is_intact: bool,
}

impl OpenedVectors {
    /// Returns an empty store in memory.
    pub fn memory(dim: usize) -> Self {
        Self {
            vectors: Box::new(MemoryVectors::new(dim)),
            is_intact: true,
        }
    }
}
