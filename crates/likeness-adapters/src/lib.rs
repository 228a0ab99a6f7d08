//! The products behind the ports of likeness.
//!
//! | port | in memory | on this machine (feature `embedded`) |
//! |---|---|---|
//! | log, state, steps | [`MemoryStore`] | [`EmbeddedStore`]: one RocksDB database for all three |
//! | objects | [`MemoryObjectStore`] | [`FolderObjectStore`] |
//! | catalog | [`MemoryCatalog`] | [`SqliteCatalog`] |
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
#[cfg(feature = "embedded")]
mod rocksdb;
#[cfg(feature = "embedded")]
mod sql;
#[cfg(feature = "embedded")]
mod sqlite;
#[cfg(feature = "embedded")]
mod vector_file;

#[cfg(feature = "open-inference")]
pub use open_inference::{OpenInferenceConfig, OpenInferenceScorer, open_inference};

pub use memory::{MemoryCatalog, MemoryObjectStore, MemoryStore};

#[cfg(feature = "embedded")]
pub use {
    folder::{FolderConfig, FolderObjectStore, open_folder},
    rocksdb::{EmbeddedConfig, EmbeddedStore, SyncPolicy, open_embedded},
    sqlite::{SqliteCatalog, SqliteConfig, open_sqlite},
    vector_file::{VectorFileConfig, open_vector_file},
};
