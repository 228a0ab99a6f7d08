//! Seeded vectors in clusters, and what a search finds of them.

use std::error::Error;
use std::time::Instant;

use likeness_index::{Cells, SearchParams};

use crate::TOP_K;

/// Marsaglia's xorshift, with sums of uniforms for a bell curve: seeded and without a dependency.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    pub(crate) fn bell(&mut self) -> f32 {
        let uniform = |bits: u64| bits as f32 / (1u64 << 16) as f32;
        let bits = self.next();
        (0..4)
            .map(|idx| uniform(bits >> (16 * idx) & 0xffff))
            .sum::<f32>()
            - 2.0
    }

    pub(crate) fn unit(&mut self, dim: usize) -> Vec<f32> {
        normalised((0..dim).map(|_| self.bell()).collect())
    }
}

pub(crate) fn normalised(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= norm);
    vector
}

/// Clusters of unequal size; members have a cosine of about 0.7 to their centre.
pub(crate) struct Mixture {
    centres: Vec<Vec<f32>>,
    dim: usize,
}

impl Mixture {
    pub(crate) fn new(random: &mut Random, num_centres: usize, dim: usize) -> Self {
        Self {
            centres: (0..num_centres).map(|_| random.unit(dim)).collect(),
            dim,
        }
    }

    /// A cluster, the first ones much more often than the last.
    pub(crate) fn pick(&self, random: &mut Random) -> usize {
        let uniform = random.below(1 << 20) as f64 / (1u64 << 20) as f64;
        (uniform * uniform * self.centres.len() as f64) as usize
    }

    pub(crate) fn member(&self, random: &mut Random, cluster: usize) -> Vec<f32> {
        let noise = random.unit(self.dim);
        normalised(
            self.centres[cluster]
                .iter()
                .zip(&noise)
                .map(|(centre, noise)| centre + noise)
                .collect(),
        )
    }

    pub(crate) fn draw(&self, random: &mut Random) -> Vec<f32> {
        let cluster = self.pick(random);
        self.member(random, cluster)
    }
}

/// Recall@10 against the exact answer, and queries in a second.
pub(crate) fn measure(
    index: &Cells,
    queries: &[Vec<f32>],
    params: &SearchParams,
) -> Result<(f64, f64), Box<dyn Error>> {
    let mut found = 0;
    for query in queries {
        let exact = index.search_exact(query, TOP_K, None)?;
        let worst = exact
            .last()
            .map_or(f32::MIN, |neighbor| neighbor.similarity);
        let answer = index.search(query, TOP_K, params, None)?;
        found += answer
            .neighbors
            .iter()
            .filter(|neighbor| neighbor.similarity >= worst)
            .count()
            .min(exact.len());
    }
    let started = Instant::now();
    for query in queries {
        std::hint::black_box(index.search(query, TOP_K, params, None)?);
    }
    let per_second = queries.len() as f64 / started.elapsed().as_secs_f64();
    Ok((found as f64 / (queries.len() * TOP_K) as f64, per_second))
}
