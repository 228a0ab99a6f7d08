//! Rows and raw events in files under one list, and SQL over them.
//!
//! ```text
//! rows, lines ─▶ files ─▶ lists ─▶ snapshot ─▶ DataFusion ─▶ answers
//! ```
//! [`ObjectLake`] is the lake port over any object store; [`LakeSql`] answers queries over its tables, and over those of
//! the tables port. Neither knows what the tables are about: they are given [`TableSpec`](likeness_core::table::TableSpec)s.
//! Decided in docs/adr/026-the-lake.md.

mod files;
mod lake;
mod lists;
mod reports;
mod rows;
mod sql;

pub use lake::{LONGEST_COMMIT, ObjectLake};
pub use sql::{LakeSql, LakeTable, LiveTable, SqlConfig};

/// What errors call the lake.
const STORE: &str = "lake (objects)";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use likeness_adapters::{MemoryLake, MemoryObjectStore};
    use likeness_core::testsuite::{check_lake, check_lake_reopen};

    use super::ObjectLake;

    #[tokio::test(flavor = "multi_thread")]
    async fn objects_keep_the_contract() {
        let objects = Arc::new(MemoryObjectStore::new());
        check_lake(Arc::new(ObjectLake::new(objects))).await;
        let objects = Arc::new(MemoryObjectStore::new());
        check_lake_reopen(async || Arc::new(ObjectLake::new(objects.clone())) as _).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn memory_keeps_the_contract() {
        check_lake(Arc::new(MemoryLake::new())).await;
    }
}
