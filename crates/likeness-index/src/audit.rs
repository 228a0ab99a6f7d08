//! Live recall: a sample of queries is answered a second time by looking at everything.
//!
//! The index promises a recall only on data like that on which its probes were chosen. So one in so many
//! live queries is answered exactly in the background, and the share of the true nearest that had been
//! found is kept over a window, with its confidence interval. Where a recall is wanted, probes go up as
//! soon as the interval lies below it.

use std::collections::VecDeque;

use crate::candidates::Neighbor;

/// Share of the true nearest that were found, over the latest audited queries.
#[derive(Debug, Clone)]
pub struct Audit {
    window: VecDeque<(u32, u32)>,
    capacity: usize,
    found: u64,
    expected: u64,
    audited: u64,
}

/// A share and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recall {
    /// Share of the true nearest that were found.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Audit {
    /// Looks back over `capacity` queries.
    ///
    /// # Panics
    ///
    /// If `capacity` is zero.
    pub fn new(capacity: usize) -> Self {
        assert!(capacity > 0, "a window holds at least one query");
        Self {
            window: VecDeque::new(),
            capacity,
            found: 0,
            expected: 0,
            audited: 0,
        }
    }

    /// Queries audited so far, also those that left the window.
    pub fn audited(&self) -> u64 {
        self.audited
    }

    /// Takes note of a query: what was answered, and what is true. A neighbour as similar as the worst of the
    /// true ones counts as one of them: among equals the choice is arbitrary.
    pub fn record(&mut self, answered: &[Neighbor], exact: &[Neighbor]) {
        self.audited += 1;
        let Some(worst) = exact.last() else {
            return;
        };
        let found = answered
            .iter()
            .filter(|neighbor| neighbor.similarity >= worst.similarity)
            .count()
            .min(exact.len());
        let entry = (found as u32, exact.len() as u32);
        self.window.push_back(entry);
        self.found += u64::from(entry.0);
        self.expected += u64::from(entry.1);
        if self.window.len() > self.capacity
            && let Some((found, expected)) = self.window.pop_front()
        {
            self.found -= u64::from(found);
            self.expected -= u64::from(expected);
        }
    }

    /// Forgets the window, after the way of searching was changed.
    pub fn restart(&mut self) {
        self.window.clear();
        (self.found, self.expected) = (0, 0);
    }

    /// Returns the recall over the window; nothing if it is empty.
    ///
    /// The interval takes queries, not neighbours, as the sample: a query whose cell was missed misses several
    /// neighbours at once. It is Wilson's, with the number of queries in place of the number of trials, and
    /// so errs on the wide side.
    pub fn recall(&self) -> Option<Recall> {
        /// 97.5 % of normal deviates are below it.
        const Z: f64 = 1.959_964;
        if self.expected == 0 {
            return None;
        }
        let value = self.found as f64 / self.expected as f64;
        let trials = self.window.len() as f64;
        let centre = value + Z * Z / (2.0 * trials);
        let spread = Z * (value * (1.0 - value) / trials + Z * Z / (4.0 * trials * trials)).sqrt();
        let scale = 1.0 / (1.0 + Z * Z / trials);
        Some(Recall {
            value,
            low: ((centre - spread) * scale).max(0.0),
            high: ((centre + spread) * scale).min(1.0),
        })
    }

    /// Returns how many probes there should be, given how many there are: a half more, at most `most`, if the
    /// recall is below `wanted` beyond doubt.
    pub fn probes(&self, current: usize, wanted: f64, most: usize) -> usize {
        match self.recall() {
            Some(recall) if recall.high < wanted => {
                (current + current.div_ceil(2)).min(most.max(current))
            }
            _ => current,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbors(similarities: &[f32]) -> Vec<Neighbor> {
        similarities
            .iter()
            .enumerate()
            .map(|(number, &similarity)| Neighbor {
                number: number as u64,
                similarity,
            })
            .collect()
    }

    #[test]
    fn recall_is_the_share_of_the_true_nearest() {
        let mut audit = Audit::new(100);
        assert_eq!(audit.recall(), None);
        audit.record(&neighbors(&[0.9, 0.5]), &neighbors(&[0.9, 0.8]));
        audit.record(&neighbors(&[0.9, 0.8]), &neighbors(&[0.9, 0.8]));
        // Nothing is to be found in an empty index.
        audit.record(&[], &[]);
        let recall = audit.recall().expect("two queries");
        assert_eq!(recall.value, 0.75);
        assert!(recall.low < 0.75 && recall.high > 0.75);
        assert_eq!(audit.audited(), 3);
    }

    #[test]
    fn what_leaves_the_window_does_not_count() {
        let mut audit = Audit::new(10);
        for _ in 0..50 {
            audit.record(&[], &neighbors(&[0.9]));
        }
        for _ in 0..10 {
            audit.record(&neighbors(&[0.9]), &neighbors(&[0.9]));
        }
        assert_eq!(audit.recall().expect("ten queries").value, 1.0);
    }

    #[test]
    fn probes_go_up_only_beyond_doubt() {
        let mut audit = Audit::new(1_000);
        audit.record(&[], &neighbors(&[0.9]));
        assert_eq!(audit.probes(16, 0.5, 100), 16);
        for _ in 0..100 {
            audit.record(&[], &neighbors(&[0.9]));
        }
        assert_eq!(audit.probes(16, 0.5, 100), 24);
        assert_eq!(audit.probes(16, 0.5, 20), 20);
        assert_eq!(audit.probes(16, 0.5, 4), 16);
        audit.restart();
        assert_eq!(audit.probes(16, 0.5, 100), 16);
    }
}
