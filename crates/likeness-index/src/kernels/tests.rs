use proptest::prelude::*;

use super::*;
use crate::bf16;

/// Sums of bits, as the definition says it.
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

/// A block whose words are functions of a seed; the floats are small and finite.
fn blocks(layout: BlockLayout, num_blocks: usize, seed: u64) -> Vec<Line> {
    let mut state = seed;
    let mut random = || crate::rotation::split_mix_64(&mut state) as u32;
    (0..num_blocks * layout.num_lines())
        .map(|line| {
            let is_code = line % layout.num_lines() < layout.num_code_lines();
            Line(std::array::from_fn(|_| {
                if is_code {
                    random()
                } else {
                    ((random() % 2_000) as f32 / 1_000.0 - 1.0).to_bits()
                }
            }))
        })
        .collect()
}

/// The same codes, arranged for other kernels.
fn arranged(kernels: Kernels, from: BlockLayout, blocks: &[Line]) -> (BlockLayout, Vec<Line>) {
    let to = BlockLayout::new(from.padded_dim(), kernels);
    let mut arranged = blocks.to_vec();
    let place =
        |(byte, shift): (usize, u32)| (byte / 64, byte % 64 / 4, (byte % 4) as u32 * 8 + shift);
    for (new, old) in arranged
        .chunks_mut(from.num_lines())
        .zip(blocks.chunks(from.num_lines()))
    {
        for vector in 0..BLOCK {
            for position in 0..from.padded_dim() / 4 {
                let (line, word, bits) = place(from.nibble(vector, position));
                let nibble = old[line].0[word] >> bits & 0x0f;
                let (line, word, bits) = place(to.nibble(vector, position));
                new[line].0[word] = new[line].0[word] & !(0x0f << bits) | nibble << bits;
            }
        }
    }
    (to, arranged)
}

