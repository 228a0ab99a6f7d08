//! What stands between the cluster rule and a cluster: negative banks, and clusters under quarantine.
//!
//! [`decide`] knows scores alone. Here what may not attract is taken out of its sight, and what it says is held
//! back where a cluster is under quarantine:
//!
//! 1. What matches a negative bank founds a cluster of its own, whatever it scores and whosever bytes it has.
//! 2. A cluster founded so attracts nothing, not even equal bytes.
//! 3. A cluster whose first image is held attracts nothing but equal bytes. What is near it is compared with the
//!    head that holds it, so that a flood of held images cannot hide that head behind themselves.
//! 4. An image that would join a cluster under quarantine by score is held: it founds a cluster of its own.

use std::collections::{BTreeSet, HashMap};

use likeness_core::{ImageId, StoreError, StoreResult};

use super::banks::BankMatch;
use super::flood::Guard;
use super::pairs::{Done, Known, PairScorer, Subject, sort_best_first};
use super::records::{ClusterRecord, Head, ScoredCandidate};
use super::rule::{Verdict, decide};
use super::tables::{cluster_key, decode};
use super::view::{CandidateSource, Decision, DecisionKind};
use crate::EngineError;

/// A verdict, and what stood in its way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Guarded {
    pub(super) verdict: Verdict,
    /// Whether it joins since its bytes are those of a member.
    pub(super) by_bytes: bool,
    /// How the cluster that it founds stands towards images that come.
    pub(super) guard: Guard,
    /// Score with the head that it would have joined, if it is held.
    pub(super) held_score: Option<f32>,
}

impl Guarded {
    /// Puts what the log says was decided in place of the verdict. What it founds stands towards others as it was
    /// weighed now.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the image was rejected when it was decided.
    pub(super) fn repeating(self, recorded: &Decision) -> Result<Self, EngineError> {
        let Some(cluster) = recorded.canonical_id.clone() else {
            return Err(StoreError::corrupt(
                "log",
                format!("decisions/{}", recorded.id),
                "rejected when it was decided, and can be decoded now",
            )
            .into());
        };
        let (own, is_founded) = match self.verdict {
            Verdict::Join { rule, .. } => (rule, false),
            Verdict::Found { rule } => (rule, true),
        };
        Ok(match recorded.kind {
            DecisionKind::Joined => Self {
                verdict: Verdict::Join {
                    cluster: ImageId::new(cluster)?,
                    score: recorded.score.unwrap_or(0.0),
                    exact_copy: recorded.exact_copy,
                    rule: if is_founded { repeated() } else { own },
                },
                by_bytes: recorded.exact_copy,
                guard: Guard::Open,
                held_score: None,
            },
            DecisionKind::NewCluster | DecisionKind::Rejected => Self {
                verdict: Verdict::Found {
                    rule: if is_founded { own } else { repeated() },
                },
                by_bytes: false,
                ..self
            },
        })
    }
}

/// Why a decision stands that would be another one now.
fn repeated() -> String {
    "repeated as it stands in the log of decisions".to_owned()
}

/// What is known of clusters while images are decided.
#[derive(Debug, Default)]
pub(super) struct Guards(HashMap<ImageId, Seen>);

#[derive(Debug, Clone)]
struct Seen {
    guard: Guard,
    head: Head,
    merged_into: Option<ImageId>,
}

impl Seen {
    fn of(id: &ImageId, cluster: &ClusterRecord) -> Self {
        Self {
            guard: cluster.guard.clone(),
            head: cluster.head(id),
            merged_into: cluster.merged_into.clone(),
        }
    }
}

/// What an image is weighed with.
#[derive(Debug)]
pub(super) struct Weighing<'a> {
    pub(super) scorer: &'a PairScorer,
    pub(super) subject: &'a Subject,
    pub(super) known: &'a Known<'a>,
    /// Clusters that the batch at hand has changed.
    pub(super) pending: &'a HashMap<ImageId, ClusterRecord>,
    /// Whether there has ever been a cluster that does not take images as others do.
    pub(super) has_guards: bool,
}

