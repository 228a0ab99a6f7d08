//! Windows bitmaps.

use crate::pictures::Picture;

/// Returns a picture with 24 bits a pixel.
pub(crate) fn rgb(picture: &Picture) -> Vec<u8> {
    let (width, height) = (picture.width as i32, picture.height as i32);
    let row_bytes = (picture.width * 3).next_multiple_of(4);
    let mut bytes = headers(width, height, 24, 0, (row_bytes * picture.height) as u32);
    for row in picture.rgb.chunks_exact(picture.width * 3).rev() {
        let start = bytes.len();
        bytes.extend(row.chunks_exact(3).flat_map(|c| [c[2], c[1], c[0]]));
        bytes.resize(start + row_bytes, 0);
    }
    bytes
}

/// Returns a file that promises these sides and holds next to nothing.
pub(crate) fn promise(width: i32, height: i32) -> Vec<u8> {
    let mut bytes = headers(width, height, 24, 0, 64);
    bytes.extend_from_slice(&[0; 64]);
    bytes
}

/// Returns a run-length file of these sides whose every run says "end of bitmap" at once.
pub(crate) fn run_length(width: i32, height: i32) -> Vec<u8> {
    let mut bytes = headers(width, height, 8, 1, 2);
    // 256 grays.
    bytes.extend((0..=255_u8).flat_map(|v| [v, v, v, 0]));
    bytes[10..14].copy_from_slice(&(54_u32 + 1024).to_le_bytes());
    bytes.extend_from_slice(&[0, 1]);
    bytes
}

fn headers(width: i32, height: i32, bits: u16, compression: u32, num_bytes: u32) -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    bytes.extend_from_slice(&num_bytes.wrapping_add(54).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&54_u32.to_le_bytes());
    bytes.extend_from_slice(&40_u32.to_le_bytes());
    bytes.extend_from_slice(&width.to_le_bytes());
    bytes.extend_from_slice(&height.to_le_bytes());
    bytes.extend_from_slice(&1_u16.to_le_bytes());
    bytes.extend_from_slice(&bits.to_le_bytes());
    bytes.extend_from_slice(&compression.to_le_bytes());
    bytes.extend_from_slice(&num_bytes.to_le_bytes());
    bytes.extend_from_slice(&[0; 16]);
    bytes
}
