//! The loops in plain Rust: the oracle, and the source that wider instruction sets compile again.
//!
//! `#[inline(always)]`, so that a caller compiled for more instructions gets a copy that uses them.

use std::ops::Range;

use super::scan::{self, BLOCK, BlockLayout, Hit, Line, ScanQuery};
use super::{N_LANES, N_PLANES, ResidualSums};
use crate::bf16;

#[inline(always)]
pub(super) fn scan<const N: usize>(
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
        |codes, factors, query, target| scan::look(codes, factors, query, target, sums),
    );
}

/// Adds up, for each vector of a block, the table entries that its code selects.
#[inline(always)]
pub(super) fn sums(codes: &[Line], entries: &[u8]) -> [u16; BLOCK] {
    let mut sums = [0u16; BLOCK];
    for (line, tables) in codes.iter().zip(entries.as_chunks::<64>().0) {
        let bytes = scan::line_bytes(line);
        for (group, table) in bytes
            .as_chunks::<16>()
            .0
            .iter()
            .zip(tables.as_chunks::<16>().0)
        {
            for (idx, &pair) in group.iter().enumerate() {
                sums[idx] += u16::from(table[usize::from(pair & 0x0f)]);
                sums[idx + BLOCK / 2] += u16::from(table[usize::from(pair >> 4)]);
            }
        }
    }
    sums
}

#[inline(always)]
pub(super) fn weighted_distances(codes: &[u64], planes: &[u64], distances: &mut [u32]) {
    let num_words = planes.len() / N_PLANES;
    for (code, distance) in codes.chunks_exact(num_words).zip(distances) {
        *distance = planes
            .chunks_exact(num_words)
            .enumerate()
            .map(|(weight, plane)| {
                let ones: u32 = code
                    .iter()
                    .zip(plane)
                    .map(|(a, b)| (a ^ b).count_ones())
                    .sum();
                ones << weight
            })
            .sum();
    }
}

#[inline(always)]
pub(super) fn dot(query: &[f32], vector: &[u16]) -> f32 {
    let mut sums = [0f32; N_LANES];
    for_lanes(
        query,
        vector,
        #[inline(always)]
        |query: &[f32; N_LANES], vector: &[u16; N_LANES]| {
            for lane in 0..N_LANES {
                sums[lane] += query[lane] * bf16::decode_one(vector[lane]);
            }
        },
    );
    add_up(sums)
}

#[inline(always)]
pub(super) fn dot_and_square(query: &[f32], vector: &[u16]) -> (f32, f32) {
    let (mut dots, mut squares) = ([0f32; N_LANES], [0f32; N_LANES]);
    for_lanes(
        query,
        vector,
        #[inline(always)]
        |query: &[f32; N_LANES], vector: &[u16; N_LANES]| {
            for lane in 0..N_LANES {
                let component = bf16::decode_one(vector[lane]);
                dots[lane] += query[lane] * component;
                squares[lane] += component * component;
            }
        },
    );
    (add_up(dots), add_up(squares))
}

#[inline(always)]
pub(super) fn square(vector: &[u16]) -> f32 {
    let mut sums = [0f32; N_LANES];
    for_lanes(
        vector,
        vector,
        #[inline(always)]
        |vector: &[u16; N_LANES], _: &[u16; N_LANES]| {
            for lane in 0..N_LANES {
                let component = bf16::decode_one(vector[lane]);
                sums[lane] += component * component;
            }
        },
    );
    add_up(sums)
}

#[inline(always)]
pub(super) fn squared_distance(query: &[f32], vector: &[u16]) -> f32 {
    let mut sums = [0f32; N_LANES];
    for_lanes(
        query,
        vector,
        #[inline(always)]
        |query: &[f32; N_LANES], vector: &[u16; N_LANES]| {
            for lane in 0..N_LANES {
                let difference = query[lane] - bf16::decode_one(vector[lane]);
                sums[lane] += difference * difference;
            }
        },
    );
    add_up(sums)
}

#[inline(always)]
pub(super) fn squared_distance_f32(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; N_LANES];
    for_lanes(
        a,
        b,
        #[inline(always)]
        |a: &[f32; N_LANES], b: &[f32; N_LANES]| {
            for lane in 0..N_LANES {
                let difference = a[lane] - b[lane];
                sums[lane] += difference * difference;
            }
        },
    );
    add_up(sums)
}

#[inline(always)]
pub(super) fn dot_and_squares_f32(a: &[f32], b: &[f32]) -> (f32, f32, f32) {
    let mut sums = [[0f32; N_LANES]; 3];
    for_lanes(
        a,
        b,
        #[inline(always)]
        |a: &[f32; N_LANES], b: &[f32; N_LANES]| {
            for lane in 0..N_LANES {
                sums[0][lane] += a[lane] * b[lane];
                sums[1][lane] += a[lane] * a[lane];
                sums[2][lane] += b[lane] * b[lane];
            }
        },
    );
    let [dot, square_a, square_b] = sums.map(add_up);
    (dot, square_a, square_b)
}

/// Writes `scale`·vector to `target`.
#[inline(always)]
pub(super) fn decode_scaled(target: &mut [f32], vector: &[u16], scale: f32) {
    for (target, &component) in target.iter_mut().zip(vector) {
        *target = bf16::decode_one(component) * scale;
    }
}

