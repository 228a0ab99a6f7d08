//! How likely two vectors meet in a term, as a function of their angle, the bits and the probes.
//!
//! With one probe it is (1 − θ/π)ᵇ. With more there is no closed form: which buckets are looked up depends on
//! the query's margins z, distances to the b hyperplanes in units of their standard deviation. Given z, bit i of a
//! vector at angle θ differs with probability Φ(−|zᵢ|·cot θ), independently for each bit, so the probability that it
//! is in a given bucket is a product. This is summed over the buckets in their order and averaged over
//! draws of z: only the margins are drawn, so a few hundred draws do.

use crate::hyperplanes::flips::Flips;
use crate::rotation::split_mix_64;

/// Returns for each of `cosines` the probabilities that a term's first 1, 2, … `max_probes` buckets hold a
/// vector at that cosine to the query.
pub(super) fn term_chances(
    bits: usize,
    max_probes: usize,
    cosines: &[f64],
    num_draws: usize,
) -> Vec<Vec<f64>> {
    let mut chances = sampled_chances(bits, max_probes, cosines, num_draws);
    for (chances, cosine) in chances.iter_mut().zip(cosines) {
        // The error of the first goes with those of the others, and the first is known.
        let scale = one_probe(bits, *cosine) / chances[0];
        for chance in chances {
            *chance = (*chance * scale).min(1.0);
        }
    }
    chances
}

/// (1 − θ/π)ᵇ.
fn one_probe(bits: usize, cosine: f64) -> f64 {
    (1.0 - cosine.clamp(-NEARLY_1, NEARLY_1).acos() / std::f64::consts::PI).powi(bits as i32)
}

/// No vector is nearer than this, so that its angle has a cotangent.
const NEARLY_1: f64 = 1.0 - 1e-9;

/// As [`term_chances`], from draws alone.
fn sampled_chances(
    bits: usize,
    max_probes: usize,
    cosines: &[f64],
    num_draws: usize,
) -> Vec<Vec<f64>> {
    let cotangents: Vec<f64> = cosines
        .iter()
        .map(|cosine| {
            let cosine = cosine.clamp(-NEARLY_1, NEARLY_1);
            cosine / (1.0 - cosine * cosine).sqrt()
        })
        .collect();
    let mut chances = vec![vec![0.0; max_probes]; cosines.len()];
    let mut state = 0x706c_616e_u64 + bits as u64;
    let mut flips = Flips::default();
    let mut odds = vec![0.0; bits];
    for _ in 0..num_draws {
        let margins: Vec<f32> = (0..bits).map(|_| normal(&mut state) as f32).collect();
        flips.start(&margins);
        let masks: Vec<u32> = flips.by_ref().take(max_probes).collect();
        for (chances, cotangent) in chances.iter_mut().zip(&cotangents) {
            let mut own = 1.0;
            for (odds, margin) in odds.iter_mut().zip(&margins) {
                let flipped = lower_tail(-f64::from(margin.abs()) * cotangent);
                own *= 1.0 - flipped;
                *odds = flipped / (1.0 - flipped);
            }
            let mut held = 0.0;
            for (probe, chance) in chances.iter_mut().enumerate() {
                // With fewer buckets than probes all of them are looked up.
                if let Some(&mask) = masks.get(probe) {
                    held += own * product_of(&odds, mask);
                }
                *chance += held / num_draws as f64;
            }
        }
    }
    chances
}

fn product_of(odds: &[f64], mut mask: u32) -> f64 {
    let mut product = 1.0;
    while mask != 0 {
        product *= odds[mask.trailing_zeros() as usize];
        mask &= mask - 1;
    }
    product
}

/// A standard normal number (Box & Muller, 1958).
fn normal(state: &mut u64) -> f64 {
    let mut uniform = || ((split_mix_64(state) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let (radius, angle) = (uniform(), uniform());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// Φ(x), the probability that a standard normal number is below x, to a relative error of 2e-7: the Chebyshev
/// fit of erfc in Press et al., "Numerical Recipes in C", 2nd edition, §6.2.
pub(super) fn lower_tail(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    let z = x.abs() * std::f64::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * z);
    let exponent = COEFFICIENTS.iter().fold(0.0, |sum, c| sum * t + c);
    let tail = 0.5 * t * (exponent - z * z).exp();
    if x <= 0.0 { tail } else { 1.0 - tail }
}

/// Returns the probability of at least `least` successes in `trials`, each with probability `chance`.
pub(super) fn at_least(trials: usize, chance: f64, least: usize) -> f64 {
    if least == 0 {
        return 1.0;
    }
    let chance = chance.clamp(0.0, 1.0);
    if least == 1 {
        // By logarithms, because tiny chances vanish beside 1.
        return -(trials as f64 * (-chance).ln_1p()).exp_m1();
    }
    if chance == 1.0 {
        return if least <= trials { 1.0 } else { 0.0 };
    }
    let mut exactly = (trials as f64 * (-chance).ln_1p()).exp();
    let mut below = exactly;
    for successes in 1..least.min(trials + 1) {
        let ratio = (trials - successes + 1) as f64 / successes as f64;
        exactly *= ratio * chance / (1.0 - chance);
        below += exactly;
    }
    (1.0 - below).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_of_the_normal_distribution_are_those_of_tables() {
        for (x, expected) in [
            (0.0, 0.5),
            (-1.0, 0.158_655_254),
            (1.0, 0.841_344_746),
            (-1.96, 0.024_997_895),
            (-6.0, 9.865_876e-10),
        ] {
            let error = lower_tail(x) / expected - 1.0;
            assert!(error.abs() < 1e-6, "{x}: {error}");
        }
    }

    #[test]
    fn tails_of_the_binomial_distribution_add_up() {
        assert!((at_least(3, 0.5, 2) - 0.5).abs() < 1e-12);
        assert!((at_least(10, 0.1, 1) - (1.0 - 0.9f64.powi(10))).abs() < 1e-12);
        assert!((at_least(64, 1e-12, 1) / 64e-12 - 1.0).abs() < 1e-9);
        assert_eq!(at_least(5, 1.0, 5), 1.0);
        assert_eq!(at_least(5, 1.0, 6), 0.0);
        assert!((at_least(5, 0.9, 5) - 0.9f64.powi(5)).abs() < 1e-12);
    }

    #[test]
    fn draws_agree_with_the_closed_form_for_one_probe() {
        for bits in [1, 8, 16, 24] {
            let cosines = [-0.1, 0.0, 0.3, 0.8, 0.95, 0.999];
            let sampled = sampled_chances(bits, 1, &cosines, 4_000);
            for (cosine, chances) in cosines.into_iter().zip(sampled) {
                let expected = one_probe(bits, cosine);
                let error = chances[0] / expected - 1.0;
                assert!(error.abs() < 0.05, "{bits} {cosine}: {error}");
            }
        }
    }

    #[test]
    fn all_buckets_hold_everything() {
        for chances in term_chances(4, 20, &[-0.3, 0.0, 0.9], 4_000) {
            assert!((chances[15] - 1.0).abs() < 0.03, "{chances:?}");
            assert_eq!(chances[19], chances[15]);
            assert!(chances.windows(2).all(|pair| pair[0] <= pair[1]));
        }
        // At a right angle a bit says nothing: every bucket holds its share.
        let right_angle = term_chances(8, 4, &[0.0], 10);
        assert!((right_angle[0][3] * 64.0 - 1.0).abs() < 1e-5);
    }
}
