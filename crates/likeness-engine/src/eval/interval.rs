//! Shares with their 95 % intervals (Wilson, 1927), which hold for small counts and at 0 and 1 too.

use serde::{Deserialize, Serialize};

/// Two-sided 95 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Where the true share lies, 19 times of 20.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end, at least 0.
    pub low: f64,
    /// Upper end, at most 1.
    pub high: f64,
}

/// How many of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Share {
    /// How many have it.
    pub count: u64,
    /// How many were looked at.
    pub total: u64,
}

impl Share {
    /// Counts a truth value.
    pub fn add(&mut self, has: bool) {
        self.count += u64::from(has);
        self.total += 1;
    }

    /// Returns the share, 0 to 1; `None` of nothing.
    pub fn value(&self) -> Option<f64> {
        (self.total > 0).then(|| self.count as f64 / self.total as f64)
    }

    /// Returns Wilson's 95 % interval; all of 0 to 1 if nothing was looked at.
    ///
    /// It supposes independent draws. Pairs of one picture are not quite, so take it as the least width.
    pub fn interval(&self) -> Interval {
        let Some(share) = self.value() else {
            return Interval {
                low: 0.0,
                high: 1.0,
            };
        };
        let total = self.total as f64;
        let z2_n = Z * Z / total;
        let centre = (share + z2_n / 2.0) / (1.0 + z2_n);
        let half = Z / (1.0 + z2_n) * (share * (1.0 - share) / total + z2_n / (4.0 * total)).sqrt();
        // At the ends the formula gives them but for rounding.
        let low = if self.count == 0 {
            0.0
        } else {
            (centre - half).max(0.0)
        };
        let high = if self.count == self.total {
            1.0
        } else {
            (centre + half).min(1.0)
        };
        Interval { low, high }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(count: u64, total: u64, low: f64, high: f64) {
        let interval = Share { count, total }.interval();
        assert!(
            (interval.low - low).abs() < 5e-4 && (interval.high - high).abs() < 5e-4,
            "{interval:?}"
        );
    }

    #[test]
    fn intervals_are_those_of_the_tables() {
        check(0, 10, 0.0, 0.2775);
        check(5, 10, 0.2366, 0.7634);
        check(10, 10, 0.7225, 1.0);
        check(81, 263, 0.2553, 0.3662);
        check(0, 0, 0.0, 1.0);
    }

    #[test]
    fn a_share_of_nothing_is_none() {
        assert_eq!(Share::default().value(), None);
    }

    proptest! {
        #[test]
        fn the_share_lies_in_its_interval((count, total) in (1u64..1_000_000).prop_flat_map(|total| (0..=total, Just(total)))) {
            let share = Share { count, total };
            let (interval, value) = (share.interval(), share.value().unwrap());
            prop_assert!(0.0 <= interval.low && interval.low <= value && value <= interval.high && interval.high <= 1.0);
        }
    }
}
