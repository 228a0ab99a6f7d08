//! How many terms, bits and probes: the cheapest setting of [`Hyperplanes`](crate::Hyperplanes) for a number of
//! images and a wanted recall.
//!
//! The model:
//!
//! - A term leads to a vector with a probability that the angle, the bits and the probes give (see `chance`); the T
//!   terms do so independently. Recall at a similarity follows, and so does the number of candidates from the
//!   similarities of random pairs: measured on a sample, or those of random unit vectors times an excess.
//! - If more than `max_candidates` are expected, those with fewest matching terms are cut off; a copy is then
//!   only found if it matches in more terms than the cut. Among vectors with as many terms it comes first.
//! - Time is a sum of steps, each a count times its cost ([`Costs`]), which grows with the memory it reaches into.
//!   A setting is judged by the time of one query and one insertion: live, every image is both.
//! - Lists whose expected length is above a quarter of `max_list` are not proposed: some would be capped.

mod chance;
#[cfg(test)]
mod tests;

use crate::error::IndexError;
use crate::hyperplanes::codes::Codes;
use crate::hyperplanes::postings::LIST_BYTES;
use crate::hyperplanes::projections::num_rotations;
use crate::hyperplanes::{Costs, DEFAULT_MAX_LIST, MAX_TERMS, padded_dim};
use crate::rotation::split_mix_64;
use chance::{at_least, lower_tail, term_chances};

/// Bits of a term that are tried.
const BITS: std::ops::RangeInclusive<usize> = 8..=24;

/// Probes that are tried.
const PROBES: [usize; 12] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];

/// How many times as many random pairs of real embeddings meet as of random unit vectors, if there is no sample.
pub const DEFAULT_EXCESS: f64 = 4.0;

/// Random pairs of a sample that are compared at most.
const MAX_PAIRS: usize = 1_000_000;

/// Draws of margins (see `chance`) for the wanted similarity, and for those of random pairs, of which there
/// are many and which need not be known as well.
const NUM_DRAWS_WANTED: usize = 4_000;
const NUM_DRAWS: usize = 500;

/// Width of a class of similarities.
const CLASS_WIDTH: f64 = 0.02;

/// Lists are this many times shorter than the cap, on average.
const CAP_RESERVE: f64 = 4.0;

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct PlanRequest<'a> {
    /// Vectors that the index will hold.
    pub images: u64,
    /// Share of pairs at `similarity` that must be found, above 0 and below 1.
    pub recall: f64,
    /// Cosine at which `recall` is wanted, above 0 and below 1. Nearer pairs are found more often.
    pub similarity: f64,
    /// Components of a vector.
    pub dim: usize,
    /// Vectors like those to come: rows of `dim`. Without it, random unit vectors and [`DEFAULT_EXCESS`].
    pub sample: Option<&'a [f32]>,
    /// Candidates that a query ranks at most.
    pub max_candidates: usize,
    /// Vectors that a posting list takes.
    pub max_list: usize,
    /// What steps cost.
    pub costs: Costs,
}

impl PlanRequest<'_> {
    /// At cosine 0.8, 2,000 candidates, no sample, typical costs.
    pub fn new(images: u64, recall: f64, dim: usize) -> Self {
        Self {
            images,
            recall,
            similarity: 0.8,
            dim,
            sample: None,
            max_candidates: 2_000,
            max_list: DEFAULT_MAX_LIST,
            costs: Costs::typical(dim),
        }
    }
}

/// A setting and what the model expects of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Terms of a vector, T.
    pub terms: usize,
    /// Bits of a term, b.
    pub bits: usize,
    /// Buckets looked up for each term.
    pub probes: usize,
    /// Share of pairs at the wanted similarity that are found.
    pub recall: f64,
    /// Vectors that share a term with a query, before the cut.
    pub candidates: f64,
    /// Matching terms that a candidate needs to stay within `max_candidates`.
    pub least_terms: usize,
    /// Entries of posting lists read for a query.
    pub entries: f64,
    /// Mean length of the list that a random query's own term has.
    pub list_length: f64,
    /// Time of a query that compares all its candidates, in microseconds.
    pub query_us: f64,
    /// Time of an insertion, in microseconds.
    pub insert_us: f64,
    /// Bytes of posting lists for each image.
    pub term_bytes: f64,
    /// Bytes for each image: posting lists, code, number and the exact vector.
    pub bytes_per_image: f64,
}

