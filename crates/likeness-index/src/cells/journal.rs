//! Rows: the durable form of an index, and which of them a change touched.
//!
//! ```text
//! Posting(cell, number)   factors, code                 one for each vector
//! Cell(cell)              centroid, rotated             one for each cell
//! Page(page)              first number of the page      one for every 64 numbers
//! Head                    version, parameters, counters, and the root that centroids are coded against
//! ```
//!
//! The index does no I/O: it says which rows to write ([`Cells::changes`]) and is made again from rows
//! ([`CellsLoader`]). Written in one commit with what else belongs to a step, they are never half there. A
//! reopened index answers and goes on exactly as the one that wrote the rows, because nothing depends on
//! the order within a list.

use std::collections::{BTreeMap, BTreeSet};

use super::list::List;
use super::{Cells, CellsParams, Metric};
use crate::directory::{Place, used};
use crate::error::IndexError;
use crate::rabitq::{self, Factors};
use crate::rows::{
    Reader, RowChange, RowKey, check_count, check_kind, corrupt, cut_off, floats, foreign,
    read_floats,
};
use crate::vectors::Vectors;

/// Version of the rows.
const VERSION: u32 = 2;
/// The version before cells were refined: its head does not say which is next.
const UNREFINED: u32 = 1;
/// First bytes of the head: an index of cells.
const MAGIC: [u8; 4] = *b"LKCI";

/// Rows that changed since they were last asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Journal {
    is_on: bool,
    /// Raised with every change of a cell or of what is in it, also while rows are not kept track of.
    revision: u64,
    head: bool,
    cells: BTreeSet<u32>,
    pages: BTreeSet<u32>,
    /// By cell and slot; whether the vector is there.
    postings: BTreeMap<(u32, u32), bool>,
    /// Numbers of slots that may be gone by the time rows are asked for.
    numbers: BTreeMap<(u32, u32), u64>,
}

impl Journal {
    /// The same from one call to the next if no cell, and nothing in one, has changed in between.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// A journal of nothing that goes on from here.
    fn emptied(&self, is_on: bool) -> Self {
        Self {
            is_on,
            revision: self.revision,
            ..Self::default()
        }
    }

    pub(super) fn touch_cell(&mut self, cell: u32) {
        self.revision += 1;
        if self.is_on {
            self.cells.insert(cell);
            self.head = true;
        }
    }

    pub(super) fn touch_head(&mut self) {
        self.head |= self.is_on;
    }

    pub(super) fn touch_page(&mut self, slot: u32) {
        if self.is_on {
            self.pages.insert(crate::directory::page_of(slot));
        }
    }

    pub(super) fn enter(&mut self, cell: u32, slot: u32) {
        self.revision += 1;
        if self.is_on {
            self.postings.insert((cell, slot), true);
        }
    }

    pub(super) fn leave(&mut self, cell: u32, slot: u32) {
        self.revision += 1;
        if self.is_on {
            self.postings.insert((cell, slot), false);
        }
    }

    pub(super) fn remember(&mut self, cell: u32, slot: u32, number: u64) {
        if self.is_on {
            self.numbers.insert((cell, slot), number);
        }
    }
}

impl<V: Vectors> Cells<V> {
    /// Starts to keep track of rows; [`changes`](Self::changes) then returns those of the whole index first.
    pub fn track_changes(&mut self) {
        self.journal = self.journal.emptied(true);
        self.journal.head = true;
        for cell in self.router.cells() {
            self.journal.cells.insert(cell);
            for slot in self.lists[cell as usize].slots(self.layout) {
                self.journal.postings.insert((cell, slot), true);
                self.journal.pages.insert(crate::directory::page_of(slot));
            }
        }
    }

    /// Returns the rows that changed since the last call, in the order of their keys, and forgets them.
    ///
    /// Space that a removal made free is used again only from here on, so that until these rows are
    /// committed everything that the last ones speak of is still there.
    pub fn changes(&mut self) -> Vec<RowChange> {
        let fresh = self.journal.emptied(self.journal.is_on);
        let journal = std::mem::replace(&mut self.journal, fresh);
        self.directory.release();
        let mut changes = Vec::new();
        if journal.head || !journal.postings.is_empty() {
            changes.push(RowChange {
                key: RowKey::Head,
                value: Some(self.head()),
            });
        }
        for page in journal.pages {
            changes.push(RowChange {
                key: RowKey::Page(page),
                value: self.directory.row(page),
            });
        }
        for cell in journal.cells {
            let is_there = !self.free_cells.contains(&cell);
            changes.push(RowChange {
                key: RowKey::Cell(cell),
                value: is_there.then(|| floats(self.router.centroid(cell))),
            });
        }
        // By number: one that left with all of its page, and came back before now, has had two slots.
        let mut postings: BTreeMap<(u32, u64), Option<u32>> = BTreeMap::new();
        for ((cell, slot), is_there) in journal.postings {
            // A slot belongs to its number as long as the page is not used again, which is from now on.
            let number = journal
                .numbers
                .get(&(cell, slot))
                .copied()
                .unwrap_or_else(|| self.directory.number(slot));
            let posting = postings.entry((cell, number)).or_default();
            if is_there {
                *posting = Some(slot);
            }
        }
        for ((cell, number), slot) in postings {
            changes.push(RowChange {
                key: RowKey::Posting(cell, number),
                value: slot.map(|slot| self.posting(cell, slot)),
            });
        }
        changes
    }

