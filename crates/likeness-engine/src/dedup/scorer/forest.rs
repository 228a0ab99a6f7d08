//! Boosted trees: what a file says, and how a pair goes through them.
//!
//! A tree is complete, [`DEPTH`] deep, and laid out as a heap: the children of split `i` are `2i + 1` and
//! `2i + 2`. A pair goes right where its feature exceeds the threshold, left otherwise, and left if the feature is
//! no number. So there are no cycles, no bounds to check, and every pair takes [`DEPTH`] steps in each tree. The
//! sum is in f64 and in one order: equal features give equal bits.

use serde::{Deserialize, Serialize};

use crate::dedup::features::{Direction, FEATURES, N_FEATURES};

/// Steps from the root to a leaf.
pub(super) const DEPTH: usize = 4;
pub(super) const N_SPLITS: usize = (1 << DEPTH) - 1;
pub(super) const N_LEAVES: usize = 1 << DEPTH;

/// Most trees of a forest: more are refused. 500 take some five microseconds.
const MAX_TREES: usize = 500;

/// Where a pair goes left or right: number of the feature among those that the forest reads, and threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Split(pub u8, pub f32);

/// A tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// The splits, 15.
    pub splits: Vec<Split>,
    /// Values of the leaves from the left, 16.
    pub leaves: Vec<f32>,
}

/// Trees whose values are summed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forest {
    /// Names of the features that it reads.
    pub reads: Vec<String>,
    /// What a pair has before the first tree.
    pub bias: f64,
    /// The trees.
    pub trees: Vec<Tree>,
}

/// A forest made ready for pairs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Compiled {
    bias: f64,
    trees: Vec<CompiledTree>,
}

#[derive(Debug, Clone, PartialEq)]
struct CompiledTree {
    features: [u8; N_SPLITS],
    thresholds: [f32; N_SPLITS],
    leaves: [f32; N_LEAVES],
}

impl Compiled {
    /// Returns the sum over the trees for values in the order of the registry.
    pub(super) fn raw(&self, values: &[f32; N_FEATURES]) -> f64 {
        self.trees.iter().fold(self.bias, |sum, tree| {
            let mut at = 0;
            for _ in 0..DEPTH {
                let value = values[usize::from(tree.features[at])];
                at = 2 * at + 1 + usize::from(value > tree.thresholds[at]);
            }
            sum + f64::from(tree.leaves[at - N_SPLITS])
        })
    }
}

impl Forest {
    /// Checks the forest and makes it ready.
    ///
    /// # Errors
    /// What is wrong: a feature that is unknown or retired, another layout, a number that is none, or a tree that
    /// goes against the direction of a feature.
    pub(super) fn compile(&self) -> Result<Compiled, String> {
        let mut numbers = Vec::with_capacity(self.reads.len());
        for name in &self.reads {
            let number = FEATURES
                .iter()
                .position(|feature| feature.name == name)
                .ok_or_else(|| {
                    format!("there is no feature `{name}`; `likeness features list` names them")
                })?;
            if FEATURES[number].retired {
                return Err(format!("the feature `{name}` is retired"));
            }
            numbers.push(number as u8);
        }
        if self.trees.len() > MAX_TREES {
            return Err(format!("more than {MAX_TREES} trees"));
        }
        if !self.bias.is_finite() {
            return Err("the bias of a forest is no finite number".to_owned());
        }
        let trees = self
            .trees
            .iter()
            .map(|tree| tree.compile(&numbers))
            .collect::<Result<_, _>>()?;
        Ok(Compiled {
            bias: self.bias,
            trees,
        })
    }
}

impl Tree {
    fn compile(&self, numbers: &[u8]) -> Result<CompiledTree, String> {
        if self.splits.len() != N_SPLITS || self.leaves.len() != N_LEAVES {
            return Err(format!(
                "a tree has not {N_SPLITS} splits and {N_LEAVES} leaves"
            ));
        }
        if !self.leaves.iter().all(|leaf| leaf.abs() < 1e6) {
            return Err("a leaf is not finite or beyond a million".to_owned());
        }
        let mut features = [0; N_SPLITS];
        let mut thresholds = [0.0; N_SPLITS];
        for (at, &Split(read, threshold)) in self.splits.iter().enumerate() {
            let number = *numbers
                .get(usize::from(read))
                .ok_or("a split reads a feature that the forest does not name")?;
            if !threshold.is_finite() {
                return Err("a threshold of a split is no finite number".to_owned());
            }
            (features[at], thresholds[at]) = (number, threshold);
            // Enough, though not necessary: a tree that keeps this rises everywhere.
            let (left, right) = self.leaves_under(at);
            let least = |leaves: &[f32]| leaves.iter().copied().fold(f32::INFINITY, f32::min);
            let most = |leaves: &[f32]| leaves.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let feature = &FEATURES[usize::from(number)];
            let is_kept = match feature.direction {
                Direction::Free => true,
                Direction::Rises => most(left) <= least(right),
                Direction::Falls => least(left) >= most(right),
            };
            if !is_kept {
                return Err(format!(
                    "a tree goes against the direction of `{}`; see `likeness features show {}`",
                    feature.name, feature.name
                ));
            }
        }
        let mut leaves = [0.0; N_LEAVES];
        leaves.copy_from_slice(&self.leaves);
        Ok(CompiledTree {
            features,
            thresholds,
            leaves,
        })
    }

    /// Returns the leaves to the left of a split, and those to its right.
    fn leaves_under(&self, split: usize) -> (&[f32], &[f32]) {
        let (mut first, mut last) = (split, split);
        while first < N_SPLITS {
            first = 2 * first + 1;
            last = 2 * last + 2;
        }
        let leaves = &self.leaves[first - N_SPLITS..=last - N_SPLITS];
        leaves.split_at(leaves.len() / 2)
    }
}
