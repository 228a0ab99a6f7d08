//! The pipelines of likeness. Knows ports only: which product keeps a log or a table is decided
//! in the binary's `wire.rs`.
//!
//! - [`dedup`]: near-duplicates. Upload → signature → candidates → score → assign.
//! - [`eval`]: the arithmetic of evaluations.
//!
//! Async is for waiting. Decoding, hashing, search and scoring are plain functions that run on the
//! [`cpu::CpuPool`].

pub mod cpu;
pub mod dedup;
pub mod eval;
pub mod metrics;

mod error;

pub use error::EngineError;
