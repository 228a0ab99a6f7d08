//! The door for corrections: durable before it is acknowledged, idempotent by id.

use std::time::Duration;

use bytes::Bytes;
use likeness_core::state::{Direction, Scan};
use likeness_core::step::{Claim, Durability, Emit, Step, StepOutcome};
use likeness_core::{ImageId, StoreError, Timestamp, fault};
use std::ops::Bound;

use super::{
    BY_IMAGE, CORRECTED, CORRECTIONS, Command, CorrectionEvent, CorrectionRecord, CorrectionView,
    MAX_MOVED, MAX_TEXT_BYTES, NewCorrection, by_id_key, claim_key, correction_event, sequence_key,
};
use crate::EngineError;
use crate::dedup::Dedup;
use crate::dedup::query::check_limit;
use crate::dedup::tables::{PARTITION, SHARD, UPLOADS, decode, encode};
use crate::dedup::view::Page;

impl Dedup {
    /// Accepts a correction; durable when it returns. What becomes of it follows, in the order of the log:
    /// see [`wait_for_correction`](Self::wait_for_correction). Returns its id.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] if a text is too long, too many members are named, or the id is
    /// taken by another correction; [`EngineError::Overloaded`]; if it could not be made durable: then the
    /// same call may be repeated.
    pub async fn correct(&self, correction: NewCorrection) -> Result<ImageId, EngineError> {
        check_text("author", &correction.author)?;
        check_text("reason", &correction.reason)?;
        if let Command::Split { members, .. } | Command::Move { members, .. } = &correction.command
            && members.len() > MAX_MOVED
        {
            return Err(EngineError::InvalidParameter {
                name: "members",
                reason: format!("at most {MAX_MOVED} at a time"),
            });
        }
        if let Command::Bank(change) = &correction.command {
            let invalid = |(name, reason)| EngineError::InvalidParameter { name, reason };
            change.check().map_err(invalid)?;
        }
        let _admission = self.admit(0)?;
        let id = correction.id.unwrap_or_else(ImageId::generate);
        let event = CorrectionEvent {
            id: id.clone(),
            author: correction.author,
            reason: correction.reason,
            time: Timestamp::now(),
            command: correction.command,
            heads: Vec::new(),
        };
        // Equal but for the time: a call that is repeated is the same correction.
        let claim = encode(&CorrectionEvent {
            time: Timestamp(0),
            ..event.clone()
        });
        let step = Step {
            claim: Some(Claim {
                key: claim_key(&id),
                value: claim.clone(),
            }),
            emits: vec![Emit {
                topic: UPLOADS,
                partition: PARTITION,
                records: vec![correction_event(&event)],
            }],
            ..Step::default()
        };
        self.backlog.stored();
        fault::point("correction.before_commit");
        let outcome = self.ports.steps.commit(step, Durability::Synced).await;
        fault::point("correction.after_commit");
        if !matches!(outcome, Ok(StepOutcome::Committed(_))) {
            self.backlog.done(1);
        }
        match outcome? {
            StepOutcome::Committed(_) | StepOutcome::AlreadyCommitted => Ok(id),
            StepOutcome::Conflict(existing) if existing == claim => Ok(id),
            StepOutcome::Conflict(_) => Err(EngineError::InvalidParameter {
                name: "id",
                reason: "another correction has it; choose another id".to_owned(),
            }),
        }
    }

    /// Waits until a correction is applied or refused. Returns nothing if that does not come within
    /// `timeout`.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] if there is none with this id; [`EngineError::ShuttingDown`]; if a
    /// store fails.
    pub async fn wait_for_correction(
        &self,
        id: &ImageId,
        timeout: Duration,
    ) -> Result<Option<CorrectionView>, EngineError> {
        if self.ports.state.get(&claim_key(id)).await?.is_none() {
            return Err(EngineError::InvalidParameter {
                name: "correction",
                reason: format!("there is none with the id `{id}`"),
            });
        }
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            // Before the look, so that one that comes in between ends the wait.
            let end = self.ports.log.end(CORRECTED, PARTITION).await?;
            if let Some(row) = self.ports.state.get(&by_id_key(id)).await? {
                return self.correction(read_sequence(&row)?).await;
            }
            tokio::select! {
                outcome = self.ports.log.wait(CORRECTED, PARTITION, end) => outcome?,
                () = tokio::time::sleep_until(deadline) => return Ok(None),
                () = self.shutdown.cancelled() => return Err(EngineError::ShuttingDown),
            }
        }
    }

    /// Returns a correction by its sequence number.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn correction(&self, sequence: u64) -> Result<Option<CorrectionView>, EngineError> {
        let record: Option<CorrectionRecord> =
            self.row("corrections", &sequence_key(sequence)).await?;
        Ok(record.map(|record| record.view(sequence)))
    }

    /// Lists corrections, newest first, that come before the sequence number `before`.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a limit or a cursor that is not one; if the store fails.
    pub async fn corrections(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<CorrectionView>, EngineError> {
        check_limit(limit)?;
        let before = cursor
            .map(|text| {
                text.parse::<u64>()
                    .map_err(|_| EngineError::InvalidParameter {
                        name: "cursor",
                        reason: "must be the `next` of the page before".to_owned(),
                    })
            })
            .transpose()?;
        let end = |before: u64| Bytes::copy_from_slice(&before.to_be_bytes());
        let rows = self
            .ports
            .state
            .scan(Scan {
                table: CORRECTIONS,
                partition: Bytes::from_static(SHARD),
                lower: Bound::Unbounded,
                upper: before.map_or(Bound::Unbounded, |before| Bound::Excluded(end(before))),
                direction: Direction::Descending,
                limit,
            })
            .await?;
        let items = rows
            .iter()
            .map(|row| {
                let record: CorrectionRecord = decode("corrections", &row.value)?;
                Ok(record.view(read_sequence(&row.sort)?))
            })
            .collect::<Result<Vec<_>, EngineError>>()?;
        let last = items.last().map(|item| item.sequence);
        let next = last.filter(|&sequence| items.len() == limit && sequence > 0);
        Ok(Page {
            items,
            next: next.map(|sequence| sequence.to_string()),
        })
    }

    /// Returns the corrections that name or moved an image, newest first, at most `limit`.
    ///
    /// # Errors
    /// As [`corrections`](Self::corrections).
    pub async fn corrections_of(
        &self,
        image: &ImageId,
        limit: usize,
    ) -> Result<Vec<CorrectionView>, EngineError> {
        check_limit(limit)?;
        let mut scan = Scan::all(BY_IMAGE, Bytes::copy_from_slice(image.as_bytes()), limit);
        scan.direction = Direction::Descending;
        let mut found = Vec::new();
        for row in self.ports.state.scan(scan).await? {
            found.extend(self.correction(read_sequence(&row.sort)?).await?);
        }
        Ok(found)
    }
}

fn read_sequence(bytes: &[u8]) -> Result<u64, StoreError> {
    let bytes = bytes.try_into().map_err(|_| {
        StoreError::corrupt(
            "state",
            "corrections",
            "a sequence number of another length",
        )
    })?;
    Ok(u64::from_be_bytes(bytes))
}

fn check_text(name: &'static str, text: &str) -> Result<(), EngineError> {
    if (1..=MAX_TEXT_BYTES).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(EngineError::InvalidParameter {
        name,
        reason: format!("must be 1 to {MAX_TEXT_BYTES} bytes of text without control characters"),
    })
}
