//! Search over all codes with exact re-ranking, told with its recall against `search_exact`.
//!
//! Two data sets of unit vectors: `clustered` (2,000 centres, cosine of members to their centre about
//! 0.7, queries drawn like members) and `uniform` (no structure: the hardest for codes).

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use likeness_index::{ExactIndex, ExactParams, Neighbor, bf16};

const N_ROWS: usize = 100_000;
const DIM: usize = 512;
const TOP_K: usize = 10;
const N_CENTRES: usize = 2_000;
const N_RECALL_QUERIES: usize = 100;
const RERANKS: [usize; 4] = [100, 500, 2_000, 5_000];

/// Marsaglia's xorshift, with sums of uniforms for a bell curve: seeded and without a dependency.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }

    fn unit_vector(&mut self) -> Vec<f32> {
        let vector: Vec<f32> = (0..DIM)
            .map(|_| (0..4).map(|_| self.uniform()).sum::<f32>() - 2.0)
            .collect();
        unit(vector)
    }
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector
        .iter()
        .map(|component| component * component)
        .sum::<f32>()
        .sqrt();
    vector.iter_mut().for_each(|component| *component /= norm);
    vector
}

/// Returns `N_ROWS` rows and the queries.
fn data(is_clustered: bool) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let centres: Vec<Vec<f32>> = (0..N_CENTRES).map(|_| random.unit_vector()).collect();
    let mut draw = |idx: usize| {
        let noise = random.unit_vector();
        if !is_clustered {
            return noise;
        }
        unit(
            centres[idx * 7 % N_CENTRES]
                .iter()
                .zip(&noise)
                .map(|(centre, noise)| centre + noise)
                .collect(),
        )
    };
    let rows = (0..N_ROWS).map(&mut draw).collect();
    (rows, (0..N_RECALL_QUERIES).map(&mut draw).collect())
}

fn recall(found: &[Vec<Neighbor>], truth: &[Vec<Neighbor>]) -> f64 {
    let hits = found.iter().zip(truth).map(|(found, truth)| {
        truth
            .iter()
            .filter(|expected| {
                found
                    .iter()
                    .any(|neighbor| neighbor.number == expected.number)
            })
            .count()
    });
    hits.sum::<usize>() as f64 / (truth.len() * TOP_K) as f64
}

#[expect(
    clippy::print_stderr,
    reason = "speed of an index is told with its recall"
)]
fn search(c: &mut Criterion) {
    for (name, is_clustered) in [("clustered", true), ("uniform", false)] {
        let (rows, queries) = data(is_clustered);
        let index_with = |rerank: usize| {
            let mut index = ExactIndex::new(ExactParams {
                dim: DIM,
                rotation_seed: 1,
                rerank,
            });
            for (number, row) in rows.iter().enumerate() {
                index
                    .insert(number as u64, &bf16::encode(row))
                    .expect("unit vectors of the right dimension");
            }
            index
        };
        let index = index_with(RERANKS[0]);
        let all = |search: &dyn Fn(&[f32]) -> Vec<Neighbor>| -> Vec<Vec<Neighbor>> {
            queries.iter().map(|query| search(query)).collect()
        };
        let truth = all(&|query| index.search_exact(query, TOP_K).expect("a good query"));
        c.bench_function(
            &format!("exact/search_exact/{name},rows=100k,dim=512,k=10"),
            |b| {
                b.iter(|| black_box(index.search_exact(black_box(&queries[0]), TOP_K)));
            },
        );
        drop(index);
        for rerank in RERANKS {
            let index = index_with(rerank);
            let found = all(&|query| index.search(query, TOP_K).expect("a good query"));
            eprintln!(
                "{name}: rerank={rerank} recall@10={:.4} memory={} MiB",
                recall(&found, &truth),
                index.memory_bytes() >> 20
            );
            let mut next = 0;
            c.bench_function(
                &format!("exact/search/{name},rows=100k,dim=512,k=10,rerank={rerank}"),
                |b| {
                    b.iter(|| {
                        next = (next + 1) % queries.len();
                        black_box(index.search(black_box(&queries[next]), TOP_K))
                    });
                },
            );
        }
    }
}

criterion_group!(benches, search);
criterion_main!(benches);
