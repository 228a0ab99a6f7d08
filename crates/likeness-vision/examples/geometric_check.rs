//! Measures the geometric check: every edit of photos against all photos.
//!
//! ```text
//! cargo run --release -p likeness-vision --example geometric_check -- \
//!     --families crates/likeness/src/samples/families.toml --step 4 SAMPLES/nature SAMPLES/people …
//! ```
//! Of every `step`-th photo all edits of both lists are compared with all photos (strangers and
//! copies), and with the same edits of other photos (neighbours: one caption's font, one page).
//! With `LIKENESS_MODELS` set, to a model store, cosines of the default model are compared as well.
//! Families are photos that show one thing and are neither. Prints the threshold that one pair of
//! strangers in a million reaches, the share of copies beyond it for each edit, what a floor under
//! the cosine costs, and the time spent.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command: figures to stdout, progress to stderr"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use likeness_vision::edits::{Edit, EditList};
use likeness_vision::geometry::{EVIDENCE_THRESHOLD, Form, LocalFeatures, verify};
use likeness_vision::models::catalogue::DEFAULT_COPY_DETECTION;
use likeness_vision::models::store::ModelStore;
use likeness_vision::runtime::onnx::{OnnxEmbedder, OnnxRuntime};
use likeness_vision::runtime::{Embedder, prepare};
use likeness_vision::{DecodeLimits, RgbImage, decode};
use serde::Deserialize;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Wanted share of strangers' pairs that are taken for copies.
const FALSE_POSITIVE_RATE: f64 = 1e-6;
/// Longest side of a photo before it is edited.
const PHOTO_SIDE: u32 = 1_280;
/// Which photos fill a collage, counted from the edited one.
const OTHERS: [usize; 3] = [97, 151, 211];
const FLOORS: [f32; 8] = [-1.0, 0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3];

/// The part of the families' file that is used.
#[derive(Deserialize)]
struct Families {
    leave_out: Vec<String>,
    families: BTreeMap<String, Vec<String>>,
}

struct Photo {
    path: PathBuf,
    family: String,
    signed: Signed,
}

struct Signed {
    features: LocalFeatures,
    /// Empty without a model.
    embedding: Vec<f32>,
}

/// A pair's two measures.
#[derive(Clone, Copy)]
struct Measured {
    evidence: f32,
    cosine: f32,
}

fn main() -> Outcome<()> {
    let mut folders = Vec::new();
    let (mut families, mut step) = (None, 4_usize);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || {
            arguments
                .next()
                .ok_or(format!("`{argument}` needs a value"))
        };
        match argument.as_str() {
            "--families" => families = Some(toml::from_str(&std::fs::read_to_string(value()?)?)?),
            "--step" => step = value()?.parse::<usize>()?.max(1),
            _ => folders.push(PathBuf::from(argument)),
        }
    }
    let embedder = open_model()?;
    let mut spent = Spent::default();
    let photos = read_photos(&folders, families.as_ref(), embedder.as_ref(), &mut spent)?;
    eprintln!("{} photos", photos.len());
    measure(&photos, step, embedder.as_ref(), &mut spent)
}

fn open_model() -> Outcome<Option<OnnxEmbedder>> {
    let Some(root) = std::env::var_os("LIKENESS_MODELS") else {
        return Ok(None);
    };
    let store = ModelStore::new(root.into());
    let runtime = OnnxRuntime::load(&store.resolve("onnxruntime")?.path)?;
    let model = store.resolve(DEFAULT_COPY_DETECTION)?;
    Ok(Some(OnnxEmbedder::open(
        &runtime,
        &model.path,
        &model.manifest,
        1,
    )?))
}

fn read_photos(
    folders: &[PathBuf],
    families: Option<&Families>,
    embedder: Option<&OnnxEmbedder>,
    spent: &mut Spent,
) -> Outcome<Vec<Photo>> {
    let mut paths = Vec::new();
    for folder in folders {
        for entry in std::fs::read_dir(folder)? {
            paths.push(entry?.path());
        }
    }
    paths.sort();
    let mut photos = Vec::new();
    for path in paths {
        let Some(family) = family_of(&path, families)? else {
            continue;
        };
        let image = load(&path)?;
        photos.push(Photo {
            signed: sign(&image, embedder, spent)?,
            family,
            path,
        });
    }
    Ok(photos)
}

