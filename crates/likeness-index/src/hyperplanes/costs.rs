//! What the steps of a query cost on a machine.

use std::hint::black_box;
use std::time::Duration;

use super::codes::Codes;
use super::flips::Flips;
use super::padded_dim;
use super::postings::Postings;
use super::search::{PREFETCH_AHEAD, buckets_of};
use super::tally::Tally;
use crate::code::QueryCode;
use crate::kernels::Kernels;
use crate::rotation::{Rotation, split_mix_64};
use crate::vectors::{MemoryVectors, Vectors};

/// Times of the steps of a query, in nanoseconds, for vectors of one dimension.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Costs {
    /// One rotation: D projections.
    pub rotation_ns: f64,
    /// Making the query's own code, once.
    pub code_ns: f64,
    /// Finding out which bucket comes next.
    pub flip_ns: f64,
    /// Looking up a bucket: mostly one or two accesses to memory that no cache holds.
    pub bucket_ns: f64,
    /// Counting an entry of a posting list, if there are few: a cache holds the counts.
    pub entry_ns: f64,
    /// Counting an entry, if there are a million: none does.
    pub far_entry_ns: f64,
    /// Estimating a candidate's similarity from its code.
    pub estimate_ns: f64,
    /// Comparing a candidate exactly.
    pub exact_ns: f64,
    /// Adding a vector to a list.
    pub push_ns: f64,
}

/// Sizes above those of caches, small enough to be made in a fraction of a second.
const NUM_TABLES: u32 = 32;
const NUM_LISTS: u32 = 1 << 17;
const NUM_CODES: u32 = 1 << 18;
const VECTOR_BYTES: usize = 1 << 27;
const FEW_ENTRIES: u32 = 1 << 14;
const MANY_ENTRIES: u32 = 1 << 20;
/// Slots of which those entries are.
const NUM_SLOTS: u32 = 1 << 24;
/// Bits of a term, and buckets looked up for each.
const BITS: usize = 16;
const PROBES: usize = 32;
const NUM_TRIALS: u32 = 1 << 11;
/// Rounds of each measurement.
const NUM_ROUNDS: usize = 9;

impl Costs {
    /// Returns costs as measured at 512 dimensions on a core of a shared server with AVX-512, scaled to the
    /// dimension. Good for comparing settings, and the same everywhere.
    pub fn typical(dim: usize) -> Self {
        let dim = padded_dim(dim) as f64;
        Self {
            rotation_ns: 3.0 * dim,
            code_ns: 10.0 * dim,
            flip_ns: 32.0,
            bucket_ns: 60.0,
            entry_ns: 2.5,
            far_entry_ns: 12.0,
            estimate_ns: 60.0 + 0.1 * dim,
            exact_ns: 20.0 + 0.35 * dim,
            push_ns: 350.0,
        }
    }

    /// How many times as long an access takes to memory of so many bytes as to the little that was measured: far
    /// apart pages are in no table of the processor's either. Measured at 512 dimensions with 200,000 and a
    /// million vectors (`drill plan`): a quarter more for each time that memory doubles.
    pub(crate) fn reach(bytes: f64) -> f64 {
        const MEASURED_BYTES: f64 = 1e8;
        const PER_DOUBLING: f64 = 0.25;
        1.0 + PER_DOUBLING * (bytes / MEASURED_BYTES).max(1.0).log2()
    }

    /// What counting an entry takes if there are so many.
    pub(crate) fn entry(&self, entries: f64) -> f64 {
        let (few, many) = (
            f64::from(FEW_ENTRIES).log2(),
            f64::from(MANY_ENTRIES).log2(),
        );
        let share = ((entries.max(1.0).log2() - few) / (many - few)).clamp(0.0, 1.0);
        self.entry_ns + share * (self.far_entry_ns - self.entry_ns)
    }

