//! JPEGs of one size, all different.

use std::path::PathBuf;

use bytes::Bytes;
use likeness_vision::pixels::Filter;
use likeness_vision::{DecodeLimits, RgbImage, decode};

use crate::files;
use crate::progress::Progress;
use crate::random::Random;

/// JPEG quality of the pictures, that of cameras and of most sites.
const QUALITY: u8 = 85;
/// Most photos cut from: they stay decoded in memory.
const MAX_PHOTOS: usize = 48;
/// Photos are shrunk to this longer side before they are cut.
const PHOTO_SIDE: u32 = 2_048;

/// Pictures, and what they were made from.
pub(super) struct Pictures {
    pub(super) files: Vec<Bytes>,
    pub(super) source: String,
}

/// Makes `count` pictures with a longer side of `side`. Blocks, on all cores.
///
/// # Errors
/// If a folder cannot be read.
pub(super) fn make(
    photos: &[PathBuf],
    count: usize,
    side: u32,
    seed: u64,
    limits: &DecodeLimits,
) -> anyhow::Result<Pictures> {
    let photos = load(photos, side, limits)?;
    let source = match photos.len() {
        0 => "drawn shapes".to_owned(),
        n_photos => format!("cuts from {n_photos} photos"),
    };
    let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
    let progress = Progress::start("pictures", count as u64);
    let make_one = |number: usize| {
        let mut random = Random::new(seed, number as u64);
        let image = match photos.get(number % photos.len().max(1)) {
            Some(photo) => cut(photo, side, &mut random),
            None => draw(side, &mut random),
        };
        progress.advance(1);
        Bytes::from(image.encode_jpeg(QUALITY))
    };
    let mut files = vec![Bytes::new(); count];
    std::thread::scope(|scope| {
        let part = count.div_ceil(n_threads);
        for (part_idx, chunk) in files.chunks_mut(part).enumerate() {
            let make_one = &make_one;
            scope.spawn(move || {
                for (place, file) in chunk.iter_mut().enumerate() {
                    *file = make_one(part_idx * part + place);
                }
            });
        }
    });
    progress.finish();
    Ok(Pictures { files, source })
}

fn load(photos: &[PathBuf], side: u32, limits: &DecodeLimits) -> anyhow::Result<Vec<RgbImage>> {
    let mut loaded = Vec::new();
    for file in files::find(photos)? {
        if loaded.len() == MAX_PHOTOS {
            break;
        }
        let image = files::read_image(&file.path, limits.max_bytes)
            .ok()
            .and_then(|bytes| decode(&bytes, limits, Some(PHOTO_SIDE)).ok())
            .map(|decoded| decoded.image.fit_within(PHOTO_SIDE));
        // Smaller ones would have to be enlarged, and decode faster than photos do.
        loaded.extend(image.filter(|image| image.shorter_side() >= side));
    }
    Ok(loaded)
}

/// Cuts a part of 30 to 70 % of the sides out of `photo`, perhaps mirrored, with other colours.
fn cut(photo: &RgbImage, side: u32, random: &mut Random) -> RgbImage {
    let keep = 0.3 + 0.4 * random.unit();
    let length = |full: u32| ((full as f32 * keep) as u32).max(1);
    let (width, height) = (length(photo.width()), length(photo.height()));
    let x = random.below(photo.width() - width + 1);
    let y = random.below(photo.height() - height + 1);
    let part = photo
        .crop(x, y, width, height)
        .expect("the part lies inside the photo");
    let scale = side as f32 / part.longer_side() as f32;
    let scaled = |length: u32| ((length as f32 * scale).round() as u32).clamp(1, side);
    let mut image = part.resize_exact(scaled(width), scaled(height), Filter::Bilinear);
    if random.below(2) == 1 {
        image = image.flip_horizontal();
    }
    let gains: [f32; 3] = std::array::from_fn(|_| 0.7 + 0.6 * random.unit());
    for pixel in image.data_mut().chunks_exact_mut(3) {
        for (value, gain) in pixel.iter_mut().zip(gains) {
            *value = (f32::from(*value) * gain).min(255.0) as u8;
        }
    }
    image
}

/// Draws coloured boxes and discs over a ground of noise whose strength falls with its frequency, as
/// that of photographs does: noise alone would be one picture to a model, shapes alone decode too
/// fast.
fn draw(side: u32, random: &mut Random) -> RgbImage {
    const SHAPES: usize = 24;
    let height = side * 3 / 4;
    let mut image = noise(side, height, random);
    for _ in 0..SHAPES {
        let (center_x, center_y) = (random.below(side), random.below(height));
        let (half_width, half_height) = (1 + random.below(side / 5), 1 + random.below(height / 4));
        let colour: [u8; 3] = std::array::from_fn(|_| random.below(256) as u8);
        let is_disc = random.below(2) == 1;
        for (row_idx, row) in image
            .data_mut()
            .chunks_exact_mut(side as usize * 3)
            .enumerate()
        {
            let y = (row_idx as f32 - center_y as f32) / half_height as f32;
            for (column, pixel) in row.chunks_exact_mut(3).enumerate() {
                let x = (column as f32 - center_x as f32) / half_width as f32;
                let is_inside = if is_disc {
                    x * x + y * y < 1.0
                } else {
                    x.abs().max(y.abs()) < 1.0
                };
                if is_inside {
                    for (value, colour) in pixel.iter_mut().zip(colour) {
                        *value = value.midpoint(colour).midpoint(colour);
                    }
                }
            }
        }
    }
    image
}

fn noise(width: u32, height: u32, random: &mut Random) -> RgbImage {
    let mut sum = vec![128.0_f32; width as usize * height as usize * 3];
    let mut cells = 3;
    let mut strength = 60.0;
    while cells < width {
        let small = RgbImage::from_fn(cells, cells, |_, _| {
            std::array::from_fn(|_| random.below(256) as u8)
        })
        .expect("the sides are not zero");
        let large = small.resize_exact(width, height, Filter::Bilinear);
        for (sum, value) in sum.iter_mut().zip(large.data()) {
            *sum += (f32::from(*value) / 127.5 - 1.0) * strength;
        }
        cells *= 2;
        strength *= 0.6;
    }
    let data = sum
        .iter()
        .map(|value| value.clamp(0.0, 255.0) as u8)
        .collect();
    RgbImage::new(width, height, data).expect("the length fits the shape")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_have_the_size_and_differ() {
        let limits = DecodeLimits::default();
        let made = make(&[], 3, 96, 1, &limits).unwrap();
        assert_eq!(made.files.len(), 3);
        assert_ne!(made.files[0], made.files[1]);
        let decoded = decode(&made.files[0], &limits, None).unwrap();
        assert_eq!((decoded.info.width, decoded.info.height), (96, 72));
        assert_eq!(make(&[], 3, 96, 1, &limits).unwrap().files, made.files);
    }

    #[test]
    fn cuts_have_the_size_too() {
        let photo = RgbImage::from_fn(500, 400, |x, y| [x as u8, y as u8, 0]).unwrap();
        let image = cut(&photo, 320, &mut Random::new(1, 1));
        assert_eq!(image.longer_side(), 320);
    }
}
