//! Pictures inside pictures: frames, borders, pages, collages and screens.
//!
//! A picture that was pasted into another one has little in common with the whole, so the part is looked
//! for and compared by itself. Recursive X-Y cut (Nagy, Seth: Hierarchical representation of optically
//! scanned documents, 1984): a block is cut at its plain rows, each part at its plain columns, until
//! nothing can be cut; then what is left is judged. On a copy of at most [`WORKING_SIDE`] pixels.
//!
//! Found are, upright and rectangular:
//! - a picture in a border or between bars of one colour, also where a box covers one side of it;
//! - pictures on a page of text, and in the window of a program or on the screen of a telephone;
//! - the panels of a collage, with gutters or, where they meet in one straight line across, without.
//!
//! Not found are pictures turned by more than a degree or so, laid over another picture, with round or
//! torn edges, smaller than [`RegionLimits::min_area`], on a ground that is not plain, or of the ground's
//! own colour at their edges and alone on it. Text is told by its short strokes; a few large letters may
//! be taken for a figure.

mod cut;
mod judge;
mod plane;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::pixels::RgbImage;

/// Longest side of the copy that regions are looked for in, in pixels: lines of text on a page stay
/// apart, and most files are larger.
pub const WORKING_SIDE: u32 = 384;

/// A part of a picture, in pixels from its top left corner.
///
/// Those of [`find_regions`] are not empty and lie within the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rect {
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Rect {
    /// Returns the number of pixels.
    pub fn area(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Returns where this is after a picture of `from` was resized to `to` (width, height), to the
    /// nearest pixel. It still lies within and is not empty, if it was so before.
    pub fn resized(&self, from: (u32, u32), to: (u32, u32)) -> Self {
        let scaled = |start: u32, len: u32, from: u32, to: u32| {
            let at = |at: u32| (f64::from(at) * f64::from(to) / f64::from(from)).round() as u32;
            let first = at(start).min(to.saturating_sub(1));
            (
                first,
                at(start + len).clamp(first + 1, to.max(first + 1)) - first,
            )
        };
        let (x, width) = scaled(self.x, self.width, from.0, to.0);
        let (y, height) = scaled(self.y, self.height, from.1, to.1);
        Self {
            x,
            y,
            width,
            height,
        }
    }
}

/// What a region looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegionKind {
    /// It fills its rectangle, whose edges stand out from plain surroundings.
    Picture,
    /// It stands on the ground of its surroundings beside other things: a drawing on a page.
    Figure,
    /// It meets its neighbour in a straight line across the whole block.
    Panel,
}

/// A part of a picture that may be a picture of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// Where it is.
    pub rect: Rect,
    /// What it looks like.
    pub kind: RegionKind,
    /// How much it looks like that, 0 to 1: the share of its edges that stands out, times the share of
    /// its area that does. Not a probability.
    pub confidence: f32,
}

/// Which regions are wanted.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionLimits {
    /// At most so many: the largest; of equal ones the upper, then the left.
    pub max_regions: usize,
    /// Smallest share of the picture's area, 0 to 1.
    pub min_area: f32,
    /// Largest share: what nearly fills the picture is as good as the whole.
    pub max_area: f32,
}

impl Default for RegionLimits {
    fn default() -> Self {
        Self {
            max_regions: 4,
            min_area: 0.02,
            max_area: 0.9,
        }
    }
}

/// Returns the parts of `image` that may be pictures of their own, largest first; most photographs have
/// none.
///
/// They do not overlap, but that a [`RegionKind::Picture`] that seems to consist of panels is returned
/// with them. Parts with a side below 20 pixels of the copy are not looked at. The time is bounded by a
/// multiple of the copy's pixels.
pub fn find_regions(image: &RgbImage, limits: &RegionLimits) -> Vec<Region> {
    let plane = plane::Plane::new(image);
    let mut found = cut::find(&plane, limits);
    found.sort_by_key(|part| {
        let [rows, columns] = &part.span;
        (std::cmp::Reverse(part.area()), rows.start, columns.start)
    });
    found.truncate(limits.max_regions);
    found
        .into_iter()
        .map(|part| Region {
            rect: plane.rect_in(image, &part.span),
            kind: part.kind,
            confidence: part.confidence,
        })
        .collect()
}
