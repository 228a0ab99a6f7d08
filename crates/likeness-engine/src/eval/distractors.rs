//! Vectors that look like embeddings of pictures nobody has, for filling an index.
//!
//! A real picture shares a little with the pictures most like it, and the rest is its own. So a distractor is
//!
//! ```text
//! x = α·a + β·b + e, brought to unit length
//! a      vector of a real picture, drawn at random
//! b      that of another one, drawn from the NUM_RELATIVES pictures most like it
//! α, β   drawn from how real vectors depend on the two most like them, by least squares
//! e      drawn with mean and covariance of what that leaves of real vectors, their residuals
//! ```
//!
//! The covariance of a few hundred residuals in some hundred dimensions is poorly known: e would lie in the
//! space that they span. It is therefore drawn towards a multiple of the identity by the share that makes
//! the expected error least (Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance
//! matrices", 2004), copies of one picture counting as one observation. e is a sum of `NUM_SUMMANDS`
//! residuals with normal weights, which has that covariance and is cheap, and of normal noise.
//!
//! What it does not make: near-duplicates among distractors, and clusters finer than the real pictures it
//! was fitted on. With few pictures the form of the noise is partly given up, and distractors are spread a
//! little more evenly than real vectors are. How alike the outcome is to real strangers is to be measured
//! each time, with [`CosineSummary`](super::candidates::CosineSummary).

use std::ops::Range;

/// Residuals in the sum that makes the noise of a distractor.
const NUM_SUMMANDS: usize = 32;

/// Pictures that the second vector of a mix is drawn from.
const NUM_RELATIVES: usize = 8;

/// Most real vectors used; of more every n-th is taken. Fitting compares each with each.
const MAX_FITTED: usize = 4_096;

/// Draws distractors; see the [module](self).
#[derive(Debug, Clone)]
pub struct Distractors {
    dim: usize,
    /// Rows of each picture.
    groups: Vec<Range<usize>>,
    /// Unit vectors, row-major.
    vectors: Vec<f32>,
    /// α and β of each row.
    mixes: Vec<[f32; 2]>,
    /// Rows of other pictures that are most like each row, the most like first.
    relatives: Vec<Vec<usize>>,
    /// Less their mean, row-major.
    residuals: Vec<f32>,
    mean_residual: Vec<f32>,
    /// Share of the identity in the covariance, 0 to 1.
    shrinkage: f32,
    /// Standard deviation of a component of a residual.
    deviation: f32,
    seed: u64,
}

impl Distractors {
    /// Fits to real vectors: those of each picture and of copies of it together. Their lengths do not matter.
    ///
    /// Returns nothing for fewer than three pictures, or if vectors are zero, not finite, or of different
    /// dimensions.
    pub fn fit(pictures: &[Vec<Vec<f32>>], seed: u64) -> Option<Self> {
        let n_vectors: usize = pictures.iter().map(Vec::len).sum();
        let stride = n_vectors.div_ceil(MAX_FITTED).max(1);
        let dim = pictures.iter().flatten().next()?.len();
        let (mut groups, mut vectors) = (Vec::new(), Vec::new());
        for picture in pictures {
            let first = vectors.len() / dim.max(1);
            for vector in picture.iter().step_by(stride) {
                if vector.len() != dim {
                    return None;
                }
                vectors.extend(unit(vector)?);
            }
            let end = vectors.len() / dim.max(1);
            if first < end {
                groups.push(first..end);
            }
        }
        if groups.len() < 3 {
            return None;
        }
        let mut distractors = Self {
            dim,
            groups,
            vectors,
            mixes: Vec::new(),
            relatives: Vec::new(),
            residuals: Vec::new(),
            mean_residual: vec![0.0; dim],
            shrinkage: 0.0,
            deviation: 0.0,
            seed,
        };
        distractors.fit_mixes();
        distractors.centre_residuals();
        distractors.fit_covariance();
        Some(distractors)
    }

    /// Share of the identity in the covariance of the noise, 0 to 1: 1 if the real vectors say nothing of its
    /// form.
    pub fn shrinkage(&self) -> f32 {
        self.shrinkage
    }

    /// Returns distractor number `idx`, of unit length; the same for the same seed.
    pub fn draw(&self, idx: u64) -> Vec<f32> {
        let mut random = Random::new(self.seed, idx);
        let first = self.any_row(&mut random);
        let relatives = &self.relatives[first];
        let parents = [first, relatives[random.below(relatives.len())]];
        let [alpha, beta] = self.mixes[self.any_row(&mut random)];
        let mut drawn = self.mean_residual.clone();
        add(&mut drawn, alpha, row(&self.vectors, self.dim, parents[0]));
        add(&mut drawn, beta, row(&self.vectors, self.dim, parents[1]));
        let own = ((1.0 - self.shrinkage) / NUM_SUMMANDS as f32).sqrt();
        for _ in 0..NUM_SUMMANDS {
            let summand = self.any_row(&mut random);
            let weight = own * random.normals()[0];
            add(&mut drawn, weight, row(&self.residuals, self.dim, summand));
        }
        let common = self.deviation * self.shrinkage.sqrt();
        for pair in drawn.chunks_mut(2) {
            for (component, normal) in pair.iter_mut().zip(random.normals()) {
                *component += common * normal;
            }
        }
        unit(&drawn).unwrap_or_else(|| row(&self.vectors, self.dim, parents[0]).to_vec())
    }

