//! Embeddings from elsewhere, through the whole pipeline.

use std::sync::Arc;
use std::time::Duration;

use likeness_core::Timestamp;
use likeness_engine::EngineError;
use likeness_engine::dedup::scorer::Scorer;
use likeness_engine::dedup::view::{DecisionKind, ImageStatus};
use likeness_engine::dedup::{
    Dedup, DedupConfig, EmbeddingKind, EmbeddingOutcome, JoinConfig, JoinSide, NewEmbedding,
    OpenedVectors, OrphanCommand, OrphanOutcome, OrphanQuery, OrphanReceipt, Ports,
};

use crate::support::{DEADLINE, embedder, id, jpeg, memory_ports, upload};

const DIM: usize = 48;
const MODEL: &str = "elsewhere 1";

fn kind(name: &str, model: &str, dimension: usize) -> EmbeddingKind {
    EmbeddingKind {
        name: name.to_owned(),
        model: model.to_owned(),
        dimension,
    }
}

/// The index holds `copy`; `faces` is required as well, `text` may come.
fn join() -> JoinConfig {
    JoinConfig {
        kinds: vec![
            kind("copy", MODEL, DIM),
            kind("faces", MODEL, 2),
            kind("text", MODEL, 2),
        ],
        primary: Some("copy".to_owned()),
        required: vec!["faces".to_owned()],
        lateness: Duration::from_secs(60),
        max_unjoined: 1_000,
    }
}

async fn try_open(ports: &Ports, join: JoinConfig) -> Result<Arc<Dedup>, EngineError> {
    let embedder = embedder();
    let dim = join
        .primary()
        .map_or(embedder.spec().dim, |kind| kind.dimension);
    let config = DedupConfig {
        join,
        ..DedupConfig::default()
    };
    let vectors = OpenedVectors::memory(dim);
    Dedup::start(
        ports.clone(),
        vectors,
        embedder,
        Scorer::regression(),
        config,
    )
    .await
}

async fn open(ports: &Ports) -> Arc<Dedup> {
    try_open(ports, join()).await.expect("memory stores open")
}

/// An embedding of the kind `copy`: other seeds point elsewhere.
fn copy(image: &str, seed: usize) -> NewEmbedding {
    let mut vector = vec![0.1; DIM];
    vector[seed % DIM] = 9.0;
    NewEmbedding {
        image: id(image),
        kind: "copy".to_owned(),
        model: MODEL.to_owned(),
        vector,
        time: None,
    }
}

fn faces(image: &str) -> NewEmbedding {
    NewEmbedding {
        kind: "faces".to_owned(),
        vector: vec![1.0, 0.5],
        ..copy(image, 0)
    }
}

async fn push(dedup: &Dedup, embedding: NewEmbedding) -> EmbeddingOutcome {
    let receipts = dedup.push_embeddings(vec![embedding]).await;
    receipts.expect("is taken")[0].outcome
}

async fn canonical(dedup: &Dedup, name: &str) -> Option<String> {
    let decision = dedup.wait_for_decision(&id(name), DEADLINE).await;
    decision.expect("the pipeline runs")?.canonical_id
}

async fn ask(
    dedup: &Dedup,
    image: &str,
    command: OrphanCommand,
) -> Result<OrphanReceipt, EngineError> {
    let (author, reason) = ("ann".to_owned(), "a test".to_owned());
    dedup
        .orphan(&id(image), command, author, reason, DEADLINE)
        .await
}

