//! Errors of the index. None of them is cured by a retry: the caller's data is at fault.

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
}
