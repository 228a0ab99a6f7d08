//! One search under way: scans cells, nearest first, and compares exactly what is promising at once, so that
//! the bound is tight early; what may still count is compared at the end.

use std::cmp::Reverse;

use super::Cells;
use super::best::{Best, Goal};
use super::router::{Near, RotatedQuery};
use super::search::{Accuracy, SearchParams};
use crate::filter::Filter;
use crate::kernels::{Hit, Kernels, ScanQuery};
use crate::rabitq;
use crate::vectors::Vectors;

/// Vectors on their way from memory while one is compared.
pub(super) const PREFETCH_AHEAD: usize = 8;

/// Cells that every search looks into before it may stop early; see [`SearchParams::stop_early`].
pub(super) const FIRST_CELLS: usize = 16;

/// What one search knows.
pub(super) struct Probe<'a, V> {
    index: &'a Cells<V>,
    comparable: &'a [f32],
    params: &'a SearchParams,
    filter: Option<&'a dyn Filter>,
    /// Exact distances of the best so far.
    pub(super) best: Best,
    /// What its bound does not rule out, though its estimate is worse than the best.
    postponed: Vec<Hit>,
    /// Codes looked at.
    pub(super) num_scanned: usize,
    num_opened: usize,
    /// Squared distance of the last of the [`FIRST_CELLS`], once it is known.
    yardstick: f32,
    /// Cells, nearest first, that were looked at or can hold nothing better.
    pub(super) num_settled: usize,
}

impl<'a, V: Vectors> Probe<'a, V> {
    pub(super) fn new(
        index: &'a Cells<V>,
        comparable: &'a [f32],
        params: &'a SearchParams,
        filter: Option<&'a dyn Filter>,
        goal: Goal,
        limit: usize,
    ) -> Self {
        Self {
            index,
            comparable,
            params,
            filter,
            best: Best::new(goal, limit),
            postponed: Vec::with_capacity(1_024),
            num_scanned: 0,
            num_opened: 0,
            yardstick: 0.0,
            num_settled: 0,
        }
    }

    /// Looks at cells, nearest first, as long as the search wants more. Call [`finish`](Self::finish) in the end.
    pub(super) fn run(&mut self, rotated: &RotatedQuery, near: &[Near]) {
        for (idx, cell) in near.iter().enumerate() {
            let limit = self.best.limit();
            if self.params.accuracy == Accuracy::Certified
                && self.index.nearest_possible(cell) > limit
            {
                // Cells come by the distance of their centroids; a later one may have a larger radius.
                self.num_settled += 1;
                continue;
            }
            if self.num_opened >= self.wanted_cells() {
                break;
            }
            if let Some(later) = near.get(idx + 1) {
                self.index.lists[later.cell as usize].prefetch();
            }
            self.num_opened += 1;
            self.num_settled += 1;
            if self.num_opened == FIRST_CELLS {
                self.yardstick = cell.distance;
            }
            self.open(rotated, cell, limit);
        }
    }

    /// How many cells this search looks into, as far as it can tell by now.
    ///
    /// The further beyond the centroids around a query its answers are, the more cells can hold better ones. How the
    /// number follows the ratio of both is measured, not derived: ADR 011.
    pub(super) fn wanted_cells(&self) -> usize {
        let probes = self.params.probes;
        if !self.params.may_stop_early() || self.num_opened < FIRST_CELLS {
            return probes;
        }
        // The smaller of both, also where the quotient is no number.
        let ratio = (self.best.limit() / self.yardstick).min(1.0);
        let wanted = (probes as f32 * ratio.powi(6)) as usize;
        wanted.clamp(FIRST_CELLS.min(probes), probes)
    }

    /// Scans one cell.
    fn open(&mut self, rotated: &RotatedQuery, cell: &Near, limit: f32) {
        let index = self.index;
        let list = &index.lists[cell.cell as usize];
        let scan = ScanQuery {
            table: &rotated.table,
            add: cell.distance,
            error: self.params.epsilon * cell.distance.sqrt(),
            limit,
        };
        let first = self.postponed.len();
        list.scan(index.kernels, index.layout, &scan, &mut self.postponed);
        self.num_scanned += list.len();
        if let Some(filter) = self.filter {
            retain_from(&mut self.postponed, first, |hit| {
                filter.contains(index.directory.number(hit.slot))
            });
        }
        if self.params.angle_aware && limit.is_finite() {
            self.tighten(first, &scan);
        }
        if self.best.is_full() {
            self.compare_promising(first);
        } else {
            self.fill();
        }
    }

