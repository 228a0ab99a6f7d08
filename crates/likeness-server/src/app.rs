use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use likeness_core::query::SqlEngine;
use likeness_engine::dedup::Dedup;
use likeness_engine::ops::Scheduler;
use likeness_engine::pins::{PinLake, PinStream, Pins};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::access::Sessions;
use crate::config::ServerConfig;
use crate::error::ServerError;
use crate::{access, api, layers, pages};

/// Renders all metrics of the process as Prometheus text.
pub type MetricsFn = Arc<dyn Fn() -> String + Send + Sync>;

/// What every handler can reach.
pub(crate) struct App {
    pub(crate) dedup: Arc<Dedup>,
    pub(crate) pins: Pins,
    pub(crate) jobs: Arc<Scheduler>,
    pub(crate) stream: Arc<PinStream>,
    pub(crate) lake: Arc<PinLake>,
    pub(crate) sql: Arc<dyn SqlEngine>,
    pub(crate) config: ServerConfig,
    pub(crate) render_metrics: MetricsFn,
    /// Cancelled when the server is to stop; `/readyz` is false from then on, streams end.
    pub(crate) shutdown: CancellationToken,
    pub(crate) sessions: Sessions,
    /// One permit per request that is worked on.
    pub(crate) requests: Arc<Semaphore>,
    /// One permit per open event stream.
    pub(crate) streams: Arc<Semaphore>,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl App {
    /// Returns the most bytes that an image may have.
    pub(crate) fn max_image_bytes(&self) -> u64 {
        self.dedup.config().limits.max_bytes
    }
}

/// Lines of the engine that are served. They run already, and are stopped by whoever made them, afterwards.
#[derive(Debug, Clone)]
pub struct Lines {
    /// Near-duplicates.
    pub dedup: Arc<Dedup>,
    /// Rows and live numbers of pins.
    pub stream: Arc<PinStream>,
    /// Pins on their way into the lake.
    pub lake: Arc<PinLake>,
    /// What runs by the clock.
    pub jobs: Arc<Scheduler>,
    /// Queries over the lake and the tables of pins.
    pub sql: Arc<dyn SqlEngine>,
}

/// Returns the whole HTTP interface, pages included, to be served by [`serve`](crate::serve()) or
/// called in tests.
///
/// # Errors
/// [`ServerError`] if the configuration is invalid, or the system gives no random bytes.
pub fn router(
    lines: Lines,
    config: ServerConfig,
    render_metrics: MetricsFn,
    shutdown: CancellationToken,
) -> Result<Router, ServerError> {
    config.validate()?;
    let Lines {
        dedup,
        stream,
        lake,
        jobs,
        sql,
    } = lines;
    let app = Arc::new(App {
        pins: Pins::new(Arc::clone(&dedup.ports().steps)),
        dedup,
        jobs,
        stream,
        lake,
        sql,
        render_metrics,
        shutdown,
        sessions: Sessions::new()?,
        requests: Arc::new(Semaphore::new(config.max_requests)),
        streams: Arc::new(Semaphore::new(config.max_event_streams)),
        config,
    });
    let mut router = Router::new();
    for route in api::routes() {
        router = router.route(route.path, route.handler);
    }
    // The last layer is the outermost: a request is counted first, and reaches its handler only
    // when there is room and the caller may.
    let router = router
        .merge(pages::router())
        .fallback(pages::unknown_path)
        .method_not_allowed_fallback(pages::method_not_allowed)
        .layer(DefaultBodyLimit::disable()) // `body.rs` has limits that know the form
        .layer(from_fn_with_state(Arc::clone(&app), access::check))
        .layer(from_fn_with_state(Arc::clone(&app), layers::limit_requests))
        .layer(from_fn(layers::close_after_refusal))
        .layer(CatchPanicLayer::custom(layers::answer_panic))
        .layer(from_fn(layers::add_security_headers))
        .layer(from_fn(layers::record))
        .with_state(app);
    Ok(router)
}
