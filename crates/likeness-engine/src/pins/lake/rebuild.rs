//! The rows of a day, made again of what came: after a rule of cleaning has changed, and in every daily batch.

use likeness_core::lake::{Day, FileKind, Lake, LakeChange, LakeFile, LakeOutcome, Snapshot};
use likeness_core::{StoreError, StoreResult, fault};
use serde::Serialize;

use super::line::RawLine;
use super::pending::RowsByDay;
use crate::pins::EventKind;
use crate::pins::parity::TABLES;

/// How often a rebuild begins anew because files were merged meanwhile.
const MAX_TRIES: usize = 5;
/// Rows that are held before they are written.
const ROWS_AT_ONCE: usize = 100_000;

/// What a rebuild did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(in crate::pins) struct Rebuilt {
    /// Raw events of the day.
    pub(in crate::pins) events: u64,
    /// Rows of clean events.
    pub(in crate::pins) rows: u64,
    /// Events that could not be cleaned.
    pub(in crate::pins) rejected: u64,
    /// Files of rows before.
    pub(in crate::pins) files_before: usize,
    /// And now.
    pub(in crate::pins) files_now: usize,
}

/// Makes the rows of a day again, and puts them in the place of those that are there, all at once. What comes meanwhile
/// is not touched.
///
/// # Errors
/// If the lake cannot be read or written, or is merged faster than this can be done.
pub(in crate::pins) async fn rebuild(lake: &dyn Lake, day: Day) -> StoreResult<Rebuilt> {
    for _ in 0..MAX_TRIES {
        let snapshot = lake.snapshot().await?;
        let (change, report) = made_again(lake, &snapshot, day).await?;
        if change.add.is_empty() && change.remove.is_empty() {
            return Ok(report);
        }
        fault::point("pins.lake.before_rebuild_commit");
        if let LakeOutcome::Committed(_) = lake.commit(change).await? {
            return Ok(report);
        }
    }
    Err(StoreError::unavailable(
        "lake",
        format!("files of {day} were replaced {MAX_TRIES} times while its rows were made again"),
    ))
}

async fn made_again(
    lake: &dyn Lake,
    snapshot: &Snapshot,
    day: Day,
) -> StoreResult<(LakeChange, Rebuilt)> {
    let mut change = LakeChange::default();
    let mut report = Rebuilt::default();
    let mut rows = RowsByDay::default();
    for kind in EventKind::ALL {
        for file in of_day(snapshot, FileKind::Raw, kind.topic().0, day) {
            for line in lake.read_raw(file).await? {
                let (key, cleaned) = RawLine::decode(&line, &file.path)?.clean(kind);
                report.events += 1;
                match cleaned.outcome {
                    Ok(_) => report.rows += 1,
                    Err(_) => report.rejected += 1,
                }
                let (spec, row) = cleaned.into_row(kind, &key);
                rows.push(spec, day, row);
            }
            if rows.len() >= ROWS_AT_ONCE {
                std::mem::take(&mut rows).write(lake, &mut change).await?;
            }
        }
    }
    rows.write(lake, &mut change).await?;
    let tables = TABLES.iter().map(|spec| spec.name);
    let old = tables.flat_map(|name| of_day(snapshot, FileKind::Rows, name, day));
    change.remove = old.map(|file| file.path.clone()).collect();
    (report.files_before, report.files_now) = (change.remove.len(), change.add.len());
    // Both were entered by one commit: rows without what they were made of are a lake that was damaged.
    if report.events == 0 && !change.remove.is_empty() {
        let reason = format!("rows of {day} without the events that they were made of");
        return Err(StoreError::corrupt("lake", format!("date={day}"), reason));
    }
    Ok((change, report))
}

/// Returns files of a day in the order of their writing.
fn of_day<'a>(
    snapshot: &'a Snapshot,
    kind: FileKind,
    name: &'a str,
    day: Day,
) -> impl Iterator<Item = &'a LakeFile> {
    let files = snapshot.files_of(kind, name);
    files.filter(move |file| file.day == day)
}