    /// A row of any picture, each picture as likely.
    fn any_row(&self, random: &mut Random) -> usize {
        let group = random.below(self.groups.len());
        self.row_of(group, random)
    }

    fn row_of(&self, group: usize, random: &mut Random) -> usize {
        let rows = &self.groups[group];
        rows.start + random.below(rows.len())
    }

    /// Explains each vector by the nearest ones of two other pictures.
    fn fit_mixes(&mut self) {
        for (own, rows) in self.groups.iter().enumerate() {
            for row_idx in rows.clone() {
                let vector = row(&self.vectors, self.dim, row_idx);
                let others = self.groups[..own].iter().chain(&self.groups[own + 1..]);
                let mut nearest: Vec<(f32, usize)> = others
                    .map(|other| {
                        let cosines = other
                            .clone()
                            .map(|idx| (dot(vector, row(&self.vectors, self.dim, idx)), idx));
                        cosines
                            .max_by(|a, b| a.0.total_cmp(&b.0))
                            .expect("a picture has at least one vector")
                    })
                    .collect();
                nearest.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                nearest.truncate(NUM_RELATIVES);
                let parents = [nearest[0], nearest[1]];
                let [first, second] = parents.map(|(_, idx)| row(&self.vectors, self.dim, idx));
                let along = parents.map(|(cosine, _)| cosine);
                let mix = least_squares(along, dot(first, second));
                let mut residual = vector.to_vec();
                add(&mut residual, -mix[0], first);
                add(&mut residual, -mix[1], second);
                self.mixes.push(mix);
                self.residuals.extend(residual);
                self.relatives
                    .push(nearest.into_iter().map(|(_, idx)| idx).collect());
            }
        }
    }

    fn centre_residuals(&mut self) {
        for rows in &self.groups {
            let weight = 1.0 / (self.groups.len() * rows.len()) as f32;
            for idx in rows.clone() {
                add(
                    &mut self.mean_residual,
                    weight,
                    row(&self.residuals, self.dim, idx),
                );
            }
        }
        for residual in self.residuals.chunks_exact_mut(self.dim) {
            add(residual, -1.0, &self.mean_residual);
        }
    }

    /// Ledoit & Wolf's shrinkage. With S the mean of the pictures' own S_g, and all norms Frobenius':
    /// d² = ‖S − μI‖², b² = Σ‖S_g − S‖² / G², share of the identity b²/d².
    fn fit_covariance(&mut self) {
        let n_groups = self.groups.len() as f64;
        let (mut trace, mut square, mut own_squares) = (0.0_f64, 0.0_f64, 0.0_f64);
        for (group_idx, rows) in self.groups.iter().enumerate() {
            for (other_idx, others) in self.groups[..=group_idx].iter().enumerate() {
                // Both orders of two pictures, and all orders within one.
                let times = if other_idx == group_idx { 1.0 } else { 2.0 };
                let mut sum = 0.0_f64;
                for idx in rows.clone() {
                    let residual = row(&self.residuals, self.dim, idx);
                    for other in others.clone() {
                        sum +=
                            f64::from(dot(residual, row(&self.residuals, self.dim, other))).powi(2);
                    }
                }
                let mean = sum / (rows.len() * others.len()) as f64;
                square += times * mean / (n_groups * n_groups);
                if other_idx == group_idx {
                    own_squares += mean;
                }
            }
            let own_trace: f64 = rows
                .clone()
                .map(|idx| {
                    let residual = row(&self.residuals, self.dim, idx);
                    f64::from(dot(residual, residual))
                })
                .sum();
            trace += own_trace / (rows.len() as f64 * n_groups);
        }
        let mean_variance = trace / self.dim as f64;
        let from_identity = square - self.dim as f64 * mean_variance * mean_variance;
        let error = (own_squares - n_groups * square).max(0.0) / (n_groups * n_groups);
        self.shrinkage = if from_identity > 0.0 {
            (error / from_identity).min(1.0) as f32
        } else {
            1.0
        };
        self.deviation = mean_variance.sqrt() as f32;
    }
}

/// Weights of two unit vectors with inner product `between` that come nearest to a vector whose inner
/// products with them are `along`.
fn least_squares(along: [f32; 2], between: f32) -> [f32; 2] {
    let determinant = 1.0 - between * between;
    if determinant < 1e-3 {
        // The two are one.
        return [along[0], 0.0];
    }
    [
        (along[0] - between * along[1]) / determinant,
        (along[1] - between * along[0]) / determinant,
    ]
}

