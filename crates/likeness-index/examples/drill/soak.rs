//! A random history against a plain map.

use std::collections::BTreeMap;
use std::error::Error;

use likeness_index::{
    CellsParams, HyperplanesParams, MemoryVectors, Neighbor, TermIndex, TermScheme, TermSearch,
    bf16,
};

use crate::mixture::{Mixture, Random};
use crate::rows::Rows;
use crate::{Outcome, TOP_K};

const DIM: usize = 32;

/// Terms, and what a search looks into: vectors of 32 dimensions with little structure want much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    scheme: TermScheme,
    name: &'static str,
    search: TermSearch,
}

/// Cells: some 300 of them, of which 64 are looked into.
pub(crate) fn cells() -> Terms {
    Terms {
        scheme: TermScheme::Cells(CellsParams {
            max_list: 64,
            ..CellsParams::new(DIM)
        }),
        name: "cells",
        search: search(64, 3.0),
    }
}

/// 32 terms of 256 lists each, of which 8 are looked into.
pub(crate) fn hyperplanes() -> Terms {
    Terms {
        scheme: TermScheme::Hyperplanes(HyperplanesParams::new(DIM, 32, 8)),
        name: "hyperplanes",
        search: search(8, 3.0),
    }
}

fn search(probes: usize, epsilon: f32) -> TermSearch {
    TermSearch {
        probes,
        epsilon,
        max_candidates: usize::MAX,
    }
}

pub(crate) fn soak(terms: Terms, operations: u64, seed: u64) -> Outcome {
    const NUMBERS: u64 = 20_000;
    const COMMIT_EVERY: u64 = 200;
    const REFINE_EVERY: u64 = 30;
    const SOAK_RECALL: f64 = 0.95;
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let mixture = Mixture::new(&mut random, 200, DIM);
    let stored = |seed: u64| {
        let mut random = Random::new(seed);
        bf16::encode(&mixture.draw(&mut random))
    };
    let mut index = TermIndex::new(terms.scheme);
    index.track_changes();
    let mut rows = Rows::default();
    rows.apply(index.changes());
    let (mut plain, mut committed) = (BTreeMap::new(), BTreeMap::new());
    let mut counts = [0u64; 7];
    let mut recalls = Vec::new();
    for operation in 1..=operations {
        let number = random.below(NUMBERS) * 7;
        match random.below(1_000) {
            0..550 => {
                let seed = random.next();
                let is_new = !plain.contains_key(&number);
                if index.insert(number, &stored(seed)).is_ok() != is_new {
                    return Err(format!("operation {operation}: insert {number}").into());
                }
                plain.entry(number).or_insert(seed);
                counts[0] += 1;
            }
            550..850 => {
                if index.remove(number) != plain.remove(&number).is_some() {
                    return Err(format!("operation {operation}: remove {number}").into());
                }
                counts[1] += 1;
            }
            850..999 => {
                let seed = random.next();
                index.update(number, &stored(seed))?;
                plain.insert(number, seed);
                counts[2] += 1;
            }
            _ => {
                // What was not committed is gone; vectors are written again from what was.
                let mut vectors = index.into_vectors();
                index = rows.load(
                    terms.scheme,
                    std::mem::replace(&mut vectors, MemoryVectors::new(DIM)),
                )?;
                plain.clone_from(&committed);
                for (&number, &seed) in &plain {
                    index.restore_vector(number, &stored(seed))?;
                }
                counts[3] += 1;
            }
        }
        if operation % REFINE_EVERY == 0
            && let Some(refinement) = index.next_refinement()
        {
            index.apply_refinement(refinement);
            counts[6] += 1;
        }
        if operation % COMMIT_EVERY == 0 {
            rows.apply(index.changes());
            committed.clone_from(&plain);
            counts[4] += 1;
        }
        if operation % (operations / 20).max(1) == 0 {
            check(&index, &plain, &stored)?;
            let queries: Vec<_> = (0..100).map(|_| mixture.draw(&mut random)).collect();
            let recall = recall(&index, &queries, terms.search)?;
            recalls.push(recall);
            counts[5] += 1;
            eprintln!(
                "{operation} operations, {} vectors, recall@10 {recall:.4}",
                index.len()
            );
        }
    }
    let splits = match &index {
        TermIndex::Cells(index) => index.stats().splits,
        TermIndex::Hyperplanes(_) => 0,
    };
    let worst = recalls.iter().copied().fold(1.0, f64::min);
    println!(
        "{{\"drill\":\"soak\",\"scheme\":\"{}\",\"seed\":{seed},\"operations\":{operations},\"inserts\":{},\"removes\":{},\"updates\":{},\"crashes\":{},\"commits\":{},\"checks\":{},\"refined\":{},\"vectors\":{},\"splits\":{splits},\"worst_recall_at_10\":{worst:.4}}}",
        terms.name,
        counts[0],
        counts[1],
        counts[2],
        counts[3],
        counts[4],
        counts[5],
        counts[6],
        index.len(),
    );
    if worst < SOAK_RECALL {
        return Err(format!("recall@10 {worst} is below {SOAK_RECALL}").into());
    }
    Ok(())
}

/// Every number once, with its vector, and none besides.
fn check(
    index: &TermIndex,
    plain: &BTreeMap<u64, u64>,
    stored: &impl Fn(u64) -> Vec<u16>,
) -> Outcome {
    let held: BTreeMap<u64, &[u16]> = index.iter().collect();
    if held.len() != index.len() || held.len() != plain.len() {
        return Err(format!("{} numbers, {} in the map", held.len(), plain.len()).into());
    }
    for (number, &seed) in plain {
        if held.get(number) != Some(&&stored(seed)[..]) {
            return Err(format!("number {number} is lost or has another vector").into());
        }
    }
    // Every vector is in a list, found by a query for itself that looks everywhere.
    for (number, vector) in index.iter().step_by(997) {
        let all = search(usize::MAX / 4, 8.0);
        let answer = index.search(&bf16::decode(vector), 1, all, None)?;
        if answer.first().map_or(0.0, |best| best.similarity) < 0.999 {
            return Err(format!("number {number} is not found").into());
        }
    }
    Ok(())
}

/// Recall@10 against the exact answer.
fn recall(
    index: &TermIndex,
    queries: &[Vec<f32>],
    search: TermSearch,
) -> Result<f64, Box<dyn Error>> {
    let (mut found, mut wanted) = (0, 0);
    for query in queries {
        let (exact, _) = index.search_exact_part(query, TOP_K, None, 0, usize::MAX)?;
        let Some(worst) = exact.last() else { continue };
        let is_best = |neighbor: &&Neighbor| neighbor.similarity >= worst.similarity;
        let answer = index.search(query, TOP_K, search, None)?;
        found += answer.iter().filter(is_best).count().min(exact.len());
        wanted += exact.len();
    }
    Ok(found as f64 / wanted.max(1) as f64)
}
