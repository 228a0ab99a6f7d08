//! Hard negatives: different pictures made over one template, which must not be taken for copies.
//!
//! A family shares what a system could hang on to (ground, layout, size of letters, places of boxes); its
//! members differ in what a person would read or see. All are pure functions of their seed, like the edits.
//!
//! | | shared by a family | different in each member |
//! |---|---|---|
//! | `card` | ground, frame, size of letters | the words of a quotation |
//! | `page` | margins, size of letters, heading line | a page of text |
//! | `chat` | colours and width of bubbles | who says what, and how much |
//! | `chart` | axes, colours, number of bars | heights of the bars, title |
//! | `flat` | ground, and the form of what little is on it | shade of the ground, place and size of the form |

use super::draw::{blank, disc, rectangle};
use super::name_hash;
use super::text::{GLYPH_SIDE, line, sentence};
use crate::pixels::RgbImage;
use crate::random::Random;

/// A kind of hard negatives; the table at the top says what each is.
#[expect(
    missing_docs,
    reason = "the module's table documents them side by side"
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Negative {
    Card,
    Page,
    Chat,
    Chart,
    Flat,
}

/// Sides of a portrait picture, and of a landscape one.
const PORTRAIT: (u32, u32) = (720, 960);
const LANDSCAPE: (u32, u32) = (960, 720);

const INKS: [[u8; 3]; 6] = [
    [20, 20, 20],
    [30, 60, 160],
    [160, 40, 40],
    [30, 110, 60],
    [110, 60, 140],
    [200, 120, 20],
];

impl Negative {
    /// All kinds, in the order of reports.
    pub const ALL: [Self; 5] = [Self::Card, Self::Page, Self::Chat, Self::Chart, Self::Flat];

    /// Returns the name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Page => "page",
            Self::Chat => "chat",
            Self::Chart => "chart",
            Self::Flat => "flat",
        }
    }

    /// Returns the picture of one member of a family.
    pub fn pixels(self, family: u32, member: u32, seed: u64) -> RgbImage {
        let seed = seed ^ name_hash(self.name());
        let template = &mut Random::new(seed.wrapping_add(u64::from(family) << 32));
        let own_seed = template.next_u64().wrapping_add(u64::from(member));
        let content = &mut Random::new(Random::new(own_seed).next_u64());
        match self {
            Self::Card => card(template, content),
            Self::Page => page(template, content),
            Self::Chat => chat(template, content),
            Self::Chart => chart(template, content),
            Self::Flat => flat(template, member, content),
        }
    }

    /// Returns the file of one member, PNG: as programs write such pictures.
    pub fn file(self, family: u32, member: u32, seed: u64) -> Vec<u8> {
        self.pixels(family, member, seed).encode_png()
    }
}

/// A colour of at most `span` above `low` in each channel.
fn shade(low: u32, span: u32, random: &mut Random) -> [u8; 3] {
    std::array::from_fn(|_| (low + random.below(span)).min(255) as u8)
}

fn card(template: &mut Random, content: &mut Random) -> RgbImage {
    let (width, height) = *template.pick(&[PORTRAIT, LANDSCAPE]);
    let ground = shade(150, 100, template);
    let ink = *template.pick(&INKS);
    let scale = 3 + template.below(3);
    let inset = 20 + template.below(30);
    let mut canvas = blank(width, height, ink);
    rectangle(
        &mut canvas,
        (i64::from(inset), i64::from(inset)),
        (width - 2 * inset, height - 2 * inset),
        ground,
    );
    let glyph = GLYPH_SIDE * scale;
    let margin = inset + glyph;
    let per_line = ((width - 2 * margin) / glyph) as usize;
    let num_lines = 3 + content.below(4);
    let step = glyph * 2;
    let top = (height.saturating_sub(num_lines * step)) / 2;
    for line_idx in 0..num_lines {
        let text = sentence(per_line, content);
        let left = (width - text.len() as u32 * glyph) / 2;
        let position = (i64::from(left), i64::from(top + line_idx * step));
        line(&mut canvas, position, scale, &text, ink);
    }
    canvas
}

fn page(template: &mut Random, content: &mut Random) -> RgbImage {
    let (width, height) = PORTRAIT;
    let ground = shade(238, 18, template);
    let margin = 40 + template.below(50);
    let scale = 1 + template.below(2);
    let ink = shade(0, 70, template);
    let mut canvas = blank(width, height, ground);
    let title_scale = scale + 2;
    let title_room = ((width - 2 * margin) / (GLYPH_SIDE * title_scale)) as usize;
    let title = sentence(title_room, content);
    let at = (i64::from(margin), i64::from(margin));
    line(&mut canvas, at, title_scale, &title, ink);
    let first = margin + GLYPH_SIDE * title_scale * 2;
    let per_line = ((width - 2 * margin) / (GLYPH_SIDE * scale)) as usize;
    let mut left_in_paragraph = 2 + content.below(6);
    for y in (first..height - margin).step_by((GLYPH_SIDE * scale * 7 / 4) as usize) {
        if left_in_paragraph == 0 {
            left_in_paragraph = 2 + content.below(6);
            continue;
        }
        left_in_paragraph -= 1;
        let room = if left_in_paragraph == 0 {
            per_line / 2
        } else {
            per_line
        };
        let text = sentence(room.max(8), content);
        line(
            &mut canvas,
            (i64::from(margin), i64::from(y)),
            scale,
            &text,
            ink,
        );
    }
    canvas
}

