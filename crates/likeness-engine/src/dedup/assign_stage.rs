//! Last stage: decides, one image after the other, and writes down everything a decision changes
//! in one commit.
//!
//! This stage is the one writer of its shard. It finds the candidates of an image itself, by a search that
//! is a function of the images decided before it (`live_index/decision.rs`), its own batch included, and
//! therefore decides as if images had come one by one. What the stages before it found is work done ahead:
//! their scores are taken, for a score is a function of two images, but what they found and this stage
//! did not find is shown in the explanation and decides nothing.

mod changes;
mod correct;
mod marks;
#[cfg(test)]
pub(in crate::dedup) mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use likeness_core::log::{EventLog, Offset, Record, Redaction, Topic};
use likeness_core::state::{StateStore, Write};
use likeness_core::step::{Consumer, Durability, Position, StepOutcome, StepStore};
use likeness_core::{Generation, ImageId, StoreError, StoreResult, fault};

use super::backlog::Backlog;
use super::banks::{BankLimits, BankMatch, Banks, matched};
use super::candidates_stage::subject;
use super::corrections::erase::of_key;
use super::erasure::replay::Recorded;
use super::erasure::{Finisher, Places, Tombstone, erased_key, places_key};
use super::flood::FloodConfig;
use super::guard::Weighing;
use super::keeper::Keeper;
use super::live_index::{BLOCK, BeforeWithViews, LiveIndex};
use super::pairs::{Done, EXPLAINED, Known, PairScorer, Subject, add_distant, keep_relevant};
use super::records::{ScoreEvent, Totals};
use super::reviews::{self, GreyZone};
use super::stage::{Passing, Stage, passed_on};
use super::tables::{
    ASSIGN_STAGE, CANDIDATES, PARTITION, SCORES, SIGNATURES, UPLOADS, canonical_key, decode,
    encode, totals_key,
};
use super::view::{CandidateSource, Decision, DecisionKind};
use super::waiters::Waiters;
use crate::EngineError;
use crate::cpu::CpuPool;
use crate::metrics::{DECISION_LATENCY_SECONDS, DECISIONS_TOTAL, INDEX_BYTES, INDEX_IMAGES};
use changes::{Changes, Explained};

/// Scores in, decisions out.
#[derive(Debug)]
pub(super) struct AssignStage {
    pub(super) state: Arc<dyn StateStore>,
    pub(super) steps: Arc<dyn StepStore>,
    pub(super) log: Arc<dyn EventLog>,
    pub(super) recorded: Recorded,
    pub(super) finisher: Arc<Finisher>,
    pub(super) index: Arc<LiveIndex>,
    /// Where the images of a block are searched for.
    pub(super) cpu: CpuPool,
    /// Parts that the searches of a block are dealt into.
    pub(super) threads: usize,
    pub(super) scorer: Arc<PairScorer>,
    pub(super) keeper: Keeper,
    pub(super) waiters: Arc<Waiters>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) generation: Generation,
    pub(super) model: String,
    pub(super) dim: usize,
    /// Most candidates of an image.
    pub(super) limit: usize,
    pub(super) banks: Arc<Banks>,
    pub(super) bank_limits: BankLimits,
    pub(super) flood: FloodConfig,
    /// Which pairs are queued for review.
    pub(super) grey: GreyZone,
}

/// A record of the log in its place.
#[derive(Debug)]
pub(super) struct Item {
    offset: Offset,
    work: Passing<Undecided>,
}

/// An image that waits for its decision.
#[derive(Debug)]
pub(super) struct Undecided {
    event: ScoreEvent,
    /// Absent if the image was rejected.
    subject: Option<Subject>,
    /// What the log says was decided, if this is a replay.
    recorded: Option<Decision>,
}

#[async_trait]
impl Stage for AssignStage {
    const NAME: &'static str = "assign";
    const INPUT: Topic = SCORES;
    const CONSUMER: Consumer = ASSIGN_STAGE;

    type Item = Item;

    async fn prepare(&self, record: Record) -> Result<Item, EngineError> {
        let offset = record.offset;
        if let Some(correction) = passed_on(&record) {
            return Ok(Item {
                offset,
                work: Passing::Correction(correction),
            });
        }
        let mut event: ScoreEvent = decode("scores", &record.payload)?;
        event.places.scores = Some(offset);
        let subject = match event.rejection {
            Some(_) => None,
            None => match subject(self.state.as_ref(), &event.upload, self.scorer.views()).await {
                Err(EngineError::Erased(_)) => None,
                outcome => Some(outcome?),
            },
        };
        let undecided = Undecided {
            event,
            subject,
            recorded: None,
        };
        Ok(Item {
            offset,
            work: Passing::Image(undecided),
        })
    }

