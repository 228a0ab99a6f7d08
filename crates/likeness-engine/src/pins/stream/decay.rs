//! Scores that decay, without being rewritten.
//!
//! Forward decay (Cormode, Shkapenyuk, Srivastava & Xu, "Forward Decay: A Practical Time Decay Model for Streaming
//! Systems", ICDE 2009): a pin of time `t` weighs `2^(t/h)`, `h` being the half-life, and a score is the sum. At time
//! `now` it has decayed to that sum divided by `2^(now/h)`, which is the same for all: their order never changes by the
//! passing of time. Such sums grow beyond any number, so the score is their logarithm to base 2.
//!
//! A sum of floating-point numbers depends on the order, and what was added to it cannot be taken back: subtract a great
//! weight and what is left of the small ones is noise. So the sum is kept in parts, one for each span of a half-life,
//! in which weights are whole numbers of `[1, 2)` in units of 2⁻³². Adding and taking away are exact there, and a score
//! is a function of the parts alone, whatever came in which order.

/// Fractional bits of a weight.
const WEIGHT_BITS: u32 = 32;
/// Spans that a score is made of, the latest that have pins: one that is so many spans earlier weighs 2⁻⁶⁴ as much.
pub(super) const SPANS: usize = 64;

/// The half-life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HalfLife {
    micros: i64,
}

impl HalfLife {
    /// Returns a half-life of so many microseconds, at least one.
    pub(super) fn new(micros: i64) -> Self {
        Self {
            micros: micros.max(1),
        }
    }

    pub(super) fn micros(self) -> i64 {
        self.micros
    }

    /// Returns the span of a time, and the weight of a pin of that time within it.
    pub(super) fn weigh(self, micros: i64) -> (i64, i64) {
        let span = micros.div_euclid(self.micros);
        let part = micros.rem_euclid(self.micros) as f64 / self.micros as f64;
        let weight = (part.exp2() * (1_u64 << WEIGHT_BITS) as f64).round() as i64;
        (span, weight)
    }

    /// Returns what a score has decayed to at a time: about how many pins of that very time it is worth.
    pub(super) fn decayed(self, score: f64, micros: i64) -> f64 {
        (score - micros as f64 / self.micros as f64).exp2()
    }
}

/// Returns the score of spans with their weights, latest first, none of them empty; nothing if there are none.
pub(super) fn score(spans: &[(i64, i64)]) -> Option<f64> {
    let (latest, _) = *spans.first()?;
    let sum: f64 = spans
        .iter()
        .take(SPANS)
        .map(|&(span, weight)| weight as f64 * ((span - latest) as f64).exp2())
        .sum();
    Some(latest as f64 + sum.log2() - f64::from(WEIGHT_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn a_pin_is_worth_half_after_a_half_life() {
        let half_life = HalfLife::new(HOUR);
        for time in [0, 1, 17 * HOUR / 4, -5 * HOUR + 3, 15_000_000 * HOUR / 24] {
            let score = score(&[half_life.weigh(time)]).unwrap();
            for (later, expected) in [(0, 1.0), (HOUR, 0.5), (3 * HOUR / 2, 0.125_f64.sqrt())] {
                let found = half_life.decayed(score, time + later);
                assert!((found - expected).abs() < 1e-7, "{time} {later}: {found}");
            }
        }
    }

    #[test]
    fn scores_are_sums_and_their_order_stays() {
        let half_life = HalfLife::new(HOUR);
        let one_now = score(&[half_life.weigh(10 * HOUR)]).unwrap();
        let (span, weight) = half_life.weigh(9 * HOUR);
        let three_before = score(&[(span, 3 * weight)]).unwrap();
        assert!((half_life.decayed(three_before, 10 * HOUR) - 1.5).abs() < 1e-9);
        assert!(three_before > one_now);
        let both = score(&[half_life.weigh(10 * HOUR), (span, 3 * weight)]).unwrap();
        assert!((half_life.decayed(both, 10 * HOUR) - 2.5).abs() < 1e-9);
        assert_eq!(score(&[]), None);
    }

    #[test]
    fn weights_of_a_span_lie_from_one_to_two() {
        let half_life = HalfLife::new(1_000);
        for micros in -3_000..3_000 {
            let (span, weight) = half_life.weigh(micros);
            assert!((1 << 32..=1 << 33).contains(&weight), "{micros}");
            assert_eq!(span, (micros as f64 / 1_000.0).floor() as i64);
        }
    }
}
