//! The service: ports, index and stages put together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use likeness_core::catalog::Catalog;
use likeness_core::log::{EventLog, Offset, ReadLimits, Topic};
use likeness_core::objects::ObjectStore;
use likeness_core::state::StateStore;
use likeness_core::step::{Consumer, StepStore};
use likeness_core::{Generation, Timestamp};
use likeness_index::OpenedVectors;
use likeness_vision::runtime::queue::ModelPool;
use sha2::Digest;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::assign_stage::{AssignStage, totals};
use super::backlog::Backlog;
use super::banks::Banks;
use super::candidates_stage::CandidatesStage;
use super::compare::{CROP_MARGIN, INVERTED_MARGIN, REGION_MARGIN, ViewsMode};
use super::config::DedupConfig;
use super::erasure::replay::Recorded;
use super::erasure::{Finisher, ObjectLocks, index_bytes};
use super::health::Health;
use super::join::Sweeper;
use super::keeper::Keeper;
use super::live_index::{BLOCK, IndexConfig, LiveIndex, ROTATION_SEED};
use super::looks::Looker;
use super::pairs::PairScorer;
use super::remote_scorer::PairModel;
use super::reviews::GreyZone;
use super::score_stage::ScoreStage;
use super::scorer::Scorer;
use super::signature::{SIGNATURE_MIN_SIDE, Signer};
use super::signature_stage::SignatureStage;
use super::stage::{Stage, StageMeter, StageRunner};
use super::tables::{
    ASSIGN_STAGE, CANDIDATES, CANDIDATES_STAGE, PARTITION, SCORE_STAGE, SCORES, SIGNATURE_STAGE,
    SIGNATURES, UPLOADS,
};
use super::waiters::Waiters;
use crate::EngineError;
use crate::cpu::CpuPool;
use crate::large::LargePictures;

/// Setting of the catalog that names the model all embeddings of this data are of.
const MODEL_SETTING: &str = "dedup.model_sha256";
/// How long stages may take to finish what they are at when shut down.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// What the service stands on.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Events.
    pub log: Arc<dyn EventLog>,
    /// Rows.
    pub state: Arc<dyn StateStore>,
    /// Commits over both.
    pub steps: Arc<dyn StepStore>,
    /// Bytes of images.
    pub objects: Arc<dyn ObjectStore>,
    /// Generations and settings.
    pub catalog: Arc<dyn Catalog>,
}

/// Near-duplicate detection: takes images, decides, answers.
#[derive(Debug)]
pub struct Dedup {
    pub(super) ports: Ports,
    pub(super) config: DedupConfig,
    pub(super) cpu: CpuPool,
    pub(super) signer: Signer,
    pub(super) scorer: Arc<PairScorer>,
    pub(super) index: Arc<LiveIndex>,
    pub(super) banks: Arc<Banks>,
    /// Held by the one scan of stored images that works.
    pub(super) scanning: tokio::sync::Mutex<()>,
    pub(super) waiters: Arc<Waiters>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) object_locks: Arc<ObjectLocks>,
    pub(super) finisher: Arc<Finisher>,
    /// One proof of an erasure at a time: it reads everything.
    pub(super) proving: tokio::sync::Semaphore,
    /// One reclustering is applied at a time.
    pub(super) reclustering: tokio::sync::Semaphore,
    pub(super) health: Arc<Health>,
    pub(super) shutdown: CancellationToken,
    pub(super) joins: Arc<Sweeper>,
    /// The model that the index holds embeddings of.
    pub(super) model: String,
    /// The model that runs here.
    pub(super) own_model: String,
    pub(super) generation: Generation,
    pub(super) started: Timestamp,
    /// In the order of the pipeline.
    pub(super) meters: Vec<(&'static str, Arc<StageMeter>)>,
    /// Held while two scorers are compared.
    pub(super) comparing: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
}

