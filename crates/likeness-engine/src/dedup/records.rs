//! Rows and events of near-duplicate detection; [`super::tables`] says where they are kept.

mod pdq_bytes;

use bytes::Bytes;
use likeness_core::{ImageId, ImageNumber, Sha256, StoreError, StoreResult, Timestamp};
use likeness_index::bf16;
use likeness_vision::decode::ImageFormat;
use likeness_vision::pdq::PdqHash;
use likeness_vision::regions::Rect;
use likeness_vision::views::ViewKind;
use serde::{Deserialize, Serialize};

use super::banks::BankMatchView;
use super::erasure::Places;
use super::flood::{Guard, Watch};
use super::scorer::{LookFeatures, Marks, aspect};
pub(super) use super::totals::Totals;
use super::view::{CandidateSource, Decision, MatchedView, Rejection, SignatureView};

/// An image was stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct UploadEvent {
    /// Its id.
    pub id: ImageId,
    /// Name given by the uploader; shown, never used as a path.
    pub name: Option<String>,
    /// Digest of its bytes; the object's path derives from it.
    pub sha256: Sha256,
    /// Size of its bytes.
    pub num_bytes: u64,
    /// What its first bytes say it is.
    pub format: ImageFormat,
    /// When it was stored.
    pub uploaded: Timestamp,
}

/// What is computed from a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signature {
    /// Format of the file.
    pub format: ImageFormat,
    /// Upright width in pixels.
    pub width: u32,
    /// Upright height in pixels.
    pub height: u32,
    /// PDQ hash.
    #[serde(with = "pdq_bytes")]
    pub pdq: PdqHash,
    /// PDQ quality, 0 to 100.
    pub pdq_quality: u8,
    /// Share of the border that is plain, in percent, see [`flatness`](super::flatness::flatness).
    pub flatness: u8,
    /// Embedding of unit length, rounded to bf16, little-endian, two bytes per dimension.
    pub embedding: Bytes,
    /// What else of it has an embedding, in the order of [`views`](likeness_vision::views::views). Rows
    /// written before there were views have none.
    #[serde(default)]
    pub views: Vec<ViewRecord>,
}

/// What is computed from a view of a picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewRecord {
    /// What it shows.
    pub kind: ViewKind,
    /// Which part, in upright pixels of the picture at full size.
    pub rect: Rect,
    /// PDQ hash.
    #[serde(with = "pdq_bytes")]
    pub pdq: PdqHash,
    /// PDQ quality, 0 to 100.
    pub pdq_quality: u8,
    /// As [`Signature::flatness`], of the view alone.
    pub flatness: u8,
    /// As [`Signature::embedding`].
    pub embedding: Bytes,
}

impl ViewRecord {
    /// As [`Signature::marks`].
    pub(super) fn marks(&self) -> Marks {
        Marks {
            pdq: self.pdq,
            pdq_quality: self.pdq_quality,
            flatness: self.flatness,
            aspect: aspect(self.rect.width, self.rect.height),
        }
    }

    /// As [`Signature::bf16`].
    pub(super) fn bf16(&self) -> StoreResult<Vec<u16>> {
        bf16_of(&self.embedding)
    }
}

impl Signature {
    /// Returns the embedding as bf16 numbers.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it has an odd number of bytes.
    pub(super) fn bf16(&self) -> StoreResult<Vec<u16>> {
        bf16_of(&self.embedding)
    }

    /// Returns the embedding as it is compared: rounded to bf16.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it has an odd number of bytes.
    pub fn query(&self) -> StoreResult<Vec<f32>> {
        Ok(bf16::decode(&self.bf16()?))
    }

    /// Returns what the picture is compared by besides its embedding.
    pub fn marks(&self) -> Marks {
        Marks {
            pdq: self.pdq,
            pdq_quality: self.pdq_quality,
            flatness: self.flatness,
            aspect: aspect(self.width, self.height),
        }
    }

    /// Returns what callers see of the signature.
    pub(super) fn view(&self, model: &str) -> SignatureView {
        SignatureView {
            format: self.format.as_str().to_owned(),
            width: self.width,
            height: self.height,
            pdq: self.pdq.to_string(),
            pdq_quality: self.pdq_quality,
            flatness: self.flatness,
            model: model.to_owned(),
        }
    }
}

fn bf16_of(embedding: &[u8]) -> StoreResult<Vec<u16>> {
    bf16::from_le_bytes(embedding).ok_or_else(odd_embedding)
}

fn odd_embedding() -> StoreError {
    StoreError::corrupt("state", "embedding", "odd number of bytes")
}

/// A stored image was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SignatureEvent {
    /// The image.
    pub upload: UploadEvent,
    /// Set if the image could not be decoded; its signature is kept in its row otherwise.
    pub rejection: Option<Rejection>,
    /// Where the events before this one are.
    #[serde(default)]
    pub places: Places,
}

