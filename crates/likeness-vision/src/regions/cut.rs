//! Cutting a picture into blocks, at plain lines and at seams.

use std::ops::Range;

use super::judge::{EDGE_TOLERANCE, Found, MIN_CONTRAST, SNAP, judge};
use super::plane::{Axis, Colour, Plane, Span, contrast, differs};
use super::{RegionKind, RegionLimits};

/// Cuts one inside the other at most; what is left then is judged as it is.
const MAX_DEPTH: usize = 8;

/// Shortest side of a block, in pixels of the copy: less is a line of text.
const MIN_SIDE: usize = 20;

/// Levels between two plain lines, at most two apart, that a soft gradient does not reach.
const JUMP: u8 = 24;

/// Levels between the two sides of a pixel on a seam.
const SEAM_STEP: u8 = 24;
/// Share of a seam that steps, at least, and by how much it exceeds the lines beside it.
///
/// Measured: one photograph in 30 has such a line (a level horizon, the edge of a wall), and 96 % of
/// pairs of photographs put side by side.
const SEAM_SHARE: f32 = 0.6;
const SEAM_EXCESS: f32 = 0.4;
/// What counts as beside, in pixels of the copy from the seam.
const SEAM_BESIDE: Range<usize> = 3..7;
/// No seam is nearer to the block's end than one part in so many.
const SEAM_MARGIN_PARTS: usize = 7;

/// A part of the picture with what is around it.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) span: Span,
    /// Colour before and after, by axis; `None` at the end of the picture and at a seam.
    pub(super) outside: [[Option<Colour>; 2]; 2],
    /// Whether something else stands beside it.
    pub(super) in_company: bool,
    /// Share of the weakest seam around it that steps, if there is one.
    pub(super) seam: Option<f32>,
}

impl Block {
    /// Returns the part of this block that `part` says.
    fn within(&self, axis: Axis, part: Part) -> Self {
        let mut inner = self.clone();
        inner.span[axis as usize] = part.range;
        inner.outside[axis as usize] = part.outside;
        inner
    }
}

/// A stretch along one axis, with the colours before and after.
#[derive(Debug, Clone)]
struct Part {
    range: Range<usize>,
    outside: [Option<Colour>; 2],
}

/// Returns what may be pictures of their own, in no useful order.
pub(super) fn find(plane: &Plane, limits: &RegionLimits) -> Vec<Found> {
    let mut search = Search {
        plane,
        limits,
        n_pixels: plane.span().iter().map(Range::len).product::<usize>() as f32,
        found: Vec::new(),
    };
    let whole = Block {
        span: plane.span(),
        outside: Default::default(),
        in_company: false,
        seam: None,
    };
    search.visit(&whole, 0);
    search.found
}

struct Search<'a> {
    plane: &'a Plane,
    limits: &'a RegionLimits,
    n_pixels: f32,
    found: Vec<Found>,
}

impl Search<'_> {
    fn visit(&mut self, block: &Block, depth: usize) {
        if !self.is_large(&block.span) {
            return;
        }
        if depth == MAX_DEPTH {
            self.judge(block);
            return;
        }
        for axis in Axis::BOTH {
            let parts = cut(self.plane, block, axis);
            if let [only] = parts.as_slice()
                && only.range == block.span[axis as usize]
            {
                continue;
            }
            self.visit_parts(block, axis, parts, depth);
            return;
        }
        let n_before = self.found.len();
        if let Some((axis, at, share)) = seam(self.plane, block) {
            let range = &block.span[axis as usize];
            let [before, after] = block.outside[axis as usize];
            for (range, outside) in [
                (range.start..at, [before, None]),
                (at..range.end, [None, after]),
            ] {
                let mut panel = block.within(axis, Part { range, outside });
                panel.seam = Some(block.seam.map_or(share, |seam| seam.min(share)));
                self.visit(&panel, depth + 1);
            }
        }
        // A picture may as well have a straight line in it; a panel of panels is a collage.
        if block.seam.is_none() || self.found.len() == n_before {
            self.judge(block);
        }
    }

    fn visit_parts(&mut self, block: &Block, axis: Axis, parts: Vec<Part>, depth: usize) {
        let n_before = self.found.len();
        // From the first to the last: one picture with a plain stripe, if its parts are no pictures.
        let whole = match parts.as_slice() {
            [first, .., last] => Some(Part {
                range: first.range.start..last.range.end,
                outside: [first.outside[0], last.outside[1]],
            }),
            _ => None,
        };
        for part in parts {
            let mut inner = block.within(axis, part);
            inner.in_company |= whole.is_some();
            self.visit(&inner, depth + 1);
        }
        let are_figures = |found: &[Found]| {
            let mut kinds = found.iter().map(|found| found.kind);
            kinds.all(|kind| kind == RegionKind::Figure)
        };
        if let Some(whole) = whole
            && are_figures(&self.found[n_before..])
        {
            let parts = self.found.split_off(n_before);
            self.judge(&block.within(axis, whole));
            if are_figures(&self.found[n_before..]) && !parts.is_empty() {
                self.found.truncate(n_before);
                self.found.extend(parts);
            }
        }
    }

    fn judge(&mut self, block: &Block) {
        let found = judge(self.plane, block).filter(|found| {
            let is_whole = found.area() as f32 > self.limits.max_area * self.n_pixels;
            self.is_large(&found.span) && !is_whole
        });
        self.found.extend(found);
    }

    fn is_large(&self, [rows, columns]: &Span) -> bool {
        let area = (rows.len() * columns.len()) as f32;
        rows.len().min(columns.len()) >= MIN_SIDE && area >= self.limits.min_area * self.n_pixels
    }
}

