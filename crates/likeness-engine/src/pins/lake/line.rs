//! Lines of raw files: an event as it came, and where in the log it stood.

use bytes::Bytes;
use likeness_core::log::{Offset, Partition};
use likeness_core::{StoreError, StoreResult, Timestamp};
use serde::{Deserialize, Serialize};

use crate::pins::tables::{Cleaned, Origin};
use crate::pins::{EventKind, RawEvent, RawObject};

/// One line: `{"received_ms", "log_partition", "log_offset", "key", "event"}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RawLine {
    /// When it came.
    pub received_ms: Timestamp,
    /// Partition of its topic.
    pub log_partition: Partition,
    /// Place in the partition.
    pub log_offset: Offset,
    /// What it is about: its `unique_id`, or its `ind` in digits.
    pub key: String,
    /// What came.
    pub event: RawObject,
}

impl RawLine {
    /// Returns the line of an event.
    pub(super) fn of(key: String, origin: Origin, raw: RawEvent) -> Self {
        Self {
            received_ms: raw.received,
            log_partition: origin.partition,
            log_offset: origin.offset,
            key,
            event: raw.event,
        }
    }

    /// Returns it as a line without its end.
    pub(super) fn encode(&self) -> Bytes {
        let line = serde_json::to_vec(self).expect("JSON with text as keys can be written");
        line.into()
    }

    /// Reads a line of the file at `path`.
    ///
    /// # Errors
    /// `Corrupt` if it is none.
    pub(super) fn decode(line: &[u8], path: &str) -> StoreResult<Self> {
        serde_json::from_slice(line)
            .map_err(|error| StoreError::corrupt("lake", path, error.to_string()))
    }

    /// Cleans it.
    pub(super) fn clean(self, kind: EventKind) -> (String, Cleaned) {
        let origin = Origin {
            received: self.received_ms,
            partition: self.log_partition,
            offset: self.log_offset,
        };
        let raw = RawEvent {
            received: self.received_ms,
            event: self.event,
        };
        let outcome = crate::pins::clean::clean(kind, &raw.event);
        let cleaned = Cleaned {
            origin,
            raw,
            outcome,
        };
        (self.key, cleaned)
    }
}
