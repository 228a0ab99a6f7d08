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
use super::laid::{Grid, Laid, REACH, Taps};
use super::pyramid::{BASE_SIDE, Plane};
use super::{Form, GeometricMatch, LocalFeatures, verify};
use crate::pixels::{Filter, RgbImage};

/// Longest side of the planes, in pixels: letters of a page of text are two to three pixels high.
const PLANE_SIDE: usize = 256;

/// Side of a block, in samples.
const BLOCK: usize = 16;

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
        let mirrored = |x: f32| if form.is_mirrored() { width - x } else { x };
        // Middles of the columns and of the rows of the grid.
        let across: Vec<f32> = (0..columns)
            .map(|column| (column as f32 + 0.5) * step_x)
            .collect();
        let down: Vec<f32> = (0..rows).map(|row| (row as f32 + 0.5) * step_y).collect();

        let mut own = Grid::new(columns, rows);
        let xs = Taps::of(
            across.iter().map(|&x| Some(mirrored(x) * own_x)),
            own_plane.width,
        );
        let ys = Taps::of(down.iter().map(|&y| Some(y * own_y)), own_plane.height);
        own.fill_by_axes(own_plane, &xs, &ys);
        if form.is_inverted() {
            own.invert();
        }

        let mut laid_other = Grid::new(columns, rows);
        let [_, along_y, _, along_x, _, _] = map.coefficients;
        let place = |x: f32, y: f32| {
            let (u, v) = map.apply((x - 0.5, y - 0.5));
            (u + 0.5, v + 0.5)
        };
        let inside = |at: f32, end: f32| (at >= 0.0 && at < end).then_some(at);
        if along_y == 0.0 && along_x == 0.0 {
            let u = |x: f32| inside(place(x, 0.0).0, other_width).map(|u| u * other_x);
            let v = |y: f32| inside(place(0.0, y).1, other_height).map(|v| v * other_y);
            let xs = Taps::of(across.iter().map(|&x| u(x)), other_plane.width);
            let ys = Taps::of(down.iter().map(|&y| v(y)), other_plane.height);
            laid_other.fill_by_axes(other_plane, &xs, &ys);
        } else {
            for (row, &y) in down.iter().enumerate() {
                for (column, &x) in across.iter().enumerate() {
                    let (u, v) = place(x, y);
                    if let (Some(u), Some(v)) = (inside(u, other_width), inside(v, other_height)) {
                        let level = sample(other_plane, u * other_x, v * other_y);
                        laid_other.set(column, row, level);
                    }
                }
            }
        }
        let n_shared = laid_other.num_shown();
        let share = n_shared as f32 / (columns * rows) as f32;
        let area_ratio = width * height * scale * scale / (other_width * other_height);
        let overlap = share.max((share * area_ratio).min(1.0));
        let laid = Laid::new(own, laid_other, overlap, BLOCK / coarseness);
        (overlap >= MIN_OVERLAP && n_shared >= laid.block * laid.block).then_some(laid)
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
