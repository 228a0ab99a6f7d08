//! Blocks of 32 vectors with their 1-bit codes, and the scan over them (FastScan: André, Kermarrec & Le
//! Scouarnec, "Cache locality is not enough", VLDB 2015; for RaBitQ as in Gao & Long, SIGMOD 2024, §4).
//!
//! A code is cut into nibbles; for each nibble position the query has a table of 16 partial sums in 8 bits.
//! A vector unit looks up 16 or more nibbles in one instruction. Layout of a block, in 32-bit words:
//!
//! ```text
//! codes   D      nibble position s: bytes 16·s..16·s+16, byte i = nibble of vector i | nibble of vector i+16 << 4
//! add     32     f32, F_add of each vector
//! scale   32     f32, F_rescale
//! error   32     f32, F_error at ε₀ = 1
//! slot    32     u32
//! ```

use super::Kernels;

/// Vectors of a block.
pub(crate) const BLOCK: usize = 32;
/// Words of a cache line.
pub(crate) const LINE_WORDS: usize = 16;
/// Lines of the floats and slots of a block.
const NUM_FACTOR_LINES: usize = 4 * BLOCK / LINE_WORDS;

/// A cache line: blocks start on one, so that no load crosses two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(align(64))]
pub(crate) struct Line(pub(crate) [u32; LINE_WORDS]);

/// Where things are in a block of vectors of one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockLayout {
    num_code_lines: usize,
}

impl BlockLayout {
    /// `padded_dim` is a multiple of 32.
    pub(crate) fn new(padded_dim: usize) -> Self {
        debug_assert!(padded_dim.is_multiple_of(crate::rotation::DIM_STEP));
        Self {
            num_code_lines: padded_dim / LINE_WORDS,
        }
    }

    pub(crate) fn padded_dim(self) -> usize {
        self.num_code_lines * LINE_WORDS
    }

    /// Lines of a block.
    pub(crate) fn num_lines(self) -> usize {
        self.num_code_lines + NUM_FACTOR_LINES
    }

    /// Lines before the floats.
    pub(crate) fn num_code_lines(self) -> usize {
        self.num_code_lines
    }
}

/// The table of a query: for each nibble position the rounded sums of its 16 subsets of components.
///
/// For a code b: `Σ_{bᵢ=1} qᵢ ≈ step·Σₛ entries[s][nibbleₛ] + base`.
#[derive(Debug, Clone, Default)]
pub(crate) struct ScanTable {
    /// 16 entries for each nibble position.
    pub(crate) entries: Vec<u8>,
    /// ⟨ō,q′⟩·√D = 2·Σ_{bᵢ=1} qᵢ − Σ qᵢ ≈ `slope`·sum + `offset`.
    pub(crate) slope: f32,
    pub(crate) offset: f32,
}

impl ScanTable {
    /// Fills the table for a rotated query, a multiple of 32 components.
    pub(crate) fn fill(&mut self, kernels: Kernels, rotated: &[f32]) {
        const MAX_ENTRY: f32 = 255.0;
        const MAX_SUM: f32 = 65_535.0;
        let (nibbles, _) = rotated.as_chunks::<4>();
        let (mut base, mut total, mut widest, mut widths) = (0f32, 0f32, 0f32, 0f32);
        for nibble in nibbles {
            let width: f32 = nibble.iter().map(|component| component.abs()).sum();
            base += nibble
                .iter()
                .map(|component| component.min(0.0))
                .sum::<f32>();
            total += nibble.iter().sum::<f32>();
            widest = widest.max(width);
            widths += width;
        }
        // Sums have 16 bits; beyond 1,028 dimensions entries must be coarser than 8 bits allow.
        let step = (widest / MAX_ENTRY)
            .max(widths / (MAX_SUM - nibbles.len() as f32))
            .max(f32::MIN_POSITIVE);
        let inverse = 1.0 / step;
        self.entries.resize(nibbles.len() * 16, 0);
        kernels.fill_table(rotated, &mut self.entries, inverse);
        self.slope = 2.0 * step;
        self.offset = 2.0 * base - total;
    }
}

/// What a scan is told about the query and the list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScanQuery<'a> {
    /// Table of the rotated query.
    pub(crate) table: &'a ScanTable,
    /// G_add: squared distance of query and centroid.
    pub(crate) add: f32,
    /// G_error: ε₀ times the distance of query and centroid.
    pub(crate) error: f32,
    /// Vectors whose lower bound is above this are left out.
    pub(crate) limit: f32,
}

/// A vector that a scan could not rule out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Hit {
    /// Where the vector is.
    pub(crate) slot: u32,
    /// Estimated squared distance.
    pub(crate) estimate: f32,
    /// ε₀ standard deviations of the estimate.
    pub(crate) error: f32,
    /// F_rescale of the vector: with its F_error it tells the length of the residual.
    pub(crate) scale: f32,
}

/// The bytes of a line, in memory order of a little-endian machine.
#[inline(always)]
pub(super) fn line_bytes(line: &Line) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(line.0) {
        *bytes = word.to_le_bytes();
    }
    bytes
}

/// The scan, given a way to add up table entries.
#[inline(always)]
pub(super) fn scan(
    layout: BlockLayout,
    blocks: &[Line],
    len: usize,
    query: &ScanQuery<'_>,
    hits: &mut Vec<Hit>,
    sums: impl Fn(&[Line], &[u8]) -> [u16; BLOCK],
) {
    let table = query.table;
    for (block_idx, block) in blocks
        .chunks_exact(layout.num_lines())
        .take(len.div_ceil(BLOCK))
        .enumerate()
    {
        let (codes, factors) = block.split_at(layout.num_code_lines);
        let sums = sums(codes, &table.entries);
        let [add, scale, error, slot] = words(factors);
        let (mut estimates, mut errors) = ([0f32; BLOCK], [0f32; BLOCK]);
        let mut is_hit = [false; BLOCK];
        for idx in 0..BLOCK {
            let inner = table.slope * f32::from(sums[idx]) + table.offset;
            let estimate =
                (f32::from_bits(scale[idx]) * inner + f32::from_bits(add[idx])) + query.add;
            let error = f32::from_bits(error[idx]) * query.error;
            estimates[idx] = estimate;
            errors[idx] = error;
            is_hit[idx] = estimate - error <= query.limit;
        }
        let present = (len - block_idx * BLOCK).min(BLOCK);
        let mut mask = 0u32;
        for (idx, is_hit) in is_hit.into_iter().enumerate() {
            mask |= u32::from(is_hit) << idx;
        }
        mask &= u32::MAX >> (BLOCK - present);
        while mask != 0 {
            let idx = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            hits.push(Hit {
                slot: slot[idx],
                estimate: estimates[idx],
                error: errors[idx],
                scale: f32::from_bits(scale[idx]),
            });
        }
    }
}

/// The four arrays behind the codes.
#[inline(always)]
fn words(factors: &[Line]) -> [[u32; BLOCK]; 4] {
    let mut words = [[0; BLOCK]; 4];
    for (array, lines) in words.iter_mut().zip(factors.as_chunks::<2>().0) {
        array[..LINE_WORDS].copy_from_slice(&lines[0].0);
        array[LINE_WORDS..].copy_from_slice(&lines[1].0);
    }
    words
}
