//! TIFF, little-endian, one strip.

use super::{zlib, zlib_zeros};
use crate::pictures::Picture;

const UNCOMPRESSED: u32 = 1;
const DEFLATE: u32 = 8;
const RGB: u32 = 2;
const CMYK: u32 = 5;
const SHORT: u16 = 3;
const LONG: u16 = 4;

/// What a file says about its picture.
struct Layout {
    width: u32,
    height: u32,
    bits: u16,
    num_channels: u16,
    photometric: u32,
    compression: u32,
}

impl Layout {
    fn rgb8(width: u32, height: u32, compression: u32) -> Self {
        Self {
            width,
            height,
            bits: 8,
            num_channels: 3,
            photometric: RGB,
            compression,
        }
    }
}

/// Returns a picture with 8 bits a channel.
pub(crate) fn rgb(picture: &Picture) -> Vec<u8> {
    let (width, height) = (picture.width as u32, picture.height as u32);
    let layout = Layout::rgb8(width, height, DEFLATE);
    file(&layout, &zlib(&picture.rgb), 0)
}

/// Returns a picture with 16 bits a channel.
pub(crate) fn rgb16(picture: &Picture) -> Vec<u8> {
    let wide: Vec<u8> = picture
        .rgb
        .iter()
        .flat_map(|&value| [value, value])
        .collect();
    let (width, height) = (picture.width as u32, picture.height as u32);
    let layout = Layout {
        bits: 16,
        ..Layout::rgb8(width, height, UNCOMPRESSED)
    };
    file(&layout, &wide, 0)
}

/// Returns a picture in four inks.
pub(crate) fn cmyk(picture: &Picture) -> Vec<u8> {
    let inks: Vec<u8> = picture
        .rgb
        .chunks_exact(3)
        .flat_map(|c| [255 - c[0], 255 - c[1], 255 - c[2], 0])
        .collect();
    let (width, height) = (picture.width as u32, picture.height as u32);
    let layout = Layout {
        num_channels: 4,
        photometric: CMYK,
        ..Layout::rgb8(width, height, UNCOMPRESSED)
    };
    file(&layout, &inks, 0)
}

/// Returns a black picture of these sides, compressed more than a hundredfold.
pub(crate) fn bomb(width: u32, height: u32) -> Vec<u8> {
    let data = zlib_zeros(u64::from(width) * u64::from(height) * 3);
    file(&Layout::rgb8(width, height, DEFLATE), &data, 0)
}

/// Returns a small picture whose strip unpacks to far more than its sides say.
pub(crate) fn overlong_strip(width: u32, height: u32, num_bytes: u64) -> Vec<u8> {
    let data = zlib_zeros(num_bytes);
    file(&Layout::rgb8(width, height, DEFLATE), &data, 0)
}

/// Returns a file that promises these sides and holds next to nothing.
pub(crate) fn promise(width: u32, height: u32) -> Vec<u8> {
    file(&Layout::rgb8(width, height, UNCOMPRESSED), &[0; 64], 0)
}

/// Returns a picture whose first directory names itself as the next page.
pub(crate) fn page_loop(picture: &Picture) -> Vec<u8> {
    let (width, height) = (picture.width as u32, picture.height as u32);
    let layout = Layout::rgb8(width, height, UNCOMPRESSED);
    file(&layout, &picture.rgb, 8)
}

/// Returns a file whose directory lies beyond its end.
pub(crate) fn directory_beyond_end() -> Vec<u8> {
    let mut bytes = b"II*\0".to_vec();
    bytes.extend_from_slice(&0xffff_fff0_u32.to_le_bytes());
    bytes.extend_from_slice(&[0; 32]);
    bytes
}

/// Returns an Exif block (a TIFF without a picture): `entries` of tag, type, count and value.
pub(crate) fn exif(entries: &[(u16, u16, u32, u32)], next: u32) -> Vec<u8> {
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    bytes.extend_from_slice(&directory(entries, next));
    bytes
}

/// Header, directory of ten entries at 8, then the bits per channel and the strip.
fn file(layout: &Layout, strip: &[u8], next: u32) -> Vec<u8> {
    const NUM_ENTRIES: u32 = 10;
    let bits_at = 8 + 2 + NUM_ENTRIES * 12 + 4;
    let num_channels = u32::from(layout.num_channels);
    let strip_at = bits_at + num_channels * 2;
    let entries = [
        (256, LONG, 1, layout.width),
        (257, LONG, 1, layout.height),
        (258, SHORT, num_channels, bits_at),
        (259, SHORT, 1, layout.compression),
        (262, SHORT, 1, layout.photometric),
        (273, LONG, 1, strip_at),
        (277, SHORT, 1, num_channels),
        (278, LONG, 1, layout.height),
        (279, LONG, 1, strip.len() as u32),
        (284, SHORT, 1, 1),
    ];
    let mut bytes = exif(&entries, next);
    for _ in 0..layout.num_channels {
        bytes.extend_from_slice(&layout.bits.to_le_bytes());
    }
    bytes.extend_from_slice(strip);
    bytes
}

fn directory(entries: &[(u16, u16, u32, u32)], next: u32) -> Vec<u8> {
    let mut bytes = (entries.len() as u16).to_le_bytes().to_vec();
    for (tag, kind, count, value) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes.extend_from_slice(&next.to_le_bytes());
    bytes
}
