//! Times of events.
//!
//! Accepted, without a zone as UTC:
//! ```text
//! 2018-01-04                    midnight
//! 2018-01-04 00:00:00           seconds and their fraction may be missing
//! 2018-01-04T00:00:00.5+02:00   also Z, +0200 and +02; digits after the sixth are dropped
//! 1515024000                    seconds since 1970, from 10⁸ on
//! 1515024000000                 milliseconds, from 10¹¹ on; microseconds from 10¹⁴ on
//! ```
//! Lesser numbers are refused: a date that is written without dashes looks the same. The calendar is `chrono`'s; forms are read
//! here, since its own are more lenient: `2018-1-4`, a 60th second, years of five digits.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use likeness_core::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::text::is_no_value;

const MICROS_PER_SECOND: i64 = 1_000_000;
const WRONG: &str =
    "must be a time such as 2018-01-04 00:00:00, ISO 8601, or seconds or milliseconds since 1970";

/// A moment, in microseconds since 1970 UTC, of a year from 1 to 9999. In JSON it is text, ISO 8601 in UTC:
/// a number would have to be told from seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(i64);

impl EventTime {
    /// The first moment of the year 1.
    pub const MIN: Self = Self(-62_135_596_800 * MICROS_PER_SECOND);
    /// The last moment of the year 9999.
    pub const MAX: Self = Self(253_402_300_800 * MICROS_PER_SECOND - 1);

    /// Returns the moment so many microseconds after the beginning of 1970 UTC, if it is in the range.
    pub fn from_micros(micros: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0)
            .contains(&micros)
            .then_some(Self(micros))
    }

    /// Returns microseconds since 1970 UTC.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Returns the moment so many seconds before this one, or the first one.
    #[must_use]
    pub fn minus_seconds(self, seconds: u32) -> Self {
        Self(self.0 - i64::from(seconds) * MICROS_PER_SECOND).max(Self::MIN)
    }

    /// Returns `2018-01-04 00:00:00`: without a zone and to the second, as services write it.
    pub fn plain(self) -> String {
        self.date_time().format("%Y-%m-%d %H:%M:%S").to_string()
    }

    fn date_time(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).expect("the years 1 to 9999 are dates")
    }
}

impl From<Timestamp> for EventTime {
    /// What lies after the last moment becomes the last moment.
    fn from(time: Timestamp) -> Self {
        let micros = i64::try_from(time.0)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000);
        Self(micros).min(Self::MAX)
    }
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.0.rem_euclid(MICROS_PER_SECOND) {
            0 => "%Y-%m-%dT%H:%M:%SZ",
            _ => "%Y-%m-%dT%H:%M:%S%.6fZ",
        };
        write!(f, "{}", self.date_time().format(form))
    }
}

impl FromStr for EventTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let found = match is_number {
            true => text.parse().ok().and_then(of_epoch),
            false => of_calendar(text),
        };
        found.ok_or_else(|| WRONG.to_owned())
    }
}

impl Serialize for EventTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Reads a time.
///
/// # Errors
/// If it is none of the forms above.
pub(super) fn time(value: &Value) -> Result<Option<EventTime>, String> {
    let found = match value {
        Value::Null => return Ok(None),
        Value::String(text) if is_no_value("", text) => return Ok(None),
        Value::String(text) => return text.parse().map(Some),
        Value::Number(number) => match number.as_i64() {
            Some(number) => of_epoch(number),
            // Seconds with a fraction.
            None => number
                .as_f64()
                .filter(|seconds| (1e8..1e11).contains(seconds))
                .and_then(|seconds| EventTime::from_micros((seconds * 1e6).round() as i64)),
        },
        _ => None,
    };
    found.map(Some).ok_or_else(|| WRONG.to_owned())
}

fn of_epoch(number: i64) -> Option<EventTime> {
    let factor = match number {
        100_000_000..100_000_000_000 => MICROS_PER_SECOND,
        100_000_000_000..100_000_000_000_000 => 1_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1,
        _ => return None,
    };
    EventTime::from_micros(number * factor)
}

fn of_calendar(text: &str) -> Option<EventTime> {
    let mut scanner = Scanner(text.as_bytes());
    let year = scanner.digits(4)?;
    scanner.byte(b"-")?;
    let month = scanner.digits(2)?;
    scanner.byte(b"-")?;
    let day = scanner.digits(2)?;
    let small = |number: i64| u32::try_from(number).ok();
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, small(month)?, small(day)?)?;
    let mut micros = date.and_time(NaiveTime::MIN).and_utc().timestamp_micros();
    if !scanner.0.is_empty() {
        scanner.byte(b"Tt ")?;
        micros += scanner.time_of_day()?;
        micros -= scanner.zone()? * MICROS_PER_SECOND;
    }
    match scanner.0 {
        [] => EventTime::from_micros(micros),
        _ => None,
    }
}

