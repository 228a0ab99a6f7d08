use std::sync::Arc;

use likeness_engine::dedup::{
    ChangeKind, Command, CompareOptions, ComparisonVerdict, CorrectionOutcome, CorrectionView,
    Dedup, DedupConfig, NewCorrection, ReviewConfig, ReviewVerdict,
};

use crate::support::{DEADLINE, decide, id, jpeg, memory_ports, start_with};

/// A service whose queue takes every copy that is not of the same bytes.
async fn start() -> Arc<Dedup> {
    let config = DedupConfig {
        review: ReviewConfig {
            low: Some(0.001),
            high: Some(1.0),
            max_open: 10,
        },
        ..DedupConfig::default()
    };
    start_with(&memory_ports(), config).await
}

async fn label(dedup: &Dedup, verdict: ReviewVerdict, correct: bool) -> CorrectionView {
    let (a, b) = (id("a"), id("b"));
    make(
        dedup,
        Command::Label {
            a,
            b,
            verdict,
            correct,
        },
    )
    .await
}

async fn make(dedup: &Dedup, command: Command) -> CorrectionView {
    let correction = NewCorrection {
        id: None,
        author: "reviewer".to_owned(),
        reason: "test".to_owned(),
        command,
    };
    let correction = dedup.correct(correction).await.expect("is accepted");
    let view = dedup.wait_for_correction(&correction, DEADLINE).await;
    let view = view.expect("the pipeline runs");
    let view = view.expect("dealt with in time");
    assert_eq!(view.outcome, CorrectionOutcome::Applied);
    view
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_becomes_a_label_and_the_next_one_wins() {
    let dedup = start().await;
    decide(&dedup, "a", jpeg(1, 95)).await;
    decide(&dedup, "b", jpeg(1, 60)).await;
    let queue = dedup.reviews(None, 10).await.unwrap();
    assert_eq!(queue.items.len(), 1);
    let waiting = &queue.items[0];
    assert_eq!((waiting.a.as_str(), waiting.b.as_str()), ("a", "b"));
    assert!(waiting.joined && waiting.pair == "0-1");
    let pair = waiting.pair.parse().unwrap();
    assert_eq!(dedup.pair(pair).await.unwrap(), (id("a"), id("b")));

    let first = label(&dedup, ReviewVerdict::Different, false).await;
    assert_eq!(dedup.review_counts().await.unwrap(), (0, 1));
    let second = label(&dedup, ReviewVerdict::Same, true).await;
    let labels = dedup.labels(None, 10).await.unwrap().items;
    assert_eq!(labels.len(), 1);
    assert!(labels[0].same && labels[0].correction == second.sequence);
    assert_eq!(labels[0].score, waiting.score);

    for made in [second, first] {
        let correction = made.sequence;
        make(&dedup, Command::Undo { correction }).await;
    }
    assert_eq!(dedup.review_counts().await.unwrap(), (1, 0));
    assert_eq!(dedup.reviews(None, 10).await.unwrap(), queue);
}

/// A scorer that puts nothing together.
fn strict(version: u32) -> String {
    let json = include_str!("../../src/dedup/scorer_v3.json");
    let mut spec: serde_json::Value = serde_json::from_str(json).expect("is JSON");
    spec["version"] = version.into();
    spec["calibration"]["intercept"] = (-200).into();
    spec.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_shows_what_another_scorer_would_change_and_changes_nothing() {
    let dedup = start().await;
    decide(&dedup, "a", jpeg(1, 95)).await;
    decide(&dedup, "b", jpeg(1, 60)).await;
    decide(&dedup, "other", jpeg(2, 95)).await;
    let kept = dedup.add_scorer(&strict(99)).await.unwrap();
    assert_eq!(kept.id, "pairs/99");
    assert!(!kept.is_live);
    assert_eq!(dedup.add_scorer(&strict(99)).await.unwrap(), kept);
    let other = strict(99).replace("-200", "-201");
    let refused = dedup.add_scorer(&other).await.unwrap_err();
    assert!(refused.to_string().contains("another version"), "{refused}");
    let versions = dedup.scorers().await.unwrap();
    assert!(versions.iter().any(|it| it.id == "pairs/99" && it.is_kept));

    let options = CompareOptions {
        candidate: kept.id,
        against: None,
        sample: 100,
        seed: 1,
    };
    let found = dedup.compare_scorers(&options).await.unwrap();
    assert_eq!((found.images, found.sampled, found.skipped), (3, 3, 0));
    assert_eq!((found.join_to_alone, found.unchanged), (1, 2));
    assert_eq!((found.reviews, found.reviews_changed), (1, 1));
    assert_eq!(found.verdict, ComparisonVerdict::TooFewLabels);
    let changed = &found.changed[0];
    assert_eq!(changed.kind, ChangeKind::JoinToAlone);
    assert_eq!((changed.image.as_str(), changed.head.as_str()), ("b", "a"));
    assert!(changed.score_now > 0.5 && changed.score_then < 0.5);
    assert_eq!(found, dedup.compare_scorers(&options).await.unwrap());

    label(&dedup, ReviewVerdict::Same, false).await;
    let found = dedup.compare_scorers(&options).await.unwrap();
    assert_eq!((found.labels, found.against_alone_right), (1, 1));
    assert_eq!(found.candidate.agreement.copies, 1);
    let image = dedup.image(&id("b")).await.unwrap();
    let decision = image.decision.expect("is decided");
    assert_eq!(decision.canonical_id.as_deref(), Some("a"));
}
