//! What an index hands over as candidates, against what exact search finds.
//!
//! A query is an edited copy. *Wanted* is every vector that exact search has among its first K and whose
//! cosine is high enough that the scorer could join the pair; recall@K is the share of wanted vectors among
//! the first K candidates. Where the scorer looks far, strangers are among the wanted: those that are *copies* of the same
//! picture are counted by themselves as well. A copy so strong that its *original* is below that cosine wants
//! nothing of it, so the originals are counted apart, whatever their cosine.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::interval::Share;
use super::report::percent;

/// What one query should find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Edit that made the query.
    pub edit: &'static str,
    /// Numbers of the wanted vectors, without the query itself.
    pub wanted: Vec<u64>,
    /// Number of the original.
    pub original: u64,
    /// Numbers of the original and all its copies.
    pub picture: Range<u64>,
}

/// Counts over queries to one index.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    copies: Share,
    edits: BTreeMap<&'static str, [Share; 2]>,
}

impl Tally {
    /// Counts what a query found.
    pub fn add(&mut self, target: &Target, candidates: impl IntoIterator<Item = u64>) {
        let found: HashSet<u64> = candidates.into_iter().collect();
        let [wanted, originals] = self.edits.entry(target.edit).or_default();
        for number in &target.wanted {
            let is_found = found.contains(number);
            wanted.add(is_found);
            if target.picture.contains(number) {
                self.copies.add(is_found);
            }
        }
        originals.add(found.contains(&target.original));
    }

    /// Returns the shares that were found: over all edits, and of each in the order of names.
    pub fn finish(self) -> FoundCandidates {
        let mut found = FoundCandidates {
            copies: self.copies,
            ..FoundCandidates::default()
        };
        for (edit, [wanted, of_originals]) in self.edits {
            for (sum, share) in [
                (&mut found.recall, wanted),
                (&mut found.originals, of_originals),
            ] {
                sum.count += share.count;
                sum.total += share.total;
            }
            found.edits.push(EditCandidates {
                edit: edit.to_owned(),
                wanted,
                originals: of_originals,
            });
        }
        found
    }
}

/// What was found for all queries.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FoundCandidates {
    /// Wanted vectors among the candidates.
    pub recall: Share,
    /// Those of them that are copies of the same picture, or the picture.
    pub copies: Share,
    /// Originals among the candidates, whatever their cosine.
    pub originals: Share,
    /// Wanted vectors and originals for each edit.
    pub edits: Vec<EditCandidates>,
}

/// What was found for the queries of one edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EditCandidates {
    /// Its name.
    pub edit: String,
    /// Wanted vectors that were found.
    pub wanted: Share,
    /// Originals that were found.
    pub originals: Share,
}

/// Cosines of pairs of different pictures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CosineSummary {
    /// How many pairs.
    pub pairs: u64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
    /// One of a thousand is at or above it.
    pub high: f32,
    /// The largest.
    pub largest: f32,
}

impl CosineSummary {
    /// Sums up; nothing of nothing.
    pub fn of(mut cosines: Vec<f32>) -> Option<Self> {
        cosines.sort_unstable_by(f32::total_cmp);
        let largest = *cosines.last()?;
        let pairs = cosines.len();
        let mean = cosines.iter().map(|&c| f64::from(c)).sum::<f64>() / pairs as f64;
        let squares: f64 = cosines.iter().map(|&c| (f64::from(c) - mean).powi(2)).sum();
        Some(Self {
            pairs: pairs as u64,
            mean,
            deviation: (squares / pairs as f64).sqrt(),
            high: cosines[pairs - 1 - pairs / 1_000],
            largest,
        })
    }
}

/// How far queries are from pictures that they are no copies of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Strangers {
    /// Real ones.
    pub real: CosineSummary,
    /// Synthetic ones; `None` if there were none.
    pub distractors: Option<CosineSummary>,
}

/// How one way to find candidates did, and its price.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SchemeReport {
    /// Its name.
    pub scheme: String,
    /// How it was set, in words.
    pub settings: String,
    /// What it found.
    #[serde(flatten)]
    pub found: FoundCandidates,
    /// Time of a query, exact comparison of the candidates included, on one thread.
    pub micros_per_query: f64,
    /// Time of adding a vector, on one thread, over the whole growth of the index.
    pub micros_per_insert: f64,
    /// Bytes of memory for each vector, the exact vector included.
    pub bytes_per_image: f64,
}