fn row(rows: &[f32], dim: usize, idx: usize) -> &[f32] {
    &rows[idx * dim..(idx + 1) * dim]
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Adds `weight · vector`.
fn add(sum: &mut [f32], weight: f32, vector: &[f32]) {
    for (sum, component) in sum.iter_mut().zip(vector) {
        *sum += weight * component;
    }
}

/// Returns the vector at length 1, or nothing if it has no direction.
fn unit(vector: &[f32]) -> Option<Vec<f32>> {
    let inverse = 1.0 / dot(vector, vector).sqrt();
    inverse
        .is_normal()
        .then(|| vector.iter().map(|component| component * inverse).collect())
}

/// SplitMix64 (Steele, Lea & Flood, OOPSLA 2014), a sequence for each pair of seed and number.
struct Random(u64);

impl Random {
    fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number in `0..bound`.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// A number above 0, at most 1.
    fn unit(&mut self) -> f32 {
        ((self.next() >> 40) + 1) as f32 / (1_u32 << 24) as f32
    }

    /// Two independent normal deviates (Box & Muller, 1958).
    fn normals(&mut self) -> [f32; 2] {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        let (sin, cos) = (std::f32::consts::TAU * self.unit()).sin_cos();
        [radius * cos, radius * sin]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIM: usize = 64;

    /// Pictures of two vectors each; some components vary much more than others.
    fn pictures(n_pictures: u64) -> Vec<Vec<Vec<f32>>> {
        let mut random = Random::new(5, 0);
        let mut vector = || {
            (0..DIM)
                .map(|idx| random.normals()[0] / ((1 + idx) as f32).sqrt())
                .collect::<Vec<f32>>()
        };
        (0..n_pictures)
            .map(|_| {
                let own = vector();
                let mut copy = own.clone();
                add(&mut copy, 0.2, &vector());
                vec![own, copy]
            })
            .collect()
    }

    fn cosines(a: &[Vec<f32>], b: &[Vec<f32>]) -> Vec<f32> {
        let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
        pairs
            .map(|(a, b)| dot(&unit(a).unwrap(), &unit(b).unwrap()))
            .collect()
    }

    fn mean_square(values: &[f32]) -> f32 {
        values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32
    }

    #[test]
    fn distractors_keep_most_of_the_form_of_real_vectors() {
        let all = pictures(400);
        let (fitted, strangers) = all.split_at(200);
        let strangers: Vec<Vec<f32>> = strangers.iter().map(|picture| picture[0].clone()).collect();
        let real: Vec<Vec<f32>> = fitted.iter().map(|picture| picture[0].clone()).collect();
        let distractors = Distractors::fit(fitted, 1).unwrap();
        let drawn: Vec<Vec<f32>> = (0..400).map(|idx| distractors.draw(idx)).collect();
        let [of_real, of_drawn] =
            [&real, &drawn].map(|others| mean_square(&cosines(&strangers, others)));
        // Vectors without any form would have 1/64 = 0.016.
        assert!(of_real > 0.04, "{of_real}");
        assert!(
            (0.65..1.1).contains(&(of_drawn / of_real)),
            "{of_drawn} {of_real}"
        );
    }

    #[test]
    fn draws_are_of_unit_length_and_repeat() {
        let pictures = pictures(20);
        let distractors = Distractors::fit(&pictures, 1).unwrap();
        let first = distractors.draw(3);
        assert!((dot(&first, &first) - 1.0).abs() < 1e-5);
        assert_eq!(first, Distractors::fit(&pictures, 1).unwrap().draw(3));
        assert_ne!(first, distractors.draw(4));
        assert_ne!(first, Distractors::fit(&pictures, 2).unwrap().draw(3));
    }

    #[test]
    fn few_pictures_are_trusted_less() {
        let shrinkage = |n_pictures| {
            Distractors::fit(&pictures(n_pictures), 1)
                .unwrap()
                .shrinkage()
        };
        let shrinkages = [40, 400, 2_000].map(shrinkage);
        assert!(
            shrinkages[0] > 1.5 * shrinkages[1] && shrinkages[1] > 1.5 * shrinkages[2],
            "{shrinkages:?}"
        );
    }

    #[test]
    fn too_little_is_refused() {
        assert!(Distractors::fit(&pictures(2), 1).is_none());
        assert!(Distractors::fit(&[], 1).is_none());
        let mut odd = pictures(5);
        odd[1][0].pop();
        assert!(Distractors::fit(&odd, 1).is_none());
        odd[1][0] = vec![0.0; DIM];
        assert!(Distractors::fit(&odd, 1).is_none());
    }

    #[test]
    fn weights_explain_a_vector_in_the_plane_of_two() {
        let (a, b) = ([1.0, 0.0], [0.6, 0.8]);
        let mut vector = vec![0.0; 2];
        add(&mut vector, 0.3, &a);
        add(&mut vector, -0.5, &b);
        let [alpha, beta] = least_squares([dot(&vector, &a), dot(&vector, &b)], dot(&a, &b));
        assert!((alpha - 0.3).abs() < 1e-6 && (beta + 0.5).abs() < 1e-6);
    }
}
