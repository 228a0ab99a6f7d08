//! From the bytes of an upload to upright, opaque, 8-bit sRGB pixels.
//!
//! | format | decoder | notes |
//! |---|---|---|
//! | JPEG | libjpeg-turbo | can be decoded at 1/2, 1/4, 1/8 of its size; CMYK and YCCK become RGB |
//! | PNG, WebP, GIF, BMP, TIFF | `image` | the first frame, page or default image only |
//!
//! Invariants: no input panics; sizes are checked before pixels are allocated (see
//! [`DecodeLimits`]); the same bytes give the same pixels.
//!
//! What a picture becomes: EXIF (or TIFF) orientation is applied; alpha is composed over white;
//! 16-bit and float samples are rounded to 8 bits; embedded colour profiles are ignored, the
//! numbers are taken as sRGB. CMYK is converted by the plain formula, as browsers do without
//! colour management.
//!
//! Not here: fetching, storing, and formats whose decoders are not to be had in a form we trust
//! (AVIF, HEIC, JPEG XL): these are named in the error.

mod convert;
mod error;
mod format;
mod header;
mod jpeg;
mod limits;
mod orientation;
mod raster;
mod reader;
mod turbo;

use crate::pixels::RgbImage;

pub use error::DecodeError;
pub use format::ImageFormat;
pub use limits::DecodeLimits;
pub use orientation::Orientation;

use header::Header;

/// What a file says about its picture, before any pixel is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// The format, by the bytes.
    pub format: ImageFormat,
    /// Columns of the upright picture at full size.
    pub width: u32,
    /// Rows of the upright picture at full size.
    pub height: u32,
    /// How it was stored; already accounted for in `width` and `height`.
    pub orientation: Orientation,
    /// Whether it has more than one frame.
    pub animated: bool,
}

impl ImageInfo {
    fn new(format: ImageFormat, header: &Header) -> Self {
        let (width, height) = if header.orientation.swaps_sides() {
            (header.height, header.width)
        } else {
            (header.width, header.height)
        };
        Self {
            format,
            width,
            height,
            orientation: header.orientation,
            animated: header.num_frames > 1,
        }
    }
}

/// A picture and what its file said about it.
#[derive(Clone, Debug)]
pub struct DecodedImage {
    /// The shape at full size, the format, the orientation it was stored in.
    pub info: ImageInfo,
    /// The pixels; smaller than `info` says if less was asked for.
    pub image: RgbImage,
}

/// Reads what `bytes` say about their picture, and checks it against `limits`.
///
/// Takes microseconds and allocates nothing: only headers are read. What follows them may still be
/// damaged.
///
/// # Errors
/// Every [`DecodeError`] that a header can cause.
pub fn probe(bytes: &[u8], limits: &DecodeLimits) -> Result<ImageInfo, DecodeError> {
    let (format, header) = read_header(bytes, limits)?;
    Ok(ImageInfo::new(format, &header))
}

/// Decodes `bytes`.
///
/// With `min_side`, the caller needs no more than that many pixels along the shorter side: a JPEG
/// is then decoded at the smallest of its scales that still has them, which is up to three times
/// faster. Other formats, and pictures smaller than that, come at full size. `None` asks for full
/// size.
///
/// A file that ends too early is [`DecodeError::Truncated`], even if part of the picture could be
/// shown. What is forgiven: bytes after the end, rubbish between the segments of a JPEG, and a
/// missing end marker if no pixel depends on it.
///
/// # Errors
/// A [`DecodeError`], for anything that does not become a whole picture within `limits`.
pub fn decode(
    bytes: &[u8],
    limits: &DecodeLimits,
    min_side: Option<u32>,
) -> Result<DecodedImage, DecodeError> {
    let (format, header) = read_header(bytes, limits)?;
    let stored = match format {
        ImageFormat::Jpeg => jpeg::decode(bytes, limits, min_side)?,
        other => raster::decode(bytes, other, &header, limits)?,
    };
    Ok(DecodedImage {
        info: ImageInfo::new(format, &header),
        image: stored.oriented(header.orientation),
    })
}

/// Returns the orientation that EXIF data tell, or `None` if they tell none.
///
/// `exif` begins with the byte order mark (`II` or `MM`), or with JPEG's prefix `Exif\0\0`.
pub fn exif_orientation(exif: &[u8]) -> Option<Orientation> {
    header::exif_orientation(exif)
}

fn read_header(bytes: &[u8], limits: &DecodeLimits) -> Result<(ImageFormat, Header), DecodeError> {
    limits.check_bytes(bytes)?;
    let format = ImageFormat::sniff(bytes)?;
    let header = header::read(bytes, format, limits.max_frames)?;
    limits.check_header(&header)?;
    Ok((format, header))
}

#[cfg(test)]
mod tests;