    /// Measures this machine; takes some seconds and 300 MB. `clock` tells the time since any fixed moment.
    ///
    /// # Panics
    ///
    /// If `dim` is 0.
    pub fn measure(dim: usize, clock: &dyn Fn() -> Duration) -> Self {
        assert!(dim > 0, "vectors have at least one dimension");
        let dim = padded_dim(dim);
        let kernels = Kernels::detect();
        let mut random = Random(7);
        let vector: Vec<f32> = (0..dim).map(|_| random.component()).collect();
        // The median of several rounds: other work on the machine makes some of them longer.
        let time = |count: u32, work: &mut dyn FnMut()| {
            let mut rounds = [0.0; NUM_ROUNDS];
            for round in &mut rounds {
                let before = clock();
                work();
                *round = clock().saturating_sub(before).as_secs_f64() * 1e9 / f64::from(count);
            }
            rounds.sort_unstable_by(f64::total_cmp);
            rounds[NUM_ROUNDS / 2]
        };

        let rotation = Rotation::compact(dim, 7);
        let mut rotated = vec![0.0; dim];
        let rotation_ns = time(200, &mut || {
            for _ in 0..200 {
                rotation.apply_into(black_box(&vector), &mut rotated, kernels);
            }
        });

        let code_ns = time(200, &mut || {
            for _ in 0..200 {
                black_box(QueryCode::new(black_box(&rotated)));
            }
        });

        let (mut flips, mut buckets) = (Flips::default(), Vec::new());
        let flip_ns = time(NUM_TRIALS * PROBES as u32, &mut || {
            for trial in 0..NUM_TRIALS as usize {
                let first = trial % (dim - BITS);
                let projections = &rotated[first..first + BITS];
                buckets_of(projections, PROBES, &mut flips, &mut buckets);
                black_box(&buckets);
            }
        });

        // One after the other, as the terms of a vector are; half of the lists are new ones.
        let mut tables = vec![Postings::new(1_024); NUM_TABLES as usize];
        for slot in 0..NUM_LISTS {
            for postings in &mut tables {
                postings.push(random.below(NUM_LISTS), slot);
            }
        }
        let num_slots = NUM_LISTS / 64;
        let push_ns = time(num_slots * NUM_TABLES, &mut || {
            for slot in 0..num_slots {
                for postings in &mut tables {
                    postings.push(random.below(2 * NUM_LISTS), slot);
                }
            }
        });
        // Flipped bits are in no order that a table knows, and three buckets of four are not there.
        let bucket_ns = time(NUM_TRIALS * NUM_TABLES, &mut || {
            for _ in 0..NUM_TRIALS / PROBES as u32 {
                for postings in &tables {
                    for bucket in &mut buckets {
                        *bucket = random.below(4 * NUM_LISTS);
                    }
                    for &bucket in &buckets {
                        black_box(postings.get(bucket).first());
                    }
                }
            }
        });

        let [entry_ns, far_entry_ns] = [FEW_ENTRIES, MANY_ENTRIES].map(|count| {
            let slots: Vec<u32> = (0..count).map(|_| random.below(NUM_SLOTS)).collect();
            time(count, &mut || {
                let mut tally = Tally::with_room(slots.len());
                slots.iter().for_each(|&slot| tally.add(slot));
                black_box(tally.counts().count());
            })
        });

        let mut codes = Codes::new(dim);
        for slot in 0..NUM_CODES {
            codes.set(slot, &rotated);
        }
        let code = QueryCode::new(&rotated);
        let estimate_ns = time(NUM_TRIALS, &mut || {
            for _ in 0..NUM_TRIALS {
                black_box(codes.estimate(&code, random.below(NUM_CODES), kernels));
            }
        });

        let num_vectors = (VECTOR_BYTES / (2 * dim)) as u32;
        let mut vectors = MemoryVectors::new(dim);
        let stored = crate::bf16::encode(&vector);
        for slot in 0..num_vectors {
            vectors.set(slot, &stored).expect("memory has room for it");
        }
        let exact_ns = time(NUM_TRIALS, &mut || {
            let slots: Vec<u32> = (0..NUM_TRIALS + PREFETCH_AHEAD as u32)
                .map(|_| random.below(num_vectors))
                .collect();
            for soon in slots.windows(PREFETCH_AHEAD + 1) {
                Kernels::prefetch(vectors.get(soon[PREFETCH_AHEAD]));
                black_box(kernels.dot_and_square(&vector, vectors.get(soon[0])));
            }
        });

        Self {
            rotation_ns,
            code_ns,
            flip_ns,
            bucket_ns,
            entry_ns,
            far_entry_ns,
            estimate_ns,
            exact_ns,
            push_ns,
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        (((split_mix_64(&mut self.0) >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// Between -1 and 1.
    fn component(&mut self) -> f32 {
        (split_mix_64(&mut self.0) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn every_step_takes_some_time() {
        let start = Instant::now();
        let costs = Costs::measure(64, &|| start.elapsed());
        for ns in [
            costs.rotation_ns,
            costs.code_ns,
            costs.flip_ns,
            costs.bucket_ns,
            costs.entry_ns,
            costs.far_entry_ns,
            costs.estimate_ns,
            costs.exact_ns,
            costs.push_ns,
        ] {
            assert!(ns > 0.0 && ns < 1e6, "{costs:?}");
        }
    }
}