    fn posting(&self, cell: u32, slot: u32) -> Vec<u8> {
        let position = self.directory.place(slot).position as usize;
        let list = &self.lists[cell as usize];
        let factors = list.factors(self.layout, position);
        let mut row = floats(&[factors.add, factors.scale, factors.error]);
        let nibbles: Vec<u8> = list.nibbles(self.layout, position).collect();
        row.extend(
            nibbles
                .as_chunks::<2>()
                .0
                .iter()
                .map(|[low, high]| low | high << 4),
        );
        row
    }

    fn head(&self) -> Vec<u8> {
        let mut row = MAGIC.to_vec();
        row.extend(VERSION.to_le_bytes());
        row.extend((self.params.dim as u64).to_le_bytes());
        row.extend(u32::from(self.params.metric == Metric::Euclidean).to_le_bytes());
        row.extend(self.params.rotation_seed.to_le_bytes());
        row.extend((self.params.max_list as u64).to_le_bytes());
        row.extend((self.len() as u64).to_le_bytes());
        row.extend(used(self.lists.len() as u32, &self.free_cells).to_le_bytes());
        row.extend(self.directory.num_pages().to_le_bytes());
        for counter in [
            self.counters.splits,
            self.counters.dissolved,
            self.counters.moved,
            self.router.renew_at() as u64,
        ] {
            row.extend(counter.to_le_bytes());
        }
        row.extend(self.counters.next_refined.to_le_bytes());
        row.extend(floats(self.router.root()));
        row
    }
}

/// What the head says.
struct Head {
    num_vectors: usize,
    num_cells: u32,
    num_pages: u32,
    counters: super::stats::Counters,
    renew_at: usize,
    root: Vec<f32>,
}

impl Head {
    fn read(params: &CellsParams, row: &[u8]) -> Result<Self, IndexError> {
        let mut reader = Reader(row);
        let version = check_kind(&mut reader, MAGIC, "cells", UNREFINED..=VERSION)?;
        let found = reader.cells_params().ok_or_else(cut_off)?;
        // How long lists may grow is no property of the rows: it can be changed.
        let wanted = CellsParams {
            max_list: found.max_list,
            ..*params
        };
        if found != wanted {
            return Err(foreign(format!("rows of {found:?}, wanted {params:?}")));
        }
        let head = reader.cells_head(version).ok_or_else(cut_off)?;
        let padded_dim = params.dim.next_multiple_of(crate::rotation::DIM_STEP);
        if head.root.len() != padded_dim {
            return Err(corrupt("head: a root of another length"));
        }
        Ok(head)
    }
}

impl Reader<'_> {
    fn cells_params(&mut self) -> Option<CellsParams> {
        Some(CellsParams {
            dim: self.usize()?,
            metric: match self.u32()? {
                0 => Metric::Cosine,
                1 => Metric::Euclidean,
                _ => return None,
            },
            rotation_seed: self.u64()?,
            max_list: self.usize()?,
        })
    }

    fn factors(&mut self) -> Option<Factors> {
        let mut float = || self.take().map(f32::from_le_bytes);
        Some(Factors {
            add: float()?,
            scale: float()?,
            error: float()?,
        })
    }

    fn cells_head(&mut self, version: u32) -> Option<Head> {
        let mut head = Head {
            num_vectors: self.usize()?,
            num_cells: self.u32()?,
            num_pages: self.u32()?,
            counters: super::stats::Counters {
                splits: self.u64()?,
                dissolved: self.u64()?,
                moved: self.u64()?,
                next_refined: 0,
            },
            renew_at: self.usize()?,
            root: Vec::new(),
        };
        if version > UNREFINED {
            head.counters.next_refined = self.u32()?;
        }
        head.root = read_floats(self.rest())?;
        Some(head)
    }
}

/// Makes an index from its rows: pages and cells in any order, then postings in any order.
#[derive(Debug)]
pub struct CellsLoader<V> {
    index: Cells<V>,
    expected: usize,
    num_cells: u32,
    num_pages: u32,
    /// Of the code that is being read.
    nibbles: Vec<u8>,
}

