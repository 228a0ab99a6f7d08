//! The near-duplicate pipeline over memory stores, with a test embedder.

mod banks;
mod corrections;
mod crash;
mod join;
mod pipeline;
mod reviews;
mod support;
mod views;
