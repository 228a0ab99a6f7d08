//! The registry of pair features: what a scorer may read of two pictures, by name.
//!
//! A scorer's file names the features that it reads. A name stays what it is for ever: another unit or another
//! definition is another name. A feature that nothing reads any more can be retired: it is still computed for old
//! files, and a new scorer that names it is refused. [`readers`] says which scorers stand in the way.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::scorer::{PairFeatures, Scorer};

/// Whether a score may go down when a feature goes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// More of it never lowers a score.
    Rises,
    /// More of it never raises a score.
    Falls,
    /// Either.
    Free,
}

/// When a feature is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// For every pair, from rows: well under a microsecond.
    Rows,
    /// After a close look at the pixels of both: milliseconds, for pairs in doubt only.
    Look,
}

/// A feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Feature {
    /// Its name in files of scorers.
    pub name: &'static str,
    /// What it measures, and in which range.
    pub unit: &'static str,
    /// Module that computes it.
    pub owner: &'static str,
    /// Version of the built-in scorer that it came with.
    pub since: u32,
    /// When it is known.
    pub tier: Tier,
    /// Whether a score may go down when it goes up.
    pub direction: Direction,
    /// Whether new scorers are refused it.
    pub retired: bool,
}

const fn feature(
    name: &'static str,
    unit: &'static str,
    owner: &'static str,
    since: u32,
    tier: Tier,
    direction: Direction,
) -> Feature {
    Feature {
        name,
        unit,
        owner,
        since,
        tier,
        direction,
        retired: false,
    }
}

/// How many features there are.
pub const N_FEATURES: usize = 20;

/// All features, in the order of [`values`].
pub const FEATURES: [Feature; N_FEATURES] = [
    feature(
        "cosine",
        "cosine of the embeddings, less the margin of a view, -1 to 1",
        "dedup::compare",
        1,
        Tier::Rows,
        Direction::Rises,
    ),
    feature(
        "normalised_cosine",
        "cosine less the mean of both pictures' similarities to the background set, -3 to 3",
        "dedup::compare",
        4,
        Tier::Rows,
        Direction::Rises,
    ),
    feature(
        "pdq_distance",
        "bits, of 256, in which the PDQ hashes differ",
        "vision::pdq",
        1,
        Tier::Rows,
        Direction::Falls,
    ),
    feature(
        "pdq_quality",
        "the lower of the two PDQ qualities, 0 to 100",
        "vision::pdq",
        1,
        Tier::Rows,
        Direction::Free,
    ),
    feature(
        "flat",
        "flatness of the less flat picture, percent of its border, 0 to 100",
        "dedup::flatness",
        2,
        Tier::Rows,
        Direction::Falls,
    ),
    feature(
        "view",
        "1 if a view was compared, 0 if wholes were",
        "vision::views",
        4,
        Tier::Rows,
        Direction::Free,
    ),
    feature(
        "pdq_dihedral_distance",
        "bits, of 256, in which the PDQ hashes differ after the best of eight turns and mirrors",
        "vision::pdq",
        4,
        Tier::Rows,
        Direction::Falls,
    ),
    feature(
        "aspect",
        "quarters of an octave between the ratios of the sides, a quarter turn allowed, from 0",
        "dedup::scorer",
        4,
        Tier::Rows,
        Direction::Falls,
    ),
    feature(
        "differing",
        "share of the common structure that differs after alignment, 0 to 1",
        "vision::geometry::difference",
        4,
        Tier::Look,
        Direction::Falls,
    ),
    feature(
        "block_correlation",
        "mean correlation of blocks after alignment, -1 to 1",
        "vision::geometry::difference",
        4,
        Tier::Look,
        Direction::Rises,
    ),
    feature(
        "blocks",
        "blocks with structure that both show, 0 to 256",
        "vision::geometry::difference",
        4,
        Tier::Look,
        Direction::Free,
    ),
    feature(
        "plain",
        "share of the common blocks without structure, 0 to 1",
        "vision::geometry::difference",
        4,
        Tier::Look,
        Direction::Free,
    ),
    feature(
        "overlap",
        "share of the picture of which more is shown that both show, 0 to 1",
        "vision::geometry::difference",
        4,
        Tier::Look,
        Direction::Free,
    ),
    feature(
        "colour_difference",
        "greatest difference of the channels' means, 0 to 255",
        "vision::geometry::difference",
        4,
        Tier::Look,
        Direction::Free,
    ),
    feature(
        "inliers",
        "keypoints that one map lays on each other, 0 to 512",
        "vision::geometry",
        4,
        Tier::Look,
        Direction::Rises,
    ),
    feature(
        "met",
        "share of the expected keypoints that are there, 0 to 1",
        "vision::geometry",
        4,
        Tier::Look,
        Direction::Rises,
    ),
    feature(
        "plane_agreement",
        "mean correlation of small blocks under the keypoints' map, -1 to 1",
        "vision::geometry",
        4,
        Tier::Look,
        Direction::Rises,
    ),
    feature(
        "evidence",
        "what the keypoints' map is worth, from 0",
        "vision::geometry",
        4,
        Tier::Look,
        Direction::Rises,
    ),
    feature(
        "keypoints",
        "keypoints of the picture that has fewer, met or not, 0 to 512",
        "vision::geometry",
        4,
        Tier::Look,
        Direction::Free,
    ),
    feature(
        "structure",
        "mean deviation of brightness in the blocks that were compared, 0 to 24",
        "vision::geometry::difference",
        4,
        Tier::Look,
        Direction::Free,
    ),
];

