//! Making room in cells, dissolving short ones, and moving what is nearer elsewhere.
//!
//! A cell that is too long gets a new neighbour, not just a cut through the middle: a cut follows whatever
//! varies most among its members, and clusters that were scattered over many cells before they had enough
//! members to be seen would stay scattered. So a *seed* is looked for that would draw vectors from many
//! cells around (a step of mean shift from a random member, then a round of k-means; gains are told by
//! codes, at nanoseconds a vector), as a new centre of k-means++ would. Only if the cell is still too long
//! is it cut in two.
//!
//! Measured at 200,000 × 256 in clusters that share 32 dimensions of noise, lists of 128: cuts alone find
//! .20 of the ten nearest in 8 probes and .71 in 256, with seeds .47 and .84; k-means over all vectors
//! with as many cells, .58 and .91.
//!
//! A seed is the mean of what it draws, and each of these vectors is nearer to that for being part of it. Gains are told as
//! if it were not (`without_itself`): a seed is taken if it would also draw others of its kind. Measured with refinement as in
//! the pipeline, without and with: 100,000 × 512 without clusters 8,226 cells and 1,028; in a thousand clusters 2,965 and
//! 1,363, recall@10 in 32 probes .958 and .994; 1,000,000 × 100 in 10,000 clusters 12,186 and 12,579, .897 and .919.

use super::router::{RotatedQuery, keep_best};
use super::{Cells, List};
use crate::kernels::{Hit, Kernels, ScanQuery};
use crate::rabitq;
use crate::rotation::split_mix_64;
use crate::vectors::Vectors;

/// Seeds looked at for one new cell.
const NUM_SEEDS: u64 = 4;
/// Cells around a seed from which it draws, and around a cut whose vectors may move.
const NUM_NEIGHBOURS: usize = 32;
/// A seed moves to the mean of this share of a full list: its nearest vectors.
const SHIFT_SHARE: usize = 8;
/// Least vectors a mean is worth taking of.
pub(super) const MIN_MEAN: usize = 8;
/// Rounds of k-means for a seed.
const SEED_ROUNDS: usize = 2;
/// Rounds of 2-means for a cut. It is local and will be cut again: the last percent is not worth more.
const CUT_ROUNDS: usize = 8;
/// The smaller part of a cut has at least one in so many vectors.
const MIN_SHARE: usize = 8;
/// Lengths of residuals are stored rounded: what is this much further out is still looked at.
const ROUNDING: f32 = 1.001;

/// A cell's vectors, rotated, by slot.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) slots: Vec<u32>,
    vectors: Vec<f32>,
}

impl Members {
    /// Slots with their vectors, of so many components.
    pub(super) fn iter(&self, dim: usize) -> impl Iterator<Item = (&u32, &[f32])> {
        self.slots.iter().zip(self.rows(dim))
    }

    /// Vectors of so many components.
    pub(super) fn rows(&self, dim: usize) -> impl Iterator<Item = &[f32]> {
        self.vectors.chunks_exact(dim)
    }
}

impl<V: Vectors> Cells<V> {
    /// Adds an empty cell under the least free name.
    pub(super) fn new_cell(&mut self, centroid: &[f32]) -> u32 {
        let cell = self.free_cells.pop_first().unwrap_or_else(|| {
            self.lists.push(List::default());
            self.radii.push(0.0);
            self.lists.len() as u32 - 1
        });
        self.radii[cell as usize] = 0.0;
        self.router.insert(cell, centroid);
        self.journal.touch_cell(cell);
        cell
    }

    /// Makes room in a cell that has grown too long.
    pub(super) fn split(&mut self, cell: u32) {
        self.counters.splits += 1;
        if let Some(centroid) = self.best_seed(&self.member_slots(cell)) {
            self.spawn(&centroid);
        }
        if self.lists[cell as usize].len() > self.max_list() {
            let members = self.members(cell);
            self.cut(cell, &members);
        }
    }

