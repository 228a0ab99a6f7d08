//! Two pictures on one grid, compared block by block.
//!
//! Levels are whole, so sums are exact in any order. Sums of a block of one picture come from summed-area tables
//! (Crow 1984, "Summed-area tables for texture mapping", §2); only the products of both are added up anew for each
//! place that a block is moved to.

use super::pyramid::Plane;

/// Samples that a block may be off, along both axes: maps by keypoints are about so good.
pub(super) const REACH: usize = 2;

/// Variance, in squared steps of brightness, that counts as noise: it is added to both.
const NOISE: f32 = 16.0;

/// Deviation of both below which a block has nothing to compare.
const MIN_DEVIATION: f32 = 3.0;

/// Deviation beyond which a block weighs no more: hard edges do not drown the rest.
const MAX_DEVIATION: f32 = 24.0;

/// Correlation from which on a block is the same, and below which it differs; between them it counts in part.
const SAME: f32 = 0.75;
const OTHER: f32 = 0.35;

/// Between which pixels of a plane the middles of columns, or of rows, of a grid lie; bilinear.
#[derive(Debug)]
pub(super) struct Taps(Vec<Option<Tap>>);

#[derive(Debug, Clone, Copy)]
struct Tap {
    before: usize,
    after: usize,
    /// Weight of the one after, 0 to 1.
    weight: f32,
}

impl Taps {
    /// Returns those of places along a side of so many pixels, in pixels from its edge; `None` outside.
    pub(super) fn of(places: impl Iterator<Item = Option<f32>>, side: usize) -> Self {
        let tap = |place: f32| {
            // Beyond the outermost middles it stays the same.
            let place = (place - 0.5).clamp(0.0, (side - 1) as f32);
            let before = place as usize;
            Tap {
                before,
                after: (before + 1).min(side - 1),
                weight: place - before as f32,
            }
        };
        Self(places.map(|place| place.map(tap)).collect())
    }
}

/// Levels of brightness on a grid, 0 where nothing is shown and in a margin around it, so that a block can be read
/// at any place that it is moved to.
#[derive(Debug)]
pub(super) struct Grid {
    columns: usize,
    rows: usize,
    stride: usize,
    levels: Vec<i16>,
    /// 1 where something is shown.
    shown: Vec<i16>,
}

/// Side of the largest block.
const MAX_BLOCK: usize = 16;

impl Grid {
    /// Returns a grid that shows nothing.
    pub(super) fn new(columns: usize, rows: usize) -> Self {
        let stride = columns + 2 * REACH + MAX_BLOCK;
        let len = stride * (rows + 2 * REACH + MAX_BLOCK);
        Self {
            columns,
            rows,
            stride,
            levels: vec![0; len],
            shown: vec![0; len],
        }
    }

    /// Sets a sample.
    pub(super) fn set(&mut self, column: usize, row: usize, level: f32) {
        let at = (row + REACH) * self.stride + column + REACH;
        self.levels[at] = rounded(level);
        self.shown[at] = 1;
    }

    /// Samples a plane where its axes are those of the grid.
    pub(super) fn fill_by_axes(&mut self, plane: &Plane, xs: &Taps, ys: &Taps) {
        let mut mixed = vec![0.0; plane.width];
        for (row, y) in ys.0.iter().enumerate() {
            let Some(y) = y else { continue };
            let (above, below) = (plane.row(y.before), plane.row(y.after));
            for ((mixed, &above), &below) in mixed.iter_mut().zip(above).zip(below) {
                *mixed = f32::from(above) * (1.0 - y.weight) + f32::from(below) * y.weight;
            }
            for (column, x) in xs.0.iter().enumerate() {
                let Some(x) = x else { continue };
                let level = mixed[x.before] * (1.0 - x.weight) + mixed[x.after] * x.weight;
                self.set(column, row, level);
            }
        }
    }

    /// Turns brightness around.
    pub(super) fn invert(&mut self) {
        for (level, shown) in self.levels.iter_mut().zip(&self.shown) {
            *level = (255 - *level) * shown;
        }
    }

