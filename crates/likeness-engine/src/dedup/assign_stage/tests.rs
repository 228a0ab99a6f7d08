//! The same log gives the same clusters, where the index misses much of what it should find.

mod clusters;

use std::sync::atomic::{AtomicU8, Ordering};

use likeness_adapters::{MemoryObjectStore, MemoryStore};
use likeness_core::log::Partition;
use likeness_core::state::Scan;
use likeness_core::step::Step;
use likeness_core::{ImageNumber, Sha256, StoreResult, Timestamp};
use likeness_index::{OpenedVectors, bf16};
use likeness_vision::PdqHash;
use likeness_vision::decode::ImageFormat;
use likeness_vision::regions::{Rect, RegionKind};
use likeness_vision::views::ViewKind;
use proptest::prelude::*;

use super::super::compare::ViewsMode;
use super::super::config::{DedupConfig, IndexScheme, Planes};
use super::super::live_index::IndexConfig;
use super::super::records::{
    ExplainRecord, MemberRecord, Signature, UploadEvent, ViewRecord, decode_number,
};
use super::super::reviews::ReviewConfig;
use super::super::scorer::Scorer;
use super::super::tables::{MEMBERS, explain_key, number_key, signature_key};
use super::super::upload::decode_decision;
use super::super::view::MatchedPicture;
use super::*;

const DIM: usize = 24;
const N_IMAGES: u64 = 900;
/// So few that pairs drop out of the review queue.
pub(in crate::dedup) const MAX_OPEN: u64 = 3;

/// A generator small enough to see through (SplitMix64).
#[derive(Debug, Clone)]
pub(in crate::dedup) struct Random(pub u64);

impl Random {
    pub(in crate::dedup) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(in crate::dedup) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn component(&mut self) -> f32 {
        // The sum of four is about normal.
        (0..4)
            .map(|_| self.below(2_000) as f32 / 1_000.0 - 1.0)
            .sum()
    }
}

/// One image of a log: of a family whose members are near the threshold with each other. One in two shows
/// members of up to two other families beside it.
fn image(seed: u64, idx: u64, families: u64, noise: f32) -> (UploadEvent, Signature) {
    let mut own = Random(seed ^ idx << 20);
    let mut family = Random(seed ^ own.below(families) << 40);
    let embedding = member(&mut family, &mut own, noise);
    let upload = UploadEvent {
        id: ImageId::new(format!("i{idx}")).expect("a good id"),
        name: None,
        sha256: Sha256([0; 32].map(|_: u8| own.below(256) as u8)),
        num_bytes: 1,
        format: ImageFormat::Jpeg,
        uploaded: Timestamp(idx),
    };
    let signature = Signature {
        format: ImageFormat::Jpeg,
        width: 1 + own.below(9) as u32,
        height: 1,
        pdq: PdqHash([0; 32]),
        pdq_quality: 0,
        flatness: 0,
        embedding,
        views: (0..own.below(4).saturating_sub(1))
            .map(|shown| view(seed, shown, families, noise, &mut own))
            .collect(),
    };
    (upload, signature)
}

fn member(family: &mut Random, own: &mut Random, noise: f32) -> bytes::Bytes {
    let embedding: Vec<f32> = (0..DIM)
        .map(|_| family.component() + noise * own.component())
        .collect();
    bf16::to_le_bytes(&bf16::encode(&embedding)).into()
}

fn view(seed: u64, shown: u64, families: u64, noise: f32, own: &mut Random) -> ViewRecord {
    let mut family = Random(seed ^ own.below(families) << 40);
    ViewRecord {
        kind: match shown {
            0 => ViewKind::Region(RegionKind::Panel),
            _ => ViewKind::Inverted,
        },
        rect: Rect {
            x: 0,
            y: 0,
            width: 1,
            height: 1,
        },
        pdq: PdqHash([0; 32]),
        pdq_quality: 0,
        flatness: 0,
        embedding: member(&mut family, own, noise),
    }
}

/// Fails the next commit if told to, before it is made or after.
#[derive(Debug)]
pub(in crate::dedup) struct Flaky {
    pub inner: Arc<MemoryStore>,
    pub mode: AtomicU8,
}

#[async_trait]
impl StepStore for Flaky {
    async fn commit(&self, step: Step, durability: Durability) -> StoreResult<StepOutcome> {
        let lost = || StoreError::unavailable("steps (test)", std::io::Error::other("lost"));
        match self.mode.swap(0, Ordering::SeqCst) {
            0 => self.inner.commit(step, durability).await,
            1 => Err(lost()),
            _ => {
                self.inner.commit(step, durability).await?;
                Err(lost())
            }
        }
    }