/// What similarities of random pairs the plan rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Spread {
    /// Those of random unit vectors; so many times as many meet.
    Uniform {
        /// The excess.
        excess: f64,
    },
    /// Those of pairs of a sample.
    Sample {
        /// Vectors of the sample.
        rows: usize,
        /// Pairs compared.
        pairs: usize,
        /// Mean cosine of a pair.
        mean: f64,
        /// Standard deviation of the cosine.
        deviation: f64,
    },
}

/// The answer of the planner.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The cheapest setting that reaches the recall.
    pub chosen: Setting,
    /// The cheapest for each other number of probes, fewest probes first: fewer probes need more terms, and so more
    /// bytes.
    pub alternatives: Vec<Setting>,
    /// What similarities of random pairs it rests on.
    pub spread: Spread,
    /// What steps cost.
    pub costs: Costs,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// A wish that makes no sense.
    #[error("{field} must be {rule}")]
    Invalid {
        /// What was given.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// A sample that cannot be used.
    #[error("the sample cannot be used")]
    Sample(#[from] IndexError),
    /// Even with the most bits, lists would be too long; several indexes can share the images.
    #[error("too many images for lists of at most {max_list} vectors; plan for a part of them")]
    TooMany {
        /// Vectors that a posting list takes.
        max_list: usize,
    },
    /// No setting of the grid does it.
    #[error(
        "no setting of at most {MAX_TERMS} terms reaches recall {recall}; the best one expects {best:.4}"
    )]
    OutOfReach {
        /// What was wanted.
        recall: f64,
        /// The most that a setting of the grid expects.
        best: f64,
    },
}

/// Returns the cheapest setting that reaches the wanted recall, and others beside it.
///
/// The same request gives the same plan, on every machine.
///
/// # Errors
///
/// [`PlanError`].
pub fn plan(request: &PlanRequest<'_>) -> Result<Plan, PlanError> {
    check(request)?;
    let (classes, spread) = match request.sample {
        Some(sample) => sample_classes(sample, request.dim)?,
        None => uniform_classes(request.dim),
    };
    let mut cheapest: [Option<Setting>; PROBES.len()] = [None; PROBES.len()];
    let mut best_recall = 0f64;
    for bits in BITS {
        let model = Model::new(request, &classes, bits);
        for (probes, cheapest) in PROBES.into_iter().zip(&mut cheapest) {
            for terms in 1..=MAX_TERMS {
                // The cut can only lower it.
                let uncut = model.uncut_recall(terms, probes);
                if uncut < request.recall && terms < MAX_TERMS {
                    continue;
                }
                let setting = model.setting(terms, probes);
                if setting.list_length * CAP_RESERVE > request.max_list as f64 {
                    break;
                }
                best_recall = best_recall.max(setting.recall);
                if setting.recall < request.recall {
                    continue;
                }
                if cheapest.is_none_or(|other| price(&setting) < price(&other)) {
                    *cheapest = Some(setting);
                }
                // More terms cost more.
                break;
            }
        }
    }
    let settings: Vec<Setting> = cheapest.into_iter().flatten().collect();
    let chosen = settings
        .iter()
        .copied()
        .min_by(|a, b| price(a).total_cmp(&price(b)))
        .ok_or(if best_recall > 0.0 {
            PlanError::OutOfReach {
                recall: request.recall,
                best: best_recall,
            }
        } else {
            PlanError::TooMany {
                max_list: request.max_list,
            }
        })?;
    Ok(Plan {
        chosen,
        alternatives: settings
            .into_iter()
            .filter(|setting| setting.probes != chosen.probes)
            .collect(),
        spread,
        costs: request.costs,
    })
}

/// What settings are compared by, in microseconds.
fn price(setting: &Setting) -> f64 {
    setting.query_us + setting.insert_us
}

fn check(request: &PlanRequest<'_>) -> Result<(), PlanError> {
    let is_share = |share: f64| share > 0.0 && share < 1.0;
    let rules = [
        (request.images > 0, "images", "at least 1"),
        (request.dim > 0, "dim", "at least 1"),
        (is_share(request.recall), "recall", "above 0 and below 1"),
        (
            is_share(request.similarity),
            "similarity",
            "above 0 and below 1",
        ),
        (request.max_candidates > 0, "max_candidates", "at least 1"),
        (request.max_list > 0, "max_list", "at least 1"),
    ];
    match rules.into_iter().find(|(is_kept, ..)| !is_kept) {
        Some((_, field, rule)) => Err(PlanError::Invalid { field, rule }),
        None => Ok(()),
    }
}