    /// Images between two corrections are one commit, each correction is one.
    async fn commit(&self, items: Vec<Item>, position: Position) -> Result<(), EngineError> {
        let at = |next| Position { next, ..position };
        self.finish().await;
        let mut images = Vec::new();
        for Item { offset, work } in items {
            match work {
                Passing::Image(image) => images.push(image),
                Passing::Correction(correction) => {
                    if !images.is_empty() {
                        self.decide_images(std::mem::take(&mut images), at(offset))
                            .await?;
                    }
                    let next = at(offset.next());
                    match Tombstone::of(&correction.key, &correction.payload)? {
                        Some(tombstone) => self.stand_in(&tombstone, next).await?,
                        None => self.correct(&correction, offset, next).await?,
                    }
                }
            }
        }
        if images.is_empty() {
            return Ok(());
        }
        self.decide_images(images, position).await
    }
}

impl AssignStage {
    async fn decide_images(
        &self,
        items: Vec<Undecided>,
        position: Position,
    ) -> Result<(), EngineError> {
        let num_items = items.len() as u64;
        let mut changes = Changes::begin(self).await?;
        let Fresh {
            items: mut fresh,
            mut repeated,
            redactions,
        } = self.fresh(items, &mut changes).await?;
        let ids = fresh.iter().map(|item| item.event.upload.id.clone());
        let mut taken = self.recorded.take(&ids.collect()).await?;
        for item in &mut fresh {
            item.recorded = taken.decisions.remove(&item.event.upload.id);
            item.event.places.decisions = Some(taken.from);
            let mut places = vec![item.event.places];
            places.extend(repeated.remove(&item.event.upload.id).unwrap_or_default());
            let key = places_key(&item.event.upload.id);
            changes.write(Write::Put(key, encode(&places)));
        }
        while !fresh.is_empty() {
            let group = next_group(&mut fresh, changes.totals.images);
            self.decide_group(group, &mut changes).await?;
        }
        changes.queue_reviews(self).await?;
        let totals = changes.totals;
        let positions = vec![position, taken.position()];
        let (decisions, marks, records, mut step) = changes.finish(positions);
        step.redactions = redactions;
        step.writes.extend(self.index.changes()?);
        self.recorded.committing();
        fault::point("assign.before_commit");
        let outcome = self.steps.commit(step, Durability::Process).await?;
        fault::point("assign.after_commit");
        let emitted = match outcome {
            StepOutcome::Committed(offsets) => offsets.last().map(|last| last.next()),
            StepOutcome::AlreadyCommitted | StepOutcome::Conflict(_) => None,
        };
        self.recorded.committed(emitted.unwrap_or(taken.next));
        self.index.committed(&records)?;
        fault::point("assign.after_index");
        self.report(&decisions, num_items);
        marks.report();
        reviews::report(&totals);
        Ok(())
    }
}

impl AssignStage {
    /// Tells images that are not decided yet from repetitions: a step that was run again may have put an event
    /// into the log twice.
    async fn fresh(
        &self,
        items: Vec<Undecided>,
        changes: &mut Changes,
    ) -> Result<Fresh, EngineError> {
        let id = |item: &Undecided| item.event.upload.id.clone();
        let keys: Vec<_> = items
            .iter()
            .flat_map(|item| [canonical_key(&id(item)), erased_key(&id(item))])
            .collect();
        let rows = self.state.get_many(&keys).await?;
        let mut seen = HashSet::new();
        let mut fresh = Fresh::default();
        for (item, rows) in items.into_iter().zip(rows.chunks(2)) {
            let (is_decided, is_erased) = (rows[0].is_some(), rows[1].is_some());
            if is_erased {
                let again = redact_again(self.log.as_ref(), &item.event).await?;
                fresh.redactions.extend(again);
            } else if is_decided {
                let key = places_key(&id(&item));
                let row = self.state.get(&key).await?;
                let known = row.map(|row| decode::<Vec<Places>>("places", &row));
                let mut places = known.transpose()?.unwrap_or_default();
                places.push(item.event.places);
                places.dedup();
                changes.write(Write::Put(key, encode(&places)));
            } else if seen.insert(id(&item)) {
                fresh.items.push_back(item);
            } else {
                let repeated = fresh.repeated.entry(id(&item)).or_default();
                repeated.push(item.event.places);
            }
        }
        Ok(fresh)
    }
}

