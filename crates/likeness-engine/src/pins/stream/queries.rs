//! Answers to questions about the numbers.

use std::collections::BTreeMap;

use likeness_core::sql::{Select, Tables};
use likeness_core::table::{Row, Value};
use likeness_core::{StoreError, Timestamp};

use super::schema::{PINS_PER_MINUTE, PROFILES, fields, integer, text};
use super::view::{
    ProfileOrder, ProfileView, RejectedPage, RejectedView, SeriesPoint, SeriesView, StreamStatus,
    TopicLag, TrendList, TrendView,
};
use super::{PinStream, Progress, lag_seconds};
use crate::EngineError;
use crate::pins::EventKind;
use crate::pins::clean::time::EventTime;
use crate::pins::read::unread;
use crate::pins::tables::REJECTED;

/// Most rows of one answer.
pub const MAX_PAGE: usize = 1_000;
/// Most points of a series.
const MAX_POINTS: i64 = 1_500;
/// Most rows of categories and minutes that an answer is made of; a question that needs more is refused.
const MAX_CELLS: usize = 100_000;
/// Microseconds.
const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
/// Longest window of trends, in seconds.
const MAX_WINDOW: u64 = 7 * 86_400;
/// Longest span of a series, in microseconds: ten years.
const MAX_SPAN: i64 = 3_660 * 86_400 * SECOND;

