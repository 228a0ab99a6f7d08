//! What differs between two pictures once one is laid on the other.
//!
//! Two pages of one template share their ground, their frame and the size of their letters. A descriptor of the
//! whole calls them alike, and so do keypoints. What tells them apart is small and everywhere: laid on each
//! other, most of what there is to see is not the same. An edited copy differs as well, but in one place (a
//! caption) or a little everywhere (noise), and keeps its structure.
//!
//! So both are kept as planes of at most [`PLANE_SIDE`] pixels, laid on each other by the map that keypoints
//! found, or edge on edge, and compared block by block with a little room to move, by normalised correlation:
//! brightness and contrast do not count, structure does. A block weighs by the structure in it.

use super::agreement::{Halves, sample};
use super::alignment::Affine;
use super::pyramid::{BASE_SIDE, Plane};
use super::{Form, GeometricMatch, LocalFeatures, verify};
use crate::pixels::{Filter, RgbImage};

/// Longest side of the planes, in pixels: letters of a page of text are two to three pixels high.
const PLANE_SIDE: usize = 256;

/// Side of a block, in samples.
const BLOCK: usize = 16;

/// Samples that a block may be off, along both axes: maps by keypoints are about so good.
const REACH: isize = 2;

/// Variance, in squared steps of brightness, that counts as noise: it is added to both.
const NOISE: f32 = 16.0;

/// Deviation of both below which a block has nothing to compare.
const MIN_DEVIATION: f32 = 3.0;

/// Deviation beyond which a block weighs no more: hard edges do not drown the rest.
const MAX_DEVIATION: f32 = 24.0;

/// Correlation from which on a block is the same, and below which it differs; between them it counts in part.
const SAME: f32 = 0.75;
const OTHER: f32 = 0.35;

/// Share of one picture that the other has to show for a map to be taken.
const MIN_OVERLAP: f32 = 0.02;

/// What is kept of a picture for a close look: keypoints, a plane, and its mean brightness.
///
/// At most [`MAX_ENCODED_LEN`](super::MAX_ENCODED_LEN) bytes of keypoints and 64 KiB of plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseUp {
    features: LocalFeatures,
    plane: Plane,
    /// Mean of each channel.
    colour: [u8; 3],
}

/// What a close look at two pictures found. Which is first matters little: only by rounding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CloseLook {
    /// What keypoints say.
    pub geometric: GeometricMatch,
    /// Share of the common structure that differs, 0 to 1; 1 if nothing could be laid on each other.
    pub differing: f32,
    /// Mean correlation of the blocks, weighted by their structure, -1 to 1.
    pub correlation: f32,
    /// Keypoints of the picture that has fewer: with hardly any, it says little that none was met.
    pub n_keypoints: u32,
    /// Blocks that had something to compare.
    pub n_blocks: u32,
    /// Mean of their deviations of brightness, each at most 24 steps; 0 without blocks. A page has much, a smooth
    /// painting little.
    pub structure: f32,
    /// Blocks without structure in either picture, as a share of all that both show, 0 to 1.
    pub plain: f32,
    /// Share of the picture of which more is shown that the other one shows too, 0 to 1.
    pub overlap: f32,
    /// Greatest difference of the channels' means, in steps of brightness.
    pub colour: u8,
}

impl CloseUp {
    /// Returns what is kept of `image`. The same picture gives the same bits.
    pub fn of(image: &RgbImage) -> Self {
        // Keypoints are looked for at this size anyway.
        let shrunk = (image.longer_side() > BASE_SIDE).then(|| {
            let side = |side: u32| {
                let exact = f64::from(side) * f64::from(BASE_SIDE) / f64::from(image.longer_side());
                (exact.round() as u32).max(1)
            };
            image.resize_exact(side(image.width()), side(image.height()), Filter::Bilinear)
        });
        let image = shrunk.as_ref().unwrap_or(image);
        let whole = Plane {
            width: image.width() as usize,
            height: image.height() as usize,
            data: image.to_luma_u8(),
        };
        let longer = whole.width.max(whole.height);
        let side = |side: usize| (side * PLANE_SIDE / longer).max(1);
        let plane = whole.resized(side(whole.width), side(whole.height));
        Self {
            features: LocalFeatures::extract(image),
            plane: plane.blurred(),
            colour: mean_colour(image),
        }
    }

