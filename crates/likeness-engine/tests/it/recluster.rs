//! Clusters that were scrambled by hand are sorted anew: shown, applied, and taken back.

use std::collections::{BTreeMap, BTreeSet};

use likeness_core::{ImageId, Sha256};
use likeness_engine::dedup::recluster::{ApplyPlan, Reclustered};
use likeness_engine::dedup::view::ClusterOrder;
use likeness_engine::dedup::{
    Command, CorrectionOutcome, CorrectionView, Dedup, NewCorrection, NewErasure,
};

use crate::support::{DEADLINE, decide, id, jpeg, memory_ports, start};

async fn correct(dedup: &Dedup, command: Command) -> CorrectionView {
    let correction = NewCorrection {
        id: None,
        author: "reviewer".to_owned(),
        reason: "test".to_owned(),
        command,
    };
    let accepted = dedup.correct(correction).await.expect("is accepted");
    let view = dedup.wait_for_correction(&accepted, DEADLINE).await;
    view.expect("the pipeline runs")
        .expect("dealt with in time")
}

/// Clusters with their members, and the head that is shown.
async fn clusters(dedup: &Dedup) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let page = dedup.clusters(ClusterOrder::Biggest, 1, None, 500).await;
    let mut found = BTreeMap::new();
    for summary in page.expect("lists").items {
        let head = id(&summary.head);
        let cluster = dedup.cluster(&head, None, 500).await.expect("stands");
        let members = cluster
            .members
            .into_iter()
            .map(|member| member.id)
            .collect();
        let shown = cluster.shown.unwrap_or_else(|| cluster.head.clone());
        found.insert(cluster.head, (shown, members));
    }
    found
}

async fn apply(dedup: &Dedup, plan: &str) -> Result<Reclustered, likeness_engine::EngineError> {
    let plan: Sha256 = plan.parse().expect("a digest");
    let apply = ApplyPlan {
        plan,
        author: "nightly".to_owned(),
        reason: "sorted anew".to_owned(),
    };
    dedup.apply_reclustering(apply).await
}

