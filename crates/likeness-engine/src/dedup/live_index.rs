//! The index of decided images: in memory, with its rows in the state store.
//!
//! The assign stage is its one writer. Images enter the cells [`BLOCK`] at a time, when the last one of
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
use likeness_index::{Accuracy, Cells, CellsParams, Filter, OpenedVectors, SearchParams};
use tracing::{info, warn};

use super::compare::ViewsMode;
use super::config::DedupConfig;
use super::records::{Candidate, NumberRecord};
use audit::{AuditConfig, Auditor};
pub(super) use decision::{BLOCK, Before};
use decision::{best_first, cells_end};
pub(super) use recent::{Recent, SEGMENT};
use rows::{Index, Loaded, each_record};
pub(super) use rows::{corrupt, write_all};
pub(super) use views::{BeforeWithViews, RecentViews, unite};

/// Seed of the index's rotation. Part of a generation's parameters.
pub(super) const ROTATION_SEED: u64 = 0x6c69_6b65_6e65_7373;

/// How the index is searched.
#[derive(Debug, Clone, Copy)]
pub(super) struct IndexConfig {
    /// Components of an embedding.
    pub dim: usize,
    /// Candidates of an image at most.
    pub max_candidates: usize,
    /// Cells that a search looks into.
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
            dim,
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

    /// Images that [`Recent`] must hold: those that are searched exactly, and those not in the cells yet.
    fn latest(&self) -> u64 {
        self.exact_below.max(BLOCK)
    }
}

