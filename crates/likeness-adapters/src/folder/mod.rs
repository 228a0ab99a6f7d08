//! Objects as files of a folder, at their own paths.
//!
//! Why not through the `object_store` crate, which serves the remote stores: its local file
//! system syncs nothing (0.13), so an acknowledged put can be empty or gone after a loss of
//! power, and its listings are unsorted. Here a put is:
//! ```text
//! write ~partial/NAME → sync it → rename (put) or hard link (put_new) → sync the folder
//! ```
//! - A reader sees the old file or the whole new one. A crash leaves at most a file in `~partial`
//!   (no object path contains `~`); these are removed at open, unless another process has the
//!   store open: every one holds a shared lock on `~partial/lock`.
//! - A hard link fails if the name is taken, which a rename does not: hence it, for `put_new`.
//! - Missing folders are created, each synced into its parent, while no put moves a file in; so
//!   no put is acknowledged in a folder that could still vanish. (This holds among the puts of
//!   one process; between processes for folders that existed when the second one looked.)
//! - Folders that a delete leaves empty are removed.
//!
//! Files whose names cannot be a part of an object path are not objects, and are left alone. The
//! file system must have hard links and tell upper from lower case.

mod list;

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use likeness_core::objects::{ObjectMeta, ObjectPath, ObjectStore, PutOutcome};
use likeness_core::{StoreError, StoreResult, fault};
use serde::Deserialize;
use tracing::{info, warn};

use crate::durable::{create_folder, sync_folder};

const STORE: &str = "objects (folder)";

/// Folder of files that are being written.
const PARTIAL: &str = "~partial";

/// Where a [`FolderObjectStore`] lies.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    /// The folder; created if missing.
    pub path: PathBuf,
}

/// Opens the store, and creates the folder if it is missing. Blocks.
///
/// # Errors
/// `Unavailable` if the folder cannot be written.
pub fn open_folder(config: &FolderConfig) -> StoreResult<Arc<FolderObjectStore>> {
    let folder = Folder::open(&config.path).map_err(unavailable)?;
    Ok(Arc::new(FolderObjectStore {
        folder: Arc::new(folder),
    }))
}

/// Objects as files of a folder.
#[derive(Debug)]
pub struct FolderObjectStore {
    folder: Arc<Folder>,
}

#[derive(Debug)]
struct Folder {
    root: PathBuf,
    /// Tells names in [`PARTIAL`] apart.
    n_partials: AtomicU64,
    /// Read: a file is moved into its folder. Write: folders are created or removed.
    folders: RwLock<()>,
    /// Says that this process has the store open.
    _lock: File,
}

/// What became of a read of a part of an object.
#[derive(Debug)]
enum Part {
    Read(Bytes),
    NoObject,
    /// The object has so many bytes.
    OutOfRange(u64),
}

/// How a finished file gets its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placing {
    Replace,
    New,
}

impl FolderObjectStore {
    /// Runs `work` on a thread that may block.
    async fn blocking<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Folder) -> io::Result<T> + Send + 'static,
    {
        let folder = Arc::clone(&self.folder);
        tokio::task::spawn_blocking(move || work(&folder))
            .await
            .map_err(|error| StoreError::unavailable(STORE, error))?
            .map_err(unavailable)
    }
}

#[async_trait]
impl ObjectStore for FolderObjectStore {
    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> StoreResult<()> {
        let path = path.clone();
        self.blocking(move |folder| folder.put(&path, &bytes, Placing::Replace))
            .await
            .map(drop)
    }

    async fn put_new(&self, path: &ObjectPath, bytes: Bytes) -> StoreResult<PutOutcome> {
        let path = path.clone();
        self.blocking(move |folder| folder.put(&path, &bytes, Placing::New))
            .await
    }

    async fn get(&self, path: &ObjectPath) -> StoreResult<Option<Bytes>> {
        let path = path.clone();
        self.blocking(move |folder| present(fs::read(folder.file(&path))))
            .await
            .map(|bytes| bytes.map(Bytes::from))
    }

    async fn get_range(&self, path: &ObjectPath, range: Range<u64>) -> StoreResult<Option<Bytes>> {
        let (path, wanted) = (path.clone(), range.clone());
        let found = self
            .blocking(move |folder| folder.read_range(&path, wanted))
            .await?;
        match found {
            Part::Read(bytes) => Ok(Some(bytes)),
            Part::NoObject => Ok(None),
            Part::OutOfRange(num_bytes) => Err(StoreError::invalid(
                STORE,
                format!("{range:?} of an object of {num_bytes} bytes"),
            )),
        }
    }

    async fn head(&self, path: &ObjectPath) -> StoreResult<Option<ObjectMeta>> {
        let path = path.clone();
        self.blocking(move |folder| {
            let metadata = present(fs::metadata(folder.file(&path)))?;
            let file = metadata.filter(fs::Metadata::is_file);
            Ok(file.map(|metadata| ObjectMeta {
                path,
                num_bytes: metadata.len(),
            }))
        })
        .await
    }

    async fn delete(&self, path: &ObjectPath) -> StoreResult<()> {
        let path = path.clone();
        self.blocking(move |folder| folder.delete(&path)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectPath>,
        limit: usize,
    ) -> StoreResult<Vec<ObjectMeta>> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.blocking(move |folder| {
            let after = after.as_ref().map_or("", ObjectPath::as_str);
            list::list(&folder.root, &prefix, after, limit)
        })
        .await
    }
}

