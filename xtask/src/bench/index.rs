//! `cargo xtask bench index`: sets are made, contenders run one after the other, results are written
//! after each of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use super::contenders::{self, Contender, Family};
use super::front;
use super::machine::{self, Origin};
use super::results::{RECALLS, Results, Run};
use super::sets::{Facts, Size, Spec};
use super::{page, python};
use crate::process;
use crate::report;
use crate::workspace;

const BUILD_LIMIT: Duration = Duration::from_secs(50 * 60);
/// Graphs over a million long vectors take hours on one thread.
const CONTENDER_LIMIT: Duration = Duration::from_secs(8 * 60 * 60);
const SIZE: Size = Size(200_000);
const QUICK_SIZE: Size = Size(20_000);
const QUICK_SET: Spec = Spec::Clustered(100);

/// Sets, contenders, and where the results go.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench index --quick
  cargo xtask bench index --sets clustered-256,uniform-256 --peers likeness,hnswlib,faiss-ivf-rabitqfs
  cargo xtask bench index --vectors embeddings.npy --size 1m

Results are merged into those that are in the folder, so a long measurement can be made in parts.
Environments, sets and the indexes that peers can save are kept in the cache folder.")]
pub(crate) struct Arguments {
    /// Only these sets: clustered-D and uniform-D with D of 100, 256, 512 and 768, and copies.
    /// Default: all synthetic ones, or the files if any are given
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    sets: Vec<String>,
    /// Only these contenders, of likeness, hnswlib, usearch-f32, usearch-bf16, usearch-i8, faiss-hnsw,
    /// faiss-ivf-pqfs, faiss-ivf-rabitqfs, scann and scann-core
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    peers: Vec<String>,
    /// Number of vectors of a set that is made, like 200k or 1m [default: 200k, quick: 20k]
    #[arg(long, value_name = "N")]
    size: Option<Size>,
    /// A small set, one build of each contender, every other setting; results go to target/benchmarks
    #[arg(long)]
    quick: bool,
    /// Also this file in the layout of ann-benchmarks; may be repeated
    #[arg(long, value_name = "FILE")]
    hdf5: Vec<PathBuf>,
    /// Also the set `copies`: the rows of this float32 matrix, enlarged by distractors like them
    #[arg(long, value_name = "FILE.npy")]
    vectors: Option<PathBuf>,
    /// Where the page, the plots and the points go [default: docs/benchmarks]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seed of sets and indexes
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// The CPU to measure on [default: the last one]
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
    /// Build all indexes anew, also those kept from a run before
    #[arg(long)]
    fresh: bool,
    /// Measure this library, which has the functions of the example `capi`, instead of building one
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
}

/// Measures, writes the results and returns those of the sets that were measured.
///
/// # Errors
/// If a set could not be made or a contender not run; what ran is written nevertheless.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Value> {
    let specs = arguments.specs()?;
    let chosen = contenders::chosen(&arguments.peers)?;
    let out = arguments.out()?;
    std::fs::create_dir_all(&out).with_context(|| format!("creating {}", out.display()))?;
    let mut results = Results::read(&out.join("index.json"))?;
    let ours = chosen.iter().any(|one| one.family == Family::Ours);
    let library = match &arguments.library {
        _ if !ours => None,
        Some(library) => Some(
            library
                .canonicalize()
                .with_context(|| format!("looking for {}", library.display()))?,
        ),
        None => Some(build_library()?),
    };
    let origin = machine::origin(arguments.command())?;

    let (mut measured, mut failures) = (Vec::new(), Vec::new());
    for spec in &specs {
        let (folder, set) = spec.provide(arguments.size(), arguments.seed)?;
        for contender in &chosen {
            let builds = &contender.builds[..if arguments.quick {
                1
            } else {
                contender.builds.len()
            }];
            for build in builds {
                let started = Instant::now();
                report::note(&format!("{}: {} {build}", set.name, contender.name));
                match measure(arguments, contender, build, &folder, library.as_deref()) {
                    Ok(figures) => {
                        results.put(Run {
                            set: set.clone(),
                            contender: contender.name.to_owned(),
                            build: (*build).to_owned(),
                            origin: origin.clone(),
                            figures,
                        });
                        save(&results, &out)?;
                        let seconds = started.elapsed().as_secs();
                        report::note(&format!("  done in {seconds} s"));
                    }
                    Err(error) => {
                        let what = format!("{} {build} on {}: {error:#}", contender.name, set.name);
                        report::note(&format!("  FAILED {what}"));
                        failures.push(what);
                    }
                }
            }
        }
        measured.push(set);
    }
    if !failures.is_empty() {
        bail!(
            "{} could not be run: {}",
            failures.len(),
            failures.join("; ")
        );
    }
    Ok(figures(&results, &measured, &origin))
}

