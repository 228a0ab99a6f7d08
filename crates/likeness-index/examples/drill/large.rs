//! A large index: built, its rows written, opened from them, searched.

use std::error::Error;
use std::time::Instant;

use likeness_index::{Cells, CellsParams, SearchParams, TermIndex, TermScheme, bf16};

use crate::mixture::{Mixture, Random, measure};
use crate::rows::Rows;
use crate::{Outcome, TOP_K};

/// Cells between two words on how far refining is.
const REFINED_AT_ONCE: usize = 1_000;

pub(crate) fn large(num_vectors: u64, dim: usize, rounds: u64, seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let mixture = Mixture::new(&mut random, (num_vectors / 100).max(1) as usize, dim);
    let params = CellsParams::new(dim);
    let mut index = Cells::new(params);
    let mut inserting = 0.0;
    for number in 0..num_vectors {
        let vector = bf16::encode(&mixture.draw(&mut random));
        let started = Instant::now();
        index.insert(number, &vector)?;
        inserting += started.elapsed().as_secs_f64();
        if (number + 1) % (num_vectors / 20).max(1) == 0 {
            eprintln!(
                "{} vectors, {:.0} inserts/s",
                number + 1,
                (number + 1) as f64 / inserting
            );
        }
    }
    let queries: Vec<_> = (0..100).map(|_| mixture.draw(&mut random)).collect();
    let mut points = searched(&index, &queries, 0)?;
    let started = Instant::now();
    for round in 1..=rounds {
        let mut left = index.num_cells();
        let mut num_moved = 0;
        while left > 0 {
            let count = left.min(REFINED_AT_ONCE);
            num_moved += index.refine(count);
            left -= count;
        }
        let elapsed = started.elapsed().as_secs_f64();
        eprintln!("round {round}: {num_moved} vectors moved, {elapsed:.0} s in all");
    }
    let refining = started.elapsed().as_secs_f64();
    if rounds > 0 {
        points.extend(searched(&index, &queries, rounds)?);
    }
    let stats = index.stats();
    // Rows one by one, as a store would hand them over; the time of the store itself is not in it.
    index.track_changes();
    let changes = index.changes();
    let row_bytes: usize = changes
        .iter()
        .filter_map(|change| change.value.as_ref())
        .map(Vec::len)
        .sum();
    let mut rows = Rows::default();
    rows.apply(changes);
    let before = index.search(&queries[0], TOP_K, &SearchParams::default(), None)?;
    let vectors = index.into_vectors();
    let started = Instant::now();
    let index = rows.load(TermScheme::Cells(params), vectors)?;
    let opening = started.elapsed().as_secs_f64();
    let TermIndex::Cells(index) = index else {
        return Err("rows of cells became another index".into());
    };
    if index.search(&queries[0], TOP_K, &SearchParams::default(), None)? != before {
        return Err("the index that was opened answers otherwise".into());
    }
    let overhead = stats.list_bytes + stats.router_bytes + stats.directory_bytes;
    println!(
        "{{\"drill\":\"large\",\"seed\":{seed},\"vectors\":{num_vectors},\"dim\":{dim},\"inserts_per_second\":{:.0},\"rounds\":{rounds},\"refine_seconds\":{refining:.1},\"points\":[{}],\"cells\":{},\"bytes_per_vector\":{:.1},\"list_bytes_per_vector\":{:.1},\"exact_vector_bytes\":{},\"row_bytes\":{row_bytes},\"load_seconds\":{opening:.2}}}",
        num_vectors as f64 / inserting,
        points.join(","),
        stats.num_cells,
        overhead as f64 / num_vectors as f64,
        stats.list_bytes as f64 / num_vectors as f64,
        stats.vector_bytes,
    );
    Ok(())
}

/// Recall and speed at several numbers of probes, as JSON.
fn searched(
    index: &Cells,
    queries: &[Vec<f32>],
    rounds: u64,
) -> Result<Vec<String>, Box<dyn Error>> {
    let mut points = Vec::new();
    for probes in [32, 128, 512, 2_048] {
        let search = SearchParams {
            probes,
            epsilon: 2.5,
            ..SearchParams::default()
        };
        let (recall, per_second) = measure(index, queries, &search)?;
        eprintln!("{probes} probes: recall@10 {recall:.4}, {per_second:.0} queries/s");
        points.push(format!("{{\"rounds\":{rounds},\"probes\":{probes},\"recall_at_10\":{recall:.4},\"queries_per_second\":{per_second:.0}}}"));
    }
    Ok(points)
}
