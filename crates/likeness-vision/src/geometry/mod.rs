//! Geometric check: whether two pictures show the same places, and how one lies in the other.
//!
//! A descriptor of a whole picture fails where little of the picture is left: a tenth of it, or a
//! place on a page. Corners and what is around them are still there. [`LocalFeatures::extract`]
//! finds them, [`verify`] looks for a map that lays many of one picture on those of the other:
//!
//! ```text
//! RgbImage ─ pyramid ─ corners ─ descriptor ─▶ LocalFeatures ┐
//!                                  stored ──▶ LocalFeatures ─┴ matching ─ alignment ─ agreement ─▶ GeometricMatch
//! ```
//!
//! The pictures may be turned, cropped, shrunk to a quarter or so, squashed, covered in part, set
//! into others, mirrored, inverted. Not found: pictures with hardly a corner, and what was bent or
//! redrawn. Matched corners alone can deceive (letters of one font, bars of one program, patterns),
//! so the planes are laid on each other as well, over all that both show.
//!
//! Pure, bounded, without chance: the same pictures give the same answer.

mod agreement;
mod alignment;
mod corners;
mod descriptor;
mod difference;
mod features;
mod laid;
mod matching;
mod pyramid;
#[cfg(test)]
mod tests;

pub use alignment::Affine;
pub use difference::{CloseLook, CloseUp};
pub use features::{DecodeFeaturesError, LocalFeatures, MAX_ENCODED_LEN, MAX_KEYPOINTS};

use agreement::Halves;
use alignment::Side;
use descriptor::Descriptor;
use features::Keypoint;

/// What was done to the query before it was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// Nothing.
    #[default]
    Plain,
    /// Left and right exchanged.
    Mirrored,
    /// Brightness turned around.
    Inverted,
    /// Both.
    MirroredInverted,
}

impl Form {
    /// All four, the common ones first.
    pub const ALL: [Self; 4] = [
        Self::Plain,
        Self::Mirrored,
        Self::Inverted,
        Self::MirroredInverted,
    ];

    /// Tells whether left and right are exchanged.
    pub fn is_mirrored(self) -> bool {
        matches!(self, Self::Mirrored | Self::MirroredInverted)
    }

    /// Tells whether brightness is turned around.
    pub fn is_inverted(self) -> bool {
        matches!(self, Self::Inverted | Self::MirroredInverted)
    }
}

/// What [`verify`] found. All zero if no map explains [`MIN_INLIERS`] matches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GeometricMatch {
    /// The form of the query that fits best.
    pub form: Form,
    /// Keypoints of the query that look like one of the stored picture, in that form.
    pub matched: u32,
    /// Keypoints of the query that have a partner where one map says it should be, at distinct
    /// places of both pictures.
    pub inliers: u32,
    /// Share of the keypoints that the stored picture should have by that map and that it has.
    pub met: f32,
    /// How far the inliers are from lying on a line: their deviation across the direction in which
    /// they lie, as a share of the longer side, in the picture where it is larger; 0 to ½.
    pub spread: f32,
    /// Mean correlation of the two pictures, block by block, over what both show; −1 to 1.
    pub agreement: f32,
    /// Blocks that were compared.
    pub n_blocks: u32,
    /// Share of the query's area that the stored picture shows too, 0 to 1.
    pub query_overlap: f32,
    /// Share of the stored picture's area that the query shows too, 0 to 1.
    pub stored_overlap: f32,
    /// From pixels of the query's largest level, in `form`, to those of the stored picture's;
    /// `None` if nothing was found.
    pub map: Option<Affine>,
}

/// Inliers below which nothing is reported, and the planes are not looked at: chance gives as many.
pub const MIN_INLIERS: usize = 4;

/// Inliers from which on no other form is tried, given that the planes agree.
const CLEAR_INLIERS: u32 = 15;
/// Agreement that goes with [`CLEAR_INLIERS`].
const CLEAR_AGREEMENT: f32 = 0.4;

