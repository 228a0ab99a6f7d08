use super::compare::Judge;
use super::measure::{Agreement, ComparisonVerdict, verdict};
use super::view::{ChangeKind, ChangedDecision, ScorerComparison, ScorerSide};
use crate::dedup::records::ScoredCandidate;
use crate::dedup::rule::Verdict;

/// Changed decisions that are shown.
const MAX_SHOWN: usize = 24;
/// Bars of the histogram of scores.
const N_BARS: usize = 20;

/// A comparison while it is counted.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) comparison: ScorerComparison,
}

impl Tally {
    pub(super) fn new(judges: &[Judge; 2], images: u64, seed: u64) -> Self {
        let [candidate, against] = judges.each_ref().map(|judge| ScorerSide {
            id: judge.scorer.id(),
            threshold: judge.threshold,
            joins: 0,
            histogram: vec![0; N_BARS],
            agreement: Agreement::default(),
        });
        Self {
            comparison: ScorerComparison {
                candidate,
                against,
                seed,
                images,
                sampled: 0,
                skipped: 0,
                unchanged: 0,
                join_to_alone: 0,
                alone_to_join: 0,
                other_head: 0,
                reviews: 0,
                reviews_changed: 0,
                labels: 0,
                candidate_alone_right: 0,
                against_alone_right: 0,
                chance: 1.0,
                verdict: ComparisonVerdict::TooFewLabels,
                changed: Vec::new(),
            },
        }
    }

    pub(super) fn add_decision(
        &mut self,
        image: &str,
        (then, verdict_then): (Vec<ScoredCandidate>, Verdict),
        (now, verdict_now): (Vec<ScoredCandidate>, Verdict),
    ) {
        let comparison = &mut self.comparison;
        comparison.sampled += 1;
        comparison.candidate.note(&then, &verdict_then);
        comparison.against.note(&now, &verdict_now);
        let (kind, joined) = match (&verdict_now, &verdict_then) {
            (Verdict::Join { .. }, Verdict::Found { .. }) => (ChangeKind::JoinToAlone, &now),
            (Verdict::Found { .. }, Verdict::Join { .. }) => (ChangeKind::AloneToJoin, &then),
            (Verdict::Join { cluster: now, .. }, Verdict::Join { cluster, .. })
                if now != cluster =>
            {
                (ChangeKind::OtherHead, &then)
            }
            _ => {
                comparison.unchanged += 1;
                return;
            }
        };
        match kind {
            ChangeKind::JoinToAlone => comparison.join_to_alone += 1,
            ChangeKind::AloneToJoin => comparison.alone_to_join += 1,
            ChangeKind::OtherHead => comparison.other_head += 1,
        }
        let Some(head) = best_head(joined) else {
            return;
        };
        let score_in = |scored: &[ScoredCandidate]| {
            let same = scored.iter().find(|it| it.number == head.number);
            same.map_or(0.0, |it| it.score)
        };
        comparison.changed.push(ChangedDecision {
            kind,
            image: image.to_owned(),
            head: head.id.to_string(),
            score_now: score_in(&now),
            score_then: score_in(&then),
        });
        if comparison.changed.len() > 2 * MAX_SHOWN {
            comparison.keep_shown();
        }
    }

    pub(super) fn add_label(&mut self, [candidate, against]: [bool; 2], is_same: bool) {
        let comparison = &mut self.comparison;
        comparison.labels += 1;
        comparison.candidate.agreement.add(candidate, is_same);
        comparison.against.agreement.add(against, is_same);
        if candidate != against {
            match candidate == is_same {
                true => comparison.candidate_alone_right += 1,
                false => comparison.against_alone_right += 1,
            }
        }
    }

    pub(super) fn close(self) -> ScorerComparison {
        let mut comparison = self.comparison;
        comparison.keep_shown();
        comparison.candidate.agreement.close();
        comparison.against.agreement.close();
        (comparison.verdict, comparison.chance) = verdict(
            comparison.labels,
            comparison.candidate_alone_right,
            comparison.against_alone_right,
        );
        comparison
    }
}

impl ScorerComparison {
    /// Keeps the changed decisions whose scores differ most.
    fn keep_shown(&mut self) {
        let gap = |it: &ChangedDecision| (it.score_then - it.score_now).abs();
        self.changed.sort_by(|a, b| {
            gap(b)
                .total_cmp(&gap(a))
                .then_with(|| a.image.cmp(&b.image))
        });
        self.changed.truncate(MAX_SHOWN);
    }
}

impl ScorerSide {
    fn note(&mut self, scored: &[ScoredCandidate], verdict: &Verdict) {
        self.joins += u64::from(matches!(verdict, Verdict::Join { .. }));
        if let Some(head) = best_head(scored) {
            let bar = (head.score.clamp(0.0, 1.0) * N_BARS as f32) as usize;
            self.histogram[bar.min(N_BARS - 1)] += 1;
        }
    }
}

fn best_head(scored: &[ScoredCandidate]) -> Option<&ScoredCandidate> {
    scored
        .iter()
        .find(|candidate| candidate.id == candidate.head)
}
