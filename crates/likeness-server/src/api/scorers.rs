use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use likeness_engine::dedup::{CompareOptions, MAX_SCORER_BYTES, ScorerComparison, ScorerVersion};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::body::read_json_body;
use crate::error::{ApiError, ErrorBody};
use crate::query::{NoQuery, StrictQuery};

/// Versions of the scorer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScorerList {
    /// The one that decides first.
    items: Vec<ScorerVersion>,
}

/// Parameters of a comparison.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CompareQuery {
    /// Version that may be promoted, as in `pairs/4`.
    candidate: String,
    /// Version that it is compared with. Absent: the one that decides now.
    against: Option<String>,
    /// Images, and labels, that are looked at.
    #[serde(default = "default_sample")]
    #[param(minimum = 1, maximum = 10000, default = 1000)]
    sample: usize,
    /// Which images: the same seed gives the same.
    #[serde(default)]
    #[param(default = 0)]
    seed: u64,
}

pub(crate) fn default_sample() -> usize {
    1_000
}

/// Lists the versions of the scorer that can be compared.
#[utoipa::path(
    get, path = "/v1/scorers", tag = "scorers",
    responses(
        (status = 200, description = "The versions", body = ScorerList),
        (status = 400, description = "`invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn scorers(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Result<Json<ScorerList>, ApiError> {
    let items = app.dedup.scorers().await?;
    Ok(Json(ScorerList { items }))
}

/// Keeps a version of the scorer, so that it can be compared. It decides nothing.
///
/// The body is a file of `likeness train scorer`. The same file again changes nothing; another file of the
/// same name and version is refused.
#[utoipa::path(
    post, path = "/v1/scorers", tag = "scorers",
    request_body(content = Object, description = "A file of `likeness train scorer`"),
    responses(
        (status = 200, description = "Kept", body = ScorerVersion),
        (status = 400, description = "`malformed_body`, `invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 408, description = "`body_timeout`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; nothing was stored", body = ErrorBody),
    ),
)]
pub(crate) async fn add_scorer(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Json<ScorerVersion>, ApiError> {
    let body = read_json_body(&app, request, MAX_SCORER_BYTES as u64).await?;
    let json =
        std::str::from_utf8(&body).map_err(|error| ApiError::MalformedBody(error.to_string()))?;
    Ok(Json(app.dedup.add_scorer(json).await?))
}

/// Tells what would change if another version of the scorer decided. Changes nothing.
///
/// Decisions of a seeded sample of images are made again with both, from what they were compared with;
/// labels and the most uncertain pairs of the review queue are scored with both.
#[utoipa::path(
    get, path = "/v1/scorers/compare", tag = "scorers",
    params(CompareQuery),
    responses(
        (status = 200, description = "What would change", body = ScorerComparison),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 429, description = "`overloaded`: another comparison runs; see `Retry-After`", body = ErrorBody),
    ),
)]
pub(crate) async fn compare_scorers(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<CompareQuery>,
) -> Result<Json<ScorerComparison>, ApiError> {
    let options = CompareOptions {
        candidate: query.candidate,
        against: query.against,
        sample: query.sample,
        seed: query.seed,
    };
    Ok(Json(app.dedup.compare_scorers(&options).await?))
}
