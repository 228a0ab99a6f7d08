//! Implementations that keep everything in memory: for tests, and for runs whose end needs
//! nothing kept.
//!
//! They are as strict as the products: offsets have gaps, invalid names are refused. Nothing
//! survives a restart, so the durability clauses of the contracts do not apply.

mod catalog;
mod objects;
mod store;

pub use catalog::MemoryCatalog;
pub use objects::MemoryObjectStore;
pub use store::MemoryStore;
