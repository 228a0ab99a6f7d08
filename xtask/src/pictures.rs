//! Pictures drawn from a seed, and edits of them: what the harnesses upload.

use std::f64::consts::PI;

use crate::formats::png;
use crate::rng::{Rng, mix};

/// An RGB picture, 8 bits a channel, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    /// Columns.
    pub(crate) width: usize,
    /// Rows.
    pub(crate) height: usize,
    /// `width × height × 3` bytes.
    pub(crate) rgb: Vec<u8>,
}

/// Seeds of pictures whose embeddings have a cosine under 0.3 with each other (default model).
const DISTINCT: [u64; 32] = [
    0, 1, 2, 3, 5, 6, 7, 10, 20, 23, 25, 28, 29, 35, 41, 60, 61, 74, 77, 79, 93, 97, 115, 116, 123,
    124, 126, 182, 185, 220, 235, 249,
];

/// Edits that leave a picture the same to the eye.
pub(crate) const NUM_EDITS: usize = 6;

impl Picture {
    /// Draws a picture of waves, rings and clouds in three colours, with a few shapes on it. Pictures
    /// of different seeds mostly look different to the default model, and some look alike.
    pub(crate) fn draw(seed: u64, width: usize, height: usize) -> Self {
        let mut rng = Rng::new(seed);
        let painting = Painting::random(&mut rng);
        let unit = height as f64;
        Self::from_fn(width, height, |x, y| {
            painting.colour(x as f64 / unit, y as f64 / unit)
        })
    }

    /// Draws picture `index % DISTINCT.len()` of those that the default model never takes for copies
    /// of each other.
    pub(crate) fn distinct(index: usize, width: usize, height: usize) -> Self {
        Self::draw(DISTINCT[index % DISTINCT.len()], width, height)
    }

    /// Makes a picture of one colour.
    pub(crate) fn flat(colour: [u8; 3], width: usize, height: usize) -> Self {
        Self::from_fn(width, height, |_, _| colour)
    }

    fn from_fn(width: usize, height: usize, colour: impl Fn(usize, usize) -> [u8; 3]) -> Self {
        let mut rgb = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                rgb.extend_from_slice(&colour(x, y));
            }
        }
        Self { width, height, rgb }
    }

    fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let start = (y * self.width + x) * 3;
        [self.rgb[start], self.rgb[start + 1], self.rgb[start + 2]]
    }

    /// Returns edit number `edit % NUM_EDITS`.
    pub(crate) fn edited(&self, edit: usize) -> Self {
        let (width, height) = (self.width, self.height);
        match edit % NUM_EDITS {
            // Mirrored.
            0 => Self::from_fn(width, height, |x, y| self.at(width - 1 - x, y)),
            // Brighter, with less contrast.
            1 => Self::from_fn(width, height, |x, y| self.at(x, y).map(|v| 50 + v / 4 * 3)),
            // Cropped to about 70 % of its area.
            2 => Self::from_fn(width * 21 / 25, height * 21 / 25, |x, y| {
                self.at(x + width / 10, y + height / 20)
            }),
            // Half the size.
            3 => Self::from_fn(width / 2, height / 2, |x, y| {
                let four = [(0, 0), (1, 0), (0, 1), (1, 1)];
                let corners = four.map(|(dx, dy)| self.at(2 * x + dx, 2 * y + dy));
                std::array::from_fn(|c| {
                    (corners.iter().map(|v| u16::from(v[c])).sum::<u16>() / 4) as u8
                })
            }),
            // With a band of text, or what looks like it, over the lowest eighth.
            4 => Self::from_fn(width, height, |x, y| {
                let in_band = y >= height - height / 8;
                let in_letter = y % 5 > 1 && (x / 3) % 4 != 0;
                match (in_band, in_letter) {
                    (false, _) => self.at(x, y),
                    (true, false) => [255; 3],
                    (true, true) => [20; 3],
                }
            }),
            // A border of a tenth.
            _ => Self::from_fn(width * 6 / 5, height * 6 / 5, |x, y| {
                let inside = x
                    .checked_sub(width / 10)
                    .zip(y.checked_sub(height / 10))
                    .filter(|&(x, y)| x < width && y < height);
                inside.map_or([240; 3], |(x, y)| self.at(x, y))
            }),
        }
    }

    /// Returns the picture as a PNG file.
    pub(crate) fn png(&self) -> Vec<u8> {
        png::rgb(self)
    }
}

