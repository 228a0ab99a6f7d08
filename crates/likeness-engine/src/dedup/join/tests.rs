//! Random logs of uploads, embeddings and wishes about orphans, cut into random batches, with commits that
//! fail before or after they are made: what is joined is what a plain model says, and nothing comes twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use likeness_adapters::{MemoryObjectStore, MemoryStore};
use likeness_core::Sha256;
use likeness_core::log::{EventLog, Offset, ReadLimits};
use likeness_core::state::{Scan, Write};
use likeness_core::step::{Position, StepStore};
use likeness_vision::PdqHash;
use likeness_vision::decode::{DecodeLimits, ImageFormat};
use likeness_vision::runtime::fake::TestEmbedder;
use likeness_vision::runtime::queue::{ModelPool, PoolConfig};
use proptest::prelude::*;

use super::*;
use crate::cpu::CpuPool;
use crate::dedup::assign_stage::tests::{Flaky, Random, block_on};
use crate::dedup::backlog::Backlog;
use crate::dedup::records::{Signature, SignatureEvent, UploadEvent};
use crate::dedup::signature::Signer;
use crate::dedup::signature_stage::{Item, SignatureStage, Signed, Work};
use crate::dedup::stage::Stage;
use crate::dedup::tables::{
    PARTITION, SIGNATURE_STAGE, SIGNATURES, UPLOADS, signature_key, upload_key,
};
use crate::dedup::view::Rejection;

const LATENESS: u64 = 60;
const KINDS: [&str; 3] = ["a", "b", "c"];

/// Three kinds: the first is in the index, the second is required as well, the third may come.
fn config() -> JoinConfig {
    JoinConfig {
        kinds: KINDS
            .map(|name| EmbeddingKind {
                name: name.to_owned(),
                model: "elsewhere 1".to_owned(),
                dimension: 2,
            })
            .to_vec(),
        primary: Some("a".to_owned()),
        required: vec!["b".to_owned()],
        lateness: Duration::from_millis(LATENESS),
        max_unjoined: 1_000,
    }
}

/// A record of the log, before it is encoded.
#[derive(Debug, Clone, PartialEq)]
enum Event {
    /// Image, event time, whether it cannot be decoded.
    Upload(u64, u64, bool),
    /// Image, kind, event time.
    Embedding(u64, usize, u64),
    /// Image, time.
    Retry(u64, u64),
    /// Image, time.
    Drop(u64, u64),
}

fn image(number: u64) -> ImageId {
    ImageId::new(format!("i{number:03}")).expect("a good id")
}

fn vector(number: u64, kind: usize) -> Bytes {
    Bytes::from(vec![number as u8, kind as u8, 0x80, 0x3f])
}

fn upload(number: u64, time: u64) -> UploadEvent {
    UploadEvent {
        id: image(number),
        name: None,
        sha256: Sha256([0; 32]),
        num_bytes: 1,
        format: ImageFormat::Jpeg,
        uploaded: Timestamp(time),
    }
}

fn signature() -> Signature {
    Signature {
        format: ImageFormat::Jpeg,
        width: 1,
        height: 1,
        pdq: PdqHash([0; 32]),
        pdq_quality: 0,
        flatness: 0,
        embedding: Bytes::new(),
        views: Vec::new(),
    }
}

fn rejection() -> Rejection {
    Rejection {
        code: "corrupt_image".to_owned(),
        message: "no picture".to_owned(),
    }
}

fn wish(number: u64, time: u64, command: OrphanCommand) -> Work {
    let wish = OrphanEvent {
        image: image(number),
        author: "ann".to_owned(),
        reason: "a test".to_owned(),
        time: Timestamp(time),
        command,
    };
    Work::Orphan(wish, None)
}

impl Event {
    fn work(&self) -> Work {
        match *self {
            Self::Upload(number, time, is_damaged) => Work::Upload(Signed {
                upload: upload(number, time),
                outcome: match is_damaged {
                    true => Err(rejection()),
                    false => Ok(signature()),
                },
            }),
            Self::Embedding(number, kind, time) => Work::Embedding(EmbeddingEvent {
                image: image(number),
                kind: KINDS[kind].to_owned(),
                model: "elsewhere 1".to_owned(),
                vector: vector(number, kind),
                time: Timestamp(time),
            }),
            Self::Retry(number, time) => wish(number, time, OrphanCommand::Retry { sign: false }),
            Self::Drop(number, time) => wish(number, time, OrphanCommand::Drop),
        }
    }
}

