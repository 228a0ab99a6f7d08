use std::path::Path;

use likeness_adapters::{SqliteConfig, open_sqlite};
use likeness_core::StoreError;
use likeness_core::catalog::{Catalog, LeaseOutcome};
use likeness_core::{StoreResult, Timestamp};
use rusqlite::Connection;

fn open(path: &Path) -> StoreResult<std::sync::Arc<likeness_adapters::SqliteCatalog>> {
    open_sqlite(&SqliteConfig {
        path: path.to_owned(),
    })
}

#[test]
fn a_file_of_a_later_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("catalog.db");
    drop(open(&path).expect("a new catalog"));
    let connection = Connection::open(&path).expect("opening the file");
    connection
        .pragma_update(None, "user_version", 99)
        .expect("raising the version");
    drop(connection);
    for _ in 0..2 {
        let refused = open(&path).expect_err("a later version");
        assert!(
            matches!(refused, StoreError::Format { found: 99, .. }),
            "{refused:?}"
        );
    }
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("catalog.db");
    let connection = Connection::open(&path).expect("opening the file");
    connection
        .execute_batch("CREATE TABLE theirs (x)")
        .expect("creating a table");
    drop(connection);
    let before = std::fs::read(&path).expect("reading the file");
    let refused = open(&path).expect_err("a foreign file");
    assert!(
        matches!(refused, StoreError::Format { found: 0, .. }),
        "{refused:?}"
    );
    assert_eq!(std::fs::read(&path).expect("reading the file"), before);
}

#[tokio::test]
async fn damage_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("text.db");
    std::fs::write(
        &path,
        "this is no database, but it is long enough for a header".repeat(40),
    )
    .expect("writing a file");
    let refused = open(&path).expect_err("no database");
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused:?}");

    let path = folder.path().join("torn.db");
    drop(open(&path).expect("a new catalog"));
    let bytes = std::fs::read(&path).expect("reading the file");
    for len in [
        1,
        50,
        100,
        511,
        512,
        4095,
        4096,
        bytes.len() / 2,
        bytes.len() - 4096,
    ] {
        std::fs::write(&path, &bytes[..len]).expect("writing a file");
        let outcome = match open(&path) {
            Ok(catalog) => catalog.generations().await.map(drop),
            Err(error) => Err(error),
        };
        assert!(
            matches!(outcome, Err(StoreError::Corrupt { .. })),
            "cut to {len} of {} bytes: {outcome:?}",
            bytes.len()
        );
    }
}

#[tokio::test]
async fn two_openers_share_one_catalog() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("catalog.db");
    let (first, second) = (open(&path).expect("first"), open(&path).expect("second"));
    let length = std::time::Duration::from_secs(10);
    let now = Timestamp(1_000);
    let taken = first.acquire_lease("job", "first", length, now).await;
    let LeaseOutcome::Acquired(lease) = taken.expect("acquire") else {
        panic!("a free lease was held");
    };
    let refused = second.acquire_lease("job", "second", length, now).await;
    assert_eq!(refused.expect("acquire"), LeaseOutcome::Held(lease));
}

#[tokio::test]
async fn numbers_beyond_sql_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let catalog = open(&folder.path().join("catalog.db")).expect("a new catalog");
    let far = Timestamp(u64::MAX);
    let refused = catalog
        .acquire_lease("job", "me", std::time::Duration::ZERO, far)
        .await;
    assert!(
        matches!(refused, Err(StoreError::Invalid { .. })),
        "{refused:?}"
    );
}
