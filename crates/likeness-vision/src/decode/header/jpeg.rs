//! JPEG (ITU-T T.81): segments `0xff | marker u8 | len u16 | data`, big-endian, and entropy-coded
//! data after each start of scan, in which a byte `0xff` is followed by zero unless it begins a
//! marker.

use memchr::memchr;

use super::{Header, exif_orientation, u16_be};
use crate::decode::DecodeError;

/// Markers (T.81 table B.1).
mod marker {
    pub(super) const TEMPORARY: u8 = 0x01;
    pub(super) const SOF0: u8 = 0xc0;
    pub(super) const DHT: u8 = 0xc4;
    pub(super) const JPG: u8 = 0xc8;
    pub(super) const DAC: u8 = 0xcc;
    pub(super) const SOF15: u8 = 0xcf;
    pub(super) const RST0: u8 = 0xd0;
    pub(super) const RST7: u8 = 0xd7;
    pub(super) const SOI: u8 = 0xd8;
    pub(super) const EOI: u8 = 0xd9;
    pub(super) const SOS: u8 = 0xda;
    pub(super) const APP1: u8 = 0xe1;
}

/// What a JPEG file says before its first scan.
#[derive(Clone, Copy, Debug)]
pub(in crate::decode) struct JpegHeader {
    pub(in crate::decode) header: Header,
    /// Bits a sample: 8 in nearly every file.
    pub(in crate::decode) precision: u8,
    /// 1 for gray, 3 for colour, 4 for CMYK.
    pub(in crate::decode) num_components: u8,
    /// Whether later scans refine earlier ones.
    pub(in crate::decode) is_progressive: bool,
    /// Offset of the first start-of-scan marker's segment.
    pub(in crate::decode) first_scan_at: usize,
}

/// The scans of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::decode) struct Scans {
    /// How many there are; counting may stop above the limit it was given.
    pub(in crate::decode) count: u32,
    /// Components in the first one.
    pub(in crate::decode) num_components_in_first: u8,
    /// Whether the end-of-image marker was found.
    pub(in crate::decode) is_ended: bool,
}

/// Returns what the segments before the first scan say.
pub(in crate::decode) fn read(bytes: &[u8]) -> Result<JpegHeader, DecodeError> {
    let mut frame: Option<JpegHeader> = None;
    let mut orientation = None;
    let mut at = 2;
    loop {
        let (kind, data_at) = next_marker(bytes, at).ok_or(DecodeError::Truncated)?;
        match kind {
            marker::SOS => {
                let mut frame = frame.ok_or_else(|| {
                    DecodeError::corrupt("the image data begin before their size is told")
                })?;
                frame.header.orientation = orientation.unwrap_or_default();
                frame.first_scan_at = data_at;
                return Ok(frame);
            }
            marker::EOI => return Err(DecodeError::corrupt("the file has no image data")),
            marker::SOI | marker::TEMPORARY | marker::RST0..=marker::RST7 => {
                at = data_at;
                continue;
            }
            _ => {}
        }
        let end = segment_end(bytes, data_at).ok_or(DecodeError::Truncated)?;
        let data = bytes.get(data_at + 2..end).ok_or(DecodeError::Truncated)?;
        if is_start_of_frame(kind) && frame.is_none() {
            frame = Some(read_frame(kind, data)?);
        }
        // The first EXIF segment counts; an APP1 without the prefix is XMP.
        if kind == marker::APP1 && orientation.is_none() && data.starts_with(b"Exif\0\0") {
            orientation = exif_orientation(data);
        }
        at = end;
    }
}

