//! What a keypoint looks like: its direction and 256 comparisons of brightness around it.
//!
//! Rotated BRIEF (Rublee, Rabaud, Konolige, Bradski, "ORB: an efficient alternative to SIFT or
//! SURF", 2011, §3.2 and §4), with a pattern of our own: 64 pairs of points are drawn, and the
//! four words of a descriptor are these pairs as drawn, mirrored, half turned, and both. So the
//! descriptors of a mirrored or inverted picture are those of the picture with words exchanged and
//! bits complemented ([`in_form`]); nothing has to be computed from pixels again.

use std::sync::LazyLock;

use super::Form;
use super::pyramid::Plane;
use crate::random::Random;

/// Pixels of a level that a descriptor looks at on each side of its keypoint.
pub(super) const PATCH_RADIUS: usize = 15;

/// 256 comparisons; bit `i` of word `w` is pair `i` of the pattern, mirrored if `w` is odd, half
/// turned if `w` is 2 or 3.
pub(super) type Descriptor = [u64; 4];

/// Pairs that are drawn, which are the bits of a word.
const N_PAIRS: usize = 64;

/// Directions that the pattern is turned to. A multiple of four, so that a mirrored or half turned
/// direction is one of them.
const N_DIRECTIONS: usize = 64;

/// Steps of a full turn in which the angle of a keypoint is kept.
pub(super) const ANGLE_STEPS: usize = 256;

/// Largest ratio of the way along a keypoint's direction to the way across it, of a pair.
const MAX_SLANT: f32 = 0.7;

/// Decides the pattern; descriptors of different seeds cannot be compared.
const SEED: u64 = 0x006c_696b_656e_6573;

/// Two points, in pixels from the keypoint.
type Pair = [(i8, i8); 2];

/// The pattern turned to every direction: word by word, pair by pair.
static PATTERN: LazyLock<Vec<[[Pair; N_PAIRS]; 4]>> = LazyLock::new(|| {
    let mut random = Random::new(SEED);
    let pairs: [[(f32, f32); 2]; N_PAIRS] = std::array::from_fn(|_| {
        loop {
            let pair = [(); 2].map(|()| (6.2 * random.normal(), 6.2 * random.normal()));
            let is_inside = |(x, y): (f32, f32)| x.hypot(y) < PATCH_RADIUS as f32 - 1.0;
            let [(x0, y0), (x1, y1)] = pair;
            let (across, along) = ((y0 - y1).abs(), (x0 - x1).abs());
            // Closer points see the same brightness, blurred as it is. And since keypoints are
            // turned so that brightness grows along x, a comparison along x is foregone: it would
            // hardly differ between strangers.
            if pair.into_iter().all(is_inside) && across > 4.0 && along < MAX_SLANT * across {
                return pair;
            }
        }
    });
    (0..N_DIRECTIONS)
        .map(|direction| {
            let turn = std::f64::consts::TAU * direction as f64 / N_DIRECTIONS as f64;
            let (sine, cosine) = turn.sin_cos();
            std::array::from_fn(|word| {
                let mirror = if word % 2 == 1 { -1.0 } else { 1.0 };
                let half_turn = if word >= 2 { -1.0 } else { 1.0 };
                pairs.map(|pair| {
                    pair.map(|(x, y)| {
                        let x = f64::from(x) * half_turn;
                        let y = f64::from(y) * half_turn * mirror;
                        let turned_x = x * cosine - y * sine;
                        let turned_y = x * sine + y * cosine;
                        (turned_x.round() as i8, turned_y.round() as i8)
                    })
                })
            })
        })
        .collect()
});

/// Half the width of the disc in the row `dy` below or above its centre.
static DISC: LazyLock<[usize; PATCH_RADIUS + 1]> =
    LazyLock::new(|| std::array::from_fn(|dy| (PATCH_RADIUS * PATCH_RADIUS - dy * dy).isqrt()));

/// Returns the direction from the keypoint to the centre of brightness of the disc around it, in
/// steps of a full turn; 0 for a flat disc. Keypoint and disc must lie inside the plane.
pub(super) fn angle(plane: &Plane, (x, y): (usize, usize)) -> u8 {
    let mut across = 0_i32;
    let mut down = 0_i32;
    for (dy, &half) in DISC.iter().enumerate() {
        let below = &plane.row(y + dy)[x - half..=x + half];
        let above = &plane.row(y - dy)[x - half..=x + half];
        let mut row_sum = 0_i32;
        for (idx, (&below, &above)) in below.iter().zip(above).enumerate() {
            let dx = idx as i32 - half as i32;
            let (below, above) = (i32::from(below), i32::from(above));
            // The middle row is both, and counts once.
            across += dx * if dy == 0 { below } else { below + above };
            row_sum += below - above;
        }
        down += dy as i32 * row_sum;
    }
    let turn = f64::from(down).atan2(f64::from(across)) / std::f64::consts::TAU;
    let step = (turn * ANGLE_STEPS as f64).round() as i32;
    step.rem_euclid(ANGLE_STEPS as i32) as u8
}

/// Returns the descriptor of the keypoint at `(x, y)` with the direction `angle`. `plane` should
/// be blurred; the patch must lie inside it.
pub(super) fn describe(plane: &Plane, (x, y): (usize, usize), angle: u8) -> Descriptor {
    let words = &PATTERN[direction_of(angle)];
    let centre = (y * plane.width + x) as isize;
    let stride = plane.width as isize;
    let at =
        |(dx, dy): (i8, i8)| plane.data[(centre + dy as isize * stride + dx as isize) as usize];
    words.map(|pairs| {
        let mut word = 0;
        for (bit, [first, second]) in pairs.into_iter().enumerate() {
            word |= u64::from(at(first) < at(second)) << bit;
        }
        word
    })
}

/// Returns the direction nearest to `angle`. Of two as near it is the even one, so that mirrored
/// angles have mirrored directions.
fn direction_of(angle: u8) -> usize {
    const STEP: usize = ANGLE_STEPS / N_DIRECTIONS;
    let (whole, rest) = (usize::from(angle) / STEP, usize::from(angle) % STEP);
    let is_up = 2 * rest > STEP || (2 * rest == STEP && whole % 2 == 1);
    (whole + usize::from(is_up)) % N_DIRECTIONS
}

/// Returns the descriptor that the same place has in that form of the picture.
pub(super) fn in_form([drawn, mirrored, turned, both]: Descriptor, form: Form) -> Descriptor {
    match form {
        Form::Plain => [drawn, mirrored, turned, both],
        Form::Mirrored => [mirrored, drawn, both, turned],
        // The centre of brightness is on the other side, and every comparison is turned around.
        Form::Inverted => [!turned, !both, !drawn, !mirrored],
        Form::MirroredInverted => [!both, !turned, !mirrored, !drawn],
    }
}

/// Returns the angle that a keypoint of angle `angle` has in that form of the picture.
pub(super) fn angle_in_form(angle: u8, form: Form) -> u8 {
    const HALF_TURN: u8 = (ANGLE_STEPS / 2) as u8;
    let mirrored = HALF_TURN.wrapping_sub(angle);
    match form {
        Form::Plain => angle,
        Form::Mirrored => mirrored,
        Form::Inverted => angle.wrapping_add(HALF_TURN),
        Form::MirroredInverted => mirrored.wrapping_add(HALF_TURN),
    }
}

/// Returns the number of comparisons that differ, 0 to 256.
pub(super) fn distance(a: &Descriptor, b: &Descriptor) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}
