//! Small files into larger ones.
//!
//! Each flush makes a file per table and day. Once a day has [`LakeConfig::merge_files`] that are small, the oldest of them
//! become one. A file of half the wanted rows or more is left alone, so a row is rewritten a few times at most.

use std::collections::BTreeMap;

use likeness_core::lake::{Day, FileKind, Lake, LakeChange, LakeFile, LakeOutcome, Snapshot};
use likeness_core::{StoreResult, fault};

use super::LakeConfig;
use crate::pins::EventKind;
use crate::pins::parity::TABLES;

/// Raw files are read whole where rows are made again, so they have fewer lines than files of rows have rows.
const RAW_SHARE: u64 = 8;

/// Merges the files of one day and table, where there are enough of them. Returns how many files became one; `None` if
/// another writer was first.
///
/// # Errors
/// If the lake cannot be read or written.
pub(in crate::pins) async fn merge_one(
    lake: &dyn Lake,
    config: &LakeConfig,
) -> StoreResult<Option<usize>> {
    let snapshot = lake.snapshot().await?;
    let Some(files) = choose(&snapshot, config) else {
        return Ok(Some(0));
    };
    let Some(first) = files.first() else {
        return Ok(Some(0));
    };
    let merged = match first.kind {
        FileKind::Rows => {
            let of_name = |spec: &&&likeness_core::table::TableSpec| spec.name == first.name;
            let Some(spec) = TABLES.iter().find(of_name) else {
                return Ok(Some(0));
            };
            lake.merge_rows(spec, &files).await?
        }
        FileKind::Raw => {
            let mut topics = EventKind::ALL.into_iter().map(EventKind::topic);
            let Some(topic) = topics.find(|topic| topic.0 == first.name) else {
                return Ok(Some(0));
            };
            lake.merge_raw(topic, &files).await?
        }
    };
    fault::point("pins.lake.before_merge_commit");
    let change = LakeChange {
        add: vec![merged],
        remove: files.iter().map(|file| file.path.clone()).collect(),
        positions: Vec::new(),
    };
    let outcome = lake.commit(change).await?;
    fault::point("pins.lake.after_merge_commit");
    Ok(match outcome {
        LakeOutcome::Committed(_) => Some(files.len()),
        LakeOutcome::Conflict => None,
    })
}

/// Returns the files to merge, in their order: of what has the most small ones, the oldest that fit into one.
fn choose(snapshot: &Snapshot, config: &LakeConfig) -> Option<Vec<LakeFile>> {
    let most_rows = |kind| match kind {
        FileKind::Rows => config.max_file_rows.max(2),
        FileKind::Raw => (config.max_file_rows / RAW_SHARE).max(2),
    };
    let mut small: BTreeMap<(FileKind, &str, Day), Vec<&LakeFile>> = BTreeMap::new();
    for file in &snapshot.files {
        if 2 * file.num_rows < most_rows(file.kind) {
            let of = (file.kind, file.name.as_str(), file.day);
            small.entry(of).or_default().push(file);
        }
    }
    let (of, files) = small
        .into_iter()
        .filter(|(_, files)| files.len() >= config.merge_files.max(2))
        .max_by_key(|(_, files)| files.len())?;
    let mut num_rows = 0;
    let fits = |file: &&&LakeFile| {
        num_rows += file.num_rows;
        num_rows <= most_rows(of.0)
    };
    // Two of less than a half always fit.
    Some(
        files
            .iter()
            .take_while(fits)
            .map(|file| (*file).clone())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, kind: FileKind, num_rows: u64) -> LakeFile {
        LakeFile {
            path: path.to_owned(),
            kind,
            name: "pins".to_owned(),
            day: Day::default(),
            num_rows,
            num_bytes: 1,
            columns: Vec::new(),
        }
    }

    fn chosen(files: Vec<LakeFile>) -> Option<Vec<String>> {
        let config = LakeConfig {
            merge_files: 3,
            max_file_rows: 80,
            ..LakeConfig::default()
        };
        let snapshot = Snapshot {
            files,
            ..Snapshot::default()
        };
        let files = choose(&snapshot, &config)?;
        Some(files.into_iter().map(|file| file.path).collect())
    }

    #[test]
    fn the_oldest_small_files_are_chosen_as_far_as_they_fit() {
        use FileKind::{Raw, Rows};
        let rows = |path, num_rows| file(path, Rows, num_rows);
        assert_eq!(chosen(vec![rows("a", 1), rows("b", 1)]), None, "too few");
        let many = vec![rows("a", 39), rows("b", 39), rows("c", 39)];
        assert_eq!(chosen(many).unwrap(), ["a", "b"]);
        let large = vec![rows("a", 40), rows("b", 1), rows("c", 1)];
        assert_eq!(chosen(large), None, "a large one is left alone");
        let raw = |path, num_rows| file(path, Raw, num_rows);
        assert_eq!(chosen(vec![raw("a", 4), raw("b", 5), raw("c", 5)]), None);
        let few = vec![raw("a", 4), raw("b", 4), raw("c", 4)];
        assert_eq!(chosen(few).unwrap(), ["a", "b"], "raw files stay smaller");
    }
}
