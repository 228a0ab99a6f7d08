//! The 256 bits and how they are written.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A PDQ hash: 32 bytes, most significant first, as its 64 hexadecimal digits spell them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PdqHash(pub [u8; 32]);

/// Text that is no PDQ hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a PDQ hash is written as 64 hexadecimal digits")]
pub struct ParsePdqHashError;

impl PdqHash {
    /// Returns the number of bits that differ, 0 to 256. Unrelated pictures differ by 128 or so.
    pub fn distance(&self, other: &Self) -> u32 {
        let (ours, _) = self.0.as_chunks::<8>();
        let (theirs, _) = other.0.as_chunks::<8>();
        let words = ours.iter().zip(theirs);
        words
            .map(|(a, b)| (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b)).count_ones())
            .sum()
    }
}

impl fmt::Display for PdqHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PdqHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PdqHash({self})")
    }
}

impl FromStr for PdqHash {
    type Err = ParsePdqHashError;

    /// Reads 64 hexadecimal digits of either case, and nothing else.
    fn from_str(text: &str) -> Result<Self, ParsePdqHashError> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return Err(ParsePdqHashError);
        };
        if pairs.len() != 32 {
            return Err(ParsePdqHashError);
        }
        let mut hash = [0; 32];
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(hash))
    }
}

fn digit(ascii: u8) -> Result<u8, ParsePdqHashError> {
    let value = char::from(ascii).to_digit(16).ok_or(ParsePdqHashError)?;
    Ok(value as u8)
}

impl Serialize for PdqHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PdqHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn distance_counts_bits() {
        let mut other = [0; 32];
        assert_eq!(PdqHash([0; 32]).distance(&PdqHash(other)), 0);
        other[0] = 0b1000_0001;
        other[31] = 0b0000_0111;
        assert_eq!(PdqHash([0; 32]).distance(&PdqHash(other)), 5);
        assert_eq!(PdqHash([0; 32]).distance(&PdqHash([0xff; 32])), 256);
    }

    #[test]
    fn only_sixty_four_digits_are_a_hash() {
        for text in [
            "",
            "00",
            &"0".repeat(63),
            &"0".repeat(65),
            &"0".repeat(66),
            &"g".repeat(64),
        ] {
            assert_eq!(text.parse::<PdqHash>(), Err(ParsePdqHashError), "{text}");
        }
        assert!("é".repeat(32).parse::<PdqHash>().is_err());
        assert_eq!("F".repeat(64).parse(), Ok(PdqHash([0xff; 32])));
    }

    proptest! {
        #[test]
        fn text_and_json_go_there_and_back(bytes: [u8; 32]) {
            let hash = PdqHash(bytes);
            prop_assert_eq!(hash.to_string().parse(), Ok(hash));
            let json = serde_json::to_string(&hash).unwrap();
            prop_assert_eq!(serde_json::from_str::<PdqHash>(&json).unwrap(), hash);
        }
    }
}
