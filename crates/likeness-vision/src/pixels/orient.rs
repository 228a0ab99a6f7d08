//! The eight ways to turn and mirror a picture.

use super::RgbImage;
use crate::decode::Orientation;

/// Side of the squares in which rows and columns are swapped, in pixels. One square of source and
/// one of target, 12 KiB together, stay in the first-level cache.
const TILE: usize = 32;

impl RgbImage {
    /// Returns the picture made upright, given how it was `stored`.
    pub fn oriented(self, stored: Orientation) -> Self {
        match stored {
            Orientation::Normal => self,
            Orientation::MirrorHorizontal => self.flip_horizontal(),
            Orientation::Rotate180 => self.flip_vertical().flip_horizontal(),
            Orientation::MirrorVertical => self.flip_vertical(),
            Orientation::Transpose => self.swap_sides(false, false),
            Orientation::Rotate90 => self.swap_sides(false, true),
            Orientation::Transverse => self.swap_sides(true, true),
            Orientation::Rotate270 => self.swap_sides(true, false),
        }
    }

    /// Returns the picture as in a mirror: left and right change places.
    #[must_use]
    pub fn flip_horizontal(mut self) -> Self {
        let row_len = self.row_len();
        for row in self.data.chunks_exact_mut(row_len) {
            let (pixels, _) = row.as_chunks_mut::<3>();
            pixels.reverse();
        }
        self
    }

    /// Returns the picture with top and bottom changing places.
    #[must_use]
    pub fn flip_vertical(mut self) -> Self {
        let row_len = self.row_len();
        let (upper, lower) = self.data.split_at_mut(self.height as usize / 2 * row_len);
        let from_below = lower.chunks_exact_mut(row_len).rev();
        for (top, bottom) in upper.chunks_exact_mut(row_len).zip(from_below) {
            top.swap_with_slice(bottom);
        }
        self
    }

    /// Returns the picture with rows and columns exchanged: the pixel at column x, row y comes from
    /// column y, row x, each counted from the far end if `from_right` or `from_bottom` says so.
    fn swap_sides(self, from_right: bool, from_bottom: bool) -> Self {
        let (width, height) = (self.width as usize, self.height as usize);
        let mut data = vec![0; self.data.len()];
        for tile_y in (0..width).step_by(TILE) {
            for tile_x in (0..height).step_by(TILE) {
                for y in tile_y..(tile_y + TILE).min(width) {
                    let source_x = if from_right { width - 1 - y } else { y };
                    for x in tile_x..(tile_x + TILE).min(height) {
                        let source_y = if from_bottom { height - 1 - x } else { x };
                        let from = (source_y * width + source_x) * 3;
                        let to = (y * height + x) * 3;
                        data[to..to + 3].copy_from_slice(&self.data[from..from + 3]);
                    }
                }
            }
        }
        Self {
            width: self.height,
            height: self.width,
            data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The letter F, as the tables of the EXIF standard draw it: 1 is ink.
    const F: [&str; 5] = ["1111", "1000", "1110", "1000", "1000"];

    fn picture(rows: &[&str]) -> RgbImage {
        let ink = |x: u32, y: u32| rows[y as usize].as_bytes()[x as usize] == b'1';
        let (width, height) = (rows[0].len() as u32, rows.len() as u32);
        RgbImage::from_fn(width, height, |x, y| [255 * u8::from(ink(x, y)); 3]).unwrap()
    }

    #[track_caller]
    fn check(exif: u16, stored: &[&str]) {
        let orientation = Orientation::from_exif(exif).unwrap();
        assert_eq!(
            picture(stored).oriented(orientation),
            picture(&F),
            "{orientation:?}"
        );
    }

    #[test]
    fn every_stored_orientation_becomes_upright() {
        check(1, &F);
        check(2, &["1111", "0001", "0111", "0001", "0001"]);
        check(3, &["0001", "0001", "0111", "0001", "1111"]);
        check(4, &["1000", "1000", "1110", "1000", "1111"]);
        check(5, &["11111", "10100", "10100", "10000"]);
        check(6, &["10000", "10100", "10100", "11111"]);
        check(7, &["00001", "00101", "00101", "11111"]);
        check(8, &["11111", "00101", "00101", "00001"]);
    }

    #[test]
    fn four_quarter_turns_are_none_on_sides_that_cut_tiles() {
        let image = RgbImage::from_fn(71, 35, |x, y| [x as u8, y as u8, 0]).unwrap();

        let mut turned = image.clone();
        for _ in 0..4 {
            turned = turned.oriented(Orientation::Rotate90);
        }

        assert_eq!(turned, image);
        let there_and_back = image.clone().oriented(Orientation::Transverse);
        assert_eq!(there_and_back.oriented(Orientation::Transverse), image);
    }
}
