//! WebP (RFC 9649): `RIFF | size u32 | WEBP`, then chunks `type [4] | len u32 | data`, padded to an
//! even length, little-endian.

use super::{Header, array, exif_orientation, u16_le, u32_le};

/// Returns the header, or `None` if the file ends before it says it does, or begins with no known
/// chunk.
///
/// Frames are counted to `max_frames + 1` at most.
pub(super) fn read(bytes: &[u8], max_frames: u32) -> Option<Header> {
    let len = usize::try_from(u32_le(bytes, 4)?).ok()?;
    if bytes.len().saturating_sub(8) < len {
        return None;
    }
    let kind: [u8; 4] = array(bytes, 12)?;
    match &kind {
        b"VP8 " => read_lossy(bytes),
        b"VP8L" => read_lossless(bytes),
        b"VP8X" => read_extended(bytes, max_frames),
        _ => None,
    }
}

/// A VP8 key frame (RFC 6386 §9.1): 3 bytes of tag, 3 of start code, then two 14-bit sides.
fn read_lossy(bytes: &[u8]) -> Option<Header> {
    let side = |at| u16_le(bytes, at).map(|side| u32::from(side & 0x3fff));
    Some(Header::still(side(26)?, side(28)?))
}

/// A lossless stream: one byte of signature, then two 14-bit sides less one.
fn read_lossless(bytes: &[u8]) -> Option<Header> {
    let bits = u32_le(bytes, 21)?;
    Some(Header::still(
        (bits & 0x3fff) + 1,
        (bits >> 14 & 0x3fff) + 1,
    ))
}

/// The extended form: a canvas of two 24-bit sides less one, then more chunks.
fn read_extended(bytes: &[u8], max_frames: u32) -> Option<Header> {
    let side = |at| {
        let [low, middle, high] = array(bytes, at)?;
        Some(u32::from_le_bytes([low, middle, high, 0]) + 1)
    };
    let mut header = Header::still(side(24)?, side(27)?);
    let mut num_frames = 0;
    let mut at = 12_usize;
    // What is cut off at the end is the decoder's to complain about.
    while let (Some(kind), Some(len)) = (array::<4>(bytes, at), u32_le(bytes, at + 4)) {
        let data_at = at + 8;
        let len = usize::try_from(len).ok()?;
        match &kind {
            b"ANMF" => num_frames += 1,
            b"EXIF" => {
                let exif = data_at
                    .checked_add(len)
                    .and_then(|end| bytes.get(data_at..end));
                header.orientation = exif.and_then(exif_orientation).unwrap_or_default();
            }
            _ => {}
        }
        if num_frames > max_frames {
            break;
        }
        let Some(next) = data_at
            .checked_add(len)
            .and_then(|end| end.checked_add(len & 1))
        else {
            break;
        };
        at = next;
    }
    header.num_frames = num_frames.max(1);
    Some(header)
}