    /// Returns the keypoints.
    pub fn features(&self) -> &LocalFeatures {
        &self.features
    }

    /// Returns the bytes that it takes in memory, about.
    pub fn num_bytes(&self) -> usize {
        self.plane.data.len() + 44 * self.features.len() + 64 * 64
    }

    /// Looks closely at two pictures. The same two give the same bits.
    pub fn compare(&self, other: &Self) -> CloseLook {
        let forms = Form::ALL;
        let geometric = verify(&self.features, &other.features, &forms);
        let planes = (Halves::of(&self.plane), Halves::of(&other.plane));
        let mut best: Option<(f32, Affine, Form)> = None;
        let mut maps = vec![
            (self.edge_on_edge(other), Form::Plain),
            (self.edge_on_edge(other), Form::Mirrored),
        ];
        maps.extend(geometric.map.map(|map| (map, geometric.form)));
        for (map, form) in maps {
            // Half the size says which map fits.
            let Some(laid) = self.lay(other, &planes, &map, form, 2) else {
                continue;
            };
            let (fit, _) = laid.judge(0);
            if best.is_none_or(|(most, _, _)| fit.correlation > most) {
                best = Some((fit.correlation, map, form));
            }
        }
        let best = best.and_then(|(_, map, form)| self.lay(other, &planes, &map, form, 1));
        let colour = self.colour.iter().zip(other.colour);
        let colour = colour.map(|(a, b)| a.abs_diff(b)).max().unwrap_or(0);
        let nothing = CloseLook {
            geometric,
            differing: 1.0,
            correlation: 0.0,
            n_keypoints: self.features.len().min(other.features.len()) as u32,
            n_blocks: 0,
            structure: 0.0,
            plain: 0.0,
            overlap: 0.0,
            colour,
        };
        best.map_or(nothing, |laid| {
            let (fit, plain) = laid.judge(REACH);
            CloseLook {
                differing: fit.differing,
                correlation: fit.correlation,
                n_blocks: fit.n_blocks,
                structure: fit.structure,
                plain,
                overlap: laid.overlap,
                ..nothing
            }
        })
    }

    /// Sides of the level that maps are in pixels of.
    fn size(&self) -> (f32, f32) {
        (
            f32::from(self.features.width),
            f32::from(self.features.height),
        )
    }

    fn edge_on_edge(&self, other: &Self) -> Affine {
        let ((width, height), (other_width, other_height)) = (self.size(), other.size());
        let (across, down) = (other_width / width, other_height / height);
        // Centres of pixels, as everywhere: the corner is half a pixel before the first.
        let shift = |scale: f32| (scale - 1.0) / 2.0;
        Affine {
            coefficients: [across, 0.0, shift(across), 0.0, down, shift(down)],
        }
    }

    /// Resamples both on one grid over this picture, so many times coarser than the planes; `None` if they share too little.
    fn lay(
        &self,
        other: &Self,
        planes: &(Halves, Halves),
        map: &Affine,
        form: Form,
        coarseness: usize,
    ) -> Option<Laid> {
        let ((width, height), (other_width, other_height)) = (self.size(), other.size());
        let cover = width / self.plane.width as f32;
        let scale = map.scale();
        if !(scale.is_finite() && scale > 0.0) {
            return None;
        }
        let other_cover = other_width / other.plane.width as f32 / scale;
        let pitch = cover.max(other_cover) * coarseness as f32;
        let (own_plane, other_plane) = (
            planes.0.smaller_by(pitch / cover),
            planes.1.smaller_by(pitch / other_cover),
        );
        let columns = ((width / pitch) as usize).max(1);
        let rows = ((height / pitch) as usize).max(1);
        let (step_x, step_y) = (width / columns as f32, height / rows as f32);
        let factors = |plane: &Plane, width: f32, height: f32| {
            (plane.width as f32 / width, plane.height as f32 / height)
        };
        let (own_x, own_y) = factors(own_plane, width, height);
        let (other_x, other_y) = factors(other_plane, other_width, other_height);
        let mut laid = Laid {
            columns,
            rows,
            own: vec![0.0; columns * rows],
            other: vec![f32::NAN; columns * rows],
            overlap: 0.0,
            block: BLOCK / coarseness,
        };
        let mut n_shared = 0_usize;
        for row in 0..rows {
            for column in 0..columns {
                let (x, y) = ((column as f32 + 0.5) * step_x, (row as f32 + 0.5) * step_y);
                let (u, v) = map.apply((x - 0.5, y - 0.5));
                let (u, v) = (u + 0.5, v + 0.5);
                let x = if form.is_mirrored() { width - x } else { x };
                let at = row * columns + column;
                laid.own[at] = sample(own_plane, x * own_x, y * own_y);
                if form.is_inverted() {
                    laid.own[at] = 255.0 - laid.own[at];
                }
                if u >= 0.0 && v >= 0.0 && u < other_width && v < other_height {
                    laid.other[at] = sample(other_plane, u * other_x, v * other_y);
                    n_shared += 1;
                }
            }
        }
        let share = n_shared as f32 / (columns * rows) as f32;
        let area_ratio = width * height * scale * scale / (other_width * other_height);
        laid.overlap = share.max((share * area_ratio).min(1.0));
        (laid.overlap >= MIN_OVERLAP && n_shared >= laid.block * laid.block).then_some(laid)
    }
}

