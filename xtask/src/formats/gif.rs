//! GIF, with two encoders: one that never compresses and one for long runs.

use super::LowBitWriter;
use crate::pictures::Picture;

/// Returns a picture in 3-3-2 colours, `num_frames` times.
pub(crate) fn animated(picture: &Picture, num_frames: usize) -> Vec<u8> {
    let indices: Vec<u8> = picture
        .rgb
        .chunks_exact(3)
        .map(|c| (c[0] & 0xe0) | ((c[1] & 0xe0) >> 3) | (c[2] >> 6))
        .collect();
    let (width, height) = (picture.width as u16, picture.height as u16);
    let data = blocks(&uncompressed(&indices));
    let mut bytes = screen(width, height);
    for _ in 0..num_frames {
        bytes.extend_from_slice(&frame(width, height, &data));
    }
    bytes.push(0x3b);
    bytes
}

/// Returns a file of many frames of one pixel each.
pub(crate) fn many_frames(num_frames: usize) -> Vec<u8> {
    let data = blocks(&uncompressed(&[0]));
    let one = frame(1, 1, &data);
    let mut bytes = screen(64, 64);
    for _ in 0..num_frames {
        bytes.extend_from_slice(&one);
    }
    bytes.push(0x3b);
    bytes
}

/// Returns a frame of one colour, its pixels compressed as far as LZW can.
pub(crate) fn bomb(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = screen(width, height);
    let data = blocks(&run(u64::from(width) * u64::from(height)));
    bytes.extend_from_slice(&frame(width, height, &data));
    bytes.push(0x3b);
    bytes
}

/// Returns a file that promises these sides and holds next to nothing.
pub(crate) fn promise(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = screen(width, height);
    bytes.extend_from_slice(&frame(width, height, &blocks(&uncompressed(&[0; 8]))));
    bytes.push(0x3b);
    bytes
}

/// Returns a frame whose first code after the clear code is one that cannot exist yet.
pub(crate) fn impossible_code(width: u16, height: u16) -> Vec<u8> {
    let mut writer = LowBitWriter::default();
    writer.push(256, 9);
    writer.push(400, 9);
    writer.push(257, 9);
    let mut bytes = screen(width, height);
    bytes.extend_from_slice(&frame(width, height, &blocks(&writer.finish())));
    bytes.push(0x3b);
    bytes
}

fn screen(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = b"GIF89a".to_vec();
    bytes.extend_from_slice(&width.to_le_bytes());
    bytes.extend_from_slice(&height.to_le_bytes());
    // A palette of 256 colours, 3-3-2 bits.
    bytes.extend_from_slice(&[0xf7, 0, 0]);
    for index in 0..=255_u8 {
        let blue = (index & 3) * 85;
        bytes.extend_from_slice(&[index & 0xe0, (index & 0x1c) << 3, blue]);
    }
    bytes
}

fn frame(width: u16, height: u16, data: &[u8]) -> Vec<u8> {
    // A graphic control block of a tenth of a second, then the image at the origin.
    let mut bytes = vec![0x21, 0xf9, 4, 0, 10, 0, 0, 0, 0x2c, 0, 0, 0, 0];
    bytes.extend_from_slice(&width.to_le_bytes());
    bytes.extend_from_slice(&height.to_le_bytes());
    bytes.extend_from_slice(&[0, 8]);
    bytes.extend_from_slice(data);
    bytes
}

fn blocks(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in data.chunks(255) {
        bytes.push(block.len() as u8);
        bytes.extend_from_slice(block);
    }
    bytes.push(0);
    bytes
}

/// Codes of nine bits, with a clear code before the table would make them ten.
fn uncompressed(indices: &[u8]) -> Vec<u8> {
    let mut writer = LowBitWriter::default();
    for part in indices.chunks(200) {
        writer.push(256, 9);
        for &index in part {
            writer.push(u32::from(index), 9);
        }
    }
    writer.push(257, 9);
    writer.finish()
}

/// A run of `num_pixels` zeros: each code stands for one pixel more than the one before it.
fn run(num_pixels: u64) -> Vec<u8> {
    let mut writer = LowBitWriter::default();
    let mut left = num_pixels;
    let mut width = 9;
    while left > 0 {
        writer.push(256, width);
        writer.push(0, 9);
        left -= 1;
        // The decoder's table has 258 entries, and gains one with each code from the second on.
        let (mut code, mut length) = (258_u32, 2_u64);
        width = 9;
        while left >= length && code < 4_095 {
            writer.push(code, width);
            left -= length;
            length += 1;
            code += 1;
            width = u32::BITS - code.leading_zeros();
        }
    }
    writer.push(257, width);
    writer.finish()
}
