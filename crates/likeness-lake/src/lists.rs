//! The chain of lists: what each commit changed, folded into a snapshot.
//!
//! ```text
//! lake/lists/00000000000000000001.json    {"format": 1, "version": 1, "at_ms": …, "add": […], "remove": […], "positions": […]}
//! …
//! lake/lists/00000000000000000032.json    the same with "is_checkpoint": true, and all files and positions in place of changes
//! ```
//! A reader begins at any checkpoint, or at the first list, and folds all that follow.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use likeness_core::lake::{LakeChange, LakeFile, Snapshot};
use likeness_core::log::{Offset, Partition};
use likeness_core::objects::{ObjectPath, ObjectStore};
use likeness_core::sql::StoredPosition;
use likeness_core::{StoreError, StoreResult, Timestamp};
use serde::{Deserialize, Serialize};

use crate::STORE;

/// Format that this version reads and writes.
const FORMAT: u32 = 1;
/// Every so many lists, one has everything.
pub(crate) const CHECKPOINT_EVERY: u64 = 32;
/// Folder of the lists.
pub(crate) const FOLDER: &str = "lake/lists/";
/// Lists that are asked for at once.
const PAGE: usize = 1_000;

/// One list, as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct List {
    format: u32,
    pub(crate) version: u64,
    /// When it was committed.
    pub(crate) at_ms: Timestamp,
    #[serde(default)]
    pub(crate) is_checkpoint: bool,
    pub(crate) add: Vec<LakeFile>,
    #[serde(default)]
    remove: Vec<String>,
    positions: Vec<Position>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Position {
    consumer: String,
    topic: String,
    partition: Partition,
    next: Offset,
}

/// All files and positions at a version.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) version: u64,
    pub(crate) files: BTreeMap<String, Arc<LakeFile>>,
    positions: BTreeMap<(String, String, Partition), Offset>,
}

impl State {
    /// Returns what readers get.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let position = |(place, next): (&(String, String, Partition), &Offset)| {
            let stored = StoredPosition {
                topic: place.1.clone(),
                partition: place.2,
                next: *next,
            };
            (place.0.clone(), stored)
        };
        Snapshot {
            version: self.version,
            files: self.files.values().map(|file| (**file).clone()).collect(),
            positions: self.positions.iter().map(position).collect(),
        }
    }

    /// Returns the list that a change makes, or nothing if the change does not follow from this state.
    ///
    /// # Errors
    /// `Invalid` for positions that move back, or a file that is entered twice.
    pub(crate) fn next(&self, change: &LakeChange) -> StoreResult<Option<List>> {
        let mut list = List {
            format: FORMAT,
            version: self.version + 1,
            at_ms: Timestamp::now(),
            is_checkpoint: false,
            add: change.add.clone(),
            remove: change.remove.clone(),
            positions: Vec::new(),
        };
        for advance in &change.positions {
            if advance.next < advance.from {
                let reason = format!("a position moves back: {advance:?}");
                return Err(StoreError::invalid(STORE, reason));
            }
            let place = (
                advance.consumer.0.to_owned(),
                advance.topic.0.to_owned(),
                advance.partition,
            );
            let stands = self.positions.get(&place).copied().unwrap_or_default();
            if stands != advance.from {
                return Ok(None);
            }
            list.positions.push(Position {
                consumer: place.0,
                topic: place.1,
                partition: place.2,
                next: advance.next,
            });
        }
        if !change
            .remove
            .iter()
            .all(|path| self.files.contains_key(path))
        {
            return Ok(None);
        }
        for (at, file) in change.add.iter().enumerate() {
            let is_again = change.add[..at].iter().any(|other| other.path == file.path);
            if is_again || self.files.contains_key(&file.path) {
                let reason = format!("`{}` is entered twice", file.path);
                return Err(StoreError::invalid(STORE, reason));
            }
        }
        if list.version.is_multiple_of(CHECKPOINT_EVERY) {
            let mut all = self.clone();
            all.apply(&list)?;
            list.is_checkpoint = true;
            list.add = all
                .files
                .into_values()
                .map(|file| (*file).clone())
                .collect();
            list.remove = Vec::new();
            list.positions = all
                .positions
                .into_iter()
                .map(|((consumer, topic, partition), next)| Position {
                    consumer,
                    topic,
                    partition,
                    next,
                })
                .collect();
        }
        Ok(Some(list))
    }

    /// Folds a list.
    ///
    /// # Errors
    /// `Corrupt` if it does not follow.
    pub(crate) fn apply(&mut self, list: &List) -> StoreResult<()> {
        if list.is_checkpoint {
            *self = Self::default();
        } else if list.version != self.version + 1 {
            let reason = format!("it follows {}, so one is missing", self.version);
            return Err(StoreError::corrupt(
                STORE,
                path(list.version).to_string(),
                reason,
            ));
        }
        self.version = list.version;
        for path in &list.remove {
            if self.files.remove(path).is_none() {
                let reason = format!("it takes out `{path}`, which is not there");
                let of = self::path(list.version).to_string();
                return Err(StoreError::corrupt(STORE, of, reason));
            }
        }
        for file in &list.add {
            self.files.insert(file.path.clone(), Arc::new(file.clone()));
        }
        for position in &list.positions {
            let place = (
                position.consumer.clone(),
                position.topic.clone(),
                position.partition,
            );
            self.positions.insert(place, position.next);
        }
        Ok(())
    }
}

