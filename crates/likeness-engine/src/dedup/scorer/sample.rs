//! Pairs that trees are fitted to.

use super::PairFeatures;

/// How many kinds of pairs there are.
pub const N_KINDS: usize = 5;

/// What a pair shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleKind {
    /// At least one photo.
    Photo,
    /// Two stickers.
    Sticker,
    /// At least one blot of colours that a photo was made into.
    Soft,
    /// Two pictures drawn over one template, or a copy of one.
    Drawn,
    /// A pair that a person has judged.
    Judged,
}

impl SampleKind {
    /// All kinds.
    pub const ALL: [Self; N_KINDS] = [
        Self::Photo,
        Self::Sticker,
        Self::Soft,
        Self::Drawn,
        Self::Judged,
    ];

    /// Returns its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Photo => "photos",
            Self::Sticker => "stickers",
            Self::Soft => "soft",
            Self::Drawn => "drawn",
            Self::Judged => "judged",
        }
    }
}

/// A pair whose truth is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// What is compared.
    pub features: PairFeatures,
    /// Whether the two are near-duplicates.
    pub label: bool,
    /// Pairs of one group are held out together.
    pub group: u64,
    /// What it shows.
    pub kind: SampleKind,
    /// Pairs that it stands for, if others like it were left out.
    pub weight: f64,
}