fn chat(template: &mut Random, content: &mut Random) -> RgbImage {
    let (width, height) = PORTRAIT;
    let ground = shade(225, 30, template);
    let bubbles = [shade(180, 70, template), [255; 3]];
    let bubble_width = 380 + template.below(160);
    let bar = shade(40, 160, template);
    let mut canvas = blank(width, height, ground);
    rectangle(&mut canvas, (0, 0), (width, 72), bar);
    disc(&mut canvas, (44, 36), 24, bubbles[0]);
    line(&mut canvas, (88, 26), 2, &sentence(16, content), [255; 3]);
    const SCALE: u32 = 2;
    let per_line = (bubble_width / (GLYPH_SIDE * SCALE)) as usize - 2;
    let mut y = 96;
    while y + 60 < height - 80 {
        let side = content.below(2);
        let num_lines = 1 + content.below(4);
        let bubble_height = num_lines * 26 + 20;
        if y + bubble_height > height - 80 {
            break;
        }
        let x = if side == 0 {
            20
        } else {
            width - bubble_width - 20
        };
        rectangle(
            &mut canvas,
            (i64::from(x), i64::from(y)),
            (bubble_width, bubble_height),
            bubbles[side as usize],
        );
        for line_idx in 0..num_lines {
            let at = (i64::from(x + 16), i64::from(y + 12 + line_idx * 26));
            line(
                &mut canvas,
                at,
                SCALE,
                &sentence(per_line, content),
                [30; 3],
            );
        }
        y += bubble_height + 16 + content.below(3) * 8;
    }
    rectangle(
        &mut canvas,
        (20, i64::from(height - 60)),
        (width - 40, 44),
        [255; 3],
    );
    canvas
}

fn chart(template: &mut Random, content: &mut Random) -> RgbImage {
    let (width, height) = LANDSCAPE;
    let mut canvas = blank(width, height, [255; 3]);
    let ink = [60; 3];
    let colour = *template.pick(&INKS);
    let num_bars = 5 + template.below(8);
    let (left, top, bottom) = (90, 110, height - 80);
    line(&mut canvas, (90, 40), 3, &sentence(30, content), ink);
    for tick in 0..5 {
        let y = bottom - (bottom - top) * tick / 4;
        rectangle(
            &mut canvas,
            (left, i64::from(y)),
            (width - 140, 1),
            [210; 3],
        );
    }
    let pitch = (width - 140) / num_bars;
    for bar in 0..num_bars {
        let bar_height = content.below(bottom - top) + 4;
        let x = left + i64::from(bar * pitch + pitch / 5);
        rectangle(
            &mut canvas,
            (x, i64::from(bottom - bar_height)),
            (pitch * 3 / 5, bar_height),
            colour,
        );
        let label = sentence((pitch / GLYPH_SIDE) as usize, content);
        line(&mut canvas, (x, i64::from(bottom + 12)), 1, &label, ink);
    }
    rectangle(&mut canvas, (left, i64::from(top)), (3, bottom - top), ink);
    rectangle(
        &mut canvas,
        (left, i64::from(bottom)),
        (width - 140, 3),
        ink,
    );
    canvas
}

fn flat(template: &mut Random, member: u32, content: &mut Random) -> RgbImage {
    let (width, height) = *template.pick(&[PORTRAIT, LANDSCAPE]);
    let ground = shade(0, 256, template);
    let form = template.below(3);
    let ink = *template.pick(&INKS);
    // Steps that people would call another colour; eight of them.
    let own = ground.map(|channel| channel.wrapping_add((member % 8 * 27) as u8));
    let mut canvas = blank(width, height, own);
    let at = (
        i64::from(content.below(width)),
        i64::from(content.below(height)),
    );
    let size = 20 + content.below(100);
    match form {
        0 => {}
        1 => disc(&mut canvas, at, i64::from(size), ink),
        _ => rectangle(&mut canvas, at, (size * 2, size), ink),
    }
    canvas
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::models::digest::FileDigest;

    #[test]
    fn the_pixels_are_the_published_ones() {
        let found: String = Negative::ALL
            .into_iter()
            .map(|kind| {
                let pixels = kind.pixels(1, 2, 3);
                let digest = FileDigest::of(pixels.data()).to_string();
                format!("{} {}\n", kind.name(), &digest[..16])
            })
            .collect();
        assert_eq!(found, include_str!("negatives.txt"), "got:\n{found}");
    }

    #[test]
    fn members_differ_and_families_share_a_template() {
        for kind in Negative::ALL {
            let files: HashSet<_> = (0..8).map(|member| kind.file(0, member, 1)).collect();
            assert_eq!(files.len(), 8, "{}", kind.name());
            assert_ne!(kind.file(0, 0, 1), kind.file(1, 0, 1));
            assert_ne!(kind.file(0, 0, 1), kind.file(0, 0, 2));
        }
        // A template is what makes them hard: most of a picture is the same, place by place.
        for kind in [
            Negative::Card,
            Negative::Page,
            Negative::Chat,
            Negative::Chart,
        ] {
            let (one, other) = (kind.pixels(0, 0, 1), kind.pixels(0, 1, 1));
            let pixels = one.data().chunks_exact(3).zip(other.data().chunks_exact(3));
            let same = pixels.clone().filter(|(a, b)| a == b).count();
            assert!(same * 2 > pixels.count(), "{}", kind.name());
        }
    }
}
