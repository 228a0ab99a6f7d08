//! Jobs and their runs.

use bytes::Bytes;
use likeness_engine::ops::{JobList, RunList, RunView};

use super::{Client, encoded};
use crate::cli::jobs::QueuedRuns;

impl Client {
    pub(crate) async fn jobs(&self) -> anyhow::Result<JobList> {
        self.get("/v1/jobs".to_owned()).await
    }

    pub(crate) async fn job_runs(
        &self,
        name: &str,
        before: Option<u64>,
        limit: u64,
    ) -> anyhow::Result<RunList> {
        let mut path = format!("/v1/jobs/{}/runs?limit={limit}", encoded(name));
        if let Some(before) = before {
            path.push_str(&format!("&before={before}"));
        }
        self.get(path).await
    }

    pub(crate) async fn job_run(&self, name: &str, id: u64) -> anyhow::Result<RunView> {
        self.get(format!("/v1/jobs/{}/runs/{id}", encoded(name)))
            .await
    }

    pub(crate) async fn request_runs(
        &self,
        name: &str,
        from: &str,
        to: Option<&str>,
    ) -> anyhow::Result<QueuedRuns> {
        let body = serde_json::json!({ "from": from, "to": to });
        let path = format!("/v1/jobs/{}/runs", encoded(name));
        self.post(&path, "application/json", Bytes::from(body.to_string()))
            .await
    }

    pub(crate) async fn cancel_run(&self, name: &str, id: u64) -> anyhow::Result<RunView> {
        let path = format!("/v1/jobs/{}/runs/{id}", encoded(name));
        self.delete(path, String::new()).await
    }
}
