//! Why a picture was refused.

use std::time::Duration;

/// Why bytes did not become a picture. Every message says what the sender can do.
///
/// No variant is worth a retry with the same bytes, but for [`TimedOut`](Self::TimedOut).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There were no bytes at all.
    #[error("the file is empty; send the bytes of an image")]
    Empty,
    /// The file is larger than the limit.
    #[error(
        "the file has {bytes} bytes, over the limit of {limit}; send a smaller or more compressed image"
    )]
    TooManyBytes {
        /// Size of the file.
        bytes: u64,
        /// [`DecodeLimits::max_bytes`](super::DecodeLimits::max_bytes).
        limit: u64,
    },
    /// The bytes are of a format, or of a variant of one, that is not decoded here.
    #[error("{} cannot be read; send JPEG, PNG, WebP, GIF, BMP or TIFF", found.as_deref().unwrap_or("the format of the file is not known and"))]
    UnsupportedFormat {
        /// What the bytes seem to be, such as `AVIF`; `None` if nothing was recognised.
        found: Option<String>,
    },
    /// The picture has more pixels than the limit.
    #[error(
        "the image has {width} × {height} pixels, over the limit of {limit} in all; scale it down"
    )]
    TooManyPixels {
        /// Columns, as stored.
        width: u32,
        /// Rows, as stored.
        height: u32,
        /// [`DecodeLimits::max_pixels`](super::DecodeLimits::max_pixels).
        limit: u64,
    },
    /// A side of the picture is longer than the limit.
    #[error(
        "the image has {width} × {height} pixels, over the limit of {limit} a side; scale it down or cut it"
    )]
    TooLarge {
        /// Columns, as stored.
        width: u32,
        /// Rows, as stored.
        height: u32,
        /// [`DecodeLimits::max_side`](super::DecodeLimits::max_side).
        limit: u32,
    },
    /// The animation has more frames than the limit.
    #[error("the animation has more than {limit} frames; send a shorter one, or a still")]
    TooManyFrames {
        /// [`DecodeLimits::max_frames`](super::DecodeLimits::max_frames).
        limit: u32,
    },
    /// The file ends before the picture does.
    #[error("the file ends before the image does; send it again, whole")]
    Truncated,
    /// The bytes contradict their own format.
    #[error("the image is damaged ({reason}); save it anew and send that")]
    Corrupt {
        /// What was found, in the words of the decoder. For people, not for programs.
        reason: String,
    },
    /// Decoding would take more memory than the limit.
    #[error("decoding the image would take more than {limit} bytes of memory; scale it down")]
    OutOfMemoryBudget {
        /// [`DecodeLimits::max_alloc_bytes`](super::DecodeLimits::max_alloc_bytes).
        limit: u64,
    },
    /// Decoding took longer than the limit.
    #[error(
        "decoding the image took longer than {limit:?}; scale it down, or try again when the machine is less busy"
    )]
    TimedOut {
        /// [`DecodeLimits::max_time`](super::DecodeLimits::max_time).
        limit: Duration,
    },
}

impl DecodeError {
    /// Returns the error in one word for programs, `snake_case`, stable over versions.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty_image",
            Self::TooManyBytes { .. } => "image_too_large",
            Self::UnsupportedFormat { .. } => "unsupported_format",
            Self::TooManyPixels { .. } => "too_many_pixels",
            Self::TooLarge { .. } => "image_side_too_long",
            Self::TooManyFrames { .. } => "too_many_frames",
            Self::Truncated => "truncated_image",
            Self::Corrupt { .. } => "corrupt_image",
            Self::OutOfMemoryBudget { .. } => "decode_memory_exceeded",
            Self::TimedOut { .. } => "decode_timed_out",
        }
    }

    /// Returns the error for bytes of a known kind that is not decoded.
    pub(super) fn unsupported(found: impl Into<String>) -> Self {
        Self::UnsupportedFormat {
            found: Some(found.into()),
        }
    }

    /// Returns the error for damaged bytes. A decoder's message may quote the file, so its length
    /// is bounded.
    pub(super) fn corrupt(reason: impl Into<String>) -> Self {
        const MAX_REASON_CHARS: usize = 200;
        let mut reason = reason.into();
        if let Some((end, _)) = reason.char_indices().nth(MAX_REASON_CHARS) {
            reason.truncate(end);
        }
        Self::Corrupt { reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_was_found_and_what_to_send() {
        check_message(
            &DecodeError::unsupported("AVIF"),
            "AVIF cannot be read; send JPEG, PNG, WebP, GIF, BMP or TIFF",
        );
        check_message(
            &DecodeError::UnsupportedFormat { found: None },
            "the format of the file is not known and cannot be read; send JPEG, PNG, WebP, GIF, BMP or TIFF",
        );
    }

    #[track_caller]
    fn check_message(error: &DecodeError, expected: &str) {
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let DecodeError::Corrupt { reason } = DecodeError::corrupt("é".repeat(500)) else {
            panic!("corrupt() makes a Corrupt");
        };
        assert_eq!(reason.chars().count(), 200);
    }
}
