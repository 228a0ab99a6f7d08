//! NEON, 16 nibbles a look-up; everything but the scan is left to the compiler, which has NEON anyway.

use std::arch::aarch64::{
    uint16x8_t, vaddw_high_u8, vaddw_u8, vandq_u8, vdupq_n_u8, vdupq_n_u16, vget_low_u8, vld1q_u8,
    vqtbl1q_u8, vshrq_n_u8, vst1q_u16,
};

use super::portable;
use super::scan::{self, BLOCK, BlockLayout, Hit, Line, ScanQuery};

pub(super) use portable::{
    add_scaled, decode_scaled, dot, dot_and_square, dot_and_squares_f32, fill_table,
    flip_and_transform, signs, square, squared_distance, squared_distance_f32, weighted_distances,
};

#[expect(
    unsafe_code,
    reason = "calls a function compiled for a wider instruction set"
)]
pub(super) fn scan<const N: usize>(
    layout: BlockLayout,
    blocks: &[Line],
    len: usize,
    queries: &[ScanQuery<'_>; N],
    hits: &mut [Vec<Hit>; N],
) {
    // SAFETY: every AArch64 processor has NEON.
    unsafe { scan_with_neon(layout, blocks, len, queries, hits) };
}

#[target_feature(enable = "neon")]
fn scan_with_neon<const N: usize>(
    layout: BlockLayout,
    blocks: &[Line],
    len: usize,
    queries: &[ScanQuery<'_>; N],
    hits: &mut [Vec<Hit>; N],
) {
    scan::one_by_one(
        layout,
        blocks,
        len,
        queries,
        hits,
        |codes, factors, query, target| {
            scan::look(codes, factors, query, target, |codes, entries| {
                sums(codes, entries)
            })
        },
    );
}

/// As [`portable::sums`].
#[target_feature(enable = "neon")]
#[inline]
fn sums(codes: &[Line], entries: &[u8]) -> [u16; BLOCK] {
    let nibble = vdupq_n_u8(0x0f);
    let mut sums = [vdupq_n_u16(0); 4];
    for (line, tables) in codes.iter().zip(entries.as_chunks::<64>().0) {
        let bytes = scan::line_bytes(line);
        for (group, table) in bytes
            .as_chunks::<16>()
            .0
            .iter()
            .zip(tables.as_chunks::<16>().0)
        {
            let (code, table) = (load(group), load(table));
            let low = vqtbl1q_u8(table, vandq_u8(code, nibble));
            let high = vqtbl1q_u8(table, vshrq_n_u8::<4>(code));
            sums[0] = vaddw_u8(sums[0], vget_low_u8(low));
            sums[1] = vaddw_high_u8(sums[1], low);
            sums[2] = vaddw_u8(sums[2], vget_low_u8(high));
            sums[3] = vaddw_high_u8(sums[3], high);
        }
    }
    let mut result = [0; BLOCK];
    for (part, sums) in result.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
        store(part, sums);
    }
    result
}

#[target_feature(enable = "neon")]
#[inline]
#[expect(unsafe_code, reason = "reads through a pointer")]
fn load(bytes: &[u8; 16]) -> std::arch::aarch64::uint8x16_t {
    // SAFETY: the array has the 16 bytes that are read.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[target_feature(enable = "neon")]
#[inline]
#[expect(unsafe_code, reason = "writes through a pointer")]
fn store(eight: &mut [u16; 8], register: uint16x8_t) {
    // SAFETY: the array has the 16 bytes that are written.
    unsafe { vst1q_u16(eight.as_mut_ptr(), register) }
}
