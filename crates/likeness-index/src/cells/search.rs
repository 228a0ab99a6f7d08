//! Queries: probe cells, scan codes, rank exactly what the codes cannot rule out.

use super::Cells;
use super::best::{Best, Goal};
use super::router::{Near, RotatedQuery};
use crate::bf16;
use crate::candidates::{Candidate, Neighbor, take_top_k};
use crate::error::IndexError;
use crate::filter::Filter;
use crate::kernels::{Hit, Kernels, ScanQuery};
use crate::rabitq;
use crate::vectors::Vectors;

/// Vectors on their way from memory while one is compared.
const PREFETCH_AHEAD: usize = 8;

/// How hard a search tries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchParams {
    /// Cells looked at, at most, nearest first.
    pub probes: usize,
    /// ε₀: a vector is ruled out if its estimate is so many standard deviations of the estimate's error
    /// above what could still count. 1.9 misses 2.8 % of what it should not, 3 misses 0.14 %.
    pub epsilon: f32,
    /// Vectors compared exactly at most, those with the least estimates; 0 for all that are not ruled out.
    pub rerank: usize,
    /// Whether the bound takes the angle into account: tighter for near-copies, see
    /// the module `rabitq`.
    pub angle_aware: bool,
    /// When to stop.
    pub accuracy: Accuracy,
}

impl Default for SearchParams {
    fn default() -> Self {
        Self {
            probes: 32,
            epsilon: 1.9,
            rerank: 0,
            angle_aware: true,
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

/// What a scan over cells found.
struct Scanned {
    hits: Vec<Hit>,
    num_scanned: usize,
    /// Cells, nearest first, that were looked at or can hold nothing better.
    num_settled: usize,
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
        let near = match params.accuracy {
            Accuracy::Fast => self.router.nearest(&rotated, params.probes.max(1)),
            Accuracy::Certified => self.router.all(&rotated),
        };
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
        let near = match params.accuracy {
            Accuracy::Fast => self.router.nearest(rotated, params.probes),
            Accuracy::Certified => self.router.all(rotated),
        };
        self.answer_from(comparable, rotated, &near, goal, limit, params, filter)
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
        let mut best = Best::new(goal, limit);
        let scanned = self.scan_cells(rotated, near, params, filter, &mut best);
        let neighbors = self.rank(comparable, scanned.hits, limit, params, &mut best);
        let certificate = (params.accuracy == Accuracy::Certified).then(|| {
            let worst = best.worst();
            let open_cells = near[scanned.num_settled..]
                .iter()
                .filter(|cell| self.nearest_possible(cell) <= worst)
                .count();
            Certificate {
                is_complete: open_cells == 0,
                open_cells,
                ruled_out: scanned.num_scanned - best.num_compared,
                epsilon: params.epsilon,
            }
        });
        let neighbors = neighbors
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
    fn nearest_possible(&self, near: &Near) -> f32 {
        let gap = (near.distance.sqrt() - self.radii[near.cell as usize]).max(0.0);
        gap * gap
    }

    /// Scans cells, nearest first, and keeps what may be among the best.
    fn scan_cells(
        &self,
        rotated: &RotatedQuery,
        near: &[Near],
        params: &SearchParams,
        filter: Option<&dyn Filter>,
        best: &mut Best,
    ) -> Scanned {
        let mut scanned = Scanned {
            hits: Vec::with_capacity(1_024),
            num_scanned: 0,
            num_settled: 0,
        };
        let mut fresh = 0;
        let mut num_opened = 0;
        for cell in near {
            let limit = best.limit();
            if params.accuracy == Accuracy::Certified && self.nearest_possible(cell) > limit {
                // Cells come by the distance of their centroids; a later one may have a larger radius.
                scanned.num_settled += 1;
                continue;
            }
            if num_opened == params.probes {
                break;
            }
            num_opened += 1;
            scanned.num_settled += 1;
            let list = &self.lists[cell.cell as usize];
            let scan = ScanQuery {
                table: &rotated.table,
                add: cell.distance,
                error: params.epsilon * cell.distance.sqrt(),
                limit,
            };
            list.scan(self.kernels, self.layout, &scan, &mut scanned.hits);
            scanned.num_scanned += list.len();
            if let Some(filter) = filter {
                let mut kept = fresh;
                for idx in fresh..scanned.hits.len() {
                    if filter.contains(self.directory.number(scanned.hits[idx].slot)) {
                        scanned.hits.swap(kept, idx);
                        kept += 1;
                    }
                }
                scanned.hits.truncate(kept);
            }
            if params.angle_aware {
                self.tighten(
                    &mut scanned.hits,
                    fresh,
                    cell.distance,
                    params.epsilon,
                    limit,
                );
            }
            for hit in &scanned.hits[fresh..] {
                best.bound(hit.estimate + hit.error);
            }
            fresh = scanned.hits.len();
        }
        scanned
    }

    /// Narrows the bounds of `hits[first..]` by what is known of the angle, and drops what that rules out.
    fn tighten(&self, hits: &mut Vec<Hit>, first: usize, add: f32, epsilon: f32, limit: f32) {
        if !limit.is_finite() {
            return;
        }
        let dim = self.layout.padded_dim();
        let unit = epsilon * add.sqrt();
        let mut kept = first;
        for idx in first..hits.len() {
            let mut hit = hits[idx];
            let square = rabitq::residual_square(hit.scale, hit.error / unit, dim);
            hit.error = rabitq::angle_aware_error(hit.error, square, add, limit);
            if hit.estimate - hit.error <= limit {
                hits[kept] = hit;
                kept += 1;
            }
        }
        hits.truncate(kept);
    }

    /// Compares hits exactly, the most promising first, as long as one can be among the best.
    fn rank(
        &self,
        comparable: &[f32],
        mut hits: Vec<Hit>,
        limit: usize,
        params: &SearchParams,
        best: &mut Best,
    ) -> Vec<(f32, u64)> {
        let bound = best.limit();
        hits.retain(|hit| hit.estimate - hit.error <= bound);
        best.start_ranking();
        let depth = if params.rerank == 0 {
            usize::MAX
        } else {
            params.rerank.max(limit)
        };
        let by_estimate =
            |a: &Hit, b: &Hit| a.estimate.total_cmp(&b.estimate).then(a.slot.cmp(&b.slot));
        if hits.len() > depth {
            hits.select_nth_unstable_by(depth - 1, by_estimate);
            hits.truncate(depth);
        }
        hits.sort_unstable_by(by_estimate);
        for hit in hits.iter().take(PREFETCH_AHEAD) {
            Kernels::prefetch(self.vectors.get(hit.slot));
        }
        for (idx, hit) in hits.iter().enumerate() {
            if let Some(later) = hits.get(idx + PREFETCH_AHEAD) {
                Kernels::prefetch(self.vectors.get(later.slot));
            }
            if hit.estimate - hit.error > best.worst() {
                continue;
            }
            let distance = self.exact_distance(comparable, hit.slot);
            best.num_compared += 1;
            best.offer(distance, self.directory.number(hit.slot));
        }
        best.take()
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
