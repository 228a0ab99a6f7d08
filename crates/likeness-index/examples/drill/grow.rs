//! An index that grows as the pipeline lets it grow, without refinement and with it: what refinement finds, what a
//! reader waits for, and what is written.

use std::time::Instant;

use likeness_index::{Cells, CellsParams, SearchParams, bf16};

use crate::mixture::{Mixture, Random, measure};
use crate::{Outcome, TOP_K};

/// Insertions after which cells are refined and rows written.
const BLOCK: u64 = 64;
const NUM_QUERIES: usize = 500;

pub(crate) fn grow(num_vectors: u64, dim: usize, seed: u64) -> Outcome {
    let grown = [
        grown(num_vectors, dim, seed, false)?,
        grown(num_vectors, dim, seed, true)?,
    ];
    println!(
        "{{\"drill\":\"grow\",\"seed\":{seed},\"vectors\":{num_vectors},\"dim\":{dim},\"unrefined\":{},\"refined\":{}}}",
        grown[0], grown[1]
    );
    Ok(())
}

fn grown(
    num_vectors: u64,
    dim: usize,
    seed: u64,
    is_refined: bool,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut random = Random::new(seed);
    let mixture = Mixture::new(&mut random, (num_vectors / 100).max(1) as usize, dim);
    let mut index = Cells::new(CellsParams::new(dim));
    index.track_changes();
    let (mut inserts, mut searches, mut applies) = (Vec::new(), Vec::new(), Vec::new());
    let (mut num_rows, mut num_bytes) = (0, 0);
    for number in 0..num_vectors {
        let vector = bf16::encode(&mixture.draw(&mut random));
        let started = Instant::now();
        index.insert(number, &vector)?;
        inserts.push(started.elapsed().as_secs_f64());
        if !(number + 1).is_multiple_of(BLOCK) {
            continue;
        }
        let due = index.refinements_due(number + 1 - BLOCK..number + 1);
        for _ in 0..if is_refined { due } else { 0 } {
            let started = Instant::now();
            let Some(refinement) = index.next_refinement() else {
                break;
            };
            searches.push(started.elapsed().as_secs_f64());
            let started = Instant::now();
            index.apply_refinement(refinement);
            applies.push(started.elapsed().as_secs_f64());
        }
        for change in index.changes() {
            num_rows += 1;
            num_bytes += change.value.map_or(0, |value| value.len());
        }
    }
    let queries: Vec<_> = (0..NUM_QUERIES)
        .map(|_| mixture.draw(&mut random))
        .collect();
    let mut points = Vec::new();
    for probes in [16, 64, 256] {
        let params = SearchParams {
            probes,
            epsilon: 2.5,
            ..SearchParams::default()
        };
        let (recall, per_second) = measure(&index, &queries, &params)?;
        points.push(format!(
            "{{\"probes\":{probes},\"recall_at_{TOP_K}\":{recall:.4},\"queries_per_second\":{per_second:.0}}}"
        ));
    }
    let stats = index.stats();
    let per_image = |total: f64| total / num_vectors as f64;
    let seconds = inserts.iter().chain(&searches).chain(&applies).sum::<f64>();
    let text = format!(
        "{{\"micros_per_image\":{:.1},\"insert_micros\":{},\"refinement_found_micros\":{},\"refinement_done_micros\":{},\"rows_per_image\":{:.2},\"row_bytes_per_image\":{:.0},\"cells\":{},\"list_lengths\":{:?},\"moved\":{},\"dissolved\":{},\"points\":[{}]}}",
        per_image(seconds * 1e6),
        spread(&mut inserts),
        spread(&mut searches),
        spread(&mut applies),
        per_image(f64::from(num_rows)),
        per_image(num_bytes as f64),
        stats.num_cells,
        stats.list_lengths,
        stats.moved,
        stats.dissolved,
        points.join(","),
    );
    eprintln!("{text}");
    Ok(text)
}

/// Median, 99th and 99.99th percentile and largest of some times, in microseconds, as JSON.
fn spread(seconds: &mut [f64]) -> String {
    seconds.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        let last = seconds.len().saturating_sub(1) as f64;
        let seconds = seconds.get((last * share) as usize).copied();
        seconds.unwrap_or(0.0) * 1e6
    };
    format!(
        "[{:.0},{:.0},{:.0},{:.0}]",
        at(0.5),
        at(0.99),
        at(0.9999),
        at(1.0)
    )
}
