//! Queries: look up buckets, count what is in them, estimate from codes, compare exactly.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::flips::Flips;
use super::projections::term_of;
use super::tally::Tally;
use super::{Hyperplanes, Projected};
use crate::bf16;
use crate::candidates::{Neighbor, take_top_k};
use crate::code::QueryCode;
use crate::error::IndexError;
use crate::filter::Filter;
use crate::kernels::Kernels;
use crate::vectors::Vectors;

/// Vectors on their way from memory while one is compared.
pub(super) const PREFETCH_AHEAD: usize = 8;

/// How hard a search tries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HyperplanesSearch {
    /// Buckets looked up for each term, the query's own first. At 2ᵇ every vector is found.
    pub probes: usize,
    /// Candidates that are ranked at most: those with the most matching terms.
    pub max_candidates: usize,
    /// ε₀: a candidate is not compared exactly if its estimate is so many standard deviations of the estimate's
    /// error below what could still count. 3 misses 0.14 % of what it should not; infinity compares all.
    pub epsilon: f32,
}

impl Default for HyperplanesSearch {
    fn default() -> Self {
        Self {
            probes: 8,
            max_candidates: 2_000,
            epsilon: 3.0,
        }
    }
}

/// A vector that shares terms with the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TermCandidate {
    /// The number the vector was inserted under.
    pub number: u64,
    /// Terms of the vector that are among the buckets looked up for the query, 1 to T.
    pub terms: u32,
    /// Cosine as estimated from the 1-bit code.
    pub estimate: f32,
    /// Cosine, -1 to 1 up to rounding: exact for the query and the stored (bf16) vector.
    pub similarity: f32,
}

/// A candidate before it is compared.
#[derive(Debug, Clone, Copy)]
struct Ranked {
    number: u64,
    slot: u32,
    terms: u32,
    estimate: f32,
    /// See [`Estimate`](super::codes::Estimate).
    misfit: f32,
}

impl Ranked {
    /// The order of candidates: most matching terms, highest estimate, smallest number.
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .terms
            .cmp(&self.terms)
            .then(other.estimate.total_cmp(&self.estimate))
            .then(self.number.cmp(&other.number))
    }
}

