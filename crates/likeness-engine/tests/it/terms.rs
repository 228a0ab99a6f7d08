//! Near-copies are found by either kind of terms, through the whole pipeline, and after a change from one to the
//! other.

use likeness_engine::dedup::view::DecisionKind;
use likeness_engine::dedup::{DedupConfig, IndexScheme, Planes};

use crate::support::{decide, jpeg, memory_ports, partition, start_with};

/// Two blocks of images enter the lists of terms, and most of a third.
const N_PICTURES: u64 = 150;

fn config(index_scheme: IndexScheme) -> DedupConfig {
    DedupConfig {
        index_scheme,
        index_probes: 16,
        // Decisions ask the lists for everything but the image before.
        exact_below: 1,
        ..DedupConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_join_by_the_terms_of_either_scheme() {
    let planes = IndexScheme::Hyperplanes(Planes {
        terms: 24,
        bits: 10,
        max_list: 1_000,
    });
    let ports = memory_ports();
    let dedup = start_with(&ports, config(planes)).await;
    for seed in 0..N_PICTURES {
        let decision = decide(&dedup, &format!("p{seed}"), jpeg(seed, 90)).await;
        assert_eq!(decision.kind, DecisionKind::NewCluster, "p{seed}");
    }
    let mut schemes = [(0, planes), (10, IndexScheme::Cells), (20, planes)].into_iter();
    let mut dedup = Some(dedup);
    while let (Some((first, scheme)), Some(before)) = (schemes.next(), dedup.take()) {
        let clusters = partition(&before).await;
        before.shutdown().await;
        // Made anew where the scheme is another, read where it is the same.
        let reopened = start_with(&ports, config(scheme)).await;
        assert_eq!(partition(&reopened).await, clusters);
        for seed in first..first + 10 {
            let decision = decide(&reopened, &format!("c{seed}"), jpeg(seed, 60)).await;
            assert_eq!(decision.kind, DecisionKind::Joined, "c{seed}, {scheme:?}");
            assert_eq!(decision.canonical_id, Some(format!("p{seed}")));
        }
        dedup = Some(reopened);
    }
}
