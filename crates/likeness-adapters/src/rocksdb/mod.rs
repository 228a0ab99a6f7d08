//! Log, state and steps over one RocksDB database in a folder of this machine.
//!
//! Invariants:
//! - One process has the folder open; a second is refused with `Locked`.
//! - A step is one write batch: one record of the write-ahead log (WAL). A crash shows the whole
//!   step or nothing of it.
//! - There is one writer at a time (an async lock around claim, offsets and batch). Hence batches
//!   reach the database in the order of their offsets, and claims need no lock of their own. It
//!   costs nothing: RocksDB would put writers into one queue anyway.
//! - A reader of the log sees a partition up to its published end, which moves only after the
//!   batch is in the database. So an offset is never seen before a smaller one, nor an event
//!   before its rows.
//! - No write is synced by itself. Who must wait for the disk asks the sync thread, which calls
//!   `FlushWAL(sync)` once for all who asked meanwhile (group commit).
//!
//! Recovery is RocksDB's *point in time*: the WAL is replayed up to the first record that is torn,
//! so a loss of power takes back a suffix of the unsynced steps. A WAL file that was synced and is
//! now missing or too short is an error (its size stands in the manifest), as are files whose
//! checksums or sizes do not fit.
//!
//! Layout, column family by column family; integers are big-endian so that keys sort by number,
//! names cannot contain `\0`:
//! ```text
//! meta       "format"                                              → version u32
//! log        topic \0 partition u32 offset u64                     → key_len u32 | key | payload
//! state      table \0 partition_len u16 partition_key sort_key     → value
//! positions  consumer \0 topic \0 partition u32                    → next offset u64
//! ```
//!
//! Blocking: point reads and unstalled writes run on the caller's thread, being a few
//! microseconds (a cold read about 100). Scans, reads of the log, big multi-reads, and writes that
//! RocksDB wants to slow down go to the blocking pool.
//!
//! Not here: retention of the log, backups, statistics.

mod error;
mod keys;
mod log;
mod open;
mod options;
mod state;
mod step;
mod sync;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use ::rocksdb::{ColumnFamily, DB, WriteBatch, WriteOptions};
use bytes::Bytes;
use likeness_core::{StoreError, StoreResult};
use serde::Deserialize;
use tokio_util::task::AbortOnDropHandle;

use error::{WriteError, store_error};
use log::PartitionEnds;
use sync::SyncThread;

/// Role and product, as errors name it.
const STORE: &str = "log and state (rocksdb)";

/// Version of the layout above. A build opens this one and no other.
const FORMAT: u32 = 1;

const CF_META: &str = "meta";
const CF_LOG: &str = "log";
const CF_STATE: &str = "state";
const CF_POSITIONS: &str = "positions";

/// Where an [`EmbeddedStore`] lies, and how much memory it may use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedConfig {
    /// The folder; created if missing.
    pub path: PathBuf,
    /// Memory for blocks read from disk, their indexes and filters, in bytes.
    #[serde(default = "default_block_cache_bytes")]
    pub block_cache_bytes: usize,
    /// Memory for writes that are not yet in table files, in bytes. Twice as much may stand in
    /// the write-ahead log, which is what a restart after a crash reads again.
    #[serde(default = "default_write_buffer_bytes")]
    pub write_buffer_bytes: usize,
    /// Most table files open at once.
    #[serde(default = "default_max_open_files")]
    pub max_open_files: u16,
    /// What "durable" means.
    #[serde(default)]
    pub sync: SyncPolicy,
}

/// When a write that must be durable is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncPolicy {
    /// Once it is on the disk; all who wait at the same time share one sync.
    #[default]
    Group,
    /// Once the operating system has it: survives kill -9, not a loss of power. For tests, and
    /// for runs whose state is thrown away.
    Never,
}

impl EmbeddedConfig {
    /// Returns the defaults for a store at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            block_cache_bytes: default_block_cache_bytes(),
            write_buffer_bytes: default_write_buffer_bytes(),
            max_open_files: default_max_open_files(),
            sync: SyncPolicy::default(),
        }
    }
}

fn default_block_cache_bytes() -> usize {
    256 << 20
}

fn default_write_buffer_bytes() -> usize {
    128 << 20
}

fn default_max_open_files() -> u16 {
    512
}

/// Opens the store, and creates it if the folder is missing or empty. Blocks while the write-ahead
/// log of an earlier run is replayed.
///
/// # Errors
/// - `Locked` if another process has it open.
/// - `Format` if it was written by another version, or by another program.
/// - `Corrupt` if files are damaged or missing.
/// - `Unavailable` if the folder cannot be written.
pub fn open_embedded(config: &EmbeddedConfig) -> StoreResult<Arc<EmbeddedStore>> {
    let database = Arc::new(Database {
        db: open::open(config)?,
        ends: PartitionEnds::default(),
    });
    let sync_thread = match config.sync {
        SyncPolicy::Group => Some(SyncThread::spawn(Arc::clone(&database))?),
        SyncPolicy::Never => None,
    };
    Ok(Arc::new(EmbeddedStore {
        database,
        turn: Arc::default(),
        sync_thread,
    }))
}

