//! The lake over an object store.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use likeness_core::lake::{
    Day, FileKind, Lake, LakeChange, LakeFile, LakeOutcome, Snapshot, Swept,
};
use likeness_core::log::Topic;
use likeness_core::objects::{ObjectPath, ObjectStore, PutOutcome};
use likeness_core::table::{Row, TableSpec};
use likeness_core::{StoreError, StoreResult, Timestamp};

use crate::STORE;
use crate::files::{self, RowsWriter};
use crate::lists::{self, CHECKPOINT_EVERY, State};

/// Longest time from the writing of a file to its commit; a commit refuses older ones. A sweep must keep files for longer.
pub const LONGEST_COMMIT: Duration = Duration::from_secs(3_600);
/// How often a commit finds another one in its place before it gives up.
const MAX_TRIES: usize = 100;
/// Objects that are asked for at once.
const PAGE: usize = 1_000;

/// Rows and raw events in objects, under a chain of lists.
#[derive(Debug)]
pub struct ObjectLake {
    objects: Arc<dyn ObjectStore>,
    /// As far as it is known.
    state: Mutex<Arc<State>>,
    /// One commit of this process at a time: others would only find each other in their place.
    committing: tokio::sync::Mutex<()>,
}

impl ObjectLake {
    /// Returns the lake in a store. Nothing is read yet.
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self {
            objects,
            state: Mutex::default(),
            committing: tokio::sync::Mutex::new(()),
        }
    }

    /// Returns where its objects are.
    pub(crate) fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    fn known(&self) -> MutexGuard<'_, Arc<State>> {
        self.state
            .lock()
            .expect("no holder of the lock panics: it only moves values")
    }

    /// Returns all that was committed.
    ///
    /// # Errors
    /// If the store fails, or the chain of lists is damaged.
    pub(crate) async fn state(&self) -> StoreResult<Arc<State>> {
        let known = Arc::clone(&self.known());
        let mut state = State::clone(&known);
        lists::refresh(&*self.objects, &mut state).await?;
        if state.version == known.version {
            return Ok(known);
        }
        let state = Arc::new(state);
        let mut known = self.known();
        // Another task may have come further meanwhile.
        if known.version < state.version {
            *known = Arc::clone(&state);
        }
        Ok(state)
    }

    async fn put(
        &self,
        (kind, name, day): (FileKind, &str, Day),
        bytes: Bytes,
        num_rows: u64,
        columns: Vec<String>,
    ) -> StoreResult<LakeFile> {
        let path = files::new_path(kind, name, day);
        let num_bytes = bytes.len() as u64;
        self.objects.put(&files::object_path(&path)?, bytes).await?;
        Ok(LakeFile {
            path,
            kind,
            name: name.to_owned(),
            day,
            num_rows,
            num_bytes,
            columns,
        })
    }

    async fn get(&self, file: &LakeFile) -> StoreResult<Bytes> {
        let gone = || StoreError::corrupt(STORE, file.path.clone(), "it is gone");
        let bytes = self.objects.get(&files::object_path(&file.path)?).await?;
        bytes.ok_or_else(gone)
    }

    async fn list(&self, folder: &str, mut each: impl FnMut(ObjectPath, u64)) -> StoreResult<()> {
        let mut last: Option<ObjectPath> = None;
        loop {
            let page = self.objects.list(folder, last.as_ref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            last = page.last().map(|object| object.path.clone());
            for object in page {
                each(object.path, object.num_bytes);
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

/// Runs what takes a processor for a while.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> StoreResult<T> + Send + 'static,
) -> StoreResult<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| StoreError::unavailable(STORE, error))?
}

fn names(spec: &TableSpec) -> Vec<String> {
    let names = spec.columns.iter().map(|column| column.name.to_owned());
    names.collect()
}

fn empty(name: &str) -> StoreError {
    StoreError::invalid(STORE, format!("a file of `{name}` with nothing in it"))
}

#[async_trait]
impl Lake for ObjectLake {
    async fn snapshot(&self) -> StoreResult<Snapshot> {
        Ok(self.state().await?.snapshot())
    }

    async fn write_rows(
        &self,
        spec: &'static TableSpec,
        day: Day,
        rows: Vec<Row>,
    ) -> StoreResult<LakeFile> {
        if rows.is_empty() {
            return Err(empty(spec.name));
        }
        let num_rows = rows.len() as u64;
        let bytes = blocking(move || files::encode_rows(spec, &rows)).await?;
        let of = (FileKind::Rows, spec.name, day);
        self.put(of, bytes, num_rows, names(spec)).await
    }

    async fn write_raw(&self, topic: Topic, day: Day, lines: Vec<Bytes>) -> StoreResult<LakeFile> {
        if lines.is_empty() {
            return Err(empty(topic.0));
        }
        let num_rows = lines.len() as u64;
        let bytes = blocking(move || files::encode_lines(&lines)).await?;
        let of = (FileKind::Raw, topic.0, day);
        self.put(of, bytes, num_rows, Vec::new()).await
    }

    async fn read_raw(&self, file: &LakeFile) -> StoreResult<Vec<Bytes>> {
        let (bytes, file) = (self.get(file).await?, file.clone());
        blocking(move || files::decode_lines(&file, &bytes)).await
    }

    async fn read_rows(&self, spec: &'static TableSpec, file: &LakeFile) -> StoreResult<Vec<Row>> {
        let (bytes, file) = (self.get(file).await?, file.clone());
        blocking(move || files::decode_rows(spec, &file, bytes)).await
    }

    /// Goes batch by batch, so that no file is ever held as rows.
    async fn merge_rows(
        &self,
        spec: &'static TableSpec,
        merged: &[LakeFile],
    ) -> StoreResult<LakeFile> {
        let day = merged.first().ok_or_else(|| empty(spec.name))?.day;
        let mut contents = Vec::with_capacity(merged.len());
        for file in merged {
            contents.push((file.clone(), self.get(file).await?));
        }
        let (bytes, num_rows) = blocking(move || {
            let mut writer = RowsWriter::new(spec)?;
            for (file, bytes) in contents {
                for batch in files::open_rows(&file, bytes)? {
                    let corrupt =
                        |reason: String| StoreError::corrupt(STORE, file.path.clone(), reason);
                    let batch = batch.map_err(|error| corrupt(error.to_string()))?;
                    let batch = crate::rows::as_table(spec, &batch).map_err(corrupt)?;
                    writer.write(&batch)?;
                }
            }
            writer.finish()
        })
        .await?;
        let of = (FileKind::Rows, spec.name, day);
        self.put(of, bytes, num_rows, names(spec)).await
    }

    /// Packed files of lines can stand one after the other.
    async fn merge_raw(&self, topic: Topic, merged: &[LakeFile]) -> StoreResult<LakeFile> {
        let day = merged.first().ok_or_else(|| empty(topic.0))?.day;
        let mut bytes = Vec::new();
        for file in merged {
            bytes.extend_from_slice(&self.get(file).await?);
        }
        let num_rows = merged.iter().map(|file| file.num_rows).sum();
        let of = (FileKind::Raw, topic.0, day);
        self.put(of, bytes.into(), num_rows, Vec::new()).await
    }

    async fn commit(&self, change: LakeChange) -> StoreResult<LakeOutcome> {
        let _committing = self.committing.lock().await;
        for _ in 0..MAX_TRIES {
            let now = Timestamp::now();
            let is_old = |file: &&LakeFile| {
                let written = files::written(&file.path);
                written.is_none_or(|written| now.since(written) > LONGEST_COMMIT)
            };
            if let Some(file) = change.add.iter().find(is_old) {
                let reason = format!("`{}` was written too long ago to be entered", file.path);
                return Err(StoreError::invalid(STORE, reason));
            }
            let state = self.state().await?;
            let Some(list) = state.next(&change)? else {
                return Ok(LakeOutcome::Conflict);
            };
            let path = lists::path(list.version);
            match self.objects.put_new(&path, list.encode()).await? {
                PutOutcome::Created => return Ok(LakeOutcome::Committed(list.version)),
                PutOutcome::Exists => {}
            }
        }
        let reason = format!("{MAX_TRIES} other commits were first");
        Err(StoreError::unavailable(STORE, reason))
    }

    async fn sweep(&self, keep: Duration) -> StoreResult<Swept> {
        let now = Timestamp::now();
        let is_old = |at: Timestamp| now.since(at) >= keep;
        let versions = lists::versions(&*self.objects, 0).await?;
        // The list that a reader of `keep` ago began with, and the checkpoint that it was folded from.
        let mut first_kept = 0;
        for (at, version) in versions.iter().enumerate() {
            let is_last = at + 1 == versions.len();
            if is_last || !is_old(lists::read(&*self.objects, *version).await?.at_ms) {
                first_kept = at.saturating_sub(1);
                break;
            }
        }
        let is_base = |at: &usize| versions[*at].is_multiple_of(CHECKPOINT_EVERY);
        let base = (0..=first_kept).rev().find(is_base).unwrap_or(0);
        let mut named = BTreeSet::new();
        let mut state = State::default();
        for version in versions.iter().skip(base) {
            let list = lists::read(&*self.objects, *version).await?;
            named.extend(list.add.iter().map(|file| file.path.clone()));
            state.apply(&list)?;
        }
        let mut swept = Swept::default();
        let mut gone = Vec::new();
        for folder in files::FOLDERS {
            self.list(folder, |path, num_bytes| {
                let is_left = files::written(path.as_str()).is_some_and(is_old);
                if is_left && !named.contains(path.as_str()) {
                    gone.push((path, num_bytes));
                }
            })
            .await?;
        }
        for (path, num_bytes) in gone {
            self.objects.delete(&path).await?;
            swept.files += 1;
            swept.bytes += num_bytes;
        }
        for version in &versions[..base.min(versions.len())] {
            self.objects.delete(&lists::path(*version)).await?;
            swept.lists += 1;
        }
        Ok(swept)
    }
}
