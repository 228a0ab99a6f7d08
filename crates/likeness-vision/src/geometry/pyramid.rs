//! Planes of brightness, and one picture at several sizes.

use crate::pixels::{Filter, RgbImage, resize_luma};

/// Longest side of the largest level, in pixels; larger pictures are shrunk to it.
pub(super) const BASE_SIDE: u32 = 512;

/// Pictures whose longer side is shorter than this are enlarged to it: the patch around a keypoint
/// would be most of the picture otherwise.
const MIN_BASE_SIDE: u32 = 192;

/// Largest number of levels, each smaller by √2 than the one before.
pub(super) const MAX_LEVELS: usize = 7;

/// Levels whose shorter side is below this have no room for a patch.
const MIN_LEVEL_SIDE: usize = 2 * super::descriptor::PATCH_RADIUS + 8;

/// Brightness of a picture: one byte a pixel, rows from the top, no padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plane {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) data: Vec<u8>,
}

impl Plane {
    /// Returns the plane stretched to `width × height`, filtered against aliasing.
    pub(super) fn resized(&self, width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            data: resize_luma(
                &self.data,
                (self.width as u32, self.height as u32),
                (width as u32, height as u32),
            ),
        }
    }

    /// Returns the rows from the top.
    pub(super) fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.width..][..self.width]
    }

    /// Returns the plane under the weights 1 4 6 4 1 along both axes; the outermost pixels are
    /// repeated.
    pub(super) fn blurred(&self) -> Self {
        let (width, height) = (self.width, self.height);
        let mut data = vec![0; self.data.len()];
        let mut sums = vec![0_u16; width + 4];
        for (y, target) in data.chunks_exact_mut(width).enumerate() {
            let row = |offset: usize| self.row((y + offset).saturating_sub(2).min(height - 1));
            let [a, b, c, d, e] = [row(0), row(1), row(2), row(3), row(4)];
            for (x, sum) in sums[2..width + 2].iter_mut().enumerate() {
                let [a, b, c, d, e] = [a[x], b[x], c[x], d[x], e[x]].map(u16::from);
                *sum = a + e + 4 * (b + d) + 6 * c;
            }
            let (first, last) = (sums[2], sums[width + 1]);
            sums[..2].fill(first);
            sums[width + 2..].fill(last);
            for (x, value) in target.iter_mut().enumerate() {
                // At most 16 × 16 × 255, which fits 16 bits with the rounding.
                let sum = sums[x] + sums[x + 4] + 4 * (sums[x + 1] + sums[x + 3]) + 6 * sums[x + 2];
                *value = ((u32::from(sum) + 128) >> 8) as u8;
            }
        }
        Self {
            width,
            height,
            data,
        }
    }
}

/// Returns the levels of `image`, largest first; at least one, at most [`MAX_LEVELS`].
pub(super) fn pyramid(image: &RgbImage) -> Vec<Plane> {
    let longer = image.longer_side();
    let base_side = longer.clamp(MIN_BASE_SIDE, BASE_SIDE);
    let scaled = |side: u32| {
        let exact = f64::from(side) * f64::from(base_side) / f64::from(longer);
        (exact.round() as u32).max(1)
    };
    let (width, height) = (scaled(image.width()), scaled(image.height()));
    let base = Plane {
        width: width as usize,
        height: height as usize,
        data: image
            .resize_exact(width, height, Filter::Bilinear)
            .to_luma_u8(),
    };
    let mut levels = vec![base];
    for level in 1..MAX_LEVELS {
        let scale = level_scale(level as u8);
        let side = |side: u32| (f64::from(side) / f64::from(scale)).round() as usize;
        let (width, height) = (side(width), side(height));
        if width.min(height) < MIN_LEVEL_SIDE {
            break;
        }
        let next = levels[level - 1].resized(width, height);
        levels.push(next);
    }
    levels
}

/// Returns how many pixels of the largest level a pixel of `level` covers along a side.
pub(super) fn level_scale(level: u8) -> f32 {
    const SCALES: [f32; MAX_LEVELS] = [
        1.0,
        std::f32::consts::SQRT_2,
        2.0,
        2.0 * std::f32::consts::SQRT_2,
        4.0,
        4.0 * std::f32::consts::SQRT_2,
        8.0,
    ];
    SCALES[usize::from(level).min(MAX_LEVELS - 1)]
}
