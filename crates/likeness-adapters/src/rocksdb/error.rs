//! From what RocksDB says to what a caller does about it.

use ::rocksdb::{Error, ErrorKind};
use likeness_core::StoreError;

use super::STORE;

/// Why a batch was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// RocksDB would have made the caller wait; nothing was written.
    Stalled,
    Failed(StoreError),
}

impl WriteError {
    pub(super) fn from_rocksdb(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Incomplete => Self::Stalled,
            _ => Self::Failed(store_error("a batch of writes", error)),
        }
    }

    pub(super) fn into_store_error(self) -> StoreError {
        match self {
            Self::Stalled => StoreError::unavailable(STORE, "writes are stalled"),
            Self::Failed(error) => error,
        }
    }
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// `what` was read or written when it happened.
pub(super) fn store_error(what: &str, error: &Error) -> StoreError {
    match error.kind() {
        ErrorKind::Corruption => StoreError::corrupt(STORE, what, error.to_string()),
        _ => StoreError::unavailable(STORE, error.to_string()),
    }
}
