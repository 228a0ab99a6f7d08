//! Decisions, and what else is made, as server-sent events.
//!
//! One event per record: `id` is its offset, `event` names the topic's kind, `data` is its JSON: of a decision a
//! `DecisionEvent`. A client that reconnects with `Last-Event-ID` misses nothing and gets nothing
//! twice, since records are read from the log; a slow client holds back only itself.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use futures::stream::unfold;
use likeness_engine::EngineError;
use likeness_engine::dedup::Stream as EngineStream;
use likeness_engine::dedup::view::DecisionEvent;
use metrics::counter;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tracing::error;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::error::{ApiError, ErrorBody};
use crate::metrics::HTTP_SHED_TOTAL;
use crate::query::StrictQuery;

/// Events read at once; all that a stream holds in memory.
const BATCH: usize = 64;

/// How often a comment is sent over a silent stream, so that proxies keep it open and a client that
/// went away is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Parameters of a stream of events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Where to begin: `latest` (only what comes from now on), `beginning`, or an offset.
    /// `Last-Event-ID` comes before it.
    #[serde(default)]
    #[param(default = "latest", example = "beginning")]
    from: Option<String>,
    /// End the stream after this many events.
    #[param(minimum = 1)]
    limit: Option<u64>,
    /// What to stream.
    #[serde(default)]
    #[param(inline)]
    topic: Topic,
}

/// A stream of events.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Topic {
    /// What was decided: events named `decision`.
    #[default]
    Decisions,
    /// What became of corrections: events named `correction`.
    Corrections,
    /// Images that matched banks: events named `bank_match`.
    BankMatches,
    /// Floods, raised and acknowledged: events named `alarm`.
    Alarms,
}

impl Topic {
    fn stream(self) -> EngineStream {
        match self {
            Self::Decisions => EngineStream::Decisions,
            Self::Corrections => EngineStream::Corrections,
            Self::BankMatches => EngineStream::BankMatches,
            Self::Alarms => EngineStream::Alarms,
        }
    }

    fn event(self) -> &'static str {
        match self {
            Self::Decisions => "decision",
            Self::Corrections => "correction",
            Self::BankMatches => "bank_match",
            Self::Alarms => "alarm",
        }
    }
}

/// Streams decisions, or another topic, as server-sent events, as they are made.
///
/// Ends when the server stops, after `limit` events, or with an event `error`; reconnect with
/// `Last-Event-ID` (browsers do so by themselves).
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    params(
        EventsQuery,
        ("Last-Event-ID" = Option<String>, Header,
         description = "Offset of the last event seen; the stream begins after it"),
    ),
    responses(
        (status = 200, description = "Events named `decision` whose `id` is the offset and whose `data` is this object; of other topics `CorrectionView`, `BankMatchView`, `AlarmView`",
         body = DecisionEvent, content_type = "text/event-stream"),
        (status = 400, description = "`invalid_query`, `invalid_header`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 503, description = "`busy`: as many streams are open as may be", body = ErrorBody),
    ),
)]
pub(crate) async fn events(
    State(app): State<Arc<App>>,
    StrictQuery(query): StrictQuery<EventsQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    if query.limit == Some(0) {
        return Err(ApiError::Query("limit: must be at least 1".to_owned()));
    }
    let Ok(permit) = Arc::clone(&app.streams).try_acquire_owned() else {
        counter!(HTTP_SHED_TOTAL, "bound" => "event_streams").increment(1);
        return Err(ApiError::Busy("event streams"));
    };
    let tail = Tail {
        next: first_offset(&app, &query, &headers).await?,
        topic: query.topic,
        remaining: query.limit.unwrap_or(u64::MAX),
        read: VecDeque::new(),
        is_broken: false,
        _permit: permit,
        app,
    };
    let stream = unfold(tail, |mut tail| async move {
        let event = tail.next_event().await?;
        Some((Ok(event), tail))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Returns the offset at which a stream begins.
async fn first_offset(
    app: &App,
    query: &EventsQuery,
    headers: &HeaderMap,
) -> Result<u64, ApiError> {
    if let Some(last) = headers.get("last-event-id") {
        let last: Option<u64> = last.to_str().ok().and_then(|text| text.parse().ok());
        let next = last.and_then(|last| last.checked_add(1));
        return next.ok_or_else(|| ApiError::Header {
            name: "last-event-id",
            reason: "not an offset that this stream gave out".to_owned(),
        });
    }
    match query.from.as_deref() {
        None | Some("latest") => Ok(app.dedup.stream_end(query.topic.stream()).await?),
        Some("beginning") => Ok(0),
        Some(offset) => offset.parse().map_err(|_| {
            ApiError::Query("from: must be `latest`, `beginning` or an offset".to_owned())
        }),
    }
}

/// A reader of a topic of the log.
struct Tail {
    app: Arc<App>,
    topic: Topic,
    /// Offset to read next.
    next: u64,
    /// Events still to be sent.
    remaining: u64,
    /// Offsets and JSON of what was read and not sent yet.
    read: VecDeque<(u64, String)>,
    /// Set once the stream has told of an error; it ends then.
    is_broken: bool,
    _permit: OwnedSemaphorePermit,
}

impl Tail {
    /// Returns the next event, or nothing when the stream is to end.
    async fn next_event(&mut self) -> Option<Event> {
        if self.remaining == 0 || self.is_broken {
            return None;
        }
        while self.read.is_empty() {
            let shutdown = self.app.shutdown.clone();
            let filled = tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                filled = self.fill() => filled,
            };
            match filled {
                Ok(()) => {}
                Err(EngineError::ShuttingDown) => return None,
                Err(cause) => {
                    error!(error = ?cause, "a stream of events broke");
                    self.is_broken = true;
                    return Some(Event::default().event("error").data(cause.code()));
                }
            }
        }
        let (offset, data) = self.read.pop_front()?;
        self.remaining -= 1;
        Some(
            Event::default()
                .id(offset.to_string())
                .event(self.topic.event())
                .data(data),
        )
    }

    /// Reads on, or waits until there may be something to read.
    async fn fill(&mut self) -> Result<(), EngineError> {
        let read = self.read_on().await?;
        let Some((last, _)) = read.last() else {
            let stream = self.topic.stream();
            return self.app.dedup.wait_for_stream(stream, self.next).await;
        };
        self.next = last + 1;
        self.read.extend(read);
        Ok(())
    }

    async fn read_on(&self) -> Result<Vec<(u64, String)>, EngineError> {
        let dedup = &self.app.dedup;
        if let Topic::Decisions = self.topic {
            let events = dedup.decisions(self.next, BATCH).await?;
            let json = |event: &DecisionEvent| {
                serde_json::to_string(event).expect("a decision is plain data")
            };
            return Ok(events
                .iter()
                .map(|event| (event.offset, json(event)))
                .collect());
        }
        let records = dedup.stream(self.topic.stream(), self.next, BATCH).await?;
        Ok(records
            .into_iter()
            .map(|record| {
                let json = String::from_utf8_lossy(&record.json).into_owned();
                (record.offset, json)
            })
            .collect())
    }
}
