//! What follows the commit of an erasure: the bytes go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use likeness_core::log::{EventLog, Offset, ReadLimits};
use likeness_core::objects::ObjectStore;
use likeness_core::state::{Scan, StateStore, Write};
use likeness_core::{ImageId, Sha256, StoreError, StoreResult, fault};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{ERASING, ErasingRecord, SAME_BYTES, erasing_key, same_bytes_key};
use crate::EngineError;
use crate::dedup::banks::banks_with_file;
use crate::dedup::looks::Looker;
use crate::dedup::objects::{image_path, thumbnail_path};
use crate::dedup::records::UploadEvent;
use crate::dedup::tables::{PARTITION, SHARD, UPLOADS, decode};
use crate::dedup::{Dedup, Ports};

/// Rows of one read.
const PAGE: usize = 256;
/// Setting of the catalog that says that `same_bytes` has every image.
const SAME_BYTES_SETTING: &str = "dedup.same_bytes";

/// Keeps an object from being deleted between the moment in which somebody finds it and the one in which a row
/// says that it is used. One process has the data open; several would need leases.
#[derive(Debug)]
pub(in crate::dedup) struct ObjectLocks([RwLock<()>; 64]);

impl Default for ObjectLocks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| RwLock::default()))
    }
}

impl ObjectLocks {
    /// Held by who uses the object with this digest.
    pub(in crate::dedup) async fn using(&self, sha256: &Sha256) -> RwLockReadGuard<'_, ()> {
        self.of(sha256).read().await
    }

    /// Held by who looks whether the object with this digest is used.
    pub(in crate::dedup) async fn alone(&self, sha256: &Sha256) -> RwLockWriteGuard<'_, ()> {
        self.of(sha256).write().await
    }

    fn of(&self, sha256: &Sha256) -> &RwLock<()> {
        &self.0[usize::from(sha256.0[0]) % self.0.len()]
    }
}

/// Deletes the objects of erased images.
#[derive(Debug)]
pub(in crate::dedup) struct Finisher {
    state: Arc<dyn StateStore>,
    objects: Arc<dyn ObjectStore>,
    locks: Arc<ObjectLocks>,
    /// What may still have the picture in memory.
    looker: Option<Arc<Looker>>,
    /// Whether there may be something to do.
    is_due: AtomicBool,
}

impl Finisher {
    pub(in crate::dedup) fn new(
        state: Arc<dyn StateStore>,
        objects: Arc<dyn ObjectStore>,
        locks: Arc<ObjectLocks>,
    ) -> Self {
        Self {
            state,
            objects,
            locks,
            looker: None,
            is_due: AtomicBool::new(true),
        }
    }

    /// Returns the same finisher, which makes `looker` forget the pictures whose bytes it deletes.
    pub(in crate::dedup) fn with_looker(self, looker: Option<Arc<Looker>>) -> Self {
        Self { looker, ..self }
    }

    /// Takes note that an erasure is committed.
    pub(in crate::dedup) fn due(&self) {
        self.is_due.store(true, Ordering::SeqCst);
    }

    /// Does what is left to do. After a failure it is due again.
    ///
    /// # Errors
    /// If a store fails.
    pub(in crate::dedup) async fn run(&self) -> StoreResult<()> {
        if !self.is_due.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        let outcome = self.erase_all().await;
        if outcome.is_err() {
            self.due();
        }
        outcome
    }

    async fn erase_all(&self) -> StoreResult<()> {
        loop {
            let scan = Scan::all(ERASING, Bytes::from_static(SHARD), PAGE);
            let rows = self.state.scan(scan).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                let id = String::from_utf8_lossy(&row.sort).into_owned();
                let id = ImageId::new(id)
                    .map_err(|error| StoreError::corrupt("state", "erasing", error.to_string()))?;
                let ErasingRecord { sha256 } = decode("erasing", &row.value)?;
                self.erase(&id, &sha256).await?;
            }
        }
    }

    async fn erase(&self, id: &ImageId, sha256: &Sha256) -> StoreResult<()> {
        let _alone = self.locks.alone(sha256).await;
        if sharing(self.state.as_ref(), sha256, 1).await?.is_empty() {
            fault::point("erase.before_objects");
            self.objects
                .delete(&thumbnail_path(sha256, Dedup::THUMBNAIL_SIDE)?)
                .await?;
            self.objects.delete(&image_path(sha256)?).await?;
            // Only now: nobody can read them any more.
            if let Some(looker) = &self.looker {
                looker.forget(sha256);
            }
            fault::point("erase.after_objects");
        }
        // The last thing that has the digest.
        let row = Write::Delete(erasing_key(id));
        self.state.write(vec![row]).await?;
        fault::point("erase.finished");
        Ok(())
    }
}

/// Returns at most `limit` of the images that have the bytes with this digest, and of the banks that were given
/// them as a file, as `bank/NAME`.
///
/// # Errors
/// If the store fails.
pub(super) async fn sharing(
    state: &dyn StateStore,
    sha256: &Sha256,
    limit: usize,
) -> StoreResult<Vec<String>> {
    let scan = Scan::all(SAME_BYTES, Bytes::copy_from_slice(&sha256.0), limit);
    let rows = state.scan(scan).await?;
    let ids = rows.iter().map(|row| String::from_utf8_lossy(&row.sort));
    let mut users: Vec<_> = ids.map(std::borrow::Cow::into_owned).collect();
    if users.len() < limit {
        users.extend(banks_with_file(state, sha256).await?);
        users.truncate(limit);
    }
    Ok(users)
}

/// Writes the rows of `same_bytes` of images that were stored before there were any, once.
///
/// # Errors
/// If a store fails.
pub(in crate::dedup) async fn index_bytes(ports: &Ports) -> Result<(), EngineError> {
    if ports.catalog.setting(SAME_BYTES_SETTING).await?.is_some() {
        return Ok(());
    }
    let mut from = Offset(0);
    loop {
        let log: &dyn EventLog = ports.log.as_ref();
        let page = log
            .read(UPLOADS, PARTITION, from, ReadLimits::default())
            .await?;
        let Some(last) = page.last() else { break };
        from = last.offset.next();
        let mut rows = Vec::with_capacity(page.len());
        // Keys of other events than uploads begin with a control character, which no id does.
        for record in page
            .iter()
            .filter(|record| record.key.first().is_some_and(|first| *first >= b' '))
        {
            let upload: UploadEvent = decode("uploads", &record.payload)?;
            let key = same_bytes_key(&upload.sha256, &upload.id);
            rows.push(Write::Put(key, Bytes::new()));
        }
        if !rows.is_empty() {
            ports.state.write(rows).await?;
        }
    }
    ports
        .catalog
        .compare_and_set_setting(SAME_BYTES_SETTING, None, Some("1"))
        .await?;
    Ok(())
}