/// An event log, a state store and the steps that join them, in one RocksDB database.
///
/// Closed when dropped, which blocks for at most one sync. Nothing needs to be called before: what
/// was acknowledged is where its durability says.
pub struct EmbeddedStore {
    /// Held by whoever writes.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Dropped before the database, which closes only once the thread has let go of it.
    sync_thread: Option<SyncThread>,
    database: Arc<Database>,
}

/// What the parts of the store and the sync thread share.
struct Database {
    db: DB,
    ends: PartitionEnds,
}

/// Keys with their values, and where to go on.
type Page = (Vec<(Vec<u8>, Vec<u8>)>, Option<Bytes>);

/// What a write does if RocksDB is behind with flushing and wants to slow writers down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// It gives up with [`WriteError::Stalled`], having written nothing.
    DoNotBlock,
    /// It waits.
    Block,
}

impl EmbeddedStore {
    /// Runs `work`, which reads and then writes at most one batch, while nobody else writes.
    ///
    /// The wait is a task of its own. The turn is given to waiters in order, also to one that nobody polls at
    /// the moment (a future in a `buffered` stream whose consumer waits for something else), and would stay
    /// there: if what the consumer waits for is a write, for ever.
    async fn in_turn<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: Fn(&Database, Pace) -> Result<T, WriteError> + Send + 'static,
    {
        let (turn, database) = (Arc::clone(&self.turn), Arc::clone(&self.database));
        let task = tokio::spawn(async move {
            let turn = turn.lock_owned().await;
            match work(&database, Pace::DoNotBlock) {
                Ok(output) => return Ok(output),
                Err(WriteError::Failed(error)) => return Err(error),
                Err(WriteError::Stalled) => {}
            }
            // The turn goes along: a caller that stops waiting must not let another writer in.
            blocking(database, move |database| {
                let _turn = turn;
                work(database, Pace::Block).map_err(WriteError::into_store_error)
            })
            .await
        });
        // A caller that goes away while it waits for its turn writes nothing.
        AbortOnDropHandle::new(task)
            .await
            .map_err(|error| StoreError::unavailable(STORE, error))?
    }

    /// Runs `work` on a thread that may block.
    async fn blocking<T, F>(&self, work: F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> StoreResult<T> + Send + 'static,
    {
        blocking(Arc::clone(&self.database), work).await
    }

    /// Returns once everything written before is on the disk.
    async fn synced(&self) -> StoreResult<()> {
        match &self.sync_thread {
            Some(thread) => thread.sync().await,
            None => Ok(()),
        }
    }
}

/// Runs `work` on a thread that may block.
async fn blocking<T, F>(database: Arc<Database>, work: F) -> StoreResult<T>
where
    T: Send + 'static,
    F: FnOnce(&Database) -> StoreResult<T> + Send + 'static,
{
    tokio::task::spawn_blocking(move || work(&database))
        .await
        .map_err(|error| StoreError::unavailable(STORE, error))?
}

impl Database {
    fn cf(&self, name: &'static str) -> &ColumnFamily {
        self.db
            .cf_handle(name)
            .expect("all column families are opened with the database")
    }

    fn get(&self, cf: &'static str, key: &[u8]) -> StoreResult<Option<Vec<u8>>> {
        self.db
            .get_cf(self.cf(cf), key)
            .map_err(|error| store_error(cf, &error))
    }

    /// Returns at most `limit` keys with their values, after the one given, and the last of them if there are
    /// more. A key that is overwritten meanwhile comes once, as it was or as it is.
    fn sweep(&self, cf: &'static str, after: Option<&[u8]>, limit: usize) -> StoreResult<Page> {
        let mut iterator = self.db.raw_iterator_cf(self.cf(cf));
        match after {
            None => iterator.seek_to_first(),
            // No key lies between `after` and itself with a zero appended.
            Some(after) => iterator.seek([after, &[0]].concat()),
        }
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut next = None;
        while let Some((key, value)) = iterator.item() {
            if entries.len() == limit {
                next = entries.last().map(|(key, _)| Bytes::copy_from_slice(key));
                break;
            }
            entries.push((key.to_vec(), value.to_vec()));
            iterator.next();
        }
        iterator.status().map_err(|error| store_error(cf, &error))?;
        Ok((entries, next))
    }

    fn write(&self, batch: WriteBatch, pace: Pace) -> Result<(), WriteError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut options = WriteOptions::new();
        options.set_no_slowdown(pace == Pace::DoNotBlock);
        self.db
            .write_opt(batch, &options)
            .map_err(|error| WriteError::from_rocksdb(&error))
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("path", &self.database.db.path())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;
    use likeness_core::state::{Key, StateStore, Table, Write};

    use super::*;

    #[tokio::test]
    async fn a_writer_that_nobody_polls_keeps_no_other_from_writing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = open_embedded(&EmbeddedConfig::new(folder.path())).expect("opens");
        let put = |name: &'static str| {
            let key = Key::single(Table("test"), Bytes::from_static(name.as_bytes()));
            store.write(vec![Write::Put(key, Bytes::new())])
        };
        let turn = Arc::clone(&store.turn).lock_owned().await;
        // Looked at once, so that it waits for its turn, and then no more.
        let mut neglected = put("neglected");
        assert!((&mut neglected).now_or_never().is_none());
        tokio::task::yield_now().await;
        drop(turn);
        let other = tokio::time::timeout(Duration::from_secs(30), put("other"));
        other.await.expect("in time").expect("writes");
        neglected.await.expect("writes");
    }
}