impl<V: Vectors> Hyperplanes<V> {
    /// Returns the `k` most similar of the candidates that `filter` lets through, best first.
    ///
    /// # Errors
    ///
    /// [`IndexError::WrongDimension`], [`IndexError::NoDirection`].
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        params: &HyperplanesSearch,
        filter: Option<&dyn Filter>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        let projected = self.project(query)?;
        Ok(self.nearest(&projected, f32::NEG_INFINITY, k, params, filter))
    }

    /// Returns the candidates whose similarity is at least `least`, at most `limit` of them, the most
    /// similar, best first.
    ///
    /// # Errors
    ///
    /// As [`search`](Self::search).
    pub fn range(
        &self,
        query: &[f32],
        least: f32,
        limit: usize,
        params: &HyperplanesSearch,
        filter: Option<&dyn Filter>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        let projected = self.project(query)?;
        Ok(self.nearest(&projected, least, limit, params, filter))
    }

    /// Searches, then inserts: the vector is projected once. The answer does not hold it.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert); the index is as before.
    pub fn insert_search(
        &mut self,
        number: u64,
        vector: &[u16],
        k: usize,
        params: &HyperplanesSearch,
    ) -> Result<Vec<Neighbor>, IndexError> {
        self.check_dim(vector.len())?;
        if self.contains(number) {
            return Err(IndexError::Duplicate { number });
        }
        let projected = self.project(&bf16::decode(vector))?;
        let answer = self.nearest(&projected, f32::NEG_INFINITY, k, params, None);
        self.place(number, vector, &projected)?;
        Ok(answer)
    }

    /// Returns at most `limit` vectors that share a term with the query, and their similarities: those with
    /// the most matching terms first, then the highest estimate, then the smallest number. `probes` and
    /// `filter` are as in [`search`](Self::search).
    ///
    /// # Errors
    ///
    /// As [`search`](Self::search).
    pub fn candidates(
        &self,
        query: &[f32],
        limit: usize,
        probes: usize,
        filter: Option<&dyn Filter>,
    ) -> Result<Vec<TermCandidate>, IndexError> {
        let projected = self.project(query)?;
        let code = QueryCode::new(&projected.rotated);
        let ranked = self.ranked(&projected, &code, limit, probes, filter);
        self.prefetch_first(&ranked);
        Ok(ranked
            .iter()
            .enumerate()
            .map(|(idx, candidate)| {
                self.prefetch_later(&ranked, idx);
                TermCandidate {
                    number: candidate.number,
                    terms: candidate.terms,
                    estimate: candidate.estimate,
                    similarity: self.exact_similarity(&projected.unit, candidate.slot),
                }
            })
            .collect())
    }

    /// Returns the `k` most similar of all vectors. Reads every vector in full: the oracle.
    ///
    /// # Errors
    ///
    /// As [`search`](Self::search).
    pub fn search_exact(
        &self,
        query: &[f32],
        k: usize,
        filter: Option<&dyn Filter>,
    ) -> Result<Vec<Neighbor>, IndexError> {
        let (best, _) = self.search_exact_part(query, k, filter, 0, usize::MAX)?;
        Ok(best)
    }

    /// Like [`search_exact`](Self::search_exact), over `count` slots from `first` alone; returns where to go
    /// on, if anywhere. What changes between the calls may be missed or seen twice.
    ///
    /// # Errors
    ///
    /// As [`search`](Self::search).
    pub fn search_exact_part(
        &self,
        query: &[f32],
        k: usize,
        filter: Option<&dyn Filter>,
        first: u32,
        count: usize,
    ) -> Result<(Vec<Neighbor>, Option<u32>), IndexError> {
        let unit = self.unit(query)?;
        let (slots, next) = self.directory.slots_from(first, count);
        let is_wanted = |number| filter.is_none_or(|filter| filter.contains(number));
        let neighbors = slots
            .map(|slot| Neighbor {
                number: self.directory.number(slot),
                similarity: self.exact_similarity(&unit, slot),
            })
            .filter(|neighbor| is_wanted(neighbor.number));
        Ok((take_top_k(neighbors.collect(), k), next))
    }

    /// The `k` most similar candidates with at least similarity `least`.
    fn nearest(
        &self,
        query: &Projected,
        least: f32,
        k: usize,
        params: &HyperplanesSearch,
        filter: Option<&dyn Filter>,
    ) -> Vec<Neighbor> {
        let code = QueryCode::new(&query.rotated);
        let mut ranked = self.ranked(query, &code, params.max_candidates, params.probes, filter);
        // The sooner the best are known, the more of the rest need not be looked at.
        ranked.sort_unstable_by(|a, b| {
            b.estimate
                .total_cmp(&a.estimate)
                .then(a.number.cmp(&b.number))
        });
        let noise = rounding_variance(&query.rotated);
        let mut best = Best::new(k, least);
        self.prefetch_first(&ranked);
        for (idx, candidate) in ranked.iter().enumerate() {
            self.prefetch_later(&ranked, idx);
            let floor = best.floor();
            if params.epsilon.is_finite() {
                let error = self.deviation(candidate.misfit, noise, floor);
                if candidate.estimate + params.epsilon * error < floor {
                    continue;
                }
            }
            best.offer(Neighbor {
                number: candidate.number,
                similarity: self.exact_similarity(&query.unit, candidate.slot),
            });
        }
        best.take()
    }

    /// Standard deviation of the estimate for a vector whose cosine is at least `floor`: that of the code, which
    /// shrinks with the angle, and that of the query's rounding, which does not.
    fn deviation(&self, misfit: f32, rounding: f32, floor: f32) -> f32 {
        let cosine = floor.clamp(0.0, 1.0);
        let code = misfit * (1.0 - cosine * cosine) / (self.padded_dim - 1) as f32;
        (code + (1.0 + misfit) * rounding).sqrt()
    }

    /// The first `limit` candidates, in their order.
    fn ranked(
        &self,
        query: &Projected,
        code: &QueryCode,
        limit: usize,
        probes: usize,
        filter: Option<&dyn Filter>,
    ) -> Vec<Ranked> {
        if limit == 0 || probes == 0 {
            return Vec::new();
        }
        let mut matches = self.matches(query, probes);
        if let Some(filter) = filter {
            matches.retain(|&(slot, _)| filter.contains(self.directory.number(slot)));
        }
        // Codes are read only of those that their number of terms has not ruled out.
        let least = least_terms(&matches, self.params.terms, limit);
        matches.retain(|&(_, terms)| terms >= least);
        let mut ranked: Vec<Ranked> = matches
            .into_iter()
            .map(|(slot, terms)| {
                let estimate = self.codes.estimate(code, slot, self.kernels);
                Ranked {
                    number: self.directory.number(slot),
                    slot,
                    terms,
                    estimate: estimate.cosine,
                    misfit: estimate.misfit,
                }
            })
            .collect();
        if ranked.len() > limit {
            ranked.select_nth_unstable_by(limit - 1, Ranked::cmp);
            ranked.truncate(limit);
        }
        ranked.sort_unstable_by(Ranked::cmp);
        ranked
    }

    /// Slots in the probed buckets, each with the number of its terms that led there.
    fn matches(&self, query: &Projected, probes: usize) -> Vec<(u32, u32)> {
        let (mut flips, mut buckets) = (Flips::default(), Vec::new());
        let mut lists = Vec::with_capacity(self.params.terms * probes.min(64));
        let terms = query.projections.chunks_exact(self.params.bits);
        for (postings, projections) in self.postings.iter().zip(terms) {
            buckets_of(projections, probes, &mut flips, &mut buckets);
            // One after the other and nothing between, so that several are on their way from memory at once.
            let found = buckets.iter().map(|&bucket| postings.get(bucket));
            lists.extend(found.filter(|list| !list.is_empty()));
        }
        let num_entries: usize = lists.iter().map(|list| list.len()).sum();
        let mut tally = Tally::with_room(num_entries.min(self.len()));
        for &slot in lists.into_iter().flatten() {
            tally.add(slot);
        }
        tally.counts().collect()
    }

    fn prefetch_first(&self, ranked: &[Ranked]) {
        for candidate in ranked.iter().take(PREFETCH_AHEAD) {
            Kernels::prefetch(self.vectors.get(candidate.slot));
        }
    }

    fn prefetch_later(&self, ranked: &[Ranked], idx: usize) {
        if let Some(later) = ranked.get(idx + PREFETCH_AHEAD) {
            Kernels::prefetch(self.vectors.get(later.slot));
        }
    }
}

