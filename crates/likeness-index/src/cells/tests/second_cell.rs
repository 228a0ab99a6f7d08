//! Whether it would pay to put every vector into a second cell as well (SOAR: Sun et al., NeurIPS 2023, §3).
//!
//! Lists would be twice as long. So a search that looks into half as many cells reads as many codes, and the
//! question is which of the two finds more. Not built: the second cell finds at most 2.7 points more, and under one
//! where recall is above .9. Its lists would take twice the memory, and an insertion twice the writes.

use super::*;
use crate::cells::router::RotatedQuery;

const N_VECTORS: u64 = 20_000;
const N_QUERIES: u64 = 200;
const TOP_K: usize = 10;
const DIM: usize = 64;
/// λ: how much it counts that a second residual is parallel to the first.
const LAMBDA: f32 = 1.0;

/// What twice the memory of lists, and twice the writes of an insertion, would have to find more.
const WORTH: f64 = 0.05;

fn bell(seed: u64) -> Vec<f32> {
    let mut state = seed;
    let uniform = |state: &mut u64| (split_mix_64(state) >> 40) as f32 / (1u64 << 24) as f32;
    (0..DIM)
        .map(|_| (0..4).map(|_| uniform(&mut state)).sum::<f32>() - 2.0)
        .collect()
}

/// The cell of least ‖r′‖² + λ·⟨r, r′⟩²/‖r‖² but the own one; r and r′ are the residuals.
fn second_cell(index: &Cells, vector: &[f32], own: u32) -> u32 {
    let residual = |cell: u32| -> Vec<f32> {
        let centroid = index.router.centroid(cell);
        vector.iter().zip(centroid).map(|(a, b)| a - b).collect()
    };
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let first = residual(own);
    let square = dot(&first, &first).max(f32::MIN_POSITIVE);
    let loss = |cell: u32| {
        let other = residual(cell);
        dot(&other, &other) + LAMBDA * dot(&first, &other).powi(2) / square
    };
    let others = index.router.cells().filter(|&cell| cell != own);
    others
        .map(|cell| (loss(cell), cell))
        .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
        .map_or(own, |(_, cell)| cell)
}

/// Shares of the ten nearest whose cells are looked into: with one cell each and `probes`, with two and half of them.
fn recalls(index: &Cells, queries: &[Vec<f32>], probes: &[usize]) -> Vec<(f64, f64)> {
    let mut found = vec![(0u32, 0u32); probes.len()];
    let mut wanted = 0;
    for query in queries {
        let rotated = RotatedQuery::new(
            index.kernels,
            index.rotate(&index.comparable(query).unwrap()),
        );
        let mut ranks = vec![usize::MAX; index.lists.len()];
        for (rank, near) in index.router.all(&rotated).iter().enumerate() {
            ranks[near.cell as usize] = rank;
        }
        for neighbor in index.search_exact(query, TOP_K, None).unwrap() {
            let slot = index.directory.slot(neighbor.number).unwrap();
            let own = index.directory.place(slot).cell;
            let vector = index.rotated_stored(index.vectors.get(slot)).unwrap();
            let second = second_cell(index, &vector, own);
            let first = ranks[own as usize];
            let either = first.min(ranks[second as usize]);
            wanted += 1;
            for (found, &probes) in found.iter_mut().zip(probes) {
                found.0 += u32::from(first < probes);
                found.1 += u32::from(either < probes / 2);
            }
        }
    }
    let share = |count: u32| f64::from(count) / f64::from(wanted);
    found
        .into_iter()
        .map(|(one, two)| (share(one), share(two)))
        .collect()
}

fn check(name: &str, draw: impl Fn(u64) -> Vec<f32>) {
    let mut index = Cells::new(CellsParams::new(DIM));
    for number in 0..N_VECTORS {
        index.insert(number, &bf16::encode(&draw(number))).unwrap();
    }
    let queries: Vec<_> = (N_VECTORS..N_VECTORS + N_QUERIES).map(draw).collect();
    let probes = [4, 8, 16, 32, 64, 128];
    for (probes, (one, two)) in probes.iter().zip(recalls(&index, &queries, &probes)) {
        println!("{name}, {probes} probes: {one:.3}; two cells and half the probes: {two:.3}");
        assert!(two - one < WORTH, "{name}: a second cell would pay");
    }
}

#[test]
fn a_second_cell_for_every_vector_does_not_pay() {
    check("clustered", |seed| {
        let centre = bell(seed % 400);
        let own = bell(seed.wrapping_mul(77) + 1_000);
        centre.iter().zip(own).map(|(a, b)| a + b).collect()
    });
    check("uniform", |seed| bell(seed + 5_000));
}
