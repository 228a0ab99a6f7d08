//! Everything that a batch of decisions changes, for one commit.

mod placeholder;

use std::collections::HashMap;

use likeness_core::log::NewRecord;
use likeness_core::state::{Scan, Write};
use likeness_core::step::{Emit, Position, Step};
use likeness_core::{Generation, ImageId, ImageNumber, StoreError, Timestamp};

pub(super) use self::placeholder::check_number;
use super::marks::Marks;
use super::{AssignStage, totals};
use crate::EngineError;
use crate::dedup::banks::{BankMatch, BankSet};
use crate::dedup::clusters::{list, unlist};
use crate::dedup::flood::Guard;
use crate::dedup::guard::{Guarded, Guards};
use crate::dedup::keeper::{Keeper, MAX_COMPARED, Merits};
use crate::dedup::live_index::{Recent, RecentViews};
use crate::dedup::pairs::{Batch, Known, Subject};
use crate::dedup::records::{
    ClusterRecord, ExplainRecord, Head, MemberRecord, NumberRecord, ScoreEvent, ScoredCandidate,
    Totals, UploadEvent, encode_decision,
};
use crate::dedup::reviews::{ReviewRecord, enqueue};
use crate::dedup::rule::Verdict;
use crate::dedup::tables::{
    DECISIONS, MEMBERS, PARTITION, canonical_key, cluster_key, decode, encode, explain_key,
    member_key, number_key, totals_key,
};
use crate::dedup::view::{Decision, DecisionKind};

/// What an explain record takes from the search.
#[derive(Debug)]
pub(super) struct Explained {
    pub(super) num_indexed: u64,
    pub(super) is_exact: bool,
    pub(super) num_candidates: u32,
    pub(super) num_recent: u32,
    pub(super) num_scored: u32,
    pub(super) candidates: Vec<ScoredCandidate>,
    pub(super) matches: Vec<BankMatch>,
}

/// Everything that a batch of decisions changes.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) batch: Batch,
    /// Members that joined in this batch, by cluster.
    members: HashMap<ImageId, Vec<(ImageNumber, MemberRecord)>>,
    pub(super) totals: Totals,
    pub(super) writes: Vec<Write>,
    pub(super) banks: std::sync::Arc<BankSet>,
    pub(super) guards: Guards,
    pub(super) marks: Marks,
    decisions: Vec<Decision>,
    /// Decisions that stand in the log already.
    repeated: Vec<Decision>,
    reviews: Vec<ReviewRecord>,
}

impl Changes {
    /// Reads where the shard stands. Read anew for every batch, and the index brought up to it, so
    /// that an attempt whose outcome is unknown leaves nothing behind in memory.
    pub(super) async fn begin(stage: &AssignStage) -> Result<Self, EngineError> {
        let totals = totals(stage.state.as_ref()).await?;
        stage
            .index
            .settle(stage.state.as_ref(), totals.images)
            .await?;
        Ok(Self {
            batch: Batch {
                records: HashMap::new(),
                clusters: HashMap::new(),
                index: Recent::new(stage.dim, stage.limit, u64::MAX),
                views: RecentViews::new(stage.dim, stage.limit, u64::MAX, stage.scorer.views()),
            },
            members: HashMap::new(),
            banks: stage
                .banks
                .current(stage.state.as_ref(), totals.bank_changes)
                .await?,
            guards: Guards::default(),
            marks: Marks::default(),
            totals,
            writes: Vec::new(),
            decisions: Vec::new(),
            repeated: Vec::new(),
            reviews: Vec::new(),
        })
    }

    /// Notes a pair for review if its score says little: the image and the best head that it was compared
    /// with. To be called before the image is [assigned](Self::assign).
    pub(super) fn review(
        &mut self,
        stage: &AssignStage,
        upload: &UploadEvent,
        scored: &[ScoredCandidate],
        verdict: &Verdict,
    ) {
        let is_head = |candidate: &&ScoredCandidate| candidate.id == candidate.head;
        let Some(head) = scored.iter().find(is_head) else {
            return;
        };
        // Of equal bytes there is nothing to ask, whatever they score with the head.
        let has_twin = scored.iter().any(|candidate| candidate.exact_copy);
        let Some(uncertainty) = stage.grey.uncertainty(head.score).filter(|_| !has_twin) else {
            return;
        };
        self.reviews.push(ReviewRecord {
            image: upload.id.clone(),
            number: self.totals.next_number(),
            head: head.id.clone(),
            candidate: head.clone(),
            joined: matches!(verdict, Verdict::Join { .. }),
            threshold: stage.scorer.threshold(),
            scorer: stage.scorer.id(),
            uncertainty,
            uploaded: upload.uploaded,
        });
    }

