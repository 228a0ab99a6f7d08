//! Taking an erased image out of the index.
//!
//! In the order of the log, like everything that changes the lists: so what they hold when an image is decided
//! follows from the log here too (`decision.rs`).

use std::collections::HashMap;

use likeness_core::{ImageNumber, StoreResult};

use super::{LiveIndex, corrupt};

impl LiveIndex {
    /// Takes an image out of the lists. Its rows are among the next [`changes`](Self::changes); follow their
    /// commit by [`erased`](Self::erased). The index is stale until then.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](likeness_core::StoreError::Unavailable) while rows are being read again.
    pub(in crate::dedup) fn erase(&self, number: ImageNumber) -> StoreResult<()> {
        let mut inner = self.write();
        inner.is_stale = true;
        // The latest images are not in the lists yet.
        inner.index_mut()?.forget(number.0);
        Ok(())
    }

    /// Takes note that an erasure is committed: nothing finds the image from now on, and its vector is
    /// overwritten.
    ///
    /// # Errors
    /// If the vector cannot be overwritten.
    pub(in crate::dedup) fn erased(&self, number: ImageNumber) -> StoreResult<()> {
        let mut inner = self.write();
        inner.recent.remove(number);
        inner.views.remove(number);
        inner.erased.insert(number.0);
        inner.is_stale = false;
        let wiped = inner.index_mut()?.wipe_removed();
        wiped.map_err(|error| corrupt(&error))
    }

    /// Takes note of a number, the next one, whose image was erased before it was ever in this index.
    pub(in crate::dedup) fn skipped(&self, number: ImageNumber) {
        let mut inner = self.write();
        inner.recent.skip(number);
        inner.erased.insert(number.0);
        inner.committed = number.0 + 1;
        inner.is_stale = false;
    }

    /// Lets the numbers below `end` into the lists, the last of which is one of an image that is not there; see
    /// [`grow`](Self::grow).
    ///
    /// # Errors
    /// As [`grow`](Self::grow).
    pub(in crate::dedup) fn grow_past(&self, end: u64) -> StoreResult<()> {
        self.write().erased.insert(end - 1);
        self.grow(end, &HashMap::new())
    }

    /// Whether the index could return an image.
    pub(in crate::dedup) fn holds(&self, number: ImageNumber) -> bool {
        let inner = self.read();
        let is_listed = inner
            .index
            .as_ref()
            .is_some_and(|index| index.contains(number.0));
        is_listed || inner.recent.vector(number.0).is_some() || inner.views.holds(number)
    }
}
