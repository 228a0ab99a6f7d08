//! Labelled pairs of a corpus: which are copies, which are strangers, and which are neither.

use likeness_engine::dedup::scorer::{LabelledPair, PictureKind, Scorer};
use serde::Serialize;

use super::soft;
use crate::corpus::Signed;

/// Most pairs of different pictures used, by what they show; beyond it a part is drawn. Photos are what
/// rates of one in a million are measured on, so that the others do not crowd them out.
const MAX_STRANGERS: [usize; 3] = [20_000_000, 500_000, 2_000_000];

/// More than the pairs that two pictures make with their copies, each once with the other's.
const MAX_PAIRS_OF_TWO: usize = 64;

/// A photo or sticker that copies are made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Original {
    pub(super) name: String,
    pub(super) kind: PictureKind,
    /// Numbers of the families it is of.
    pub(super) families: Vec<usize>,
}

impl Original {
    /// Whether it is a soft picture made of a photo.
    pub(super) fn is_soft(&self) -> bool {
        self.name.starts_with(soft::PREFIX)
    }
}

/// An original as it is, or a copy of it.
#[derive(Debug)]
pub(super) struct Picture {
    /// Number of its original.
    pub(super) original: usize,
    /// Name of the edit; `None` for the original as it is.
    pub(super) edit: Option<&'static str>,
    /// Numbers of other originals that it shows as well: a collage does.
    pub(super) shows: Vec<usize>,
    pub(super) signed: Signed,
}

/// What the strangers of a pair show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strangers {
    Photos,
    PhotoAndSticker,
    Stickers,
}

/// Pairs of strangers that were used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct StrangerCounts {
    pub(super) photos: usize,
    pub(super) photos_with_stickers: usize,
    pub(super) stickers: usize,
}

/// Two strangers that look alike, by the best score of one with a picture of the other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct HardPair {
    /// `photos`, of which one may be a sticker, or `stickers`.
    pub(super) kind: &'static str,
    /// Taken as it is.
    pub(super) first: String,
    pub(super) second: String,
    /// What was done to the second, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) edit: Option<&'static str>,
    pub(super) score: f32,
}

/// Originals with their copies.
#[derive(Debug)]
pub(super) struct Gallery {
    pub(super) originals: Vec<Original>,
    pub(super) pictures: Vec<Picture>,
}

impl Gallery {
    /// Pairs each original with its copies and with every picture of other originals that is of none of
    /// its families; two originals once. `seed` draws from what is too much.
    pub(super) fn label(&self, seed: u64) -> (Vec<LabelledPair>, StrangerCounts) {
        let mut n_strangers = [0_usize; 3];
        self.visit_strangers(|first, second| {
            n_strangers[self.strangers(first, second) as usize] += 1;
        });
        let mut pairs = self.copies();
        let mut n_used = [0_usize; 3];
        let mut n_seen = 0_u64;
        self.visit_strangers(|first, second| {
            let kind = self.strangers(first, second) as usize;
            // A stride would meet the same edits again and again.
            n_seen += 1;
            if mix(seed, n_seen) % n_strangers[kind] as u64 >= MAX_STRANGERS[kind] as u64 {
                return;
            }
            n_used[kind] += 1;
            pairs.push(self.pair(first, second, false));
        });
        let [photos, photos_with_stickers, stickers] = n_used;
        let counts = StrangerCounts {
            photos,
            photos_with_stickers,
            stickers,
        };
        (pairs, counts)
    }

    /// Returns the `count` pairs of originals of each kind that come nearest to being taken for copies,
    /// hardest first, photos before stickers.
    pub(super) fn hardest(&self, scorer: &Scorer, count: usize) -> Vec<HardPair> {
        if count == 0 {
            return Vec::new();
        }
        let room = count.saturating_mul(MAX_PAIRS_OF_TWO);
        let mut found = Vec::new();
        for wanted in [PictureKind::Photo, PictureKind::Sticker] {
            let mut hardest: Vec<(f32, &Picture, &Picture)> = Vec::new();
            let by_score = |hardest: &mut Vec<(f32, &Picture, &Picture)>| {
                hardest.sort_by(|a, b| b.0.total_cmp(&a.0));
            };
            self.visit_strangers(|first, second| {
                if self.kind_of(first, second) != wanted {
                    return;
                }
                let score = scorer.score(&first.signed.features(&second.signed));
                hardest.push((score, first, second));
                if hardest.len() >= room.saturating_mul(2) {
                    by_score(&mut hardest);
                    hardest.truncate(room);
                }
            });
            by_score(&mut hardest);
            let mut is_listed = std::collections::HashSet::new();
            let distinct = hardest.into_iter().filter(|(_, first, second)| {
                let (a, b) = (first.original, second.original);
                is_listed.insert((a.min(b), a.max(b)))
            });
            found.extend(distinct.take(count).map(|(score, first, second)| HardPair {
                kind: match wanted {
                    PictureKind::Photo => "photos",
                    PictureKind::Sticker => "stickers",
                },
                first: self.originals[first.original].name.clone(),
                second: self.originals[second.original].name.clone(),
                edit: second.edit,
                score,
            }));
        }
        found
    }

