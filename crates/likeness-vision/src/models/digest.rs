//! SHA-256 of files, computed in a stream.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A SHA-256, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileDigest([u8; 32]);

impl FileDigest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Returns the digest of what `reader` yields, and its number of bytes.
    pub fn of_reader(reader: &mut dyn Read) -> io::Result<(Self, u64)> {
        copy_hashed(reader, &mut io::sink())
    }

    /// Returns the digest of a file, and its number of bytes.
    pub fn of_file(path: &Path) -> io::Result<(Self, u64)> {
        Self::of_reader(&mut File::open(path)?)
    }
}

/// Copies all of `reader` to `writer`; returns the digest and number of the bytes copied.
pub(crate) fn copy_hashed(
    reader: &mut dyn Read,
    writer: &mut dyn Write,
) -> io::Result<(FileDigest, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut n_bytes = 0;
    loop {
        let n_read = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n_read) => n_read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..n_read]);
        writer.write_all(&buffer[..n_read])?;
        n_bytes += n_read as u64;
    }
    Ok((FileDigest(hasher.finalize().into()), n_bytes))
}

/// Checks that the file at `path` has the digest and size that were promised.
pub fn verify_file(path: &Path, expected: &FileDigest, n_bytes: u64) -> Result<(), VerifyError> {
    let unreadable = |source| VerifyError::Unreadable {
        path: path.display().to_string(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let found_bytes = file.metadata().map_err(unreadable)?.len();
    // The cheap check first: a torn copy is found without reading it.
    if found_bytes != n_bytes {
        return Err(VerifyError::Size {
            path: path.display().to_string(),
            expected: n_bytes,
            found: found_bytes,
        });
    }
    let (found, _) = FileDigest::of_reader(&mut file).map_err(unreadable)?;
    check_digest(path, expected, &found)
}

/// Compares the digest found in `path` with the one promised.
pub(crate) fn check_digest(
    path: &Path,
    expected: &FileDigest,
    found: &FileDigest,
) -> Result<(), VerifyError> {
    if found == expected {
        return Ok(());
    }
    Err(VerifyError::Digest {
        path: path.display().to_string(),
        expected: *expected,
        found: *found,
    })
}

/// Why a file is not the one that was promised.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file is missing or cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// The file is shorter or longer than promised.
    #[error("wrong size of `{path}`: expected {expected} bytes, got {found}")]
    Size {
        /// The file.
        path: String,
        /// Bytes promised.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// The file holds something else than promised.
    #[error("digest mismatch in `{path}`: expected SHA-256 {expected}, got {found}")]
    Digest {
        /// The file.
        path: String,
        /// Digest promised.
        expected: FileDigest,
        /// Digest found.
        found: FileDigest,
    },
}

impl fmt::Display for FileDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for FileDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Said of a text that is no SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no SHA-256 (64 lower-case hex digits)")]
pub struct ParseDigestError(String);

impl FromStr for FileDigest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let refuse = || ParseDigestError(text.to_owned());
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 64 || !text.bytes().all(is_hex) {
            return Err(refuse());
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| refuse())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| refuse())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for FileDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of "abc", FIPS 180-2 appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn hex_goes_both_ways() {
        assert_eq!(FileDigest::of(b"abc").to_string(), ABC);
        assert_eq!(ABC.parse(), Ok(FileDigest::of(b"abc")));
        for bad in ["", "ba78", &ABC.to_uppercase(), &"é".repeat(32)] {
            assert!(bad.parse::<FileDigest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn verifying_tells_size_and_content_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let digest = FileDigest::of(b"abc");
        assert!(matches!(
            verify_file(&path, &digest, 3),
            Err(VerifyError::Unreadable { .. })
        ));
        std::fs::write(&path, b"abc").unwrap();
        verify_file(&path, &digest, 3).unwrap();
        std::fs::write(&path, b"abd").unwrap();
        assert!(matches!(
            verify_file(&path, &digest, 3),
            Err(VerifyError::Digest { .. })
        ));
        std::fs::write(&path, b"ab").unwrap();
        assert!(matches!(
            verify_file(&path, &digest, 3),
            Err(VerifyError::Size { .. })
        ));
    }
}
