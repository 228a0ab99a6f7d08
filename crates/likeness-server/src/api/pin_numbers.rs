//! Live numbers of pins, and how the stream that makes them fares.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use futures::stream::unfold;
use likeness_engine::EngineError;
use likeness_engine::pins::LakeStatus;
use likeness_engine::pins::clean::time::EventTime;
use likeness_engine::pins::stream::view::{
    ProfileOrder, ProfileView, RejectedPage, SeriesView, StreamStatus, TrendList,
};
use metrics::counter;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tracing::error;
use utoipa::{IntoParams, ToSchema};

use super::clusters::{check_limit, default_limit};
use crate::app::App;
use crate::error::{ApiError, ErrorBody};
use crate::metrics::HTTP_SHED_TOTAL;
use crate::query::{NoQuery, StrictQuery};

/// How often a comment is sent over a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Shortest time from one event of a stream to the next: commits come faster than anyone reads.
const LEAST_GAP: Duration = Duration::from_millis(250);

/// Profiles in an order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProfileList {
    /// The greatest first.
    items: Vec<ProfileView>,
}

/// Parameters of a list of profiles.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProfilesQuery {
    /// What they are sorted by; `score` if it is not given.
    #[serde(default)]
    #[param(inline)]
    by: ProfileOrder,
    /// Most profiles.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: usize,
}

/// Returns the profiles with the greatest score, with most followers, or with most pins.
///
/// A score counts pins, each of which weighs half after the configured half-life; it is that at the greatest event time
/// seen.
#[utoipa::path(
    get, path = "/v1/pins/popular-profiles", tag = "pins",
    params(ProfilesQuery),
    responses(
        (status = 200, description = "The greatest first", body = ProfileList),
        (status = 400, description = "`invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 503, description = "`store_failed`: the database is away; see `Retry-After`", body = ErrorBody),
    ),
)]
pub(crate) async fn popular_profiles(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<ProfilesQuery>,
) -> Result<Json<ProfileList>, ApiError> {
    check_limit(query.limit)?;
    let items = app.stream.profiles(query.by, query.limit).await?;
    Ok(Json(ProfileList { items }))
}

/// Parameters of trends.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TrendsQuery {
    /// Length of the window and of the one before it: whole minutes, at most 7 days.
    #[serde(default = "default_window")]
    #[param(default = "1h", example = "30min")]
    window: String,
    /// End of the window; its minute is the last one. The greatest event time seen, if it is not given.
    #[param(example = "2018-01-04T00:00:00Z")]
    until: Option<String>,
    /// Most categories.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: usize,
}

fn default_window() -> String {
    "1h".to_owned()
}

/// Returns categories by how much more pins they have in a window of event time than in the one before.
///
/// The score is the difference of the two counts in its standard deviations, so that a category that grew from 1 to 3 is
/// not before one that grew from 1,000 to 2,000.
#[utoipa::path(
    get, path = "/v1/pins/trending-categories", tag = "pins",
    params(TrendsQuery),
    responses(
        (status = 200, description = "The greatest score first", body = TrendList),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 503, description = "`store_failed`: the database is away; see `Retry-After`", body = ErrorBody),
    ),
)]
pub(crate) async fn trending_categories(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<TrendsQuery>,
) -> Result<Json<TrendList>, ApiError> {
    check_limit(query.limit)?;
    let window = seconds("window", &query.window)?;
    let until = time("until", query.until.as_deref())?;
    let trends = app.stream.trends(window, until, query.limit).await?;
    Ok(Json(trends))
}

/// Parameters of a series.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SeriesQuery {
    /// Only pins of this category; an empty one: pins without a category. All, if it is not given.
    #[param(example = "travel")]
    category: Option<String>,
    /// Beginning, moved back to a multiple of the step. Sixty steps before the end, if it is not given.
    from: Option<String>,
    /// End, not included. After the greatest event time seen, if it is not given.
    until: Option<String>,
    /// Time from point to point: whole minutes.
    #[serde(default = "default_step")]
    #[param(default = "1min", example = "1h")]
    step: String,
}

fn default_step() -> String {
    "1min".to_owned()
}

/// Returns pins over event time.
#[utoipa::path(
    get, path = "/v1/pins/series", tag = "pins",
    params(SeriesQuery),
    responses(
        (status = 200, description = "Points in order of time, without gaps", body = SeriesView),
        (status = 400, description = "`invalid_query`, `invalid_parameter`: also for more than can be answered at once", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 503, description = "`store_failed`: the database is away; see `Retry-After`", body = ErrorBody),
    ),
)]
pub(crate) async fn pin_series(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<SeriesQuery>,
) -> Result<Json<SeriesView>, ApiError> {
    let step = seconds("step", &query.step)?;
    let from = time("from", query.from.as_deref())?;
    let until = time("until", query.until.as_deref())?;
    let category = query.category.as_deref();
    Ok(Json(app.stream.series(category, from, until, step).await?))
}

