//! A scorer that looks at pixels, through the whole pipeline: templates stay apart, copies join, a replay agrees.

use std::sync::Arc;

use bytes::Bytes;
use likeness_engine::dedup::scorer::Scorer;
use likeness_engine::dedup::view::DecisionKind;
use likeness_engine::dedup::{Dedup, DedupConfig, OpenedVectors, Ports};
use likeness_vision::edits::{Edit, Negative};
use serde_json::{Value, json};

use crate::support::{decide, embedder, id, memory_ports, upload};

/// Pictures drawn over one template.
const MEMBERS: u32 = 6;
/// Templates of each kind.
const FAMILIES: u32 = 2;
const KINDS: [Negative; 2] = [Negative::Page, Negative::Chat];
const SEED: u64 = 11;

/// A stage of one tree with one split: `low` where the feature is not above `threshold`, `high` where it is.
fn stage(feature: &str, threshold: f32, low: f32, high: f32) -> Value {
    let mut splits = vec![json!([0, f32::MAX]); 15];
    splits[0] = json!([0, threshold]);
    let leaves = [[low; 8], [high; 8]].concat();
    json!({
        "calibration": { "slope": 1.0, "intercept": 0.0 },
        "forest": {
            "reads": [feature],
            "bias": 0.0,
            "trees": [{ "splits": splits, "leaves": leaves }],
        },
    })
}

/// In doubt about all that is alike, which a look then tells by the share of structure that differs.
fn scorer() -> Scorer {
    let spec = json!({
        "form": "cascade/1",
        "name": "looking",
        "version": 1,
        "date": "2026-11-22",
        "min_cosine": 0.2,
        "background": [],
        "grey": { "low": 0.1, "high": 0.99 },
        "first": stage("cosine", 0.5, -8.0, 1.0),
        "second": stage("differing", 0.3, 6.0, -6.0),
        "threshold": 0.6,
        "manifest": {
            "data": "none", "seed": 0, "held_out": 0.5, "prior": 0.001, "pairs": 0, "duplicate_pairs": 0,
            "threshold_by": "hand", "figures": [], "curve": [], "calibration": [], "importance": [],
        },
    });
    Scorer::from_json(&spec.to_string()).expect("a valid scorer")
}

async fn start(ports: &Ports, config: DedupConfig) -> Arc<Dedup> {
    let embedder = embedder();
    let vectors = OpenedVectors::memory(embedder.spec().dim);
    Dedup::start(ports.clone(), vectors, embedder, scorer(), config)
        .await
        .expect("memory stores open")
}

fn with_looks(max_looks: usize) -> DedupConfig {
    DedupConfig {
        max_looks,
        ..DedupConfig::default()
    }
}

/// Names and files: members of all templates in turn, then copies of each.
fn pictures() -> Vec<(String, Bytes)> {
    let mut drawn = Vec::new();
    for member in 0..MEMBERS {
        for kind in KINDS {
            drawn.extend((0..FAMILIES).map(|family| (kind, family, member)));
        }
    }
    let name =
        |(kind, family, member): (Negative, u32, u32)| format!("{}-{family}-{member}", kind.name());
    let mut pictures: Vec<(String, Bytes)> = drawn
        .iter()
        .map(|&of| (name(of), of.0.file(of.1, of.2, SEED).into()))
        .collect();
    for edit in [Edit::Jpeg20, Edit::Resize25] {
        pictures.extend(drawn.iter().map(|&of| {
            let pixels = of.0.pixels(of.1, of.2, SEED);
            let copy = edit.apply(&pixels, &[], SEED);
            (format!("{}~{}", name(of), edit.name()), copy.into())
        }));
    }
    pictures
}

/// What was decided of each picture, and every look that led to it, to the bit. What was found far off depends on
/// how images were batched, and is shown only.
async fn decisions(dedup: &Dedup, pictures: &[(String, Bytes)]) -> Vec<Value> {
    let mut found = Vec::new();
    for (name, _) in pictures {
        let explain = dedup.explain(&id(name)).await.expect("it was decided");
        let scores: Vec<_> = explain
            .candidates
            .iter()
            .filter_map(|candidate| {
                let look = json!(candidate.look?);
                Some((candidate.id.clone(), candidate.score.to_bits(), look))
            })
            .collect();
        found.push(json!([name, explain.decision.canonical_id, scores]));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_over_one_template_stay_apart_and_copies_join_the_one_they_were_made_of() {
    let dedup = start(&memory_ports(), with_looks(4)).await;
    for (name, bytes) in pictures() {
        let decision = decide(&dedup, &name, bytes).await;
        match name.split_once('~') {
            None => assert_eq!(decision.kind, DecisionKind::NewCluster, "{name}"),
            Some((original, _)) => {
                assert_eq!(decision.canonical_id.as_deref(), Some(original), "{name}");
            }
        }
    }
    dedup.shutdown().await;

    // It was the looks: without them nearly all end in a few clusters.
    let unseeing = start(&memory_ports(), with_looks(0)).await;
    let mut n_heads = 0;
    for (name, bytes) in pictures() {
        let decision = decide(&unseeing, &name, bytes).await;
        n_heads += u32::from(decision.kind == DecisionKind::NewCluster);
    }
    assert!(n_heads <= KINDS.len() as u32 * FAMILIES, "{n_heads}");
    unseeing.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_in_other_batches_and_with_a_restart_decides_alike_to_the_bit() {
    let pictures = pictures();
    let together = start(&memory_ports(), with_looks(4)).await;
    for (name, bytes) in &pictures {
        upload(&together, name, bytes.clone())
            .await
            .expect("is stored");
    }
    together.drain().await.expect("decides all");
    let expected = decisions(&together, &pictures).await;
    together.shutdown().await;

    let ports = memory_ports();
    let one_by_one = DedupConfig {
        max_commit: 1,
        stage_concurrency: 1,
        cpu_threads: 1,
        ..with_looks(4)
    };
    let (before, after) = pictures.split_at(pictures.len() / 2);
    for part in [before, after] {
        // Started anew: nothing is in the cache of close-ups.
        let dedup = start(&ports, one_by_one.clone()).await;
        for (name, bytes) in part {
            decide(&dedup, name, bytes.clone()).await;
        }
        if part == after {
            assert_eq!(decisions(&dedup, &pictures).await, expected);
        }
        dedup.shutdown().await;
    }
}
