//! Posting lists of one term index: bits of the term to slots.
//!
//! Most lists are short, so they are cheap: 13 bytes and the table's spare room for a list, nothing more for its
//! first slot, then blocks of a power of two of slots from one pool. A block's size follows from the length
//! of its list and is not stored. The pool is a buddy system (Knowlton, CACM 1965): the halves of a block become one
//! again when both are free, so that what many short lists have left serves a few long ones. Chunks never
//! move: no insertion copies more than one list and, now and then, the table.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

/// Slots of a chunk, and the longest list that can be asked for.
pub(super) const CHUNK: usize = 1 << 14;

/// Lists by the bits of their term.
#[derive(Debug, Clone)]
pub(super) struct Postings {
    max_list: u32,
    lists: HashMap<u32, List, BuildHasherDefault<TermHasher>>,
    pool: Pool,
    /// By term: vectors that found the list full.
    left_out: BTreeMap<u32, u32>,
}

/// Where a list is. A list of one slot is that slot, in place of `start`.
#[derive(Debug, Clone, Copy)]
struct List {
    start: u32,
    len: u32,
}

impl Postings {
    /// `max_list` is at most [`CHUNK`].
    pub(super) fn new(max_list: usize) -> Self {
        debug_assert!((1..=CHUNK).contains(&max_list));
        Self {
            max_list: max_list as u32,
            lists: HashMap::default(),
            pool: Pool::default(),
            left_out: BTreeMap::new(),
        }
    }

    /// Returns the slots of a term, in an order that is the same for the same history.
    #[inline]
    pub(super) fn get(&self, term: u32) -> &[u32] {
        match self.lists.get(&term) {
            None => &[],
            Some(list) if list.len == 1 => std::slice::from_ref(&list.start),
            Some(list) => self.pool.get(list.start, list.len),
        }
    }

    /// Adds a slot to the list of a term, or counts it as left out if the list is full; returns whether it was
    /// added.
    pub(super) fn push(&mut self, term: u32, slot: u32) -> bool {
        let is_added = self.add(term, slot);
        if !is_added {
            self.leave_out(term);
        }
        is_added
    }

    fn add(&mut self, term: u32, slot: u32) -> bool {
        let Some(list) = self.lists.get_mut(&term) else {
            let list = List {
                start: slot,
                len: 1,
            };
            self.lists.insert(term, list);
            return true;
        };
        if list.len >= self.max_list || !self.pool.grow(list) {
            return false;
        }
        self.pool.get_mut(list.start, list.len + 1)[list.len as usize] = slot;
        list.len += 1;
        true
    }

    /// Puts slots back into the lists that took them: `filed` holds the term in its upper and the slot in its lower
    /// half, in the order in which the lists are to have their slots; afterwards it is sorted by term.
    ///
    /// One after the other they would be thrown over all lists of the table; sorted by term, each list is written
    /// at once and is moved at most once.
    ///
    /// # Errors
    ///
    /// The first slot of those for a list that would become longer than any.
    pub(super) fn restore(
        &mut self,
        filed: &mut Vec<u64>,
        spare: &mut Vec<u64>,
    ) -> Result<(), u32> {
        sort_by_term(filed, spare);
        if self.lists.is_empty() {
            self.lists.reserve(lists_of(filed).count());
        }
        for list in lists_of(filed) {
            // As long as it was when the slots were filed, whatever may be filed now.
            if !self.extend(term_of(list[0]), list) {
                return Err(list[0] as u32);
            }
        }
        Ok(())
    }

