//! Edits that move pixels: crops, turns, perspective.

use std::f64::consts::FRAC_1_SQRT_2;

use super::BLACK;
use super::draw::blank;
use crate::decode::Orientation;
use crate::pixels::RgbImage;
use crate::random::Random;

/// An angle by its cosine and sine, written out so that no mathematics library can change a pixel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Angle {
    cosine: f64,
    sine: f64,
}

pub(super) const TWO_DEGREES: Angle = Angle {
    cosine: 0.999_390_827_019_095_8,
    sine: 0.034_899_496_702_500_97,
};
pub(super) const TEN_DEGREES: Angle = Angle {
    cosine: 0.984_807_753_012_208,
    sine: 0.173_648_177_666_930_33,
};
pub(super) const FORTY_FIVE_DEGREES: Angle = Angle {
    cosine: FRAC_1_SQRT_2,
    sine: FRAC_1_SQRT_2,
};

/// Cuts out a part of the picture's shape with `share` of its area, somewhere.
pub(super) fn crop(image: &RgbImage, share: f64, random: &mut Random) -> RgbImage {
    let scale = share.sqrt();
    let side = |side: u32| ((f64::from(side) * scale).round() as u32).clamp(1, side);
    let (width, height) = (side(image.width()), side(image.height()));
    let x = random.below(image.width() - width + 1);
    let y = random.below(image.height() - height + 1);
    image
        .crop(x, y, width, height)
        .expect("the place was drawn so that the part lies inside")
}

/// Turns by 90° clockwise.
pub(super) fn quarter_turn(image: &RgbImage) -> RgbImage {
    image.clone().oriented(Orientation::Rotate90)
}

/// Turns clockwise about the centre. The canvas keeps its size, as in most tools: corners of the
/// picture are cut off, and those of the canvas that it leaves get the colour `uncovered`.
pub(super) fn rotate(
    image: &RgbImage,
    Angle { cosine, sine }: Angle,
    uncovered: [u8; 3],
) -> RgbImage {
    let (centre_x, centre_y) = (
        f64::from(image.width()) / 2.0,
        f64::from(image.height()) / 2.0,
    );
    warp(image, uncovered, |x, y| {
        let (dx, dy) = (x - centre_x, y - centre_y);
        Some((
            dx * cosine + dy * sine + centre_x,
            dy * cosine - dx * sine + centre_y,
        ))
    })
}

/// Looks at the picture from the side: each corner moves inwards by up to 20 % of both sides. What
/// that uncovers is black.
pub(super) fn perspective(image: &RgbImage, random: &mut Random) -> RgbImage {
    let mut inset = || f64::from(random.between(0.0, 0.2));
    // Top left, top right, bottom right, bottom left, in shares of the canvas.
    let corners = [
        (inset(), inset()),
        (1.0 - inset(), inset()),
        (1.0 - inset(), 1.0 - inset()),
        (inset(), 1.0 - inset()),
    ];
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    let to_picture = inverse(&square_to_quadrilateral(corners));
    warp(image, BLACK, |x, y| {
        let (u, v) = project(&to_picture, x / width, y / height)?;
        Some((u * width, v * height))
    })
}

/// Returns a picture of the same size whose point (x, y) shows the point `source_of(x, y)` of
/// `image`, or the colour `uncovered` where that is `None` or outside. Points are in pixels from the
/// top left corner, so the centre of the first pixel is (0.5, 0.5). Bilinear, repeating the
/// outermost pixels within the last half pixel.
fn warp(
    image: &RgbImage,
    uncovered: [u8; 3],
    source_of: impl Fn(f64, f64) -> Option<(f64, f64)>,
) -> RgbImage {
    let mut warped = blank(image.width(), image.height(), uncovered);
    let row_bytes = warped.width() as usize * 3;
    for (y, row) in warped.data_mut().chunks_exact_mut(row_bytes).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let source = source_of(x as f64 + 0.5, y as f64 + 0.5);
            if let Some(colour) = source.and_then(|(x, y)| sample(image, x, y)) {
                pixel.copy_from_slice(&colour);
            }
        }
    }
    warped
}

fn sample(image: &RgbImage, x: f64, y: f64) -> Option<[u8; 3]> {
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    if !(0.0..=width).contains(&x) || !(0.0..=height).contains(&y) {
        return None;
    }
    let (x, y) = (
        (x - 0.5).clamp(0.0, width - 1.0),
        (y - 0.5).clamp(0.0, height - 1.0),
    );
    let (left, top) = (x.floor(), y.floor());
    let (across, down) = (x - left, y - top);
    let (left, top) = (left as u32, top as u32);
    let right = (left + 1).min(image.width() - 1);
    let bottom = (top + 1).min(image.height() - 1);
    let corners = [
        (image.pixel(left, top)?, (1.0 - across) * (1.0 - down)),
        (image.pixel(right, top)?, across * (1.0 - down)),
        (image.pixel(left, bottom)?, (1.0 - across) * down),
        (image.pixel(right, bottom)?, across * down),
    ];
    Some(std::array::from_fn(|channel| {
        let value: f64 = corners
            .iter()
            .map(|(colour, weight)| f64::from(colour[channel]) * weight)
            .sum();
        value.round() as u8
    }))
}

