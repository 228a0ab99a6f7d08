//! What is not an image: corrections, erasures among them, and in a replay what stands for an erased image.

use likeness_core::fault;
use likeness_core::log::{NewRecord, Offset, Redaction};
use likeness_core::state::Write;
use likeness_core::step::{Durability, Emit, Position, Step};
use tracing::warn;

use super::changes::Changes;
use super::marks::acknowledged;
use super::{AssignStage, totals};
use crate::EngineError;
use crate::dedup::corrections::apply::{Bench, apply};
use crate::dedup::corrections::erase::Erased;
use crate::dedup::corrections::{CORRECTED, CorrectionEvent, correction_event};
use crate::dedup::erasure::{Tombstone, erased_key};
use crate::dedup::live_index::BLOCK;
use crate::dedup::records::Totals;
use crate::dedup::reviews;
use crate::dedup::tables::{PARTITION, SCORES, canonical_key, decode, encode, totals_key};

impl AssignStage {
    pub(super) async fn correct(
        &self,
        correction: &NewRecord,
        offset: Offset,
        position: Position,
    ) -> Result<(), EngineError> {
        let totals = totals(self.state.as_ref()).await?;
        let bench = Bench {
            state: self.state.as_ref(),
            log: self.log.as_ref(),
            scorer: &self.scorer,
            limits: self.bank_limits,
            keeper: self.keeper,
        };
        let applied = apply(&bench, totals, correction).await?;
        let mut step = Step {
            positions: vec![position],
            ..Step::default()
        };
        let mut erased = None;
        let corrected_totals = applied.as_ref().map(|corrected| corrected.totals);
        if let Some(corrected) = applied {
            erased = corrected.erased;
            step.writes = corrected.writes;
            step.redactions = corrected.redactions;
            if let Some(erased) = &erased {
                self.leave_index(totals, erased, &mut step).await?;
                step.redactions
                    .extend(with_heads(correction, offset, erased)?);
            }
            step.writes
                .push(Write::Put(totals_key(), encode(&corrected.totals)));
            step.emits.push(Emit {
                topic: CORRECTED,
                partition: PARTITION,
                records: vec![corrected.event],
            });
            step.emits.extend(acknowledged(&corrected.alarms));
        }
        if erased.is_some() {
            // Before the commit, whose outcome may stay unknown.
            self.finisher.due();
        }
        fault::point("assign.before_correction");
        self.steps.commit(step, Durability::Process).await?;
        fault::point("assign.after_correction");
        if let Some(totals) = corrected_totals {
            reviews::report(&totals);
        }
        if let Some(erased) = erased {
            if let Some(number) = erased.number {
                self.index.erased(number)?;
            }
            self.finish().await;
        }
        self.backlog.done(1);
        Ok(())
    }

    /// Deletes what is left of erased images. The rows are gone already, so nothing that is decided depends on it.
    pub(super) async fn finish(&self) {
        if let Err(error) = self.finisher.run().await {
            warn!(%error, "cannot delete the bytes of an erased image, will try again");
        }
    }

    /// Takes an erased image out of the index, and adds the rows that this changes.
    async fn leave_index(
        &self,
        totals: Totals,
        erased: &Erased,
        step: &mut Step,
    ) -> Result<(), EngineError> {
        let Some(number) = erased.number else {
            return Ok(());
        };
        let state = self.state.as_ref();
        self.index.settle(state, totals.images).await?;
        self.index.erase(number)?;
        step.writes.extend(self.index.changes()?);
        Ok(())
    }

    /// In a replay, lets a placeholder take the place of an image whose erasure is still to come.
    pub(super) async fn stand_in(
        &self,
        tombstone: &Tombstone,
        position: Position,
    ) -> Result<(), EngineError> {
        let rows = [canonical_key(&tombstone.id), erased_key(&tombstone.id)];
        let rows = self.state.get_many(&rows).await?;
        let mut changes = Changes::begin(self).await?;
        let mut number = None;
        if rows.iter().all(Option::is_none) {
            number = changes.stand_in(self, tombstone).await?;
        }
        let (_, _, _, mut step) = changes.finish(vec![position]);
        let end = number.map_or(0, |number| number.0 + 1);
        if end > 0 && end.is_multiple_of(BLOCK) {
            // The last number of a block lets the others into the cells.
            self.index.grow_past(end)?;
        }
        step.writes.extend(self.index.changes()?);
        self.steps.commit(step, Durability::Process).await?;
        if let Some(number) = number {
            self.index.skipped(number);
        }
        self.backlog.done(1);
        Ok(())
    }
}

/// Writes the heads that an erasure has chosen into its event in the log, for a replay.
fn with_heads(
    correction: &NewRecord,
    offset: Offset,
    erased: &Erased,
) -> Result<Option<Redaction>, EngineError> {
    if erased.heads.is_empty() {
        return Ok(None);
    }
    let mut event: CorrectionEvent = decode("uploads", &correction.payload)?;
    event.heads.clone_from(&erased.heads);
    Ok(Some(Redaction {
        topic: SCORES,
        partition: PARTITION,
        offset,
        replacement: correction_event(&event),
    }))
}
