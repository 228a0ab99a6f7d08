//! The index of decided images: in memory, with its rows in the state store.
//!
//! The assign stage is its one writer. Images enter the lists of terms [`BLOCK`] at a time, when the last one of
//! them is decided; the rows that this changes are part of that batch's commit, and until it is made no
//! search returns an image of the batch. A commit whose outcome is unknown makes the index read its rows
//! again. Exact vectors are in a store of their own and are read only to compare the best.
//!
//! The latest images are kept in [`Recent`] as well, which looks at all of them: a corpus that fits into
//! it is searched exactly. So are the views of these images: see `views.rs`.
//!
//! Searches of callers and of the stages that work ahead see whatever is committed. The search that a
//! decision is made from sees what follows from the image's number alone: see `decision.rs`.

mod audit;
mod capped;
mod decision;
mod erase;
mod recent;
mod rows;
#[cfg(test)]
mod tests;
mod views;

use std::collections::BTreeSet;
use std::sync::RwLock;
use std::time::Instant;

use likeness_core::state::{StateStore, Write};
use likeness_core::{ImageNumber, StoreError, StoreResult};
use likeness_index::{
    CellsParams, Filter, HyperplanesParams, OpenedVectors, TermIndex, TermScheme, TermSearch,
};
use tracing::{info, warn};

use super::compare::ViewsMode;
use super::config::{DedupConfig, IndexScheme};
use super::records::{Candidate, NumberRecord};
use audit::{AuditConfig, Auditor};
use capped::CappedTerms;
pub use decision::BLOCK;
pub(super) use decision::{Before, refine_after};
use decision::{best_first, index_end};
pub(super) use recent::{Recent, SEGMENT};
use rows::{Index, Loaded, each_record};
pub(super) use rows::{corrupt, write_all};
pub(super) use views::{BeforeWithViews, RecentViews, unite};

/// Seed of the index's rotation. Part of a generation's parameters.
pub(super) const ROTATION_SEED: u64 = 0x6c69_6b65_6e65_7373;

/// How the index is searched.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndexConfig {
    /// What terms are made of, and the components of an embedding.
    pub scheme: TermScheme,
    /// Candidates of an image at most.
    pub max_candidates: usize,
    /// Cells that a search looks into, or buckets of each term.
    pub probes: usize,
    /// ε₀ of the bound by which codes rule images out.
    pub epsilon: f32,
    /// Latest images that are searched exactly.
    pub exact_below: u64,
    /// Which views are searched.
    pub views: ViewsMode,
    /// How the recall is watched.
    pub audit: AuditConfig,
}

impl IndexConfig {
    /// Returns what a service's configuration says of an index of `dim` components.
    pub(super) fn of(config: &DedupConfig, dim: usize) -> Self {
        Self {
            scheme: scheme(config.index_scheme, dim),
            max_candidates: config.max_candidates,
            probes: config.index_probes,
            epsilon: config.index_epsilon,
            exact_below: config.exact_below,
            views: config.views,
            audit: AuditConfig {
                every: config.audit_every,
                wanted: config.wanted_recall,
                max_probes: config.max_probes,
            },
        }
    }

    /// Components of an embedding.
    pub(super) fn dim(&self) -> usize {
        self.scheme.dim()
    }

    /// Images that [`Recent`] must hold: those that are searched exactly, and those in no list yet.
    fn latest(&self) -> u64 {
        self.exact_below.max(BLOCK)
    }
}

/// Decided images by their embeddings. Many readers; the assign stage is the one writer.
#[derive(Debug)]
pub(super) struct LiveIndex {
    config: IndexConfig,
    auditor: Auditor,
    capped: CappedTerms,
    // Held for one search, one insertion or what makes one cell better: all well under a millisecond, but for an insertion
    // that makes a new cell, and for what empties a cell or fills others; these take a few.
    inner: RwLock<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Absent only while its rows are read again.
    index: Option<Index>,
    recent: Recent,
    views: RecentViews,
    /// Numbers below this have entered the index, committed or not.
    in_index: u64,
    /// Numbers whose images were erased: neither in the index nor among the latest.
    erased: BTreeSet<u64>,
    /// Numbers below this are committed.
    committed: u64,
    /// The index holds what may never have been committed.
    is_stale: bool,
}

/// What a search found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Images in the index: those with a number below this one were looked at.
    pub num_indexed: u64,
    /// Whether every one of them was.
    pub is_exact: bool,
    /// Whether this search is one to [`audit`](LiveIndex::audit).
    pub is_due: bool,
    /// The best, best first.
    pub candidates: Vec<Candidate>,
}

/// Numbers from one up to another.
#[derive(Debug)]
struct Span(std::ops::Range<u64>);

impl Filter for Span {
    fn contains(&self, number: u64) -> bool {
        self.0.contains(&number)
    }
}