impl Dedup {
    /// Opens what is there, loads the index and starts the stages. `vectors` is where the index keeps exact
    /// vectors: derived, but quicker to read than the rows they come from.
    ///
    /// # Errors
    /// [`EngineError::ModelMismatch`] if the data holds embeddings of another model; if a store
    /// fails or holds what it should not.
    pub async fn start(
        ports: Ports,
        vectors: OpenedVectors,
        embedder: Arc<ModelPool>,
        scorer: impl Into<PairModel>,
        config: DedupConfig,
    ) -> Result<Arc<Self>, EngineError> {
        let started_loading = Instant::now();
        let spec = embedder.spec().clone();
        config
            .join
            .check(config.views)
            .map_err(|reason| EngineError::InvalidParameter {
                name: "dedup.join",
                reason,
            })?;
        let own_model = format!("{} {}", spec.model, spec.version);
        let (digest, model, dim) = match config.join.primary() {
            Some(kind) => (
                format!("{} of {} as {}", kind.model, kind.dimension, kind.name),
                kind.model.clone(),
                kind.dimension,
            ),
            None => (spec.digest.clone(), own_model.clone(), spec.dim),
        };
        check_model(ports.catalog.as_ref(), &digest).await?;
        let cpu = CpuPool::new(config.cpu_threads);
        let large = LargePictures::default();
        let mut scorer = PairScorer::new(scorer, config.threshold, config.views);
        let can_look = scorer.scorer().is_some_and(Scorer::can_look);
        if can_look && config.max_looks == 0 {
            scorer = scorer.without_looks(config.threshold);
        } else if can_look {
            let objects = Arc::clone(&ports.objects);
            // Threads of their own: a decision does not wait for the decoding of later images.
            let threads = CpuPool::new(config.cpu_threads);
            let bounds = (config.limits.clone(), large.clone());
            scorer = scorer.with_looker(Looker::new(objects, threads, bounds, config.max_looks));
        }
        let scorer = Arc::new(scorer);
        let generation = ensure_generation(&ports, &spec, &scorer, &config).await?;

        let num_images = totals(ports.state.as_ref()).await?.images;
        let index_config = IndexConfig::of(&config, dim);
        let index =
            LiveIndex::open(ports.state.as_ref(), vectors, index_config, num_images).await?;
        let index = Arc::new(index);
        index_bytes(&ports).await?;
        let object_locks = Arc::new(ObjectLocks::default());
        let finisher = Finisher::new(
            Arc::clone(&ports.state),
            Arc::clone(&ports.objects),
            Arc::clone(&object_locks),
        );
        let finisher = Arc::new(finisher.with_looker(scorer.looker()));
        // What a crash has left of an erasure.
        if let Err(error) = finisher.run().await {
            warn!(%error, "cannot delete the bytes of an erased image, will try again");
        }
        let pending = count_pending(&ports, config.max_pending).await?;
        info!(
            images = num_images,
            pending,
            generation = generation.0,
            elapsed = ?started_loading.elapsed(),
            "index loaded"
        );

        let signer = Signer::new(cpu.clone(), embedder, config.limits.clone())
            .with_views(config.views.config())
            .with_large(large);
        let joins = Arc::new(Sweeper::new(
            Arc::clone(&ports.state),
            Arc::clone(&ports.steps),
            config.join.clone(),
        ));
        // What a crash has left to be moved to the orphans.
        if !config.join.is_off() {
            joins.sweep().await?;
        }
        let service = Arc::new(Self {
            joins,
            backlog: Arc::new(Backlog::new(
                pending,
                config.max_pending,
                config.max_bytes_in_flight,
            )),
            model,
            own_model,
            meters: [
                SignatureStage::NAME,
                CandidatesStage::NAME,
                ScoreStage::NAME,
                AssignStage::NAME,
            ]
            .map(|name| (name, Arc::new(StageMeter::default())))
            .to_vec(),
            object_locks,
            finisher,
            proving: tokio::sync::Semaphore::new(1),
            reclustering: tokio::sync::Semaphore::new(1),
            ports,
            config,
            cpu,
            signer,
            banks: Arc::new(Banks::new(dim, scorer.views())),
            scanning: tokio::sync::Mutex::default(),
            scorer,
            index,
            waiters: Arc::default(),
            health: Arc::default(),
            shutdown: CancellationToken::new(),
            generation,
            started: Timestamp::now(),
            comparing: tokio::sync::Mutex::default(),
            tasks: TaskTracker::new(),
        });
        service.start_stages(dim);
        Ok(service)
    }

