//! Ways to compare two pictures: the scorer, the plain cosine, PDQ, and hashes that others made.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context as _;
use likeness_engine::dedup::scorer::Scorer;
use serde::Deserialize;

use super::lab::lab_id;
use crate::corpus::Signed;
use crate::error::Refusal;

/// Bits of a PDQ hash, and the distance that its authors recommend at most.
const PDQ_BITS: f32 = 256.0;
const PDQ_RECOMMENDED: u16 = 31;
/// The cosine from which on SSCD's authors call two pictures copies (precision of 90 % on DISC).
const COSINE_RECOMMENDED: f32 = 0.75;

/// Hashes of a peer, as its driver writes them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HashFile {
    /// Name and version.
    name: String,
    /// Bits of a hash.
    bits: u32,
    /// Greatest distance that its documentation recommends.
    recommended: u32,
    /// Hexadecimal, by the name of the file.
    hashes: HashMap<String, String>,
}

/// A peer that compares pictures by the bits in which their hashes differ.
#[derive(Debug)]
pub(super) struct Hashes {
    name: String,
    bits: u32,
    recommended: u32,
    /// By number of the picture; 64-bit words.
    hashes: Vec<Vec<u64>>,
}

impl Hashes {
    /// Reads the hashes of all pictures.
    ///
    /// # Errors
    /// If the file has another form, or a picture has no hash.
    pub(super) fn read(path: &Path, num_pictures: usize) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        Self::parse(&text, num_pictures)
            .map_err(|error| Refusal::Input.because(format!("`{}`: {error:#}", path.display())))
    }

    fn parse(text: &str, num_pictures: usize) -> anyhow::Result<Self> {
        let file: HashFile = serde_json::from_str(text)?;
        let hashes = (0..num_pictures)
            .map(|idx| {
                let id = lab_id(idx);
                let hex = file
                    .hashes
                    .get(&id)
                    .with_context(|| format!("no hash for `{id}`"))?;
                anyhow::ensure!(
                    hex.len() * 4 == file.bits as usize && hex.is_ascii(),
                    "the hash of `{id}` has not {} bits",
                    file.bits
                );
                hex.as_bytes()
                    .chunks(16)
                    .map(|word| {
                        let digits = std::str::from_utf8(word)?;
                        u64::from_str_radix(digits, 16)
                            .with_context(|| format!("the hash of `{id}` is not hexadecimal"))
                    })
                    .collect()
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            name: file.name,
            bits: file.bits,
            recommended: file.recommended,
            hashes,
        })
    }

    fn distance(&self, first: usize, second: usize) -> u32 {
        let words = self.hashes[first].iter().zip(&self.hashes[second]);
        words.map(|(a, b)| (a ^ b).count_ones()).sum()
    }
}

/// One way to compare two pictures.
#[derive(Debug)]
pub(super) enum Contender<'a> {
    Scorer(&'a Scorer, f32),
    Cosine,
    Pdq,
    Hashes(Hashes),
}

impl Contender<'_> {
    /// Returns its name and what its score is.
    pub(super) fn title(&self) -> (String, String) {
        let (name, score) = match self {
            Self::Scorer(scorer, _) => (format!("likeness {}", scorer.id()), "probability"),
            Self::Cosine => ("cosine".to_owned(), "of the embeddings"),
            Self::Pdq => ("PDQ".to_owned(), "1 − bits that differ / 256"),
            Self::Hashes(hashes) => {
                let score = format!("1 − bits that differ / {}", hashes.bits);
                return (hashes.name.clone(), score);
            }
        };
        (name, score.to_owned())
    }

    /// Returns the threshold that is used when nobody tunes one, in words and as a score.
    pub(super) fn recommended(&self) -> (String, f32) {
        match self {
            Self::Scorer(_, threshold) => (format!("score ≥ {threshold:.4}"), *threshold),
            Self::Cosine => (format!("cosine ≥ {COSINE_RECOMMENDED}"), COSINE_RECOMMENDED),
            Self::Pdq => (
                format!("distance ≤ {PDQ_RECOMMENDED}"),
                1.0 - f32::from(PDQ_RECOMMENDED) / PDQ_BITS,
            ),
            Self::Hashes(hashes) => (
                format!("distance ≤ {}", hashes.recommended),
                1.0 - hashes.recommended as f32 / hashes.bits as f32,
            ),
        }
    }

    /// Returns the score, 0 to 1, of two pictures given by number and signature.
    pub(super) fn score(&self, first: (usize, &Signed), second: (usize, &Signed)) -> f32 {
        match self {
            Self::Scorer(scorer, _) => first.1.compare(second.1, scorer).score,
            Self::Cosine => first.1.features(second.1).cosine.clamp(0.0, 1.0),
            Self::Pdq => 1.0 - f32::from(first.1.features(second.1).pdq_distance) / PDQ_BITS,
            Self::Hashes(hashes) => {
                1.0 - hashes.distance(first.0, second.0) as f32 / hashes.bits as f32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"name": "phash 1", "bits": 64, "recommended": 10,
        "hashes": {"picture-0": "00000000000000ff", "picture-1": "000000000000000f"}}"#;

    #[test]
    fn hashes_are_compared_by_bits() {
        let hashes = Hashes::parse(FILE, 2).unwrap();
        assert_eq!((hashes.distance(0, 1), hashes.distance(0, 0)), (4, 0));
        let contender = Contender::Hashes(hashes);
        assert_eq!(contender.recommended().1, 1.0 - 10.0 / 64.0);
    }

    #[test]
    fn incomplete_and_malformed_files_are_refused() {
        let refused = |text: &str, count| Hashes::parse(text, count).unwrap_err().to_string();
        assert!(refused(FILE, 3).contains("`picture-2`"));
        assert!(refused(&FILE.replace("00ff", "0ff"), 2).contains("64 bits"));
        assert!(refused(&FILE.replace("00ff", "00fx"), 2).contains("hexadecimal"));
    }
}
