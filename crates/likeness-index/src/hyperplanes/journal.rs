//! Rows of an index of hyperplanes, and which of them a change touched.
//!
//! ```text
//! Posting(page, number)   code with its factor, the T terms, and which of their lists took the vector
//! Page(page)              first number of the page      one for every 64 numbers
//! Head                    version, parameters, and how many vectors there are
//! ```
//!
//! Terms follow from the vector and the seed, but to project again takes some rotations of the vector, and to read
//! them none. Which lists took a vector does not follow: a list that was full then may have become
//! shorter since (see the [module](super)).

use std::collections::BTreeMap;

use super::postings::Postings;
use super::{Hyperplanes, HyperplanesParams, PRESENT, Projected};
use crate::directory::page_of;
use crate::error::IndexError;
use crate::rows::{Reader, RowChange, RowKey, check_count, check_kind, corrupt, cut_off, foreign};
use crate::vectors::Vectors;

/// Version of the rows.
const VERSION: u32 = 1;
/// First bytes of the head: an index of hyperplanes.
const MAGIC: [u8; 4] = *b"LKHI";

/// Rows that changed since they were last asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Journal {
    pub(super) is_on: bool,
    /// By page and number; `None` for a vector that is gone.
    postings: BTreeMap<(u32, u64), Option<Vec<u8>>>,
    head: bool,
}

impl<V: Vectors> Hyperplanes<V> {
    /// Starts to keep track of rows; [`changes`](Self::changes) then returns those of the whole index first.
    /// Projects every vector that is there.
    pub fn track_changes(&mut self) {
        let slots: Vec<u32> = self.directory.slots().collect();
        let rows: BTreeMap<(u32, u64), Option<Vec<u8>>> = slots
            .into_iter()
            .map(|slot| {
                let projected = self.project_slot(slot);
                let filed = self.filed(slot, &projected);
                let key = (page_of(slot), self.directory.number(slot));
                (key, Some(self.row(slot, &projected, filed)))
            })
            .collect();
        self.journal = Journal {
            is_on: true,
            postings: rows,
            head: true,
        };
    }

    /// Which lists hold a slot, the first term's lowest.
    fn filed(&self, slot: u32, projected: &Projected) -> u64 {
        let terms = self.projections.terms(&projected.projections);
        self.postings
            .iter()
            .zip(terms)
            .enumerate()
            .filter(|(_, (postings, term))| postings.get(*term).contains(&slot))
            .fold(0, |mask, (index, _)| mask | 1 << index)
    }

    /// Takes note of a vector that was filed.
    pub(super) fn note_filed(&mut self, slot: u32, projected: &Projected, filed: u64) {
        if self.journal.is_on {
            let row = self.row(slot, projected, filed);
            self.note(slot, Some(row));
        }
    }

    /// Takes note of a vector that was taken out.
    pub(super) fn note_removed(&mut self, slot: u32) {
        if self.journal.is_on {
            self.note(slot, None);
        }
    }

    fn note(&mut self, slot: u32, row: Option<Vec<u8>>) {
        // A slot belongs to its number until pages are released, which `changes` alone does.
        let key = (page_of(slot), self.directory.number(slot));
        self.journal.postings.insert(key, row);
        self.journal.head = true;
    }

    /// Returns the rows that changed since the last call, in the order of their keys, and forgets them.
    ///
    /// Space that a removal made free is used again only from here on, so that until these rows are
    /// committed everything that the last ones speak of is still there.
    pub fn changes(&mut self) -> Vec<RowChange> {
        let fresh = Journal {
            is_on: self.journal.is_on,
            ..Journal::default()
        };
        let journal = std::mem::replace(&mut self.journal, fresh);
        self.directory.release();
        let mut changes = Vec::new();
        if journal.head {
            changes.push(RowChange {
                key: RowKey::Head,
                value: Some(self.head()),
            });
        }
        let mut pages: Vec<u32> = journal.postings.keys().map(|&(page, _)| page).collect();
        pages.dedup();
        changes.extend(pages.into_iter().map(|page| RowChange {
            key: RowKey::Page(page),
            value: self.directory.row(page),
        }));
        let postings = journal.postings.into_iter();
        changes.extend(postings.map(|((page, number), value)| RowChange {
            key: RowKey::Posting(page, number),
            value,
        }));
        changes
    }

    fn row(&self, slot: u32, projected: &Projected, filed: u64) -> Vec<u8> {
        let width = term_bytes(self.params.bits);
        let (factor, code) = self.codes.get(slot);
        let mut row = factor.to_le_bytes().to_vec();
        row.extend(code.iter().flat_map(|word| word.to_le_bytes()));
        row.extend(filed.to_le_bytes());
        for term in self.projections.terms(&projected.projections) {
            row.extend(&term.to_le_bytes()[..width]);
        }
        row
    }

