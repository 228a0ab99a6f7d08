//! The cluster rule (docs/adr/003-star-clusters.md), as a pure function.
//!
//! Clusters are stars: an image joins the head with the highest score at or above the threshold,
//! and is compared with heads only, so no chain can grow. Between heads of equal score the one with
//! the higher cosine wins, then the one stored first, then the smaller id.
//! A head moves by a correction alone, which says why.

use likeness_core::{ImageId, ImageNumber};

use super::records::ScoredCandidate;

/// What the rule says about an image.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// It joins the cluster of a head.
    Join {
        /// Canonical id of the cluster.
        cluster: ImageId,
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

/// Mentions an image in the words of a rule, which are kept: by its number, so that nothing else is left of it
/// there when it is erased.
fn mention(number: ImageNumber) -> String {
    format!("{{{number}}}")
}

/// Returns the words before and after the image that a rule mentions, and its number.
fn around(rule: &str) -> Option<(&str, ImageNumber, &str)> {
    let (before, rest) = rule.split_once('{')?;
    let (number, after) = rest.split_once('}')?;
    Some((before, ImageNumber(number.parse().ok()?), after))
}

/// Returns the number of the image that the words of a rule mention, if they do.
pub(super) fn mentioned(rule: &str) -> Option<ImageNumber> {
    around(rule).map(|(_, number, _)| number)
}

/// Returns the words of a rule with what `name` makes of the image that they mention.
pub(super) fn with_names(rule: &str, name: impl Fn(ImageNumber) -> String) -> String {
    match around(rule) {
        Some((before, number, after)) => format!("{before}{}{after}", name(number)),
        None => rule.to_owned(),
    }
}

/// Applies the rule. `scored` is in the order of [`super::pairs::sort_best_first`], and holds the
/// head of every candidate in it.
pub(super) fn decide(scored: &[ScoredCandidate], threshold: f32) -> Verdict {
    // The same bytes must get the same canonical id, whatever the scorer says by now.
    if let Some(twin) = scored.iter().find(|candidate| candidate.exact_copy)
        && let Some(head) = scored.iter().find(|candidate| candidate.id == twin.head)
    {
        return Verdict::Join {
            cluster: head.cluster.as_ref().unwrap_or(&head.id).clone(),
            score: head.score,
            exact_copy: head.exact_copy,
            rule: format!(
                "has the same bytes as {}, and joins its head",
                mention(twin.number)
            ),
        };
    }
    let best = scored
        .iter()
        .find(|candidate| candidate.id == candidate.head);
    match best {
        Some(head) if head.score >= threshold => Verdict::Join {
            cluster: head.cluster.as_ref().unwrap_or(&head.id).clone(),
            score: head.score,
            exact_copy: head.exact_copy,
            rule: format!(
                "joins the head with the highest score, {:.4}, which is at or above the threshold of {threshold:.4}",
                head.score
            ),
        },
        Some(head) => Verdict::Found {
            rule: format!(
                "no head reaches the threshold of {threshold:.4}; the best, {}, scores {:.4}",
                mention(head.number),
                head.score
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
            cluster: None,
            uploaded: Timestamp(uploaded),
            source: CandidateSource::Index,
            cosine: score,
            pdq_distance: 0,
            pdq_quality: 100,
            flat_percent: 0,
            exact_copy: false,
            score,
            view: None,
            first_score: None,
            look: None,
        }
    }

    #[track_caller]
    fn check(mut scored: Vec<ScoredCandidate>, expected: Option<&str>) {
        sort_best_first(&mut scored);
        let head = match decide(&scored, 0.5) {
            Verdict::Join { cluster, .. } => Some(cluster.to_string()),
            Verdict::Found { .. } => None,
        };
        assert_eq!(head.as_deref(), expected);
    }

    #[test]
    fn the_words_of_a_rule_mention_an_image_by_number() {
        let scored = [candidate("best", "best", 0.3, 0)];
        let Verdict::Found { rule } = decide(&scored, 0.5) else {
            panic!("joined below the threshold");
        };
        assert_eq!(mentioned(&rule), Some(ImageNumber(0)));
        assert!(!rule.contains("best`"), "{rule}");
        let named = with_names(&rule, |number| format!("`i{number}`"));
        assert!(named.contains("the best, `i0`, scores 0.3000"), "{named}");
        for other in ["no image", "{not a number}", "{1"] {
            assert_eq!(mentioned(other), None);
            assert_eq!(with_names(other, |_| String::new()), other);
        }
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

    /// Decides one image after the other, on a line: the nearer, the higher the score. Returns heads.
    fn star_cover(positions: &[u8], threshold: f32) -> Vec<usize> {
        let score = |a: usize, b: usize| {
            1.0 - f32::from(positions[a].abs_diff(positions[b])) / f32::from(u8::MAX)
        };
        let name = |idx: usize| format!("i{idx:03}");
        let mut heads: Vec<usize> = Vec::new();
        for idx in 0..positions.len() {
            let mut scored: Vec<_> = (0..idx)
                .map(|other| {
                    let head = name(heads[other]);
                    candidate(&name(other), &head, score(idx, other), other as u64)
                })
                .collect();
            sort_best_first(&mut scored);
            heads.push(match decide(&scored, threshold) {
                Verdict::Join { cluster, .. } => cluster.as_str()[1..].parse().unwrap(),
                Verdict::Found { .. } => idx,
            });
        }
        heads
    }

    proptest! {
        #[test]
        fn no_chain_grows_through_a_slow_morph_a_hub_or_ties(
            positions in proptest::collection::vec(any::<u8>(), 1..60),
            step in 1u8..20,
            is_morph in any::<bool>(),
        ) {
            let positions: Vec<u8> = if is_morph {
                (0..=u8::MAX).step_by(usize::from(step)).collect()
            } else {
                // Few places: hubs and ties.
                positions.iter().map(|position| position / 32 * 32).collect()
            };
            let threshold = 0.9;
            let heads = star_cover(&positions, threshold);
            for (idx, &head) in heads.iter().enumerate() {
                prop_assert_eq!(heads[head], head, "a head is in its own cluster");
                let gap = f32::from(positions[idx].abs_diff(positions[head]));
                prop_assert!(1.0 - gap / f32::from(u8::MAX) >= threshold);
            }
        }

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
