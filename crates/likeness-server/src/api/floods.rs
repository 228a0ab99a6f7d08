use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use likeness_core::ImageId;
use likeness_engine::dedup::view::Page;
use likeness_engine::dedup::{
    AlarmView, Command, CorrectionView, FloodAct, HeldView, NewCorrection,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::clusters::{check_limit, default_limit};
use super::corrections::{CorrectionReceipt, MAX_BODY_BYTES, UndoRequest, parse, submit};
use crate::app::App;
use crate::body::{parse_id, read_json_body};
use crate::error::{ApiError, ErrorBody};
use crate::query::{IdPath, NoQuery, StrictQuery};

/// A page of alarms.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlarmPage {
    /// Newest first, acknowledged ones included.
    items: Vec<AlarmView>,
    /// Pass as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A page of images that a cluster under quarantine holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeldPage {
    /// In the order in which they came.
    items: Vec<HeldView>,
    /// Pass as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What to do about a quarantine.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QuarantineAct {
    /// Put the cluster under quarantine.
    Begin,
    /// It is right: it stays until someone ends it.
    Confirm,
    /// End it; images that it held join, at most 1,000 at a time.
    Release,
    /// As `release`, and it is never put under quarantine again unless by hand.
    Lift,
}

/// What to do about a quarantine, who wants it, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QuarantineRequest {
    /// Id of the correction: a call with the same id and content is the same. Absent: generated.
    id: Option<String>,
    /// Who wants it.
    author: String,
    /// Why.
    reason: String,
    /// What to do.
    act: QuarantineAct,
    /// With `confirm`: a negative bank that takes the head as a reference.
    bank: Option<String>,
}

/// Parameters of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FloodListQuery {
    /// `next` of the page before.
    cursor: Option<String>,
    /// Most entries on a page.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: usize,
}

/// Lists alarms about clusters that grow too fast or too large, newest first.
#[utoipa::path(
    get, path = "/v1/alarms", tag = "floods",
    params(FloodListQuery),
    responses(
        (status = 200, description = "A page of alarms", body = AlarmPage),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn alarms(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<FloodListQuery>,
) -> Result<Json<AlarmPage>, ApiError> {
    let limit = check_limit(query.limit)?;
    let Page { items, next } = app.dedup.alarms(query.cursor.as_deref(), limit).await?;
    Ok(Json(AlarmPage { items, next }))
}

/// Says that someone has seen an alarm, as a correction.
#[utoipa::path(
    post, path = "/v1/alarms/{sequence}/acknowledge", tag = "floods",
    params(("sequence" = u64, Path, description = "Sequence number of the alarm")),
    request_body = UndoRequest,
    responses(
        (status = 200, description = "Acknowledged, or refused: see `outcome`", body = CorrectionView),
        (status = 202, description = "Accepted; what becomes of it is to come", body = CorrectionReceipt),
        (status = 400, description = "`malformed_body`, `invalid_path`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
    ),
)]
pub(crate) async fn acknowledge(
    State(app): State<Arc<App>>,
    Path(sequence): Path<String>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let alarm = sequence
        .parse()
        .map_err(|_| ApiError::Path("a sequence number is digits".to_owned()))?;
    let body = read_json_body(&app, request, MAX_BODY_BYTES).await?;
    let UndoRequest { id, author, reason } = parse(&body)?;
    let correction = NewCorrection {
        id: id.map(parse_id).transpose()?,
        author,
        reason,
        command: Command::Flood(FloodAct::Acknowledge { alarm }),
    };
    submit(&app, correction).await
}

/// Lists the images that a cluster under quarantine holds.
#[utoipa::path(
    get, path = "/v1/clusters/{head}/held", tag = "floods",
    params(("head" = String, Path, description = "Canonical id of the cluster"), FloodListQuery),
    responses(
        (status = 200, description = "A page of held images", body = HeldPage),
        (status = 400, description = "`invalid_id`, `invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 404, description = "`cluster_not_found`", body = ErrorBody),
    ),
)]
pub(crate) async fn held(
    State(app): State<Arc<App>>,
    IdPath(head): IdPath,
    StrictQuery(query): StrictQuery<FloodListQuery>,
) -> Result<Json<HeldPage>, ApiError> {
    let limit = check_limit(query.limit)?;
    app.dedup.flood_of(&head).await?;
    let Page { items, next } = app
        .dedup
        .held(&head, query.cursor.as_deref(), limit)
        .await?;
    Ok(Json(HeldPage { items, next }))
}

/// Begins, confirms or ends the quarantine of a cluster, as a correction.
#[utoipa::path(
    post, path = "/v1/clusters/{head}/quarantine", tag = "floods",
    params(("head" = String, Path, description = "Canonical id of the cluster")),
    request_body = QuarantineRequest,
    responses(
        (status = 200, description = "Done, or refused: see `outcome`", body = CorrectionView),
        (status = 202, description = "Accepted; what becomes of it is to come", body = CorrectionReceipt),
        (status = 400, description = "`malformed_body`, `invalid_id`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
    ),
)]
pub(crate) async fn quarantine(
    State(app): State<Arc<App>>,
    IdPath(cluster): IdPath,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_json_body(&app, request, MAX_BODY_BYTES).await?;
    let asked: QuarantineRequest = parse(&body)?;
    let correction = NewCorrection {
        id: asked.id.map(parse_id).transpose()?,
        author: asked.author,
        reason: asked.reason,
        command: Command::Flood(act(cluster, asked.act, asked.bank)?),
    };
    submit(&app, correction).await
}

fn act(cluster: ImageId, act: QuarantineAct, bank: Option<String>) -> Result<FloodAct, ApiError> {
    if bank.is_some() && !matches!(act, QuarantineAct::Confirm) {
        let reason = "`bank` goes with `confirm` alone".to_owned();
        return Err(ApiError::MalformedBody(reason));
    }
    Ok(match act {
        QuarantineAct::Begin => FloodAct::Quarantine { cluster },
        QuarantineAct::Confirm => FloodAct::Confirm { cluster, bank },
        QuarantineAct::Release => FloodAct::Release {
            cluster,
            for_good: false,
        },
        QuarantineAct::Lift => FloodAct::Release {
            cluster,
            for_good: true,
        },
    })
}
