//! What bytes are, told from their beginning. Names of files and declared types are not asked.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::DecodeError;

/// A format that is decoded here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// JPEG: baseline, progressive or arithmetic, 8 bits; gray, colour, CMYK, YCCK.
    Jpeg,
    /// PNG, APNG's default image.
    Png,
    /// WebP, lossy and lossless, the first frame of an animation.
    WebP,
    /// GIF, the first frame.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// TIFF and BigTIFF, the first page.
    Tiff,
}

impl ImageFormat {
    /// Every format, in the order of declaration.
    pub const ALL: [Self; 6] = [
        Self::Jpeg,
        Self::Png,
        Self::WebP,
        Self::Gif,
        Self::Bmp,
        Self::Tiff,
    ];

    /// Returns the name in lower case, as serialised.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
            Self::Tiff => "tiff",
        }
    }

    /// Returns the media type.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::Tiff => "image/tiff",
        }
    }

    /// Returns the usual ending of a file name, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Tiff => "tif",
            other => other.as_str(),
        }
    }

    /// Returns the format of `bytes` by their first bytes.
    ///
    /// # Errors
    /// [`DecodeError::Empty`] without bytes, and [`DecodeError::UnsupportedFormat`], with the name
    /// of what was found if it is known, for anything else than the six.
    pub fn sniff(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes {
            [] => Err(DecodeError::Empty),
            [0xff, 0xd8, 0xff, ..] => Ok(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Self::Gif),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Ok(Self::WebP),
            [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => Ok(Self::Tiff),
            _ if is_bmp(bytes) => Ok(Self::Bmp),
            _ => Err(DecodeError::UnsupportedFormat {
                found: known_but_unsupported(bytes).map(str::to_owned),
            }),
        }
    }
}

impl fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Returns whether the bytes begin a bitmap. Two letters are little to go by, so the size of the
/// second header must be one that exists.
fn is_bmp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"BM")
        && matches!(
            bytes.get(14..18),
            Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])
        )
}

/// Returns the name of a format that people send and that is not decoded here.
fn known_but_unsupported(bytes: &[u8]) -> Option<&'static str> {
    if bytes.get(4..8) == Some(b"ftyp") {
        return Some(match bytes.get(8..12) {
            Some(b"avif" | b"avis") => "AVIF",
            Some(b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" | b"mif1" | b"msf1") => {
                "HEIC"
            }
            Some(b"crx ") => "a Canon raw image",
            _ => "an MP4 video",
        });
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"AVI ") {
        return Some("an AVI video");
    }
    const BEGINNINGS: [(&[u8], &str); 14] = [
        (&[0xff, 0x0a], "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (&[0xff, 0x4f, 0xff, 0x51], "JPEG 2000"),
        (b"%PDF", "PDF"),
        (b"8BPS", "a Photoshop file"),
        (&[0, 0, 1, 0], "an icon file"),
        (b"qoif", "QOI"),
        (&[0x1a, 0x45, 0xdf, 0xa3], "a Matroska or WebM video"),
        (b"PK\x03\x04", "a ZIP archive"),
        (&[0x1f, 0x8b], "a gzip archive"),
        (b"<svg", "SVG"),
        (b"<!DOCTYPE html", "an HTML page"),
        (b"<html", "an HTML page"),
    ];
    let known = BEGINNINGS
        .iter()
        .find(|(start, _)| bytes.starts_with(start));
    if let Some((_, name)) = known {
        return Some(name);
    }
    let head = &bytes[..bytes.len().min(1_024)];
    let is_svg = bytes.starts_with(b"<?xml") && head.windows(4).any(|part| part == b"<svg");
    is_svg.then_some("SVG")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_found(bytes: &[u8], expected: Option<&str>) {
        let found = expected.map(str::to_owned);
        assert_eq!(
            ImageFormat::sniff(bytes),
            Err(DecodeError::UnsupportedFormat { found })
        );
    }

    #[test]
    fn names_what_people_send_instead() {
        check_found(b"\0\0\0\x20ftypavif\0\0\0\0", Some("AVIF"));
        check_found(b"\0\0\0\x18ftypheic\0\0\0\0", Some("HEIC"));
        check_found(b"\0\0\0\x18ftypisom\0\0\0\0", Some("an MP4 video"));
        check_found(&[0xff, 0x0a, 1, 2], Some("JPEG XL"));
        check_found(b"<?xml version='1.0'?>\n<svg/>", Some("SVG"));
        check_found(b"%PDF-1.7", Some("PDF"));
        check_found(b"hello", None);
        check_found(b"BMW is not a bitmap", None);
        check_found(&[0xff, 0xd8], None);
    }

    #[test]
    fn nothing_is_empty() {
        assert_eq!(ImageFormat::sniff(&[]), Err(DecodeError::Empty));
    }

    #[test]
    fn serialises_as_its_name() {
        for format in ImageFormat::ALL {
            let json = serde_json::to_string(&format).unwrap();
            assert_eq!(json, format!("\"{format}\""));
            assert_eq!(serde_json::from_str::<ImageFormat>(&json).unwrap(), format);
        }
    }
}
