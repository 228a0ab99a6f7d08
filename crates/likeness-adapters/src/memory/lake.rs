use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use likeness_core::jobs::Interval;
use likeness_core::lake::{
    Day, FileKind, Lake, LakeChange, LakeFile, LakeOutcome, LatestRows, RowStream, Snapshot, Swept,
};
use likeness_core::log::{Offset, Topic};
use likeness_core::sql::{StoredPosition, compare};
use likeness_core::table::{Row, TableSpec, Value};
use likeness_core::{StoreError, StoreResult};

const STORE: &str = "lake (memory)";

/// A lake in memory.
#[derive(Debug, Default)]
pub struct MemoryLake {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    current: Snapshot,
    contents: BTreeMap<String, Content>,
    num_written: u64,
    num_lists: u64,
}

#[derive(Debug)]
struct Content {
    written: Instant,
    data: Data,
}

#[derive(Debug, Clone)]
enum Data {
    Rows(&'static TableSpec, Vec<Row>),
    Lines(Vec<Bytes>),
}

impl MemoryLake {
    /// Returns an empty lake.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no holder of the lock panics: it only moves values")
    }

    /// Returns the latest rows of a table, by their keys.
    fn by_key(&self, spec: &'static TableSpec) -> StoreResult<Vec<Row>> {
        let offset = column(spec, "log_offset")?;
        let state = self.state();
        let mut rows = Vec::new();
        for file in state.current.files_of(FileKind::Rows, spec.name) {
            rows.extend(state.rows(spec, file)?);
        }
        let order = |a: &Row, b: &Row| {
            let keys = a.key(spec).iter().zip(b.key(spec));
            let mut keys = keys.map(|(a, b)| compare(a, b));
            keys.find(|order| order.is_ne())
                .unwrap_or_else(|| compare(&b.0[offset], &a.0[offset]))
        };
        rows.sort_by(order);
        rows.dedup_by(|later, first| later.key(spec) == first.key(spec));
        Ok(rows)
    }
}

fn column(spec: &TableSpec, name: &str) -> StoreResult<usize> {
    let found = spec.column(name);
    found.ok_or_else(|| StoreError::invalid(STORE, format!("`{}` has no `{name}`", spec.name)))
}

impl State {
    fn content(&self, file: &LakeFile) -> StoreResult<&Data> {
        let found = self.contents.get(&file.path);
        let gone = || StoreError::corrupt(STORE, file.path.clone(), "it is gone");
        Ok(&found.ok_or_else(gone)?.data)
    }

    fn rows(&self, spec: &'static TableSpec, file: &LakeFile) -> StoreResult<Vec<Row>> {
        let Data::Rows(of, rows) = self.content(file)? else {
            return Err(StoreError::corrupt(
                STORE,
                file.path.clone(),
                "it has no rows",
            ));
        };
        let value = |row: &Row, name| {
            of.column(name)
                .and_then(|at| row.0.get(at).cloned())
                .unwrap_or(Value::Null)
        };
        let as_spec = |row: &Row| {
            let names = spec.columns.iter().map(|column| column.name);
            Row(names.map(|name| value(row, name)).collect())
        };
        Ok(rows.iter().map(as_spec).collect())
    }

    fn write(&mut self, kind: FileKind, name: &str, day: Day, data: Data) -> LakeFile {
        self.num_written += 1;
        let (folder, num_rows, columns) = match &data {
            Data::Rows(spec, rows) => {
                let names = spec.columns.iter().map(|column| column.name.to_owned());
                ("rows", rows.len(), names.collect())
            }
            Data::Lines(lines) => ("raw", lines.len(), Vec::new()),
        };
        let path = format!("lake/{folder}/{name}/date={day}/{:013}", self.num_written);
        let content = Content {
            written: Instant::now(),
            data,
        };
        self.contents.insert(path.clone(), content);
        LakeFile {
            path,
            kind,
            name: name.to_owned(),
            day,
            num_rows: num_rows as u64,
            // Of no meaning here, but like a real one it grows with the rows.
            num_bytes: 100 * num_rows as u64,
            columns,
        }
    }

