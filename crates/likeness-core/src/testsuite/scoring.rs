//! The contract of [`RowScorer`].

use crate::StoreError;
use crate::scoring::{ROLE, RowScorer};

/// Checks a model that takes `n_features` numbers a row, on `rows`, row-major; two rows at least.
///
/// # Panics
/// At the first clause that does not hold.
pub async fn check_row_scorer(scorer: &dyn RowScorer, rows: &[f32], n_features: usize) {
    let n_rows = rows.len() / n_features;
    assert!(n_rows >= 2, "the suite needs two rows, not {n_rows}");
    assert!(!scorer.id().is_empty(), "a model has a name");

    let scores = scorer.score(rows, n_features).await.expect("scores");
    assert_eq!(scores.len(), n_rows, "one score for each row");
    for score in &scores {
        assert!((0.0..=1.0).contains(score), "a score of {score}");
    }
    let again = scorer.score(rows, n_features).await.expect("scores");
    assert_eq!(again, scores, "the same in every call");
    for (row, score) in rows.chunks(n_features).zip(&scores) {
        let alone = scorer.score(row, n_features).await.expect("scores");
        assert_eq!(alone, [*score], "a function of the row alone");
    }
    let turned: Vec<f32> = rows.rchunks(n_features).flatten().copied().collect();
    let mut turned = scorer.score(&turned, n_features).await.expect("scores");
    turned.reverse();
    assert_eq!(turned, scores, "in the order of the rows");

    let none = scorer.score(&[], n_features).await.expect("no rows");
    assert!(none.is_empty(), "no rows give no scores");
    let error = scorer.score(&rows[..n_features], n_features + 1).await;
    match error {
        Err(StoreError::Invalid { store, .. }) => assert!(store.starts_with(ROLE), "{store}"),
        other => panic!("rows of another length: {other:?}"),
    }
}
