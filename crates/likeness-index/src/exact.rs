//! An index that looks at every vector: 1-bit codes first, then the exact cosine of the best.
//!
//! In memory, one row for each vector, arrays side by side so that the scan reads codes only:
//!
//! ```text
//! numbers [u64] | codes [u64; D/64] | factors [f32] | vectors [bf16; dim] | inverse_norms [f32]
//! ```
//!
//! Rows stay in the order of insertion but for removals, which move the last row into the gap. Blocks of
//! [`BLOCK_ROWS`] rows know an upper bound of their numbers, so a search over the newest numbers reads
//! only the newest blocks as long as numbers arrive in ascending order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::bf16;
use crate::candidates::{BestEstimates, Candidate, Candidates, Estimated, Neighbor, take_top_k};
use crate::code::{self, QueryCode};
use crate::error::IndexError;
use crate::kernels::Kernels;
use crate::rotation::Rotation;

/// How many vectors a search ranks again by default. Of the true ten nearest at 100,000 × 512 it finds
/// all in clustered data, where 100 would do, and 95 % in data without any structure.
pub const DEFAULT_RERANK: usize = 2_000;

/// Rows scanned at a time: their codes (16 KiB at 512 dimensions) and distances stay in the L1 cache.
const BLOCK_ROWS: usize = 256;

/// Vectors on their way from memory while one is compared: their latency is what re-ranking costs.
const PREFETCH_AHEAD: usize = 4;

/// What is fixed when an index is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExactParams {
    /// Components of a vector, at least 1.
    pub dim: usize,
    /// Seed of the random rotation. Estimates, and so the choice of what is ranked again, depend on it.
    pub rotation_seed: u64,
    /// How many vectors, the best by estimate, are compared exactly; see [`DEFAULT_RERANK`].
    pub rerank: usize,
}

/// Finds the nearest vectors by cosine; a linear scan of codes, then of the best vectors.
#[derive(Debug, Clone)]
pub struct ExactIndex {
    params: ExactParams,
    rotation: Rotation,
    kernels: Kernels,
    num_words: usize,
    rows: HashMap<u64, usize>,
    numbers: Vec<u64>,
    codes: Vec<u64>,
    /// 1/a of each code, see [`code`].
    factors: Vec<f32>,
    vectors: Vec<u16>,
    inverse_norms: Vec<f32>,
    /// For each block of rows: no number in it is larger.
    max_numbers: Vec<u64>,
}

/// A checked query of unit length.
struct Query {
    unit: Vec<f32>,
    code: QueryCode,
}

impl ExactIndex {
    /// Makes an empty index.
    ///
    /// # Panics
    ///
    /// If `params.dim` is zero.
    pub fn new(params: ExactParams) -> Self {
        assert!(params.dim > 0, "an index needs at least one dimension");
        let rotation = Rotation::new(params.dim, params.rotation_seed);
        Self {
            params,
            num_words: rotation.padded_dim() / 64,
            rotation,
            kernels: Kernels::detect(),
            rows: HashMap::new(),
            numbers: Vec::new(),
            codes: Vec::new(),
            factors: Vec::new(),
            vectors: Vec::new(),
            inverse_norms: Vec::new(),
            max_numbers: Vec::new(),
        }
    }

    /// Adds a vector, bf16 as raw bits (see [`mod@bf16`]), of any length but zero. Ascending numbers
    /// keep [`search_since`](Self::search_since) quick; any order is right.
    pub fn insert(&mut self, number: u64, vector: &[u16]) -> Result<(), IndexError> {
        self.check_dim(vector.len())?;
        let (unit, inverse_norm) = normalise(bf16::decode(vector))?;
        let row = self.numbers.len();
        match self.rows.entry(number) {
            Entry::Occupied(_) => return Err(IndexError::Duplicate { number }),
            Entry::Vacant(entry) => entry.insert(row),
        };
        let rotated = self.rotation.apply(&unit);
        let (words, factor) = code::encode(&rotated);
        self.codes.extend(words);
        self.factors.push(factor);
        self.vectors.extend_from_slice(vector);
        self.inverse_norms.push(inverse_norm);
        self.numbers.push(number);
        self.raise_max_number(row, number);
        Ok(())
    }

