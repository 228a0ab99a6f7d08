use std::time::Duration;

use bytes::Bytes;
use likeness_engine::dedup::view::{ClusterOrder, DecisionKind, ImageStatus};
use likeness_engine::dedup::{DedupConfig, NewImage};

use crate::support::{
    DEADLINE, decide, id, jpeg, memory_ports, partition, picture, start, start_with, upload,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_joins_and_another_picture_does_not() {
    let dedup = start(&memory_ports()).await;
    let first = decide(&dedup, "a", jpeg(1, 95)).await;
    let copy = decide(&dedup, "a-copy", jpeg(1, 40)).await;
    let other = decide(&dedup, "b", jpeg(2, 95)).await;

    assert_eq!(first.kind, DecisionKind::NewCluster);
    assert_eq!(first.canonical_id.as_deref(), Some("a"));
    assert_eq!(copy.kind, DecisionKind::Joined);
    assert_eq!(copy.canonical_id.as_deref(), Some("a"));
    assert_eq!(copy.cluster_size, 2);
    assert!(!copy.exact_copy);
    assert_eq!(other.kind, DecisionKind::NewCluster);

    let overview = dedup.overview().await.unwrap();
    assert_eq!(
        (overview.images, overview.clusters, overview.duplicates),
        (3, 2, 1)
    );
    assert_eq!(overview.duplicate_clusters, 1);
    assert_eq!(overview.pending, 0);
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_are_an_exact_copy_under_another_id() {
    let dedup = start(&memory_ports()).await;
    decide(&dedup, "a", jpeg(1, 95)).await;
    let twin = decide(&dedup, "b", jpeg(1, 95)).await;
    assert_eq!(twin.canonical_id.as_deref(), Some("a"));
    assert!(twin.exact_copy);
    assert_eq!(twin.score, Some(1.0));
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_idempotent_and_other_bytes_are_a_conflict() {
    let dedup = start(&memory_ports()).await;
    let first = upload(&dedup, "a", jpeg(1, 95)).await.unwrap();
    let again = upload(&dedup, "a", jpeg(1, 95)).await.unwrap();
    assert!(!first.existed);
    assert!(again.existed);
    assert_eq!(first.sha256, again.sha256);

    let conflict = upload(&dedup, "a", jpeg(2, 95)).await.unwrap_err();
    assert_eq!(conflict.code(), "id_conflict");

    dedup.drain().await.unwrap();
    assert_eq!(partition(&dedup).await.len(), 1);
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_picture_is_refused_and_what_is_damaged_is_rejected() {
    let dedup = start(&memory_ports()).await;
    let refused = upload(&dedup, "text", Bytes::from_static(b"hello, world"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), "unsupported_format");
    assert!(dedup.image(&id("text")).await.is_err());

    let whole = jpeg(3, 95);
    let damaged = decide(&dedup, "damaged", whole.slice(..whole.len() / 2)).await;
    assert_eq!(damaged.kind, DecisionKind::Rejected);
    let view = dedup.image(&id("damaged")).await.unwrap();
    assert_eq!(view.status, ImageStatus::Rejected);
    assert!(view.rejection.is_some());
    let explain = dedup.explain(&id("damaged")).await.unwrap();
    assert!(explain.candidates.is_empty());

    // Nothing else is disturbed.
    assert_eq!(
        decide(&dedup, "whole", whole).await.kind,
        DecisionKind::NewCluster
    );
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_arrive_together_end_in_one_cluster() {
    let dedup = start(&memory_ports()).await;
    let uploads = (0..96).map(|i: u64| {
        let dedup = dedup.clone();
        let quality = 60 + u8::try_from(i / 4).unwrap();
        tokio::spawn(async move { upload(&dedup, &format!("i{i}"), jpeg(i % 4, quality)).await })
    });
    for receipt in futures::future::join_all(uploads).await {
        receipt.unwrap().unwrap();
    }
    dedup.drain().await.unwrap();
    let partition = partition(&dedup).await;
    assert_eq!(partition.len(), 96);
    let mut heads: Vec<_> = partition.iter().map(|(_, head)| head.clone()).collect();
    heads.sort();
    heads.dedup();
    assert_eq!(heads.len(), 4, "one cluster per picture");
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_log_gives_the_same_clusters_however_it_is_batched() {
    let ports = memory_ports();
    let dedup = start(&ports).await;
    for i in 0..60u64 {
        let name = format!("i{i:02}");
        upload(
            &dedup,
            &name,
            jpeg(i % 17, 55 + u8::try_from(i % 40).unwrap()),
        )
        .await
        .unwrap();
    }
    dedup.drain().await.unwrap();
    let together = partition(&dedup).await;
    dedup.shutdown().await;

    let one_by_one = start_with(
        &memory_ports(),
        DedupConfig {
            max_commit: 1,
            stage_concurrency: 1,
            ..DedupConfig::default()
        },
    )
    .await;
    for i in 0..60u64 {
        let name = format!("i{i:02}");
        decide(
            &one_by_one,
            &name,
            jpeg(i % 17, 55 + u8::try_from(i % 40).unwrap()),
        )
        .await;
    }
    assert_eq!(partition(&one_by_one).await, together);
    one_by_one.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reopened_service_knows_what_it_knew() {
    let ports = memory_ports();
    let dedup = start(&ports).await;
    for i in 0..20 {
        decide(&dedup, &format!("i{i}"), jpeg(i, 90)).await;
    }
    dedup.shutdown().await;

    let dedup = start(&ports).await;
    assert_eq!(dedup.overview().await.unwrap().images, 20);
    let copy = decide(&dedup, "copy", jpeg(5, 50)).await;
    assert_eq!(copy.canonical_id.as_deref(), Some("i5"));
    assert_eq!(copy.number, Some(20));
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_are_listed_biggest_first_and_newest_first_page_by_page() {
    let dedup = start(&memory_ports()).await;
    for (seed, copies) in [(1, 3), (2, 5), (3, 1), (4, 2)] {
        for copy in 0..copies {
            decide(&dedup, &format!("p{seed}-{copy}"), jpeg(seed, 95 - copy)).await;
            // Times are in milliseconds; the order by time needs them apart.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let mut cursor: Option<String> = None;
    let mut sizes = Vec::new();
    loop {
        let page = dedup
            .clusters(ClusterOrder::Biggest, 2, cursor.as_deref(), 1)
            .await
            .unwrap();
        sizes.extend(page.items.iter().map(|cluster| cluster.size));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [5, 3, 2]);

    let newest = dedup
        .clusters(ClusterOrder::Newest, 1, None, 10)
        .await
        .unwrap();
    let heads: Vec<_> = newest.items.iter().map(|c| c.head.as_str()).collect();
    assert_eq!(heads, ["p4-0", "p3-0", "p2-0", "p1-0"]);

    let first = dedup.cluster(&id("p2-0"), None, 2).await.unwrap();
    let second = dedup
        .cluster(&id("p2-0"), first.next.as_deref(), 10)
        .await
        .unwrap();
    let members: Vec<_> = first
        .members
        .iter()
        .chain(&second.members)
        .map(|member| member.id.as_str())
        .collect();
    assert_eq!(members, ["p2-0", "p2-1", "p2-2", "p2-3", "p2-4"]);
    assert!(second.next.is_none());
    assert_eq!(
        dedup
            .cluster(&id("p2-1"), None, 2)
            .await
            .unwrap_err()
            .code(),
        "cluster_not_found"
    );
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_stores_nothing() {
    let dedup = start(&memory_ports()).await;
    decide(&dedup, "a", jpeg(1, 95)).await;
    let answer = dedup.match_image(jpeg(1, 30), 5).await.unwrap();
    assert_eq!(answer.canonical_id.as_deref(), Some("a"));
    assert_eq!(answer.matches[0].id, "a");
    let answer = dedup.match_image(jpeg(9, 90), 5).await.unwrap();
    assert_eq!(answer.canonical_id, None);
    assert_eq!(answer.matches.len(), 1, "even a poor match is shown");
    assert_eq!(dedup.overview().await.unwrap().images, 1);
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_can_be_explained() {
    let dedup = start(&memory_ports()).await;
    decide(&dedup, "a", jpeg(1, 95)).await;
    decide(&dedup, "b", jpeg(2, 95)).await;
    decide(&dedup, "copy", jpeg(1, 40)).await;
    let explain = dedup.explain(&id("copy")).await.unwrap();
    assert_eq!(explain.decision.canonical_id.as_deref(), Some("a"));
    assert_eq!(explain.candidates[0].id, "a");
    assert_eq!(explain.candidates[0].rank, 1);
    assert!(explain.candidates[0].score >= explain.threshold);
    assert!(explain.rule.contains("highest score"), "{}", explain.rule);
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_closes_before_memory_grows() {
    let config = DedupConfig {
        max_bytes_in_flight: 64 << 10,
        max_pending: 0,
        ..DedupConfig::default()
    };
    let dedup = start_with(&memory_ports(), config).await;
    let refused = dedup.admit(1).unwrap_err();
    assert_eq!(refused.code(), "overloaded");
    dedup.shutdown().await;
    assert_eq!(dedup.admit(1).unwrap_err().code(), "shutting_down");
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_can_be_followed_from_anywhere() {
    let dedup = start(&memory_ports()).await;
    for i in 0..5 {
        decide(&dedup, &format!("i{i}"), jpeg(i, 90)).await;
    }
    let all = dedup.decisions(0, 100).await.unwrap();
    assert_eq!(all.len(), 5);
    assert!(all.windows(2).all(|pair| pair[0].offset < pair[1].offset));
    let rest = dedup.decisions(all[2].offset + 1, 100).await.unwrap();
    assert_eq!(rest, all[3..]);
    let latest = dedup.latest_decisions(2).await.unwrap();
    assert_eq!(latest, [all[4].clone(), all[3].clone()]);

    let end = dedup.decisions_end().await.unwrap();
    let waiting = tokio::spawn({
        let dedup = dedup.clone();
        async move { dedup.wait_for_decisions(end).await }
    });
    decide(&dedup, "more", jpeg(77, 90)).await;
    tokio::time::timeout(DEADLINE, waiting)
        .await
        .expect("a new decision ends the wait")
        .unwrap()
        .unwrap();
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_thumbnails_come_back() {
    let dedup = start(&memory_ports()).await;
    let bytes: Bytes = picture(4).encode_png().into();
    let receipt = dedup
        .upload(NewImage {
            id: None,
            name: None,
            bytes: bytes.clone(),
        })
        .await
        .unwrap();
    let file = dedup.file(&id(&receipt.id)).await.unwrap();
    assert_eq!(file.bytes, bytes);
    assert_eq!(file.mime, "image/png");
    let small = dedup.thumbnail(&id(&receipt.id)).await.unwrap();
    let again = dedup.thumbnail(&id(&receipt.id)).await.unwrap();
    assert_eq!(small.jpeg, again.jpeg);
    assert_eq!(&small.jpeg[..2], b"\xff\xd8");
    dedup.shutdown().await;
}
