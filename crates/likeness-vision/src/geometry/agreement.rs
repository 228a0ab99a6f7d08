//! Whether two pictures show the same where a map lays one on the other.
//!
//! Matched keypoints can agree by accident: letters of one font, a bar of one program, a pattern.
//! So the two small planes are laid on each other, block by block, over all that both show: if it
//! is a copy, most blocks agree, and not only those around the keypoints.

use super::alignment::Affine;
use super::pyramid::Plane;

/// Longest side of the plane that is kept for this, in pixels.
pub(super) const PLANE_SIDE: usize = 64;

/// Side of a block, in samples.
const BLOCK: usize = 4;

/// Fewest samples of a block that both pictures show.
const MIN_SAMPLES: usize = 10;

/// Variance, in squared steps of brightness, that counts as noise: it is added to both.
const NOISE: f32 = 25.0;

/// Largest deviation that adds to the weight of a block: hard edges do not drown the rest.
const MAX_DEVIATION: f32 = 24.0;

/// Deviation of both below which a block has nothing to compare.
const MIN_DEVIATION: f32 = 3.0;

/// What laying two pictures on each other shows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Agreement {
    /// Mean correlation of the blocks, weighted by how much there is to see in them; −1 to 1.
    pub(super) correlation: f32,
    /// Blocks that had something to compare.
    pub(super) n_blocks: u32,
    /// Share of the query that the stored picture shows as well, 0 to 1.
    pub(super) overlap: f32,
}

/// A plane and its halves, down to a few pixels.
#[derive(Debug)]
pub(super) struct Halves(Vec<Plane>);

impl Halves {
    pub(super) fn of(plane: &Plane) -> Self {
        let mut planes = vec![plane.clone()];
        while let Some(last) = planes
            .last()
            .filter(|plane| plane.width.min(plane.height) >= 8)
        {
            let (width, height) = (last.width / 2, last.height / 2);
            let mut data = Vec::with_capacity(width * height);
            for y in 0..height {
                let (above, below) = (last.row(2 * y), last.row(2 * y + 1));
                data.extend((0..width).map(|x| {
                    let four = [
                        above[2 * x],
                        above[2 * x + 1],
                        below[2 * x],
                        below[2 * x + 1],
                    ];
                    ((four.into_iter().map(u32::from).sum::<u32>() + 2) / 4) as u8
                }));
            }
            planes.push(Plane {
                width,
                height,
                data,
            });
        }
        Self(planes)
    }

    /// Returns the plane that is smaller by about `factor`.
    pub(super) fn smaller_by(&self, factor: f32) -> &Plane {
        let halvings = factor.max(1.0).log2().round() as usize;
        &self.0[halvings.min(self.0.len() - 1)]
    }
}

