//! Banks and quarantines through the whole pipeline.

use likeness_core::ImageId;
use likeness_engine::dedup::view::DecisionKind;
use likeness_engine::dedup::{
    BankChange, Command, CorrectionOutcome, Dedup, DedupConfig, FloodAct, FloodConfig, GuardView,
    NewCorrection, NewErasure, NewFile, NewReference, Stream,
};

use crate::support::{DEADLINE, decide, id, jpeg, memory_ports, picture, start, start_with};

async fn correct(dedup: &Dedup, command: Command) -> CorrectionOutcome {
    let correction = NewCorrection {
        id: Some(ImageId::generate()),
        author: "a person".to_owned(),
        reason: "a test".to_owned(),
        command,
    };
    let sent = dedup.correct(correction).await.expect("accepted");
    let view = dedup.wait_for_correction(&sent, DEADLINE).await;
    view.expect("the pipeline runs").expect("in time").outcome
}

#[track_caller]
fn check_refused(outcome: CorrectionOutcome, expected: &str) {
    match outcome {
        CorrectionOutcome::Refused { code, .. } => assert_eq!(code, expected),
        CorrectionOutcome::Applied => panic!("it was applied, not refused as `{expected}`"),
    }
}

fn create(bank: &str, negative: bool) -> Command {
    Command::Bank(BankChange::Create {
        bank: bank.to_owned(),
        threshold: 0.8,
        share: 1.0,
        negative,
    })
}

