use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use likeness_core::ImageId;
use likeness_engine::EngineError;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// The query string as a `T`. Together with `deny_unknown_fields` on `T`, a parameter that does not
/// exist is an error that names it, and never silently without effect.
#[derive(Debug)]
pub(crate) struct StrictQuery<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for StrictQuery<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                let text = rejection.body_text();
                let reason = text
                    .strip_prefix("Failed to deserialize query string: ")
                    .unwrap_or(&text);
                Err(ApiError::Query(reason.to_owned()))
            }
        }
    }
}

/// For paths without query parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoQuery {}

/// The image id in the path.
#[derive(Debug)]
pub(crate) struct IdPath(pub(crate) ImageId);

impl<S: Send + Sync> FromRequestParts<S> for IdPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| ApiError::Path(rejection.body_text()))?;
        Ok(Self(ImageId::new(text).map_err(EngineError::from)?))
    }
}
