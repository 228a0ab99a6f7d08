use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use likeness_core::objects::{ObjectMeta, ObjectPath, ObjectStore, PutOutcome};
use likeness_core::{StoreError, StoreResult};

const STORE: &str = "objects (memory)";

/// Objects in memory. As in a folder, no object's path is another's folder.
#[derive(Debug, Default)]
pub struct MemoryObjectStore {
    objects: Mutex<BTreeMap<Box<str>, Bytes>>,
}

impl MemoryObjectStore {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Bytes>> {
        self.objects
            .lock()
            .expect("no holder of the lock panics: it only moves values")
    }
}

#[async_trait]
impl ObjectStore for MemoryObjectStore {
    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> StoreResult<()> {
        let mut objects = self.objects();
        check_place(&objects, path)?;
        objects.insert(path.as_str().into(), bytes);
        Ok(())
    }

    async fn put_new(&self, path: &ObjectPath, bytes: Bytes) -> StoreResult<PutOutcome> {
        let mut objects = self.objects();
        check_place(&objects, path)?;
        if objects.contains_key(path.as_str()) {
            return Ok(PutOutcome::Exists);
        }
        objects.insert(path.as_str().into(), bytes);
        Ok(PutOutcome::Created)
    }

    async fn get(&self, path: &ObjectPath) -> StoreResult<Option<Bytes>> {
        Ok(self.objects().get(path.as_str()).cloned())
    }

    async fn get_range(&self, path: &ObjectPath, range: Range<u64>) -> StoreResult<Option<Bytes>> {
        let objects = self.objects();
        let Some(bytes) = objects.get(path.as_str()) else {
            return Ok(None);
        };
        if range.start > range.end || range.end > bytes.len() as u64 {
            return Err(StoreError::invalid(
                STORE,
                format!("{range:?} of `{path}`, which has {} bytes", bytes.len()),
            ));
        }
        Ok(Some(bytes.slice(range.start as usize..range.end as usize)))
    }

    async fn head(&self, path: &ObjectPath) -> StoreResult<Option<ObjectMeta>> {
        let objects = self.objects();
        let bytes = objects.get(path.as_str());
        Ok(bytes.map(|bytes| to_meta(path.clone(), bytes)))
    }

    async fn delete(&self, path: &ObjectPath) -> StoreResult<()> {
        self.objects().remove(path.as_str());
        Ok(())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectPath>,
        limit: usize,
    ) -> StoreResult<Vec<ObjectMeta>> {
        let lower = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        self.objects()
            .range::<str, _>((lower, Bound::Unbounded))
            .take_while(|(path, _)| path.starts_with(prefix))
            .take(limit)
            .map(|(path, bytes)| Ok(to_meta(ObjectPath::new(path.as_ref())?, bytes)))
            .collect()
    }
}

fn to_meta(path: ObjectPath, bytes: &Bytes) -> ObjectMeta {
    ObjectMeta {
        path,
        num_bytes: bytes.len() as u64,
    }
}

/// Refuses a path that is the folder of an object, or has an object for a folder.
fn check_place(objects: &BTreeMap<Box<str>, Bytes>, path: &ObjectPath) -> StoreResult<()> {
    let path = path.as_str();
    let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
    for folder in folders {
        if objects.contains_key(folder) {
            let reason = format!("`{folder}` is an object, so `{path}` cannot be one");
            return Err(StoreError::invalid(STORE, reason));
        }
    }
    let inside = format!("{path}/");
    let first_inside = objects
        .range::<str, _>((Bound::Included(inside.as_str()), Bound::Unbounded))
        .next();
    if first_inside.is_some_and(|(found, _)| found.starts_with(&inside)) {
        let reason = format!("`{path}` is a folder of objects");
        return Err(StoreError::invalid(STORE, reason));
    }
    Ok(())
}
