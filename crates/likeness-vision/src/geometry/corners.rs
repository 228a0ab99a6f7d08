//! Places that can be found again: corners, by the structure tensor.
//!
//! Harris and Stephens, "A combined corner and edge detector", 1988; the measure is the harmonic
//! mean of the tensor's eigenvalues (Brown, Szeliski, Winder, "Multi-image matching using
//! multi-scale oriented patches", 2005, §2), which needs no constant. It is the same for a picture
//! with inverted brightness. Corners are spread: the best of every cell come before the second
//! best of any.

use super::pyramid::Plane;

/// Side of the cells over which corners are spread, in pixels of the level.
const CELL: usize = 24;

/// Least measure of a corner, in squared steps of brightness: below it is noise.
const MIN_RESPONSE: f32 = 1.0;

/// A corner of a level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Corner {
    /// Pixels of the level from the centre of the first pixel, rightwards.
    pub(super) x: f32,
    /// Likewise, downwards.
    pub(super) y: f32,
    /// How much of a corner it is.
    pub(super) response: f32,
}

/// Returns up to `max` corners at least `border` pixels from the edges of `plane`, which should be
/// blurred a little; spread, the best of every cell first.
pub(super) fn corners(plane: &Plane, border: usize, max: usize) -> Vec<Corner> {
    let (width, height) = (plane.width, plane.height);
    let border = border.max(4);
    if width <= 2 * border || height <= 2 * border || max == 0 {
        return Vec::new();
    }
    let responses = responses(plane);
    let n_columns = width.div_ceil(CELL);
    let mut cells: Vec<Vec<Corner>> = vec![Vec::new(); n_columns * height.div_ceil(CELL)];
    for y in border..height - border {
        let [above, row, below] = [y - 1, y, y + 1].map(|y| &responses[y * width..][..width]);
        for x in border..width - border {
            let response = row[x];
            // Of equal neighbours the first is the corner.
            let is_peak = response > MIN_RESPONSE
                && response > row[x - 1]
                && response >= row[x + 1]
                && above[x - 1..=x + 1].iter().all(|other| response > *other)
                && below[x - 1..=x + 1].iter().all(|other| response >= *other);
            if is_peak {
                cells[y / CELL * n_columns + x / CELL].push(Corner {
                    x: x as f32 + peak_offset(row[x - 1], response, row[x + 1]),
                    y: y as f32 + peak_offset(above[x], response, below[x]),
                    response,
                });
            }
        }
    }
    let mut ranked: Vec<(usize, Corner)> = Vec::new();
    for cell in &mut cells {
        // The sort is stable: equal ones stay in the order of the scan.
        cell.sort_by(|a, b| b.response.total_cmp(&a.response));
        ranked.extend(cell.iter().copied().enumerate());
    }
    ranked.sort_by(|(rank_a, a), (rank_b, b)| {
        rank_a.cmp(rank_b).then(b.response.total_cmp(&a.response))
    });
    ranked.truncate(max);
    ranked.into_iter().map(|(_, corner)| corner).collect()
}

/// Returns where between −½ and ½ the parabola through three neighbours has its peak.
fn peak_offset(before: f32, peak: f32, after: f32) -> f32 {
    let curvature = before - 2.0 * peak + after;
    if curvature < 0.0 {
        ((before - after) / (2.0 * curvature)).clamp(-0.5, 0.5)
    } else {
        0.0
    }
}

/// Rows that the window of the structure tensor covers.
const WINDOW: usize = 5;

/// Returns the measure of every pixel; 0 in the outermost three.
fn responses(plane: &Plane) -> Vec<f32> {
    let (width, height) = (plane.width, plane.height);
    let mut responses = vec![0.0; width * height];
    if width < 8 || height < 8 {
        return responses;
    }
    // The horizontally weighted products of the last five rows: row y is kept at y % 5.
    let mut rings: [Vec<f32>; 3] = std::array::from_fn(|_| vec![0.0; width * WINDOW]);
    let mut products: [Vec<f32>; 3] = std::array::from_fn(|_| vec![0.0; width]);
    for y in 1..height - 1 {
        gradient_products(plane, y, &mut products);
        for (ring, product) in rings.iter_mut().zip(&products) {
            let slot = &mut ring[y % WINDOW * width..][..width];
            for (sum, window) in slot[2..].iter_mut().zip(product.windows(WINDOW)) {
                *sum = window[0] + window[4] + 4.0 * (window[1] + window[3]) + 6.0 * window[2];
            }
        }
        if y < WINDOW {
            continue;
        }
        let centre = y - 2;
        let target = &mut responses[centre * width..][..width];
        let [xx, xy, yy] = &rings;
        let slots: [usize; WINDOW] = std::array::from_fn(|idx| (centre + idx - 2) % WINDOW * width);
        let weigh = |ring: &[f32], x: usize| {
            ring[slots[0] + x]
                + ring[slots[4] + x]
                + 4.0 * (ring[slots[1] + x] + ring[slots[3] + x])
                + 6.0 * ring[slots[2] + x]
        };
        for (x, response) in target.iter_mut().enumerate().take(width - 3).skip(3) {
            let [xx, xy, yy] = [weigh(xx, x), weigh(xy, x), weigh(yy, x)];
            // The weights add up to 256 and the differences span two pixels.
            *response = (xx * yy - xy * xy) / (xx + yy + 1.0) * (1.0 / 1_024.0);
        }
    }
    responses
}

/// Writes the products of the differences of row `y`: xx, xy, yy.
fn gradient_products(plane: &Plane, y: usize, [xx, xy, yy]: &mut [Vec<f32>; 3]) {
    let n = plane.width - 2;
    let (above, row, below) = (plane.row(y - 1), plane.row(y), plane.row(y + 1));
    let (left, right) = (&row[..n], &row[2..][..n]);
    let (above, below) = (&above[1..][..n], &below[1..][..n]);
    let (xx, xy, yy) = (&mut xx[1..][..n], &mut xy[1..][..n], &mut yy[1..][..n]);
    for x in 0..n {
        let across = f32::from(i16::from(right[x]) - i16::from(left[x]));
        let down = f32::from(i16::from(below[x]) - i16::from(above[x]));
        xx[x] = across * across;
        xy[x] = across * down;
        yy[x] = down * down;
    }
}
