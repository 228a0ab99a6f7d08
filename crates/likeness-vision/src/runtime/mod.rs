//! Turning pictures into descriptors.
//!
//! One trait, [`Embedder`], stands for whatever computes them: [`onnx::OnnxEmbedder`] in this
//! process, a model server elsewhere, [`fake::TestEmbedder`] in unit tests. Callers prepare a
//! picture once with [`prepare`] and hand it to a [`queue::ModelPool`], which owns the threads that
//! the model runs on.
//!
//! Invariants: an [`Embedding`] is finite and of unit length, so a dot product of two is their
//! cosine; an embedder answers a batch in the order of the batch, or fails as a whole.

pub mod denormals;
pub mod fake;
pub mod onnx;
pub mod queue;
pub mod rows;

use std::fmt;

use crate::pixels::{Filter, RgbImage};

/// What an embedder is and wants. Stored beside every descriptor it makes, since descriptors of
/// different models cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedderSpec {
    /// Name of the model in the model store.
    pub model: String,
    /// Version of the model in the model store.
    pub version: String,
    /// SHA-256 of the model's file in lower-case hex: what really tells two models apart.
    pub digest: String,
    /// Number of components of a descriptor.
    pub dim: usize,
    /// Width and height of the square input, in pixels.
    pub input_side: u32,
}

/// A descriptor of a picture: finite components, unit length.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(Vec<f32>);

impl Embedding {
    /// Scales `values` to unit length.
    ///
    /// Fails with [`ModelError::BadOutput`] if a component is not finite or all are zero: such an
    /// output has no direction, and would poison an index silently.
    pub fn normalised(mut values: Vec<f32>) -> Result<Self, ModelError> {
        // Summed in f64 so that the length does not depend on the order or number of components.
        let squared: f64 = values.iter().map(|&value| f64::from(value).powi(2)).sum();
        if !squared.is_finite() || squared <= f64::from(f32::MIN_POSITIVE) {
            return Err(ModelError::BadOutput {
                reason: format!("a descriptor of squared length `{squared}` has no direction"),
            });
        }
        let scale = 1.0 / squared.sqrt();
        for value in &mut values {
            *value = (f64::from(*value) * scale) as f32;
        }
        Ok(Self(values))
    }

    /// Returns the components.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// Returns the components, giving up the descriptor.
    pub fn into_vec(self) -> Vec<f32> {
        self.0
    }

    /// Returns the dot product with `other`, which is the cosine since both have unit length.
    ///
    /// # Panics
    /// If the dimensions differ: the two come from different models and have no cosine.
    pub fn dot(&self, other: &Self) -> f32 {
        assert_eq!(
            self.0.len(),
            other.0.len(),
            "descriptors of different models"
        );
        self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum()
    }
}

/// What turns pictures into descriptors.
pub trait Embedder: fmt::Debug + Send + Sync {
    /// Tells which model this is and what it wants.
    fn spec(&self) -> &EmbedderSpec;

    /// Returns one descriptor of `spec().dim` components per image, in the order of `batch`.
    ///
    /// Every image must already be `input_side` × `input_side` (see [`prepare`]). An error is an
    /// error of the whole batch. Blocks for as long as the model computes: never call it on an
    /// async task, use a [`queue::ModelPool`].
    fn embed(&self, batch: &[RgbImage]) -> Result<Vec<Embedding>, ModelError>;
}

/// Resizes `image` to the square that the embedder wants.
///
/// The aspect ratio is given up on purpose: a squash costs a copy-detection model next to nothing
/// (cosine .998 with the original), cutting the edges off costs much more. Bilinear with the support
/// widened when shrinking, the filter such models are trained with.
pub fn prepare(image: &RgbImage, spec: &EmbedderSpec) -> RgbImage {
    if image.width() == spec.input_side && image.height() == spec.input_side {
        return image.clone();
    }
    image.resize_exact(spec.input_side, spec.input_side, Filter::Bilinear)
}

/// Checks that `image` is what `spec` wants.
pub(crate) fn check_input(image: &RgbImage, spec: &EmbedderSpec) -> Result<(), ModelError> {
    if image.width() == spec.input_side && image.height() == spec.input_side {
        return Ok(());
    }
    Err(ModelError::WrongInput {
        model: spec.model.clone(),
        expected: spec.input_side,
        width: image.width(),
        height: image.height(),
    })
}

/// Why a model could not be loaded or did not answer.
///
/// Cloneable, since the failure of a batch is the failure of every request in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The inference library is missing or cannot be used.
    #[error("cannot use ONNX Runtime at `{path}`: {reason}; `likeness models pull` obtains it")]
    Runtime {
        /// Where the library was looked for.
        path: String,
        /// What went wrong.
        reason: String,
    },
    /// The model's file is missing, damaged or not what its manifest says.
    #[error("cannot load model `{model}`: {reason}; `likeness models pull` obtains it again")]
    Load {
        /// Name of the model.
        model: String,
        /// What went wrong.
        reason: String,
    },
    /// A model that was given as a file is none, or of another form than what it is for.
    #[error("cannot use the model `{model}`: {reason}")]
    Form {
        /// Its path.
        model: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An image has not the size that the model wants.
    #[error("model `{model}` wants {expected}×{expected} pixels, got {width}×{height}")]
    WrongInput {
        /// Name of the model.
        model: String,
        /// The side of the square it wants.
        expected: u32,
        /// The width it got.
        width: u32,
        /// The height it got.
        height: u32,
    },
    /// The model ran and failed, or panicked. Trying the same images again will not help.
    #[error("model `{model}` failed: {reason}")]
    Failed {
        /// Name of the model.
        model: String,
        /// What went wrong.
        reason: String,
    },
    /// The model answered with something that is no descriptor.
    #[error("bad model output: {reason}")]
    BadOutput {
        /// What is wrong with it.
        reason: String,
    },
    /// The queue is full. The caller may try again later.
    #[error("the model queue is full (`{capacity}` waiting)")]
    Overloaded {
        /// How many requests the queue holds.
        capacity: usize,
    },
    /// The pool has been shut down.
    #[error("the model pool is shut down")]
    Stopped,
}

impl ModelError {
    /// Tells whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Overloaded { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalising_gives_unit_length() {
        let embedding = Embedding::normalised(vec![3.0, 4.0]).unwrap();
        assert_eq!(embedding.as_slice(), &[0.6, 0.8]);
        assert!((embedding.dot(&embedding) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn outputs_without_direction_are_refused() {
        for bad in [
            vec![0.0; 4],
            vec![f32::NAN, 1.0],
            vec![f32::INFINITY, 1.0],
            vec![],
        ] {
            assert!(matches!(
                Embedding::normalised(bad),
                Err(ModelError::BadOutput { .. })
            ));
        }
    }

    #[test]
    fn only_overload_is_worth_a_retry() {
        assert!(ModelError::Overloaded { capacity: 1 }.is_retryable());
        assert!(!ModelError::Stopped.is_retryable());
    }
}
