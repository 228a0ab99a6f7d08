//! Pairs that people have judged.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

use crate::error::Refusal;

/// Most judged pairs of a file; more are refused.
const MAX_LABELS: usize = 100_000;

/// A line of the file. Who judged and why is for people.
#[derive(Debug, Deserialize)]
struct Line {
    a: String,
    b: String,
    same: bool,
}

/// Judged pairs, and the files that they are of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Labels {
    /// Each once, in the order of their first lines.
    pub(super) files: Vec<PathBuf>,
    /// Numbers of two files, and whether they are near-duplicates.
    pub(super) pairs: Vec<(usize, usize, bool)>,
}

impl Labels {
    /// Reads a file; paths in it are relative to its folder.
    ///
    /// # Errors
    /// If it cannot be read, a line is none, a picture is missing, or a pair is judged both ways.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, |name| folder.join(name))
            .map_err(|error| Refusal::Input.because(format!("`{}`: {error:#}", path.display())))
    }

    fn parse(text: &str, locate: impl Fn(&str) -> PathBuf) -> anyhow::Result<Self> {
        let mut labels = Self::default();
        let mut numbers: HashMap<PathBuf, usize> = HashMap::new();
        let mut judged: HashMap<(usize, usize), bool> = HashMap::new();
        let lines = text.lines().enumerate();
        for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let number = number + 1;
            let Line { a, b, same } =
                serde_json::from_str(line).with_context(|| format!("line {number}"))?;
            let mut file = |name: &str| {
                let path = locate(name);
                anyhow::ensure!(
                    path.is_file(),
                    "line {number}: there is no file `{}`; export the pictures, and name their files",
                    path.display()
                );
                let next = labels.files.len();
                Ok(*numbers.entry(path.clone()).or_insert_with(|| {
                    labels.files.push(path);
                    next
                }))
            };
            let (a, b) = (file(&a)?, file(&b)?);
            anyhow::ensure!(a != b, "line {number}: a picture is paired with itself");
            let pair = (a.min(b), a.max(b));
            match judged.insert(pair, same) {
                None => labels.pairs.push((pair.0, pair.1, same)),
                Some(before) => anyhow::ensure!(
                    before == same,
                    "line {number}: the pair was judged the other way before"
                ),
            }
            anyhow::ensure!(
                labels.pairs.len() <= MAX_LABELS,
                "more than {MAX_LABELS} pairs"
            );
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Labels> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        Labels::parse(text, |name| folder.join(name))
    }

    #[test]
    fn pairs_are_read_once_and_other_fields_ignored() {
        let labels = parse(
            "{\"a\":\"Cargo.toml\",\"b\":\"default.toml\",\"same\":true,\"author\":\"x\",\"score\":0.4}\n\n\
             {\"a\":\"default.toml\",\"b\":\"Cargo.toml\",\"same\":true}\n\
             {\"a\":\"default.toml\",\"b\":\"src/main.rs\",\"same\":false}\n",
        )
        .unwrap();
        assert_eq!(labels.files.len(), 3);
        assert_eq!(labels.pairs, [(0, 1, true), (1, 2, false)]);
    }

    #[test]
    fn a_line_that_cannot_be_used_is_named() {
        let cases = [
            ("{\"a\":\"x\"}", "line 1"),
            (
                "{\"a\":\"x\",\"b\":\"y\",\"same\":true}",
                "there is no file",
            ),
            (
                "{\"a\":\"Cargo.toml\",\"b\":\"Cargo.toml\",\"same\":true}",
                "itself",
            ),
            (
                "{\"a\":\"Cargo.toml\",\"b\":\"default.toml\",\"same\":true}\n\
                 {\"a\":\"Cargo.toml\",\"b\":\"default.toml\",\"same\":false}",
                "line 2: the pair was judged the other way",
            ),
        ];
        for (text, expected) in cases {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
