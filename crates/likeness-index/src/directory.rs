//! Where each number's vector is: numbers to slots, slots to their place in a list.
//!
//! Numbers are any 64 bits, but mostly dense. They are grouped in pages of 64: a dense set costs 8 bytes a
//! vector and little more, a set of random numbers up to 64 times that.

use std::collections::{BTreeSet, HashMap};

use crate::error::IndexError;
use crate::rows::corrupt;
use crate::vectors::Vectors;

/// Numbers of a page.
const PAGE: usize = 64;
const ABSENT: u32 = u32::MAX;
const EMPTY: [Place; PAGE] = [Place {
    cell: ABSENT,
    position: 0,
}; PAGE];
/// Slots have 32 bits.
const MAX_PAGES: u32 = u32::MAX / PAGE as u32;

/// Place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) cell: u32,
    pub(crate) position: u32,
}

/// Slots are dense and 32 bits wide: page · 64 + the low six bits of the number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    pages: HashMap<u64, u32>,
    /// Number of the first slot of each page.
    bases: Vec<u64>,
    places: Vec<[Place; PAGE]>,
    /// How many numbers of each page there are.
    counts: Vec<u8>,
    /// The least is used first, so that nothing depends on the order in which pages became free.
    free: BTreeSet<u32>,
    /// Free, but not to be used again yet, see [`Directory::release`].
    held: Vec<u32>,
    len: usize,
}

impl Directory {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the slot of a number that is there.
    pub(crate) fn slot(&self, number: u64) -> Option<u32> {
        let page = *self.pages.get(&(number / PAGE as u64))?;
        let slot = slot_of(page, number);
        (self.place(slot).cell != ABSENT).then_some(slot)
    }

    /// Returns the slot of a number that is not there yet, which then counts as there; `None` if it is
    /// there, or if 2³² slots are taken.
    pub(crate) fn add(&mut self, number: u64) -> Option<u32> {
        let block = number / PAGE as u64;
        let page = match self.pages.get(&block) {
            Some(&page) => page,
            None => self.new_page(block)?,
        };
        let slot = slot_of(page, number);
        if self.place(slot).cell != ABSENT {
            return None;
        }
        self.counts[page as usize] += 1;
        self.len += 1;
        Some(slot)
    }

    fn new_page(&mut self, block: u64) -> Option<u32> {
        let page = match self.free.pop_first() {
            Some(page) => page,
            None => {
                let page = u32::try_from(self.bases.len())
                    .ok()
                    .filter(|&page| page < MAX_PAGES)?;
                self.bases.push(0);
                self.places.push(EMPTY);
                self.counts.push(0);
                page
            }
        };
        self.bases[page as usize] = block * PAGE as u64;
        self.pages.insert(block, page);
        Some(page)
    }

    /// Takes a slot out that is there.
    pub(crate) fn remove(&mut self, slot: u32) {
        self.set(
            slot,
            Place {
                cell: ABSENT,
                position: 0,
            },
        );
        let page = slot as usize / PAGE;
        self.counts[page] -= 1;
        self.len -= 1;
        if self.counts[page] == 0 {
            self.pages.remove(&(self.bases[page] / PAGE as u64));
            self.held.push(page as u32);
        }
    }

    /// Lets pages be used again that became free since the last call.
    pub(crate) fn release(&mut self) {
        self.free.extend(self.held.drain(..));
    }

    /// All pages in use are below this. Free ones at the end do not count: a directory that was read back has
    /// none.
    pub(crate) fn num_pages(&self) -> u32 {
        used(self.bases.len() as u32, &self.free)
    }

    /// The row of a page: its first number, if it holds any.
    pub(crate) fn row(&self, page: u32) -> Option<Vec<u8>> {
        let base = (self.counts[page as usize] > 0).then(|| self.bases[page as usize])?;
        Some(base.to_le_bytes().to_vec())
    }

    /// Takes a page from its row.
    ///
    /// # Errors
    ///
    /// [`IndexError::Corrupt`].
    pub(crate) fn restore_row(&mut self, page: u32, row: &[u8]) -> Result<(), IndexError> {
        let base = row.try_into().map(u64::from_le_bytes).ok();
        base.filter(|&base| self.restore(page, base))
            .map(|_| ())
            .ok_or_else(|| {
                corrupt(format!(
                    "page {page}: no first number, or one that is taken"
                ))
            })
    }

