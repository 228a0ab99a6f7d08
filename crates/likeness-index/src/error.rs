//! Errors of the index. None of them is cured by a retry: the data is at fault.

/// Why an index refused a vector or a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The vector has another number of components than the index.
    #[error("vector has `{got}` dimensions, the index has `{expected}`")]
    WrongDimension {
        /// Components of the index.
        expected: usize,
        /// Components of the vector given.
        got: usize,
    },
    /// The number is taken; remove it first.
    #[error("number `{number}` is in the index already")]
    Duplicate {
        /// The number given.
        number: u64,
    },
    /// The vector is zero, infinite or not a number, so it has no direction to compare.
    #[error("vector has no direction: its length is zero or not finite")]
    NoDirection,
    /// 2³² vectors are in the index.
    #[error("the index is full: it holds 2^32 vectors")]
    Full,
    /// Stored rows contradict each other or are cut off.
    #[error("index rows are corrupt: {reason}")]
    Corrupt {
        /// Which row, and what is wrong with it.
        reason: String,
    },
    /// Stored rows are of another kind of index, another version, or other parameters.
    #[error("index rows do not belong here: {reason}")]
    Foreign {
        /// What they are.
        reason: String,
    },
    /// There is no room for the exact vector, on disk for example.
    #[error("cannot store the vector: {reason}")]
    Storage {
        /// What the store said.
        reason: String,
    },
}
