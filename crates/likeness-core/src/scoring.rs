//! The port of models that score pairs elsewhere.

use std::fmt;

use async_trait::async_trait;

use crate::StoreResult;

/// What the `store` of this port's errors begins with.
pub const ROLE: &str = "scorer";

/// A model that gives each row of features a score.
///
/// Contract, checked by [`check_row_scorer`](crate::testsuite::check_row_scorer): a row's score is a function of
/// the row alone, and the same in every call, as far as the server keeps to one model. There are as many scores as
/// rows, in the order of the rows, each in 0..=1. An error says nothing of any row: the whole call may be repeated.
#[async_trait]
pub trait RowScorer: fmt::Debug + Send + Sync {
    /// Name and version, as explanations and generations give them.
    fn id(&self) -> &str;

    /// Scores `rows`, row-major, `n_features` numbers each. No rows give no scores, and ask nobody.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](crate::StoreError::Unavailable) if the model is out of reach, or its answer is
    /// not one; [`StoreError::Invalid`](crate::StoreError::Invalid) if it takes rows of another length.
    async fn score(&self, rows: &[f32], n_features: usize) -> StoreResult<Vec<f32>>;
}
