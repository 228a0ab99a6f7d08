//! Cluster by cluster, half removed, others inserted: against an index built at once.

use std::error::Error;
use std::time::Instant;

use likeness_index::{Cells, CellsParams, SearchParams, bf16};

use crate::mixture::{Mixture, Random, measure};
use crate::{Outcome, TOP_K};

/// Recall@10 at which speeds are compared.
const WANTED: f64 = 0.98;

pub(crate) fn drift(num_vectors: usize, dim: usize, seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let mixture = Mixture::new(&mut random, num_vectors / 100, dim);
    let draw_sorted = |random: &mut Random, count: usize| {
        let mut clusters: Vec<usize> = (0..count).map(|_| mixture.pick(random)).collect();
        clusters.sort_unstable();
        clusters
            .into_iter()
            .map(|cluster| bf16::encode(&mixture.member(random, cluster)))
            .collect::<Vec<_>>()
    };
    let half = num_vectors / 2;
    let first = draw_sorted(&mut random, num_vectors);
    let second = draw_sorted(&mut random, half);
    let mut drifted = Cells::new(CellsParams::new(dim));
    for (number, vector) in first.iter().enumerate() {
        drifted.insert(number as u64, vector)?;
    }
    eprintln!("inserted {num_vectors} cluster by cluster");
    for number in (0..num_vectors).step_by(2) {
        drifted.remove(number as u64);
    }
    let _ = drifted.changes();
    for (number, vector) in second.iter().enumerate() {
        drifted.insert((num_vectors + number) as u64, vector)?;
    }
    eprintln!("removed half, inserted {half} others");
    let mut fresh = Cells::new(CellsParams::new(dim));
    let mut order: Vec<(u64, Vec<u16>)> = drifted
        .iter()
        .map(|(number, vector)| (number, vector.to_vec()))
        .collect();
    for idx in (1..order.len()).rev() {
        order.swap(idx, random.below(idx as u64 + 1) as usize);
    }
    for (number, vector) in &order {
        fresh.insert(*number, vector)?;
    }
    let queries: Vec<_> = (0..500).map(|_| mixture.draw(&mut random)).collect();
    // Equal probes tell whether recall was lost; the fewest probes for equal recall, whether speed was.
    let mut lost = 0f64;
    let mut fewest = [None, None];
    for probes in [4, 8, 12, 16, 24, 32, 48, 64, 96, 128] {
        let params = at(probes);
        let recalls = [
            measure(&drifted, &queries, &params)?.0,
            measure(&fresh, &queries, &params)?.0,
        ];
        eprintln!(
            "{probes} probes: recall@10 {:.4}, fresh {:.4}",
            recalls[0], recalls[1]
        );
        lost = lost.max(recalls[1] - recalls[0]);
        for (fewest, recall) in fewest.iter_mut().zip(recalls) {
            if fewest.is_none() && recall >= WANTED {
                *fewest = Some((probes, recall));
            }
        }
    }
    let [Some(drifted_at), Some(fresh_at)] = fewest else {
        return Err(format!("no number of probes reached recall {WANTED}").into());
    };
    // In turns, so that both meet the same noise.
    let mut ratios = Vec::new();
    for _ in 0..7 {
        let (_, drifted_speed) = measure_speed(&drifted, &queries, &at(drifted_at.0))?;
        let (_, fresh_speed) = measure_speed(&fresh, &queries, &at(fresh_at.0))?;
        ratios.push(drifted_speed / fresh_speed);
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    let (drifted, fresh) = (drifted.stats(), fresh.stats());
    println!(
        "{{\"drill\":\"drift\",\"seed\":{seed},\"vectors\":{num_vectors},\"dim\":{dim},\"recall_lost_at_equal_probes\":{lost:.4},\"wanted_recall_at_10\":{WANTED},\"probes\":{},\"fresh_probes\":{},\"recall_at_10\":{:.4},\"fresh_recall_at_10\":{:.4},\"speed_ratio\":{ratio:.3},\"cells\":{},\"fresh_cells\":{},\"imbalance\":{:.3},\"fresh_imbalance\":{:.3}}}",
        drifted_at.0,
        fresh_at.0,
        drifted_at.1,
        fresh_at.1,
        drifted.num_cells,
        fresh.num_cells,
        drifted.imbalance,
        fresh.imbalance
    );
    if lost > 0.02 {
        return Err(format!("{lost:.4} of recall lost, more than 0.02").into());
    }
    Ok(())
}

fn at(probes: usize) -> SearchParams {
    SearchParams {
        probes,
        epsilon: 3.0,
        ..SearchParams::default()
    }
}

fn measure_speed(
    index: &Cells,
    queries: &[Vec<f32>],
    params: &SearchParams,
) -> Result<(usize, f64), Box<dyn Error>> {
    let started = Instant::now();
    let mut found = 0;
    for query in queries {
        found += index.search(query, TOP_K, params, None)?.neighbors.len();
    }
    Ok((
        found,
        queries.len() as f64 / started.elapsed().as_secs_f64(),
    ))
}