impl Folder {
    fn open(root: &Path) -> io::Result<Self> {
        let partials = root.join(PARTIAL);
        create_folder(&partials)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(partials.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => remove_leftovers(&partials)?,
            // Another process uses the store, and may be writing these files.
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        lock.lock_shared()?;
        info!(path = %root.display(), "opened objects");
        Ok(Self {
            root: root.to_owned(),
            n_partials: AtomicU64::new(0),
            folders: RwLock::default(),
            _lock: lock,
        })
    }

    fn file(&self, path: &ObjectPath) -> PathBuf {
        self.root.join(path.as_str())
    }

    fn read_range(&self, path: &ObjectPath, range: Range<u64>) -> io::Result<Part> {
        let Some(mut file) = present(File::open(self.file(path)))? else {
            return Ok(Part::NoObject);
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(Part::NoObject);
        }
        if range.start > range.end || range.end > metadata.len() {
            return Ok(Part::OutOfRange(metadata.len()));
        }
        let wanted = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let mut bytes = vec![0; wanted];
        file.seek(SeekFrom::Start(range.start))?;
        file.read_exact(&mut bytes)?;
        Ok(Part::Read(bytes.into()))
    }

    fn put(&self, path: &ObjectPath, bytes: &[u8], placing: Placing) -> io::Result<PutOutcome> {
        let n = self.n_partials.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{n}", std::process::id());
        let partial = Partial(self.root.join(PARTIAL).join(name));
        // Not `create_new`: a process with the same number may have died here.
        let mut file = File::create(&partial.0)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        drop(file);

        let target = self.file(path);
        let folder = target.parent().unwrap_or(&self.root);
        fault::point("objects.before_rename");
        let outcome = self.place(&partial.0, &target, folder, placing)?;
        fault::point("objects.after_rename");
        // For `Exists` too, since the caller takes the other's object for durable.
        // If the folder is gone, so is the object: somebody deleted it meanwhile.
        present(sync_folder(folder))?;
        Ok(outcome)
    }

    /// Gives a finished file its name, and creates the folders above it.
    fn place(
        &self,
        partial: &Path,
        target: &Path,
        folder: &Path,
        placing: Placing,
    ) -> io::Result<PutOutcome> {
        {
            let _folders_stay = self.folders.read().unwrap_or_else(PoisonError::into_inner);
            match place_once(partial, target, placing) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                done => return done,
            }
        }
        let _nobody_else = self.folders.write().unwrap_or_else(PoisonError::into_inner);
        create_folder(folder)?;
        place_once(partial, target, placing)
    }

    fn delete(&self, path: &ObjectPath) -> io::Result<()> {
        let target = self.file(path);
        // `unlink` of a folder is refused with one of several errors: look first.
        let is_file = present(fs::symlink_metadata(&target))?.is_some_and(|found| !found.is_dir());
        if !is_file || present(fs::remove_file(&target))?.is_none() {
            return Ok(());
        }
        let _nobody_else = self.folders.write().unwrap_or_else(PoisonError::into_inner);
        let mut folder = target.parent().unwrap_or(&self.root);
        // Another delete may have removed the folder, and has synced what is above then.
        present(sync_folder(folder))?;
        while folder != self.root && fs::remove_dir(folder).is_ok() {
            folder = folder.parent().unwrap_or(&self.root);
        }
        // So that a folder that comes again is a new name, and synced as such.
        present(sync_folder(folder)).map(drop)
    }
}

fn place_once(partial: &Path, target: &Path, placing: Placing) -> io::Result<PutOutcome> {
    match placing {
        Placing::Replace => fs::rename(partial, target).map(|()| PutOutcome::Created),
        Placing::New => match fs::hard_link(partial, target) {
            Ok(()) => Ok(PutOutcome::Created),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if target.is_dir() {
                    return Err(ErrorKind::IsADirectory.into());
                }
                Ok(PutOutcome::Exists)
            }
            Err(error) => Err(error),
        },
    }
}

/// A file in [`PARTIAL`], removed when dropped unless it was renamed.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        if let Err(error) = present(fs::remove_file(&self.0)) {
            warn!(%error, path = %self.0.display(), "failed to remove a partial file");
        }
    }
}

fn remove_leftovers(partials: &Path) -> io::Result<()> {
    let mut n_removed = 0;
    for entry in fs::read_dir(partials)? {
        let entry = entry?;
        if entry.file_name() != "lock" {
            fs::remove_file(entry.path())?;
            n_removed += 1;
        }
    }
    if n_removed > 0 {
        info!(n_removed, "removed files of puts that were cut off");
    }
    Ok(())
}

/// Turns "there is no such file" into nothing, also where a folder has the name or a file has
/// that of a folder above.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => Ok(None),
            _ => Err(error),
        },
    }
}

fn unavailable(error: io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::NotADirectory | ErrorKind::IsADirectory => StoreError::invalid(
            STORE,
            "the path of an object is that of a folder of others, or the other way round",
        ),
        _ => StoreError::unavailable(STORE, error),
    }
}

#[cfg(test)]
mod tests;
