//! The hot loops, each compiled for several instruction sets, chosen at run time.
//!
//! | loop | what for |
//! |---|---|
//! | [`scan`](Kernels::scan) | estimates and bounds of a posting list from its 1-bit codes |
//! | [`weighted_distances`](Kernels::weighted_distances) | the same for codes in rows ([`ExactIndex`](crate::ExactIndex)) |
//! | [`dot`](Kernels::dot), [`dot_and_square`](Kernels::dot_and_square), [`squared_distance`](Kernels::squared_distance) | exact comparison with a bf16 vector |
//! | [`squared_distance_f32`](Kernels::squared_distance_f32), [`dot_and_squares_f32`](Kernels::dot_and_squares_f32) | exact comparison of plain vectors |
//! | [`flip_and_transform`](Kernels::flip_and_transform) | one round of a rotation |
//! | [`signs`](Kernels::signs) | the code of a vector |
//! | [`fill_table`](Kernels::fill_table) | the table of a query |
//! | [`decode_scaled`](Kernels::decode_scaled), [`add_scaled`](Kernels::add_scaled) | bf16 to `f32` |
//!
//! The plain Rust of `portable` is the oracle. **Every variant returns the same bits**: integer sums
//! cannot differ, and floating-point sums are made in a fixed order ([`N_LANES`] partial sums, halves
//! onto halves) without fused multiply-add, which the compiler never introduces by itself. Wider
//! instruction sets are mostly the same source compiled again; by hand are only the loops for which the
//! compiler does not find the form.

#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod scan;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

pub(crate) use scan::{
    Arrangement, BLOCK, BlockLayout, Hit, LINE_WORDS, Line, ScanQuery, ScanTable,
};

use crate::code::N_PLANES;

/// Partial sums of an inner product: two registers of AVX-512, so that additions overlap.
const N_LANES: usize = 32;

/// Instruction sets the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernels {
    /// Whatever the target guarantees; the oracle of the others.
    Portable,
    /// AVX2 and POPCNT.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, VBMI, VNNI and VPOPCNTDQ, which came together in 2019.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// NEON, which every AArch64 has.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

/// Sums over a residual r = vector − centroid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResidualSums {
    /// ‖r‖².
    pub(crate) square: f32,
    /// ‖r‖₁.
    pub(crate) l1: f32,
    /// Σ sign(rᵢ)·centroidᵢ.
    pub(crate) along: f32,
}

/// Calls the function of that name in the module of the variant.
macro_rules! dispatch {
    ($kernels:expr, $name:ident($($argument:expr),* $(,)?)) => {
        match $kernels {
            Kernels::Portable => portable::$name($($argument),*),
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "calls a function compiled for a wider instruction set")]
            // SAFETY: `available` returns this variant only where the CPU has AVX2 and POPCNT.
            Kernels::Avx2 => unsafe { x86::avx2::$name($($argument),*) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "calls a function compiled for a wider instruction set")]
            // SAFETY: `available` returns this variant only where the CPU has AVX-512 F, BW, VBMI, VNNI, VPOPCNTDQ.
            Kernels::Avx512 => unsafe { x86::avx512::$name($($argument),*) },
            #[cfg(target_arch = "aarch64")]
            Kernels::Neon => neon::$name($($argument),*),
        }
    };
}