/// What a picture is made of. Places are in units of the picture's height.
struct Painting {
    fields: Vec<Field>,
    /// How hard the edges between the colours are.
    gain: f64,
    colours: [[f64; 3]; 3],
    shapes: Vec<Shape>,
}

impl Painting {
    fn random(rng: &mut Rng) -> Self {
        let num_fields = 1 + rng.below(3);
        let fields = (0..num_fields).map(|_| Field::random(rng)).collect();
        let gain = [0.6, 1.2, 3.0][rng.below(3)];
        let colours = std::array::from_fn(|_| random_colour(rng).map(f64::from));
        let num_shapes = rng.below(5);
        let shapes = (0..num_shapes).map(|_| Shape::random(rng)).collect();
        Self {
            fields,
            gain,
            colours,
            shapes,
        }
    }

    fn colour(&self, x: f64, y: f64) -> [u8; 3] {
        if let Some(shape) = self.shapes.iter().rev().find(|shape| shape.covers(x, y)) {
            return shape.colour;
        }
        let mut sum = 0.0;
        let mut weight = 1.0;
        for field in &self.fields {
            sum += field.at(x, y) * weight;
            weight *= 0.8;
        }
        // From the first colour over the second to the third.
        let t = (sum * self.gain).clamp(-1.0, 1.0) + 1.0;
        let [first, second, third] = self.colours;
        std::array::from_fn(|c| {
            let value = if t < 1.0 {
                first[c] + (second[c] - first[c]) * t
            } else {
                second[c] + (third[c] - second[c]) * (t - 1.0)
            };
            value as u8
        })
    }
}

/// A value between about -1 and 1 for every place.
enum Field {
    /// Smooth noise in four octaves.
    Clouds {
        direction: (f64, f64),
        stretch: f64,
        frequency: f64,
        key: u64,
    },
    /// Waves of some kind.
    Waves {
        kind: usize,
        direction: (f64, f64),
        frequency: f64,
        centre: (f64, f64),
        extra: [f64; 2],
    },
}

impl Field {
    fn random(rng: &mut Rng) -> Self {
        if rng.below(3) == 0 {
            let (sin, cos) = (rng.unit() * PI).sin_cos();
            return Self::Clouds {
                direction: (cos, sin),
                stretch: (rng.unit() * 4.0 - 2.0).exp2(),
                frequency: (rng.unit() * 3.0 + 0.5).exp2(),
                key: rng.next(),
            };
        }
        let kind = rng.below(6);
        let (sin, cos) = (rng.unit() * PI).sin_cos();
        let frequency = 3.0 + rng.unit() * 22.0;
        let centre = (rng.unit() * 1.33, rng.unit());
        let extra = match kind {
            0 => [2.0 * rng.unit(), 2.0 + rng.unit() * 10.0],
            2 => [0.4 + rng.unit(), 0.0],
            3 => [2.0 + rng.below(9) as f64, rng.unit()],
            4 => [1.0 + rng.unit() * 8.0, 1.0 + rng.unit() * 8.0],
            _ => [0.0; 2],
        };
        Self::Waves {
            kind,
            direction: (cos, sin),
            frequency,
            centre,
            extra,
        }
    }