/// Cases of a property: an interpreter (Miri) takes seconds for what a processor does in microseconds.
const CASES: u32 = if cfg!(miri) { 2 } else { 64 };
/// Most steps of 32 dimensions, and most vectors of a list.
const MAX_STEPS: usize = if cfg!(miri) { 3 } else { 40 };
const MAX_LIST: usize = if cfg!(miri) { 40 } else { 100 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

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
    fn all_variants_compare_vectors_to_the_same_bits(pairs in prop::collection::vec((-2f32..2., -2f32..2.), 0..200)) {
        let (query, vector): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let vector = bf16::encode(&vector);
        let wide = bf16::decode(&vector);
        let sum = |term: fn(f64, f64) -> f64| -> f64 {
            query.iter().zip(&wide).map(|(a, b)| term(f64::from(*a), f64::from(*b))).sum()
        };
        let plain = [sum(|a, b| a * b), sum(|a, b| a * b), sum(|_, b| b * b), sum(|a, b| (a - b) * (a - b)), sum(|a, b| (a - b) * (a - b)), sum(|a, b| a * b), sum(|a, _| a * a), sum(|_, b| b * b)];
        let all = |kernels: Kernels| {
            let (dot, square) = kernels.dot_and_square(&query, &vector);
            let (product, a, b) = kernels.dot_and_squares_f32(&query, &wide);
            [kernels.dot(&query, &vector), dot, square, kernels.squared_distance(&query, &vector), kernels.squared_distance_f32(&query, &wide), product, a, b]
        };
        let expected = all(Kernels::Portable);
        for (got, plain) in expected.iter().zip(plain) {
            prop_assert!((f64::from(*got) - plain).abs() < 2e-3, "{got} {plain}");
        }
        for kernels in Kernels::available() {
            prop_assert_eq!(all(kernels).map(f32::to_bits), expected.map(f32::to_bits), "{:?}", kernels);
        }
    }

    #[test]
    fn all_variants_transform_to_the_same_bits(values in prop::collection::vec(-2f32..2., 96), odd: bool) {
        let signs: Vec<f32> = (0..96).map(|idx| if idx % 3 == 0 { -0.5 } else { 0.5 }).collect();
        let part = if odd { 32..96 } else { 0..64 };
        let transform = |kernels: Kernels| {
            let mut values = values.clone();
            kernels.flip_and_transform(&mut values, &signs, part.clone());
            values.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let expected = transform(Kernels::Portable);
        for kernels in Kernels::available() {
            prop_assert_eq!(&transform(kernels), &expected, "{:?}", kernels);
        }
    }

    #[test]
    fn all_variants_scan_to_the_same_hits(seed: u64, dims in 1usize..MAX_STEPS, len in 0usize..MAX_LIST, limit in -3f32..3.) {
        let layout = BlockLayout::new(dims * 32, Kernels::Portable);
        let blocks = blocks(layout, len.div_ceil(BLOCK), seed);
        let rotated: Vec<f32> = (0..dims * 32).map(|idx| ((seed % 1_000) as f32 + idx as f32 * 1.7).sin()).collect();
        let mut table = ScanTable::default();
        table.fill(Kernels::Portable, &rotated);
        let query = ScanQuery { table: &table, add: 0.25, error: 1.5, limit };
        let scan = |kernels: Kernels| {
            let mut hits = [Vec::new()];
            let (layout, blocks) = arranged(kernels, layout, &blocks);
            kernels.scan(layout, &blocks, len, &[query], &mut hits);
            hits
        };
        let [expected] = scan(Kernels::Portable);
        for kernels in Kernels::available() {
            prop_assert_eq!(&scan(kernels)[0], &expected, "{:?}", kernels);
        }
    }

    #[test]
    fn several_queries_find_together_what_each_finds_alone(seed: u64, dims in 1usize..MAX_STEPS, len in 0usize..MAX_LIST, limits in prop::array::uniform4(-3f32..3.)) {
        let layout = BlockLayout::new(dims * 32, Kernels::Portable);
        let blocks = blocks(layout, len.div_ceil(BLOCK), seed);
        let tables: [ScanTable; 4] = std::array::from_fn(|query| {
            let rotated: Vec<f32> = (0..dims * 32).map(|idx| ((seed % 1_000 + query as u64) as f32 + idx as f32 * 1.7).sin()).collect();
            let mut table = ScanTable::default();
            table.fill(Kernels::Portable, &rotated);
            table
        });
        let queries: [ScanQuery<'_>; 4] = std::array::from_fn(|idx| ScanQuery { table: &tables[idx], add: 0.25 * idx as f32, error: 1.5, limit: limits[idx] });
        for kernels in Kernels::available() {
            let (layout, blocks) = arranged(kernels, layout, &blocks);
            let mut together = [const { Vec::new() }; 4];
            kernels.scan(layout, &blocks, len, &queries, &mut together);
            let alone = queries.map(|query| {
                let mut hits = [Vec::new()];
                kernels.scan(layout, &blocks, len, &[query], &mut hits);
                hits
            });
            prop_assert_eq!(together, alone.map(|[hits]| hits), "{:?}", kernels);
        }
    }

    #[test]
    fn a_table_adds_up_the_components_that_a_code_selects(query in prop::collection::vec(-1f32..1., 64), code: u64) {
        let mut table = ScanTable::default();
        table.fill(Kernels::Portable, &query);
        let sum: u32 = (0..16).map(|position| u32::from(table.entries[position * 16 + (code >> (4 * position) & 15) as usize])).sum();
        let estimate = table.slope * sum as f32 + table.offset;
        let exact: f32 = query.iter().enumerate().map(|(bit, component)| if code >> bit & 1 == 1 { *component } else { -component }).sum();
        // 16 roundings of at most half a step of 4/255, doubled.
        prop_assert!((estimate - exact).abs() < 16.0 * 4.0 / 255.0 + 1e-4, "{estimate} {exact}");
    }
}

#[test]
fn sums_of_many_dimensions_fit_16_bits() {
    let dim = if cfg!(miri) { 256 } else { 4_096 };
    let layout = BlockLayout::new(dim, Kernels::Portable);
    let mut blocks = vec![Line::default(); layout.num_lines()];
    for line in &mut blocks[..layout.num_code_lines()] {
        line.0 = [u32::MAX; LINE_WORDS];
    }
    // Every component counts in full: the largest sum there can be.
    let mut table = ScanTable::default();
    table.fill(Kernels::Portable, &vec![0.5; dim]);
    let exact = 0.5 * dim as f32;
    for kernels in Kernels::available() {
        // With a factor of one and nothing added, the estimate is the inner product itself.
        for line in &mut blocks[layout.num_code_lines() + 2..][..2] {
            line.0 = [1f32.to_bits(); LINE_WORDS];
        }
        let query = ScanQuery {
            table: &table,
            add: 0.0,
            error: 0.0,
            limit: f32::MAX,
        };
        let mut hits = [Vec::new()];
        let (layout, blocks) = arranged(kernels, layout, &blocks);
        kernels.scan(layout, &blocks, BLOCK, &[query], &mut hits);
        let [hits] = hits;
        assert_eq!(hits.len(), BLOCK);
        assert!(
            (hits[0].estimate / exact - 1.0).abs() < 0.02,
            "{kernels:?} {}",
            hits[0].estimate
        );
    }
}