    /// Returns how many samples show something.
    pub(super) fn num_shown(&self) -> usize {
        self.shown.iter().filter(|&&shown| shown == 1).count()
    }

    /// Returns where a sample is, which may lie in the margin.
    fn at(&self, column: usize, row: usize, (across, down): (isize, isize)) -> usize {
        let moved = |at: usize, by: isize| (at + REACH).wrapping_add_signed(by);
        moved(row, down) * self.stride + moved(column, across)
    }
}

/// Returns the nearest level.
fn rounded(level: f32) -> i16 {
    (level + 0.5) as i16
}

/// Sums over rectangles of a grid with its margin: of what is shown, of its levels, and of their squares.
#[derive(Debug)]
struct Sums {
    stride: usize,
    /// Over all above and to the left; modulo 2³², which differences do not notice.
    table: Vec<[u32; 3]>,
}

impl Sums {
    fn of(grid: &Grid) -> Self {
        let stride = grid.stride + 1;
        let rows = grid.levels.len() / grid.stride;
        let mut table = vec![[0_u32; 3]; stride * (rows + 1)];
        for row in 0..rows {
            let mut so_far = [0_u32; 3];
            for column in 0..grid.stride {
                let at = row * grid.stride + column;
                let (shown, level) = (grid.shown[at] as u32, grid.levels[at] as u32);
                let above = table[row * stride + column + 1];
                let here = &mut table[(row + 1) * stride + column + 1];
                for (idx, value) in [shown, level, level * level].into_iter().enumerate() {
                    so_far[idx] = so_far[idx].wrapping_add(value);
                    here[idx] = above[idx].wrapping_add(so_far[idx]);
                }
            }
        }
        Self { stride, table }
    }

    /// Returns the sums over the rectangle from `start`, a place of the grid.
    fn within(&self, start: usize, (width, height): (usize, usize)) -> [u32; 3] {
        let (row, column) = (start / (self.stride - 1), start % (self.stride - 1));
        let top = row * self.stride + column;
        let bottom = (row + height) * self.stride + column;
        let (a, b) = (self.table[top], self.table[top + width]);
        let (c, d) = (self.table[bottom], self.table[bottom + width]);
        std::array::from_fn(|idx| {
            d[idx]
                .wrapping_sub(b[idx])
                .wrapping_sub(c[idx])
                .wrapping_add(a[idx])
        })
    }
}

/// Two pictures on one grid.
#[derive(Debug)]
pub(super) struct Laid {
    own: Grid,
    other: Grid,
    own_sums: Sums,
    other_sums: Sums,
    /// Share of the picture of which more is shown that the other one shows too, 0 to 1.
    pub(super) overlap: f32,
    /// Side of a block, in samples: 8 or 16.
    pub(super) block: usize,
}

/// How well two pictures fit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fit {
    /// Mean correlation of blocks, weighted by their structure.
    pub(super) correlation: f32,
    /// Share of the structure that differs.
    pub(super) differing: f32,
    /// Mean structure of blocks.
    pub(super) structure: f32,
    /// Blocks with something to compare.
    pub(super) n_blocks: u32,
}

impl Laid {
    /// Returns a comparison of two grids of one size; `own` shows something everywhere.
    pub(super) fn new(own: Grid, other: Grid, overlap: f32, block: usize) -> Self {
        let (own_sums, other_sums) = (Sums::of(&own), Sums::of(&other));
        Self {
            own,
            other,
            own_sums,
            other_sums,
            overlap,
            block,
        }
    }

    /// Compares block by block, each within `reach` of its place; returns the fit, and the share of the blocks
    /// that are plain in both.
    pub(super) fn judge(&self, reach: usize) -> (Fit, f32) {
        match self.block {
            MAX_BLOCK => self.judge_blocks::<MAX_BLOCK>(reach),
            _ => self.judge_blocks::<{ MAX_BLOCK / 2 }>(reach),
        }
    }

