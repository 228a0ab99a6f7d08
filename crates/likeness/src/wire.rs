//! The only place where adapters, models and the engine are joined.

mod pins;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use likeness_adapters::{
    EmbeddedConfig, EmbeddedStore, FolderConfig, MemoryCatalog, MemoryObjectStore, MemoryStore,
    OpenInferenceConfig, SqliteCatalog, SqliteConfig, VectorFileConfig, open_embedded, open_folder,
    open_inference, open_sqlite, open_vector_file,
};
use likeness_core::StoreResult;
use likeness_core::objects::ObjectStore;
use likeness_core::scoring::RowScorer;
use likeness_engine::dedup::remote_scorer::{PairModel, RemoteModel};
use likeness_engine::dedup::scorer::Scorer;
use likeness_engine::dedup::{Dedup, DedupConfig, JoinConfig, Ports, ReclusterPlan};
use likeness_engine::ops::{Covers, Scheduler};
use likeness_engine::pins::{PinLake, PinStream};
use likeness_index::OpenedVectors;
use likeness_server::Lines;
use likeness_vision::models::manifest::{Manifest, ModelKind};
use likeness_vision::models::store::{ModelStore, StoreError as ModelStoreError, StoredModel};
use likeness_vision::runtime::onnx::{OnnxEmbedder, OnnxRuntime};
use likeness_vision::runtime::queue::{ModelPool, PoolConfig};

use crate::cli::Context;
use crate::config::{DedupSection, StoresConfig, or_default};
use crate::error::Refusal;
use crate::onnx_scorer::OnnxScorer;
use crate::scorer_model::{Address, address, is_model, onnx_file};

pub(crate) use pins::open_sql;

/// Opens the data directory, making it if need be.
///
/// # Errors
/// If models are missing, another process has the directory open, or a store cannot be read.
pub(crate) async fn open(context: &Context) -> anyhow::Result<Arc<Dedup>> {
    // Models first: without them nothing should be created.
    let models = load_models(context).await?;
    let ports = embedded_ports(&context.data_dir, &context.config.stores).await?;
    open_with(context, ports, models).await
}

async fn open_with(
    context: &Context,
    ports: Ports,
    models: Arc<ModelPool>,
) -> anyhow::Result<Arc<Dedup>> {
    let config = context.config.dedup_config();
    let dim = match config.join.primary() {
        Some(kind) => kind.dimension,
        None => models.spec().dim,
    };
    let vectors = vector_file(&context.data_dir, dim).await?;
    start(context, ports, vectors, models, config).await
}

/// Opens the data directory, and starts all that is served.
///
/// # Errors
/// As [`open`].
pub(crate) async fn open_lines(context: &Context) -> anyhow::Result<Lines> {
    let models = load_models(context).await?;
    let (ports, catalog) = embedded_stores(&context.data_dir, &context.config.stores).await?;
    let (log, objects) = (ports.log.clone(), ports.objects.clone());
    let dedup = open_with(context, ports, models).await?;
    let pins = match pins::open(context, objects).await {
        Ok(pins) => pins,
        Err(error) => {
            dedup.shutdown().await;
            return Err(error);
        }
    };
    let config = &context.config;
    let plan = Arc::new(ReclusterPlan::new(Arc::clone(&dedup)));
    let daily = Arc::new(pins.daily(log.clone()));
    let specs = vec![
        config.jobs.recluster_plan.spec(plan, Covers::DayBefore),
        config.jobs.pins_daily.spec(daily, Covers::DayBefore),
    ];
    let jobs = Scheduler::new(catalog.clone(), catalog, specs);
    jobs.start();
    let lake = PinLake::start(log.clone(), pins.lake.clone(), config.pins.lake.config());
    Ok(Lines {
        dedup,
        stream: Arc::new(PinStream::start(log, pins.tables, config.pins.config())),
        lake: Arc::new(lake),
        jobs,
        sql: pins.sql,
    })
}

/// Stops what [`open_lines`] has started, along the way of the data: what reads the log goes before what writes it.
pub(crate) async fn close_lines(lines: Lines) {
    lines.jobs.stop().await;
    tokio::join!(lines.stream.shutdown(), lines.lake.shutdown());
    lines.dedup.shutdown().await;
}

/// Opens stores in memory, for what is not to be kept. The object store is returned as well, so
/// that the caller can drop bytes that are no longer needed.
///
/// # Errors
/// If models are missing.
pub(crate) async fn open_in_memory(
    context: &Context,
) -> anyhow::Result<(Arc<Dedup>, Arc<dyn ObjectStore>)> {
    let models = load_models(context).await?;
    let store = Arc::new(MemoryStore::new());
    let objects: Arc<dyn ObjectStore> = Arc::new(MemoryObjectStore::new());
    let ports = Ports {
        log: store.clone(),
        state: store.clone(),
        steps: store,
        objects: objects.clone(),
        catalog: Arc::new(MemoryCatalog::new()),
    };
    let vectors = OpenedVectors::memory(models.spec().dim);
    let config = without_join(context);
    Ok((
        start(context, ports, vectors, models, config).await?,
        objects,
    ))
}