/// Lays `query` on `stored` by `map`. Sizes are those of the largest levels, which the map is in
/// pixels of; the query's plane is that of the picture as it is, `is_mirrored` says that the map
/// takes its mirror image, `is_inverted` that it takes its negative.
pub(super) fn compare(
    query: (&Halves, (f32, f32)),
    stored: (&Halves, (f32, f32)),
    map: &Affine,
    is_mirrored: bool,
    is_inverted: bool,
) -> Agreement {
    let (query_halves, (query_width, query_height)) = query;
    let (stored_halves, (stored_width, stored_height)) = stored;
    // Pixels of the query that one pixel of either plane covers.
    let query_cover = query_width / query_halves.0[0].width as f32;
    let stored_cover = stored_width / stored_halves.0[0].width as f32 / map.scale();
    let pitch = query_cover.max(stored_cover);
    let query_plane = query_halves.smaller_by(pitch / query_cover);
    let stored_plane = stored_halves.smaller_by(pitch / stored_cover);
    let sampler = |plane: &Plane, width: f32, height: f32| {
        (plane.width as f32 / width, plane.height as f32 / height)
    };
    let (query_x, query_y) = sampler(query_plane, query_width, query_height);
    let (stored_x, stored_y) = sampler(stored_plane, stored_width, stored_height);

    let columns = ((query_width / pitch) as usize).max(1);
    let rows = ((query_height / pitch) as usize).max(1);
    let (step_x, step_y) = (query_width / columns as f32, query_height / rows as f32);
    let mut n_shared = 0_usize;
    let mut n_blocks = 0;
    let (mut sum, mut weights) = (0.0, 0.0);
    for block_y in (0..rows).step_by(BLOCK) {
        for block_x in (0..columns).step_by(BLOCK) {
            let mut moments = Moments::default();
            for row in block_y..(block_y + BLOCK).min(rows) {
                for column in block_x..(block_x + BLOCK).min(columns) {
                    // Continuous coordinates: the first pixel reaches from 0 to 1.
                    let x = (column as f32 + 0.5) * step_x;
                    let y = (row as f32 + 0.5) * step_y;
                    let (u, v) = map.apply((x - 0.5, y - 0.5));
                    let (u, v) = (u + 0.5, v + 0.5);
                    if u < 0.0 || v < 0.0 || u >= stored_width || v >= stored_height {
                        continue;
                    }
                    let x = if is_mirrored { query_width - x } else { x };
                    moments.add(
                        sample(query_plane, x * query_x, y * query_y),
                        sample(stored_plane, u * stored_x, v * stored_y),
                    );
                }
            }
            n_shared += moments.n;
            if moments.n < MIN_SAMPLES {
                continue;
            }
            let Some((correlation, weight)) = moments.correlation() else {
                continue;
            };
            n_blocks += 1;
            sum += weight
                * if is_inverted {
                    -correlation
                } else {
                    correlation
                };
            weights += weight;
        }
    }
    Agreement {
        correlation: if weights > 0.0 { sum / weights } else { 0.0 },
        n_blocks,
        overlap: n_shared as f32 / (columns * rows) as f32,
    }
}

/// Returns the brightness at a point, bilinear; beyond the outermost centres it stays the same.
pub(super) fn sample(plane: &Plane, x: f32, y: f32) -> f32 {
    let x = (x - 0.5).clamp(0.0, (plane.width - 1) as f32);
    let y = (y - 0.5).clamp(0.0, (plane.height - 1) as f32);
    let (left, top) = (x as usize, y as usize);
    let (across, down) = (x - left as f32, y - top as f32);
    let right = (left + 1).min(plane.width - 1);
    let (above, below) = (plane.row(top), plane.row((top + 1).min(plane.height - 1)));
    let mix = |row: &[u8]| f32::from(row[left]) * (1.0 - across) + f32::from(row[right]) * across;
    mix(above) * (1.0 - down) + mix(below) * down
}

/// Sums over the samples of a block.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    n: usize,
    a: f32,
    b: f32,
    aa: f32,
    bb: f32,
    ab: f32,
}

impl Moments {
    fn add(&mut self, a: f32, b: f32) {
        self.n += 1;
        self.a += a;
        self.b += b;
        self.aa += a * a;
        self.bb += b * b;
        self.ab += a * b;
    }

    /// Returns correlation and weight, or `None` if both are flat.
    fn correlation(&self) -> Option<(f32, f32)> {
        let n = self.n as f32;
        let (mean_a, mean_b) = (self.a / n, self.b / n);
        let var_a = (self.aa / n - mean_a * mean_a).max(0.0);
        let var_b = (self.bb / n - mean_b * mean_b).max(0.0);
        let deviation = var_a.max(var_b).sqrt();
        if deviation < MIN_DEVIATION {
            return None;
        }
        let covariance = self.ab / n - mean_a * mean_b;
        let correlation = covariance / ((var_a + NOISE) * (var_b + NOISE)).sqrt();
        Some((correlation, deviation.min(MAX_DEVIATION)))
    }
}