    fn judge_blocks<const SIDE: usize>(&self, reach: usize) -> (Fit, f32) {
        let reach = reach.min(REACH) as isize;
        let mut fit = Fit::default();
        let mut weights = 0.0;
        let mut n_plain = 0_u32;
        for top in (0..self.own.rows).step_by(SIDE) {
            for left in (0..self.own.columns).step_by(SIDE) {
                let mut best: Option<(f32, f32)> = None;
                for down in -reach..=reach {
                    for across in -reach..=reach {
                        let Some((correlation, weight)) =
                            self.compare::<SIDE>((left, top), (across, down))
                        else {
                            continue;
                        };
                        // How much there is to see is judged where it was first found.
                        best = Some(match best {
                            None => (correlation, weight),
                            Some((most, weight)) => (correlation.max(most), weight),
                        });
                    }
                }
                match best {
                    None => {}
                    Some((_, weight)) if weight < MIN_DEVIATION => n_plain += 1,
                    Some((correlation, weight)) => {
                        let weight = weight.min(MAX_DEVIATION);
                        fit.n_blocks += 1;
                        fit.correlation += weight * correlation;
                        fit.differing +=
                            weight * ((SAME - correlation) / (SAME - OTHER)).clamp(0.0, 1.0);
                        weights += weight;
                    }
                }
            }
        }
        if weights > 0.0 {
            fit.correlation /= weights;
            fit.differing /= weights;
            fit.structure = weights / fit.n_blocks as f32;
        }
        let n_all = (fit.n_blocks + n_plain).max(1);
        (fit, n_plain as f32 / n_all as f32)
    }

    /// Returns correlation and structure of a block with the other picture's, moved by so many samples across and
    /// down; `None` if less than half of it is there.
    fn compare<const SIDE: usize>(
        &self,
        (left, top): (usize, usize),
        by: (isize, isize),
    ) -> Option<(f32, f32)> {
        let size = (
            SIDE.min(self.own.columns - left),
            SIDE.min(self.own.rows - top),
        );
        let (own_at, other_at) = (self.own.at(left, top, (0, 0)), self.other.at(left, top, by));
        let [n, b, bb] = self.other_sums.within(other_at, size);
        if (n as usize) < SIDE * SIDE / 2 {
            return None;
        }
        let (a, aa) = if n as usize == size.0 * size.1 {
            let [_, a, aa] = self.own_sums.within(own_at, size);
            (a, aa)
        } else {
            self.own_where_shown(own_at, other_at, size)
        };
        let ab = self.products::<SIDE>(own_at, other_at, size);
        let [n, a, b, aa, bb, ab] = [n, a, b, aa, bb, ab].map(|sum| sum as f32);
        let (mean_a, mean_b) = (a / n, b / n);
        let var_a = (aa / n - mean_a * mean_a).max(0.0);
        let var_b = (bb / n - mean_b * mean_b).max(0.0);
        let covariance = ab / n - mean_a * mean_b;
        let correlation = covariance / ((var_a + NOISE) * (var_b + NOISE)).sqrt();
        Some((correlation, var_a.max(var_b).sqrt()))
    }

    /// Returns the sums of own levels and of their squares where the other picture shows something.
    fn own_where_shown(
        &self,
        own_at: usize,
        other_at: usize,
        (width, height): (usize, usize),
    ) -> (u32, u32) {
        let (mut a, mut aa) = (0, 0);
        for row in 0..height {
            let own = &self.own.levels[own_at + row * self.own.stride..][..width];
            let shown = &self.other.shown[other_at + row * self.other.stride..][..width];
            for (&own, &shown) in own.iter().zip(shown) {
                let own = (own * shown) as u32;
                a += own;
                aa += own * own;
            }
        }
        (a, aa)
    }

