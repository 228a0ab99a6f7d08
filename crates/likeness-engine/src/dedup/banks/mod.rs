//! Banks: named sets of reference pictures, known spam for example, that uploads are compared with.
//!
//! A reference is no upload: it has no number, is in no cluster, and is known by the digest of its bytes. An
//! upload that scores a bank's own threshold with a reference matches the bank: one row and one event, in the
//! commit of its decision. What matches a *negative* bank stays alone: it joins nothing, and nothing joins it.
//!
//! Changes are corrections (`corrections/bank.rs`), so they have a place among uploads, an author and a reason,
//! and a replay gives the same matches (docs/adr/019-banks.md).
//!
//! ```text
//! topic          payload
//! bank_matches   BankMatchView (JSON): written by the assign stage, and by scans of stored images
//!
//! table                   partition, sort           → value
//! banks                   shard, name               → BankRecord
//! bank_references         serial, sequence          → ReferenceRecord
//! bank_digests            serial, digest            → sequence
//! bank_matches            serial, image's number ↓  → BankMatchView (JSON)
//! bank_matches_by_image   image id, serial          → BankMatchView (JSON)
//! bank_scans              shard, serial             → ScanRecord
//! bank_counts             shard, serial             → images that matched when decided, absolute
//! reference_signatures    correction, digest        → SignedReference: until the correction is dealt with
//! ```
//! A serial is never used again, so a new bank does not inherit the matches of one that had its name.

mod door;
mod measure;
mod scan;
mod set;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use likeness_core::log::Topic;
use likeness_core::state::{Key, Table};
use likeness_core::{ImageId, Sha256, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Digest;
use utoipa::ToSchema;

use super::records::Signature;
use super::tables::SHARD;
use super::view::{MatchedView, Rejection};

pub use door::NewFile;
pub(super) use door::{read_u64, sign_references};
pub use measure::{BankCost, bank_cost};
pub use scan::SCANNED_AT_ONCE;
pub(super) use set::{BankMatch, BankSet, Banks, banks_with_file, matched};

/// Matches, for everyone.
pub(super) const BANK_MATCHES: Topic = Topic("bank_matches");

pub(super) const BANKS: Table = Table("banks");
pub(super) const REFERENCES: Table = Table("bank_references");
const DIGESTS: Table = Table("bank_digests");
const MATCHES: Table = Table("bank_matches");
pub(super) const MATCHES_BY_IMAGE: Table = Table("bank_matches_by_image");
const SCANS: Table = Table("bank_scans");
const COUNTS: Table = Table("bank_counts");
const SIGNATURES_OF_REFERENCES: Table = Table("reference_signatures");

/// Longest name of a bank, in bytes.
pub const MAX_BANK_NAME_BYTES: usize = 64;
/// Most references that one change names; a longer list is refused.
pub const MAX_REFERENCES_AT_ONCE: usize = 100;
/// References of a bank that an image is compared with in full: those with the highest cosines.
pub const MAX_COMPARED: usize = 32;

/// Bounds on banks. Each upload is compared with every reference of every bank that it takes part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BankLimits {
    /// Most banks; a further one is refused.
    pub max_banks: u64,
    /// Most references of a bank; a further one is refused.
    pub max_references: u64,
}

impl Default for BankLimits {
    fn default() -> Self {
        Self {
            max_banks: 16,
            max_references: 10_000,
        }
    }
}

/// A change of a bank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum BankChange {
    /// A new bank, empty and in force.
    Create {
        /// Its name: 1 to 64 of `a-z`, `0-9`, `-` and `_`.
        bank: String,
        /// Score from 0 to 1 that an image needs with a reference.
        threshold: f32,
        /// Share of images that take part, 0 to 1.
        #[serde(default = "everything")]
        share: f32,
        /// Whether images that match stay alone.
        #[serde(default)]
        negative: bool,
    },
    /// Other settings; those that are absent stay.
    Set {
        /// Name of the bank.
        bank: String,
        /// As in `create`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        threshold: Option<f32>,
        /// As in `create`. Images that took part still do when it grows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        share: Option<f32>,
        /// Whether it is in force.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        enabled: Option<bool>,
    },
    /// The bank goes, with its references. Its matches can still be seen with their images.
    Delete {
        /// Name of the bank.
        bank: String,
    },
    /// Further references, at most [`MAX_REFERENCES_AT_ONCE`]; those that it has already are passed over.
    Add {
        /// Name of the bank.
        bank: String,
        /// The references.
        references: Vec<NewReference>,
    },
    /// References go, at most [`MAX_REFERENCES_AT_ONCE`].
    Remove {
        /// Name of the bank.
        bank: String,
        /// SHA-256 of their bytes, hex.
        references: Vec<String>,
    },
}

fn everything() -> f32 {
    1.0
}