impl LiveIndex {
    /// Reads the index of the first `num_images` images, or makes it anew from their records.
    ///
    /// # Errors
    /// If the store fails, or a record is missing.
    pub(super) async fn open(
        state: &dyn StateStore,
        vectors: OpenedVectors,
        config: IndexConfig,
        num_images: u64,
    ) -> StoreResult<Self> {
        let index = Self {
            config,
            auditor: Auditor::new(config.audit, config.probes),
            capped: CappedTerms::default(),
            inner: RwLock::new(Inner {
                index: None,
                recent: Recent::new(config.dim(), config.max_candidates, config.latest()),
                views: RecentViews::new(
                    config.dim(),
                    config.max_candidates,
                    config.latest(),
                    config.views,
                ),
                in_index: 0,
                erased: BTreeSet::new(),
                committed: 0,
                is_stale: false,
            }),
        };
        index.load(state, vectors, num_images).await?;
        Ok(index)
    }

    async fn load(
        &self,
        state: &dyn StateStore,
        opened: OpenedVectors,
        num_images: u64,
    ) -> StoreResult<()> {
        let OpenedVectors { vectors, is_intact } = opened;
        let in_index = index_end(num_images);
        let erased = rows::erased(state).await?;
        let expected = in_index - erased.range(..in_index).count() as u64;
        let mut found = match rows::load(state, self.config.scheme, vectors).await? {
            Loaded::Index(found) if found.len() as u64 == expected => {
                self.restore_vectors(state, found, is_intact, in_index)
                    .await?
            }
            Loaded::Index(found) => {
                warn!(
                    found = found.len(),
                    expected, "the index does not hold the images that it should; making it anew"
                );
                self.rebuild(state, found.into_vectors(), in_index).await?
            }
            Loaded::Nothing(vectors, error) => {
                if let Some(error) = error {
                    warn!(%error, "the index cannot be read; making it anew");
                }
                self.rebuild(state, vectors, in_index).await?
            }
        };
        let begin = Recent::first_of(num_images, self.config.latest());
        {
            let mut inner = self.write();
            inner.recent.restart(begin);
            inner.views.clear();
        }
        each_record(state, begin..num_images, |number, record| {
            let mut inner = self.write();
            let Some(record) = record else {
                inner.recent.skip(number);
                return Ok(());
            };
            inner.views.insert(number, record)?;
            inner.recent.insert(number, &record.bf16()?)
        })
        .await?;
        // A loss of power may have brought back what was overwritten.
        found.wipe_removed().map_err(|error| corrupt(&error))?;
        self.capped.note(found.capped());
        let mut inner = self.write();
        inner.in_index = in_index;
        inner.erased = erased;
        inner.index = Some(found);
        inner.committed = num_images;
        inner.is_stale = false;
        Ok(())
    }

    /// Writes exact vectors again, if they were lost.
    async fn restore_vectors(
        &self,
        state: &dyn StateStore,
        mut index: Index,
        is_intact: bool,
        num_images: u64,
    ) -> StoreResult<Index> {
        if is_intact && index.has_all_vectors() {
            return Ok(index);
        }
        info!(images = num_images, "writing the file of vectors again");
        each_record(state, 0..num_images, |number, record| {
            let Some(record) = record else { return Ok(()) };
            index
                .restore_vector(number.0, &record.bf16()?)
                .map_err(|error| corrupt(&error))
        })
        .await?;
        index.confirm_vectors();
        Ok(index)
    }

    /// Makes the index from the records of images, and writes its rows.
    async fn rebuild(
        &self,
        state: &dyn StateStore,
        vectors: Box<dyn likeness_index::Vectors>,
        num_images: u64,
    ) -> StoreResult<Index> {
        let started = Instant::now();
        rows::clear(state, num_images).await?;
        let mut index = TermIndex::with_vectors(self.config.scheme, vectors);
        each_record(state, 0..num_images, |number, record| {
            if let Some(record) = record {
                index
                    .insert(number.0, &record.bf16()?)
                    .map_err(|error| corrupt(&error))?;
            }
            refine_after(&mut index, number.0);
            Ok(())
        })
        .await?;
        index.confirm_vectors();
        index.track_changes();
        rows::write_all(state, index.changes()).await?;
        if num_images > 0 {
            info!(images = num_images, elapsed = ?started.elapsed(), "index made anew");
        }
        Ok(index)
    }

