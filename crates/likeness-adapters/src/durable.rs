//! File-system changes that a loss of power cannot undo.
//!
//! A new name is durable once the folder that holds it is synced; syncing the file alone leaves
//! its name to chance.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Syncs the names in a folder.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Creates `folder` and what is missing of the folders above it, durably.
pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    let folder = or_here(folder);
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent().map(or_here) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    create_folder(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        other => other?,
    }
    sync_folder(parent)
}

/// What stands above a bare file name is the working folder, though its path is empty.
fn or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creates_all_missing_folders_and_accepts_those_that_are_there() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let deep = root.path().join("a/b/c");
        for _ in 0..2 {
            create_folder(&deep).expect("creating folders");
            assert!(deep.is_dir());
        }
        create_folder(Path::new("")).expect("the working folder is there");
        fs::write(root.path().join("file"), "").expect("writing a file");
        assert!(create_folder(&root.path().join("file/below")).is_err());
        assert!(create_folder(&root.path().join("file")).is_err());
    }
}