/// Opens embedded stores in a folder of their own, with models that are loaded already.
///
/// # Errors
/// If a store cannot be made.
pub(crate) async fn open_at(
    context: &Context,
    folder: &Path,
    models: Arc<ModelPool>,
) -> anyhow::Result<Arc<Dedup>> {
    let ports = embedded_ports(folder, &context.config.stores).await?;
    let vectors = vector_file(folder, models.spec().dim).await?;
    start(context, ports, vectors, models, without_join(context)).await
}

/// For what is looked at and not kept: nobody sends embeddings for it.
fn without_join(context: &Context) -> DedupConfig {
    DedupConfig {
        join: JoinConfig::default(),
        ..context.config.dedup_config()
    }
}

async fn start(
    context: &Context,
    ports: Ports,
    vectors: OpenedVectors,
    models: Arc<ModelPool>,
    config: DedupConfig,
) -> anyhow::Result<Arc<Dedup>> {
    let scorer = open_scorer(context).await?;
    Dedup::start(ports, vectors, models, scorer, config)
        .await
        .context("cannot start near-duplicate detection")
}

/// Opens the embedded stores in `data_dir`:
/// ```text
/// store/         log and state, one RocksDB
/// objects/       images, thumbnails
/// catalog.sqlite generations, leases
/// index/         exact vectors of the index, by `vector_file`
/// pins.sqlite3   rows and numbers of pins, by `pins`
/// spill/         what queries do not hold in memory, by `pins`
/// ```
async fn embedded_stores(
    data_dir: &Path,
    config: &StoresConfig,
) -> anyhow::Result<(Ports, Arc<SqliteCatalog>)> {
    let cannot_open = || format!("cannot open the data directory `{}`", data_dir.display());
    let store = open_store(&data_dir.join("store"), config)
        .await
        .with_context(cannot_open)?;
    let objects = FolderConfig {
        path: data_dir.join("objects"),
    };
    let catalog = SqliteConfig {
        path: data_dir.join("catalog.sqlite"),
    };
    let (objects, catalog) = tokio::task::spawn_blocking(move || -> StoreResult<_> {
        Ok((open_folder(&objects)?, open_sqlite(&catalog)?))
    })
    .await?
    .with_context(cannot_open)?;
    let ports = Ports {
        log: store.clone(),
        state: store.clone(),
        steps: store,
        objects,
        catalog: catalog.clone(),
    };
    Ok((ports, catalog))
}

async fn embedded_ports(data_dir: &Path, config: &StoresConfig) -> anyhow::Result<Ports> {
    let (ports, _) = embedded_stores(data_dir, config).await?;
    Ok(ports)
}

/// Opens the file of exact vectors.
///
/// # Errors
/// If it cannot be read, or is of another model.
async fn vector_file(data_dir: &Path, dim: usize) -> anyhow::Result<OpenedVectors> {
    let config = VectorFileConfig {
        path: data_dir.join("index/vectors.bin"),
        dim,
    };
    Ok(tokio::task::spawn_blocking(move || open_vector_file(&config)).await??)
}

/// Opens log and state. RocksDB may have to read its write-ahead log first.
///
/// # Errors
/// If another process has it open, or it cannot be read.
pub(crate) async fn open_store(
    folder: &Path,
    config: &StoresConfig,
) -> anyhow::Result<Arc<EmbeddedStore>> {
    let config = EmbeddedConfig {
        block_cache_bytes: config.block_cache.as_usize(),
        write_buffer_bytes: config.write_buffer.as_usize(),
        ..EmbeddedConfig::new(folder)
    };
    Ok(tokio::task::spawn_blocking(move || open_embedded(&config)).await??)
}

/// Loads the copy-detection model and starts its threads.
///
/// # Errors
/// [`Refusal::Missing`] names the command that obtains what is missing.
pub(crate) async fn load_models(context: &Context) -> anyhow::Result<Arc<ModelPool>> {
    let config = context.config.models.clone();
    let store = ModelStore::new(context.models_dir.clone());
    tokio::task::spawn_blocking(move || {
        let n_threads = or_default(config.threads, PoolConfig::default().n_threads);
        let embedder = open_embedder(&store, &config.embedder, n_threads)?;
        let pool = PoolConfig {
            n_threads,
            capacity: config.queue,
            max_batch: config.max_batch,
            max_wait: Duration::ZERO,
        };
        Ok(Arc::new(ModelPool::start(Arc::new(embedder), &pool)?))
    })
    .await?
}

