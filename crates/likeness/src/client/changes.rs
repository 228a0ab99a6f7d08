//! What changes clusters: corrections, erasures and reclusterings.

use anyhow::Context;
use bytes::Bytes;
use likeness_core::{ImageId, Sha256};
use likeness_engine::dedup::recluster::{ApplyPlan, Reclustered, Reclustering};
use likeness_engine::dedup::view::Page;
use likeness_engine::dedup::{
    CorrectionView, ErasurePlan, ErasureProof, ErasureView, NewCorrection, NewErasure,
};
use serde::de::DeserializeOwned;

use super::{Client, blocking, correction_of, encoded, read_answer};

impl Client {
    /// Makes a correction; nothing if the server does not know in time what becomes of it.
    pub(crate) async fn correct(
        &self,
        correction: &NewCorrection,
    ) -> anyhow::Result<Option<CorrectionView>> {
        let body = serde_json::json!({
            "id": correction.id,
            "author": correction.author,
            "reason": correction.reason,
            "command": correction.command,
        });
        let body = Bytes::from(body.to_string());
        let answer: serde_json::Value = self
            .post("/v1/corrections", "application/json", body)
            .await?;
        correction_of(answer)
    }

    pub(crate) async fn corrections(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<CorrectionView>> {
        let mut path = format!("/v1/corrections?limit={limit}");
        if let Some(cursor) = cursor {
            path.push_str(&format!("&cursor={}", encoded(cursor)));
        }
        self.get(path).await
    }

    /// Erases an image; nothing if the server does not know in time that it is done.
    pub(crate) async fn erase(&self, erasure: &NewErasure) -> anyhow::Result<Option<ErasureView>> {
        let body = serde_json::json!({ "author": erasure.author, "reason": erasure.reason });
        let path = format!("/v1/images/{}", encoded(erasure.image.as_str()));
        let answer: serde_json::Value = self.delete(path, body.to_string()).await?;
        if answer.get("erased_ms").is_none() {
            return Ok(None);
        }
        let view = serde_json::from_value(answer)
            .context("the server's answer is not what this version expects")?;
        Ok(Some(view))
    }

    pub(crate) async fn plan_erasure(&self, id: &ImageId) -> anyhow::Result<ErasurePlan> {
        let path = format!("/v1/images/{}?dry_run=true", encoded(id.as_str()));
        self.delete(path, String::new()).await
    }

    /// Looks for what is left of an image. Takes as long as reading everything does.
    pub(crate) async fn prove_erasure(
        &self,
        id: &ImageId,
        sha256: Option<Sha256>,
    ) -> anyhow::Result<ErasureProof> {
        let mut path = format!("/v1/images/{}/erasure", encoded(id.as_str()));
        if let Some(sha256) = sha256 {
            path.push_str(&format!("?sha256={sha256}"));
        }
        let client = self.clone();
        blocking(move || {
            let request = client.signed(client.streams.get(format!("{}{path}", client.base)));
            let response = request.call().map_err(|error| client.unreachable(error))?;
            read_answer(response)
        })
        .await
    }

    /// Shows what a reclustering would change. Takes a search for each image.
    pub(crate) async fn recluster(&self) -> anyhow::Result<Reclustering> {
        self.post_long("/v1/recluster", serde_json::json!({})).await
    }

    pub(crate) async fn apply_reclustering(
        &self,
        apply: &ApplyPlan,
    ) -> anyhow::Result<Reclustered> {
        let body = serde_json::json!({
            "plan": apply.plan,
            "author": apply.author,
            "reason": apply.reason,
        });
        self.post_long("/v1/recluster", body).await
    }

    /// Posts what takes as long as it takes.
    async fn post_long<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &'static str,
        body: serde_json::Value,
    ) -> anyhow::Result<T> {
        let client = self.clone();
        blocking(move || {
            let request = client.signed(client.streams.post(format!("{}{path}", client.base)));
            let response = request
                .content_type("application/json")
                .send(body.to_string())
                .map_err(|error| client.unreachable(error))?;
            read_answer(response)
        })
        .await
    }

    pub(super) async fn delete<T: DeserializeOwned + Send + 'static>(
        &self,
        path: String,
        body: String,
    ) -> anyhow::Result<T> {
        let client = self.clone();
        blocking(move || {
            let request = client.signed(client.agent.delete(format!("{}{path}", client.base)));
            let response = if body.is_empty() {
                request.call()
            } else {
                let request = request.force_send_body();
                request.content_type("application/json").send(&body)
            };
            read_answer(response.map_err(|error| client.unreachable(error))?)
        })
        .await
    }
}
