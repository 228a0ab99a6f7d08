//! The best of a search so far: first what they can be at most, then what they are.

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

/// The best so far: while scanning, upper bounds; while ranking, exact distances.
#[derive(Debug)]
pub(super) struct Best {
    /// Nothing further away counts.
    within: f32,
    capacity: usize,
    heap: BinaryHeap<Entry>,
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

    /// Takes note that something is no further away than `upper`.
    pub(super) fn bound(&mut self, upper: f32) {
        self.offer(upper, 0);
    }

    pub(super) fn start_ranking(&mut self) {
        self.heap.clear();
    }

    pub(super) fn worst(&self) -> f32 {
        self.limit()
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
