//! What a picture may cost before it is refused.

use std::time::Duration;

use super::{DecodeError, header::Header};
use crate::pixels::MAX_SIDE;

/// Bounds on decoding one picture. All are checked before pixels are allocated, but for the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Size of the file, in bytes. Default 32 MiB.
    pub max_bytes: u64,
    /// Width times height, as stored. Default 100,000,000.
    pub max_pixels: u64,
    /// Length of either side, in pixels. Default 32,768; never more than [`MAX_SIDE`] has an effect.
    pub max_side: u32,
    /// Memory for pixels and for the decoder's own buffers, in bytes, as far as it can be told
    /// before decoding (a few small tables are not counted). Default 512 MiB.
    pub max_alloc_bytes: u64,
    /// Frames that an animation may have; only the first is decoded. Default 1,000.
    pub max_frames: u32,
    /// Time for decoding. Default 10 s.
    ///
    /// It is looked at whenever a decoder asks for more bytes. libjpeg-turbo cannot be interrupted:
    /// what a JPEG may cost is bounded by its pixels and by the number of its scans instead.
    pub max_time: Duration,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            max_bytes: 32 << 20,
            max_pixels: 100_000_000,
            max_side: 32_768,
            max_alloc_bytes: 512 << 20,
            max_frames: 1_000,
            max_time: Duration::from_secs(10),
        }
    }
}

impl DecodeLimits {
    /// Checks the size of the file.
    pub(super) fn check_bytes(&self, bytes: &[u8]) -> Result<(), DecodeError> {
        if bytes.is_empty() {
            return Err(DecodeError::Empty);
        }
        let num_bytes = bytes.len() as u64;
        if num_bytes > self.max_bytes {
            return Err(DecodeError::TooManyBytes {
                bytes: num_bytes,
                limit: self.max_bytes,
            });
        }
        Ok(())
    }

    /// Checks what the header promises.
    pub(super) fn check_header(&self, header: &Header) -> Result<(), DecodeError> {
        let &Header { width, height, .. } = header;
        if width == 0 || height == 0 {
            return Err(DecodeError::corrupt("a side has no pixels"));
        }
        let max_side = self.max_side.min(MAX_SIDE);
        if width.max(height) > max_side {
            return Err(DecodeError::TooLarge {
                width,
                height,
                limit: max_side,
            });
        }
        if header.num_pixels() > self.max_pixels {
            return Err(DecodeError::TooManyPixels {
                width,
                height,
                limit: self.max_pixels,
            });
        }
        if header.num_frames > self.max_frames {
            return Err(DecodeError::TooManyFrames {
                limit: self.max_frames,
            });
        }
        Ok(())
    }

    /// Checks that `needed` bytes of memory are within the budget, and returns them as a length.
    pub(super) fn check_alloc(&self, needed: u64) -> Result<usize, DecodeError> {
        let over = DecodeError::OutOfMemoryBudget {
            limit: self.max_alloc_bytes,
        };
        if needed > self.max_alloc_bytes {
            return Err(over);
        }
        usize::try_from(needed).map_err(|_| over)
    }
}