/// Returns the family of a photo, which is its own path if it has none; `None` if it is left out.
fn family_of(path: &Path, families: Option<&Families>) -> Outcome<Option<String>> {
    // Patterns are of the form FOLDER/NAME.
    let name = path.iter().rev().take(2).collect::<Vec<_>>();
    let name = name.iter().rev().collect::<PathBuf>();
    let Some(families) = families else {
        return Ok(Some(path.display().to_string()));
    };
    let fits = |patterns: &[String]| -> Outcome<bool> {
        for pattern in patterns {
            if glob::Pattern::new(pattern)?.matches_path(&name) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    if fits(&families.leave_out)? {
        return Ok(None);
    }
    for (family, patterns) in &families.families {
        if fits(patterns)? {
            return Ok(Some(family.clone()));
        }
    }
    Ok(Some(path.display().to_string()))
}

fn load(path: &Path) -> Outcome<RgbImage> {
    let decoded = decode(&std::fs::read(path)?, &DecodeLimits::default(), None)?;
    Ok(decoded.image.fit_within(PHOTO_SIDE))
}

fn sign(image: &RgbImage, embedder: Option<&OnnxEmbedder>, spent: &mut Spent) -> Outcome<Signed> {
    let embedding = match embedder {
        Some(embedder) => embedder
            .embed(&[prepare(image, embedder.spec())])?
            .remove(0)
            .into_vec(),
        None => Vec::new(),
    };
    let start = Instant::now();
    let features = LocalFeatures::extract(image);
    spent.extraction += start.elapsed();
    spent.n_extractions += 1;
    spent.n_keypoints += features.len();
    Ok(Signed {
        features,
        embedding,
    })
}

/// What the work took, in wall time.
#[derive(Default)]
struct Spent {
    extraction: Duration,
    n_extractions: u32,
    n_keypoints: usize,
    verification: Duration,
    n_verifications: u32,
}

impl Spent {
    fn compare(&mut self, query: &Signed, stored: &Signed) -> Measured {
        let start = Instant::now();
        let found = verify(&query.features, &stored.features, &Form::ALL);
        self.verification += start.elapsed();
        self.n_verifications += 1;
        let pairs = query.embedding.iter().zip(&stored.embedding);
        Measured {
            evidence: found.evidence(),
            cosine: pairs.map(|(a, b)| a * b).sum(),
        }
    }
}

fn measure(
    photos: &[Photo],
    step: usize,
    embedder: Option<&OnnxEmbedder>,
    spent: &mut Spent,
) -> Outcome<()> {
    let edits: Vec<Edit> = EditList::ALL
        .into_iter()
        .flat_map(EditList::edits)
        .copied()
        .collect();
    let queried: Vec<usize> = (0..photos.len()).step_by(step).collect();
    // By edit, then by queried photo.
    let mut edited: Vec<Vec<Signed>> = (0..edits.len()).map(|_| Vec::new()).collect();
    for (done, &photo) in queried.iter().enumerate() {
        let image = load(&photos[photo].path)?;
        let mut others = Vec::new();
        for offset in OTHERS {
            others.push(load(&photos[(photo + offset) % photos.len()].path)?.fit_within(512));
        }
        let others: Vec<&RgbImage> = others.iter().collect();
        for (edit, edited) in edits.iter().zip(&mut edited) {
            let file = edit.apply(&image, &others, photo as u64);
            let copy = decode(&file, &DecodeLimits::default(), None)?.image;
            edited.push(sign(&copy, embedder, spent)?);
        }
        eprintln!("{} of {} photos edited", done + 1, queried.len());
    }
    let (mut strangers, mut neighbours) = (Vec::new(), Vec::new());
    let mut copies: Vec<Vec<Measured>> = vec![Vec::new(); edits.len()];
    for (edit_idx, (edit, edited)) in edits.iter().zip(&edited).enumerate() {
        for (&photo, query) in queried.iter().zip(edited) {
            for (other, stored) in photos.iter().enumerate() {
                let is_in_collage = *edit == Edit::Collage
                    && OTHERS
                        .iter()
                        .any(|offset| (photo + offset) % photos.len() == other);
                if is_in_collage {
                    // Neither the copy that is looked for nor a stranger.
                    continue;
                }
                if other == photo {
                    copies[edit_idx].push(spent.compare(query, &stored.signed));
                } else if stored.family != photos[photo].family {
                    strangers.push(spent.compare(query, &stored.signed));
                }
            }
            for (&other, stored) in queried.iter().zip(edited) {
                // Two collages may really share a picture.
                if photos[other].family != photos[photo].family && *edit != Edit::Collage {
                    neighbours.push(spent.compare(query, stored));
                }
            }
        }
        eprintln!("{} of {} edits compared", edit_idx + 1, edits.len());
    }
    report(&edits, &strangers, &neighbours, &copies, spent);
    Ok(())
}

/// Returns the value that the wanted share of `values` exceeds.
fn threshold(values: impl Iterator<Item = f32>) -> f32 {
    let mut values: Vec<f32> = values.collect();
    values.sort_by(|a, b| b.total_cmp(a));
    let n_allowed = (values.len() as f64 * FALSE_POSITIVE_RATE) as usize;
    values.get(n_allowed).copied().unwrap_or_default()
}

fn median(values: impl Iterator<Item = f32>) -> f32 {
    let mut values: Vec<f32> = values.collect();
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn share<T>(values: &[T], is_counted: impl Fn(&T) -> bool) -> f64 {
    values.iter().filter(|value| is_counted(value)).count() as f64 / values.len().max(1) as f64
}

fn report(
    edits: &[Edit],
    strangers: &[Measured],
    neighbours: &[Measured],
    copies: &[Vec<Measured>],
    spent: &Spent,
) {
    let evidence = |pair: &Measured| pair.evidence;
    let of_strangers = threshold(strangers.iter().map(evidence));
    let of_neighbours = threshold(neighbours.iter().map(evidence));
    let by_evidence = of_strangers.max(of_neighbours);
    let by_cosine = threshold(strangers.iter().map(|pair| pair.cosine));
    println!(
        "evidence that one in a million exceeds: {of_strangers:.3} of {} strangers, {of_neighbours:.3} of {} neighbours; cosine of strangers: {by_cosine:.3}",
        strangers.len(),
        neighbours.len()
    );
    let level = f64::from(EVIDENCE_THRESHOLD);
    println!(
        "beyond {level}: {:.2e} of strangers, {:.2e} of neighbours",
        share(strangers, |pair| pair.evidence >= EVIDENCE_THRESHOLD),
        share(neighbours, |pair| pair.evidence >= EVIDENCE_THRESHOLD),
    );
    println!(
        "{:<24}{:>10}{:>10}{:>10}",
        "edit", "evidence", "cosine", "either"
    );
    for (edit, pairs) in edits.iter().zip(copies) {
        println!(
            "{:<24}{:>10.3}{:>10.3}{:>10.3}{:>10.2}",
            edit.name(),
            share(pairs, |pair| pair.evidence > by_evidence),
            share(pairs, |pair| pair.cosine > by_cosine),
            share(pairs, |pair| pair.evidence > by_evidence
                || pair.cosine > by_cosine),
            median(pairs.iter().map(evidence)),
        );
    }
    for list in EditList::ALL {
        let of_list = |edit: &Edit| list.edits().contains(edit);
        let pairs: Vec<Measured> = edits
            .iter()
            .zip(copies)
            .filter(|(edit, _)| of_list(edit))
            .flat_map(|(_, pairs)| pairs.iter().copied())
            .collect();
        for floor in FLOORS {
            println!(
                "{} list, cosine beyond {by_cosine:.3}, or evidence and a cosine from {floor}: {:.4} of copies; {:.5} of strangers to verify",
                list.name(),
                share(&pairs, |pair| pair.cosine > by_cosine
                    || (pair.cosine >= floor && pair.evidence > by_evidence)),
                share(strangers, |pair| pair.cosine >= floor
                    && pair.cosine <= by_cosine),
            );
        }
    }
    println!(
        "extraction {:.2} ms, {:.0} keypoints; verification in four forms {:.0} µs (wall time)",
        spent.extraction.as_secs_f64() * 1e3 / f64::from(spent.n_extractions.max(1)),
        spent.n_keypoints as f64 / f64::from(spent.n_extractions.max(1)),
        spent.verification.as_secs_f64() * 1e6 / f64::from(spent.n_verifications.max(1)),
    );
}
