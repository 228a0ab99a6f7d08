//! Headers, read without a decoder.
//!
//! Decoders allocate by what a header says, some of them already when they are opened. So the
//! shape, the orientation and the number of frames are read here first, by code that only looks at
//! bytes: no allocation, no recursion, and every loop moves forward in the file. The decoders then
//! have to agree with what was found.

mod bmp;
mod gif;
pub(super) mod jpeg;
mod png;
mod tiff;
mod webp;

use super::{DecodeError, ImageFormat, Orientation};

pub(super) use tiff::orientation as exif_orientation;

/// What a file says about its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Columns, as stored.
    pub(super) width: u32,
    /// Rows, as stored.
    pub(super) height: u32,
    /// How to make the picture upright.
    pub(super) orientation: Orientation,
    /// Frames of an animation, at least 1. Counting may stop above the limit it was given.
    pub(super) num_frames: u32,
}

impl Header {
    /// Returns the header of a still stored upright.
    fn still(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            orientation: Orientation::Normal,
            num_frames: 1,
        }
    }

    pub(super) fn num_pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// Returns the header of `bytes`, which are of `format`. Counts frames up to `max_frames + 1`.
pub(super) fn read(
    bytes: &[u8],
    format: ImageFormat,
    max_frames: u32,
) -> Result<Header, DecodeError> {
    let header = match format {
        ImageFormat::Jpeg => return jpeg::read(bytes).map(|jpeg| jpeg.header),
        ImageFormat::Png => png::read(bytes),
        ImageFormat::WebP => webp::read(bytes, max_frames),
        ImageFormat::Gif => gif::read(bytes, max_frames),
        ImageFormat::Bmp => bmp::read(bytes),
        ImageFormat::Tiff => return tiff::read(bytes),
    };
    // Every field of these four lies at a fixed place: what is missing is beyond the end.
    header.ok_or(DecodeError::Truncated)
}

/// Returns `N` bytes at offset `at`.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_be(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

fn u16_le(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_be(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

fn u32_le(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}