    /// Puts what was noted for review into the queue.
    pub(super) async fn queue_reviews(&mut self, stage: &AssignStage) -> Result<(), EngineError> {
        let new = std::mem::take(&mut self.reviews);
        let max_open = stage.grey.max_open;
        let writes = enqueue(stage.state.as_ref(), &mut self.totals, new, max_open).await?;
        self.writes.extend(writes);
        Ok(())
    }

    /// Adds rows that go with the batch.
    pub(super) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    pub(super) fn reject(
        &mut self,
        event: ScoreEvent,
        generation: Generation,
        recorded: Option<Decision>,
    ) {
        self.totals.rejected += 1;
        if let Some(recorded) = recorded {
            return self.repeat(&event.upload.id, recorded);
        }
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
            is_head: false,
            rejection: event.rejection,
        };
        self.record(&event.upload.id, decision);
    }

    pub(super) async fn assign(
        &mut self,
        stage: &AssignStage,
        upload: &UploadEvent,
        subject: &Subject,
        guarded: Guarded,
        explained: Explained,
        recorded: Option<Decision>,
    ) -> Result<(), EngineError> {
        let number = self.totals.next_number();
        self.marks.is_replay = recorded.is_some();
        if let Some(recorded) = &recorded {
            check_number(&upload.id, recorded.number, number)?;
        }
        let now = match &recorded {
            Some(recorded) => Timestamp(recorded.decided_ms),
            None => Timestamp::now(),
        };
        let (kind, head, score, exact_copy, rule) = match guarded.verdict.clone() {
            Verdict::Join {
                cluster,
                score,
                exact_copy,
                rule,
            } => (DecisionKind::Joined, cluster, score, exact_copy, rule),
            Verdict::Found { rule } => (
                DecisionKind::NewCluster,
                upload.id.clone(),
                1.0,
                false,
                rule,
            ),
        };
        let matches = self
            .add_matches(stage, &upload.id, number, explained.matches, now)
            .await?;
        let cluster = self
            .grow(stage, &head, number, now, Some((upload, &guarded)))
            .await?;
        let record = NumberRecord {
            id: upload.id.clone(),
            head: head.clone(),
            head_number: cluster.first_number,
            uploaded: upload.uploaded,
            sha256: upload.sha256,
            pdq: subject.signature.pdq,
            pdq_quality: subject.signature.pdq_quality,
            flatness: subject.signature.flatness,
            embedding: subject.signature.embedding.clone(),
            width: subject.signature.width,
            height: subject.signature.height,
            views: subject.signature.views.clone(),
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
            scorer: stage.scorer.id(),
            model: stage.model.clone(),
            num_indexed: explained.num_indexed,
            is_exact: explained.is_exact,
            num_candidates: explained.num_candidates,
            num_recent: explained.num_recent,
            num_scored: explained.num_scored,
            candidates: explained.candidates,
            bank_matches: matches,
            held_by: match guarded.guard {
                Guard::Held { by } => Some(by),
                _ => None,
            },
        };
        let is_head = match &recorded {
            Some(recorded) => recorded.is_head,
            None => {
                self.is_preferred(stage, &head, &cluster, subject, &record, &member, number)
                    .await?
            }
        };
        if is_head {
            self.lead(&head, &upload.id, number);
        }
        self.totals.images += 1;
        self.writes.extend([
            Write::Put(number_key(number), encode(&record)),
            Write::Put(member_key(&head, number), encode(&member)),
            Write::Put(explain_key(&upload.id), encode(&explain)),
        ]);
        let members = self.members.entry(head.clone()).or_default();
        members.push((number, member));
        self.batch.index.insert(number, &record.bf16()?)?;
        self.batch.views.insert(number, &record)?;
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
            is_head,
            rejection: None,
        };
        match recorded {
            Some(recorded) => self.repeat(&upload.id, recorded),
            None => self.record(&upload.id, decision),
        }
        Ok(())
    }

    /// Adds one image to the cluster of `head`, creating it if the image is the head, and moves the
    /// cluster in the lists by size and by time. Without `image` a placeholder joins, which is not watched.
    async fn grow(
        &mut self,
        stage: &AssignStage,
        head: &ImageId,
        number: ImageNumber,
        now: Timestamp,
        image: Option<(&UploadEvent, &Guarded)>,
    ) -> Result<ClusterRecord, EngineError> {
        let before = match self.batch.clusters.get(head) {
            Some(cluster) => Some(cluster.clone()),
            None => match stage.state.get(&cluster_key(head)).await? {
                Some(row) => Some(decode::<ClusterRecord>("clusters", &row)?),
                None => None,
            },
        };
        let cluster = match before {
            None => {
                self.totals.clusters += 1;
                let mut founded = ClusterRecord::new(number, now);
                if let Some((_, guarded)) = image {
                    self.found_guarded(&mut founded, head, number, guarded, now);
                }
                founded
            }
            Some(before) => {
                self.writes.extend(unlist(&before));
                if before.size == 1 {
                    self.totals.duplicate_clusters += 1;
                }
                let mut grown = ClusterRecord {
                    size: before.size + 1,
                    own: before.own.map(|own| own + 1),
                    updated: now,
                    ..before
                };
                if let Some((upload, guarded)) = image {
                    self.watch(stage, &mut grown, head, upload, guarded.by_bytes);
                }
                grown
            }
        };
        self.writes
            .push(Write::Put(cluster_key(head), encode(&cluster)));
        self.writes.extend(list(head, &cluster));
        self.batch.clusters.insert(head.clone(), cluster.clone());
        Ok(cluster)
    }

    /// Makes an image the head of the cluster that it has just joined.
    fn lead(&mut self, cluster: &ImageId, id: &ImageId, number: ImageNumber) {
        let Some(record) = self.batch.clusters.get_mut(cluster) else {
            return;
        };
        record.set_head(
            cluster,
            Head {
                id: id.clone(),
                number,
            },
        );
        self.writes
            .push(Write::Put(cluster_key(cluster), encode(record)));
        self.totals.has_moved_heads = true;
    }

    /// Whether the keeper rule makes an image the head of the cluster that it has just joined: it is preferred to
    /// the head, and every member scores enough with it. Larger clusters than [`MAX_COMPARED`] keep their head.
    #[expect(clippy::too_many_arguments, reason = "one image, unpacked; private")]
    async fn is_preferred(
        &self,
        stage: &AssignStage,
        id: &ImageId,
        cluster: &ClusterRecord,
        subject: &Subject,
        record: &NumberRecord,
        member: &MemberRecord,
        number: ImageNumber,
    ) -> Result<bool, EngineError> {
        let is_too_large = cluster.size > MAX_COMPARED as u64;
        if stage.keeper == Keeper::First || cluster.size < 2 || is_too_large {
            return Ok(false);
        }
        let mut members = Vec::new();
        for part in std::iter::once(id).chain(&cluster.parts) {
            let partition = bytes::Bytes::copy_from_slice(part.as_bytes());
            let scan = Scan::all(MEMBERS, partition, MAX_COMPARED);
            for row in stage.state.scan(scan).await? {
                let number = row.sort.as_ref().try_into().map_err(|_| {
                    StoreError::corrupt("state", format!("members/{part}"), "not a number")
                })?;
                let number = ImageNumber(u64::from_be_bytes(number));
                members.push((number, decode::<MemberRecord>("members", &row.value)?));
            }
        }
        members.extend(self.members.get(id).into_iter().flatten().cloned());
        let known = Known {
            state: stage.state.as_ref(),
            is_corrected: true,
            batch: Some(&self.batch),
        };
        let numbers: Vec<_> = members.iter().map(|(number, _)| *number).collect();
        let records = known.records(&numbers).await?;
        let head = cluster.head(id).number;
        let rank = |merits: &Merits| stage.keeper.rank(merits);
        let own = rank(&Merits::of(number, member, record));
        for ((other, member), record) in members.iter().zip(&records) {
            let Some(record) = record else { continue };
            let is_head = *other == head;
            if is_head && rank(&Merits::of(*other, member, record)) < own {
                return Ok(false);
            }
            let (score, _) = stage.scorer.score_pair(subject, record).await?;
            if score < stage.scorer.threshold() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes a decision that stands in the log already.
    fn repeat(&mut self, id: &ImageId, decision: Decision) {
        self.writes
            .push(Write::Put(canonical_key(id), encode_decision(&decision)));
        self.repeated.push(decision);
    }

    fn record(&mut self, id: &ImageId, decision: Decision) {
        self.writes
            .push(Write::Put(canonical_key(id), encode_decision(&decision)));
        self.decisions.push(decision);
    }

    pub(super) fn finish(
        self,
        positions: Vec<Position>,
    ) -> (Vec<Decision>, Marks, Vec<(ImageNumber, NumberRecord)>, Step) {
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
        let (more, more_emits) = self.marks.finish();
        writes.extend(more);
        let mut emits = if records.is_empty() {
            Vec::new()
        } else {
            vec![Emit {
                topic: DECISIONS,
                partition: PARTITION,
                records,
            }]
        };
        emits.extend(more_emits);
        let mut decided: Vec<_> = self.batch.records.into_iter().collect();
        decided.sort_unstable_by_key(|(number, _)| *number);
        let step = Step {
            claim: None,
            redactions: Vec::new(),
            writes,
            emits,
            positions,
        };
        let mut all = self.decisions;
        all.extend(self.repeated);
        (all, self.marks, decided, step)
    }
}
