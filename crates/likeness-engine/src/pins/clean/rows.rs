//! Rows: columns in their order, and the function of each kind.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::number::{self, MAX_WHOLE};
use super::text;
use super::time::{self, EventTime};
use crate::pins::event::{RawObject, Rejection, ind, unique_id};

/// Oldest age, in years; a greater one is rejected.
const MAX_AGE: i64 = 130;

/// A pin. Columns come in this order, the important ones first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CleanPin {
    /// Key.
    pub unique_id: String,
    /// Number that its geolocation and its user have too.
    pub ind: Option<i64>,
    /// Title.
    pub title: Option<String>,
    /// Category.
    pub category: Option<String>,
    /// Name of the profile that posted it.
    pub poster_name: Option<String>,
    /// Followers of that profile.
    pub follower_count: Option<i64>,
    /// Description.
    pub description: Option<String>,
    /// Tags, at least one.
    pub tag_list: Option<Vec<String>>,
    /// `image`, `video`, `multi-video(story page format)`.
    pub is_image_or_video: Option<String>,
    /// Address of the picture.
    pub image_src: Option<String>,
    /// Where the picture was saved.
    pub save_location: Option<String>,
    /// Whether it was.
    pub downloaded: Option<bool>,
    /// Fields that are not known.
    pub extra: Option<RawObject>,
}

/// Where and when a pin was posted. Columns come in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CleanGeolocation {
    /// Key: number of the pin.
    pub ind: i64,
    /// When.
    pub timestamp: EventTime,
    /// Country.
    pub country: Option<String>,
    /// Latitude, then longitude, in degrees.
    pub coordinates: Option<[f64; 2]>,
    /// Fields that are not known.
    pub extra: Option<RawObject>,
}

/// Who posted a pin. Columns come in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CleanUser {
    /// Key: number of the pin.
    pub ind: i64,
    /// First and last name.
    pub user_name: Option<String>,
    /// Age in years, 0 to 130.
    pub age: Option<u8>,
    /// When they joined.
    pub date_joined: Option<EventTime>,
    /// Fields that are not known.
    pub extra: Option<RawObject>,
}

impl CleanPin {
    /// Names of the columns, in their order.
    pub const COLUMNS: [&str; 13] = [
        "unique_id",
        "ind",
        "title",
        "category",
        "poster_name",
        "follower_count",
        "description",
        "tag_list",
        "is_image_or_video",
        "image_src",
        "save_location",
        "downloaded",
        "extra",
    ];
}

impl CleanGeolocation {
    /// Names of the columns, in their order.
    pub const COLUMNS: [&str; 5] = ["ind", "timestamp", "country", "coordinates", "extra"];
}

impl CleanUser {
    /// Names of the columns, in their order.
    pub const COLUMNS: [&str; 5] = ["ind", "user_name", "age", "date_joined", "extra"];
}

/// Cleans a pin.
///
/// # Errors
/// [`Rejection`] names the first field that cannot be cleaned, in the order of the columns.
pub fn clean_pin(raw: &RawObject) -> Result<CleanPin, Rejection> {
    let fields = Fields(raw);
    Ok(CleanPin {
        unique_id: unique_id(raw)?,
        ind: match fields.get("index") {
            Value::Null => fields.read("ind", whole)?,
            _ => fields.read("index", whole)?,
        },
        title: fields.text("title")?,
        category: fields.text("category")?,
        poster_name: fields.text("poster_name")?,
        follower_count: fields.read("follower_count", |value| {
            number::count("follower_count", value)
        })?,
        description: fields.text("description")?,
        tag_list: fields.read("tag_list", text::tags)?,
        is_image_or_video: fields.text("is_image_or_video")?,
        image_src: fields.text("image_src")?,
        save_location: fields.read("save_location", text::save_location)?,
        downloaded: fields.read("downloaded", number::truth)?,
        extra: fields.extra(&CleanPin::COLUMNS, &["index"]),
    })
}

