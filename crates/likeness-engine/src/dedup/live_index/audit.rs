//! Live recall of the index: one in so many searches is answered again by looking at everything.
//!
//! Probes that follow from it serve questions and work done ahead. Decisions keep those of the generation's
//! parameters: an audit depends on chance, and they must not.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use likeness_core::StoreResult;
use likeness_index::{Audit, Neighbor, merge_top_k};

use super::{LiveIndex, Span, corrupt};
use crate::dedup::records::Candidate;
use crate::metrics::{
    INDEX_AUDITED, INDEX_PROBES, INDEX_RECALL, INDEX_RECALL_HIGH, INDEX_RECALL_LOW,
};

/// Nearest images that an audit asks for: recall@10.
const TOP_K: usize = 10;
/// Audited searches that the recall is told over.
const WINDOW: usize = 1_000;
/// Images compared while the index is locked: a few milliseconds, which is how long a writer may wait.
const SLICE: usize = 32_768;

/// How the index is audited.
#[derive(Debug, Clone, Copy)]
pub(in crate::dedup) struct AuditConfig {
    /// One in so many searches is audited; 0: none.
    pub every: u64,
    /// Recall@10 that is wanted: probes go up where it is missed. 0: probes stay.
    pub wanted: f64,
    /// Most probes.
    pub max_probes: usize,
}

/// Counts searches and keeps their recall.
#[derive(Debug)]
pub(super) struct Auditor {
    config: AuditConfig,
    searches: AtomicU64,
    probes: AtomicUsize,
    /// One audit at a time: it is background work.
    is_busy: AtomicBool,
    audit: Mutex<Audit>,
}

impl Auditor {
    pub(super) fn new(config: AuditConfig, probes: usize) -> Self {
        metrics::gauge!(INDEX_PROBES).set(probes as f64);
        Self {
            config,
            searches: AtomicU64::new(0),
            probes: AtomicUsize::new(probes),
            is_busy: AtomicBool::new(false),
            audit: Mutex::new(Audit::new(WINDOW)),
        }
    }

    /// Cells that a search looks into, or buckets of each term.
    pub(super) fn probes(&self) -> usize {
        self.probes.load(Ordering::Relaxed)
    }

    /// Counts a search; returns whether it is one to audit.
    pub(super) fn is_due(&self) -> bool {
        let count = self.searches.fetch_add(1, Ordering::Relaxed);
        self.config.every > 0 && count.is_multiple_of(self.config.every)
    }

    #[cfg(test)]
    pub(super) fn recall(&self) -> Option<likeness_index::Recall> {
        self.audit.lock().expect("nothing in it can panic").recall()
    }

    fn record(&self, answered: &[Neighbor], exact: &[Neighbor]) {
        let mut audit = self.audit.lock().expect("nothing in it can panic");
        audit.record(answered, exact);
        metrics::gauge!(INDEX_AUDITED).set(audit.audited() as f64);
        let Some(recall) = audit.recall() else { return };
        metrics::gauge!(INDEX_RECALL).set(recall.value);
        metrics::gauge!(INDEX_RECALL_LOW).set(recall.low);
        metrics::gauge!(INDEX_RECALL_HIGH).set(recall.high);
        let current = self.probes();
        let probes = audit.probes(current, self.config.wanted, self.config.max_probes);
        if probes > current {
            tracing::info!(
                recall = recall.value,
                wanted = self.config.wanted,
                from = current,
                to = probes,
                "recall is below what is wanted: looking into more lists"
            );
            self.probes.store(probes, Ordering::Relaxed);
            metrics::gauge!(INDEX_PROBES).set(probes as f64);
            audit.restart();
        }
    }
}

impl LiveIndex {
    /// Answers a search again, exactly, over the numbers below `num_indexed`, and takes note of the recall.
    /// Skipped while another audit runs. Blocks for as long as reading all vectors takes, in slices that
    /// let others in between.
    ///
    /// # Errors
    /// As [`search`](LiveIndex::search).
    pub(in crate::dedup) fn audit(
        &self,
        query: &[f32],
        num_indexed: u64,
        answered: &[Candidate],
    ) -> StoreResult<()> {
        if self.auditor.is_busy.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let exact = self.exact(query, num_indexed);
        self.auditor.is_busy.store(false, Ordering::Release);
        let answered: Vec<Neighbor> = answered
            .iter()
            .take(TOP_K)
            .map(|candidate| Neighbor {
                number: candidate.number.0,
                similarity: candidate.cosine,
            })
            .collect();
        self.auditor.record(&answered, &exact?);
        Ok(())
    }

    fn exact(&self, query: &[f32], num_indexed: u64) -> StoreResult<Vec<Neighbor>> {
        let filter = Span(0..num_indexed);
        let (mut best, mut from) = (Vec::new(), Some(0));
        while let Some(slot) = from {
            let inner = self.read();
            let (part, next) = inner
                .index_ref()?
                .search_exact_part(query, TOP_K, Some(&filter), slot, SLICE)
                .map_err(|error| corrupt(&error))?;
            best = merge_top_k(&best, &part, TOP_K);
            from = next;
        }
        Ok(best)
    }
}
