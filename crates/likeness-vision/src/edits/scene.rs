//! Edits that draw on the picture or set it into another one.

use super::draw::{blank, disc, paste, rectangle};
use super::text::{GLYPH_SIDE, line, outlined_line, sentence};
use super::{BLACK, WHITE};
use crate::pixels::{Filter, RgbImage};
use crate::random::Random;

/// Width and height of a text page, the shape of A4.
const PAGE: (u32, u32) = (1_000, 1_414);
/// Side of one picture in a collage, and the white space around it.
const TILE_SIDE: u32 = 400;
const GUTTER: u32 = 12;

/// Writes a line at the top and one at the bottom, white with a black rim, across 95 % of the width.
pub(super) fn caption(image: &RgbImage, random: &mut Random) -> RgbImage {
    const N_CHARACTERS: u32 = 20;
    let mut canvas = image.clone();
    let scale = (image.width() * 95 / 100 / (N_CHARACTERS * GLYPH_SIDE)).max(1);
    let margin = i64::from(image.height() / 25);
    let bottom = i64::from(image.height()) - margin - i64::from(GLYPH_SIDE * scale);
    for y in [margin, bottom] {
        let text = sentence(N_CHARACTERS as usize, random).to_uppercase();
        let text_width = text.len() as i64 * i64::from(GLYPH_SIDE * scale);
        let x = (i64::from(image.width()) - text_width) / 2;
        outlined_line(&mut canvas, (x, y), scale, &text, WHITE, BLACK);
    }
    canvas
}

/// Puts three stickers on the picture: a face, a heart or a sun each, 22 % of the shorter side.
pub(super) fn stickers(image: &RgbImage, random: &mut Random) -> RgbImage {
    let mut canvas = image.clone();
    let radius = i64::from(image.shorter_side() * 11 / 100).max(1);
    for _ in 0..3 {
        let centre = (
            i64::from(random.below(image.width())),
            i64::from(random.below(image.height())),
        );
        match random.below(3) {
            0 => face(&mut canvas, centre, radius),
            1 => heart(&mut canvas, centre, radius),
            _ => sun(&mut canvas, centre, radius),
        }
    }
    canvas
}

fn face(canvas: &mut RgbImage, (x, y): (i64, i64), radius: i64) {
    disc(canvas, (x, y), radius, [255, 204, 51]);
    for side in [-1, 1] {
        let eye = (x + side * radius * 2 / 5, y - radius / 4);
        disc(canvas, eye, radius / 7, [90, 50, 10]);
    }
    // A mouth: a dark disc, its upper half covered again.
    disc(canvas, (x, y + radius / 4), radius / 2, [90, 50, 10]);
    let cover = ((radius + 1) as u32, (radius / 2) as u32);
    rectangle(
        canvas,
        (x - radius / 2, y - radius / 4 + radius / 6),
        cover,
        [255, 204, 51],
    );
}

fn heart(canvas: &mut RgbImage, (x, y): (i64, i64), radius: i64) {
    const RED: [u8; 3] = [221, 46, 68];
    let half = radius / 2;
    disc(canvas, (x - half, y - half / 2), half, RED);
    disc(canvas, (x + half, y - half / 2), half, RED);
    for row in 0..=radius {
        let run = radius - row;
        rectangle(
            canvas,
            (x - run, y - half / 4 + row),
            ((run * 2 + 1) as u32, 1),
            RED,
        );
    }
}

fn sun(canvas: &mut RgbImage, (x, y): (i64, i64), radius: i64) {
    const YELLOW: [u8; 3] = [255, 172, 51];
    let thickness = (radius / 8).max(1) as u32;
    let length = (radius * 2) as u32;
    rectangle(
        canvas,
        (x - radius, y - i64::from(thickness / 2)),
        (length, thickness),
        YELLOW,
    );
    rectangle(
        canvas,
        (x - i64::from(thickness / 2), y - radius),
        (thickness, length),
        YELLOW,
    );
    disc(canvas, (x, y), radius * 3 / 5, YELLOW);
}

/// Puts a border of 10 % around the picture.
pub(super) fn border(image: &RgbImage, random: &mut Random) -> RgbImage {
    let colour = *random.pick(&[BLACK, WHITE, [128; 3]]);
    let (across, down) = (image.width().div_ceil(10), image.height().div_ceil(10));
    let mut canvas = blank(
        image.width() + 2 * across,
        image.height() + 2 * down,
        colour,
    );
    paste(&mut canvas, image, (across, down));
    canvas
}

/// Covers the left, right, upper or lower half with one colour.
pub(super) fn box_over_half(image: &RgbImage, random: &mut Random) -> RgbImage {
    let colour = *random.pick(&[BLACK, WHITE, [128; 3], [30, 60, 160]]);
    let (width, height) = (image.width(), image.height());
    let (far_x, far_y) = (i64::from(width / 2), i64::from(height / 2));
    let (position, size) = *random.pick(&[
        ((0, 0), (width / 2, height)),
        ((far_x, 0), (width - width / 2, height)),
        ((0, 0), (width, height / 2)),
        ((0, far_y), (width, height - height / 2)),
    ]);
    let mut canvas = image.clone();
    rectangle(&mut canvas, position, size, colour);
    canvas
}

