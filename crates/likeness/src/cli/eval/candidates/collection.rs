//! The vectors of an evaluation of candidates, by number: photos with their copies, then distractors.

use std::ops::Range;

use likeness_engine::eval::Distractors;
use likeness_index::bf16;
use likeness_vision::edits::Edit;

use crate::corpus::Variant;
use crate::random::Random;

/// Stream of random numbers that the order of insertion comes from.
const ORDER: u64 = 0x6f72_6465;

/// A copy that is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) number: u32,
    pub(super) edit: Edit,
    /// Number of the photo it was made from.
    pub(super) original: u32,
}

/// Vectors of one dimension, bf16.
#[derive(Debug)]
pub(super) struct Collection {
    dim: usize,
    /// Row-major, by number.
    vectors: Vec<u16>,
    queries: Vec<Query>,
    originals: Vec<u32>,
    distractors: Range<u32>,
    order: Vec<u32>,
}

impl Collection {
    /// Puts `vectors`, those of `variants`, and `n_distractors` together. Originals come before their copies.
    pub(super) fn new(
        variants: &[Variant],
        vectors: &[Vec<f32>],
        distractors: Option<&Distractors>,
        n_distractors: u32,
        seed: u64,
    ) -> Self {
        let n_distractors = distractors.map_or(0, |_| n_distractors);
        let dim = vectors.first().map_or(0, Vec::len);
        let n_real = u32::try_from(vectors.len()).expect("pictures are embedded one by one");
        let total = n_real + n_distractors;
        let mut rows = Vec::with_capacity(total as usize * dim);
        for vector in vectors {
            rows.extend(bf16::encode(vector));
        }
        if let Some(distractors) = distractors {
            for idx in 0..u64::from(n_distractors) {
                rows.extend(bf16::encode(&distractors.draw(idx)));
            }
        }
        let (mut queries, mut originals) = (Vec::new(), Vec::new());
        for (number, variant) in (0..n_real).zip(variants) {
            match (variant.edit, originals.last()) {
                (Some(edit), Some(&original)) => queries.push(Query {
                    number,
                    edit,
                    original,
                }),
                _ => originals.push(number),
            }
        }
        let mut order: Vec<u32> = (0..total).collect();
        Random::new(seed, ORDER).shuffle(&mut order);
        Self {
            dim,
            vectors: rows,
            queries,
            originals,
            distractors: n_real..total,
            order,
        }
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn vector(&self, number: u32) -> &[u16] {
        &self.vectors[number as usize * self.dim..][..self.dim]
    }

    /// All numbers in the random order of insertion.
    pub(super) fn order(&self) -> &[u32] {
        &self.order
    }

    pub(super) fn queries(&self) -> &[Query] {
        &self.queries
    }

    pub(super) fn originals(&self) -> impl Iterator<Item = u32> {
        self.originals.iter().copied()
    }

    /// Numbers of an original and its copies, which come after it.
    pub(super) fn picture(&self, original: u32) -> Range<u64> {
        let next = self.originals.iter().find(|&&next| next > original);
        let end = next.copied().unwrap_or(self.distractors.start);
        u64::from(original)..u64::from(end)
    }

    pub(super) fn distractors(&self) -> Range<u32> {
        self.distractors.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_know_their_original_and_distractors_come_last() {
        let variant = |photo, edit| Variant { photo, edit };
        let variants = [
            variant(0, None),
            variant(0, Some(Edit::Gray)),
            variant(2, None),
            variant(2, Some(Edit::Gray)),
            variant(2, Some(Edit::Blur)),
        ];
        let vectors: Vec<Vec<f32>> = (0..5).map(|idx| vec![idx as f32, 1.0]).collect();
        let pictures: Vec<Vec<Vec<f32>>> =
            vectors.iter().map(|vector| vec![vector.clone()]).collect();
        let distractors = Distractors::fit(&pictures, 1).unwrap();
        let collection = Collection::new(&variants, &vectors, Some(&distractors), 7, 1);
        assert_eq!((collection.dim(), collection.len()), (2, 12));
        let queries: Vec<(u32, u32)> = collection
            .queries()
            .iter()
            .map(|query| (query.number, query.original))
            .collect();
        assert_eq!(queries, [(1, 0), (3, 2), (4, 2)]);
        assert_eq!(collection.originals().collect::<Vec<_>>(), [0, 2]);
        assert_eq!(
            [0, 2].map(|original| collection.picture(original)),
            [0..2, 2..5]
        );
        assert_eq!(collection.distractors(), 5..12);
        assert_eq!(collection.vector(3), bf16::encode(&[3.0, 1.0]));
        assert_eq!(collection.vector(5), bf16::encode(&distractors.draw(0)));
        let mut order = collection.order().to_vec();
        assert!(!order.is_sorted());
        order.sort_unstable();
        assert_eq!(order, (0..12).collect::<Vec<_>>());
    }
}
