//! Sets of vectors: which there are, and the folders that hold them.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::python;
use crate::process;
use crate::report;

/// Raised whenever `sets.py` makes other vectors from the same seed.
const RECIPE_VERSION: u32 = 1;
const LIMIT: Duration = Duration::from_secs(60 * 60);
/// Dimensions of the synthetic sets.
const DIMENSIONS: [u32; 4] = [100, 256, 512, 768];

/// A set to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Spec {
    /// Members around centres.
    Clustered(u32),
    /// No structure.
    Uniform(u32),
    /// Real vectors from a file, enlarged.
    Copies(PathBuf),
    /// A file of ann-benchmarks.
    Hdf5(PathBuf),
}

/// What `set.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The name of [`Spec::name`].
    pub(crate) name: String,
    /// Number of vectors.
    pub(crate) n: u64,
    pub(crate) dim: u64,
    pub(crate) metric: String,
    pub(crate) seed: u64,
    /// How it was made, in words.
    pub(crate) recipe: String,
}

/// A number of vectors: `200000`, `200k` or `1m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let (digits, unit) = match lower.strip_suffix('k') {
            Some(digits) => (digits, 1_000),
            None => match lower.strip_suffix('m') {
                Some(digits) => (digits, 1_000_000),
                None => (lower.as_str(), 1),
            },
        };
        let size = digits
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(unit));
        match size {
            Some(size) if size >= 1_000 => Ok(Self(size)),
            _ => Err(format!("`{text}` is no number of vectors from 1k on")),
        }
    }
}

impl Spec {
    /// Returns all synthetic sets.
    pub(crate) fn synthetic() -> Vec<Self> {
        let clustered = DIMENSIONS.map(Self::Clustered);
        clustered
            .into_iter()
            .chain(DIMENSIONS.map(Self::Uniform))
            .collect()
    }

    /// Returns the synthetic set of a name.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn named(name: &str) -> anyhow::Result<Self> {
        if let Some(spec) = Self::synthetic()
            .into_iter()
            .find(|spec| spec.name() == name)
        {
            return Ok(spec);
        }
        let names: Vec<String> = Self::synthetic().iter().map(Self::name).collect();
        bail!(
            "no set is called `{name}`; there are {}, and `copies` with --vectors",
            names.join(", ")
        )
    }

    /// Returns the name, also of files.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Clustered(dim) => format!("clustered-{dim}"),
            Self::Uniform(dim) => format!("uniform-{dim}"),
            Self::Copies(_) => "copies".to_owned(),
            Self::Hdf5(path) => path
                .file_stem()
                .map_or_else(String::new, |stem| plain(&stem.to_string_lossy())),
        }
    }

    /// Makes the set unless it is there; returns its folder and facts.
    ///
    /// # Errors
    /// If a file cannot be read, or Python fails.
    pub(crate) fn provide(&self, size: Size, seed: u64) -> anyhow::Result<(PathBuf, Facts)> {
        let (kind, file) = match self {
            Self::Clustered(_) => ("clustered", None),
            Self::Uniform(_) => ("uniform", None),
            Self::Copies(path) => ("copies", Some(path)),
            Self::Hdf5(path) => ("hdf5", Some(path)),
        };
        let mut folder_name = format!("{}-{}-{seed}-v{RECIPE_VERSION}", self.name(), size.0);
        if let Some(file) = file {
            folder_name.push_str(&format!("-{}", stamp(file)?));
        }
        let folder = python::cache()?.join("sets").join(folder_name);
        if let Ok(facts) = read(&folder) {
            return Ok((folder, facts));
        }
        report::note(&format!("making the set {}", self.name()));
        let mut command = python::script("sets", "sets.py")?;
        // Nothing is measured yet, so all CPUs may help.
        command.env_remove("OMP_NUM_THREADS");
        command.env_remove("OPENBLAS_NUM_THREADS");
        command.args([kind, "--name", &self.name(), "--folder"]);
        command.arg(&folder);
        command.args(["--seed", &seed.to_string()]);
        command.args(["--size", &size.0.to_string()]);
        if let Self::Clustered(dim) | Self::Uniform(dim) = self {
            command.args(["--dim", &dim.to_string()]);
        }
        if let Some(file) = file {
            command.arg("--file").arg(file);
        }
        process::run(command, LIMIT)?;
        let facts = read(&folder)?;
        Ok((folder, facts))
    }
}

/// Replaces what would need quoting in a file name, a page or a plot.
fn plain(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => letter,
            _ => '-',
        })
        .collect()
}

fn read(folder: &Path) -> anyhow::Result<Facts> {
    let path = folder.join("set.json");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
}

/// Tells one state of a file from another.
fn stamp(file: &Path) -> anyhow::Result<String> {
    let facts =
        std::fs::metadata(file).with_context(|| format!("looking at {}", file.display()))?;
    let changed = facts
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |age| age.as_secs());
    Ok(format!("{:x}-{changed:x}", facts.len()))
}

#[cfg(test)]
mod tests {
    use super::{Size, Spec};

    #[test]
    fn a_size_is_read_with_and_without_unit() {
        assert_eq!("200k".parse(), Ok(Size(200_000)));
        assert_eq!("1M".parse(), Ok(Size(1_000_000)));
        assert_eq!("1500".parse(), Ok(Size(1_500)));
        for wrong in ["", "k", "12", "1.5m", "-1k", "99999999999999999m"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn synthetic_sets_are_found_by_name() {
        for spec in Spec::synthetic() {
            assert_eq!(Spec::named(&spec.name()).unwrap(), spec);
        }
        assert!(Spec::named("clustered-7").is_err());
        assert_eq!(Spec::Hdf5("a/glove 100.hdf5".into()).name(), "glove-100");
    }
}
