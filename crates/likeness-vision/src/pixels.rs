//! [`RgbImage`]: a picture in memory, and the few operations everything else is built from.

mod encode;
mod orient;
mod resize;

use std::fmt;

pub use resize::Filter;
pub(crate) use resize::resize_luma;

/// The longest side an [`RgbImage`] can have, in pixels.
///
/// It is what the JPEG format can hold (libjpeg's `JPEG_MAX_DIMENSION`), so that every picture can
/// be written as one.
pub const MAX_SIDE: u32 = 65_500;

/// An upright, opaque picture: 8-bit sRGB, three bytes a pixel, rows from the top, no padding.
///
/// Invariants: both sides are in `1..=MAX_SIDE`, and `data().len()` is `width × height × 3`.
#[derive(Clone, PartialEq, Eq)]
pub struct RgbImage {
    width: u32,
    height: u32,
    data: Vec<u8>,
}

impl RgbImage {
    /// Returns the picture made of `data`, which holds `height` rows of `width` RGB triples.
    ///
    /// Returns `None` if a side is zero or above [`MAX_SIDE`], or if the length does not fit.
    pub fn new(width: u32, height: u32, data: Vec<u8>) -> Option<Self> {
        (byte_len(width, height)? == data.len()).then_some(Self {
            width,
            height,
            data,
        })
    }

    /// Returns a picture of one colour, or `None` if a side is zero or above [`MAX_SIDE`].
    pub fn filled(width: u32, height: u32, colour: [u8; 3]) -> Option<Self> {
        let len = byte_len(width, height)?;
        let mut data = Vec::with_capacity(len);
        for _ in 0..len / 3 {
            data.extend_from_slice(&colour);
        }
        Self::new(width, height, data)
    }

    /// Returns the picture whose pixel at column `x`, row `y` is `colour_at(x, y)`, or `None` if a
    /// side is zero or above [`MAX_SIDE`].
    pub fn from_fn(
        width: u32,
        height: u32,
        mut colour_at: impl FnMut(u32, u32) -> [u8; 3],
    ) -> Option<Self> {
        let mut data = Vec::with_capacity(byte_len(width, height)?);
        for y in 0..height {
            for x in 0..width {
                data.extend_from_slice(&colour_at(x, y));
            }
        }
        Self::new(width, height, data)
    }

    /// Returns the number of columns.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Returns the number of rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Returns the number of pixels along the shorter side.
    pub fn shorter_side(&self) -> u32 {
        self.width.min(self.height)
    }

    /// Returns the number of pixels along the longer side.
    pub fn longer_side(&self) -> u32 {
        self.width.max(self.height)
    }

    /// Returns the bytes: R, G, B of the top left pixel first, row by row.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Returns the bytes for editing in place; the layout is that of [`data`](Self::data).
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// Returns the bytes and drops the rest; the layout is that of [`data`](Self::data).
    pub fn into_raw(self) -> Vec<u8> {
        self.data
    }

