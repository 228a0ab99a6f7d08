//! The section `[sql]` of the configuration.

use std::time::Duration;

use serde::Deserialize;

use crate::units::{ByteSize, Period};

/// Least memory of all queries together: less does not hold one batch of rows.
const MIN_MEMORY: ByteSize = ByteSize(16 << 20);
/// Most queries at once that can be configured.
const MAX_QUERIES: usize = 1_000;
/// Most threads that can be configured.
const MAX_THREADS: usize = 1_024;

/// What queries may cost.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SqlSection {
    pub(crate) memory: ByteSize,
    pub(crate) spill: ByteSize,
    pub(crate) timeout: Period,
    pub(crate) max_queries: usize,
    pub(crate) threads: usize,
}

impl SqlSection {
    /// Checks values.
    ///
    /// # Errors
    /// Names the key.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.memory < MIN_MEMORY {
            return Err(format!("`sql.memory` must be at least {MIN_MEMORY}"));
        }
        if self.timeout.0 < Duration::from_secs(1) {
            return Err("`sql.timeout` must be at least 1s".to_owned());
        }
        if !(1..=MAX_QUERIES).contains(&self.max_queries) {
            return Err(format!("`sql.max_queries` must lie in 1..={MAX_QUERIES}"));
        }
        if self.threads > MAX_THREADS {
            return Err(format!("`sql.threads` must be at most {MAX_THREADS}"));
        }
        Ok(())
    }
}
