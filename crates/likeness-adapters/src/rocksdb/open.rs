//! Opening: whose database is it, is it whole, is it free.

use std::io;
use std::path::Path;

use ::rocksdb::{
    DB, DEFAULT_COLUMN_FAMILY_NAME, Error, ErrorKind, IteratorMode, Options, WriteOptions,
};
use likeness_core::{StoreError, StoreResult};
use tracing::info;

use super::options::{column_families, database_options};
use super::{CF_LOG, CF_META, CF_POSITIONS, CF_STATE, EmbeddedConfig, FORMAT, STORE};
use crate::durable::create_folder;

/// All column families; RocksDB wants the default one, which stays empty.
const ALL: [&str; 5] = [
    DEFAULT_COLUMN_FAMILY_NAME,
    CF_META,
    CF_LOG,
    CF_STATE,
    CF_POSITIONS,
];

const FORMAT_KEY: &[u8] = b"format";

const NEWER: &str = "open it with the version that wrote it, or a later one";
const FOREIGN: &str = "the folder holds another program's database; choose an empty folder";

pub(super) fn open(config: &EmbeddedConfig) -> StoreResult<DB> {
    let path = config.path.as_path();
    create_folder(path).map_err(|error| StoreError::unavailable(STORE, error))?;
    if has_database(path)? {
        refuse_foreign(path)?;
    }
    let db = DB::open_cf_descriptors(&database_options(config), path, column_families(config))
        .map_err(|error| open_error(path, &error))?;
    check_format(&db, path)?;
    info!(path = %path.display(), "opened log and state");
    Ok(db)
}

/// Returns whether a database was completed in `path`.
fn has_database(path: &Path) -> StoreResult<bool> {
    let unavailable = |error: io::Error| StoreError::unavailable(STORE, error);
    if path.join("CURRENT").try_exists().map_err(unavailable)? {
        return Ok(true);
    }
    // RocksDB would begin a new database here, and delete the files of the old one.
    for entry in std::fs::read_dir(path).map_err(unavailable)? {
        let name = entry.map_err(unavailable)?.file_name();
        let extension = Path::new(&name).extension();
        if extension.is_some_and(|extension| extension == "sst" || extension == "log") {
            return Err(StoreError::corrupt(
                STORE,
                path.display().to_string(),
                format!("`CURRENT` is missing, though there is {}", name.display()),
            ));
        }
    }
    Ok(false)
}

/// Refuses a database of another program, before anything is created in it.
fn refuse_foreign(path: &Path) -> StoreResult<()> {
    let found = DB::list_cf(&Options::default(), path).map_err(|error| open_error(path, &error))?;
    let has = |name: &str| found.iter().any(|found| found == name);
    let has_unknown = found.iter().any(|name| !ALL.contains(&name.as_str()));
    if !has_unknown && ALL.into_iter().all(has) {
        return Ok(());
    }
    let families = [DEFAULT_COLUMN_FAMILY_NAME, CF_META];
    let families = families.into_iter().filter(|name| has(name));
    let db = DB::open_cf_for_read_only(&Options::default(), path, families, false)
        .map_err(|error| open_error(path, &error))?;
    let format = if has(CF_META) {
        read_format(&db, path)?
    } else {
        None
    };
    match format {
        Some(found) if found != FORMAT => Err(wrong_format(found, NEWER)),
        // A first start that was cut off.
        None if !has_unknown && is_empty(&db, DEFAULT_COLUMN_FAMILY_NAME) => Ok(()),
        _ => Err(wrong_format(0, FOREIGN)),
    }
}

fn check_format(db: &DB, path: &Path) -> StoreResult<()> {
    match read_format(db, path)? {
        Some(FORMAT) => return Ok(()),
        Some(found) => return Err(wrong_format(found, NEWER)),
        None => {}
    }
    // New, or a first start that was cut off.
    if !ALL.into_iter().all(|name| is_empty(db, name)) {
        return Err(wrong_format(0, FOREIGN));
    }
    let meta = db.cf_handle(CF_META).expect("opened with the database");
    let mut options = WriteOptions::new();
    options.set_sync(true);
    db.put_cf_opt(meta, FORMAT_KEY, FORMAT.to_be_bytes(), &options)
        .map_err(|error| open_error(path, &error))
}

/// Returns whether a column family has no row that can be read.
fn is_empty(db: &DB, name: &str) -> bool {
    let cf = db.cf_handle(name).expect("opened with the database");
    db.iterator_cf(cf, IteratorMode::Start).next().is_none()
}

fn read_format(db: &DB, path: &Path) -> StoreResult<Option<u32>> {
    let meta = db.cf_handle(CF_META).expect("opened with the database");
    let Some(value) = db
        .get_cf(meta, FORMAT_KEY)
        .map_err(|error| open_error(path, &error))?
    else {
        return Ok(None);
    };
    match value.as_slice().try_into() {
        Ok(bytes) => Ok(Some(u32::from_be_bytes(bytes))),
        Err(_) => Err(StoreError::corrupt(
            STORE,
            "meta/format",
            format!("{} bytes instead of 4", value.len()),
        )),
    }
}

fn wrong_format(found: u32, advice: &'static str) -> StoreError {
    StoreError::Format {
        store: STORE,
        found,
        expected: FORMAT,
        advice,
    }
}

fn open_error(path: &Path, error: &Error) -> StoreError {
    let text = error.to_string();
    let is_file_error = matches!(error.kind(), ErrorKind::IOError | ErrorKind::Busy);
    // The words for a lock held by another process, and for one held by this process.
    if is_file_error && (text.contains("lock file") || text.contains("lock hold by")) {
        let path = path.display();
        return StoreError::Locked {
            store: STORE,
            reason: format!("`{path}` is open elsewhere; one process at a time can use it"),
        };
    }
    // A file that the manifest names and that is gone will not come back by trying again.
    if is_file_error && !text.contains("No such file") {
        return StoreError::unavailable(STORE, text);
    }
    StoreError::corrupt(STORE, path.display().to_string(), text)
}
