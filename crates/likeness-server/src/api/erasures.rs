use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use likeness_core::Sha256;
use likeness_engine::dedup::{ErasurePlan, ErasureProof, ErasureView, NewErasure};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::corrections::parse;
use crate::app::App;
use crate::body::read_json_body;
use crate::error::{ApiError, ErrorBody};
use crate::query::{IdPath, StrictQuery};

/// Longest body: two texts of 1,024 bytes, and what is around them.
const MAX_BODY_BYTES: u64 = 16 * 1024;

/// Parameters of an erasure.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EraseQuery {
    /// Tell what would go, and erase nothing. Needs no body.
    #[serde(default)]
    dry_run: bool,
}

/// Parameters of a proof.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProofQuery {
    /// SHA-256 of the image's bytes, 64 hex digits. With it, these bytes are looked for and no others; without
    /// it, every object must belong to an image.
    sha256: Option<String>,
}

/// Who erases an image, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EraseRequest {
    /// Who wants it; kept.
    author: String,
    /// Why; kept.
    reason: String,
}

/// What came of an erasure.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum EraseAnswer {
    /// The image is erased.
    Erased(ErasureView),
    /// What would go.
    Planned(ErasurePlan),
}

/// An erasure that is accepted and durable, and not done yet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EraseReceipt {
    /// Id of the image. Ask again with the same call.
    id: String,
}

/// Erases an image, for good.
///
/// From its cluster, which gets another head if it was the head, from the index, the rows, the log and the
/// objects. Its bytes stay if other images have the same. What is left is a tombstone, and the id as a name,
/// where others hold it as a canonical id or a correction names it. The id is not given again. Durable before it
/// is answered, and idempotent: an image that was erased before is answered with its tombstone.
#[utoipa::path(
    delete, path = "/v1/images/{id}", tag = "images",
    params(("id" = String, Path, description = "Id of the image"), EraseQuery),
    request_body = Option<EraseRequest>,
    responses(
        (status = 200, description = "Erased: its tombstone. With `dry_run`: what would go", body = EraseAnswer),
        (status = 202, description = "Accepted; it is erased when what came before it is decided", body = EraseReceipt),
        (status = 400, description = "`malformed_body`, `invalid_id`, `invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 404, description = "`image_not_found`", body = ErrorBody),
        (status = 408, description = "`body_timeout`", body = ErrorBody),
        (status = 409, description = "`not_decided`, with `dry_run`", body = ErrorBody),
        (status = 410, description = "`erased`, with `dry_run`", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; nothing was erased", body = ErrorBody),
    ),
)]
pub(crate) async fn erase(
    State(app): State<Arc<App>>,
    IdPath(image): IdPath,
    StrictQuery(query): StrictQuery<EraseQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    if query.dry_run {
        let plan = app.dedup.plan_erasure(&image).await?;
        return Ok(Json(EraseAnswer::Planned(plan)).into_response());
    }
    let body = read_json_body(&app, request, MAX_BODY_BYTES).await?;
    let EraseRequest { author, reason } = parse(&body)?;
    let id = image.to_string();
    let erasure = NewErasure {
        image,
        author,
        reason,
    };
    let timeout = app.dedup.config().decision_timeout;
    match app.dedup.erase(erasure, timeout).await? {
        Some(view) => Ok(Json(EraseAnswer::Erased(view)).into_response()),
        None => Ok((StatusCode::ACCEPTED, Json(EraseReceipt { id })).into_response()),
    }
}

/// Proves that nothing is left of an erased image.
///
/// Looks at every row, event and object and asks the index, and tells what it looked at. `is_proved` says whether
/// the image was erased and nothing but what is kept on purpose is left. Reads everything there is, so it takes
/// its time; one at a time.
#[utoipa::path(
    get, path = "/v1/images/{id}/erasure", tag = "images",
    params(("id" = String, Path, description = "Id of the image"), ProofQuery),
    responses(
        (status = 200, description = "What was looked at, and what is left", body = ErasureProof),
        (status = 400, description = "`invalid_id`, `invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 429, description = "`overloaded`: another one is being made; see `Retry-After`", body = ErrorBody),
    ),
)]
pub(crate) async fn proof(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    StrictQuery(query): StrictQuery<ProofQuery>,
) -> Result<Json<ErasureProof>, ApiError> {
    let sha256 = query.sha256.map(|text| text.parse::<Sha256>()).transpose();
    let sha256 = sha256.map_err(|reason| ApiError::Query(format!("sha256: {reason}")))?;
    Ok(Json(app.dedup.prove_erasure(&id, sha256).await?))
}