/// The buckets of a term to look up, `probes` or all there are.
pub(super) fn buckets_of(
    projections: &[f32],
    probes: usize,
    flips: &mut Flips,
    buckets: &mut Vec<u32>,
) {
    let term = term_of(projections);
    flips.start(projections);
    buckets.clear();
    buckets.extend(flips.by_ref().take(probes).map(|flipped| term ^ flipped));
}

/// The least number of matching terms among the first `limit`, ties included.
fn least_terms(matches: &[(u32, u32)], max_terms: usize, limit: usize) -> u32 {
    let mut histogram = vec![0usize; max_terms + 1];
    for &(_, terms) in matches {
        histogram[terms as usize] += 1;
    }
    let mut found = 0;
    for terms in (1..=max_terms).rev() {
        found += histogram[terms];
        if found >= limit {
            return terms as u32;
        }
    }
    1
}

/// Variance of ⟨ō, q⟩ because [`QueryCode`] rounds the query's components to 16 levels.
fn rounding_variance(rotated: &[f32]) -> f32 {
    let largest = rotated
        .iter()
        .fold(0f32, |largest, component| largest.max(component.abs()));
    let step = 2.0 * largest / 15.0;
    step * step / 12.0
}

/// The best so far.
#[derive(Debug)]
struct Best {
    /// Nothing below this counts.
    least: f32,
    capacity: usize,
    /// Worst on top.
    heap: BinaryHeap<Entry>,
}

#[derive(Debug)]
struct Entry(Neighbor);

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp_by_similarity(&other.0)
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl Best {
    fn new(capacity: usize, least: f32) -> Self {
        Self {
            least,
            capacity,
            heap: BinaryHeap::new(),
        }
    }

    /// What is less similar is not among the best.
    fn floor(&self) -> f32 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() >= self.capacity => worst.0.similarity,
            _ => self.least,
        }
    }

    fn offer(&mut self, neighbor: Neighbor) {
        if neighbor.similarity < self.least || self.capacity == 0 {
            return;
        }
        if self.heap.len() < self.capacity {
            self.heap.push(Entry(neighbor));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && Entry(neighbor) < *worst
        {
            *worst = Entry(neighbor);
        }
    }

    fn take(self) -> Vec<Neighbor> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .map(|Entry(neighbor)| neighbor)
            .collect()
    }
}
