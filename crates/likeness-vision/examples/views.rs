//! Measures what each kind of view finds: recall per published edit at no false positive.
//!
//! ```text
//! LIKENESS_MODELS=… cargo run --release -p likeness-vision --example views -- \
//!     crates/likeness/src/samples/families.toml none|five|nine FOLDER…
//! ```
//!
//! Every photo in the folders is compared with every copy of every photo. A kind of view passes at the
//! highest cosine that two strangers reach with it, so that kinds can be added up without adding false
//! positives. Photos on a plain ground are left out: a scorer asks more of them (`flatness`). Regions and
//! inverted views are compared both ways, crops of the originals only.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use likeness_vision::edits::EditList;
use likeness_vision::models::catalogue::DEFAULT_COPY_DETECTION;
use likeness_vision::models::store::ModelStore;
use likeness_vision::pixels::Filter;
use likeness_vision::runtime::onnx::{OnnxEmbedder, OnnxRuntime};
use likeness_vision::runtime::{Embedder, Embedding, prepare};
use likeness_vision::views::{CropGrid, ViewKind, ViewsConfig, views};
use likeness_vision::{DecodeLimits, RgbImage, decode};

/// Longest side of the photos that copies are made of.
const SIDE: u32 = 1_024;
/// Shorter side that copies are decoded to, as for signatures.
const DECODE_SIDE: u32 = 256;
/// The photos that fill a collage, counted from its own.
const OTHERS: [usize; 3] = [50, 100, 150];
/// Columns of the table.
const KINDS: [&str; 4] = ["whole", "regions", "inverted", "crops"];

type Failure = Box<dyn Error>;

struct Photo {
    path: PathBuf,
    image: RgbImage,
    described: Described,
}

/// The descriptors of a picture, by column of the table.
struct Described([Vec<Embedding>; 4]);

fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: views FAMILIES none|five|nine FOLDER…";
    let (Some(families), Some(crops)) = (args.next(), args.next()) else {
        return Err(usage.into());
    };
    let crops = match crops.as_str() {
        "none" => CropGrid::None,
        "five" => CropGrid::Five,
        "nine" => CropGrid::Nine,
        _ => return Err(usage.into()),
    };
    let families: toml::Table = toml::from_str(&fs::read_to_string(families)?)?;
    let embedder = open_model()?;
    let of_originals = ViewsConfig {
        crops,
        ..ViewsConfig::default()
    };
    let photos = load(
        args.map(PathBuf::from).collect(),
        &families,
        &embedder,
        &of_originals,
    )?;
    let mut out = std::io::stdout().lock();
    let n_views: [usize; 4] = std::array::from_fn(|kind| {
        photos
            .iter()
            .map(|photo| photo.described.0[kind].len())
            .sum()
    });
    for (kind, n_views) in KINDS.iter().zip(n_views) {
        let mean = n_views as f64 / photos.len() as f64;
        writeln!(out, "{kind}: {mean:.2} embeddings a photo")?;
    }
    let is_family = related(&photos, &families);
    for list in EditList::ALL {
        measure(list, &photos, &is_family, &embedder, &mut out)?;
    }
    Ok(())
}

fn open_model() -> Result<OnnxEmbedder, Failure> {
    let root = std::env::var_os("LIKENESS_MODELS").ok_or("LIKENESS_MODELS is not set")?;
    let store = ModelStore::new(PathBuf::from(root));
    let runtime = OnnxRuntime::load(&store.resolve("onnxruntime")?.path)?;
    let model = store.resolve(DEFAULT_COPY_DETECTION)?;
    Ok(OnnxEmbedder::open(
        &runtime,
        &model.path,
        &model.manifest,
        1,
    )?)
}

fn load(
    folders: Vec<PathBuf>,
    families: &toml::Table,
    embedder: &OnnxEmbedder,
    config: &ViewsConfig,
) -> Result<Vec<Photo>, Failure> {
    let mut paths = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(folder)? {
            paths.push(entry?.path());
        }
    }
    paths.sort();
    let mut photos = Vec::new();
    for path in paths {
        let left_out = families.get("leave_out");
        if left_out.is_some_and(|patterns| is_listed(patterns, &path)) {
            continue;
        }
        let image = decode(&fs::read(&path)?, &DecodeLimits::default(), None)?.image;
        if has_plain_border(&image) {
            continue;
        }
        let image = image.fit_within(SIDE);
        let described = describe(&image, embedder, config)?;
        photos.push(Photo {
            path,
            image,
            described,
        });
    }
    Ok(photos)
}

fn describe(
    image: &RgbImage,
    embedder: &OnnxEmbedder,
    config: &ViewsConfig,
) -> Result<Described, Failure> {
    let embed = |image: &RgbImage| -> Result<Embedding, Failure> {
        let mut embeddings = embedder.embed(&[prepare(image, embedder.spec())])?;
        embeddings.pop().ok_or_else(|| "no embedding".into())
    };
    let mut described = Described(Default::default());
    described.0[0].push(embed(image)?);
    for view in views(image, config) {
        let kind = match view.kind {
            ViewKind::Region(_) => 1,
            ViewKind::Inverted => 2,
            ViewKind::Crop => 3,
        };
        described.0[kind].push(embed(&view.image)?);
    }
    Ok(described)
}

/// Returns the highest cosine by kind of view, between whole pictures and views; -1 where there is none.
fn cosines(a: &Described, b: &Described) -> [f32; 4] {
    std::array::from_fn(|kind| {
        let both_ways = [(a, b), (b, a)].into_iter().flat_map(|(whole, viewed)| {
            let viewed = viewed.0[kind].iter();
            viewed.map(|view| view.dot(&whole.0[0][0]))
        });
        both_ways.fold(-1.0, f32::max)
    })
}

