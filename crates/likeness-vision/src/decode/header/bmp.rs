//! Windows bitmap: `BM`, then a header that begins with its own size at offset 14.

use super::{Header, u16_le, u32_le};

/// Size of the header of OS/2 1.x, the one with 16-bit sides.
const CORE_HEADER_LEN: u32 = 12;

/// Returns the header, or `None` if the file ends within it.
pub(super) fn read(bytes: &[u8]) -> Option<Header> {
    if u32_le(bytes, 14)? == CORE_HEADER_LEN {
        let (width, height) = (u16_le(bytes, 18)?, u16_le(bytes, 20)?);
        return Some(Header::still(u32::from(width), u32::from(height)));
    }
    let width = u32_le(bytes, 18)?.cast_signed();
    // A negative height means rows from the top. A negative width means nothing: no pixels.
    let height = u32_le(bytes, 22)?.cast_signed().unsigned_abs();
    Some(Header::still(u32::try_from(width).unwrap_or(0), height))
}
