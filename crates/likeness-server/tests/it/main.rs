//! The whole router over memory stores and a test embedder, and real connections where they matter.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on should stop its test"
)]

mod access;
mod api;
mod bounds;
mod events;
mod pages;
mod pin_numbers;
mod pins;
mod sql;
mod support;