impl Kernels {
    /// Returns the variants this machine can run, slowest first.
    pub(crate) fn available() -> Vec<Self> {
        let mut kernels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
                kernels.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vbmi")
                && is_x86_feature_detected!("avx512vnni")
                && is_x86_feature_detected!("avx512vpopcntdq")
            {
                kernels.push(Self::Avx512);
            }
        }
        #[cfg(target_arch = "aarch64")]
        kernels.push(Self::Neon);
        kernels
    }

    /// Returns the quickest variant this machine can run.
    pub(crate) fn detect() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
    }

    /// How codes must be arranged for [`scan`](Self::scan).
    pub(crate) fn arrangement(self) -> Arrangement {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => Arrangement::ByVector,
            _ => Arrangement::ByPosition,
        }
    }

    /// Appends to the `hits` of each query those of the first `len` vectors in `blocks` whose lower bound is at most
    /// its limit, in the order of the list. With AVX-512 several queries together take less time than one by one.
    ///
    /// # Panics
    ///
    /// If `blocks` is shorter than `len` vectors need, the table of a query is of another dimension, or the
    /// layout is that of other kernels.
    pub(crate) fn scan<const N: usize>(
        self,
        layout: BlockLayout,
        blocks: &[Line],
        len: usize,
        queries: &[ScanQuery<'_>; N],
        hits: &mut [Vec<Hit>; N],
    ) {
        assert!(len <= blocks.len() / layout.num_lines() * BLOCK);
        assert_eq!(layout.arrangement(), self.arrangement());
        for query in queries {
            assert_eq!(query.table.entries.len(), layout.padded_dim() * 4);
        }
        dispatch!(self, scan(layout, blocks, len, queries, hits));
    }

    /// Writes Σⱼ 2ʲ·popcount(code ⊕ planeⱼ) for each code.
    ///
    /// `codes` is row-major, `distances.len() × num_words`; `planes` is plane-major, `N_PLANES × num_words`.
    pub(crate) fn weighted_distances(self, codes: &[u64], planes: &[u64], distances: &mut [u32]) {
        assert_eq!(
            codes.len() * N_PLANES,
            planes.len() * distances.len(),
            "one code for each distance"
        );
        dispatch!(self, weighted_distances(codes, planes, distances));
    }

    /// Returns Σ queryᵢ·vectorᵢ over vectors of the same length.
    pub(crate) fn dot(self, query: &[f32], vector: &[u16]) -> f32 {
        debug_assert_eq!(query.len(), vector.len());
        dispatch!(self, dot(query, vector))
    }

    /// Returns Σ queryᵢ·vectorᵢ and Σ vectorᵢ² over vectors of the same length.
    pub(crate) fn dot_and_square(self, query: &[f32], vector: &[u16]) -> (f32, f32) {
        debug_assert_eq!(query.len(), vector.len());
        dispatch!(self, dot_and_square(query, vector))
    }

    /// Returns Σ vectorᵢ².
    pub(crate) fn square(self, vector: &[u16]) -> f32 {
        dispatch!(self, square(vector))
    }

    /// Returns Σ (queryᵢ − vectorᵢ)² over vectors of the same length.
    pub(crate) fn squared_distance(self, query: &[f32], vector: &[u16]) -> f32 {
        debug_assert_eq!(query.len(), vector.len());
        dispatch!(self, squared_distance(query, vector))
    }

    /// Returns Σ (aᵢ − bᵢ)² over vectors of the same length.
    pub(crate) fn squared_distance_f32(self, a: &[f32], b: &[f32]) -> f32 {
        debug_assert_eq!(a.len(), b.len());
        dispatch!(self, squared_distance_f32(a, b))
    }

    /// Returns Σ aᵢ·bᵢ, Σ aᵢ² and Σ bᵢ² over vectors of the same length.
    pub(crate) fn dot_and_squares_f32(self, a: &[f32], b: &[f32]) -> (f32, f32, f32) {
        debug_assert_eq!(a.len(), b.len());
        dispatch!(self, dot_and_squares_f32(a, b))
    }

    /// One round of a rotation: multiplies by `signs`, transforms `part` (a power of two of components, at
    /// least 32) by Walsh and Hadamard without scaling, and, if `part` is not everything, turns the halves
    /// of the vector against each other by 45 degrees.
    pub(crate) fn flip_and_transform(self, values: &mut [f32], signs: &[f32], part: Range<usize>) {
        debug_assert!(part.len() >= N_LANES && part.len().is_power_of_two());
        dispatch!(self, flip_and_transform(values, signs, part));
    }

    /// Writes `scale`·vector to `target`, of the same length.
    pub(crate) fn decode_scaled(self, target: &mut [f32], vector: &[u16], scale: f32) {
        debug_assert_eq!(target.len(), vector.len());
        dispatch!(self, decode_scaled(target, vector, scale));
    }

    /// Adds `scale`·vector to `sum`, of the same length.
    pub(crate) fn add_scaled(self, sum: &mut [f32], vector: &[u16], scale: f32) {
        debug_assert_eq!(sum.len(), vector.len());
        dispatch!(self, add_scaled(sum, vector, scale));
    }

    /// Writes the signs of r = vector − centroid (a multiple of 32 components; 1 for what is not negative)
    /// as nibbles, first component lowest, and returns sums over r.
    pub(crate) fn signs(
        self,
        vector: &[f32],
        centroid: &[f32],
        nibbles: &mut [u8],
    ) -> ResidualSums {
        debug_assert!(vector.len() == centroid.len() && vector.len() == nibbles.len() * 4);
        debug_assert!(vector.len().is_multiple_of(N_LANES));
        dispatch!(self, signs(vector, centroid, nibbles))
    }

    /// Writes the 16 entries of each nibble position of a query: the sums of its subsets of components,
    /// less the least of them, times `inverse`, rounded.
    pub(crate) fn fill_table(self, rotated: &[f32], entries: &mut [u8], inverse: f32) {
        debug_assert_eq!(rotated.len() * 4, entries.len());
        dispatch!(self, fill_table(rotated, entries, inverse));
    }

    /// Starts to load a vector into the cache, where the machine can. Changes no result.
    pub(crate) fn prefetch<T>(values: &[T]) {
        #[cfg(target_arch = "x86_64")]
        x86::prefetch(values);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = values;
    }
}
