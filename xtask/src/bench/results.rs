//! What was measured, kept in one file: a run replaces the one before of the same set, contender and
//! build, so that a long measurement can be made in parts.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::contenders::{self, Family, OURS};
use super::front::{self, Point};
use super::machine::Origin;
use super::sets::Facts;

/// Recalls at which searches are compared.
pub(crate) const RECALLS: [f64; 2] = [0.95, 0.99];
/// Mixed load against the best graph.
const MIXED_AIM: f64 = 5.0;
/// Search against the best peer.
const SEARCH_AIM: f64 = 1.0;
/// Inserts a second at [`INSERT_DIM`] dimensions, one by one.
const SINGLE_AIM: f64 = 50_000.0;
/// The same in batches.
const BATCH_AIM: f64 = 100_000.0;
const INSERT_DIM: u64 = 256;

/// Pairs of a search and an insert, at the fastest setting with recall of at least 0.99.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mixed {
    pub(crate) setting: Value,
    pub(crate) recall: f64,
    pub(crate) cpu_share: f64,
    pub(crate) pairs: u64,
    pub(crate) pairs_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// What a driver writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) build_cpu_share: f64,
    /// Training and whatever else comes before rows are added, in seconds.
    pub(crate) create_s: f64,
    /// From nothing to all rows, in seconds.
    pub(crate) build_s: f64,
    /// In batches of 1,000, training not counted.
    pub(crate) inserts_per_s_batch: f64,
    /// One by one into an index that holds the others.
    pub(crate) inserts_per_s_single: f64,
    pub(crate) single_cpu_share: f64,
    /// One by one from nothing, where that was measured.
    #[serde(default)]
    pub(crate) inserts_per_s_single_from_empty: Option<f64>,
    /// Growth of the process, by the number of vectors; the vectors themselves included.
    pub(crate) bytes_per_vector: f64,
    /// What the package says of itself.
    pub(crate) own_bytes_per_vector: Option<f64>,
    /// A call that finds nothing, in microseconds.
    pub(crate) empty_call_us: f64,
    pub(crate) points: Vec<Point>,
    /// `None` if no setting reached the recall.
    pub(crate) mixed: Option<Mixed>,
}

/// One build of one contender on one set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) set: Facts,
    pub(crate) contender: String,
    pub(crate) build: String,
    pub(crate) origin: Origin,
    pub(crate) figures: Figures,
}

/// All runs, in the order of first measurement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) runs: Vec<Run>,
}

/// What a contender did, and with which build.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Best {
    pub(crate) contender: String,
    pub(crate) build: String,
    pub(crate) value: f64,
}

/// A figure of ours, the best of the others where there is one to compare with, and the aim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Comparison {
    pub(crate) what: String,
    pub(crate) ours: Option<f64>,
    pub(crate) best: Option<Best>,
    /// Ours by theirs; ours alone where the aim is a number.
    pub(crate) reached: Option<f64>,
    pub(crate) aim: f64,
    /// `None` if there was nothing to compare.
    pub(crate) met: Option<bool>,
}

