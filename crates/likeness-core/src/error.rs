use std::error::Error;
use std::io;

/// Any error, as a source.
pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// What a port returns.
pub type StoreResult<T> = Result<T, StoreError>;

/// Why a store could not do what it was asked.
///
/// A variant exists only where a caller acts differently on it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is out of reach or overloaded; the same call may succeed later.
    #[error("`{store}` is unavailable")]
    Unavailable {
        /// Role and product, such as `state (rocksdb)`.
        store: &'static str,
        /// What the product said.
        #[source]
        source: BoxError,
    },
    /// The store's disk is full; the same call may succeed once there is room.
    #[error("no space is left for `{store}`")]
    NoSpace {
        /// Role and product.
        store: &'static str,
        /// What the product said.
        #[source]
        source: BoxError,
    },
    /// What was read back is not what was written; retrying does not help.
    #[error("`{key}` in `{store}` is corrupt: {reason}")]
    Corrupt {
        /// Role and product.
        store: &'static str,
        /// What was read, in readable form.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process has the store open, or holds the lease this write needs.
    #[error("`{store}` is in use by another process: {reason}")]
    Locked {
        /// Role and product.
        store: &'static str,
        /// Who holds it, as far as is known.
        reason: String,
    },
    /// The caller broke the port's contract (a name that is too long, a range upside down).
    #[error("invalid request to `{store}`: {reason}")]
    Invalid {
        /// Role and product.
        store: &'static str,
        /// Which rule was broken.
        reason: String,
    },
    /// The store was written by a version of likeness that this one cannot read.
    #[error("`{store}` has format {found}, this version reads {expected}; {advice}")]
    Format {
        /// Role and product.
        store: &'static str,
        /// Format version on disk.
        found: u32,
        /// Format version this build reads and writes.
        expected: u32,
        /// What the operator can do.
        advice: &'static str,
    },
    /// The product was left out of this build.
    #[error("backend `{backend}` is not built in; rebuild with `--features {backend}`")]
    NotBuilt {
        /// Name of the Cargo feature.
        backend: &'static str,
    },
}

impl StoreError {
    /// Returns whether the same call may succeed later without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::NoSpace { .. })
    }

    /// Wraps what a product reported as [`StoreError::Unavailable`], or as [`StoreError::NoSpace`] if that is what
    /// it says.
    pub fn unavailable(store: &'static str, source: impl Into<BoxError>) -> Self {
        let source = source.into();
        if says_no_space(source.as_ref()) {
            Self::NoSpace { store, source }
        } else {
            Self::Unavailable { store, source }
        }
    }

    /// Returns a [`StoreError::Corrupt`].
    pub fn corrupt(store: &'static str, key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Corrupt {
            store,
            key: key.into(),
            reason: reason.into(),
        }
    }

    /// Returns a [`StoreError::Invalid`].
    pub fn invalid(store: &'static str, reason: impl Into<String>) -> Self {
        Self::Invalid {
            store,
            reason: reason.into(),
        }
    }
}

/// Returns whether an error is the system's `ENOSPC`.
fn says_no_space(error: &(dyn Error + 'static)) -> bool {
    match error.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == io::ErrorKind::StorageFull => true,
        // Products that are not written in Rust hand on the system's words only.
        _ => error.to_string().contains("No space left on device"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_trouble() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(
            StoreError::unavailable("x", full),
            StoreError::NoSpace { .. }
        ));
        let words = "IO error: No space left on device: While appending to file";
        let error = StoreError::unavailable("x", words);
        assert!(matches!(error, StoreError::NoSpace { .. }) && error.is_retryable());
        let other = StoreError::unavailable("x", "connection reset");
        assert!(matches!(other, StoreError::Unavailable { .. }));
    }
}
