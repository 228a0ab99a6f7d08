//! Terms that too many images share: their lists take no more, and say nothing of any image.

use std::sync::atomic::{AtomicUsize, Ordering};

use likeness_index::Capped;
use tracing::warn;

use crate::metrics::{INDEX_CAPPED_TERMS, INDEX_LEFT_OUT};

/// Tells of capped terms, and warns each time they have become twice as many.
#[derive(Debug, Default)]
pub(super) struct CappedTerms {
    warned_at: AtomicUsize,
}

impl CappedTerms {
    pub(super) fn note(&self, capped: Capped) {
        metrics::gauge!(INDEX_CAPPED_TERMS).set(capped.terms as f64);
        metrics::gauge!(INDEX_LEFT_OUT).set(capped.left_out as f64);
        let warned_at = self.warned_at.load(Ordering::Relaxed);
        if capped.terms > 0 && capped.terms >= 2 * warned_at {
            self.warned_at.store(capped.terms, Ordering::Relaxed);
            warn!(
                terms = capped.terms,
                left_out = capped.left_out,
                "terms are shared by so many images that their lists are full: near-copies of the images that were \
                 left out are found by their other terms; see `likeness index plan` for terms of more bits"
            );
        }
    }
}
