//! Which cells are near: 1-bit codes of all centroids, then exact distances of the best.

use std::array::from_fn;

use super::list::List;
use crate::kernels::{BLOCK, BlockLayout, Hit, Kernels, ScanQuery, ScanTable};
use crate::rabitq;

/// Blocks scanned before the limit is tightened.
const STRIDE: usize = 8;
/// Centroids compared exactly: as many more as cells are asked for, but not more than the second, and the first
/// beside. The code of a centroid errs by some percent of its distance; what it misses costs an insertion a
/// second-best cell, and a query a probe: of many, one of the last, which is worth little.
const MIN_OVERSAMPLING: usize = 14;
const MAX_OVERSAMPLING: usize = 128;

/// Queries for which the codes of centroids are scanned at once, where there are several.
pub(super) const ROUTED_TOGETHER: usize = 4;

/// How many centroids are compared exactly for so many cells.
fn oversampled(count: usize) -> usize {
    count + count.min(MAX_OVERSAMPLING) + MIN_OVERSAMPLING
}

/// The standard deviation of the estimate of a centroid's distance, as a share of the squared distance of the query
/// and the root over √D: 2·√((1−a²)/a²) with a = .8, for centroids that are as far from the root as the query.
const ERROR_SHARE: f32 = 1.5;

/// Centroids on their way from memory while one is compared.
const PREFETCH_AHEAD: usize = 2;

/// A cell and the squared distance of its centroid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Near {
    pub(crate) distance: f32,
    pub(crate) cell: u32,
}

/// Orders cells by distance, then by name: one comparison of integers, where thousands are sorted for a query.
fn order_key(distance: f32, cell: u32) -> u64 {
    // Bits of numbers that are not negative are in the order of the numbers; -0 is no square.
    debug_assert!(distance.is_sign_positive());
    u64::from(distance.to_bits()) << 32 | u64::from(cell)
}

impl Near {
    fn of_key(key: u64) -> Self {
        Self {
            distance: f32::from_bits((key >> 32) as u32),
            cell: key as u32,
        }
    }
}

/// A rotated query with everything that is computed from it once.
#[derive(Debug, Default)]
pub(crate) struct RotatedQuery {
    pub(crate) vector: Vec<f32>,
    pub(crate) table: ScanTable,
}

impl RotatedQuery {
    pub(crate) fn new(kernels: Kernels, vector: Vec<f32>) -> Self {
        let mut table = ScanTable::default();
        table.fill(kernels, &vector);
        Self { vector, table }
    }
}

/// Centroids by cell, with a list of their codes.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    layout: BlockLayout,
    kernels: Kernels,
    /// What the codes are relative to: the mean of the centroids at the last renewal.
    root: Vec<f32>,
    /// Rotated, by cell; those of free cells are whatever they were.
    centroids: Vec<f32>,
    codes: List,
    /// Position in `codes` by cell.
    positions: Vec<u32>,
    /// Cells at which the root is computed anew: twice those at the last renewal.
    renew_at: usize,
}

impl Router {
    pub(crate) fn new(layout: BlockLayout, kernels: Kernels) -> Self {
        Self {
            layout,
            kernels,
            root: vec![0.0; layout.padded_dim()],
            centroids: Vec::new(),
            codes: List::default(),
            positions: Vec::new(),
            renew_at: 16,
        }
    }

    /// How many cells there are.
    pub(crate) fn len(&self) -> usize {
        self.codes.len()
    }

    pub(crate) fn centroid(&self, cell: u32) -> &[f32] {
        let dim = self.layout.padded_dim();
        &self.centroids[cell as usize * dim..][..dim]
    }

