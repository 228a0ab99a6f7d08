//! JPEG without AC coefficients: every block of 8 × 8 pixels has one colour. Enough for a decoder to
//! have to do everything, and needs no cosine transform.

use crate::pictures::Picture;

/// Start-of-frame markers.
const BASELINE: u8 = 0xc0;
const PROGRESSIVE: u8 = 0xc2;
const LOSSLESS: u8 = 0xc3;

const START: [u8; 2] = [0xff, 0xd8];
const END: [u8; 2] = [0xff, 0xd9];

/// Returns a baseline file in colour.
pub(crate) fn baseline(picture: &Picture) -> Vec<u8> {
    with_segments(picture, &[])
}

/// Returns a baseline file with segments (marker and body) after its start.
pub(crate) fn with_segments(picture: &Picture, segments: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = START.to_vec();
    for (marker, body) in segments {
        bytes.extend_from_slice(&segment(*marker, body));
    }
    bytes.extend_from_slice(&tables());
    bytes.extend_from_slice(&frame(BASELINE, picture.width, picture.height, 3));
    bytes.extend_from_slice(&scan_header(&[0, 1, 2], 0, 63));
    bytes.extend_from_slice(&coded(&planes(picture, 3), true));
    bytes.extend_from_slice(&END);
    bytes
}

/// Returns a baseline file with an Exif block.
pub(crate) fn with_exif(picture: &Picture, exif: &[u8]) -> Vec<u8> {
    let mut body = b"Exif\0\0".to_vec();
    body.extend_from_slice(exif);
    with_segments(picture, &[(0xe1, body)])
}

/// Returns a file in four inks, as Adobe's programs write it.
pub(crate) fn cmyk(picture: &Picture) -> Vec<u8> {
    let mut bytes = START.to_vec();
    bytes.extend_from_slice(&segment(0xee, b"Adobe\0\x64\0\0\0\0\0"));
    bytes.extend_from_slice(&tables());
    bytes.extend_from_slice(&frame(BASELINE, picture.width, picture.height, 4));
    bytes.extend_from_slice(&scan_header(&[0, 1, 2, 3], 0, 63));
    bytes.extend_from_slice(&coded(&planes(picture, 4), true));
    bytes.extend_from_slice(&END);
    bytes
}

/// Returns a progressive file that goes over the AC coefficients `num_scans` times.
pub(crate) fn progressive(picture: &Picture, num_scans: usize) -> Vec<u8> {
    let mut bytes = START.to_vec();
    bytes.extend_from_slice(&tables());
    bytes.extend_from_slice(&frame(PROGRESSIVE, picture.width, picture.height, 3));
    bytes.extend_from_slice(&scan_header(&[0, 1, 2], 0, 0));
    bytes.extend_from_slice(&coded(&planes(picture, 3), false));
    let num_blocks = picture.width.div_ceil(8) * picture.height.div_ceil(8);
    for scan in 0..num_scans {
        bytes.extend_from_slice(&scan_header(&[(scan % 3) as u8], 1, 63));
        bytes.extend_from_slice(&empty_blocks(num_blocks));
    }
    bytes.extend_from_slice(&END);
    bytes
}

/// Returns a file that promises these sides and holds next to nothing.
pub(crate) fn promise(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = START.to_vec();
    bytes.extend_from_slice(&tables());
    bytes.extend_from_slice(&frame(BASELINE, width.into(), height.into(), 3));
    bytes.extend_from_slice(&scan_header(&[0, 1, 2], 0, 63));
    bytes.extend_from_slice(&[0; 32]);
    bytes.extend_from_slice(&END);
    bytes
}

/// Returns a file of the lossless process, which hardly any decoder knows.
pub(crate) fn lossless(picture: &Picture) -> Vec<u8> {
    let mut bytes = START.to_vec();
    bytes.extend_from_slice(&tables());
    bytes.extend_from_slice(&frame(LOSSLESS, picture.width, picture.height, 3));
    bytes.extend_from_slice(&scan_header(&[0, 1, 2], 1, 0));
    bytes.extend_from_slice(&[0; 64]);
    bytes.extend_from_slice(&END);
    bytes
}

