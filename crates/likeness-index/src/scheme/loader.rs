//! An index of either scheme, read from its rows.

use super::{TermIndex, TermScheme};
use crate::cells::CellsLoader;
use crate::error::IndexError;
use crate::hyperplanes::HyperplanesLoader;
use crate::rows::corrupt;
use crate::vectors::Vectors;

/// Makes an index from its rows: pages and cells in any order, then postings in any order.
#[derive(Debug)]
pub enum TermLoader<V> {
    /// See [`CellsLoader`].
    Cells(Box<CellsLoader<V>>),
    /// See [`HyperplanesLoader`].
    Hyperplanes(Box<HyperplanesLoader<V>>),
}

impl<V: Vectors> TermLoader<V> {
    /// Reads the head, and checks that the index is of the scheme that is wanted.
    ///
    /// # Errors
    ///
    /// [`IndexError::Foreign`] if the rows are of another kind, version or parameters,
    /// [`IndexError::Corrupt`] if the head cannot be read; with the store of vectors.
    pub fn new(scheme: TermScheme, vectors: V, head: &[u8]) -> Result<Self, (V, IndexError)> {
        Ok(match scheme {
            TermScheme::Cells(params) => {
                Self::Cells(Box::new(CellsLoader::new(params, vectors, head)?))
            }
            TermScheme::Hyperplanes(params) => {
                Self::Hyperplanes(Box::new(HyperplanesLoader::new(params, vectors, head)?))
            }
        })
    }

    /// All pages are below this.
    pub fn num_pages(&self) -> u32 {
        match self {
            Self::Cells(loader) => loader.num_pages(),
            Self::Hyperplanes(loader) => loader.num_pages(),
        }
    }

    /// All cells are below this; 0 of hyperplanes.
    pub fn num_cells(&self) -> u32 {
        match self {
            Self::Cells(loader) => loader.num_cells(),
            Self::Hyperplanes(_) => 0,
        }
    }

    /// The first part of the key of a [posting](crate::RowKey::Posting) is always below this.
    pub fn num_groups(&self) -> u32 {
        match self {
            Self::Cells(loader) => loader.num_cells(),
            Self::Hyperplanes(loader) => loader.num_pages(),
        }
    }

    /// Gives the store of vectors back, of rows that could not be read.
    pub fn into_vectors(self) -> V {
        match self {
            Self::Cells(loader) => loader.into_vectors(),
            Self::Hyperplanes(loader) => loader.into_vectors(),
        }
    }

    /// Takes a page.
    ///
    /// # Errors
    ///
    /// [`IndexError::Corrupt`].
    pub fn page(&mut self, page: u32, row: &[u8]) -> Result<(), IndexError> {
        match self {
            Self::Cells(loader) => loader.page(page, row),
            Self::Hyperplanes(loader) => loader.page(page, row),
        }
    }

    /// Takes a cell.
    ///
    /// # Errors
    ///
    /// [`IndexError::Corrupt`]; hyperplanes have none.
    pub fn cell(&mut self, cell: u32, row: &[u8]) -> Result<(), IndexError> {
        match self {
            Self::Cells(loader) => loader.cell(cell, row),
            Self::Hyperplanes(_) => Err(corrupt(format!("cell {cell}: hyperplanes have none"))),
        }
    }

    /// Takes what is stored of a vector; its group and page were given before.
    ///
    /// # Errors
    ///
    /// [`IndexError::Corrupt`].
    pub fn posting(&mut self, group: u32, number: u64, row: &[u8]) -> Result<(), IndexError> {
        match self {
            Self::Cells(loader) => loader.posting(group, number, row),
            Self::Hyperplanes(loader) => loader.posting(group, number, row),
        }
    }

    /// Checks that nothing is missing; the last step before [`finish`](Self::finish).
    ///
    /// # Errors
    ///
    /// [`IndexError::Corrupt`] if vectors are missing, or are in lists that cannot be.
    pub fn check(&mut self) -> Result<(), IndexError> {
        match self {
            Self::Cells(loader) => loader.check(),
            Self::Hyperplanes(loader) => loader.check(),
        }
    }

    /// Returns the index, which keeps track of its rows from here on.
    pub fn finish(self) -> TermIndex<V> {
        match self {
            Self::Cells(loader) => TermIndex::Cells(Box::new(loader.finish())),
            Self::Hyperplanes(loader) => TermIndex::Hyperplanes(Box::new(loader.finish())),
        }
    }
}
