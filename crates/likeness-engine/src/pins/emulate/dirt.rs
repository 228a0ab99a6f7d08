//! What is wrong with events of real services.

use serde_json::{Value, json};

use crate::pins::event::{EventKind, RawObject};
use crate::pins::random::Random;

/// One in so many dirty events cannot be cleaned.
const HOPELESS: u32 = 8;

/// Makes something wrong with `event`.
pub(super) fn soil(random: &mut Random, kind: EventKind, event: &mut RawObject) {
    if random.below(HOPELESS) == 0 {
        spoil(random, kind, event);
        return;
    }
    match kind {
        EventKind::Pin => soil_pin(random, event),
        EventKind::Geolocation => soil_geolocation(random, event),
        EventKind::User => soil_user(random, event),
    }
}

fn soil_pin(random: &mut Random, pin: &mut RawObject) {
    match random.below(10) {
        0 => set(pin, "title", "No Title Data Available"),
        1 => set(pin, "title", "Untitled"),
        2 => set(pin, "description", "No description available Story format"),
        3 => {
            set(pin, "poster_name", "User Info Error");
            set(pin, "follower_count", "User Info Error");
        }
        4 => set(pin, "tag_list", "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e"),
        5 => set(pin, "image_src", "Image src error."),
        6 => set(pin, "follower_count", "1,234"),
        7 => {
            pin.remove("title");
            pin.remove("description");
        }
        8 => {
            set(pin, "index", pin["index"].to_string());
            set(pin, "downloaded", "0");
        }
        _ => set(pin, "board", "Things to do"),
    }
}

fn soil_geolocation(random: &mut Random, geolocation: &mut RawObject) {
    match random.below(4) {
        0 => set(geolocation, "country", "N/A"),
        1 => set(geolocation, "latitude", geolocation["latitude"].to_string()),
        2 => {
            let plain = geolocation["timestamp"].as_str().unwrap_or_default();
            let with_zone = format!("{}Z", plain.replace(' ', "T"));
            set(geolocation, "timestamp", with_zone);
        }
        _ => {
            geolocation.remove("latitude");
            geolocation.remove("longitude");
        }
    }
}

fn soil_user(random: &mut Random, user: &mut RawObject) {
    match random.below(4) {
        0 => set(user, "first_name", "N/A"),
        1 => set(user, "age", user["age"].to_string()),
        2 => {
            user.remove("date_joined");
        }
        _ => set(user, "last_name", Value::Null),
    }
}

/// Makes an event that cannot be cleaned. It has a key, so it can be stored.
fn spoil(random: &mut Random, kind: EventKind, event: &mut RawObject) {
    let wrong = match kind {
        EventKind::Pin => [
            ("follower_count", json!("1.2.3k")),
            ("downloaded", json!("perhaps")),
            ("tag_list", json!({"tags": 3})),
        ],
        EventKind::Geolocation => [
            ("timestamp", json!("yesterday")),
            ("latitude", json!(123.4)),
            ("longitude", json!(null)),
        ],
        EventKind::User => [
            ("age", json!(999)),
            ("age", json!("old")),
            ("date_joined", json!("2017-02-30 10:00:00")),
        ],
    };
    let (field, value) = random.pick(&wrong).clone();
    set(event, field, value);
}

fn set(event: &mut RawObject, field: &str, value: impl Into<Value>) {
    event.insert(field.to_owned(), value.into());
}
