//! Implementations that keep everything in memory: for tests, and for runs whose end needs
//! nothing kept.
//!
//! They are as strict as the products: offsets have gaps, invalid names are refused. Nothing
//! survives a restart, so the durability clauses of the contracts do not apply.

mod catalog;
mod jobs;
mod lake;
mod objects;
mod store;
mod tables;

pub use catalog::MemoryCatalog;
pub use jobs::MemoryJobs;
pub use lake::MemoryLake;
pub use objects::MemoryObjectStore;
pub use store::MemoryStore;
pub use tables::MemoryTables;
