//! Corrections by hand: split, merge, another head, never and always together, and their undoing.
//!
//! A correction is an event in the log of uploads. The stages pass it on in order, and the assign stage,
//! which is the one writer, checks and applies it (`apply.rs`) in a commit of its own. So its place among
//! uploads is part of the log, and a replay gives the same clusters (docs/adr/014-corrections.md).
//!
//! ```text
//! table                  partition, sort      → value
//! corrections            shard, sequence      → CorrectionRecord, applied or refused
//! corrections_by_id      correction's id      → sequence
//! corrections_by_image   image id, sequence   → nothing: those that name or moved the image
//! constraints            shard, two numbers   → ConstraintRecord: never or always together
//! ```

pub(super) mod apply;
mod bank;
pub(super) mod constraints;
mod door;
pub(super) mod erase;
mod flood;
mod forget;
mod heads;
mod label;
mod merge;
mod regroup;
mod split;
#[cfg(test)]
pub(super) mod tests;
mod undo;

use bytes::Bytes;
use likeness_core::log::{NewRecord, Record, Topic};
use likeness_core::state::{Key, Table};
use likeness_core::{ImageId, ImageNumber, StoreResult, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::banks::BankChange;
use super::flood::FloodAct;
use super::records::MemberRecord;
use super::reviews::{LabelRecord, ReviewRecord, ReviewVerdict};
use super::tables::{SHARD, decode, encode};
use super::view::Decision;

/// What became of corrections, as JSON, for everyone.
pub(super) const CORRECTED: Topic = Topic("corrections");

const CORRECTIONS: Table = Table("corrections");
const BY_ID: Table = Table("corrections_by_id");
const BY_IMAGE: Table = Table("corrections_by_image");
const CLAIMS: Table = Table("correction_claims");
const CONSTRAINTS: Table = Table("constraints");

/// Most images that one correction moves; a longer list is refused.
pub const MAX_MOVED: usize = 1_000;
/// Most clusters that merges put into one; a merge beyond it is refused.
pub const MAX_PARTS: usize = 64;
/// Most pairs that must never or always be together; a correction beyond it is refused. All of them are
/// looked at when clusters are merged.
pub const MAX_CONSTRAINTS: u64 = 10_000;
/// Longest author and reason, in bytes; longer ones are refused.
pub const MAX_TEXT_BYTES: usize = 1_024;

/// What is to be changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Command {
    /// Members leave a cluster and are never again together with its head.
    Split {
        /// Canonical id of the cluster.
        #[schema(value_type = String)]
        cluster: ImageId,
        /// Who leaves, at most [`MAX_MOVED`].
        #[schema(value_type = Vec<String>)]
        members: Vec<ImageId>,
        /// Each founds a cluster of its own; otherwise they found one together.
        #[serde(default)]
        each_alone: bool,
    },
    /// All images of one cluster get the canonical id of another.
    Merge {
        /// Canonical id that stays.
        #[schema(value_type = String)]
        into: ImageId,
        /// Canonical id that leads there from now on.
        #[schema(value_type = String)]
        from: ImageId,
    },
    /// Another member is what images are compared with. The canonical id stays.
    #[serde(rename = "rehead")]
    ReHead {
        /// Canonical id of the cluster.
        #[schema(value_type = String)]
        cluster: ImageId,
        /// The member.
        #[schema(value_type = String)]
        head: ImageId,
    },
    /// Two images are never in one cluster; if they are now, one leaves.
    NeverTogether {
        /// Stays, if it can.
        #[schema(value_type = String)]
        a: ImageId,
        /// Leaves, if it can.
        #[schema(value_type = String)]
        b: ImageId,
    },
    /// Two images are always in one cluster; if they are not now, their clusters are merged.
    AlwaysTogether {
        /// One of them.
        #[schema(value_type = String)]
        a: ImageId,
        /// The other.
        #[schema(value_type = String)]
        b: ImageId,
    },
    /// A bank is changed.
    Bank(BankChange),
    /// Something is done about a flood.
    Flood(FloodAct),
    /// A person has looked at two images. What they say becomes the label of the pair, in place of an earlier
    /// one, and takes it off the review queue.
    Label {
        /// One of them.
        #[schema(value_type = String)]
        a: ImageId,
        /// The other.
        #[schema(value_type = String)]
        b: ImageId,
        /// What they say.
        verdict: ReviewVerdict,
        /// Also keeps them together, or apart, from now on. If that cannot be, `not_corrected` says why, and
        /// the label stands.
        #[serde(default)]
        correct: bool,
    },
    /// Images leave their clusters for another, or to found one. Nothing is bound: made by a reclustering.
    Move {
        /// Canonical id of the cluster; absent if they found one together.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>)]
        into: Option<ImageId>,
        /// Who leaves, at most [`MAX_MOVED`].
        #[schema(value_type = Vec<String>)]
        members: Vec<ImageId>,
    },
    /// As `merge`, and nothing is bound: made by a reclustering.
    Fold {
        /// Canonical id that stays.
        #[schema(value_type = String)]
        into: ImageId,
        /// Canonical id that leads there from now on.
        #[schema(value_type = String)]
        from: ImageId,
    },
    /// Erases an image, for good: see `docs/adr/017-erasure.md`. Cannot be undone.
    Erase {
        /// The image.
        #[schema(value_type = String)]
        image: ImageId,
    },
    /// Takes a correction back.
    Undo {
        /// Its sequence number.
        correction: u64,
    },
}

/// A correction to make.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCorrection {
    /// Its id, by which a repeated call is recognised; one is generated if absent.
    pub id: Option<ImageId>,
    /// Who wants it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// What is to be changed.
    pub command: Command,
}