impl Arguments {
    fn specs(&self) -> anyhow::Result<Vec<Spec>> {
        let mut specs = Vec::new();
        for name in &self.sets {
            if name != "copies" {
                specs.push(Spec::named(name)?);
            } else if self.vectors.is_none() {
                bail!("the set `copies` needs --vectors");
            }
        }
        specs.extend(self.vectors.iter().cloned().map(Spec::Copies));
        specs.extend(self.hdf5.iter().cloned().map(Spec::Hdf5));
        if specs.is_empty() {
            specs = if self.quick {
                vec![QUICK_SET]
            } else {
                Spec::synthetic()
            };
        }
        Ok(specs)
    }

    fn size(&self) -> Size {
        self.size
            .unwrap_or(if self.quick { QUICK_SIZE } else { SIZE })
    }

    fn out(&self) -> anyhow::Result<PathBuf> {
        Ok(match &self.out {
            Some(out) => out.clone(),
            None if self.quick => workspace::target()?.join("benchmarks"),
            None => workspace::root().join("docs/benchmarks"),
        })
    }

    fn cpu(&self) -> usize {
        self.cpu.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(0, |count| count.get() - 1)
        })
    }

    /// Returns what was typed, files by their names: their folders are nobody else's.
    fn command(&self) -> String {
        let name = |path: &Path| {
            path.file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
        };
        let mut words = vec!["cargo xtask bench index".to_owned()];
        let mut option = |name: &str, value: String| words.push(format!("--{name} {value}"));
        if !self.sets.is_empty() {
            option("sets", self.sets.join(","));
        }
        if !self.peers.is_empty() {
            option("peers", self.peers.join(","));
        }
        option("size", page::size(self.size().0));
        option("seed", self.seed.to_string());
        for file in &self.hdf5 {
            option("hdf5", name(file));
        }
        if let Some(file) = &self.vectors {
            option("vectors", name(file));
        }
        if let Some(file) = &self.library {
            option("library", name(file));
        }
        if self.quick {
            words.push("--quick".to_owned());
        }
        words.join(" ")
    }
}

