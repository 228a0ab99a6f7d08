//! The join of uploads with embeddings that other services make (docs/adr/021-join-of-streams.md).
//!
//! An embedding is an event in the log of uploads, as a correction is, so that the order of uploads and
//! embeddings is one order and a replay joins alike. The signature stage, the one writer of these rows,
//! holds whichever side came first until its partner is there, and passes an image on once its upload and an
//! embedding of every required kind are. Time is event time: the watermark is the greatest one seen, less the
//! lateness. What waits for a partner when the watermark passes it is an orphan: listed and counted, and
//! joined all the same if the partner comes late.
//!
//! ```text
//! topic           written by   payload
//! uploads         the doors    EmbeddingEvent, OrphanEvent, among the uploads; marked by their keys
//! orphan_journal  signature    OrphanAction (JSON): what people did with orphans, for everyone
//!
//! table              partition, sort           → value
//! embedding_claims   image id, kind            → SHA-256 of model and vector, 32 bytes
//! embeddings         image id, kind            → EmbeddingRecord
//! join               image id                  → JoinRow: what is there, and where it stands
//! join_deadlines     shard, event time, image  → nothing: what waits, in the order of its deadlines
//! orphans            day of event time, image  → OrphanRecord
//! orphan_days        shard, day                → DayRecord: how many, absolute
//! join_totals        shard                     → JoinTotals, absolute
//! ```
//!
//! Invariants:
//! - An image is passed on once, whatever comes twice, and by a function of the log before that place.
//! - A row of `join` that waits has one row in `join_deadlines`, one that is an orphan one in `orphans`.
//! - What is on one side only is bounded by [`JoinConfig::max_unjoined`] at the door; nothing of it is in
//!   memory.

pub(super) mod apply;
mod config;
mod day;
mod door;
mod list;
mod sweep;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use likeness_core::log::{NewRecord, Offset, Record, Topic};
use likeness_core::state::{Key, StateStore, Table, Write};
use likeness_core::{ImageId, StoreResult, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::tables::{SHARD, decode, encode};

pub use config::{EmbeddingKind, JoinConfig, MAX_DIMENSION, MAX_KINDS};
pub use door::{
    EmbeddingOutcome, EmbeddingReceipt, MAX_AHEAD, MAX_EMBEDDINGS, NewEmbedding, OrphanReceipt,
};
pub use list::{JoinView, KindView, OrphanQuery, OrphanView};
pub(super) use sweep::{Sweeper, journal};

/// What people did with orphans, as JSON, for everyone.
pub(super) const ORPHAN_JOURNAL: Topic = Topic("orphan_journal");

const CLAIMS: Table = Table("embedding_claims");
const EMBEDDINGS: Table = Table("embeddings");
const JOIN: Table = Table("join");
const DEADLINES: Table = Table("join_deadlines");
const ORPHANS: Table = Table("orphans");
const ORPHAN_DAYS: Table = Table("orphan_days");
const TOTALS: Table = Table("join_totals");

/// First byte of the key of an embedding's event. No image id begins with it.
const EMBEDDING_MARK: u8 = 0x10;
/// First byte of the key of an event about an orphan. No image id begins with it.
const ORPHAN_MARK: u8 = 0x11;

/// An embedding came in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct EmbeddingEvent {
    pub(super) image: ImageId,
    pub(super) kind: String,
    pub(super) model: String,
    /// As in [`Signature::embedding`](super::records::Signature::embedding).
    pub(super) vector: Bytes,
    /// Event time: when it was made, as its maker says.
    pub(super) time: Timestamp,
}

/// An embedding that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct EmbeddingRecord {
    pub(super) model: String,
    pub(super) vector: Bytes,
    pub(super) time: Timestamp,
    /// Whether it was computed here, by the model of the kind, since its own service sent none.
    #[serde(default)]
    pub(super) signed_here: bool,
}

/// What people do with an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OrphanCommand {
    /// Look again, and wait anew.
    Retry {
        /// Compute the embeddings that are missing here, as far as their kinds are of the model that runs
        /// here.
        #[serde(default)]
        sign: bool,
    },
    /// Give it up: an upload is decided as rejected, embeddings are forgotten.
    Drop,
}