/// Returns what lies between the plain lines of a block; nothing if all are plain.
fn cut(plane: &Plane, block: &Block, axis: Axis) -> Vec<Part> {
    let range = &block.span[axis as usize];
    let across = &block.span[axis.across() as usize];
    let [before, after] = block.outside[axis as usize];
    let mut lines: Vec<Option<Colour>> = range
        .clone()
        .map(|at| plane.plain(axis, at, across))
        .collect();
    let stretches = not_plain(&lines);
    let stands_out = |at: usize, ground| {
        contrast(plane.line(axis, at, across), ground, EDGE_TOLERANCE) >= MIN_CONTRAST
    };
    let starts: Vec<_> = stretches
        .iter()
        .map(|stretch| {
            start_of(&lines, before, stretch, |idx, ground| {
                stands_out(range.start + idx, ground)
            })
        })
        .collect();
    // Ends are starts seen from behind.
    lines.reverse();
    let n_lines = lines.len();
    let ends = stretches.iter().map(|stretch| {
        let mirrored = n_lines - stretch.end..n_lines - stretch.start;
        let (end, colour) = start_of(&lines, after, &mirrored, |idx, ground| {
            stands_out(range.end - 1 - idx, ground)
        });
        (n_lines - end, colour)
    });
    starts
        .iter()
        .zip(ends)
        .map(|(&(start, before), (end, after))| Part {
            range: range.start + start..range.start + end,
            outside: [before, after],
        })
        .collect()
}

/// Returns the stretches of lines that have no colour.
fn not_plain(lines: &[Option<Colour>]) -> Vec<Range<usize>> {
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for (idx, line) in lines.iter().enumerate() {
        match stretches.last_mut() {
            _ if line.is_some() => {}
            Some(last) if last.end == idx => last.end += 1,
            _ => stretches.push(idx..idx + 1),
        }
    }
    stretches
}

/// Returns where a stretch of lines really starts, and the colour before it.
///
/// Plain lines before it may be the picture's own: a sky. Then its first lines hardly differ from them,
/// and the colour jumps where they begin, or never before the end of the picture.
fn start_of(
    lines: &[Option<Colour>],
    outside: Option<Colour>,
    stretch: &Range<usize>,
    stands_out: impl Fn(usize, Colour) -> bool,
) -> (usize, Option<Colour>) {
    let Some(ground) = stretch
        .start
        .checked_sub(1)
        .and_then(|before| lines[before])
    else {
        return (stretch.start, outside);
    };
    let near = stretch.start..stretch.end.min(stretch.start + SNAP);
    if near.into_iter().any(|idx| stands_out(idx, ground)) {
        return (stretch.start, Some(ground));
    }
    for start in (0..stretch.start).rev() {
        let Some(here) = lines[start] else { break };
        // Two lines, since shrinking blends the pixels of an edge.
        for step in [1, 2] {
            let beyond = start
                .checked_sub(step)
                .map_or(outside, |before| lines[before]);
            if beyond.is_some_and(|beyond| differs(beyond, here, JUMP)) {
                return (start, beyond);
            }
        }
        if start == 0 && outside.is_none() {
            return (0, None);
        }
    }
    (stretch.start, Some(ground))
}

/// Returns the clearest line across the block at which one picture ends and another begins: its axis,
/// the first line after it, and the share of it that steps.
fn seam(plane: &Plane, block: &Block) -> Option<(Axis, usize, f32)> {
    let mut best: Option<(f32, Axis, usize, f32)> = None;
    for axis in Axis::BOTH {
        let range = &block.span[axis as usize];
        let across = &block.span[axis.across() as usize];
        let margin = (range.len() / SEAM_MARGIN_PARTS).max(SEAM_BESIDE.end + 1);
        if range.len() <= 2 * margin {
            continue;
        }
        // Of the pixels before and after each line: the line itself may be a blend of both.
        let shares: Vec<f32> = (range.start + 1..range.end - 1)
            .map(|at| {
                let before = plane.line(axis, at - 1, across);
                let after = plane.line(axis, at + 1, across);
                let pairs = before.iter().zip(after);
                let steps = pairs.filter(|(a, b)| differs(**a, **b, SEAM_STEP));
                steps.count() as f32 / across.len() as f32
            })
            .collect();
        for idx in margin..shares.len() - margin {
            let share = shares[idx];
            let beside = SEAM_BESIDE.flat_map(|off| [shares[idx - off], shares[idx + off]]);
            let excess = share - beside.fold(0.0, f32::max);
            let is_seam = share >= SEAM_SHARE && excess >= SEAM_EXCESS;
            if is_seam && best.is_none_or(|(least, ..)| excess > least) {
                best = Some((excess, axis, range.start + 1 + idx, share));
            }
        }
    }
    best.map(|(_, axis, at, share)| (axis, at, share))
}