    fn head(&self) -> Vec<u8> {
        let mut row = MAGIC.to_vec();
        row.extend(VERSION.to_le_bytes());
        let params = &self.params;
        for size in [params.dim, params.terms, params.bits] {
            row.extend((size as u64).to_le_bytes());
        }
        row.extend(params.seed.to_le_bytes());
        row.extend((params.max_list as u64).to_le_bytes());
        row.extend((self.len() as u64).to_le_bytes());
        row.extend(self.directory.num_pages().to_le_bytes());
        row
    }
}

/// Bytes of a stored term.
fn term_bytes(bits: usize) -> usize {
    bits.div_ceil(8)
}

/// What the head says.
struct Head {
    num_vectors: usize,
    num_pages: u32,
}

impl Head {
    fn read(params: &HyperplanesParams, row: &[u8]) -> Result<Self, IndexError> {
        let mut reader = Reader(row);
        check_kind(&mut reader, MAGIC, "hyperplanes", VERSION..=VERSION)?;
        let found = reader.hyperplanes_params().ok_or_else(cut_off)?;
        // What a list takes is no property of the rows: it can be changed.
        let wanted = HyperplanesParams {
            max_list: found.max_list,
            ..*params
        };
        if found != wanted {
            return Err(foreign(format!("rows of {found:?}, wanted {params:?}")));
        }
        reader.hyperplanes_head().ok_or_else(cut_off)
    }
}

impl Reader<'_> {
    fn hyperplanes_params(&mut self) -> Option<HyperplanesParams> {
        Some(HyperplanesParams {
            dim: self.usize()?,
            terms: self.usize()?,
            bits: self.usize()?,
            seed: self.u64()?,
            max_list: self.usize()?,
        })
    }

    fn hyperplanes_head(&mut self) -> Option<Head> {
        Some(Head {
            num_vectors: self.usize()?,
            num_pages: self.u32()?,
        })
    }
}

/// Makes an index from its rows: pages in any order, then postings in any order.
#[derive(Debug)]
pub struct HyperplanesLoader<V> {
    index: Hyperplanes<V>,
    expected: usize,
    num_pages: u32,
    unfiled: Unfiled,
}

/// Vectors that are read and not yet in their lists. Lists of one term after the other are filled with many of them:
/// the tables of a term fit the processor's cache, those of all terms do not.
#[derive(Debug, Default)]
struct Unfiled {
    slots: Vec<u32>,
    /// By vector: a bit for each term, whether its list took the vector.
    filed: Vec<u64>,
    /// By term, then by vector.
    terms: Vec<Vec<u32>>,
}

impl Unfiled {
    /// Files all vectors under some of the terms, from the `first` on.
    ///
    /// # Errors
    ///
    /// A slot whose list cannot be that long.
    fn file(&self, postings: &mut [Postings], first: usize) -> Result<(), u32> {
        let (mut pairs, mut spare) = (Vec::new(), Vec::new());
        for (at, postings) in (first..).zip(postings) {
            pairs.clear();
            let vectors = self.terms[at].iter().zip(&self.slots).zip(&self.filed);
            for ((&term, &slot), filed) in vectors {
                if filed >> at & 1 == 1 {
                    pairs.push(u64::from(term) << 32 | u64::from(slot));
                } else {
                    postings.leave_out(term);
                }
            }
            postings.restore(&mut pairs, &mut spare)?;
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.filed.clear();
        for terms in &mut self.terms {
            terms.clear();
        }
    }
}

/// Vectors that are filed together: their terms take 134 MB if there are 64 terms, and what each thread sorts, 8 MB.
const FILED_TOGETHER: usize = if cfg!(test) { 64 } else { 1 << 19 };

impl<V: Vectors> HyperplanesLoader<V> {
    /// Reads the head, and checks that the index is of the kind that is wanted.
    ///
    /// # Errors
    ///
    /// [`IndexError::Foreign`] if the rows are of another kind, version or parameters,
    /// [`IndexError::Corrupt`] if the head cannot be read; with the store of vectors.
    pub fn new(
        params: HyperplanesParams,
        vectors: V,
        head: &[u8],
    ) -> Result<Self, (V, IndexError)> {
        match Head::read(&params, head) {
            Ok(head) => Ok(Self {
                index: Hyperplanes::with_vectors(params, vectors),
                expected: head.num_vectors,
                num_pages: head.num_pages,
                unfiled: Unfiled {
                    terms: vec![Vec::new(); params.terms],
                    ..Unfiled::default()
                },
            }),
            Err(error) => Err((vectors, error)),
        }
    }