/// The index was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct CandidatesEvent {
    /// The image.
    pub upload: UploadEvent,
    /// As in [`SignatureEvent`].
    pub rejection: Option<Rejection>,
    /// Images in the index when it was asked: it knew the numbers below this one.
    pub num_indexed: u64,
    /// Whether every one of them was looked at.
    #[serde(default = "exact")]
    pub is_exact: bool,
    /// What it found, best first.
    pub candidates: Vec<Candidate>,
    /// As in [`SignatureEvent`].
    #[serde(default)]
    pub places: Places,
}

/// Records of before there was an index that looks at a part only.
fn exact() -> bool {
    true
}

/// An image that may be near.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Candidate {
    /// Its number.
    pub number: ImageNumber,
    /// Cosine of the embeddings.
    pub cosine: f32,
}

/// Candidates were scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ScoreEvent {
    /// The image.
    pub upload: UploadEvent,
    /// As in [`SignatureEvent`].
    pub rejection: Option<Rejection>,
    /// As in [`CandidatesEvent`].
    pub num_indexed: u64,
    /// As in [`CandidatesEvent`].
    #[serde(default = "exact")]
    pub is_exact: bool,
    /// Candidates that the index had returned.
    pub num_candidates: u32,
    /// Pairs scored, heads of candidates included.
    pub num_scored: u32,
    /// Generation whose scorer scored them; 0 in events of before it was kept.
    #[serde(default)]
    pub generation: u32,
    /// Corrections that had been dealt with when their heads were read.
    #[serde(default)]
    pub num_corrections: u64,
    /// The best, best first: every head at or above the threshold, and enough others to explain.
    pub scored: Vec<ScoredCandidate>,
    /// As in [`SignatureEvent`].
    #[serde(default)]
    pub places: Places,
}

/// A candidate with what it was scored by.
///
/// In events and rows it is named by its number alone, so that nothing but a number is left of it there when
/// it is erased; whoever reads one looks up the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ScoredCandidate {
    /// Its number.
    pub number: ImageNumber,
    /// Its id.
    #[serde(skip, default = "not_looked_up")]
    pub id: ImageId,
    /// Head of its cluster.
    #[serde(skip, default = "not_looked_up")]
    pub head: ImageId,
    /// Number of that head; absent in events of before it was kept.
    #[serde(default)]
    pub head_number: Option<ImageNumber>,
    /// Canonical id of its cluster; absent if it is that head's id.
    #[serde(skip)]
    pub cluster: Option<ImageId>,
    /// When the candidate was stored; decides between heads of equal score.
    #[serde(skip)]
    pub uploaded: Timestamp,
    /// Where it came from.
    pub source: CandidateSource,
    /// Cosine of the embeddings of what was compared.
    pub cosine: f32,
    /// PDQ distance in bits.
    pub pdq_distance: u16,
    /// The lower of the two PDQ qualities.
    pub pdq_quality: u8,
    /// The lower of the two flatnesses.
    pub flat_percent: u8,
    /// Whether the bytes are the same.
    pub exact_copy: bool,
    /// Probability of a near-copy.
    pub score: f32,
    /// The view that was compared, if it was not the wholes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<MatchedView>,
    /// Score before the look, if one was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_score: Option<f32>,
    /// What a close look found, if one was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<LookFeatures>,
}

fn not_looked_up() -> ImageId {
    ImageId::new("?").expect("a question mark is an id")
}

/// Reads a row of `numbers`; nothing if the image was erased.
pub(super) fn decode_number(row: &[u8]) -> StoreResult<Option<NumberRecord>> {
    match row {
        [] => Ok(None),
        row => super::tables::decode("numbers", row).map(Some),
    }
}

/// What the index and the scorer need to know of a decided image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct NumberRecord {
    /// Its id.
    pub id: ImageId,
    /// Canonical id of the cluster that it was put into: the id of that cluster's first image. Merges leave
    /// it; [`ClusterRecord::merged_into`] says where it leads.
    pub head: ImageId,
    /// Number of that first image.
    pub head_number: ImageNumber,
    /// When it was stored.
    pub uploaded: Timestamp,
    /// Digest of its bytes.
    pub sha256: Sha256,
    /// PDQ hash.
    #[serde(with = "pdq_bytes")]
    pub pdq: PdqHash,
    /// PDQ quality.
    pub pdq_quality: u8,
    /// Flatness as in [`Signature::flatness`].
    pub flatness: u8,
    /// Embedding as in [`Signature::embedding`].
    pub embedding: Bytes,
    /// Upright width in pixels; 0 in rows of versions that did not keep it here.
    #[serde(default)]
    pub width: u32,
    /// As `width`.
    #[serde(default)]
    pub height: u32,
    /// Views as in [`Signature::views`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<ViewRecord>,
}

