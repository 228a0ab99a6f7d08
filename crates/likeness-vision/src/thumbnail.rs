//! Small JPEGs for people to look at.

use crate::pixels::RgbImage;

/// Returns `image` as a JPEG whose longer side is at most `max_side` pixels.
///
/// The shape is kept and nothing is enlarged. `quality` is JPEG's 1 to 100; values outside are
/// moved to the nearer end. The result carries no metadata, so a thumbnail never leaks a place or
/// a name.
pub fn thumbnail_jpeg(image: &RgbImage, max_side: u32, quality: u8) -> Vec<u8> {
    image.fit_within(max_side).encode_jpeg(quality)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{DecodeLimits, decode};

    #[test]
    fn keeps_the_shape_within_the_given_side() {
        let image = RgbImage::filled(400, 100, [10, 200, 30]).unwrap();

        let jpeg = thumbnail_jpeg(&image, 64, 80);

        let decoded = decode(&jpeg, &DecodeLimits::default(), None).unwrap();
        assert_eq!((decoded.info.width, decoded.info.height), (64, 16));
    }

    #[test]
    fn does_not_enlarge() {
        let image = RgbImage::filled(20, 10, [1, 2, 3]).unwrap();

        let jpeg = thumbnail_jpeg(&image, 64, 80);

        let decoded = decode(&jpeg, &DecodeLimits::default(), None).unwrap();
        assert_eq!((decoded.info.width, decoded.info.height), (20, 10));
    }
}