    /// Returns the colour at column `x`, row `y`, or `None` outside the picture.
    pub fn pixel(&self, x: u32, y: u32) -> Option<[u8; 3]> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let start = (y as usize * self.width as usize + x as usize) * 3;
        self.data.get(start..start + 3)?.try_into().ok()
    }

    /// Returns the rows from the top, each `width × 3` bytes.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, u8> {
        self.data.chunks_exact(self.row_len())
    }

    /// Returns the part of `width × height` pixels whose top left corner is column `x`, row `y`.
    ///
    /// Returns `None` if it is empty or reaches outside the picture.
    pub fn crop(&self, x: u32, y: u32, width: u32, height: u32) -> Option<Self> {
        let right = x.checked_add(width)?;
        let bottom = y.checked_add(height)?;
        if right > self.width || bottom > self.height {
            return None;
        }
        let mut data = Vec::with_capacity(byte_len(width, height)?);
        for row in self.rows().skip(y as usize).take(height as usize) {
            data.extend_from_slice(&row[x as usize * 3..right as usize * 3]);
        }
        Self::new(width, height, data)
    }

    /// Returns the brightness of every pixel, 0 to 255, row by row: ITU-R BT.601 weights (0.299,
    /// 0.587, 0.114), rounded to the nearest.
    pub fn to_luma_u8(&self) -> Vec<u8> {
        self.data
            .chunks_exact(3)
            .map(|rgb| {
                let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
                // The weights times 65,536; they add up to 65,536, so white stays 255.
                ((19_595 * r + 38_470 * g + 7_471 * b + 32_768) >> 16) as u8
            })
            .collect()
    }

    /// Returns the brightness of every pixel, 0.0 to 255.0, row by row, by the weights of
    /// [`to_luma_u8`](Self::to_luma_u8) without rounding.
    pub fn to_luma_f32(&self) -> Vec<f32> {
        self.data
            .chunks_exact(3)
            .map(|rgb| luma(f32::from(rgb[0]), f32::from(rgb[1]), f32::from(rgb[2])))
            .collect()
    }

    fn row_len(&self) -> usize {
        self.width as usize * 3
    }
}

impl fmt::Debug for RgbImage {
    /// Shows the shape only: nobody wants a megabyte of pixels in a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RgbImage({}×{})", self.width, self.height)
    }
}

/// Returns the brightness of a colour by ITU-R BT.601, in the units of its arguments.
pub(crate) fn luma(r: f32, g: f32, b: f32) -> f32 {
    0.299 * r + 0.587 * g + 0.114 * b
}

/// Returns the bytes a picture of this shape takes, or `None` if no picture can have it.
fn byte_len(width: u32, height: u32) -> Option<usize> {
    let sides = 1..=MAX_SIDE;
    if !sides.contains(&width) || !sides.contains(&height) {
        return None;
    }
    usize::try_from(u64::from(width) * u64::from(height) * 3).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| [x as u8, y as u8, 7]).unwrap()
    }

    #[test]
    fn refuses_a_length_that_does_not_fit_the_shape() {
        assert!(RgbImage::new(2, 2, vec![0; 12]).is_some());
        assert!(RgbImage::new(2, 2, vec![0; 11]).is_none());
        assert!(RgbImage::new(0, 2, Vec::new()).is_none());
        assert!(RgbImage::new(MAX_SIDE + 1, 1, vec![0; 196_503]).is_none());
    }

    #[test]
    fn crop_copies_the_asked_part() {
        let crop = numbered(10, 8).crop(3, 2, 4, 5).unwrap();

        assert_eq!((crop.width(), crop.height()), (4, 5));
        assert_eq!(crop.pixel(0, 0), Some([3, 2, 7]));
        assert_eq!(crop.pixel(3, 4), Some([6, 6, 7]));
    }

    #[test]
    fn crop_outside_the_picture_is_none() {
        let image = numbered(10, 8);

        assert!(image.crop(7, 0, 4, 1).is_none());
        assert!(image.crop(0, 0, 0, 1).is_none());
        assert!(image.crop(u32::MAX, 0, 2, 1).is_none());
    }

    #[test]
    fn pixel_outside_the_picture_is_none() {
        let image = numbered(3, 2);

        assert_eq!(image.pixel(2, 1), Some([2, 1, 7]));
        assert_eq!(image.pixel(3, 0), None);
        assert_eq!(image.pixel(0, 2), None);
    }

    #[test]
    fn luma_keeps_black_white_and_order() {
        let image =
            RgbImage::new(4, 1, vec![0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 255, 0]).unwrap();

        assert_eq!(image.to_luma_u8(), [0, 255, 76, 150]);
        for (rounded, exact) in image.to_luma_u8().iter().zip(image.to_luma_f32()) {
            assert!((f32::from(*rounded) - exact).abs() <= 0.51);
        }
    }

    #[test]
    fn debug_shows_the_shape_only() {
        assert_eq!(format!("{:?}", numbered(10, 8)), "RgbImage(10×8)");
    }
}
