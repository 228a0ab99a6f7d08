//! Where queries spill to: a folder of this process, in one that processes share.
//!
//! A process that was killed leaves its folder. It held a lock on a file in it, which the system has given up with the process; so who
//! comes next knows which folders are left, and removes them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Taken while folders are made and removed, so that none is between the two.
const GATE: &str = "lock";
/// Held as long as a folder is used.
const HELD: &str = "held";

/// A folder that is removed with this.
#[derive(Debug)]
pub(super) struct SpillFolder {
    path: PathBuf,
    _held: File,
}

impl SpillFolder {
    /// Makes a folder in `parent`, which is made as well if need be, and removes those that were left.
    pub(super) fn make(parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        let gate = File::create(parent.join(GATE))?;
        gate.lock()?;
        for entry in fs::read_dir(parent)? {
            let path = entry?.path();
            if path.is_dir() && is_left(&path) {
                fs::remove_dir_all(&path)?;
            }
        }
        let path = parent.join(uuid::Uuid::now_v7().simple().to_string());
        fs::create_dir(&path)?;
        let held = File::create(path.join(HELD))?;
        held.lock()?;
        Ok(Self { path, _held: held })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SpillFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            // The next one removes it.
            tracing::debug!(%error, path = %self.path.display(), "a folder of queries stays");
        }
    }
}

/// Tells whether nobody uses a folder.
fn is_left(folder: &Path) -> bool {
    match File::open(folder.join(HELD)) {
        Ok(held) => held.try_lock().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_in_use_stay_and_others_go() {
        let parent = tempfile::tempdir().unwrap();
        let parent = parent.path().join("spill");
        let first = SpillFolder::make(&parent).unwrap();
        fs::write(first.path().join("mine"), "x").unwrap();
        // As a process that was killed leaves them.
        for (name, file) in [("a", "held"), ("b", "other")] {
            fs::create_dir(parent.join(name)).unwrap();
            fs::write(parent.join(name).join(file), "x").unwrap();
        }
        let second = SpillFolder::make(&parent).unwrap();
        assert!(first.path().join("mine").exists());
        assert!(!parent.join("a").exists() && !parent.join("b").exists());
        let path = second.path().to_owned();
        drop(second);
        assert!(!path.exists() && first.path().exists());
    }
}