/// Returns a file whose Huffman table has more codes of one bit than there are.
pub(crate) fn impossible_tables(picture: &Picture) -> Vec<u8> {
    let mut table = vec![0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    table.extend(0..7);
    let mut bytes = START.to_vec();
    bytes.extend_from_slice(&tables());
    // Takes the place of the good one.
    bytes.extend_from_slice(&segment(0xc4, &table));
    bytes.extend_from_slice(&frame(BASELINE, picture.width, picture.height, 3));
    bytes.extend_from_slice(&scan_header(&[0, 1, 2], 0, 63));
    bytes.extend_from_slice(&coded(&planes(picture, 3), true));
    bytes.extend_from_slice(&END);
    bytes
}

fn segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff, marker];
    bytes.extend_from_slice(&(body.len() as u16 + 2).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// One quantisation table, one Huffman table for DC and one for AC.
fn tables() -> Vec<u8> {
    // A step of 8 everywhere makes a DC coefficient the mean of its block.
    let mut quantisation = vec![0];
    quantisation.extend_from_slice(&[8; 64]);
    let mut bytes = segment(0xdb, &quantisation);
    // DC: the table of the standard's annex K.3, twelve categories.
    let mut dc = vec![0, 0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
    dc.extend(0..12);
    bytes.extend_from_slice(&segment(0xc4, &dc));
    // AC: fifteen codes of four bits, "end of block" for 2^r blocks and r more bits.
    let mut ac = vec![0x10, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    ac.extend((0..15).map(|r| r << 4));
    bytes.extend_from_slice(&segment(0xc4, &ac));
    bytes
}

fn frame(marker: u8, width: usize, height: usize, num_components: u8) -> Vec<u8> {
    let mut body = vec![8];
    body.extend_from_slice(&(height as u16).to_be_bytes());
    body.extend_from_slice(&(width as u16).to_be_bytes());
    body.push(num_components);
    for component in 0..num_components {
        body.extend_from_slice(&[component + 1, 0x11, 0]);
    }
    segment(marker, &body)
}

fn scan_header(components: &[u8], first: u8, last: u8) -> Vec<u8> {
    let mut body = vec![components.len() as u8];
    for component in components {
        body.extend_from_slice(&[component + 1, 0]);
    }
    body.extend_from_slice(&[first, last, 0]);
    segment(0xda, &body)
}

/// Returns the block means less 128 of each component: Y, Cb, Cr, or four inks.
fn planes(picture: &Picture, num_components: usize) -> Vec<Vec<i32>> {
    let mut planes = vec![Vec::new(); num_components];
    for top in (0..picture.height).step_by(8) {
        for left in (0..picture.width).step_by(8) {
            let [r, g, b] = mean(picture, left, top);
            let y = (r * 299 + g * 587 + b * 114) / 1000;
            let blue = (b - y) * 564 / 1000;
            let red = (r - y) * 713 / 1000;
            let inks = [r - 128, g - 128, b - 128, 127];
            let values = if num_components == 4 {
                inks
            } else {
                [y - 128, blue, red, 0]
            };
            for (plane, value) in planes.iter_mut().zip(values) {
                plane.push(value.clamp(-127, 127));
            }
        }
    }
    planes
}

fn mean(picture: &Picture, left: usize, top: usize) -> [i32; 3] {
    let right = (left + 8).min(picture.width);
    let bottom = (top + 8).min(picture.height);
    let mut sums = [0_i32; 3];
    for y in top..bottom {
        for x in left..right {
            let start = (y * picture.width + x) * 3;
            for (sum, &value) in sums.iter_mut().zip(&picture.rgb[start..start + 3]) {
                *sum += i32::from(value);
            }
        }
    }
    sums.map(|sum| sum / ((right - left) * (bottom - top)) as i32)
}

/// Codes the planes block by block, components interleaved.
fn coded(planes: &[Vec<i32>], with_ac: bool) -> Vec<u8> {
    let mut writer = BitWriter::default();
    let mut last = vec![0; planes.len()];
    for block in 0..planes[0].len() {
        for (plane, last) in planes.iter().zip(&mut last) {
            let difference = plane[block] - *last;
            *last = plane[block];
            let category = u32::BITS - difference.unsigned_abs().leading_zeros();
            let (code, length) = dc_code(category);
            writer.push(code, length);
            // Negative values are stored less one, in one's complement.
            let offset = if difference < 0 {
                difference - 1
            } else {
                difference
            };
            writer.push(offset as u32 & ((1 << category) - 1), category);
            if with_ac {
                writer.push(0, 4);
            }
        }
    }
    writer.finish()
}

/// The codes that follow from the lengths in [`tables`]: one of 2 bits, five of 3, then one each.
fn dc_code(category: u32) -> (u32, u32) {
    match category {
        0 => (0b00, 2),
        1..=5 => (0b010 + category - 1, 3),
        _ => {
            let length = category - 2;
            ((1 << length) - 2, length)
        }
    }
}

fn empty_blocks(num_blocks: usize) -> Vec<u8> {
    let mut writer = BitWriter::default();
    let mut left = num_blocks as u32;
    while left > 0 {
        let r = left.ilog2().min(14);
        writer.push(r, 4);
        let run = left.min((1 << (r + 1)) - 1);
        writer.push(run - (1 << r), r);
        left -= run;
    }
    writer.finish()
}

#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    bits: u64,
    num_bits: u32,
}

impl BitWriter {
    fn push(&mut self, code: u32, length: u32) {
        self.bits = (self.bits << length) | u64::from(code);
        self.num_bits += length;
        while self.num_bits >= 8 {
            self.num_bits -= 8;
            let byte = (self.bits >> self.num_bits) as u8;
            self.bytes.push(byte);
            if byte == 0xff {
                self.bytes.push(0);
            }
        }
    }

    /// Fills the last byte with ones, as the standard asks.
    fn finish(mut self) -> Vec<u8> {
        let missing = (8 - self.num_bits % 8) % 8;
        self.push((1 << missing) - 1, missing);
        self.bytes
    }
}
