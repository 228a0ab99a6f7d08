//! How many cells there are, whatever the vectors are like.

use super::*;

const N_VECTORS: u64 = 8_000;
const DIM: usize = 256;
const MAX_LIST: usize = 64;

fn bell(seed: u64) -> Vec<f32> {
    let mut state = seed;
    let uniform = |state: &mut u64| (split_mix_64(state) >> 40) as f32 / (1u64 << 24) as f32;
    (0..DIM)
        .map(|_| (0..4).map(|_| uniform(&mut state)).sum::<f32>() - 2.0)
        .collect()
}

/// Lets an index grow and be refined as it grows; returns the mean length of its lists.
fn mean_list(draw: impl Fn(u64) -> Vec<f32>) -> f64 {
    let mut index = Cells::new(CellsParams {
        max_list: MAX_LIST,
        ..CellsParams::new(DIM)
    });
    for number in 0..N_VECTORS {
        index.insert(number, &bf16::encode(&draw(number))).unwrap();
        let due = index.refinements_due(number..number + 1);
        index.refine(due);
    }
    N_VECTORS as f64 / index.num_cells() as f64
}

/// The mean of ten vectors that have nothing in common is nearer to each of them than that of a full cell: a tenth of it
/// is the vector itself. If cells were made for that, there would be one for ten vectors.
#[test]
fn lists_are_long_without_clusters() {
    let uniform = mean_list(|seed| bell(seed + 5_000));
    assert!(uniform > 0.5 * MAX_LIST as f64, "{uniform}");
}

#[test]
fn a_cluster_of_many_vectors_is_in_few_cells() {
    let clustered = mean_list(|seed| {
        let centre = bell(seed % 200);
        let own = bell(seed.wrapping_mul(77) + 1_000);
        centre.iter().zip(own).map(|(a, b)| a + 0.7 * b).collect()
    });
    // Clusters have 40 members.
    assert!(clustered > 30.0, "{clustered}");
}
