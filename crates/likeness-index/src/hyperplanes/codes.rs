//! 1-bit codes by slot (see [`crate::code`]), each with its factor beside it: one access to memory for both.

use crate::code::{self, QueryCode};
use crate::kernels::Kernels;

/// Codes of a chunk, whose address never changes.
const CHUNK: usize = 4_096;

/// Records of 1 + D/64 words: the factor's bits, then the code.
#[derive(Debug, Clone)]
pub(crate) struct Codes {
    padded_dim: usize,
    chunks: Vec<Box<[u64]>>,
}

/// What a code tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Estimate {
    /// Estimated cosine.
    pub(super) cosine: f32,
    /// (1−a²)/a²: how badly the code fits its vector.
    pub(super) misfit: f32,
}

impl Codes {
    /// `padded_dim` is a multiple of 64.
    pub(super) fn new(padded_dim: usize) -> Self {
        Self {
            padded_dim,
            chunks: Vec::new(),
        }
    }

    /// Bytes of a record.
    pub(crate) fn record_bytes(padded_dim: usize) -> usize {
        (1 + padded_dim / 64) * size_of::<u64>()
    }

    fn record_len(&self) -> usize {
        1 + self.padded_dim / 64
    }

    /// Writes the code of a rotated vector of unit length.
    pub(super) fn set(&mut self, slot: u32, rotated: &[f32]) {
        let (words, factor) = code::encode(rotated);
        self.write(slot, factor, words);
    }

    /// Writes a code as [`get`](Self::get) returned it.
    pub(super) fn restore(&mut self, slot: u32, factor: f32, code: &[u64]) {
        self.write(slot, factor, code.iter().copied());
    }

    fn write(&mut self, slot: u32, factor: f32, words: impl Iterator<Item = u64>) {
        let (chunk, row) = (slot as usize / CHUNK, slot as usize % CHUNK);
        let len = self.record_len();
        while self.chunks.len() <= chunk {
            self.chunks.push(vec![0; CHUNK * len].into());
        }
        let record = &mut self.chunks[chunk][row * len..(row + 1) * len];
        record[0] = u64::from(factor.to_bits());
        record[1..]
            .iter_mut()
            .zip(words)
            .for_each(|(word, new)| *word = new);
    }

    /// The factor and the code of a slot that was written.
    pub(super) fn get(&self, slot: u32) -> (f32, &[u64]) {
        let (chunk, row) = (slot as usize / CHUNK, slot as usize % CHUNK);
        let len = self.record_len();
        let record = &self.chunks[chunk][row * len..(row + 1) * len];
        (f32::from_bits(record[0] as u32), &record[1..])
    }

    /// Estimates the cosine of a query and the vector of a slot that was written.
    #[inline]
    pub(super) fn estimate(&self, query: &QueryCode, slot: u32, kernels: Kernels) -> Estimate {
        let (factor, code) = self.get(slot);
        let mut distance = [0];
        kernels.weighted_distances(code, &query.planes, &mut distance);
        Estimate {
            cosine: query.estimate(distance[0], factor),
            misfit: (factor * factor - 1.0).max(0.0),
        }
    }

    /// Bytes held.
    pub(super) fn memory_bytes(&self) -> usize {
        self.chunks.len() * CHUNK * self.record_len() * size_of::<u64>()
    }
}