    fn start_stages(&self, dim: usize) {
        let Ports {
            log,
            state,
            steps,
            objects,
            ..
        } = &self.ports;
        let runner = StageRunner {
            log: Arc::clone(log),
            steps: Arc::clone(steps),
            health: Arc::clone(&self.health),
            shutdown: self.shutdown.clone(),
            concurrency: self.config.stage_concurrency,
            max_commit: self.config.max_commit,
        };
        self.spawn(
            &runner,
            SignatureStage {
                objects: Arc::clone(objects),
                state: Arc::clone(state),
                steps: Arc::clone(steps),
                backlog: Arc::clone(&self.backlog),
                signer: match self.config.join.primary {
                    Some(_) => self.signer.clone().without_embedding(),
                    None => self.signer.clone(),
                },
                own: self.signer.clone(),
                joins: Arc::clone(&self.joins),
            },
        );
        self.spawn(
            &runner,
            CandidatesStage {
                state: Arc::clone(state),
                steps: Arc::clone(steps),
                index: Arc::clone(&self.index),
                cpu: self.cpu.clone(),
                limit: self.config.max_candidates,
                floor: self.scorer.floor(),
                views: self.scorer.views(),
            },
        );
        self.spawn(
            &runner,
            ScoreStage {
                state: Arc::clone(state),
                steps: Arc::clone(steps),
                scorer: Arc::clone(&self.scorer),
                generation: self.generation,
            },
        );
        self.spawn(
            &runner,
            AssignStage {
                state: Arc::clone(state),
                steps: Arc::clone(steps),
                log: Arc::clone(log),
                recorded: Recorded::new(Arc::clone(log), Arc::clone(state), Arc::clone(steps)),
                finisher: Arc::clone(&self.finisher),
                index: Arc::clone(&self.index),
                // Threads of its own: decisions do not queue behind the decoding of later images.
                cpu: CpuPool::new(self.config.cpu_threads),
                threads: self.config.cpu_threads.max(1),
                scorer: Arc::clone(&self.scorer),
                keeper: self.config.keeper,
                waiters: Arc::clone(&self.waiters),
                backlog: Arc::clone(&self.backlog),
                generation: self.generation,
                model: self.model.clone(),
                dim,
                limit: self.config.max_candidates,
                banks: Arc::clone(&self.banks),
                bank_limits: self.config.banks,
                flood: self.config.flood,
                grey: GreyZone::of(&self.config.review, self.scorer.threshold()),
            },
        );
        self.tasks.close();
    }

    fn spawn<S: Stage>(&self, runner: &StageRunner, stage: S) {
        let (_, meter) = self
            .meters
            .iter()
            .find(|(name, _)| *name == S::NAME)
            .expect("every stage has a meter");
        self.tasks
            .spawn(runner.clone().run(stage, Arc::clone(meter)));
    }

    /// Returns what the service stands on, for other lines of the engine, which share it.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Returns what the service was started with.
    pub fn config(&self) -> &DedupConfig {
        &self.config
    }

    /// Returns whether the service is fit for traffic.
    ///
    /// # Errors
    /// Why it is not.
    pub fn ready(&self) -> Result<(), String> {
        self.health.check()?;
        self.health.check_stalled()
    }

    /// Waits until everything accepted so far is decided.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] if a stage has failed for good, [`EngineError::ShuttingDown`].
    pub async fn drain(&self) -> Result<(), EngineError> {
        while self.backlog.pending() > 0 {
            if self.health.is_stopping() {
                return Err(EngineError::ShuttingDown);
            }
            self.health.check().map_err(EngineError::Stopped)?;
            self.backlog.progress().await;
        }
        Ok(())
    }

    /// Stops the stages after what they are at, and syncs. What is not decided goes on when the
    /// data is opened again.
    pub async fn shutdown(&self) {
        self.health.stop();
        self.shutdown.cancel();
        if tokio::time::timeout(DRAIN_TIMEOUT, self.tasks.wait())
            .await
            .is_err()
        {
            warn!("stages did not stop in time; their work will be done again");
        }
        if let Err(error) = self.ports.steps.sync().await {
            warn!(%error, "could not sync; decisions of the last moments may be made again");
        }
    }
}

