//! bfloat16 as raw bits: the upper half of an `f32`.
//!
//! Half the bytes of `f32` at the same range; 8 bits of precision, so a unit vector of 512 dimensions
//! keeps its cosines to about 1e-4. Bytes are little-endian, in order, without a header.

/// Bytes of one component.
pub const NUM_BYTES: usize = 2;

/// Rounds to the nearest, ties to even. Infinities stay, NaN stays NaN.
pub fn encode(values: &[f32]) -> Vec<u16> {
    values.iter().map(|&value| encode_one(value)).collect()
}

/// Widens without loss.
pub fn decode(values: &[u16]) -> Vec<f32> {
    values.iter().map(|&value| decode_one(value)).collect()
}

/// Returns `2 × values.len()` bytes.
pub fn to_le_bytes(values: &[u16]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// Reads what [`to_le_bytes`] wrote; `None` when the number of bytes is odd.
pub fn from_le_bytes(bytes: &[u8]) -> Option<Vec<u16>> {
    let (pairs, rest) = bytes.as_chunks::<NUM_BYTES>();
    rest.is_empty()
        .then(|| pairs.iter().map(|&pair| u16::from_le_bytes(pair)).collect())
}

/// Reads what [`to_le_bytes`] wrote, widened as by [`decode`]; `None` when the number of bytes is odd.
pub fn decode_le_bytes(bytes: &[u8]) -> Option<Vec<f32>> {
    let (pairs, rest) = bytes.as_chunks::<NUM_BYTES>();
    let wide = |pair: &[u8; NUM_BYTES]| decode_one(u16::from_le_bytes(*pair));
    rest.is_empty().then(|| pairs.iter().map(wide).collect())
}

/// Rounds one component, see [`encode`].
#[inline]
pub fn encode_one(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        // Rounding could carry a NaN into an infinity: keep the sign and set a quiet bit instead.
        return ((bits >> 16) as u16) | 0x0040;
    }
    let round_to_even = 0x7fff + ((bits >> 16) & 1);
    ((bits + round_to_even) >> 16) as u16
}

/// Widens one component, see [`decode`].
#[inline]
pub fn decode_one(value: u16) -> f32 {
    f32::from_bits(u32::from(value) << 16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rounds_to_nearest_and_ties_to_even() {
        for (bits, expected) in [
            (0x3f80_0000, 0x3f80), // 1.0
            (0x3f80_7fff, 0x3f80), // below the middle
            (0x3f80_8000, 0x3f80), // the middle, even below
            (0x3f81_8000, 0x3f82), // the middle, even above
            (0x3f80_8001, 0x3f81), // above the middle
            (0xbf81_8000, 0xbf82),
            (0x7f7f_ffff, 0x7f80), // the largest f32 rounds to infinity
            (0x7f80_0000, 0x7f80),
            (0x0000_0000, 0x0000),
            (0x8000_0000, 0x8000),
        ] {
            assert_eq!(encode_one(f32::from_bits(bits)), expected, "{bits:#x}");
        }
    }

    #[test]
    fn nan_stays_nan() {
        for bits in [0x7fc0_0000, 0x7f80_0001, 0xffff_ffff, 0x7fff_ffff] {
            assert!(
                decode_one(encode_one(f32::from_bits(bits))).is_nan(),
                "{bits:#x}"
            );
        }
    }

    #[test]
    fn odd_number_of_bytes_is_refused() {
        assert_eq!(from_le_bytes(&[1, 2, 3]), None);
        assert_eq!(from_le_bytes(&[]), Some(vec![]));
    }

    proptest! {
        #[test]
        fn every_bf16_survives_a_round_trip(value: u16) {
            prop_assume!(!decode_one(value).is_nan());
            prop_assert_eq!(encode_one(decode_one(value)), value);
        }

        #[test]
        fn no_neighbouring_bf16_is_closer(value in -1e30f32..1e30) {
            let rounded = encode_one(value);
            let error = (f64::from(decode_one(rounded)) - f64::from(value)).abs();
            for neighbour in [rounded.wrapping_sub(1), rounded.wrapping_add(1)] {
                let other = f64::from(decode_one(neighbour));
                prop_assert!(other.is_nan() || error <= (other - f64::from(value)).abs());
            }
        }

        #[test]
        fn bytes_survive_a_round_trip(values: Vec<u16>) {
            prop_assert_eq!(from_le_bytes(&to_le_bytes(&values)), Some(values));
        }
    }
}
