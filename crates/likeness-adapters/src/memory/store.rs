use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use likeness_core::log::{
    EventLog, NewRecord, Offset, Partition, ReadLimits, Record, Redaction, SweptRecord,
    SweptRecords, Topic,
};
use likeness_core::state::{
    CasOutcome, Direction, Key, Row, Scan, StateStore, SweptRow, SweptRows, Table, Write,
};
use likeness_core::step::{Consumer, Durability, Emit, Step, StepOutcome, StepStore};
use likeness_core::{StoreError, StoreResult};
use tokio::sync::watch;

const STORE: &str = "store (memory)";

/// Log, state and steps over one database in memory.
#[derive(Debug)]
pub struct MemoryStore {
    database: Mutex<Database>,
    /// Counts the changes of the log, to wake those who wait for one.
    appends: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Database {
    log: HashMap<(Topic, Partition), Vec<Record>>,
    state: HashMap<(Table, Bytes), BTreeMap<Bytes, Bytes>>,
    positions: HashMap<(Consumer, Topic, Partition), Offset>,
}

impl MemoryStore {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self {
            database: Mutex::default(),
            appends: watch::Sender::new(0),
        }
    }

    fn database(&self) -> MutexGuard<'_, Database> {
        self.database
            .lock()
            .expect("no holder of the lock panics: it only moves values")
    }

    fn wake_readers(&self) {
        self.appends.send_modify(|n_appends| *n_appends += 1);
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Database {
    fn append(&mut self, topic: Topic, partition: Partition, new: Vec<NewRecord>) -> Offset {
        let records = self.log.entry((topic, partition)).or_default();
        let mut last = Offset::default();
        for NewRecord { key, payload } in new {
            last = match records.last() {
                None => Offset(3),
                // Gaps as a log in a cluster has them, so that nobody counts on their absence.
                Some(record) if records.len().is_multiple_of(4) => Offset(record.offset.0 + 6),
                Some(record) => record.offset.next(),
            };
            records.push(Record {
                offset: last,
                key,
                payload,
            });
        }
        last
    }

    /// Returns the records from `from` on.
    fn records(&self, topic: Topic, partition: Partition, from: Offset) -> &[Record] {
        let records = self.log.get(&(topic, partition)).map_or(&[][..], |all| all);
        &records[records.partition_point(|record| record.offset < from)..]
    }

    fn redact(&mut self, redactions: Vec<Redaction>) {
        for redaction in redactions {
            let place = (redaction.topic, redaction.partition);
            let records = self.log.get_mut(&place).into_iter().flatten();
            let found = records.into_iter().find(|it| it.offset == redaction.offset);
            if let Some(record) = found {
                record.key = redaction.replacement.key;
                record.payload = redaction.replacement.payload;
            }
        }
    }

    fn get(&self, key: &Key) -> Option<Bytes> {
        let rows = self.state.get(&(key.table, key.partition.clone()))?;
        rows.get(&key.sort).cloned()
    }

    fn write(&mut self, batch: Vec<Write>) {
        for write in batch {
            match write {
                Write::Put(key, value) => self.put(key, value),
                Write::Delete(key) => self.delete(key),
            }
        }
    }

    fn put(&mut self, key: Key, value: Bytes) {
        let rows = self.state.entry((key.table, key.partition)).or_default();
        rows.insert(key.sort, value);
    }

    fn delete(&mut self, key: Key) {
        let place = (key.table, key.partition);
        if let Some(rows) = self.state.get_mut(&place) {
            rows.remove(&key.sort);
            if rows.is_empty() {
                self.state.remove(&place);
            }
        }
    }

    fn commit(&mut self, step: Step) -> StepOutcome {
        let held = step.claim.as_ref().and_then(|claim| self.get(&claim.key));
        let repeated = match (&step.claim, held) {
            (Some(claim), Some(held)) if held == claim.value => true,
            (_, Some(held)) => return StepOutcome::Conflict(held),
            (_, None) => false,
        };
        for position in step.positions {
            let place = (position.consumer, position.topic, position.partition);
            self.positions.insert(place, position.next);
        }
        if repeated {
            return StepOutcome::AlreadyCommitted;
        }
        if let Some(claim) = step.claim {
            self.put(claim.key, claim.value);
        }
        self.write(step.writes);
        self.redact(step.redactions);
        let append = |emit: Emit| self.append(emit.topic, emit.partition, emit.records);
        StepOutcome::Committed(step.emits.into_iter().map(append).collect())
    }
}

#[async_trait]
impl EventLog for MemoryStore {
    async fn append(
        &self,
        topic: Topic,
        partition: Partition,
        records: Vec<NewRecord>,
    ) -> StoreResult<Offset> {
        topic.validate(STORE)?;
        if records.is_empty() {
            return Err(StoreError::invalid(STORE, "an empty batch"));
        }
        let last = self.database().append(topic, partition, records);
        self.wake_readers();
        Ok(last)
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        limits: ReadLimits,
    ) -> StoreResult<Vec<Record>> {
        topic.validate(STORE)?;
        let mut num_bytes = 0;
        let mut found = Vec::new();
        for record in self.database().records(topic, partition, from) {
            num_bytes += record.key.len() + record.payload.len();
            let is_full = found.len() >= limits.max_records || num_bytes > limits.max_bytes;
            if is_full && !found.is_empty() {
                break;
            }
            found.push(record.clone());
        }
        Ok(found)
    }

    async fn end(&self, topic: Topic, partition: Partition) -> StoreResult<Offset> {
        topic.validate(STORE)?;
        let database = self.database();
        let last = database.records(topic, partition, Offset(0)).last();
        Ok(last.map_or(Offset(0), |record| record.offset.next()))
    }

    async fn wait(&self, topic: Topic, partition: Partition, from: Offset) -> StoreResult<()> {
        topic.validate(STORE)?;
        let mut appends = self.appends.subscribe();
        while self.database().records(topic, partition, from).is_empty() {
            if appends.changed().await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn redact(&self, redactions: Vec<Redaction>) -> StoreResult<()> {
        for redaction in &redactions {
            redaction.topic.validate(STORE)?;
        }
        self.database().redact(redactions);
        Ok(())
    }

    async fn sweep(&self, after: Option<Bytes>, limit: usize) -> StoreResult<SweptRecords> {
        let database = self.database();
        let mut partitions: Vec<_> = database.log.iter().collect();
        partitions.sort_by_key(|(place, _)| **place);
        let all = partitions
            .into_iter()
            .flat_map(|((topic, partition), records)| {
                records.iter().map(|record| SweptRecord {
                    topic: topic.0.to_owned(),
                    partition: *partition,
                    record: record.clone(),
                })
            });
        let (records, next) = page(all, after, limit)?;
        Ok(SweptRecords { records, next })
    }
}

/// Takes a page of what is listed in the same order each time. The cursor is how many came before, so what is
/// added or removed meanwhile may shift the rest: nothing does while a test sweeps.
fn page<T>(
    all: impl Iterator<Item = T>,
    after: Option<Bytes>,
    limit: usize,
) -> StoreResult<(Vec<T>, Option<Bytes>)> {
    let skipped = match after {
        None => 0,
        Some(cursor) => {
            let cursor = cursor.as_ref().try_into();
            u64::from_be_bytes(cursor.map_err(|_| StoreError::invalid(STORE, "not a cursor"))?)
        }
    };
    let mut rest = all.skip(usize::try_from(skipped).unwrap_or(usize::MAX));
    let found: Vec<T> = rest.by_ref().take(limit).collect();
    let end = skipped + found.len() as u64;
    let next = rest
        .next()
        .map(|_| Bytes::copy_from_slice(&end.to_be_bytes()));
    Ok((found, next))
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn get(&self, key: &Key) -> StoreResult<Option<Bytes>> {
        key.validate(STORE)?;
        Ok(self.database().get(key))
    }

    async fn get_many(&self, keys: &[Key]) -> StoreResult<Vec<Option<Bytes>>> {
        keys.iter().try_for_each(|key| key.validate(STORE))?;
        let database = self.database();
        Ok(keys.iter().map(|key| database.get(key)).collect())
    }

    async fn scan(&self, scan: Scan) -> StoreResult<Vec<Row>> {
        scan.validate(STORE)?;
        if scan.is_empty_range() {
            return Ok(Vec::new());
        }
        let database = self.database();
        let Some(rows) = database.state.get(&(scan.table, scan.partition)) else {
            return Ok(Vec::new());
        };
        let range = rows.range::<Bytes, (Bound<Bytes>, Bound<Bytes>)>((scan.lower, scan.upper));
        let to_row = |(sort, value): (&Bytes, &Bytes)| Row {
            sort: sort.clone(),
            value: value.clone(),
        };
        Ok(match scan.direction {
            Direction::Ascending => range.take(scan.limit).map(to_row).collect(),
            Direction::Descending => range.rev().take(scan.limit).map(to_row).collect(),
        })
    }

    async fn write(&self, batch: Vec<Write>) -> StoreResult<()> {
        batch
            .iter()
            .try_for_each(|write| write.key().validate(STORE))?;
        self.database().write(batch);
        Ok(())
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<Bytes>,
        new: Option<Bytes>,
    ) -> StoreResult<CasOutcome> {
        key.validate(STORE)?;
        let mut database = self.database();
        let present = database.get(key);
        if present != expected {
            return Ok(CasOutcome::Conflict(present));
        }
        match new {
            Some(value) => database.put(key.clone(), value),
            None => database.delete(key.clone()),
        }
        Ok(CasOutcome::Applied)
    }

    async fn sweep(&self, after: Option<Bytes>, limit: usize) -> StoreResult<SweptRows> {
        let database = self.database();
        let mut partitions: Vec<_> = database.state.iter().collect();
        partitions.sort_by_key(|(key, _)| *key);
        let all = partitions
            .into_iter()
            .flat_map(|((table, partition), rows)| {
                rows.iter().map(|(sort, value)| SweptRow {
                    table: table.0.to_owned(),
                    partition: partition.clone(),
                    sort: sort.clone(),
                    value: value.clone(),
                })
            });
        let (rows, next) = page(all, after, limit)?;
        Ok(SweptRows { rows, next })
    }
}

#[async_trait]
impl StepStore for MemoryStore {
    async fn commit(&self, step: Step, _durability: Durability) -> StoreResult<StepOutcome> {
        step.validate(STORE)?;
        let outcome = self.database().commit(step);
        self.wake_readers();
        Ok(outcome)
    }

    async fn position(
        &self,
        consumer: Consumer,
        topic: Topic,
        partition: Partition,
    ) -> StoreResult<Offset> {
        consumer.validate(STORE)?;
        topic.validate(STORE)?;
        let database = self.database();
        let position = database.positions.get(&(consumer, topic, partition));
        Ok(position.copied().unwrap_or_default())
    }

    async fn sync(&self) -> StoreResult<()> {
        Ok(())
    }
}
