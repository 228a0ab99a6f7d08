use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use likeness_engine::pins::{EventKind, Ingested, MAX_BATCH};
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::app::App;
use crate::body::{content_length, read_body};
use crate::error::{ApiError, ErrorBody};
use crate::query::{NoQuery, StrictQuery};

/// Longest body: a thousand events of 16 KiB.
const MAX_BODY_BYTES: u64 = 16 << 20;
/// Longest body of one event. Longer than an event may be, for white space.
const MAX_ONE_BYTES: u64 = 256 << 10;

/// A pin, as services post it. Every field but the key may be missing, and numbers may be texts.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes events in the OpenAPI document")]
pub(crate) struct PinEvent {
    /// Number that its geolocation and its user have as `ind`.
    #[schema(example = 7528)]
    index: u64,
    /// Key: text or an integer.
    #[schema(example = "fbe53c66-3442-4773-b19e-d3ec6f54dddf")]
    unique_id: String,
    title: String,
    description: String,
    poster_name: String,
    /// Such as `15k`, `1.5k`, `2M`.
    #[schema(example = "15k")]
    follower_count: String,
    /// With commas between tags.
    tag_list: String,
    #[schema(example = "image")]
    is_image_or_video: String,
    image_src: String,
    /// 0 or 1.
    downloaded: u8,
    #[schema(example = "Local save in /data/travel")]
    save_location: String,
    #[schema(example = "travel")]
    category: String,
}

/// Where and when a pin was posted.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes events in the OpenAPI document")]
pub(crate) struct GeolocationEvent {
    /// Key: number of the pin, also as text.
    ind: u64,
    #[schema(example = "2018-01-04 00:00:00")]
    timestamp: String,
    latitude: f64,
    longitude: f64,
    country: String,
}

/// Who posted a pin.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes events in the OpenAPI document")]
pub(crate) struct UserEvent {
    /// Key: number of the pin, also as text.
    ind: u64,
    first_name: String,
    last_name: String,
    age: u8,
    #[schema(example = "2015-10-24 11:23:51")]
    date_joined: String,
}

/// What became of several events, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IngestedEvents {
    /// How many are durable.
    accepted: u64,
    /// How many are refused.
    refused: u64,
    /// One for each.
    items: Vec<Ingested>,
}

/// Takes one pin, as the posting emulators of such services send it.
///
/// Acknowledged once it is durable. What is checked is that it is a JSON object of at most 64 KiB with a
/// `unique_id`; whatever else is wrong with it is found when it is cleaned. It may be sent again: a pin is
/// known by its `unique_id`, and the later version counts, so there is no need of an `Idempotency-Key`.
#[utoipa::path(
    post, path = "/pin/", tag = "pins",
    request_body = PinEvent,
    responses(
        (status = 202, description = "Stored, and where in the log", body = Ingested),
        (status = 400, description = "`malformed_body`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 408, description = "`body_timeout`", body = ErrorBody),
        (status = 422, description = "`invalid_event`: names the field", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; the same call may be repeated", body = ErrorBody),
    ),
)]
pub(crate) async fn pin(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    if Form::of(request.headers())? == Form::Lines {
        let reason = "send it as `application/json`".to_owned();
        return Err(ApiError::MalformedBody(reason));
    }
    let announced = content_length(request.headers())?;
    let _admission = app.pins.admit(announced.unwrap_or(MAX_ONE_BYTES))?;
    let timeout = app.config.body_timeout;
    let body = read_body(request.into_body(), MAX_ONE_BYTES, announced, timeout).await?;
    let body = body.ok_or_else(|| too_long(MAX_ONE_BYTES))?;
    let event = serde_json::from_slice(&body).map_err(malformed)?;
    one(&app, EventKind::Pin, event).await
}

/// Takes pins: one, or several.
///
/// One as a JSON object, several as a JSON array or as lines of JSON (NDJSON), at most 1,000. Acknowledged once
/// they are durable. What is checked is that each is a JSON object of at most 64 KiB with a `unique_id`; whatever
/// else is wrong with it is found when it is cleaned. Of several, one that is refused keeps no other from being
/// stored: the answer says of each what became of it. A body that is no JSON is refused as a whole. Events may be
/// sent again: a pin is known by its `unique_id`, and the later version counts, so there is no need of an
/// `Idempotency-Key`.
#[utoipa::path(
    post, path = "/v1/pins", tag = "pins",
    request_body(
        description = "One pin, several as an array, or several as lines.",
        content(
            (PinEvent = "application/json"),
            (String = "application/x-ndjson"),
        ),
    ),
    responses(
        (status = 200, description = "Several: see their outcomes", body = IngestedEvents),
        (status = 202, description = "One, stored, and where in the log", body = Ingested),
        (status = 400, description = "`malformed_body`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 408, description = "`body_timeout`", body = ErrorBody),
        (status = 422, description = "`invalid_event`: one that is refused, names the field", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; the same call may be repeated", body = ErrorBody),
    ),
)]
pub(crate) async fn pins(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    take(&app, EventKind::Pin, request).await
}