impl<V: Vectors> CellsLoader<V> {
    /// Reads the head, and checks that the index is of the kind that is wanted.
    ///
    /// # Errors
    ///
    /// [`IndexError::Foreign`] if the rows are of another kind, version or parameters,
    /// [`IndexError::Corrupt`] if the head cannot be read; with the store of vectors.
    pub fn new(params: CellsParams, vectors: V, head: &[u8]) -> Result<Self, (V, IndexError)> {
        match Head::read(&params, head) {
            Ok(head) => Ok(Self::with_head(params, vectors, head)),
            Err(error) => Err((vectors, error)),
        }
    }

    fn with_head(params: CellsParams, vectors: V, head: Head) -> Self {
        let mut index = Cells::with_vectors(params, vectors);
        index.counters = head.counters;
        index.router.set_root(head.root, head.renew_at);
        Self {
            index,
            expected: head.num_vectors,
            num_cells: head.num_cells,
            num_pages: head.num_pages,
            nibbles: Vec::new(),
        }
    }

    /// All cells are below this.
    pub fn num_cells(&self) -> u32 {
        self.num_cells
    }

    /// All pages are below this.
    pub fn num_pages(&self) -> u32 {
        self.num_pages
    }

    /// Gives the store of vectors back, of rows that could not be read.
    pub fn into_vectors(self) -> V {
        self.index.into_vectors()
    }

    /// Takes a page.
    ///
    /// # Errors
    ///
    /// [`IndexError::Corrupt`].
    pub fn page(&mut self, page: u32, row: &[u8]) -> Result<(), IndexError> {
        self.index.directory.restore_row(page, row)
    }

    /// Takes a cell.
    ///
    /// # Errors
    ///
    /// [`IndexError::Corrupt`].
    pub fn cell(&mut self, cell: u32, row: &[u8]) -> Result<(), IndexError> {
        /// No index has more: 2³² vectors in lists of at least one.
        const MAX_CELLS: u32 = u32::MAX - 1;
        let centroid = read_floats(row)
            .filter(|centroid| centroid.len() == self.index.layout.padded_dim() && cell < MAX_CELLS)
            .ok_or_else(|| corrupt(format!("cell {cell}: not a centroid")))?;
        let index = &mut self.index;
        let needed = cell as usize + 1;
        if index.lists.len() < needed {
            index
                .free_cells
                .extend(index.lists.len() as u32..needed as u32);
            index.lists.resize_with(needed, List::default);
            index.radii.resize(needed, 0.0);
        }
        if !index.free_cells.remove(&cell) {
            return Err(corrupt(format!("cell {cell}: twice")));
        }
        index.router.restore(cell, &centroid);
        Ok(())
    }

    /// Takes a vector's code; its cell and page were given before.
    ///
    /// # Errors
    ///
    /// [`IndexError::Corrupt`].
    pub fn posting(&mut self, cell: u32, number: u64, row: &[u8]) -> Result<(), IndexError> {
        let fail = |what: &str| corrupt(format!("vector {number} in cell {cell}: {what}"));
        let index = &mut self.index;
        let dim = index.layout.padded_dim();
        let mut reader = Reader(row);
        let factors = reader.factors().ok_or_else(|| fail("of another length"))?;
        let code = reader.rest();
        if code.len() != dim / 8 {
            return Err(fail("of another length"));
        }
        if ![factors.add, factors.scale, factors.error]
            .iter()
            .all(|factor| factor.is_finite())
        {
            return Err(fail("not a number"));
        }
        if cell as usize >= index.lists.len() || index.free_cells.contains(&cell) {
            return Err(fail("there is no such cell"));
        }
        let slot = index
            .directory
            .claim(number)
            .ok_or_else(|| fail("twice, or in no page"))?;
        self.nibbles.clear();
        self.nibbles
            .extend(code.iter().flat_map(|pair| [pair & 0x0f, pair >> 4]));
        let list = &mut index.lists[cell as usize];
        index.directory.set(
            slot,
            Place {
                cell,
                position: list.len() as u32,
            },
        );
        list.push(index.layout, &self.nibbles, factors, slot);
        let square = rabitq::residual_square(factors.scale, factors.error, dim);
        let radius = &mut index.radii[cell as usize];
        *radius = radius.max(square.sqrt() * RADIUS_ROUNDING);
        Ok(())
    }

    /// Checks that nothing is missing.
    ///
    /// # Errors
    ///
    /// [`IndexError::Corrupt`] if vectors are missing.
    pub fn check(&self) -> Result<(), IndexError> {
        check_count(self.index.len(), self.expected)
    }

    /// Returns the index, which keeps track of its rows from here on.
    pub fn finish(mut self) -> Cells<V> {
        self.index.journal.is_on = true;
        self.index
    }
}

/// A residual's length is computed from rounded factors: a radius must not be too small.
const RADIUS_ROUNDING: f32 = 1.0005;
