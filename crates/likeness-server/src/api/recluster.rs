use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use likeness_core::Sha256;
use likeness_engine::dedup::recluster::{ApplyPlan, Reclustered, Reclustering};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::corrections::parse;
use crate::app::App;
use crate::body::read_json_body;
use crate::error::{ApiError, ErrorBody};
use crate::query::{NoQuery, StrictQuery};

/// Longest body: two texts of 1,024 bytes, and what is around them.
const MAX_BODY_BYTES: u64 = 16 * 1024;

/// What to do: `{}` shows the plan; with `plan`, `author` and `reason` it is applied.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReclusterRequest {
    /// The `plan` that was shown. Absent: show it, and change nothing.
    plan: Option<String>,
    /// Who wants it applied.
    author: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum ReclusterAnswer {
    /// The plan was applied.
    Applied(Reclustered),
    /// What would change.
    Shown(Reclustering),
}

/// Sorts all images anew, independently of the order in which they came, and shows what that would change, or
/// changes it.
///
/// What people asked for is kept. To apply it, pass on the `plan` that was shown: if something has changed since,
/// it is refused. Every change is a correction, and can be undone. Takes a search for each image.
#[utoipa::path(
    post, path = "/v1/recluster", tag = "corrections",
    request_body = ReclusterRequest,
    responses(
        (status = 200, description = "What would change, or what was changed", body = ReclusterAnswer),
        (status = 400, description = "`malformed_body`, `invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 408, description = "`body_timeout`", body = ErrorBody),
        (status = 409, description = "`plan_changed`: look at it again", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full", body = ErrorBody),
    ),
)]
pub(crate) async fn recluster(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Json<ReclusterAnswer>, ApiError> {
    let body = read_json_body(&app, request, MAX_BODY_BYTES).await?;
    let request: ReclusterRequest = parse(&body)?;
    match (request.plan, request.author, request.reason) {
        (None, None, None) => Ok(Json(ReclusterAnswer::Shown(app.dedup.recluster().await?))),
        (Some(plan), Some(author), Some(reason)) => {
            let plan: Sha256 = plan
                .parse()
                .map_err(|reason| ApiError::MalformedBody(format!("plan: {reason}")))?;
            let apply = ApplyPlan {
                plan,
                author,
                reason,
            };
            let applied = app.dedup.apply_reclustering(apply).await?;
            Ok(Json(ReclusterAnswer::Applied(applied)))
        }
        _ => Err(ApiError::MalformedBody(
            "to apply, give `plan`, `author` and `reason`; to look, none of them".to_owned(),
        )),
    }
}
