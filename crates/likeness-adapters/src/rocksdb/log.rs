//! The log, and where its partitions end.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use ::rocksdb::{ReadOptions, WriteBatch};
use async_trait::async_trait;
use bytes::Bytes;
use likeness_core::log::{
    EventLog, NewRecord, Offset, Partition, ReadLimits, Record, Redaction, SweptRecord,
    SweptRecords, Topic,
};
use likeness_core::{StoreError, StoreResult};
use tokio::sync::watch;

use super::error::{WriteError, store_error};
use super::{CF_LOG, Database, EmbeddedStore, Pace, STORE, keys};

/// The published end of a partition: the next offset. Readers go no further.
type PartitionEnd = watch::Sender<Offset>;

/// The ends of the partitions that were used since the start.
#[derive(Default)]
pub(super) struct PartitionEnds {
    by_partition: RwLock<HashMap<(Topic, Partition), Arc<PartitionEnd>>>,
}

/// Records that are in a batch, and the ends to publish once it is written.
#[derive(Default)]
pub(super) struct Appends {
    ends: Vec<(Arc<PartitionEnd>, Offset)>,
}

impl Appends {
    /// Puts `records` into `batch` and returns the offset of the last one. The caller has the
    /// turn to write.
    pub(super) fn add(
        &mut self,
        database: &Database,
        batch: &mut WriteBatch,
        topic: Topic,
        partition: Partition,
        records: &[NewRecord],
    ) -> StoreResult<Offset> {
        let end = database.partition_end(topic, partition)?;
        let known = self
            .ends
            .iter()
            .position(|(known, _)| Arc::ptr_eq(known, &end));
        let index = known.unwrap_or_else(|| {
            let next = *end.borrow();
            self.ends.push((end, next));
            self.ends.len() - 1
        });
        let next = &mut self.ends[index].1;
        let mut last = *next;
        for record in records {
            last = *next;
            let key = keys::log_key(topic, partition, last);
            batch.put_cf(database.cf(CF_LOG), key, keys::log_value(record)?);
            *next = last.next();
        }
        Ok(last)
    }

    /// Lets readers see the records.
    pub(super) fn publish(self) {
        for (end, next) in self.ends {
            end.send_replace(next);
        }
    }
}

impl Database {
    /// Returns the end of a partition, which is looked up on disk the first time.
    fn partition_end(&self, topic: Topic, partition: Partition) -> StoreResult<Arc<PartitionEnd>> {
        let place = (topic, partition);
        // A poisoned map is whole: entries are inserted in one piece.
        let ends = self.ends.by_partition.read();
        let known = ends
            .unwrap_or_else(PoisonError::into_inner)
            .get(&place)
            .cloned();
        if let Some(end) = known {
            return Ok(end);
        }
        // Nobody can append before this returns: writers come here too, and find the lock taken.
        let mut ends = self
            .ends
            .by_partition
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = ends.get(&place) {
            return Ok(Arc::clone(end));
        }
        let end = Arc::new(watch::Sender::new(self.read_end(topic, partition)?));
        ends.insert(place, Arc::clone(&end));
        Ok(end)
    }

    fn read_end(&self, topic: Topic, partition: Partition) -> StoreResult<Offset> {
        let prefix = keys::log_prefix(topic, partition);
        let mut iterator = self.db.raw_iterator_cf(self.cf(CF_LOG));
        iterator.seek_for_prev(keys::log_key(topic, partition, Offset(u64::MAX)));
        iterator
            .status()
            .map_err(|error| store_error(CF_LOG, &error))?;
        match iterator.key() {
            Some(key) if key.starts_with(&prefix) => Ok(keys::log_offset(key)?.next()),
            _ => Ok(Offset::default()),
        }
    }

