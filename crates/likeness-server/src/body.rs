//! Pictures in request bodies.
//!
//! Three forms, told apart by the content type:
//! - `multipart/form-data`: a part `file` with the bytes, whose file name becomes the image's name;
//!   parts `id` and `name` are optional.
//! - `application/json`: `{"id"?, "name"?, "data"}`, `data` being the bytes in base64.
//! - `image/*` or `application/octet-stream`: the bytes themselves.
//!
//! Room is asked for before the first byte is read: as much as `Content-Length` says, or the most
//! that the form allows if it does not say. The format of a picture is found from its bytes; what
//! the content type says about it is not believed.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use likeness_core::ImageId;
use likeness_engine::EngineError;
use likeness_engine::dedup::Admission;
use metrics::counter;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::ApiError;
use crate::metrics::HTTP_SHED_TOTAL;

/// What a form may add to the bytes of the picture: boundaries, part headers, id and name.
const FORM_OVERHEAD: u64 = 16 * 1024;

/// A picture that was sent.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) id: Option<ImageId>,
    pub(crate) name: Option<String>,
    pub(crate) bytes: Bytes,
    /// Room for the bytes; held until they are stored or dropped.
    pub(crate) admission: Admission,
}

/// A picture as JSON.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JsonPicture<'a> {
    /// Id to store it under: 1 to 128 bytes, no control characters, `/` or `\`. Absent: generated.
    pub(crate) id: Option<String>,
    /// Name, such as a file name.
    pub(crate) name: Option<String>,
    /// The bytes of the file, base64 with padding.
    #[serde(borrow)]
    #[schema(content_encoding = "base64")]
    pub(crate) data: Cow<'a, str>,
}

/// A picture as a form.
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "describes the form in the OpenAPI document; `read_form` reads it"
)]
pub(crate) struct FormPicture {
    /// The bytes of the file.
    #[schema(value_type = String, format = Binary)]
    pub(crate) file: Vec<u8>,
    /// Id to store it under: 1 to 128 bytes, no control characters, `/` or `\`. Absent: generated.
    pub(crate) id: Option<String>,
    /// Name; absent: the file name of the part `file`.
    pub(crate) name: Option<String>,
}

#[derive(Debug, Default)]
struct Fields {
    id: Option<String>,
    name: Option<String>,
    bytes: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Multipart,
    Json,
    Raw,
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "multipart/form-data" => Ok(Self::Multipart),
            "application/json" => Ok(Self::Json),
            "application/octet-stream" => Ok(Self::Raw),
            other if other.starts_with("image/") => Ok(Self::Raw),
            _ => Err(ApiError::UnsupportedMediaType(essence.to_owned())),
        }
    }

    /// Returns the longest body that can carry `max_image_bytes`.
    fn max_body_bytes(self, max_image_bytes: u64) -> u64 {
        match self {
            Self::Raw => max_image_bytes,
            Self::Multipart => max_image_bytes.saturating_add(FORM_OVERHEAD),
            Self::Json => max_image_bytes
                .div_ceil(3)
                .saturating_mul(4)
                .saturating_add(FORM_OVERHEAD),
        }
    }
}

/// Reads the picture in `request`.
pub(crate) async fn read_picture(app: &App, request: Request) -> Result<Picture, ApiError> {
    let form = Form::of(request.headers())?;
    let limit = app.max_image_bytes();
    let too_many = || ApiError::TooManyBytes { limit };
    let max_body_bytes = form.max_body_bytes(limit);
    let announced = content_length(request.headers())?;
    if announced.is_some_and(|announced| announced > max_body_bytes) {
        return Err(too_many());
    }
    let admission = app
        .dedup
        .admit(announced.unwrap_or(max_body_bytes))
        .inspect_err(|_| counter!(HTTP_SHED_TOTAL, "bound" => "upload_bytes").increment(1))?;

    let (parts, body) = request.into_parts();
    let body = read_body(body, max_body_bytes, announced, app.config.body_timeout)
        .await?
        .ok_or_else(too_many)?;
    let fields = match form {
        Form::Raw => Fields {
            bytes: body,
            ..Fields::default()
        },
        Form::Json => read_json(&body)?,
        Form::Multipart => read_form(Request::from_parts(parts, Body::from(body))).await?,
    };
    if fields.bytes.len() as u64 > limit {
        return Err(too_many());
    }
    Ok(Picture {
        id: fields.id.map(parse_id).transpose()?,
        name: fields.name.filter(|name| !name.trim().is_empty()),
        bytes: fields.bytes,
        admission,
    })
}