    /// Cells in no particular, but deterministic order.
    pub(crate) fn cells(&self) -> impl Iterator<Item = u32> + '_ {
        self.codes.slots(self.layout)
    }

    /// Adds a cell that is not there. Cells are dense.
    pub(crate) fn insert(&mut self, cell: u32, centroid: &[f32]) {
        let dim = self.layout.padded_dim();
        let needed = (cell as usize + 1) * dim;
        if self.centroids.len() < needed {
            self.centroids.resize(needed, 0.0);
            self.positions.resize(cell as usize + 1, u32::MAX);
        }
        self.centroids[cell as usize * dim..needed].copy_from_slice(centroid);
        self.push_code(cell);
        if self.codes.len() >= self.renew_at {
            self.renew();
        }
    }

    pub(crate) fn remove(&mut self, cell: u32) {
        let position = self.positions[cell as usize];
        if let Some(moved) = self.codes.swap_remove(self.layout, position as usize) {
            self.positions[moved as usize] = position;
        }
        self.positions[cell as usize] = u32::MAX;
    }

    /// Moves a cell that is there.
    pub(crate) fn replace(&mut self, cell: u32, centroid: &[f32]) {
        self.remove(cell);
        // There are no more cells than before, so the root stays.
        self.insert(cell, centroid);
    }

    pub(crate) fn root(&self) -> &[f32] {
        &self.root
    }

    pub(crate) fn renew_at(&self) -> usize {
        self.renew_at
    }

    /// Takes what an earlier router had; cells follow by [`restore`](Self::restore).
    pub(crate) fn set_root(&mut self, root: Vec<f32>, renew_at: usize) {
        self.root = root;
        self.renew_at = renew_at;
    }

    /// Like [`insert`](Self::insert), but never moves the root.
    pub(crate) fn restore(&mut self, cell: u32, centroid: &[f32]) {
        let renew_at = std::mem::replace(&mut self.renew_at, usize::MAX);
        self.insert(cell, centroid);
        self.renew_at = renew_at;
    }

    fn push_code(&mut self, cell: u32) {
        let dim = self.layout.padded_dim();
        let mut nibbles = vec![0; dim / 4];
        let (factors, _) =
            rabitq::encode(self.kernels, self.centroid(cell), &self.root, &mut nibbles);
        self.positions[cell as usize] = self.codes.len() as u32;
        self.codes.push(self.layout, &nibbles, factors, cell);
    }

    /// Moves the root to where the centroids are now. Done each time their number has doubled, so it costs
    /// an insertion a constant share.
    fn renew(&mut self) {
        let mut cells: Vec<u32> = self.cells().collect();
        // In one order, so that the sum has one rounding.
        cells.sort_unstable();
        self.renew_at = cells.len() * 2;
        let mut root = vec![0.0; self.layout.padded_dim()];
        for &cell in &cells {
            for (sum, component) in root.iter_mut().zip(self.centroid(cell)) {
                *sum += component;
            }
        }
        let scale = 1.0 / cells.len() as f32;
        root.iter_mut().for_each(|component| *component *= scale);
        self.root = root;
        self.codes.clear();
        for cell in cells {
            self.push_code(cell);
        }
    }

    /// Returns the `count` nearest cells, nearest first.
    pub(crate) fn nearest(&self, query: &RotatedQuery, count: usize) -> Vec<Near> {
        let count = count.min(self.len());
        let [hits] = self.promising([query], oversampled(count), [f32::INFINITY]);
        self.best(query, &hits, count)
    }

    /// The nearest cell of each query, as [`nearest`](Self::nearest) finds it, or none if there are no cells. Several
    /// queries together take less time than one by one.
    pub(crate) fn nearest_of_each<const N: usize>(
        &self,
        queries: [&RotatedQuery; N],
    ) -> [Option<Near>; N] {
        let hits = self.promising(queries, oversampled(1), [f32::INFINITY; N]);
        from_fn(|idx| self.best(queries[idx], &hits[idx], 1).pop())
    }

    /// For each query the nearest cell other than `except`, as far as codes tell, if it is nearer than its distance.
    /// One that is hardly nearer may be missed.
    pub(crate) fn nearer<const N: usize>(
        &self,
        queries: [&RotatedQuery; N],
        distances: [f32; N],
        except: u32,
    ) -> [Option<Near>; N] {
        let limits = from_fn(|idx| {
            let query = queries[idx];
            let error = self.around(query) * ERROR_SHARE / (query.vector.len() as f32).sqrt();
            distances[idx] + error
        });
        let mut hits = self.promising(queries, 2 + MIN_OVERSAMPLING, limits);
        from_fn(|idx| {
            hits[idx].retain(|hit| hit.slot != except);
            let nearest = self.compared(queries[idx], &hits[idx]).into_iter().min()?;
            Some(Near::of_key(nearest)).filter(|near| near.distance < distances[idx])
        })
    }

    /// The `count` nearest of these cells, nearest first.
    fn best(&self, query: &RotatedQuery, hits: &[Hit], count: usize) -> Vec<Near> {
        let mut near = self.compared(query, hits);
        if near.len() > count && count > 0 {
            near.select_nth_unstable(count - 1);
        }
        near.truncate(count);
        near.sort_unstable();
        near.into_iter().map(Near::of_key).collect()
    }

    /// For each query the `wanted` cells with the least estimates up to its limit, in no order.
    fn promising<const N: usize>(
        &self,
        queries: [&RotatedQuery; N],
        wanted: usize,
        limits: [f32; N],
    ) -> [Vec<Hit>; N] {
        let mut hits = limits.map(|_| Vec::with_capacity(wanted * 2 + STRIDE * BLOCK));
        let mut scans = from_fn(|idx| ScanQuery {
            table: &queries[idx].table,
            add: self.around(queries[idx]),
            error: 0.0,
            limit: limits[idx],
        });
        let num_blocks = self.codes.num_blocks();
        for first in (0..num_blocks).step_by(STRIDE) {
            let blocks = first..num_blocks.min(first + STRIDE);
            self.codes
                .scan_blocks(self.kernels, self.layout, blocks, &scans, &mut hits);
            for (scan, hits) in scans.iter_mut().zip(&mut hits) {
                if hits.len() >= wanted * 2 {
                    scan.limit = keep_best(hits, wanted);
                }
            }
        }
        for hits in &mut hits {
            keep_best(hits, wanted);
        }
        hits
    }

    /// Squared distance of a query and the root.
    fn around(&self, query: &RotatedQuery) -> f32 {
        self.kernels.squared_distance_f32(&query.vector, &self.root)
    }

    /// Exact distances of cells, as [`order_key`]s.
    fn compared(&self, query: &RotatedQuery, hits: &[Hit]) -> Vec<u64> {
        hits.iter()
            .enumerate()
            .map(|(idx, hit)| {
                if let Some(later) = hits.get(idx + PREFETCH_AHEAD) {
                    Kernels::prefetch(self.centroid(later.slot));
                }
                order_key(self.distance(query, hit.slot), hit.slot)
            })
            .collect()
    }

    /// Returns all cells, nearest first, by exact distances.
    pub(crate) fn all(&self, query: &RotatedQuery) -> Vec<Near> {
        let mut near: Vec<u64> = self
            .cells()
            .map(|cell| order_key(self.distance(query, cell), cell))
            .collect();
        near.sort_unstable();
        near.into_iter().map(Near::of_key).collect()
    }

    pub(crate) fn distance(&self, query: &RotatedQuery, cell: u32) -> f32 {
        self.kernels
            .squared_distance_f32(&query.vector, self.centroid(cell))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.codes.memory_bytes()
            + (self.centroids.capacity() + self.root.capacity()) * size_of::<f32>()
            + self.positions.capacity() * size_of::<u32>()
    }
}

/// Keeps the `count` hits with the least estimates, of equal ones those of the smaller slots; returns what an
/// estimate must not exceed to be among them.
pub(super) fn keep_best(hits: &mut Vec<Hit>, count: usize) -> f32 {
    if hits.len() <= count {
        return f32::INFINITY;
    }
    let Some(last) = count.checked_sub(1) else {
        hits.clear();
        return f32::NEG_INFINITY;
    };
    hits.select_nth_unstable_by_key(last, Hit::order);
    hits.truncate(count);
    hits[last].estimate
}
