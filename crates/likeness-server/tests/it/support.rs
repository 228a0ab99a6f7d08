//! A server to talk to, and pictures to send.

use std::sync::{Arc, Condvar, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use image::{ImageFormat, RgbImage};
use likeness_adapters::{
    MemoryCatalog, MemoryJobs, MemoryLake, MemoryObjectStore, MemoryStore, MemoryTables,
};
use likeness_engine::dedup::scorer::Scorer;
use likeness_engine::dedup::{Dedup, DedupConfig, OpenedVectors, Ports};
use likeness_engine::ops::Scheduler;
use likeness_engine::pins::{LakeConfig, PinLake, PinStream, StreamConfig};
use likeness_server::{Lines, MetricsFn, ServerConfig, router};
use likeness_vision::runtime::fake::TestEmbedder;
use likeness_vision::runtime::queue::{ModelPool, PoolConfig};
use likeness_vision::runtime::{Embedder, EmbedderSpec, Embedding, ModelError};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::sql::FakeSql;

/// A server without a socket.
pub(crate) struct Server {
    pub(crate) dedup: Arc<Dedup>,
    pub(crate) stream: Arc<PinStream>,
    pub(crate) router: Router,
    pub(crate) shutdown: CancellationToken,
    gate: Option<Arc<Gate>>,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Holds images back before they are embedded, so that a test can see them undecided.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn closed() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let closed = self.is_open.lock().unwrap();
        drop(self.opened.wait_while(closed, |is_open| !*is_open).unwrap());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that failed must not hang on the model's thread.
        if let Some(gate) = &self.gate {
            gate.open();
        }
    }
}

#[derive(Debug)]
struct GatedEmbedder {
    inner: TestEmbedder,
    gate: Option<Arc<Gate>>,
}

impl Embedder for GatedEmbedder {
    fn spec(&self) -> &EmbedderSpec {
        self.inner.spec()
    }

    fn embed(
        &self,
        batch: &[likeness_vision::pixels::RgbImage],
    ) -> Result<Vec<Embedding>, ModelError> {
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        self.inner.embed(batch)
    }
}

pub(crate) async fn start_dedup(config: DedupConfig, gate: Option<Arc<Gate>>) -> Arc<Dedup> {
    let store = Arc::new(MemoryStore::new());
    let ports = Ports {
        log: store.clone(),
        state: store.clone(),
        steps: store,
        objects: Arc::new(MemoryObjectStore::new()),
        catalog: Arc::new(MemoryCatalog::new()),
    };
    let pool = PoolConfig {
        n_threads: 1,
        ..PoolConfig::default()
    };
    let embedder = GatedEmbedder {
        inner: TestEmbedder::default(),
        gate,
    };
    let models = ModelPool::start(Arc::new(embedder), &pool).unwrap();
    let vectors = OpenedVectors::memory(models.spec().dim);
    Dedup::start(
        ports,
        vectors,
        Arc::new(models),
        Scorer::regression(),
        config,
    )
    .await
    .unwrap()
}

/// All that is served, around `dedup`; no jobs.
pub(crate) fn lines(dedup: &Arc<Dedup>) -> Lines {
    let (catalog, jobs) = (MemoryCatalog::new(), MemoryJobs::new());
    Lines {
        dedup: Arc::clone(dedup),
        stream: start_stream(dedup),
        lake: start_lake(dedup),
        jobs: Scheduler::new(Arc::new(catalog), Arc::new(jobs), Vec::new()),
        sql: Arc::new(FakeSql::default()),
    }
}

/// Starts the stream of pins over what `dedup` logs, into memory.
pub(crate) fn start_stream(dedup: &Dedup) -> Arc<PinStream> {
    let (log, tables) = (dedup.ports().log.clone(), MemoryTables::new());
    let config = StreamConfig::default();
    Arc::new(PinStream::start(log, Arc::new(tables), config))
}

/// Starts the way of pins into a lake in memory.
pub(crate) fn start_lake(dedup: &Dedup) -> Arc<PinLake> {
    let (log, lake) = (dedup.ports().log.clone(), MemoryLake::new());
    Arc::new(PinLake::start(log, Arc::new(lake), LakeConfig::default()))
}

