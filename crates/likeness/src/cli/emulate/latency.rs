use std::time::Duration;

/// Buckets of a doubling: a quantile is at most an eighth too great.
const PER_DOUBLING: usize = 8;
const BITS: u32 = PER_DOUBLING.trailing_zeros();
/// Buckets: durations of 2³⁶ microseconds, 19 hours, and more are in the last one.
const BUCKETS: usize = PER_DOUBLING * 34;

/// How long requests took: counts in buckets of microseconds, linear in each doubling, so that an hour of
/// requests takes no more room than one.
#[derive(Debug)]
pub(super) struct Latencies {
    counts: Vec<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
        }
    }
}

impl Latencies {
    pub(super) fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket_of(micros).min(BUCKETS - 1)] += 1;
    }

    pub(super) fn add_all(&mut self, others: &Self) {
        for (count, other) in self.counts.iter_mut().zip(&others.counts) {
            *count += other;
        }
    }

    /// Returns what this share of the requests did not exceed, in milliseconds; 0 if there were none.
    pub(super) fn quantile_ms(&self, share: f64) -> f64 {
        let total: u64 = self.counts.iter().sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return end_of(bucket) as f64 / 1_000.0;
            }
        }
        0.0
    }
}

/// Returns the bucket of so many microseconds. The first sixteen hold one value each; then each doubling has
/// eight.
fn bucket_of(micros: u64) -> usize {
    let doubling = micros.max(1).ilog2().saturating_sub(BITS);
    doubling as usize * PER_DOUBLING + (micros >> doubling) as usize
}

/// Returns the greatest value of a bucket.
fn end_of(bucket: usize) -> u64 {
    let doubling = (bucket / PER_DOUBLING).saturating_sub(1);
    let first = (bucket - doubling * PER_DOUBLING) as u64;
    ((first + 1) << doubling) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_one_bucket_that_ends_with_it_or_just_above() {
        let mut last = 0;
        for micros in (0..5_000).chain((5_000..10_000_000).step_by(997)) {
            let bucket = bucket_of(micros);
            assert!(bucket >= last, "{micros}");
            let end = end_of(bucket);
            assert!(
                end >= micros && end - micros <= micros / 8,
                "{micros} in {end}"
            );
            assert!(bucket == 0 || end_of(bucket - 1) < micros, "{micros}");
            last = bucket;
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_added() {
        let mut some = Latencies::default();
        assert_eq!(some.quantile_ms(0.5), 0.0);
        let mut others = Latencies::default();
        for millis in 1..=99 {
            some.add(Duration::from_millis(millis));
        }
        others.add(Duration::from_secs(1_000_000));
        some.add_all(&others);
        let median = some.quantile_ms(0.5);
        assert!((50.0..57.0).contains(&median), "{median}");
        assert!(some.quantile_ms(0.99) < 112.0);
        assert!(some.quantile_ms(1.0) > 1e7);
    }
}
