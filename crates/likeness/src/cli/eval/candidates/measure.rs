//! Indexes are filled and asked, one after the other, on one thread.

use std::time::Instant;

use anyhow::Context as _;
use likeness_engine::dedup::INDEX_BLOCK;
use likeness_engine::eval::{
    CandidatesReport, CosineSummary, Distractors, SchemeReport, Strangers, Tally, Target,
};
use likeness_index::{Cells, CellsParams, ExactIndex, ExactParams, IndexError, SearchParams, bf16};
use likeness_vision::edits::EditList;
use tokio_util::sync::CancellationToken;

use super::collection::Collection;
use super::schemes::{CellsByEstimate, CellsWithin, PlannedPlanes, Scheme};
use super::{CandidatesArgs, Embedded, HELD_OUT, SchemeName};
use crate::error::Refusal;
use crate::output::{count, note};
use crate::progress::Progress;

/// Distractors that each query is compared with to see how alike they are to real strangers.
const COMPARED_DISTRACTORS: usize = 1_000;

/// Insertions timed at once.
const CHUNK: usize = 1_024;

/// Rotation of the scan of all codes.
const ROTATION_SEED: u64 = 1;

/// What the configuration says of it.
pub(super) struct Asked {
    pub(super) scorer: String,
    /// Cosine under which the scorer cannot join a pair.
    pub(super) floor: f32,
    /// How the pipeline searches cells.
    pub(super) cells: SearchParams,
}

/// Fills each index with the photos, their copies and the distractors, and asks it for every copy.
///
/// # Errors
/// If there are too few pictures to model distractors on, there is no plan, or the user stops it.
pub(super) fn measure(
    args: &CandidatesArgs,
    asked: &Asked,
    embedded: Embedded,
    stop: &CancellationToken,
) -> anyhow::Result<CandidatesReport> {
    let k = args.candidates as usize;
    let distractors = (args.distractors > 0)
        .then(|| Distractors::fit(&embedded.background, args.seed).ok_or_else(too_few))
        .transpose()?;
    let collection = Collection::new(
        &embedded.variants,
        &embedded.vectors,
        distractors.as_ref(),
        args.distractors,
        args.seed,
    );
    // Before the long part: there may be no plan.
    let planes = (args.scheme.includes(SchemeName::Hyperplanes))
        .then(|| PlannedPlanes::new(&collection, k + 1, args.plan_recall, args.plan_similarity))
        .transpose()?;
    let mut exact = ExactIndex::new(ExactParams {
        dim: collection.dim(),
        rotation_seed: ROTATION_SEED,
        // The query is in the index, and no candidate of itself.
        rerank: k + 1,
    });
    note(format_args!(
        "{} vectors, {} queries",
        count(collection.len() as u64),
        count(collection.queries().len() as u64)
    ));
    let micros_per_insert = fill(&collection, stop, |number, vector| {
        exact.insert(number, vector)
    })?;
    let strangers = compare_strangers(&exact, &collection)?;
    let (targets, exact_micros_per_query) =
        find_targets(&exact, &collection, k, asked.floor, stop)?;
    let mut schemes = Vec::new();
    let question = Question {
        collection: &collection,
        targets: &targets,
        k,
        stop,
    };
    if args.scheme.includes(SchemeName::Exact) {
        schemes.push(question.ask(&exact, micros_per_insert)?);
    }
    // An index holds a copy of all vectors: one at a time.
    drop(exact);
    if args.scheme.includes(SchemeName::Cells) {
        let mut cells = Cells::new(CellsParams::new(collection.dim()));
        let micros_per_insert = fill(&collection, stop, |number, vector| {
            cells.insert(number, vector)?;
            let end = cells.len() as u64;
            // As the pipeline does.
            if end.is_multiple_of(INDEX_BLOCK) {
                cells.refine(cells.refinements_due(end - INDEX_BLOCK..end));
            }
            Ok(())
        })?;
        let configured = [asked.cells.probes];
        let given: Vec<usize> = args.probes.iter().map(|&probes| probes as usize).collect();
        let all_probes = if given.is_empty() {
            &configured[..]
        } else {
            &given
        };
        for &probes in all_probes {
            let by_estimate = CellsByEstimate {
                cells: &cells,
                probes,
            };
            schemes.push(question.ask(&by_estimate, micros_per_insert)?);
            let within = CellsWithin {
                cells: &cells,
                floor: asked.floor,
                params: SearchParams {
                    probes,
                    ..asked.cells
                },
            };
            schemes.push(question.ask(&within, micros_per_insert)?);
        }
    }
    if let Some(mut planes) = planes {
        let micros_per_insert = fill(&collection, stop, |number, vector| {
            planes.planes.insert(number, vector)
        })?;
        schemes.push(question.ask(&planes, micros_per_insert)?);
    }
    Ok(CandidatesReport {
        edit_list: EditList::from(args.list).name().to_owned(),
        seed: args.seed,
        model: embedded.model,
        scorer: asked.scorer.clone(),
        cosine_floor: asked.floor,
        candidates: u64::from(args.candidates),
        pictures: (embedded.variants.iter())
            .filter(|variant| variant.edit.is_none())
            .count() as u64,
        queries: collection.queries().len() as u64,
        background: embedded.background.len() as u64,
        distractors: u64::from(args.distractors),
        vectors: collection.len() as u64,
        release: !cfg!(debug_assertions),
        strangers,
        exact_micros_per_query,
        schemes,
    })
}