/// Sides of `images` images in a random order, some missing, some twice, with wishes among them. Event times
/// follow the order loosely, and some are far behind.
fn log(random: &mut Random, images: u64) -> Vec<Event> {
    let mut events = Vec::new();
    for number in 0..images {
        if random.below(8) > 0 {
            let is_damaged = random.below(9) == 0;
            events.push((random.next(), Event::Upload(number, 0, is_damaged)));
        }
        for kind in 0..KINDS.len() {
            if random.below(8) > 0 {
                events.push((random.next(), Event::Embedding(number, kind, 0)));
            }
        }
        match random.below(10) {
            0 => events.push((random.next(), Event::Retry(number, 0))),
            1 => events.push((random.next(), Event::Drop(number, 0))),
            _ => {}
        }
    }
    events.sort_by_key(|(place, _)| *place);
    let mut dated = Vec::new();
    for (place, (_, event)) in events.into_iter().enumerate() {
        let behind = if random.below(6) == 0 { 200 } else { 20 };
        let time = (1_000 + 2 * place as u64) - random.below(behind);
        let event = match event {
            Event::Upload(number, _, is_damaged) => Event::Upload(number, time, is_damaged),
            Event::Embedding(number, kind, _) => Event::Embedding(number, kind, time),
            Event::Retry(number, _) => Event::Retry(number, time),
            Event::Drop(number, _) => Event::Drop(number, time),
        };
        dated.push(event.clone());
        // As a log that keeps at least once does.
        if random.below(7) == 0 && matches!(event, Event::Upload(..) | Event::Embedding(..)) {
            dated.push(event);
        }
    }
    dated
}

/// What became of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    upload: Option<u64>,
    kinds: BTreeMap<usize, u64>,
    is_passed_on: bool,
    retried: Option<u64>,
}

impl Known {
    fn waits_since(&self) -> Option<u64> {
        let side = self.upload.or(self.kinds.values().min().copied())?;
        (!self.is_passed_on).then(|| side.max(self.retried.unwrap_or(0)))
    }
}

/// What there is to see in the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// In order: image, whether it was rejected.
    passed_on: Vec<(ImageId, bool)>,
    waiting: BTreeSet<ImageId>,
    orphans: BTreeSet<ImageId>,
    late: u64,
    joined: u64,
    dropped: u64,
    /// Image and kind of what is kept.
    embeddings: BTreeSet<(ImageId, String)>,
}

/// The join in the plainest words, over the whole log at once.
fn expected(events: &[Event]) -> Seen {
    let mut known: BTreeMap<u64, Known> = BTreeMap::new();
    let mut seen = Seen::default();
    let mut greatest = 0;
    for event in events {
        let (number, is_rejected) = match *event {
            Event::Upload(number, time, is_damaged) => {
                greatest = greatest.max(time);
                let image = known.entry(number).or_default();
                if image.is_passed_on {
                    continue;
                }
                let since = image.waits_since();
                image.upload = Some(time);
                finish(image, is_damaged, since, greatest, &mut seen);
                (number, is_damaged)
            }
            Event::Embedding(number, kind, time) => {
                greatest = greatest.max(time);
                let image = known.entry(number).or_default();
                let since = image.waits_since();
                image.kinds.entry(kind).or_insert(time);
                finish(image, false, since, greatest, &mut seen);
                (number, false)
            }
            Event::Retry(number, time) => {
                let image = known.entry(number).or_default();
                if image.waits_since().is_some() {
                    image.retried = Some(time);
                }
                continue;
            }
            Event::Drop(number, _) => {
                let image = known.entry(number).or_default();
                let since = image.waits_since();
                if since.is_none() {
                    continue;
                }
                seen.dropped += 1;
                if image.upload.is_none() {
                    *image = Known::default();
                    continue;
                }
                finish(image, true, None, greatest, &mut seen);
                (number, true)
            }
        };
        let image_known = &known[&number];
        let is_new = !seen.passed_on.iter().any(|(id, _)| *id == image(number));
        if image_known.is_passed_on && is_new {
            seen.passed_on.push((image(number), is_rejected));
        }
    }
    let watermark = greatest.saturating_sub(LATENESS);
    for (number, known) in known {
        for kind in known.kinds.keys() {
            let kind = KINDS[*kind].to_owned();
            seen.embeddings.insert((image(number), kind));
        }
        match known.waits_since() {
            Some(since) if since < watermark => seen.orphans.insert(image(number)),
            Some(_) => seen.waiting.insert(image(number)),
            None => false,
        };
    }
    seen
}