    /// Returns the next list, or nothing if the change does not follow from the current one.
    fn changed(&self, change: LakeChange) -> StoreResult<Option<Snapshot>> {
        let mut next = self.current.clone();
        for advance in &change.positions {
            if advance.next < advance.from {
                let reason = format!("a position moves back: {advance:?}");
                return Err(StoreError::invalid(STORE, reason));
            }
            let is_of = |(consumer, stored): &&mut (String, StoredPosition)| {
                *consumer == advance.consumer.0
                    && stored.topic == advance.topic.0
                    && stored.partition == advance.partition
            };
            match next.positions.iter_mut().find(is_of) {
                Some((_, stored)) if stored.next == advance.from => stored.next = advance.next,
                None if advance.from == Offset(0) => next.positions.push((
                    advance.consumer.0.to_owned(),
                    StoredPosition {
                        topic: advance.topic.0.to_owned(),
                        partition: advance.partition,
                        next: advance.next,
                    },
                )),
                _ => return Ok(None),
            }
        }
        for path in &change.remove {
            let Some(at) = next.files.iter().position(|file| file.path == *path) else {
                return Ok(None);
            };
            next.files.remove(at);
        }
        for file in change.add {
            if next.files.iter().any(|known| known.path == file.path) {
                let reason = format!("`{}` is entered twice", file.path);
                return Err(StoreError::invalid(STORE, reason));
            }
            next.files.push(file);
        }
        next.files.sort_by(|a, b| a.path.cmp(&b.path));
        let place = |(consumer, stored): &(String, StoredPosition)| {
            (consumer.clone(), stored.topic.clone(), stored.partition)
        };
        next.positions.sort_by_key(place);
        next.version += 1;
        Ok(Some(next))
    }
}

#[async_trait]
impl Lake for MemoryLake {
    async fn snapshot(&self) -> StoreResult<Snapshot> {
        Ok(self.state().current.clone())
    }

    async fn write_rows(
        &self,
        spec: &'static TableSpec,
        day: Day,
        rows: Vec<Row>,
    ) -> StoreResult<LakeFile> {
        let invalid = |reason: String| StoreError::invalid(STORE, reason);
        if rows.is_empty() {
            return Err(invalid(format!("a file of `{}` without rows", spec.name)));
        }
        for row in &rows {
            row.check(spec)
                .map_err(|error| invalid(error.to_string()))?;
        }
        let data = Data::Rows(spec, rows);
        Ok(self.state().write(FileKind::Rows, spec.name, day, data))
    }

    async fn write_raw(&self, topic: Topic, day: Day, lines: Vec<Bytes>) -> StoreResult<LakeFile> {
        if lines.is_empty() || lines.iter().any(|line| line.contains(&b'\n')) {
            let reason = format!("lines of `{topic}`: none, or one with an end within");
            return Err(StoreError::invalid(STORE, reason));
        }
        let data = Data::Lines(lines);
        Ok(self.state().write(FileKind::Raw, topic.0, day, data))
    }

    async fn read_raw(&self, file: &LakeFile) -> StoreResult<Vec<Bytes>> {
        match self.state().content(file)? {
            Data::Lines(lines) => Ok(lines.clone()),
            Data::Rows(..) => Err(StoreError::corrupt(
                STORE,
                file.path.clone(),
                "it has no lines",
            )),
        }
    }

    async fn read_rows(&self, spec: &'static TableSpec, file: &LakeFile) -> StoreResult<Vec<Row>> {
        self.state().rows(spec, file)
    }

    async fn commit(&self, change: LakeChange) -> StoreResult<LakeOutcome> {
        let mut state = self.state();
        let Some(next) = state.changed(change)? else {
            return Ok(LakeOutcome::Conflict);
        };
        state.current = next;
        state.num_lists += 1;
        Ok(LakeOutcome::Committed(state.current.version))
    }

    async fn sweep(&self, keep: Duration) -> StoreResult<Swept> {
        let mut state = self.state();
        let State {
            current, contents, ..
        } = &mut *state;
        let mut swept = Swept::default();
        contents.retain(|path, content| {
            let is_kept = content.written.elapsed() < keep
                || current.files.iter().any(|file| file.path == *path);
            if !is_kept {
                swept.files += 1;
            }
            is_kept
        });
        // Lists are not kept at all.
        swept.lists = state.num_lists.saturating_sub(1);
        state.num_lists = state.num_lists.min(1);
        Ok(swept)
    }
}

#[async_trait]
impl LatestRows for MemoryLake {
    async fn latest(&self, spec: &'static TableSpec, received: Interval) -> StoreResult<RowStream> {
        let at = column(spec, "received")?;
        let micros = |ms: u64| i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let wanted = micros(received.begin.0)..micros(received.end.0);
        let is_wanted =
            |row: &Row| matches!(row.0[at], Value::Timestamp(at) if wanted.contains(&at));
        let mut rows = self.by_key(spec)?;
        rows.retain(is_wanted);
        Ok(Box::pin(stream::iter([Ok(rows)])))
    }

    async fn row(&self, spec: &'static TableSpec, key: &[Value]) -> StoreResult<Option<Row>> {
        let rows = self.by_key(spec)?;
        Ok(rows.into_iter().find(|row| row.key(spec) == key))
    }
}
