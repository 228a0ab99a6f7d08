//! Resizing, by SIMD convolution (`fast_image_resize`).

use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::{U8, U8x3},
};

use super::{MAX_SIDE, RgbImage};

/// How [`RgbImage::resize_exact`] weighs the pixels under a new one.
///
/// All three widen with the scale when shrinking, so none of them aliases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The plain mean of the covered area: the cheapest, and what "area" means elsewhere.
    Box,
    /// A tent twice as wide: what most embedding models were trained with.
    Bilinear,
    /// A windowed sinc: the sharpest, at three times the cost.
    Lanczos3,
}

impl RgbImage {
    /// Returns the picture stretched to `width × height` pixels; the shape is not kept.
    ///
    /// Sides are moved into `1..=MAX_SIDE`.
    pub fn resize_exact(&self, width: u32, height: u32, filter: Filter) -> Self {
        let width = width.clamp(1, MAX_SIDE);
        let height = height.clamp(1, MAX_SIDE);
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let filter = match filter {
            Filter::Box => FilterType::Box,
            Filter::Bilinear => FilterType::Bilinear,
            Filter::Lanczos3 => FilterType::Lanczos3,
        };
        // The typed calls: the untyped ones compile the SIMD of all fourteen kinds of pixels.
        let source = TypedImageRef::<U8x3>::from_buffer(self.width, self.height, &self.data)
            .expect("the length fits the shape: an invariant of the type");
        let mut data = vec![0; width as usize * height as usize * 3];
        let mut target = TypedImage::<U8x3>::from_buffer(width, height, &mut data)
            .expect("the length fits the shape");
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
        Resizer::new()
            .resize_typed(&source, &mut target, &options)
            .expect("the whole source is used");
        Self {
            width,
            height,
            data,
        }
    }

    /// Returns the picture shrunk so that its longer side is `max_side` pixels, shape kept.
    ///
    /// A picture that fits already is returned as it is. Neither side gets below one pixel.
    pub fn fit_within(&self, max_side: u32) -> Self {
        let longer = self.longer_side();
        if longer <= max_side {
            return self.clone();
        }
        let scaled = |side: u32| {
            let exact = f64::from(side) * f64::from(max_side) / f64::from(longer);
            exact.round().max(1.0) as u32
        };
        self.resize_exact(scaled(self.width), scaled(self.height), Filter::Bilinear)
    }
}

/// Returns a plane of one byte a pixel stretched to another size: bilinear, widened when shrinking.
///
/// # Panics
/// If a side is zero or the length does not fit the shape.
pub(crate) fn resize_luma(
    data: &[u8],
    (width, height): (u32, u32),
    (new_width, new_height): (u32, u32),
) -> Vec<u8> {
    let source = TypedImageRef::<U8>::from_buffer(width, height, data)
        .expect("the length fits the shape: the caller's promise");
    let mut resized = vec![0; new_width as usize * new_height as usize];
    let mut target = TypedImage::<U8>::from_buffer(new_width, new_height, &mut resized)
        .expect("the length fits the shape");
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new()
        .resize_typed(&source, &mut target, &options)
        .expect("the whole source is used");
    resized
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_colour_stays_one_colour() {
        let image = RgbImage::filled(97, 41, [12, 130, 250]).unwrap();

        for filter in [Filter::Box, Filter::Bilinear, Filter::Lanczos3] {
            let small = image.resize_exact(31, 17, filter);
            assert_eq!(small, RgbImage::filled(31, 17, [12, 130, 250]).unwrap());
        }
    }

    #[test]
    fn box_halves_to_the_mean_of_four() {
        let image = RgbImage::new(2, 2, vec![0, 0, 0, 100, 0, 0, 100, 0, 0, 200, 40, 0]).unwrap();

        let small = image.resize_exact(1, 1, Filter::Box);

        assert_eq!(small.data(), [100, 10, 0]);
    }

    #[test]
    fn impossible_sides_are_moved_into_range() {
        let image = RgbImage::filled(4, 4, [1, 2, 3]).unwrap();

        let small = image.resize_exact(0, 2, Filter::Bilinear);

        assert_eq!((small.width(), small.height()), (1, 2));
    }

    #[test]
    fn fit_within_keeps_the_shape_and_at_least_one_pixel() {
        let wide = RgbImage::filled(1_000, 3, [1, 2, 3]).unwrap();

        let small = wide.fit_within(100);
        assert_eq!((small.width(), small.height()), (100, 1));

        assert_eq!(wide.fit_within(1_000), wide);
    }
}