fn too_few() -> anyhow::Error {
    Refusal::Input.because(format!(
        "distractors are modelled on at least three pictures; give {} photos or more, or `--background`",
        3 * HELD_OUT
    ))
}

/// Inserts everything; returns the microseconds that one insertion took on average.
fn fill(
    collection: &Collection,
    stop: &CancellationToken,
    mut insert: impl FnMut(u64, &[u16]) -> Result<(), IndexError>,
) -> anyhow::Result<f64> {
    let progress = Progress::start("vectors", collection.len() as u64);
    let mut seconds = 0.0;
    for numbers in collection.order().chunks(CHUNK) {
        anyhow::ensure!(!stop.is_cancelled(), "stopped before the end");
        let started = Instant::now();
        for &number in numbers {
            insert(u64::from(number), collection.vector(number))?;
        }
        seconds += started.elapsed().as_secs_f64();
        progress.advance(numbers.len() as u64);
    }
    progress.finish();
    Ok(seconds * 1e6 / collection.len() as f64)
}

/// Finds by exact search what each query should find; returns also the microseconds that a search took.
fn find_targets(
    exact: &ExactIndex,
    collection: &Collection,
    k: usize,
    floor: f32,
    stop: &CancellationToken,
) -> anyhow::Result<(Vec<Target>, f64)> {
    let progress = Progress::start("exact searches", collection.queries().len() as u64);
    let (mut targets, mut seconds) = (Vec::new(), 0.0);
    for query in collection.queries() {
        anyhow::ensure!(!stop.is_cancelled(), "stopped before the end");
        let vector = bf16::decode(collection.vector(query.number));
        let started = Instant::now();
        let neighbors = exact.search_exact(&vector, k + 1)?;
        seconds += started.elapsed().as_secs_f64();
        targets.push(Target {
            edit: query.edit.name(),
            wanted: neighbors
                .iter()
                .filter(|neighbor| neighbor.number != u64::from(query.number))
                .take(k)
                .filter(|neighbor| neighbor.similarity >= floor)
                .map(|neighbor| neighbor.number)
                .collect(),
            original: u64::from(query.original),
            picture: collection.picture(query.original),
        });
        progress.advance(1);
    }
    progress.finish();
    let micros = seconds * 1e6 / targets.len() as f64;
    Ok((targets, micros))
}

/// Compares queries with originals of other photos, and with some distractors.
fn compare_strangers(exact: &ExactIndex, collection: &Collection) -> anyhow::Result<Strangers> {
    let (mut real, mut synthetic) = (Vec::new(), Vec::new());
    for query in collection.queries() {
        let vector = bf16::decode(collection.vector(query.number));
        let cosine = |number: u32| {
            let cosine = exact.similarity(&vector, u64::from(number));
            cosine.context("a vector that was inserted is not there")
        };
        for original in collection.originals() {
            if original != query.original {
                real.push(cosine(original)?);
            }
        }
        for number in collection.distractors().take(COMPARED_DISTRACTORS) {
            synthetic.push(cosine(number)?);
        }
    }
    Ok(Strangers {
        real: CosineSummary::of(real).context("one photo has no strangers")?,
        distractors: CosineSummary::of(synthetic),
    })
}

/// What every scheme is asked.
struct Question<'a> {
    collection: &'a Collection,
    targets: &'a [Target],
    k: usize,
    stop: &'a CancellationToken,
}

impl Question<'_> {
    fn ask(&self, scheme: &dyn Scheme, micros_per_insert: f64) -> anyhow::Result<SchemeReport> {
        let queries = self.collection.queries();
        let progress = Progress::start("queries", queries.len() as u64);
        let (mut tally, mut seconds) = (Tally::default(), 0.0);
        for (query, target) in queries.iter().zip(self.targets) {
            anyhow::ensure!(!self.stop.is_cancelled(), "stopped before the end");
            let vector = bf16::decode(self.collection.vector(query.number));
            let started = Instant::now();
            let found = scheme.candidates(&vector, self.k + 1)?;
            seconds += started.elapsed().as_secs_f64();
            let others = found
                .into_iter()
                .filter(|number| *number != u64::from(query.number));
            tally.add(target, others.take(self.k));
            progress.advance(1);
        }
        progress.finish();
        Ok(SchemeReport {
            scheme: scheme.name(),
            settings: scheme.settings(),
            found: tally.finish(),
            micros_per_query: seconds * 1e6 / queries.len() as f64,
            micros_per_insert,
            bytes_per_image: scheme.memory_bytes() as f64 / self.collection.len() as f64,
        })
    }
}
