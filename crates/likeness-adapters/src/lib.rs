//! The products behind the ports of likeness.
//!
//! | port | in memory | on this machine (feature `embedded`) |
//! |---|---|---|
//! | log, state, steps | [`MemoryStore`] | [`EmbeddedStore`]: one RocksDB database for all three |
//! | objects | [`MemoryObjectStore`] | [`FolderObjectStore`] |
//! | catalog, jobs | [`MemoryCatalog`], [`MemoryJobs`] | [`SqliteCatalog`] |
//! | tables | [`MemoryTables`] | [`SqliteTables`]; `PostgresTables`, elsewhere (feature `postgres`) |
//! | lake | [`MemoryLake`] | `ObjectLake` of `likeness-lake`, over any objects |
//! | row scorer | | [`OpenInferenceScorer`], elsewhere (feature `open-inference`) |
//! | exact vectors of the index | `MemoryVectors` of `likeness-index` | [`open_vector_file`]: a mapped file |
//!
//! Every implementation runs the suite of its port in `likeness_core::testsuite`. Nothing here
//! knows what the stored values mean.

#[cfg(feature = "embedded")]
mod durable;
mod memory;

#[cfg(feature = "embedded")]
mod folder;
#[cfg(feature = "embedded")]
pub mod metrics;
#[cfg(feature = "open-inference")]
mod open_inference;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "embedded")]
mod rocksdb;
#[cfg(feature = "embedded")]
mod sql;
#[cfg(feature = "embedded")]
mod sqlite;
#[cfg(feature = "embedded")]
mod sqlite_jobs;
#[cfg(feature = "embedded")]
mod sqlite_tables;
#[cfg(feature = "embedded")]
mod vector_file;

#[cfg(feature = "open-inference")]
pub use open_inference::{OpenInferenceConfig, OpenInferenceScorer, open_inference};

#[cfg(feature = "postgres")]
pub use postgres::{PostgresTables, open_postgres};

pub use memory::{
    MemoryCatalog, MemoryJobs, MemoryLake, MemoryObjectStore, MemoryStore, MemoryTables,
};

#[cfg(feature = "embedded")]
pub use {
    folder::{FolderConfig, FolderObjectStore, open_folder},
    rocksdb::{EmbeddedConfig, EmbeddedStore, SyncPolicy, open_embedded},
    sqlite::{SqliteCatalog, SqliteConfig, open_sqlite},
    sqlite_tables::{SqliteTables, open_sqlite_tables},
    vector_file::{VectorFileConfig, open_vector_file},
};