impl Results {
    /// Reads a file of results; none if there is no file.
    ///
    /// # Errors
    /// If the file is there and cannot be understood.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not of this version; remove it", path.display()))
    }

    /// Writes the file, one run on a line.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = "{\"runs\": [\n".to_owned();
        for (index, run) in self.runs.iter().enumerate() {
            let separator = if index == 0 { "" } else { ",\n" };
            text.push_str(separator);
            text.push_str(&serde_json::to_string(run).context("writing a run")?);
        }
        text.push_str("\n]}\n");
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Adds a run, in place of the one it repeats.
    pub(crate) fn put(&mut self, run: Run) {
        let same = |other: &&mut Run| {
            (&other.set.name, other.set.n, &other.contender, &other.build)
                == (&run.set.name, run.set.n, &run.contender, &run.build)
        };
        match self.runs.iter_mut().find(same) {
            Some(place) => *place = run,
            None => self.runs.push(run),
        }
    }

    /// Returns the sets by name and size, each once.
    pub(crate) fn sets(&self) -> Vec<&Facts> {
        let mut sets: Vec<&Facts> = Vec::new();
        for run in &self.runs {
            if !sets
                .iter()
                .any(|set| set.name == run.set.name && set.n == run.set.n)
            {
                sets.push(&run.set);
            }
        }
        sets.sort_by_key(|set| (kind(&set.name), set.n, set.dim));
        sets
    }

    /// Returns the runs of a set, in the order of the contenders.
    pub(crate) fn of(&self, set: &Facts) -> Vec<&Run> {
        let mut runs: Vec<&Run> = self
            .runs
            .iter()
            .filter(|run| run.set.name == set.name && run.set.n == set.n)
            .collect();
        runs.sort_by_key(|run| place(&run.contender));
        runs
    }

    /// Compares ours with the peers on a set.
    pub(crate) fn verdict(&self, set: &Facts) -> Vec<Comparison> {
        let runs = self.of(set);
        let best_of =
            |ours: bool, among: &dyn Fn(Family) -> bool, value: &dyn Fn(&Run) -> Option<f64>| {
                runs.iter()
                    .filter(|run| (run.contender == OURS) == ours)
                    .filter(|run| {
                        contenders::find(&run.contender).is_some_and(|found| among(found.family))
                    })
                    .filter_map(|run| {
                        Some(Best {
                            contender: run.contender.clone(),
                            build: run.build.clone(),
                            value: value(run)?,
                        })
                    })
                    .max_by(|a, b| a.value.total_cmp(&b.value))
            };
        let all = |_: Family| true;
        let graphs = |family: Family| family == Family::Graph;
        let mixed = |run: &Run| run.figures.mixed.as_ref().map(|mixed| mixed.pairs_per_s);
        let mut verdict = vec![compared(
            "mixed load at recall ≥ 0.99, pairs/s, best graph".to_owned(),
            best_of(true, &all, &mixed),
            best_of(false, &graphs, &mixed),
            MIXED_AIM,
        )];
        for recall in RECALLS {
            let speed = |run: &Run| front::speed_at(&front::front(&run.figures.points), recall);
            verdict.push(compared(
                format!("search at recall {recall}, queries/s, best peer"),
                best_of(true, &all, &speed),
                best_of(false, &all, &speed),
                SEARCH_AIM,
            ));
        }
        if set.dim == INSERT_DIM {
            let single = |run: &Run| {
                let figures = &run.figures;
                Some(
                    figures
                        .inserts_per_s_single_from_empty
                        .unwrap_or(figures.inserts_per_s_single),
                )
            };
            let batch = |run: &Run| Some(run.figures.inserts_per_s_batch);
            verdict.push(absolute(
                "inserts/s one by one",
                best_of(true, &all, &single),
                SINGLE_AIM,
            ));
            verdict.push(absolute(
                "inserts/s in batches",
                best_of(true, &all, &batch),
                BATCH_AIM,
            ));
        }
        verdict
    }
}

fn compared(what: String, ours: Option<Best>, best: Option<Best>, aim: f64) -> Comparison {
    let ours = ours.map(|best| best.value);
    let reached = match (ours, &best) {
        (Some(ours), Some(best)) => Some(ours / best.value),
        _ => None,
    };
    let met = match (ours, &best) {
        // What we cannot do and another can is not met.
        (None, Some(_)) => Some(false),
        _ => reached.map(|reached| reached >= aim),
    };
    Comparison {
        what,
        ours,
        best,
        reached,
        aim,
        met,
    }
}

fn absolute(what: &str, ours: Option<Best>, aim: f64) -> Comparison {
    let ours = ours.map(|best| best.value);
    Comparison {
        what: what.to_owned(),
        ours,
        best: None,
        reached: ours,
        aim,
        met: ours.map(|ours| ours >= aim),
    }
}

/// Sets of one kind stand together: the name without the dimensions.
fn kind(name: &str) -> &str {
    name.trim_end_matches(|letter: char| letter.is_ascii_digit())
}