    async fn position(
        &self,
        consumer: Consumer,
        topic: Topic,
        partition: Partition,
    ) -> StoreResult<Offset> {
        self.inner.position(consumer, topic, partition).await
    }

    async fn sync(&self) -> StoreResult<()> {
        self.inner.sync().await
    }
}

/// Terms that miss copies, and lists that are full.
pub(in crate::dedup) const FEW_PLANES: IndexScheme = IndexScheme::Hyperplanes(Planes {
    terms: 4,
    bits: 7,
    max_list: 6,
});

pub(in crate::dedup) struct Fixture {
    pub store: Arc<MemoryStore>,
    steps: Arc<Flaky>,
    config: IndexConfig,
    keeper: Keeper,
    pub stage: AssignStage,
    /// Families that images are of.
    pub families: u64,
    /// How far members are from each other.
    pub noise: f32,
    /// What is a flood.
    pub flood: FloodConfig,
}

impl Fixture {
    pub(in crate::dedup) async fn new(exact_below: u64) -> Self {
        Self::with(IndexScheme::Cells, exact_below, ViewsMode::Off).await
    }

    pub(in crate::dedup) async fn with(
        index_scheme: IndexScheme,
        exact_below: u64,
        views: ViewsMode,
    ) -> Self {
        let dedup = DedupConfig {
            index_scheme,
            index_probes: 1,
            index_epsilon: 1.0,
            exact_below,
            views,
            ..DedupConfig::default()
        };
        let config = IndexConfig::of(&dedup, DIM);
        let store = Arc::new(MemoryStore::new());
        let steps = Arc::new(Flaky {
            inner: store.clone(),
            mode: AtomicU8::new(0),
        });
        let stage = Self::open(&store, &steps, config, 1).await;
        Self {
            store,
            steps,
            config,
            keeper: Keeper::First,
            stage,
            families: 200,
            noise: 0.55,
            flood: FloodConfig::default(),
        }
    }

    async fn open(
        store: &Arc<MemoryStore>,
        steps: &Arc<Flaky>,
        config: IndexConfig,
        threads: usize,
    ) -> AssignStage {
        let num_images = totals(store.as_ref()).await.expect("reads").images;
        let vectors = OpenedVectors::memory(DIM);
        let index = LiveIndex::open(store.as_ref(), vectors, config, num_images).await;
        AssignStage {
            state: store.clone(),
            steps: steps.clone(),
            log: store.clone(),
            recorded: Recorded::new(store.clone(), store.clone(), steps.clone()),
            finisher: Arc::new(Finisher::new(
                store.clone(),
                Arc::new(MemoryObjectStore::new()),
                Arc::default(),
            )),
            keeper: Keeper::First,
            index: Arc::new(index.expect("opens")),
            cpu: CpuPool::new(threads),
            threads,
            scorer: Arc::new(PairScorer::new(Scorer::regression(), None, config.views)),
            waiters: Arc::default(),
            backlog: Arc::new(Backlog::new(0, 1, 1)),
            generation: Generation(1),
            model: "test".to_owned(),
            dim: DIM,
            limit: config.max_candidates,
            banks: Arc::new(Banks::new(DIM, config.views)),
            bank_limits: BankLimits::default(),
            flood: FloodConfig::default(),
            grey: GreyZone::of(
                &ReviewConfig {
                    max_open: MAX_OPEN,
                    ..ReviewConfig::default()
                },
                Scorer::regression().threshold(),
            ),
        }
    }

    pub(in crate::dedup) async fn restart(&mut self, threads: usize) {
        self.stage = Self::open(&self.store, &self.steps, self.config, threads).await;
        self.stage.flood = self.flood;
        self.stage.keeper = self.keeper;
    }

    /// Sets the rule by which heads are chosen.
    pub(in crate::dedup) fn set_keeper(&mut self, keeper: Keeper) {
        self.keeper = keeper;
        self.stage.keeper = keeper;
    }

    /// Returns the score of two decided images.
    pub(in crate::dedup) async fn score(&self, a: &ImageId, b: &ImageId) -> f32 {
        let store = self.store.as_ref();
        let mut records = Vec::new();
        for id in [a, b] {
            let row = store.get(&canonical_key(id)).await.expect("reads");
            let decision = decode_decision(&row.expect("decided")).expect("a decision");
            let number = ImageNumber(decision.number.expect("not rejected"));
            let row = store.get(&number_key(number)).await.expect("reads");
            let record = decode_number(&row.expect("there")).expect("a record");
            records.push(record.expect("not erased"));
        }
        let row = store.get(&signature_key(a)).await.expect("reads");
        let signature = decode("signature", &row.expect("there")).expect("a signature");
        let subject = Subject::new(records[0].sha256, signature, self.config.views);
        let scored = self
            .stage
            .scorer
            .score_pair(&subject.expect("an embedding"), &records[1])
            .await;
        scored.expect("scores").0
    }