/// Returns once `name` waits for `kinds`.
async fn waits_for(dedup: &Dedup, name: &str, kinds: &[&str]) {
    let deadline = std::time::Instant::now() + DEADLINE;
    while dedup.image(&id(name)).await.expect("is stored").waiting_for != kinds {
        assert!(std::time::Instant::now() < deadline, "{name} does not wait");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_and_embeddings_are_joined_whichever_comes_first() {
    let ports = memory_ports();
    let dedup = open(&ports).await;
    // By its picture `b` is unlike `a`; by the embedding from elsewhere it is a copy.
    upload(&dedup, "a", jpeg(1, 90)).await.unwrap();
    waits_for(&dedup, "a", &["copy", "faces"]).await;
    assert_eq!(push(&dedup, copy("a", 1)).await, EmbeddingOutcome::Stored);
    waits_for(&dedup, "a", &["faces"]).await;
    let image = dedup.image(&id("a")).await.unwrap();
    assert_eq!(image.status, ImageStatus::Pending);
    // What waits for its partner does not keep a drain waiting.
    dedup.drain().await.unwrap();
    assert_eq!(push(&dedup, faces("a")).await, EmbeddingOutcome::Stored);
    assert_eq!(canonical(&dedup, "a").await.as_deref(), Some("a"));

    for embedding in [faces("b"), copy("b", 1), copy("c", 2), faces("c")] {
        push(&dedup, embedding).await;
    }
    upload(&dedup, "b", jpeg(2, 90)).await.unwrap();
    upload(&dedup, "c", jpeg(1, 60)).await.unwrap();
    assert_eq!(canonical(&dedup, "b").await.as_deref(), Some("a"));
    assert_eq!(canonical(&dedup, "c").await.as_deref(), Some("c"));
    let join = dedup.join().await.unwrap();
    assert_eq!((join.joined, join.late), (3, 0));
    assert_eq!((join.waiting_uploads, join.waiting_embeddings), (0, 0));

    // A kind that nobody waits for, and a question that only elsewhere could answer.
    let text = NewEmbedding {
        kind: "text".to_owned(),
        ..faces("a")
    };
    assert_eq!(push(&dedup, text).await, EmbeddingOutcome::Stored);
    let error = dedup.match_image(jpeg(1, 90), 10).await.unwrap_err();
    assert!(error.to_string().contains(MODEL), "{error}");
    dedup.shutdown().await;

    let other = JoinConfig {
        kinds: vec![kind("copy", "elsewhere 2", DIM)],
        required: Vec::new(),
        ..self::join()
    };
    let error = try_open(&ports, other).await.unwrap_err();
    assert_eq!(error.code(), "model_mismatch");
    let error = try_open(&ports, JoinConfig::default()).await.unwrap_err();
    assert_eq!(error.code(), "model_mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_is_the_same_and_what_differs_is_a_conflict() {
    let ports = memory_ports();
    let dedup = open(&ports).await;
    assert_eq!(push(&dedup, copy("a", 1)).await, EmbeddingOutcome::Stored);
    assert_eq!(push(&dedup, copy("a", 1)).await, EmbeddingOutcome::Existed);
    let mut longer = copy("a", 1);
    longer
        .vector
        .iter_mut()
        .for_each(|component| *component *= 2.0);
    assert_eq!(push(&dedup, longer).await, EmbeddingOutcome::Existed);
    assert_eq!(push(&dedup, copy("a", 2)).await, EmbeddingOutcome::Conflict);

    // Given up, it can be sent anew.
    dedup.drain().await.unwrap();
    let dropped = ask(&dedup, "a", OrphanCommand::Drop).await.unwrap();
    assert_eq!(dropped.outcome, Some(OrphanOutcome::Dropped));
    assert_eq!(push(&dedup, copy("a", 2)).await, EmbeddingOutcome::Stored);
    let (journal, _) = dedup.orphan_journal(0, 10).await.unwrap();
    assert_eq!(journal.len(), 1);
    assert_eq!(
        (journal[0].author.as_str(), journal[0].outcome),
        ("ann", OrphanOutcome::Dropped)
    );
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_embedding_is_named() {
    let dedup = open(&memory_ports()).await;
    let check = async |embedding: NewEmbedding, wanted: &str| {
        let error = dedup.push_embeddings(vec![embedding]).await.unwrap_err();
        assert_eq!(error.code(), "invalid_parameter");
        assert!(error.to_string().contains(wanted), "{error}");
    };
    let with = |change: fn(&mut NewEmbedding)| {
        let mut embedding = copy("a", 1);
        change(&mut embedding);
        embedding
    };
    check(
        with(|it| it.kind = "other".to_owned()),
        "`kind`: `other` is none of",
    )
    .await;
    check(
        with(|it| it.model = "x".to_owned()),
        "`model`: `copy` is made by",
    )
    .await;
    check(
        with(|it| it.vector = vec![1.0]),
        "`vector`: has 1 components",
    )
    .await;
    check(
        with(|it| it.vector[3] = f32::NAN),
        "component 3 is not finite",
    )
    .await;
    check(with(|it| it.vector.fill(0.0)), "all components are zero").await;
    let ahead = |it: &mut NewEmbedding| {
        it.time = Some(Timestamp::now().plus(Duration::from_secs(3_600)));
    };
    check(with(ahead), "`event_time_ms`").await;

    let several = vec![copy("a", 1), with(|it| it.vector = vec![1.0])];
    let error = dedup.push_embeddings(several).await.unwrap_err();
    assert!(error.to_string().contains("embedding 2"), "{error}");
    // All or nothing: the first was not stored.
    assert_eq!(push(&dedup, copy("a", 2)).await, EmbeddingOutcome::Stored);
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_listed_and_joined_late_and_given_up() {
    let ports = memory_ports();
    let dedup = open(&ports).await;
    let old = |embedding: NewEmbedding| NewEmbedding {
        time: Some(Timestamp(1_000_000)),
        ..embedding
    };
    push(&dedup, old(copy("late", 1))).await;
    push(&dedup, old(faces("late"))).await;
    push(&dedup, old(copy("gone", 2))).await;
    let list = async |side: Option<JoinSide>| {
        let query = OrphanQuery {
            side,
            limit: 10,
            ..OrphanQuery::default()
        };
        let page = dedup.orphans(&query).await.unwrap();
        page.items
            .into_iter()
            .map(|it| it.image)
            .collect::<Vec<_>>()
    };
    dedup.drain().await.unwrap();
    assert!(
        list(None).await.is_empty(),
        "nothing was seen that is later"
    );
    // The time of this one passes all of the others.
    push(&dedup, copy("now", 3)).await;
    dedup.drain().await.unwrap();
    let deadline = std::time::Instant::now() + DEADLINE;
    while list(None).await.len() < 2 {
        assert!(std::time::Instant::now() < deadline, "no orphans");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(list(None).await, ["gone", "late"]);
    assert_eq!(list(Some(JoinSide::Embedding)).await, ["gone", "late"]);
    assert!(list(Some(JoinSide::Upload)).await.is_empty());
    let paged = OrphanQuery {
        day: Some("1970-01-01".to_owned()),
        limit: 1,
        ..OrphanQuery::default()
    };
    let first = dedup.orphans(&paged).await.unwrap();
    assert_eq!(first.items[0].image, "gone");
    assert_eq!(first.items[0].missing, ["faces"]);
    let paged = OrphanQuery {
        cursor: first.next,
        ..paged
    };
    assert_eq!(dedup.orphans(&paged).await.unwrap().items[0].image, "late");

    // Late, and joined all the same.
    upload(&dedup, "late", jpeg(1, 90)).await.unwrap();
    assert_eq!(canonical(&dedup, "late").await.as_deref(), Some("late"));
    let join = dedup.join().await.unwrap();
    assert_eq!((join.joined, join.late, join.orphan_embeddings), (1, 1, 1));

    // An upload that is given up is decided: it is no near-copy of anything.
    upload(&dedup, "given-up", jpeg(2, 90)).await.unwrap();
    waits_for(&dedup, "given-up", &["copy", "faces"]).await;
    let sign = OrphanCommand::Retry { sign: true };
    let error = ask(&dedup, "given-up", sign).await.unwrap_err();
    assert!(error.to_string().contains("another model"), "{error}");
    let retry = OrphanCommand::Retry { sign: false };
    let waits = ask(&dedup, "given-up", retry).await.unwrap();
    assert_eq!(waits.outcome, Some(OrphanOutcome::Waiting));
    let dropped = ask(&dedup, "given-up", OrphanCommand::Drop).await.unwrap();
    assert_eq!(dropped.outcome, Some(OrphanOutcome::Dropped));
    let decision = dedup.wait_for_decision(&id("given-up"), DEADLINE).await;
    let decision = decision.unwrap().expect("decided");
    assert_eq!(decision.kind, DecisionKind::Rejected);
    assert_eq!(decision.rejection.unwrap().code, "orphan_dropped");
    let error = ask(&dedup, "given-up", OrphanCommand::Drop)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "not_waiting");
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedding_that_never_came_is_computed_here_if_the_model_is_the_same() {
    let ports = memory_ports();
    let own = embedder().spec().clone();
    let model = format!("{} {}", own.model, own.version);
    let join = JoinConfig {
        kinds: vec![kind("copy", &model, own.dim)],
        primary: Some("copy".to_owned()),
        required: Vec::new(),
        ..join()
    };
    let dedup = try_open(&ports, join).await.unwrap();
    upload(&dedup, "a", jpeg(1, 90)).await.unwrap();
    waits_for(&dedup, "a", &["copy"]).await;
    let sign = OrphanCommand::Retry { sign: true };
    let signed = ask(&dedup, "a", sign).await.unwrap();
    assert_eq!(signed.outcome, Some(OrphanOutcome::Joined));
    assert_eq!(canonical(&dedup, "a").await.as_deref(), Some("a"));
    // A picture can be asked about, since the index holds what is computed here.
    let found = dedup.match_image(jpeg(1, 80), 10).await.unwrap();
    assert_eq!(found.canonical_id.as_deref(), Some("a"));
    let late = NewEmbedding {
        model,
        vector: vec![1.0; own.dim],
        ..copy("a", 1)
    };
    assert_eq!(push(&dedup, late).await, EmbeddingOutcome::Conflict);
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_wait_is_refused_while_too_much_waits_and_partners_are_not() {
    let join = JoinConfig {
        max_unjoined: 1,
        required: Vec::new(),
        ..join()
    };
    let dedup = try_open(&memory_ports(), join).await.unwrap();
    upload(&dedup, "a", jpeg(1, 90)).await.unwrap();
    waits_for(&dedup, "a", &["copy"]).await;
    dedup.drain().await.unwrap();
    let deadline = std::time::Instant::now() + DEADLINE;
    let mut tries = 0;
    let error = loop {
        tries += 1;
        match upload(&dedup, &format!("b{tries}"), jpeg(2, 90)).await {
            Err(error) => break error,
            Ok(_) => assert!(std::time::Instant::now() < deadline, "never refused"),
        }
    };
    assert_eq!(error.code(), "overloaded");
    let refused = dedup.push_embeddings(vec![copy("nobody", 1)]).await;
    assert_eq!(refused.unwrap_err().code(), "overloaded");
    assert_eq!(push(&dedup, copy("a", 1)).await, EmbeddingOutcome::Stored);
    assert_eq!(canonical(&dedup, "a").await.as_deref(), Some("a"));
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_and_a_restart_give_the_same_clusters() {
    let ports = memory_ports();
    let dedup = open(&ports).await;
    for number in 0..12 {
        let name = format!("i{number:02}");
        upload(&dedup, &name, jpeg(number, 90)).await.unwrap();
        if number % 2 == 0 {
            push(&dedup, copy(&name, number as usize % 3)).await;
        }
    }
    // In the middle: half of them wait.
    dedup.shutdown().await;
    let dedup = open(&ports).await;
    for number in 0..12u64 {
        let name = format!("i{number:02}");
        push(&dedup, faces(&name)).await;
        push(&dedup, copy(&name, number as usize % 3)).await;
    }
    for number in 0..12 {
        let name = format!("i{number:02}");
        assert!(canonical(&dedup, &name).await.is_some(), "{name}");
    }
    let partition = crate::support::partition(&dedup).await;
    let clusters: std::collections::BTreeSet<_> =
        partition.iter().map(|(_, canonical)| canonical).collect();
    assert_eq!((partition.len(), clusters.len()), (12, 3));
    assert_eq!(dedup.overview().await.unwrap().images, 12);
    dedup.shutdown().await;
}
