//! Where one picture lies in another: the map that most matches agree on.
//!
//! Every match is a hypothesis by itself, since keypoints have a scale and a direction: a
//! similarity. The matches that agree with it, roughly, are fitted again and again with less and
//! less tolerance, at last with an affine map (as Lowe 2004, §7.3 and §7.4, without his table of
//! votes: matches are few). No chance is involved.

use super::descriptor::{self, ANGLE_STEPS, Descriptor, PATCH_RADIUS, angle_in_form};
use super::features::Keypoint;
use super::matching::Match;
use super::{Form, MIN_INLIERS};

/// Matches that are looked at; of more, the nearest.
const MAX_MATCHES: usize = 160;

/// Hypotheses that are fitted: those that most matches agree with.
const MAX_FITS: usize = 3;

/// Fewest matches of an affine fit; fewer give a similarity.
const MIN_AFFINE: usize = 6;

/// Largest ratio of the two scales of an affine map. A picture squashed from 16:9 to a square has
/// 1.8.
const MAX_STRETCH: f32 = 2.4;

/// Largest enlargement, and one over the largest reduction.
const MAX_SCALE: f32 = 12.0;

/// An affine map between pixels of two pictures: `x' = a x + b y + c`, `y' = d x + e y + f`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// a, b, c, d, e, f.
    pub coefficients: [f32; 6],
}

impl Affine {
    /// Returns where the point lies in the other picture.
    pub fn apply(&self, (x, y): (f32, f32)) -> (f32, f32) {
        let [a, b, c, d, e, f] = self.coefficients;
        (a * x + b * y + c, d * x + e * y + f)
    }

    /// Returns the factor by which lengths grow, on average: the root of the area's factor.
    pub fn scale(&self) -> f32 {
        let [a, b, _, d, e, _] = self.coefficients;
        (a * e - b * d).abs().sqrt()
    }

    /// Tells whether the map is one that pictures are shown by: no mirror, no extreme stretch.
    fn is_plausible(&self) -> bool {
        let [a, b, _, d, e, _] = self.coefficients;
        let determinant = a * e - b * d;
        // Singular values from the sum and the product of their squares.
        let sum = a * a + b * b + d * d + e * e;
        let root = (sum * sum - 4.0 * determinant * determinant)
            .max(0.0)
            .sqrt();
        let (largest, least) = ((sum + root) / 2.0, (sum - root) / 2.0);
        determinant > 0.0
            && largest <= least * MAX_STRETCH * MAX_STRETCH
            && largest.sqrt() <= MAX_SCALE
            && least.sqrt() >= 1.0 / MAX_SCALE
    }
}

/// A map and the keypoints that agree with it.
#[derive(Clone, Debug)]
pub(super) struct Alignment {
    /// From the query, in the form it was compared in, to the stored picture.
    pub(super) map: Affine,
    /// Places of the query, in its form, and of the stored picture; all distinct in both.
    pub(super) inliers: Vec<((f32, f32), (f32, f32))>,
    /// Keypoints of the query that the stored picture should have by that map.
    pub(super) n_expected: usize,
    /// Those of them that it has.
    pub(super) n_met: usize,
}

/// The keypoints of a picture with their descriptors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a> {
    pub(super) keypoints: &'a [Keypoint],
    /// In the form that is compared.
    pub(super) descriptors: &'a [Descriptor],
    /// Sides of the largest level.
    pub(super) size: (f32, f32),
}

/// A match with what its two keypoints say.
#[derive(Clone, Copy, Debug)]
struct Link {
    from: (f32, f32),
    to: (f32, f32),
    /// Scale of the keypoint in the query, in its pixels.
    from_scale: f32,
    /// Scale of the keypoint in the stored picture, in its pixels.
    to_scale: f32,
    /// Binary logarithm of the enlargement.
    log_scale: f32,
    /// Turn from the query to the stored picture, in steps.
    turn: u8,
    distance: u32,
}

