//! Painting on a picture. Everything clips: what lies outside is not drawn.

use crate::pixels::RgbImage;

/// Returns a picture of one colour; sides of zero become one pixel.
///
/// # Panics
/// If a side exceeds what a picture can have. Edits start from a bounded picture and enlarge it
/// less than twofold.
pub(super) fn blank(width: u32, height: u32, colour: [u8; 3]) -> RgbImage {
    RgbImage::filled(width.max(1), height.max(1), colour)
        .expect("edits work on pictures far below the largest side")
}

/// Fills a rectangle whose top left corner is column `x`, row `y`.
pub(super) fn rectangle(
    canvas: &mut RgbImage,
    (x, y): (i64, i64),
    (width, height): (u32, u32),
    colour: [u8; 3],
) {
    let left = x.clamp(0, i64::from(canvas.width()));
    let right = (x + i64::from(width)).clamp(left, i64::from(canvas.width()));
    let top = y.clamp(0, i64::from(canvas.height()));
    let bottom = (y + i64::from(height)).clamp(top, i64::from(canvas.height()));
    let row_bytes = canvas.width() as usize * 3;
    let rows = canvas
        .data_mut()
        .chunks_exact_mut(row_bytes)
        .skip(top as usize)
        .take((bottom - top) as usize);
    for row in rows {
        for pixel in row[left as usize * 3..right as usize * 3].chunks_exact_mut(3) {
            pixel.copy_from_slice(&colour);
        }
    }
}

/// Fills a disc.
pub(super) fn disc(
    canvas: &mut RgbImage,
    (centre_x, centre_y): (i64, i64),
    radius: i64,
    colour: [u8; 3],
) {
    for dy in -radius..=radius {
        // The widest run of this row with dx² + dy² ≤ r².
        let half = (radius * radius - dy * dy).isqrt();
        let run = (half * 2 + 1) as u32;
        rectangle(canvas, (centre_x - half, centre_y + dy), (run, 1), colour);
    }
}

/// Copies `picture` onto the canvas, its top left corner at column `x`, row `y`.
pub(super) fn paste(canvas: &mut RgbImage, picture: &RgbImage, (x, y): (u32, u32)) {
    if x >= canvas.width() || y >= canvas.height() {
        return;
    }
    let n_bytes = picture.width().min(canvas.width() - x) as usize * 3;
    let row_bytes = canvas.width() as usize * 3;
    let start = x as usize * 3;
    let rows = canvas
        .data_mut()
        .chunks_exact_mut(row_bytes)
        .skip(y as usize);
    for (row, source) in rows.zip(picture.rows()) {
        row[start..start + n_bytes].copy_from_slice(&source[..n_bytes]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INK: [u8; 3] = [1, 2, 3];

    /// The painted pixels of a 4×3 canvas, row by row.
    fn painted(paint: impl FnOnce(&mut RgbImage)) -> Vec<String> {
        let mut canvas = blank(4, 3, [0; 3]);
        paint(&mut canvas);
        let row = |y| {
            (0..4)
                .map(|x| {
                    if canvas.pixel(x, y) == Some(INK) {
                        '#'
                    } else {
                        '.'
                    }
                })
                .collect()
        };
        (0..3).map(row).collect()
    }

    #[test]
    fn shapes_are_clipped_at_every_edge() {
        let inside = painted(|canvas| rectangle(canvas, (1, 1), (2, 1), INK));
        assert_eq!(inside, ["....", ".##.", "...."]);
        let across = painted(|canvas| rectangle(canvas, (-5, 1), (6, 90), INK));
        assert_eq!(across, ["....", "#...", "#..."]);
        let outside = painted(|canvas| rectangle(canvas, (9, -9), (3, 3), INK));
        assert_eq!(outside, ["....", "....", "...."]);
        let corner = painted(|canvas| disc(canvas, (0, 0), 1, INK));
        assert_eq!(corner, ["##..", "#...", "...."]);
        let pasted = painted(|canvas| paste(canvas, &blank(9, 9, INK), (3, 1)));
        assert_eq!(pasted, ["....", "...#", "...#"]);
        let missed = painted(|canvas| paste(canvas, &blank(9, 9, INK), (4, 0)));
        assert_eq!(missed, ["....", "....", "...."]);
    }
}