/// Counts the scans from the one whose segment is at `first_scan_at`, up to `max_scans + 1`.
pub(in crate::decode) fn count_scans(bytes: &[u8], first_scan_at: usize, max_scans: u32) -> Scans {
    let mut scans = Scans {
        count: 1,
        num_components_in_first: bytes.get(first_scan_at + 2).copied().unwrap_or(0),
        is_ended: false,
    };
    let mut at = segment_end(bytes, first_scan_at).unwrap_or(bytes.len());
    while let Some((kind, data_at)) = next_marker(bytes, at) {
        at = match kind {
            marker::EOI => {
                scans.is_ended = true;
                break;
            }
            marker::TEMPORARY | marker::RST0..=marker::RST7 | marker::SOI => data_at,
            kind => {
                if kind == marker::SOS {
                    scans.count += 1;
                    if scans.count > max_scans {
                        break;
                    }
                }
                let Some(end) = segment_end(bytes, data_at) else {
                    break;
                };
                end
            }
        };
    }
    scans
}

/// Returns the next marker at `at` or after it, and the offset after it.
///
/// Bytes that are no marker are passed over, as libjpeg does: entropy-coded data, padding, and the
/// rubbish some programs leave between segments.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        at += memchr(0xff, bytes.get(at..)?)? + 1;
        match *bytes.get(at)? {
            // A stuffed zero: the 0xff was data. A second 0xff: the first was padding.
            0 => at += 1,
            0xff => {}
            kind => return Some((kind, at + 1)),
        }
    }
}

/// Returns the offset after the segment whose length is at `at`. A length below two, which is what
/// the length itself takes, is read as two.
fn segment_end(bytes: &[u8], at: usize) -> Option<usize> {
    Some(at + usize::from(u16_be(bytes, at)?).max(2))
}

fn is_start_of_frame(kind: u8) -> bool {
    (marker::SOF0..=marker::SOF15).contains(&kind)
        && !matches!(kind, marker::DHT | marker::JPG | marker::DAC)
}

/// Reads `precision u8 | height u16 | width u16 | components u8 | …`.
fn read_frame(kind: u8, data: &[u8]) -> Result<JpegHeader, DecodeError> {
    let fields = || {
        Some(JpegHeader {
            header: Header::still(u32::from(u16_be(data, 3)?), u32::from(u16_be(data, 1)?)),
            precision: *data.first()?,
            num_components: *data.get(5)?,
            // SOF2, 6, 10 and 14 are the progressive ones.
            is_progressive: kind & 3 == 2,
            first_scan_at: 0,
        })
    };
    fields().ok_or_else(|| DecodeError::corrupt("the frame header is too short"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOF: &[u8] = b"\xff\xc0\x00\x0b\x08\x00\x02\x00\x03\x01\x01\x11\x00";
    const SOS: &[u8] = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00";

    #[test]
    fn passes_over_rubbish_between_segments() {
        let file = [
            b"\xff\xd8rub\xff\x00bish\xff\xff",
            &SOF[1..],
            SOS,
            b"\xff\xd9",
        ]
        .concat();

        let jpeg = read(&file).unwrap();

        assert_eq!((jpeg.header.width, jpeg.header.height), (3, 2));
        assert!(!jpeg.is_progressive);
    }

    #[test]
    fn counts_scans_and_stops_above_the_limit() {
        let one_scan = [SOS, b"\x12\xff\x00\x34\xff\xd3\x56".as_slice()].concat();
        let file = [
            b"\xff\xd8",
            SOF,
            &one_scan,
            &one_scan,
            &one_scan,
            b"\xff\xd9",
        ]
        .concat();
        let at = read(&file).unwrap().first_scan_at;

        let all = count_scans(&file, at, 10);
        assert_eq!((all.count, all.is_ended), (3, true));
        assert_eq!(all.num_components_in_first, 1);
        assert_eq!(count_scans(&file, at, 1).count, 2);
        assert!(!count_scans(&file[..file.len() - 2], at, 10).is_ended);
    }

    #[test]
    fn a_scan_before_the_size_is_corrupt() {
        let file = [b"\xff\xd8", SOS].concat();
        assert_eq!(read(&file).unwrap_err().code(), "corrupt_image");
    }

    #[test]
    fn every_cut_is_a_typed_error() {
        let file = [b"\xff\xd8", SOF, SOS].concat();
        for len in 2..15 {
            assert_eq!(
                read(&file[..len]).unwrap_err(),
                DecodeError::Truncated,
                "{len}"
            );
        }
    }
}
