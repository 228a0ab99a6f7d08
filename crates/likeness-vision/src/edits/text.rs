//! Words drawn with an 8×8 bitmap font, scaled by whole numbers.

use font8x8::legacy::BASIC_LEGACY;

use super::draw::rectangle;
use crate::pixels::RgbImage;
use crate::random::Random;

/// Columns and rows of a glyph.
pub(super) const GLYPH_SIDE: u32 = 8;

const WORDS: [&str; 48] = [
    "when", "you", "see", "the", "morning", "again", "and", "nobody", "told", "them", "about",
    "coffee", "today", "is", "a", "good", "day", "for", "cats", "my", "face", "after", "work",
    "summer", "sale", "new", "video", "follow", "like", "share", "this", "picture", "friends",
    "never", "forget", "how", "it", "was", "before", "we", "had", "phones", "best", "of", "all",
    "time", "just", "wow",
];

/// Returns words that take at most `n_characters`, at least one word.
pub(super) fn sentence(n_characters: usize, random: &mut Random) -> String {
    let mut text = String::from(*random.pick(&WORDS));
    loop {
        let word = random.pick(&WORDS);
        if text.len() + 1 + word.len() > n_characters {
            return text;
        }
        text.push(' ');
        text.push_str(word);
    }
}

/// Draws one line of ASCII text, its top left corner at `position`, glyphs `8 × scale` pixels wide
/// and high.
pub(super) fn line(
    canvas: &mut RgbImage,
    position: (i64, i64),
    scale: u32,
    text: &str,
    colour: [u8; 3],
) {
    let (mut x, y) = position;
    for byte in text.bytes() {
        let glyph = BASIC_LEGACY
            .get(usize::from(byte))
            .copied()
            .unwrap_or_default();
        for (row_idx, row) in glyph.iter().enumerate() {
            for column in (0..GLYPH_SIDE).filter(|column| row >> column & 1 == 1) {
                let left = x + i64::from(column * scale);
                let top = y + row_idx as i64 * i64::from(scale);
                rectangle(canvas, (left, top), (scale, scale), colour);
            }
        }
        x += i64::from(GLYPH_SIDE * scale);
    }
}

/// Draws like [`line()`], with a rim of another colour around the strokes.
pub(super) fn outlined_line(
    canvas: &mut RgbImage,
    (x, y): (i64, i64),
    scale: u32,
    text: &str,
    colour: [u8; 3],
    rim: [u8; 3],
) {
    let offset = i64::from((scale / 2).max(1));
    for (dx, dy) in [
        (-1, 0),
        (1, 0),
        (0, -1),
        (0, 1),
        (-1, -1),
        (1, 1),
        (-1, 1),
        (1, -1),
    ] {
        line(canvas, (x + dx * offset, y + dy * offset), scale, text, rim);
    }
    line(canvas, (x, y), scale, text, colour);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edits::draw::blank;

    #[test]
    fn sentences_keep_their_length() {
        let mut random = Random::new(1);
        for n_characters in [8, 20, 50] {
            let text = sentence(n_characters, &mut random);
            assert!(text.len() <= n_characters && !text.is_empty(), "{text}");
        }
    }

    #[test]
    fn glyphs_are_drawn_the_right_way_round() {
        let mut canvas = blank(8, 8, [0; 3]);
        line(&mut canvas, (0, 0), 1, "L", [255; 3]);
        let ink = |x: u32| {
            (0..8)
                .filter(|&y| canvas.pixel(x, y) == Some([255; 3]))
                .count()
        };
        assert!(
            ink(1) > 4 && ink(1) > ink(5),
            "the upright of an L is at its left"
        );
    }

    #[test]
    fn text_outside_ascii_draws_nothing() {
        let mut canvas = blank(40, 8, [0; 3]);
        line(&mut canvas, (0, 0), 1, "é", [255; 3]);
        assert_eq!(canvas, blank(40, 8, [0; 3]));
    }
}