/// Returns the map that most of `matches` agree on, or `None` if fewer than [`MIN_INLIERS`] do.
pub(super) fn align(
    query: Side<'_>,
    stored: Side<'_>,
    form: Form,
    matches: &[Match],
) -> Option<Alignment> {
    let mut links: Vec<Link> = matches
        .iter()
        .map(|found| Link::new(query, stored, form, found))
        .collect();
    if links.len() > MAX_MATCHES {
        links.sort_by_key(|link| link.distance);
        links.truncate(MAX_MATCHES);
    }
    let mut best: Option<(usize, Affine)> = None;
    for seed in seeds(&links) {
        let Some((n_inliers, map)) = fit(&links, seed) else {
            continue;
        };
        if n_inliers >= MIN_INLIERS && best.is_none_or(|(most, _)| n_inliers > most) {
            best = Some((n_inliers, map));
        }
    }
    let (_, map) = best?;
    Some(guided(query, stored, form, map))
}

impl Link {
    fn new(query: Side<'_>, stored: Side<'_>, form: Form, found: &Match) -> Self {
        let a = &query.keypoints[found.query];
        let b = &stored.keypoints[found.stored];
        Self {
            from: place_in_form(a, query.size.0, form),
            to: b.place(),
            from_scale: a.scale(),
            to_scale: b.scale(),
            log_scale: (f32::from(b.level) - f32::from(a.level)) / 2.0,
            turn: b.angle.wrapping_sub(angle_in_form(a.angle, form)),
            distance: found.distance,
        }
    }
}

/// Looks again for partners of all keypoints of the query, now that it is known where they should
/// be: much less alike is enough there. A copy gains many, strangers hardly any.
fn guided(query: Side<'_>, stored: Side<'_>, form: Form, mut map: Affine) -> Alignment {
    /// Pixels of the stored keypoint's level, in the first round and the second.
    const TOLERANCES: [f32; 2] = [4.0, 3.0];
    /// Of 256 bits.
    const MAX_DISTANCE: u32 = 76;
    const MAX_TURN: u8 = (ANGLE_STEPS / 12) as u8;
    let places: Vec<(f32, f32)> = stored.keypoints.iter().map(Keypoint::place).collect();
    let largest_level = stored.keypoints.iter().map(|keypoint| keypoint.level).max();
    let largest_level = f32::from(largest_level.unwrap_or(0));
    let mut links: Vec<Link> = Vec::new();
    let mut n_expected = 0;
    for tolerance in TOLERANCES {
        links.clear();
        n_expected = 0;
        let level_shift = 2.0 * map.scale().log2();
        let [a, b, _, d, e, _] = map.coefficients;
        let turn = (d - b).atan2(a + e) / std::f32::consts::TAU * ANGLE_STEPS as f32;
        let turn = (turn.round() as i32).rem_euclid(ANGLE_STEPS as i32) as u8;
        for (idx, keypoint) in query.keypoints.iter().enumerate() {
            let level = f32::from(keypoint.level) + level_shift;
            if level < -0.5 || level > largest_level + 0.5 {
                continue;
            }
            let (x, y) = map.apply(place_in_form(keypoint, query.size.0, form));
            let scale = (level / 2.0).exp2();
            // Nearer to the edge there are no keypoints.
            let border = scale * (PATCH_RADIUS + 2) as f32;
            if x < border
                || y < border
                || x >= stored.size.0 - border
                || y >= stored.size.1 - border
            {
                continue;
            }
            n_expected += 1;
            let reach = tolerance * scale;
            let mut best: Option<Match> = None;
            for (stored_idx, &(stored_x, stored_y)) in places.iter().enumerate() {
                if (stored_x - x).abs() > reach || (stored_y - y).abs() > reach {
                    continue;
                }
                let other = &stored.keypoints[stored_idx];
                if (f32::from(other.level) - level).abs() > 1.5 {
                    continue;
                }
                let off = other
                    .angle
                    .wrapping_sub(angle_in_form(keypoint.angle, form))
                    .wrapping_sub(turn);
                if off.min(off.wrapping_neg()) > MAX_TURN {
                    continue;
                }
                let distance =
                    descriptor::distance(&query.descriptors[idx], &stored.descriptors[stored_idx]);
                if distance <= MAX_DISTANCE && best.is_none_or(|best| distance < best.distance) {
                    best = Some(Match {
                        query: idx,
                        stored: stored_idx,
                        distance,
                    });
                }
            }
            links.extend(best.map(|found| Link::new(query, stored, form, &found)));
        }
        map = refit(&links).unwrap_or(map);
    }
    links.sort_by_key(|link| link.distance);
    Alignment {
        map,
        n_expected,
        n_met: links.len(),
        inliers: distinct(&links),
    }
}

