//! Which numbers a search may return.

use roaring::RoaringTreemap;

/// A set of numbers.
pub trait Filter: std::fmt::Debug + Sync {
    /// Whether `number` may be returned.
    fn contains(&self, number: u64) -> bool;
}

impl Filter for RoaringTreemap {
    fn contains(&self, number: u64) -> bool {
        RoaringTreemap::contains(self, number)
    }
}
