//! A scorer that is served elsewhere, and goes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use likeness_core::scoring::RowScorer;
use likeness_core::testsuite::check_row_scorer;
use likeness_core::{StoreError, StoreResult};
use likeness_engine::dedup::remote_scorer::{DEFAULT_FEATURES, PairModel, RemoteModel};
use likeness_engine::dedup::scorer::{PairFeatures, Scorer};
use likeness_engine::dedup::view::{CandidateView, ExplainView};
use likeness_engine::dedup::{
    BankChange, Command, CompareOptions, CorrectionOutcome, Dedup, DedupConfig, NewCorrection,
    NewFile, OpenedVectors, Ports,
};

use crate::support::{DEADLINE, embedder, id, jpeg, memory_ports, partition, upload};

/// Scores as the regression does, unless it is away.
#[derive(Debug)]
struct Elsewhere {
    scorer: Scorer,
    is_away: AtomicBool,
    /// Leaves out the last score of each call.
    is_short: AtomicBool,
    calls: AtomicU64,
    rows: AtomicU64,
}

#[async_trait]
impl RowScorer for Elsewhere {
    fn id(&self) -> &str {
        "oip:pairs/1"
    }

    async fn score(&self, rows: &[f32], n_features: usize) -> StoreResult<Vec<f32>> {
        if n_features != DEFAULT_FEATURES.len() {
            let reason = "rows of another length";
            return Err(StoreError::invalid("scorer (test)", reason));
        }
        if self.is_away.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("scorer (test)", "not there"));
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.rows
            .fetch_add((rows.len() / n_features) as u64, Ordering::SeqCst);
        let score = |row: &[f32]| {
            self.scorer.score(&PairFeatures {
                cosine: row[0],
                pdq_distance: row[1] as u16,
                pdq_quality_min: row[2] as u8,
                flat_min: row[3] as u8,
                is_view: row[4] > 0.0,
                ..PairFeatures::default()
            })
        };
        let mut scores: Vec<f32> = rows.chunks(n_features).map(score).collect();
        if self.is_short.load(Ordering::SeqCst) {
            scores.pop();
        }
        Ok(scores)
    }
}

impl Elsewhere {
    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn go_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }
}

fn elsewhere() -> Arc<Elsewhere> {
    Arc::new(Elsewhere {
        scorer: Scorer::regression(),
        is_away: AtomicBool::new(false),
        is_short: AtomicBool::new(false),
        calls: AtomicU64::new(0),
        rows: AtomicU64::new(0),
    })
}

async fn open_with(ports: &Ports, model: impl Into<PairModel>) -> Arc<Dedup> {
    let embedder = embedder();
    let vectors = OpenedVectors::memory(embedder.spec().dim);
    Dedup::start(
        ports.clone(),
        vectors,
        embedder,
        model,
        DedupConfig::default(),
    )
    .await
    .expect("memory stores open")
}

/// Opens with the scorer that [`Elsewhere`] stands for, in this process.
async fn open_local() -> Arc<Dedup> {
    open_with(&memory_ports(), Scorer::regression()).await
}

async fn open(ports: &Ports, model: &Arc<Elsewhere>) -> Arc<Dedup> {
    let scorer = Scorer::regression();
    let remote = RemoteModel::new(
        model.clone(),
        &DEFAULT_FEATURES,
        scorer.threshold(),
        scorer.cosine_floor(scorer.threshold()),
    );
    open_with(ports, PairModel::Remote(remote.expect("known features"))).await
}

/// Stores 7 pictures and their copies.
async fn fill(dedup: &Dedup, from: u64, to: u64) {
    for number in from..to {
        let (name, seed) = (format!("i{number:02}"), number % 7);
        upload(dedup, &name, jpeg(seed, 60 + number as u8))
            .await
            .expect("stored");
    }
}

async fn correct(dedup: &Dedup, command: Command) -> CorrectionOutcome {
    let correction = NewCorrection {
        id: None,
        author: "ann".to_owned(),
        reason: "a test".to_owned(),
        command,
    };
    let sent = dedup.correct(correction).await.expect("accepted");
    let view = dedup.wait_for_correction(&sent, DEADLINE).await;
    view.expect("the pipeline runs").expect("in time").outcome
}

