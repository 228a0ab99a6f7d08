//! Drawn hard negatives and copies of them, to learn what tells a copy from another text over the same template.

use bytes::Bytes;
use likeness_vision::RgbImage;
use likeness_vision::edits::{Edit, Negative};

use super::pairs::mix;

/// Members of a family.
const MEMBERS: u32 = 4;
/// Copies of each member, by edits that leave what is written on it.
const COPIES: u64 = 5;

/// Edits that leave a page of text or a chart what it is.
const EDITS: [Edit; 20] = [
    Edit::Resize25,
    Edit::Jpeg20,
    Edit::Crop70,
    Edit::Mirror,
    Edit::Rotate10,
    Edit::Rotate90,
    Edit::Caption,
    Edit::Stickers,
    Edit::Colour,
    Edit::Gray,
    Edit::Blur,
    Edit::Border10,
    Edit::Screenshot,
    Edit::Squash,
    Edit::Strong,
    Edit::Noise,
    Edit::Jpeg5,
    Edit::PrintScan,
    Edit::Perspective,
    Edit::Rotate45,
];
/// Edits that leave a flat ground with one form on it what it is.
const FLAT_EDITS: [Edit; 6] = [
    Edit::Resize25,
    Edit::Jpeg20,
    Edit::Blur,
    Edit::Squash,
    Edit::Noise,
    Edit::Jpeg5,
];

/// A drawn picture, or a copy of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) kind: Negative,
    pub(super) family: u32,
    pub(super) member: u32,
    pub(super) edit: Option<Edit>,
}

impl Drawn {
    /// Returns `n_families` of every kind, each member followed by its copies.
    pub(super) fn all(n_families: u32, seed: u64) -> Vec<Self> {
        let mut all = Vec::new();
        for kind in Negative::ALL {
            let edits: &[Edit] = match kind {
                Negative::Flat => &FLAT_EDITS,
                _ => &EDITS,
            };
            for family in 0..n_families {
                for member in 0..MEMBERS {
                    let drawn = Self {
                        kind,
                        family,
                        member,
                        edit: None,
                    };
                    all.push(drawn);
                    let first = mix(seed, u64::from(family * MEMBERS + member));
                    // 7 has no factor in common with either number of edits: no edit comes twice.
                    all.extend((0..COPIES).map(|copy| Self {
                        edit: Some(
                            edits[((first % 1_000 + 7 * copy) % edits.len() as u64) as usize],
                        ),
                        ..drawn
                    }));
                }
            }
        }
        all
    }

    /// Returns the file.
    pub(super) fn bytes(&self, seed: u64) -> Bytes {
        let seed = mix(seed, 0x0064_7261_776e);
        match self.edit {
            None => self.kind.file(self.family, self.member, seed).into(),
            Some(edit) => {
                let image = self.kind.pixels(self.family, self.member, seed);
                let others: [&RgbImage; 0] = [];
                edit.apply(&image, &others, seed).into()
            }
        }
    }

    /// Tells whether the two are drawn over one template.
    pub(super) fn is_family_of(&self, other: &Self) -> bool {
        (self.kind, self.family) == (other.kind, other.family)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_member_has_copies_by_different_edits() {
        let all = Drawn::all(2, 1);
        assert_eq!(all.len(), 5 * 2 * 4 * 6);
        for member in all.chunks_exact(6) {
            let edits: HashSet<_> = member.iter().map(|drawn| drawn.edit).collect();
            assert_eq!(edits.len(), 6, "{member:?}");
            assert!(member.iter().all(|drawn| drawn.is_family_of(&member[0])));
        }
        assert!(!all[0].is_family_of(&all[24]));
    }
}
