//! Telling pictures from text and from the ground.

use super::RegionKind;
use super::cut::Block;
use super::plane::{Axis, Colour, Plane, Span, contrast, differs};

/// Share of an edge that stands out from the ground; less is not an edge.
pub(super) const MIN_CONTRAST: f32 = 0.4;
/// Lines within which an edge is looked for, since a block may begin with a few specks.
pub(super) const SNAP: usize = 4;

/// Levels off the ground, for edges and for areas. Areas are asked less of: shadows on a dark ground.
pub(super) const EDGE_TOLERANCE: u8 = 16;
const FILL_TOLERANCE: u8 = 12;

/// Mean length, in pixels of the copy, of what differs from the ground along rows and along columns,
/// whichever is shorter. Lines of text are lower than that.
const MIN_RUN: f32 = 7.0;
/// What a picture needs: shares of all its edges, of its only one (else skies would do), of the weakest,
/// and of its area that stand out.
const PICTURE_EDGES: f32 = 0.6;
const PICTURE_ONLY_EDGE: f32 = 0.85;
const PICTURE_WEAKEST_EDGE: f32 = 0.3;
const PICTURE_FILL: f32 = 0.5;
/// Share of its area that a figure fills.
const FIGURE_FILL: f32 = 0.25;

/// What may be a picture of its own.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) span: Span,
    pub(super) kind: RegionKind,
    pub(super) confidence: f32,
}

impl Found {
    pub(super) fn area(&self) -> usize {
        let [rows, columns] = &self.span;
        rows.len() * columns.len()
    }
}

/// Decides whether a block that cannot be cut looks like a picture.
pub(super) fn judge(plane: &Plane, block: &Block) -> Option<Found> {
    let grounds: Vec<Colour> = block.outside.iter().flatten().flatten().copied().collect();
    if (grounds.is_empty() && block.seam.is_none())
        || block.span.iter().any(|range| range.len() <= 2 * SNAP)
    {
        return None;
    }
    let mut span = block.span.clone();
    let mut edges = Vec::new();
    for axis in Axis::BOTH {
        let across = &block.span[axis.across() as usize];
        let range = &mut span[axis as usize];
        let (start, end) = (range.start, range.end);
        let share =
            |at: usize, ground| contrast(plane.line(axis, at, across), ground, EDGE_TOLERANCE);
        let [before, after] = block.outside[axis as usize];
        if let Some(ground) = before {
            let (inset, edge) = snap(|inset| share(start + inset, ground));
            range.start += inset;
            edges.push(edge);
        }
        if let Some(ground) = after {
            let (inset, edge) = snap(|inset| share(end - 1 - inset, ground));
            range.end -= inset;
            edges.push(edge);
        }
    }
    let ink = Axis::BOTH.map(|axis| Ink::count(plane, axis, &span, &grounds));
    if ink.iter().any(|ink| ink.run() < MIN_RUN) {
        return None;
    }
    if let Some(seam) = block.seam {
        edges.extend([seam; 2]);
    }
    let weakest = edges.iter().copied().fold(1.0, f32::min);
    let mean = edges.iter().sum::<f32>() / edges.len() as f32;
    let fill = ink[0].fill();
    let wanted = match edges.as_slice() {
        [_only] => PICTURE_ONLY_EDGE,
        _ => PICTURE_EDGES,
    };
    let has_edges = mean >= wanted && weakest >= PICTURE_WEAKEST_EDGE;
    let kind = if has_edges && fill >= PICTURE_FILL {
        match block.seam {
            Some(_) => RegionKind::Panel,
            None => RegionKind::Picture,
        }
    } else if block.in_company && fill >= FIGURE_FILL {
        RegionKind::Figure
    } else {
        return None;
    };
    Some(Found {
        span,
        kind,
        confidence: mean * fill,
    })
}

/// Returns by how many lines to move inwards so that an edge stands out, and the share of it that does.
fn snap(share: impl Fn(usize) -> f32) -> (usize, f32) {
    /// What a line further inwards has to gain over one further out.
    const GAIN: f32 = 0.1;
    let mut best = (0, 0.0);
    for inset in 0..SNAP {
        let share = share(inset);
        if share > best.1 + GAIN {
            best = (inset, share);
        }
    }
    if best.1 >= MIN_CONTRAST {
        best
    } else {
        (0, best.1)
    }
}

/// Pixels off the ground, on every other line of a block.
#[derive(Debug, Clone, Copy, Default)]
struct Ink {
    n_pixels: usize,
    n_ink: usize,
    /// Stretches of ink without a gap.
    n_runs: usize,
}

impl Ink {
    fn count(plane: &Plane, axis: Axis, span: &Span, grounds: &[Colour]) -> Self {
        let mut count = Self::default();
        for at in span[axis as usize].clone().step_by(2) {
            let mut was_ink = false;
            for pixel in plane.line(axis, at, &span[axis.across() as usize]) {
                let is_ink = grounds
                    .iter()
                    .all(|ground| differs(*pixel, *ground, FILL_TOLERANCE));
                count.n_pixels += 1;
                count.n_ink += usize::from(is_ink);
                count.n_runs += usize::from(is_ink && !was_ink);
                was_ink = is_ink;
            }
        }
        count
    }

    fn fill(&self) -> f32 {
        self.n_ink as f32 / self.n_pixels.max(1) as f32
    }

    fn run(&self) -> f32 {
        self.n_ink as f32 / self.n_runs.max(1) as f32
    }
}
