//! Sorting all images anew as a job: what would change, told night by night.

use std::sync::Arc;

use async_trait::async_trait;
use likeness_core::jobs::Interval;

use super::Dedup;
use crate::EngineError;
use crate::ops::{Job, JobError};

/// Sorts all images anew and tells what would change; applies nothing. The interval of a run says only when it was:
/// the images are those of now.
#[derive(Debug)]
pub struct ReclusterPlan(Arc<Dedup>);

impl ReclusterPlan {
    /// Returns the job over a service.
    pub fn new(dedup: Arc<Dedup>) -> Self {
        Self(dedup)
    }
}

#[async_trait]
impl Job for ReclusterPlan {
    fn name(&self) -> &'static str {
        "recluster-plan"
    }

    fn about(&self) -> &'static str {
        "Sorts all images anew and tells what would change; applies nothing"
    }

    async fn run(&self, _: Interval) -> Result<serde_json::Value, JobError> {
        let plan = self.0.recluster().await.map_err(|error| JobError {
            // Too many images, or corrections that contradict one another.
            is_temporary: !matches!(error, EngineError::InvalidParameter { .. }),
            message: error.to_string(),
        })?;
        Ok(serde_json::json!({
            "images": plan.images,
            "clusters_now": plan.clusters_now,
            "clusters_then": plan.clusters_then,
            "moved": plan.moved,
            "moves": plan.moves,
            "plan": plan.plan,
        }))
    }
}