fn mean_colour(image: &RgbImage) -> [u8; 3] {
    let mut sums = [0_u64; 3];
    let (pixels, _) = image.data().as_chunks::<3>();
    for pixel in pixels {
        for (sum, level) in sums.iter_mut().zip(pixel) {
            *sum += u64::from(*level);
        }
    }
    sums.map(|sum| (sum / pixels.len().max(1) as u64) as u8)
}

/// Two pictures on one grid.
#[derive(Debug)]
struct Laid {
    columns: usize,
    rows: usize,
    own: Vec<f32>,
    /// No number where the other one shows nothing.
    other: Vec<f32>,
    overlap: f32,
    /// Side of a block, in samples.
    block: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Fit {
    correlation: f32,
    differing: f32,
    structure: f32,
    n_blocks: u32,
}

impl Laid {
    /// Compares block by block, each within `reach` of its place; returns the fit, and the share of the blocks
    /// that are plain in both.
    fn judge(&self, reach: isize) -> (Fit, f32) {
        let mut fit = Fit::default();
        let mut weights = 0.0;
        let mut n_plain = 0_u32;
        for top in (0..self.rows).step_by(self.block) {
            for left in (0..self.columns).step_by(self.block) {
                let mut best: Option<(f32, f32)> = None;
                for down in -reach..=reach {
                    for across in -reach..=reach {
                        let Some((correlation, weight)) = self.block(left, top, across, down)
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

    /// Returns correlation and structure of a block with the other picture's, moved by so many samples; `None`
    /// if less than half of it is there.
    fn block(&self, left: usize, top: usize, across: isize, down: isize) -> Option<(f32, f32)> {
        let (mut n, mut a, mut b, mut aa, mut bb, mut ab) = (0_u32, 0.0_f32, 0.0, 0.0, 0.0, 0.0);
        let (right, bottom) = (
            (left + self.block).min(self.columns),
            (top + self.block).min(self.rows),
        );
        for row in top..bottom {
            let Some(other_row) = row.checked_add_signed(down).filter(|row| *row < self.rows)
            else {
                continue;
            };
            for column in left..right {
                let Some(other_column) = column
                    .checked_add_signed(across)
                    .filter(|column| *column < self.columns)
                else {
                    continue;
                };
                let other = self.other[other_row * self.columns + other_column];
                if other.is_nan() {
                    continue;
                }
                let own = self.own[row * self.columns + column];
                n += 1;
                a += own;
                b += other;
                aa += own * own;
                bb += other * other;
                ab += own * other;
            }
        }
        if (n as usize) < self.block * self.block / 2 {
            return None;
        }
        let n = n as f32;
        let (mean_a, mean_b) = (a / n, b / n);
        let var_a = (aa / n - mean_a * mean_a).max(0.0);
        let var_b = (bb / n - mean_b * mean_b).max(0.0);
        let covariance = ab / n - mean_a * mean_b;
        let correlation = covariance / ((var_a + NOISE) * (var_b + NOISE)).sqrt();
        Some((correlation, var_a.max(var_b).sqrt()))
    }
}
