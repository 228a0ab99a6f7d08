use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use likeness_engine::dedup::view::{ClusterOrder, ClusterSummary, ClusterView, Page};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::error::{ApiError, ErrorBody};
use crate::query::{IdPath, StrictQuery};

/// Most entries of a page.
const MAX_LIMIT: usize = 500;

/// Parameters of a list of clusters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ClustersQuery {
    /// How to order them.
    #[serde(default)]
    #[param(inline)]
    order: ClusterOrder,
    /// Only clusters of at least this many images.
    #[serde(default = "default_min_size")]
    #[param(minimum = 1, default = 1)]
    min_size: u64,
    /// `next` of the page before.
    cursor: Option<String>,
    /// Most clusters on a page.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: usize,
}

/// Parameters of a cluster.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ClusterQuery {
    /// `next` of the page before.
    cursor: Option<String>,
    /// Most members on a page.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: usize,
}

fn default_min_size() -> u64 {
    1
}

pub(super) fn default_limit() -> usize {
    50
}

pub(super) fn check_limit(limit: usize) -> Result<usize, ApiError> {
    if (1..=MAX_LIMIT).contains(&limit) {
        Ok(limit)
    } else {
        Err(ApiError::Query(format!("limit: must be 1 to {MAX_LIMIT}")))
    }
}

/// A page of clusters.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClusterPage {
    /// The clusters.
    items: Vec<ClusterSummary>,
    /// Pass as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists clusters, biggest or last changed first.
#[utoipa::path(
    get, path = "/v1/clusters", tag = "clusters",
    params(ClustersQuery),
    responses(
        (status = 200, description = "A page of clusters", body = ClusterPage),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn clusters(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<ClustersQuery>,
) -> Result<Json<ClusterPage>, ApiError> {
    let limit = check_limit(query.limit)?;
    let cursor = query.cursor.as_deref();
    let Page { items, next } = app
        .dedup
        .clusters(query.order, query.min_size, cursor, limit)
        .await?;
    Ok(Json(ClusterPage { items, next }))
}

/// Returns a cluster with a page of its members, in the order in which they joined, head first.
#[utoipa::path(
    get, path = "/v1/clusters/{head}", tag = "clusters",
    params(("head" = String, Path, description = "Id of the cluster's head"), ClusterQuery),
    responses(
        (status = 200, description = "The cluster", body = ClusterView),
        (status = 400, description = "`invalid_id`, `invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 404, description = "`cluster_not_found`; an image that founded none has none of its own", body = ErrorBody),
    ),
)]
pub(crate) async fn cluster(
    State(app): State<Arc<App>>,
    IdPath(head): IdPath,
    StrictQuery(query): StrictQuery<ClusterQuery>,
) -> Result<Json<ClusterView>, ApiError> {
    let limit = check_limit(query.limit)?;
    let view = app.dedup.cluster(&head, query.cursor.as_deref(), limit);
    Ok(Json(view.await?))
}
