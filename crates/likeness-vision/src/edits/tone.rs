//! Edits that change values and leave pixels where they are.

use super::draw::blank;
use crate::pixels::RgbImage;
use crate::random::Random;

/// Saturation and contrast, each weaker or stronger, and brightness up or down.
pub(super) fn colour(image: &RgbImage, random: &mut Random) -> RgbImage {
    let saturation = *random.pick(&[0.65_f32, 1.4]);
    let contrast = *random.pick(&[0.65_f32, 1.4]);
    let brightness = random.between(-25.0, 25.0);
    map_pixels(image, |rgb| {
        let gray = luma(rgb);
        rgb.map(|value| {
            let saturated = gray + (value - gray) * saturation;
            (saturated - 128.0) * contrast + 128.0 + brightness
        })
    })
}

/// Brightness in all three channels.
pub(super) fn gray(image: &RgbImage) -> RgbImage {
    map_pixels(image, |rgb| [luma(rgb); 3])
}

/// 255 − value.
pub(super) fn invert(image: &RgbImage) -> RgbImage {
    map_pixels(image, |rgb| rgb.map(|value| 255.0 - value))
}

/// Four levels a channel: 0, 85, 170, 255.
pub(super) fn posterise(image: &RgbImage) -> RgbImage {
    map_pixels(image, |rgb| rgb.map(|value| (value / 85.0).round() * 85.0))
}

/// Independent normal noise in every channel.
pub(super) fn noise(image: &RgbImage, deviation: f32, random: &mut Random) -> RgbImage {
    map_pixels(image, |rgb| {
        rgb.map(|value| value + deviation * random.normal())
    })
}

/// What a printer and a scanner do to values: paler and yellower, a raster of dots, a little blur
/// and noise.
pub(super) fn print(image: &RgbImage, random: &mut Random) -> RgbImage {
    const PAPER: [f32; 3] = [4.0, 0.0, -8.0];
    let row_pixels = image.width() as usize;
    let mut pixel_idx = 0;
    let screened = map_pixels(image, |rgb| {
        let (x, y) = (pixel_idx % row_pixels, pixel_idx / row_pixels);
        pixel_idx += 1;
        // Two-pixel dots in a chequerboard.
        let dot = if (x / 2 + y / 2) % 2 == 0 {
            10.0
        } else {
            -10.0
        };
        std::array::from_fn(|channel| 28.0 + rgb[channel] * (210.0 / 255.0) + PAPER[channel] + dot)
    });
    noise(&box_blur(&screened, 1), 6.0, random)
}

/// Blurs with about the given deviation, as a share of the shorter side: three passes of a box,
/// which is close to a normal curve.
pub(super) fn blur(image: &RgbImage, share: f32) -> RgbImage {
    let deviation = image.shorter_side() as f32 * share;
    // Three boxes of radius r have the variance r² + r.
    let radius = ((deviation * deviation + 0.25).sqrt() - 0.5)
        .round()
        .max(1.0) as u32;
    (0..3).fold(image.clone(), |blurred, _| box_blur(&blurred, radius))
}

/// Averages over a square of 2 × radius + 1 pixels; the outermost pixels are repeated.
fn box_blur(image: &RgbImage, radius: u32) -> RgbImage {
    // A blur along rows, transposing as it writes: twice gives both directions.
    let once = blur_rows_transposed(image, radius);
    blur_rows_transposed(&once, radius)
}

fn blur_rows_transposed(image: &RgbImage, radius: u32) -> RgbImage {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let radius = radius as usize;
    let window = (2 * radius + 1) as u32;
    let mut target = blank(image.height(), image.width(), [0; 3]);
    let output = target.data_mut();
    for (y, row) in image.rows().enumerate() {
        for channel in 0..3 {
            let at = |x: usize| u32::from(row[x.min(width - 1) * 3 + channel]);
            let mut sum = at(0) * radius as u32 + (0..=radius).map(at).sum::<u32>();
            for x in 0..width {
                output[(x * height + y) * 3 + channel] = ((sum + window / 2) / window) as u8;
                sum = sum + at(x + radius + 1) - at(x.saturating_sub(radius));
            }
        }
    }
    target
}

fn map_pixels(image: &RgbImage, mut change: impl FnMut([f32; 3]) -> [f32; 3]) -> RgbImage {
    let mut changed = image.clone();
    for pixel in changed.data_mut().chunks_exact_mut(3) {
        let rgb = change([pixel[0], pixel[1], pixel[2]].map(f32::from));
        for (byte, value) in pixel.iter_mut().zip(rgb) {
            // The cast clamps to 0..=255.
            *byte = value.round() as u8;
        }
    }
    changed
}

fn luma([red, green, blue]: [f32; 3]) -> f32 {
    crate::pixels::luma(red, green, blue)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel(rgb: [u8; 3]) -> RgbImage {
        RgbImage::filled(1, 1, rgb).unwrap()
    }

    #[test]
    fn values_change_as_documented() {
        let colour = pixel([0, 100, 255]);
        assert_eq!(invert(&colour).data(), [255, 155, 0]);
        assert_eq!(posterise(&colour).data(), [0, 85, 255]);
        assert_eq!(gray(&pixel([255, 0, 0])).data(), [76, 76, 76]);
    }

    #[test]
    fn a_box_spreads_a_point_over_its_square_and_keeps_flat_areas() {
        let point = |x, y| if (x, y) == (2, 2) { [90; 3] } else { [0; 3] };
        let blurred = box_blur(&RgbImage::from_fn(6, 5, point).unwrap(), 1);
        let spread = |x: u32, y: u32| {
            let near = x.abs_diff(2) <= 1 && y.abs_diff(2) <= 1;
            if near { [10; 3] } else { [0; 3] }
        };
        assert_eq!(blurred, RgbImage::from_fn(6, 5, spread).unwrap());
        let flat = RgbImage::filled(7, 3, [200, 10, 60]).unwrap();
        assert_eq!(blur(&flat, 0.5), flat);
    }

    #[test]
    fn noise_has_the_deviation_asked_for() {
        let flat = RgbImage::filled(100, 100, [128; 3]).unwrap();
        let noisy = noise(&flat, 20.0, &mut Random::new(1));
        let squares = noisy.data().iter().map(|&v| (f32::from(v) - 128.0).powi(2));
        let deviation = (squares.sum::<f32>() / noisy.data().len() as f32).sqrt();
        assert!((deviation - 20.0).abs() < 0.5, "{deviation}");
    }
}