impl PinStream {
    /// Returns how the stream fares.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn status(&self) -> Result<StreamStatus, EngineError> {
        let Progress {
            places,
            state,
            received,
            trouble,
        } = self.shared.progress().clone();
        let unread = unread(self.shared.log.as_ref(), &places).await?;
        let config = &self.shared.config;
        let topic = |kind: EventKind| {
            let (unread, received) = (unread[kind as usize], received[kind as usize]);
            TopicLag {
                topic: kind.topic().0.to_owned(),
                records: (!places.is_empty()).then_some(unread),
                seconds: lag_seconds(unread, received),
            }
        };
        let count = |count: i64| count.unsigned_abs();
        Ok(StreamStatus {
            topics: EventKind::ALL.map(topic).to_vec(),
            greatest_event_time: state.greatest.map(iso),
            watermark: state.watermark(config).map(iso),
            allowed_lateness_seconds: config.allowed_lateness.as_secs_f64(),
            half_life_seconds: config.half_life.as_secs_f64(),
            pins: count(state.pins),
            geolocations: count(state.geolocations),
            users: count(state.users),
            rejected: count(state.rejected),
            late: count(state.late),
            waits_for: trouble,
        })
    }

    /// Returns the first profiles of an order, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// If the tables cannot be read.
    pub async fn profiles(
        &self,
        order: ProfileOrder,
        limit: usize,
    ) -> Result<Vec<ProfileView>, EngineError> {
        let column = match order {
            ProfileOrder::Score => "score",
            ProfileOrder::Followers => "followers",
            ProfileOrder::Pins => "pins",
        };
        let select = Select {
            order_by: vec![column],
            descending: true,
            limit: limit.min(MAX_PAGE),
            ..Select::default()
        };
        let rows = self.tables()?.select(&PROFILES, select).await?;
        let half_life = self.shared.config.half_life();
        let now = self.now();
        let view = |row: &Row| {
            let names = ["poster_name", "followers", "pins", "score"];
            let [name, followers, pins, score] = fields(&PROFILES, row, names);
            let score = match score {
                Value::Real(score) => half_life.decayed(*score, now),
                _ => 0.0,
            };
            ProfileView {
                poster_name: text(name).unwrap_or_default().to_owned(),
                followers: match followers {
                    Value::Integer(followers) => Some(followers.unsigned_abs()),
                    _ => None,
                },
                pins: integer(pins).unsigned_abs(),
                // Of times beyond now, more than a number can say.
                score: score.min(f64::MAX),
            }
        };
        Ok(rows.iter().map(view).collect())
    }

    /// Returns the tables, once they were reached and have their schema.
    fn tables(&self) -> Result<&dyn Tables, EngineError> {
        if self.shared.progress().places.is_empty() {
            let reason = "the stream of pins has not reached them yet";
            return Err(StoreError::unavailable("tables", reason).into());
        }
        Ok(self.shared.tables.as_ref())
    }

    /// Returns the greatest event time, or the present.
    fn now(&self) -> i64 {
        let greatest = self.shared.progress().state.greatest;
        greatest.unwrap_or_else(|| EventTime::from(Timestamp::now()).micros())
    }

    /// Returns categories by how they fare in a window of so many seconds against the one before it. The window ends
    /// with the minute of `until`, or of the greatest event time.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a window that is no whole number of minutes, or too long; if the tables
    /// cannot be read.
    pub async fn trends(
        &self,
        window_seconds: u64,
        until: Option<EventTime>,
        limit: usize,
    ) -> Result<TrendList, EngineError> {
        if window_seconds == 0 || !window_seconds.is_multiple_of(60) || window_seconds > MAX_WINDOW
        {
            return Err(invalid("window", "must be whole minutes, at most 7 days"));
        }
        let window = window_seconds as i64 * SECOND;
        let until = until.map_or_else(|| self.now(), EventTime::micros);
        let until = in_range(until.div_euclid(MINUTE) * MINUTE + MINUTE);
        let (from, before_from) = (in_range(until - window), in_range(until - 2 * window));
        let rows = self.cells(None, before_from, until).await?;
        let mut sums: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
        for row in &rows {
            let names = ["category", "minute", "pins"];
            let [category, minute, pins] = fields(&PINS_PER_MINUTE, row, names);
            let sum = sums.entry(text(category).unwrap_or_default()).or_default();
            sum[usize::from(integer(minute) < from)] += integer(pins).unsigned_abs();
        }
        let mut items: Vec<TrendView> = sums
            .into_iter()
            .map(|(category, [pins, before])| TrendView {
                category: known(category),
                pins,
                before,
                score: (pins as f64 - before as f64) / ((pins + before + 1) as f64).sqrt(),
            })
            .collect();
        items.sort_by(|left, right| {
            let by_score = right.score.total_cmp(&left.score);
            by_score.then_with(|| left.category.cmp(&right.category))
        });
        items.truncate(limit);
        Ok(TrendList {
            before_from: iso(before_from),
            from: iso(from),
            until: iso(until),
            items,
        })
    }

    /// Returns pins over time. Without `until` it ends with the minute of the greatest event time; without `from` it has
    /// sixty points.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a step that is no whole number of minutes, and for more points or rows
    /// than an answer may need; if the tables cannot be read.
    pub async fn series(
        &self,
        category: Option<&str>,
        from: Option<EventTime>,
        until: Option<EventTime>,
        step_seconds: u64,
    ) -> Result<SeriesView, EngineError> {
        if step_seconds == 0 || !step_seconds.is_multiple_of(60) || step_seconds > 366 * 86_400 {
            return Err(invalid("step", "must be whole minutes, at most 366 days"));
        }
        if category.is_some_and(|name| name.len() > 256 || name.contains('\0')) {
            return Err(invalid(
                "category",
                "must have at most 256 bytes, none of them 0",
            ));
        }
        let step = step_seconds as i64 * SECOND;
        let until = match until {
            Some(until) => until.micros(),
            None => self.now().div_euclid(MINUTE) * MINUTE + MINUTE,
        };
        // Points begin at multiples of the step.
        let from = match from {
            Some(from) => from.micros().div_euclid(step) * step,
            None => (until + step - 1).div_euclid(step) * step - 60 * step,
        };
        let num_points = (until - from).div_euclid(step) + i64::from((until - from) % step != 0);
        if num_points < 1 {
            return Err(invalid("until", "must be after `from`"));
        }
        if num_points > MAX_POINTS || until - from > MAX_SPAN {
            let reason = format!(
                "from `from` to `until` are {num_points} steps; at most {MAX_POINTS}, and ten years, can be asked for"
            );
            return Err(invalid("step", reason));
        }
        let rows = self
            .cells(category, in_range(from), in_range(until))
            .await?;
        let mut sums = vec![[0_u64; 2]; num_points as usize];
        for row in &rows {
            let [minute, pins, late] = fields(&PINS_PER_MINUTE, row, ["minute", "pins", "late"]);
            let point = (integer(minute) - from).div_euclid(step);
            if let Some(sum) = sums.get_mut(point as usize) {
                sum[0] += integer(pins).unsigned_abs();
                sum[1] += integer(late).unsigned_abs();
            }
        }
        let points = sums.into_iter().zip(0_i64..);
        let points = points.map(|([pins, late], number)| SeriesPoint {
            from: iso(from + number * step),
            pins,
            late,
        });
        Ok(SeriesView {
            category: category.and_then(known),
            step_seconds,
            points: points.collect(),
        })
    }

    /// Returns rows of minutes.
    async fn cells(
        &self,
        category: Option<&str>,
        from: i64,
        until: i64,
    ) -> Result<Vec<Row>, EngineError> {
        let select = Select {
            equals: category
                .map(|category| ("category", category.into()))
                .into_iter()
                .collect(),
            range: Some((
                "minute",
                Some(Value::Timestamp(from)),
                Some(Value::Timestamp(until)),
            )),
            order_by: vec!["minute"],
            descending: true,
            limit: MAX_CELLS + 1,
            ..Select::default()
        };
        let rows = self.tables()?.select(&PINS_PER_MINUTE, select).await?;
        if rows.len() > MAX_CELLS {
            let reason = format!(
                "there are more than {MAX_CELLS} pairs of a category and a minute in that time; ask for less of it"
            );
            return Err(invalid("from", reason));
        }
        Ok(rows)
    }

    /// Returns events that could not be cleaned, the latest first, at most [`MAX_PAGE`].
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a cursor that was not given out; if the tables cannot be read.
    pub async fn rejected(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<RejectedPage, EngineError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let after = match cursor {
            None => None,
            Some(cursor) => Some(read_cursor(cursor).ok_or_else(|| {
                invalid("cursor", "is none that was given out; begin without one")
            })?),
        };
        let select = Select {
            order_by: vec!["received", "kind", "log_partition", "log_offset"],
            descending: true,
            after,
            limit: limit + 1,
            ..Select::default()
        };
        let mut rows = self.tables()?.select(&REJECTED, select).await?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let items: Vec<_> = rows.iter().map(rejected).collect();
        let next = rows.last().filter(|_| has_more).map(|row| {
            let names = ["received", "kind", "log_partition", "log_offset"];
            let [received, kind, partition, offset] = fields(&REJECTED, row, names);
            format!(
                "{}.{}.{}.{}",
                integer(received),
                text(kind).unwrap_or_default(),
                integer(partition),
                integer(offset)
            )
        });
        Ok(RejectedPage { items, next })
    }
}