/// Cleans a geolocation.
///
/// # Errors
/// As [`clean_pin`]; also if it has no timestamp, or one coordinate without the other.
pub fn clean_geolocation(raw: &RawObject) -> Result<CleanGeolocation, Rejection> {
    let fields = Fields(raw);
    let row = CleanGeolocation {
        ind: ind(raw)?,
        timestamp: fields
            .read("timestamp", time::time)?
            .ok_or_else(|| Rejection::of(raw, "timestamp", "is missing"))?,
        country: fields.text("country")?,
        coordinates: fields.coordinates()?,
        extra: fields.extra(&CleanGeolocation::COLUMNS, &["latitude", "longitude"]),
    };
    Ok(row)
}

/// Cleans a user.
///
/// # Errors
/// As [`clean_pin`].
pub fn clean_user(raw: &RawObject) -> Result<CleanUser, Rejection> {
    let fields = Fields(raw);
    Ok(CleanUser {
        ind: ind(raw)?,
        user_name: match (fields.text("first_name")?, fields.text("last_name")?) {
            (Some(first), Some(last)) => Some(format!("{first} {last}")),
            (None, None) => fields.text("user_name")?,
            (first, last) => first.or(last),
        },
        age: fields
            .read("age", |value| number::whole(value, 0..=MAX_AGE))?
            .and_then(|age| u8::try_from(age).ok()),
        date_joined: fields.read("date_joined", time::time)?,
        extra: fields.extra(&CleanUser::COLUMNS, &["first_name", "last_name"]),
    })
}

fn whole(value: &Value) -> Result<Option<i64>, String> {
    number::whole(value, 0..=MAX_WHOLE)
}

/// Fields of a raw event.
struct Fields<'a>(&'a RawObject);

impl Fields<'_> {
    /// Returns what a field holds; null if it is missing.
    fn get(&self, field: &str) -> &Value {
        self.0.get(field).unwrap_or(&Value::Null)
    }

    fn read<T>(
        &self,
        field: &str,
        read: impl FnOnce(&Value) -> Result<Option<T>, String>,
    ) -> Result<Option<T>, Rejection> {
        read(self.get(field)).map_err(|reason| Rejection::of(self.0, field, reason))
    }

    fn text(&self, field: &str) -> Result<Option<String>, Rejection> {
        self.read(field, |value| text::text(field, value))
    }

    fn coordinates(&self) -> Result<Option<[f64; 2]>, Rejection> {
        let latitude = self.read("latitude", latitude)?;
        let longitude = self.read("longitude", longitude)?;
        let missing = |field| Err(Rejection::of(self.0, field, "is missing beside the other"));
        match (latitude, longitude) {
            (Some(latitude), Some(longitude)) => Ok(Some([latitude, longitude])),
            (None, None) => self.read("coordinates", pair),
            (None, Some(_)) => missing("latitude"),
            (Some(_), None) => missing("longitude"),
        }
    }

    /// Returns fields that are neither columns nor `others`, together with those of an `extra` that came. An
    /// `extra` that is no object is a field that is not known.
    fn extra(&self, columns: &[&str], others: &[&str]) -> Option<RawObject> {
        let mut extra = match self.get("extra") {
            Value::Object(extra) => extra.clone(),
            _ => RawObject::new(),
        };
        for (name, value) in self.0 {
            let is_known = match name.as_str() {
                "extra" => value.is_object() || value.is_null(),
                name => columns.contains(&name) || others.contains(&name),
            };
            if !is_known {
                extra.insert(name.clone(), value.clone());
            }
        }
        (!extra.is_empty()).then_some(extra)
    }
}

fn latitude(value: &Value) -> Result<Option<f64>, String> {
    number::degrees(value, 90.0)
}

fn longitude(value: &Value) -> Result<Option<f64>, String> {
    number::degrees(value, 180.0)
}

/// Reads coordinates as a clean row has them.
fn pair(value: &Value) -> Result<Option<[f64; 2]>, String> {
    let wrong = || "must be [latitude, longitude] in degrees".to_owned();
    let pair = match value {
        Value::Null => return Ok(None),
        Value::Array(pair) => pair.as_slice(),
        _ => return Err(wrong()),
    };
    let [first, second] = pair else {
        return Err(wrong());
    };
    match (latitude(first)?, longitude(second)?) {
        (Some(latitude), Some(longitude)) => Ok(Some([latitude, longitude])),
        _ => Err(wrong()),
    }
}
