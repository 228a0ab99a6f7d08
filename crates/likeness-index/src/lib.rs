//! Similarity index: vectors in, the nearest of them out.
//!
//! Pure and synchronous, no I/O, no threads, no clock. What is here:
//!
//! - [`Cells`]: an inverted file of cells that grow from nothing, with 1-bit codes. The index of the pipeline.
//! - [`ExactIndex`]: 1-bit codes of all vectors are scanned, the best are ranked again by the exact
//!   cosine. Every vector is looked at, so it is also the yardstick for indexes that look at fewer.
//! - [`Hyperplanes`]: an inverted file of random hyperplanes; candidates by matching terms. What its numbers
//!   should be, [`plan()`] says.
//! - [`TermIndex`]: either of the two, behind one closed enum.
//! - [`Audit`]: the recall of live queries, from a sample that is answered exactly.
//! - [`Candidates`]: what a scan hands over, so that searches over parts can be put together into
//!   exactly the search over the whole.
//! - [`mod@bf16`]: the storage form of vectors.
//!
//! Invariants:
//!
//! - **The same answer everywhere.** The same history of calls gives the same answers, bit for bit, on every
//!   machine and instruction set, also if the index was written and read again in between. Ties are broken
//!   by the smaller number.
//! - **Bounded work.** One insertion touches a bounded number of lists; there is no training and no rebuild.
//!
//! Code map: `rotation` turns vectors; `rabitq` makes codes of residuals (Gao & Long, SIGMOD 2024) and
//! `code` those around the origin; `kernels` holds the hot loops for all instruction sets, `directory` the
//! places of numbers, `vectors` the exact vectors. `cells` is the index (start with `cells/mod.rs`, then
//! `search`, `maintain`, `refine`, `journal`), `exact` the oracle. Not here: the meaning of numbers, thresholds, I/O.

mod audit;
pub mod bf16;
mod candidates;
pub mod cells;
mod code;
mod compare;
mod directory;
mod error;
mod exact;
mod filter;
pub mod hyperplanes;
mod kernels;
mod plan;
mod rabitq;
mod rotation;
mod rows;
mod scheme;
mod vectors;

pub use audit::{Audit, Recall};
pub use candidates::{Candidate, Candidates, Neighbor, merge_top_k};
pub use cells::{
    Accuracy, Answer, Cells, CellsLoader, CellsParams, CellsStats, Certificate, Metric,
    REFINED_PER_INSERTION, Refinement, SearchParams,
};
pub use compare::{cosine, inner_product};
pub use error::IndexError;
pub use exact::{DEFAULT_RERANK, ExactIndex, ExactParams};
pub use filter::Filter;
pub use hyperplanes::{
    Capped, Costs, HotTerm, Hyperplanes, HyperplanesLoader, HyperplanesParams, HyperplanesSearch,
    HyperplanesStats, TermCandidate,
};
pub use plan::{DEFAULT_EXCESS, Plan, PlanError, PlanRequest, Setting, Spread, plan};
pub use rows::{RowChange, RowKey};
pub use scheme::{TermIndex, TermLoader, TermScheme, TermSearch};
pub use vectors::{MemoryVectors, OpenedVectors, Vectors};
