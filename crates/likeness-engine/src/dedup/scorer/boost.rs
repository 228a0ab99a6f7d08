//! Gradient boosting: fits a [`Forest`] to labelled rows.
//!
//! Newton boosting of the logistic loss (Friedman, "Greedy function approximation", 2001; the gain and the leaves
//! are those of Chen and Guestrin, "XGBoost", 2016, §2.2) over histograms of at most [`MAX_BINS`] bins (Ke et al.,
//! "LightGBM", 2017). A feature with a direction keeps it: a split that would go against it is not taken, and
//! what is below a split stays on its side of the middle of the two.
//!
//! Written here and not taken from a library: those in pure Rust bring 20 to 53 crates, and what is needed is a
//! few hundred lines whose results are the same bits everywhere. No chance is involved, and one thread.

use super::forest::{DEPTH, Forest, N_LEAVES, N_SPLITS, Split, Tree};
use super::logistic::sigmoid;
use crate::dedup::features::{Direction, FEATURES, N_FEATURES};

/// Most bins of a feature, at quantiles of its values.
const MAX_BINS: usize = 64;

/// Rows to learn from.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Values in the order of the registry.
    pub(super) values: Vec<[f32; N_FEATURES]>,
    /// Whether it is a pair of copies.
    pub(super) labels: Vec<bool>,
    /// Share in the loss, above 0.
    pub(super) weights: Vec<f64>,
}

/// How to boost.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BoostOptions {
    pub(super) n_trees: usize,
    pub(super) learning_rate: f64,
    /// Least share of the total weight (times p(1-p), at most a quarter) in a leaf.
    pub(super) min_leaf: f64,
    /// Penalty of a leaf's value, as a share of the total weight.
    pub(super) l2: f64,
}

/// What each feature brought, in the order of the forest's `reads`.
pub(super) type Gains = Vec<f64>;

/// Boosts a forest over the features with these numbers; equal rows in equal order give equal bits.
pub(super) fn boost(rows: &Rows, reads: &[usize], options: &BoostOptions) -> (Forest, Gains) {
    let bins: Vec<Vec<f32>> = reads.iter().map(|&read| thresholds(rows, read)).collect();
    // Column by column: the histograms run over one feature at a time.
    let columns: Vec<Vec<u8>> = reads
        .iter()
        .zip(&bins)
        .map(|(&read, bins)| {
            let bin = |values: &[f32; N_FEATURES]| {
                let value = values[read];
                // No number goes left, as in `forest`.
                let below = bins.partition_point(|threshold| value > *threshold);
                below as u8
            };
            rows.values.iter().map(bin).collect()
        })
        .collect();
    let total: f64 = rows.weights.iter().sum();
    let positive: f64 = rows
        .labels
        .iter()
        .zip(&rows.weights)
        .filter(|(label, _)| **label)
        .map(|(_, weight)| weight)
        .sum();
    let share = (positive / total).clamp(1e-6, 1.0 - 1e-6);
    let bias = round(f64::from((share / (1.0 - share)).ln() as f32));
    let mut booster = Booster {
        rows,
        reads,
        bins,
        columns,
        raw: vec![bias; rows.labels.len()],
        gradients: vec![(0.0, 0.0); rows.labels.len()],
        gains: vec![0.0; reads.len()],
        min_leaf: options.min_leaf * total,
        l2: options.l2 * total,
    };
    let trees = (0..options.n_trees)
        .map(|_| booster.tree(options.learning_rate))
        .collect();
    let forest = Forest {
        reads: reads
            .iter()
            .map(|&read| FEATURES[read].name.to_owned())
            .collect(),
        bias,
        trees,
    };
    (forest, booster.gains)
}

/// Returns the places where a feature may be split, ascending, at most [`MAX_BINS`] - 1.
fn thresholds(rows: &Rows, read: usize) -> Vec<f32> {
    let mut values: Vec<f32> = rows
        .values
        .iter()
        .map(|values| values[read])
        .filter(|value| !value.is_nan())
        .collect();
    values.sort_unstable_by(f32::total_cmp);
    let mut distinct = values.clone();
    distinct.dedup();
    if distinct.len() > MAX_BINS {
        // Half of the bins by rank, half evenly over the range: copies are few, and lie where others do not.
        let half = MAX_BINS / 2;
        let (low, high) = (values[0], values[values.len() - 1]);
        let by_rank = (1..half).map(|rank| values[rank * values.len() / half]);
        let even = (1..half).map(|step| low + (high - low) * step as f32 / half as f32);
        distinct = by_rank.chain(even).collect();
        distinct.sort_unstable_by(f32::total_cmp);
        distinct.dedup();
    } else {
        distinct.pop();
    }
    distinct
}

