//! Long runs of the index, each with a figure at its end: the last line is one JSON object.
//!
//! ```text
//! cargo run --release -p likeness-index --example drill -- soak  --operations 1000000 --seed 1
//! cargo run --release -p likeness-index --example drill -- drift --vectors 200000 --dim 256
//! cargo run --release -p likeness-index --example drill -- large --vectors 10000000 --dim 256
//! ```
//!
//! - `soak`: a random history of insertions, removals, updates, commits, crashes and reopenings, checked
//!   against a plain map. Fails if a number is lost, doubled or wrong, or if recall@10 with 64 probes is below 0.95.
//! - `drift`: inserts cluster by cluster, removes half, inserts other vectors, and compares recall and
//!   speed with an index built of the same vectors in random order.
//! - `large`: builds, writes rows, opens from them and searches a large index within memory.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command: figures to stdout, progress to stderr"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use likeness_index::{
    Cells, CellsLoader, CellsParams, MemoryVectors, RowChange, RowKey, SearchParams, bf16,
};

type Outcome = Result<(), Box<dyn Error>>;

const TOP_K: usize = 10;
/// Recall@10 at which speeds are compared.
const WANTED: f64 = 0.98;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str, default: u64| -> Result<u64, Box<dyn Error>> {
        match arguments.iter().position(|argument| argument == name) {
            Some(idx) => Ok(arguments
                .get(idx + 1)
                .ok_or(format!("{name} needs a number"))?
                .parse()?),
            None => Ok(default),
        }
    };
    let seed = value("--seed", 1)?;
    match arguments.first().map(String::as_str) {
        Some("soak") => soak(value("--operations", 1_000_000)?, seed),
        Some("drift") => drift(
            value("--vectors", 200_000)? as usize,
            value("--dim", 256)? as usize,
            seed,
        ),
        Some("large") => large(
            value("--vectors", 10_000_000)?,
            value("--dim", 256)? as usize,
            seed,
        ),
        _ => Err(
            "usage: drill soak|drift|large [--operations N] [--vectors N] [--dim D] [--seed S]"
                .into(),
        ),
    }
}

/// Marsaglia's xorshift, with sums of uniforms for a bell curve: seeded and without a dependency.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    fn bell(&mut self) -> f32 {
        let uniform = |bits: u64| bits as f32 / (1u64 << 16) as f32;
        let bits = self.next();
        (0..4)
            .map(|idx| uniform(bits >> (16 * idx) & 0xffff))
            .sum::<f32>()
            - 2.0
    }

    fn unit(&mut self, dim: usize) -> Vec<f32> {
        normalised((0..dim).map(|_| self.bell()).collect())
    }
}

fn normalised(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= norm);
    vector
}

/// Clusters of unequal size; members have a cosine of about 0.7 to their centre.
struct Mixture {
    centres: Vec<Vec<f32>>,
    dim: usize,
}

impl Mixture {
    fn new(random: &mut Random, num_centres: usize, dim: usize) -> Self {
        Self {
            centres: (0..num_centres).map(|_| random.unit(dim)).collect(),
            dim,
        }
    }

    /// A cluster, the first ones much more often than the last.
    fn pick(&self, random: &mut Random) -> usize {
        let uniform = random.below(1 << 20) as f64 / (1u64 << 20) as f64;
        (uniform * uniform * self.centres.len() as f64) as usize
    }

    fn member(&self, random: &mut Random, cluster: usize) -> Vec<f32> {
        let noise = random.unit(self.dim);
        normalised(
            self.centres[cluster]
                .iter()
                .zip(&noise)
                .map(|(centre, noise)| centre + noise)
                .collect(),
        )
    }

    fn draw(&self, random: &mut Random) -> Vec<f32> {
        let cluster = self.pick(random);
        self.member(random, cluster)
    }
}

