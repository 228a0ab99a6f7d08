//! Moving duplicates out of the way, and back.
//!
//! The list of what is moved is written and synced before the first file is touched, so that it is
//! complete whenever the command is stopped; bringing back passes over files that were not moved.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use likeness_core::Sha256;
use serde::{Deserialize, Serialize};
use sha2::Digest;

use super::plan::Plan;
use crate::error::Refusal;
use crate::output::{count, note};

/// Name of the list in the folder that files are moved to.
const LIST: &str = "moved.json";

/// What was moved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Moved {
    pub(super) files: usize,
    /// The list for `--restore`.
    pub(super) list: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct MoveList {
    version: u32,
    moves: Vec<Move>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Move {
    from: PathBuf,
    to: PathBuf,
    sha256: String,
}

/// What was brought back.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Restored {
    restored: usize,
    /// Files that stay where they were moved to: another file is at their old place.
    left: Vec<String>,
}

impl fmt::Display for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files brought back", count(self.restored as u64))?;
        for left in &self.left {
            write!(f, "\nstays, since another file is at its place: {left}")?;
        }
        Ok(())
    }
}

/// Moves every duplicate of `plan` to `target`, keeping paths. A file that has changed since it was
/// looked at stays.
///
/// # Errors
/// If `target` holds an earlier list, or a file cannot be moved; what was moved until then is in
/// the list.
pub(super) fn move_duplicates(plan: &Plan, target: &Path) -> anyhow::Result<Moved> {
    fs::create_dir_all(target).with_context(|| format!("cannot make `{}`", target.display()))?;
    let target = target.canonicalize()?;
    let mut moves = Vec::new();
    for entry in plan.groups.iter().flat_map(|group| &group.duplicates) {
        moves.push(Move {
            from: entry.path.canonicalize()?,
            to: target.join(&entry.file),
            sha256: entry.sha256.clone(),
        });
    }
    let list = target.join(LIST);
    let list_file = File::create_new(&list).map_err(|error| {
        Refusal::Input.because(format!(
            "cannot write `{}` ({error}); move to an empty folder",
            list.display()
        ))
    })?;
    let moves = MoveList { version: 1, moves };
    serde_json::to_writer_pretty(&list_file, &moves)?;
    list_file.sync_all()?;
    let mut files = 0;
    for planned in &moves.moves {
        if digest(&planned.from)? != planned.sha256 {
            note(format_args!(
                "`{}` has changed and stays",
                planned.from.display()
            ));
            continue;
        }
        move_file(&planned.from, &planned.to)
            .with_context(|| format!("cannot move `{}`", planned.from.display()))?;
        files += 1;
    }
    Ok(Moved {
        files,
        list: list.display().to_string(),
    })
}

/// Brings back what the list says. Never replaces a file.
///
/// # Errors
/// If the list cannot be read, or a file cannot be moved.
pub(super) fn restore(list: &Path) -> anyhow::Result<Restored> {
    let text = fs::read(list)
        .map_err(|error| Refusal::Missing.because(format!("`{}`: {error}", list.display())))?;
    let moves: MoveList = serde_json::from_slice(&text)
        .map_err(|error| Refusal::Input.because(format!("`{}`: {error}", list.display())))?;
    let mut restored = Restored {
        restored: 0,
        left: Vec::new(),
    };
    for planned in moves.moves {
        if !planned.to.exists() {
            continue; // was not moved, or is back already
        }
        if planned.from.exists() {
            restored.left.push(planned.to.display().to_string());
            continue;
        }
        move_file(&planned.to, &planned.from)
            .with_context(|| format!("cannot move `{}`", planned.to.display()))?;
        restored.restored += 1;
    }
    Ok(restored)
}

/// Renames, or copies and then removes where the target is on another file system. Never replaces.
fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    if to.exists() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("`{}` exists", to.display()),
        ));
    }
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let mut copy = File::create_new(to)?;
            io::copy(&mut File::open(from)?, &mut copy)?;
            copy.flush()?;
            copy.sync_all()?;
            fs::remove_file(from)
        }
        outcome => outcome,
    }
}

fn digest(path: &Path) -> anyhow::Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(Sha256(sha2::Sha256::digest(&bytes).into()).to_string())
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::seen;
    use super::super::plan::{Plan, Seen};
    use super::*;

    fn folder() -> (tempfile::TempDir, Plan) {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<Seen> = ["keep.jpg", "sub/copy.jpg"]
            .iter()
            .zip([20, 10])
            .map(|(name, side)| seen(name, 0, side))
            .collect();
        fs::create_dir(folder.path().join("sub")).unwrap();
        let mut plan = Plan::new(folder.path(), files, Vec::new(), 2);
        for group in &mut plan.groups {
            for entry in group.duplicates.iter_mut().chain([&mut group.keep]) {
                entry.path = folder.path().join(&entry.file);
                fs::write(&entry.path, &entry.file).unwrap();
                entry.sha256 = digest(&entry.path).unwrap();
            }
        }
        (folder, plan)
    }

    #[test]
    fn what_was_moved_comes_back() {
        let (folder, plan) = folder();
        let target = tempfile::tempdir().unwrap();
        let moved = move_duplicates(&plan, target.path()).unwrap();
        assert_eq!(moved.files, 1);
        assert!(!folder.path().join("sub/copy.jpg").exists());
        assert!(folder.path().join("keep.jpg").exists());
        assert!(target.path().join("sub/copy.jpg").exists());
        let restored = restore(Path::new(&moved.list)).unwrap();
        assert_eq!((restored.restored, restored.left.len()), (1, 0));
        assert_eq!(
            fs::read_to_string(folder.path().join("sub/copy.jpg")).unwrap(),
            "sub/copy.jpg"
        );
        // Again: there is nothing left to do.
        assert_eq!(restore(Path::new(&moved.list)).unwrap().restored, 0);
    }

    #[test]
    fn a_file_that_has_changed_stays() {
        let (folder, plan) = folder();
        fs::write(folder.path().join("sub/copy.jpg"), "edited since").unwrap();
        let target = tempfile::tempdir().unwrap();
        assert_eq!(move_duplicates(&plan, target.path()).unwrap().files, 0);
        assert!(folder.path().join("sub/copy.jpg").exists());
    }

    #[test]
    fn an_earlier_list_is_not_overwritten() {
        let (_folder, plan) = folder();
        let target = tempfile::tempdir().unwrap();
        fs::write(target.path().join(LIST), "precious").unwrap();
        let error = move_duplicates(&plan, target.path()).unwrap_err();
        assert!(error.to_string().contains("empty folder"), "{error}");
    }
}
