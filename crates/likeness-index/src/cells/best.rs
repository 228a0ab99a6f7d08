//! The best of a search so far.

use std::collections::BinaryHeap;

/// What a search wants.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    /// The nearest ones.
    Nearest,
    /// All up to a squared distance.
    Within(f32),
}

/// A distance with its number, worst first in a heap.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry(f32, u64);

impl Eq for Entry {}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The best so far, by exact distances.
#[derive(Debug)]
pub(super) struct Best {
    /// Nothing further away counts.
    within: f32,
    capacity: usize,
    heap: BinaryHeap<Entry>,
    /// Vectors that were compared; counted by the search.
    pub(super) num_compared: usize,
}

impl Best {
    pub(super) fn new(goal: Goal, limit: usize) -> Self {
        Self {
            within: match goal {
                Goal::Nearest => f32::INFINITY,
                Goal::Within(distance) => distance,
            },
            capacity: limit,
            heap: BinaryHeap::with_capacity(limit.min(4_096) + 1),
            num_compared: 0,
        }
    }

    /// What has a lower bound above this is not among the best.
    pub(super) fn limit(&self) -> f32 {
        if self.heap.len() < self.capacity {
            return self.within;
        }
        self.heap
            .peek()
            .map_or(self.within, |worst| worst.0.min(self.within))
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many more there is room for.
    pub(super) fn missing(&self) -> usize {
        self.capacity - self.heap.len()
    }

    /// Whether a bound is known, so that more need not be compared to find one.
    pub(super) fn is_full(&self) -> bool {
        self.within.is_finite() || self.missing() == 0
    }

    pub(super) fn offer(&mut self, distance: f32, number: u64) {
        if distance > self.within {
            return;
        }
        let entry = Entry(distance, number);
        if self.heap.len() < self.capacity {
            self.heap.push(entry);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && entry < *worst
        {
            *worst = entry;
        }
    }

    pub(super) fn take(&mut self) -> Vec<(f32, u64)> {
        let mut entries: Vec<Entry> = self.heap.iter().copied().collect();
        entries.sort_unstable();
        entries
            .into_iter()
            .map(|Entry(distance, number)| (distance, number))
            .collect()
    }
}
