//! AVX2 and AVX-512: the portable loops compiled again, and by hand what the compiler does not find.

use std::arch::x86_64::{
    __m128i, _MM_HINT_T0, _mm_add_epi16, _mm_prefetch, _mm_slli_epi16, _mm_storeu_si128,
    _mm_sub_epi16, _mm_unpackhi_epi16, _mm_unpacklo_epi16,
};

use super::BLOCK;

/// Bytes of a cache line.
const LINE: usize = 64;

#[expect(unsafe_code, reason = "the instruction takes a pointer")]
pub(super) fn prefetch<T>(values: &[T]) {
    for line in values.chunks((LINE / size_of::<T>()).max(1)) {
        // SAFETY: a hint; it reads nothing the program can see, and the address is in the slice.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
}

/// Compiles portable loops for more instructions.
macro_rules! recompile {
    ($features:literal: $($name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        #[target_feature(enable = $features)]
        pub(in crate::kernels) fn $name($($argument: $type),*) $(-> $result)? {
            portable::$name($($argument),*)
        }
    )*};
}

/// 16-bit sums of the low and the high nibbles' entries, as the loops below keep them: `both` adds pairs
/// of bytes as one number of 16 bits, `odd` the upper byte of each pair alone. The difference is the sum
/// of the lower bytes, because both are kept modulo 2¹⁶ and a sum is below that.
#[target_feature(enable = "avx2")]
fn separate(both: [__m128i; 2], odd: [__m128i; 2]) -> [u16; BLOCK] {
    let mut sums = [0; BLOCK];
    for (half, (both, odd)) in sums
        .as_chunks_mut::<16>()
        .0
        .iter_mut()
        .zip(both.into_iter().zip(odd))
    {
        let even = _mm_sub_epi16(both, _mm_slli_epi16::<8>(odd));
        let (low, high) = half.split_at_mut(8);
        store(low, _mm_unpacklo_epi16(even, odd));
        store(high, _mm_unpackhi_epi16(even, odd));
    }
    sums
}

#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "writes through a pointer")]
fn store(eight: &mut [u16], register: __m128i) {
    assert_eq!(eight.len(), 8);
    // SAFETY: the slice has the 16 bytes that are written; the instruction asks for no alignment.
    unsafe { _mm_storeu_si128(eight.as_mut_ptr().cast(), register) };
}

pub(super) mod avx2 {
    use std::arch::x86_64::{
        __m256, __m256i, _CMP_LE_OQ, _mm_loadu_si128, _mm256_add_epi16, _mm256_add_ps,
        _mm256_and_si256, _mm256_castsi256_ps, _mm256_castsi256_si128, _mm256_cmp_ps,
        _mm256_cvtepi32_ps, _mm256_cvtepu16_epi32, _mm256_extracti128_si256, _mm256_loadu_si256,
        _mm256_movemask_ps, _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_ps, _mm256_setzero_si256,
        _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_sub_ps,
    };
    use std::ops::Range;

    use super::super::ResidualSums;
    use super::super::portable;
    use super::super::scan::{self, BlockLayout, Factors, Hit, Line, ScanQuery, Sums};
    use super::{__m128i, _mm_add_epi16, separate};

    recompile! { "avx2,popcnt":
        weighted_distances(codes: &[u64], planes: &[u64], distances: &mut [u32]);
        dot(query: &[f32], vector: &[u16]) -> f32;
        dot_and_square(query: &[f32], vector: &[u16]) -> (f32, f32);
        squared_distance(query: &[f32], vector: &[u16]) -> f32;
        squared_distance_f32(a: &[f32], b: &[f32]) -> f32;
        dot_and_squares_f32(a: &[f32], b: &[f32]) -> (f32, f32, f32);
        flip_and_transform(values: &mut [f32], signs: &[f32], part: Range<usize>);
        square(vector: &[u16]) -> f32;
        decode_scaled(target: &mut [f32], vector: &[u16], scale: f32);
        add_scaled(sum: &mut [f32], vector: &[u16], scale: f32);
        signs(vector: &[f32], centroid: &[f32], nibbles: &mut [u8]) -> ResidualSums;
        fill_table(rotated: &[f32], entries: &mut [u8], inverse: f32);
    }

    #[target_feature(enable = "avx2,popcnt")]
    pub(in crate::kernels) fn scan<const N: usize>(
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
            |codes, factors, query, target| look(codes, factors, query, target),
        );
    }

    /// As [`scan::look`].
    #[target_feature(enable = "avx2")]
    #[inline]
    fn look(codes: &[Line], factors: &Factors, query: &ScanQuery<'_>, target: &mut Sums) -> u32 {
        *target = sums(codes, &query.table.entries);
        let table = query.table;
        let all = |value| _mm256_set1_ps(value);
        let mut mask = 0;
        for (idx, sums) in target.as_chunks::<8>().0.iter().enumerate() {
            let factor = |array: usize| load_floats(&factors[2 * array + idx / 2].0[idx % 2 * 8..]);
            let sums = _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(load_sums(sums)));
            let inner = _mm256_add_ps(_mm256_mul_ps(all(table.slope), sums), all(table.offset));
            let estimate = _mm256_add_ps(
                _mm256_add_ps(_mm256_mul_ps(factor(1), inner), factor(0)),
                all(query.add),
            );
            let error = _mm256_mul_ps(factor(2), all(query.error));
            let is_hit =
                _mm256_cmp_ps::<_CMP_LE_OQ>(_mm256_sub_ps(estimate, error), all(query.limit));
            mask |= (_mm256_movemask_ps(is_hit) as u32) << (idx * 8);
        }
        mask
    }

    /// As [`portable::sums`].
    #[target_feature(enable = "avx2")]
    #[inline]
    fn sums(codes: &[Line], entries: &[u8]) -> Sums {
        let nibble = _mm256_set1_epi8(0x0f);
        let mut both = [_mm256_setzero_si256(); 2];
        let mut odd = [_mm256_setzero_si256(); 2];
        for (line, tables) in codes.iter().zip(entries.as_chunks::<64>().0) {
            for half in 0..2 {
                let code = load_words(&line.0[half * 8..]);
                let table = load_bytes(&tables[half * 32..]);
                let high = _mm256_srli_epi16::<4>(code);
                for (idx, selector) in [code, high].into_iter().enumerate() {
                    let found = _mm256_shuffle_epi8(table, _mm256_and_si256(selector, nibble));
                    both[idx] = _mm256_add_epi16(both[idx], found);
                    odd[idx] = _mm256_add_epi16(odd[idx], _mm256_srli_epi16::<8>(found));
                }
            }
        }
        separate(both.map(|sums| fold(sums)), odd.map(|sums| fold(sums)))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn fold(sums: __m256i) -> __m128i {
        _mm_add_epi16(
            _mm256_castsi256_si128(sums),
            _mm256_extracti128_si256::<1>(sums),
        )
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    #[expect(unsafe_code, reason = "reads through a pointer")]
    fn load_sums(eight: &[u16; 8]) -> __m128i {
        // SAFETY: the array is 16 bytes; the instruction asks for no alignment.
        unsafe { _mm_loadu_si128(eight.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load_floats(words: &[u32]) -> __m256 {
        _mm256_castsi256_ps(load_words(words))
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    #[expect(unsafe_code, reason = "reads through a pointer")]
    fn load_words(words: &[u32]) -> __m256i {
        assert!(words.len() >= 8);
        // SAFETY: the slice has the 32 bytes that are read; the instruction asks for no alignment.
        unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    #[expect(unsafe_code, reason = "reads through a pointer")]
    fn load_bytes(bytes: &[u8]) -> __m256i {
        assert!(bytes.len() >= 32);
        // SAFETY: the slice has the 32 bytes that are read; the instruction asks for no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }
}

pub(super) mod avx512 {
    use std::arch::x86_64::{
        __m256i, __m512i, _CMP_LE_OQ, _mm256_storeu_si256, _mm512_add_epi64, _mm512_add_ps,
        _mm512_castsi512_ps, _mm512_cmp_ps_mask, _mm512_cvtepi32_epi16, _mm512_cvtepi32_ps,
        _mm512_dpbusd_epi32, _mm512_load_si512, _mm512_loadu_si512, _mm512_maskz_loadu_epi64,
        _mm512_mul_ps, _mm512_permutexvar_epi8, _mm512_popcnt_epi64, _mm512_reduce_add_epi64,
        _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512,
        _mm512_slli_epi64, _mm512_srli_epi16, _mm512_sub_ps, _mm512_ternarylogic_epi32,
        _mm512_xor_si512,
    };
    use std::ops::Range;

    use super::super::N_PLANES;
    use super::super::ResidualSums;
    use super::super::portable;
    use super::super::scan::{self, BlockLayout, Factors, Hit, Line, ScanQuery, Sums};

    recompile! { "avx512f,avx512bw":
        dot(query: &[f32], vector: &[u16]) -> f32;
        dot_and_square(query: &[f32], vector: &[u16]) -> (f32, f32);
        squared_distance(query: &[f32], vector: &[u16]) -> f32;
        squared_distance_f32(a: &[f32], b: &[f32]) -> f32;
        dot_and_squares_f32(a: &[f32], b: &[f32]) -> (f32, f32, f32);
        flip_and_transform(values: &mut [f32], signs: &[f32], part: Range<usize>);
        square(vector: &[u16]) -> f32;
        decode_scaled(target: &mut [f32], vector: &[u16], scale: f32);
        add_scaled(sum: &mut [f32], vector: &[u16], scale: f32);
        signs(vector: &[f32], centroid: &[f32], nibbles: &mut [u8]) -> ResidualSums;
        fill_table(rotated: &[f32], entries: &mut [u8], inverse: f32);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
    pub(in crate::kernels) fn scan<const N: usize>(
        layout: BlockLayout,
        blocks: &[Line],
        len: usize,
        queries: &[ScanQuery<'_>; N],
        hits: &mut [Vec<Hit>; N],
    ) {
        scan::scan(
            layout,
            blocks,
            len,
            queries,
            hits,
            |codes, factors, queries, targets| look(codes, factors, queries, targets),
        );
    }

    /// As [`scan::look`], for several queries: what all look-ups of a code have in common is done once.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
    #[inline]
    fn look<const N: usize>(
        codes: &[Line],
        factors: &Factors,
        queries: &[ScanQuery<'_>; N],
        targets: &mut [Sums; N],
    ) -> [u32; N] {
        let all = |value| _mm512_set1_ps(value);
        let sums = sums(codes, queries);
        let mut masks = [0; N];
        for (at, query) in queries.iter().enumerate() {
            let table = query.table;
            for (idx, &sums) in sums[at].iter().enumerate() {
                let factor =
                    |array: usize| _mm512_castsi512_ps(load_line(&factors[2 * array + idx]));
                let sums = _mm512_cvtepi32_ps(sums);
                let inner = _mm512_add_ps(_mm512_mul_ps(all(table.slope), sums), all(table.offset));
                let estimate = _mm512_add_ps(
                    _mm512_add_ps(_mm512_mul_ps(factor(1), inner), factor(0)),
                    all(query.add),
                );
                let error = _mm512_mul_ps(factor(2), all(query.error));
                let is_hit = _mm512_cmp_ps_mask::<_CMP_LE_OQ>(
                    _mm512_sub_ps(estimate, error),
                    all(query.limit),
                );
                masks[at] |= u32::from(is_hit) << (idx * 16);
            }
            // Of most blocks no vector is near enough.
            if masks[at] != 0 {
                for (sums, target) in sums[at].iter().zip(targets[at].as_chunks_mut::<16>().0) {
                    store_sums(target, _mm512_cvtepi32_epi16(*sums));
                }
            }
        }
        masks
    }

    /// Sums of the first and the last 16 vectors by query, for codes arranged by vector: 64 nibbles are looked up in
    /// four tables at once, and four neighbouring bytes added to the sum of their vector.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
    #[inline]
    fn sums<const N: usize>(codes: &[Line], queries: &[ScanQuery<'_>; N]) -> [[__m512i; 2]; N] {
        // Byte i of four selects from table i.
        const TABLES: i32 = 0x30_20_10_00;
        // (a & b) | c
        const SELECT: i32 = 0b1110_1010;
        let (nibble, tables) = (_mm512_set1_epi8(0x0f), _mm512_set1_epi32(TABLES));
        let mut sums = [[_mm512_setzero_si512(); 2]; N];
        // Loops, because closures are compiled without the instructions and called; two lines at a time, which there
        // always are.
        let lines = codes.as_chunks::<2>().0;
        let mut entries: [&[[u8; 128]]; N] = [&[]; N];
        for (entries, query) in entries.iter_mut().zip(queries) {
            *entries = &query.table.entries.as_chunks().0[..lines.len()];
        }
        let (Some((first, others)), Some((first_sums, other_sums))) =
            (entries.split_first(), sums.split_first_mut())
        else {
            return sums;
        };
        for (position, (lines, first)) in lines.iter().zip(*first).enumerate() {
            for (half, line) in lines.iter().enumerate() {
                let code = load_line(line);
                let high = _mm512_srli_epi16::<4>(code);
                let selectors = [
                    _mm512_ternarylogic_epi32::<SELECT>(code, nibble, tables),
                    _mm512_ternarylogic_epi32::<SELECT>(high, nibble, tables),
                ];
                add_found(first_sums, &first.as_chunks().0[half], selectors);
                for (sums, entries) in other_sums.iter_mut().zip(others) {
                    add_found(sums, &entries[position].as_chunks().0[half], selectors);
                }
            }
        }
        sums
    }

    /// Adds the entries of a position that the selectors of a line select.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
    #[inline]
    fn add_found(sums: &mut [__m512i; 2], entries: &[u8; 64], selectors: [__m512i; 2]) {
        let (entries, ones) = (load_bytes(entries), _mm512_set1_epi8(1));
        for (sums, selector) in sums.iter_mut().zip(selectors) {
            let found = _mm512_permutexvar_epi8(selector, entries);
            *sums = _mm512_dpbusd_epi32(*sums, found, ones);
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    #[expect(unsafe_code, reason = "writes through a pointer")]
    fn store_sums(target: &mut [u16; 16], sums: __m256i) {
        // SAFETY: the array is 32 bytes; the instruction asks for no alignment.
        unsafe { _mm256_storeu_si256(target.as_mut_ptr().cast(), sums) };
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    #[expect(unsafe_code, reason = "reads through a pointer")]
    fn load_line(line: &Line) -> __m512i {
        // SAFETY: a line is 64 bytes, aligned to 64.
        unsafe { _mm512_load_si512(std::ptr::from_ref(line).cast()) }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    #[expect(unsafe_code, reason = "reads through a pointer")]
    fn load_bytes(bytes: &[u8; 64]) -> __m512i {
        // SAFETY: the array is 64 bytes; the instruction asks for no alignment.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    /// Words of one register.
    const N_WORDS: usize = 8;

    /// By hand, because the compiler does not find the form that keeps the planes in registers.
    #[target_feature(enable = "avx512f,avx512vpopcntdq,popcnt")]
    pub(in crate::kernels) fn weighted_distances(
        codes: &[u64],
        planes: &[u64],
        distances: &mut [u32],
    ) {
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
