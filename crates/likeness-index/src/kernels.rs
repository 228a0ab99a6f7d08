//! The two hot loops: weighted Hamming distances and the inner product on bf16.
//!
//! Each is written once, in plain Rust, and compiled once more for newer instruction sets, chosen at run
//! time. Integer sums cannot differ; the inner product adds in a fixed order ([`N_LANES`] partial sums,
//! no fused multiply-add), so every variant returns the same bits.

use crate::bf16;
use crate::code::N_PLANES;

/// Partial sums of the inner product: one AVX-512 register, or two of AVX2.
const N_LANES: usize = 16;

/// Instruction sets the kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernels {
    /// Whatever the target guarantees; the oracle of the others.
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Kernels {
    /// Returns the variants this machine can run, slowest first.
    pub(crate) fn available() -> Vec<Self> {
        #[cfg_attr(
            not(target_arch = "x86_64"),
            expect(unused_mut, reason = "one variant only")
        )]
        let mut kernels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
                kernels.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vpopcntdq") {
                kernels.push(Self::Avx512);
            }
        }
        kernels
    }

    /// Returns the quickest variant this machine can run.
    pub(crate) fn detect() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
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
        match self {
            Self::Portable => portable::weighted_distances(codes, planes, distances),
            #[cfg(target_arch = "x86_64")]
            #[expect(
                unsafe_code,
                reason = "calls a function compiled for a wider instruction set"
            )]
            // SAFETY: `available` returns this variant only where the CPU has AVX2 and POPCNT.
            Self::Avx2 => unsafe { x86::weighted_distances_avx2(codes, planes, distances) },
            #[cfg(target_arch = "x86_64")]
            #[expect(
                unsafe_code,
                reason = "calls a function compiled for a wider instruction set"
            )]
            // SAFETY: `available` returns this variant only where the CPU has AVX-512 F and VPOPCNTDQ.
            Self::Avx512 => unsafe { x86::weighted_distances_avx512(codes, planes, distances) },
        }
    }

    /// Returns Σ queryᵢ·vectorᵢ over vectors of the same length.
    pub(crate) fn dot(self, query: &[f32], vector: &[u16]) -> f32 {
        debug_assert_eq!(query.len(), vector.len());
        match self {
            Self::Portable => portable::dot(query, vector),
            #[cfg(target_arch = "x86_64")]
            #[expect(
                unsafe_code,
                reason = "calls a function compiled for a wider instruction set"
            )]
            // SAFETY: `available` returns this variant only where the CPU has AVX2.
            Self::Avx2 => unsafe { x86::dot_avx2(query, vector) },
            #[cfg(target_arch = "x86_64")]
            #[expect(
                unsafe_code,
                reason = "calls a function compiled for a wider instruction set"
            )]
            // SAFETY: `available` returns this variant only where the CPU has AVX-512 F.
            Self::Avx512 => unsafe { x86::dot_avx512(query, vector) },
        }
    }

    /// Starts to load `vector` into the cache, where the machine can. Changes no result.
    pub(crate) fn prefetch(vector: &[u16]) {
        #[cfg(target_arch = "x86_64")]
        x86::prefetch(vector);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = vector;
    }
}

