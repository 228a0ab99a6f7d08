//! `dedup.scorer` as an ONNX file: a model of rows of features, run in this process (docs/adr/022-remote-scorer.md).

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use likeness_core::scoring::RowScorer;
use likeness_core::{Sha256, StoreError, StoreResult};
use likeness_vision::runtime::onnx::OnnxRuntime;
use likeness_vision::runtime::rows::OnnxRows;
use sha2::Digest as _;

use crate::error::Refusal;

/// Role and product, for errors.
const STORE: &str = "scorer (ONNX)";

/// A scorer in an ONNX file.
#[derive(Debug)]
pub(crate) struct OnnxScorer {
    id: String,
    model: Arc<OnnxRows>,
}

impl OnnxScorer {
    /// Opens the model in `file`, which takes `n_features` numbers a row. Its name is the file's, its version the
    /// beginning of the digest.
    ///
    /// # Errors
    /// If the file cannot be read, is no model, or one of another form.
    pub(crate) fn open(
        runtime: &OnnxRuntime,
        file: &Path,
        n_features: usize,
    ) -> anyhow::Result<Self> {
        let bytes = std::fs::read(file).map_err(|error| {
            Refusal::Input.because(format!("cannot read `{}`: {error}", file.display()))
        })?;
        let digest = Sha256(sha2::Sha256::digest(&bytes).into()).to_string();
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let model = OnnxRows::open(runtime, file, n_features)
            .map_err(|error| Refusal::Input.because(error.to_string()))?;
        Ok(Self {
            id: format!("onnx:{name}@{}", &digest[..12]),
            model: Arc::new(model),
        })
    }
}

#[async_trait]
impl RowScorer for OnnxScorer {
    fn id(&self) -> &str {
        &self.id
    }

    async fn score(&self, rows: &[f32], n_features: usize) -> StoreResult<Vec<f32>> {
        let expected = self.model.n_features();
        if n_features != expected {
            let reason = format!("it takes {expected} numbers a row, got {n_features}");
            return Err(StoreError::invalid(STORE, reason));
        }
        let (model, rows) = (Arc::clone(&self.model), rows.to_vec());
        // What a file answers it answers again: decisions stop, and `/readyz` says why.
        let failed = |reason: String| StoreError::corrupt(STORE, self.id.clone(), reason);
        let scores = tokio::task::spawn_blocking(move || model.run(&rows)).await;
        let scores = scores
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))?;
        match scores.iter().find(|score| !(0.0..=1.0).contains(*score)) {
            Some(score) => Err(failed(format!("`{score}` is no score from 0 to 1"))),
            None => Ok(scores),
        }
    }
}
