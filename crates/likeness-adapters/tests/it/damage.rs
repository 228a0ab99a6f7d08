//! What is left of the embedded store after torn writes, flipped bits and other people's files.

use std::fs;
use std::path::{Path, PathBuf};

use likeness_adapters::open_embedded;
use likeness_core::StoreError;
use likeness_core::log::{EventLog, Offset, ReadLimits};
use likeness_core::state::StateStore;
use likeness_core::step::{Durability, StepStore};
use proptest::prelude::*;
use rocksdb::{DB, Options};
use tempfile::TempDir;

use crate::support::{
    PARTITION, TOPIC, copy_folder, count_whole_steps, numbered_key, numbered_step, open_small,
    small_config,
};

const N_STEPS: u64 = 60;

/// Returns a folder with `N_STEPS` steps in `live`. With `in_tables` they stand in table files,
/// else in the write-ahead log.
async fn written_store(in_tables: bool) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let live = folder.path().join("live");
    let store = open_small(&live);
    for n in 0..N_STEPS {
        let outcome = store.commit(numbered_step(n), Durability::Process).await;
        outcome.expect("commit");
    }
    drop(store);
    if in_tables {
        // Recovery writes what it replays into tables.
        drop(open_small(&live));
    }
    folder
}

fn files_with_extension(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("reading a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    // RocksDB numbers its files with leading zeros.
    files.sort();
    files
}

/// The WAL file that was written to last.
fn newest_wal(folder: &Path) -> PathBuf {
    let mut files = files_with_extension(folder, "log");
    files.pop().expect("a write-ahead log")
}

#[tokio::test]
async fn a_torn_log_shows_whole_steps_up_to_the_tear() {
    let folder = written_store(false).await;
    let live = folder.path().join("live");
    let len = fs::metadata(newest_wal(&live)).expect("metadata").len();
    let cuts = (0..40).chain((40..len).step_by(97)).chain([len - 1, len]);
    let mut least = N_STEPS;
    for cut in cuts {
        let torn = folder.path().join(format!("cut-{cut}"));
        copy_folder(&live, &torn);
        let wal = fs::File::options()
            .write(true)
            .open(newest_wal(&torn))
            .expect("opening the log");
        wal.set_len(len - cut).expect("cutting the log");
        drop(wal);

        let store = open_small(&torn);
        let n_steps = count_whole_steps(&store).await;
        assert!(n_steps <= least, "{n_steps} steps with {cut} bytes less");
        least = n_steps;
        // Life goes on, on offsets after what is left.
        let outcome = store
            .commit(numbered_step(n_steps), Durability::Synced)
            .await;
        outcome.expect("commit");
        assert_eq!(count_whole_steps(&store).await, n_steps + 1);
        drop(store);
        fs::remove_dir_all(&torn).expect("removing the copy");
    }
    assert_eq!(least, 0, "nothing is left of an empty log");
}

#[tokio::test]
async fn zeros_at_the_end_of_the_log_are_a_tear() {
    // As some file systems leave a file whose size was written before its contents.
    let folder = written_store(false).await;
    let live = folder.path().join("live");
    let wal = newest_wal(&live);
    let mut bytes = fs::read(&wal).expect("reading the log");
    let half = bytes.len() / 2;
    bytes[half..].fill(0);
    fs::write(&wal, bytes).expect("writing the log");
    let n_steps = count_whole_steps(&open_small(&live)).await;
    assert!((N_STEPS / 3..N_STEPS).contains(&n_steps), "{n_steps}");
}

#[tokio::test]
async fn a_missing_or_emptied_file_is_corrupt() {
    let folder = written_store(true).await;
    let live = folder.path().join("live");
    let tables = files_with_extension(&live, "sst");
    assert!(!tables.is_empty(), "recovery wrote no table");
    let mut victims = tables;
    victims.push(live.join("CURRENT"));
    let manifest = fs::read_to_string(live.join("CURRENT")).expect("reading `CURRENT`");
    victims.push(live.join(manifest.trim()));
    for victim in victims {
        for is_removed in [true, false] {
            let copy = folder.path().join("copy");
            copy_folder(&live, &copy);
            let name = victim.file_name().expect("a file");
            let target = copy.join(name);
            if is_removed {
                fs::remove_file(target).expect("removing a file");
            } else {
                fs::write(target, "").expect("emptying a file");
            }
            let refused = open_embedded(&small_config(&copy));
            assert!(
                matches!(refused, Err(StoreError::Corrupt { .. })),
                "{} removed: {is_removed}: {refused:?}",
                name.display()
            );
            fs::remove_dir_all(&copy).expect("removing the copy");
        }
    }
}

/// Reads everything; `Ok` if what is found is what was written.
async fn read_back(folder: &Path) -> Result<(), StoreError> {
    let store = open_embedded(&small_config(folder))?;
    let limits = ReadLimits {
        max_records: usize::MAX,
        max_bytes: usize::MAX,
    };
    let events = store.read(TOPIC, PARTITION, Offset(0), limits).await?;
    for (n, event) in (0u64..).zip(&events) {
        assert_eq!(event.payload, (n / 2).to_be_bytes()[..], "a wrong event");
    }
    for n in 0..N_STEPS {
        if let Some(row) = store.get(&numbered_key(n)).await? {
            assert_eq!(row, n.to_be_bytes()[..], "a wrong row");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn flipped_bytes_are_errors_or_harmless_and_never_wrong_answers(
        in_tables: bool, file: prop::sample::Index, at: prop::sample::Index, flip in 1..=255u8,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let folder = written_store(in_tables).await;
            let live = folder.path().join("live");
            let files: Vec<PathBuf> = fs::read_dir(&live)
                .expect("reading a folder")
                .map(|entry| entry.expect("an entry").path())
                .filter(|path| fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0))
                .collect();
            let file = file.get(&files);
            let mut bytes = fs::read(file).expect("reading a file");
            *at.get_mut(&mut bytes) ^= flip;
            fs::write(file, bytes).expect("writing a file");
            if let Err(error) = read_back(&live).await {
                assert!(
                    matches!(
                        error,
                        StoreError::Corrupt { .. }
                            | StoreError::Unavailable { .. }
                            | StoreError::NoSpace { .. }
                            | StoreError::Format { .. }
                    ),
                    "{}: {error:?}",
                    file.display()
                );
            }
        });
    }
}