    /// Makes a page of which only the place is known; returns whether it could be.
    fn restore(&mut self, page: u32, base: u64) -> bool {
        let block = base / PAGE as u64;
        let is_new = !self.pages.contains_key(&block);
        if !base.is_multiple_of(PAGE as u64) || !is_new || page >= MAX_PAGES {
            return false;
        }
        let needed = page as usize + 1;
        if self.bases.len() < needed {
            self.free.extend(self.bases.len() as u32..needed as u32);
            self.bases.resize(needed, 0);
            self.places.resize(needed, EMPTY);
            self.counts.resize(needed, 0);
        }
        if !self.free.remove(&page) {
            return false;
        }
        self.bases[page as usize] = base;
        self.pages.insert(block, page);
        true
    }

    /// Like [`add`](Self::add), for a number whose page is there.
    pub(crate) fn claim(&mut self, number: u64) -> Option<u32> {
        self.pages.get(&(number / PAGE as u64))?;
        self.add(number)
    }

    pub(crate) fn number(&self, slot: u32) -> u64 {
        self.bases[slot as usize / PAGE] + u64::from(slot) % PAGE as u64
    }

    pub(crate) fn place(&self, slot: u32) -> Place {
        self.places[slot as usize / PAGE][slot as usize % PAGE]
    }

    pub(crate) fn set(&mut self, slot: u32, place: Place) {
        self.places[slot as usize / PAGE][slot as usize % PAGE] = place;
    }

    /// Slots in ascending order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.places.len() * PAGE)
            .map(|slot| slot as u32)
            .filter(|&slot| self.place(slot).cell != ABSENT)
    }

    /// Slots of no vector, in ascending order. Reads the places of pages that are not full only.
    pub(crate) fn empty_slots(&self) -> impl Iterator<Item = u32> + '_ {
        let pages = self.counts.iter().zip(&self.places).enumerate();
        pages
            .filter(|(_, (count, _))| usize::from(**count) < PAGE)
            .flat_map(|(page, (_, places))| {
                let empty = places.iter().enumerate();
                empty
                    .filter(|(_, place)| place.cell == ABSENT)
                    .map(move |(idx, _)| (page * PAGE + idx) as u32)
            })
    }

    /// Overwrites what a store of vectors still holds of those that were removed.
    ///
    /// # Errors
    ///
    /// [`IndexError::Storage`].
    pub(crate) fn wipe_empty(
        &self,
        vectors: &mut impl Vectors,
        dim: usize,
    ) -> Result<(), IndexError> {
        let none = vec![0; dim];
        for slot in self.empty_slots() {
            if vectors.has(slot) {
                vectors.set(slot, &none)?;
            }
        }
        Ok(())
    }

    /// Those of `count` slots from `first` on that are taken, and the slot after them, if there is one.
    pub(crate) fn slots_from(
        &self,
        first: u32,
        count: usize,
    ) -> (impl Iterator<Item = u32> + '_, Option<u32>) {
        let end = self.places.len() * PAGE;
        let (first, last) = (
            first as usize,
            (first as usize).saturating_add(count).min(end),
        );
        let slots = (first..last)
            .map(|slot| slot as u32)
            .filter(|&slot| self.place(slot).cell != ABSENT);
        (slots, (last < end).then_some(last as u32))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        // A hash map of the standard library fills at most 7/8 of its buckets and has a byte for each.
        self.pages.capacity() * 8 / 7 * (size_of::<(u64, u32)>() + 1)
            + self.bases.capacity() * size_of::<u64>()
            + self.places.capacity() * size_of::<[Place; PAGE]>()
            + self.counts.capacity()
            + (self.free.len() + self.held.len()) * 2 * size_of::<u32>()
    }
}

/// Returns `count` without the numbers at its end that are free.
pub(crate) fn used(count: u32, free: &BTreeSet<u32>) -> u32 {
    let is_free = |number: &u32| free.contains(number);
    count - (0..count).rev().take_while(is_free).count() as u32
}

/// The page of a slot.
pub(crate) fn page_of(slot: u32) -> u32 {
    slot / PAGE as u32
}

fn slot_of(page: u32, number: u64) -> u32 {
    page * PAGE as u32 + (number % PAGE as u64) as u32
}
