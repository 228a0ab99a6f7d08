//! What a plan of hyperplanes expects, and what comes of it.

use std::hint::black_box;
use std::time::Instant;

use likeness_index::{Costs, Hyperplanes, HyperplanesParams, PlanRequest, bf16, plan as make_plan};

use crate::Outcome;
use crate::mixture::{Mixture, Random, normalised};

const RECALL: f64 = 0.99;
const SIMILARITY: f64 = 0.7;
/// Vectors of the sample that the plan rests on.
const NUM_SAMPLE: usize = 4_000;
const NUM_QUERIES: usize = 1_000;
/// Queries before those that are timed.
const NUM_WARM: usize = 100;
/// The last insertions are timed: what they cost grows with the index.
const TIMED_SHARE: u64 = 20;

/// How far the recall may be below the plan's, and times from it, either way.
const TOLERANCE: f64 = 0.01;
const TIMES: f64 = 2.0;

pub(crate) fn plan(num_vectors: u64, dim: usize, seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let mixture = Mixture::new(&mut random, (num_vectors / 100).max(1) as usize, dim);
    let sample: Vec<f32> = (0..NUM_SAMPLE)
        .flat_map(|_| mixture.draw(&mut random))
        .collect();
    let start = Instant::now();
    let request = PlanRequest {
        similarity: SIMILARITY,
        sample: Some(&sample),
        costs: Costs::measure(dim, &|| start.elapsed()),
        ..PlanRequest::new(num_vectors, RECALL, dim)
    };
    let chosen = make_plan(&request)?.chosen;
    eprintln!(
        "{} terms of {} bits, {} probes; {:?}",
        chosen.terms, chosen.bits, chosen.probes, request.costs
    );
    let params = HyperplanesParams {
        max_list: request.max_list,
        ..HyperplanesParams::new(dim, chosen.terms, chosen.bits)
    };
    let mut index = Hyperplanes::new(params);
    let timed = num_vectors / TIMED_SHARE;
    let mut inserting = 0.0;
    for number in 0..num_vectors {
        let vector = bf16::encode(&mixture.draw(&mut random));
        let started = Instant::now();
        index.insert(number, &vector)?;
        if number >= num_vectors - timed {
            inserting += started.elapsed().as_secs_f64();
        }
        if (number + 1) % (num_vectors / 10).max(1) == 0 {
            eprintln!("{} vectors", number + 1);
        }
    }
    // Copies of members, at the cosine that the recall is wanted for.
    let copies: Vec<(u64, Vec<f32>)> = (0..NUM_QUERIES + NUM_WARM)
        .map(|_| {
            let number = random.below(num_vectors);
            let vector = bf16::decode(index.vector(number).expect("it was inserted"));
            (number, copy(&mut random, &normalised(vector)))
        })
        .collect();
    let (mut found, mut num_candidates, mut querying) = (0, 0, 0.0);
    for (idx, (number, query)) in copies.iter().enumerate() {
        let started = Instant::now();
        let candidates = index.candidates(query, request.max_candidates, chosen.probes, None)?;
        let elapsed = started.elapsed().as_secs_f64();
        if idx < NUM_WARM {
            black_box(candidates);
            continue;
        }
        querying += elapsed;
        num_candidates += candidates.len();
        found += usize::from(candidates.iter().any(|one| one.number == *number));
    }
    let recall = found as f64 / NUM_QUERIES as f64;
    let query_us = querying / NUM_QUERIES as f64 * 1e6;
    let insert_us = inserting / timed.max(1) as f64 * 1e6;
    let stats = index.stats();
    let term_bytes = stats.list_bytes as f64 / num_vectors as f64;
    println!(
        "{{\"drill\":\"plan\",\"seed\":{seed},\"vectors\":{num_vectors},\"dim\":{dim},\"similarity\":{SIMILARITY},\"terms\":{},\"bits\":{},\"probes\":{},\"recall\":{{\"planned\":{:.4},\"measured\":{recall:.4}}},\"query_us\":{{\"planned\":{:.0},\"measured\":{query_us:.0}}},\"insert_us\":{{\"planned\":{:.1},\"measured\":{insert_us:.1}}},\"candidates\":{{\"planned\":{:.0},\"measured\":{:.0}}},\"entries_planned\":{:.0},\"term_bytes\":{{\"planned\":{:.1},\"measured\":{term_bytes:.1}}}}}",
        chosen.terms,
        chosen.bits,
        chosen.probes,
        chosen.recall,
        chosen.query_us,
        chosen.insert_us,
        chosen.candidates.min(request.max_candidates as f64),
        num_candidates as f64 / NUM_QUERIES as f64,
        chosen.entries,
        chosen.term_bytes,
    );
    if recall < chosen.recall - TOLERANCE {
        return Err(format!("recall {recall:.4}, planned {:.4}", chosen.recall).into());
    }
    for (what, planned, measured) in [
        ("query", chosen.query_us, query_us),
        ("insertion", chosen.insert_us, insert_us),
    ] {
        let ratio = measured / planned;
        if !(1.0 / TIMES..=TIMES).contains(&ratio) {
            return Err(format!("a {what} takes {ratio:.2} of what was planned").into());
        }
    }
    Ok(())
}

/// A vector at the wanted cosine to a unit vector.
fn copy(random: &mut Random, vector: &[f32]) -> Vec<f32> {
    let noise = random.unit(vector.len());
    let along: f32 = noise.iter().zip(vector).map(|(a, b)| a * b).sum();
    let across = normalised(
        noise
            .iter()
            .zip(vector)
            .map(|(noise, component)| noise - along * component)
            .collect(),
    );
    let (cosine, sine) = (
        SIMILARITY as f32,
        (1.0 - SIMILARITY * SIMILARITY).sqrt() as f32,
    );
    vector
        .iter()
        .zip(across)
        .map(|(component, across)| cosine * component + sine * across)
        .collect()
}
