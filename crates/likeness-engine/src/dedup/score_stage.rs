//! Third stage: scores an image's candidates, and the heads of their clusters. Work done ahead: the assign
//! stage finds candidates of its own, and scores only those that are not among these.

use std::sync::Arc;

use async_trait::async_trait;
use likeness_core::log::{Record, Topic};
use likeness_core::state::StateStore;
use likeness_core::step::{Consumer, Durability, Emit, Position, Step, StepStore};
use likeness_core::{Generation, fault};

use super::assign_stage::totals;
use super::candidates_stage::subject;
use super::pairs::{Done, Known, PairScorer, keep_relevant};
use super::records::{CandidatesEvent, ScoreEvent};
use super::stage::{Passing, Stage, passed_on};
use super::tables::{CANDIDATES, PARTITION, SCORE_STAGE, SCORES, decode, event};
use super::view::CandidateSource;
use crate::EngineError;

/// Candidates in, scores out.
#[derive(Debug)]
pub(super) struct ScoreStage {
    pub(super) state: Arc<dyn StateStore>,
    pub(super) steps: Arc<dyn StepStore>,
    pub(super) scorer: Arc<PairScorer>,
    pub(super) generation: Generation,
}

#[async_trait]
impl Stage for ScoreStage {
    const NAME: &'static str = "score";
    const INPUT: Topic = CANDIDATES;
    const CONSUMER: Consumer = SCORE_STAGE;

    type Item = Passing<ScoreEvent>;

    async fn prepare(&self, record: Record) -> Result<Self::Item, EngineError> {
        if let Some(correction) = passed_on(&record) {
            return Ok(Passing::Correction(correction));
        }
        let CandidatesEvent {
            upload,
            rejection,
            num_indexed,
            is_exact,
            candidates,
            mut places,
        } = decode("candidates", &record.payload)?;
        places.candidates = Some(record.offset);
        let num_candidates = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
        let mut scored = Vec::new();
        // Read before the heads: if a correction comes in between, the assign stage reads them again.
        let totals = totals(self.state.as_ref()).await?;
        if !candidates.is_empty() {
            let subject = match subject(self.state.as_ref(), &upload, self.scorer.views()).await {
                // A repetition of an event; the last stage knows what to do with it.
                Err(EngineError::Erased(_)) => None,
                outcome => Some(outcome?),
            };
            let found: Vec<_> = candidates
                .into_iter()
                .map(|candidate| (candidate.number, CandidateSource::Index))
                .collect();
            let known = Known {
                state: self.state.as_ref(),
                batch: None,
                is_corrected: totals.is_corrected(),
            };
            if let Some(subject) = &subject {
                scored = self
                    .scorer
                    .assess(subject, &found, Done::default(), &known)
                    .await?;
            }
        }
        let num_scored = u32::try_from(scored.len()).unwrap_or(u32::MAX);
        keep_relevant(&mut scored, self.scorer.threshold());
        Ok(Passing::Image(ScoreEvent {
            upload,
            rejection,
            num_indexed,
            is_exact,
            num_candidates,
            num_scored,
            generation: self.generation.0,
            num_corrections: totals.corrections,
            scored,
            places,
        }))
    }

    async fn commit(&self, items: Vec<Self::Item>, position: Position) -> Result<(), EngineError> {
        let records = items
            .into_iter()
            .map(|item| item.into_record(|item| event(&item.upload.id, &item)))
            .collect();
        fault::point("score.before_commit");
        let step = Step {
            emits: vec![Emit {
                topic: SCORES,
                partition: PARTITION,
                records,
            }],
            positions: vec![position],
            ..Step::default()
        };
        self.steps.commit(step, Durability::Process).await?;
        fault::point("score.after_commit");
        Ok(())
    }
}
