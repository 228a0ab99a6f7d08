//! The near-duplicate pipeline over memory stores, with a test embedder.

mod banks;
mod corrections;
mod crash;
mod erasure;
mod erasure_of_all;
mod join;
mod looks;
mod pins_daily;
mod pipeline;
mod recluster;
mod remote_scorer;
mod reviews;
mod support;
mod terms;
mod views;
