use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use likeness_core::{ImageId, Sha256};
use likeness_engine::dedup::NewImage;
use likeness_engine::dedup::view::{
    DecisionKind, ExplainView, ImageView, Rejection, UploadReceipt,
};
use serde::Deserialize;
use sha2::Digest;
use utoipa::IntoParams;

use crate::app::App;
use crate::body::{FormPicture, JsonPicture, parse_id, read_picture};
use crate::error::{ApiError, ErrorBody};
use crate::query::{IdPath, NoQuery, StrictQuery};
use crate::urls;

/// The bytes under an id never change, so neither does what is made from them. Private: an answer
/// may have needed a key.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// For bytes that others uploaded: whatever they turn out to be, nothing in them runs.
const FILE_POLICY: HeaderValue = HeaderValue::from_static("sandbox; default-src 'none'");

/// Parameters of an upload.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadQuery {
    /// Id to store the image under, for bodies that are the bytes themselves.
    id: Option<String>,
    /// Name, for bodies that are the bytes themselves.
    name: Option<String>,
    /// Wait for the decision, as long as the server's `decision_timeout`.
    #[serde(default)]
    wait: bool,
}

/// Stores an image.
///
/// Acknowledged once it is durable; what it is a copy of is decided a moment later. The same id with
/// the same bytes is acknowledged again without doing anything, so that a caller may repeat a call
/// whose answer was lost. Without an id, `Idempotency-Key` gives the same safety: the id is then
/// `idem-` and the first 32 hex digits of the key's SHA-256. A given id comes before the key.
#[utoipa::path(
    post, path = "/v1/images", tag = "images",
    params(
        UploadQuery,
        ("Idempotency-Key" = Option<String>, Header,
         description = "Makes the id, if none is given: 1 to 255 bytes"),
    ),
    request_body(
        description = "The picture, in one of three forms. At most `limits.max_bytes` of the server's configuration.",
        content(
            (FormPicture = "multipart/form-data"),
            (JsonPicture<'_> = "application/json"),
            (String = "image/*"),
            (String = "application/octet-stream"),
        ),
    ),
    responses(
        (status = 200, description = "Stored before with the same bytes, or stored now and decided (`wait=true`)", body = UploadReceipt),
        (status = 202, description = "Stored; the decision is to come", body = UploadReceipt,
         headers(("Location" = String, description = "Path of the image"))),
        (status = 400, description = "`malformed_body`, `invalid_id`, `invalid_query`, `invalid_header`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`, `unknown_host`", body = ErrorBody),
        (status = 408, description = "`body_timeout`", body = ErrorBody),
        (status = 409, description = "`id_conflict`: the id is taken by other bytes", body = ErrorBody),
        (status = 410, description = "`erased`: the id was that of an image that was erased; choose another", body = ErrorBody),
        (status = 413, description = "`too_many_bytes`", body = ErrorBody),
        (status = 415, description = "`unsupported_format`, `unsupported_media_type`", body = ErrorBody),
        (status = 422, description = "The bytes are not a picture that is decoded here; the code says why", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; nothing was stored", body = ErrorBody),
    ),
)]
pub(crate) async fn upload(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<UploadQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    // What can be refused without the body is refused without it.
    let query_id = query.id.map(parse_id).transpose()?;
    let idempotent_id = idempotent_id(request.headers())?;
    let picture = read_picture(&app, request).await?;
    if query_id.is_some() && picture.id.is_some() {
        let reason = "the id is given in the query and in the body";
        return Err(ApiError::MalformedBody(reason.to_owned()));
    }
    let image = NewImage {
        id: picture.id.or(query_id).or(idempotent_id),
        name: query.name.or(picture.name),
        bytes: picture.bytes,
    };
    let mut receipt = app.dedup.upload(image).await?;
    drop(picture.admission);
    if query.wait {
        let id = parse_id(receipt.id.clone())?;
        let timeout = app.dedup.config().decision_timeout;
        receipt.decision = app.dedup.wait_for_decision(&id, timeout).await?;
        if receipt.decision.is_none() {
            receipt.waiting_for = app.dedup.waiting_for(&id).await?;
        }
    }
    if let Some(decision) = &receipt.decision
        && decision.kind == DecisionKind::Rejected
    {
        let rejection = decision.rejection.clone();
        return Err(ApiError::Rejected(rejection.unwrap_or_else(|| Rejection {
            code: "rejected".to_owned(),
            message: "the image was rejected".to_owned(),
        })));
    }
    if receipt.decision.is_some() || (receipt.existed && !query.wait) {
        return Ok(Json(receipt).into_response());
    }
    let location = format!("/v1/images/{}", urls::encode(&receipt.id));
    let headers = [(header::LOCATION, location)];
    Ok((StatusCode::ACCEPTED, headers, Json(receipt)).into_response())
}

/// Returns the id that an `Idempotency-Key` stands for.
fn idempotent_id(headers: &HeaderMap) -> Result<Option<ImageId>, ApiError> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    if key.is_empty() || key.len() > 255 {
        return Err(ApiError::Header {
            name: "idempotency-key",
            reason: "must have 1 to 255 bytes".to_owned(),
        });
    }
    let digest = Sha256(sha2::Sha256::digest(key.as_bytes()).into()).to_string();
    parse_id(format!("idem-{}", &digest[..32])).map(Some)
}

