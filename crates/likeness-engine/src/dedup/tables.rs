//! What near-duplicate detection keeps, where, and in which encoding.
//!
//! ```text
//! topic        written by   payload         read by
//! uploads      upload       UploadEvent     signature; corrections among them go through all stages,
//!                                           embeddings are joined there
//! signatures   signature    SignatureEvent  candidates
//! candidates   candidates   CandidatesEvent score
//! scores       score        ScoreEvent      assign
//! decisions    assign       Decision (JSON) anyone: /v1/events, likeness tail decisions
//! corrections  assign       CorrectionView (JSON) anyone
//!
//! table              partition, sort                → value
//! claims             image id                       → SHA-256 of its bytes, 32 bytes
//! upload             image id                       → UploadEvent
//! signature          image id                       → Signature
//! canonical          image id                       → Decision: canonical id, but for a merge of its cluster
//! explain            image id                       → ExplainRecord
//! numbers            block, number                  → NumberRecord: what the index is made of; empty once erased
//! clusters           canonical id                   → ClusterRecord, with a redirect if it was merged
//! members            canonical id, number           → MemberRecord, in the order of joining
//! clusters_by_size   shard, size ↓ first number ↓   → canonical id
//! clusters_by_time   shard, time ↓ first number ↓   → canonical id
//! totals             shard                          → Totals, absolute
//! ```
//! Those of corrections are in `corrections/mod.rs`, of reviews and labels in `reviews/mod.rs`, of banks in
//! `banks/mod.rs`, of floods in `flood/mod.rs`, of the join in `join/mod.rs`, of erasures in `erasure/mod.rs`.
//!
//! Integers in keys are big-endian; ↓ means complemented, so that an ascending scan begins with
//! the greatest. Values are MessagePack maps with named fields, so a field can be added; decisions
//! are JSON because others read them.

use bytes::Bytes;
use likeness_core::log::{NewRecord, Partition, Topic};
use likeness_core::state::{Key, Table};
use likeness_core::step::Consumer;
use likeness_core::{ImageId, ImageNumber, StoreError, StoreResult};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Uploads, durable before they are acknowledged.
pub(super) const UPLOADS: Topic = Topic("uploads");
/// Signatures of uploads.
pub(super) const SIGNATURES: Topic = Topic("signatures");
/// Candidates of signatures.
pub(super) const CANDIDATES: Topic = Topic("candidates");
/// Candidates with their scores.
pub(super) const SCORES: Topic = Topic("scores");
/// Decisions, for everyone.
pub(super) const DECISIONS: Topic = Topic("decisions");

/// The one partition of the embedded pipeline. Which partition an image belongs to is a matter of
/// its key once there are several.
pub(super) const PARTITION: Partition = Partition(0);

/// Reads uploads.
pub(super) const SIGNATURE_STAGE: Consumer = Consumer("dedup-signature");
/// Reads signatures.
pub(super) const CANDIDATES_STAGE: Consumer = Consumer("dedup-candidates");
/// Reads candidates.
pub(super) const SCORE_STAGE: Consumer = Consumer("dedup-score");
/// Reads scores.
pub(super) const ASSIGN_STAGE: Consumer = Consumer("dedup-assign");

const CLAIMS: Table = Table("claims");
const UPLOAD: Table = Table("upload");
const SIGNATURE: Table = Table("signature");
const CANONICAL: Table = Table("canonical");
const EXPLAIN: Table = Table("explain");
/// See the module's table.
pub(super) const NUMBERS: Table = Table("numbers");
const CLUSTERS: Table = Table("clusters");
/// See the module's table.
pub(super) const MEMBERS: Table = Table("members");
/// See the module's table.
pub(super) const CLUSTERS_BY_SIZE: Table = Table("clusters_by_size");
/// See the module's table.
pub(super) const CLUSTERS_BY_TIME: Table = Table("clusters_by_time");
const TOTALS: Table = Table("totals");

/// Numbers in one partition of `numbers`: about 6 MB of records.
pub(super) const NUMBERS_PER_BLOCK: u64 = 4096;

/// The one shard of the embedded pipeline. Lists of clusters are kept per shard, so that no
/// partition grows with the whole corpus once there are many.
pub(super) const SHARD: &[u8] = &[0];
/// Shard of `clusters_by_time` that leaves out clusters of one image.
pub(super) const SHARD_OF_MANY: &[u8] = &[0, 2];

