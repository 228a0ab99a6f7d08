//! Near-duplicates: which images are copies of what, as they arrive.
//!
//! ```text
//! upload ─▶ [uploads] ─▶ signature ─▶ [signatures] ─▶ candidates ─▶ [candidates] ─▶ score ─▶ [scores] ─▶ assign ─▶ [decisions]
//!   bytes → objects       decode, PDQ,                 asks the index                pairs, heads         one by one
//!                         embedding, or the join
//!                         with one from elsewhere
//! ```
//! Names in brackets are topics of the log; each stage commits its rows, its events and its
//! position as one step (docs/adr/001-one-commit-per-step.md).
//!
//! Invariants:
//! - An upload is acknowledged once its bytes and its event are synced. Nothing after that can lose
//!   it: a stage that fails tries again, or stops the stages behind it, but skips nothing.
//! - An image is decided once. Repeated events are recognised by the image's decision.
//! - The same log gives the same clusters, however images were batched or how often the process
//!   was killed: the assign stage decides as if images had come one by one.
//! - [`Dedup`] is the only door; `likeness-server` and the command line hold nothing else.

mod assign_stage;
mod backlog;
mod banks;
mod candidates_stage;
mod clusters;
mod config;
mod corrections;
mod erasure;
mod explain;
mod flood;
mod guard;
mod health;
mod join;
pub mod keeper;
mod live_index;
mod looks;
mod matching;
mod objects;
mod pairs;
mod query;
mod records;
mod reviews;
mod rule;
mod score_stage;
mod service;
mod signature;
mod signature_stage;
mod stage;
mod streams;
mod tables;
mod totals;
mod upload;
mod versions;
mod waiters;

pub mod compare;
pub mod features;
pub mod flatness;
pub mod opening;
pub mod partition;
mod plan_job;
pub mod recluster;
pub mod remote_scorer;
pub mod scorer;
pub mod scorer_view;
pub mod view;

pub use backlog::Admission;
pub use banks::{
    BankChange, BankCost, BankLimits, BankMatchView, BankView, MAX_BANK_NAME_BYTES, MAX_COMPARED,
    MAX_REFERENCES_AT_ONCE, NewFile, NewReference, ReferenceView, SCANNED_AT_ONCE, ScanView,
    bank_cost,
};
pub use config::{DedupConfig, IndexScheme, Planes};
pub use corrections::{
    Command, CorrectionOutcome, CorrectionView, MAX_CONSTRAINTS, MAX_MOVED, MAX_PARTS,
    MAX_TEXT_BYTES, NewCorrection, Refusal,
};
pub use erasure::{ErasurePlan, ErasureProof, ErasureView, MAX_REMAINS_SHOWN, NewErasure, Remains};
pub use flood::{
    Acknowledgement, AlarmKind, AlarmView, FloodAct, FloodConfig, GuardView, HeldView,
};
pub use join::{
    EmbeddingKind, EmbeddingOutcome, EmbeddingReceipt, JoinConfig, JoinSide, JoinView, KindView,
    MAX_AHEAD, MAX_DIMENSION, MAX_EMBEDDINGS, MAX_KINDS, NewEmbedding, OrphanAction, OrphanCommand,
    OrphanOutcome, OrphanQuery, OrphanReceipt, OrphanView,
};
pub use likeness_index::OpenedVectors;
pub use live_index::BLOCK as INDEX_BLOCK;
pub use pairs::{CascadeCost, cascade_cost};
pub use plan_job::ReclusterPlan;
pub use query::{StoredFile, Thumbnail};
pub use records::Signature;
pub use reviews::{LabelView, Pair, ReviewConfig, ReviewVerdict, ReviewView};
pub use service::{Dedup, Ports};
pub use signature::{SIGNATURE_MIN_SIDE, SignatureError, Signer, SignerTimes};
pub use streams::{Stream, StreamRecord};
pub use upload::NewImage;
pub use versions::{
    Agreement, ChangeKind, ChangedDecision, CompareOptions, ComparisonVerdict, MAX_SAMPLE,
    MAX_SCORER_BYTES, MAX_SCORERS, ScorerComparison, ScorerSide, ScorerVersion,
};
