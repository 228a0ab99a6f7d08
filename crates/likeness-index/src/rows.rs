//! Rows: the durable form of an index, whatever its terms are.
//!
//! The index does no I/O. It says which rows a change touched, and is made again from rows; who keeps them writes
//! those of a step in one commit with what else belongs to the step, so that they are never half there.

use crate::error::IndexError;

/// Names a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowKey {
    /// What the index is.
    Head,
    /// Which numbers a page of slots holds.
    Page(u32),
    /// A centroid. Hyperplanes have none.
    Cell(u32),
    /// What is stored of a vector: the cell it is in, or the page, for hyperplanes; then its number.
    Posting(u32, u64),
}

/// A row to write, or to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowChange {
    /// Which row.
    pub key: RowKey,
    /// Its new value; `None` to delete it.
    pub value: Option<Vec<u8>>,
}

pub(crate) fn floats(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

pub(crate) fn read_floats(bytes: &[u8]) -> Option<Vec<f32>> {
    let (words, rest) = bytes.as_chunks::<4>();
    let values: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
    (rest.is_empty() && values.iter().all(|value| value.is_finite())).then_some(values)
}

/// Takes what a row says off its bytes, piece by piece.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (piece, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*piece)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (piece, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(piece)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(crate) fn usize(&mut self) -> Option<usize> {
        usize::try_from(self.u64()?).ok()
    }

    /// What has not been taken yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// Reads the first bytes of a head: what kind of index this is, and in which version, which it returns.
///
/// # Errors
///
/// [`IndexError::Foreign`] if it is another, [`IndexError::Corrupt`] if the head is cut off.
pub(crate) fn check_kind(
    reader: &mut Reader<'_>,
    magic: [u8; 4],
    kind: &str,
    versions: std::ops::RangeInclusive<u32>,
) -> Result<u32, IndexError> {
    if reader.take().ok_or_else(cut_off)? != magic {
        return Err(foreign(format!("these rows are not an index of {kind}")));
    }
    let found = reader.u32().ok_or_else(cut_off)?;
    if !versions.contains(&found) {
        let (oldest, newest) = (versions.start(), versions.end());
        let readable = if oldest == newest {
            format!("version {newest}")
        } else {
            format!("versions {oldest} to {newest}")
        };
        return Err(foreign(format!(
            "rows of version {found}; this program reads {readable}"
        )));
    }
    Ok(found)
}

pub(crate) fn cut_off() -> IndexError {
    corrupt("head: cut off")
}

/// Checks that as many vectors were read as the head counts.
pub(crate) fn check_count(found: usize, expected: usize) -> Result<(), IndexError> {
    if found == expected {
        return Ok(());
    }
    Err(corrupt(format!(
        "{found} vectors where the head counts {expected}"
    )))
}

pub(crate) fn corrupt(reason: impl Into<String>) -> IndexError {
    IndexError::Corrupt {
        reason: reason.into(),
    }
}

pub(crate) fn foreign(reason: impl Into<String>) -> IndexError {
    IndexError::Foreign {
        reason: reason.into(),
    }
}