/// Refuses data whose embeddings are of another model: they cannot be compared.
async fn check_model(catalog: &dyn Catalog, digest: &str) -> Result<(), EngineError> {
    catalog
        .compare_and_set_setting(MODEL_SETTING, None, Some(digest))
        .await?;
    match catalog.setting(MODEL_SETTING).await? {
        Some(stored) if stored == digest => Ok(()),
        stored => Err(EngineError::ModelMismatch {
            stored: stored.unwrap_or_default(),
            configured: digest.to_owned(),
        }),
    }
}

/// Returns the generation of these models and parameters.
async fn ensure_generation(
    ports: &Ports,
    spec: &likeness_vision::runtime::EmbedderSpec,
    scorer: &PairScorer,
    config: &DedupConfig,
) -> Result<Generation, EngineError> {
    let mut index = config.index_scheme.parameters(ROTATION_SEED);
    index["probes"] = config.index_probes.into();
    index["epsilon"] = config.index_epsilon.into();
    index["exact_below"] = config.exact_below.into();
    index["block"] = BLOCK.into();
    let mut parameters = serde_json::json!({
        "model": { "name": spec.model, "version": spec.version, "sha256": spec.digest },
        "signature": { "min_side": SIGNATURE_MIN_SIDE, "input_side": spec.input_side },
        "index": index,
        "max_candidates": config.max_candidates,
        "scorer": scorer.id(),
        "threshold": scorer.threshold(),
        "flood": {
            "window_ms": u64::try_from(config.flood.window.as_millis()).unwrap_or(u64::MAX),
            "quarantine_after": config.flood.quarantine_after,
            "max_cluster": config.flood.max_cluster,
        },
    });
    if !config.join.is_off() {
        parameters["join"] = serde_json::json!({
            "primary": config.join.primary().map(|kind| [kind.name.clone(), kind.model.clone()]),
            "dimension": config.join.primary().map(|kind| kind.dimension),
            "required": config.join.required_kinds(),
        });
    }
    // Without views the parameters are those of before there were any.
    if config.views != ViewsMode::Off {
        parameters["views"] = serde_json::json!({
            "mode": config.views,
            "margins": {
                "region": REGION_MARGIN,
                "inverted": INVERTED_MARGIN,
                "crop": CROP_MARGIN,
            },
        });
    }
    // Likewise without a model that is served elsewhere.
    if scorer.scorer().is_none() {
        parameters["features"] = serde_json::json!(scorer.model().reads());
    }
    // Likewise without looks.
    if scorer.max_looks() > 0 {
        parameters["max_looks"] = serde_json::json!(scorer.max_looks());
    }
    if config.keeper != Keeper::First {
        parameters["keeper"] = serde_json::json!(config.keeper);
    }
    let digest = sha2::Sha256::digest(parameters.to_string());
    let fingerprint = likeness_core::Sha256(digest.into()).to_string();
    let record = ports
        .catalog
        .ensure_generation(&fingerprint, &parameters, Timestamp::now())
        .await?;
    Ok(record.generation)
}

/// Counts what lies between the stages, up to a little more than `max`: beyond it uploads are
/// refused anyway.
async fn count_pending(ports: &Ports, max: u64) -> Result<u64, EngineError> {
    let links: [(Consumer, Topic); 4] = [
        (SIGNATURE_STAGE, UPLOADS),
        (CANDIDATES_STAGE, SIGNATURES),
        (SCORE_STAGE, CANDIDATES),
        (ASSIGN_STAGE, SCORES),
    ];
    let mut pending = 0;
    for (consumer, topic) in links {
        let mut from: Offset = ports.steps.position(consumer, topic, PARTITION).await?;
        while pending <= max {
            let page = ports
                .log
                .read(topic, PARTITION, from, ReadLimits::default())
                .await?;
            let Some(last) = page.last() else { break };
            from = last.offset.next();
            pending += page.len() as u64;
        }
    }
    Ok(pending)
}
