use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use likeness_core::ImageId;
use likeness_engine::EngineError;
use likeness_engine::dedup::view::Page;
use likeness_engine::dedup::{Command, CorrectionView, NewCorrection};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::clusters::{check_limit, default_limit};
use crate::app::App;
use crate::body::{parse_id, read_json_body};
use crate::error::{ApiError, ErrorBody};
use crate::query::{IdPath, NoQuery, StrictQuery};

/// Longest body: 1,000 ids of the greatest length, and what is around them.
pub(super) const MAX_BODY_BYTES: u64 = 256 * 1024;

/// A correction to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CorrectionRequest {
    /// Its id: a call with the same id and content is the same correction. Absent: generated.
    id: Option<String>,
    /// Who wants it.
    author: String,
    /// Why.
    reason: String,
    /// What is to be changed.
    command: Command,
}

/// Who takes a correction back, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UndoRequest {
    /// Id of the undoing, which is a correction as well. Absent: generated.
    pub(super) id: Option<String>,
    /// Who wants it.
    pub(super) author: String,
    /// Why.
    pub(super) reason: String,
}

/// A correction that is accepted and durable, and not dealt with yet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CorrectionReceipt {
    /// Its id. Ask again with the same call.
    id: String,
}

/// A page of corrections.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CorrectionPage {
    /// The corrections, newest first.
    items: Vec<CorrectionView>,
    /// Pass as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Parameters of a list of corrections.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CorrectionsQuery {
    /// `next` of the page before.
    cursor: Option<String>,
    /// Most corrections on a page.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: usize,
}

/// Corrects by hand: split, merge, another head, never and always together, banks, floods, undo.
///
/// Durable before it is answered, and waited for as long as the server's `decision_timeout`. Dealt with in
/// the order of the log: `outcome` says whether it was applied, or refused and why. A refusal is an answer,
/// not an error; nothing has changed then.
#[utoipa::path(
    post, path = "/v1/corrections", tag = "corrections",
    request_body = CorrectionRequest,
    responses(
        (status = 200, description = "Applied, or refused: see `outcome`", body = CorrectionView),
        (status = 202, description = "Accepted; what becomes of it is to come", body = CorrectionReceipt),
        (status = 400, description = "`malformed_body`, `invalid_id`, `invalid_parameter`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 408, description = "`body_timeout`", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; nothing was stored", body = ErrorBody),
    ),
)]
pub(crate) async fn correct(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_json_body(&app, request, MAX_BODY_BYTES).await?;
    let CorrectionRequest {
        id,
        author,
        reason,
        command,
    } = parse(&body)?;
    if matches!(command, Command::Erase { .. }) {
        // Not by a slip in a list of corrections.
        let reason = "images are erased by `DELETE /v1/images/{id}`".to_owned();
        return Err(EngineError::InvalidParameter {
            name: "command",
            reason,
        }
        .into());
    }
    let correction = NewCorrection {
        id: id.map(parse_id).transpose()?,
        author,
        reason,
        command,
    };
    submit(&app, correction).await
}

/// Takes a correction back, if what it changed is still as it left it.
#[utoipa::path(
    post, path = "/v1/corrections/{sequence}/undo", tag = "corrections",
    params(("sequence" = u64, Path, description = "Sequence number of the correction")),
    request_body = UndoRequest,
    responses(
        (status = 200, description = "Undone, or refused: see `outcome`", body = CorrectionView),
        (status = 202, description = "Accepted; what becomes of it is to come", body = CorrectionReceipt),
        (status = 400, description = "`malformed_body`, `invalid_path`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; nothing was stored", body = ErrorBody),
    ),
)]
pub(crate) async fn undo(
    State(app): State<Arc<App>>,
    Path(sequence): Path<String>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let correction = sequence
        .parse()
        .map_err(|_| ApiError::Path("a sequence number is digits".to_owned()))?;
    let body = read_json_body(&app, request, MAX_BODY_BYTES).await?;
    let UndoRequest { id, author, reason } = parse(&body)?;
    let correction = NewCorrection {
        id: id.map(parse_id).transpose()?,
        author,
        reason,
        command: Command::Undo { correction },
    };
    submit(&app, correction).await
}

pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::MalformedBody(error.to_string()))
}

pub(super) async fn submit(app: &App, correction: NewCorrection) -> Result<Response, ApiError> {
    let id: ImageId = app.dedup.correct(correction).await?;
    let timeout = app.dedup.config().decision_timeout;
    match app.dedup.wait_for_correction(&id, timeout).await? {
        Some(view) => Ok(Json(view).into_response()),
        None => {
            let receipt = CorrectionReceipt { id: id.to_string() };
            Ok((StatusCode::ACCEPTED, Json(receipt)).into_response())
        }
    }
}

/// Lists corrections, newest first, refused ones included.
#[utoipa::path(
    get, path = "/v1/corrections", tag = "corrections",
    params(CorrectionsQuery),
    responses(
        (status = 200, description = "A page of corrections", body = CorrectionPage),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn corrections(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<CorrectionsQuery>,
) -> Result<Json<CorrectionPage>, ApiError> {
    let limit = check_limit(query.limit)?;
    let Page { items, next } = app
        .dedup
        .corrections(query.cursor.as_deref(), limit)
        .await?;
    Ok(Json(CorrectionPage { items, next }))
}

/// Lists the latest 500 corrections that name or moved an image, newest first.
#[utoipa::path(
    get, path = "/v1/images/{id}/corrections", tag = "corrections",
    params(("id" = String, Path, description = "Id of the image")),
    responses(
        (status = 200, description = "Its corrections", body = CorrectionPage),
        (status = 400, description = "`invalid_id`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 404, description = "`image_not_found`", body = ErrorBody),
    ),
)]
pub(crate) async fn of_image(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Result<Json<CorrectionPage>, ApiError> {
    // Those that name an erased image are listed still.
    match app.dedup.image(&id).await {
        Err(EngineError::Erased(_)) => {}
        outcome => drop(outcome?),
    }
    let items = app.dedup.corrections_of(&id, MAX_OF_IMAGE).await?;
    Ok(Json(CorrectionPage { items, next: None }))
}

/// Most corrections listed of one image.
const MAX_OF_IMAGE: usize = 500;