    /// Appends to the list of a term; returns whether there is room for all.
    fn extend(&mut self, term: u32, filed: &[u64]) -> bool {
        let list = self.lists.entry(term).or_insert(List { start: 0, len: 0 });
        let (old, len) = (*list, list.len as usize + filed.len());
        if len > CHUNK {
            return false;
        }
        if len == 1 {
            *list = List {
                start: filed[0] as u32,
                len: 1,
            };
            return true;
        }
        let has_room = old.len > 1 && len <= old.len.next_power_of_two() as usize;
        if !has_room
            && !self
                .pool
                .move_to(list, len.next_power_of_two().ilog2() as usize)
        {
            return false;
        }
        list.len = len as u32;
        let slots = &mut self.pool.get_mut(list.start, list.len)[old.len as usize..];
        for (slot, &filed) in slots.iter_mut().zip(filed) {
            *slot = filed as u32;
        }
        true
    }

    /// Counts a vector that the list of a term did not take.
    pub(super) fn leave_out(&mut self, term: u32) {
        *self.left_out.entry(term).or_default() += 1;
    }

    /// Takes out a slot that was pushed; the last one takes its place.
    pub(super) fn remove(&mut self, term: u32, slot: u32) {
        let Some(position) = self.get(term).iter().position(|&other| other == slot) else {
            self.no_longer_left_out(term);
            return;
        };
        let list = self
            .lists
            .get_mut(&term)
            .expect("the slot was found in the list");
        if list.len == 1 {
            self.lists.remove(&term);
            return;
        }
        let last = list.len as usize - 1;
        self.pool.get_mut(list.start, list.len).swap(position, last);
        list.len -= 1;
        self.pool.shrink(list);
    }

    fn no_longer_left_out(&mut self, term: u32) {
        let Some(count) = self.left_out.get_mut(&term) else {
            debug_assert!(false, "a slot is in its list or was left out");
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.left_out.remove(&term);
        }
    }

    /// Terms with the lengths of their lists, in no particular order.
    pub(super) fn lengths(&self) -> impl Iterator<Item = (u32, usize)> + '_ {
        self.lists
            .iter()
            .map(|(&term, list)| (term, list.len as usize))
    }

    /// How many vectors a term's list has not taken.
    pub(super) fn left_out(&self, term: u32) -> usize {
        self.left_out.get(&term).map_or(0, |&count| count as usize)
    }

    /// How many lists have not taken a vector that is still there.
    pub(super) fn num_capped(&self) -> usize {
        self.left_out.len()
    }

    /// How many vectors lists have not taken, over all terms.
    pub(super) fn total_left_out(&self) -> usize {
        self.left_out.values().map(|&count| count as usize).sum()
    }

    /// Bytes held.
    pub(super) fn memory_bytes(&self) -> usize {
        // A hash map of the standard library fills at most 7/8 of its buckets and has a byte for each.
        self.lists.capacity() * 8 / 7 * LIST_BYTES
            + self.pool.memory_bytes()
            + self.left_out.len() * 2 * size_of::<(u32, u32)>()
    }
}

/// Bytes of a bucket of the table.
pub(crate) const LIST_BYTES: usize = size_of::<(u32, List)>() + 1;

/// Blocks of 2, 4, 8, … slots, each at a multiple of its size.
#[derive(Debug, Clone, Default)]
struct Pool {
    chunks: Vec<Box<[u32]>>,
    /// Starts of free blocks, by the binary logarithm of their size. The lowest is taken first.
    free: [BTreeSet<u32>; CHUNK.ilog2() as usize + 1],
}

impl Pool {
    fn get(&self, start: u32, len: u32) -> &[u32] {
        let (chunk, first) = (start as usize / CHUNK, start as usize % CHUNK);
        &self.chunks[chunk][first..first + len as usize]
    }

    fn get_mut(&mut self, start: u32, len: u32) -> &mut [u32] {
        let (chunk, first) = (start as usize / CHUNK, start as usize % CHUNK);
        &mut self.chunks[chunk][first..first + len as usize]
    }

    /// Makes room for one slot more; returns whether there is any.
    fn grow(&mut self, list: &mut List) -> bool {
        if !list.len.is_power_of_two() {
            return true;
        }
        let log = list.len.ilog2() as usize;
        if log > 0 && list.start & list.len == 0 && self.free[log].remove(&(list.start | list.len))
        {
            // The other half of the next larger block was free.
            return true;
        }
        self.move_to(list, log + 1)
    }