/// Builds the C functions and returns the library.
fn build_library() -> anyhow::Result<PathBuf> {
    let arguments = [
        "build",
        "--release",
        "-p",
        "likeness-index",
        "--example",
        "capi",
    ];
    process::run(workspace::cargo(&arguments)?, BUILD_LIMIT)?;
    let name = format!(
        "{}capi{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    let library = workspace::target()?.join("release/examples").join(name);
    if !library.is_file() {
        bail!("there is no {}", library.display());
    }
    Ok(library)
}

/// Runs a driver and returns what it measured.
fn measure(
    arguments: &Arguments,
    contender: &Contender,
    build: &str,
    set: &Path,
    library: Option<&Path>,
) -> anyhow::Result<super::results::Figures> {
    let answer = tempfile::Builder::new()
        .suffix(".json")
        .tempfile()
        .context("making a file")?;
    let mut command = python::script(contender.environment, contender.driver)?;
    command.args([contender.name, "--build", build, "--set"]);
    command.arg(set).arg("--out").arg(answer.path());
    command.args(["--cpu", &arguments.cpu().to_string()]);
    command.args(["--seed", &arguments.seed.to_string()]);
    if arguments.quick {
        command.arg("--quick");
    }
    if arguments.fresh {
        command.arg("--fresh");
    }
    if let (Family::Ours, Some(library)) = (contender.family, library) {
        command.arg("--library").arg(library);
    }
    process::run(command, CONTENDER_LIMIT)?;
    let text = std::fs::read_to_string(answer.path()).context("reading what the driver wrote")?;
    serde_json::from_str(&text).context("reading what the driver wrote")
}

fn save(results: &Results, out: &Path) -> anyhow::Result<()> {
    results.write(&out.join("index.json"))?;
    page::write(results, out)
}

/// Returns a summary of the sets: each contender's figures without the points, and the verdict.
fn figures(results: &Results, sets: &[Facts], origin: &Origin) -> Value {
    let mut by_set = Map::new();
    for set in sets {
        let runs: Vec<Value> = results
            .of(set)
            .into_iter()
            .map(|run| {
                let best = front::front(&run.figures.points);
                let speeds: Map<String, Value> = RECALLS
                    .iter()
                    .map(|&recall| (recall.to_string(), json!(front::speed_at(&best, recall))))
                    .collect();
                json!({
                    "contender": run.contender,
                    "build": run.build,
                    "commit": run.origin.commit,
                    "queries_per_s_at_recall": speeds,
                    "mixed_per_s": run.figures.mixed.as_ref().map(|mixed| mixed.pairs_per_s),
                    "inserts_per_s_batch": run.figures.inserts_per_s_batch,
                    "inserts_per_s_single": run.figures.inserts_per_s_single,
                    "inserts_per_s_single_from_empty": run.figures.inserts_per_s_single_from_empty,
                    "bytes_per_vector": run.figures.bytes_per_vector,
                    "build_s": run.figures.build_s,
                })
            })
            .collect();
        by_set.insert(
            format!("{}-{}", set.name, page::size(set.n)),
            json!({"verdict": results.verdict(set), "runs": runs}),
        );
    }
    json!({"origin": origin, "sets": by_set})
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::sets::Spec;
    use super::{Arguments, figures};
    use crate::bench::machine::origin;
    use crate::bench::results::Results;
    use crate::bench::results::tests::run;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parsed(words: &[&str]) -> Arguments {
        Line::parse_from(["bench"].iter().chain(words)).arguments
    }

    #[test]
    fn files_stand_alone_unless_sets_are_named() {
        assert_eq!(parsed(&[]).specs().unwrap(), Spec::synthetic());
        assert_eq!(
            parsed(&["--quick"]).specs().unwrap(),
            [Spec::Clustered(100)]
        );
        let copies = Spec::Copies("a.npy".into());
        let alone = parsed(&["--vectors", "a.npy"]).specs().unwrap();
        assert_eq!(alone, std::slice::from_ref(&copies));
        let both = ["--vectors", "a.npy", "--sets", "copies,uniform-256"];
        assert_eq!(parsed(&both).specs().unwrap(), [Spec::Uniform(256), copies]);
        assert!(parsed(&["--sets", "copies"]).specs().is_err());
    }

    #[test]
    fn the_command_is_told_without_folders() {
        let arguments = parsed(&[
            "--vectors",
            "some/folder/a.npy",
            "--size",
            "1m",
            "--peers",
            "scann",
        ]);
        assert_eq!(
            arguments.command(),
            "cargo xtask bench index --peers scann --size 1m --seed 1 --vectors a.npy"
        );
    }

    #[test]
    fn the_last_line_holds_every_run_and_the_verdict() {
        let results = Results {
            runs: vec![
                run("likeness", &[(0.96, 8_000.0)], Some(3_000.0)),
                run("hnswlib", &[(0.96, 4_000.0)], Some(500.0)),
            ],
        };
        let sets = [results.runs[0].set.clone()];
        let figures = figures(&results, &sets, &origin(String::new()).unwrap());
        let set = &figures["sets"]["clustered-256-200k"];
        assert_eq!(set["runs"].as_array().unwrap().len(), 2);
        assert_eq!(set["verdict"][0]["met"], true);
        assert_eq!(set["runs"][0]["queries_per_s_at_recall"]["0.95"], 8_000.0);
    }
}