/// What [`AssignStage::fresh`] finds.
#[derive(Debug, Default)]
struct Fresh {
    /// Images to decide.
    items: VecDeque<Undecided>,
    /// Where events of these are that came twice in the batch.
    repeated: HashMap<ImageId, Vec<Places>>,
    /// What is to be redacted, being of images that were erased.
    redactions: Vec<Redaction>,
}

/// Redacts an event of an image that was erased before the event came, being a repetition. What led to it may be
/// what led to the first one: that is redacted already, and says more.
async fn redact_again(log: &dyn EventLog, event: &ScoreEvent) -> StoreResult<Vec<Redaction>> {
    let id = &event.upload.id;
    let places = [
        (UPLOADS, event.places.uploads),
        (SIGNATURES, event.places.signatures),
        (CANDIDATES, event.places.candidates),
        (SCORES, event.places.scores),
    ];
    let mut redactions = Vec::new();
    for (topic, place) in places {
        let Some(offset) = place else { continue };
        if of_key(log, topic, offset, 1, id.as_bytes())
            .await?
            .is_some()
        {
            redactions.push(Redaction {
                topic,
                partition: PARTITION,
                offset,
                replacement: Tombstone::silent(id).record(),
            });
        }
    }
    Ok(redactions)
}

/// Takes images off the front until the last number of a block is given out, or all of them.
fn next_group(fresh: &mut VecDeque<Undecided>, num_images: u64) -> Vec<Undecided> {
    let mut room = BLOCK - num_images % BLOCK;
    let mut group = Vec::new();
    while room > 0
        && let Some(item) = fresh.pop_front()
    {
        // What was rejected gets no number.
        room -= u64::from(item.subject.is_some());
        group.push(item);
    }
    group
}

impl AssignStage {
    /// Decides images that the cells do not change between, and lets them into the cells if they complete a
    /// block.
    async fn decide_group(
        &self,
        group: Vec<Undecided>,
        changes: &mut Changes,
    ) -> Result<(), EngineError> {
        let first = changes.totals.images;
        let mut before = self.search(&group, first, changes).await?.into_iter();
        for undecided in group {
            let Undecided {
                event,
                subject,
                recorded,
            } = undecided;
            match subject {
                None => changes.reject(event, self.generation, recorded),
                Some(subject) => {
                    let found = before.next().expect("every image was searched for");
                    self.decide(event, subject, found, recorded, changes)
                        .await?;
                }
            }
        }
        let end = changes.totals.images;
        if end > first && end.is_multiple_of(BLOCK) {
            self.index.grow(end, &changes.batch.records)?;
        }
        Ok(())
    }

    /// Searches for the images of a group among what is committed, and in banks, on several threads.
    async fn search(
        &self,
        group: &[Undecided],
        first: u64,
        changes: &Changes,
    ) -> Result<Vec<(BeforeWithViews, Vec<BankMatch>)>, EngineError> {
        let queries: Vec<_> = group
            .iter()
            .filter_map(|item| Some((&item.event.upload.id, item.subject.as_ref()?)))
            .zip(first..)
            .map(|((id, subject), number)| {
                (
                    number,
                    id.clone(),
                    subject.sha256,
                    subject.descriptors.clone(),
                )
            })
            .collect();
        if queries.is_empty() {
            return Ok(Vec::new());
        }
        let (limit, floor) = (self.limit, self.scorer.floor());
        let parts = queries
            .chunks(queries.len().div_ceil(self.threads))
            .map(|part| {
                let (index, part) = (Arc::clone(&self.index), part.to_vec());
                let (banks, scorer) = (Arc::clone(&changes.banks), Arc::clone(&self.scorer));
                self.cpu.run(move || {
                    part.iter()
                        .map(|(number, id, _, image)| {
                            let before = index.search_views_before(image, *number, limit, floor)?;
                            Ok::<_, StoreError>((before, banks.near(&scorer, id, image)?))
                        })
                        .collect::<Result<Vec<_>, _>>()
                })
            });
        let mut found = Vec::with_capacity(queries.len());
        for part in futures::future::join_all(parts).await {
            let part =
                part.map_err(|panic| StoreError::corrupt("index", "search", panic.to_string()))??;
            found.extend(part);
        }
        let mut searched = Vec::with_capacity(found.len());
        for ((_, id, digest, image), (before, near)) in queries.iter().zip(found) {
            let matches = matched(&near, &self.scorer, id, digest, image).await?;
            searched.push((before, matches));
        }
        Ok(searched)
    }