async fn add_file(dedup: &Dedup, bank: &str, bytes: bytes::Bytes) -> CorrectionOutcome {
    let file = NewFile {
        name: Some("reference.jpg".to_owned()),
        bytes,
    };
    let reference = dedup.keep_reference(file).await.expect("kept");
    let change = BankChange::Add {
        bank: bank.to_owned(),
        references: vec![reference],
    };
    correct(dedup, Command::Bank(change)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_matches_a_bank_is_an_event_and_explains_itself() {
    let ports = memory_ports();
    let dedup = start(&ports).await;
    assert_eq!(
        correct(&dedup, create("spam", false)).await,
        CorrectionOutcome::Applied
    );
    check_refused(correct(&dedup, create("spam", true)).await, "bank_exists");
    assert_eq!(
        add_file(&dedup, "spam", jpeg(1, 90)).await,
        CorrectionOutcome::Applied
    );

    decide(&dedup, "like", jpeg(1, 70)).await;
    decide(&dedup, "unlike", jpeg(2, 90)).await;

    let page = dedup.bank_matches("spam", None, 10).await.expect("reads");
    let [found] = page.items.as_slice() else {
        panic!("{page:?}");
    };
    assert_eq!((found.image.as_str(), found.retroactive), ("like", false));
    let explain = dedup.explain(&id("like")).await.expect("decided");
    assert_eq!(explain.bank_matches, std::slice::from_ref(found));
    assert_eq!(
        dedup
            .bank_matches_of(&id("unlike"), 10)
            .await
            .expect("reads"),
        []
    );
    let events = dedup
        .stream(Stream::BankMatches, 0, 10)
        .await
        .expect("reads");
    assert_eq!(events.len(), 1);
    assert_eq!(dedup.bank("spam").await.expect("there").matches, 1);
    let asked = dedup.match_image(jpeg(1, 50), 5).await.expect("answers");
    assert_eq!(asked.bank_matches.len(), 1);

    // A reference is no image: it can be seen, but has no page and no cluster.
    let overview = dedup.overview().await.expect("reads");
    assert_eq!((overview.images, overview.clusters), (2, 2));
    let reference = dedup
        .bank_references("spam", None, 10)
        .await
        .expect("reads");
    let sha256 = &reference.items[0].sha256;
    dedup
        .reference_thumbnail("spam", sha256)
        .await
        .expect("drawn");

    // All of it is there after a restart.
    dedup.shutdown().await;
    let dedup = start(&ports).await;
    decide(&dedup, "again", jpeg(1, 60)).await;
    assert_eq!(dedup.bank("spam").await.expect("there").matches, 2);
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_matches_a_negative_bank_stays_alone_until_the_reference_goes() {
    let dedup = start(&memory_ports()).await;
    correct(&dedup, create("blank", true)).await;
    add_file(&dedup, "blank", jpeg(1, 90)).await;
    // Equal bytes as well: isolating is what the bank is for.
    for (name, quality) in [("a", 80), ("b", 70), ("c", 70)] {
        let decision = decide(&dedup, name, jpeg(1, quality)).await;
        assert_eq!(decision.kind, DecisionKind::NewCluster, "{name}");
    }
    let explain = dedup.explain(&id("b")).await.expect("decided");
    assert!(
        explain.rule.starts_with("negative_bank: "),
        "{}",
        explain.rule
    );
    let alone = dedup.recluster().await.expect("sorts");
    assert_eq!((alone.clusters_now, alone.clusters_then), (3, 3));

    let reference = dedup
        .bank_references("blank", None, 10)
        .await
        .expect("reads");
    let remove = Command::Bank(BankChange::Remove {
        bank: "blank".to_owned(),
        references: vec![reference.items[0].sha256.clone()],
    });
    assert_eq!(correct(&dedup, remove).await, CorrectionOutcome::Applied);
    // Those before still attract nothing; the next one begins a cluster that does.
    let first = decide(&dedup, "d", jpeg(1, 60)).await;
    let second = decide(&dedup, "e", jpeg(1, 55)).await;
    assert_eq!(first.kind, DecisionKind::NewCluster);
    assert_eq!(second.canonical_id.as_deref(), Some("d"));
    let together = dedup.recluster().await.expect("sorts");
    assert_eq!((together.clusters_now, together.clusters_then), (4, 1));
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_finds_stored_images_once_and_goes_on() {
    let dedup = start(&memory_ports()).await;
    for seed in 0..6 {
        decide(&dedup, &format!("i{seed}"), jpeg(seed, 90)).await;
    }
    correct(&dedup, create("late", false)).await;
    let change = BankChange::Add {
        bank: "late".to_owned(),
        references: vec![
            NewReference::Image { image: id("i2") },
            NewReference::Image { image: id("i4") },
        ],
    };
    assert_eq!(
        correct(&dedup, Command::Bank(change)).await,
        CorrectionOutcome::Applied
    );
    let scan = dedup.scan_bank("late", false).await.expect("scans");
    assert_eq!(
        (scan.scanned, scan.images, scan.matches, scan.is_done),
        (6, 6, 2, true)
    );
    let again = dedup.scan_bank("late", true).await.expect("scans");
    assert_eq!(
        (again.matches, again.is_done),
        (0, true),
        "each is found once"
    );
    let page = dedup.bank_matches("late", None, 1).await.expect("reads");
    assert_eq!(page.items[0].image, "i4");
    assert!(page.items[0].retroactive);
    let cursor = page.next.expect("there is another");
    let page = dedup
        .bank_matches("late", Some(&cursor), 1)
        .await
        .expect("reads");
    assert_eq!((page.items[0].image.as_str(), page.next), ("i2", None));

    // What is erased is in no bank any more.
    let erasure = NewErasure {
        image: id("i2"),
        author: "owner".to_owned(),
        reason: "a test".to_owned(),
    };
    let erased = dedup.erase(erasure, DEADLINE).await.expect("accepted");
    assert!(erased.is_some(), "in time");
    let page = dedup.bank_matches("late", None, 10).await.expect("reads");
    assert!(page.items.iter().all(|found| found.image != "i2"));
    let proof = dedup.prove_erasure(&id("i2"), None).await.expect("reads");
    assert!(proof.is_proved, "{:?}", proof.left);
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_references_are_refused_and_good_ones_stay() {
    let dedup = start(&memory_ports()).await;
    correct(&dedup, create("spam", false)).await;
    let garbage = NewFile {
        name: None,
        bytes: bytes::Bytes::from_static(b"this is no picture"),
    };
    assert!(dedup.keep_reference(garbage).await.is_err());
    // The header is one of a JPEG; what follows is not.
    let mut torn = jpeg(1, 90).to_vec();
    let end = torn.len();
    torn.truncate(end / 40);
    if let Ok(reference) = dedup
        .keep_reference(NewFile {
            name: None,
            bytes: torn.into(),
        })
        .await
    {
        let change = BankChange::Add {
            bank: "spam".to_owned(),
            references: vec![reference],
        };
        check_refused(
            correct(&dedup, Command::Bank(change)).await,
            "unreadable_reference",
        );
    }
    let unknown = BankChange::Add {
        bank: "spam".to_owned(),
        references: vec![NewReference::File {
            sha256: "00".repeat(32),
            name: None,
        }],
    };
    check_refused(
        correct(&dedup, Command::Bank(unknown)).await,
        "unreadable_reference",
    );
    let nobody = BankChange::Add {
        bank: "spam".to_owned(),
        references: vec![NewReference::Image {
            image: id("nobody"),
        }],
    };
    check_refused(correct(&dedup, Command::Bank(nobody)).await, "not_decided");
    let bank = dedup.bank("spam").await.expect("there");
    assert_eq!(bank.references, 0);
    assert_eq!(
        dedup.bank("other").await.unwrap_err().code(),
        "bank_not_found"
    );
    dedup.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_near_copies_is_alarmed_and_held() {
    let config = DedupConfig {
        flood: FloodConfig {
            growth_alarm: 4,
            quarantine_after: 6,
            ..FloodConfig::default()
        },
        ..DedupConfig::default()
    };
    let dedup = start_with(&memory_ports(), config).await;
    for copy in 0..12 {
        decide(&dedup, &format!("copy-{copy}"), jpeg(1, 90 - copy)).await;
    }
    let cluster = dedup.cluster(&id("copy-0"), None, 50).await.expect("there");
    assert_eq!(cluster.size, 8);
    let (alarm, guard) = dedup.flood_of(&id("copy-0")).await.expect("there");
    assert_eq!(alarm.expect("raised").what.name(), "attraction");
    assert_eq!(guard, Some(GuardView::Quarantined { confirmed: false }));
    let held = dedup.held(&id("copy-0"), None, 50).await.expect("reads");
    assert_eq!(held.items.len(), 4);
    assert_eq!(dedup.alarms(None, 50).await.expect("reads").items.len(), 2);
    assert_eq!(dedup.overview().await.expect("reads").open_alarms, 2);
    // Equal bytes join in any case.
    let twin = decide(&dedup, "twin", jpeg(1, 85)).await;
    assert_eq!(twin.canonical_id.as_deref(), Some("copy-0"));

    let seen = Command::Flood(FloodAct::Acknowledge { alarm: 0 });
    assert_eq!(correct(&dedup, seen).await, CorrectionOutcome::Applied);
    let confirm = Command::Flood(FloodAct::Confirm {
        cluster: id("copy-0"),
        bank: None,
    });
    assert_eq!(correct(&dedup, confirm).await, CorrectionOutcome::Applied);
    let release = Command::Flood(FloodAct::Release {
        cluster: id("copy-0"),
        for_good: true,
    });
    assert_eq!(correct(&dedup, release).await, CorrectionOutcome::Applied);
    let cluster = dedup
        .cluster(&id("copy-11"), None, 50)
        .await
        .expect("leads there");
    assert_eq!((cluster.head.as_str(), cluster.size), ("copy-0", 13));
    let alarms = dedup.stream(Stream::Alarms, 0, 50).await.expect("reads");
    assert_eq!(alarms.len(), 3, "two raised, one acknowledged");
    // A picture of another kind is not touched by any of it.
    let other = picture(9).encode_jpeg(90).into();
    let other = decide(&dedup, "other", other).await;
    assert_eq!(other.kind, DecisionKind::NewCluster);
    dedup.shutdown().await;
}
