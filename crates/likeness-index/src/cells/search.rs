//! Queries: probe cells, scan codes, rank exactly what the codes cannot rule out.

use super::Cells;
use super::best::Goal;
use super::probe::{FIRST_CELLS, PREFETCH_AHEAD, Probe};
use super::router::{Near, RotatedQuery};
use crate::bf16;
use crate::candidates::{Candidate, Neighbor, take_top_k};
use crate::error::IndexError;
use crate::filter::Filter;
use crate::kernels::{Hit, Kernels, ScanQuery};
use crate::vectors::Vectors;

/// Cells that are found for a search that may stop early, before it knows how many it wants. To find them all anew takes
/// a scan of the centroids' codes, which a few comparisons more are cheaper than.
const FOUND_AT_FIRST: usize = 2 * FIRST_CELLS;

/// How hard a search tries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchParams {
    /// Cells looked at, at most, nearest first.
    pub probes: usize,
    /// ε₀: a vector is ruled out if its estimate is so many standard deviations of the estimate's error
    /// above what could still count. 1.9 misses 2.8 % of what it should not, 3 misses 0.14 %.
    pub epsilon: f32,
    /// Vectors compared exactly at most, but never fewer than are asked for; 0 for all that are not ruled out.
    /// Cell after cell those that seem better than the worst of the best so far, then those with the least
    /// estimates.
    pub rerank: usize,
    /// Whether the bound takes the angle into account: tighter for near-copies, see
    /// the module `rabitq`.
    pub angle_aware: bool,
    /// Whether a search looks into fewer cells than `probes`, but never fewer than 16, where its answers so far are
    /// nearer than centroids: `probes` times the sixth power of d²/g², with d² the squared distance of the worst
    /// answer, of a range until it is full that of its bound, and g² that of the 16th centroid. Where that is further
    /// than the centroid, where there are fewer than the `k` nearest and where answers are to be certified, all probes
    /// are made.
    pub stop_early: bool,
    /// When to stop.
    pub accuracy: Accuracy,
}

impl SearchParams {
    pub(super) fn may_stop_early(&self) -> bool {
        self.stop_early && self.accuracy == Accuracy::Fast
    }
}

impl Default for SearchParams {
    fn default() -> Self {
        Self {
            probes: 32,
            epsilon: 1.9,
            rerank: 0,
            angle_aware: true,
            stop_early: false,
            accuracy: Accuracy::Fast,
        }
    }
}

/// When a search stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accuracy {
    /// After the probes that were asked for.
    Fast,
    /// When no cell that was not looked at can hold anything better, or after the probes that were asked for;
    /// the answer says which: see [`Certificate`]. With `usize::MAX` probes it is always the first.
    Certified,
}

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Certificate {
    /// No cell that was not looked at can hold a better vector: by the triangle inequality none of its
    /// vectors is nearer than its centroid less its radius.
    pub is_complete: bool,
    /// Cells that were not looked at and could hold one.
    pub open_cells: usize,
    /// Vectors that were ruled out by their codes alone. Each of them is, with the probability that a normal
    /// deviate exceeds `epsilon`, better than its code says.
    pub ruled_out: usize,
    /// The ε₀ they were ruled out with.
    pub epsilon: f32,
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Best first; ties by the smaller number.
    pub neighbors: Vec<Neighbor>,
    /// Present if [`Accuracy::Certified`] was asked for.
    pub certificate: Option<Certificate>,
}