impl NumberRecord {
    /// As [`Signature::marks`].
    pub(super) fn marks(&self) -> Marks {
        Marks {
            pdq: self.pdq,
            pdq_quality: self.pdq_quality,
            flatness: self.flatness,
            aspect: aspect(self.width, self.height),
        }
    }

    /// Returns the embedding as bf16 numbers.
    ///
    /// # Errors
    /// As [`Signature::bf16`].
    pub(super) fn bf16(&self) -> StoreResult<Vec<u16>> {
        bf16_of(&self.embedding)
    }

    /// Returns the embedding.
    ///
    /// # Errors
    /// As [`Signature::bf16`].
    pub(super) fn vector(&self) -> StoreResult<Vec<f32>> {
        bf16::decode_le_bytes(&self.embedding).ok_or_else(odd_embedding)
    }

    /// Whether it stands for an image of which a replay knows the number and the place alone: it was erased
    /// later in the log.
    pub(super) fn is_placeholder(&self) -> bool {
        self.embedding.is_empty()
    }
}

/// An image that a cluster's images are compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// Its id.
    pub id: ImageId,
    /// Its number.
    pub number: ImageNumber,
}

/// A cluster. Its key is its canonical id, the id of its first image, and never changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ClusterRecord {
    /// Number of the first image.
    #[serde(rename = "head_number")]
    pub first_number: ImageNumber,
    /// Images in it and in its parts; as of the merge, if it was merged into another.
    pub size: u64,
    /// When the first image was decided.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// The head, if it is not the first image.
    #[serde(default)]
    pub head: Option<Head>,
    /// Where its canonical id leads since a merge. Never to a cluster that was merged itself.
    #[serde(default)]
    pub merged_into: Option<ImageId>,
    /// Clusters that were merged into this one. Their members stay in their own partitions.
    #[serde(default)]
    pub parts: Vec<ImageId>,
    /// Images in its own partition, if a merge has made that another number than `size`.
    #[serde(default)]
    pub own: Option<u64>,
    /// How it stands towards images that come.
    #[serde(default, skip_serializing_if = "Guard::is_open")]
    pub guard: Guard,
    /// What is watched of its growth, once it has grown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
}

impl ClusterRecord {
    /// A cluster of one image.
    pub(super) fn new(first: ImageNumber, now: Timestamp) -> Self {
        Self {
            first_number: first,
            size: 1,
            created: now,
            updated: now,
            head: None,
            merged_into: None,
            parts: Vec::new(),
            own: None,
            guard: Guard::Open,
            watch: None,
        }
    }

    /// Whether it was not merged into another.
    pub(super) fn is_standing(&self) -> bool {
        self.merged_into.is_none()
    }

    /// Images in its own partition.
    pub(super) fn own(&self) -> u64 {
        self.own.unwrap_or(self.size)
    }

    /// Makes another image the head, given the canonical id.
    pub(super) fn set_head(&mut self, id: &ImageId, head: Head) {
        self.head = Some(head).filter(|head| head.id != *id);
    }

    /// Returns the head, given the canonical id.
    pub(super) fn head(&self, id: &ImageId) -> Head {
        self.head.clone().unwrap_or_else(|| Head {
            id: id.clone(),
            number: self.first_number,
        })
    }
}

/// A member of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct MemberRecord {
    /// Its id.
    pub id: ImageId,
    /// Name given by the uploader.
    pub name: Option<String>,
    /// Score against the head that it joined.
    pub score: f32,
    /// Whether the bytes are those of the head.
    pub exact_copy: bool,
    /// When it joined.
    pub joined: Timestamp,
    /// Upright width in pixels.
    pub width: u32,
    /// Upright height in pixels.
    pub height: u32,
    /// Size of its bytes.
    pub num_bytes: u64,
    /// Format of the file.
    pub format: ImageFormat,
}

/// What was used to decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ExplainRecord {
    /// The rule that applied, in words.
    pub rule: String,
    /// Score that a pair needed.
    pub threshold: f32,
    /// Scorer's name and version.
    pub scorer: String,
    /// Embedding model.
    pub model: String,
    /// Images decided before it: all that it could be a copy of.
    pub num_indexed: u64,
    /// Whether every one of them was looked at.
    #[serde(default = "exact")]
    pub is_exact: bool,
    /// Those that came near enough to be scored.
    pub num_candidates: u32,
    /// Of these, those that were decided too lately to be in the cells of the index.
    pub num_recent: u32,
    /// Pairs scored, heads of candidates included.
    pub num_scored: u32,
    /// The best, best first.
    pub candidates: Vec<ScoredCandidate>,
    /// Banks that it matched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bank_matches: Vec<BankMatchView>,
    /// Canonical id of the cluster under quarantine that held it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<ImageId>,
}

/// Returns a decision as the payload of an event and of a row.
pub(super) fn encode_decision(decision: &Decision) -> Bytes {
    serde_json::to_vec(decision)
        .expect("a decision holds nothing that JSON cannot say")
        .into()
}
