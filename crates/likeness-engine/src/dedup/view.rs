//! What callers see: the answers of [`Dedup`](super::Dedup), as the HTTP interface and
//! `--json` print them. Times are milliseconds since 1970 UTC, similarities are in -1..=1,
//! scores in 0..=1.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BankMatchView;

use super::scorer::LookFeatures;

/// Answer to an upload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UploadReceipt {
    /// Id of the image, given or generated.
    pub id: String,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
    /// `true` if this id was stored before with the same bytes; nothing was done.
    pub existed: bool,
    /// Kinds of embeddings that it still waits for, when its decision was waited for and did not come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
    /// The decision, when it was waited for and came in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// How far an image has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageStatus {
    /// Stored, its decision is to come.
    Pending,
    /// In a cluster.
    Decided,
    /// Could not be decoded; see `rejection`.
    Rejected,
}

/// Everything known about one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ImageView {
    /// Id.
    pub id: String,
    /// How far it has come.
    pub status: ImageStatus,
    /// Kinds of embeddings that it waits for before it is decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
    /// Name given at upload (a file name, for example).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// SHA-256 of the bytes, hex.
    pub sha256: String,
    /// Size of the bytes.
    pub num_bytes: u64,
    /// When it was stored.
    pub uploaded_ms: u64,
    /// Present once decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureView>,
    /// Present once decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Size of its cluster now, itself included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_size: Option<u64>,
    /// Why it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
}

/// What was computed from the picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SignatureView {
    /// `jpeg`, `png`, `web_p`, …
    pub format: String,
    /// Upright width in pixels.
    pub width: u32,
    /// Upright height in pixels.
    pub height: u32,
    /// PDQ hash, 64 hex digits.
    pub pdq: String,
    /// PDQ quality, 0 to 100; under 50 the hash says little.
    pub pdq_quality: u8,
    /// Share of the border that has one colour, in percent: some 25 for a photo, 100 for an object on
    /// white.
    pub flatness: u8,
    /// Name of the embedding model.
    pub model: String,
}

/// Why an image was not admitted to the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rejection {
    /// Stable code, such as `corrupt_image`.
    pub code: String,
    /// What is wrong, in words.
    pub message: String,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// Nothing like it: the image is the head of a cluster of its own.
    NewCluster,
    /// A near-copy of the cluster's head.
    Joined,
    /// Not a picture that can be decoded.
    Rejected,
}

/// One decision, as stored, as streamed by `/v1/events`, and as `likeness tail decisions` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// Id of the image.
    pub id: String,
    /// What was decided.
    pub kind: DecisionKind,
    /// The canonical id: the id of the cluster's first image. Absent for a rejected image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical_id: Option<String>,
    /// Score against the head; 1 for a head itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// `true` if the bytes are those of the head.
    pub exact_copy: bool,
    /// Internal number, dense, in the order of decisions. Absent for a rejected image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    /// Size of the cluster just after the decision.
    pub cluster_size: u64,
    /// When the image was stored.
    pub uploaded_ms: u64,
    /// When it was decided.
    pub decided_ms: u64,
    /// Generation that decided.
    pub generation: u32,
    /// `true` if the keeper rule made the image the head of the cluster that it joined.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_head: bool,
    /// Why it was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
}

/// A decision with its place in the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DecisionEvent {
    /// Place in the stream; grows, with gaps. Resume after it with `Last-Event-ID`.
    pub offset: u64,
    /// The decision.
    #[serde(flatten)]
    pub decision: Decision,
}

/// Where a candidate came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CandidateSource {
    /// Found in the index.
    Index,
    /// Among the latest images, which are all looked at.
    Recent,
    /// Head of a candidate's cluster.
    Head,
}

/// Which picture of a pair a view is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchedPicture {
    /// The image that was decided or asked about.
    Image,
    /// The candidate.
    Candidate,
}

/// What a view shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ViewContent {
    /// A part that may be a picture of its own.
    Region,
    /// The whole with inverted colours.
    Inverted,
    /// A part at a fixed place.
    Crop,
}

/// A view of one picture that was compared with the whole of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MatchedView {
    /// Whose view it is.
    pub of: MatchedPicture,
    /// What it shows.
    pub content: ViewContent,
    /// First column, in upright pixels of the picture at full size.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl MatchedView {
    /// Says what was compared, in words: `by a region of it`, where it is the candidate.
    pub fn in_words(&self) -> &'static str {
        match (self.of, self.content) {
            (MatchedPicture::Image, ViewContent::Region) => "by a region of this image",
            (MatchedPicture::Image, ViewContent::Inverted) => "by this image inverted",
            (MatchedPicture::Image, ViewContent::Crop) => "by a crop of this image",
            (MatchedPicture::Candidate, ViewContent::Region) => "by a region of it",
            (MatchedPicture::Candidate, ViewContent::Inverted) => "by it inverted",
            (MatchedPicture::Candidate, ViewContent::Crop) => "by a crop of it",
        }
    }
}

