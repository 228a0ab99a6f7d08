//! Images of which there is everything that there can be of one are erased, and nothing is left.

use std::sync::Arc;

use likeness_core::ImageId;
use likeness_core::log::{NewRecord, Partition, Topic};
use likeness_core::state::{Key, Table, Write};
use likeness_engine::dedup::scorer::Scorer;
use likeness_engine::dedup::{
    BankChange, Command, CorrectionOutcome, Dedup, DedupConfig, EmbeddingKind, FloodAct,
    FloodConfig, JoinConfig, NewCorrection, NewEmbedding, NewErasure, NewReference, OpenedVectors,
    OrphanCommand, Ports, ReviewConfig, ReviewVerdict,
};

use crate::support::{DEADLINE, embedder, id, jpeg, memory_ports, partition, upload};

const DIM: usize = 48;

fn kind(name: &str, dimension: usize) -> EmbeddingKind {
    EmbeddingKind {
        name: name.to_owned(),
        model: "elsewhere 1".to_owned(),
        dimension,
    }
}

/// Embeddings come from elsewhere, every pair that is not plain waits for review, and two copies are a flood.
async fn open(ports: &Ports) -> Arc<Dedup> {
    let config = DedupConfig {
        join: JoinConfig {
            kinds: vec![kind("copy", DIM), kind("text", 2)],
            primary: Some("copy".to_owned()),
            ..JoinConfig::default()
        },
        review: ReviewConfig {
            low: Some(0.001),
            high: Some(1.0),
            max_open: 100,
        },
        flood: FloodConfig {
            growth_alarm: 1,
            ..FloodConfig::default()
        },
        ..DedupConfig::default()
    };
    let vectors = OpenedVectors::memory(DIM);
    let opened = Dedup::start(
        ports.clone(),
        vectors,
        embedder(),
        Scorer::regression(),
        config,
    )
    .await;
    opened.expect("memory stores open")
}

fn embedding(image: &str, kind: &str, vector: Vec<f32>) -> NewEmbedding {
    NewEmbedding {
        image: id(image),
        kind: kind.to_owned(),
        model: "elsewhere 1".to_owned(),
        vector,
        time: None,
    }
}

/// Uploads a picture with its embeddings, near those of all others, and waits for its decision.
async fn decide(dedup: &Dedup, name: &str, seed: u64, aside: usize) {
    let mut vector = vec![0.1; DIM];
    (vector[0], vector[1 + aside]) = (9.0, 2.0);
    upload(dedup, name, jpeg(seed, 90)).await.expect("stored");
    let own = [
        embedding(name, "copy", vector),
        embedding(name, "text", vec![1.0, 0.5]),
    ];
    dedup.push_embeddings(own.into()).await.expect("taken");
    let decision = dedup.wait_for_decision(&id(name), DEADLINE).await;
    assert!(decision.expect("the pipeline runs").is_some(), "{name}");
}

async fn correct(dedup: &Dedup, command: Command) {
    let correction = NewCorrection {
        id: Some(ImageId::generate()),
        author: "a person".to_owned(),
        reason: "a test".to_owned(),
        command,
    };
    let sent = dedup.correct(correction).await.expect("accepted");
    let view = dedup.wait_for_correction(&sent, DEADLINE).await;
    let outcome = view.expect("the pipeline runs").expect("in time").outcome;
    assert_eq!(outcome, CorrectionOutcome::Applied);
}

async fn erase(dedup: &Dedup, name: &str) {
    let erasure = NewErasure {
        image: id(name),
        author: "owner".to_owned(),
        reason: "asked for it".to_owned(),
    };
    let erased = dedup.erase(erasure, DEADLINE).await.expect("is accepted");
    assert!(erased.is_some_and(|view| view.is_finished), "{name}");
}