mod portable {
    use super::{N_LANES, N_PLANES, bf16};

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
        let (query_blocks, query_rest) = query.as_chunks::<N_LANES>();
        let (vector_blocks, vector_rest) = vector.as_chunks::<N_LANES>();
        let mut sums = [0f32; N_LANES];
        for (query, vector) in query_blocks.iter().zip(vector_blocks) {
            add_products(&mut sums, query, vector);
        }
        // Padded with zeros: a loop over the rest would make the compiler give up whole vectors.
        let (mut query, mut vector) = ([0f32; N_LANES], [0u16; N_LANES]);
        query[..query_rest.len()].copy_from_slice(query_rest);
        vector[..vector_rest.len()].copy_from_slice(vector_rest);
        add_products(&mut sums, &query, &vector);
        // Halves onto halves: the order a vector unit would add in.
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
    fn add_products(sums: &mut [f32; N_LANES], query: &[f32; N_LANES], vector: &[u16; N_LANES]) {
        for lane in 0..N_LANES {
            sums[lane] += query[lane] * bf16::decode_one(vector[lane]);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m512i, _MM_HINT_T0, _mm_prefetch, _mm512_add_epi64, _mm512_maskz_loadu_epi64,
        _mm512_popcnt_epi64, _mm512_reduce_add_epi64, _mm512_setzero_si512, _mm512_slli_epi64,
        _mm512_xor_si512,
    };

    use super::{N_PLANES, portable};

    /// Components in a cache line of 64 bytes.
    const LINE: usize = 32;

    #[expect(unsafe_code, reason = "the instruction takes a pointer")]
    pub(super) fn prefetch(vector: &[u16]) {
        for line in vector.chunks(LINE) {
            // SAFETY: a hint; it reads nothing the program can see, and the address is in the slice.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
        }
    }

    /// Words of one AVX-512 register.
    const N_WORDS: usize = 8;

    #[target_feature(enable = "avx2,popcnt")]
    pub(super) fn weighted_distances_avx2(codes: &[u64], planes: &[u64], distances: &mut [u32]) {
        portable::weighted_distances(codes, planes, distances);
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn dot_avx2(query: &[f32], vector: &[u16]) -> f32 {
        portable::dot(query, vector)
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn dot_avx512(query: &[f32], vector: &[u16]) -> f32 {
        portable::dot(query, vector)
    }

    /// By hand, because the compiler does not find the form that keeps the planes in registers.
    #[target_feature(enable = "avx512f,avx512vpopcntdq,popcnt")]
    pub(super) fn weighted_distances_avx512(codes: &[u64], planes: &[u64], distances: &mut [u32]) {
        let num_words = planes.len() / N_PLANES;
        if num_words > N_WORDS {
            return weighted_distances_long(codes, planes, distances);
        }
        let (plane0, rest) = planes.split_at(num_words);
        let (plane1, rest) = rest.split_at(num_words);
        let (plane2, plane3) = rest.split_at(num_words);
        let planes = [load(plane0), load(plane1), load(plane2), load(plane3)];
        for (code, distance) in codes.chunks_exact(num_words).zip(distances) {
            *distance = _mm512_reduce_add_epi64(weighted_ones(load(code), planes)) as u32;
        }
    }

    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn weighted_distances_long(codes: &[u64], planes: &[u64], distances: &mut [u32]) {
        let num_words = planes.len() / N_PLANES;
        for (code, distance) in codes.chunks_exact(num_words).zip(distances) {
            let mut sum = _mm512_setzero_si512();
            for (block_idx, block) in code.chunks(N_WORDS).enumerate() {
                let at = |plane: usize| {
                    load(&planes[plane * num_words + block_idx * N_WORDS..][..block.len()])
                };
                sum = _mm512_add_epi64(
                    sum,
                    weighted_ones(load(block), [at(0), at(1), at(2), at(3)]),
                );
            }
            *distance = _mm512_reduce_add_epi64(sum) as u32;
        }
    }

    /// Loads at most [`N_WORDS`] words, the missing ones as zero.
    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "reads through a pointer")]
    fn load(words: &[u64]) -> __m512i {
        debug_assert!((1..=N_WORDS).contains(&words.len()));
        let mask = (0xff >> (N_WORDS - words.len())) as u8;
        // SAFETY: the mask has one bit for each word of the slice; masked-out words are not read.
        unsafe { _mm512_maskz_loadu_epi64(mask, words.as_ptr().cast()) }
    }

    /// Returns p₀ + 2p₁ + 4p₂ + 8p₃ in each word, pⱼ = popcount(code ⊕ planeⱼ).
    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn weighted_ones(code: __m512i, planes: [__m512i; N_PLANES]) -> __m512i {
        let ones = |plane| _mm512_popcnt_epi64(_mm512_xor_si512(code, plane));
        let low = _mm512_add_epi64(ones(planes[0]), _mm512_slli_epi64::<1>(ones(planes[1])));
        let high = _mm512_add_epi64(ones(planes[2]), _mm512_slli_epi64::<1>(ones(planes[3])));
        _mm512_add_epi64(low, _mm512_slli_epi64::<2>(high))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sums of doubles over bits, as the definition says it.
    fn distance_by_definition(code: &[u64], planes: &[u64]) -> u32 {
        (0..code.len() * 64)
            .map(|bit| {
                let is_set = |words: &[u64]| words[bit / 64] >> (bit % 64) & 1;
                let level: u64 = (0..N_PLANES)
                    .map(|plane| is_set(&planes[plane * code.len()..]) << plane)
                    .sum();
                if is_set(code) == 1 {
                    15 - level as u32
                } else {
                    level as u32
                }
            })
            .sum()
    }

    proptest! {
        #[test]
        fn all_variants_count_what_the_definition_says(
            (num_words, words) in (0u32..6).prop_flat_map(|log2| {
                let num_words = 1usize << log2;
                (Just(num_words), prop::collection::vec(any::<u64>(), num_words * (N_PLANES + 5)))
            })
        ) {
            let (planes, codes) = words.split_at(num_words * N_PLANES);
            let expected: Vec<u32> = codes.chunks(num_words).map(|code| distance_by_definition(code, planes)).collect();
            for kernels in Kernels::available() {
                let mut distances = vec![0; expected.len()];
                kernels.weighted_distances(codes, planes, &mut distances);
                prop_assert_eq!(&distances, &expected, "{:?}", kernels);
            }
        }

        #[test]
        fn all_variants_give_the_same_bits(pairs in prop::collection::vec((-2f32..2., -2f32..2.), 0..100)) {
            let (query, vector): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let vector = bf16::encode(&vector);
            let expected = Kernels::Portable.dot(&query, &vector);
            let plain: f64 = query.iter().zip(bf16::decode(&vector)).map(|(a, b)| f64::from(*a) * f64::from(b)).sum();
            prop_assert!((f64::from(expected) - plain).abs() < 1e-3);
            for kernels in Kernels::available() {
                prop_assert_eq!(kernels.dot(&query, &vector).to_bits(), expected.to_bits(), "{:?}", kernels);
            }
        }
    }
}
