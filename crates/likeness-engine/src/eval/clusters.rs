//! How well a partition agrees with the true one.
//!
//! *By pairs*: precision is the share of pairs put together that belong together, recall the share of
//! pairs that belong together and were. Large clusters count by their square. *B-cubed* (Bagga & Baldwin,
//! 1998) counts by image: for each image, the share of its cluster that truly belongs with it, itself
//! included, and the share of its true companions that are there; then the mean.

use std::collections::HashMap;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

use super::interval::Share;

/// Agreement of a partition with the truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterQuality {
    /// Images in both partitions.
    pub images: u64,
    /// Clusters found.
    pub clusters: u64,
    /// Clusters that there truly are.
    pub true_clusters: u64,
    /// Images of the largest cluster found.
    pub largest_cluster: u64,
    /// Pairs put together that belong together, of those put together.
    pub pair_precision: Share,
    /// Pairs put together that belong together, of those that belong together.
    pub pair_recall: Share,
    /// Harmonic mean of the two; `None` if one of them is.
    pub pair_f1: Option<f64>,
    /// Mean share of an image's cluster that belongs with it; `None` without images.
    pub bcubed_precision: Option<f64>,
    /// Mean share of an image's true companions in its cluster.
    pub bcubed_recall: Option<f64>,
    /// Harmonic mean of the two.
    pub bcubed_f1: Option<f64>,
}

/// Compares two partitions. Each item is one image: the cluster it was put in, and the one it belongs to.
pub fn cluster_quality<C, T>(images: impl IntoIterator<Item = (C, T)>) -> ClusterQuality
where
    C: Eq + Hash + Clone,
    T: Eq + Hash + Clone,
{
    let mut found_sizes: HashMap<C, u64> = HashMap::new();
    let mut true_sizes: HashMap<T, u64> = HashMap::new();
    let mut shared_sizes: HashMap<(C, T), u64> = HashMap::new();
    let mut n_images = 0;
    for (found, truth) in images {
        *found_sizes.entry(found.clone()).or_default() += 1;
        *true_sizes.entry(truth.clone()).or_default() += 1;
        *shared_sizes.entry((found, truth)).or_default() += 1;
        n_images += 1;
    }
    let both = shared_sizes.values().copied().map(num_pairs).sum();
    let pair_precision = Share {
        count: both,
        total: found_sizes.values().copied().map(num_pairs).sum(),
    };
    let pair_recall = Share {
        count: both,
        total: true_sizes.values().copied().map(num_pairs).sum(),
    };

    // Every image of an overlap has the same shares.
    let mean = |size_of: &dyn Fn(&(C, T)) -> u64| -> Option<f64> {
        // Sorted, because a sum in the order of a hash map would differ in its last bits from run to run.
        let mut parts: Vec<f64> = shared_sizes
            .iter()
            .map(|(overlap, &shared)| shared as f64 * shared as f64 / size_of(overlap) as f64)
            .collect();
        parts.sort_unstable_by(f64::total_cmp);
        (n_images > 0).then(|| parts.iter().sum::<f64>() / n_images as f64)
    };
    let bcubed_precision = mean(&|(found, _)| found_sizes[found]);
    let bcubed_recall = mean(&|(_, truth)| true_sizes[truth]);
    ClusterQuality {
        images: n_images,
        clusters: found_sizes.len() as u64,
        true_clusters: true_sizes.len() as u64,
        largest_cluster: found_sizes.values().copied().max().unwrap_or(0),
        pair_precision,
        pair_recall,
        pair_f1: harmonic_mean(pair_precision.value(), pair_recall.value()),
        bcubed_precision,
        bcubed_recall,
        bcubed_f1: harmonic_mean(bcubed_precision, bcubed_recall),
    }
}

fn num_pairs(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

fn harmonic_mean(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    let (a, b) = (a?, b?);
    Some(if a + b == 0.0 {
        0.0
    } else {
        2.0 * a * b / (a + b)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gives_the_figures_of_the_textbook() {
        // Found {a a a b} {b b c}, worked out by hand.
        let quality = cluster_quality([
            (1, 'a'),
            (1, 'a'),
            (1, 'a'),
            (1, 'b'),
            (2, 'b'),
            (2, 'b'),
            (2, 'c'),
        ]);
        assert_eq!(quality.pair_precision, Share { count: 4, total: 9 });
        assert_eq!(quality.pair_recall, Share { count: 4, total: 6 });
        assert!((quality.pair_f1.unwrap() - 8.0 / 15.0).abs() < 1e-12);
        let precision = (9.0 / 4.0 + 1.0 / 4.0 + 4.0 / 3.0 + 1.0 / 3.0) / 7.0;
        let recall = (9.0 / 3.0 + 1.0 / 3.0 + 4.0 / 3.0 + 1.0) / 7.0;
        assert!((quality.bcubed_precision.unwrap() - precision).abs() < 1e-12);
        assert!((quality.bcubed_recall.unwrap() - recall).abs() < 1e-12);
        assert_eq!(
            (
                quality.images,
                quality.clusters,
                quality.true_clusters,
                quality.largest_cluster
            ),
            (7, 2, 3, 4)
        );
    }

    #[test]
    fn the_truth_itself_is_perfect() {
        let quality = cluster_quality([1, 1, 2, 3, 3, 3].map(|cluster| (cluster, cluster)));
        assert_eq!((quality.pair_f1, quality.bcubed_f1), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn no_pairs_have_no_precision() {
        let quality = cluster_quality([(1, 'a'), (2, 'a')]);
        assert_eq!(quality.pair_precision.value(), None);
        assert_eq!(quality.pair_recall.value(), Some(0.0));
        assert_eq!(quality.pair_f1, None);
        assert_eq!(
            (quality.bcubed_precision, quality.bcubed_recall),
            (Some(1.0), Some(0.5))
        );
        let empty = cluster_quality::<u8, u8>([]);
        assert_eq!((empty.images, empty.bcubed_f1), (0, None));
    }

    proptest! {
        #[test]
        fn agrees_with_counting_every_pair(images in prop::collection::vec((0u8..6, 0u8..6), 0..60)) {
            let mut together = 0;
            let mut belong = 0;
            let mut both = 0;
            for (idx, a) in images.iter().enumerate() {
                for b in &images[..idx] {
                    together += u64::from(a.0 == b.0);
                    belong += u64::from(a.1 == b.1);
                    both += u64::from(a == b);
                }
            }
            let share = |same: fn(&(u8, u8), &(u8, u8)) -> bool| {
                let of_image = |a: &(u8, u8)| {
                    let companions = images.iter().filter(|b| same(a, b)).count();
                    images.iter().filter(|b| *b == a).count() as f64 / companions as f64
                };
                images.iter().map(of_image).sum::<f64>() / images.len() as f64
            };
            let quality = cluster_quality(images.iter().copied());
            prop_assert_eq!(quality.pair_precision, Share { count: both, total: together });
            prop_assert_eq!(quality.pair_recall, Share { count: both, total: belong });
            if !images.is_empty() {
                prop_assert!((quality.bcubed_precision.unwrap() - share(|a, b| a.0 == b.0)).abs() < 1e-9);
                prop_assert!((quality.bcubed_recall.unwrap() - share(|a, b| a.1 == b.1)).abs() < 1e-9);
            }
        }
    }
}