/// Decided images by their embeddings. Many readers; the assign stage is the one writer.
#[derive(Debug)]
pub(super) struct LiveIndex {
    config: IndexConfig,
    auditor: Auditor,
    // Held for one search or one insertion, both well under a millisecond but for the insertion that
    // makes a new cell, which takes a few.
    inner: RwLock<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Absent only while its rows are read again.
    cells: Option<Index>,
    recent: Recent,
    views: RecentViews,
    /// Numbers below this have entered the cells, committed or not.
    in_cells: u64,
    /// Numbers whose images were erased: neither in the cells nor among the latest.
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
            inner: RwLock::new(Inner {
                cells: None,
                recent: Recent::new(config.dim, config.max_candidates, config.latest()),
                views: RecentViews::new(
                    config.dim,
                    config.max_candidates,
                    config.latest(),
                    config.views,
                ),
                in_cells: 0,
                erased: BTreeSet::new(),
                committed: 0,
                is_stale: false,
            }),
        };
        index.load(state, vectors, num_images).await?;
        Ok(index)
    }

    fn params(&self) -> CellsParams {
        params(self.config.dim)
    }

    async fn load(
        &self,
        state: &dyn StateStore,
        opened: OpenedVectors,
        num_images: u64,
    ) -> StoreResult<()> {
        let OpenedVectors { vectors, is_intact } = opened;
        let in_cells = cells_end(num_images);
        let erased = rows::erased(state).await?;
        let expected = in_cells - erased.range(..in_cells).count() as u64;
        let mut cells = match rows::load(state, self.params(), vectors).await? {
            Loaded::Index(cells) if cells.len() as u64 == expected => {
                self.restore_vectors(state, *cells, is_intact, in_cells)
                    .await?
            }
            Loaded::Index(cells) => {
                warn!(
                    found = cells.len(),
                    expected, "the index does not hold the images that it should; making it anew"
                );
                self.rebuild(state, cells.into_vectors(), in_cells).await?
            }
            Loaded::Nothing(vectors, error) => {
                if let Some(error) = error {
                    warn!(%error, "the index cannot be read; making it anew");
                }
                self.rebuild(state, vectors, in_cells).await?
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
        cells.wipe_removed().map_err(|error| corrupt(&error))?;
        let mut inner = self.write();
        inner.in_cells = in_cells;
        inner.erased = erased;
        inner.cells = Some(cells);
        inner.committed = num_images;
        inner.is_stale = false;
        Ok(())
    }

    /// Writes exact vectors again, if they were lost.
    async fn restore_vectors(
        &self,
        state: &dyn StateStore,
        mut cells: Index,
        is_intact: bool,
        num_images: u64,
    ) -> StoreResult<Index> {
        if is_intact && cells.has_all_vectors() {
            return Ok(cells);
        }
        info!(images = num_images, "writing the file of vectors again");
        each_record(state, 0..num_images, |number, record| {
            let Some(record) = record else { return Ok(()) };
            cells
                .restore_vector(number.0, &record.bf16()?)
                .map_err(|error| corrupt(&error))
        })
        .await?;
        cells.confirm_vectors();
        Ok(cells)
    }

    /// Makes the index from the records of images, and writes its rows.
    async fn rebuild(
        &self,
        state: &dyn StateStore,
        vectors: Box<dyn likeness_index::Vectors>,
        num_images: u64,
    ) -> StoreResult<Index> {
        let started = Instant::now();
        rows::clear(state).await?;
        let mut cells = Cells::with_vectors(self.params(), vectors);
        each_record(state, 0..num_images, |number, record| {
            let Some(record) = record else { return Ok(()) };
            cells
                .insert(number.0, &record.bf16()?)
                .map_err(|error| corrupt(&error))
        })
        .await?;
        cells.confirm_vectors();
        cells.track_changes();
        rows::write_all(state, cells.changes()).await?;
        if num_images > 0 {
            info!(images = num_images, elapsed = ?started.elapsed(), "index made anew");
        }
        Ok(cells)
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
            let cells = inner.cells.take().ok_or_else(|| {
                StoreError::corrupt(
                    "index",
                    "rows",
                    "could not be read again after a failed commit; restart to go on",
                )
            })?;
            cells.into_vectors()
        };
        // Vectors of images that were not committed are overwritten when their numbers are given again.
        warn!("a commit failed: reading the index again");
        let opened = OpenedVectors {
            vectors,
            is_intact: true,
        };
        self.load(state, opened, num_images).await
    }

    /// Returns the rows of the cells that changed, to commit with the batch that changed them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while the rows are being read again.
    pub(super) fn changes(&self) -> StoreResult<Vec<Write>> {
        let changes = self.write().cells_mut()?.changes();
        Ok(rows::writes(changes).collect())
    }

    /// Takes note that decided images are committed, in the order of their numbers, with the cells as they
    /// are now.
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
            cells_end(inner.committed)
        };
        let mut candidates = inner.recent.search_since(query, from, limit)?;
        if !is_exact {
            let probes = self.auditor.probes();
            candidates.extend(self.search_cells(inner, query, from, probes, limit, floor, keep)?);
            best_first(&mut candidates, limit);
        }
        let near = candidates.partition_point(|candidate| candidate.cosine >= floor);
        candidates.truncate(near.max(keep));
        Ok((candidates, is_exact))
    }

    /// Asks the cells for numbers below `end`.
    #[expect(clippy::too_many_arguments, reason = "one question, unpacked; private")]
    fn search_cells(
        &self,
        inner: &Inner,
        query: &[f32],
        end: u64,
        probes: usize,
        limit: usize,
        floor: f32,
        keep: usize,
    ) -> StoreResult<Vec<Candidate>> {
        let cells = inner.cells_ref()?;
        let params = SearchParams {
            probes,
            epsilon: self.config.epsilon,
            rerank: 0,
            angle_aware: true,
            accuracy: Accuracy::Fast,
        };
        // While a batch is decided the index may hold more than is committed.
        let span = Span(0..end);
        let filter: Option<&dyn Filter> = if inner.in_cells == end {
            None
        } else {
            Some(&span)
        };
        let mut answer = cells
            .range(query, floor, limit, &params, filter)
            .map_err(|error| corrupt(&error))?;
        if answer.neighbors.len() < keep {
            answer = cells
                .search(query, keep, &params, filter)
                .map_err(|error| corrupt(&error))?;
        }
        Ok(answer
            .neighbors
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
        let cells = inner.cells.as_ref().map_or(0, Cells::memory_bytes);
        let latest = inner.recent.memory_bytes() + inner.views.memory_bytes();
        (inner.committed, cells + latest)
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

pub(super) fn params(dim: usize) -> CellsParams {
    CellsParams {
        rotation_seed: ROTATION_SEED,
        ..CellsParams::new(dim)
    }
}

impl Inner {
    fn cells_ref(&self) -> StoreResult<&Index> {
        self.cells.as_ref().ok_or_else(being_read)
    }

    fn cells_mut(&mut self) -> StoreResult<&mut Index> {
        self.cells.as_mut().ok_or_else(being_read)
    }
}

fn being_read() -> StoreError {
    StoreError::unavailable(
        "index",
        std::io::Error::other("its rows are being read again"),
    )
}