fn id_key(table: Table, id: &ImageId) -> Key {
    Key::single(table, Bytes::copy_from_slice(id.as_bytes()))
}

/// Row that only the first upload of an id creates.
pub(super) fn claim_key(id: &ImageId) -> Key {
    id_key(CLAIMS, id)
}

/// Row of an upload.
pub(super) fn upload_key(id: &ImageId) -> Key {
    id_key(UPLOAD, id)
}

/// Row of a signature.
pub(super) fn signature_key(id: &ImageId) -> Key {
    id_key(SIGNATURE, id)
}

/// Row of a decision.
pub(super) fn canonical_key(id: &ImageId) -> Key {
    id_key(CANONICAL, id)
}

/// Row of an explain record.
pub(super) fn explain_key(id: &ImageId) -> Key {
    id_key(EXPLAIN, id)
}

/// Row of a cluster.
pub(super) fn cluster_key(head: &ImageId) -> Key {
    id_key(CLUSTERS, head)
}

/// Row of the totals.
pub(super) fn totals_key() -> Key {
    Key::single(TOTALS, Bytes::from_static(SHARD))
}

/// Row of a number.
pub(super) fn number_key(number: ImageNumber) -> Key {
    Key::new(
        NUMBERS,
        number_block(number.0 / NUMBERS_PER_BLOCK),
        Bytes::copy_from_slice(&number.0.to_be_bytes()),
    )
}

/// Partition key of the `block`-th block of numbers.
pub(super) fn number_block(block: u64) -> Bytes {
    Bytes::copy_from_slice(&block.to_be_bytes())
}

/// Row of a member.
pub(super) fn member_key(head: &ImageId, number: ImageNumber) -> Key {
    Key::new(
        MEMBERS,
        Bytes::copy_from_slice(head.as_bytes()),
        Bytes::copy_from_slice(&number.0.to_be_bytes()),
    )
}

/// Row of a cluster in the list by size.
pub(super) fn by_size_key(size: u64, head: ImageNumber) -> Key {
    Key::new(
        CLUSTERS_BY_SIZE,
        Bytes::from_static(SHARD),
        descending_pair(size, head.0),
    )
}

/// Row of a cluster in the list by time.
pub(super) fn by_time_key(shard: &'static [u8], updated_ms: u64, head: ImageNumber) -> Key {
    Key::new(
        CLUSTERS_BY_TIME,
        Bytes::from_static(shard),
        descending_pair(updated_ms, head.0),
    )
}

/// Returns 16 bytes that sort by `first`, then by `second`, greatest first.
pub(super) fn descending_pair(first: u64, second: u64) -> Bytes {
    let mut sort = [0; 16];
    sort[..8].copy_from_slice(&(!first).to_be_bytes());
    sort[8..].copy_from_slice(&(!second).to_be_bytes());
    Bytes::copy_from_slice(&sort)
}

/// Reads the first number of a [`descending_pair`].
pub(super) fn descending_first(sort: &[u8]) -> Option<u64> {
    let first: [u8; 8] = sort.get(..8)?.try_into().ok()?;
    Some(!u64::from_be_bytes(first))
}

/// Encodes a row or an event.
pub(super) fn encode<T: Serialize>(value: &T) -> Bytes {
    rmp_serde::to_vec_named(value)
        .expect("records hold nothing that MessagePack cannot say")
        .into()
}

/// Decodes a row or an event; `what` names it in the error.
pub(super) fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> StoreResult<T> {
    rmp_serde::from_slice(bytes)
        .map_err(|error| StoreError::corrupt("state", what, error.to_string()))
}

/// Returns an event about an image.
pub(super) fn event<T: Serialize>(id: &ImageId, payload: &T) -> NewRecord {
    NewRecord {
        key: Bytes::copy_from_slice(id.as_bytes()),
        payload: encode(payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descending_pairs_sort_greatest_first_and_read_back() {
        let mut pairs = [(3, 1), (9, 0), (3, 7), (u64::MAX, 2), (0, 0)];
        pairs.sort_by_key(|&(first, second)| descending_pair(first, second));
        assert_eq!(pairs, [(u64::MAX, 2), (9, 0), (3, 7), (3, 1), (0, 0)]);
        assert_eq!(descending_first(&descending_pair(42, 1)), Some(42));
        assert_eq!(descending_first(b"short"), None);
    }
}
