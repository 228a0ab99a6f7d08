//! What every other crate of likeness agrees on: identifiers, records, errors, and the ports.
//!
//! A *port* is a trait that states what the engine needs from a product (a log, a key-value store,
//! an object store, a relational catalog) in the engine's own words, and no more than every
//! product behind it can keep. Each port's contract is written on its trait and checked by the
//! suite of the same name in [`testsuite`], which every implementation runs.
//!
//! Nothing here does I/O, and nothing here knows a product.

mod error;
mod id;

pub mod catalog;
pub mod fault;
pub mod jobs;
pub mod lake;
pub mod log;
pub mod objects;
pub mod query;
pub mod scoring;
pub mod sql;
pub mod state;
pub mod step;
pub mod table;
pub mod testsuite;

pub use error::{BoxError, StoreError, StoreResult};
pub use id::{Generation, ImageId, ImageNumber, InvalidImageId, Sha256, Timestamp};
