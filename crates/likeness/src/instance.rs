//! How commands find the server that has a data directory open: a small file in it.
//!
//! `server.json` holds `{"url", "pid"}`. It is a hint only: what keeps two processes out of one
//! data directory is the lock of the store. A server that was killed leaves the file behind, so
//! readers ask the address before they believe it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// Address of its root, without a slash at the end.
    pub(crate) url: String,
    /// Its process.
    pub(crate) pid: u32,
}

/// The file of this process; removed when dropped.
#[derive(Debug)]
pub(crate) struct Announcement {
    path: PathBuf,
}

fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("server.json")
}

/// Reads the file; `None` if there is none, or none that can be understood.
pub(crate) fn read(data_dir: &Path) -> Option<Instance> {
    let text = std::fs::read(path_in(data_dir)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Writes the file for this process. The caller holds the lock of the store.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn announce(data_dir: &Path, url: &str) -> io::Result<Announcement> {
    let path = path_in(data_dir);
    let instance = Instance {
        url: url.to_owned(),
        pid: std::process::id(),
    };
    // Renamed into place, so that a reader never sees half of it.
    let unfinished = path.with_extension("json.new");
    std::fs::write(&unfinished, serde_json::to_vec(&instance)?)?;
    std::fs::rename(&unfinished, &path)?;
    Ok(Announcement { path })
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "could not remove the server's address file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_there_while_the_server_runs() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), None);
        let announcement = announce(folder.path(), "http://127.0.0.1:1").unwrap();
        let found = read(folder.path()).unwrap();
        assert_eq!(found.url, "http://127.0.0.1:1");
        assert_eq!(found.pid, std::process::id());
        drop(announcement);
        assert_eq!(read(folder.path()), None);
    }
}
