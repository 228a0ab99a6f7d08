//! JPEG, by libjpeg-turbo: which scale, how strict, and what a hostile file may cost.
//!
//! libjpeg never gives up on damaged data: it warns, fills with gray and goes on. What is accepted:
//!
//! - no warning at all;
//! - a warning that touches no pixel: rubbish between segments, an unknown JFIF revision or Adobe
//!   transform (the first warning decides, later ones are not reported by libjpeg);
//! - a missing end marker, if there is only one scan and its data were complete.
//!
//! libjpeg-turbo cannot be interrupted, so the work is bounded beforehand: a progressive file may
//! make the decoder go over all coefficients once per scan, in a few bytes each ("Two issues with
//! the JPEG standard", libjpeg-turbo.org), so scans, and pixels times scans, have a limit.

use std::borrow::Cow;

use super::{
    DecodeError, DecodeLimits, convert,
    header::jpeg::{self, JpegHeader, Scans},
    turbo::{Decompressor, TurboHeader, TurboImage},
};
use crate::pixels::RgbImage;

/// Scans a file may have. Encoders write 1, 10 or so; optimisers up to 30.
const MAX_SCANS: u32 = 100;

/// Scans a file of [`DecodeLimits::max_pixels`] may have; smaller ones may have more, up to
/// [`MAX_SCANS`].
const MAX_SCANS_AT_MAX_PIXELS: u64 = 16;

const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];

/// Decodes `bytes`, as stored. The header has passed the limits.
pub(super) fn decode(
    bytes: &[u8],
    limits: &DecodeLimits,
    min_side: Option<u32>,
) -> Result<RgbImage, DecodeError> {
    let header = jpeg::read(bytes)?;
    if header.precision != 8 {
        return Err(DecodeError::unsupported(format!(
            "JPEG with {} bits a sample",
            header.precision
        )));
    }
    let scans = jpeg::count_scans(bytes, header.first_scan_at, MAX_SCANS);
    check_work(&header, &scans, limits)?;
    let bytes = with_end(bytes, &header, &scans)?;

    let image = decompress(&bytes, &header, limits, min_side)?;
    if let Some(warning) = image.warning
        && !(scans.is_ended && is_harmless(&warning))
    {
        return Err(if scans.is_ended {
            DecodeError::corrupt(warning)
        } else {
            DecodeError::Truncated
        });
    }
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    RgbImage::new(side(image.width), side(image.height), image.samples)
        .ok_or_else(|| DecodeError::corrupt("the decoder gave another size than the header"))
}

fn check_work(
    header: &JpegHeader,
    scans: &Scans,
    limits: &DecodeLimits,
) -> Result<(), DecodeError> {
    let max_work = limits.max_pixels.saturating_mul(MAX_SCANS_AT_MAX_PIXELS);
    let work = header
        .header
        .num_pixels()
        .saturating_mul(u64::from(scans.count));
    if scans.count > MAX_SCANS || work > max_work {
        return Err(DecodeError::corrupt(
            "it has far too many scans for its size",
        ));
    }
    Ok(())
}

/// Returns the bytes with an end marker, which is what tells libjpeg whether the last scan was
/// complete: it warns if it meets the marker too early.
fn with_end<'a>(
    bytes: &'a [u8],
    header: &JpegHeader,
    scans: &Scans,
) -> Result<Cow<'a, [u8]>, DecodeError> {
    if scans.is_ended {
        return Ok(Cow::Borrowed(bytes));
    }
    // With several scans there is no telling whether another one was to come.
    let is_one_scan = scans.count == 1
        && !header.is_progressive
        && scans.num_components_in_first == header.num_components;
    if !is_one_scan {
        return Err(DecodeError::Truncated);
    }
    Ok(Cow::Owned([bytes, &END_OF_IMAGE].concat()))
}

fn decompress(
    bytes: &[u8],
    expected: &JpegHeader,
    limits: &DecodeLimits,
    min_side: Option<u32>,
) -> Result<TurboImage, DecodeError> {
    let out_of_memory = || DecodeError::OutOfMemoryBudget {
        limit: limits.max_alloc_bytes,
    };
    let failed = |message: String| {
        if message.starts_with("Memory limit exceeded")
            || message.starts_with("Insufficient memory")
        {
            return out_of_memory();
        }
        DecodeError::corrupt(message)
    };
    let mut decompressor = Decompressor::take().ok_or_else(out_of_memory)?;

    let header = decompressor.read_header(bytes).map_err(failed)?;
    let agrees = header.width as u64 == u64::from(expected.header.width)
        && header.height as u64 == u64::from(expected.header.height);
    if !agrees {
        return Err(DecodeError::corrupt("the file tells two different sizes"));
    }
    let denominator = scale_denominator(&header, min_side);
    let num_pixels =
        header.width.div_ceil(denominator) as u64 * header.height.div_ceil(denominator) as u64;
    let pixel_bytes = num_pixels * if header.is_cmyk { 4 } else { 3 };
    // Turning a picture takes a second copy for a moment.
    let copies = 1 + u64::from(expected.header.orientation.swaps_sides());
    limits.check_alloc(pixel_bytes * copies)?;
    let for_coefficients = (limits.max_alloc_bytes - pixel_bytes) >> 20;
    decompressor
        .set_limits(for_coefficients, MAX_SCANS)
        .map_err(failed)?;

    let mut image = decompressor
        .decompress(bytes, &header, denominator)
        .map_err(failed)?;
    decompressor.recycle();
    if header.is_cmyk {
        image.samples = convert::inverted_cmyk_to_rgb(image.samples);
    }
    Ok(image)
}

/// Returns the largest of 1, 2, 4 and 8 at which the shorter side keeps `min_side` pixels.
///
/// libjpeg-turbo knows the eighths in between as well, but has no SIMD for them: they are slower
/// than the next larger one here.
fn scale_denominator(header: &TurboHeader, min_side: Option<u32>) -> usize {
    let Some(min_side) = min_side else { return 1 };
    if header.is_lossless {
        return 1;
    }
    let shorter = header.width.min(header.height);
    [8, 4, 2]
        .into_iter()
        .find(|&denominator| shorter.div_ceil(denominator) as u64 >= u64::from(min_side))
        .unwrap_or(1)
}

/// Returns whether a warning of libjpeg leaves all pixels as they were meant.
fn is_harmless(warning: &str) -> bool {
    warning.contains("extraneous bytes before marker")
        || warning.contains("unknown JFIF revision")
        || warning.contains("Unknown Adobe color transform")
        || warning.contains("bad ICC marker")
}

#[cfg(test)]
mod tests;
