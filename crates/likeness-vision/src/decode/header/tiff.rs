//! TIFF 6.0 and BigTIFF, and EXIF, which is a TIFF file without pixels.
//!
//! Only the first directory is read and no offset is followed from it, so a file whose directories
//! form a loop costs nothing.

use super::{Header, array};
use crate::decode::{DecodeError, Orientation};

const IMAGE_WIDTH: u16 = 256;
const IMAGE_LENGTH: u16 = 257;
const ORIENTATION: u16 = 274;

/// Types of values (TIFF 6.0 §2) that a side or an orientation can have.
const SHORT: u16 = 3;
const LONG: u16 = 4;
const LONG8: u16 = 16;

/// Returns the orientation that EXIF data tell, or `None` if they tell none.
///
/// `exif` begins with the byte order; the prefix `Exif\0\0` that JPEG requires, and that some
/// programs write elsewhere as well, is skipped.
pub(in crate::decode) fn orientation(exif: &[u8]) -> Option<Orientation> {
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let value = Directory::first(exif)?.value(ORIENTATION)?;
    Orientation::from_exif(u16::try_from(value).ok()?)
}

/// Returns the header of a TIFF file.
pub(super) fn read(bytes: &[u8]) -> Result<Header, DecodeError> {
    let directory = Directory::first(bytes).ok_or(DecodeError::Truncated)?;
    let side = |tag| {
        let value = directory.value(tag);
        value
            .and_then(|side| u32::try_from(side).ok())
            .ok_or_else(|| {
                DecodeError::corrupt("the first directory does not tell the size of the image")
            })
    };
    let mut header = Header::still(side(IMAGE_WIDTH)?, side(IMAGE_LENGTH)?);
    header.orientation = directory
        .value(ORIENTATION)
        .and_then(|value| Orientation::from_exif(u16::try_from(value).ok()?))
        .unwrap_or_default();
    Ok(header)
}

/// The first directory of a file: entries `tag u16 | type u16 | count | value`, of 12 bytes in
/// TIFF and 20 in BigTIFF.
struct Directory<'a> {
    entries: &'a [u8],
    big_endian: bool,
    big_tiff: bool,
}

impl<'a> Directory<'a> {
    /// Returns the first directory, or `None` if there is none. One that is cut off at the end of
    /// the file is read as far as it goes.
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (big_endian, big_tiff) = match bytes {
            [b'I', b'I', 42, 0, ..] => (false, false),
            [b'I', b'I', 43, 0, ..] => (false, true),
            [b'M', b'M', 0, 42, ..] => (true, false),
            [b'M', b'M', 0, 43, ..] => (true, true),
            _ => return None,
        };
        let mut directory = Self {
            entries: &[],
            big_endian,
            big_tiff,
        };
        let (at, count_len) = if big_tiff {
            (directory.number(bytes, 8, 8)?, 8)
        } else {
            (directory.number(bytes, 4, 4)?, 2)
        };
        let at = usize::try_from(at).ok()?;
        let num_entries = usize::try_from(directory.number(bytes, at, count_len)?).ok()?;
        let rest = bytes.get(at.checked_add(count_len)?..)?;
        let len = num_entries.saturating_mul(directory.entry_len());
        directory.entries = &rest[..len.min(rest.len())];
        Some(directory)
    }

    /// Returns the first value of `tag`, if it is an unsigned number stored in the entry itself.
    fn value(&self, tag: u16) -> Option<u64> {
        let entries = self.entries.chunks_exact(self.entry_len());
        for entry in entries {
            if self.number(entry, 0, 2)? != u64::from(tag) {
                continue;
            }
            let value_at = if self.big_tiff { 12 } else { 8 };
            return match u16::try_from(self.number(entry, 2, 2)?).ok()? {
                SHORT => self.number(entry, value_at, 2),
                LONG => self.number(entry, value_at, 4),
                LONG8 if self.big_tiff => self.number(entry, value_at, 8),
                _ => None,
            };
        }
        None
    }

    fn entry_len(&self) -> usize {
        if self.big_tiff { 20 } else { 12 }
    }

    /// Returns the number of `len` bytes (2, 4 or 8) at `at`, in the byte order of the file.
    fn number(&self, bytes: &[u8], at: usize, len: usize) -> Option<u64> {
        let mut value: [u8; 8] = match len {
            2 => array::<2>(bytes, at).map(|[a, b]| [a, b, 0, 0, 0, 0, 0, 0]),
            4 => array::<4>(bytes, at).map(|[a, b, c, d]| [a, b, c, d, 0, 0, 0, 0]),
            _ => array::<8>(bytes, at),
        }?;
        if self.big_endian {
            value[..len].reverse();
        }
        Some(u64::from_le_bytes(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EXIF with one entry, orientation `value`.
    fn exif(big_endian: bool, value: u16) -> Vec<u8> {
        if big_endian {
            let mut exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
            exif.extend(value.to_be_bytes());
            exif.extend([0; 6]);
            exif
        } else {
            let mut exif = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
            exif.extend(value.to_le_bytes());
            exif.extend([0; 6]);
            exif
        }
    }

    #[test]
    fn reads_both_byte_orders_and_the_jpeg_prefix() {
        for value in 1..=8 {
            let expected = Orientation::from_exif(value);
            assert_eq!(orientation(&exif(true, value)), expected);
            assert_eq!(orientation(&exif(false, value)), expected);
            let prefixed = [b"Exif\0\0".as_slice(), &exif(false, value)].concat();
            assert_eq!(orientation(&prefixed), expected);
        }
    }

    #[test]
    fn nonsense_is_no_orientation() {
        assert_eq!(orientation(&exif(true, 0)), None);
        assert_eq!(orientation(&exif(false, 9)), None);
        assert_eq!(orientation(b""), None);
        assert_eq!(orientation(b"II\x2a\0\xff\xff\xff\xff"), None);
        let whole = exif(true, 6);
        for len in 0..20 {
            assert_eq!(orientation(&whole[..len]), None);
        }
    }

    #[test]
    fn a_directory_that_points_at_itself_ends() {
        let mut looped = exif(false, 6);
        looped[22..26].copy_from_slice(&8_u32.to_le_bytes());
        assert_eq!(orientation(&looped), Orientation::from_exif(6));
    }

    #[test]
    fn a_count_of_entries_beyond_the_file_ends() {
        let mut greedy = exif(false, 6);
        greedy[8..10].copy_from_slice(&u16::MAX.to_le_bytes());
        greedy[10] = 0;
        assert_eq!(orientation(&greedy), None);
    }

    #[test]
    fn big_tiff_tells_its_size() {
        let mut file = b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0".to_vec();
        file.extend(2_u64.to_le_bytes());
        for (tag, side) in [(IMAGE_WIDTH, 70_000_u64), (IMAGE_LENGTH, 3)] {
            file.extend(tag.to_le_bytes());
            file.extend(LONG8.to_le_bytes());
            file.extend(1_u64.to_le_bytes());
            file.extend(side.to_le_bytes());
        }
        let header = read(&file).unwrap();
        assert_eq!((header.width, header.height), (70_000, 3));
    }
}
