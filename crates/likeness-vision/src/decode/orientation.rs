//! How a picture was stored, by EXIF tag 274 ("Orientation").

/// What has to be done to a stored picture to make it upright.
///
/// The names say the remedy, the numbers are those of EXIF 2.32 §4.6.4 and TIFF 6.0 §8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Orientation {
    /// Nothing: stored upright.
    #[default]
    Normal = 1,
    /// Left and right change places.
    MirrorHorizontal = 2,
    /// A half turn.
    Rotate180 = 3,
    /// Top and bottom change places.
    MirrorVertical = 4,
    /// Mirrored along the diagonal from the top left.
    Transpose = 5,
    /// A quarter turn clockwise: a phone held upright.
    Rotate90 = 6,
    /// Mirrored along the diagonal from the top right.
    Transverse = 7,
    /// A quarter turn counter-clockwise.
    Rotate270 = 8,
}

impl Orientation {
    /// All eight, by EXIF number.
    pub const ALL: [Self; 8] = [
        Self::Normal,
        Self::MirrorHorizontal,
        Self::Rotate180,
        Self::MirrorVertical,
        Self::Transpose,
        Self::Rotate90,
        Self::Transverse,
        Self::Rotate270,
    ];

    /// Returns the orientation of EXIF number `value`, or `None` outside 1 to 8.
    pub fn from_exif(value: u16) -> Option<Self> {
        let index = usize::from(value).checked_sub(1)?;
        Self::ALL.get(index).copied()
    }

    /// Returns the EXIF number, 1 to 8.
    pub fn to_exif(self) -> u8 {
        self as u8
    }

    /// Returns whether width and height change places on the way to upright.
    pub fn swaps_sides(self) -> bool {
        self.to_exif() >= 5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_there_and_back() {
        for value in 1..=8 {
            let orientation = Orientation::from_exif(value).unwrap();
            assert_eq!(u16::from(orientation.to_exif()), value);
        }
        assert_eq!(Orientation::from_exif(0), None);
        assert_eq!(Orientation::from_exif(9), None);
    }
}
