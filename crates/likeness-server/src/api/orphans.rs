use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use likeness_core::ImageId;
use likeness_engine::dedup::{
    JoinSide, JoinView, OrphanAction, OrphanCommand, OrphanQuery, OrphanReceipt, OrphanView,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::clusters::{check_limit, default_limit};
use crate::app::App;
use crate::body::read_json_body;
use crate::error::{ApiError, ErrorBody};
use crate::query::{IdPath, NoQuery, StrictQuery};

/// Longest body: two texts and what is around them.
const MAX_BODY_BYTES: u64 = 16 * 1024;

/// A page of orphans.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrphanPage {
    /// How the join stands.
    join: JoinView,
    /// The orphans: newest day first, by id within a day. With a filter there can be fewer than asked for
    /// on a page that is not the last.
    items: Vec<OrphanView>,
    /// Pass as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Part of the journal of orphans.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrphanJournal {
    /// What people did, in order.
    items: Vec<OrphanAction>,
    /// Pass as `from` to go on.
    next: u64,
}

/// Parameters of a list of orphans.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OrphansQuery {
    /// Those of this day of event time, UTC, as 2026-01-31.
    day: Option<String>,
    /// Those that lack this kind of embedding.
    kind: Option<String>,
    /// Those of which this side is there: `upload` or `embedding`.
    #[param(inline)]
    side: Option<JoinSide>,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Most orphans on a page.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: usize,
}

/// Parameters of the journal.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JournalQuery {
    /// `next` of the part before; absent: the beginning.
    #[serde(default)]
    from: u64,
    /// Most entries.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: usize,
}

/// Who retries an orphan, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryRequest {
    /// Who wants it.
    author: String,
    /// Why.
    reason: String,
    /// Compute the missing embeddings here, if their kinds are of the model that runs here.
    #[serde(default)]
    sign: bool,
}

/// Who gives an orphan up, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DropRequest {
    /// Who wants it.
    author: String,
    /// Why.
    reason: String,
}

/// Lists images of which one side came and the other one did not, until the watermark passed it.
///
/// None is lost: one whose partner comes late is joined after all, and leaves the list.
#[utoipa::path(
    get, path = "/v1/orphans", tag = "embeddings",
    params(OrphansQuery),
    responses(
        (status = 200, description = "A page of orphans", body = OrphanPage),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn orphans(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<OrphansQuery>,
) -> Result<Json<OrphanPage>, ApiError> {
    let query = OrphanQuery {
        day: query.day,
        kind: query.kind,
        side: query.side,
        cursor: query.cursor,
        limit: check_limit(query.limit)?,
    };
    let page = app.dedup.orphans(&query).await?;
    Ok(Json(OrphanPage {
        join: app.dedup.join().await?,
        items: page.items,
        next: page.next,
    }))
}

/// Returns what people did with orphans, in order.
#[utoipa::path(
    get, path = "/v1/orphans/journal", tag = "embeddings",
    params(JournalQuery),
    responses(
        (status = 200, description = "Part of the journal", body = OrphanJournal),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn orphan_journal(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<JournalQuery>,
) -> Result<Json<OrphanJournal>, ApiError> {
    let limit = check_limit(query.limit)?;
    let (items, next) = app.dedup.orphan_journal(query.from, limit).await?;
    Ok(Json(OrphanJournal { items, next }))
}

/// Looks at an orphan again and lets it wait anew; with `sign`, computes here what is missing.
#[utoipa::path(
    post, path = "/v1/orphans/{id}/retry", tag = "embeddings",
    params(("id" = String, Path, description = "Id of the image")),
    request_body = RetryRequest,
    responses(
        (status = 200, description = "Done: see `outcome`", body = OrphanReceipt),
        (status = 202, description = "Accepted; what becomes of it is to come", body = OrphanReceipt),
        (status = 400, description = "`malformed_body`, `invalid_id`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 404, description = "`not_waiting`", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; nothing was stored", body = ErrorBody),
    ),
)]
pub(crate) async fn retry(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_json_body(&app, request, MAX_BODY_BYTES).await?;
    let RetryRequest {
        author,
        reason,
        sign,
    } = parse(&body)?;
    submit(&app, &id, OrphanCommand::Retry { sign }, author, reason).await
}

/// Gives an orphan up: an upload is decided as rejected, embeddings are forgotten. Stays in the journal.
#[utoipa::path(
    post, path = "/v1/orphans/{id}/drop", tag = "embeddings",
    params(("id" = String, Path, description = "Id of the image")),
    request_body = DropRequest,
    responses(
        (status = 200, description = "Done: see `outcome`", body = OrphanReceipt),
        (status = 202, description = "Accepted; what becomes of it is to come", body = OrphanReceipt),
        (status = 400, description = "`malformed_body`, `invalid_id`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 404, description = "`not_waiting`", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; nothing was stored", body = ErrorBody),
    ),
)]
pub(crate) async fn drop_orphan(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_json_body(&app, request, MAX_BODY_BYTES).await?;
    let DropRequest { author, reason } = parse(&body)?;
    submit(&app, &id, OrphanCommand::Drop, author, reason).await
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::MalformedBody(error.to_string()))
}

async fn submit(
    app: &App,
    id: &ImageId,
    command: OrphanCommand,
    author: String,
    reason: String,
) -> Result<Response, ApiError> {
    let timeout = app.dedup.config().decision_timeout;
    let receipt = app
        .dedup
        .orphan(id, command, author, reason, timeout)
        .await?;
    let status = match receipt.outcome {
        Some(_) => StatusCode::OK,
        None => StatusCode::ACCEPTED,
    };
    Ok((status, Json(receipt)).into_response())
}