/// Shows the picture in the window of a program: title bar above, a column of text at the left, a
/// status bar below. The canvas is 1.25 times as wide and 1.35 times as high as the picture.
pub(super) fn screenshot(image: &RgbImage, random: &mut Random) -> RgbImage {
    let dark = random.below(2) == 1;
    let (ground, bar, ink) = if dark {
        ([32; 3], [52; 3], [210; 3])
    } else {
        ([250; 3], [222; 3], [50; 3])
    };
    let (width, height) = (image.width() * 5 / 4, image.height() * 27 / 20);
    let mut canvas = blank(width, height, ground);
    let title_height = image.height() / 10;
    let status_height = image.height() / 20;
    let column_width = width - image.width();
    rectangle(&mut canvas, (0, 0), (width, title_height), bar);
    rectangle(
        &mut canvas,
        (0, i64::from(height - status_height)),
        (width, status_height),
        bar,
    );

    let button = i64::from(title_height / 5);
    for (button_idx, colour) in [[255, 95, 86], [255, 189, 46], [39, 201, 63]]
        .iter()
        .enumerate()
    {
        let x = i64::from(title_height / 2) * (button_idx as i64 * 2 + 1);
        disc(
            &mut canvas,
            (x, i64::from(title_height / 2)),
            button,
            *colour,
        );
    }
    let scale = (image.width() / 500).max(1);
    let title_x = i64::from(title_height * 7 / 2);
    let title_y = i64::from(title_height / 2) - i64::from(GLYPH_SIDE * scale / 2);
    line(
        &mut canvas,
        (title_x, title_y),
        scale,
        &sentence(24, random),
        ink,
    );

    let line_height = i64::from(GLYPH_SIDE * scale * 2);
    let n_characters = column_width / (GLYPH_SIDE * scale);
    let mut y = i64::from(title_height) + line_height;
    // Words shorter than the column only: the picture is pasted over what runs too far.
    while n_characters > 8 && y < i64::from(height - status_height) - line_height {
        let text = sentence(n_characters as usize - 2, random);
        line(
            &mut canvas,
            (i64::from(GLYPH_SIDE * scale), y),
            scale,
            &text,
            ink,
        );
        y += line_height;
    }
    let free = height - title_height - status_height - image.height();
    paste(&mut canvas, image, (column_width, title_height + free / 2));
    canvas
}

/// Sets the picture into a page of text, on `share` of the page's area.
pub(super) fn page(image: &RgbImage, share: f64, random: &mut Random) -> RgbImage {
    const MARGIN: u32 = 70;
    const SCALE: u32 = 2;
    let mut canvas = blank(PAGE.0, PAGE.1, WHITE);
    let n_characters = (PAGE.0 - 2 * MARGIN) / (GLYPH_SIDE * SCALE);
    for y in (MARGIN..PAGE.1 - MARGIN).step_by((GLYPH_SIDE * SCALE * 3 / 2) as usize) {
        let text = sentence(n_characters as usize, random);
        line(
            &mut canvas,
            (i64::from(MARGIN), i64::from(y)),
            SCALE,
            &text,
            [40; 3],
        );
    }
    // The size that has the wanted area in the picture's shape, made to fit a page that is too
    // narrow for long pictures.
    let area = f64::from(PAGE.0) * f64::from(PAGE.1) * share;
    let shape = f64::from(image.width()) / f64::from(image.height());
    let side = |length: f64, largest: u32| (length.round() as u32).clamp(1, largest);
    let width = side((area * shape).sqrt(), PAGE.0 - 2 * MARGIN);
    let height = side((area / shape).sqrt(), PAGE.1 - 2 * MARGIN);
    let x = MARGIN + random.below(PAGE.0 - 2 * MARGIN - width + 1);
    let y = MARGIN + random.below(PAGE.1 - 2 * MARGIN - height + 1);
    let space = (i64::from(x) - 16, i64::from(y) - 16);
    rectangle(&mut canvas, space, (width + 32, height + 32), WHITE);
    let picture = image.resize_exact(width, height, Filter::Bilinear);
    paste(&mut canvas, &picture, (x, y));
    canvas
}

/// Makes the picture one of four, each cut to a square about its centre.
pub(super) fn collage(image: &RgbImage, others: &[&RgbImage], random: &mut Random) -> RgbImage {
    let side = 2 * TILE_SIDE + 3 * GUTTER;
    let mut canvas = blank(side, side, WHITE);
    let own_place = random.below(4);
    let mut others = others.iter();
    for place in 0..4 {
        let tile = if place == own_place {
            square_tile(image)
        } else {
            match others.next() {
                Some(other) => square_tile(other),
                None => {
                    let colour = std::array::from_fn(|_| random.below(256) as u8);
                    blank(TILE_SIDE, TILE_SIDE, colour)
                }
            }
        };
        let step = TILE_SIDE + GUTTER;
        let position = (GUTTER + place % 2 * step, GUTTER + place / 2 * step);
        paste(&mut canvas, &tile, position);
    }
    canvas
}

fn square_tile(image: &RgbImage) -> RgbImage {
    let side = image.shorter_side();
    let (x, y) = ((image.width() - side) / 2, (image.height() - side) / 2);
    image
        .crop(x, y, side, side)
        .expect("a centred square of the shorter side lies inside")
        .resize_exact(TILE_SIDE, TILE_SIDE, Filter::Bilinear)
}