/// Random pairs of about the same similarity.
#[derive(Debug, Clone, Copy)]
struct Class {
    cosine: f64,
    /// Share of all pairs; the excess is in it.
    weight: f64,
}

/// Cosines of random unit vectors: normal with deviation 1/√D, close enough from a few dimensions on.
fn uniform_classes(dim: usize) -> (Vec<Class>, Spread) {
    const HALF: i32 = 10;
    let deviation = 1.0 / (dim as f64).sqrt();
    let classes = (-HALF..=HALF)
        .map(|step| {
            let centre = f64::from(step) * 0.5;
            Class {
                cosine: (centre * deviation).clamp(-1.0, 1.0),
                weight: (lower_tail(centre + 0.25) - lower_tail(centre - 0.25)) * DEFAULT_EXCESS,
            }
        })
        .collect();
    let spread = Spread::Uniform {
        excess: DEFAULT_EXCESS,
    };
    (classes, spread)
}

/// Cosines of random pairs of a sample.
fn sample_classes(sample: &[f32], dim: usize) -> Result<(Vec<Class>, Spread), PlanError> {
    let n_rows = sample.len() / dim;
    if !sample.len().is_multiple_of(dim) || n_rows < 2 {
        return Err(PlanError::Invalid {
            field: "sample",
            rule: "at least 2 rows of `dim` components",
        });
    }
    let units = sample
        .chunks_exact(dim)
        .map(|row| crate::exact::normalise(row.to_vec()).map(|(unit, _)| unit))
        .collect::<Result<Vec<_>, _>>()?;
    let num_classes = (2.0 / CLASS_WIDTH) as usize + 1;
    let mut sums = vec![(0usize, 0f64); num_classes];
    let (mut total, mut squares) = (0f64, 0f64);
    let num_pairs = MAX_PAIRS.min(n_rows.saturating_mul(n_rows - 1) / 2);
    let mut state = 0x7361_6d70_6c65_u64;
    for _ in 0..num_pairs {
        let first = split_mix_64(&mut state) as usize % n_rows;
        let second = (first + 1 + split_mix_64(&mut state) as usize % (n_rows - 1)) % n_rows;
        let cosine: f32 = units[first]
            .iter()
            .zip(&units[second])
            .map(|(a, b)| a * b)
            .sum();
        let cosine = f64::from(cosine).clamp(-1.0, 1.0);
        let class = &mut sums[((cosine + 1.0) / CLASS_WIDTH) as usize];
        class.0 += 1;
        class.1 += cosine;
        total += cosine;
        squares += cosine * cosine;
    }
    let mean = total / num_pairs as f64;
    let spread = Spread::Sample {
        rows: n_rows,
        pairs: num_pairs,
        mean,
        deviation: (squares / num_pairs as f64 - mean * mean).max(0.0).sqrt(),
    };
    let classes = sums
        .into_iter()
        .filter(|&(count, _)| count > 0)
        .map(|(count, sum)| Class {
            cosine: sum / count as f64,
            weight: count as f64 / num_pairs as f64,
        })
        .collect();
    Ok((classes, spread))
}

/// Probabilities for one number of bits.
struct Model<'a> {
    request: &'a PlanRequest<'a>,
    bits: usize,
    classes: &'a [Class],
    /// By class, then by probes less one.
    chances: Vec<Vec<f64>>,
    /// For the wanted similarity, by probes less one.
    wanted: Vec<f64>,
}

impl<'a> Model<'a> {
    fn new(request: &'a PlanRequest<'a>, classes: &'a [Class], bits: usize) -> Self {
        let cosines: Vec<f64> = classes.iter().map(|class| class.cosine).collect();
        let max_probes = PROBES[PROBES.len() - 1];
        let wanted = term_chances(bits, max_probes, &[request.similarity], NUM_DRAWS_WANTED);
        Self {
            request,
            bits,
            classes,
            chances: term_chances(bits, max_probes, &cosines, NUM_DRAWS),
            wanted: wanted.into_iter().flatten().collect(),
        }
    }