    /// Fails the next commit, before it is made or after.
    pub(in crate::dedup) fn fail_next(&self, after: bool) {
        self.steps.mode.store(1 + u8::from(after), Ordering::SeqCst);
    }

    /// Does what the stages before do, with the index as it is now.
    pub(in crate::dedup) async fn event(&self, seed: u64, idx: u64) -> Record {
        let (upload, signature) = image(seed, idx, self.families, self.noise);
        let row = Write::Put(signature_key(&upload.id), encode(&signature));
        self.store.write(vec![row]).await.expect("writes");
        let subject =
            Subject::new(upload.sha256, signature, self.config.views).expect("a signature");
        let stage = &self.stage;
        let found = stage
            .index
            .search(
                &subject.descriptors.vector,
                stage.limit,
                stage.scorer.floor(),
                EXPLAINED,
            )
            .expect("searches");
        let candidates: Vec<_> = found
            .candidates
            .iter()
            .map(|candidate| (candidate.number, CandidateSource::Index))
            .collect();
        let known = Known {
            state: self.store.as_ref(),
            batch: None,
            is_corrected: false,
        };
        let mut scored = stage
            .scorer
            .assess(&subject, &candidates, Done::default(), &known)
            .await
            .expect("scores");
        keep_relevant(&mut scored, stage.scorer.threshold());
        let event = ScoreEvent {
            upload,
            rejection: None,
            num_indexed: found.num_indexed,
            is_exact: found.is_exact,
            num_candidates: 0,
            num_scored: 0,
            generation: 1,
            num_corrections: 0,
            scored,
            places: Places::default(),
        };
        Record {
            offset: Offset(idx),
            key: bytes::Bytes::copy_from_slice(event.upload.id.as_bytes()),
            payload: encode(&event),
        }
    }

    /// Runs the log through, in batches and with accidents that `random` draws.
    async fn run(&mut self, seed: u64, random: &mut Random) {
        let mut ahead = VecDeque::new();
        let (mut decided, mut prepared) = (0, 0);
        while decided < N_IMAGES {
            let batch = (1 + random.below(100)).min(N_IMAGES - decided);
            let wanted = (decided + batch + random.below(150)).min(N_IMAGES);
            for idx in prepared..wanted {
                ahead.push_back(self.event(seed, idx).await);
            }
            prepared = prepared.max(wanted);
            // One commit in six fails before it is made, one in six after.
            let mode = [1, 2, 0, 0, 0, 0][random.below(6) as usize];
            self.steps.mode.store(mode, Ordering::SeqCst);
            let records: Vec<_> = ahead.drain(..batch as usize).collect();
            while self.commit(&records).await.is_err() {}
            decided += batch;
            if random.below(5) == 0 {
                self.restart(1 + random.below(4) as usize).await;
            }
        }
    }

    pub(in crate::dedup) async fn commit(&self, records: &[Record]) -> Result<(), EngineError> {
        let mut items = Vec::new();
        for record in records {
            items.push(self.stage.prepare(record.clone()).await?);
        }
        let next = records.last().expect("no batch is empty").offset.next();
        let position = Position {
            consumer: ASSIGN_STAGE,
            topic: SCORES,
            partition: PARTITION,
            next,
        };
        self.stage.commit(items, position).await
    }

    /// All decisions, and the members of all clusters, with scores as bits.
    async fn outcome(&self) -> Vec<(Decision, u32, Vec<(String, u32, bool)>)> {
        let mut all = Vec::new();
        for idx in 0..N_IMAGES {
            let id = ImageId::new(format!("i{idx}")).expect("a good id");
            let row = self.store.get(&canonical_key(&id)).await.expect("reads");
            let mut decision = decode_decision(&row.expect("decided")).expect("a decision");
            decision.decided_ms = 0;
            let scan = Scan::all(MEMBERS, bytes::Bytes::copy_from_slice(id.as_bytes()), 1_000);
            let members = self.store.scan(scan).await.expect("reads");
            let members = members
                .iter()
                .map(|row| {
                    let member: MemberRecord = decode("members", &row.value).expect("a member");
                    (
                        member.id.to_string(),
                        member.score.to_bits(),
                        member.exact_copy,
                    )
                })
                .collect();
            let bits = decision.score.map_or(0, f32::to_bits);
            all.push((decision, bits, members));
        }
        all
    }
}

pub(in crate::dedup) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime starts").block_on(future)
}
