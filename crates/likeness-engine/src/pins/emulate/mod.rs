//! Events as a service would post them, from a seed: to try the way in, and to load it.
//!
//! A post is a pin with its geolocation and its user. Posts are independent of one another: the same seed,
//! number and time give the same post, so several threads can make them. What the numbers follow:
//! - Posters repeat: there are [`POSTERS`], and the one of rank `r` posts in proportion to `1 / r`.
//! - Followers of a poster follow a power law of exponent 2, from 50 to 50 million.
//! - Categories and countries that come first in their lists come more often.

mod dirt;
mod words;

use serde_json::{Value, json};

use self::words::{ADJECTIVES, CATEGORIES, COUNTRIES, FIRST_NAMES, LAST_NAMES, TITLES};
use super::clean::time::EventTime;
use super::event::{EventKind, RawObject};
use super::random::Random;

/// Profiles that post.
pub const POSTERS: u32 = (1 << POSTER_BITS) - 1;
const POSTER_BITS: u32 = 13;

/// Fewest and most followers of a profile.
const FOLLOWERS: (f64, f64) = (50.0, 50_000_000.0);
/// How late an event that is late comes, in hours.
const LATE_HOURS: (u32, u32) = (1, 48);
/// What lies between an event and its post otherwise, in seconds.
const MAX_DELAY_SECONDS: u32 = 3;

/// Streams of random numbers, so that the one of posters is not that of posts.
const POSTS: u64 = 1 << 62;

/// What is posted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EmulatorOptions {
    /// Any number; another one gives other events.
    pub seed: u64,
    /// Share of events that lack something, or say it in an odd way; one in eight of them cannot be cleaned.
    pub dirty: f64,
    /// Share of geolocations whose time lies hours back.
    pub late: f64,
}

impl Default for EmulatorOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            dirty: 0.05,
            late: 0.02,
        }
    }
}

/// A source of posts.
#[derive(Debug, Clone)]
pub struct Emulator {
    options: EmulatorOptions,
}

/// A pin with its companions.
#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    /// The pin.
    pub pin: RawObject,
    /// Where and when.
    pub geolocation: RawObject,
    /// Who.
    pub user: RawObject,
}

impl Post {
    /// Returns the event of a kind.
    pub fn event(self, kind: EventKind) -> RawObject {
        match kind {
            EventKind::Pin => self.pin,
            EventKind::Geolocation => self.geolocation,
            EventKind::User => self.user,
        }
    }
}

/// Who posts.
#[derive(Debug)]
struct Poster {
    first_name: &'static str,
    last_name: &'static str,
    name: String,
    age: u32,
    joined: EventTime,
    followers: u64,
}

impl Emulator {
    /// Returns a source of posts.
    pub fn new(options: EmulatorOptions) -> Self {
        Self { options }
    }

    /// Returns a post that is made at `now`. `number` is its `index`, and the `ind` of its companions.
    pub fn post(&self, number: u32, now: EventTime) -> Post {
        let mut random = Random::new(self.options.seed, POSTS | u64::from(number));
        let poster = self.poster(rank(&mut random));
        let mut post = Post {
            pin: pin(&mut random, number, &poster),
            geolocation: self.geolocation(&mut random, number, now),
            user: object(json!({
                "ind": number,
                "first_name": poster.first_name,
                "last_name": poster.last_name,
                "age": poster.age,
                "date_joined": poster.joined.plain(),
            })),
        };
        for (kind, event) in [
            (EventKind::Pin, &mut post.pin),
            (EventKind::Geolocation, &mut post.geolocation),
            (EventKind::User, &mut post.user),
        ] {
            if random.chance(self.options.dirty) {
                dirt::soil(&mut random, kind, event);
            }
        }
        post
    }

    fn geolocation(&self, random: &mut Random, number: u32, now: EventTime) -> RawObject {
        let mut delay = random.below(MAX_DELAY_SECONDS + 1);
        if random.chance(self.options.late) {
            let (least, most) = (LATE_HOURS.0 * 3_600, LATE_HOURS.1 * 3_600);
            delay = least + random.below(most - least + 1);
        }
        let &(country, latitude, longitude) = random.favour(&COUNTRIES);
        object(json!({
            "ind": number,
            "timestamp": now.minus_seconds(delay).plain(),
            "latitude": near(random, latitude),
            "longitude": near(random, longitude),
            "country": country,
        }))
    }

