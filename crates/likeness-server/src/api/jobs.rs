use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use likeness_core::Timestamp;
use likeness_core::jobs::Interval;
use likeness_engine::EngineError;
use likeness_engine::ops::{JobList, RunList, RunView};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::body::read_json_body;
use crate::error::{ApiError, ErrorBody};
use crate::query::{NoQuery, StrictQuery};

/// Longest body of a request for runs.
const MAX_BODY_BYTES: u64 = 4 << 10;

/// Which runs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunsQuery {
    /// Those with smaller numbers: the `next` of the page before.
    before: Option<u64>,
    /// Most runs.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: usize,
}

fn default_limit() -> usize {
    20
}

/// Which time to work on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRuns {
    /// First day, in UTC.
    #[schema(example = "2026-01-01")]
    from: String,
    /// Last day, itself included; the same as `from` if it is missing.
    #[schema(example = "2026-01-31")]
    to: Option<String>,
}

/// Runs that were put into the queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueuedRuns {
    /// Earliest interval first.
    runs: Vec<RunView>,
}

type JobPath = Result<Path<String>, PathRejection>;
type RunPath = Result<Path<(String, u64)>, PathRejection>;

fn of_path<T>(path: Result<Path<T>, PathRejection>) -> Result<T, ApiError> {
    let Path(inner) = path.map_err(|rejection| ApiError::Path(rejection.body_text()))?;
    Ok(inner)
}

/// Lists the jobs that run by the clock or on request.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs",
    responses(
        (status = 200, description = "The jobs", body = JobList),
        (status = 400, description = "`invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn jobs(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Result<Json<JobList>, ApiError> {
    Ok(Json(app.jobs.list(Timestamp::now()).await?))
}

/// Lists runs of a job, latest first.
#[utoipa::path(
    get, path = "/v1/jobs/{name}/runs", tag = "jobs",
    params(("name" = String, Path, description = "Name of the job"), RunsQuery),
    responses(
        (status = 200, description = "A page of runs", body = RunList),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 404, description = "`job_not_found`", body = ErrorBody),
    ),
)]
pub(crate) async fn runs(
    State(app): State<Arc<App>>,
    path: JobPath,
    StrictQuery(query): StrictQuery<RunsQuery>,
) -> Result<Json<RunList>, ApiError> {
    let name = of_path(path)?;
    let found = app.jobs.runs(&name, query.before, query.limit).await?;
    Ok(Json(found))
}

/// Puts runs of a job into the queue: one for each of its intervals in a range of days, whatever was run before.
///
/// They are worked on one after the other, by whichever server holds the lease of the job. A run overwrites what an
/// earlier one of the same interval left.
#[utoipa::path(
    post, path = "/v1/jobs/{name}/runs", tag = "jobs",
    params(("name" = String, Path, description = "Name of the job")),
    request_body = NewRuns,
    responses(
        (status = 202, description = "The runs, in the queue", body = QueuedRuns),
        (status = 400, description = "`malformed_body`, `invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 404, description = "`job_not_found`", body = ErrorBody),
        (status = 408, description = "`body_timeout`", body = ErrorBody),
    ),
)]
pub(crate) async fn request_runs(
    State(app): State<Arc<App>>,
    path: JobPath,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<(StatusCode, Json<QueuedRuns>), ApiError> {
    let name = of_path(path)?;
    let body = read_json_body(&app, request, MAX_BODY_BYTES).await?;
    let wanted: NewRuns = serde_json::from_slice(&body)
        .map_err(|error| ApiError::MalformedBody(error.to_string()))?;
    let first = day("from", &wanted.from)?;
    let last = match &wanted.to {
        Some(to) => day("to", to)?,
        None => first,
    };
    let interval = Interval {
        begin: first.begin,
        end: last.end,
    };
    let runs = app.jobs.request(&name, interval, Timestamp::now()).await?;
    let runs = runs.into_iter().map(RunView::from).collect();
    Ok((StatusCode::ACCEPTED, Json(QueuedRuns { runs })))
}

fn day(name: &'static str, text: &str) -> Result<Interval, EngineError> {
    likeness_engine::ops::parse_day(text).ok_or_else(|| EngineError::InvalidParameter {
        name,
        reason: format!("`{text}` is no day; write it as in 2026-01-31"),
    })
}

/// Shows a run of a job.
#[utoipa::path(
    get, path = "/v1/jobs/{name}/runs/{id}", tag = "jobs",
    params(
        ("name" = String, Path, description = "Name of the job"),
        ("id" = u64, Path, description = "Number of the run"),
    ),
    responses(
        (status = 200, description = "The run", body = RunView),
        (status = 400, description = "`invalid_path`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 404, description = "`job_not_found`, `run_not_found`", body = ErrorBody),
    ),
)]
pub(crate) async fn run(
    State(app): State<Arc<App>>,
    path: RunPath,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Result<Json<RunView>, ApiError> {
    let (name, id) = of_path(path)?;
    Ok(Json(app.jobs.run(&name, id).await?))
}

/// Cancels a run that has not come to its end: takes it out of the queue, or ends its attempt within seconds.
#[utoipa::path(
    delete, path = "/v1/jobs/{name}/runs/{id}", tag = "jobs",
    params(
        ("name" = String, Path, description = "Name of the job"),
        ("id" = u64, Path, description = "Number of the run"),
    ),
    responses(
        (status = 200, description = "It is cancelled", body = RunView),
        (status = 400, description = "`invalid_path`, `invalid_query`, `invalid_parameter`: it has ended", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 404, description = "`job_not_found`, `run_not_found`", body = ErrorBody),
    ),
)]
pub(crate) async fn cancel_run(
    State(app): State<Arc<App>>,
    path: RunPath,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Result<Json<RunView>, ApiError> {
    let (name, id) = of_path(path)?;
    let cancelled = app.jobs.cancel(&name, id, Timestamp::now()).await?;
    Ok(Json(cancelled.into()))
}