    fn copies(&self) -> Vec<LabelledPair> {
        let mut pairs = Vec::new();
        let mut original = None;
        for picture in &self.pictures {
            // Copies follow what they were made of.
            match (picture.edit, original) {
                (None, _) => original = Some(picture),
                (Some(_), Some(original)) => pairs.push(self.pair(original, picture, true)),
                (Some(_), None) => {}
            }
        }
        pairs
    }

    /// Visits each original with every picture of other originals that is of none of its families and does not show
    /// it; two originals once.
    pub(super) fn visit_strangers<'a>(&'a self, mut visit: impl FnMut(&'a Picture, &'a Picture)) {
        self.visit_stranger_numbers(|first, second| {
            visit(&self.pictures[first], &self.pictures[second]);
        });
    }

    /// As [`visit_strangers`](Self::visit_strangers), by the numbers of the pictures.
    pub(super) fn visit_stranger_numbers(&self, mut visit: impl FnMut(usize, usize)) {
        for (first_number, first) in self.pictures.iter().enumerate() {
            if first.edit.is_some() {
                continue;
            }
            for (second_number, second) in self.pictures.iter().enumerate() {
                if second.edit.is_none() && second.original <= first.original {
                    continue;
                }
                if second.original != first.original
                    && !second.shows.contains(&first.original)
                    && !self.are_family(first, second)
                {
                    visit(first_number, second_number);
                }
            }
        }
    }

    fn are_family(&self, first: &Picture, second: &Picture) -> bool {
        let families = &self.originals[second.original].families;
        let mut own = self.originals[first.original].families.iter();
        own.any(|family| families.contains(family))
    }

    fn strangers(&self, first: &Picture, second: &Picture) -> Strangers {
        let is_photo =
            |picture: &Picture| self.originals[picture.original].kind == PictureKind::Photo;
        match (is_photo(first), is_photo(second)) {
            (true, true) => Strangers::Photos,
            (false, false) => Strangers::Stickers,
            _ => Strangers::PhotoAndSticker,
        }
    }

    pub(super) fn kind_of(&self, first: &Picture, second: &Picture) -> PictureKind {
        match self.strangers(first, second) {
            Strangers::Photos | Strangers::PhotoAndSticker => PictureKind::Photo,
            Strangers::Stickers => PictureKind::Sticker,
        }
    }

    fn pair(&self, first: &Picture, second: &Picture, label: bool) -> LabelledPair {
        LabelledPair {
            features: first.signed.features(&second.signed),
            label,
            group: self.group(first.original),
            kind: self.kind_of(first, second),
        }
    }

    /// Returns what is held out together: a family, or a picture of none.
    pub(super) fn group(&self, original: usize) -> u64 {
        let n_originals = self.originals.len();
        match self.originals[original].families.first() {
            Some(family) => (n_originals + family) as u64,
            None => original as u64,
        }
    }
}