/// A correction in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct CorrectionEvent {
    pub(super) id: ImageId,
    pub(super) author: String,
    pub(super) reason: String,
    pub(super) time: Timestamp,
    pub(super) command: Command,
    /// Of an erasure that was made: the heads that were chosen, by cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) heads: Vec<(ImageId, super::records::Head)>,
}

/// What became of a correction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CorrectionOutcome {
    /// It was made.
    Applied,
    /// It was not, and nothing changed.
    Refused {
        /// Stable code, such as `not_a_member`.
        code: String,
        /// What stands against it, in words.
        message: String,
    },
}

/// A correction as callers see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CorrectionView {
    /// Place in the order of corrections, from 0.
    pub sequence: u64,
    /// Its id.
    pub id: String,
    /// Who wanted it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When it was accepted, in milliseconds since 1970 UTC.
    pub time_ms: u64,
    /// Images that were decided before it was dealt with: its place among the decisions.
    pub images: u64,
    /// What was to be changed.
    pub command: Command,
    /// What became of it.
    pub outcome: CorrectionOutcome,
    /// The correction that took it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undone_by: Option<u64>,
    /// Of a label that was to correct as well: why that could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_corrected: Option<Refusal>,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// Stable code, such as `both_stay`.
    pub code: String,
    /// What stands against it, in words.
    pub message: String,
}

/// A correction that was dealt with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CorrectionRecord {
    event: CorrectionEvent,
    outcome: CorrectionOutcome,
    effect: Effect,
    undone_by: Option<u64>,
    /// See [`CorrectionView::images`]; 0 in rows of before it was kept.
    #[serde(default)]
    images: u64,
}

impl CorrectionRecord {
    fn view(self, sequence: u64) -> CorrectionView {
        CorrectionView {
            sequence,
            id: self.event.id.to_string(),
            author: self.event.author,
            reason: self.event.reason,
            time_ms: self.event.time.0,
            images: self.images,
            command: self.event.command,
            outcome: self.outcome,
            undone_by: self.undone_by,
            not_corrected: self.effect.labelled.and_then(|it| it.not_corrected),
        }
    }
}

/// What a correction changed: what its undoing changes back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Effect {
    moved: Vec<Moved>,
    merged: Option<Merged>,
    reheaded: Option<Reheaded>,
    /// Parts whose head has left the whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    beheaded: Vec<Reheaded>,
    /// Pairs that were not bound before.
    bound: Vec<(ImageNumber, ImageNumber)>,
    /// What it changed of a bank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bank: Option<bank::BankEffect>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labelled: Option<Labelled>,
    /// Pairs that were waiting for review.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    settled: Vec<ReviewRecord>,
}

/// The label of a pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Labelled {
    /// The one that it had, if it has another now.
    before: Option<LabelRecord>,
    /// Nothing if the pair was skipped.
    after: Option<LabelRecord>,
    /// Why the images are not kept together or apart, if they were to be.
    not_corrected: Option<Refusal>,
}

/// An image that left its cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Moved {
    number: ImageNumber,
    /// Cluster whose partition its row was in, and the number of that cluster's first image.
    before: ImageId,
    before_number: ImageNumber,
    /// The cluster that it founded or joined.
    after: ImageId,
    /// Whether that cluster was there before.
    #[serde(default)]
    has_joined: bool,
    member: MemberRecord,
    decision: Decision,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Merged {
    into: ImageId,
    from: ImageId,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Reheaded {
    cluster: ImageId,
    before: super::records::Head,
    after: super::records::Head,
}

/// First byte of the key of a correction's event. No image id begins with it.
const MARK: u8 = 0;

/// Returns a correction as an event of the log.
pub(super) fn correction_event(event: &CorrectionEvent) -> NewRecord {
    let mut key = vec![MARK];
    key.extend_from_slice(event.id.as_bytes());
    NewRecord {
        key: key.into(),
        payload: encode(event),
    }
}

/// Returns the record to pass on if `record` is a correction, not an image.
pub(super) fn passed_on(record: &Record) -> Option<NewRecord> {
    (record.key.first() == Some(&MARK)).then(|| NewRecord {
        key: record.key.clone(),
        payload: record.payload.clone(),
    })
}

/// Returns the image that a record of the log erases, if it is an erasure.
///
/// # Errors
/// [`StoreError::Corrupt`](likeness_core::StoreError::Corrupt) if it is a broken correction.
pub(super) fn erased_by(record: &NewRecord) -> StoreResult<Option<ImageId>> {
    if record.key.first() != Some(&MARK) {
        return Ok(None);
    }
    let event: CorrectionEvent = decode("uploads", &record.payload)?;
    Ok(match event.command {
        Command::Erase { image } => Some(image),
        _ => None,
    })
}

fn sequence_key(sequence: u64) -> Key {
    Key::new(
        CORRECTIONS,
        Bytes::from_static(SHARD),
        Bytes::copy_from_slice(&sequence.to_be_bytes()),
    )
}

fn by_id_key(id: &ImageId) -> Key {
    Key::single(BY_ID, Bytes::copy_from_slice(id.as_bytes()))
}

fn by_image_key(image: &ImageId, sequence: u64) -> Key {
    Key::new(
        BY_IMAGE,
        Bytes::copy_from_slice(image.as_bytes()),
        Bytes::copy_from_slice(&sequence.to_be_bytes()),
    )
}

fn claim_key(id: &ImageId) -> Key {
    Key::single(CLAIMS, Bytes::copy_from_slice(id.as_bytes()))
}
