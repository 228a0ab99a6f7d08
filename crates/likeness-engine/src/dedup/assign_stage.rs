//! Last stage: decides, one image after the other, and writes down everything a decision changes
//! in one commit.
//!
//! This stage is the one writer of its shard. It finds the candidates of an image itself, by a search that
//! is a function of the images decided before it (`live_index/decision.rs`), its own batch included, and
//! therefore decides as if images had come one by one. What the stages before it found is work done ahead:
//! their scores are taken, for a score is a function of two images, but what they found and this stage
//! did not find is shown in the explanation and decides nothing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use likeness_core::log::{NewRecord, Record, Topic};
use likeness_core::state::{StateStore, Write};
use likeness_core::step::{Consumer, Durability, Emit, Position, Step, StepStore};
use likeness_core::{Generation, ImageId, ImageNumber, StoreError, Timestamp, fault};

use super::backlog::Backlog;
use super::candidates_stage::subject;
use super::live_index::{BLOCK, Before, LiveIndex, Recent};
use super::pairs::{
    Batch, Done, EXPLAINED, Known, PairScorer, Subject, add_distant, keep_relevant,
};
use super::records::{
    ClusterRecord, ExplainRecord, MemberRecord, NumberRecord, ScoreEvent, ScoredCandidate, Totals,
    UploadEvent, encode_decision,
};
use super::rule::{Verdict, decide};
use super::stage::Stage;
use super::tables::{
    ASSIGN_STAGE, DECISIONS, PARTITION, SCORES, SHARD, SHARD_OF_MANY, by_size_key, by_time_key,
    canonical_key, cluster_key, decode, encode, explain_key, member_key, number_key, totals_key,
};
use super::view::{CandidateSource, Decision, DecisionKind};
use super::waiters::Waiters;
use crate::EngineError;
use crate::cpu::CpuPool;
use crate::metrics::{DECISION_LATENCY_SECONDS, DECISIONS_TOTAL, INDEX_BYTES, INDEX_IMAGES};

/// Scores in, decisions out.
#[derive(Debug)]
pub(super) struct AssignStage {
    pub(super) state: Arc<dyn StateStore>,
    pub(super) steps: Arc<dyn StepStore>,
    pub(super) index: Arc<LiveIndex>,
    /// Where the images of a block are searched for.
    pub(super) cpu: CpuPool,
    /// Parts that the searches of a block are dealt into.
    pub(super) threads: usize,
    pub(super) scorer: Arc<PairScorer>,
    pub(super) waiters: Arc<Waiters>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) generation: Generation,
    pub(super) model: String,
    pub(super) dim: usize,
    /// Most candidates of an image.
    pub(super) limit: usize,
}

/// An image that waits for its decision.
#[derive(Debug)]
pub(super) struct Undecided {
    event: ScoreEvent,
    /// Absent if the image was rejected.
    subject: Option<Subject>,
}

#[async_trait]
impl Stage for AssignStage {
    const NAME: &'static str = "assign";
    const INPUT: Topic = SCORES;
    const CONSUMER: Consumer = ASSIGN_STAGE;

    type Item = Undecided;

    async fn prepare(&self, record: Record) -> Result<Undecided, EngineError> {
        let event: ScoreEvent = decode("scores", &record.payload)?;
        let subject = match event.rejection {
            Some(_) => None,
            None => Some(subject(self.state.as_ref(), &event.upload).await?),
        };
        Ok(Undecided { event, subject })
    }