/// An evaluation of candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidatesReport {
    /// Name of the list of edits.
    pub edit_list: String,
    /// Seed of edits, distractors and order of insertion.
    pub seed: u64,
    /// Embedding model.
    pub model: String,
    /// Scorer's name and version.
    pub scorer: String,
    /// Cosine under which the scorer cannot join a pair.
    pub cosine_floor: f32,
    /// K: candidates asked for.
    pub candidates: u64,
    /// Pictures that queries were made from.
    pub pictures: u64,
    /// Queries: copies of them.
    pub queries: u64,
    /// Pictures that distractors were fitted on.
    pub background: u64,
    /// Distractors.
    pub distractors: u64,
    /// Vectors in the index.
    pub vectors: u64,
    /// Whether the program is a release build; the times of another say little.
    pub release: bool,
    /// Whether distractors are like real strangers.
    pub strangers: Strangers,
    /// Time of an exact search, which reads every vector.
    pub exact_micros_per_query: f64,
    /// The schemes in the order in which they were asked for.
    pub schemes: Vec<SchemeReport>,
}

impl fmt::Display for CandidatesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Candidates: list `{}`, seed {}, {} pictures, {} queries, {} vectors, {} of them distractors",
            self.edit_list, self.seed, self.pictures, self.queries, self.vectors, self.distractors
        )?;
        writeln!(
            f,
            "model {}, scorer {}; wanted: cosine {:.4} and above, among the first {} of exact search",
            self.model, self.scorer, self.cosine_floor, self.candidates
        )?;
        if !self.release {
            writeln!(f, "this is no release build: the times say little")?;
        }
        writeln!(
            f,
            "\ncosine with strangers      mean  deviation  99.9 %  largest     pairs"
        )?;
        write_summary(f, "real pictures", &self.strangers.real)?;
        if let Some(distractors) = &self.strangers.distractors {
            write_summary(f, "distractors", distractors)?;
        }
        writeln!(
            f,
            "\nscheme         recall  95 % interval    copies  95 % interval    µs a query  µs an insertion  bytes an image"
        )?;
        writeln!(
            f,
            "{:<12}  {:>7.2}  {:>15}  {:>7.2}  {:>15}  {:>10.0}",
            "brute force",
            100.0,
            "by definition",
            100.0,
            "by definition",
            self.exact_micros_per_query
        )?;
        for scheme in &self.schemes {
            writeln!(
                f,
                "{:<12}  {}  {}  {:>10.0}  {:>15.1}  {:>14.0}",
                scheme.scheme,
                share_columns(&scheme.found.recall),
                share_columns(&scheme.found.copies),
                scheme.micros_per_query,
                scheme.micros_per_insert,
                scheme.bytes_per_image
            )?;
        }
        for scheme in &self.schemes {
            write_scheme(f, scheme, self.candidates)?;
        }
        Ok(())
    }
}

fn write_summary(f: &mut fmt::Formatter<'_>, name: &str, summary: &CosineSummary) -> fmt::Result {
    writeln!(
        f,
        "{name:<21}  {:>8.4}  {:>9.4}  {:>6.3}  {:>7.3}  {:>8}",
        summary.mean, summary.deviation, summary.high, summary.largest, summary.pairs
    )
}

fn write_scheme(f: &mut fmt::Formatter<'_>, scheme: &SchemeReport, k: u64) -> fmt::Result {
    writeln!(f, "\n{}: {}", scheme.scheme, scheme.settings)?;
    let found = &scheme.found;
    writeln!(f, "recall@{k:<12}  {}", percent(&found.recall))?;
    writeln!(f, "copies found         {}", percent(&found.copies))?;
    writeln!(f, "originals found      {}", percent(&found.originals))?;
    let names = found.edits.iter().map(|edit| edit.edit.chars().count());
    let width = names.max().unwrap_or(0).max("edit".len());
    writeln!(
        f,
        "{:width$}  wanted  95 % interval        of  originals  95 % interval        of",
        "edit"
    )?;
    for edit in &found.edits {
        writeln!(
            f,
            "{:width$}  {}  {:>6}    {}  {:>6}",
            edit.edit,
            share_columns(&edit.wanted),
            edit.wanted.total,
            share_columns(&edit.originals),
            edit.originals.total
        )?;
    }
    Ok(())
}

