//! PNG, WebP, GIF, BMP and TIFF, through the `image` crate.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use image::{
    ImageDecoder, ImageError,
    codecs::{
        bmp::BmpDecoder, gif::GifDecoder, png::PngDecoder, tiff::TiffDecoder, webp::WebPDecoder,
    },
    error::LimitErrorKind,
};

use super::{
    DecodeError, DecodeLimits, ImageFormat, convert,
    header::Header,
    reader::{DeadlineReader, ReaderFate},
};
use crate::pixels::RgbImage;

/// Decodes the first frame of `bytes`, as stored. `header` has passed the limits.
pub(super) fn decode(
    bytes: &[u8],
    format: ImageFormat,
    header: &Header,
    limits: &DecodeLimits,
) -> Result<RgbImage, DecodeError> {
    let fate = ReaderFate::default();
    let reader = DeadlineReader::new(bytes, Instant::now() + limits.max_time, &fate);
    // Five decoders by others: a panic in one of them is a bug there, and must not become a way
    // to stop a service. Nothing they were given is looked at again.
    let outcome = catch_unwind(AssertUnwindSafe(|| open(reader, format, header, limits)))
        .unwrap_or_else(|_| Err(Failure::Ours(DecodeError::corrupt("the decoder failed"))));
    outcome.map_err(|failure| match failure {
        Failure::Ours(error) => error,
        Failure::Decoder(_) if fate.timed_out.get() => DecodeError::TimedOut {
            limit: limits.max_time,
        },
        Failure::Decoder(_) if fate.passed_end.get() => DecodeError::Truncated,
        Failure::Decoder(error) => from_image(&error, format, limits),
    })
}

/// Who found the fault.
enum Failure {
    Ours(DecodeError),
    Decoder(ImageError),
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Ours(error)
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self::Decoder(error)
    }
}

fn open(
    reader: DeadlineReader<'_>,
    format: ImageFormat,
    header: &Header,
    limits: &DecodeLimits,
) -> Result<RgbImage, Failure> {
    let mut decoder_limits = image::Limits::default();
    decoder_limits.max_alloc = Some(limits.max_alloc_bytes);

    match format {
        ImageFormat::Png => {
            let decoder = PngDecoder::with_limits(reader, decoder_limits)?;
            read(decoder, 0, format, header, limits)
        }
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(reader)?;
            decoder.set_limits(decoder_limits)?;
            read(decoder, 0, format, header, limits)
        }
        ImageFormat::WebP => {
            let decoder = WebPDecoder::new(reader)?;
            // Lossy frames are decoded to planes first, lossless ones to four bytes a pixel.
            read(decoder, 4, format, header, limits)
        }
        ImageFormat::Bmp => {
            let decoder = BmpDecoder::new(reader)?;
            read(decoder, 0, format, header, limits)
        }
        ImageFormat::Tiff => {
            let mut decoder = TiffDecoder::new(reader)?;
            // The decoder holds the picture once more, with a fourth sample if it is CMYK.
            let bytes_per_pixel = u64::from(decoder.color_type().bytes_per_pixel());
            decoder.set_limits(decoder_limits)?;
            read(decoder, bytes_per_pixel * 4 / 3, format, header, limits)
        }
        ImageFormat::Jpeg => Err(DecodeError::corrupt("JPEG has a decoder of its own").into()),
    }
}

/// Reads the pixels. `own_bytes_per_pixel` is what the decoder allocates for itself.
fn read(
    decoder: impl ImageDecoder,
    own_bytes_per_pixel: u64,
    format: ImageFormat,
    header: &Header,
    limits: &DecodeLimits,
) -> Result<RgbImage, Failure> {
    let (width, height) = decoder.dimensions();
    if (width, height) != (header.width, header.height) {
        return Err(DecodeError::corrupt("the file tells two different sizes").into());
    }
    let color = decoder.color_type();
    let num_pixels = header.num_pixels();
    let sample_bytes = num_pixels * u64::from(color.bytes_per_pixel());
    let own_bytes = (num_pixels * own_bytes_per_pixel).max(convert::extra_bytes(color, num_pixels));
    limits.check_alloc(sample_bytes + own_bytes)?;

    let mut samples = vec![0; limits.check_alloc(sample_bytes)?];
    decoder.read_image(&mut samples)?;
    convert::to_rgb(color, samples)
        .and_then(|rgb| RgbImage::new(width, height, rgb))
        .ok_or_else(|| DecodeError::unsupported(format!("{format} with {color:?} samples")).into())
}

/// Returns what an error of a decoder means to the sender.
fn from_image(error: &ImageError, format: ImageFormat, limits: &DecodeLimits) -> DecodeError {
    match error {
        ImageError::Limits(limit) if limit.kind() == LimitErrorKind::InsufficientMemory => {
            DecodeError::OutOfMemoryBudget {
                limit: limits.max_alloc_bytes,
            }
        }
        ImageError::Unsupported(unsupported) => {
            DecodeError::unsupported(format!("this kind of {format} ({unsupported})"))
        }
        _ => DecodeError::corrupt(error.to_string()),
    }
}
