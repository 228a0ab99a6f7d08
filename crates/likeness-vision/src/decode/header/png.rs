//! PNG (third edition): a signature of eight bytes, then chunks `len u32 | type [4] | data | crc u32`, big-endian.

use super::{Header, exif_orientation, u32_be};

/// Returns the header, or `None` if the file ends before its image data.
///
/// Looks at the chunks before the first `IDAT` only, which is where decoders look for `acTL` and
/// `eXIf` too.
pub(super) fn read(bytes: &[u8]) -> Option<Header> {
    let mut header = Header::still(u32_be(bytes, 16)?, u32_be(bytes, 20)?);
    let mut at = 8;
    loop {
        let len = usize::try_from(u32_be(bytes, at)?).ok()?;
        let kind: [u8; 4] = super::array(bytes, at + 4)?;
        let data_at = at + 8;
        let data_end = data_at.checked_add(len)?;
        match &kind {
            b"IDAT" | b"IEND" => return Some(header),
            b"acTL" => header.num_frames = u32_be(bytes, data_at)?.max(1),
            b"eXIf" => {
                let exif = bytes.get(data_at..data_end)?;
                header.orientation = exif_orientation(exif).unwrap_or_default();
            }
            _ => {}
        }
        at = data_end.checked_add(4)?;
    }
}