    fn at(&self, x: f64, y: f64) -> f64 {
        match *self {
            Self::Clouds {
                direction: (cos, sin),
                stretch,
                frequency,
                key,
            } => {
                let (u, v) = (x * cos + y * sin, y * cos - x * sin);
                let octaves = (0..4_u64).map(|octave| {
                    let scale = frequency * (octave as f64).exp2();
                    // Far from zero, so that places are never negative.
                    let (u, v) = (u * scale * stretch + 1_000.0, v * scale + 1_000.0);
                    (-(octave as f64)).exp2() * smooth(u, v, key.wrapping_add(octave))
                });
                (octaves.sum::<f64>() / 1.875 - 0.5) * 4.0
            }
            Self::Waves {
                kind,
                direction: (cos, sin),
                frequency,
                centre,
                extra: [first, second],
            } => {
                let (u, v) = (x * cos + y * sin, y * cos - x * sin);
                let (dx, dy) = (x - centre.0, y - centre.1);
                let phase = match kind {
                    0 => u * frequency + first * (v * second).sin(),
                    1 => frequency * dx.hypot(dy) * 1.5,
                    2 => return (u * frequency).sin() * (v * frequency * first).sin(),
                    3 => dy.atan2(dx) * first + frequency * dx.hypot(dy) * second,
                    4 => first * x * x * 3.0 + second * y * (1.0 + x) * 2.0,
                    _ => frequency * (dx.abs() + dy.abs()),
                };
                phase.sin()
            }
        }
    }
}

/// Random values 0..1 on a lattice, blended smoothly between its points.
fn smooth(u: f64, v: f64, key: u64) -> f64 {
    let ease = |t: f64| t * t * (3.0 - 2.0 * t);
    let (column, row) = (u.floor(), v.floor());
    let (s, t) = (ease(u - column), ease(v - row));
    let at = |dx: u64, dy: u64| lattice(column as u64 + dx, row as u64 + dy, key);
    let upper = at(0, 0) * (1.0 - s) + at(1, 0) * s;
    let lower = at(0, 1) * (1.0 - s) + at(1, 1) * s;
    upper * (1.0 - t) + lower * t
}

fn lattice(column: u64, row: u64, key: u64) -> f64 {
    let mixed =
        column.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ row.wrapping_mul(0xc2b2_ae3d_27d4_eb4f) ^ key;
    (mix(mixed) >> 40) as f64 / f64::from(1 << 24)
}

/// Something drawn on top.
struct Shape {
    is_round: bool,
    centre: (f64, f64),
    half: (f64, f64),
    colour: [u8; 3],
}

impl Shape {
    fn random(rng: &mut Rng) -> Self {
        Self {
            centre: (rng.unit() * 1.33, rng.unit()),
            half: (0.04 + 0.25 * rng.unit(), 0.04 + 0.25 * rng.unit()),
            is_round: rng.below(2) == 1,
            colour: random_colour(rng),
        }
    }

    fn covers(&self, x: f64, y: f64) -> bool {
        let u = (x - self.centre.0) / self.half.0;
        let v = (y - self.centre.1) / self.half.1;
        if self.is_round {
            u * u + v * v < 1.0
        } else {
            u.abs() < 1.0 && v.abs() < 1.0
        }
    }
}

fn random_colour(rng: &mut Rng) -> [u8; 3] {
    std::array::from_fn(|_| rng.below(256) as u8)
}

#[cfg(test)]
mod tests {
    use super::{NUM_EDITS, Picture};

    #[test]
    fn a_seed_draws_the_same_picture_and_another_seed_another() {
        assert_eq!(Picture::draw(7, 64, 48), Picture::draw(7, 64, 48));
        assert_ne!(Picture::draw(7, 64, 48), Picture::draw(8, 64, 48));
    }

    #[test]
    fn every_edit_changes_the_bytes_and_keeps_them_whole() {
        let picture = Picture::draw(1, 60, 40);
        for edit in 0..NUM_EDITS {
            let edited = picture.edited(edit);
            assert_ne!(edited, picture, "edit {edit}");
            assert_eq!(edited.rgb.len(), edited.width * edited.height * 3);
        }
    }
}
