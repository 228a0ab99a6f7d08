//! The small copy that regions are looked for in, as rows and as columns.

use std::ops::Range;

use super::{Rect, WORKING_SIDE};
use crate::pixels::RgbImage;

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

/// A stretch of rows and one of columns.
pub(super) type Span = [Range<usize>; 2];

/// Levels that a pixel of a plain line may be off the line's colour: noise of JPEG near an edge.
const PLAIN_TOLERANCE: u8 = 16;
/// One pixel in so many of a plain line may be off: specks, ends of letters.
const SPECK_PARTS: usize = 50;
/// Pixels whose median is the colour of a line; odd.
const N_SAMPLES: usize = 9;

/// Tells whether a channel is off by more than `tolerance` levels.
pub(super) fn differs(a: Colour, b: Colour, tolerance: u8) -> bool {
    let [red, green, blue] = std::array::from_fn(|channel| a[channel].abs_diff(b[channel]));
    red.max(green).max(blue) > tolerance
}

/// Which lines are meant; a position is a row's or a column's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    Rows,
    Columns,
}

impl Axis {
    pub(super) const BOTH: [Self; 2] = [Self::Rows, Self::Columns];

    /// Returns the axis that lines of this one run along.
    pub(super) fn across(self) -> Self {
        match self {
            Self::Rows => Self::Columns,
            Self::Columns => Self::Rows,
        }
    }
}

/// A picture of at most [`WORKING_SIDE`] pixels.
#[derive(Debug)]
pub(super) struct Plane {
    width: usize,
    height: usize,
    rows: Vec<Colour>,
    /// The same, column by column.
    columns: Vec<Colour>,
}

impl Plane {
    pub(super) fn new(image: &RgbImage) -> Self {
        let small = image.fit_within(WORKING_SIDE);
        let (width, height) = (small.width() as usize, small.height() as usize);
        let rows = small.data().as_chunks::<3>().0.to_vec();
        let mut columns = Vec::with_capacity(rows.len());
        for x in 0..width {
            columns.extend((0..height).map(|y| rows[y * width + x]));
        }
        Self {
            width,
            height,
            rows,
            columns,
        }
    }

    pub(super) fn span(&self) -> Span {
        [0..self.height, 0..self.width]
    }

    /// Returns the pixels of the line at `at`, from the first to the last of `across`.
    pub(super) fn line(&self, axis: Axis, at: usize, across: &Range<usize>) -> &[Colour] {
        let (lines, len) = match axis {
            Axis::Rows => (&self.rows, self.width),
            Axis::Columns => (&self.columns, self.height),
        };
        &lines[at * len + across.start..at * len + across.end]
    }

    /// Returns the colour of a line if it is plain.
    pub(super) fn plain(&self, axis: Axis, at: usize, across: &Range<usize>) -> Option<Colour> {
        let line = self.line(axis, at, across);
        let samples: [Colour; N_SAMPLES] =
            std::array::from_fn(|idx| line[(2 * idx + 1) * line.len() / (2 * N_SAMPLES)]);
        let colour = std::array::from_fn(|channel| {
            let mut levels = samples.map(|sample| sample[channel]);
            levels.sort_unstable();
            levels[N_SAMPLES / 2]
        });
        let mut room = line.len() / SPECK_PARTS;
        for pixel in line {
            if differs(*pixel, colour, PLAIN_TOLERANCE) {
                room = room.checked_sub(1)?;
            }
        }
        Some(colour)
    }

    /// Returns the part of `image`, which this is the copy of, that `span` shows.
    pub(super) fn rect_in(&self, image: &RgbImage, [rows, columns]: &Span) -> Rect {
        let small = Rect {
            x: columns.start as u32,
            y: rows.start as u32,
            width: columns.len() as u32,
            height: rows.len() as u32,
        };
        let from = (self.width as u32, self.height as u32);
        small.resized(from, (image.width(), image.height()))
    }
}

/// Returns the share of pixels that differ from `ground` by more than `tolerance`, 0 to 1.
pub(super) fn contrast(line: &[Colour], ground: Colour, tolerance: u8) -> f32 {
    let off = line
        .iter()
        .filter(|pixel| differs(**pixel, ground, tolerance));
    off.count() as f32 / line.len() as f32
}