    /// Narrows the bounds of what came after `first` by what is known of the angle, and drops what that
    /// rules out.
    fn tighten(&mut self, first: usize, scan: &ScanQuery<'_>) {
        let dim = self.index.layout.padded_dim();
        let inverse = 1.0 / scan.error;
        retain_from(&mut self.postponed, first, |hit| {
            let square = rabitq::residual_square(hit.scale, hit.error * inverse, dim);
            hit.error = rabitq::angle_aware_error(hit.error, square, scan.add, scan.limit);
            hit.estimate - hit.error <= scan.limit
        });
    }

    /// Compares what came after `first` and seems better than the worst of the best.
    fn compare_promising(&mut self, first: usize) {
        let limit = self.best.limit();
        let mut kept = first;
        for idx in first..self.postponed.len() {
            if self.postponed[idx].estimate > limit {
                self.postponed.swap(kept, idx);
                kept += 1;
            }
        }
        self.compare(kept);
    }

    /// Compares the most promising of all, as many as are missing.
    fn fill(&mut self) {
        let missing = self.best.missing();
        let kept = self.postponed.len().saturating_sub(missing);
        if kept > 0 {
            // The least estimates go to the end.
            self.postponed
                .select_nth_unstable_by_key(kept - 1, |hit| Reverse(hit.order()));
        }
        self.compare(kept);
    }

    /// Compares what is postponed from `first` on; if that would be too many, those with the least estimates.
    ///
    /// All of them, whatever is found on the way: which are compared must not depend on their order, which is
    /// that of the lists.
    fn compare(&mut self, mut first: usize) {
        let index = self.index;
        let room = self.depth() - self.best.num_compared;
        let too_many = (self.postponed.len() - first).saturating_sub(room);
        if too_many > 0 {
            self.postponed[first..]
                .select_nth_unstable_by_key(too_many - 1, |hit| Reverse(hit.order()));
            first += too_many;
        }
        let hits = &self.postponed[first..];
        for hit in hits.iter().take(PREFETCH_AHEAD) {
            Kernels::prefetch(index.vectors.get(hit.slot));
        }
        for (idx, hit) in hits.iter().enumerate() {
            if let Some(later) = hits.get(idx + PREFETCH_AHEAD) {
                Kernels::prefetch(index.vectors.get(later.slot));
            }
            let distance = index.exact_distance(self.comparable, hit.slot);
            self.best.offer(distance, index.directory.number(hit.slot));
        }
        self.best.num_compared += hits.len();
        self.postponed.truncate(first);
    }

    /// Compares what is left and can be among the best: the more promising part first, for what it says of
    /// the rest.
    pub(super) fn finish(&mut self) {
        self.drop_hopeless();
        let kept = self.postponed.len().saturating_sub(self.best.capacity());
        if kept > 0 {
            self.postponed
                .select_nth_unstable_by_key(kept - 1, |hit| Reverse(hit.order()));
            self.compare(kept);
            self.drop_hopeless();
        }
        self.compare(0);
    }

    fn drop_hopeless(&mut self) {
        let limit = self.best.limit();
        self.postponed
            .retain(|hit| hit.estimate - hit.error <= limit);
    }

    /// Vectors that may be compared.
    fn depth(&self) -> usize {
        match self.params.rerank {
            0 => usize::MAX,
            rerank => rerank.max(self.best.capacity()),
        }
    }
}

/// [`Vec::retain_mut`] for the elements after `first`.
fn retain_from(hits: &mut Vec<Hit>, first: usize, mut is_kept: impl FnMut(&mut Hit) -> bool) {
    let mut kept = first;
    for idx in first..hits.len() {
        let mut hit = hits[idx];
        if is_kept(&mut hit) {
            hits[kept] = hit;
            kept += 1;
        }
    }
    hits.truncate(kept);
}
