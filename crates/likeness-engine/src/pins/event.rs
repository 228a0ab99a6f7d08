//! Raw events: the JSON objects that a service posts, kept as they came.
//!
//! ```text
//! kind          topic          key         fields that are known
//! pin           pins           unique_id   index, unique_id, title, description, poster_name, follower_count,
//!                                          tag_list, is_image_or_video, image_src, downloaded, save_location,
//!                                          category
//! geolocation   geolocations   ind         ind, timestamp, latitude, longitude, country
//! user          users          ind         ind, first_name, last_name, age, date_joined
//! ```
//! `ind` is the `index` of the pin that the event belongs to. Other fields are kept too. An event has no time
//! of its own that can be relied on, so a record of the log holds when it came: one JSON object
//! `{"received_ms", "event"}`. Objects are kept by what they mean: the order of their fields and how a number
//! is spelled are not, and of two fields with one name the last counts.

use std::fmt;

use likeness_core::Timestamp;
use likeness_core::log::Topic;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::clean::number::{self, MAX_WHOLE};

/// An event as it came.
pub type RawObject = Map<String, Value>;

/// Longest event, in bytes of JSON; a longer one is refused.
pub const MAX_EVENT_BYTES: usize = 64 << 10;
/// Longest `unique_id`, in bytes; an event with a longer one is refused.
pub const MAX_KEY_BYTES: usize = 128;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A pin was posted.
    Pin,
    /// Where and when a pin was posted.
    Geolocation,
    /// Who posted a pin.
    User,
}

impl EventKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Pin, Self::Geolocation, Self::User];

    /// Returns the topic of the log that holds events of this kind.
    pub fn topic(self) -> Topic {
        match self {
            Self::Pin => Topic("pins"),
            Self::Geolocation => Topic("geolocations"),
            Self::User => Topic("users"),
        }
    }

    /// Returns the field that says what an event is about. Events of one key are versions of one thing.
    pub fn key_field(self) -> &'static str {
        match self {
            Self::Pin => "unique_id",
            Self::Geolocation | Self::User => "ind",
        }
    }

    /// Returns its name, as in labels of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pin => "pin",
            Self::Geolocation => "geolocation",
            Self::User => "user",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why an event cannot be stored, or not be cleaned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("`{field}` {reason}")]
pub struct Rejection {
    /// The field, one that the event has or one that it lacks.
    pub field: String,
    /// What is wrong with it, to be read after its name.
    pub reason: String,
    /// What the event has there; null if it lacks the field.
    pub value: Value,
}

impl Rejection {
    /// Returns a rejection of what `raw` has at `field`.
    pub(super) fn of(raw: &RawObject, field: &str, reason: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            reason: reason.into(),
            value: raw.get(field).cloned().unwrap_or_default(),
        }
    }
}

/// Returns the key of an event: `unique_id` as text, or `ind` in decimal digits.
///
/// # Errors
/// If the key is missing, or is none.
pub fn key(kind: EventKind, raw: &RawObject) -> Result<String, Rejection> {
    match kind {
        EventKind::Pin => unique_id(raw),
        EventKind::Geolocation | EventKind::User => Ok(ind(raw)?.to_string()),
    }
}

/// Returns the id of a pin: an integer, or text without white space around it.
pub(super) fn unique_id(raw: &RawObject) -> Result<String, Rejection> {
    let reject = |reason: String| Err(Rejection::of(raw, "unique_id", reason));
    let id = match raw.get("unique_id") {
        None | Some(Value::Null) => return reject("is missing".to_owned()),
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) if !number.is_f64() => number.to_string(),
        Some(_) => return reject("must be text or an integer".to_owned()),
    };
    if !(1..=MAX_KEY_BYTES).contains(&id.len()) {
        return reject(format!("must have 1 to {MAX_KEY_BYTES} bytes"));
    }
    if id.chars().any(char::is_control) {
        return reject("must not have control characters".to_owned());
    }
    Ok(id)
}

/// Returns the number that a companion of a pin has in common with it.
pub(super) fn ind(raw: &RawObject) -> Result<i64, Rejection> {
    let value = raw.get("ind").unwrap_or(&Value::Null);
    let found = number::whole(value, 0..=MAX_WHOLE);
    let found = found.map_err(|reason| Rejection::of(raw, "ind", reason))?;
    found.ok_or_else(|| Rejection::of(raw, "ind", "is missing"))
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RawEvent {
    /// When it came.
    #[serde(rename = "received_ms")]
    pub received: Timestamp,
    /// What came.
    pub event: RawObject,
}

impl RawEvent {
    /// Reads the payload of a record.
    ///
    /// # Errors
    /// If it is none that [`encode`](Self::encode) has made.
    pub fn decode(payload: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(payload)
    }

    /// Returns the payload of a record: one line of JSON.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("JSON with text as keys can be written")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> RawObject {
        let Value::Object(object) = value else {
            panic!("{value} is no object");
        };
        object
    }

    #[test]
    fn keys_are_text_or_integers() {
        for (value, expected) in [
            (json!(" 0a1b-2c "), "0a1b-2c"),
            (json!(7528), "7528"),
            (json!("7528"), "7528"),
        ] {
            let raw = object(json!({ "unique_id": value }));
            assert_eq!(key(EventKind::Pin, &raw).unwrap(), expected);
        }
        for value in [json!(12), json!("12"), json!(" 012 "), json!(12.0)] {
            let raw = object(json!({ "ind": value }));
            assert_eq!(key(EventKind::User, &raw).unwrap(), "12", "{value}");
        }
    }

    #[test]
    fn what_has_no_key_is_refused_by_the_name_of_the_field() {
        let long = "x".repeat(MAX_KEY_BYTES + 1);
        for (kind, raw) in [
            (EventKind::Pin, json!({})),
            (EventKind::Pin, json!({ "unique_id": "" })),
            (EventKind::Pin, json!({ "unique_id": "a\u{0}" })),
            (EventKind::Pin, json!({ "unique_id": long })),
            (EventKind::Pin, json!({ "unique_id": 1.5 })),
            (EventKind::Pin, json!({ "unique_id": ["a"] })),
            (EventKind::User, json!({ "unique_id": "a" })),
            (EventKind::User, json!({ "ind": -1 })),
            (EventKind::User, json!({ "ind": "1.5" })),
            (EventKind::Geolocation, json!({ "ind": "" })),
            (EventKind::Geolocation, json!({ "ind": u64::MAX })),
        ] {
            let raw = object(raw);
            let rejection = key(kind, &raw).unwrap_err();
            assert_eq!(rejection.field, kind.key_field());
            let found = raw.get(kind.key_field()).unwrap_or(&Value::Null);
            assert_eq!(&rejection.value, found);
        }
    }

    #[test]
    fn records_are_one_line_and_read_back() {
        let event = RawEvent {
            received: Timestamp(17),
            event: object(json!({"ind": 1, "country": "a\nb", "more": [1.25, null]})),
        };
        let payload = event.encode();
        assert!(!payload.contains(&b'\n'));
        assert_eq!(RawEvent::decode(&payload).unwrap(), event);
        assert!(RawEvent::decode(b"[]").is_err());
    }
}
