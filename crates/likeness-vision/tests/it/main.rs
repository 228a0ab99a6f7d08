//! Checks of `likeness-vision` from outside: what it promises, on many inputs.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests; the house rule covers functions marked as such only"
)]

mod drawings;
mod embedding;
mod hostile_files;
mod models;
mod pdq_vectors;
mod rows;