/// Returns the map that fits the links best: affine if they determine one.
fn refit(links: &[Link]) -> Option<Affine> {
    let affine = (links.len() >= MIN_AFFINE)
        .then(|| fit_affine(links))
        .flatten()
        .filter(Affine::is_plausible);
    affine.or_else(|| fit_similarity(links).filter(Affine::is_plausible))
}

/// Returns the place of a keypoint in that form of its picture.
fn place_in_form(keypoint: &Keypoint, width: f32, form: Form) -> (f32, f32) {
    let (x, y) = keypoint.place();
    if form.is_mirrored() {
        (width - 1.0 - x, y)
    } else {
        (x, y)
    }
}

/// Returns the best hypotheses, those that most links agree with, at least three.
fn seeds(links: &[Link]) -> Vec<Affine> {
    let mut ranked: Vec<(usize, usize, Affine)> = Vec::new();
    for (idx, link) in links.iter().enumerate() {
        let map = similarity_of(link);
        let n_agreeing = links
            .iter()
            .filter(|other| agrees_roughly(link, &map, other))
            .count();
        if n_agreeing >= 3 {
            ranked.push((n_agreeing, idx, map));
        }
        // Nothing will be found that is much better.
        if n_agreeing * 3 > links.len() * 2 && n_agreeing > 20 {
            break;
        }
    }
    ranked.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    ranked.truncate(MAX_FITS);
    ranked.into_iter().map(|(_, _, map)| map).collect()
}

/// Returns the similarity that a single link says.
fn similarity_of(link: &Link) -> Affine {
    let angle = std::f32::consts::TAU * f32::from(link.turn) / ANGLE_STEPS as f32;
    let scale = link.log_scale.exp2();
    let (a, b) = (scale * angle.cos(), scale * angle.sin());
    let (x, y) = link.from;
    Affine {
        coefficients: [
            a,
            -b,
            link.to.0 - a * x + b * y,
            b,
            a,
            link.to.1 - b * x - a * y,
        ],
    }
}

fn agrees_roughly(seed: &Link, map: &Affine, link: &Link) -> bool {
    const MAX_TURN: u8 = (ANGLE_STEPS / 11) as u8;
    let turn = link.turn.wrapping_sub(seed.turn);
    if turn.min(turn.wrapping_neg()) > MAX_TURN || (link.log_scale - seed.log_scale).abs() > 0.75 {
        return false;
    }
    let (x, y) = map.apply(link.from);
    let off = distance((x, y), link.to);
    let lever = distance((x, y), seed.to);
    // A direction is right to some 10°, a scale to a quarter.
    off <= 3.0 * link.to_scale + 0.3 * lever
}

/// Fits a map to the links that agree with `seed`, with less and less tolerance; returns it with the
/// number of distinct links that agree in the end.
fn fit(links: &[Link], seed: Affine) -> Option<(usize, Affine)> {
    /// Pixels of the keypoint's level.
    const TOLERANCE: f32 = 3.0;
    /// Added, as a share of the way from the middle of the links.
    const SHARES: [f32; 4] = [0.25, 0.12, 0.06, 0.0];
    let mut map = seed;
    let mut agreeing: Vec<Link> = Vec::new();
    for (round, share) in SHARES.into_iter().enumerate() {
        let centre = middle(&agreeing);
        agreeing = links
            .iter()
            .filter(|link| {
                let (x, y) = map.apply(link.from);
                let off = distance((x, y), link.to);
                // Before anything is fitted the seed is a keypoint's, which was checked already.
                let lever = centre.map_or(60.0, |centre| distance(centre, link.to));
                off <= TOLERANCE * link.to_scale + share * lever
            })
            .copied()
            .collect();
        if agreeing.len() < 3 {
            return None;
        }
        map = if round == 0 {
            fit_similarity(&agreeing).filter(Affine::is_plausible)?
        } else {
            refit(&agreeing)?
        };
    }
    agreeing.sort_by_key(|link| link.distance);
    Some((distinct(&agreeing).len(), map))
}

