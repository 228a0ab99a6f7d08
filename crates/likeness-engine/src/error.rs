use std::time::Duration;

use likeness_core::{ImageId, InvalidImageId, Sha256, StoreError};
use likeness_vision::decode::DecodeError;
use likeness_vision::runtime::ModelError;

/// Why the engine could not do what it was asked. [`EngineError::code`] is what callers match on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No such image.
    #[error("no image with id `{0}`")]
    ImageNotFound(ImageId),
    /// No such cluster.
    #[error("no cluster with head `{0}`; a member's page names its head")]
    ClusterNotFound(ImageId),
    /// No such bank.
    #[error("no bank with the name `{0}`; `likeness bank list` shows those there are")]
    BankNotFound(String),
    /// No such job.
    #[error("no job with the name `{0}`; `likeness jobs` shows those there are")]
    JobNotFound(String),
    /// No such run of the job.
    #[error(
        "the job has no run with the number {0}; `likeness jobs history NAME` shows those there are"
    )]
    RunNotFound(u64),
    /// No such pair of images.
    #[error("no two images have the numbers `{0}`; `GET /v1/reviews` lists pairs")]
    PairNotFound(String),
    /// The image is known, but its decision is still to come.
    #[error("image `{0}` is stored and not decided yet; ask again shortly")]
    NotDecided(ImageId),
    /// Another embedding is stored under the image and kind.
    #[error(
        "another embedding of kind `{kind}` is stored for image `{image}` and stays; \
         if its upload never came, drop the orphan first"
    )]
    EmbeddingConflict {
        /// The image.
        image: String,
        /// The kind.
        kind: String,
    },
    /// Nothing of the image waits for a partner.
    #[error("nothing waits under the id `{0}`; `likeness orphans list` shows what does")]
    NotWaiting(ImageId),
    /// The image was erased; its id is not given again.
    #[error("image `{0}` was erased; its id cannot be used again, choose another")]
    Erased(ImageId),
    /// What was shown is not what would be done now.
    #[error("the plan has changed since it was shown, it is {current} now; look at it again")]
    PlanChanged {
        /// Digest of the plan as it is now.
        current: Sha256,
    },
    /// The text is not an id.
    #[error(transparent)]
    InvalidId(#[from] InvalidImageId),
    /// The id is taken by other bytes.
    #[error(
        "image `{id}` exists with other bytes (sha256 {existing}); choose another id, or delete it first"
    )]
    Conflict {
        /// The id.
        id: ImageId,
        /// Digest of what is stored under it.
        existing: Sha256,
    },
    /// The bytes are not a picture that may be decoded here.
    #[error(transparent)]
    Image(#[from] DecodeError),
    /// A query parameter is out of its range, or a cursor is not one that was given out.
    #[error("invalid `{name}`: {reason}")]
    InvalidParameter {
        /// Name of the parameter.
        name: &'static str,
        /// What it should be.
        reason: String,
    },
    /// More is waiting than the configured bound.
    #[error("overloaded: {reason}; try again in {} s", retry_after.as_secs())]
    Overloaded {
        /// Which bound was met.
        reason: &'static str,
        /// When to come again.
        retry_after: Duration,
    },
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data was made with another model.
    #[error(
        "the data holds embeddings of model {stored}, the configured model is {configured}; \
         configure the former again, or use a new data folder"
    )]
    ModelMismatch {
        /// SHA-256 of the model that made the data, hex.
        stored: String,
        /// SHA-256 of the configured model, hex.
        configured: String,
    },
    /// A stage has ended with an error that will not pass.
    #[error("decisions have stopped: {0}")]
    Stopped(String),
    /// The service is shutting down.
    #[error("shutting down; try again in a moment")]
    ShuttingDown,
}

impl EngineError {
    /// Returns a stable `snake_case` code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ImageNotFound(_) => "image_not_found",
            Self::ClusterNotFound(_) => "cluster_not_found",
            Self::BankNotFound(_) => "bank_not_found",
            Self::JobNotFound(_) => "job_not_found",
            Self::RunNotFound(_) => "run_not_found",
            Self::PairNotFound(_) => "pair_not_found",
            Self::NotDecided(_) => "not_decided",
            Self::EmbeddingConflict { .. } => "embedding_conflict",
            Self::NotWaiting(_) => "not_waiting",
            Self::Erased(_) => "erased",
            Self::PlanChanged { .. } => "plan_changed",
            Self::InvalidId(_) => "invalid_id",
            Self::Conflict { .. } => "id_conflict",
            Self::Image(error) => error.code(),
            Self::InvalidParameter { .. } => "invalid_parameter",
            Self::Overloaded { .. } => "overloaded",
            Self::Model(_) => "model_failed",
            Self::Store(StoreError::NoSpace { .. }) => "no_space",
            Self::Store(_) => "store_failed",
            Self::ModelMismatch { .. } => "model_mismatch",
            Self::Stopped(_) => "stopped",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// Returns whether the caller caused the error, and repeating the call cannot help.
    pub fn is_callers(&self) -> bool {
        !matches!(
            self,
            Self::Overloaded { .. }
                | Self::Model(_)
                | Self::Store(_)
                | Self::ModelMismatch { .. }
                | Self::Stopped(_)
                | Self::ShuttingDown
        )
    }
}

/// Returns an error with what caused it, for who cannot ask it.
pub(crate) fn with_causes(error: &likeness_core::StoreError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}