fn measure(
    list: EditList,
    photos: &[Photo],
    is_family: &[Vec<bool>],
    embedder: &OnnxEmbedder,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let config = ViewsConfig::default();
    let mut strangers = [-1.0_f32; 4];
    let mut n_strangers = 0_u64;
    let mut copies: BTreeMap<usize, Vec<[f32; 4]>> = BTreeMap::new();
    for (number, photo) in photos.iter().enumerate() {
        let others = OTHERS.map(|step| (number + step) % photos.len());
        let others_images = others.map(|other| &photos[other].image);
        for (idx, edit) in list.edits().iter().enumerate() {
            let file = edit.apply(&photo.image, &others_images, number as u64);
            let copy = decode(&file, &DecodeLimits::default(), Some(DECODE_SIDE))?;
            let copy = describe(&copy.image, embedder, &config)?;
            for (other_number, other) in photos.iter().enumerate() {
                let is_in_collage = edit.name() == "collage"
                    && others.iter().any(|other| is_family[*other][other_number]);
                if other_number == number {
                    let cosines = cosines(&copy, &other.described);
                    copies.entry(idx).or_default().push(cosines);
                } else if !is_family[number][other_number] && !is_in_collage {
                    n_strangers += 1;
                    for (most, cosine) in strangers.iter_mut().zip(cosines(&copy, &other.described))
                    {
                        *most = most.max(cosine);
                    }
                }
            }
        }
    }
    let n_photos = photos.len();
    writeln!(
        out,
        "\n{}: {n_photos} photos, {n_strangers} pairs of strangers",
        list.name()
    )?;
    for (kind, most) in KINDS.iter().zip(strangers) {
        writeln!(out, "  {kind}: strangers reach {most:.3}")?;
    }
    writeln!(
        out,
        "  found by: {}, each with those before",
        KINDS.join(", ")
    )?;
    let mut sums = [0.0; 4];
    for (idx, pairs) in &copies {
        let shares: [f64; 4] = std::array::from_fn(|kind| {
            let is_found =
                |cosines: &&[f32; 4]| (0..=kind).any(|kind| cosines[kind] > strangers[kind]);
            pairs.iter().filter(is_found).count() as f64 / pairs.len() as f64
        });
        for (sum, share) in sums.iter_mut().zip(shares) {
            *sum += share / copies.len() as f64;
        }
        write_shares(out, list.edits()[*idx].name(), shares)?;
    }
    write_shares(out, "mean", sums)
}

fn write_shares(out: &mut impl Write, name: &str, shares: [f64; 4]) -> Result<(), Failure> {
    write!(out, "  {name:24}")?;
    for share in shares {
        write!(out, " {share:.4}")?;
    }
    writeln!(out)?;
    Ok(())
}

/// Tells whether half of the border has one colour, more or less.
fn has_plain_border(image: &RgbImage) -> bool {
    const SIDE: u32 = 64;
    const TOLERANCE: u8 = 8;
    let small = image.resize_exact(SIDE, SIDE, Filter::Box);
    let border: Vec<[u8; 3]> = (0..SIDE)
        .flat_map(|at| [(at, 0), (at, SIDE - 1), (0, at), (SIDE - 1, at)])
        .filter_map(|(x, y)| small.pixel(x, y))
        .collect();
    let is_near =
        |a: &[u8; 3], b: &[u8; 3]| a.iter().zip(b).all(|(a, b)| a.abs_diff(*b) <= TOLERANCE);
    border.iter().any(|colour| {
        2 * border.iter().filter(|other| is_near(colour, other)).count() >= border.len()
    })
}

/// Returns which photos are no strangers: those of one family, and each with itself.
fn related(photos: &[Photo], families: &toml::Table) -> Vec<Vec<bool>> {
    let mut related = vec![vec![false; photos.len()]; photos.len()];
    for (number, row) in related.iter_mut().enumerate() {
        row[number] = true;
    }
    let families = families.get("families").and_then(toml::Value::as_table);
    for patterns in families.into_iter().flat_map(|families| families.values()) {
        let members: Vec<usize> = (0..photos.len())
            .filter(|number| is_listed(patterns, &photos[*number].path))
            .collect();
        for a in &members {
            for b in &members {
                related[*a][*b] = true;
            }
        }
    }
    related
}

/// Tells whether `patterns` name the file, by its folder and name.
fn is_listed(patterns: &toml::Value, path: &Path) -> bool {
    let names: Vec<_> = path.components().rev().take(2).collect();
    let [file, folder] = names.as_slice() else {
        return false;
    };
    let name = format!(
        "{}/{}",
        folder.as_os_str().to_string_lossy(),
        file.as_os_str().to_string_lossy()
    );
    let patterns = patterns.as_array().into_iter().flatten();
    patterns
        .filter_map(toml::Value::as_str)
        .any(|pattern| matches(pattern.as_bytes(), name.as_bytes()))
}

/// Matches `*`, `?` and sets like `[0-9a]`, as a shell does.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => {
            matches(rest, name) || (!name.is_empty() && matches(pattern, &name[1..]))
        }
        ([b'?', rest @ ..], [_, others @ ..]) => matches(rest, others),
        ([b'[', rest @ ..], [first, others @ ..]) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else {
                return false;
            };
            let set = &rest[..end];
            let is_in = set.contains(first)
                || set
                    .windows(3)
                    .any(|range| range[1] == b'-' && (range[0]..=range[2]).contains(first));
            is_in && matches(&rest[end + 1..], others)
        }
        ([expected, rest @ ..], [first, others @ ..]) => expected == first && matches(rest, others),
        _ => false,
    }
}
