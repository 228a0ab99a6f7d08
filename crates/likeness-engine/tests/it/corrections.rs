use likeness_engine::dedup::view::ClusterOrder;
use likeness_engine::dedup::{Command, CorrectionOutcome, CorrectionView, Dedup, NewCorrection};

use crate::support::{DEADLINE, decide, id, jpeg, memory_ports, start};

/// Asks for a correction and waits for what becomes of it.
async fn correct(dedup: &Dedup, command: Command) -> CorrectionView {
    let correction = NewCorrection {
        id: None,
        author: "reviewer".to_owned(),
        reason: "test".to_owned(),
        command,
    };
    let correction = dedup.correct(correction).await.expect("is accepted");
    dedup
        .wait_for_correction(&correction, DEADLINE)
        .await
        .expect("the pipeline runs")
        .expect("dealt with in time")
}

async fn canonical(dedup: &Dedup, name: &str) -> String {
    let image = dedup.image(&id(name)).await.expect("is stored");
    let decision = image.decision.expect("is decided");
    decision.canonical_id.expect("is in a cluster")
}

#[track_caller]
fn check_refused(view: &CorrectionView, expected: &str) {
    match &view.outcome {
        CorrectionOutcome::Refused { code, message } => {
            assert_eq!(code, expected, "{message}");
        }
        CorrectionOutcome::Applied => panic!("applied, though `{expected}`"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_split_and_undone() {
    let dedup = start(&memory_ports()).await;
    for (name, quality) in [("a", 95), ("b", 80), ("c", 60)] {
        decide(&dedup, name, jpeg(1, quality)).await;
    }
    let split = correct(
        &dedup,
        Command::Split {
            cluster: id("a"),
            members: vec![id("c"), id("b")],
            each_alone: false,
        },
    )
    .await;
    assert_eq!(split.outcome, CorrectionOutcome::Applied);
    assert_eq!(canonical(&dedup, "a").await, "a");
    assert_eq!(canonical(&dedup, "b").await, "b");
    assert_eq!(canonical(&dedup, "c").await, "b");
    let cluster = dedup.cluster(&id("b"), None, 10).await.unwrap();
    let members: Vec<_> = cluster.members.iter().map(|m| m.id.as_str()).collect();
    assert_eq!(members, ["b", "c"]);
    assert!(
        cluster.members[1].score > 0.5,
        "scored against its new head"
    );
    assert_eq!(dedup.overview().await.unwrap().clusters, 2);

    // They must never be together again, whoever asks.
    let merge = correct(
        &dedup,
        Command::Merge {
            into: id("a"),
            from: id("b"),
        },
    )
    .await;
    check_refused(&merge, "never_together");

    let undo = Command::Undo {
        correction: split.sequence,
    };
    let undone = correct(&dedup, undo.clone()).await;
    assert_eq!(undone.outcome, CorrectionOutcome::Applied);
    assert_eq!(canonical(&dedup, "c").await, "a");
    assert_eq!(dedup.overview().await.unwrap().clusters, 1);
    check_refused(&correct(&dedup, undo).await, "already_undone");

    let history = dedup.corrections_of(&id("c"), 10).await.unwrap();
    assert_eq!(history.len(), 1, "the undoing names no image");
    assert_eq!(history[0].undone_by, Some(undone.sequence));
    let page = dedup.corrections(None, 2).await.unwrap();
    assert_eq!(page.items.len(), 2);
    let rest = dedup.corrections(page.next.as_deref(), 10).await.unwrap();
    let sequences: Vec<_> = page
        .items
        .iter()
        .chain(&rest.items)
        .map(|c| c.sequence)
        .collect();
    assert_eq!(sequences, [3, 2, 1, 0]);
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_redirects_the_old_canonical_id_and_new_copies_follow() {
    let ports = memory_ports();
    let dedup = start(&ports).await;
    for (name, seed) in [("a", 1), ("a2", 1), ("b", 2), ("b2", 2)] {
        decide(&dedup, name, jpeg(seed, 95 - name.len() as u8)).await;
    }
    let merge = correct(
        &dedup,
        Command::Merge {
            into: id("a"),
            from: id("b"),
        },
    )
    .await;
    assert_eq!(merge.outcome, CorrectionOutcome::Applied);
    assert_eq!(canonical(&dedup, "b2").await, "a");
    // A page of one, from part to part; and the old canonical id still leads there.
    let (mut cursor, mut members) = (None::<String>, Vec::new());
    loop {
        let page = dedup.cluster(&id("b"), cursor.as_deref(), 1).await.unwrap();
        assert_eq!((page.head.as_str(), page.size), ("a", 4));
        members.extend(page.members.into_iter().map(|member| member.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(members, ["a", "a2", "b", "b2"]);
    let list = dedup
        .clusters(ClusterOrder::Biggest, 1, None, 10)
        .await
        .unwrap();
    assert_eq!(list.items.len(), 1);

    // With another head, copies of that one join; the canonical id stays.
    let rehead = Command::ReHead {
        cluster: id("a"),
        head: id("b"),
    };
    let rehead = correct(&dedup, rehead).await;
    assert_eq!(rehead.outcome, CorrectionOutcome::Applied);
    let joined = decide(&dedup, "b3", jpeg(2, 50)).await;
    assert_eq!(joined.canonical_id.as_deref(), Some("a"));
    let page = dedup.cluster(&id("a"), None, 10).await.unwrap();
    assert_eq!((page.shown.as_deref(), page.size), (Some("b"), 5));

    // The head came with the merge, so the merge cannot be undone before.
    let undo = |correction| Command::Undo { correction };
    let refused = correct(&dedup, undo(merge.sequence)).await;
    check_refused(&refused, "superseded");
    correct(&dedup, undo(rehead.sequence)).await;
    let undone = correct(&dedup, undo(merge.sequence)).await;
    assert_eq!(undone.outcome, CorrectionOutcome::Applied);
    assert_eq!(canonical(&dedup, "b2").await, "b");
    dedup.shutdown().await;

    let reopened = start(&ports).await;
    assert_eq!(canonical(&reopened, "b").await, "b");
    assert_eq!(reopened.corrections(None, 10).await.unwrap().items.len(), 5);
    reopened.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_are_kept_apart_and_together_and_contradictions_are_refused() {
    let dedup = start(&memory_ports()).await;
    decide(&dedup, "a", jpeg(1, 95)).await;
    decide(&dedup, "b", jpeg(1, 60)).await;
    decide(&dedup, "c", jpeg(2, 95)).await;
    let never = |a: &str, b: &str| Command::NeverTogether { a: id(a), b: id(b) };
    let always = |a: &str, b: &str| Command::AlwaysTogether { a: id(a), b: id(b) };

    // The head stays, whichever way it is said.
    let apart = correct(&dedup, never("b", "a")).await;
    assert_eq!(apart.outcome, CorrectionOutcome::Applied);
    assert_eq!(canonical(&dedup, "b").await, "b");
    check_refused(
        &correct(&dedup, always("a", "b")).await,
        "conflicting_constraint",
    );
    check_refused(&correct(&dedup, never("a", "b")).await, "already_so");

    correct(&dedup, always("c", "a")).await;
    assert_eq!(canonical(&dedup, "c").await, "a");
    check_refused(&correct(&dedup, always("c", "b")).await, "never_together");
    check_refused(&correct(&dedup, never("a", "nobody")).await, "not_decided");
    check_refused(&correct(&dedup, never("a", "a")).await, "same_image");
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_is_accepted_once_and_its_id_is_its_own() {
    let dedup = start(&memory_ports()).await;
    decide(&dedup, "a", jpeg(1, 95)).await;
    decide(&dedup, "b", jpeg(2, 95)).await;
    let new = |reason: &str| NewCorrection {
        id: Some(id("my-correction")),
        author: "reviewer".to_owned(),
        reason: reason.to_owned(),
        command: Command::AlwaysTogether {
            a: id("a"),
            b: id("b"),
        },
    };
    for _ in 0..3 {
        dedup.correct(new("one advert")).await.unwrap();
    }
    let other = dedup.correct(new("another reason")).await.unwrap_err();
    assert_eq!(other.code(), "invalid_parameter");
    let empty = dedup.correct(new("")).await.unwrap_err();
    assert_eq!(empty.code(), "invalid_parameter");
    dedup.drain().await.unwrap();
    let done = dedup.corrections(None, 10).await.unwrap();
    assert_eq!(done.items.len(), 1);
    assert_eq!(done.items[0].id, "my-correction");
    assert_eq!(done.items[0].outcome, CorrectionOutcome::Applied);
    let unknown = dedup.wait_for_correction(&id("x"), DEADLINE).await;
    assert!(unknown.is_err());
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sorting_anew_keeps_what_is_right_and_what_people_asked_for() {
    let dedup = start(&memory_ports()).await;
    for (name, seed) in [("a", 1), ("a2", 1), ("b", 2), ("b2", 2), ("c", 3)] {
        decide(&dedup, name, jpeg(seed, 95 - 5 * name.len() as u8)).await;
    }
    let found = dedup.recluster().await.unwrap();
    assert_eq!((found.images, found.pairs), (5, 2));
    assert_eq!((found.clusters_now, found.clusters_then), (3, 3));
    assert_eq!(found.moves, []);

    // A merge and a split stay, with all their members.
    let merge = Command::Merge {
        into: id("a"),
        from: id("b"),
    };
    correct(&dedup, merge).await;
    let found = dedup.recluster().await.unwrap();
    assert_eq!((found.clusters_now, found.clusters_then), (2, 2));
    assert_eq!(found.moved, 0);
    let apart = Command::NeverTogether {
        a: id("a"),
        b: id("a2"),
    };
    let apart = correct(&dedup, apart).await;
    assert_eq!(apart.outcome, CorrectionOutcome::Applied);
    let found = dedup.recluster().await.unwrap();
    assert_eq!((found.clusters_now, found.clusters_then), (3, 3));
    assert_eq!(found.moved, 0);

    // Once that is undone, nothing keeps them apart.
    let undone = Command::Undo {
        correction: apart.sequence,
    };
    correct(&dedup, undone).await;
    assert_eq!(dedup.recluster().await.unwrap().clusters_then, 2);
    dedup.shutdown().await;
}