fn place(contender: &str) -> usize {
    let known = contenders::CONTENDERS;
    known
        .iter()
        .position(|one| one.name == contender)
        .unwrap_or(known.len())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::super::front::Point;
    use super::super::machine::Origin;
    use super::super::sets::Facts;
    use super::{Figures, Mixed, Results, Run};

    /// A run with the given points (recall, queries a second) and pairs a second.
    pub(crate) fn run(contender: &str, points: &[(f64, f64)], pairs: Option<f64>) -> Run {
        Run {
            set: Facts {
                name: "clustered-256".to_owned(),
                n: 200_000,
                dim: 256,
                metric: "cosine".to_owned(),
                seed: 1,
                recipe: "made up".to_owned(),
            },
            contender: contender.to_owned(),
            build: "default".to_owned(),
            origin: Origin {
                commit: "0123456789".to_owned(),
                date: "2026-01-01".to_owned(),
                machine: "a machine".to_owned(),
                command: "a command".to_owned(),
            },
            figures: Figures {
                versions: BTreeMap::from([(contender.to_owned(), "1.0".to_owned())]),
                build_cpu_share: 1.0,
                create_s: 0.0,
                build_s: 10.0,
                inserts_per_s_batch: 60_000.0,
                inserts_per_s_single: 55_000.0,
                single_cpu_share: 1.0,
                inserts_per_s_single_from_empty: None,
                bytes_per_vector: 600.0,
                own_bytes_per_vector: None,
                empty_call_us: 1.0,
                points: points
                    .iter()
                    .map(|&(recall, queries_per_s)| Point {
                        setting: Value::Null,
                        recall,
                        queries_per_s,
                        p50_us: 1.0,
                        p99_us: 2.0,
                        cpu_share: 1.0,
                    })
                    .collect(),
                mixed: pairs.map(|pairs_per_s| Mixed {
                    setting: Value::Null,
                    recall: 0.99,
                    cpu_share: 1.0,
                    pairs: 10_000,
                    pairs_per_s,
                    p50_us: 1.0,
                    p99_us: 2.0,
                }),
            },
        }
    }

    fn results() -> Results {
        Results {
            runs: vec![
                run("hnswlib", &[(0.9, 9_000.0), (0.995, 2_000.0)], Some(600.0)),
                run("faiss-ivf-pqfs", &[(0.95, 8_000.0)], Some(9_000.0)),
                run(
                    "likeness",
                    &[(0.95, 8_800.0), (0.99, 4_000.0)],
                    Some(3_600.0),
                ),
            ],
        }
    }

    #[test]
    fn mixed_load_is_set_against_graphs_and_search_against_all() {
        let results = results();
        let verdict = results.verdict(&results.runs[0].set);
        let mixed = &verdict[0];
        assert_eq!(mixed.best.as_ref().unwrap().contender, "hnswlib");
        assert_eq!((mixed.reached, mixed.met), (Some(6.0), Some(true)));
        let search = &verdict[1];
        assert_eq!(search.best.as_ref().unwrap().contender, "faiss-ivf-pqfs");
        assert!((search.reached.unwrap() - 1.1).abs() < 1e-9);
        let insert: Vec<Option<bool>> = verdict[3..].iter().map(|one| one.met).collect();
        assert_eq!(insert, [Some(true), Some(false)]);
    }

    #[test]
    fn what_only_others_reach_is_not_met_and_nothing_to_compare_says_nothing() {
        let mut results = results();
        results.runs[2] = run("likeness", &[(0.9, 10_000.0)], None);
        let verdict = results.verdict(&results.runs[0].set);
        assert_eq!(verdict[0].met, Some(false));
        assert_eq!(verdict[2].met, Some(false));
        results.runs.drain(..2);
        let verdict = results.verdict(&results.runs[0].set);
        assert_eq!(verdict[0].met, None);
    }

    #[test]
    fn a_repeated_run_replaces_and_a_file_keeps_all() {
        let mut results = results();
        results.put(run("hnswlib", &[(0.9, 1.0)], None));
        assert_eq!(results.runs.len(), 3);
        let mut larger = run("hnswlib", &[(0.9, 1.0)], None);
        larger.set.n = 1_000_000;
        results.put(larger);
        assert_eq!(results.runs.len(), 4);
        assert_eq!(results.sets().len(), 2);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.json");
        assert_eq!(Results::read(&path).unwrap(), Results::default());
        results.write(&path).unwrap();
        assert_eq!(Results::read(&path).unwrap(), results);
        std::fs::write(&path, "{}").unwrap();
        assert!(Results::read(&path).is_err());
    }
}
