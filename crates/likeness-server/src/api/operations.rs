use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use likeness_engine::dedup::scorer_view::ScorerView;
use likeness_engine::dedup::view::Overview;
use utoipa::openapi::OpenApi;

use crate::app::App;
use crate::error::{ApiError, ErrorBody};
use crate::openapi;
use crate::query::{NoQuery, StrictQuery};

/// Returns the state of the whole.
#[utoipa::path(
    get, path = "/v1/overview", tag = "operations",
    responses(
        (status = 200, description = "Counts, rates and stages", body = Overview),
        (status = 400, description = "`invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn overview(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Result<Json<Overview>, ApiError> {
    Ok(Json(app.dedup.overview().await?))
}

/// Returns the scorer that decides: its threshold, what it reads, and how well it did.
#[utoipa::path(
    get, path = "/v1/scorer", tag = "operations",
    responses(
        (status = 200, description = "Threshold, features, curves", body = ScorerView),
        (status = 400, description = "`invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn scorer(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Json<ScorerView> {
    Json(app.dedup.scorer_view())
}

/// Returns this document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object)),
)]
pub(crate) async fn openapi_document() -> Json<OpenApi> {
    Json(openapi::openapi())
}

/// Tells that the process lives.
#[utoipa::path(
    get, path = "/healthz", tag = "operations",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain")),
)]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Tells whether the server takes work: not while it loads, fails or stops.
#[utoipa::path(
    get, path = "/readyz", tag = "operations",
    responses(
        (status = 200, description = "It does", body = String, content_type = "text/plain"),
        (status = 503, description = "`not_ready`, with the reason", body = ErrorBody),
    ),
)]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Result<&'static str, ApiError> {
    if app.shutdown.is_cancelled() {
        return Err(ApiError::NotReady("shutting down".to_owned()));
    }
    app.dedup.ready().map_err(ApiError::NotReady)?;
    app.stream.ready().map_err(ApiError::NotReady)?;
    app.lake.ready().map_err(ApiError::NotReady)?;
    Ok("ready\n")
}

/// Returns all metrics of the process as Prometheus text.
#[utoipa::path(
    get, path = "/metrics", tag = "operations",
    responses(
        (status = 200, description = "Metrics", body = String, content_type = "text/plain"),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let content_type = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (content_type, (app.render_metrics)())
}