/// Drops links whose place in either picture is taken: one corner, seen at several levels, is one.
fn distinct(links: &[Link]) -> Vec<((f32, f32), (f32, f32))> {
    /// Pixels of the keypoint's level.
    const APART: f32 = 2.5;
    let mut kept: Vec<Link> = Vec::new();
    for link in links {
        let is_near = |a: (f32, f32), b: (f32, f32), scale: f32| {
            (a.0 - b.0).abs().max((a.1 - b.1).abs()) < APART * scale
        };
        let is_taken = kept.iter().any(|other| {
            is_near(other.from, link.from, other.from_scale.max(link.from_scale))
                || is_near(other.to, link.to, other.to_scale.max(link.to_scale))
        });
        if !is_taken {
            kept.push(*link);
        }
    }
    kept.into_iter().map(|link| (link.from, link.to)).collect()
}

/// Unlike `hypot` it does not care for numbers beyond any picture, and takes no call.
fn distance((x0, y0): (f32, f32), (x1, y1): (f32, f32)) -> f32 {
    let (dx, dy) = (x0 - x1, y0 - y1);
    (dx * dx + dy * dy).sqrt()
}

fn middle(links: &[Link]) -> Option<(f32, f32)> {
    let n = links.len() as f32;
    let sum = |pick: fn(&Link) -> f32| links.iter().map(pick).sum::<f32>() / n;
    (!links.is_empty()).then(|| (sum(|link| link.to.0), sum(|link| link.to.1)))
}

/// Least squares of a similarity, in closed form (Umeyama 1991 for the plane).
fn fit_similarity(links: &[Link]) -> Option<Affine> {
    let n = links.len() as f32;
    let mean = |pick: fn(&Link) -> f32| links.iter().map(pick).sum::<f32>() / n;
    let (mx, my) = (mean(|link| link.from.0), mean(|link| link.from.1));
    let (mu, mv) = (mean(|link| link.to.0), mean(|link| link.to.1));
    let (mut dot, mut cross, mut square) = (0.0, 0.0, 0.0);
    for link in links {
        let (x, y) = (link.from.0 - mx, link.from.1 - my);
        let (u, v) = (link.to.0 - mu, link.to.1 - mv);
        dot += x * u + y * v;
        cross += x * v - y * u;
        square += x * x + y * y;
    }
    if square < 1.0 {
        return None;
    }
    let (a, b) = (dot / square, cross / square);
    Some(Affine {
        coefficients: [a, -b, mu - a * mx + b * my, b, a, mv - b * mx - a * my],
    })
}

/// Least squares of an affine map; `None` for links on a line.
fn fit_affine(links: &[Link]) -> Option<Affine> {
    let n = links.len() as f32;
    let mean = |pick: fn(&Link) -> f32| links.iter().map(pick).sum::<f32>() / n;
    let (mx, my) = (mean(|link| link.from.0), mean(|link| link.from.1));
    let (mu, mv) = (mean(|link| link.to.0), mean(|link| link.to.1));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    let (mut xu, mut yu, mut xv, mut yv) = (0.0, 0.0, 0.0, 0.0);
    for link in links {
        let (x, y) = (link.from.0 - mx, link.from.1 - my);
        let (u, v) = (link.to.0 - mu, link.to.1 - mv);
        xx += x * x;
        xy += x * y;
        yy += y * y;
        xu += x * u;
        yu += y * u;
        xv += x * v;
        yv += y * v;
    }
    let determinant = xx * yy - xy * xy;
    let trace = xx + yy;
    if determinant < 1e-3 * trace * trace {
        return None;
    }
    let a = (xu * yy - yu * xy) / determinant;
    let b = (yu * xx - xu * xy) / determinant;
    let d = (xv * yy - yv * xy) / determinant;
    let e = (yv * xx - xv * xy) / determinant;
    Some(Affine {
        coefficients: [a, b, mu - a * mx - b * my, d, e, mv - d * mx - e * my],
    })
}