impl List {
    pub(crate) fn encode(&self) -> Bytes {
        let json = serde_json::to_vec(self).expect("a list is plain data");
        json.into()
    }

    /// Reads a list.
    ///
    /// # Errors
    /// `Format` for one of a later version, `Corrupt` for what is none.
    fn decode(version: u64, bytes: &[u8]) -> StoreResult<Self> {
        let corrupt =
            |reason: String| StoreError::corrupt(STORE, path(version).to_string(), reason);
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head =
            serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
        if head.format != FORMAT {
            return Err(StoreError::Format {
                store: STORE,
                found: head.format,
                expected: FORMAT,
                advice: "use the version of likeness that wrote it, or a later one",
            });
        }
        let list: Self =
            serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
        match list.version == version {
            true => Ok(list),
            false => Err(corrupt(format!("it says that it is {}", list.version))),
        }
    }
}

/// Returns the path of a list.
pub(crate) fn path(version: u64) -> ObjectPath {
    ObjectPath::new(format!("{FOLDER}{version:020}.json")).expect("digits are fine")
}

/// Returns the versions of the lists that are there, after one.
///
/// # Errors
/// If the store fails, or has something else there.
pub(crate) async fn versions(objects: &dyn ObjectStore, after: u64) -> StoreResult<Vec<u64>> {
    let mut versions = Vec::new();
    let mut last = (after > 0).then(|| path(after));
    loop {
        let page = objects.list(FOLDER, last.as_ref(), PAGE).await?;
        for object in &page {
            let name = object
                .path
                .as_str()
                .strip_prefix(FOLDER)
                .unwrap_or_default();
            let number = name
                .strip_suffix(".json")
                .and_then(|digits| digits.parse().ok());
            let other = || StoreError::corrupt(STORE, object.path.to_string(), "it is no list");
            versions.push(number.ok_or_else(other)?);
        }
        match page.last() {
            Some(object) if page.len() == PAGE => last = Some(object.path.clone()),
            _ => return Ok(versions),
        }
    }
}

/// Reads a list.
///
/// # Errors
/// `Corrupt` if it is not there.
pub(crate) async fn read(objects: &dyn ObjectStore, version: u64) -> StoreResult<List> {
    let gone = || StoreError::corrupt(STORE, path(version).to_string(), "it is gone");
    let bytes = objects.get(&path(version)).await?.ok_or_else(gone)?;
    List::decode(version, &bytes)
}

/// Folds what was committed after `state`.
///
/// # Errors
/// If the store fails, or the chain is damaged.
pub(crate) async fn refresh(objects: &dyn ObjectStore, state: &mut State) -> StoreResult<()> {
    let versions = versions(objects, state.version).await?;
    // Nothing is folded that a checkpoint holds already.
    let mut start = 0;
    for (at, version) in versions.iter().enumerate().rev() {
        if version.is_multiple_of(CHECKPOINT_EVERY) {
            start = at;
            break;
        }
    }
    for version in &versions[start..] {
        let list = read(objects, *version).await?;
        state.apply(&list)?;
    }
    Ok(())
}