    /// Returns the sum of the products of both. Whole rows of a block are read: what lies outside is 0 in one of
    /// them, being in the margin or not shown.
    fn products<const SIDE: usize>(
        &self,
        own_at: usize,
        other_at: usize,
        (_, height): (usize, usize),
    ) -> u32 {
        let mut sum = 0_i32;
        for row in 0..height {
            let own = self.own.levels[own_at + row * self.own.stride..].first_chunk::<SIDE>();
            let other = self.other.levels[other_at + row * self.other.stride..].first_chunk();
            let (Some(own), Some(other)) = (own, other) else {
                break;
            };
            let other: &[i16; SIDE] = other;
            for (own, other) in own.iter().zip(other) {
                sum += i32::from(*own) * i32::from(*other);
            }
        }
        sum as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// A grid of noise over a slope; `shows` says where.
    fn grid(columns: usize, rows: usize, seed: u64, shows: impl Fn(usize, usize) -> bool) -> Grid {
        let mut random = Random::new(seed);
        let mut grid = Grid::new(columns, rows);
        for row in 0..rows {
            for column in 0..columns {
                let level = (3 * column + 2 * row) as f32 + 20.0 * random.normal();
                if shows(column, row) {
                    grid.set(column, row, level.clamp(0.0, 255.0));
                }
            }
        }
        grid
    }

    /// The same as [`Laid::compare`], sample by sample.
    fn plain(laid: &Laid, (left, top): (usize, usize), by: (isize, isize)) -> Option<(f64, f64)> {
        let (own, other) = (&laid.own, &laid.other);
        let mut pairs = Vec::new();
        for row in top..(top + laid.block).min(own.rows) {
            for column in left..(left + laid.block).min(own.columns) {
                let at = other.at(column, row, by);
                if other.shown[at] == 1 {
                    let level = own.levels[own.at(column, row, (0, 0))];
                    pairs.push((f64::from(level), f64::from(other.levels[at])));
                }
            }
        }
        if pairs.len() < laid.block * laid.block / 2 {
            return None;
        }
        let n = pairs.len() as f64;
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / n;
        let (a, b) = (mean(&|pair| pair.0), mean(&|pair| pair.1));
        let var_a = mean(&|pair| (pair.0 - a).powi(2));
        let var_b = mean(&|pair| (pair.1 - b).powi(2));
        let covariance = mean(&|pair| (pair.0 - a) * (pair.1 - b));
        let noise = f64::from(NOISE);
        let correlation = covariance / ((var_a + noise) * (var_b + noise)).sqrt();
        Some((correlation, var_a.max(var_b).sqrt()))
    }

    fn check<const SIDE: usize>(columns: usize, rows: usize) {
        // A part of it, with a slanted edge.
        let part = |column: usize, row: usize| column + row / 2 > 9 && row + 4 < rows;
        let laid = Laid::new(
            grid(columns, rows, 1, |_, _| true),
            grid(columns, rows, 7, part),
            1.0,
            SIDE,
        );
        let mut n_compared = 0;
        for top in (0..rows).step_by(SIDE) {
            for left in (0..columns).step_by(SIDE) {
                for by in [(0, 0), (-2, 2), (2, -1), (1, 1)] {
                    let found = laid.compare::<SIDE>((left, top), by);
                    let expected = plain(&laid, (left, top), by);
                    assert_eq!(found.is_some(), expected.is_some());
                    let (Some(found), Some(expected)) = (found, expected) else {
                        continue;
                    };
                    n_compared += 1;
                    assert!((f64::from(found.0) - expected.0).abs() < 1e-3);
                    assert!((f64::from(found.1) - expected.1).abs() < 1e-2);
                }
            }
        }
        assert!(n_compared > 8, "{n_compared}");
    }

    #[test]
    fn sums_are_those_of_the_samples_at_any_place_and_at_edges() {
        check::<16>(60, 37);
        check::<8>(31, 22);
    }

    #[test]
    fn what_is_moved_by_no_more_than_the_reach_is_the_same() {
        let (columns, rows) = (64, 48);
        let own = grid(columns, rows, 3, |_, _| true);
        let mut moved = Grid::new(columns, rows);
        for row in 1..rows {
            for column in 0..columns - 2 {
                let level = own.levels[own.at(column + 2, row - 1, (0, 0))];
                moved.set(column, row, f32::from(level));
            }
        }
        let laid = Laid::new(own, moved, 1.0, 16);
        let (fit, plain) = laid.judge(REACH);
        assert!(fit.correlation > 0.9 && fit.differing < 0.05, "{fit:?}");
        assert_eq!(plain, 0.0);
        let (unmoved, _) = laid.judge(0);
        assert!(unmoved.differing > 0.5, "{unmoved:?}");
    }
}
