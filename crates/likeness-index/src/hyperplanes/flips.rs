//! In which order the buckets around a vector's own are probed.
//!
//! A near vector that is not in the same bucket differs in the bits whose hyperplanes are close to the query.
//! Sets of bits to flip come by the sum of their squared margins, least first, from a heap that grows by two
//! sets for each one taken (query-directed probing: Lv, Josephson, Wang, Charikar & Li, "Multi-Probe LSH",
//! VLDB 2007, §4.4): with bits sorted by margin, a set with last bit i is followed by the one with i + 1 in its
//! place, and by the one with i + 1 as well. Every set is made once, and after all that are cheaper.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Most bits of a term.
pub(crate) const MAX_BITS: usize = 32;

/// A set of bits to flip, by rank of their margins.
#[derive(Debug, Clone, Copy)]
struct FlipSet {
    /// Upper half: Σ margin² as the bits of an `f32`, whose order is that of the number, which is not negative.
    /// Lower half: the set, so that ties have an order.
    key: u64,
    /// Σ margin² over the bits but for the last.
    before: f32,
}

impl FlipSet {
    fn cost(&self) -> f32 {
        f32::from_bits((self.key >> 32) as u32)
    }

    fn ranks(&self) -> u32 {
        self.key as u32
    }
}

impl Ord for FlipSet {
    /// The cheapest is the greatest: the first out of a heap.
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        other.key.cmp(&self.key)
    }
}

impl PartialOrd for FlipSet {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for FlipSet {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for FlipSet {}

/// Yields masks of bits to flip, cheapest first, the empty one before all; 2ᵇ in total. Used again for
/// each term, so that its memory is.
#[derive(Debug, Default)]
pub(crate) struct Flips {
    /// Squared margin and its bit, least first.
    margins: Vec<(f32, u32)>,
    heap: BinaryHeap<FlipSet>,
    is_started: bool,
}

impl Flips {
    /// Starts over for a term with these projections; their signs do not matter.
    pub(crate) fn start(&mut self, projections: &[f32]) {
        debug_assert!((1..=MAX_BITS).contains(&projections.len()));
        self.margins.clear();
        self.margins.extend(
            projections
                .iter()
                .zip(0..)
                .map(|(projection, bit)| (projection * projection, bit)),
        );
        self.margins
            .sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        self.heap.clear();
        self.is_started = false;
    }

    /// Adds the set of `ranks` and `last`, which is above them.
    fn push(&mut self, before: f32, ranks: u32, last: usize) {
        if let Some((square, _)) = self.margins.get(last) {
            let cost = before + square;
            self.heap.push(FlipSet {
                key: u64::from(cost.to_bits()) << 32 | u64::from(ranks | 1 << last),
                before,
            });
        }
    }

    /// The bits of a set of ranks.
    fn mask(&self, mut ranks: u32) -> u32 {
        let mut mask = 0;
        while ranks != 0 {
            mask |= 1 << self.margins[ranks.trailing_zeros() as usize].1;
            ranks &= ranks - 1;
        }
        mask
    }
}

impl Iterator for Flips {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if !self.is_started {
            self.is_started = true;
            self.push(0.0, 0, 0);
            return Some(0);
        }
        let set = self.heap.pop()?;
        let ranks = set.ranks();
        let last = ranks.ilog2() as usize;
        self.push(set.before, ranks ^ 1 << last, last + 1);
        self.push(set.cost(), ranks, last + 1);
        Some(self.mask(ranks))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cost(margins: &[f32], mask: u32) -> f32 {
        (0..margins.len())
            .filter(|bit| mask >> bit & 1 == 1)
            .map(|bit| margins[bit] * margins[bit])
            .sum()
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_sorting_all_sets(margins in prop::collection::vec(-20i8..20, 1..11)) {
            // Whole numbers: sums are exact in any order.
            let margins: Vec<f32> = margins.into_iter().map(f32::from).collect();
            let mut flips = Flips::default();
            flips.start(&margins);
            let masks: Vec<u32> = flips.by_ref().collect();
            let mut all: Vec<f32> = (0..1u32 << margins.len()).map(|mask| cost(&margins, mask)).collect();
            all.sort_by(f32::total_cmp);
            let costs: Vec<f32> = masks.iter().map(|&mask| cost(&margins, mask)).collect();
            prop_assert_eq!(costs, all);
            prop_assert_eq!(masks[0], 0);
            let mut once = masks.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), masks.len());
        }
    }

    #[test]
    fn terms_of_the_most_bits_are_probed() {
        let mut flips = Flips::default();
        flips.start(&[1.0; MAX_BITS]);
        assert_eq!(flips.by_ref().take(1_000).count(), 1_000);
        flips.start(&[3.0, -1.0]);
        assert_eq!(flips.collect::<Vec<_>>(), [0, 2, 1, 3]);
    }
}