struct Booster<'a> {
    rows: &'a Rows,
    reads: &'a [usize],
    bins: Vec<Vec<f32>>,
    columns: Vec<Vec<u8>>,
    /// Sum of the trees so far.
    raw: Vec<f64>,
    /// First and second derivative of each row's loss.
    gradients: Vec<(f64, f64)>,
    gains: Gains,
    min_leaf: f64,
    l2: f64,
}

/// Rows of a node, and the bounds of the values below it.
struct Node {
    rows: Vec<u32>,
    low: f64,
    high: f64,
}

struct Best {
    gain: f64,
    feature: usize,
    bin: usize,
    values: (f64, f64),
}

impl Booster<'_> {
    fn tree(&mut self, learning_rate: f64) -> Tree {
        for (idx, gradient) in self.gradients.iter_mut().enumerate() {
            let probability = sigmoid(self.raw[idx]);
            let target = f64::from(u8::from(self.rows.labels[idx]));
            let weight = self.rows.weights[idx];
            *gradient = (
                weight * (probability - target),
                weight * probability * (1.0 - probability),
            );
        }
        let mut tree = Tree {
            splits: vec![Split(0, f32::MAX); N_SPLITS],
            leaves: vec![0.0; N_LEAVES],
        };
        let mut nodes = vec![Node {
            rows: (0..self.raw.len() as u32).collect(),
            low: f64::NEG_INFINITY,
            high: f64::INFINITY,
        }];
        for level in 0..DEPTH {
            let mut next = Vec::with_capacity(nodes.len() * 2);
            for (place, node) in nodes.into_iter().enumerate() {
                let at = (1 << level) - 1 + place;
                match self.best_split(&node) {
                    Some(best) => {
                        tree.splits[at] =
                            Split(best.feature as u8, self.bins[best.feature][best.bin]);
                        self.gains[best.feature] += best.gain;
                        let (left, right) = self.part(node, &best);
                        next.extend([left, right]);
                    }
                    None => {
                        // Everything goes left; the right side says the same, so that directions are kept.
                        let (low, high) = (node.low, node.high);
                        let value = self.value(self.sums(&node.rows)).clamp(low, high);
                        let empty = Node {
                            rows: Vec::new(),
                            low: value,
                            high: value,
                        };
                        let same = Node {
                            rows: node.rows,
                            low: value,
                            high: value,
                        };
                        next.extend([same, empty]);
                    }
                }
            }
            nodes = next;
        }
        for (leaf, node) in nodes.iter().enumerate() {
            let value = self.value(self.sums(&node.rows)).clamp(node.low, node.high);
            let value = (value * learning_rate) as f32;
            tree.leaves[leaf] = value;
            for &row in &node.rows {
                self.raw[row as usize] += f64::from(value);
            }
        }
        tree
    }

    fn sums(&self, rows: &[u32]) -> (f64, f64) {
        rows.iter().fold((0.0, 0.0), |(first, second), &row| {
            let gradient = self.gradients[row as usize];
            (first + gradient.0, second + gradient.1)
        })
    }

    fn value(&self, (first, second): (f64, f64)) -> f64 {
        -first / (second + self.l2)
    }

    fn best_split(&self, node: &Node) -> Option<Best> {
        // What cannot take any other value need not be split.
        if node.low >= node.high {
            return None;
        }
        let (all_first, all_second) = self.sums(&node.rows);
        let score = |(first, second): (f64, f64)| first * first / (second + self.l2);
        let whole = score((all_first, all_second));
        let mut best: Option<Best> = None;
        for (feature, (bins, column)) in self.bins.iter().zip(&self.columns).enumerate() {
            let mut histogram = [(0.0_f64, 0.0_f64); MAX_BINS];
            for &row in &node.rows {
                let gradient = self.gradients[row as usize];
                let bin = &mut histogram[usize::from(column[row as usize])];
                bin.0 += gradient.0;
                bin.1 += gradient.1;
            }
            let (mut first, mut second) = (0.0, 0.0);
            for (bin, sums) in histogram.iter().enumerate().take(bins.len()) {
                first += sums.0;
                second += sums.1;
                let left = (first, second);
                let right = (all_first - first, all_second - second);
                if left.1 < self.min_leaf || right.1 < self.min_leaf {
                    continue;
                }
                let gain = score(left) + score(right) - whole;
                if gain <= 1e-9 * whole.abs().max(1e-12)
                    || best.as_ref().is_some_and(|best| gain <= best.gain)
                {
                    continue;
                }
                let values = (
                    self.value(left).clamp(node.low, node.high),
                    self.value(right).clamp(node.low, node.high),
                );
                let is_kept = match FEATURES[self.reads[feature]].direction {
                    Direction::Free => true,
                    Direction::Rises => values.0 <= values.1,
                    Direction::Falls => values.0 >= values.1,
                };
                if is_kept {
                    best = Some(Best {
                        gain,
                        feature,
                        bin,
                        values,
                    });
                }
            }
        }
        best
    }

    fn part(&self, node: Node, best: &Best) -> (Node, Node) {
        let column = &self.columns[best.feature];
        let (left, right) = node
            .rows
            .into_iter()
            .partition(|&row| usize::from(column[row as usize]) <= best.bin);
        let middle = f64::midpoint(best.values.0, best.values.1);
        let (left_high, right_low, left_low, right_high) =
            match FEATURES[self.reads[best.feature]].direction {
                Direction::Free => (node.high, node.low, node.low, node.high),
                Direction::Rises => (middle, middle, node.low, node.high),
                Direction::Falls => (node.high, node.low, middle, middle),
            };
        (
            Node {
                rows: left,
                low: left_low,
                high: left_high,
            },
            Node {
                rows: right,
                low: right_low,
                high: right_high,
            },
        )
    }
}

