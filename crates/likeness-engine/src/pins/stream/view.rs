//! What is shown of the stream.

use serde::Serialize;
use utoipa::ToSchema;

/// How the stream fares.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StreamStatus {
    /// How far it is in each topic.
    pub topics: Vec<TopicLag>,
    /// Greatest event time seen, ISO 8601 in UTC; absent before the first event.
    pub greatest_event_time: Option<String>,
    /// Event time before which what comes is late.
    pub watermark: Option<String>,
    /// What lies between the two.
    pub allowed_lateness_seconds: f64,
    /// Time in which the weight of a pin in scores halves.
    pub half_life_seconds: f64,
    /// Rows of pins.
    pub pins: u64,
    /// Rows of geolocations.
    pub geolocations: u64,
    /// Rows of users.
    pub users: u64,
    /// Events that could not be cleaned.
    pub rejected: u64,
    /// Pins that were late, as often as they were.
    pub late: u64,
    /// What keeps the stream from going on; absent if nothing does.
    pub waits_for: Option<String>,
}

/// How far behind a topic of the log the stream is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TopicLag {
    /// Its name.
    #[schema(example = "pins")]
    pub topic: String,
    /// Records that are not in the tables yet, at most; absent while the tables were never reached.
    pub records: Option<u64>,
    /// How long ago the last record in the tables was received, if there are further ones; otherwise 0.
    pub seconds: f64,
}

/// What profiles are sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProfileOrder {
    /// Pins, each of which counts half after a half-life.
    #[default]
    Score,
    /// Followers.
    Followers,
    /// Pins of all times.
    Pins,
}

/// A profile that posts.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ProfileView {
    /// Name, its first 256 bytes.
    pub poster_name: String,
    /// Followers, as the pin says that came last of those that say anything.
    pub followers: Option<u64>,
    /// Pins.
    pub pins: u64,
    /// Pins, each of which counts half after a half-life, at the greatest event time seen.
    pub score: f64,
}

/// A category, and how it fares.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TrendView {
    /// Name, its first 256 bytes; absent for pins without one.
    pub category: Option<String>,
    /// Pins in the window.
    pub pins: u64,
    /// Pins in the window of the same length before it.
    pub before: u64,
    /// Growth against chance: `(pins − before) / √(pins + before + 1)`, the difference of two counts in standard
    /// deviations of it.
    pub score: f64,
}

/// Categories in a window of time.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TrendList {
    /// Beginning of the window before, ISO 8601 in UTC.
    pub before_from: String,
    /// Beginning of the window.
    pub from: String,
    /// Its end, which is not part of it.
    pub until: String,
    /// The greatest score first.
    pub items: Vec<TrendView>,
}

/// Pins over time.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SeriesView {
    /// Category; absent for all of them together.
    pub category: Option<String>,
    /// Seconds from point to point.
    pub step_seconds: u64,
    /// Points in order of time, without gaps.
    pub points: Vec<SeriesPoint>,
}

/// Pins in a span of time.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SeriesPoint {
    /// Its beginning, ISO 8601 in UTC.
    pub from: String,
    /// Pins.
    pub pins: u64,
    /// Of these, how many came behind the watermark.
    pub late: u64,
}

/// An event that could not be cleaned.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RejectedView {
    /// `pin`, `geolocation` or `user`.
    pub kind: String,
    /// Partition of its topic.
    pub partition: u32,
    /// Place in the partition.
    pub offset: u64,
    /// Its key.
    pub key: String,
    /// The field that is wrong.
    pub field: String,
    /// What is wrong with it, to be read after its name.
    pub reason: String,
    /// What it holds, whatever that is.
    pub value: serde_json::Value,
    /// The event as it came.
    #[schema(value_type = Object)]
    pub event: serde_json::Value,
    /// When it was received, ISO 8601 in UTC.
    pub received: String,
}

/// Rejected events, the latest first.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RejectedPage {
    /// The events.
    pub items: Vec<RejectedView>,
    /// Pass as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
