//! Which stickers show pictures of their own.
//!
//! A sticker set draws many pictures several times: a hand in five skin tones, a clock at 24 hours,
//! a heart in ten colours. Those are the same picture by any measure but the set's own, so one that
//! asks "was this a copy?" must not choose two of them.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use crate::random::Random;

/// Code points drawn as variations of one picture. No sticker of these is chosen.
const FAMILIES: [RangeInclusive<u32>; 22] = [
    0x0000..=0x00ff,   // digits and signs on one tile
    0x2100..=0x21ff,   // arrows
    0x23e9..=0x23fa,   // buttons of a player
    0x25aa..=0x25fe,   // squares
    0x2614..=0x2614,   // umbrella, drawn again with another sky
    0x2648..=0x2653,   // signs of the zodiac on one tile
    0x2660..=0x2666,   // suits
    0x26aa..=0x26ab,   // circles
    0x2700..=0x27ff,   // check marks, hearts, signs
    0x2900..=0x2bff,   // arrows, squares, circles
    0x3030..=0x3299,   // characters on one tile
    0x1f170..=0x1f251, // letters and characters on one tile
    0x1f311..=0x1f31e, // phases of the moon
    0x1f3fb..=0x1f3ff, // skin tones
    0x1f446..=0x1f44a, // one hand, turned
    0x1f493..=0x1f49f, // hearts
    0x1f500..=0x1f567, // buttons, squares, clocks
    0x1f5a4..=0x1f5a4, // black heart
    0x1f600..=0x1f64f, // one face, many moods
    0x1f7e0..=0x1f7f0, // circles and squares
    0x1f90c..=0x1f97a, // hands, faces, hearts
    0x1fa75..=0x1fa77, // hearts
];

/// Returns at most `count` of `files`, chosen by `seed`: stickers of a single code point that are
/// not drawn in variations.
pub(crate) fn choose_stickers(files: &[PathBuf], count: usize, seed: u64) -> Vec<PathBuf> {
    let mut chosen: Vec<PathBuf> = files
        .iter()
        .filter(|file| code_point(file).is_some_and(is_own_picture))
        .cloned()
        .collect();
    chosen.sort_unstable();
    Random::new(seed, 0).shuffle(&mut chosen);
    chosen.truncate(count);
    chosen
}

/// Reads `1f355.webp` and `2615-fe0f.webp`; sequences of several code points are variations.
fn code_point(file: &Path) -> Option<u32> {
    let stem = file.file_stem()?.to_str()?;
    let stem = stem.strip_suffix("-fe0f").unwrap_or(stem);
    u32::from_str_radix(stem, 16).ok()
}

fn is_own_picture(code_point: u32) -> bool {
    !FAMILIES.iter().any(|family| family.contains(&code_point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variations_of_one_picture_are_not_chosen() {
        let names = [
            "1f355.webp",            // pizza
            "1f44d.webp",            // thumb
            "1f44d-1f3fb.webp",      // thumb, light skin
            "1f550.webp",            // one o'clock
            "1f1e9-1f1ea.webp",      // a flag
            "1f468-200d-1f33e.webp", // a man and a sheaf
            "2764-fe0f.webp",        // a heart
            "readme.webp",
        ];
        let files: Vec<PathBuf> = names.iter().map(PathBuf::from).collect();
        let mut chosen = choose_stickers(&files, 100, 1);
        chosen.sort_unstable();
        assert_eq!(
            chosen,
            [PathBuf::from("1f355.webp"), PathBuf::from("1f44d.webp")]
        );
        assert_eq!(choose_stickers(&files, 1, 1).len(), 1);
    }
}
