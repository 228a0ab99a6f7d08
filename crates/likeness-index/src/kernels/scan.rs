//! Blocks of 32 vectors with their 1-bit codes, and the scan over them (FastScan: André, Kermarrec & Le
//! Scouarnec, "Cache locality is not enough", VLDB 2015; for RaBitQ as in Gao & Long, SIGMOD 2024, §4).
//!
//! A code is cut into nibbles; for each nibble position the query has a table of 16 partial sums in 8 bits.
//! A vector unit looks up 16 or more nibbles in one instruction. Layout of a block, in 32-bit words:
//!
//! ```text
//! codes   D      byte = nibble of vector i at position s | that of vector i+16 << 4; where it is: `Arrangement`
//! add     32     f32, F_add of each vector
//! scale   32     f32, F_rescale
//! error   32     f32, F_error at ε₀ = 1
//! slot    32     u32
//! ```

use std::array::{from_mut, from_ref};

use super::Kernels;

/// Vectors of a block.
pub(crate) const BLOCK: usize = 32;
/// Words of a cache line.
pub(crate) const LINE_WORDS: usize = 16;
/// Lines of the floats and slots of a block.
const NUM_FACTOR_LINES: usize = 4 * BLOCK / LINE_WORDS;
/// Sums of table entries by vector of a block.
pub(super) type Sums = [u16; BLOCK];
/// Floats and slots of a block: four arrays of two lines.
pub(super) type Factors = [Line; NUM_FACTOR_LINES];
const ADD: usize = 0;
const SCALE: usize = 1;
const ERROR: usize = 2;
const SLOT: usize = 3;

/// A cache line: blocks start on one, so that no load crosses two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(align(64))]
pub(crate) struct Line(pub(crate) [u32; LINE_WORDS]);

/// How the 64 bytes of a line, 4 positions of 16 pairs of vectors, follow each other. Blocks are never written
/// to disk, so it is the kernels' choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrangement {
    /// The 16 bytes of a position together: for look-ups in one table of 16 at a time.
    ByPosition,
    /// The 4 bytes of a pair of vectors together: for look-ups in four tables at once, which can then be added up
    /// where they are.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only AVX-512 wants it")
    )]
    ByVector,
}

/// Where things are in a block of vectors of one dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockLayout {
    num_code_lines: usize,
    arrangement: Arrangement,
}

impl BlockLayout {
    /// `padded_dim` is a multiple of 32.
    pub(crate) fn new(padded_dim: usize, kernels: Kernels) -> Self {
        debug_assert!(padded_dim.is_multiple_of(crate::rotation::DIM_STEP));
        Self {
            num_code_lines: padded_dim / LINE_WORDS,
            arrangement: kernels.arrangement(),
        }
    }

    pub(super) fn arrangement(self) -> Arrangement {
        self.arrangement
    }

    /// Which byte of the codes holds the nibble of a vector at a position, and its shift there.
    #[inline]
    pub(crate) fn nibble(self, vector: usize, position: usize) -> (usize, u32) {
        let pair = vector % (BLOCK / 2);
        let byte = match self.arrangement {
            Arrangement::ByPosition => position * BLOCK / 2 + pair,
            Arrangement::ByVector => position / 4 * 64 + pair * 4 + position % 4,
        };
        (byte, if vector % BLOCK < BLOCK / 2 { 0 } else { 4 })
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

impl Hit {
    /// Orders hits by estimate (as [`f32::total_cmp`]), then by slot: one comparison of integers.
    pub(crate) fn order(&self) -> u64 {
        let bits = self.estimate.to_bits();
        // Of negative numbers all bits are turned, of others the sign alone.
        let turned = ((bits as i32) >> 31) as u32 | 1 << 31;
        u64::from(bits ^ turned) << 32 | u64::from(self.slot)
    }
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

/// The scan for queries one after the other, given a way to look at one block for one.
#[inline(always)]
pub(super) fn one_by_one<const N: usize>(
    layout: BlockLayout,
    blocks: &[Line],
    len: usize,
    queries: &[ScanQuery<'_>; N],
    hits: &mut [Vec<Hit>; N],
    look: impl Fn(&[Line], &Factors, &ScanQuery<'_>, &mut Sums) -> u32,
) {
    for (query, hits) in queries.iter().zip(hits) {
        scan(
            layout,
            blocks,
            len,
            from_ref(query),
            from_mut(hits),
            |codes, factors, [query], [sums]| [look(codes, factors, query, sums)],
        );
    }
}

/// The scan of one query or of several at once, given a way to look at one block: it returns, as bits, which vectors
/// cannot be ruled out (whatever for those beyond the end of the list), and writes the sums of table entries of a
/// query for which there are any.
#[inline(always)]
pub(super) fn scan<const N: usize>(
    layout: BlockLayout,
    blocks: &[Line],
    len: usize,
    queries: &[ScanQuery<'_>; N],
    hits: &mut [Vec<Hit>; N],
    look: impl Fn(&[Line], &Factors, &[ScanQuery<'_>; N], &mut [Sums; N]) -> [u32; N],
) {
    let mut sums = [[0; BLOCK]; N];
    for (block_idx, block) in blocks
        .chunks_exact(layout.num_lines())
        .take(len.div_ceil(BLOCK))
        .enumerate()
    {
        let Some((codes, factors)) = block.split_last_chunk() else {
            unreachable!("a block ends with its factors");
        };
        let present = (len - block_idx * BLOCK).min(BLOCK);
        let masks = look(codes, factors, queries, &mut sums);
        for (idx, mut mask) in masks.into_iter().enumerate() {
            mask &= u32::MAX >> (BLOCK - present);
            while mask != 0 {
                let vector = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                let (estimate, error) = bound(factors, &queries[idx], &sums[idx], vector);
                hits[idx].push(Hit {
                    slot: word(factors, SLOT, vector),
                    estimate,
                    error,
                    scale: f32::from_bits(word(factors, SCALE, vector)),
                });
            }
        }
    }
}

/// Adds table entries up with `sums` and compares bounds one by one: what vector units do at once.
#[inline(always)]
pub(super) fn look(
    codes: &[Line],
    factors: &Factors,
    query: &ScanQuery<'_>,
    target: &mut Sums,
    sums: impl Fn(&[Line], &[u8]) -> Sums,
) -> u32 {
    *target = sums(codes, &query.table.entries);
    (0..BLOCK).fold(0, |mask, idx| {
        let (estimate, error) = bound(factors, query, target, idx);
        mask | u32::from(estimate - error <= query.limit) << idx
    })
}

/// The estimate of a vector and its bound. Every variant computes it in this order.
#[inline(always)]
fn bound(factors: &Factors, query: &ScanQuery<'_>, sums: &Sums, idx: usize) -> (f32, f32) {
    let float = |array| f32::from_bits(word(factors, array, idx));
    let inner = query.table.slope * f32::from(sums[idx]) + query.table.offset;
    let estimate = (float(SCALE) * inner + float(ADD)) + query.add;
    (estimate, float(ERROR) * query.error)
}

#[inline(always)]
fn word(factors: &Factors, array: usize, idx: usize) -> u32 {
    factors[2 * array + idx / LINE_WORDS].0[idx % LINE_WORDS]
}
