use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The name by which the outside world knows an image: given by the uploader, or a UUIDv7.
///
/// One to 128 bytes of printable text without control characters, whitespace at the ends, or `/`,
/// so that it can stand in a URL path segment, a log line and a CSV cell. Never used as a file
/// name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(Box<str>);

/// Why a text is not an [`ImageId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidImageId {
    /// The text is empty.
    #[error("an image id must not be empty")]
    Empty,
    /// The text is too long.
    #[error("an image id has at most {max} bytes, this one has {found}", max = ImageId::MAX_BYTES)]
    TooLong {
        /// Its length in bytes.
        found: usize,
    },
    /// The text has a character that an id may not have.
    #[error("an image id must not contain {0:?}")]
    Character(char),
    /// The text begins or ends with whitespace, or is `.` or `..`.
    #[error("an image id must not be `.` or `..`, nor begin or end with a space")]
    Shape,
}

impl ImageId {
    /// Longest id, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Checks `text` and makes an id of it.
    ///
    /// # Errors
    /// [`InvalidImageId`] says which rule is broken.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidImageId> {
        let text: String = text.into();
        if text.is_empty() {
            return Err(InvalidImageId::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(InvalidImageId::TooLong { found: text.len() });
        }
        if let Some(bad) = text
            .chars()
            .find(|c| c.is_control() || matches!(c, '/' | '\\' | '\u{2028}' | '\u{2029}'))
        {
            return Err(InvalidImageId::Character(bad));
        }
        if text.trim() != text || text == "." || text == ".." {
            return Err(InvalidImageId::Shape);
        }
        Ok(Self(text.into_boxed_str()))
    }

    /// Returns a new, unique id that sorts by creation time (UUIDv7).
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().to_string().into_boxed_str())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the bytes that key this image in every table.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ImageId {
    type Err = InvalidImageId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String> for ImageId {
    type Error = InvalidImageId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> Self {
        id.0.into_string()
    }
}

/// Internal number of an image: dense, given in the order of decisions, never reused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ImageNumber(pub u64);

impl fmt::Display for ImageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All derived state built with one set of models and parameters.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u32);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

/// SHA-256 digest of an image's bytes. Shown and serialised as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected 64 hex digits";
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(EXPECTED);
        }
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| EXPECTED)?;
            // `from_str_radix` alone would take `+f`.
            if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(EXPECTED);
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| EXPECTED)?;
        }
        Ok(Self(out))
    }
}

impl Serialize for Sha256 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A moment in milliseconds since 1970-01-01 UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Returns the present moment; a clock set before 1970 reads as 1970.
    pub fn now() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    /// Returns the time that passed since `earlier`, zero if it lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns this moment moved into the future.
    pub fn plus(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_ids_that_cannot_stand_in_a_path_or_a_log_line() {
        assert_eq!(ImageId::new(""), Err(InvalidImageId::Empty));
        assert_eq!(
            ImageId::new("a".repeat(129)),
            Err(InvalidImageId::TooLong { found: 129 })
        );
        for bad in ["../etc/passwd", "a/b", "a\\b", "line\nbreak", "nul\0"] {
            assert!(
                matches!(ImageId::new(bad), Err(InvalidImageId::Character(_))),
                "{bad:?}"
            );
        }
        for bad in [".", "..", " a", "a "] {
            assert_eq!(ImageId::new(bad), Err(InvalidImageId::Shape), "{bad:?}");
        }
        assert!(ImageId::new("IMG_0001.jpg").is_ok());
        assert!(ImageId::new("Grüße 2026").is_ok());
    }

    #[test]
    fn generated_ids_are_valid_and_sort_by_time() {
        let first = ImageId::generate();
        std::thread::sleep(Duration::from_millis(2));
        let second = ImageId::generate();
        assert!(first < second);
        assert_eq!(ImageId::new(first.as_str()), Ok(first));
    }

    proptest! {
        #[test]
        fn sha256_reads_back_what_it_prints(bytes: [u8; 32]) {
            let digest = Sha256(bytes);
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        }

        #[test]
        fn any_text_is_an_id_or_a_reason(text: String) {
            if let Ok(id) = ImageId::new(text.clone()) {
                prop_assert_eq!(id.as_str(), text);
            }
        }
    }
}