fn finish(known: &mut Known, is_at_once: bool, since: Option<u64>, greatest: u64, seen: &mut Seen) {
    let is_complete = [0, 1].iter().all(|kind| known.kinds.contains_key(kind));
    if known.is_passed_on || known.upload.is_none() || !(is_complete || is_at_once) {
        return;
    }
    known.is_passed_on = true;
    if let Some(since) = since {
        seen.joined += 1;
        seen.late += u64::from(since < greatest.saturating_sub(LATENESS));
    }
}

struct Fixture {
    store: Arc<MemoryStore>,
    steps: Arc<Flaky>,
    models: Arc<ModelPool>,
}

impl Fixture {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let pool = ModelPool::start(Arc::new(TestEmbedder::new(1)), &PoolConfig::default());
        Self {
            steps: Arc::new(Flaky {
                inner: store.clone(),
                mode: AtomicU8::new(0),
            }),
            models: Arc::new(pool.expect("the system gives a thread")),
            store,
        }
    }

    /// A stage as of after a restart.
    fn stage(&self) -> SignatureStage {
        let signer = Signer::new(
            CpuPool::new(1),
            Arc::clone(&self.models),
            DecodeLimits::default(),
        );
        SignatureStage {
            objects: Arc::new(MemoryObjectStore::new()),
            state: self.store.clone(),
            steps: self.steps.clone(),
            backlog: Arc::new(Backlog::new(0, 1, 1)),
            signer: signer.clone(),
            own: signer,
            joins: Arc::new(Sweeper::new(
                self.store.clone(),
                self.steps.clone(),
                config(),
            )),
        }
    }

    /// Runs a log, cut and interrupted at random.
    async fn run(&self, events: &[Event], random: &mut Random, is_interrupted: bool) {
        for event in events {
            if let Event::Upload(number, time, _) = *event {
                let row = Write::Put(upload_key(&image(number)), encode(&upload(number, time)));
                self.store.write(vec![row]).await.expect("writes");
            }
        }
        let mut stage = self.stage();
        loop {
            let at = self.steps.position(SIGNATURE_STAGE, UPLOADS, PARTITION);
            let from = usize::try_from(at.await.expect("reads").0).expect("few events");
            let len = (1 + random.below(12) as usize).min(events.len() - from);
            if len == 0 {
                break;
            }
            let items = (from..from + len)
                .map(|idx| Item {
                    offset: Offset(idx as u64),
                    work: events[idx].work(),
                })
                .collect();
            if is_interrupted && random.below(3) == 0 {
                let mode = 1 + random.below(2) as u8;
                self.steps.mode.store(mode, Ordering::SeqCst);
            }
            let position = Position {
                consumer: SIGNATURE_STAGE,
                topic: UPLOADS,
                partition: PARTITION,
                next: Offset((from + len) as u64),
            };
            let committed = stage.commit(items, position).await;
            if committed.is_err() || random.below(5) == 0 {
                stage = self.stage();
            }
        }
        self.steps.mode.store(0, Ordering::SeqCst);
        self.stage().joins.sweep().await.expect("sweeps");
    }

    async fn seen(&self) -> Seen {
        let store = self.store.as_ref();
        let limits = ReadLimits {
            max_records: 100_000,
            ..ReadLimits::default()
        };
        let records = store.read(SIGNATURES, PARTITION, Offset(0), limits).await;
        let mut seen = Seen::default();
        for record in records.expect("reads") {
            let event: SignatureEvent = decode("signatures", &record.payload).expect("an event");
            let id = event.upload.id.clone();
            if event.rejection.is_none() {
                let row = store.get(&signature_key(&id)).await.expect("reads");
                let signature: Signature = decode("signature", &row.expect("there")).expect("one");
                let number: u64 = id.as_str()[1..].parse().expect("a number");
                assert_eq!(signature.embedding, vector(number, 0), "{id}");
            }
            seen.passed_on.push((id, event.rejection.is_some()));
        }
        for number in 0..1_000 {
            let scan = Scan::all(EMBEDDINGS, image_part(&image(number)), 10);
            for row in store.scan(scan).await.expect("reads") {
                let kind = String::from_utf8(row.sort.to_vec()).expect("text");
                seen.embeddings.insert((image(number), kind));
            }
        }
        let scan = Scan::all(DEADLINES, SHARD, 10_000);
        for row in store.scan(scan).await.expect("reads") {
            let id = String::from_utf8(row.sort[8..].to_vec()).expect("text");
            let is_new = seen.waiting.insert(ImageId::new(id).expect("an id"));
            assert!(is_new, "one deadline for each");
        }
        let days = store.scan(Scan::all(ORPHAN_DAYS, SHARD, 10_000)).await;
        for row in days.expect("reads") {
            let day: DayRecord = decode("orphan_days", &row.value).expect("a day");
            let scan = Scan::all(ORPHANS, row.sort.clone(), 10_000);
            let orphans = store.scan(scan).await.expect("reads");
            assert_eq!(day.orphans, orphans.len() as u64);
            for row in orphans {
                let id = String::from_utf8(row.sort.to_vec()).expect("text");
                seen.orphans.insert(ImageId::new(id).expect("an id"));
            }
        }
        let totals = JoinTotals::read(store).await.expect("reads");
        let waiting = totals.waiting_uploads + totals.waiting_embeddings;
        assert_eq!(waiting, seen.waiting.len() as u64);
        assert_eq!(totals.unjoined() - waiting, seen.orphans.len() as u64);
        (seen.joined, seen.late, seen.dropped) = (totals.joined, totals.late, totals.dropped);
        seen
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_order_and_any_batching_join_what_belongs_together(seed: u64) {
        let mut random = Random(seed);
        let images = 1 + random.below(40);
        let events = log(&mut random, images);
        let expected = expected(&events);
        let seen = block_on(async {
            let fixture = Fixture::new();
            fixture.run(&events, &mut random, true).await;
            fixture.seen().await
        });
        prop_assert_eq!(&seen, &expected);
        let smooth = block_on(async {
            let fixture = Fixture::new();
            fixture.run(&events, &mut random, false).await;
            fixture.seen().await
        });
        prop_assert_eq!(smooth, expected);
    }
}