/// Opens the model `name` with so many sessions.
///
/// # Errors
/// As [`load_models`].
pub(crate) fn open_embedder(
    store: &ModelStore,
    name: &str,
    n_sessions: usize,
) -> anyhow::Result<OnnxEmbedder> {
    let library = resolve_runtime(store)?;
    let model = resolve(store, name)?;
    let runtime = OnnxRuntime::load(&library.path)?;
    let embedder = OnnxEmbedder::open(&runtime, &model.path, &model.manifest, n_sessions)?;
    Ok(embedder)
}

/// Returns the inference library for this machine.
fn resolve_runtime(store: &ModelStore) -> anyhow::Result<StoredModel> {
    let is_library =
        |manifest: &Manifest| manifest.kind == ModelKind::Runtime && manifest.fits_host();
    let mut models = store.list()?.into_iter().map(|model| model.manifest);
    match models.rfind(is_library) {
        Some(library) => resolve(store, &format!("{}@{}", library.name, library.version)),
        None => Err(missing("the inference library", store)),
    }
}

fn resolve(store: &ModelStore, name: &str) -> anyhow::Result<StoredModel> {
    store.resolve(name).map_err(|error| match error {
        ModelStoreError::NotFound { .. } => missing(&format!("model `{name}`"), store),
        error => error.into(),
    })
}

fn missing(what: &str, store: &ModelStore) -> anyhow::Error {
    Refusal::Missing.because(format!(
        "{what} is not in `{}`; `likeness models pull` obtains it",
        store.root().display()
    ))
}

/// Opens what scores pairs: a scorer of ours, an ONNX file, or a model on a server.
///
/// # Errors
/// As [`load_scorer`]; if the server does not answer, or the model is of another form.
async fn open_scorer(context: &Context) -> anyhow::Result<PairModel> {
    let config = &context.config.dedup;
    if let Some(file) = onnx_file(&config.scorer) {
        let (file, store) = (file.to_owned(), ModelStore::new(context.models_dir.clone()));
        let n_features = config.scorer_model.features.len();
        let opened = tokio::task::spawn_blocking(move || {
            let runtime = OnnxRuntime::load(&resolve_runtime(&store)?.path)?;
            OnnxScorer::open(&runtime, &file, n_features)
        });
        return rows_model(config, Arc::new(opened.await??));
    }
    let refuse = |reason| Refusal::Input.because(reason);
    let Some(Address { url, model }) = address(&config.scorer).map_err(refuse)? else {
        return Ok(load_scorer(Path::new(&config.scorer))?.into());
    };
    let section = &config.scorer_model;
    let remote = OpenInferenceConfig {
        url: url.to_owned(),
        model: model.to_owned(),
        n_features: section.features.len(),
        timeout: section.timeout.0,
        max_rows: section.max_pairs,
    };
    let opened = tokio::task::spawn_blocking(move || open_inference(remote)).await?;
    let model = opened.with_context(|| format!("cannot use the scorer `{}`", config.scorer))?;
    rows_model(config, Arc::new(model))
}

/// Returns what scores pairs by rows of features.
fn rows_model(config: &DedupSection, model: Arc<dyn RowScorer>) -> anyhow::Result<PairModel> {
    let section = &config.scorer_model;
    let (threshold, floor) = (config.threshold, section.cosine_floor);
    let model = RemoteModel::new(model, &section.features, threshold, floor);
    let model = model.map_err(|reason| Refusal::Input.because(reason))?;
    Ok(PairModel::Remote(model))
}

/// Reads the scorer that the configuration names, for what scores pairs in this process only.
///
/// # Errors
/// As [`load_scorer`]; if it is served elsewhere.
pub(crate) fn scorer_file(scorer: &str) -> anyhow::Result<Scorer> {
    if is_model(scorer) {
        return Err(Refusal::Input.because(format!(
            "`dedup.scorer` is `{scorer}`; this command needs a file, or none"
        )));
    }
    load_scorer(Path::new(scorer))
}

/// Reads the scorer in `file`, or returns the built-in one of that name, or the newest for an empty path.
///
/// # Errors
/// If the file cannot be read or is no scorer.
pub(crate) fn load_scorer(file: &Path) -> anyhow::Result<Scorer> {
    if file.as_os_str().is_empty() {
        return Ok(Scorer::builtin());
    }
    if let Some(builtin) = Scorer::builtins().find(|builtin| Path::new(&builtin.id()) == file) {
        return Ok(builtin);
    }
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the scorer `{}`", file.display()))?;
    Scorer::from_json(&text)
        .map_err(|error| Refusal::Input.because(format!("scorer `{}`: {error}", file.display())))
}