impl<V: Vectors> Cells<V> {
    /// Returns the `k` most similar vectors among those that `filter` lets through.
    ///
    /// # Errors
    ///
    /// [`IndexError::WrongDimension`], [`IndexError::NoDirection`].
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        params: &SearchParams,
        filter: Option<&dyn Filter>,
    ) -> Result<Answer, IndexError> {
        let comparable = self.comparable(query)?;
        let rotated = RotatedQuery::new(self.kernels, self.rotate(&comparable));
        Ok(self.answer(&comparable, &rotated, Goal::Nearest, k, params, filter))
    }

    /// Returns the vectors whose similarity is at least `least`, at most `limit` of them, the most similar.
    ///
    /// # Errors
    ///
    /// As [`search`](Self::search).
    pub fn range(
        &self,
        query: &[f32],
        least: f32,
        limit: usize,
        params: &SearchParams,
        filter: Option<&dyn Filter>,
    ) -> Result<Answer, IndexError> {
        let comparable = self.comparable(query)?;
        let rotated = RotatedQuery::new(self.kernels, self.rotate(&comparable));
        let goal = Goal::Within(self.to_distance(least));
        Ok(self.answer(&comparable, &rotated, goal, limit, params, filter))
    }

    /// Searches, then inserts: the query is rotated and led to its cells once. The answer does not hold the
    /// new vector.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert); the index is as before.
    pub fn insert_search(
        &mut self,
        number: u64,
        vector: &[u16],
        k: usize,
        params: &SearchParams,
    ) -> Result<Answer, IndexError> {
        self.check_dim(vector.len())?;
        if self.contains(number) {
            return Err(IndexError::Duplicate { number });
        }
        let comparable = self.comparable(&bf16::decode(vector))?;
        let rotated = RotatedQuery::new(self.kernels, self.rotate(&comparable));
        if self.router.len() == 0 {
            let cell = self.new_cell(&rotated.vector);
            self.place(number, vector, rotated, cell)?;
            return Ok(Answer {
                neighbors: Vec::new(),
                certificate: None,
            });
        }
        let near = self.first_cells(&rotated, params);
        let answer = self.answer_from(&comparable, &rotated, &near, Goal::Nearest, k, params, None);
        self.place(number, vector, rotated, near[0].cell)?;
        Ok(answer)
    }

    /// Returns the `limit` vectors with the highest estimated similarity in the probed cells, and their exact
    /// similarities, highest estimate first.
    ///
    /// # Errors
    ///
    /// As [`search`](Self::search).
    pub fn candidates(
        &self,
        query: &[f32],
        limit: usize,
        probes: usize,
    ) -> Result<Vec<Candidate>, IndexError> {
        let comparable = self.comparable(query)?;
        let rotated = RotatedQuery::new(self.kernels, self.rotate(&comparable));
        let near = self.router.nearest(&rotated, probes);
        let mut hits = Vec::new();
        for cell in near {
            let scan = ScanQuery {
                table: &rotated.table,
                add: cell.distance,
                error: 0.0,
                limit: f32::INFINITY,
            };
            self.lists[cell.cell as usize].scan(self.kernels, self.layout, &scan, &mut hits);
        }
        let by_estimate = |a: &Hit, b: &Hit| {
            a.estimate.total_cmp(&b.estimate).then_with(|| {
                self.directory
                    .number(a.slot)
                    .cmp(&self.directory.number(b.slot))
            })
        };
        if hits.len() > limit && limit > 0 {
            hits.select_nth_unstable_by(limit - 1, by_estimate);
        }
        hits.truncate(limit);
        hits.sort_unstable_by(by_estimate);
        let slots: Vec<u32> = hits.iter().map(|hit| hit.slot).collect();
        let similarities = self.exact_similarities(&comparable, &slots);
        Ok(hits
            .iter()
            .zip(similarities)
            .map(|(hit, similarity)| Candidate {
                number: self.directory.number(hit.slot),
                estimate: self.to_similarity(hit.estimate),
                similarity,
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
        let comparable = self.comparable(query)?;
        let (slots, next) = self.directory.slots_from(first, count);
        let neighbors = slots.map(|slot| Neighbor {
            number: self.directory.number(slot),
            similarity: self.to_similarity(self.exact_distance(&comparable, slot)),
        });
        let is_wanted =
            |neighbor: &Neighbor| filter.is_none_or(|filter| filter.contains(neighbor.number));
        let best = take_top_k(neighbors.filter(is_wanted).collect(), k);
        Ok((best, next))
    }

    fn answer(
        &self,
        comparable: &[f32],
        rotated: &RotatedQuery,
        goal: Goal,
        limit: usize,
        params: &SearchParams,
        filter: Option<&dyn Filter>,
    ) -> Answer {
        let near = self.first_cells(rotated, params);
        self.answer_from(comparable, rotated, &near, goal, limit, params, filter)
    }

    /// The cells that a search begins with, nearest first, at least one if there is any: all that it looks into, but if
    /// it may stop early, where it goes on.
    fn first_cells(&self, rotated: &RotatedQuery, params: &SearchParams) -> Vec<Near> {
        match params.accuracy {
            Accuracy::Fast if params.stop_early => self
                .router
                .nearest(rotated, params.probes.clamp(1, FOUND_AT_FIRST)),
            Accuracy::Fast => self.router.nearest(rotated, params.probes.max(1)),
            Accuracy::Certified => self.router.all(rotated),
        }
    }

    /// Looks into further cells for a search that has looked into these, if it wants more.
    fn go_on(&self, probe: &mut Probe<'_, V>, rotated: &RotatedQuery, near: &[Near]) {
        let wanted = probe.wanted_cells();
        let Some(last) = near.last().filter(|_| wanted > near.len()) else {
            return;
        };
        let mut further = self.router.nearest(rotated, wanted);
        // With more cells more centroids are compared, so these need not be the first.
        further.retain(|cell| cell.distance > last.distance || !near.contains(cell));
        probe.run(rotated, &further);
    }

    #[expect(clippy::too_many_arguments, reason = "one query, unpacked; private")]
    fn answer_from(
        &self,
        comparable: &[f32],
        rotated: &RotatedQuery,
        near: &[Near],
        goal: Goal,
        limit: usize,
        params: &SearchParams,
        filter: Option<&dyn Filter>,
    ) -> Answer {
        if limit == 0 {
            return Answer {
                neighbors: Vec::new(),
                certificate: None,
            };
        }
        let mut probe = Probe::new(self, comparable, params, filter, goal, limit);
        probe.run(rotated, near);
        if params.may_stop_early() {
            self.go_on(&mut probe, rotated, near);
        }
        probe.finish();
        let certificate = (params.accuracy == Accuracy::Certified).then(|| {
            let worst = probe.best.limit();
            let open_cells = near[probe.num_settled..]
                .iter()
                .filter(|cell| self.nearest_possible(cell) <= worst)
                .count();
            Certificate {
                is_complete: open_cells == 0,
                open_cells,
                ruled_out: probe.num_scanned - probe.best.num_compared,
                epsilon: params.epsilon,
            }
        });
        let neighbors = probe
            .best
            .take()
            .into_iter()
            .map(|(distance, number)| Neighbor {
                number,
                similarity: self.to_similarity(distance),
            })
            .collect();
        Answer {
            neighbors,
            certificate,
        }
    }

    /// The least squared distance that a vector of a cell can have.
    pub(super) fn nearest_possible(&self, near: &Near) -> f32 {
        let gap = (near.distance.sqrt() - self.radii[near.cell as usize]).max(0.0);
        gap * gap
    }

    fn exact_similarities(&self, comparable: &[f32], slots: &[u32]) -> Vec<f32> {
        slots
            .iter()
            .enumerate()
            .map(|(idx, &slot)| {
                if let Some(&later) = slots.get(idx + PREFETCH_AHEAD) {
                    Kernels::prefetch(self.vectors.get(later));
                }
                self.to_similarity(self.exact_distance(comparable, slot))
            })
            .collect()
    }
}