/// Returns the number of the feature with this name.
pub fn index_of(name: &str) -> Option<usize> {
    FEATURES.iter().position(|feature| feature.name == name)
}

/// Returns the values of all features, in the order of [`FEATURES`]; those of a look that was not taken are no
/// numbers.
pub fn values(pair: &PairFeatures) -> [f32; N_FEATURES] {
    let cosine = if pair.cosine.is_nan() {
        -1.0
    } else {
        pair.cosine.clamp(-1.0, 1.0)
    };
    let mut values = [f32::NAN; N_FEATURES];
    values[..8].copy_from_slice(&[
        cosine,
        cosine - pair.background,
        f32::from(pair.pdq_distance),
        f32::from(pair.pdq_quality_min),
        f32::from(pair.flat_min.min(100)),
        f32::from(u8::from(pair.is_view)),
        f32::from(pair.pdq_dihedral),
        f32::from(pair.aspect),
    ]);
    if let Some(look) = &pair.look {
        values[8..].copy_from_slice(&[
            look.differing,
            look.block_correlation,
            look.blocks,
            look.plain,
            look.overlap,
            look.colour_difference,
            look.inliers,
            look.met,
            look.plane_agreement,
            look.evidence,
            look.keypoints,
            look.structure,
        ]);
    }
    values
}

/// Returns the ids of those of `scorers` that read the feature, in their order.
pub fn readers<'a>(name: &str, scorers: impl IntoIterator<Item = &'a Scorer>) -> Vec<String> {
    let mut ids: Vec<String> = scorers
        .into_iter()
        .filter(|scorer| scorer.reads().contains(&name))
        .map(Scorer::id)
        .collect();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_the_tiers_are_in_the_order_of_the_values() {
        let names: HashSet<_> = FEATURES.iter().map(|feature| feature.name).collect();
        assert_eq!(names.len(), N_FEATURES);
        let plain = values(&PairFeatures::default());
        for (feature, value) in FEATURES.iter().zip(plain) {
            assert_eq!(
                value.is_nan(),
                feature.tier == Tier::Look,
                "{}",
                feature.name
            );
            assert_eq!(
                index_of(feature.name).map(|idx| FEATURES[idx].name),
                Some(feature.name)
            );
        }
        assert_eq!(index_of("colour"), None);
    }

    #[test]
    fn looks_of_rows_that_do_not_count_keypoints_have_none() {
        let old = r#"{"differing":0.5,"block_correlation":0.25,"blocks":9,"plain":0,"overlap":1,
            "colour_difference":3,"inliers":2,"met":0.125,"plane_agreement":0.75,"evidence":0.5}"#;
        let mut look: crate::dedup::scorer::LookFeatures = serde_json::from_str(old).unwrap();
        let value = |look, name: &str| {
            let pair = PairFeatures {
                look: Some(look),
                ..PairFeatures::default()
            };
            values(&pair)[index_of(name).unwrap()]
        };
        assert_eq!((value(look, "met"), value(look, "keypoints")), (0.125, 0.0));
        (look.keypoints, look.structure) = (40.0, 7.5);
        let newer = (value(look, "keypoints"), value(look, "structure"));
        assert_eq!(newer, (40.0, 7.5));
        assert_eq!(value(look, "evidence"), 0.5);
    }

    #[test]
    fn readers_of_a_feature_are_the_scorers_that_name_it() {
        let builtin = Scorer::builtin();
        assert_eq!(readers("cosine", [&builtin]), [builtin.id()]);
        assert_eq!(readers("no_such_feature", [&builtin]), [""; 0]);
    }
}
