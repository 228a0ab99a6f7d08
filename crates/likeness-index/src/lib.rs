//! Similarity index: vectors in, the nearest of them out.
//!
//! Pure and synchronous, no I/O, no threads, no clock. What is here:
//!
//! - [`ExactIndex`]: 1-bit codes of all vectors are scanned, the best are ranked again by the exact
//!   cosine. Every vector is looked at, so it is also the yardstick for indexes that look at fewer.
//! - [`Candidates`]: what a scan hands over, so that searches over parts can be put together into
//!   exactly the search over the whole.
//! - [`mod@bf16`]: the storage form of vectors.
//!
//! Invariants:
//!
//! - **The same answer everywhere.** An estimate and a similarity are functions of the pair (query,
//!   vector) and of the rotation seed alone: not of the insertion order, of the other vectors, or of the
//!   instruction set. Ties are broken by the smaller number.
//! - **Bounded work.** A search computes at most `max(rerank, k)` exact similarities.
//!
//! Code map: `rotation` and `code` make the codes (RaBitQ: Gao & Long, SIGMOD 2024), `kernels` holds the
//! two hot loops, `candidates` the orders and merging, `exact` the index. Not here: the meaning of the
//! numbers, thresholds, persistence.

pub mod bf16;
mod candidates;
mod code;
mod error;
mod exact;
mod kernels;
mod rotation;

pub use candidates::{Candidate, Candidates, Neighbor, merge_top_k};
pub use error::IndexError;
pub use exact::{DEFAULT_RERANK, ExactIndex, ExactParams};
