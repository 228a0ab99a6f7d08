use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use likeness_engine::dedup::view::Page;
use likeness_engine::dedup::{
    Command, CorrectionView, LabelView, NewCorrection, Pair, ReviewVerdict, ReviewView,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::clusters::{check_limit, default_limit};
use super::corrections::{CorrectionReceipt, parse, submit};
use crate::app::App;
use crate::body::{parse_id, read_json_body};
use crate::error::{ApiError, ErrorBody};
use crate::query::{NoQuery, StrictQuery};

/// Longest body: author and reason of the greatest length, escaped.
const MAX_BODY_BYTES: u64 = 32 * 1024;
/// Names the next page of a list that has no other place for it.
const NEXT_CURSOR: HeaderName = HeaderName::from_static("next-cursor");

/// What a person says of a pair.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReviewRequest {
    /// Its id: a call with the same id and content is the same answer. Absent: generated.
    id: Option<String>,
    /// Who says so.
    author: String,
    /// Why.
    reason: String,
    /// What they say.
    verdict: ReviewVerdict,
    /// Also keep the two together, or apart, from now on.
    #[serde(default = "yes")]
    #[schema(default = true)]
    correct: bool,
}

fn yes() -> bool {
    true
}

/// A page of the review queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReviewPage {
    /// The pairs, most uncertain first, then newest.
    items: Vec<ReviewView>,
    /// Pairs in the queue.
    open: u64,
    /// Pairs that have a label.
    labels: u64,
    /// Pass as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Parameters of a list of pairs or labels.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReviewsQuery {
    /// `next` of the page before.
    cursor: Option<String>,
    /// Most entries on a page.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: usize,
}

/// Lists the pairs whose score says little, for people to look at: most uncertain first, then newest.
#[utoipa::path(
    get, path = "/v1/reviews", tag = "reviews",
    params(ReviewsQuery),
    responses(
        (status = 200, description = "A page of the queue", body = ReviewPage),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn reviews(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<ReviewsQuery>,
) -> Result<Json<ReviewPage>, ApiError> {
    let limit = check_limit(query.limit)?;
    let Page { items, next } = app.dedup.reviews(query.cursor.as_deref(), limit).await?;
    let (open, labels) = app.dedup.review_counts().await?;
    Ok(Json(ReviewPage {
        items,
        open,
        labels,
        next,
    }))
}

/// Says of two images whether they are near-copies: a label, in place of an earlier one.
///
/// The pair leaves the review queue; it need not have been in it. An answer is a correction: durable before
/// this is answered, and taken back by `POST /v1/corrections/{sequence}/undo`. With `correct` the two are also
/// kept together or apart; if that cannot be, `not_corrected` says why, and the label stands.
#[utoipa::path(
    post, path = "/v1/reviews/{pair}", tag = "reviews",
    params(("pair" = String, Path, description = "Numbers of the two images, as in `12-57`")),
    request_body = ReviewRequest,
    responses(
        (status = 200, description = "Applied, or refused: see `outcome`", body = CorrectionView),
        (status = 202, description = "Accepted; what becomes of it is to come", body = CorrectionReceipt),
        (status = 400, description = "`malformed_body`, `invalid_path`, `invalid_id`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 404, description = "`pair_not_found`", body = ErrorBody),
        (status = 408, description = "`body_timeout`", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; nothing was stored", body = ErrorBody),
    ),
)]
pub(crate) async fn review(
    State(app): State<Arc<App>>,
    Path(pair): Path<String>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let pair: Pair = pair
        .parse()
        .map_err(|reason: &str| ApiError::Path(reason.to_owned()))?;
    let body = read_json_body(&app, request, MAX_BODY_BYTES).await?;
    let ReviewRequest {
        id,
        author,
        reason,
        verdict,
        correct,
    } = parse(&body)?;
    let (a, b) = app.dedup.pair(pair).await?;
    let correction = NewCorrection {
        id: id.map(parse_id).transpose()?,
        author,
        reason,
        command: Command::Label {
            a,
            b,
            verdict,
            correct,
        },
    };
    submit(&app, correction).await
}

/// Lists what people said of pairs, one JSON object per line, as `likeness train scorer --labels` reads it.
///
/// The header `Next-Cursor` is the `cursor` of the next page; it is absent on the last one.
#[utoipa::path(
    get, path = "/v1/labels", tag = "reviews",
    params(ReviewsQuery),
    responses(
        (status = 200, description = "Lines, each of them this object", body = LabelView, content_type = "application/x-ndjson",
         headers(("Next-Cursor" = String, description = "`cursor` of the next page; absent on the last one"))),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn labels(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<ReviewsQuery>,
) -> Result<Response, ApiError> {
    let limit = check_limit(query.limit)?;
    let page = app.dedup.labels(query.cursor.as_deref(), limit).await?;
    let mut lines = String::new();
    for label in &page.items {
        lines += &serde_json::to_string(label).expect("a label holds nothing that JSON cannot say");
        lines.push('\n');
    }
    let media_type = HeaderValue::from_static("application/x-ndjson");
    let mut response = ([(header::CONTENT_TYPE, media_type)], lines).into_response();
    if let Some(next) = page.next {
        let value = HeaderValue::from_str(&next).expect("a cursor is hex digits");
        response.headers_mut().insert(NEXT_CURSOR, value);
    }
    Ok(response)
}
