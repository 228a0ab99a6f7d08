use std::net::SocketAddr;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use likeness_core::StoreError;
use likeness_core::query::QueryError;
use likeness_engine::EngineError;
use likeness_engine::dedup::view::Rejection;
use serde::Serialize;
use tracing::error;
use utoipa::ToSchema;

/// Why the server did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Others can reach the address, and there is no key to stop them.
    #[error(
        "refusing to listen on `{address}` without keys: others can reach it; \
         bind to a loopback address or configure at least one key"
    )]
    KeysNeeded {
        /// The address.
        address: SocketAddr,
    },
    /// The configuration cannot work.
    #[error("invalid server configuration: {reason}")]
    Config {
        /// What is wrong.
        reason: String,
    },
    /// The listening socket failed.
    #[error("the listening socket failed")]
    Listener(#[source] std::io::Error),
    /// The system gave no random bytes.
    #[error("no random bytes for session cookies: {0}")]
    Random(getrandom::Error),
    /// Requests were cut off, since they did not end in time.
    #[error("{connections} connections did not end within {} s and were cut off", timeout.as_secs())]
    DrainTimeout {
        /// How many.
        connections: usize,
        /// The time they had.
        timeout: Duration,
    },
}

/// Why a request was not answered as asked. Has one status and one stable code per cause.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The engine said no.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A query has no answer; [`From`] makes an error of a store of one that is.
    #[error(transparent)]
    Sql(QueryError),
    /// No report has this name.
    #[error("no report is called `{name}`; there are: {}", names.join(", "))]
    ReportNotFound {
        /// The name.
        name: String,
        /// Those that there are.
        names: Vec<&'static str>,
    },
    /// The query string has a parameter that is unknown, missing or out of its range.
    #[error("invalid query: {0}")]
    Query(String),
    /// A path segment is not what it should be.
    #[error("invalid path: {0}")]
    Path(String),
    /// A header is not what it should be.
    #[error("invalid header `{name}`: {reason}")]
    Header {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The body is not the form that its content type says.
    #[error("malformed body: {0}")]
    MalformedBody(String),
    /// The content type is none of those that carry a picture.
    #[error(
        "content type `{0}` is none of `multipart/form-data`, `application/json`, `image/*`, \
         `application/octet-stream`"
    )]
    UnsupportedMediaType(String),
    /// The body is longer than any picture may be.
    #[error("the body has more than the {limit} bytes that an image may have")]
    TooManyBytes {
        /// Most bytes of an image.
        limit: u64,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {} s", .0.as_secs())]
    BodyTimeout(Duration),
    /// An event that cannot be stored.
    #[error("{} {reason}", field.as_ref().map_or("the event".to_owned(), |field| format!("`{field}`")))]
    Event {
        /// The field that is wrong; absent if it is the whole event.
        field: Option<String>,
        /// What is wrong.
        reason: String,
    },
    /// The picture was stored, and then could not be decoded.
    #[error("{}", .0.message)]
    Rejected(Rejection),
    /// Nothing is at this path.
    #[error("no such path")]
    UnknownPath,
    /// Something is at this path, but not for this method.
    #[error("this path does not answer this method")]
    MethodNotAllowed,
    /// The URI is too long.
    #[error("the URI has more than {limit} bytes")]
    UriTooLong {
        /// Most bytes of a URI.
        limit: usize,
    },
    /// No key, or an unknown one.
    #[error("a valid key is needed: `Authorization: Bearer …`")]
    Unauthorised,
    /// The key does not allow this.
    #[error("this key lacks the scope `{0}`")]
    MissingScope(&'static str),
    /// Another site's page asked for a change.
    #[error("a page of another origin may not do this")]
    CrossOrigin,
    /// The `Host` is not a name of this server.
    #[error("this server does not answer to the host name `{0}`")]
    UnknownHost(String),
    /// Too much is going on.
    #[error("too many {0} at once; try again in a moment")]
    Busy(&'static str),
    /// Not ready to work.
    #[error("not ready: {0}")]
    NotReady(String),
    /// A handler panicked.
    #[error("internal error")]
    Panicked,
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Store(error) => Self::Engine(error.into()),
            error => Self::Sql(error),
        }
    }
}