/// A projective map as a 3×3 matrix, row by row.
type Matrix = [[f64; 3]; 3];

/// Returns the map of the unit square's corners (0,0), (1,0), (1,1), (0,1) to `corners`; Heckbert,
/// Fundamentals of Texture Mapping and Image Warping, 1989, section 2.2.3.
fn square_to_quadrilateral(corners: [(f64, f64); 4]) -> Matrix {
    let [(x0, y0), (x1, y1), (x2, y2), (x3, y3)] = corners;
    let (dx1, dx2, sx) = (x1 - x2, x3 - x2, x0 - x1 + x2 - x3);
    let (dy1, dy2, sy) = (y1 - y2, y3 - y2, y0 - y1 + y2 - y3);
    let determinant = dx1 * dy2 - dx2 * dy1;
    let g = (sx * dy2 - dx2 * sy) / determinant;
    let h = (dx1 * sy - sx * dy1) / determinant;
    [
        [x1 - x0 + g * x1, x3 - x0 + h * x3, x0],
        [y1 - y0 + g * y1, y3 - y0 + h * y3, y0],
        [g, h, 1.0],
    ]
}

/// Returns the inverse up to a factor, which is all that a projective map needs: the adjugate.
fn inverse(m: &Matrix) -> Matrix {
    let minor = |row: usize, column: usize| {
        let (r1, r2) = ((row + 1) % 3, (row + 2) % 3);
        let (c1, c2) = ((column + 1) % 3, (column + 2) % 3);
        m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]
    };
    std::array::from_fn(|row| std::array::from_fn(|column| minor(column, row)))
}

/// Applies a projective map; `None` for points at infinity.
fn project(m: &Matrix, x: f64, y: f64) -> Option<(f64, f64)> {
    let [u, v, w] = m.map(|row| row[0] * x + row[1] * y + row[2]);
    (w.abs() > f64::EPSILON).then(|| (u / w, v / w))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| [x as u8, y as u8, 9]).unwrap()
    }

    #[test]
    fn crops_keep_the_area_asked_for_and_the_shape() {
        for seed in 0..20 {
            let cropped = crop(&gradient(200, 100), 0.25, &mut Random::new(seed));
            assert_eq!((cropped.width(), cropped.height()), (100, 50));
        }
        let one = crop(&gradient(1, 1), 0.1, &mut Random::new(0));
        assert_eq!((one.width(), one.height()), (1, 1));
    }

    #[test]
    fn a_turn_keeps_the_centre_and_the_canvas_and_uncovers_the_corners() {
        let turned = rotate(&gradient(101, 101), FORTY_FIVE_DEGREES, [1, 2, 3]);
        assert_eq!((turned.width(), turned.height()), (101, 101));
        assert_eq!(turned.pixel(0, 0), Some([1, 2, 3]));
        assert_eq!(turned.pixel(50, 50), Some([50, 50, 9]));
        // Clockwise: what was left of the centre is now above and left of it.
        let above_left = turned.pixel(50 - 28, 50 - 28).unwrap();
        assert!(above_left[0].abs_diff(10) <= 1, "{above_left:?}");
        assert!(above_left[1].abs_diff(50) <= 1, "{above_left:?}");
    }

    #[test]
    fn a_quarter_turn_is_clockwise() {
        let turned = quarter_turn(&gradient(3, 2));
        assert_eq!((turned.width(), turned.height()), (2, 3));
        assert_eq!(turned.pixel(1, 0), Some([0, 0, 9]));
    }

    #[test]
    fn a_projective_map_and_its_inverse_cancel() {
        let corners = [(0.1, 0.2), (0.9, 0.05), (0.8, 0.95), (0.15, 0.75)];
        let map = square_to_quadrilateral(corners);
        let back = inverse(&map);
        for ((u, v), corner) in [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
            .into_iter()
            .zip(corners)
        {
            let (x, y) = project(&map, u, v).unwrap();
            assert!((x - corner.0).abs() < 1e-12 && (y - corner.1).abs() < 1e-12);
            let (u2, v2) = project(&back, x, y).unwrap();
            assert!((u2 - u).abs() < 1e-12 && (v2 - v).abs() < 1e-12);
        }
    }
}
