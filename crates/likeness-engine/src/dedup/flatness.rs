//! How plain the border of a picture is.
//!
//! Embeddings of stickers, logos and product shots have much in common because their backgrounds do:
//! two different drawings on white reach cosines at which two photos are surely copies. So the scorer
//! asks more of a pair the flatter its pictures are.
//!
//! The border tells the two kinds apart better than the whole picture does. An object on white keeps a
//! white border however much of the picture it fills, while skies, nights and walls give many photos a
//! colour that prevails without making them alike.

use likeness_vision::RgbImage;

/// The border is one part in so many of the shorter side wide: 8 pixels of the model's 224.
const BORDER_PARTS: u32 = 28;

/// Bits per channel of the histogram: 16 cells, 16 levels wide.
const CELL_BITS: u32 = 4;

/// Most that a channel may be off the background's colour, in levels of 256: the noise of JPEG, without
/// the gradients of a sky.
const TOLERANCE: u8 = 8;

/// Returns the share of the border's pixels that have its commonest colour, more or less, in percent
/// rounded down.
///
/// The commonest colour is the mean of the fullest cell of a colour histogram. Pixels are counted by
/// their distance from it, not by cell, so a background whose noise straddles the cells is counted whole.
///
/// Meant for the model's input. A photo has 25 in the median, a drawing on white 100.
pub fn flatness(image: &RgbImage) -> u8 {
    let border = border(image);
    let background = commonest_colour(&border);
    let is_background = |pixel: &&[u8; 3]| {
        let mut levels = pixel.iter().zip(background);
        levels.all(|(level, expected)| level.abs_diff(expected) <= TOLERANCE)
    };
    let n_background = border.iter().filter(is_background).count();
    u8::try_from(n_background * 100 / border.len()).expect("a part of the whole")
}

/// Returns the pixels near the edges, from the top; all of a picture that is all border.
fn border(image: &RgbImage) -> Vec<[u8; 3]> {
    let thickness = (image.shorter_side() / BORDER_PARTS).max(1) as usize;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut border = Vec::with_capacity(2 * thickness * (width + height));
    for (y, row) in image.rows().enumerate() {
        let (pixels, _) = row.as_chunks::<3>();
        if y < thickness || y + thickness >= height || width <= 2 * thickness {
            border.extend_from_slice(pixels);
        } else {
            border.extend_from_slice(&pixels[..thickness]);
            border.extend_from_slice(&pixels[width - thickness..]);
        }
    }
    border
}

/// Returns the mean of the pixels in the fullest cell; of equal cells the darkest, red first.
fn commonest_colour(pixels: &[[u8; 3]]) -> [u8; 3] {
    let cell_of = |pixel: &[u8; 3]| {
        let [red, green, blue] = pixel.map(|level| usize::from(level >> (u8::BITS - CELL_BITS)));
        (red << (2 * CELL_BITS)) | (green << CELL_BITS) | blue
    };
    let mut counts = vec![0_u32; 1 << (3 * CELL_BITS)];
    for pixel in pixels {
        counts[cell_of(pixel)] += 1;
    }
    let mut fullest = 0;
    for (cell, count) in counts.iter().enumerate() {
        if *count > counts[fullest] {
            fullest = cell;
        }
    }
    let mut sums = [0_u64; 3];
    for pixel in pixels.iter().filter(|pixel| cell_of(pixel) == fullest) {
        for (sum, &level) in sums.iter_mut().zip(pixel) {
            *sum += u64::from(level);
        }
    }
    let n_pixels = u64::from(counts[fullest]);
    sums.map(|sum| u8::try_from(sum / n_pixels).expect("a mean of bytes is a byte"))
}

#[cfg(test)]
mod tests {
    use likeness_vision::decode::{DecodeLimits, decode};
    use likeness_vision::pixels::Filter;
    use proptest::prelude::*;

    use super::*;

    const SIDE: u32 = 224;

    /// A square of many colours on `background`, `margin` pixels off the edges.
    fn sticker(background: [u8; 3], margin: u32) -> RgbImage {
        RgbImage::from_fn(SIDE, SIDE, |x, y| {
            let inside = |at: u32| (margin..SIDE - margin).contains(&at);
            if inside(x) && inside(y) {
                [(x * 5) as u8, (y * 3) as u8, (x * y / 16) as u8]
            } else {
                background
            }
        })
        .unwrap()
    }

    fn as_jpeg(image: &RgbImage, quality: u8) -> RgbImage {
        let bytes = image.encode_jpeg(quality);
        decode(&bytes, &DecodeLimits::default(), None)
            .unwrap()
            .image
    }

    #[test]
    fn one_colour_is_all_background() {
        for colour in [[0; 3], [255; 3], [15, 16, 240]] {
            for (width, height) in [(SIDE, SIDE), (1, 1), (1, 90), (90, 2)] {
                let image = RgbImage::filled(width, height, colour).unwrap();
                assert_eq!(flatness(&image), 100);
            }
        }
    }

    #[test]
    fn counts_the_border_and_nothing_else() {
        assert_eq!(flatness(&sticker([255; 3], 8)), 100);
        assert_eq!(border(&sticker([255; 3], 8)).len(), 2 * 8 * (224 + 208));
        let upper_half = RgbImage::from_fn(SIDE, SIDE, |x, y| {
            if y < SIDE / 2 {
                [250; 3]
            } else {
                [x as u8, y as u8, 90]
            }
        });
        assert_eq!(flatness(&upper_half.unwrap()), 50);
    }

    #[test]
    fn noise_across_cells_does_not_split_the_background() {
        // 127 and 128 lie in different cells of every channel: eight cells for one gray.
        let gray = RgbImage::from_fn(SIDE, SIDE, |x, y| {
            [0, 1, 2].map(|channel| 127 + (((x * 31 + y * 17) >> channel) & 1) as u8)
        });
        assert_eq!(flatness(&gray.unwrap()), 100);
    }

    #[test]
    fn a_gradient_is_not_flat() {
        let sky = RgbImage::from_fn(SIDE, SIDE, |x, y| [x as u8, y as u8, (x / 2 + y / 2) as u8]);
        assert!(flatness(&sky.unwrap()) < 10);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn hardly_changes_with_jpeg_and_size(background: [u8; 3], margin in 16u32..100, quality in 20u8..=95) {
            let image = sticker(background, margin);
            let small = image.resize_exact(96, 150, Filter::Bilinear);
            let resized = small.resize_exact(SIDE, SIDE, Filter::Bilinear);
            // Objects are a block of JPEG, 16 pixels, off the edges: nearer ones ring into the border.
            for copy in [as_jpeg(&image, quality), resized] {
                let share = flatness(&copy);
                prop_assert!(share >= 97, "{}", share);
            }
        }

        #[test]
        fn is_a_percentage_that_knows_no_place(pixels in prop::collection::vec(any::<[u8; 3]>(), 1..60)) {
            let width = pixels.len() as u32;
            let row = |pixels: &[[u8; 3]]| RgbImage::new(width, 1, pixels.concat()).unwrap();
            let forwards = flatness(&row(&pixels));
            prop_assert!(forwards <= 100);
            let backwards: Vec<[u8; 3]> = pixels.iter().rev().copied().collect();
            prop_assert_eq!(flatness(&row(&backwards)), forwards);
        }
    }
}
