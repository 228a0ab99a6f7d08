//! The best that an index can do: its points that no other point beats in recall and speed at once.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One setting of a search, measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// In words of the driver.
    pub(crate) setting: Value,
    /// Share of the ten nearest that was found.
    pub(crate) recall: f64,
    pub(crate) queries_per_s: f64,
    /// Median time of a call, in microseconds.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Share of the time that the process had a CPU; well under 1, others were in the way.
    pub(crate) cpu_share: f64,
}

/// Misses under this are not told apart: a thousand queries for ten each cannot.
const LEAST_MISS: f64 = 1e-4;

/// Returns the points that none beats, in order of rising recall and falling speed.
pub(crate) fn front<'a>(points: impl IntoIterator<Item = &'a Point>) -> Vec<&'a Point> {
    let mut points: Vec<&Point> = points.into_iter().collect();
    points.sort_by(|a, b| {
        b.recall
            .total_cmp(&a.recall)
            .then(b.queries_per_s.total_cmp(&a.queries_per_s))
    });
    let mut best = 0.0;
    let mut kept = Vec::new();
    for point in points {
        if point.queries_per_s > best {
            best = point.queries_per_s;
            kept.push(point);
        }
    }
    kept.reverse();
    kept
}

/// Returns the queries a second at a recall, on a front: between two points the logarithm of the speed
/// is a straight line over the logarithm of what is missed. `None` if no point gets there; the speed
/// of the fastest point if all get further.
pub(crate) fn speed_at(front: &[&Point], recall: f64) -> Option<f64> {
    let above = front.iter().position(|point| point.recall >= recall)?;
    let upper = front[above];
    let Some(lower) = above.checked_sub(1).map(|below| front[below]) else {
        return Some(upper.queries_per_s);
    };
    let (from, to) = (spread(lower.recall), spread(upper.recall));
    if to <= from {
        return Some(upper.queries_per_s);
    }
    let share = ((spread(recall) - from) / (to - from)).clamp(0.0, 1.0);
    let (slow, fast) = (upper.queries_per_s.ln(), lower.queries_per_s.ln());
    Some((fast + (slow - fast) * share).exp())
}

/// Maps a recall to where differences near 1 count: the negative decimal logarithm of what is missed,
/// 1 for 0.9, 2 for 0.99, at most 4.
pub(crate) fn spread(recall: f64) -> f64 {
    -(1.0 - recall).max(LEAST_MISS).log10()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy as _, prop};
    use proptest::{prop_assert, proptest};
    use serde_json::Value;

    use super::{Point, front, speed_at, spread};

    pub(crate) fn point(recall: f64, queries_per_s: f64) -> Point {
        Point {
            setting: Value::Null,
            recall,
            queries_per_s,
            p50_us: 1.0,
            p99_us: 1.0,
            cpu_share: 1.0,
        }
    }

    #[test]
    fn a_beaten_point_is_left_out() {
        let points = [
            point(0.99, 1_000.0),
            point(0.9, 5_000.0),
            point(0.95, 900.0),
            point(0.9, 4_000.0),
            point(0.99, 1_000.0),
        ];
        let recalls: Vec<f64> = front(&points).iter().map(|point| point.recall).collect();
        assert_eq!(recalls, [0.9, 0.99]);
    }

    #[test]
    fn speed_between_two_points_is_a_line_of_logarithms() {
        let points = [point(0.9, 10_000.0), point(0.999, 100.0)];
        let front = front(&points);
        // 0.99 is half way between 0.9 and 0.999 in decades of misses.
        let speed = speed_at(&front, 0.99).unwrap();
        assert!((speed - 1_000.0).abs() < 1e-6, "{speed}");
        assert_eq!(speed_at(&front, 0.9), Some(10_000.0));
    }

    #[test]
    fn speed_is_not_made_up_beyond_the_points() {
        let points = [point(0.97, 10_000.0), point(0.98, 5_000.0)];
        let front = front(&points);
        assert_eq!(speed_at(&front, 0.95), Some(10_000.0));
        assert_eq!(speed_at(&front, 0.99), None);
        assert_eq!(speed_at(&[], 0.5), None);
    }

    #[test]
    fn perfect_recall_has_a_place() {
        assert!((spread(1.0) - 4.0).abs() < 1e-9);
        assert!((spread(0.99) - 2.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn a_front_falls_and_covers_every_point(
            points in prop::collection::vec(
                (0.0..=1.0_f64, 1.0..1e6_f64).prop_map(|(recall, speed)| point(recall, speed)),
                1..40,
            ),
        ) {
            let front = front(&points);
            for pair in front.windows(2) {
                prop_assert!(pair[0].recall < pair[1].recall);
                prop_assert!(pair[0].queries_per_s > pair[1].queries_per_s);
            }
            for point in &points {
                let covered = front.iter().any(|kept| {
                    kept.recall >= point.recall && kept.queries_per_s >= point.queries_per_s
                });
                prop_assert!(covered);
                // Interpolation never claims less than a point that was measured there.
                let speed = speed_at(&front, point.recall).unwrap();
                prop_assert!(speed >= point.queries_per_s * (1.0 - 1e-9));
            }
        }
    }
}
