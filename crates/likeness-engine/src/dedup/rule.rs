//! The cluster rule (docs/adr/003-star-clusters.md), as a pure function.
//!
//! Clusters are stars: an image joins the head with the highest score at or above the threshold,
//! and is compared with heads only, so no chain can grow. Between heads of equal score the one with
//! the higher cosine wins, then the one stored first, then the smaller id. A head never moves, so a decision once made stays true.

use likeness_core::ImageId;

use super::records::ScoredCandidate;

/// What the rule says about an image.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// It joins the cluster of this head.
    Join {
        /// The head.
        head: ImageId,
        /// Score against the head.
        score: f32,
        /// Whether the bytes are those of the head.
        exact_copy: bool,
        /// The rule, in words.
        rule: String,
    },
    /// It is the head of a new cluster.
    Found {
        /// The rule, in words.
        rule: String,
    },
}

/// Applies the rule. `scored` is in the order of [`super::pairs::sort_best_first`], and holds the
/// head of every candidate in it.
pub(super) fn decide(scored: &[ScoredCandidate], threshold: f32) -> Verdict {
    // The same bytes must get the same canonical id, whatever the scorer says by now.
    if let Some(twin) = scored.iter().find(|candidate| candidate.exact_copy)
        && let Some(head) = scored.iter().find(|candidate| candidate.id == twin.head)
    {
        return Verdict::Join {
            head: head.id.clone(),
            score: head.score,
            exact_copy: head.exact_copy,
            rule: format!("has the same bytes as `{}`, and joins its head", twin.id),
        };
    }
    let best = scored
        .iter()
        .find(|candidate| candidate.id == candidate.head);
    match best {
        Some(head) if head.score >= threshold => Verdict::Join {
            head: head.id.clone(),
            score: head.score,
            exact_copy: head.exact_copy,
            rule: format!(
                "joins the head with the highest score, {:.4}, which is at or above the threshold of {threshold:.4}",
                head.score
            ),
        },
        Some(head) => Verdict::Found {
            rule: format!(
                "no head reaches the threshold of {threshold:.4}; the best, `{}`, scores {:.4}",
                head.id, head.score
            ),
        },
        None => Verdict::Found {
            rule: "nothing came near enough to be compared".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use likeness_core::{ImageNumber, Timestamp};
    use proptest::prelude::*;

    use super::super::pairs::sort_best_first;
    use super::super::view::CandidateSource;
    use super::*;

    fn candidate(id: &str, head: &str, score: f32, uploaded: u64) -> ScoredCandidate {
        ScoredCandidate {
            number: ImageNumber(0),
            id: ImageId::new(id).unwrap(),
            head: ImageId::new(head).unwrap(),
            head_number: None,
            uploaded: Timestamp(uploaded),
            source: CandidateSource::Index,
            cosine: score,
            pdq_distance: 0,
            pdq_quality: 100,
            flat_percent: 0,
            exact_copy: false,
            score,
        }
    }

    #[track_caller]
    fn check(mut scored: Vec<ScoredCandidate>, expected: Option<&str>) {
        sort_best_first(&mut scored);
        let head = match decide(&scored, 0.5) {
            Verdict::Join { head, .. } => Some(head.to_string()),
            Verdict::Found { .. } => None,
        };
        assert_eq!(head.as_deref(), expected);
    }

    #[test]
    fn founds_a_cluster_when_nothing_is_near() {
        check(vec![], None);
        check(vec![candidate("a", "a", 0.49, 0)], None);
    }

    #[test]
    fn never_joins_through_a_member() {
        check(
            vec![
                candidate("member", "h", 0.9, 0),
                candidate("h", "h", 0.3, 0),
            ],
            None,
        );
    }

    #[test]
    fn prefers_the_higher_score_then_cosine_then_the_older_then_the_smaller_id() {
        check(
            vec![candidate("a", "a", 0.6, 1), candidate("b", "b", 0.7, 9)],
            Some("b"),
        );
        check(
            vec![candidate("a", "a", 0.7, 9), candidate("b", "b", 0.7, 1)],
            Some("b"),
        );
        check(
            vec![candidate("b", "b", 0.7, 1), candidate("a", "a", 0.7, 1)],
            Some("a"),
        );
    }

    #[test]
    fn equal_bytes_share_a_head_even_below_the_threshold() {
        let mut twin = candidate("twin", "h", 1.0, 5);
        twin.exact_copy = true;
        check(
            vec![
                twin,
                candidate("h", "h", 0.2, 0),
                candidate("x", "x", 0.9, 0),
            ],
            Some("h"),
        );
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_of_candidates_does_not_matter(
            scores in proptest::collection::vec((0u8..4, 0u64..3), 1..12),
            rotate in 0usize..12,
        ) {
            let heads: Vec<_> = scores
                .iter()
                .enumerate()
                .map(|(i, &(score, time))| {
                    let id = format!("h{i}");
                    candidate(&id, &id, f32::from(score) / 4.0, time)
                })
                .collect();
            let mut one = heads.clone();
            let mut two = heads;
            let by = rotate % two.len();
            two.rotate_left(by);
            sort_best_first(&mut one);
            sort_best_first(&mut two);
            prop_assert_eq!(decide(&one, 0.5), decide(&two, 0.5));
        }
    }
}