impl GeometricMatch {
    /// Returns how strongly this speaks for a copy, from 0; [`EVIDENCE_THRESHOLD`] separates.
    ///
    /// The inliers, each counting less if few of the expected ones were met, if the planes do not
    /// agree, if neither picture is mostly shown by the other (a line of text is in both), and if
    /// all lie on a line.
    pub fn evidence(&self) -> f32 {
        /// A spread from which on inliers count fully.
        const FULL_SPREAD: f32 = 0.04;
        self.inliers as f32
            * self.met
            * self.agreement.max(0.0)
            * self.query_overlap.max(self.stored_overlap)
            * (self.spread / FULL_SPREAD).min(1.0)
    }
}

/// Evidence that none of 426,360 pairs of strangers reached, photographs and their edited copies
/// (docs/adr/013-geometric-check.md); one in 700 reaches 0.75.
pub const EVIDENCE_THRESHOLD: f32 = 5.0;

/// Looks for `query` in `stored`, or the other way round, in each of `forms` until one clearly fits.
///
/// Returns the form with the highest inliers, each weighted by agreement.
pub fn verify(query: &LocalFeatures, stored: &LocalFeatures, forms: &[Form]) -> GeometricMatch {
    let first_words: Vec<u64> = stored.descriptors.iter().map(|words| words[0]).collect();
    let places: Vec<(f32, f32)> = stored.keypoints.iter().map(Keypoint::place).collect();
    let mut best = GeometricMatch::default();
    let mut best_weight = 0.0;
    for &form in forms {
        let descriptors: Vec<_> = query
            .descriptors
            .iter()
            .map(|descriptor| descriptor::in_form(*descriptor, form))
            .collect();
        let matches = matching::matches(&descriptors, &stored.descriptors, &first_words, &places);
        let found = judge((query, &descriptors), stored, form, &matches);
        let weight = found.inliers as f32 * found.agreement.max(0.01);
        if weight > best_weight {
            best = found;
            best_weight = weight;
        }
        if best.inliers >= CLEAR_INLIERS && best.agreement >= CLEAR_AGREEMENT {
            break;
        }
    }
    best
}

fn judge(
    (query, descriptors): (&LocalFeatures, &[Descriptor]),
    stored: &LocalFeatures,
    form: Form,
    matches: &[matching::Match],
) -> GeometricMatch {
    let query_side = Side {
        keypoints: &query.keypoints,
        descriptors,
        size: (f32::from(query.width), f32::from(query.height)),
    };
    let stored_side = Side {
        keypoints: &stored.keypoints,
        descriptors: &stored.descriptors,
        size: (f32::from(stored.width), f32::from(stored.height)),
    };
    let Some(alignment) = alignment::align(query_side, stored_side, form, matches) else {
        return GeometricMatch::default();
    };
    let agreement = agreement::compare(
        (&Halves::of(&query.plane), query_side.size),
        (&Halves::of(&stored.plane), stored_side.size),
        &alignment.map,
        form.is_mirrored(),
        form.is_inverted(),
    );
    let ((query_width, query_height), (stored_width, stored_height)) =
        (query_side.size, stored_side.size);
    let scale = alignment.map.scale();
    let area_ratio = query_width * query_height * scale * scale / (stored_width * stored_height);
    let (from, to): (Vec<_>, Vec<_>) = alignment.inliers.iter().copied().unzip();
    GeometricMatch {
        form,
        matched: matches.len() as u32,
        inliers: alignment.inliers.len() as u32,
        met: alignment.n_met as f32 / alignment.n_expected.max(1) as f32,
        spread: (deviation_across(&from) / query_width.max(query_height))
            .max(deviation_across(&to) / stored_width.max(stored_height)),
        agreement: agreement.correlation,
        n_blocks: agreement.n_blocks,
        query_overlap: agreement.overlap,
        stored_overlap: (agreement.overlap * area_ratio).min(1.0),
        map: Some(alignment.map),
    }
}

/// Returns the deviation of points across the direction in which they deviate most, in pixels.
fn deviation_across(points: &[(f32, f32)]) -> f32 {
    let n = points.len() as f32;
    if points.is_empty() {
        return 0.0;
    }
    let mean_x = points.iter().map(|(x, _)| x).sum::<f32>() / n;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f32>() / n;
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in points {
        let (dx, dy) = (x - mean_x, y - mean_y);
        xx += dx * dx / n;
        xy += dx * dy / n;
        yy += dy * dy / n;
    }
    let root = ((xx - yy) * (xx - yy) + 4.0 * xy * xy).sqrt();
    ((xx + yy - root) / 2.0).max(0.0).sqrt()
}