    /// Returns, of some centroids near random members, the one that would shorten residuals the most.
    fn best_seed(&self, members: &[u32]) -> Option<Vec<f32>> {
        let mut best: Option<(f32, Vec<f32>)> = None;
        for trial in 0..NUM_SEEDS {
            let mut state = self.counters.splits * NUM_SEEDS + trial;
            let pick = split_mix_64(&mut state) as usize % members.len();
            let mut centroid = self.shifted(self.stored_rotated(members[pick]));
            let (mut gain, mut handicap) = (0.0, without_itself(self.num_shifted()));
            for _ in 0..SEED_ROUNDS {
                let query = RotatedQuery::new(self.kernels, centroid.clone());
                let drawn = self.drawn(&query, handicap);
                if drawn.len() < MIN_MEAN {
                    gain = 0.0;
                    break;
                }
                gain = drawn.iter().map(|&(_, gain)| gain).sum();
                handicap = without_itself(drawn.len());
                let slots: Vec<u32> = drawn.iter().map(|&(slot, _)| slot).collect();
                centroid = self.mean_of(&slots);
            }
            if gain > best.as_ref().map_or(0.0, |(gain, _)| *gain) {
                best = Some((gain, centroid));
            }
        }
        best.map(|(_, centroid)| centroid)
    }

    /// Vectors of which a seed is the mean at first.
    fn num_shifted(&self) -> usize {
        (self.max_list() / SHIFT_SHARE).max(MIN_MEAN)
    }

    /// Returns the mean of what seems nearest to a vector.
    fn shifted(&self, vector: Vec<f32>) -> Vec<f32> {
        let seed = RotatedQuery::new(self.kernels, vector);
        let count = self.num_shifted();
        let mut hits: Vec<Hit> = Vec::new();
        let mut limit = f32::INFINITY;
        for near in self.router.nearest(&seed, NUM_NEIGHBOURS) {
            let scan = ScanQuery {
                table: &seed.table,
                add: near.distance,
                error: 0.0,
                limit,
            };
            self.lists[near.cell as usize].scan(self.kernels, self.layout, &scan, &mut hits);
            if hits.len() >= 2 * count {
                limit = keep_best(&mut hits, count);
            }
        }
        keep_best(&mut hits, count);
        // In one order, so that the sum has one rounding.
        hits.sort_unstable_by_key(|hit| hit.slot);
        let slots: Vec<u32> = hits.iter().map(|hit| hit.slot).collect();
        self.mean_of(&slots)
    }

    /// Returns the vectors around that seem nearer to `centroid` than to their own, by slot, and by how much; squared
    /// distances to `centroid` are multiplied by `handicap`.
    fn drawn(&self, centroid: &RotatedQuery, handicap: f32) -> Vec<(u32, f32)> {
        let dim = self.layout.padded_dim();
        let (mut drawn, mut hits) = (Vec::new(), Vec::new());
        for near in self.router.nearest(centroid, NUM_NEIGHBOURS) {
            let list = &self.lists[near.cell as usize];
            let radius = self.radii[near.cell as usize];
            let scan = ScanQuery {
                table: &centroid.table,
                add: near.distance,
                error: 0.0,
                limit: radius * radius * ROUNDING / handicap,
            };
            hits.clear();
            list.scan(self.kernels, self.layout, &scan, &mut hits);
            for hit in &hits {
                let position = self.directory.place(hit.slot).position as usize;
                let factors = list.factors(self.layout, position);
                let own = rabitq::residual_square(factors.scale, factors.error, dim);
                let gain = own - hit.estimate * handicap;
                if gain > 0.0 {
                    drawn.push((hit.slot, gain));
                }
            }
        }
        drawn.sort_unstable_by_key(|&(slot, _)| slot);
        drawn
    }

    /// The mean of stored vectors, rotated. Rotation is linear, so it is done once.
    fn mean_of(&self, slots: &[u32]) -> Vec<f32> {
        let mut sum = vec![0.0; self.params.dim];
        for (idx, &slot) in slots.iter().enumerate() {
            self.prefetch(slots, idx + PREFETCHED);
            let vector = self.vectors.get(slot);
            let scale = self.stored_scale(vector).expect(CHECKED);
            self.kernels.add_scaled(&mut sum, vector, scale);
        }
        let scale = 1.0 / slots.len().max(1) as f32;
        sum.iter_mut().for_each(|component| *component *= scale);
        self.rotate(&sum)
    }