async fn wait_unready(dedup: &Dedup) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Err(reason) = dedup.ready() {
            return reason;
        }
        assert!(
            Instant::now() < deadline,
            "ready, though the scorer is away"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Checks that what scored enough is the same in both, to the bit, and so are the scores of what both have looked
/// at. What is shown besides was found ahead of the decision, at a time of its own.
#[track_caller]
fn check_same_scores(one: &ExplainView, other: &ExplainView) {
    let near = |view: &ExplainView| -> Vec<CandidateView> {
        let candidates = view.candidates.iter();
        candidates
            .filter(|it| it.score >= view.threshold)
            .cloned()
            .collect()
    };
    assert_eq!(near(one), near(other));
    assert!(!near(one).is_empty(), "nothing was near");
    for candidate in &one.candidates {
        let same = other.candidates.iter().find(|it| it.id == candidate.id);
        let bits = same.map(|it| it.score.to_bits());
        assert!(bits.is_none_or(|bits| bits == candidate.score.to_bits()));
    }
}

#[tokio::test]
async fn the_model_of_these_tests_keeps_the_contract() {
    let rows: Vec<f32> = (0..6u8)
        .flat_map(|row| [f32::from(row) / 6.0, 100.0, 80.0, 0.0, 0.0])
        .collect();
    check_row_scorer(elsewhere().as_ref(), &rows, DEFAULT_FEATURES.len()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_those_of_the_same_scorer_in_this_process() {
    let local = open_local().await;
    fill(&local, 0, 30).await;
    local.drain().await.unwrap();
    let expected = partition(&local).await;
    let explained = local.explain(&id("i20")).await.unwrap();
    local.shutdown().await;

    let model = elsewhere();
    let remote = open(&memory_ports(), &model).await;
    fill(&remote, 0, 30).await;
    remote.drain().await.unwrap();
    assert_eq!(partition(&remote).await, expected);
    let view = remote.explain(&id("i20")).await.unwrap();
    assert_eq!(view.scorer, "oip:pairs/1");
    check_same_scores(&view, &explained);
    let rows = model.rows.load(Ordering::SeqCst);
    assert!(rows > model.calls(), "many pairs in a call");
    remote.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_corrections_and_banks_ask_it_as_well() {
    let model = elsewhere();
    let dedup = open(&memory_ports(), &model).await;
    fill(&dedup, 0, 30).await;
    dedup.drain().await.unwrap();
    let split = Command::Split {
        cluster: id("i00"),
        members: vec![id("i07"), id("i14")],
        each_alone: false,
    };
    assert_eq!(correct(&dedup, split).await, CorrectionOutcome::Applied);
    let found = dedup.match_image(jpeg(3, 50), 5).await.unwrap();
    assert_eq!(found.canonical_id.as_deref(), Some("i03"));
    assert_eq!(dedup.recluster().await.unwrap().images, 30);

    let bank = "spam".to_owned();
    let create = BankChange::Create {
        bank: bank.clone(),
        threshold: 0.8,
        share: 1.0,
        negative: false,
    };
    let created = correct(&dedup, Command::Bank(create)).await;
    assert_eq!(created, CorrectionOutcome::Applied);
    let file = NewFile {
        name: None,
        bytes: jpeg(5, 90),
    };
    let references = vec![dedup.keep_reference(file).await.unwrap()];
    let add = Command::Bank(BankChange::Add { bank, references });
    assert_eq!(correct(&dedup, add).await, CorrectionOutcome::Applied);
    // Those of before, and one that comes now.
    let scan = dedup.scan_bank("spam", false).await.unwrap();
    assert_eq!((scan.matches, scan.is_done), (4, true));
    upload(&dedup, "spam", jpeg(5, 40)).await.unwrap();
    dedup.drain().await.unwrap();
    let matches = dedup.bank_matches("spam", None, 10).await.unwrap();
    assert_eq!(matches.items.len(), 5);

    let shown = dedup.scorer_view();
    let reads: Vec<_> = shown.reads.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(reads, DEFAULT_FEATURES);
    assert_eq!(dedup.scorers().await.unwrap()[0].id, "oip:pairs/1");
    let options = CompareOptions {
        candidate: Scorer::builtin().id(),
        against: None,
        sample: 10,
        seed: 1,
    };
    let refused = dedup.compare_scorers(&options).await.unwrap_err();
    assert!(refused.to_string().contains("served elsewhere"));

    // Away, questions fail and say why; nothing of it is decided.
    model.go_away(true);
    let refused = dedup.match_image(jpeg(3, 45), 5).await.unwrap_err();
    assert_eq!(refused.code(), "store_failed");
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_away_images_wait_and_nothing_is_skipped_or_doubled() {
    let local = open_local().await;
    fill(&local, 0, 30).await;
    local.drain().await.unwrap();
    let expected = partition(&local).await;
    local.shutdown().await;

    let model = elsewhere();
    let remote = open(&memory_ports(), &model).await;
    fill(&remote, 0, 10).await;
    model.go_away(true);
    fill(&remote, 10, 30).await;
    let reason = wait_unready(&remote).await;
    assert!(
        reason.contains("scorer (test)") && reason.contains("not there"),
        "{reason}"
    );
    assert!(partition(&remote).await.len() < 30);

    model.go_away(false);
    remote.drain().await.unwrap();
    assert_eq!(partition(&remote).await, expected);
    assert_eq!(remote.ready(), Ok(()));
    remote.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_needs_no_model_and_a_replay_does() {
    let (ports, model) = (memory_ports(), elsewhere());
    let first = open(&ports, &model).await;
    fill(&first, 0, 30).await;
    first.drain().await.unwrap();
    let decided = partition(&first).await;
    let explained = first.explain(&id("i20")).await.unwrap();
    first.shutdown().await;

    // Opened again without the model: scores are kept with what they decided.
    model.go_away(true);
    let calls = model.calls();
    let again = open(&ports, &model).await;
    again.drain().await.unwrap();
    assert_eq!(partition(&again).await, decided);
    assert_eq!(again.explain(&id("i20")).await.unwrap(), explained);
    assert_eq!(again.ready(), Ok(()));
    again.shutdown().await;

    // The same uploads in new stores: the first needs no score, the others wait for the model.
    let replay = open(&memory_ports(), &model).await;
    fill(&replay, 0, 30).await;
    wait_unready(&replay).await;
    assert!(partition(&replay).await.len() < 30);
    assert_eq!(model.calls(), calls, "it was asked nothing");
    model.go_away(false);
    replay.drain().await.unwrap();
    assert_eq!(partition(&replay).await, decided);
    let replayed = replay.explain(&id("i20")).await.unwrap();
    check_same_scores(&replayed, &explained);
    replay.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_scores_than_pairs_decide_nothing() {
    let model = elsewhere();
    let dedup = open(&memory_ports(), &model).await;
    model.is_short.store(true, Ordering::SeqCst);
    fill(&dedup, 0, 12).await;
    let reason = wait_unready(&dedup).await;
    assert!(reason.contains("scores for"), "{reason}");
    // Those that had nothing to be compared with.
    for (image, canonical) in partition(&dedup).await {
        assert_eq!(Some(image), canonical);
    }
    dedup.shutdown().await;
}