    fn read_log(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        end: Offset,
        limits: ReadLimits,
    ) -> StoreResult<Vec<Record>> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(keys::log_key(topic, partition, end));
        let mut iterator = self.db.raw_iterator_cf_opt(self.cf(CF_LOG), options);
        iterator.seek(keys::log_key(topic, partition, from));
        let mut records: Vec<Record> = Vec::new();
        let mut num_bytes = 0;
        while let Some((key, value)) = iterator.item() {
            let record = keys::read_record(key, value)?;
            num_bytes += record.key.len() + record.payload.len();
            let is_full = records.len() >= limits.max_records || num_bytes > limits.max_bytes;
            if is_full && !records.is_empty() {
                break;
            }
            records.push(record);
            iterator.next();
        }
        iterator
            .status()
            .map_err(|error| store_error(CF_LOG, &error))?;
        Ok(records)
    }

    /// Puts replacements into `batch`, where there are records. The caller has the turn to write.
    pub(super) fn add_redactions(
        &self,
        batch: &mut WriteBatch,
        redactions: &[Redaction],
    ) -> StoreResult<()> {
        for redaction in redactions {
            let key = keys::log_key(redaction.topic, redaction.partition, redaction.offset);
            if self.get(CF_LOG, &key)?.is_some() {
                let value = keys::log_value(&redaction.replacement)?;
                batch.put_cf(self.cf(CF_LOG), key, value);
            }
        }
        Ok(())
    }

    fn redact(&self, redactions: &[Redaction], pace: Pace) -> Result<(), WriteError> {
        let mut batch = WriteBatch::default();
        self.add_redactions(&mut batch, redactions)?;
        self.write(batch, pace)
    }

    fn sweep_log(&self, after: Option<&[u8]>, limit: usize) -> StoreResult<SweptRecords> {
        let (entries, next) = self.sweep(CF_LOG, after, limit)?;
        let records = entries.iter().map(|(key, value)| {
            let (topic, partition) = keys::log_place(key)?;
            Ok(SweptRecord {
                topic,
                partition,
                record: keys::read_record(key, value)?,
            })
        });
        let records = records.collect::<StoreResult<_>>()?;
        Ok(SweptRecords { records, next })
    }

    fn append(
        &self,
        topic: Topic,
        partition: Partition,
        records: &[NewRecord],
        pace: Pace,
    ) -> Result<Offset, WriteError> {
        let mut batch = WriteBatch::default();
        let mut appends = Appends::default();
        let last = appends.add(self, &mut batch, topic, partition, records)?;
        self.write(batch, pace)?;
        appends.publish();
        Ok(last)
    }
}

#[async_trait]
impl EventLog for EmbeddedStore {
    async fn append(
        &self,
        topic: Topic,
        partition: Partition,
        records: Vec<NewRecord>,
    ) -> StoreResult<Offset> {
        topic.validate(STORE)?;
        if records.is_empty() {
            return Err(StoreError::invalid(STORE, "an empty batch of records"));
        }
        let last = self
            .in_turn(move |database, pace| database.append(topic, partition, &records, pace))
            .await?;
        self.synced().await?;
        Ok(last)
    }

    async fn read(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
        limits: ReadLimits,
    ) -> StoreResult<Vec<Record>> {
        let end = self.end(topic, partition).await?;
        if from >= end {
            return Ok(Vec::new());
        }
        self.blocking(move |database| database.read_log(topic, partition, from, end, limits))
            .await
    }

    async fn end(&self, topic: Topic, partition: Partition) -> StoreResult<Offset> {
        topic.validate(STORE)?;
        let end = self.database.partition_end(topic, partition)?;
        let next = *end.borrow();
        Ok(next)
    }

    async fn wait(&self, topic: Topic, partition: Partition, from: Offset) -> StoreResult<()> {
        topic.validate(STORE)?;
        let mut end = self.database.partition_end(topic, partition)?.subscribe();
        // The sender lives as long as the store, so this ends by a record only.
        let reached = end.wait_for(|end| *end > from).await;
        reached
            .map(drop)
            .map_err(|error| StoreError::unavailable(STORE, error))
    }

    async fn redact(&self, redactions: Vec<Redaction>) -> StoreResult<()> {
        for redaction in &redactions {
            redaction.topic.validate(STORE)?;
        }
        self.in_turn(move |database, pace| database.redact(&redactions, pace))
            .await?;
        self.synced().await
    }

    async fn sweep(&self, after: Option<Bytes>, limit: usize) -> StoreResult<SweptRecords> {
        self.blocking(move |database| database.sweep_log(after.as_deref(), limit))
            .await
    }
}