    /// Makes a cell and moves to it what is nearer to it, as long as there is room; gives the cell up if that is
    /// nothing.
    fn spawn(&mut self, centroid: &[f32]) {
        let query = RotatedQuery::new(self.kernels, centroid.to_vec());
        let drawn = self.drawn(&query, 1.0);
        let cell = self.new_cell(centroid);
        'full: for batch in drawn.chunks(PREFETCHED) {
            for &(slot, _) in batch {
                Kernels::prefetch(self.vectors.get(slot));
            }
            for &(slot, _) in batch {
                if self.lists[cell as usize].len() >= self.max_list() {
                    break 'full;
                }
                self.move_if_nearer(slot, cell);
            }
        }
        if self.lists[cell as usize].len() == 0 {
            self.retire(cell);
        }
    }

    fn move_if_nearer(&mut self, slot: u32, cell: u32) {
        let place = self.directory.place(slot);
        let vector = self.stored_rotated(slot);
        let to = |cell| {
            self.kernels
                .squared_distance_f32(&vector, self.router.centroid(cell))
        };
        if to(cell) < to(place.cell) {
            self.counters.moved += 1;
            self.take_out(slot);
            self.push(cell, slot, &vector);
        }
    }

    /// Replaces a cell by two, and moves vectors around the cut to where they are nearest (LIRE: Xu et al.,
    /// "SPFresh", SOSP 2023, §3).
    fn cut(&mut self, cell: u32, members: &Members) {
        let dim = self.layout.padded_dim();
        let (centroids, sides) = two_means(&members.vectors, dim, |a, b| {
            self.kernels.squared_distance_f32(a, b)
        });
        let old = RotatedQuery::new(self.kernels, self.router.centroid(cell).to_vec());
        self.retire(cell);
        let parts = centroids.each_ref().map(|centroid| self.new_cell(centroid));
        let neighbours: Vec<u32> = self
            .router
            .nearest(&old, NUM_NEIGHBOURS + parts.len())
            .into_iter()
            .map(|near| near.cell)
            .filter(|cell| !parts.contains(cell))
            .collect();
        for ((&slot, vector), side) in members.iter(dim).zip(sides) {
            let target = self.nearest_after_cut(vector, &old, parts[side], &neighbours);
            self.counters.moved += u64::from(target != parts[side]);
            self.push(target, slot, vector);
        }
        for part in parts {
            let centroid = RotatedQuery::new(self.kernels, self.router.centroid(part).to_vec());
            for (slot, _) in self.drawn(&centroid, 1.0) {
                if self.lists[part as usize].len() >= self.max_list() {
                    break;
                }
                if self.directory.place(slot).cell != part {
                    self.move_if_nearer(slot, part);
                }
            }
        }
    }

    /// Where a vector of a cut cell goes: to its part, unless that is further away than the old centroid
    /// was, and a neighbour is nearer. (If its part is nearer than the old centroid, it is nearer than any
    /// neighbour, or the vector would have been there.)
    fn nearest_after_cut(
        &self,
        vector: &[f32],
        old: &RotatedQuery,
        part: u32,
        neighbours: &[u32],
    ) -> u32 {
        let distance = |centroid: &[f32]| self.kernels.squared_distance_f32(vector, centroid);
        let own = distance(self.router.centroid(part));
        if own <= distance(&old.vector) {
            return part;
        }
        let mut best = (own, part);
        for &cell in neighbours {
            let other = distance(self.router.centroid(cell));
            if other < best.0 && self.lists[cell as usize].len() < self.max_list() {
                best = (other, cell);
            }
        }
        best.1
    }

    /// Gives a short cell's vectors to the cells around it.
    pub(super) fn dissolve(&mut self, cell: u32) {
        if self.router.len() == 1 {
            if self.lists[cell as usize].len() == 0 {
                self.retire(cell);
            }
            return;
        }
        self.counters.dissolved += 1;
        let members = self.members(cell);
        self.retire(cell);
        for (&slot, vector) in members.iter(self.layout.padded_dim()) {
            let query = RotatedQuery::new(self.kernels, vector.to_vec());
            let target = self.router.nearest(&query, 1)[0].cell;
            self.push(target, slot, vector);
            if self.lists[target as usize].len() > self.max_list() {
                self.split(target);
            }
        }
    }

    /// Moves a cell to the mean of its vectors.
    pub(super) fn recentre(&mut self, cell: u32) {
        let members = self.members(cell);
        let centroid = self.mean_of(&members.slots);
        self.retire(cell);
        let cell = self.new_cell(&centroid);
        for (&slot, vector) in members.iter(self.layout.padded_dim()) {
            self.push(cell, slot, vector);
        }
    }

    /// Takes a cell out of use; its vectors are the caller's to place.
    fn retire(&mut self, cell: u32) {
        for slot in self.lists[cell as usize].slots(self.layout) {
            self.journal.leave(cell, slot);
        }
        self.router.remove(cell);
        self.lists[cell as usize].clear();
        self.radii[cell as usize] = 0.0;
        self.free_cells.insert(cell);
        self.journal.touch_cell(cell);
    }

    /// By slot, so that what follows does not depend on the order of the list.
    pub(super) fn member_slots(&self, cell: u32) -> Vec<u32> {
        let mut slots: Vec<u32> = self.lists[cell as usize].slots(self.layout).collect();
        slots.sort_unstable();
        slots
    }

    pub(super) fn members(&self, cell: u32) -> Members {
        let slots = self.member_slots(cell);
        let mut vectors = Vec::with_capacity(slots.len() * self.layout.padded_dim());
        for (idx, &slot) in slots.iter().enumerate() {
            self.prefetch(&slots, idx + PREFETCHED);
            vectors.extend(self.stored_rotated(slot));
        }
        Members { slots, vectors }
    }

    /// Asks for the vector of a slot that will be needed soon.
    fn prefetch(&self, slots: &[u32], idx: usize) {
        if let Some(&slot) = slots.get(idx) {
            Kernels::prefetch(self.vectors.get(slot));
        }
    }

    fn stored_rotated(&self, slot: u32) -> Vec<f32> {
        self.rotated_stored(self.vectors.get(slot)).expect(CHECKED)
    }
}