/// An orphan is to be looked at again, or given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OrphanEvent {
    pub(super) image: ImageId,
    pub(super) author: String,
    pub(super) reason: String,
    pub(super) time: Timestamp,
    pub(super) command: OrphanCommand,
}

/// How an image stands after someone asked for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrphanOutcome {
    /// It has all its parts now and goes on to its decision.
    Joined,
    /// It waits for what is missing.
    Waiting,
    /// It was given up.
    Dropped,
    /// Nothing was waiting under this id any more.
    Nothing,
}

/// Entry of the journal of orphans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrphanAction {
    /// The image.
    pub image: String,
    /// Who wanted it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When it was accepted, in milliseconds since 1970 UTC.
    pub time_ms: u64,
    /// What was wanted.
    pub command: OrphanCommand,
    /// How the image stood afterwards.
    pub outcome: OrphanOutcome,
}

/// What is there of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JoinRow {
    /// Event time of its upload.
    pub(super) upload: Option<Timestamp>,
    /// Kinds that are there, and their event times.
    pub(super) kinds: BTreeMap<String, Timestamp>,
    /// When someone last asked to wait anew.
    #[serde(default)]
    pub(super) retried: Option<Timestamp>,
    pub(super) place: Place,
    /// Where its upload is in the log.
    #[serde(default)]
    pub(super) uploaded_at: Option<Offset>,
    /// Where the other events about it are: embeddings, and what people wanted of it as an orphan.
    #[serde(default)]
    pub(super) events: Vec<Offset>,
    /// Whether people wanted anything.
    #[serde(default)]
    pub(super) has_acts: bool,
    /// Whether its erasure has come: what comes of it later is of nothing. The row itself goes with the erasure.
    #[serde(default)]
    pub(super) is_going: bool,
}

/// Where an image stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Place {
    /// Nothing has come.
    #[default]
    Nowhere,
    /// One side waits for the other, until the watermark passes this event time.
    Waiting(Timestamp),
    /// The watermark has passed it.
    Orphan(Timestamp),
    /// Passed on; by the record of the log at this offset, unless it was before there was a join.
    Joined(Option<u64>),
}

impl JoinRow {
    /// Required kinds that are missing; nothing else can be while the upload is.
    pub(super) fn missing(&self, config: &JoinConfig) -> Vec<String> {
        let required = config.required_kinds().into_iter();
        required
            .filter(|&kind| !self.kinds.contains_key(kind))
            .map(ToOwned::to_owned)
            .collect()
    }

    /// Event time of the side that waits.
    fn deadline(&self) -> Option<Timestamp> {
        let side = self.upload.or_else(|| self.kinds.values().min().copied())?;
        Some(self.retried.map_or(side, |retried| retried.max(side)))
    }
}

/// Which side of a join is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JoinSide {
    /// The upload; at least one required kind of embedding is missing.
    Upload,
    /// Embeddings; the upload is missing.
    Embedding,
}

/// What a list says of an orphan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct OrphanRecord {
    side: JoinSide,
    /// Required kinds that are missing.
    missing: Vec<String>,
    present: Vec<String>,
    time: Timestamp,
}

/// Orphans of a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct DayRecord {
    orphans: u64,
}

/// Absolute counts, kept by the one writer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JoinTotals {
    /// Greatest event time of uploads and embeddings.
    pub(super) greatest: Timestamp,
    pub(super) waiting_uploads: u64,
    /// Images with embeddings and without an upload.
    pub(super) waiting_embeddings: u64,
    pub(super) orphan_uploads: u64,
    pub(super) orphan_embeddings: u64,
    /// Images that had to wait for a side and got it.
    pub(super) joined: u64,
    /// Of these, those that the watermark had passed.
    pub(super) late: u64,
    /// Given up.
    pub(super) dropped: u64,
}

impl JoinTotals {
    /// Reads them.
    pub(super) async fn read(state: &dyn StateStore) -> StoreResult<Self> {
        match state.get(&totals_key()).await? {
            Some(row) => decode("join_totals", &row),
            None => Ok(Self::default()),
        }
    }

    /// Event time before which nothing is waited for.
    pub(super) fn watermark(&self, config: &JoinConfig) -> Timestamp {
        let lateness = u64::try_from(config.lateness.as_millis()).unwrap_or(u64::MAX);
        Timestamp(self.greatest.0.saturating_sub(lateness))
    }

