use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use likeness_core::log::{NewRecord, Partition, Topic};
use likeness_core::objects::{ObjectMeta, ObjectPath, ObjectStore, PutOutcome};
use likeness_core::state::{Key, Table, Write};
use likeness_core::{Sha256, StoreError, StoreResult};
use likeness_engine::dedup::keeper::Keeper;
use likeness_engine::dedup::{
    Command, CorrectionOutcome, Dedup, DedupConfig, ErasureView, NewCorrection, NewErasure, Ports,
};
use sha2::Digest;

use crate::support::{DEADLINE, decide, id, jpeg, memory_ports, start, start_with, upload};

async fn erase(dedup: &Dedup, name: &str) -> ErasureView {
    let erasure = NewErasure {
        image: id(name),
        author: "owner".to_owned(),
        reason: "asked for it".to_owned(),
    };
    let erased = dedup.erase(erasure, DEADLINE).await.expect("is accepted");
    erased.expect("done in time")
}

#[track_caller]
fn check_proved(proof: &likeness_engine::dedup::ErasureProof) {
    assert!(proof.is_proved, "{:?}", proof.left);
}

async fn code_of<T: std::fmt::Debug>(
    outcome: impl Future<Output = Result<T, likeness_engine::EngineError>>,
) -> &'static str {
    outcome.await.expect_err("refused").code()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_image_is_gone_from_everything_and_stays_so() {
    let ports = memory_ports();
    let dedup = start(&ports).await;
    for (name, quality) in [("a", 95), ("b", 80), ("c", 60)] {
        decide(&dedup, name, jpeg(1, quality)).await;
    }
    decide(&dedup, "other", jpeg(2, 90)).await;
    dedup.thumbnail(&id("a")).await.expect("is a picture");
    let explained = dedup.explain(&id("b")).await.expect("is decided");
    assert!(explained.candidates.iter().any(|it| it.id == "a"));
    let before = dedup.prove_erasure(&id("a"), None).await.expect("reads");
    assert!(!before.is_proved && before.num_left > 10, "{before:?}");

    let plan = dedup.plan_erasure(&id("a")).await.expect("can be planned");
    assert_eq!(plan.new_head.as_deref(), Some("b"));
    assert!(plan.deletes_bytes && !plan.is_cluster_gone);
    assert_eq!(plan.events, 5, "one in each topic");
    assert!(dedup.image(&id("a")).await.is_ok(), "a plan erases nothing");

    let erased = erase(&dedup, "a").await;
    assert_eq!(erased.number, Some(0));
    assert_eq!(erase(&dedup, "a").await, erased, "which is idempotent");
    let mut dedup = dedup;
    for _ in 0..2 {
        assert_eq!(code_of(dedup.image(&id("a"))).await, "erased");
        assert_eq!(code_of(dedup.file(&id("a"))).await, "erased");
        assert_eq!(code_of(dedup.thumbnail(&id("a"))).await, "erased");
        assert_eq!(code_of(dedup.explain(&id("a"))).await, "erased");
        assert_eq!(code_of(upload(&dedup, "a", jpeg(1, 95))).await, "erased");
        let a = id("a");
        let waited = dedup.wait_for_decision(&a, DEADLINE);
        assert_eq!(code_of(waited).await, "erased");
        let explained = dedup.explain(&id("b")).await.expect("is decided");
        assert!(explained.candidates.iter().all(|it| it.id != "a"));
        assert!(!explained.rule.contains("`a`"), "{}", explained.rule);

        // The cluster keeps its name, and has another head.
        let cluster = dedup.cluster(&id("a"), None, 10).await.expect("stands");
        let members: Vec<_> = cluster.members.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(
            (members, cluster.shown.as_deref()),
            (vec!["b", "c"], Some("b"))
        );
        let overview = dedup.overview().await.expect("reads");
        assert_eq!(
            (overview.images, overview.clusters, overview.duplicates),
            (3, 2, 1)
        );
        let decisions = dedup.decisions(0, 100).await.expect("reads");
        assert_eq!(
            decisions.len(),
            3,
            "what was decided of it is no longer told"
        );

        let proof = dedup.prove_erasure(&id("a"), None).await.expect("reads");
        check_proved(&proof);
        assert!(proof.names > 0 && proof.tombstones >= 8, "{proof:?}");
        assert!(
            proof.rows.len() > 10 && proof.events["uploads"] == 5,
            "{proof:?}"
        );
        dedup.shutdown().await;
        dedup = start(&ports).await;
    }

    // A copy still finds the cluster, and gets the canonical id that clients hold.
    let copy = decide(&dedup, "d", jpeg(1, 90)).await;
    assert_eq!(copy.canonical_id.as_deref(), Some("a"));
    for name in ["b", "c", "d"] {
        erase(&dedup, name).await;
    }
    let a = id("a");
    let gone = dedup.cluster(&a, None, 10);
    assert_eq!(code_of(gone).await, "cluster_not_found");
    let fresh = decide(&dedup, "e", jpeg(1, 90)).await;
    assert_eq!(fresh.canonical_id.as_deref(), Some("e"));
    for name in ["a", "b", "c", "d"] {
        check_proved(&dedup.prove_erasure(&id(name), None).await.expect("reads"));
    }
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_stay_while_another_image_has_them() {
    let ports = memory_ports();
    let dedup = start(&ports).await;
    decide(&dedup, "a", jpeg(1, 90)).await;
    decide(&dedup, "twin", jpeg(1, 90)).await;
    let sha256 = Sha256(sha2::Sha256::digest(jpeg(1, 90)).into());
    erase(&dedup, "a").await;
    assert!(dedup.file(&id("twin")).await.is_ok());
    let proof = dedup
        .prove_erasure(&id("a"), Some(sha256))
        .await
        .expect("reads");
    check_proved(&proof);
    assert_eq!(proof.shares_bytes_with, ["twin"]);
    erase(&dedup, "twin").await;
    assert!(
        ports
            .objects
            .list("", None, 10)
            .await
            .expect("lists")
            .is_empty()
    );
    let proof = dedup
        .prove_erasure(&id("a"), Some(sha256))
        .await
        .expect("reads");
    check_proved(&proof);
    assert!(proof.shares_bytes_with.is_empty());
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_on_its_way_and_one_that_is_no_picture_are_erased_too() {
    let ports = memory_ports();
    let dedup = start(&ports).await;
    // Asked for before it is decided: its turn comes first.
    for seed in 0..12 {
        upload(&dedup, &format!("i{seed}"), jpeg(seed, 90))
            .await
            .expect("is stored");
    }
    erase(&dedup, "i11").await;
    let whole = jpeg(20, 95);
    let rejected = decide(&dedup, "broken", whole.slice(..whole.len() / 2)).await;
    assert!(rejected.rejection.is_some());
    assert_eq!(erase(&dedup, "broken").await.number, None);
    for name in ["i11", "broken"] {
        check_proved(&dedup.prove_erasure(&id(name), None).await.expect("reads"));
    }
    let overview = dedup.overview().await.expect("reads");
    assert_eq!((overview.images, overview.rejected), (11, 0));
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn corrections_of_an_erased_image_are_refused_or_go_on_without_it() {
    let ports = memory_ports();
    let dedup = start(&ports).await;
    for (name, quality) in [("a", 95), ("b", 80), ("c", 60), ("d", 50)] {
        decide(&dedup, name, jpeg(1, quality)).await;
    }
    let correct = async |command: Command| {
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
    };
    let split = correct(Command::Split {
        cluster: id("a"),
        members: vec![id("b"), id("c")],
        each_alone: false,
    })
    .await;
    assert_eq!(split.outcome, CorrectionOutcome::Applied);
    erase(&dedup, "b").await;
    check_proved(&dedup.prove_erasure(&id("b"), None).await.expect("reads"));
    let refused = correct(Command::AlwaysTogether {
        a: id("a"),
        b: id("b"),
    })
    .await;
    let is_erased = |code: &str| code == "erased";
    let outcome = refused.outcome;
    assert!(
        matches!(&outcome, CorrectionOutcome::Refused { code, .. } if is_erased(code)),
        "{outcome:?}"
    );
    // What is left of the split goes back.
    let undo = Command::Undo {
        correction: split.sequence,
    };
    assert_eq!(correct(undo).await.outcome, CorrectionOutcome::Applied);
    let cluster = dedup.cluster(&id("a"), None, 10).await.expect("stands");
    let members: Vec<_> = cluster.members.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(members, ["a", "c", "d"]);
    check_proved(&dedup.prove_erasure(&id("b"), None).await.expect("reads"));
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_fails_if_anything_is_planted() {
    let ports = memory_ports();
    let dedup = start(&ports).await;
    decide(&dedup, "picture-1", jpeg(1, 90)).await;
    decide(&dedup, "picture-2", jpeg(1, 70)).await;
    let sha256 = Sha256(sha2::Sha256::digest(jpeg(1, 90)).into());
    let object = ports.objects.list("", None, 10).await.expect("lists");
    let path = object
        .iter()
        .find(|it| it.path.as_str().ends_with(&sha256.to_string()));
    let path = path.expect("is stored").path.clone();
    erase(&dedup, "picture-1").await;
    let prove = async || {
        dedup
            .prove_erasure(&id("picture-1"), None)
            .await
            .expect("reads")
    };
    check_proved(&prove().await);

    let packed = |value: serde_json::Value| Bytes::from(value.to_string());
    let key = |table: &'static str, partition: &'static str, sort: &'static [u8]| {
        Key::new(Table(table), partition, sort)
    };
    let number = &[0, 0, 0, 0, 0, 0, 0, 0];
    for (what, key, value) in [
        (
            "a signature",
            key("signature", "picture-1", b""),
            Bytes::from("bits"),
        ),
        (
            "a member",
            key("members", "picture-2", number),
            packed(serde_json::json!({})),
        ),
        (
            "an explanation",
            key("explain", "picture-2", b""),
            packed(serde_json::json!({"rule": "the best, `picture-1`, scores"})),
        ),
        (
            "a table that nobody knows",
            key("new_table", "anything", b""),
            packed(serde_json::json!({"seen": ["picture-2", "picture-1"]})),
        ),
        (
            "a value that is no record",
            key("new_table", "anything", b"x"),
            Bytes::from_static(b"\xc1\0\0picture-1\0"),
        ),
        (
            "its claim",
            key("claims", "picture-1", b""),
            Bytes::from(sha256.0.to_vec()),
        ),
    ] {
        let before = ports.state.get(&key).await.expect("reads");
        ports
            .state
            .write(vec![Write::Put(key.clone(), value)])
            .await
            .expect("writes");
        let proof = prove().await;
        assert!(
            !proof.is_proved && proof.num_left == 1,
            "{what}: {:?}",
            proof.left
        );
        let restored = match before {
            Some(value) => Write::Put(key, value),
            None => Write::Delete(key),
        };
        ports.state.write(vec![restored]).await.expect("writes");
        check_proved(&prove().await);
    }

    ports.objects.put(&path, jpeg(1, 90)).await.expect("puts");
    assert!(!prove().await.is_proved, "an object that no image has");
    let with_digest = dedup.prove_erasure(&id("picture-1"), Some(sha256)).await;
    let with_digest = with_digest.expect("reads");
    assert_eq!(with_digest.left[0].place, path.as_str());
    ports.objects.delete(&path).await.expect("deletes");
    check_proved(&prove().await);

    let event = NewRecord {
        key: Bytes::from("picture-9"),
        payload: packed(serde_json::json!({"upload": {"id": "picture-1"}})),
    };
    let topic = Topic("new-topic");
    ports
        .log
        .append(topic, Partition(0), vec![event])
        .await
        .expect("appends");
    let proof = prove().await;
    assert_eq!(
        proof.left[0].place,
        format!("new-topic/{}", proof_offset(&ports).await)
    );
    dedup.shutdown().await;
}

async fn proof_offset(ports: &Ports) -> u64 {
    let limits = likeness_core::log::ReadLimits::default();
    let from = likeness_core::log::Offset(0);
    let read = ports
        .log
        .read(Topic("new-topic"), Partition(0), from, limits)
        .await;
    read.expect("reads")[0].offset.0
}

/// Objects that cannot be deleted while they are told so.
#[derive(Debug)]
struct Stubborn {
    inner: Arc<dyn ObjectStore>,
    is_stubborn: Arc<AtomicBool>,
}

#[async_trait]
impl ObjectStore for Stubborn {
    async fn put(&self, path: &ObjectPath, bytes: Bytes) -> StoreResult<()> {
        self.inner.put(path, bytes).await
    }

    async fn put_new(&self, path: &ObjectPath, bytes: Bytes) -> StoreResult<PutOutcome> {
        self.inner.put_new(path, bytes).await
    }

    async fn get(&self, path: &ObjectPath) -> StoreResult<Option<Bytes>> {
        self.inner.get(path).await
    }

    async fn get_range(
        &self,
        path: &ObjectPath,
        range: std::ops::Range<u64>,
    ) -> StoreResult<Option<Bytes>> {
        self.inner.get_range(path, range).await
    }

    async fn head(&self, path: &ObjectPath) -> StoreResult<Option<ObjectMeta>> {
        self.inner.head(path).await
    }

    async fn delete(&self, path: &ObjectPath) -> StoreResult<()> {
        if self.is_stubborn.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("objects (test)", "not now"));
        }
        self.inner.delete(path).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectPath>,
        limit: usize,
    ) -> StoreResult<Vec<ObjectMeta>> {
        self.inner.list(prefix, after, limit).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_could_not_be_deleted_are_deleted_when_the_data_is_opened() {
    let ports = memory_ports();
    let is_stubborn = Arc::new(AtomicBool::new(true));
    let stubborn = Ports {
        objects: Arc::new(Stubborn {
            inner: ports.objects.clone(),
            is_stubborn: Arc::clone(&is_stubborn),
        }),
        ..ports.clone()
    };
    let dedup = start(&stubborn).await;
    decide(&dedup, "a", jpeg(1, 90)).await;
    let erasure = NewErasure {
        image: id("a"),
        author: "owner".to_owned(),
        reason: "asked for it".to_owned(),
    };
    let soon = std::time::Duration::from_millis(500);
    assert_eq!(dedup.erase(erasure, soon).await.expect("is accepted"), None);
    assert_eq!(code_of(dedup.file(&id("a"))).await, "erased");
    let proof = dedup.prove_erasure(&id("a"), None).await.expect("reads");
    assert!(!proof.is_proved, "the bytes are there");
    dedup.shutdown().await;

    let dedup = start(&ports).await;
    check_proved(&dedup.prove_erasure(&id("a"), None).await.expect("reads"));
    assert!(
        ports
            .objects
            .list("", None, 10)
            .await
            .expect("lists")
            .is_empty()
    );
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keeper_rule_chooses_the_head_and_leaves_the_canonical_id() {
    let config = || DedupConfig {
        keeper: Keeper::Quality,
        ..DedupConfig::default()
    };
    let ports = memory_ports();
    let dedup = start_with(&ports, config()).await;
    for (name, quality) in [("small", 50), ("better", 80), ("worse", 40), ("best", 97)] {
        let decision = decide(&dedup, name, jpeg(1, quality)).await;
        assert_eq!(decision.canonical_id.as_deref(), Some("small"));
        assert_eq!(
            decision.is_head,
            matches!(name, "better" | "best"),
            "{name}"
        );
    }
    let shown = async |dedup: &Dedup| {
        let cluster = dedup.cluster(&id("small"), None, 10).await.expect("stands");
        cluster.shown
    };
    assert_eq!(shown(&dedup).await.as_deref(), Some("best"));
    erase(&dedup, "best").await;
    assert_eq!(shown(&dedup).await.as_deref(), Some("better"));
    dedup.shutdown().await;
    let dedup = start_with(&ports, config()).await;
    let decision = decide(&dedup, "again", jpeg(1, 95)).await;
    assert_eq!(decision.canonical_id.as_deref(), Some("small"));
    assert_eq!(shown(&dedup).await.as_deref(), Some("again"));
    dedup.shutdown().await;
}