/// What is left of a text.
struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    fn byte(&mut self, choices: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        choices.contains(&first).then(|| {
            self.0 = rest;
            first
        })
    }

    /// Reads a number of exactly so many digits.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let mut number = 0;
        for digit in digits {
            number = number * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        }
        self.0 = rest;
        Some(number)
    }

    /// Reads a number of exactly two digits, at most `max`.
    fn two(&mut self, max: i64) -> Option<i64> {
        self.digits(2).filter(|number| *number <= max)
    }

    /// Reads `HH:MM`, `HH:MM:SS` or `HH:MM:SS.ffffff`, as microseconds.
    fn time_of_day(&mut self) -> Option<i64> {
        let hour = self.two(23)?;
        self.byte(b":")?;
        let mut seconds = hour * 3_600 + self.two(59)? * 60;
        if self.byte(b":").is_none() {
            return Some(seconds * MICROS_PER_SECOND);
        }
        seconds += self.two(59)?;
        let mut micros = seconds * MICROS_PER_SECOND;
        if self.byte(b".,").is_some() {
            let mut unit = MICROS_PER_SECOND / 10;
            micros += unit * self.digits(1)?;
            while let Some(digit) = self.digits(1) {
                unit /= 10;
                micros += unit * digit;
            }
        }
        Some(micros)
    }

    /// Reads seconds by which clocks are ahead of UTC; 0 if nothing is said.
    fn zone(&mut self) -> Option<i64> {
        while self.byte(b" ").is_some() {}
        if self.0.is_empty() || self.byte(b"Zz").is_some() {
            return Some(0);
        }
        let sign = match self.byte(b"+-")? {
            b'-' => -1,
            _ => 1,
        };
        let hours = self.two(23)?;
        let has_colon = self.byte(b":").is_some();
        let minutes = match self.0.is_empty() && !has_colon {
            true => 0,
            false => self.two(59)?,
        };
        Some(sign * (hours * 3_600 + minutes * 60))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(value: Value, expected: &str) {
        let found = time(&value).unwrap().unwrap();
        assert_eq!(found.to_string(), expected, "{value}");
    }

    #[test]
    fn each_form_is_read() {
        for (value, expected) in [
            (json!("2018-01-04 00:00:00"), "2018-01-04T00:00:00Z"),
            (json!("2018-01-04"), "2018-01-04T00:00:00Z"),
            (json!("2018-01-04T23:59"), "2018-01-04T23:59:00Z"),
            (json!("2018-01-04T00:00:00+02:00"), "2018-01-03T22:00:00Z"),
            (json!("2018-01-04T00:00:00 -0130"), "2018-01-04T01:30:00Z"),
            (json!("2018-01-04T00:00:00+05"), "2018-01-03T19:00:00Z"),
            (
                json!("2016-02-29t12:00:00.25z"),
                "2016-02-29T12:00:00.250000Z",
            ),
            (
                json!("1969-12-31 23:59:59.9999999"),
                "1969-12-31T23:59:59.999999Z",
            ),
            (json!(1_515_024_000), "2018-01-04T00:00:00Z"),
            (json!("1515024000"), "2018-01-04T00:00:00Z"),
            (json!(1_515_024_000_500_i64), "2018-01-04T00:00:00.500000Z"),
            (
                json!(1_515_024_000_000_001_i64),
                "2018-01-04T00:00:00.000001Z",
            ),
            (json!(1_515_024_000.5), "2018-01-04T00:00:00.500000Z"),
        ] {
            check(value, expected);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for value in [
            json!("yesterday"),
            json!("2018-02-29"),
            json!("2018-13-01"),
            json!("2018-1-4"),
            json!("2018-01-04 24:00:00"),
            json!("2018-01-04 00:00:60"),
            json!("2018-01-04 00:00:00 Paris"),
            json!("2018-01-04T00:00:00+2"),
            json!("0000-01-01"),
            json!("0001-01-01T00:00:00+01:00"),
            json!("20180104"),
            json!(20_180_104),
            json!(-1_515_024_000),
            json!(u64::MAX),
            json!(true),
            json!(["2018-01-04"]),
            json!("２０１８-01-04"),
        ] {
            assert!(time(&value).is_err(), "{value}");
        }
        for nothing in [json!(null), json!(""), json!("N/A"), json!("None")] {
            assert_eq!(time(&nothing), Ok(None));
        }
    }

    proptest! {
        #[test]
        fn every_moment_reads_back_as_it_prints(micros in EventTime::MIN.0..=EventTime::MAX.0) {
            let moment = EventTime::from_micros(micros).unwrap();
            prop_assert_eq!(moment.to_string().parse(), Ok(moment));
            let whole = EventTime(micros.div_euclid(MICROS_PER_SECOND) * MICROS_PER_SECOND);
            prop_assert_eq!(moment.plain().parse(), Ok(whole));
        }
    }

    #[test]
    fn the_ends_of_the_range_print() {
        assert_eq!(EventTime::MIN.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(EventTime::MAX.to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!(EventTime::from_micros(EventTime::MAX.0 + 1), None);
        assert_eq!(EventTime::from(Timestamp(u64::MAX)), EventTime::MAX);
    }
}