    /// Removes a vector; returns whether it was there. The last row takes its place: O(dim).
    pub fn remove(&mut self, number: u64) -> bool {
        let Some(row) = self.rows.remove(&number) else {
            return false;
        };
        self.numbers.swap_remove(row);
        self.factors.swap_remove(row);
        self.inverse_norms.swap_remove(row);
        swap_remove_row(&mut self.codes, self.num_words, row);
        swap_remove_row(&mut self.vectors, self.params.dim, row);
        if let Some(&moved) = self.numbers.get(row) {
            self.rows.insert(moved, row);
            self.raise_max_number(row, moved);
        }
        self.max_numbers
            .truncate(self.numbers.len().div_ceil(BLOCK_ROWS));
        true
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Whether `number` is in the index.
    pub fn contains(&self, number: u64) -> bool {
        self.rows.contains_key(&number)
    }

    /// What the index was made with.
    pub fn params(&self) -> &ExactParams {
        &self.params
    }

    /// Bytes held by the arrays and, about, by the map, spare capacity included.
    pub fn memory_bytes(&self) -> usize {
        // A hash map of the standard library fills at most 7/8 of its buckets and has a byte for each.
        let map = self.rows.capacity() * 8 / 7 * (size_of::<(u64, usize)>() + 1);
        map + (self.numbers.capacity() + self.codes.capacity() + self.max_numbers.capacity())
            * size_of::<u64>()
            + (self.factors.capacity() + self.inverse_norms.capacity()) * size_of::<f32>()
            + self.vectors.capacity() * size_of::<u16>()
    }

    /// Returns the `k` most similar of the `max(rerank, k)` vectors with the highest estimates, best first.
    /// An empty index gives an empty answer.
    pub fn search(&self, query: &[f32], k: usize) -> Result<Vec<Neighbor>, IndexError> {
        self.search_since(query, 0, k)
    }

    /// Like [`search`](Self::search), over numbers at or above `from` alone.
    pub fn search_since(
        &self,
        query: &[f32],
        from: u64,
        k: usize,
    ) -> Result<Vec<Neighbor>, IndexError> {
        Ok(self
            .scan(&self.query(query)?, from, self.params.rerank.max(k))
            .top_k(k))
    }

    /// Returns the `rerank` vectors with the highest estimates and their similarities, over numbers at or
    /// above `from`. For answers put together from parts, see [`Candidates`].
    pub fn candidates(&self, query: &[f32], from: u64) -> Result<Candidates, IndexError> {
        Ok(self.scan(&self.query(query)?, from, self.params.rerank))
    }

    /// Returns the `k` most similar of all vectors, best first. Reads every vector in full.
    pub fn search_exact(&self, query: &[f32], k: usize) -> Result<Vec<Neighbor>, IndexError> {
        self.check_dim(query.len())?;
        let (unit, _) = normalise(query.to_vec())?;
        let neighbors = self.numbers.iter().enumerate();
        let neighbors = neighbors.map(|(row, &number)| Neighbor {
            number,
            similarity: self.row_similarity(&unit, row),
        });
        Ok(take_top_k(neighbors.collect(), k))
    }

    /// Returns the cosine of the query and one vector; `None` if the number is not in the index or the
    /// query has the wrong dimension or no direction.
    pub fn similarity(&self, query: &[f32], number: u64) -> Option<f32> {
        self.check_dim(query.len()).ok()?;
        let (unit, _) = normalise(query.to_vec()).ok()?;
        Some(self.row_similarity(&unit, *self.rows.get(&number)?))
    }

    /// Returns the vector of a number, bf16 as raw bits; `None` if the number is not in the index.
    pub fn vector(&self, number: u64) -> Option<&[u16]> {
        Some(self.row_vector(*self.rows.get(&number)?))
    }

    fn query(&self, query: &[f32]) -> Result<Query, IndexError> {
        self.check_dim(query.len())?;
        let (unit, _) = normalise(query.to_vec())?;
        let code = QueryCode::new(&self.rotation.apply(&unit));
        Ok(Query { unit, code })
    }

    fn scan(&self, query: &Query, from: u64, depth: usize) -> Candidates {
        let mut best = BestEstimates::new(depth, self.numbers.len());
        let mut distances = [0u32; BLOCK_ROWS];
        for (block_idx, &max_number) in self.max_numbers.iter().enumerate() {
            if max_number < from {
                continue;
            }
            let first = block_idx * BLOCK_ROWS;
            let numbers = &self.numbers[first..self.numbers.len().min(first + BLOCK_ROWS)];
            let distances = &mut distances[..numbers.len()];
            let codes =
                &self.codes[first * self.num_words..(first + numbers.len()) * self.num_words];
            self.kernels
                .weighted_distances(codes, &query.code.planes, distances);
            let factors = &self.factors[first..first + numbers.len()];
            for (offset, ((&number, &distance), &factor)) in
                numbers.iter().zip(&*distances).zip(factors).enumerate()
            {
                let estimate = query.code.estimate(distance, factor);
                if estimate >= best.floor && number >= from {
                    best.offer(Estimated {
                        estimate,
                        number,
                        row: first + offset,
                    });
                }
            }
        }
        let mut best = best.into_best();
        // Ascending addresses: the memory system sees what comes.
        best.sort_unstable_by_key(|estimated| estimated.row);
        let entries = best.iter().enumerate().map(|(idx, estimated)| {
            if let Some(later) = best.get(idx + PREFETCH_AHEAD) {
                Kernels::prefetch(self.row_vector(later.row));
            }
            Candidate {
                number: estimated.number,
                estimate: estimated.estimate,
                similarity: self.row_similarity(&query.unit, estimated.row),
            }
        });
        Candidates::new(entries.collect(), depth)
    }

    fn row_similarity(&self, unit_query: &[f32], row: usize) -> f32 {
        self.kernels.dot(unit_query, self.row_vector(row)) * self.inverse_norms[row]
    }

    fn row_vector(&self, row: usize) -> &[u16] {
        &self.vectors[row * self.params.dim..(row + 1) * self.params.dim]
    }

    fn check_dim(&self, got: usize) -> Result<(), IndexError> {
        let expected = self.params.dim;
        if got == expected {
            Ok(())
        } else {
            Err(IndexError::WrongDimension { expected, got })
        }
    }

    fn raise_max_number(&mut self, row: usize, number: u64) {
        let block_idx = row / BLOCK_ROWS;
        if block_idx == self.max_numbers.len() {
            self.max_numbers.push(number);
        } else {
            self.max_numbers[block_idx] = self.max_numbers[block_idx].max(number);
        }
    }
}

/// Returns the vector scaled to length 1, and 1/length.
pub(crate) fn normalise(mut vector: Vec<f32>) -> Result<(Vec<f32>, f32), IndexError> {
    // In f64, because squares of large components leave the range of f32.
    let squares: f64 = vector
        .iter()
        .map(|&component| f64::from(component) * f64::from(component))
        .sum();
    let inverse_norm = (1.0 / squares.sqrt()) as f32;
    if !(squares.is_finite() && inverse_norm.is_normal()) {
        return Err(IndexError::NoDirection);
    }
    vector
        .iter_mut()
        .for_each(|component| *component *= inverse_norm);
    Ok((vector, inverse_norm))
}

/// Moves the last row of `width` items over `row` and drops it.
fn swap_remove_row<T: Copy>(items: &mut Vec<T>, width: usize, row: usize) {
    let last = items.len() - width;
    items.copy_within(last.., row * width);
    items.truncate(last);
}

#[cfg(test)]
mod tests;