/// A reference to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum NewReference {
    /// An image that is stored and decided.
    Image {
        /// Its id.
        #[schema(value_type = String)]
        image: ImageId,
    },
    /// A file whose bytes were handed over before.
    File {
        /// SHA-256 of its bytes, hex.
        sha256: String,
        /// A name to show.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
}

impl BankChange {
    /// The bank that is changed.
    pub fn bank(&self) -> &str {
        match self {
            Self::Create { bank, .. }
            | Self::Set { bank, .. }
            | Self::Delete { bank }
            | Self::Add { bank, .. }
            | Self::Remove { bank, .. } => bank,
        }
    }

    /// Checks what can be checked without looking at anything.
    ///
    /// # Errors
    /// What is wrong, as the name of a parameter and what it should be.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let name = self.bank().as_bytes();
        let is_plain =
            |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(byte);
        if !(1..=MAX_BANK_NAME_BYTES).contains(&name.len()) || !name.iter().all(is_plain) {
            let reason = format!(
                "must be 1 to {MAX_BANK_NAME_BYTES} lower-case letters, digits, `-` and `_`"
            );
            return Err(("bank", reason));
        }
        let unit = |name: &'static str, value: Option<f32>| match value {
            Some(value) if !(0.0..=1.0).contains(&value) => {
                Err((name, "must lie in 0..=1".to_owned()))
            }
            _ => Ok(()),
        };
        match self {
            Self::Create {
                threshold, share, ..
            } => {
                unit("threshold", Some(*threshold))?;
                unit("share", Some(*share))
            }
            Self::Set {
                threshold, share, ..
            } => {
                unit("threshold", *threshold)?;
                unit("share", *share)
            }
            Self::Delete { .. } => Ok(()),
            Self::Add { references, .. } => {
                check_count(references.len())?;
                references
                    .iter()
                    .filter_map(|reference| match reference {
                        NewReference::File { sha256, .. } => Some(sha256),
                        NewReference::Image { .. } => None,
                    })
                    .try_for_each(|digest| parse_digest(digest).map(drop))
            }
            Self::Remove { references, .. } => {
                check_count(references.len())?;
                references
                    .iter()
                    .try_for_each(|digest| parse_digest(digest).map(drop))
            }
        }
    }
}

fn check_count(count: usize) -> Result<(), (&'static str, String)> {
    if (1..=MAX_REFERENCES_AT_ONCE).contains(&count) {
        return Ok(());
    }
    let reason = format!("must be 1 to {MAX_REFERENCES_AT_ONCE} at a time");
    Err(("references", reason))
}

/// Reads the hex form of a digest.
pub(super) fn parse_digest(text: &str) -> Result<Sha256, (&'static str, String)> {
    text.parse().map_err(|_| {
        (
            "references",
            "must be SHA-256 digests, 64 hex digits".to_owned(),
        )
    })
}

/// A bank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct BankRecord {
    pub(super) name: String,
    /// Never used again.
    pub(super) serial: u64,
    pub(super) threshold: f32,
    pub(super) share: f32,
    pub(super) negative: bool,
    pub(super) enabled: bool,
    pub(super) created: Timestamp,
    /// References that it has.
    pub(super) references: u64,
    /// Sequence number of the next one.
    pub(super) next_reference: u64,
    /// Changes by which references have gone: as long as it stays, those in memory are a beginning of all.
    pub(super) removals: u64,
}

/// A reference of a bank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ReferenceRecord {
    pub(super) sequence: u64,
    pub(super) digest: Sha256,
    /// The stored image that it was taken from.
    pub(super) image: Option<ImageId>,
    pub(super) name: Option<String>,
    pub(super) signature: Signature,
    pub(super) author: String,
    pub(super) reason: String,
    pub(super) added: Timestamp,
}

/// What the signature stage made of a file that is to be a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SignedReference {
    pub(super) signature: Option<Signature>,
    pub(super) rejection: Option<Rejection>,
}

/// How far a scan of stored images has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct ScanRecord {
    /// Numbers below are done.
    pub(super) next: u64,
    /// Numbers that there were when it began.
    pub(super) end: u64,
    /// Matches that it has found.
    pub(super) matches: u64,
    /// What the bank had when it began: a scan of a bank that has changed begins anew.
    pub(super) next_reference: u64,
}

/// An image that matched a bank, as rows, events and answers hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BankMatchView {
    /// The image.
    pub image: String,
    /// Name of the bank.
    pub bank: String,
    /// Whether the bank is negative: then the image stays alone.
    pub negative: bool,
    /// SHA-256 of the reference's bytes.
    pub reference: String,
    /// The stored image that the reference was taken from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_image: Option<String>,
    /// Score with the reference, the highest of the bank.
    pub score: f32,
    /// Score that the bank asked for.
    pub threshold: f32,
    /// Cosine of the embeddings of what was compared.
    pub cosine: f32,
    /// PDQ distance in bits, 0 to 256.
    pub pdq_distance: u16,
    /// The lower of the two PDQ qualities.
    pub pdq_quality: u8,
    /// The lower of the two flatnesses, in percent.
    pub flat_percent: u8,
    /// The view that was compared, if it was not wholes; the candidate is the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<MatchedView>,
    /// Share of images that took part.
    pub share: f32,
    /// Where in 0..1 the image falls: it takes part if this is under the share.
    pub draw: f32,
    /// Found by a scan of stored images, not when the image was decided.
    pub retroactive: bool,
    /// When it was found.
    pub time_ms: u64,
}