/// What squared distances to the mean of some vectors are multiplied by to be those to the mean of all of these but the
/// vector itself. Without it a few vectors that have nothing in common are nearer to their own mean than to any other,
/// and where there are no clusters cells would be made for ten vectors each.
fn without_itself(num_vectors: usize) -> f32 {
    let share = num_vectors as f32 / (num_vectors as f32 - 1.0);
    share * share
}

const CHECKED: &str = "it was checked when it was inserted";
/// Vectors asked for ahead of their use.
const PREFETCHED: usize = 8;

/// Returns two centroids and for each of `vectors` (rows of `dim`) which one it belongs to.
///
/// Starts from two vectors far apart, so there is no chance in it.
fn two_means(
    vectors: &[f32],
    dim: usize,
    distance: impl Fn(&[f32], &[f32]) -> f32,
) -> ([Vec<f32>; 2], Vec<usize>) {
    let rows: Vec<&[f32]> = vectors.chunks_exact(dim).collect();
    let furthest = |from: &[f32]| {
        let mut best = (f32::MIN, 0);
        for (idx, row) in rows.iter().enumerate() {
            let distance = distance(row, from);
            if distance > best.0 {
                best = (distance, idx);
            }
        }
        rows[best.1]
    };
    let first = furthest(&mean(rows.iter().copied(), dim));
    let mut centroids = [first.to_vec(), furthest(first).to_vec()];
    let mut sides = vec![0; rows.len()];
    for round in 0..CUT_ROUNDS {
        let margins: Vec<f32> = rows
            .iter()
            .map(|row| distance(row, &centroids[0]) - distance(row, &centroids[1]))
            .collect();
        let before = std::mem::replace(&mut sides, sides_by(&margins));
        if round > 0 && sides == before {
            break;
        }
        for (side, centroid) in centroids.iter_mut().enumerate() {
            let sides = sides.iter();
            let part = rows.iter().zip(sides).filter(|&(_, &of)| of == side);
            *centroid = mean(part.map(|(&row, _)| row), dim);
        }
    }
    (centroids, sides)
}

/// Sides by margin (negative: the first), such that none is smaller than the least share.
fn sides_by(margins: &[f32]) -> Vec<usize> {
    let least = margins.len() / MIN_SHARE;
    let first = margins.iter().filter(|&&margin| margin < 0.0).count();
    if (least..=margins.len() - least).contains(&first) {
        return margins
            .iter()
            .map(|&margin| usize::from(margin >= 0.0))
            .collect();
    }
    let mut order: Vec<usize> = (0..margins.len()).collect();
    order.sort_by(|&a, &b| margins[a].total_cmp(&margins[b]).then(a.cmp(&b)));
    let mut sides = vec![1; margins.len()];
    for &idx in &order[..first.clamp(least, margins.len() - least)] {
        sides[idx] = 0;
    }
    sides
}

/// The mean of vectors of `dim` components.
pub(super) fn mean<'a>(rows: impl Iterator<Item = &'a [f32]>, dim: usize) -> Vec<f32> {
    let mut sum = vec![0.0; dim];
    let mut count = 0usize;
    for row in rows {
        count += 1;
        for (sum, component) in sum.iter_mut().zip(row) {
            *sum += component;
        }
    }
    let scale = 1.0 / count.max(1) as f32;
    sum.iter_mut().for_each(|component| *component *= scale);
    sum
}