    /// All pages are below this.
    pub fn num_pages(&self) -> u32 {
        self.num_pages
    }

    /// Gives the store of vectors back, of rows that could not be read.
    pub fn into_vectors(self) -> V {
        self.index.vectors
    }

    /// Takes a page.
    ///
    /// # Errors
    ///
    /// [`IndexError::Corrupt`].
    pub fn page(&mut self, page: u32, row: &[u8]) -> Result<(), IndexError> {
        self.index.directory.restore_row(page, row)
    }

    /// Takes what is stored of a vector; its page was given before.
    ///
    /// # Errors
    ///
    /// [`IndexError::Corrupt`].
    pub fn posting(&mut self, page: u32, number: u64, row: &[u8]) -> Result<(), IndexError> {
        let index = &mut self.index;
        let fail = |what: &str| corrupt(format!("vector {number} in page {page}: {what}"));
        let HyperplanesParams { terms, bits, .. } = index.params;
        let mut reader = Reader(row);
        let stored = reader
            .posting(index.padded_dim, terms * term_bytes(bits))
            .ok_or_else(|| fail("of another length"))?;
        if !stored.factor.is_finite() || stored.filed.checked_shr(terms as u32).unwrap_or(0) != 0 {
            return Err(fail("not a code, or lists that there are not"));
        }
        let slot = index
            .directory
            .claim(number)
            .filter(|&slot| page_of(slot) == page)
            .ok_or_else(|| fail("twice, or in no page"))?;
        let stored_terms = stored.terms.chunks_exact(term_bytes(bits));
        for (terms, bytes) in self.unfiled.terms.iter_mut().zip(stored_terms) {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            let term = u32::from_le_bytes(word);
            if u64::from(term) >> bits != 0 {
                return Err(fail("a term of too many bits"));
            }
            terms.push(term);
        }
        self.unfiled.slots.push(slot);
        self.unfiled.filed.push(stored.filed);
        index.directory.set(slot, PRESENT);
        index.codes.restore(slot, stored.factor, &stored.code);
        if self.unfiled.slots.len() >= FILED_TOGETHER {
            self.file()?;
        }
        Ok(())
    }

    /// Puts vectors that were read into their lists, in the order in which they were read.
    fn file(&mut self) -> Result<(), IndexError> {
        let unfiled = &self.unfiled;
        let num_threads = std::thread::available_parallelism().map_or(1, usize::from);
        let per_thread = self.index.params.terms.div_ceil(num_threads);
        let parts = self.index.postings.chunks_mut(per_thread);
        let outcome = std::thread::scope(|scope| {
            let threads: Vec<_> = parts
                .zip((0..).step_by(per_thread))
                .map(|(postings, first)| scope.spawn(move || unfiled.file(postings, first)))
                .collect();
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().expect("filing does not panic"))
        });
        outcome.map_err(|slot| {
            let number = self.index.directory.number(slot);
            corrupt(format!(
                "vector {number} in page {}: in a list that is longer than any",
                page_of(slot)
            ))
        })?;
        self.unfiled.clear();
        Ok(())
    }

    /// Files what is left, and checks that nothing is missing.
    ///
    /// # Errors
    ///
    /// [`IndexError::Corrupt`] if vectors are missing, or are in lists that cannot be.
    pub fn check(&mut self) -> Result<(), IndexError> {
        self.file()?;
        check_count(self.index.len(), self.expected)
    }

    /// Returns the index, [checked](Self::check), which keeps track of its rows from here on.
    pub fn finish(mut self) -> Hyperplanes<V> {
        debug_assert!(self.unfiled.slots.is_empty(), "a loader is checked first");
        self.index.journal.is_on = true;
        self.index
    }
}

/// A row of a vector.
struct Stored<'a> {
    factor: f32,
    code: Vec<u64>,
    filed: u64,
    terms: &'a [u8],
}

impl<'a> Reader<'a> {
    fn posting(&mut self, padded_dim: usize, num_term_bytes: usize) -> Option<Stored<'a>> {
        let factor = f32::from_bits(self.u32()?);
        let words = self.bytes(padded_dim / 8)?.as_chunks::<8>().0;
        let stored = Stored {
            factor,
            code: words.iter().map(|&word| u64::from_le_bytes(word)).collect(),
            filed: self.u64()?,
            terms: self.bytes(num_term_bytes)?,
        };
        self.rest().is_empty().then_some(stored)
    }
}
