//! What a replay takes from the log instead of finding it out again.
//!
//! What was decided while an erased image was there cannot be decided again without it: it may have been the head
//! that others joined. So a replay takes the decisions that stand in the log, in their order, and decides only
//! what was never decided. Of the erased image itself the log holds a tombstone with its number and its place;
//! a placeholder takes them until the erasure comes along.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use likeness_core::ImageId;
use likeness_core::log::{EventLog, Offset, ReadLimits};
use likeness_core::state::StateStore;
use likeness_core::step::{Position, StepStore};

use super::is_tombstone;
use crate::EngineError;
use crate::dedup::tables::{ASSIGN_STAGE, DECISIONS, PARTITION, canonical_key};
use crate::dedup::upload::decode_decision;
use crate::dedup::view::Decision;

/// Decisions that stand in the log, and how many of them the state has.
#[derive(Debug)]
pub(in crate::dedup) struct Recorded {
    log: Arc<dyn EventLog>,
    state: Arc<dyn StateStore>,
    steps: Arc<dyn StepStore>,
    /// The state has every decision before this one. Not known at the start, nor after a commit that failed.
    next: Mutex<Option<Offset>>,
}

/// What [`Recorded::take`] found.
#[derive(Debug)]
pub(in crate::dedup) struct Taken {
    /// The decisions, by image.
    pub decisions: HashMap<ImageId, Decision>,
    /// They stand at this place or after it.
    pub from: Offset,
    /// The state has every decision before this one, once these are committed.
    pub next: Offset,
}

impl Taken {
    /// Returns the position to commit with them.
    pub(in crate::dedup) fn position(&self) -> Position {
        Position {
            consumer: ASSIGN_STAGE,
            topic: DECISIONS,
            partition: PARTITION,
            next: self.next,
        }
    }
}

impl Recorded {
    pub(in crate::dedup) fn new(
        log: Arc<dyn EventLog>,
        state: Arc<dyn StateStore>,
        steps: Arc<dyn StepStore>,
    ) -> Self {
        Self {
            log,
            state,
            steps,
            next: Mutex::default(),
        }
    }

    /// Returns what the log says of `images`, which the state has no decisions of. Decisions stand in the order in
    /// which images are decided, so it looks no further than the first one of another image.
    ///
    /// # Errors
    /// If a store fails, or holds what is no decision.
    pub(in crate::dedup) async fn take(
        &self,
        images: &HashSet<ImageId>,
    ) -> Result<Taken, EngineError> {
        let known = self.next.lock().map_or(None, |next| *next);
        let from = match known {
            Some(next) => next,
            None => {
                self.steps
                    .position(ASSIGN_STAGE, DECISIONS, PARTITION)
                    .await?
            }
        };
        let mut taken = Taken {
            decisions: HashMap::new(),
            from,
            next: from,
        };
        let end = self.log.end(DECISIONS, PARTITION).await?;
        while taken.next < end {
            let limits = ReadLimits::default();
            let page = self
                .log
                .read(DECISIONS, PARTITION, taken.next, limits)
                .await?;
            if page.is_empty() {
                break;
            }
            let mut decisions = Vec::with_capacity(page.len());
            for record in &page {
                if !is_tombstone(&record.key) {
                    let decision = decode_decision(&record.payload)?;
                    let id = ImageId::new(decision.id.clone())?;
                    decisions.push((record.offset, id, decision));
                }
            }
            let keys: Vec<_> = decisions
                .iter()
                .map(|(_, id, _)| canonical_key(id))
                .collect();
            let rows = self.state.get_many(&keys).await?;
            for ((offset, id, decision), row) in decisions.into_iter().zip(rows) {
                if row.is_none() {
                    if !images.contains(&id) {
                        return Ok(taken);
                    }
                    taken.decisions.insert(id, decision);
                }
                taken.next = offset.next();
            }
            if let Some(last) = page.last() {
                taken.next = last.offset.next();
            }
        }
        Ok(taken)
    }

    /// Takes note that a commit begins, whose outcome is not known until [`committed`](Self::committed).
    pub(in crate::dedup) fn committing(&self) {
        self.set(None);
    }

    /// Takes note that the state has every decision before `next`.
    pub(in crate::dedup) fn committed(&self, next: Offset) {
        self.set(Some(next));
    }

    fn set(&self, to: Option<Offset>) {
        *self
            .next
            .lock()
            .expect("no code that holds this lock can panic") = to;
    }
}
