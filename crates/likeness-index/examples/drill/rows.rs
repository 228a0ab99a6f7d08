//! Rows as a store would keep them.

use std::collections::BTreeMap;
use std::error::Error;

use likeness_index::{MemoryVectors, RowChange, RowKey, TermIndex, TermLoader, TermScheme};

#[derive(Default)]
pub(crate) struct Rows(BTreeMap<RowKey, Vec<u8>>);

impl Rows {
    pub(crate) fn apply(&mut self, changes: Vec<RowChange>) {
        for change in changes {
            match change.value {
                Some(value) => self.0.insert(change.key, value),
                None => self.0.remove(&change.key),
            };
        }
    }

    pub(crate) fn load(
        &self,
        scheme: TermScheme,
        vectors: MemoryVectors,
    ) -> Result<TermIndex, Box<dyn Error>> {
        let mut loader =
            TermLoader::new(scheme, vectors, &self.0[&RowKey::Head]).map_err(|(_, error)| error)?;
        for (key, value) in &self.0 {
            match *key {
                RowKey::Head => {}
                RowKey::Page(page) => loader.page(page, value)?,
                RowKey::Cell(cell) => loader.cell(cell, value)?,
                RowKey::Posting(group, number) => loader.posting(group, number, value)?,
            }
        }
        loader.check()?;
        Ok(loader.finish())
    }
}