/// As in JSON: what is read back is what was boosted on.
fn round(value: f64) -> f64 {
    format!("{value:.9e}")
        .parse()
        .expect("a number, as it was written")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies where the cosine is above a line that depends on flatness; one in fifty is labelled wrongly.
    fn rows() -> Rows {
        let mut rows = Rows::default();
        for idx in 0..4_000_u32 {
            let mut values = [f32::NAN; N_FEATURES];
            values[0] = (idx % 97) as f32 / 97.0;
            values[4] = (idx * 7 % 101) as f32;
            let is_copy = values[0] > 0.4 + values[4] / 300.0;
            rows.values.push(values);
            rows.labels.push(is_copy != (idx % 50 == 0));
            rows.weights.push(1.0);
        }
        rows
    }

    fn options() -> BoostOptions {
        BoostOptions {
            n_trees: 30,
            learning_rate: 0.3,
            min_leaf: 1e-3,
            l2: 1e-4,
        }
    }

    #[test]
    fn learns_a_line_through_two_features_and_keeps_their_directions() {
        let rows = rows();
        let (forest, gains) = boost(&rows, &[0, 4], &options());
        assert!(gains.iter().all(|gain| *gain > 0.0), "{gains:?}");
        let compiled = forest.compile().expect("keeps the directions");
        let right = rows
            .values
            .iter()
            .zip(&rows.labels)
            .filter(|(values, label)| (compiled.raw(values) > 0.0) == **label)
            .count();
        assert!(right * 100 >= 97 * rows.labels.len(), "{right}");
        // To the bit, after a round trip as well.
        let (again, _) = boost(&rows, &[0, 4], &options());
        assert_eq!(again, forest);
        let json = serde_json::to_string(&forest).unwrap();
        let read: Forest = serde_json::from_str(&json).unwrap();
        assert_eq!(read, forest);
    }

    #[test]
    fn a_feature_that_misleads_gets_no_split_against_its_direction() {
        let mut rows = rows();
        for label in &mut rows.labels {
            *label = !*label;
        }
        let (forest, _) = boost(&rows, &[0], &options());
        let compiled = forest.compile().expect("keeps the direction");
        let at = |cosine: f32| {
            let mut values = [f32::NAN; N_FEATURES];
            values[0] = cosine;
            compiled.raw(&values)
        };
        assert!(at(0.1) <= at(0.9));
    }
}