    /// Makes sure that the index holds exactly the first `num_images` images.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn settle(&self, state: &dyn StateStore, num_images: u64) -> StoreResult<()> {
        let vectors = {
            let mut inner = self.write();
            if !inner.is_stale && inner.committed == num_images {
                return Ok(());
            }
            // Reading the rows failed the last time, and with it went the store of vectors. Going on without
            // it would leave a file behind that says it is whole and is not.
            let index = inner.index.take().ok_or_else(|| {
                StoreError::corrupt(
                    "index",
                    "rows",
                    "could not be read again after a failed commit; restart to go on",
                )
            })?;
            index.into_vectors()
        };
        // Vectors of images that were not committed are overwritten when their numbers are given again.
        warn!("a commit failed: reading the index again");
        let opened = OpenedVectors {
            vectors,
            is_intact: true,
        };
        self.load(state, opened, num_images).await
    }

    /// Returns the rows of the index that changed, to commit with the batch that changed them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while the rows are being read again.
    pub(super) fn changes(&self) -> StoreResult<Vec<Write>> {
        let (changes, capped) = {
            let mut inner = self.write();
            let index = inner.index_mut()?;
            (index.changes(), index.capped())
        };
        self.capped.note(capped);
        Ok(rows::writes(changes).collect())
    }

    /// Takes note that decided images are committed, in the order of their numbers, with the index as it
    /// is now.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if an embedding is not one of this index's model.
    pub(super) fn committed(&self, records: &[(ImageNumber, NumberRecord)]) -> StoreResult<()> {
        let mut inner = self.write();
        for (number, record) in records {
            inner.recent.insert(*number, &record.bf16()?)?;
            inner.views.insert(*number, record)?;
            inner.committed = number.0 + 1;
        }
        inner.is_stale = false;
        Ok(())
    }

    /// Returns at most `limit` images whose cosine with `query` is at least `floor`, and in any
    /// case the `keep` best.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the query is not an embedding of this index's model.
    pub(super) fn search(
        &self,
        query: &[f32],
        limit: usize,
        floor: f32,
        keep: usize,
    ) -> StoreResult<Found> {
        let inner = self.read();
        let (candidates, is_exact) = self.search_in(&inner, query, limit, floor, keep)?;
        Ok(Found {
            num_indexed: inner.committed,
            is_exact,
            is_due: !is_exact && self.auditor.is_due(),
            candidates,
        })
    }

    /// Returns what [`search`](Self::search) finds, and whether every image was looked at.
    fn search_in(
        &self,
        inner: &Inner,
        query: &[f32],
        limit: usize,
        floor: f32,
        keep: usize,
    ) -> StoreResult<(Vec<Candidate>, bool)> {
        let is_exact = inner.recent.begin() == 0;
        let from = if is_exact {
            0
        } else {
            index_end(inner.committed)
        };
        let mut candidates = inner.recent.search_since(query, from, limit)?;
        if !is_exact {
            let probes = self.auditor.probes();
            candidates.extend(self.search_index(inner, query, from, probes, limit, floor, keep)?);
            best_first(&mut candidates, limit);
        }
        let near = candidates.partition_point(|candidate| candidate.cosine >= floor);
        candidates.truncate(near.max(keep));
        Ok((candidates, is_exact))
    }

    /// Asks the lists of terms for numbers below `end`.
    #[expect(clippy::too_many_arguments, reason = "one question, unpacked; private")]
    fn search_index(
        &self,
        inner: &Inner,
        query: &[f32],
        end: u64,
        probes: usize,
        limit: usize,
        floor: f32,
        keep: usize,
    ) -> StoreResult<Vec<Candidate>> {
        let index = inner.index_ref()?;
        let search = TermSearch {
            probes,
            epsilon: self.config.epsilon,
            max_candidates: self.config.max_candidates,
        };
        // While a batch is decided the index may hold more than is committed.
        let span = Span(0..end);
        let filter: Option<&dyn Filter> = if inner.in_index == end {
            None
        } else {
            Some(&span)
        };
        let mut answer = index
            .range(query, floor, limit, search, filter)
            .map_err(|error| corrupt(&error))?;
        if answer.len() < keep {
            answer = index
                .search(query, keep, search, filter)
                .map_err(|error| corrupt(&error))?;
        }
        Ok(answer
            .iter()
            .map(|neighbor| Candidate {
                number: ImageNumber(neighbor.number),
                cosine: neighbor.similarity,
            })
            .collect())
    }

    /// Returns how many images the index holds, and its memory in bytes.
    pub(super) fn size(&self) -> (u64, usize) {
        let inner = self.read();
        let index = inner.index.as_ref().map_or(0, TermIndex::memory_bytes);
        let latest = inner.recent.memory_bytes() + inner.views.memory_bytes();
        (inner.committed, index + latest)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner
            .read()
            .expect("a panic while inserting leaves no index to answer from")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner
            .write()
            .expect("a panic while inserting leaves no index to go on with")
    }
}

/// The terms of embeddings of `dim` components. The seed is part of a generation's parameters.
pub(super) fn scheme(scheme: IndexScheme, dim: usize) -> TermScheme {
    match scheme {
        IndexScheme::Cells => TermScheme::Cells(CellsParams {
            rotation_seed: ROTATION_SEED,
            ..CellsParams::new(dim)
        }),
        IndexScheme::Hyperplanes(planes) => TermScheme::Hyperplanes(HyperplanesParams {
            seed: ROTATION_SEED,
            max_list: planes.max_list,
            ..HyperplanesParams::new(dim, planes.terms, planes.bits)
        }),
    }
}

impl Inner {
    fn index_ref(&self) -> StoreResult<&Index> {
        self.index.as_ref().ok_or_else(being_read)
    }

    fn index_mut(&mut self) -> StoreResult<&mut Index> {
        self.index.as_mut().ok_or_else(being_read)
    }
}

fn being_read() -> StoreError {
    StoreError::unavailable(
        "index",
        std::io::Error::other("its rows are being read again"),
    )
}
