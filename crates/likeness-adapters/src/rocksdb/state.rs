//! The state tables.

use ::rocksdb::{ReadOptions, WriteBatch};
use async_trait::async_trait;
use bytes::Bytes;
use likeness_core::StoreResult;
use likeness_core::state::{
    CasOutcome, Direction, Key, Row, Scan, StateStore, SweptRow, SweptRows, Write,
};

use super::error::{WriteError, store_error};
use super::{CF_STATE, Database, EmbeddedStore, Pace, STORE, keys};

/// Most keys that are looked up on the caller's thread.
const MAX_INLINE_KEYS: usize = 16;

impl Database {
    pub(super) fn state(&self, key: &Key) -> StoreResult<Option<Bytes>> {
        let value = self.get(CF_STATE, &keys::state_key(key))?;
        Ok(value.map(Bytes::from))
    }

    fn state_of_many(&self, database_keys: &[Vec<u8>]) -> StoreResult<Vec<Option<Bytes>>> {
        self.db
            .batched_multi_get_cf(self.cf(CF_STATE), database_keys, false)
            .into_iter()
            .map(|value| match value {
                Ok(value) => Ok(value.map(|value| Bytes::copy_from_slice(&value))),
                Err(error) => Err(store_error(CF_STATE, &error)),
            })
            .collect()
    }

    fn scan(&self, scan: &Scan) -> StoreResult<Vec<Row>> {
        let (lower, upper) = keys::scan_range(scan);
        let prefix_len = keys::scan_prefix_len(scan);
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(lower);
        options.set_iterate_upper_bound(upper);
        let mut iterator = self.db.raw_iterator_cf_opt(self.cf(CF_STATE), options);
        match scan.direction {
            Direction::Ascending => iterator.seek_to_first(),
            Direction::Descending => iterator.seek_to_last(),
        }
        let mut rows = Vec::new();
        while let Some((key, value)) = iterator.item() {
            rows.push(Row {
                sort: Bytes::copy_from_slice(&key[prefix_len..]),
                value: Bytes::copy_from_slice(value),
            });
            if rows.len() == scan.limit {
                break;
            }
            match scan.direction {
                Direction::Ascending => iterator.next(),
                Direction::Descending => iterator.prev(),
            }
        }
        iterator
            .status()
            .map_err(|error| store_error(CF_STATE, &error))?;
        Ok(rows)
    }

    fn sweep_state(&self, after: Option<&[u8]>, limit: usize) -> StoreResult<SweptRows> {
        let (entries, next) = self.sweep(CF_STATE, after, limit)?;
        let rows = entries.into_iter().map(|(key, value)| {
            let (table, partition, sort) = keys::read_state_key(&key)?;
            Ok(SweptRow {
                table,
                partition,
                sort,
                value: Bytes::from(value),
            })
        });
        let rows = rows.collect::<StoreResult<_>>()?;
        Ok(SweptRows { rows, next })
    }

    pub(super) fn add_writes(&self, batch: &mut WriteBatch, writes: &[Write]) {
        let cf = self.cf(CF_STATE);
        for write in writes {
            match write {
                Write::Put(key, value) => batch.put_cf(cf, keys::state_key(key), value),
                Write::Delete(key) => batch.delete_cf(cf, keys::state_key(key)),
            }
        }
    }

    fn write_state(&self, writes: &[Write], pace: Pace) -> Result<(), WriteError> {
        let mut batch = WriteBatch::default();
        self.add_writes(&mut batch, writes);
        self.write(batch, pace)
    }

    fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<&Bytes>,
        new: Option<&Bytes>,
        pace: Pace,
    ) -> Result<CasOutcome, WriteError> {
        let present = self.state(key)?;
        if present.as_ref() != expected {
            return Ok(CasOutcome::Conflict(present));
        }
        let write = match new {
            Some(value) => Write::Put(key.clone(), value.clone()),
            None => Write::Delete(key.clone()),
        };
        self.write_state(&[write], pace)?;
        Ok(CasOutcome::Applied)
    }
}

#[async_trait]
impl StateStore for EmbeddedStore {
    async fn get(&self, key: &Key) -> StoreResult<Option<Bytes>> {
        key.validate(STORE)?;
        self.database.state(key)
    }

    async fn get_many(&self, keys: &[Key]) -> StoreResult<Vec<Option<Bytes>>> {
        keys.iter().try_for_each(|key| key.validate(STORE))?;
        let database_keys: Vec<Vec<u8>> = keys.iter().map(keys::state_key).collect();
        if keys.len() <= MAX_INLINE_KEYS {
            return self.database.state_of_many(&database_keys);
        }
        self.blocking(move |database| database.state_of_many(&database_keys))
            .await
    }

    async fn scan(&self, scan: Scan) -> StoreResult<Vec<Row>> {
        scan.validate(STORE)?;
        if scan.is_empty_range() {
            return Ok(Vec::new());
        }
        self.blocking(move |database| database.scan(&scan)).await
    }

    async fn write(&self, batch: Vec<Write>) -> StoreResult<()> {
        batch
            .iter()
            .try_for_each(|write| write.key().validate(STORE))?;
        self.in_turn(move |database, pace| database.write_state(&batch, pace))
            .await?;
        self.synced().await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<Bytes>,
        new: Option<Bytes>,
    ) -> StoreResult<CasOutcome> {
        key.validate(STORE)?;
        let key = key.clone();
        let outcome = self
            .in_turn(move |database, pace| {
                database.compare_and_set(&key, expected.as_ref(), new.as_ref(), pace)
            })
            .await?;
        // A conflict too: whoever acts on another's write must not see it taken back.
        self.synced().await?;
        Ok(outcome)
    }

    async fn sweep(&self, after: Option<Bytes>, limit: usize) -> StoreResult<SweptRows> {
        self.blocking(move |database| database.sweep_state(after.as_deref(), limit))
            .await
    }
}
