use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use likeness_engine::dedup::view::MatchView;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::body::{FormPicture, JsonPicture, read_picture};
use crate::error::{ApiError, ErrorBody};
use crate::query::StrictQuery;

const MAX_MATCHES: usize = 100;

/// Parameters of a match.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MatchQuery {
    /// Most matches in the answer.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 100, default = 10)]
    limit: usize,
}

fn default_limit() -> usize {
    10
}

/// Tells what a picture is like, without storing it.
///
/// Takes the same bodies as an upload; an id or name in them has no effect.
#[utoipa::path(
    post, path = "/v1/match", tag = "images",
    params(MatchQuery),
    request_body(content(
        (FormPicture = "multipart/form-data"),
        (JsonPicture<'_> = "application/json"),
        (String = "image/*"),
        (String = "application/octet-stream"),
    )),
    responses(
        (status = 200, description = "Best matches first, above the threshold or not", body = MatchView),
        (status = 400, description = "`malformed_body`, `invalid_id`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`, `unknown_host`", body = ErrorBody),
        (status = 408, description = "`body_timeout`", body = ErrorBody),
        (status = 413, description = "`too_many_bytes`", body = ErrorBody),
        (status = 415, description = "`unsupported_format`, `unsupported_media_type`", body = ErrorBody),
        (status = 422, description = "The bytes are not a picture that is decoded here; the code says why", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
    ),
)]
pub(crate) async fn match_picture(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<MatchQuery>,
    request: Request,
) -> Result<Json<MatchView>, ApiError> {
    if !(1..=MAX_MATCHES).contains(&query.limit) {
        let reason = format!("limit: must be 1 to {MAX_MATCHES}");
        return Err(ApiError::Query(reason));
    }
    let picture = read_picture(&app, request).await?;
    let found = app.dedup.match_image(picture.bytes, query.limit).await?;
    drop(picture.admission);
    Ok(Json(found))
}
