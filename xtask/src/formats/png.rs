//! PNG and APNG.

use super::{zlib, zlib_zeros};
use crate::pictures::Picture;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Colour types of the header.
pub(crate) const GRAY: u8 = 0;
/// Three channels.
pub(crate) const RGB: u8 = 2;
/// Three channels and alpha.
pub(crate) const RGBA: u8 = 6;

/// Returns a picture as an 8-bit file.
pub(crate) fn rgb(picture: &Picture) -> Vec<u8> {
    let (width, height) = (picture.width as u32, picture.height as u32);
    file(&[
        header(width, height, 8, RGB),
        chunk(b"IDAT", &zlib(&filtered(&picture.rgb, picture.width * 3))),
    ])
}

/// Returns a picture with 16 bits a channel.
pub(crate) fn rgb16(picture: &Picture) -> Vec<u8> {
    let wide: Vec<u8> = picture
        .rgb
        .iter()
        .flat_map(|&value| [value, value])
        .collect();
    let (width, height) = (picture.width as u32, picture.height as u32);
    file(&[
        header(width, height, 16, RGB),
        chunk(b"IDAT", &zlib(&filtered(&wide, picture.width * 6))),
    ])
}

/// Returns a picture whose right half is transparent.
pub(crate) fn rgba(picture: &Picture) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(picture.rgb.len() / 3 * 4);
    for (index, colour) in picture.rgb.chunks_exact(3).enumerate() {
        pixels.extend_from_slice(colour);
        let is_left = index % picture.width < picture.width / 2;
        pixels.push(if is_left { 255 } else { 0 });
    }
    let (width, height) = (picture.width as u32, picture.height as u32);
    file(&[
        header(width, height, 8, RGBA),
        chunk(b"IDAT", &zlib(&filtered(&pixels, picture.width * 4))),
    ])
}

/// Returns an animation that shows the picture in every frame.
pub(crate) fn animated(picture: &Picture, num_frames: u32) -> Vec<u8> {
    let (width, height) = (picture.width as u32, picture.height as u32);
    let data = zlib(&filtered(&picture.rgb, picture.width * 3));
    let mut control = num_frames.to_be_bytes().to_vec();
    control.extend_from_slice(&0_u32.to_be_bytes());
    let mut chunks = vec![header(width, height, 8, RGB), chunk(b"acTL", &control)];
    let mut sequence = 0_u32;
    for frame in 0..num_frames {
        let mut frame_control = Vec::new();
        for value in [sequence, width, height, 0, 0] {
            frame_control.extend_from_slice(&value.to_be_bytes());
        }
        frame_control.extend_from_slice(&[0, 10, 0, 100, 0, 0]);
        chunks.push(chunk(b"fcTL", &frame_control));
        sequence += 1;
        if frame == 0 {
            chunks.push(chunk(b"IDAT", &data));
        } else {
            let mut body = sequence.to_be_bytes().to_vec();
            body.extend_from_slice(&data);
            chunks.push(chunk(b"fdAT", &body));
            sequence += 1;
        }
    }
    file(&chunks)
}

/// Returns a black gray picture of these sides, its pixels compressed more than a hundredfold.
pub(crate) fn bomb(width: u32, height: u32) -> Vec<u8> {
    let num_bytes = (u64::from(width) + 1) * u64::from(height);
    file(&[
        header(width, height, 8, GRAY),
        chunk(b"IDAT", &zlib_zeros(num_bytes)),
    ])
}

/// Returns a small picture with a compressed text that unpacks to `num_bytes`.
pub(crate) fn text_bomb(picture: &Picture, num_bytes: u64) -> Vec<u8> {
    let mut text = b"Comment\0\0".to_vec();
    text.extend_from_slice(&zlib_zeros(num_bytes));
    let (width, height) = (picture.width as u32, picture.height as u32);
    file(&[
        header(width, height, 8, RGB),
        chunk(b"zTXt", &text),
        chunk(b"IDAT", &zlib(&filtered(&picture.rgb, picture.width * 3))),
    ])
}

/// Returns a file that promises these sides and holds next to nothing.
pub(crate) fn promise(width: u32, height: u32) -> Vec<u8> {
    file(&[
        header(width, height, 8, RGB),
        chunk(b"IDAT", &zlib(&[0; 64])),
    ])
}

/// Returns a picture with an Exif chunk before its pixels.
pub(crate) fn with_exif(picture: &Picture, exif: &[u8]) -> Vec<u8> {
    let (width, height) = (picture.width as u32, picture.height as u32);
    file(&[
        header(width, height, 8, RGB),
        chunk(b"eXIf", exif),
        chunk(b"IDAT", &zlib(&filtered(&picture.rgb, picture.width * 3))),
    ])
}

/// Returns a chunk whose length field says more than the file has.
pub(crate) fn endless_chunk() -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend_from_slice(&header(32, 32, 8, RGB));
    bytes.extend_from_slice(&0x7fff_ffff_u32.to_be_bytes());
    bytes.extend_from_slice(b"IDAT");
    bytes.extend_from_slice(&[0; 40]);
    bytes
}

fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend(chunks.iter().flatten());
    bytes.extend_from_slice(&chunk(b"IEND", &[]));
    bytes
}

fn header(width: u32, height: u32, depth: u8, colour: u8) -> Vec<u8> {
    let mut body = width.to_be_bytes().to_vec();
    body.extend_from_slice(&height.to_be_bytes());
    body.extend_from_slice(&[depth, colour, 0, 0, 0]);
    chunk(b"IHDR", &body)
}

/// Puts the filter byte "none" before each row.
fn filtered(pixels: &[u8], row_bytes: usize) -> Vec<u8> {
    let mut rows = Vec::with_capacity(pixels.len() + pixels.len() / row_bytes);
    for row in pixels.chunks_exact(row_bytes) {
        rows.push(0);
        rows.extend_from_slice(row);
    }
    rows
}

fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(kind);
    bytes.extend_from_slice(body);
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[4..]);
    bytes.extend_from_slice(&crc.sum().to_be_bytes());
    bytes
}
