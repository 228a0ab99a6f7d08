//! The pipelines of likeness. Knows ports only: which product keeps a log or a table is decided
//! in the binary's `wire.rs`.
//!
//! - [`dedup`]: near-duplicates. Upload → signature → candidates → score → assign.
//! - [`eval`]: the arithmetic of evaluations.
//! - [`ops`]: jobs that run by the clock, and their history.
//! - [`pins`]: posts of an image-sharing service, taken in and cleaned.
//!
//! Async is for waiting. Decoding, hashing, search and scoring are plain functions that run on the
//! [`cpu::CpuPool`].

pub mod cpu;
pub mod dedup;
pub mod eval;
pub mod large;
pub mod metrics;
pub mod ops;
pub mod pins;

mod error;

pub use error::EngineError;