/// A bank as callers see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BankView {
    /// Its name.
    pub name: String,
    /// Score from 0 to 1 that an image needs with a reference.
    pub threshold: f32,
    /// Share of images that take part.
    pub share: f32,
    /// Whether images that match stay alone.
    pub negative: bool,
    /// Whether it is in force.
    pub enabled: bool,
    /// References that it has.
    pub references: u64,
    /// Images that matched when they were decided.
    pub matches: u64,
    /// When it was made.
    pub created_ms: u64,
    /// The latest scan of stored images, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<ScanView>,
}

/// A scan of stored images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScanView {
    /// Images looked at so far.
    pub scanned: u64,
    /// Images to look at: those decided when it began.
    pub images: u64,
    /// Matches found so far, without those found when images were decided.
    pub matches: u64,
    /// Whether it is at its end.
    pub is_done: bool,
}

/// A reference as callers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReferenceView {
    /// SHA-256 of its bytes, hex: its name in calls.
    pub sha256: String,
    /// The stored image that it was taken from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// A name to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Upright width in pixels.
    pub width: u32,
    /// Upright height in pixels.
    pub height: u32,
    /// Who added it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When it was added.
    pub added_ms: u64,
}

/// Returns where in 0..1 an image falls for a bank: it takes part if that is under the bank's share. A hash
/// of both names, so it stays when the share grows, and no bank's choice follows another's.
pub(super) fn draw(bank: &str, image: &ImageId) -> f32 {
    let mut hasher = sha2::Sha256::new();
    hasher.update(b"likeness bank share\0");
    hasher.update(bank.as_bytes());
    hasher.update(b"\0");
    hasher.update(image.as_bytes());
    let digest: [u8; 32] = hasher.finalize().into();
    // 24 bits are what an f32 holds: below 1, and every machine reads the same.
    let bits = u32::from_be_bytes([0, digest[0], digest[1], digest[2]]);
    bits as f32 / (1u32 << 24) as f32
}

pub(super) fn serial_partition(serial: u64) -> Bytes {
    Bytes::copy_from_slice(&serial.to_be_bytes())
}

pub(super) fn bank_key(name: &str) -> Key {
    Key::new(
        BANKS,
        Bytes::from_static(SHARD),
        Bytes::copy_from_slice(name.as_bytes()),
    )
}

pub(super) fn reference_key(serial: u64, sequence: u64) -> Key {
    Key::new(
        REFERENCES,
        serial_partition(serial),
        Bytes::copy_from_slice(&sequence.to_be_bytes()),
    )
}

pub(super) fn digest_key(serial: u64, digest: &Sha256) -> Key {
    Key::new(
        DIGESTS,
        serial_partition(serial),
        Bytes::copy_from_slice(&digest.0),
    )
}

pub(super) fn match_key(serial: u64, number: u64) -> Key {
    Key::new(
        MATCHES,
        serial_partition(serial),
        Bytes::copy_from_slice(&(!number).to_be_bytes()),
    )
}

pub(super) fn match_by_image_key(image: &ImageId, serial: u64) -> Key {
    Key::new(
        MATCHES_BY_IMAGE,
        Bytes::copy_from_slice(image.as_bytes()),
        Bytes::copy_from_slice(&serial.to_be_bytes()),
    )
}

fn scan_key(serial: u64) -> Key {
    Key::new(
        SCANS,
        Bytes::from_static(SHARD),
        Bytes::copy_from_slice(&serial.to_be_bytes()),
    )
}

/// Row of the count of matches, 8 bytes.
pub(super) fn count_key(serial: u64) -> Key {
    Key::new(
        COUNTS,
        Bytes::from_static(SHARD),
        Bytes::copy_from_slice(&serial.to_be_bytes()),
    )
}

/// Row of a file's signature until the correction that names it is dealt with.
pub(super) fn reference_signature_key(correction: &ImageId, digest: &Sha256) -> Key {
    Key::new(
        SIGNATURES_OF_REFERENCES,
        Bytes::copy_from_slice(correction.as_bytes()),
        Bytes::copy_from_slice(&digest.0),
    )
}

/// Returns a match as the payload of an event and of rows.
pub(super) fn encode_match(found: &BankMatchView) -> Bytes {
    serde_json::to_vec(found)
        .expect("a match holds nothing that JSON cannot say")
        .into()
}
