//! Steps: one batch each.

use std::time::Instant;

use ::rocksdb::WriteBatch;
use async_trait::async_trait;
use likeness_core::log::{Offset, Partition, Topic};
use likeness_core::step::{Consumer, Durability, Step, StepOutcome, StepStore};
use likeness_core::{StoreResult, fault};

use super::error::WriteError;
use super::log::Appends;
use super::{CF_POSITIONS, CF_STATE, Database, EmbeddedStore, Pace, STORE, keys};
use crate::metrics;

impl Database {
    fn commit(&self, step: &Step, pace: Pace) -> Result<StepOutcome, WriteError> {
        let mut is_repeated = false;
        if let Some(claim) = &step.claim
            && let Some(held) = self.state(&claim.key)?
        {
            if held != claim.value {
                return Ok(StepOutcome::Conflict(held));
            }
            is_repeated = true;
        }

        let mut batch = WriteBatch::default();
        for position in &step.positions {
            batch.put_cf(
                self.cf(CF_POSITIONS),
                keys::position_key(position.consumer, position.topic, position.partition),
                keys::position_value(position.next),
            );
        }
        if is_repeated {
            self.write(batch, pace)?;
            return Ok(StepOutcome::AlreadyCommitted);
        }

        if let Some(claim) = &step.claim {
            let key = keys::state_key(&claim.key);
            batch.put_cf(self.cf(CF_STATE), key, &claim.value);
        }
        self.add_writes(&mut batch, &step.writes);
        let mut appends = Appends::default();
        let mut offsets = Vec::with_capacity(step.emits.len());
        for emit in &step.emits {
            offsets.push(appends.add(
                self,
                &mut batch,
                emit.topic,
                emit.partition,
                &emit.records,
            )?);
        }
        self.add_redactions(&mut batch, &step.redactions)?;
        fault::point("step.before_write");
        self.write(batch, pace)?;
        fault::point("step.after_write");
        appends.publish();
        Ok(StepOutcome::Committed(offsets))
    }
}

#[async_trait]
impl StepStore for EmbeddedStore {
    async fn commit(&self, step: Step, durability: Durability) -> StoreResult<StepOutcome> {
        step.validate(STORE)?;
        let started = Instant::now();
        let outcome = self
            .in_turn(move |database, pace| database.commit(&step, pace))
            .await?;
        if durability == Durability::Synced {
            // Whatever the outcome: a repeated step may be the one whose sync was cut off, and a
            // conflict is acted upon.
            self.synced().await?;
        }
        metrics::record_commit(durability, started.elapsed());
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
        let key = keys::position_key(consumer, topic, partition);
        match self.database.get(CF_POSITIONS, &key)? {
            Some(value) => keys::read_position(&key, &value),
            None => Ok(Offset::default()),
        }
    }

    async fn sync(&self) -> StoreResult<()> {
        self.synced().await
    }
}