/// The finaliser of SplitMix64 over both: a number that depends on nothing else.
pub(super) fn mix(seed: u64, number: u64) -> u64 {
    let mut word = seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use likeness_engine::dedup::compare::Descriptors;
    use likeness_engine::dedup::scorer::Marks;
    use likeness_vision::PdqHash;

    use super::*;

    /// Pictures of the plane: an original of each direction, and a copy of the first.
    fn gallery(originals: &[(PictureKind, f32, &[usize])]) -> Gallery {
        let signed = |degrees: f32| Signed {
            close_ups: Vec::new(),
            descriptors: Descriptors {
                vector: vec![degrees.to_radians().cos(), degrees.to_radians().sin()],
                marks: Marks {
                    pdq: PdqHash([0; 32]),
                    pdq_quality: 100,
                    flatness: 0,
                    aspect: None,
                },
                views: Vec::new(),
            },
        };
        let mut pictures = Vec::new();
        for (original, (_, degrees, _)) in originals.iter().enumerate() {
            for edit in [None, Some("gray")]
                .into_iter()
                .take(if original == 0 { 2 } else { 1 })
            {
                let turned = if edit.is_some() { 1.0 } else { 0.0 };
                pictures.push(Picture {
                    original,
                    edit,
                    shows: Vec::new(),
                    signed: signed(degrees + turned),
                });
            }
        }
        let originals = originals.iter().enumerate();
        Gallery {
            originals: originals
                .map(|(number, (kind, _, families))| Original {
                    name: format!("set/{number}"),
                    kind: *kind,
                    families: families.to_vec(),
                })
                .collect(),
            pictures,
        }
    }

    const PHOTO: PictureKind = PictureKind::Photo;
    const STICKER: PictureKind = PictureKind::Sticker;

    #[test]
    fn every_pair_counts_once_and_by_what_it_shows() {
        let gallery = gallery(&[(PHOTO, 0.0, &[]), (PHOTO, 90.0, &[]), (STICKER, 45.0, &[])]);
        let (pairs, counts) = gallery.label(1);
        // 0–1, 1–0' are photos; 0–2, 1–2, 2–0' are both.
        let expected = StrangerCounts {
            photos: 2,
            photos_with_stickers: 3,
            stickers: 0,
        };
        assert_eq!(counts, expected);
        let copies: Vec<_> = pairs.iter().filter(|pair| pair.label).collect();
        assert_eq!((copies.len(), copies[0].group, pairs.len()), (1, 0, 6));
        assert!(copies[0].features.cosine > 0.99);
    }

    #[test]
    fn pairs_within_a_family_are_neither_copies_nor_strangers() {
        let gallery = gallery(&[
            (PHOTO, 0.0, &[1]),
            (PHOTO, 90.0, &[0, 1]),
            (PHOTO, 45.0, &[0]),
            (STICKER, 45.0, &[]),
        ]);
        let (pairs, counts) = gallery.label(1);
        // 0–2 and 2–0' are left of the photos.
        assert_eq!((counts.photos, counts.photos_with_stickers), (2, 4));
        assert_eq!(pairs.iter().filter(|pair| pair.label).count(), 1);
        // A family is held out together.
        let groups: Vec<u64> = (0..4).map(|original| gallery.group(original)).collect();
        assert_eq!(groups, [5, 4, 4, 3]);
    }

    #[test]
    fn a_collage_is_no_stranger_to_what_it_shows() {
        let mut gallery = gallery(&[(PHOTO, 0.0, &[]), (PHOTO, 90.0, &[]), (PHOTO, 45.0, &[])]);
        // 0' shows 2 beside 0.
        gallery.pictures[1].shows = vec![2];
        let (_, counts) = gallery.label(1);
        // 0–1, 0–2, 1–2, 1–0' are left.
        assert_eq!(counts.photos, 4);
    }

    #[test]
    fn the_hardest_strangers_are_named_once_each() {
        let gallery = gallery(&[
            (PHOTO, 0.0, &[]),
            (PHOTO, 60.0, &[]),
            (PHOTO, 140.0, &[]),
            (STICKER, 215.0, &[]),
            (STICKER, 220.0, &[]),
        ]);
        let hardest = gallery.hardest(&Scorer::regression(), 2);
        let shown: Vec<_> = hardest
            .iter()
            .map(|pair| {
                (
                    pair.kind,
                    pair.first.as_str(),
                    pair.second.as_str(),
                    pair.edit,
                )
            })
            .collect();
        let expected = [
            ("photos", "set/1", "set/0", Some("gray")),
            ("photos", "set/2", "set/3", None),
            ("stickers", "set/3", "set/4", None),
        ];
        assert_eq!(shown, expected);
        assert!(hardest[0].score > hardest[1].score);
        assert!(gallery.hardest(&Scorer::regression(), 0).is_empty());
    }

    #[test]
    fn numbers_drawn_spread_evenly() {
        let n_low = (0..10_000)
            .filter(|&number| mix(7, number) % 100 < 25)
            .count();
        assert!((2_300..2_700).contains(&n_low), "{n_low}");
    }
}