    async fn commit(&self, items: Vec<Undecided>, position: Position) -> Result<(), EngineError> {
        let num_items = items.len() as u64;
        let mut changes = Changes::begin(self).await?;
        let keys: Vec<_> = items
            .iter()
            .map(|item| canonical_key(&item.event.upload.id))
            .collect();
        let decided_before = self.state.get_many(&keys).await?;
        let mut seen = HashSet::new();
        // A step that was run again may have put an event into the log twice.
        let mut fresh: VecDeque<_> = items
            .into_iter()
            .zip(decided_before)
            .filter(|(item, before)| before.is_none() && seen.insert(item.event.upload.id.clone()))
            .map(|(item, _)| item)
            .collect();
        while !fresh.is_empty() {
            let group = next_group(&mut fresh, changes.totals.images);
            self.decide_group(group, &mut changes).await?;
        }
        let (decisions, records, mut step) = changes.finish(position);
        step.writes.extend(self.index.changes()?);
        fault::point("assign.before_commit");
        self.steps.commit(step, Durability::Process).await?;
        fault::point("assign.after_commit");
        self.index.committed(&records)?;
        fault::point("assign.after_index");
        self.report(&decisions, num_items);
        Ok(())
    }
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
        let mut before = self.search(&group, first).await?.into_iter();
        for Undecided { event, subject } in group {
            match subject {
                None => changes.reject(event, self.generation),
                Some(subject) => {
                    let before = before.next().expect("every image was searched for");
                    self.decide(event, subject, before, changes).await?;
                }
            }
        }
        let end = changes.totals.images;
        if end > first && end.is_multiple_of(BLOCK) {
            self.index.grow(end, &changes.batch.records)?;
        }
        Ok(())
    }

    /// Searches for the images of a group among what is committed, on several threads.
    async fn search(&self, group: &[Undecided], first: u64) -> Result<Vec<Before>, EngineError> {
        let queries: Vec<_> = group
            .iter()
            .filter_map(|item| item.subject.as_ref())
            .zip(first..)
            .map(|(subject, number)| (number, subject.query.clone()))
            .collect();
        if queries.is_empty() {
            return Ok(Vec::new());
        }
        let (limit, floor) = (self.limit, self.scorer.floor());
        let parts = queries
            .chunks(queries.len().div_ceil(self.threads))
            .map(|part| {
                let (index, part) = (Arc::clone(&self.index), part.to_vec());
                self.cpu.run(move || {
                    part.iter()
                        .map(|(number, query)| index.search_before(query, *number, limit, floor))
                        .collect::<Result<Vec<_>, _>>()
                })
            });
        let mut found = Vec::with_capacity(queries.len());
        for part in futures::future::join_all(parts).await {
            let part =
                part.map_err(|panic| StoreError::corrupt("index", "search", panic.to_string()))??;
            found.extend(part);
        }
        Ok(found)
    }

    async fn decide(
        &self,
        event: ScoreEvent,
        subject: Subject,
        before: Before,
        changes: &mut Changes,
    ) -> Result<(), EngineError> {
        let known = Known {
            state: self.state.as_ref(),
            batch: Some(&changes.batch),
        };
        let (begin, cells_end) = (before.begin, before.cells_end);
        let in_batch = changes.batch.index.candidates(&subject.query, begin)?;
        let found: Vec<_> = before
            .with(in_batch, self.limit, self.scorer.floor())
            .into_iter()
            .map(|candidate| match candidate.number.0 < cells_end {
                true => (candidate.number, CandidateSource::Index),
                false => (candidate.number, CandidateSource::Recent),
            })
            .collect();
        let is_recent = |source: &CandidateSource| *source == CandidateSource::Recent;
        let num_recent = found.iter().filter(|(_, source)| is_recent(source)).count();
        // Scores of another scorer are none.
        let done = if event.generation == self.generation.0 {
            Done::of(&event.scored)
        } else {
            Done::default()
        };
        let mut scored = self.scorer.assess(&subject, &found, done, &known).await?;
        let threshold = self.scorer.threshold();
        let verdict = decide(&scored, threshold);
        let num_scored = scored.len();
        keep_relevant(&mut scored, threshold);
        scored.truncate(EXPLAINED);
        add_distant(&mut scored, event.scored, threshold);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let explained = Explained {
            num_indexed: changes.totals.images,
            is_exact: begin == 0,
            num_candidates: count(found.len()),
            num_recent: count(num_recent),
            num_scored: count(num_scored),
            candidates: scored,
        };
        changes
            .assign(self, &event.upload, &subject, verdict, explained)
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

/// What an explain record takes from the search.
#[derive(Debug)]
struct Explained {
    num_indexed: u64,
    is_exact: bool,
    num_candidates: u32,
    num_recent: u32,
    num_scored: u32,
    candidates: Vec<ScoredCandidate>,
}

/// Everything that a batch of decisions changes.
#[derive(Debug)]
struct Changes {
    batch: Batch,
    clusters: HashMap<ImageId, ClusterRecord>,
    totals: Totals,
    writes: Vec<Write>,
    decisions: Vec<Decision>,
}

impl Changes {
    /// Reads where the shard stands. Read anew for every batch, and the index brought up to it, so
    /// that an attempt whose outcome is unknown leaves nothing behind in memory.
    async fn begin(stage: &AssignStage) -> Result<Self, EngineError> {
        let totals = totals(stage.state.as_ref()).await?;
        stage
            .index
            .settle(stage.state.as_ref(), totals.images)
            .await?;
        Ok(Self {
            batch: Batch {
                records: HashMap::new(),
                index: Recent::new(stage.dim, stage.limit, u64::MAX),
            },
            clusters: HashMap::new(),
            totals,
            writes: Vec::new(),
            decisions: Vec::new(),
        })
    }

    fn reject(&mut self, event: ScoreEvent, generation: Generation) {
        self.totals.rejected += 1;
        let decision = Decision {
            id: event.upload.id.to_string(),
            kind: DecisionKind::Rejected,
            canonical_id: None,
            score: None,
            exact_copy: false,
            number: None,
            cluster_size: 0,
            uploaded_ms: event.upload.uploaded.0,
            decided_ms: Timestamp::now().0,
            generation: generation.0,
            rejection: event.rejection,
        };
        self.record(&event.upload.id, decision);
    }

    async fn assign(
        &mut self,
        stage: &AssignStage,
        upload: &UploadEvent,
        subject: &Subject,
        verdict: Verdict,
        explained: Explained,
    ) -> Result<(), EngineError> {
        let number = self.totals.next_number();
        let now = Timestamp::now();
        let (kind, head, score, exact_copy, rule) = match verdict {
            Verdict::Join {
                head,
                score,
                exact_copy,
                rule,
            } => (DecisionKind::Joined, head, score, exact_copy, rule),
            Verdict::Found { rule } => (
                DecisionKind::NewCluster,
                upload.id.clone(),
                1.0,
                false,
                rule,
            ),
        };
        let cluster = self.grow(stage, &head, number, now).await?;
        let record = NumberRecord {
            id: upload.id.clone(),
            head: head.clone(),
            head_number: cluster.head_number,
            uploaded: upload.uploaded,
            sha256: upload.sha256,
            pdq: subject.signature.pdq,
            pdq_quality: subject.signature.pdq_quality,
            flatness: subject.signature.flatness,
            embedding: subject.signature.embedding.clone(),
        };
        let member = MemberRecord {
            id: upload.id.clone(),
            name: upload.name.clone(),
            score,
            exact_copy,
            joined: now,
            width: subject.signature.width,
            height: subject.signature.height,
            num_bytes: upload.num_bytes,
            format: subject.signature.format,
        };
        let explain = ExplainRecord {
            rule,
            threshold: stage.scorer.threshold(),
            scorer: stage.scorer.scorer().id(),
            model: stage.model.clone(),
            num_indexed: explained.num_indexed,
            is_exact: explained.is_exact,
            num_candidates: explained.num_candidates,
            num_recent: explained.num_recent,
            num_scored: explained.num_scored,
            candidates: explained.candidates,
        };
        self.totals.images += 1;
        self.writes.extend([
            Write::Put(number_key(number), encode(&record)),
            Write::Put(member_key(&head, number), encode(&member)),
            Write::Put(explain_key(&upload.id), encode(&explain)),
        ]);
        self.batch.index.insert(number, &record.bf16()?)?;
        self.batch.records.insert(number, record);
        let decision = Decision {
            id: upload.id.to_string(),
            kind,
            canonical_id: Some(head.to_string()),
            score: Some(score),
            exact_copy,
            number: Some(number.0),
            cluster_size: cluster.size,
            uploaded_ms: upload.uploaded.0,
            decided_ms: now.0,
            generation: stage.generation.0,
            rejection: None,
        };
        self.record(&upload.id, decision);
        Ok(())
    }

    /// Adds one image to the cluster of `head`, creating it if the image is the head, and moves the
    /// cluster in the lists by size and by time.
    async fn grow(
        &mut self,
        stage: &AssignStage,
        head: &ImageId,
        number: ImageNumber,
        now: Timestamp,
    ) -> Result<ClusterRecord, EngineError> {
        let before = match self.clusters.get(head) {
            Some(cluster) => Some(cluster.clone()),
            None => match stage.state.get(&cluster_key(head)).await? {
                Some(row) => Some(decode::<ClusterRecord>("clusters", &row)?),
                None => None,
            },
        };
        let name = bytes::Bytes::copy_from_slice(head.as_bytes());
        let cluster = match before {
            None => {
                self.totals.clusters += 1;
                ClusterRecord {
                    head_number: number,
                    size: 1,
                    created: now,
                    updated: now,
                }
            }
            Some(before) => {
                let head_number = before.head_number;
                self.writes.extend([
                    Write::Delete(by_size_key(before.size, head_number)),
                    Write::Delete(by_time_key(SHARD, before.updated.0, head_number)),
                    Write::Delete(by_time_key(SHARD_OF_MANY, before.updated.0, head_number)),
                ]);
                if before.size == 1 {
                    self.totals.duplicate_clusters += 1;
                }
                ClusterRecord {
                    size: before.size + 1,
                    updated: now,
                    ..before
                }
            }
        };
        self.writes.extend([
            Write::Put(cluster_key(head), encode(&cluster)),
            Write::Put(by_size_key(cluster.size, cluster.head_number), name.clone()),
            Write::Put(
                by_time_key(SHARD, cluster.updated.0, cluster.head_number),
                name.clone(),
            ),
        ]);
        if cluster.size > 1 {
            self.writes.push(Write::Put(
                by_time_key(SHARD_OF_MANY, cluster.updated.0, cluster.head_number),
                name,
            ));
        }
        self.clusters.insert(head.clone(), cluster.clone());
        Ok(cluster)
    }

    fn record(&mut self, id: &ImageId, decision: Decision) {
        self.writes
            .push(Write::Put(canonical_key(id), encode_decision(&decision)));
        self.decisions.push(decision);
    }

    fn finish(self, position: Position) -> (Vec<Decision>, Vec<(ImageNumber, NumberRecord)>, Step) {
        let mut writes = self.writes;
        writes.push(Write::Put(totals_key(), encode(&self.totals)));
        let records: Vec<_> = self
            .decisions
            .iter()
            .map(|decision| NewRecord {
                key: bytes::Bytes::copy_from_slice(decision.id.as_bytes()),
                payload: encode_decision(decision),
            })
            .collect();
        let emits = if records.is_empty() {
            Vec::new()
        } else {
            vec![Emit {
                topic: DECISIONS,
                partition: PARTITION,
                records,
            }]
        };
        let mut decided: Vec<_> = self.batch.records.into_iter().collect();
        decided.sort_unstable_by_key(|(number, _)| *number);
        let step = Step {
            claim: None,
            writes,
            emits,
            positions: vec![position],
        };
        (self.decisions, decided, step)
    }
}

/// Reads where the shard stands.
pub(super) async fn totals(state: &dyn StateStore) -> Result<Totals, StoreError> {
    match state.get(&totals_key()).await? {
        Some(row) => decode("totals", &row),
        None => Ok(Totals::default()),
    }
}

#[cfg(test)]
mod tests;
