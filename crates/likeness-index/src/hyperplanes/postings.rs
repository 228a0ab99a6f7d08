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
        let is_added = self.add(term, slot, self.max_list);
        if !is_added {
            self.leave_out(term);
        }
        is_added
    }

    /// Puts a slot back to where it was, in the list of a term or left out of it; returns whether it could be.
    pub(super) fn restore(&mut self, term: u32, slot: u32, is_filed: bool) -> bool {
        if is_filed {
            // As long as it was when the slot was filed, whatever may be filed now.
            return self.add(term, slot, CHUNK as u32);
        }
        self.leave_out(term);
        true
    }

    fn add(&mut self, term: u32, slot: u32, max_list: u32) -> bool {
        let Some(list) = self.lists.get_mut(&term) else {
            let list = List {
                start: slot,
                len: 1,
            };
            self.lists.insert(term, list);
            return true;
        };
        if list.len >= max_list || !self.pool.grow(list) {
            return false;
        }
        self.pool.get_mut(list.start, list.len + 1)[list.len as usize] = slot;
        list.len += 1;
        true
    }

    fn leave_out(&mut self, term: u32) {
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
        let Some(start) = self.take(log + 1) else {
            return false;
        };
        if log == 0 {
            self.get_mut(start, 2)[0] = list.start;
        } else {
            let slots = self.get(list.start, list.len).to_vec();
            self.get_mut(start, list.len).copy_from_slice(&slots);
            self.give_back(list.start, log);
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