pub(crate) fn no_metrics() -> MetricsFn {
    Arc::new(|| "likeness_test_metric 1\n".to_owned())
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(DedupConfig::default(), ServerConfig::default()).await
    }

    pub(crate) async fn with(dedup: DedupConfig, config: ServerConfig) -> Self {
        Self::build(None, dedup, config).await
    }

    /// Starts a server whose queries `sql` answers.
    pub(crate) async fn asking(sql: FakeSql) -> Self {
        let dedup = start_dedup(DedupConfig::default(), None).await;
        let lines = Lines {
            sql: Arc::new(sql),
            ..lines(&dedup)
        };
        Self::around(lines, None, ServerConfig::default())
    }

    /// Starts a server that decides nothing until `gate` is opened.
    pub(crate) async fn gated(gate: &Arc<Gate>, dedup: DedupConfig, config: ServerConfig) -> Self {
        Self::build(Some(Arc::clone(gate)), dedup, config).await
    }

    async fn build(gate: Option<Arc<Gate>>, dedup: DedupConfig, config: ServerConfig) -> Self {
        let dedup = start_dedup(dedup, gate.clone()).await;
        Self::around(lines(&dedup), gate, config)
    }

    fn around(lines: Lines, gate: Option<Arc<Gate>>, config: ServerConfig) -> Self {
        let shutdown = CancellationToken::new();
        let (dedup, stream) = (lines.dedup.clone(), lines.stream.clone());
        let router = router(lines, config, no_metrics(), shutdown.clone()).unwrap();
        Self {
            dedup,
            stream,
            router,
            shutdown,
            gate,
        }
    }

    /// Sends `request`, as from this machine unless it names a host.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Response {
        request
            .headers_mut()
            .entry("host")
            .or_insert("localhost:7878".parse().unwrap());
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.send(request).await;
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: to_bytes(body, usize::MAX).await.unwrap().to_vec(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.answer(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    /// Posts bytes as they are.
    pub(crate) async fn post(&self, path: &str, content_type: &str, body: Vec<u8>) -> Answer {
        self.answer(post(path, content_type, body)).await
    }

    /// Stores a picture and waits for its decision.
    #[track_caller]
    pub(crate) fn store(&self, id: &str, bytes: Vec<u8>) -> impl Future<Output = Value> {
        let path = format!("/v1/images?wait=true&id={}", encode(id));
        let answer = self.answer(post(&path, "image/png", bytes));
        async move {
            let answer = answer.await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.json()["decision"].clone()
        }
    }
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is the error `code` with `status`, in the one form that errors have.
    #[track_caller]
    pub(crate) fn check_error(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        let json = self.json();
        assert_eq!(json["error"]["code"], code, "{json}");
        assert!(!json["error"]["message"].as_str().unwrap().is_empty());
    }
}

pub(crate) fn post(path: &str, content_type: &str, body: Vec<u8>) -> Request<Body> {
    Request::post(path)
        .header("content-type", content_type)
        .header("content-length", body.len())
        .body(Body::from(body))
        .unwrap()
}

pub(crate) fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A picture of 16 × 16 blocks in colours of its own.
pub(crate) fn picture(seed: u64) -> RgbImage {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let blocks: Vec<[u8; 3]> = (0..256)
        .map(|_| {
            // xorshift64: any stream of bits will do, as long as it is always the same.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let [red, green, blue, ..] = state.to_be_bytes();
            [red, green, blue]
        })
        .collect();
    RgbImage::from_fn(256, 256, |x, y| {
        image::Rgb(blocks[(y / 16 * 16 + x / 16) as usize])
    })
}

pub(crate) fn png(picture: &RgbImage) -> Vec<u8> {
    encoded(picture, ImageFormat::Png)
}

pub(crate) fn jpeg(picture: &RgbImage) -> Vec<u8> {
    encoded(picture, ImageFormat::Jpeg)
}

fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A `multipart/form-data` body of `(name, file name, bytes)`, and its content type.
pub(crate) fn form(parts: &[(&str, Option<&str>, &[u8])]) -> (String, Vec<u8>) {
    const BOUNDARY: &str = "----likeness-test";
    let mut body = Vec::new();
    for (name, file_name, bytes) in parts {
        let file_name = file_name.map_or(String::new(), |name| format!("; filename=\"{name}\""));
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file_name}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={BOUNDARY}"), body)
}