/// Returns everything known about an image.
#[utoipa::path(
    get, path = "/v1/images/{id}", tag = "images",
    params(("id" = String, Path, description = "Id of the image")),
    responses(
        (status = 200, description = "The image", body = ImageView),
        (status = 400, description = "`invalid_id`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 404, description = "`image_not_found`", body = ErrorBody),
        (status = 410, description = "`erased`", body = ErrorBody),
    ),
)]
pub(crate) async fn image(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Result<Json<ImageView>, ApiError> {
    Ok(Json(app.dedup.image(&id).await?))
}

/// Returns the bytes of an image, as uploaded.
#[utoipa::path(
    get, path = "/v1/images/{id}/file", tag = "images",
    params(
        ("id" = String, Path, description = "Id of the image"),
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` given before"),
    ),
    responses(
        (status = 200, description = "The bytes", body = String, content_type = "image/*",
         headers(("ETag" = String, description = "SHA-256 of the bytes"))),
        (status = 304, description = "Not changed"),
        (status = 400, description = "`invalid_id`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 404, description = "`image_not_found`", body = ErrorBody),
        (status = 410, description = "`erased`", body = ErrorBody),
    ),
)]
pub(crate) async fn file(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let file = app.dedup.file(&id).await?;
    let name = file.name.as_deref().unwrap_or(id.as_str());
    let disposition = urls::content_disposition(name, file.extension);
    let response = answer_bytes(&headers, file.bytes, file.mime, &file.sha256.to_string());
    Ok(([(header::CONTENT_DISPOSITION, disposition)], response).into_response())
}

/// Returns a small JPEG of an image: at most 384 pixels on the longer side, upright.
#[utoipa::path(
    get, path = "/v1/images/{id}/thumbnail", tag = "images",
    params(
        ("id" = String, Path, description = "Id of the image"),
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` given before"),
    ),
    responses(
        (status = 200, description = "The thumbnail", body = String, content_type = "image/jpeg",
         headers(("ETag" = String, description = "Digest"))),
        (status = 304, description = "Not changed"),
        (status = 400, description = "`invalid_id`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 404, description = "`image_not_found`", body = ErrorBody),
        (status = 410, description = "`erased`", body = ErrorBody),
        (status = 409, description = "`not_decided`: not made yet", body = ErrorBody),
        (status = 422, description = "The image cannot be decoded", body = ErrorBody),
    ),
)]
pub(crate) async fn thumbnail(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let thumbnail = app.dedup.thumbnail(&id).await?;
    let tag = format!("{}-thumbnail", thumbnail.sha256);
    Ok(answer_bytes(&headers, thumbnail.jpeg, "image/jpeg", &tag))
}

/// Answers with `bytes`, or with 304 if the caller has them.
fn answer_bytes(
    headers: &HeaderMap,
    bytes: bytes::Bytes,
    mime: &'static str,
    tag: &str,
) -> Response {
    let etag = format!("\"{tag}\"");
    let is_known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| matches!(known.trim(), "*") || known.trim().trim_start_matches("W/") == etag);
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, mime)], bytes).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, IMMUTABLE);
    headers.insert(header::CONTENT_SECURITY_POLICY, FILE_POLICY);
    headers.insert(
        header::ETAG,
        HeaderValue::from_str(&etag).expect("hex digits and quotes can stand in a header"),
    );
    response
}

/// Explains why an image was decided as it was, from what was stored with the decision.
#[utoipa::path(
    get, path = "/v1/images/{id}/explain", tag = "images",
    params(("id" = String, Path, description = "Id of the image")),
    responses(
        (status = 200, description = "The explanation", body = ExplainView),
        (status = 400, description = "`invalid_id`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 404, description = "`image_not_found`", body = ErrorBody),
        (status = 410, description = "`erased`", body = ErrorBody),
        (status = 409, description = "`not_decided`", body = ErrorBody),
    ),
)]
pub(crate) async fn explain(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Result<Json<ExplainView>, ApiError> {
    Ok(Json(app.dedup.explain(&id).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_idempotency_key_is_the_same_id() {
        let id_of = |key: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", HeaderValue::from_static(key));
            idempotent_id(&headers)
        };
        let first = id_of("order-1").unwrap().unwrap();
        assert_eq!(id_of("order-1").unwrap().unwrap(), first);
        assert_ne!(id_of("order-2").unwrap().unwrap(), first);
        assert_eq!(first.as_str().len(), "idem-".len() + 32);
        assert!(id_of("").is_err());
        assert!(idempotent_id(&HeaderMap::new()).unwrap().is_none());
    }

    #[test]
    fn known_bytes_are_not_sent_again() {
        let answer = |if_none_match: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::IF_NONE_MATCH,
                HeaderValue::from_static(if_none_match),
            );
            answer_bytes(&headers, "x".into(), "image/png", "ab")
                .status()
                .as_u16()
        };
        assert_eq!(answer("\"ab\""), 304);
        assert_eq!(answer("\"zz\", W/\"ab\""), 304);
        assert_eq!(answer("*"), 304);
        assert_eq!(answer("ab"), 200);
    }
}