    /// Images of which one side only is there.
    pub(super) fn unjoined(&self) -> u64 {
        self.waiting_uploads
            + self.waiting_embeddings
            + self.orphan_uploads
            + self.orphan_embeddings
    }
}

/// What a record of the log is about, if it is one of the join's.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum JoinEvent {
    Embedding(EmbeddingEvent),
    Orphan(OrphanEvent),
}

/// Returns the event in `record` if it is one of the join's.
///
/// # Errors
/// [`StoreError::Corrupt`](likeness_core::StoreError::Corrupt) if it does not read.
pub(super) fn join_event(record: &Record) -> StoreResult<Option<JoinEvent>> {
    Ok(match record.key.first() {
        Some(&EMBEDDING_MARK) => Some(JoinEvent::Embedding(decode("uploads", &record.payload)?)),
        Some(&ORPHAN_MARK) => Some(JoinEvent::Orphan(decode("uploads", &record.payload)?)),
        _ => None,
    })
}

fn marked<T: Serialize>(mark: u8, id: &ImageId, event: &T) -> NewRecord {
    let mut key = vec![mark];
    key.extend_from_slice(id.as_bytes());
    NewRecord {
        key: key.into(),
        payload: encode(event),
    }
}

/// What the join keeps of an image that has been passed on.
#[derive(Debug)]
pub(super) struct Traces {
    /// Deletes its rows.
    pub(super) writes: Vec<Write>,
    /// Places of its events in `uploads`, its upload apart.
    pub(super) events: Vec<Offset>,
    /// Place of the one by which it was passed on, unless that was before there was a join.
    pub(super) passed_on: Option<Offset>,
    /// Whether the journal of orphans has entries about it.
    pub(super) has_acts: bool,
}

/// Returns what is left of an image that has been passed on, for whoever erases it; nothing if it has no row.
/// Such a row is in no list and in no count, so that others than the one writer may delete it.
///
/// # Errors
/// If the store fails.
pub(super) async fn traces(state: &dyn StateStore, image: &ImageId) -> StoreResult<Option<Traces>> {
    let row = state.get(&join_key(image)).await?;
    let Some(row) = row.map(|row| decode::<JoinRow>("join", &row)).transpose()? else {
        return Ok(None);
    };
    let mut writes = vec![Write::Delete(join_key(image))];
    for kind in row.kinds.keys() {
        writes.extend([
            Write::Delete(embedding_key(image, kind)),
            Write::Delete(claim_key(image, kind)),
        ]);
    }
    Ok(Some(Traces {
        writes,
        events: row.events,
        passed_on: match row.place {
            Place::Joined(at) => at.map(Offset),
            Place::Nowhere | Place::Waiting(_) | Place::Orphan(_) => None,
        },
        has_acts: row.has_acts,
    }))
}

/// Returns the keys of events about an image in `uploads`, its upload apart.
pub(super) fn event_keys(image: &ImageId) -> [Vec<u8>; 2] {
    [EMBEDDING_MARK, ORPHAN_MARK].map(|mark| [&[mark][..], image.as_bytes()].concat())
}

fn image_part(id: &ImageId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

fn claim_key(image: &ImageId, kind: &str) -> Key {
    Key::new(
        CLAIMS,
        image_part(image),
        Bytes::copy_from_slice(kind.as_bytes()),
    )
}

fn embedding_key(image: &ImageId, kind: &str) -> Key {
    let kind = Bytes::copy_from_slice(kind.as_bytes());
    Key::new(EMBEDDINGS, image_part(image), kind)
}

fn join_key(image: &ImageId) -> Key {
    Key::single(JOIN, image_part(image))
}

fn deadline_key(deadline: Timestamp, image: &ImageId) -> Key {
    let sort = [&deadline.0.to_be_bytes(), image.as_bytes()].concat();
    Key::new(DEADLINES, Bytes::from_static(SHARD), sort)
}

fn orphan_key(time: Timestamp, image: &ImageId) -> Key {
    Key::new(ORPHANS, day::text(time), image_part(image))
}

fn day_key(day: &str) -> Key {
    let day = Bytes::copy_from_slice(day.as_bytes());
    Key::new(ORPHAN_DAYS, Bytes::from_static(SHARD), day)
}

fn totals_key() -> Key {
    Key::single(TOTALS, Bytes::from_static(SHARD))
}
