//! Events that were read and are in no file yet.

use std::collections::BTreeMap;

use bytes::Bytes;
use likeness_core::lake::{Day, Lake, LakeChange};
use likeness_core::log::{Partition, Topic};
use likeness_core::sql::Advance;
use likeness_core::table::{Row, TableSpec};
use likeness_core::{StoreResult, Timestamp, fault};

use super::LakeConfig;
use super::line::RawLine;
use crate::pins::read::Batch;

/// Rows by table and day.
#[derive(Debug, Default)]
pub(super) struct RowsByDay(BTreeMap<(&'static str, Day), (&'static TableSpec, Vec<Row>)>);

impl RowsByDay {
    pub(super) fn push(&mut self, spec: &'static TableSpec, day: Day, row: Row) {
        let rows = self.0.entry((spec.name, day)).or_insert((spec, Vec::new()));
        rows.1.push(row);
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(|(_, rows)| rows.len()).sum()
    }

    /// Writes them, a file for each table and day, into a change.
    pub(super) async fn write(self, lake: &dyn Lake, change: &mut LakeChange) -> StoreResult<()> {
        for ((_, day), (spec, rows)) in self.0 {
            change.add.push(lake.write_rows(spec, day, rows).await?);
        }
        Ok(())
    }
}

/// What is pending.
#[derive(Debug, Default)]
pub(super) struct Pending {
    rows: RowsByDay,
    lines: BTreeMap<(&'static str, Day), (Topic, Vec<Bytes>)>,
    positions: BTreeMap<(&'static str, Partition), Advance>,
    num_bytes: usize,
    pub(super) num_records: usize,
    /// When the last event of each kind was received.
    pub(super) received: [Timestamp; 3],
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.num_records == 0
    }

    /// Tells whether it is to be written now: a further read might go beyond its bounds.
    pub(super) fn is_full(&self, config: &LakeConfig) -> bool {
        2 * self.num_records > config.max_records || 2 * self.num_bytes > config.max_bytes
    }

    /// Adds what was read after all that is here.
    pub(super) fn push(&mut self, batch: Batch) {
        self.num_records += batch.events.len();
        self.num_bytes += batch.num_bytes;
        for advance in batch.positions {
            let place = (advance.topic.0, advance.partition);
            let moved = self.positions.entry(place).or_insert(advance);
            moved.next = advance.next;
        }
        for event in batch.events {
            let (kind, origin) = (event.kind, event.cleaned.origin);
            let day = Day::of(origin.received);
            let newest = &mut self.received[kind as usize];
            *newest = (*newest).max(origin.received);
            let line = RawLine::of(event.key.clone(), origin, event.cleaned.raw.clone());
            let topic = kind.topic();
            let lines = self
                .lines
                .entry((topic.0, day))
                .or_insert((topic, Vec::new()));
            lines.1.push(line.encode());
            let (spec, row) = event.cleaned.into_row(kind, &event.key);
            self.rows.push(spec, day, row);
        }
    }

    /// Writes files, and returns the change that enters them.
    pub(super) async fn write(self, lake: &dyn Lake) -> StoreResult<LakeChange> {
        let mut change = LakeChange {
            positions: self.positions.into_values().collect(),
            ..LakeChange::default()
        };
        for ((_, day), (topic, lines)) in self.lines {
            change.add.push(lake.write_raw(topic, day, lines).await?);
        }
        fault::point("pins.lake.between_files");
        self.rows.write(lake, &mut change).await?;
        fault::point("pins.lake.before_commit");
        Ok(change)
    }
}