/// Adds `scale`·vector to `sum`.
#[inline(always)]
pub(super) fn add_scaled(sum: &mut [f32], vector: &[u16], scale: f32) {
    for (sum, &component) in sum.iter_mut().zip(vector) {
        *sum += bf16::decode_one(component) * scale;
    }
}

/// Writes the signs of vector − centroid as nibbles and returns what the factors of a code are made of.
#[inline(always)]
pub(super) fn signs(vector: &[f32], centroid: &[f32], nibbles: &mut [u8]) -> ResidualSums {
    let (mut squares, mut l1, mut along) = ([0f32; N_LANES], [0f32; N_LANES], [0f32; N_LANES]);
    let (vectors, centroids) = (
        vector.as_chunks::<N_LANES>().0,
        centroid.as_chunks::<N_LANES>().0,
    );
    for ((vector, centroid), nibbles) in vectors
        .iter()
        .zip(centroids)
        .zip(nibbles.as_chunks_mut::<{ N_LANES / 4 }>().0)
    {
        let mut negative = [0u32; N_LANES];
        for lane in 0..N_LANES {
            let residual = vector[lane] - centroid[lane];
            squares[lane] += residual * residual;
            l1[lane] += residual.abs();
            let sign = residual.to_bits() & 0x8000_0000;
            along[lane] += f32::from_bits(centroid[lane].to_bits() ^ sign);
            negative[lane] = sign >> 31;
        }
        for (nibble, signs) in nibbles.iter_mut().zip(negative.as_chunks::<4>().0) {
            *nibble = 0x0f ^ (signs[0] | signs[1] << 1 | signs[2] << 2 | signs[3] << 3) as u8;
        }
    }
    ResidualSums {
        square: add_up(squares),
        l1: add_up(l1),
        along: add_up(along),
    }
}

/// See [`Kernels::fill_table`](super::Kernels::fill_table).
#[inline(always)]
pub(super) fn fill_table(rotated: &[f32], entries: &mut [u8], inverse: f32) {
    let nibbles = rotated.as_chunks::<4>().0;
    for (nibble, entries) in nibbles.iter().zip(entries.as_chunks_mut::<16>().0) {
        let least: f32 = nibble.iter().map(|component| component.min(0.0)).sum();
        let mut sums = [-least; 16];
        for (bit, component) in nibble.iter().enumerate() {
            for (subset, sum) in sums.iter_mut().enumerate() {
                *sum += if subset >> bit & 1 == 1 {
                    *component
                } else {
                    0.0
                };
            }
        }
        for (entry, sum) in entries.iter_mut().zip(sums) {
            // Adding one half and cutting off rounds to the nearest; sums are not negative.
            *entry = (sum * inverse + 0.5) as u8;
        }
    }
}

/// Calls `add` for every [`N_LANES`] components; the last ones padded with zeros, because a loop over the
/// rest would make the compiler give up whole registers.
#[inline(always)]
fn for_lanes<A, B>(a: &[A], b: &[B], mut add: impl FnMut(&[A; N_LANES], &[B; N_LANES]))
where
    A: Copy + Default,
    B: Copy + Default,
{
    let (a_blocks, a_rest) = a.as_chunks::<N_LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<N_LANES>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        add(a, b);
    }
    if !a_rest.is_empty() {
        let (mut a, mut b) = ([A::default(); N_LANES], [B::default(); N_LANES]);
        a[..a_rest.len()].copy_from_slice(a_rest);
        b[..b_rest.len()].copy_from_slice(b_rest);
        add(&a, &b);
    }
}

/// Halves onto halves: the order a vector unit would add in.
#[inline(always)]
fn add_up(mut sums: [f32; N_LANES]) -> f32 {
    let mut width = N_LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

#[inline(always)]
pub(super) fn flip_and_transform(values: &mut [f32], signs: &[f32], part: Range<usize>) {
    for (value, sign) in values.iter_mut().zip(signs) {
        *value *= sign;
    }
    let is_everything = part.len() == values.len();
    walsh_hadamard(&mut values[part]);
    if !is_everything {
        let (left, right) = values.split_at_mut(values.len() / 2);
        for (a, b) in left.iter_mut().zip(right) {
            (*a, *b) = (
                (*a + *b) * std::f32::consts::FRAC_1_SQRT_2,
                (*a - *b) * std::f32::consts::FRAC_1_SQRT_2,
            );
        }
    }
}

/// In place, not normalised: multiplies lengths by √n. The length is a power of two, at least 16.
#[inline(always)]
fn walsh_hadamard(values: &mut [f32]) {
    for block in values.as_chunks_mut::<16>().0 {
        *block = butterflies::<8>(butterflies::<4>(butterflies::<2>(butterflies::<1>(*block))));
    }
    let mut half = 16;
    while half < values.len() {
        for block in values.chunks_exact_mut(2 * half) {
            let (left, right) = block.split_at_mut(half);
            for (a, b) in left.iter_mut().zip(right) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

/// One stage within a register, written as a permutation and an addition.
#[inline(always)]
fn butterflies<const STRIDE: usize>(values: [f32; 16]) -> [f32; 16] {
    let mut result = [0.0; 16];
    for lane in 0..16 {
        let other = values[lane ^ STRIDE];
        result[lane] = if lane & STRIDE == 0 {
            values[lane] + other
        } else {
            other - values[lane]
        };
    }
    result
}