    /// Returns the profile of a rank, the same at every call.
    fn poster(&self, rank: u32) -> Poster {
        let mut random = Random::new(self.options.seed, u64::from(rank));
        let first_name = *random.pick(&FIRST_NAMES);
        let last_name = *random.pick(&LAST_NAMES);
        let name = match random.below(3) {
            0 => format!("{first_name} {last_name}"),
            1 => format!("{} by {first_name}", random.pick(&ADJECTIVES)),
            _ => format!("The {} {last_name}", random.pick(&ADJECTIVES)),
        };
        // The tail of a density of exponent 2 falls with the reciprocal.
        let followers = (FOLLOWERS.0 / (1.0 - random.unit())).min(FOLLOWERS.1);
        let joined = EventTime::from_micros(JOINED_FROM * 1_000_000);
        let joined = joined.expect("a moment of 2015 is in range");
        let later = i64::from(random.below(JOINED_SECONDS)) * 1_000_000;
        Poster {
            first_name,
            last_name,
            name,
            age: 16 + random.below(30).min(random.below(60)),
            joined: EventTime::from_micros(joined.micros() + later).unwrap_or(joined),
            followers: followers as u64,
        }
    }
}

/// The beginning of 2015, in seconds since 1970.
const JOINED_FROM: i64 = 1_420_070_400;
/// Six years.
const JOINED_SECONDS: u32 = 6 * 365 * 86_400;

/// Returns a rank of 1 to [`POSTERS`], in proportion to its reciprocal: every doubling is as likely.
fn rank(random: &mut Random) -> u32 {
    let power = random.below(POSTER_BITS);
    (1 << power) + random.below(1 << power)
}

fn pin(random: &mut Random, number: u32, poster: &Poster) -> RawObject {
    let (category, things) = random.favour(&CATEGORIES);
    let thing = *random.pick(things);
    let adjective = *random.pick(&ADJECTIVES);
    let title = random.pick(&TITLES).replace("{thing}", thing);
    let title = title.replace("{adjective}", adjective);
    let mut tags: Vec<String> = Vec::new();
    for _ in 0..3 + random.below(5) {
        let tag = format!("{} {}", random.pick(&ADJECTIVES), random.pick(things));
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    let form = match random.below(20) {
        0 => "multi-video(story page format)",
        1..=3 => "video",
        _ => "image",
    };
    let picture = random.next();
    object(json!({
        "index": number,
        "unique_id": uuid(random),
        "title": title,
        "description": format!("{title}: {adjective} ideas about {thing}, and how to begin."),
        "poster_name": poster.name,
        "follower_count": shown(poster.followers),
        "tag_list": tags.join(","),
        "is_image_or_video": form,
        "image_src": format!(
            "https://i.example.com/originals/{:02x}/{:02x}/{picture:016x}.jpg",
            picture >> 56,
            picture >> 48 & 0xff
        ),
        "downloaded": 1,
        "save_location": format!("Local save in /data/{category}"),
        "category": category,
    }))
}

/// Returns a number as services show it: three digits at most.
fn shown(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..10_000 if count % 1_000 >= 100 => {
            format!("{}.{}k", count / 1_000, count % 1_000 / 100)
        }
        1_000..1_000_000 => format!("{}k", count / 1_000),
        _ => format!("{}M", count / 1_000_000),
    }
}

/// Returns a UUID of version 4 (RFC 9562, section 5.4).
fn uuid(random: &mut Random) -> String {
    let (high, low) = (random.next(), random.next());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

/// Returns degrees at most two away, with four decimals.
fn near(random: &mut Random, degrees: i32) -> f64 {
    let ten_thousandths = degrees * 10_000 + random.below(40_001) as i32 - 20_000;
    f64::from(ten_thousandths) / 10_000.0
}

fn object(value: Value) -> RawObject {
    match value {
        Value::Object(object) => object,
        _ => unreachable!("only objects are made here"),
    }
}

#[cfg(test)]
mod tests;
