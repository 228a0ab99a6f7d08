//! Days of orphans: UTC, as `2026-01-31`, which sort as they follow each other.

use likeness_core::Timestamp;

const MILLIS_PER_DAY: u64 = 86_400_000;

/// Returns the day of a moment. After the year 9999 all is one day.
pub(super) fn text(time: Timestamp) -> String {
    let (year, month, day) = civil(time.0 / MILLIS_PER_DAY);
    if year > 9_999 {
        return "9999-12-31".to_owned();
    }
    format!("{year:04}-{month:02}-{day:02}")
}

/// Whether `text` is a day of the calendar as [`text`] writes it.
pub(super) fn is_day(text: &str) -> bool {
    let is_form = text.len() == 10
        && text.bytes().enumerate().all(|(idx, byte)| match idx {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if !is_form {
        return false;
    }
    let number = |digits: &str| digits.parse::<u64>().unwrap_or(0);
    let (year, month) = (number(&text[..4]), number(&text[5..7]));
    let is_leap_year =
        year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let length = match month {
        2 => 28 + u64::from(is_leap_year),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=length).contains(&number(&text[8..]))
}

/// Returns year, month and day of the `days`-th day after 1970-01-01, by counting in eras of 400 years that
/// begin on the first of March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = match shifted_month {
        0..10 => shifted_month + 3,
        _ => shifted_month - 9,
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (1_709_251_200, "2024-03-01"),
            (u64::MAX / 1_000, "9999-12-31"),
        ] {
            let day = text(Timestamp(seconds * 1_000));
            assert_eq!(day, expected);
            assert!(is_day(&day));
        }
        for other in [
            "",
            "2026-1-31",
            "20260131",
            "2026-01-3x",
            "2026-02-31",
            "1900-02-29",
            "2026-13-01",
            "2026-06-00",
        ] {
            assert!(!is_day(other), "{other}");
        }
    }
}