/// Reads a body of JSON that is no picture, of at most `max_bytes`.
pub(crate) async fn read_json_body(
    app: &App,
    request: Request,
    max_bytes: u64,
) -> Result<Bytes, ApiError> {
    if Form::of(request.headers())? != Form::Json {
        return Err(ApiError::MalformedBody(
            "send it as `application/json`".to_owned(),
        ));
    }
    let announced = content_length(request.headers())?;
    read_body(
        request.into_body(),
        max_bytes,
        announced,
        app.config.body_timeout,
    )
    .await?
    .ok_or_else(|| ApiError::MalformedBody(format!("longer than {max_bytes} bytes")))
}

/// Makes an id of text that a caller gave.
pub(crate) fn parse_id(text: String) -> Result<ImageId, ApiError> {
    Ok(ImageId::new(text).map_err(EngineError::from)?)
}

pub(crate) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(None);
    };
    value
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .map(Some)
        .ok_or_else(|| ApiError::Header {
            name: "content-length",
            reason: "not a number of bytes".to_owned(),
        })
}

/// Returns the whole body, or nothing if it is longer than `max_bytes`.
pub(crate) async fn read_body(
    body: Body,
    max_bytes: u64,
    announced: Option<u64>,
    timeout: Duration,
) -> Result<Option<Bytes>, ApiError> {
    let read = async {
        let mut chunks = body.into_data_stream();
        let capacity = announced.unwrap_or(0).min(max_bytes);
        let mut bytes = BytesMut::with_capacity(usize::try_from(capacity).unwrap_or(0));
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk
                .map_err(|error| ApiError::MalformedBody(format!("the body broke off: {error}")))?;
            if (bytes.len() + chunk.len()) as u64 > max_bytes {
                return Ok(None);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Some(bytes.freeze()))
    };
    tokio::time::timeout(timeout, read)
        .await
        .map_err(|_| ApiError::BodyTimeout(timeout))?
}

fn read_json(body: &[u8]) -> Result<Fields, ApiError> {
    let malformed = |reason: String| ApiError::MalformedBody(reason);
    let picture: JsonPicture<'_> =
        serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    let bytes = STANDARD
        .decode(picture.data.as_bytes())
        .map_err(|error| malformed(format!("`data` is not base64: {error}")))?;
    Ok(Fields {
        id: picture.id,
        name: picture.name,
        bytes: bytes.into(),
    })
}

async fn read_form(request: Request) -> Result<Fields, ApiError> {
    let malformed = |error: MultipartError| ApiError::MalformedBody(error.body_text());
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(|rejection| ApiError::MalformedBody(rejection.body_text()))?;
    let (mut file, mut file_name, mut id, mut name) = (None, None, None, None);
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        let part = field.name().unwrap_or_default().to_owned();
        let is_repeated = match part.as_str() {
            "file" => {
                file_name = field.file_name().map(ToOwned::to_owned);
                file.replace(field.bytes().await.map_err(malformed)?)
                    .is_some()
            }
            "id" => id.replace(field.text().await.map_err(malformed)?).is_some(),
            "name" => name
                .replace(field.text().await.map_err(malformed)?)
                .is_some(),
            _ => {
                return Err(ApiError::MalformedBody(format!(
                    "unknown part `{part}`, expected `file`, `id` or `name`"
                )));
            }
        };
        if is_repeated {
            return Err(ApiError::MalformedBody(format!(
                "the part `{part}` is there twice"
            )));
        }
    }
    Ok(Fields {
        id,
        name: name.or(file_name),
        bytes: file
            .ok_or_else(|| ApiError::MalformedBody("the part `file` is missing".to_owned()))?,
    })
}
