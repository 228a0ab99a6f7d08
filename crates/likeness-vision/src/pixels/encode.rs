//! Writing pictures: JPEG by libjpeg-turbo, PNG by the `image` crate.

use image::{
    ExtendedColorType, ImageEncoder,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};
use turbojpeg::{PixelFormat, Subsamp};

use super::RgbImage;

impl RgbImage {
    /// Returns the picture as a baseline JPEG with 4:2:0 chroma.
    ///
    /// `quality` is 1 to 100; values outside are moved to the nearer end.
    pub fn encode_jpeg(&self, quality: u8) -> Vec<u8> {
        let image = turbojpeg::Image {
            pixels: self.data.as_slice(),
            width: self.width as usize,
            pitch: self.width as usize * 3,
            height: self.height as usize,
            format: PixelFormat::RGB,
        };
        turbojpeg::compress(image, i32::from(quality.clamp(1, 100)), Subsamp::Sub2x2)
            .expect("the sides are within what JPEG can hold: an invariant of the type")
            .to_vec()
    }

    /// Returns the picture as an RGB PNG, compressed for speed rather than for size.
    pub fn encode_png(&self) -> Vec<u8> {
        let mut png = Vec::new();
        PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive)
            .write_image(&self.data, self.width, self.height, ExtendedColorType::Rgb8)
            .expect("the length fits the shape, and writing to memory does not fail");
        png
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{DecodeLimits, ImageFormat, decode};

    fn gradient() -> RgbImage {
        RgbImage::from_fn(61, 33, |x, y| [4 * x as u8, 7 * y as u8, 128]).unwrap()
    }

    #[test]
    fn png_gives_the_same_pixels_back() {
        let decoded = decode(&gradient().encode_png(), &DecodeLimits::default(), None).unwrap();

        assert_eq!(decoded.info.format, ImageFormat::Png);
        assert_eq!(decoded.image, gradient());
    }

    #[test]
    fn jpeg_gives_nearly_the_same_pixels_back() {
        let decoded = decode(&gradient().encode_jpeg(95), &DecodeLimits::default(), None).unwrap();

        assert_eq!(decoded.info.format, ImageFormat::Jpeg);
        let original = gradient();
        let pairs = decoded.image.data().iter().zip(original.data());
        assert!(pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap() < 24);
    }

    #[test]
    fn quality_outside_the_scale_is_moved_to_its_end() {
        assert_eq!(gradient().encode_jpeg(0), gradient().encode_jpeg(1));
        assert_eq!(gradient().encode_jpeg(255), gradient().encode_jpeg(100));
    }
}
