use std::sync::Arc;

use likeness_adapters::{
    MemoryTables, SqliteConfig, SqliteTables, open_sqlite, open_sqlite_tables,
};
use likeness_core::sql::Tables;
use likeness_core::testsuite::{check_tables, check_tables_reopen};
use likeness_core::{StoreError, StoreResult};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn open(folder: &TempDir) -> StoreResult<Arc<SqliteTables>> {
    open_sqlite_tables(&SqliteConfig {
        path: folder.path().join("below/pins.sqlite3"),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_tables_keep_their_contract() {
    check_tables(Arc::new(MemoryTables::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_tables_keep_their_contract() {
    let folder = folder();
    check_tables(open(&folder).expect("opening the file")).await;
    let open = || open(&folder).expect("opening the file");
    check_tables_reopen(async || open() as Arc<dyn Tables>).await;
}

#[tokio::test]
async fn files_of_others_and_damaged_ones_are_refused() {
    let folder = folder();
    drop(open(&folder).expect("a new file"));
    let path = folder.path().join("below/pins.sqlite3");
    let bytes = std::fs::read(&path).expect("reading the file");
    for torn in [&bytes[..100], &b"no database at all".repeat(100)[..]] {
        std::fs::write(&path, torn).expect("writing the file");
        let error = open(&folder).expect_err("a damaged file");
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    }
    let catalog = SqliteConfig {
        path: folder.path().join("catalog.sqlite"),
    };
    drop(open_sqlite(&catalog).expect("a catalog"));
    let error = open_sqlite_tables(&catalog).expect_err("the catalog's file");
    assert!(matches!(error, StoreError::Format { .. }), "{error:?}");
}
