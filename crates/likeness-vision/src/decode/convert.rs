//! From whatever samples a decoder gives to opaque 8-bit RGB.
//!
//! Three bytes a pixel or more are converted in place, from the front: a pixel is never written
//! before it was read. So a picture of 100 megapixels is held once.

use image::ColorType;

/// Returns `samples` of `color`, in native byte order, as RGB; `None` for a kind of samples that
/// no decoder used here gives.
pub(super) fn to_rgb(color: ColorType, samples: Vec<u8>) -> Option<Vec<u8>> {
    Some(match color {
        ColorType::L8 => expand(&samples, |&[gray]| [gray; 3]),
        ColorType::La8 => expand(&samples, |&[gray, alpha]| [over_white(gray, alpha); 3]),
        ColorType::Rgb8 => samples,
        ColorType::Rgba8 => compact(samples, |&[r, g, b, alpha]| {
            [r, g, b].map(|sample| over_white(sample, alpha))
        }),
        ColorType::L16 => expand(&samples, |&pixel| {
            let [gray] = narrow_16::<2, 1>(pixel);
            [gray; 3]
        }),
        ColorType::La16 => compact(samples, |&pixel| {
            let [gray, alpha] = narrow_16::<4, 2>(pixel);
            [over_white(gray, alpha); 3]
        }),
        ColorType::Rgb16 => compact(samples, |&pixel| narrow_16::<6, 3>(pixel)),
        ColorType::Rgba16 => compact(samples, |&pixel| {
            let [r, g, b, alpha] = narrow_16::<8, 4>(pixel);
            [r, g, b].map(|sample| over_white(sample, alpha))
        }),
        ColorType::Rgb32F => compact(samples, |&pixel| narrow_f32::<12, 3>(pixel)),
        ColorType::Rgba32F => compact(samples, |&pixel| {
            let [r, g, b, alpha] = narrow_f32::<16, 4>(pixel);
            [r, g, b].map(|sample| over_white(sample, alpha))
        }),
        _ => return None,
    })
}

/// Returns CMYK as RGB, by the plain formula.
///
/// The samples are inverted, 255 being no ink. That is what Photoshop writes, and what every
/// browser takes any CMYK JPEG for, whether it says so or not.
pub(super) fn inverted_cmyk_to_rgb(samples: Vec<u8>) -> Vec<u8> {
    compact(samples, |&[c, m, y, k]| {
        [c, m, y].map(|ink| mul_255(ink, k))
    })
}

/// Returns the memory that [`to_rgb`] allocates on top of its input, in bytes.
pub(super) fn extra_bytes(color: ColorType, num_pixels: u64) -> u64 {
    match color {
        ColorType::L8 | ColorType::La8 | ColorType::L16 => num_pixels * 3,
        _ => 0,
    }
}

fn expand<const N: usize>(samples: &[u8], to_rgb: impl Fn(&[u8; N]) -> [u8; 3]) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks::<N>();
    let mut rgb = Vec::with_capacity(pixels.len() * 3);
    for pixel in pixels {
        rgb.extend_from_slice(&to_rgb(pixel));
    }
    rgb
}

fn compact<const N: usize>(mut samples: Vec<u8>, to_rgb: impl Fn(&[u8; N]) -> [u8; 3]) -> Vec<u8> {
    const {
        assert!(
            N >= 3,
            "a pixel must not grow, or it would overwrite the next"
        );
    };
    let num_pixels = samples.len() / N;
    for pixel_idx in 0..num_pixels {
        let from = pixel_idx * N;
        let pixel = samples[from..from + N]
            .try_into()
            .expect("N bytes are N bytes");
        samples[pixel_idx * 3..pixel_idx * 3 + 3].copy_from_slice(&to_rgb(&pixel));
    }
    samples.truncate(num_pixels * 3);
    samples.shrink_to_fit();
    samples
}

/// Returns a sample seen through `alpha` on white paper.
fn over_white(sample: u8, alpha: u8) -> u8 {
    mul_255(sample, alpha) + (255 - alpha)
}

/// Returns `a × b / 255`, rounded to the nearest.
fn mul_255(a: u8, b: u8) -> u8 {
    ((u32::from(a) * u32::from(b) + 127) / 255) as u8
}

/// Returns `COUNT` 16-bit samples as 8-bit ones, rounded to the nearest; 65,535 becomes 255.
fn narrow_16<const LEN: usize, const COUNT: usize>(pixel: [u8; LEN]) -> [u8; COUNT] {
    let (samples, _) = pixel.as_chunks::<2>();
    std::array::from_fn(|idx| ((u32::from(u16::from_ne_bytes(samples[idx])) + 128) / 257) as u8)
}

/// Returns `COUNT` float samples as 8-bit ones: 0 to 1 becomes 0 to 255, what is outside (or not a
/// number) goes to the nearer end (or 0).
fn narrow_f32<const LEN: usize, const COUNT: usize>(pixel: [u8; LEN]) -> [u8; COUNT] {
    let (samples, _) = pixel.as_chunks::<4>();
    std::array::from_fn(|idx| (f32::from_ne_bytes(samples[idx]) * 255.0).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_16(samples: &[u16]) -> Vec<u8> {
        samples
            .iter()
            .flat_map(|sample| sample.to_ne_bytes())
            .collect()
    }

    #[test]
    fn alpha_is_composed_over_white() {
        let samples = vec![10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 255, 128];
        let rgb = to_rgb(ColorType::Rgba8, samples).unwrap();
        assert_eq!(rgb, [10, 20, 30, 255, 255, 255, 127, 177, 255]);

        let gray = to_rgb(ColorType::La8, vec![0, 255, 0, 0, 0, 51]).unwrap();
        assert_eq!(gray, [0, 0, 0, 255, 255, 255, 204, 204, 204]);
    }

    #[test]
    fn sixteen_bits_are_rounded_to_eight() {
        let rgb = to_rgb(
            ColorType::Rgb16,
            bytes_16(&[0, 128, 129, 65_535, 65_406, 257]),
        )
        .unwrap();
        assert_eq!(rgb, [0, 0, 1, 255, 254, 1]);

        let gray = to_rgb(ColorType::La16, bytes_16(&[0, 65_535, 0, 0])).unwrap();
        assert_eq!(gray, [0, 0, 0, 255, 255, 255]);
    }

    #[test]
    fn floats_outside_the_scale_are_moved_to_its_ends() {
        let samples = [-1.0_f32, 0.5, 7.0, f32::NAN, f32::INFINITY, 1.0];
        let bytes = samples
            .iter()
            .flat_map(|sample| sample.to_ne_bytes())
            .collect();
        assert_eq!(
            to_rgb(ColorType::Rgb32F, bytes).unwrap(),
            [0, 128, 255, 0, 255, 255]
        );
    }

    #[test]
    fn cmyk_without_ink_is_white_and_full_black_is_black() {
        let samples = vec![255, 255, 255, 255, 255, 255, 255, 0, 255, 0, 0, 255];
        assert_eq!(
            inverted_cmyk_to_rgb(samples),
            [255, 255, 255, 0, 0, 0, 255, 0, 0]
        );
    }
}
