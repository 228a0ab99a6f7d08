//! The ways to find candidates that are compared, behind one face.

use likeness_index::{
    Cells, ExactIndex, Hyperplanes, HyperplanesParams, IndexError, PlanRequest, SearchParams, bf16,
    plan,
};

use super::collection::Collection;
use crate::output::count;

/// Vectors that the planner learns from how often strangers meet.
const SAMPLE: u32 = 4_096;

/// An index that hands over candidates.
pub(super) trait Scheme {
    /// Its name in reports.
    fn name(&self) -> String;

    /// How it is set, in words.
    fn settings(&self) -> String;

    /// Returns at most `limit` numbers, most promising first. Their similarities are computed, as a caller
    /// needs them, and left out here.
    fn candidates(&self, query: &[f32], limit: usize) -> Result<Vec<u64>, IndexError>;

    /// Bytes of memory held.
    fn memory_bytes(&self) -> usize;
}

/// Its depth of re-ranking, given when it is made, is the limit.
impl Scheme for ExactIndex {
    fn name(&self) -> String {
        "exact".to_owned()
    }

    fn settings(&self) -> String {
        "the codes of all vectors are scanned".to_owned()
    }

    fn candidates(&self, query: &[f32], limit: usize) -> Result<Vec<u64>, IndexError> {
        debug_assert_eq!(limit, self.params().rerank);
        let found = Self::candidates(self, query, 0)?;
        Ok(found.entries().iter().map(|entry| entry.number).collect())
    }

    fn memory_bytes(&self) -> usize {
        Self::memory_bytes(self)
    }
}

/// The best estimates among the codes of some cells.
#[derive(Debug)]
pub(super) struct CellsByEstimate<'a> {
    pub(super) cells: &'a Cells,
    pub(super) probes: usize,
}

impl Scheme for CellsByEstimate<'_> {
    fn name(&self) -> String {
        format!("cells {}", self.probes)
    }

    fn settings(&self) -> String {
        format!(
            "the best estimates in {}",
            cells_probed(self.cells, self.probes)
        )
    }

    fn candidates(&self, query: &[f32], limit: usize) -> Result<Vec<u64>, IndexError> {
        let found = self.cells.candidates(query, limit, self.probes)?;
        Ok(found
            .into_iter()
            .map(|candidate| candidate.number)
            .collect())
    }

    fn memory_bytes(&self) -> usize {
        self.cells.memory_bytes()
    }
}

/// All in some cells that reach the floor, which is how the pipeline asks. It does not return an original
/// below the floor, since no scorer could join it.
#[derive(Debug)]
pub(super) struct CellsWithin<'a> {
    pub(super) cells: &'a Cells,
    pub(super) floor: f32,
    pub(super) params: SearchParams,
}

impl Scheme for CellsWithin<'_> {
    fn name(&self) -> String {
        format!("within {}", self.params.probes)
    }

    fn settings(&self) -> String {
        format!(
            "what reaches the floor in {}, bound {}",
            cells_probed(self.cells, self.params.probes),
            self.params.epsilon
        )
    }

    fn candidates(&self, query: &[f32], limit: usize) -> Result<Vec<u64>, IndexError> {
        let answer = self
            .cells
            .range(query, self.floor, limit, &self.params, None)?;
        Ok(answer
            .neighbors
            .into_iter()
            .map(|neighbor| neighbor.number)
            .collect())
    }

    fn memory_bytes(&self) -> usize {
        self.cells.memory_bytes()
    }
}

fn cells_probed(cells: &Cells, probes: usize) -> String {
    let stats = cells.stats();
    format!(
        "{} of {} cells, the longest of {} vectors",
        count(probes.min(stats.num_cells) as u64),
        count(stats.num_cells as u64),
        stats.list_lengths[2]
    )
}

/// Hyperplanes as the planner sets them.
#[derive(Debug)]
pub(super) struct PlannedPlanes {
    pub(super) planes: Hyperplanes,
    probes: usize,
    wish: String,
}

impl PlannedPlanes {
    /// Plans for all of `collection`, shown a sample of its distractors, or of what else there is.
    ///
    /// # Errors
    /// If no setting reaches the recall.
    pub(super) fn new(
        collection: &Collection,
        max_candidates: usize,
        recall: f64,
        similarity: f64,
    ) -> anyhow::Result<Self> {
        let mut numbers = collection.distractors();
        if numbers.is_empty() {
            numbers = 0..numbers.end;
        }
        let sample: Vec<f32> = numbers
            .take(SAMPLE as usize)
            .flat_map(|number| bf16::decode(collection.vector(number)))
            .collect();
        let dim = collection.dim();
        let request = PlanRequest {
            similarity,
            sample: Some(&sample),
            max_candidates,
            ..PlanRequest::new(collection.len() as u64, recall, dim)
        };
        let setting = plan(&request)?.chosen;
        Ok(Self {
            planes: Hyperplanes::new(HyperplanesParams::new(dim, setting.terms, setting.bits)),
            probes: setting.probes,
            wish: format!(
                "planned for recall {recall} at cosine {similarity}: {:.4} expected, {:.0} µs a query",
                setting.recall, setting.query_us
            ),
        })
    }
}

impl Scheme for PlannedPlanes {
    fn name(&self) -> String {
        "hyperplanes".to_owned()
    }

    fn settings(&self) -> String {
        let params = self.planes.params();
        format!(
            "{} terms of {} bits, {} probes; {}",
            params.terms, params.bits, self.probes, self.wish
        )
    }

    fn candidates(&self, query: &[f32], limit: usize) -> Result<Vec<u64>, IndexError> {
        let found = self.planes.candidates(query, limit, self.probes, None)?;
        Ok(found
            .into_iter()
            .map(|candidate| candidate.number)
            .collect())
    }

    fn memory_bytes(&self) -> usize {
        self.planes.memory_bytes()
    }
}