    /// Decides an image, or repeats what the log says was decided. Either way it is searched for and weighed:
    /// banks, floods and reviews are functions of the log as well.
    async fn decide(
        &self,
        event: ScoreEvent,
        subject: Subject,
        found: (BeforeWithViews, Vec<BankMatch>),
        recorded: Option<Decision>,
        changes: &mut Changes,
    ) -> Result<(), EngineError> {
        let (before, matches) = found;
        let known = Known {
            state: self.state.as_ref(),
            batch: Some(&changes.batch),
            is_corrected: changes.totals.is_corrected(),
        };
        let (begin, index_end) = (before.whole.begin, before.whole.index_end);
        let batch = (&changes.batch.index, &changes.batch.views);
        let found: Vec<_> = before
            .with(&subject.descriptors, batch, self.limit, self.scorer.floor())?
            .into_iter()
            .map(|candidate| match candidate.number.0 < index_end {
                true => (candidate.number, CandidateSource::Index),
                false => (candidate.number, CandidateSource::Recent),
            })
            .collect();
        let is_recent = |source: &CandidateSource| *source == CandidateSource::Recent;
        let num_recent = found.iter().filter(|(_, source)| is_recent(source)).count();
        // Scores of another scorer are none, and heads may have changed with a correction.
        let is_fresh = event.generation == self.generation.0
            && event.num_corrections == changes.totals.corrections;
        let done = if is_fresh {
            Done::of(&event.scored)
        } else {
            Done::default()
        };
        let mut scored = self.scorer.assess(&subject, &found, done, &known).await?;
        let threshold = self.scorer.threshold();
        let weighing = Weighing {
            scorer: &self.scorer,
            subject: &subject,
            known: &known,
            pending: &changes.batch.clusters,
            has_guards: changes.totals.guarded > 0,
        };
        let mut guarded = weighing
            .verdict(&mut scored, &matches, &mut changes.guards)
            .await?;
        if let Some(recorded) = &recorded {
            guarded = guarded.repeating(recorded)?;
        }
        changes.review(self, &event.upload, &scored, &guarded.verdict);
        let num_scored = scored.len();
        keep_relevant(&mut scored, threshold);
        scored.truncate(EXPLAINED);
        // After a correction some of it may be of images that were erased.
        if is_fresh {
            add_distant(&mut scored, event.scored, threshold);
        }
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let explained = Explained {
            num_indexed: changes.totals.images,
            is_exact: begin == 0,
            num_candidates: count(found.len()),
            num_recent: count(num_recent),
            num_scored: count(num_scored),
            candidates: scored,
            matches,
        };
        changes
            .assign(self, &event.upload, &subject, guarded, explained, recorded)
            .await
    }

    fn report(&self, decisions: &[Decision], num_items: u64) {
        self.backlog.done(num_items);
        for decision in decisions {
            let kind = match decision.kind {
                DecisionKind::NewCluster => "new_cluster",
                DecisionKind::Joined => "joined",
                DecisionKind::Rejected => "rejected",
            };
            metrics::counter!(DECISIONS_TOTAL, "kind" => kind).increment(1);
            let latency = decision.decided_ms.saturating_sub(decision.uploaded_ms);
            metrics::histogram!(DECISION_LATENCY_SECONDS).record(latency as f64 / 1e3);
            if let Ok(id) = ImageId::new(decision.id.clone()) {
                self.waiters.announce(&id, decision);
            }
        }
        let (images, bytes) = self.index.size();
        metrics::gauge!(INDEX_IMAGES).set(images as f64);
        metrics::gauge!(INDEX_BYTES).set(bytes as f64);
    }
}

/// Reads where the shard stands.
pub(super) async fn totals(state: &dyn StateStore) -> Result<Totals, StoreError> {
    match state.get(&totals_key()).await? {
        Some(row) => decode("totals", &row),
        None => Ok(Totals::default()),
    }
}
