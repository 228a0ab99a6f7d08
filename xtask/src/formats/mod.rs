//! Writers of image files, small and willing: they write what a decoder must refuse as readily as
//! what it must read. Nothing here reads.

pub(crate) mod bmp;
pub(crate) mod gif;
pub(crate) mod jpeg;
pub(crate) mod png;
pub(crate) mod tiff;
pub(crate) mod webp;

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;

/// Returns `bytes` as a zlib stream.
pub(crate) fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("writing to memory cannot fail")
}

/// Returns a zlib stream of `num_bytes` zeros, a hundred and fifty times smaller, without ever
/// holding them: one literal, then matches of 258 bytes at distance 1 in the fixed Huffman code.
pub(crate) fn zlib_zeros(num_bytes: u64) -> Vec<u8> {
    // Codes are written from their highest bit on, so that they stand here reversed.
    const LITERAL_ZERO: (u32, u32) = (0b0000_1100, 8);
    const MATCH_258: (u32, u32) = (0b1010_0011, 8 + 5);
    const END: (u32, u32) = (0, 7);
    let mut writer = LowBitWriter::new(vec![0x78, 0x01]);
    // The last block, in the fixed code.
    writer.push(1, 1);
    writer.push(1, 2);
    let mut left = num_bytes;
    if left > 0 {
        writer.push(LITERAL_ZERO.0, LITERAL_ZERO.1);
        left -= 1;
    }
    for _ in 0..left / 258 {
        writer.push(MATCH_258.0, MATCH_258.1);
    }
    for _ in 0..left % 258 {
        writer.push(LITERAL_ZERO.0, LITERAL_ZERO.1);
    }
    writer.push(END.0, END.1);
    let mut bytes = writer.finish();
    // Adler-32 of zeros: the first sum stays 1, the second counts.
    let checksum = ((num_bytes % 65_521) as u32) << 16 | 1;
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes
}

/// Writes bits from the lowest of each byte on, as deflate, GIF and WebP do.
#[derive(Debug, Default)]
pub(crate) struct LowBitWriter {
    bytes: Vec<u8>,
    bits: u64,
    num_bits: u32,
}

impl LowBitWriter {
    /// Continues after `bytes`.
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    /// Appends the lowest `num_bits` of `value`, at most 32.
    pub(crate) fn push(&mut self, value: u32, num_bits: u32) {
        self.bits |= u64::from(value) << self.num_bits;
        self.num_bits += num_bits;
        while self.num_bits >= 8 {
            self.bytes.push(self.bits as u8);
            self.bits >>= 8;
            self.num_bits -= 8;
        }
    }

    /// Fills the last byte with zeros and returns all.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.num_bits > 0 {
            self.bytes.push(self.bits as u8);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::zlib_zeros;

    #[test]
    fn a_bomb_unpacks_to_as_many_zeros_as_it_says() {
        for num_bytes in [0, 1, 258, 259, 100_000] {
            let mut unpacked = Vec::new();
            flate2::read::ZlibDecoder::new(zlib_zeros(num_bytes).as_slice())
                .read_to_end(&mut unpacked)
                .unwrap();
            assert_eq!(unpacked, vec![0; num_bytes as usize]);
        }
    }
}
