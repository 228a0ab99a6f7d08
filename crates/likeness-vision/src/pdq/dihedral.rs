//! Nearest of the sixteen forms of a picture: eight turned and mirrored ones, and their negatives.

use super::PdqHash;
use crate::Orientation;

/// How far a hash is from the nearest form of a picture; see [`nearest_form`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NearestForm {
    /// Bits that differ, 0 to 128: a hash is never further from all sixteen forms.
    pub distance: u32,
    /// What turns the picture into that form.
    pub orientation: Orientation,
    /// Whether the form is the negative.
    pub is_inverted: bool,
}

/// Returns the form of a picture that is nearest to `other`; of several, the first in the order of
/// [`Orientation::ALL`], and of a form and its negative the form.
///
/// `forms` are the picture's hashes by [`pdq_dihedral`](super::pdq_dihedral). A negative has every
/// frequency with the opposite sign, so its hash is the complement (but for values equal to the
/// median) and its distance is what is left of 256: sixteen forms cost eight comparisons.
///
/// Sixteen forms of strangers come nearer than one: ask for a smaller distance than of a plain hash.
pub fn nearest_form(forms: &[PdqHash; 8], other: &PdqHash) -> NearestForm {
    let mut nearest = NearestForm {
        distance: u32::MAX,
        orientation: Orientation::Normal,
        is_inverted: false,
    };
    for (orientation, form) in Orientation::ALL.into_iter().zip(forms) {
        let distance = form.distance(other);
        for (distance, is_inverted) in [(distance, false), (256 - distance, true)] {
            if distance < nearest.distance {
                nearest = NearestForm {
                    distance,
                    orientation,
                    is_inverted,
                };
            }
        }
    }
    nearest
}
