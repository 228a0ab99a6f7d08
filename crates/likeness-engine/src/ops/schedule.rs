//! Cron expressions, in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use croner::Cron;
use likeness_core::Timestamp;
use likeness_core::jobs::Interval;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// When a job runs: a cron expression of five fields (minute, hour, day of the month, month, day of the week), in UTC.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    cron: Cron,
}

/// A text that is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no schedule: {reason}; five fields are wanted, as in `15 0 * * *` (every day at 00:15 UTC)"
)]
pub struct InvalidSchedule {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl FromStr for Schedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let invalid = |reason: String| InvalidSchedule {
            text: text.to_owned(),
            reason,
        };
        let cron = Cron::from_str(text).map_err(|error| invalid(error.to_string()))?;
        let schedule = Self {
            text: text.to_owned(),
            cron,
        };
        // `30 2 31 2 *` is well formed and never comes.
        match schedule.next_after(Timestamp(0)) {
            Some(_) => Ok(schedule),
            None => Err(invalid("it never comes".to_owned())),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Schedule {
    /// Returns the first tick after `time`.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&date_time(time)?, false);
        Some(timestamp(next.ok()?))
    }

    /// Returns the last tick until `time`, `time` itself included.
    pub fn last_until(&self, time: Timestamp) -> Option<Timestamp> {
        let last = self.cron.find_previous_occurrence(&date_time(time)?, true);
        Some(timestamp(last.ok()?))
    }
}

fn date_time(time: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(i64::try_from(time.0).ok()?)
}

fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp(u64::try_from(time.timestamp_millis()).unwrap_or(0))
}

/// Returns the day, in UTC, that a moment lies in.
pub fn day_of(time: Timestamp) -> Interval {
    let begin = Timestamp(time.0 - time.0 % DAY_MS);
    Interval {
        begin,
        end: begin.plus(Duration::from_millis(DAY_MS)),
    }
}

/// Returns the day that is written as in `2026-01-31`.
pub fn parse_day(text: &str) -> Option<Interval> {
    let date: NaiveDate = text.parse().ok()?;
    // Fewer digits, or more, are no day here.
    let midnight = date.and_time(NaiveTime::MIN).and_utc();
    let day = day_of(Timestamp(u64::try_from(midnight.timestamp_millis()).ok()?));
    (day_text(day.begin) == text).then_some(day)
}

/// Returns how the day of a moment, in UTC, is written.
pub fn day_text(time: Timestamp) -> String {
    match date_time(time) {
        Some(time) => time.format("%Y-%m-%d").to_string(),
        None => format!("{} ms", time.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        timestamp(text.parse().expect("a time"))
    }

    #[test]
    fn ticks_are_in_utc_and_lie_on_both_sides() {
        let schedule: Schedule = "15 0 * * *".parse().unwrap();
        let noon = at("2026-02-28T12:00:00Z");
        let (last, next) = (at("2026-02-28T00:15:00Z"), at("2026-03-01T00:15:00Z"));
        assert_eq!(schedule.last_until(noon), Some(last));
        assert_eq!(schedule.next_after(noon), Some(next));
        assert_eq!(schedule.last_until(next), Some(next));
        assert_eq!(schedule.next_after(last), Some(next));
        assert_eq!(schedule.to_string(), "15 0 * * *");
    }

    #[test]
    fn what_is_no_schedule_or_never_comes_says_so() {
        for text in ["", "every day", "61 0 * * *", "* * * *", "30 2 31 2 *"] {
            let error = text.parse::<Schedule>().expect_err(text).to_string();
            assert!(error.contains("five fields are wanted"), "{error}");
        }
    }

    #[test]
    fn days_begin_at_midnight() {
        let day = day_of(at("2024-02-29T23:59:59.999Z"));
        assert_eq!(day.begin, at("2024-02-29T00:00:00Z"));
        assert_eq!(day.end, at("2024-03-01T00:00:00Z"));
        assert_eq!(day_of(day.begin), day);
        assert_eq!(day_text(day.begin), "2024-02-29");
        assert_eq!(parse_day("2024-02-29"), Some(day));
        for text in [
            "2023-02-29",
            "2024-2-29",
            "1969-12-31",
            "+2024-02-29",
            "",
            "29.2.2024",
        ] {
            assert_eq!(parse_day(text), None, "{text}");
        }
    }
}