    /// Moves a list, which may be empty, to a larger block, of 2^`log` slots; returns whether there is one.
    fn move_to(&mut self, list: &mut List, log: usize) -> bool {
        let Some(start) = self.take(log) else {
            return false;
        };
        if list.len == 1 {
            self.get_mut(start, 1)[0] = list.start;
        } else if list.len > 1 {
            let slots = self.get(list.start, list.len).to_vec();
            self.get_mut(start, list.len).copy_from_slice(&slots);
            self.give_back(list.start, list.len.next_power_of_two().ilog2() as usize);
        }
        list.start = start;
        true
    }

    /// Gives back what a list that has become shorter does not need.
    fn shrink(&mut self, list: &mut List) {
        if !list.len.is_power_of_two() {
            return;
        }
        let (start, log) = (list.start, list.len.ilog2() as usize);
        if log == 0 {
            list.start = self.get(start, 1)[0];
            self.give_back(start, 1);
        } else {
            self.give_back(start | list.len, log);
        }
    }

    /// Returns a block of 2^`log` slots; `None` if 2³² slots are taken.
    fn take(&mut self, log: usize) -> Option<u32> {
        if let Some(start) = self.free[log].pop_first() {
            return Some(start);
        }
        if log == CHUNK.ilog2() as usize {
            let start = u32::try_from(self.chunks.len() * CHUNK).ok()?;
            self.chunks.push(vec![0; CHUNK].into());
            return Some(start);
        }
        let start = self.take(log + 1)?;
        self.free[log].insert(start | 1 << log);
        Some(start)
    }

    fn give_back(&mut self, mut start: u32, mut log: usize) {
        while log + 1 < self.free.len() && self.free[log].remove(&(start ^ 1 << log)) {
            start &= !(1 << log);
            log += 1;
        }
        self.free[log].insert(start);
    }

    fn memory_bytes(&self) -> usize {
        // A node of the tree has places for 11 keys and is about two thirds full.
        let free: usize = self.free.iter().map(BTreeSet::len).sum();
        (self.chunks.len() * CHUNK + free * 2) * size_of::<u32>()
    }
}

fn term_of(filed: u64) -> u32 {
    (filed >> 32) as u32
}

/// What goes to each list, of what is sorted by term.
fn lists_of(filed: &[u64]) -> impl Iterator<Item = &[u64]> {
    filed.chunk_by(|&one, &other| term_of(one) == term_of(other))
}

/// Most bits of a digit: the ends of so many lists, which are written to in turn, fit a cache.
const DIGIT: u32 = 11;

/// Sorts by the upper halves and keeps the order of equal ones: least significant digit first (Knuth, TAOCP vol. 3,
/// 5.2.5). Both are used; `spare` holds nothing of use afterwards.
fn sort_by_term(filed: &mut Vec<u64>, spare: &mut Vec<u64>) {
    let bits = u32::BITS
        - filed
            .iter()
            .fold(0, |all, &one| all | term_of(one))
            .leading_zeros();
    let num_digits = bits.div_ceil(DIGIT).max(1);
    let digit_bits = bits.div_ceil(num_digits);
    spare.resize(filed.len(), 0);
    for place in 0..num_digits {
        let digit =
            |one: u64| (one >> (32 + place * digit_bits)) as usize & ((1 << digit_bits) - 1);
        let mut ends = [0; 1 << DIGIT];
        for &one in &*filed {
            ends[digit(one)] += 1;
        }
        let mut start = 0;
        for end in &mut ends {
            start += std::mem::replace(end, start);
        }
        for &one in &*filed {
            let end = &mut ends[digit(one)];
            spare[*end] = one;
            *end += 1;
        }
        std::mem::swap(filed, spare);
    }
}

/// One multiplication. Bits of terms are random already; those of low entropy need their product's upper half.
#[derive(Debug, Clone, Copy, Default)]
struct TermHasher(u64);