#[test]
fn images_of_before_there_was_a_join_keep_what_comes_for_them_and_are_passed_on_no_more() {
    block_on(async {
        let fixture = Fixture::new();
        let row = Write::Put(signature_key(&image(1)), encode(&signature()));
        fixture.store.write(vec![row]).await.expect("writes");
        let events = [
            Event::Embedding(1, 0, 5),
            Event::Upload(1, 6, false),
            Event::Embedding(1, 1, 500),
        ];
        fixture.run(&events, &mut Random(1), false).await;
        let seen = fixture.seen().await;
        assert_eq!(seen.passed_on, []);
        assert_eq!(seen.embeddings.len(), 2);
        assert!(seen.waiting.is_empty() && seen.orphans.is_empty());
    });
}

#[test]
fn everything_of_an_image_can_be_forgotten() {
    block_on(async {
        let fixture = Fixture::new();
        let events = [
            Event::Upload(1, 5, false),
            Event::Embedding(1, 0, 5),
            Event::Embedding(2, 2, 5),
            Event::Embedding(3, 2, 900),
        ];
        fixture.run(&events, &mut Random(1), false).await;
        let config = config();
        let mut joining = apply::Joining::begin(fixture.store.as_ref(), &config)
            .await
            .expect("reads");
        for number in [1, 2] {
            joining.forget(&image(number)).await.expect("reads");
        }
        let writes = joining.finish().writes;
        fixture.store.write(writes).await.expect("writes");
        let seen = fixture.seen().await;
        assert!(seen.orphans.is_empty());
        assert_eq!(seen.waiting, BTreeSet::from([image(3)]));
        assert_eq!(
            seen.embeddings,
            BTreeSet::from([(image(3), "c".to_owned())])
        );
        for number in [1, 2] {
            let row = fixture.store.get(&join_key(&image(number))).await;
            assert_eq!(row.expect("reads"), None);
        }
    });
}
