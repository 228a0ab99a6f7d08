//! Adding vectors: the nearest cell, its list, and a split where that is full.

use super::Cells;
use super::router::{ROUTED_TOGETHER, RotatedQuery};
use crate::directory::Place;
use crate::error::IndexError;
use crate::rabitq;
use crate::vectors::Vectors;

/// Nibbles of a code that fit on the stack: 1,024 dimensions.
const MAX_STACK_NIBBLES: usize = 256;

impl<V: Vectors> Cells<V> {
    /// Adds a vector, bf16 as raw bits (see [`mod@crate::bf16`]). Under [`Metric::Cosine`](super::Metric::Cosine) its length does not
    /// matter, but must not be zero.
    ///
    /// # Errors
    ///
    /// [`IndexError::Duplicate`], [`IndexError::WrongDimension`], [`IndexError::NoDirection`],
    /// [`IndexError::Full`]; the index is as before.
    pub fn insert(&mut self, number: u64, vector: &[u16]) -> Result<(), IndexError> {
        let query = self.rotate_stored(vector)?;
        let cell = self.nearest_cell(&query);
        self.place(number, vector, query, cell)
    }

    /// Adds vectors, or none of them: `vectors` holds `numbers.len()` rows. The result is that of inserting
    /// them one after the other.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
    pub fn insert_batch(&mut self, numbers: &[u64], vectors: &[u16]) -> Result<(), IndexError> {
        let expected = numbers.len() * self.params.dim;
        if vectors.len() != expected {
            return Err(IndexError::WrongDimension {
                expected,
                got: vectors.len(),
            });
        }
        let mut num_done = 0;
        let together = ROUTED_TOGETHER;
        let result = numbers
            .chunks(together)
            .zip(vectors.chunks(together * self.params.dim))
            .try_for_each(|(numbers, vectors)| self.insert_few(numbers, vectors, &mut num_done));
        if result.is_err() {
            for &number in &numbers[..num_done] {
                self.remove(number);
            }
        }
        result
    }

    /// Adds up to [`ROUTED_TOGETHER`] vectors one after the other, and counts them.
    fn insert_few(
        &mut self,
        numbers: &[u64],
        vectors: &[u16],
        num_done: &mut usize,
    ) -> Result<(), IndexError> {
        let vectors = vectors.chunks_exact(self.params.dim);
        let queries: Vec<RotatedQuery> = vectors
            .clone()
            .map(|vector| self.rotate_stored(vector))
            .collect::<Result<_, _>>()?;
        let near = queries
            .first_chunk::<ROUTED_TOGETHER>()
            .map_or([None; ROUTED_TOGETHER], |queries| {
                self.router.nearest_of_each(queries.each_ref())
            });
        let splits = self.counters.splits;
        let items = numbers.iter().zip(vectors).zip(queries);
        for (idx, ((&number, vector), query)) in items.enumerate() {
            // What was found before a split is not what one vector after the other would find.
            let known = near[idx].filter(|_| self.counters.splits == splits);
            let cell = known.map_or_else(|| self.nearest_cell(&query), |near| near.cell);
            self.place(number, vector, query, cell)?;
            *num_done += 1;
        }
        Ok(())
    }

    /// The nearest cell; makes the first one.
    pub(super) fn nearest_cell(&mut self, query: &RotatedQuery) -> u32 {
        let [near] = self.router.nearest_of_each([query]);
        near.map_or_else(|| self.new_cell(&query.vector), |near| near.cell)
    }

    /// Adds a vector to a cell, and splits the cell if that makes it too long.
    pub(super) fn place(
        &mut self,
        number: u64,
        vector: &[u16],
        query: RotatedQuery,
        cell: u32,
    ) -> Result<(), IndexError> {
        if self.contains(number) {
            return Err(IndexError::Duplicate { number });
        }
        let slot = self.directory.add(number).ok_or(IndexError::Full)?;
        if let Err(error) = self.vectors.set(slot, vector) {
            self.directory.remove(slot);
            return Err(error);
        }
        self.journal.touch_page(slot);
        self.push(cell, slot, &query.vector);
        if self.lists[cell as usize].len() > self.max_list() {
            self.split(cell);
        }
        Ok(())
    }

    /// Appends a slot with its rotated vector to the list of a cell.
    pub(super) fn push(&mut self, cell: u32, slot: u32, rotated: &[f32]) {
        let mut nibbles = [0; MAX_STACK_NIBBLES];
        let mut heap = Vec::new();
        let num_nibbles = rotated.len() / 4;
        let nibbles = if num_nibbles <= MAX_STACK_NIBBLES {
            &mut nibbles[..num_nibbles]
        } else {
            heap.resize(num_nibbles, 0);
            &mut heap[..]
        };
        let (factors, radius) =
            rabitq::encode(self.kernels, rotated, self.router.centroid(cell), nibbles);
        let list = &mut self.lists[cell as usize];
        self.directory.set(
            slot,
            Place {
                cell,
                position: list.len() as u32,
            },
        );
        list.push(self.layout, nibbles, factors, slot);
        self.journal.enter(cell, slot);
        let largest = &mut self.radii[cell as usize];
        *largest = largest.max(radius);
    }
}
