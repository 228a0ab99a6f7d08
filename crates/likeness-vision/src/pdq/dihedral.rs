//! Nearest of the sixteen forms of a picture: eight turned and mirrored ones, and their negatives.

use super::{FREQUENCIES, PdqHash};
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

impl PdqHash {
    /// Returns what the hashes of the eight turned and mirrored forms of the picture are but for a few bits, in the
    /// order of [`Orientation::ALL`]: as [`pdq_dihedral`](super::pdq_dihedral), from the hash alone.
    ///
    /// A mirror changes the sign of every other frequency, a quarter turn exchanges rows and columns. The bit of a
    /// frequency tells on which side of the median it is, and the median of frequencies is next to zero: so the sign
    /// that changes is a bit that changes. What is between the median and zero comes out wrong, some bits of 256. These are exact operations on bits: turning one of two
    /// hashes is as far from the other as turning the other back.
    pub fn turned(&self) -> [Self; 8] {
        let rows = self.rows();
        let mut columns = [0_u16; FREQUENCIES];
        for (y, row) in rows.iter().enumerate() {
            for (x, column) in columns.iter_mut().enumerate() {
                *column |= (row >> x & 1) << y;
            }
        }
        Orientation::ALL.map(|orientation| {
            let source = if orientation.swaps_sides() {
                columns
            } else {
                rows
            };
            let (mirror_x, mirror_y) = mirrors(orientation);
            // Index 0 is frequency 1, the first odd one.
            let mut turned = source.map(|row| if mirror_x { row ^ 0x5555 } else { row });
            if mirror_y {
                turned.iter_mut().step_by(2).for_each(|row| *row = !*row);
            }
            Self::of_rows(&turned)
        })
    }

    /// Returns the least number of bits, 0 to 256, in which one of the eight turned and mirrored forms of the picture
    /// differs from the other; see [`turned`](Self::turned). Which is first does not matter.
    pub fn dihedral_distance(&self, other: &Self) -> u32 {
        let distances = self.turned().map(|form| form.distance(other));
        distances.into_iter().min().unwrap_or(256)
    }

    /// Returns the bits of rows of frequencies, the lowest first, and of each the lowest first.
    fn rows(&self) -> [u16; FREQUENCIES] {
        let (pairs, _) = self.0.as_chunks::<2>();
        // Bit 0 is the last of the number that the bytes spell.
        std::array::from_fn(|row| u16::from_be_bytes(pairs[FREQUENCIES - 1 - row]))
    }

    fn of_rows(rows: &[u16; FREQUENCIES]) -> Self {
        let mut hash = [0; 32];
        let (pairs, _) = hash.as_chunks_mut::<2>();
        for (row, pair) in rows.iter().rev().zip(pairs) {
            *pair = row.to_be_bytes();
        }
        Self(hash)
    }
}

/// Tells how a picture is mirrored, after rows and columns are exchanged if they are: left and right, top and bottom.
pub(super) fn mirrors(orientation: Orientation) -> (bool, bool) {
    use Orientation::{
        MirrorHorizontal, MirrorVertical, Normal, Rotate90, Rotate180, Rotate270, Transpose,
        Transverse,
    };
    match orientation {
        Normal | Transpose => (false, false),
        MirrorHorizontal | Rotate90 => (true, false),
        Rotate180 | Transverse => (true, true),
        MirrorVertical | Rotate270 => (false, true),
    }
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