#[test]
fn a_store_of_a_later_format_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    drop(open_small(folder.path()));
    let families = ["default", "meta", "log", "state", "positions"];
    let db = DB::open_cf(&Options::default(), folder.path(), families).expect("opening");
    let meta = db.cf_handle("meta").expect("opened with the database");
    db.put_cf(meta, "format", 99u32.to_be_bytes())
        .expect("raising the format");
    drop(db);
    check_format(folder.path(), 99);

    // A later format may well have more column families.
    let mut options = Options::default();
    options.create_missing_column_families(true);
    let families = families.into_iter().chain(["more"]);
    drop(DB::open_cf(&options, folder.path(), families).expect("opening"));
    check_format(folder.path(), 99);
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let db = DB::open_default(folder.path()).expect("opening");
    db.put("key", "value").expect("put");
    drop(db);
    check_format(folder.path(), 0);
    let families = DB::list_cf(&Options::default(), folder.path()).expect("list");
    assert_eq!(families, ["default"], "column families were added");
}

#[test]
fn a_first_start_that_was_cut_off_is_begun_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    drop(DB::open_default(folder.path()).expect("opening"));
    drop(open_small(folder.path()));
}

#[track_caller]
fn check_format(folder: &Path, expected: u32) {
    let refused = open_embedded(&small_config(folder)).expect_err("another format");
    assert!(
        matches!(refused, StoreError::Format { found, .. } if found == expected),
        "{refused:?}"
    );
}