async fn check_proved(dedup: &Dedup, names: &[&str]) {
    for name in names {
        let proof = dedup.prove_erasure(&id(name), None).await.expect("reads");
        assert!(proof.is_proved, "{name}: {:?}", proof.left);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reviewed_labelled_banked_held_alarmed_and_joined_is_erased() {
    let ports = memory_ports();
    let dedup = open(&ports).await;
    let bank = || "spam".to_owned();
    for (place, name) in ["a", "b", "c"].into_iter().enumerate() {
        decide(&dedup, name, 10 + place as u64, place).await;
    }
    let (a, b) = (id("a"), id("b"));
    let label = Command::Label {
        a: a.clone(),
        b,
        verdict: ReviewVerdict::Same,
        correct: false,
    };
    correct(&dedup, label).await;
    let (threshold, share) = (0.5, 1.0);
    let create = BankChange::Create {
        bank: bank(),
        threshold,
        share,
        negative: false,
    };
    correct(&dedup, Command::Bank(create)).await;
    let references = ["a", "c"].map(|name| NewReference::Image { image: id(name) });
    let add = BankChange::Add {
        bank: bank(),
        references: references.into(),
    };
    correct(&dedup, Command::Bank(add)).await;
    let act = FloodAct::Quarantine { cluster: a.clone() };
    correct(&dedup, Command::Flood(act)).await;
    for (place, name) in ["held", "kept", "other"].into_iter().enumerate() {
        decide(&dedup, name, 20 + place as u64, 5 + place).await;
    }
    dedup.thumbnail(&id("held")).await.expect("is a picture");
    // It waits for its embedding; the one that nobody uploaded is an orphan of its own.
    upload(&dedup, "waiting", jpeg(30, 90)).await.expect("kept");

    // There is all of that, so that what is proved below means something.
    let matches = dedup.bank_matches("spam", None, 10).await.expect("reads");
    assert_eq!(matches.items.len(), 3, "{matches:?}");
    let reviews = dedup.reviews(None, 100).await.expect("reads").items;
    assert!(
        reviews.iter().any(|pair| pair.a == "a" || pair.b == "a"),
        "{reviews:?}"
    );
    assert_eq!(dedup.labels(None, 10).await.expect("reads").items.len(), 1);
    let alarms = dedup.alarms(None, 10).await.expect("reads").items;
    assert!(!alarms.is_empty());
    let held = dedup.held(&a, None, 10).await.expect("reads").items;
    assert_eq!(held.len(), 3, "{held:?}");
    dedup.drain().await.expect("the pipeline runs");
    let join = dedup.join().await.expect("reads");
    assert_eq!((join.joined, join.waiting_uploads), (6, 1));

    let alarmed = alarms[0].image.clone();
    let mut gone = vec!["held", "waiting", "a", alarmed.as_str()];
    gone.dedup();
    for name in &gone {
        erase(&dedup, name).await;
        check_proved(&dedup, &[name]).await;
    }
    let late = embedding("held", "text", vec![1.0, 0.5]);
    let refused = dedup.push_embeddings(vec![late]).await;
    assert_eq!(refused.expect_err("it is gone").code(), "erased");
    let drop = dedup
        .orphan(
            &id("waiting"),
            OrphanCommand::Drop,
            "ann".to_owned(),
            "again".to_owned(),
            DEADLINE,
        )
        .await;
    assert!(drop.is_err() || drop.is_ok_and(|receipt| receipt.outcome.is_some()));

    // What is left goes on, and the erased stay erased.
    decide(&dedup, "next", 40, 9).await;
    dedup.shutdown().await;
    let dedup = open(&ports).await;
    check_proved(&dedup, &gone).await;
    let rest: Vec<&str> = ["b", "c", "kept", "other", "next"]
        .into_iter()
        .filter(|name| !gone.contains(name))
        .collect();
    for name in &rest {
        assert!(dedup.image(&id(name)).await.is_ok(), "{name}");
        erase(&dedup, name).await;
    }
    check_proved(&dedup, &rest).await;
    let overview = dedup.overview().await.expect("reads");
    assert_eq!((overview.images, overview.clusters), (0, 0));
    dedup.shutdown().await;
}

/// Stores that hold what clients have sent, and what was decided: the log, uploads and their bytes.
async fn replayed(ports: &Ports) -> Ports {
    let fresh = Ports {
        objects: ports.objects.clone(),
        ..memory_ports()
    };
    let mut after = None;
    loop {
        let page = ports.log.sweep(after, 100).await.expect("reads");
        for event in page.records {
            if matches!(event.topic.as_str(), "uploads" | "decisions") {
                let topic = match event.topic.as_str() {
                    "uploads" => Topic("uploads"),
                    _ => Topic("decisions"),
                };
                let new = NewRecord {
                    key: event.record.key,
                    payload: event.record.payload,
                };
                let appended = fresh.log.append(topic, Partition(0), vec![new]).await;
                assert_eq!(appended.expect("appends"), event.record.offset);
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let rows = ports
        .state
        .sweep(None, usize::MAX)
        .await
        .expect("reads")
        .rows;
    for row in rows {
        let table = match row.table.as_str() {
            "upload" => Table("upload"),
            "claims" => Table("claims"),
            _ => continue,
        };
        let key = Key::new(table, row.partition, row.sort);
        let written = fresh.state.write(vec![Write::Put(key, row.value)]).await;
        written.expect("writes");
    }
    fresh
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_knows_where_an_erased_image_was_joined_with_its_embeddings() {
    let ports = memory_ports();
    let dedup = open(&ports).await;
    let near = |aside: usize| {
        let mut vector = vec![0.1; DIM];
        (vector[0], vector[1 + aside]) = (9.0, 2.0);
        vector
    };
    // The first that comes is the second that is decided; the third has its embedding first.
    upload(&dedup, "late", jpeg(1, 90)).await.expect("stored");
    dedup
        .push_embeddings(vec![embedding("early", "copy", near(2))])
        .await
        .expect("taken");
    decide(&dedup, "plain", 2, 1).await;
    dedup
        .push_embeddings(vec![embedding("late", "copy", near(0))])
        .await
        .expect("taken");
    let decided = dedup.wait_for_decision(&id("late"), DEADLINE).await;
    assert!(decided.expect("the pipeline runs").is_some());
    decide(&dedup, "early", 3, 2).await;
    decide(&dedup, "last", 4, 3).await;
    for name in ["late", "early"] {
        erase(&dedup, name).await;
        check_proved(&dedup, &[name]).await;
    }
    dedup.drain().await.expect("the pipeline runs");
    let before = partition(&dedup).await;
    let overview = dedup.overview().await.expect("reads");
    dedup.shutdown().await;

    let fresh = replayed(&ports).await;
    let dedup = open(&fresh).await;
    let decided = dedup.wait_for_decision(&id("last"), DEADLINE).await;
    assert!(decided.expect("the pipeline runs").is_some());
    dedup.drain().await.expect("the pipeline runs");
    assert_eq!(partition(&dedup).await, before);
    let then = dedup.overview().await.expect("reads");
    assert_eq!(
        (then.images, then.clusters),
        (overview.images, overview.clusters)
    );
    for name in ["late", "early"] {
        assert!(dedup.image(&id(name)).await.is_err(), "{name} came back");
    }
    dedup.shutdown().await;
}
