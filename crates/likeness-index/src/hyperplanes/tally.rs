//! How often each slot was seen.

/// Counts by slot in an open table that is at most half full.
#[derive(Debug)]
pub(super) struct Tally {
    /// Slot and count; a count of 0 is an empty place.
    places: Vec<(u32, u32)>,
    shift: u32,
}

impl Tally {
    /// Has room for `num_slots` different slots.
    pub(super) fn with_room(num_slots: usize) -> Self {
        let size = (num_slots.max(8) * 2).next_power_of_two();
        Self {
            places: vec![(0, 0); size],
            shift: u64::BITS - size.ilog2(),
        }
    }

    /// Counts a slot.
    #[inline]
    pub(super) fn add(&mut self, slot: u32) {
        let product = u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut idx = (product >> self.shift) as usize;
        loop {
            let place = &mut self.places[idx];
            if place.1 == 0 {
                *place = (slot, 1);
                return;
            }
            if place.0 == slot {
                place.1 += 1;
                return;
            }
            idx = (idx + 1) & (self.places.len() - 1);
        }
    }

    /// Returns slots and counts, in an order that is the same for the same calls.
    pub(super) fn counts(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.places.iter().copied().filter(|&(_, count)| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_are_those_of_a_map(slots in prop::collection::vec(0u32..300, 0..600)) {
            let mut expected: BTreeMap<u32, u32> = BTreeMap::new();
            slots.iter().for_each(|&slot| *expected.entry(slot).or_default() += 1);
            let mut tally = Tally::with_room(expected.len());
            slots.iter().for_each(|&slot| tally.add(slot));
            let counts: BTreeMap<u32, u32> = tally.counts().collect();
            prop_assert_eq!(counts, expected);
        }
    }
}