    /// Probability that a term leads to a vector at the wanted similarity.
    fn wanted(&self, probes: usize) -> f64 {
        self.wanted[probes - 1]
    }

    fn uncut_recall(&self, terms: usize, probes: usize) -> f64 {
        at_least(terms, self.wanted(probes), 1)
    }

    /// Expected number of images, other than copies, for which `of` a term's chance is summed up.
    fn expected(&self, probes: usize, of: impl Fn(f64) -> f64) -> f64 {
        let images = self.request.images as f64;
        let share: f64 = self
            .classes
            .iter()
            .zip(&self.chances)
            .map(|(class, chances)| class.weight * of(chances[probes - 1]))
            .sum();
        images * share.min(1.0)
    }

    fn setting(&self, terms: usize, probes: usize) -> Setting {
        let request = self.request;
        let costs = &request.costs;
        let with_terms =
            |least: usize| self.expected(probes, |chance| at_least(terms, chance, least));
        let candidates = with_terms(1);
        // A copy stays if fewer than the limit have more matching terms than it has.
        let limit = request.max_candidates as f64;
        let least_terms = (1..terms)
            .find(|&least| with_terms(least + 1) < limit)
            .unwrap_or(terms);
        let entries = self.expected(probes, |chance| chance) * terms as f64;
        let padded = padded_dim(request.dim);
        let rotations = (num_rotations(padded, terms, self.bits) + 1) as f64;
        let lookups = (terms * probes) as f64;
        let term_bytes = terms as f64 * list_bytes(request.images as f64, self.bits);
        let fixed_bytes = Codes::record_bytes(padded) + NUMBER_BYTES + 2 * request.dim;
        let images = request.images as f64;
        let to_lists = Costs::reach(images * term_bytes);
        let to_vectors = Costs::reach(images * fixed_bytes as f64);
        let query_ns = rotations * costs.rotation_ns
            + costs.code_ns
            + lookups * (costs.flip_ns + costs.bucket_ns * to_lists)
            + entries * costs.entry(entries)
            + with_terms(least_terms) * costs.estimate_ns * to_vectors
            + candidates.min(limit) * costs.exact_ns * to_vectors;
        let insert_ns =
            rotations * costs.rotation_ns + costs.code_ns + terms as f64 * costs.push_ns * to_lists;
        Setting {
            terms,
            bits: self.bits,
            probes,
            recall: at_least(terms, self.wanted(probes), least_terms),
            candidates,
            least_terms,
            entries,
            list_length: self.expected(1, |chance| chance),
            query_us: query_ns / 1e3,
            insert_us: insert_ns / 1e3,
            term_bytes,
            bytes_per_image: term_bytes + fixed_bytes as f64,
        }
    }
}

/// Bytes of a number's slot, with the spare room of a growing array.
const NUMBER_BYTES: usize = 12;

/// Bytes of posting lists for each image and term, if `images` fall evenly into 2ᵇ lists.
fn list_bytes(images: f64, bits: usize) -> f64 {
    let num_lists = 2f64.powi(bits as i32);
    let mean = images / num_lists;
    let used = -(-mean).exp_m1() * num_lists;
    // Tables double when they are 7/8 full.
    let table = (used * 8.0 / 7.0).max(4.0).log2().ceil().exp2() * LIST_BYTES as f64;
    let blocks = mean_block(mean) * num_lists * size_of::<u32>() as f64;
    (table + blocks) / images
}

/// Mean number of slots in the block of a list whose length has the Poisson distribution with this mean.
fn mean_block(mean: f64) -> f64 {
    const LONG: f64 = 64.0;
    if mean > LONG {
        // About normal. Blocks end at powers of two.
        let up_to = |len: f64| lower_tail((len + 0.5 - mean) / mean.sqrt());
        return (0..40)
            .map(|log| f64::from(log).exp2())
            .map(|size| size * (up_to(size) - up_to(size / 2.0)))
            .sum();
    }
    let mut probability = (-mean).exp();
    let mut slots = 0.0;
    for len in 1..256u32 {
        probability *= mean / f64::from(len);
        // A list of one slot has no block.
        if len > 1 {
            slots += probability * f64::from(len.next_power_of_two());
        }
    }
    slots
}
