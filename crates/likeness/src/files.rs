//! Image files on disk: which ones are meant, and reading them within bounds.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use likeness_vision::decode::ImageFormat;

use crate::error::Refusal;

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FoundFile {
    /// Its path relative to the folder that was named, `/` between parts; the file name alone for
    /// a file that was named itself. The same wherever the command is run from.
    pub(crate) relative: String,
    /// Where it is.
    pub(crate) path: PathBuf,
}

/// Returns the files meant by `paths`, sorted: files as they are, folders with all below them.
///
/// Links are not followed below a named folder, so that a loop cannot occur. Names that begin with
/// a dot are left out below a named folder.
///
/// # Errors
/// If a named path does not exist, or a folder cannot be read.
pub(crate) fn find(paths: &[PathBuf]) -> anyhow::Result<Vec<FoundFile>> {
    let mut found = BTreeSet::new();
    for path in paths {
        let kind = std::fs::metadata(path)
            .map_err(|error| Refusal::Missing.because(format!("`{}`: {error}", path.display())))?;
        if kind.is_dir() {
            walk(path, "", &mut found)?;
        } else {
            let name = path.file_name().unwrap_or(path.as_os_str());
            found.insert(FoundFile {
                relative: name.to_string_lossy().into_owned(),
                path: path.clone(),
            });
        }
    }
    Ok(found.into_iter().collect())
}

/// Returns the files in `folders`, named `FOLDER/PATH` and in the order of these names, which does not
/// depend on where the folders lie.
///
/// # Errors
/// As [`find`].
pub(crate) fn find_named(folders: &[PathBuf]) -> anyhow::Result<Vec<FoundFile>> {
    let mut found = BTreeSet::new();
    for folder in folders {
        let files = find(std::slice::from_ref(folder))?;
        let whole = std::fs::canonicalize(folder)
            .with_context(|| format!("cannot read `{}`", folder.display()))?;
        let named = if whole.is_dir() {
            Some(&*whole)
        } else {
            whole.parent()
        };
        let name = named.and_then(Path::file_name).unwrap_or_default();
        found.extend(files.into_iter().map(|file| FoundFile {
            relative: format!("{}/{}", name.to_string_lossy(), file.relative),
            path: file.path,
        }));
    }
    Ok(found.into_iter().collect())
}

fn walk(folder: &Path, prefix: &str, found: &mut BTreeSet<FoundFile>) -> anyhow::Result<()> {
    // Folders to come are kept here rather than on the stack: depth is the user's.
    let mut folders = vec![(folder.to_owned(), prefix.to_owned())];
    while let Some((folder, prefix)) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .with_context(|| format!("cannot read the folder `{}`", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let relative = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push((entry.path(), format!("{relative}/")));
            } else if kind.is_file() {
                found.insert(FoundFile {
                    relative,
                    path: entry.path(),
                });
            }
        }
    }
    Ok(())
}

/// Why a file is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Its first bytes are not those of a picture that can be decoded.
    NotAnImage(String),
    /// It has more bytes than the limit.
    TooLarge(u64),
    /// It cannot be read.
    Unreadable(String),
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAnImage(reason) | Self::Unreadable(reason) => f.write_str(reason),
            Self::TooLarge(num_bytes) => write!(f, "{num_bytes} bytes are more than the limit"),
        }
    }
}

/// Reads a picture of at most `max_bytes`. Looks at the first bytes before it reads the others, so
/// that a film in a folder of pictures costs nothing. Blocks.
pub(crate) fn read_image(path: &Path, max_bytes: u64) -> Result<Bytes, Unusable> {
    /// More than any format needs to be told.
    const HEAD: u64 = 64;
    let unreadable = |error: std::io::Error| Unusable::Unreadable(error.to_string());
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let num_bytes = file.metadata().map_err(unreadable)?.len();
    let mut bytes = Vec::new();
    (&mut file)
        .take(HEAD)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    ImageFormat::sniff(&bytes).map_err(|error| Unusable::NotAnImage(error.to_string()))?;
    if num_bytes > max_bytes {
        return Err(Unusable::TooLarge(num_bytes));
    }
    // One more than allowed, to notice a file that has grown since.
    file.take(max_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > max_bytes {
        return Err(Unusable::TooLarge(bytes.len() as u64));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG_HEAD: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

    #[test]
    fn folders_are_walked_and_files_taken_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("b/c")).unwrap();
        std::fs::create_dir_all(root.join(".hidden")).unwrap();
        for name in ["z.png", "b/c/a.png", ".hidden/x.png", "b/.y.png"] {
            std::fs::write(root.join(name), PNG_HEAD).unwrap();
        }
        let found = find(&[root.to_owned(), root.join("b/.y.png")]).unwrap();
        let names: Vec<&str> = found.iter().map(|file| file.relative.as_str()).collect();
        assert_eq!(names, [".y.png", "b/c/a.png", "z.png"]);
    }

    #[test]
    fn a_path_that_does_not_exist_is_an_error() {
        let error = find(&[PathBuf::from("no/such/thing")]).unwrap_err();
        assert!(error.to_string().contains("no/such/thing"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_below_a_folder_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        assert_eq!(find(&[folder.path().to_owned()]).unwrap(), []);
    }

    #[test]
    fn only_pictures_within_the_limit_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, PNG_HEAD).unwrap();
        assert_eq!(read_image(&path, 1_000).unwrap(), PNG_HEAD);
        assert_eq!(read_image(&path, 10), Err(Unusable::TooLarge(16)));
        std::fs::write(&path, "just a text").unwrap();
        assert!(matches!(
            read_image(&path, 1_000),
            Err(Unusable::NotAnImage(_))
        ));
        let gone = folder.path().join("gone");
        assert!(matches!(
            read_image(&gone, 1_000),
            Err(Unusable::Unreadable(_))
        ));
    }
}