fn random(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_scrambled_is_sorted_anew_and_can_be_taken_back() {
    for seed in 0..5 {
        let dedup = start(&memory_ports()).await;
        let mut state = seed;
        let mut names: Vec<String> = Vec::new();
        for idx in 0..20u64 {
            let name = format!("f{}-{idx:02}", idx % 4);
            decide(&dedup, &name, jpeg(idx % 4, 95 - idx as u8)).await;
            names.push(name);
        }
        let image = |state: &mut u64| id(&names[random(state) as usize % names.len()]);
        let mut bound = Vec::new();
        for _ in 0..25 {
            let now = clusters(&dedup).await;
            let home = |image: &ImageId| -> Option<ImageId> {
                let (head, _) = now
                    .iter()
                    .find(|(_, (_, members))| members.contains(image.as_str()))?;
                Some(id(head))
            };
            let (a, b) = (image(&mut state), image(&mut state));
            let (Some(at), Some(other)) = (home(&a), home(&b)) else {
                continue;
            };
            let command = match random(&mut state) % 8 {
                0 | 1 => Command::Move {
                    into: None,
                    members: vec![a],
                },
                2 | 3 => Command::Move {
                    into: Some(other),
                    members: vec![a],
                },
                4 => Command::Fold {
                    into: at,
                    from: other,
                },
                5 => Command::ReHead {
                    cluster: at,
                    head: a,
                },
                6 => Command::NeverTogether { a, b },
                _ => Command::AlwaysTogether { a, b },
            };
            let view = correct(&dedup, command.clone()).await;
            if view.outcome == CorrectionOutcome::Applied {
                bound.push(command);
            }
        }
        let gone = image(&mut state);
        let erasure = NewErasure {
            image: gone.clone(),
            author: "owner".to_owned(),
            reason: "asked for it".to_owned(),
        };
        dedup.erase(erasure, DEADLINE).await.expect("is accepted");

        let before = clusters(&dedup).await;
        let shown = dedup.recluster().await.expect("sorts");
        assert_eq!(shown.images, 19);
        assert_eq!(clusters(&dedup).await, before, "showing changes nothing");
        let done = apply(&dedup, &shown.plan).await.expect("applies");
        assert_eq!(done.applied + done.refused, shown.steps, "{done:?}");
        let after = clusters(&dedup).await;
        assert_eq!(
            after
                .values()
                .map(|(_, members)| members.len())
                .sum::<usize>(),
            19
        );
        let together = |a: &ImageId, b: &ImageId| {
            let is_with = |(_, members): &(String, BTreeSet<String>)| {
                members.contains(a.as_str()) && members.contains(b.as_str())
            };
            after.values().any(is_with)
        };
        for command in &bound {
            match command {
                Command::NeverTogether { a, b } => assert!(!together(a, b), "{a} and {b}"),
                Command::AlwaysTogether { a, b } if *a != gone && *b != gone => {
                    assert!(together(a, b), "{a} and {b}");
                }
                _ => {}
            }
        }
        // An old plan is not applied, nor one that nobody was shown.
        if shown.steps > 0 {
            let again = apply(&dedup, &shown.plan).await;
            assert_eq!(again.expect_err("has changed").code(), "plan_changed");
        }
        if done.refused == 0 {
            let next = dedup.recluster().await.expect("sorts");
            assert!(next.steps <= shown.steps, "{next:?}");
        }

        // Taken back from the last to the first, all is as it was.
        let (Some(first), Some(last)) = (done.first, done.last) else {
            continue;
        };
        for sequence in (first..=last).rev() {
            let made = dedup
                .correction(sequence)
                .await
                .expect("reads")
                .expect("there");
            if made.outcome == CorrectionOutcome::Applied {
                let undone = correct(
                    &dedup,
                    Command::Undo {
                        correction: sequence,
                    },
                )
                .await;
                assert_eq!(
                    undone.outcome,
                    CorrectionOutcome::Applied,
                    "{:?}",
                    made.command
                );
            }
        }
        assert_eq!(clusters(&dedup).await, before);
        dedup.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn families_that_were_torn_apart_become_whole() {
    let ports = memory_ports();
    let dedup = start(&ports).await;
    for idx in 0..12u64 {
        decide(
            &dedup,
            &format!("f{}-{idx:02}", idx % 2),
            jpeg(idx % 2, 95 - idx as u8),
        )
        .await;
    }
    let families = clusters(&dedup).await;
    for command in [
        Command::Move {
            into: None,
            members: vec![id("f0-02"), id("f0-04")],
        },
        Command::Move {
            into: Some(id("f1-01")),
            members: vec![id("f0-06")],
        },
        Command::Move {
            into: None,
            members: vec![id("f1-03")],
        },
        Command::ReHead {
            cluster: id("f0-00"),
            head: id("f0-08"),
        },
    ] {
        assert_eq!(
            correct(&dedup, command).await.outcome,
            CorrectionOutcome::Applied
        );
    }
    let shown = dedup.recluster().await.expect("sorts");
    assert!(shown.moved > 0 && shown.steps > 0, "{shown:?}");
    // Something comes in between: what was shown is not what would be done.
    decide(&dedup, "f0-99", jpeg(0, 50)).await;
    let torn = Command::Move {
        into: None,
        members: vec![id("f1-05")],
    };
    assert_eq!(
        correct(&dedup, torn).await.outcome,
        CorrectionOutcome::Applied
    );
    let refused = apply(&dedup, &shown.plan).await;
    assert_eq!(refused.expect_err("has changed").code(), "plan_changed");
    let shown = dedup.recluster().await.expect("sorts");
    let done = apply(&dedup, &shown.plan).await.expect("applies");
    assert_eq!(done.refused, 0, "{:?}", done.refusals);
    let whole: Vec<usize> = clusters(&dedup)
        .await
        .values()
        .map(|(_, members)| members.len())
        .collect();
    assert_eq!(whole, [7, 6]);
    assert_eq!(families.len(), 2);
    let settled = dedup.recluster().await.expect("sorts");
    assert_eq!((settled.moved, settled.steps), (0, 0));
    let nothing = apply(&dedup, &settled.plan).await.expect("applies");
    assert_eq!((nothing.applied, nothing.refused), (0, 0));
    dedup.shutdown().await;
}
