//! What the codes promise, measured: estimates without bias, errors as wide as predicted, bounds broken as
//! often as a normal deviate breaks them. `cargo test -p likeness-index rabitq -- --nocapture` prints the
//! figures.
//!
//! Estimates are made as a scan makes them, its 8-bit table of the query included.

use super::*;
use crate::kernels::{Kernels, ScanTable};
use crate::rotation::{Rotation, split_mix_64};

const DIMS: [usize; 4] = [128, 256, 512, 768];
const COSINES: [f64; 6] = [0.0, 0.5, 0.8, 0.9, 0.95, 0.99];
const EPSILONS: [f64; 3] = [1.0, 1.9, 3.0];
/// P(Z > ε) of a normal deviate Z, for each of [`EPSILONS`].
const TAILS: [f64; 3] = [0.158_655, 0.028_717, 0.001_350];

const N_ROTATIONS: u64 = 8;
const PAIRS_PER_ROTATION: usize = 2_500;

/// Length of a residual, and of a query's: not 1, so that a length left out would be seen.
const RESIDUAL: f64 = 0.8;
const QUERY: f64 = 0.9;

struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        ((split_mix_64(&mut self.0) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// `dim` independent normal deviates (Box & Muller, 1958).
    fn normals(&mut self, dim: usize) -> Vec<f64> {
        (0..dim.div_ceil(2))
            .flat_map(|_| {
                let radius = (-2.0 * self.unit().ln()).sqrt();
                let (sin, cos) = (std::f64::consts::TAU * self.unit()).sin_cos();
                [radius * cos, radius * sin]
            })
            .take(dim)
            .collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(mut vector: Vec<f64>) -> Vec<f64> {
    let length = dot(&vector, &vector).sqrt();
    vector.iter_mut().for_each(|component| *component /= length);
    vector
}

/// The part of `vector` that is orthogonal to the unit vector `to`, at length 1.
fn orthogonal(vector: &[f64], to: &[f64]) -> Vec<f64> {
    let along = dot(vector, to);
    unit(
        vector
            .iter()
            .zip(to)
            .map(|(component, to)| component - along * to)
            .collect(),
    )
}

/// Σ factor · vector.
fn combine<const N: usize>(terms: [(f64, &[f64]); N]) -> Vec<f64> {
    (0..terms[0].1.len())
        .map(|idx| {
            terms
                .iter()
                .map(|(factor, vector)| factor * vector[idx])
                .sum()
        })
        .collect()
}

fn rotate(rotation: &Rotation, vector: &[f64]) -> Vec<f64> {
    let narrow: Vec<f32> = vector.iter().map(|&component| component as f32).collect();
    rotation.apply(&narrow).into_iter().map(f64::from).collect()
}

fn narrow(vector: &[f64]) -> Vec<f32> {
    vector.iter().map(|&component| component as f32).collect()
}

/// A code with what it was made from.
struct Coded {
    centroid: Vec<f64>,
    nibbles: Vec<u8>,
    factors: Factors,
    residual: f32,
}

impl Coded {
    fn new(vector: &[f64], centroid: Vec<f64>) -> Self {
        let mut nibbles = vec![0; vector.len() / 4];
        let (factors, residual) = encode(
            Kernels::detect(),
            &narrow(vector),
            &narrow(&centroid),
            &mut nibbles,
        );
        Self {
            centroid,
            nibbles,
            factors,
            residual,
        }
    }

    /// The squared distance to a query as a scan estimates it.
    fn estimate(&self, query: &[f64]) -> f64 {
        let mut table = ScanTable::default();
        table.fill(Kernels::detect(), &narrow(query));
        let sum: u32 = self
            .nibbles
            .iter()
            .zip(table.entries.as_chunks::<16>().0)
            .map(|(&nibble, entries)| u32::from(entries[usize::from(nibble)]))
            .sum();
        let inner = table.slope * sum as f32 + table.offset;
        let from_centroid = combine([(1.0, query), (-1.0, &self.centroid)]);
        f64::from(self.factors.add + self.factors.scale * inner)
            + dot(&from_centroid, &from_centroid)
    }
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (square / (values.len() - 1) as f64).sqrt())
}

/// P(Z > x) of a normal deviate, by Simpson's rule over ten deviations.
fn normal_tail(x: f64) -> f64 {
    const N_STEPS: usize = 1_000;
    let step = 10.0 / N_STEPS as f64;
    let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    let sum: f64 = (0..=N_STEPS)
        .map(|idx| {
            let weight = match idx {
                0 | N_STEPS => 1.0,
                _ if idx % 2 == 1 => 4.0,
                _ => 2.0,
            };
            weight * density(x + step * idx as f64)
        })
        .sum();
    sum * step / 3.0
}

/// What was seen at one dimension and one cosine, over all pairs.
#[derive(Default)]
struct Seen {
    /// (estimated − true) squared distance, in predicted standard deviations.
    deviates: Vec<f64>,
    /// Error of the estimated cosine.
    errors: Vec<f64>,
    /// By ε₀: estimates above the truth by more than the bound; the same of the angle-aware bound. Those
    /// are the vectors that a search would lose.
    lost: [[u32; 3]; 2],
    /// By ε₀: estimates below the truth by more than the bound.
    below: [u32; 3],
}

/// Pairs in general position: a residual, and a query at a given angle to it, around a random centroid.
fn observe(dim: usize) -> Vec<Seen> {
    let mut seen: Vec<Seen> = COSINES.iter().map(|_| Seen::default()).collect();
    for seed in 0..N_ROTATIONS {
        let rotation = Rotation::compact(dim, seed);
        assert_eq!(
            rotation.padded_dim(),
            dim,
            "these dimensions need no padding"
        );
        let mut random = Random(dim as u64 ^ seed << 32);
        for _ in 0..PAIRS_PER_ROTATION {
            let direction = unit(random.normals(dim));
            let across = rotate(&rotation, &orthogonal(&random.normals(dim), &direction));
            let direction = rotate(&rotation, &direction);
            let centroid = unit(random.normals(dim));
            let vector = combine([(1.0, &centroid), (RESIDUAL, &direction)]);
            let coded = Coded::new(&vector, centroid);
            assert!((f64::from(coded.residual) / RESIDUAL - 1.0).abs() < 1e-5);
            for (seen, cosine) in seen.iter_mut().zip(COSINES) {
                seen.add(&coded, &direction, &across, cosine);
            }
        }
    }
    seen
}

impl Seen {
    fn add(&mut self, coded: &Coded, direction: &[f64], across: &[f64], cosine: f64) {
        let sine = (1.0 - cosine * cosine).sqrt();
        let query = combine([
            (1.0, &coded.centroid),
            (QUERY * cosine, direction),
            (QUERY * sine, across),
        ]);
        let truth = RESIDUAL * RESIDUAL + QUERY * QUERY - 2.0 * RESIDUAL * QUERY * cosine;
        let error = coded.estimate(&query) - truth;
        let predicted = f64::from(coded.factors.error) * QUERY * sine;
        self.deviates.push(error / predicted);
        self.errors.push(-error / (2.0 * RESIDUAL * QUERY));
        for (idx, epsilon) in EPSILONS.into_iter().enumerate() {
            let bound = coded.factors.error * (epsilon * QUERY) as f32;
            let aware = angle_aware_error(
                bound,
                residual_square(coded.factors.scale, coded.factors.error, direction.len()),
                (QUERY * QUERY) as f32,
                truth as f32,
            );
            self.lost[0][idx] += u32::from(error > f64::from(bound));
            self.lost[1][idx] += u32::from(error > f64::from(aware));
            self.below[idx] += u32::from(error < -f64::from(bound));
        }
    }

    fn share(&self, count: u32) -> f64 {
        f64::from(count) / self.deviates.len() as f64
    }
}

/// A share that should be `expected` may be off by four standard errors of it and by four pairs (where next
/// to none are expected, a standard error says little), and be a fifth smaller: the tails of a deviate in D
/// dimensions are a little lighter than those of a normal one.
#[track_caller]
fn check_share(share: f64, expected: f64, what: &str) {
    let n_pairs = (N_ROTATIONS as usize * PAIRS_PER_ROTATION) as f64;
    let slack = 4.0 * ((expected * (1.0 - expected) / n_pairs).sqrt() + 1.0 / n_pairs);
    assert!(
        share <= expected + slack && share >= 0.8 * expected - slack,
        "{what}: {share:.5}, expected {expected:.5} ± {slack:.5}"
    );
}

/// Checks one dimension and prints a line for each cosine.
#[track_caller]
fn check_dim(dim: usize) {
    println!(
        "  dim   cos  bias of cos ± s.e.      sd of cos  sd/pred.  lost at ε₀ = 1, 1.9, 3: plain   with the angle's factor"
    );
    for (seen, cosine) in observe(dim).iter().zip(COSINES) {
        let (bias, sd) = moments(&seen.errors);
        let (mean, ratio) = moments(&seen.deviates);
        let n_pairs = seen.deviates.len() as f64;
        let [plain, aware] = seen.lost.map(|lost| lost.map(|count| seen.share(count)));
        println!(
            "  {dim:3}  {cosine:4}  {bias:+.6} ± {:.6}  {sd:.6}  {ratio:.4}    {}   {}",
            sd / n_pairs.sqrt(),
            plain.map(|share| format!("{share:.5}")).join("  "),
            aware.map(|share| format!("{share:.5}")).join("  "),
        );
        let what = format!("dimension {dim}, cosine {cosine}");
        // Pairs in general position share nothing, so nothing is added for what they have in common. The
        // rounded table shifts what it estimates by a hundredth of a deviation at most.
        assert!(
            mean.abs() < 3.0 * ratio / n_pairs.sqrt() + 0.01,
            "{what}: biased by {mean:.4} deviations"
        );
        assert!(
            (ratio - 1.0).abs() < 0.03,
            "{what}: {ratio:.4} of the predicted deviation"
        );
        let sine = (1.0 - cosine * cosine).sqrt();
        for (idx, (epsilon, tail)) in EPSILONS.into_iter().zip(TAILS).enumerate() {
            let what = format!("{what}, epsilon {epsilon}");
            // The plain bound is wider than it need be by 1/sin, which is why it is hardly ever broken.
            check_share(plain[idx], normal_tail(epsilon / sine), &what);
            check_share(
                seen.share(seen.below[idx]),
                normal_tail(epsilon / sine),
                &what,
            );
            check_share(aware[idx], tail, &format!("{what}, angle-aware"));
        }
    }
}

#[test]
fn tails_of_the_normal_distribution_are_those_of_the_tables() {
    for (epsilon, tail) in EPSILONS.into_iter().zip(TAILS) {
        assert!((normal_tail(epsilon) - tail).abs() < 1e-6);
    }
    assert!((normal_tail(0.0) - 0.5).abs() < 1e-9);
}

#[test]
fn codes_of_128_dimensions_keep_their_promise() {
    check_dim(128);
}

#[test]
fn codes_of_256_dimensions_keep_their_promise() {
    check_dim(256);
}

#[test]
fn codes_of_512_dimensions_keep_their_promise() {
    check_dim(512);
}

#[test]
fn codes_of_768_dimensions_keep_their_promise() {
    check_dim(768);
}

/// Near-copies of one query under one rotation err together: how its components happen to lie under that
/// rotation is common to all of them. The common part differs from rotation to rotation, and its mean is
/// zero; more copies do not make it smaller, another rotation would. It is the part of the deviation that
/// must be thought of where one missed copy means that all are missed.
#[test]
fn near_copies_err_together_under_a_rotation_and_not_at_all_over_many() {
    const N_SEEDS: u64 = 64;
    const COPIES: usize = 100;
    const COSINE: f64 = 0.9;
    /// Standard deviation of the common part, and the largest that any rotation makes, both in predicted
    /// standard deviations of a single estimate.
    const MOST_COMMON: [f64; 2] = [0.65, 2.0];
    /// Where a round of the rotation transforms a part only, four rounds would leave a trace of the axes, which
    /// such a query shows: −0.0028 ± 0.0003 over 512 rotations at 768 dimensions, a quarter of a deviation.
    /// Eight, which are made, left nothing that could be measured.
    const TRACE_OF_AXES: f64 = 0.1;
    let sine = (1.0 - COSINE * COSINE).sqrt();
    println!("  dim  bias of cos ± s.e.      common part in deviations: sd, largest");
    for dim in DIMS {
        // Few components carry most of it: the worst that a rotation has to spread.
        let query = unit((0..dim).map(|idx| 1.0 / (idx + 1) as f64).collect());
        let mut predicted = 0.0;
        let shifts: Vec<f64> = (0..N_SEEDS)
            .map(|seed| {
                let rotation = Rotation::compact(dim, seed);
                let rotated = rotate(&rotation, &query);
                // The same copies under every rotation.
                let mut random = Random(dim as u64);
                let errors: Vec<f64> = (0..COPIES)
                    .map(|_| {
                        let across = orthogonal(&random.normals(dim), &query);
                        let copy = combine([(COSINE, &query), (sine, &across)]);
                        let coded = Coded::new(&rotate(&rotation, &copy), vec![0.0; dim]);
                        predicted += f64::from(coded.factors.error) / 2.0 * sine;
                        (2.0 - coded.estimate(&rotated)) / 2.0 - COSINE
                    })
                    .collect();
                moments(&errors).0
            })
            .collect();
        let predicted = predicted / (N_SEEDS as f64 * COPIES as f64);
        let (bias, sd) = moments(&shifts);
        let standard_error = sd / (N_SEEDS as f64).sqrt();
        let largest = shifts
            .iter()
            .fold(0.0, |most: f64, shift| most.max(shift.abs()));
        let common = [sd / predicted, largest / predicted];
        println!(
            "  {dim:3}  {bias:+.6} ± {standard_error:.6}  {:.3}, {:.3}",
            common[0], common[1]
        );
        let trace = if dim.is_power_of_two() {
            0.0
        } else {
            TRACE_OF_AXES * predicted
        };
        assert!(
            bias.abs() < 3.0 * standard_error + trace,
            "dimension {dim}: {bias:.6} ± {standard_error:.6}"
        );
        assert!(
            common[0] < MOST_COMMON[0] && common[1] < MOST_COMMON[1],
            "dimension {dim}: {common:?}"
        );
    }
}

/// A vector nearer than the limit has a smaller angle than the bound supposes, so it is lost less often.
#[test]
fn a_looser_limit_widens_the_bound() {
    let (error, square, add) = (0.2, 0.64, 0.81);
    let at = |limit| angle_aware_error(error, square, add, limit);
    let limits: Vec<f32> = (0..60).map(|idx| 0.02 + idx as f32 * 0.03).collect();
    for pair in limits.windows(2) {
        assert!(at(pair[0]) <= at(pair[1]), "{pair:?}");
    }
    assert!(at(0.02) < 0.5 * error);
    assert_eq!(at(2.0), error, "beyond a right angle nothing is known");
}
