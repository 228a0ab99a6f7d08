//! Erasing an image: out of its cluster, the index, every row, the log and the objects, with proof.
//!
//! An erasure is a correction ([`Command::Erase`](super::Command::Erase)): an event in the log of uploads, so its
//! place among them is part of the log, and a replay comes to the same clusters (docs/adr/017-erasure.md).
//!
//! ```text
//! the assign stage, one step          rows deleted or emptied, events redacted, the cluster's new head, and a
//!   (corrections/erase.rs)            row in `erasing`: what is still to do
//! after the commit (finish.rs)        vectors overwritten, bytes and thumbnail deleted, the row in `erasing` gone
//! ```
//! A crash between the two leaves the row, and the second part is done when the data is opened.
//!
//! ```text
//! table           partition, sort    → value
//! erased          image id           → ErasedRecord: the tombstone
//! erased_numbers  shard, number      → nothing: numbers whose row in `numbers` is empty
//! erasing         shard, image id    → ErasingRecord, until the objects are gone
//! places          image id           → where its events are in the log, [`Places`] each time it passed
//! same_bytes      SHA-256, image id  → nothing: who shares an object
//! ```
//! What is kept on purpose: the tombstones, and the id as a name, where others hold it as a canonical id or a
//! correction by hand names it.

mod door;
mod finish;
mod proof;
pub(super) mod replay;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use likeness_core::log::{NewRecord, Offset, Record};
use likeness_core::state::{Key, StateStore, Table};
use likeness_core::{ImageId, ImageNumber, Sha256, StoreResult, Timestamp};
use serde::{Deserialize, Serialize};

use super::tables::{SHARD, decode, encode};

pub use door::{ErasurePlan, ErasureView, NewErasure};
pub(super) use finish::{Finisher, ObjectLocks, index_bytes};
pub use proof::{ErasureProof, MAX_REMAINS_SHOWN, Remains};

const ERASED: Table = Table("erased");
/// See the module's table.
pub(super) const ERASED_NUMBERS: Table = Table("erased_numbers");
const ERASING: Table = Table("erasing");
const PLACES: Table = Table("places");
const SAME_BYTES: Table = Table("same_bytes");

/// Value of the claim of an erased image's id: no digest, so no upload is equal to it.
pub(super) const CLAIM_OF_ERASED: &[u8] = b"erased";

/// What is left of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ErasedRecord {
    /// Its number; absent if it was rejected.
    pub number: Option<ImageNumber>,
    /// When its erasure was accepted.
    pub erased: Timestamp,
    /// Who wanted it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// Sequence number of the correction.
    pub correction: u64,
}

/// What is still to be erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ErasingRecord {
    /// Digest of the bytes.
    pub sha256: Sha256,
}

/// Where events of an image are in the log: the ones that led to each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Places {
    /// In `uploads`.
    pub uploads: Option<Offset>,
    /// In `signatures`.
    pub signatures: Option<Offset>,
    /// In `candidates`.
    pub candidates: Option<Offset>,
    /// In `scores`.
    pub scores: Option<Offset>,
    /// In `decisions`, there or a batch of the assign stage after it.
    pub decisions: Option<Offset>,
}

/// What stands in the log where an event of an erased image stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tombstone {
    /// The image.
    pub id: ImageId,
    /// Its number and the cluster that it was put into; absent if it was rejected.
    pub decided: Option<(ImageNumber, ImageId)>,
    /// Whether the keeper rule made it the head of that cluster when it joined.
    #[serde(default)]
    pub is_head: bool,
    /// Whether it stands for an event that is not the one by which the image was passed on: then nothing takes its
    /// place in a replay. So it is with embeddings, and with an upload that waited for them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_silent: bool,
}

/// First byte of the key of a tombstone in the log. No image id begins with it, nor does the key of a
/// correction.
const MARK: u8 = 1;

impl Tombstone {
    /// Stands for an event that led to nothing by itself.
    pub(super) fn silent(id: &ImageId) -> Self {
        Self {
            id: id.clone(),
            decided: None,
            is_head: false,
            is_silent: true,
        }
    }

    /// Returns it as a record of the log.
    pub(super) fn record(&self) -> NewRecord {
        let mut key = vec![MARK];
        key.extend_from_slice(self.id.as_bytes());
        NewRecord {
            key: key.into(),
            payload: encode(self),
        }
    }

    /// Reads it; nothing if the record is none.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`](likeness_core::StoreError::Corrupt) if it is a broken one.
    pub(super) fn of(key: &[u8], payload: &[u8]) -> StoreResult<Option<Self>> {
        if !is_tombstone(key) {
            return Ok(None);
        }
        decode("tombstone", payload).map(Some)
    }
}

/// Whether a record of the log stands for an erased image.
pub(super) fn is_tombstone(key: &[u8]) -> bool {
    key.first() == Some(&MARK)
}

/// Returns the record to pass on if `record` stands for an erased image.
pub(super) fn passed_on(record: &Record) -> Option<NewRecord> {
    is_tombstone(&record.key).then(|| NewRecord {
        key: record.key.clone(),
        payload: record.payload.clone(),
    })
}

/// Row of a tombstone.
pub(super) fn erased_key(id: &ImageId) -> Key {
    Key::single(ERASED, Bytes::copy_from_slice(id.as_bytes()))
}

/// Row that says that a number was erased.
pub(super) fn erased_number_key(number: ImageNumber) -> Key {
    Key::new(
        ERASED_NUMBERS,
        Bytes::from_static(SHARD),
        Bytes::copy_from_slice(&number.0.to_be_bytes()),
    )
}

/// Row of what is still to be erased.
pub(super) fn erasing_key(id: &ImageId) -> Key {
    Key::new(
        ERASING,
        Bytes::from_static(SHARD),
        Bytes::copy_from_slice(id.as_bytes()),
    )
}

/// Row of the places of an image's events.
pub(super) fn places_key(id: &ImageId) -> Key {
    Key::single(PLACES, Bytes::copy_from_slice(id.as_bytes()))
}

/// Row that says that an image has the bytes with this digest.
pub(super) fn same_bytes_key(sha256: &Sha256, id: &ImageId) -> Key {
    Key::new(
        SAME_BYTES,
        Bytes::copy_from_slice(&sha256.0),
        Bytes::copy_from_slice(id.as_bytes()),
    )
}

/// Returns the tombstone of an image, if it was erased.
///
/// # Errors
/// If the store fails.
pub(super) async fn erased(
    state: &dyn StateStore,
    id: &ImageId,
) -> StoreResult<Option<ErasedRecord>> {
    let row = state.get(&erased_key(id)).await?;
    row.map(|row| decode("erased", &row)).transpose()
}