/// Takes geolocations of pins: one, or several.
///
/// As `POST /v1/pins`; the key is `ind`.
#[utoipa::path(
    post, path = "/v1/geolocations", tag = "pins",
    request_body(
        description = "One geolocation, several as an array, or several as lines.",
        content(
            (GeolocationEvent = "application/json"),
            (String = "application/x-ndjson"),
        ),
    ),
    responses(
        (status = 200, description = "Several: see their outcomes", body = IngestedEvents),
        (status = 202, description = "One, stored, and where in the log", body = Ingested),
        (status = 400, description = "`malformed_body`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 408, description = "`body_timeout`", body = ErrorBody),
        (status = 422, description = "`invalid_event`: one that is refused, names the field", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; the same call may be repeated", body = ErrorBody),
    ),
)]
pub(crate) async fn geolocations(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    take(&app, EventKind::Geolocation, request).await
}

/// Takes users who posted pins: one, or several.
///
/// As `POST /v1/pins`; the key is `ind`.
#[utoipa::path(
    post, path = "/v1/users", tag = "pins",
    request_body(
        description = "One user, several as an array, or several as lines.",
        content(
            (UserEvent = "application/json"),
            (String = "application/x-ndjson"),
        ),
    ),
    responses(
        (status = 200, description = "Several: see their outcomes", body = IngestedEvents),
        (status = 202, description = "One, stored, and where in the log", body = Ingested),
        (status = 400, description = "`malformed_body`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 408, description = "`body_timeout`", body = ErrorBody),
        (status = 422, description = "`invalid_event`: one that is refused, names the field", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; the same call may be repeated", body = ErrorBody),
    ),
)]
pub(crate) async fn users(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    take(&app, EventKind::User, request).await
}

async fn take(app: &App, kind: EventKind, request: Request) -> Result<Response, ApiError> {
    let form = Form::of(request.headers())?;
    let announced = content_length(request.headers())?;
    let _admission = app.pins.admit(announced.unwrap_or(MAX_BODY_BYTES))?;
    let timeout = app.config.body_timeout;
    let body = read_body(request.into_body(), MAX_BODY_BYTES, announced, timeout).await?;
    let body = body.ok_or_else(|| too_long(MAX_BODY_BYTES))?;
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let events = match (form, first) {
        (Form::Lines, _) => lines(&body)?,
        (Form::Json, Some(b'[')) => {
            serde_json::from_slice::<Events>(&body)
                .map_err(malformed)?
                .0
        }
        (Form::Json, _) => {
            let event = serde_json::from_slice(&body).map_err(malformed)?;
            return one(app, kind, event).await;
        }
    };
    let items = app.pins.ingest(kind, &events).await?;
    let accepted = items.iter().filter(|item| item.is_accepted()).count();
    let answer = IngestedEvents {
        accepted: accepted as u64,
        refused: (items.len() - accepted) as u64,
        items,
    };
    Ok(Json(answer).into_response())
}

/// Takes one event, whose refusal is that of the request.
async fn one(app: &App, kind: EventKind, event: &RawValue) -> Result<Response, ApiError> {
    match app.pins.ingest(kind, &[event]).await?.pop() {
        Some(Ingested::Refused { field, reason }) => Err(ApiError::Event { field, reason }),
        Some(accepted) => Ok((StatusCode::ACCEPTED, Json(accepted)).into_response()),
        None => unreachable!("one event has one outcome"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let content_type = headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let essence = content_type.unwrap_or_default().split(';').next();
        match essence
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase()
            .as_str()
        {
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" => Ok(Self::Lines),
            _ => {
                let reason = "send it as `application/json` or `application/x-ndjson`";
                Err(ApiError::MalformedBody(reason.to_owned()))
            }
        }
    }
}

/// Events of an array, as they came: what one takes in memory is only known once its length is. No more than
/// may come are kept.
#[derive(Debug)]
struct Events<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Events<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;

        impl<'de> Visitor<'de> for Items {
            type Value = Events<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Events<'de>, A::Error> {
                let mut events = Vec::new();
                while let Some(event) = items.next_element()? {
                    if events.len() == MAX_BATCH {
                        return Err(A::Error::custom(too_many()));
                    }
                    events.push(event);
                }
                Ok(Events(events))
            }
        }

        deserializer.deserialize_seq(Items)
    }
}

fn lines(body: &[u8]) -> Result<Vec<&RawValue>, ApiError> {
    let mut events = Vec::new();
    for (idx, line) in body.split(|&byte| byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if events.len() == MAX_BATCH {
            return Err(ApiError::MalformedBody(too_many()));
        }
        events.push(
            serde_json::from_slice(line)
                .map_err(|error| ApiError::MalformedBody(format!("line {}: {error}", idx + 1)))?,
        );
    }
    Ok(events)
}

fn too_many() -> String {
    format!("more than {MAX_BATCH} events; send fewer at once")
}

fn too_long(max_bytes: u64) -> ApiError {
    ApiError::MalformedBody(format!("longer than {max_bytes} bytes; send less at once"))
}

fn malformed(error: serde_json::Error) -> ApiError {
    ApiError::MalformedBody(error.to_string())
}