fn rejected(row: &Row) -> RejectedView {
    let names = [
        "kind",
        "log_partition",
        "log_offset",
        "key",
        "field",
        "reason",
        "value",
        "event",
        "received",
    ];
    let [
        kind,
        partition,
        offset,
        key,
        field,
        reason,
        value,
        event,
        received,
    ] = fields(&REJECTED, row, names);
    let words = |value: &Value| text(value).unwrap_or_default().to_owned();
    let json = |value: &Value| match value {
        Value::Json(json) => json.clone(),
        _ => serde_json::Value::Null,
    };
    RejectedView {
        kind: words(kind),
        partition: u32::try_from(integer(partition)).unwrap_or_default(),
        offset: integer(offset).unsigned_abs(),
        key: words(key),
        field: words(field),
        reason: words(reason),
        value: json(value),
        event: json(event),
        received: iso(integer(received)),
    }
}

/// Reads `received.kind.partition.offset`.
fn read_cursor(cursor: &str) -> Option<Vec<Value>> {
    let mut parts = cursor.split('.');
    let received = parts.next()?.parse().ok()?;
    EventTime::from_micros(received)?;
    let kind = parts.next()?;
    EventKind::ALL.iter().find(|one| one.name() == kind)?;
    let (partition, offset): (i64, i64) =
        (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let values = vec![
        Value::Timestamp(received),
        kind.into(),
        partition.into(),
        offset.into(),
    ];
    parts.next().is_none().then_some(values)
}

fn invalid(name: &'static str, reason: impl Into<String>) -> EngineError {
    EngineError::InvalidParameter {
        name,
        reason: reason.into(),
    }
}

/// Returns the nearest time that can be.
fn in_range(micros: i64) -> i64 {
    micros.clamp(EventTime::MIN.micros(), EventTime::MAX.micros())
}

fn iso(micros: i64) -> String {
    let time = EventTime::from_micros(in_range(micros));
    time.map(|time| time.to_string()).unwrap_or_default()
}

/// Returns a category that is one.
fn known(category: &str) -> Option<String> {
    (!category.is_empty()).then(|| category.to_owned())
}
