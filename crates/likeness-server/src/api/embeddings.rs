use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use likeness_engine::EngineError;
use likeness_engine::dedup::{EmbeddingOutcome, EmbeddingReceipt, MAX_EMBEDDINGS};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::body::{content_length, read_body};
use crate::embedding::EmbeddingBody;
use crate::error::{ApiError, ErrorBody};
use crate::query::{NoQuery, StrictQuery};

/// Longest body: a thousand embeddings of 2,048 components as numbers.
const MAX_BODY_BYTES: u64 = 32 << 20;

/// What became of several embeddings, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmbeddingReceipts {
    /// One for each.
    items: Vec<EmbeddingReceipt>,
    /// How many were refused, since another one is stored under their image and kind.
    conflicts: u64,
}

/// What became of what was sent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum EmbeddingAnswer {
    /// Of one embedding.
    One(EmbeddingReceipt),
    /// Of several.
    Several(EmbeddingReceipts),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    One,
    Several,
}

/// Takes embeddings that another service has made, to be joined with their uploads.
///
/// One as a JSON object, several as a JSON array or as lines of JSON (NDJSON), at most 1,000. Acknowledged
/// once they are durable. All are checked before any is stored. The same embedding may be sent again; another
/// one for the same image and kind is a conflict, and the first stays. An image that waits for it is decided a
/// moment later, see `waiting_for` of the image.
#[utoipa::path(
    post, path = "/v1/embeddings", tag = "embeddings",
    request_body(
        description = "One embedding, or several. `dedup.join.kinds` of the server's configuration says which are taken.",
        content(
            (EmbeddingBody = "application/json"),
            (String = "application/x-ndjson"),
        ),
    ),
    responses(
        (status = 200, description = "One that was stored before, or several: see their outcomes", body = EmbeddingAnswer),
        (status = 202, description = "One, stored", body = EmbeddingReceipt),
        (status = 400, description = "`malformed_body`, `invalid_id`, `invalid_parameter` (names the field), `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 408, description = "`body_timeout`", body = ErrorBody),
        (status = 409, description = "`embedding_conflict`: another one is stored under this image and kind", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; the same call may be repeated", body = ErrorBody),
    ),
)]
pub(crate) async fn push(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let (form, bodies) = read(&app, request).await?;
    let embeddings = bodies
        .into_iter()
        .enumerate()
        .map(|(idx, body)| {
            body.into_new().map_err(|error| match error {
                EngineError::InvalidParameter { name, reason } if form == Form::Several => {
                    EngineError::InvalidParameter {
                        name,
                        reason: format!("of embedding {}: {reason}", idx + 1),
                    }
                }
                error => error,
            })
        })
        .collect::<Result<Vec<_>, EngineError>>()?;
    let items = app.dedup.push_embeddings(embeddings).await?;
    if form == Form::One
        && let [receipt] = items.as_slice()
    {
        return match receipt.outcome {
            EmbeddingOutcome::Stored => Ok((StatusCode::ACCEPTED, Json(receipt)).into_response()),
            EmbeddingOutcome::Existed => {
                Ok(Json(EmbeddingAnswer::One(receipt.clone())).into_response())
            }
            EmbeddingOutcome::Conflict => Err(EngineError::EmbeddingConflict {
                image: receipt.image.clone(),
                kind: receipt.kind.clone(),
            }
            .into()),
        };
    }
    let is_conflict = |receipt: &&EmbeddingReceipt| receipt.outcome == EmbeddingOutcome::Conflict;
    let conflicts = items.iter().filter(is_conflict).count() as u64;
    let answer = EmbeddingAnswer::Several(EmbeddingReceipts { items, conflicts });
    Ok(Json(answer).into_response())
}

async fn read(app: &App, request: Request) -> Result<(Form, Vec<EmbeddingBody>), ApiError> {
    let content_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let is_lines = match essence.to_ascii_lowercase().as_str() {
        "application/json" => false,
        "application/x-ndjson" => true,
        _ => {
            let reason = "send it as `application/json` or `application/x-ndjson`";
            return Err(ApiError::MalformedBody(reason.to_owned()));
        }
    };
    let announced = content_length(request.headers())?;
    let _admission = app.dedup.admit(announced.unwrap_or(MAX_BODY_BYTES))?;
    let timeout = app.config.body_timeout;
    let body = read_body(request.into_body(), MAX_BODY_BYTES, announced, timeout)
        .await?
        .ok_or_else(|| {
            ApiError::MalformedBody(format!(
                "longer than {MAX_BODY_BYTES} bytes; send fewer at once"
            ))
        })?;
    if is_lines {
        return Ok((Form::Several, parse_lines(&body)?));
    }
    let malformed = |error: serde_json::Error| ApiError::MalformedBody(error.to_string());
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        let bodies: Vec<EmbeddingBody> = serde_json::from_slice(&body).map_err(malformed)?;
        check_count(bodies.len())?;
        return Ok((Form::Several, bodies));
    }
    let one = serde_json::from_slice(&body).map_err(malformed)?;
    Ok((Form::One, vec![one]))
}

fn parse_lines(body: &Bytes) -> Result<Vec<EmbeddingBody>, ApiError> {
    let mut bodies = Vec::new();
    for (idx, line) in body.split(|&byte| byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        check_count(bodies.len() + 1)?;
        bodies.push(
            serde_json::from_slice(line)
                .map_err(|error| ApiError::MalformedBody(format!("line {}: {error}", idx + 1)))?,
        );
    }
    Ok(bodies)
}

fn check_count(count: usize) -> Result<(), ApiError> {
    if count <= MAX_EMBEDDINGS {
        return Ok(());
    }
    Err(ApiError::MalformedBody(format!(
        "more than {MAX_EMBEDDINGS} embeddings; send fewer at once"
    )))
}