/// `99.40   98.71 –  99.72`, in percent; dashes for a share of nothing.
fn share_columns(share: &Share) -> String {
    let Some(value) = share.value() else {
        return format!("{:>7}  {:>15}", "–", "–");
    };
    let interval = share.interval();
    format!(
        "{:>7.2}  {:>6.2} – {:>6.2}",
        value * 100.0,
        interval.low * 100.0,
        interval.high * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(edit: &'static str, wanted: &[u64], original: u64) -> Target {
        Target {
            edit,
            wanted: wanted.to_vec(),
            original,
            picture: original..original + 2,
        }
    }

    fn share(count: u64, total: u64) -> Share {
        Share { count, total }
    }

    #[test]
    fn wanted_vectors_and_originals_are_counted_apart() {
        let mut tally = Tally::default();
        tally.add(&target("gray", &[1, 2, 3], 1), [3, 1, 9]);
        tally.add(&target("crop10", &[], 4), [4]);
        tally.add(&target("gray", &[5], 6), []);
        let found = tally.finish();
        let shares = (found.recall, found.copies, found.originals);
        // Of what is wanted 1 and 2 are copies of 1.
        assert_eq!(shares, (share(2, 4), share(1, 2), share(2, 3)));
        let edits: Vec<_> = found
            .edits
            .iter()
            .map(|edit| (edit.edit.as_str(), edit.wanted, edit.originals))
            .collect();
        assert_eq!(
            edits,
            [
                ("crop10", share(0, 0), share(1, 1)),
                ("gray", share(2, 4), share(1, 2))
            ]
        );
    }

    #[test]
    fn summaries_tell_the_middle_and_the_end() {
        let cosines: Vec<f32> = (0..2_000).map(|idx| idx as f32 / 2_000.0).collect();
        let summary = CosineSummary::of(cosines).unwrap();
        assert_eq!(summary.pairs, 2_000);
        assert!((summary.mean - 0.499_75).abs() < 1e-6);
        assert!((summary.deviation - 0.288_675).abs() < 1e-4);
        // Two of two thousand are above.
        assert_eq!(
            (summary.high, summary.largest),
            (1_997.0 / 2_000.0, 1_999.0 / 2_000.0)
        );
        assert_eq!(CosineSummary::of(vec![]), None);
    }

    fn report() -> CandidatesReport {
        let mut tally = Tally::default();
        tally.add(&target("gray", &[1, 2], 1), [1]);
        tally.add(&target("crop10", &[], 1), []);
        let found = tally.finish();
        let real = CosineSummary::of(vec![0.0, 0.25]).unwrap();
        CandidatesReport {
            edit_list: "standard".to_owned(),
            seed: 7,
            model: "m 1".to_owned(),
            scorer: "pairs/1".to_owned(),
            cosine_floor: 0.375,
            candidates: 2_000,
            pictures: 1,
            queries: 2,
            background: 3,
            distractors: 10,
            vectors: 13,
            release: true,
            strangers: Strangers {
                real,
                distractors: Some(real),
            },
            exact_micros_per_query: 120.0,
            schemes: vec![SchemeReport {
                scheme: "cells".to_owned(),
                settings: "32 probes".to_owned(),
                found,
                micros_per_query: 12.3,
                micros_per_insert: 4.56,
                bytes_per_image: 1_200.0,
            }],
        }
    }

    #[test]
    fn text_has_every_figure() {
        let expected = "\
Candidates: list `standard`, seed 7, 1 pictures, 2 queries, 13 vectors, 10 of them distractors
model m 1, scorer pairs/1; wanted: cosine 0.3750 and above, among the first 2000 of exact search

cosine with strangers      mean  deviation  99.9 %  largest     pairs
real pictures            0.1250     0.1250   0.250    0.250         2
distractors              0.1250     0.1250   0.250    0.250         2

scheme         recall  95 % interval    copies  95 % interval    µs a query  µs an insertion  bytes an image
brute force    100.00    by definition   100.00    by definition         120
cells           50.00    9.45 –  90.55    50.00    9.45 –  90.55          12              4.6            1200

cells: 32 probes
recall@2000          50.00 % (9.45 – 90.55), 1 of 2
copies found         50.00 % (9.45 – 90.55), 1 of 2
originals found      50.00 % (9.45 – 90.55), 1 of 2
edit    wanted  95 % interval        of  originals  95 % interval        of
crop10        –                –       0       0.00    0.00 –  79.35       1
gray      50.00    9.45 –  90.55       2     100.00   20.65 – 100.00       1
";
        assert_eq!(report().to_string(), expected);
    }

    #[test]
    fn json_survives_a_round_trip() {
        let json = serde_json::to_string(&report()).unwrap();
        assert_eq!(
            serde_json::from_str::<CandidatesReport>(&json).unwrap(),
            report()
        );
    }
}
