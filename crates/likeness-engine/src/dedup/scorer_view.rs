//! What people are shown of the scorer: its threshold, what it reads, and how well it did.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Dedup;
use super::features::{FEATURES, Tier};
use super::scorer::{Grey, Manifest, Scorer};

/// The scorer that decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScorerView {
    /// Name and version.
    pub id: String,
    /// Score that a pair needs: configured, or the scorer's own.
    pub threshold: f32,
    /// The scorer's own.
    pub own_threshold: f32,
    /// Cosine under which no pair can score enough.
    pub cosine_floor: f32,
    /// Names of the features that it reads.
    pub reads: Vec<FeatureView>,
    /// First scores between which pairs are looked at closely; absent if none are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grey: Option<Grey>,
    /// Most heads that are looked at closely for an image.
    pub max_looks: usize,
    /// What it was made from, and how well it did; absent for scorers of before it was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Manifest>,
}

/// A feature that the scorer reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FeatureView {
    /// Its name.
    pub name: String,
    /// What it measures, and in which range.
    pub unit: String,
    /// When it is known.
    pub tier: Tier,
}

impl Dedup {
    /// Returns the scorer that decides, for people.
    pub fn scorer_view(&self) -> ScorerView {
        let model = self.scorer.model();
        let cascade = self.scorer.scorer().and_then(Scorer::cascade);
        let max_looks = self.scorer.max_looks();
        let reads = model.reads();
        let of_registry = FEATURES
            .iter()
            .filter(|feature| reads.contains(&feature.name));
        ScorerView {
            id: model.id(),
            threshold: self.scorer.threshold(),
            own_threshold: model.threshold(),
            cosine_floor: self.scorer.floor(),
            reads: of_registry
                .map(|feature| FeatureView {
                    name: feature.name.to_owned(),
                    unit: feature.unit.to_owned(),
                    tier: feature.tier,
                })
                .collect(),
            grey: cascade.filter(|_| max_looks > 0).map(|spec| spec.grey),
            max_looks,
            manifest: cascade.map(|spec| spec.manifest.clone()),
        }
    }
}
