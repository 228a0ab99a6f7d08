//! The section `[pins]` of the configuration.

use std::fmt;
use std::time::Duration;

use figment::value::{Dict, Value};
use likeness_engine::pins::{LakeConfig, StreamConfig};
use serde::Deserialize;

use crate::units::{ByteSize, Period};

/// Bounds of the half-life: scores are kept in spans of it.
const HALF_LIVES: [Duration; 2] = [
    Duration::from_secs(60),
    Duration::from_secs(10 * 366 * 86_400),
];
/// Most records of a batch that can be configured: a batch is held in memory, with the rows that it meets.
const MAX_BATCH_RECORDS: usize = 100_000;
/// The same of a commit to the lake.
const MAX_LAKE_RECORDS: usize = 1_000_000;
/// Most rows of a file: a merge writes it in one go.
const MAX_FILE_ROWS: u64 = 100_000_000;
const LONGEST_FLUSH: Duration = Duration::from_secs(3_600);
const SHORTEST_KEEP: Duration = Duration::from_secs(3_600);

/// Posts of a service, on their way into SQL.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinsSection {
    pub(crate) tables: TablesAddress,
    pub(crate) half_life: Period,
    pub(crate) allowed_lateness: Period,
    pub(crate) max_batch_records: usize,
    pub(crate) max_batch_bytes: ByteSize,
    pub(crate) lake: LakeSection,
}

/// Files of pins.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LakeSection {
    flush_every: Period,
    max_records: usize,
    max_bytes: ByteSize,
    merge_files: usize,
    max_file_rows: u64,
    keep: Period,
}

/// `sqlite`, or the URL of a PostgreSQL database, which may have a password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct TablesAddress(pub(crate) String);

impl fmt::Debug for TablesAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&without_password(&self.0), f)
    }
}

impl TablesAddress {
    /// Returns whether rows are in a file of the data directory.
    pub(crate) fn is_sqlite(&self) -> bool {
        self.0 == "sqlite"
    }

    fn is_postgres(&self) -> bool {
        ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| self.0.starts_with(scheme))
    }
}

impl PinsSection {
    /// Checks values.
    ///
    /// # Errors
    /// Names the key.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !self.tables.is_sqlite() && !self.tables.is_postgres() {
            // Not repeated: it may have a password.
            return Err(
                "`pins.tables` must be `sqlite` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`"
                    .to_owned(),
            );
        }
        if !(HALF_LIVES[0]..=HALF_LIVES[1]).contains(&self.half_life.0) {
            return Err("`pins.half_life` must lie between one minute and ten years".to_owned());
        }
        if !(1..=MAX_BATCH_RECORDS).contains(&self.max_batch_records) {
            return Err(format!(
                "`pins.max_batch_records` must lie in 1..={MAX_BATCH_RECORDS}"
            ));
        }
        if self.max_batch_bytes.0 == 0 {
            return Err("`pins.max_batch_bytes` must be at least 1".to_owned());
        }
        self.lake.check()
    }

    /// Returns what the engine takes.
    pub(crate) fn config(&self) -> StreamConfig {
        StreamConfig {
            half_life: self.half_life.0,
            allowed_lateness: self.allowed_lateness.0,
            max_batch_records: self.max_batch_records,
            max_batch_bytes: self.max_batch_bytes.as_usize(),
        }
    }
}

impl LakeSection {
    fn check(&self) -> Result<(), String> {
        if self.flush_every.0.is_zero() || self.flush_every.0 > LONGEST_FLUSH {
            return Err("`pins.lake.flush_every` must lie between 1ms and one hour".to_owned());
        }
        if !(1..=MAX_LAKE_RECORDS).contains(&self.max_records) {
            return Err(format!(
                "`pins.lake.max_records` must lie in 1..={MAX_LAKE_RECORDS}"
            ));
        }
        if self.max_bytes.0 == 0 {
            return Err("`pins.lake.max_bytes` must be at least 1".to_owned());
        }
        if self.merge_files < 2 {
            return Err("`pins.lake.merge_files` must be at least 2".to_owned());
        }
        if !(1_000..=MAX_FILE_ROWS).contains(&self.max_file_rows) {
            return Err(format!(
                "`pins.lake.max_file_rows` must lie in 1000..={MAX_FILE_ROWS}"
            ));
        }
        if self.keep.0 < SHORTEST_KEEP {
            return Err(
                "`pins.lake.keep` must be at least one hour: queries read old files".to_owned(),
            );
        }
        Ok(())
    }

    /// Returns what the engine takes.
    pub(crate) fn config(&self) -> LakeConfig {
        LakeConfig {
            flush_every: self.flush_every.0,
            max_records: self.max_records,
            max_bytes: self.max_bytes.as_usize(),
            merge_files: self.merge_files,
            max_file_rows: self.max_file_rows,
            keep: self.keep.0,
        }
    }
}

/// Takes the password out of the address, for printing.
pub(crate) fn hide_password(config: &mut Dict) {
    let section = config.get_mut("pins");
    if let Some(Value::Dict(_, section)) = section
        && let Some(Value::String(_, tables)) = section.get_mut("tables")
    {
        *tables = without_password(tables);
    }
}

/// Returns a URL with three stars for its password, and without parameters, which may have one too.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let rest = rest.split('?').next().unwrap_or_default();
    match rest.rsplit_once('@') {
        None => format!("{scheme}://{rest}"),
        Some((user, host)) => {
            let user = match user.split_once(':') {
                Some((user, _)) => format!("{user}:***"),
                None => user.to_owned(),
            };
            format!("{scheme}://{user}@{host}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("sqlite", "sqlite"),
            ("postgres://h/db", "postgres://h/db"),
            ("postgres://me@h/db", "postgres://me@h/db"),
            ("postgres://me:se:cr@et@h:1/db", "postgres://me:***@h:1/db"),
            ("postgres://me@h/db?password=secret", "postgres://me@h/db"),
        ] {
            assert_eq!(without_password(url), shown);
            let address = TablesAddress(url.to_owned());
            assert_eq!(format!("{address:?}"), format!("{shown:?}"));
        }
    }
}
