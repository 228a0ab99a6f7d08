//! GIF 89a: a logical screen, then blocks; their data come in sub-blocks `len u8 | data`, ended by
//! a length of zero.

use super::{Header, u16_le};

const EXTENSION: u8 = 0x21;
const IMAGE_DESCRIPTOR: u8 = 0x2c;

/// Returns the header, or `None` if the file ends within the logical screen descriptor.
///
/// Frames are counted by hopping from sub-block to sub-block, to `max_frames + 1` at most; what is
/// cut off at the end of the file is not counted.
pub(super) fn read(bytes: &[u8], max_frames: u32) -> Option<Header> {
    let mut header = Header::still(u32::from(u16_le(bytes, 6)?), u32::from(u16_le(bytes, 8)?));
    let blocks_at = 13 + colour_table_len(*bytes.get(10)?);
    header.num_frames = count_frames(bytes, blocks_at, max_frames).max(1);
    Some(header)
}

fn count_frames(bytes: &[u8], blocks_at: usize, max_frames: u32) -> u32 {
    let mut num_frames = 0;
    let mut at = blocks_at;
    while let Some(kind) = bytes.get(at) {
        let data_at = match *kind {
            EXTENSION => at + 2,
            IMAGE_DESCRIPTOR => {
                num_frames += 1;
                let Some(flags) = bytes.get(at + 9) else {
                    break;
                };
                // The byte after the colour table is the first code size of LZW.
                at + 10 + colour_table_len(*flags) + 1
            }
            _ => break,
        };
        if num_frames > max_frames {
            break;
        }
        let Some(next) = skip_sub_blocks(bytes, data_at) else {
            break;
        };
        at = next;
    }
    num_frames
}

/// Returns the offset after the sub-blocks at `at`, or `None` if the file ends within them.
fn skip_sub_blocks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let len = usize::from(*bytes.get(at)?);
        at += 1 + len;
        if len == 0 {
            return Some(at);
        }
    }
}

/// Returns the size of the colour table that packed `flags` announce, in bytes.
fn colour_table_len(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        return 0;
    }
    3 << ((flags & 7) + 1)
}