impl Weighing<'_> {
    /// Returns the verdict about an image. `scored` is in the order of [`sort_best_first`] and holds the head of
    /// every candidate in it; heads that hold candidates are added.
    ///
    /// # Errors
    /// If a store fails.
    pub(super) async fn verdict(
        &self,
        scored: &mut Vec<ScoredCandidate>,
        matches: &[BankMatch],
        guards: &mut Guards,
    ) -> StoreResult<Guarded> {
        if let Some(BankMatch { view, .. }) = matches.iter().find(|found| found.view.negative) {
            let rule = format!(
                "negative_bank: scores {:.4} with the reference `{}` of the negative bank `{}`, at or above its threshold of {:.4}; it stays alone, and nothing joins it",
                view.score, view.reference, view.bank, view.threshold
            );
            return Ok(Guarded {
                verdict: Verdict::Found { rule },
                by_bytes: false,
                guard: Guard::Negative {
                    bank: view.bank.clone(),
                },
                held_score: None,
            });
        }
        let threshold = self.scorer.threshold();
        let open = |verdict, by_bytes| Guarded {
            verdict,
            by_bytes,
            guard: Guard::Open,
            held_score: None,
        };
        if !self.has_guards {
            let verdict = decide(scored, threshold);
            let by_bytes = joins_by_bytes(&verdict, scored);
            return Ok(open(verdict, by_bytes));
        }
        self.read(&near(scored, threshold), guards).await?;
        self.add_holders(scored, guards).await?;
        let twins: BTreeSet<ImageId> = scored
            .iter()
            .filter(|candidate| candidate.exact_copy)
            .map(|candidate| cluster_of(candidate).clone())
            .collect();
        let attracting: Vec<ScoredCandidate> = scored
            .iter()
            .filter(|candidate| {
                let cluster = cluster_of(candidate);
                match self.guard(cluster, guards) {
                    Guard::Negative { .. } => false,
                    Guard::Held { .. } => twins.contains(cluster),
                    Guard::Open | Guard::Lifted | Guard::Quarantined { .. } => true,
                }
            })
            .cloned()
            .collect();
        let verdict = decide(&attracting, threshold);
        let by_bytes = joins_by_bytes(&verdict, &attracting);
        let Verdict::Join { cluster, score, .. } = &verdict else {
            return Ok(open(verdict, false));
        };
        let is_quarantined = matches!(self.guard(cluster, guards), Guard::Quarantined { .. });
        if by_bytes || !is_quarantined {
            return Ok(open(verdict, by_bytes));
        }
        let rule = format!(
            "held: the best head scores {score:.4}, but its cluster is under quarantine; the image founds a cluster of its own until a person decides"
        );
        Ok(Guarded {
            by_bytes: false,
            guard: Guard::Held {
                by: cluster.clone(),
            },
            held_score: Some(*score),
            verdict: Verdict::Found { rule },
        })
    }

    /// Scores the heads that hold a near candidate and are not among those scored.
    async fn add_holders(
        &self,
        scored: &mut Vec<ScoredCandidate>,
        guards: &mut Guards,
    ) -> StoreResult<()> {
        let mut holders = BTreeSet::new();
        for candidate in scored.iter() {
            if let Guard::Held { by } = self.guard(cluster_of(candidate), guards) {
                holders.insert(by);
            }
        }
        if holders.is_empty() {
            return Ok(());
        }
        self.read(&holders, guards).await?;
        // A merge by hand may have put the holder into another cluster.
        let wholes: BTreeSet<ImageId> = holders
            .into_iter()
            .map(|holder| match self.cluster(&holder, guards) {
                Some(Seen {
                    merged_into: Some(into),
                    ..
                }) => into,
                _ => holder,
            })
            .collect();
        self.read(&wholes, guards).await?;
        let present: BTreeSet<_> = scored.iter().map(|candidate| candidate.number).collect();
        let mut heads: Vec<_> = wholes
            .iter()
            .filter_map(|whole| self.cluster(whole, guards))
            .map(|cluster| cluster.head.number)
            .filter(|number| !present.contains(number))
            .map(|number| (number, CandidateSource::Head))
            .collect();
        heads.sort_unstable_by_key(|(number, _)| *number);
        heads.dedup_by_key(|(number, _)| *number);
        let more = self
            .scorer
            .assess(self.subject, &heads, Done::default(), self.known)
            .await?;
        scored.extend(more);
        sort_best_first(scored);
        Ok(())
    }

    fn cluster(&self, id: &ImageId, guards: &Guards) -> Option<Seen> {
        match self.pending.get(id) {
            Some(cluster) => Some(Seen::of(id, cluster)),
            None => guards.0.get(id).cloned(),
        }
    }

    fn guard(&self, id: &ImageId, guards: &Guards) -> Guard {
        self.cluster(id, guards)
            .map_or(Guard::Open, |cluster| cluster.guard)
    }

    async fn read(&self, ids: &BTreeSet<ImageId>, guards: &mut Guards) -> StoreResult<()> {
        let unknown: Vec<&ImageId> = ids
            .iter()
            .filter(|id| !self.pending.contains_key(*id) && !guards.0.contains_key(*id))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = unknown.iter().map(|id| cluster_key(id)).collect();
        let rows = self.known.state.get_many(&keys).await?;
        for (id, row) in unknown.into_iter().zip(rows) {
            if let Some(row) = row {
                let cluster: ClusterRecord = decode("clusters", &row)?;
                guards.0.insert(id.clone(), Seen::of(id, &cluster));
            }
        }
        Ok(())
    }
}

/// Canonical id of a candidate's cluster.
fn cluster_of(candidate: &ScoredCandidate) -> &ImageId {
    candidate.cluster.as_ref().unwrap_or(&candidate.head)
}

/// Returns the clusters whose guard can matter: of heads that score enough, and of equal bytes.
fn near(scored: &[ScoredCandidate], threshold: f32) -> BTreeSet<ImageId> {
    scored
        .iter()
        .filter(|candidate| {
            candidate.exact_copy || (candidate.id == candidate.head && candidate.score >= threshold)
        })
        .map(|candidate| cluster_of(candidate).clone())
        .collect()
}

fn joins_by_bytes(verdict: &Verdict, scored: &[ScoredCandidate]) -> bool {
    let Verdict::Join { cluster, .. } = verdict else {
        return false;
    };
    scored
        .iter()
        .any(|candidate| candidate.exact_copy && cluster_of(candidate) == cluster)
}
