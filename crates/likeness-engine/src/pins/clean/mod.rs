//! Cleaning: of a raw event a row with types, or the reason why not. Pure, and the same code for batch and
//! stream.
//!
//! Invariants:
//! - A field that is missing, null, or holds one of the texts that stand for nothing
//!   ([`text::SENTINELS`]) is null in the row.
//! - A field that says something which is not of its column's type is no null: the event is rejected, with
//!   the field, what it holds and why.
//! - Cleaning the JSON of a clean row gives the same row, so every clean form is accepted as input.
//! - Fields that are not known are kept, in the column `extra`.
//!
//! ```text
//! field             column                   what is done
//! index             ind                      whole number; the column has the name that companions use
//! follower_count    follower_count           `15k`, `1.5k`, `2M`, `1,234` to a whole number
//! tag_list          tag_list                 text with commas, letters with commas, or a list, to a list
//! save_location     save_location            without `Local save in `
//! downloaded        downloaded               0, 1, true, false as number, text or itself
//! timestamp,        timestamp, date_joined   see `time`
//!   date_joined
//! latitude,         coordinates              [latitude, longitude] in degrees, both or neither
//!   longitude
//! first_name,       user_name                joined by a space
//!   last_name
//! ```

pub mod number;
pub mod text;
pub mod time;

mod rows;

#[cfg(test)]
mod tests;

pub use rows::{CleanGeolocation, CleanPin, CleanUser, clean_geolocation, clean_pin, clean_user};

use serde::Serialize;

use super::event::{EventKind, RawObject, Rejection};

/// A row of any kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum CleanEvent {
    /// Of a pin.
    Pin(CleanPin),
    /// Of a geolocation.
    Geolocation(CleanGeolocation),
    /// Of a user.
    User(CleanUser),
}

/// Cleans an event of any kind.
///
/// # Errors
/// As [`clean_pin`], [`clean_geolocation`], [`clean_user`].
pub fn clean(kind: EventKind, raw: &RawObject) -> Result<CleanEvent, Rejection> {
    match kind {
        EventKind::Pin => clean_pin(raw).map(CleanEvent::Pin),
        EventKind::Geolocation => clean_geolocation(raw).map(CleanEvent::Geolocation),
        EventKind::User => clean_user(raw).map(CleanEvent::User),
    }
}
