//! The review queue, labels, and versions of the scorer.

use anyhow::Context as _;
use bytes::Bytes;
use likeness_core::ImageId;
use likeness_engine::dedup::view::Page;
use likeness_engine::dedup::{
    CompareOptions, CorrectionView, LabelView, Pair, ReviewVerdict, ReviewView, ScorerComparison,
    ScorerVersion,
};
use serde::Deserialize;

use super::{Client, MAX_ANSWER_BYTES, blocking, encoded, remote_error};

#[derive(Debug, Deserialize)]
struct ScorerList {
    items: Vec<ScorerVersion>,
}

impl Client {
    pub(crate) async fn reviews(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<ReviewView>> {
        self.get(paged("/v1/reviews", cursor, limit)).await
    }

    /// Labels a pair; nothing if the server does not know in time what becomes of it.
    pub(crate) async fn review(
        &self,
        pair: Pair,
        answer: &Answer,
    ) -> anyhow::Result<Option<CorrectionView>> {
        let body = serde_json::json!({
            "id": answer.id,
            "author": answer.author,
            "reason": answer.reason,
            "verdict": answer.verdict,
            "correct": answer.correct,
        });
        let body = Bytes::from(body.to_string());
        let path = format!("/v1/reviews/{pair}");
        let answer: serde_json::Value = self.post(&path, "application/json", body).await?;
        if answer.get("outcome").is_none() {
            return Ok(None);
        }
        let view = serde_json::from_value(answer)
            .context("the server's answer is not what this version expects")?;
        Ok(Some(view))
    }

    pub(crate) async fn labels(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<LabelView>> {
        let client = self.clone();
        let path = paged("/v1/labels", cursor, limit);
        blocking(move || {
            let request = client.signed(client.agent.get(format!("{}{path}", client.base)));
            let mut response = request.call().map_err(|error| client.unreachable(error))?;
            if !response.status().is_success() {
                return Err(remote_error(response));
            }
            let next = response.headers().get("next-cursor");
            let next = next.and_then(|value| Some(value.to_str().ok()?.to_owned()));
            let body = response
                .body_mut()
                .with_config()
                .limit(MAX_ANSWER_BYTES)
                .read_to_string()
                .context("cannot read the server's answer")?;
            let items = body
                .lines()
                .map(serde_json::from_str)
                .collect::<Result<_, _>>()
                .context("the server's answer is not what this version expects")?;
            Ok(Page { items, next })
        })
        .await
    }

    pub(crate) async fn scorers(&self) -> anyhow::Result<Vec<ScorerVersion>> {
        let list: ScorerList = self.get("/v1/scorers".to_owned()).await?;
        Ok(list.items)
    }

    pub(crate) async fn add_scorer(&self, json: &str) -> anyhow::Result<ScorerVersion> {
        let body = Bytes::copy_from_slice(json.as_bytes());
        self.post("/v1/scorers", "application/json", body).await
    }

    pub(crate) async fn compare_scorers(
        &self,
        options: &CompareOptions,
    ) -> anyhow::Result<ScorerComparison> {
        let mut path = format!(
            "/v1/scorers/compare?candidate={}&sample={}&seed={}",
            encoded(&options.candidate),
            options.sample,
            options.seed
        );
        if let Some(against) = &options.against {
            path.push_str(&format!("&against={}", encoded(against)));
        }
        self.get(path).await
    }
}

/// What a person says of a pair.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Id of the correction, by which a repeated call is recognised.
    pub(crate) id: ImageId,
    pub(crate) author: String,
    pub(crate) reason: String,
    pub(crate) verdict: ReviewVerdict,
    /// Whether the clusters are to follow.
    pub(crate) correct: bool,
}

fn paged(path: &str, cursor: Option<&str>, limit: usize) -> String {
    match cursor {
        Some(cursor) => format!("{path}?limit={limit}&cursor={}", encoded(cursor)),
        None => format!("{path}?limit={limit}"),
    }
}