/// Parameters of a list of rejected events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RejectedQuery {
    /// `next` of the page before.
    cursor: Option<String>,
    /// Most events on a page.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: usize,
}

/// Returns events that are stored and could not be cleaned: why, and as they came.
#[utoipa::path(
    get, path = "/v1/pins/rejected", tag = "pins",
    params(RejectedQuery),
    responses(
        (status = 200, description = "The latest first", body = RejectedPage),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 503, description = "`store_failed`: the database is away; see `Retry-After`", body = ErrorBody),
    ),
)]
pub(crate) async fn rejected_pins(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<RejectedQuery>,
) -> Result<Json<RejectedPage>, ApiError> {
    check_limit(query.limit)?;
    let page = app
        .stream
        .rejected(query.cursor.as_deref(), query.limit)
        .await?;
    Ok(Json(page))
}

/// Returns how the stream into the tables fares: how far it is, its watermark, and what it counted.
#[utoipa::path(
    get, path = "/v1/pins/status", tag = "pins",
    responses(
        (status = 200, description = "Lag, watermark, counts", body = StreamStatus),
        (status = 400, description = "`invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn pins_status(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Result<Json<StreamStatus>, ApiError> {
    Ok(Json(app.stream.status().await?))
}

/// Returns how the way into the lake fares: how far it is, and what keeps it.
#[utoipa::path(
    get, path = "/v1/pins/lake", tag = "pins",
    responses(
        (status = 200, description = "Version and lag", body = LakeStatus),
        (status = 400, description = "`invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn lake_status(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Result<Json<LakeStatus>, ApiError> {
    let status = app.lake.status().await;
    Ok(Json(status.map_err(EngineError::from)?))
}

/// Parameters of the live stream.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LiveQuery {
    /// End the stream after this many events.
    #[param(minimum = 1)]
    limit: Option<u64>,
}

/// Streams the status as server-sent events: at once, and after every commit, at most four times in a second.
///
/// Each event stands for itself: who reconnects has missed nothing that matters. Ends when the server stops, or after
/// `limit` events.
#[utoipa::path(
    get, path = "/v1/pins/live", tag = "pins",
    params(LiveQuery),
    responses(
        (status = 200, description = "Events named `status` whose `data` is this object",
         body = StreamStatus, content_type = "text/event-stream"),
        (status = 400, description = "`invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 503, description = "`busy`: as many streams are open as may be", body = ErrorBody),
    ),
)]
pub(crate) async fn live_pins(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<LiveQuery>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    if query.limit == Some(0) {
        return Err(ApiError::Query("limit: must be at least 1".to_owned()));
    }
    let Ok(permit) = Arc::clone(&app.streams).try_acquire_owned() else {
        counter!(HTTP_SHED_TOTAL, "bound" => "event_streams").increment(1);
        return Err(ApiError::Busy("event streams"));
    };
    let mut commits = app.stream.changes();
    commits.mark_changed();
    let live = Live {
        commits,
        remaining: query.limit.unwrap_or(u64::MAX),
        is_first: true,
        _permit: permit,
        app,
    };
    let stream = unfold(live, |mut live| async move {
        let event = live.next_event().await?;
        Some((Ok(event), live))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// One who watches.
struct Live {
    app: Arc<App>,
    commits: watch::Receiver<u64>,
    /// Events still to be sent.
    remaining: u64,
    is_first: bool,
    _permit: OwnedSemaphorePermit,
}

impl Live {
    /// Returns the next event, or nothing when the stream is to end.
    async fn next_event(&mut self) -> Option<Event> {
        self.remaining = self.remaining.checked_sub(1)?;
        let shutdown = self.app.shutdown.clone();
        let gap = if self.is_first {
            Duration::ZERO
        } else {
            LEAST_GAP
        };
        self.is_first = false;
        let changed = async {
            tokio::time::sleep(gap).await;
            self.commits.changed().await
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return None,
            changed = changed => changed.ok()?,
        }
        match self.app.stream.status().await {
            Ok(status) => {
                let data = serde_json::to_string(&status).expect("a status is plain data");
                Some(Event::default().event("status").data(data))
            }
            Err(cause) => {
                error!(error = ?cause, "a stream of the status of pins broke");
                None
            }
        }
    }
}

/// Reads a span of time such as `1h`.
fn seconds(name: &str, text: &str) -> Result<u64, ApiError> {
    let span = humantime::parse_duration(text)
        .map_err(|error| ApiError::Query(format!("{name}: {error}; write it as `30min`")))?;
    match span.subsec_nanos() {
        0 => Ok(span.as_secs()),
        _ => Err(ApiError::Query(format!("{name}: must be whole seconds"))),
    }
}

fn time(name: &str, text: Option<&str>) -> Result<Option<EventTime>, ApiError> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|reason: String| ApiError::Query(format!("{name}: {reason}")))
}