impl Hasher for TermHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, term: u32) {
        let product = (self.0 ^ u64::from(term)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lists_are_those_of_a_plain_map(history in prop::collection::vec((0u32..3, prop::bool::weighted(0.6)), 0..400), max_list in 1usize..80) {
            let mut postings = Postings::new(max_list);
            let mut kept: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            let mut refused: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            for (slot, (term, is_push)) in (0..).zip(history) {
                let (kept, refused) = (kept.entry(term).or_default(), refused.entry(term).or_default());
                if is_push {
                    postings.push(term, slot);
                    if kept.len() < max_list { kept.push(slot) } else { refused.push(slot) }
                } else if let Some(slot) = refused.pop() {
                    postings.remove(term, slot);
                } else if !kept.is_empty() {
                    postings.remove(term, kept.swap_remove(slot as usize % kept.len()));
                }
            }
            for (term, kept) in kept {
                prop_assert_eq!(postings.get(term), &kept[..]);
                prop_assert_eq!(postings.left_out(term), refused[&term].len());
            }
        }
    }

    proptest! {
        #[test]
        fn lists_restored_together_are_those_that_were_pushed(terms in prop::collection::vec(prop_oneof![0u32..4, 0u32..1 << 20, any::<u32>()], 1..300), together in 1usize..300) {
            let (mut pushed, mut restored) = (Postings::new(CHUNK), Postings::new(CHUNK));
            let filed: Vec<(u32, u32)> = terms.into_iter().zip(0..).collect();
            for &(term, slot) in &filed {
                pushed.push(term, slot);
            }
            let mut spare = Vec::new();
            for part in filed.chunks(together) {
                let mut part = part.iter().map(|&(term, slot)| u64::from(term) << 32 | u64::from(slot)).collect();
                prop_assert_eq!(restored.restore(&mut part, &mut spare), Ok(()));
            }
            for &(term, slot) in &filed {
                prop_assert_eq!(restored.get(term), pushed.get(term));
                // What was given back fits what is left.
                restored.remove(term, slot);
                pushed.remove(term, slot);
            }
            prop_assert_eq!(restored.lengths().count(), 0);
            prop_assert_eq!(restored.pool.free.iter().map(BTreeSet::len).sum::<usize>(), restored.pool.chunks.len());
        }
    }

    #[test]
    fn a_list_that_is_too_long_is_not_restored() {
        let mut postings = Postings::new(1);
        let mut slots = (0..CHUNK as u64).collect();
        assert_eq!(postings.restore(&mut slots, &mut Vec::new()), Ok(()));
        assert_eq!(postings.restore(&mut vec![7], &mut Vec::new()), Err(7));
    }

    #[test]
    fn space_is_used_again() {
        let mut postings = Postings::new(CHUNK);
        let mut after_first = 0;
        for round in 0..10 {
            for slot in 0..20_000 {
                postings.push(slot % 7 * (slot % 11), slot);
            }
            if round == 0 {
                after_first = postings.memory_bytes();
            }
            assert!(postings.memory_bytes() <= after_first);
            for slot in 0..20_000 {
                postings.remove(slot % 7 * (slot % 11), slot);
            }
            assert_eq!(postings.lengths().count(), 0);
            // All halves have become wholes again.
            let free: Vec<usize> = postings.pool.free.iter().map(BTreeSet::len).collect();
            assert_eq!(free.iter().sum::<usize>(), postings.pool.chunks.len());
            assert_eq!(free.last(), Some(&postings.pool.chunks.len()));
        }
    }

    #[test]
    fn blocks_of_many_short_lists_serve_fewer_long_ones() {
        let mut postings = Postings::new(CHUNK);
        for slot in 0..256 * 256 {
            postings.push(slot * 97 % 256, slot);
        }
        assert!(postings.pool.chunks.len() * CHUNK <= 256 * 256 * 5 / 4);
    }
}