impl ApiError {
    /// Returns the status and the stable code. The only place that maps causes to statuses.
    pub fn status_and_code(&self) -> (StatusCode, &str) {
        match self {
            Self::Engine(error) => {
                let code = error.code();
                let status = match error {
                    EngineError::ImageNotFound(_)
                    | EngineError::ClusterNotFound(_)
                    | EngineError::BankNotFound(_)
                    | EngineError::JobNotFound(_)
                    | EngineError::RunNotFound(_)
                    | EngineError::PairNotFound(_)
                    | EngineError::NotWaiting(_) => StatusCode::NOT_FOUND,
                    EngineError::Erased(_) => StatusCode::GONE,
                    EngineError::NotDecided(_)
                    | EngineError::PlanChanged { .. }
                    | EngineError::Conflict { .. }
                    | EngineError::EmbeddingConflict { .. } => StatusCode::CONFLICT,
                    EngineError::InvalidId(_) | EngineError::InvalidParameter { .. } => {
                        StatusCode::BAD_REQUEST
                    }
                    EngineError::Image(_) => picture_status(code),
                    EngineError::Overloaded { .. } => StatusCode::TOO_MANY_REQUESTS,
                    EngineError::Store(StoreError::NoSpace { .. }) => {
                        StatusCode::INSUFFICIENT_STORAGE
                    }
                    EngineError::Store(cause) if cause.is_retryable() => {
                        StatusCode::SERVICE_UNAVAILABLE
                    }
                    EngineError::Model(_)
                    | EngineError::Store(_)
                    | EngineError::ModelMismatch { .. } => StatusCode::INTERNAL_SERVER_ERROR,
                    EngineError::Stopped(_) | EngineError::ShuttingDown => {
                        StatusCode::SERVICE_UNAVAILABLE
                    }
                };
                (status, code)
            }
            Self::Sql(error) => match error {
                QueryError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_query"),
                QueryError::Failed(_) => (StatusCode::UNPROCESSABLE_ENTITY, "query_failed"),
                QueryError::TooLarge(_) => (StatusCode::UNPROCESSABLE_ENTITY, "query_too_large"),
                // Not 408: browsers send a request that was answered so again by themselves.
                QueryError::TimedOut(_) => (StatusCode::GATEWAY_TIMEOUT, "query_timed_out"),
                QueryError::Busy(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_queries"),
                QueryError::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "store_failed"),
            },
            Self::ReportNotFound { .. } => (StatusCode::NOT_FOUND, "report_not_found"),
            Self::Query(_) => (StatusCode::BAD_REQUEST, "invalid_query"),
            Self::Path(_) => (StatusCode::BAD_REQUEST, "invalid_path"),
            Self::Header { .. } => (StatusCode::BAD_REQUEST, "invalid_header"),
            Self::MalformedBody(_) => (StatusCode::BAD_REQUEST, "malformed_body"),
            Self::UnsupportedMediaType(_) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
            }
            Self::TooManyBytes { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_many_bytes"),
            Self::BodyTimeout(_) => (StatusCode::REQUEST_TIMEOUT, "body_timeout"),
            Self::Event { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_event"),
            Self::Rejected(rejection) => (picture_status(&rejection.code), &rejection.code),
            Self::UnknownPath => (StatusCode::NOT_FOUND, "unknown_path"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::UriTooLong { .. } => (StatusCode::URI_TOO_LONG, "uri_too_long"),
            Self::Unauthorised => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::MissingScope(_) => (StatusCode::FORBIDDEN, "missing_scope"),
            Self::CrossOrigin => (StatusCode::FORBIDDEN, "cross_origin"),
            Self::UnknownHost(_) => (StatusCode::FORBIDDEN, "unknown_host"),
            Self::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::NotReady(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready"),
            Self::Panicked => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// Returns what the caller is told: internal causes are not for them.
    pub(crate) fn public_message(&self) -> String {
        match self {
            Self::Engine(EngineError::Store(StoreError::NoSpace { .. })) => {
                "the server has no room left; nothing was stored, send it again once there is room"
                    .to_owned()
            }
            Self::Engine(EngineError::Store(_)) => {
                "a store failed; the server's log has the cause".to_owned()
            }
            Self::Engine(EngineError::Model(_)) => {
                "the model failed; the server's log has the cause".to_owned()
            }
            Self::Engine(EngineError::Stopped(_)) => {
                "decisions have stopped; the server's log has the cause".to_owned()
            }
            _ => self.to_string(),
        }
    }

    /// Returns when to try again, where trying again may help.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Engine(EngineError::Overloaded { retry_after, .. }) => Some(*retry_after),
            // Making room takes a person.
            Self::Engine(EngineError::Store(StoreError::NoSpace { .. })) => {
                Some(Duration::from_secs(30))
            }
            Self::Engine(EngineError::Store(cause)) if cause.is_retryable() => {
                Some(Duration::from_secs(1))
            }
            Self::Engine(EngineError::ShuttingDown)
            | Self::Busy(_)
            | Self::NotReady(_)
            | Self::Sql(QueryError::Busy(_)) => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// Adds what HTTP wants said in headers, and logs what the caller is not told.
    pub(crate) fn decorate(&self, response: &mut Response) {
        if matches!(
            self,
            Self::Engine(EngineError::Store(_) | EngineError::Model(_))
        ) {
            // Printed with its sources: `Display` of a store error names the store only.
            error!(error = ?self, "request failed");
        }
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after() {
            // Rounded up: a client that waits exactly this long should find room.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if matches!(self, Self::Unauthorised) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
    }
}

/// Returns the status for a picture that cannot be used.
fn picture_status(code: &str) -> StatusCode {
    match code {
        "image_too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "unsupported_format" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// Body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What went wrong.
    pub(crate) error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorDetail {
    /// Stable, `snake_case`; match on this.
    #[schema(example = "image_not_found")]
    pub(crate) code: String,
    /// For people.
    #[schema(example = "no image with id `cat`")]
    pub(crate) message: String,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        let body = ErrorBody {
            error: ErrorDetail {
                code: code.to_owned(),
                message: self.public_message(),
            },
        };
        let mut response = (status, Json(body)).into_response();
        self.decorate(&mut response);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_causes_are_not_told() {
        let cause = EngineError::from(StoreError::invalid("state (test)", "secret detail"));
        let error = ApiError::from(cause);
        assert_eq!(error.status_and_code().0, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!error.public_message().contains("secret"));
    }

    #[test]
    fn a_full_disk_has_a_status_of_its_own_and_says_when_to_come_back() {
        let full = StoreError::unavailable("objects (test)", "No space left on device");
        let response = ApiError::from(EngineError::from(full)).into_response();
        assert_eq!(response.status(), StatusCode::INSUFFICIENT_STORAGE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "30");
    }

    #[test]
    fn overload_says_when_to_come_back() {
        let error = ApiError::from(EngineError::Overloaded {
            reason: "too many bytes",
            retry_after: Duration::from_millis(1_200),
        });
        let response = error.into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn pictures_are_refused_with_the_status_of_their_fault() {
        for (code, status) in [
            ("image_too_large", 413),
            ("unsupported_format", 415),
            ("corrupt_image", 422),
        ] {
            let error = ApiError::Rejected(Rejection {
                code: code.to_owned(),
                message: "no".to_owned(),
            });
            assert_eq!(
                error.status_and_code(),
                (StatusCode::from_u16(status).unwrap(), code)
            );
        }
    }
}