/// Recall@10 against the exact answer, and queries in a second.
fn measure(
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

/// Rows as a store would keep them.
#[derive(Default)]
struct Rows(BTreeMap<RowKey, Vec<u8>>);

impl Rows {
    fn apply(&mut self, changes: Vec<RowChange>) {
        for change in changes {
            match change.value {
                Some(value) => self.0.insert(change.key, value),
                None => self.0.remove(&change.key),
            };
        }
    }

    fn load(&self, params: CellsParams, vectors: MemoryVectors) -> Result<Cells, Box<dyn Error>> {
        let mut loader = CellsLoader::new(params, vectors, &self.0[&RowKey::Head])
            .map_err(|(_, error)| error)?;
        for (key, value) in &self.0 {
            match *key {
                RowKey::Head => {}
                RowKey::Page(page) => loader.page(page, value)?,
                RowKey::Cell(cell) => loader.cell(cell, value)?,
                RowKey::Posting(cell, number) => loader.posting(cell, number, value)?,
            }
        }
        loader.check()?;
        Ok(loader.finish())
    }
}

fn soak(operations: u64, seed: u64) -> Outcome {
    const DIM: usize = 32;
    const NUMBERS: u64 = 20_000;
    const COMMIT_EVERY: u64 = 200;
    /// Of some 300 cells; vectors of 32 dimensions with little structure want many.
    const SOAK_PROBES: usize = 64;
    const SOAK_RECALL: f64 = 0.95;
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    let mixture = Mixture::new(&mut random, 200, DIM);
    let params = CellsParams {
        max_list: 64,
        ..CellsParams::new(DIM)
    };
    let stored = |seed: u64| {
        let mut random = Random::new(seed);
        bf16::encode(&mixture.draw(&mut random))
    };
    let mut index = Cells::new(params);
    index.track_changes();
    let mut rows = Rows::default();
    rows.apply(index.changes());
    let (mut plain, mut committed) = (BTreeMap::new(), BTreeMap::new());
    let mut counts = [0u64; 6];
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
                    params,
                    std::mem::replace(&mut vectors, MemoryVectors::new(DIM)),
                )?;
                plain.clone_from(&committed);
                for (&number, &seed) in &plain {
                    index.restore_vector(number, &stored(seed))?;
                }
                counts[3] += 1;
            }
        }
        if operation % COMMIT_EVERY == 0 {
            rows.apply(index.changes());
            committed.clone_from(&plain);
            counts[4] += 1;
        }
        if operation % (operations / 20).max(1) == 0 {
            check(&index, &plain, &stored)?;
            let queries: Vec<_> = (0..100).map(|_| mixture.draw(&mut random)).collect();
            let params = SearchParams {
                probes: SOAK_PROBES,
                epsilon: 3.0,
                ..SearchParams::default()
            };
            let (recall, _) = measure(&index, &queries, &params)?;
            recalls.push(recall);
            counts[5] += 1;
            eprintln!(
                "{operation} operations, {} vectors, recall@10 {recall:.4}",
                index.len()
            );
        }
    }
    let worst = recalls.iter().copied().fold(1.0, f64::min);
    println!(
        "{{\"drill\":\"soak\",\"seed\":{seed},\"operations\":{operations},\"inserts\":{},\"removes\":{},\"updates\":{},\"crashes\":{},\"commits\":{},\"checks\":{},\"vectors\":{},\"splits\":{},\"worst_recall_at_10\":{worst:.4}}}",
        counts[0],
        counts[1],
        counts[2],
        counts[3],
        counts[4],
        counts[5],
        index.len(),
        index.stats().splits
    );
    if worst < SOAK_RECALL {
        return Err(format!("recall@10 {worst} is below {SOAK_RECALL}").into());
    }
    Ok(())
}

/// Every number once, with its vector, and none besides.
fn check(index: &Cells, plain: &BTreeMap<u64, u64>, stored: &impl Fn(u64) -> Vec<u16>) -> Outcome {
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
        let all = SearchParams {
            probes: usize::MAX / 4,
            epsilon: 8.0,
            ..SearchParams::default()
        };
        let answer = index.search(&bf16::decode(vector), 1, &all, None)?;
        if answer.neighbors.first().map_or(0.0, |best| best.similarity) < 0.999 {
            return Err(format!("number {number} is not found").into());
        }
    }
    Ok(())
}

fn drift(num_vectors: usize, dim: usize, seed: u64) -> Outcome {
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

fn large(num_vectors: u64, dim: usize, seed: u64) -> Outcome {
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
    let stats = index.stats();
    let queries: Vec<_> = (0..100).map(|_| mixture.draw(&mut random)).collect();
    let mut points = Vec::new();
    for probes in [32, 128, 512] {
        let search = SearchParams {
            probes,
            epsilon: 2.5,
            ..SearchParams::default()
        };
        let (recall, per_second) = measure(&index, &queries, &search)?;
        eprintln!("{probes} probes: recall@10 {recall:.4}, {per_second:.0} queries/s");
        points.push(format!("{{\"probes\":{probes},\"recall_at_10\":{recall:.4},\"queries_per_second\":{per_second:.0}}}"));
    }
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
    let index = rows.load(params, vectors)?;
    let opening = started.elapsed().as_secs_f64();
    if index.search(&queries[0], TOP_K, &SearchParams::default(), None)? != before {
        return Err("the index that was opened answers otherwise".into());
    }
    let overhead = stats.list_bytes + stats.router_bytes + stats.directory_bytes;
    println!(
        "{{\"drill\":\"large\",\"seed\":{seed},\"vectors\":{num_vectors},\"dim\":{dim},\"inserts_per_second\":{:.0},\"points\":[{}],\"cells\":{},\"bytes_per_vector\":{:.1},\"list_bytes_per_vector\":{:.1},\"exact_vector_bytes\":{},\"row_bytes\":{row_bytes},\"load_seconds\":{opening:.2}}}",
        num_vectors as f64 / inserting,
        points.join(","),
        stats.num_cells,
        overhead as f64 / num_vectors as f64,
        stats.list_bytes as f64 / num_vectors as f64,
        stats.vector_bytes,
    );
    Ok(())
}