/// One candidate of an explain record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CandidateView {
    /// Place in the list, from 1, by score.
    pub rank: u32,
    /// Id of the candidate.
    pub id: String,
    /// Head of its cluster at that moment.
    pub head: String,
    /// Where it came from.
    pub source: CandidateSource,
    /// Cosine of the embeddings of what was compared.
    pub cosine: f32,
    /// PDQ distance in bits, 0 to 256.
    pub pdq_distance: u16,
    /// The lower of the two PDQ qualities.
    pub pdq_quality: u8,
    /// The lower of the two flatnesses, in percent: the higher, the more alike the pictures must be.
    pub flat_percent: u8,
    /// `true` if the bytes are the same.
    pub exact_copy: bool,
    /// Probability of a near-copy.
    pub score: f32,
    /// The view that was compared with the other picture's whole; absent if the wholes were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<MatchedView>,
    /// What a close look at the pixels of both found; absent if none was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<LookFeatures>,
}

/// Why an image was decided as it was. Made when it was decided, from what was used to decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplainView {
    /// The decision.
    pub decision: Decision,
    /// The rule that applied, in words.
    pub rule: String,
    /// Score that a pair needs.
    pub threshold: f32,
    /// Scorer's name and version.
    pub scorer: String,
    /// Embedding model.
    pub model: String,
    /// How candidates were found.
    pub index: String,
    /// Images decided before it.
    pub num_indexed: u64,
    /// Candidates: those of them that came near enough to be scored.
    pub num_candidates: u32,
    /// Candidates that were decided too lately to be in the cells of the index.
    pub num_recent: u32,
    /// Pairs scored.
    pub num_scored: u32,
    /// The best candidates, at most 20, best first.
    pub candidates: Vec<CandidateView>,
    /// Banks that it matched when it was decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bank_matches: Vec<BankMatchView>,
    /// Canonical id of the cluster under quarantine that it would have joined, and that held it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<String>,
}

/// Answer to "what is this like?", nothing stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MatchView {
    /// What was computed from the picture.
    pub signature: SignatureView,
    /// The cluster it would join, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canonical_id: Option<String>,
    /// Score that a pair needs.
    pub threshold: f32,
    /// Best matches first, whether above the threshold or not.
    pub matches: Vec<CandidateView>,
    /// Banks that it matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bank_matches: Vec<BankMatchView>,
    /// Time it took, from bytes to answer.
    pub took_ms: f64,
}

/// A page of a longer list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Pass as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A cluster in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterSummary {
    /// The canonical id of all members: the id of the first one.
    pub head: String,
    /// The member that images are compared with, if a correction has chosen another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
    /// Number of images, head included.
    pub size: u64,
    /// When the head was decided.
    pub created_ms: u64,
    /// When the last member joined.
    pub updated_ms: u64,
    /// The first few members, head first.
    pub sample: Vec<String>,
}

/// A member of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MemberView {
    /// Id.
    pub id: String,
    /// Name given at upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Score against the head; 1 for the head itself.
    pub score: f32,
    /// `true` if the bytes are those of the head.
    pub exact_copy: bool,
    /// When it joined.
    pub joined_ms: u64,
    /// Upright width in pixels.
    pub width: u32,
    /// Upright height in pixels.
    pub height: u32,
    /// Size of the file.
    pub num_bytes: u64,
    /// Format of the file.
    pub format: String,
}

/// A cluster with a page of its members, in the order in which they joined, head first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClusterView {
    /// The canonical id: the id of the first member.
    pub head: String,
    /// The member that images are compared with, if a correction has chosen another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
    /// Number of images, head included.
    pub size: u64,
    /// When the head was decided.
    pub created_ms: u64,
    /// When the last member joined.
    pub updated_ms: u64,
    /// This page.
    pub members: Vec<MemberView>,
    /// Pass as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// How a list of clusters is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClusterOrder {
    /// Biggest first; equals by age, newest first.
    #[default]
    Biggest,
    /// Last changed first.
    Newest,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One stage of the pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageView {
    /// `signature`, `candidates`, `score` or `assign`.
    pub name: String,
    /// Images dealt with since the start of the process.
    pub processed: u64,
    /// Images per second over the last minute.
    pub per_second: f64,
    /// Time spent on images since the start, waiting for a processor included, summed over what ran
    /// at once.
    pub busy_ms: u64,
}

/// State of the whole, for the overview page and `likeness status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Overview {
    /// Images decided and in a cluster.
    pub images: u64,
    /// Clusters, those of one image included.
    pub clusters: u64,
    /// Clusters of two images and more.
    pub duplicate_clusters: u64,
    /// Images that are not the head of their cluster.
    pub duplicates: u64,
    /// Images that could not be decoded.
    pub rejected: u64,
    /// Alarms that nobody has acknowledged.
    #[serde(default)]
    pub open_alarms: u64,
    /// Images that clusters under quarantine hold.
    #[serde(default)]
    pub held: u64,
    /// Images stored and not decided yet, for which this service has something to do.
    pub pending: u64,
    /// Images stored that wait for an embedding from elsewhere.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waiting: u64,
    /// Decisions per second over the last minute.
    pub per_second: f64,
    /// The live generation.
    pub generation: u32,
    /// Embedding model.
    pub model: String,
    /// Scorer's name and version.
    pub scorer: String,
    /// Score that a pair needs.
    pub threshold: f32,
    /// When this process started.
    pub started_ms: u64,
    /// The stages, in order.
    pub stages: Vec<StageView>,
}
