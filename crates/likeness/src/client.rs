//! The HTTP interface of a running server, as the commands use it.

mod banks;
mod changes;
mod jobs;
mod pins;
mod reviews;
mod sql;

use std::fmt;
use std::io::{BufRead, BufReader};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use likeness_core::ImageId;
use likeness_engine::dedup::NewImage;
use likeness_engine::dedup::view::{
    ClusterOrder, ClusterSummary, ClusterView, DecisionEvent, ExplainView, ImageView, MatchView,
    Overview, Page, UploadReceipt,
};
use likeness_engine::dedup::{
    CorrectionView, EmbeddingReceipt, JoinSide, OrphanCommand, OrphanQuery, OrphanReceipt,
};
use likeness_server::EmbeddingBody;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cli;
use crate::cli::orphans::OrphanList;
use crate::error::Refusal;
use crate::instance;

pub(crate) use pins::Ingested;
pub(crate) use reviews::Answer;

/// Time for an answer, except from streams.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Time to find out whether a server is there.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// Most bytes of an answer; the largest is a page of 500 clusters.
const MAX_ANSWER_BYTES: u64 = 16 << 20;
/// Most bytes of a picture; servers bound uploads by less.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// A server that is reached by HTTP. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    /// For streams, which have no time limit.
    streams: ureq::Agent,
    base: Arc<str>,
    authorization: Option<Arc<str>>,
}

/// An answer that is an error.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct RemoteError {
    /// HTTP status.
    pub(crate) status: u16,
    /// Stable code.
    pub(crate) code: String,
    message: String,
    /// When to come again, if the server says so.
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Debug, Deserialize)]
struct ErrorBody {
    error: ErrorFields,
}

#[derive(Debug, Deserialize)]
struct ErrorFields {
    code: String,
    message: String,
}

impl Client {
    /// Returns a client of the server whose root is at `url`. Nothing is sent yet.
    pub(crate) fn new(url: &str, key: Option<&str>) -> Self {
        let agent = |timeout| {
            ureq::Agent::new_with_config(
                ureq::Agent::config_builder()
                    .http_status_as_error(false)
                    .timeout_connect(Some(Duration::from_secs(5)))
                    .timeout_global(timeout)
                    .build(),
            )
        };
        Self {
            agent: agent(Some(TIMEOUT)),
            streams: agent(None),
            base: url.trim_end_matches('/').into(),
            authorization: key.map(|key| format!("Bearer {key}").into()),
        }
    }

    /// Returns a client of the server that was named, or of the one that has the data directory open.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if there is none.
    pub(crate) async fn find(context: &cli::Context) -> anyhow::Result<Self> {
        let key = context.key.as_deref();
        if let Some(url) = &context.server {
            return Ok(Self::new(url, key));
        }
        if let Some(instance) = instance::read(&context.data_dir) {
            let client = Self::new(&instance.url, key);
            if client.is_alive().await {
                return Ok(client);
            }
        }
        Err(Refusal::Unavailable.because(format!(
            "no server has `{}` open; start one with `likeness serve`, or name one with `--server`",
            context.data_dir.display()
        )))
    }

    /// Returns the address of the server's root.
    pub(crate) fn url(&self) -> &str {
        &self.base
    }

    /// Returns whether a server answers there.
    pub(crate) async fn is_alive(&self) -> bool {
        let request = self
            .agent
            .get(format!("{}/healthz", self.base))
            .config()
            .timeout_global(Some(PROBE_TIMEOUT))
            .build();
        let answer = tokio::task::spawn_blocking(move || request.call()).await;
        matches!(answer, Ok(Ok(response)) if response.status().is_success())
    }

    pub(crate) async fn upload(&self, image: NewImage) -> anyhow::Result<UploadReceipt> {
        let form = Form::of(&image);
        self.post("/v1/images", &form.content_type(), form.body)
            .await
    }

    pub(crate) async fn match_image(
        &self,
        bytes: Bytes,
        limit: usize,
    ) -> anyhow::Result<MatchView> {
        let path = format!("/v1/match?limit={limit}");
        self.post(&path, "application/octet-stream", bytes).await
    }

    pub(crate) async fn image(&self, id: &ImageId) -> anyhow::Result<ImageView> {
        self.get(format!("/v1/images/{}", encoded(id.as_str())))
            .await
    }

    pub(crate) async fn file(&self, id: &ImageId) -> anyhow::Result<Bytes> {
        let client = self.clone();
        let path = format!("/v1/images/{}/file", encoded(id.as_str()));
        blocking(move || {
            let request = client.signed(client.agent.get(format!("{}{path}", client.base)));
            let mut response = request.call().map_err(|error| client.unreachable(error))?;
            if !response.status().is_success() {
                return Err(remote_error(response));
            }
            let config = response.body_mut().with_config().limit(MAX_FILE_BYTES);
            let bytes = config
                .read_to_vec()
                .context("cannot read the server's answer")?;
            Ok(Bytes::from(bytes))
        })
        .await
    }

    pub(crate) async fn explain(&self, id: &ImageId) -> anyhow::Result<ExplainView> {
        self.get(format!("/v1/images/{}/explain", encoded(id.as_str())))
            .await
    }

    pub(crate) async fn clusters(
        &self,
        order: ClusterOrder,
        min_size: u64,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<ClusterSummary>> {
        let order = match order {
            ClusterOrder::Biggest => "biggest",
            ClusterOrder::Newest => "newest",
        };
        let mut path = format!("/v1/clusters?order={order}&min_size={min_size}&limit={limit}");
        if let Some(cursor) = cursor {
            path.push_str(&format!("&cursor={}", encoded(cursor)));
        }
        self.get(path).await
    }

    pub(crate) async fn cluster(
        &self,
        head: &ImageId,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<ClusterView> {
        let mut path = format!("/v1/clusters/{}?limit={limit}", encoded(head.as_str()));
        if let Some(cursor) = cursor {
            path.push_str(&format!("&cursor={}", encoded(cursor)));
        }
        self.get(path).await
    }

    /// Sends several embeddings.
    pub(crate) async fn push_embeddings(
        &self,
        embeddings: &[EmbeddingBody],
    ) -> anyhow::Result<Vec<EmbeddingReceipt>> {
        #[derive(Deserialize)]
        struct Receipts {
            items: Vec<EmbeddingReceipt>,
        }
        let body = Bytes::from(serde_json::to_vec(embeddings)?);
        let receipts: Receipts = self
            .post("/v1/embeddings", "application/json", body)
            .await?;
        Ok(receipts.items)
    }

    pub(crate) async fn orphans(&self, query: &OrphanQuery) -> anyhow::Result<OrphanList> {
        let mut path = format!("/v1/orphans?limit={}", query.limit);
        let side = query.side.map(|side| match side {
            JoinSide::Upload => "upload".to_owned(),
            JoinSide::Embedding => "embedding".to_owned(),
        });
        for (name, value) in [
            ("day", &query.day),
            ("kind", &query.kind),
            ("side", &side),
            ("cursor", &query.cursor),
        ] {
            if let Some(value) = value {
                path.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        self.get(path).await
    }

    pub(crate) async fn orphan(
        &self,
        image: &ImageId,
        command: OrphanCommand,
        author: &str,
        reason: &str,
    ) -> anyhow::Result<OrphanReceipt> {
        let mut body = serde_json::json!({"author": author, "reason": reason});
        let verb = match command {
            OrphanCommand::Retry { sign } => {
                body["sign"] = sign.into();
                "retry"
            }
            OrphanCommand::Drop => "drop",
        };
        let path = format!("/v1/orphans/{}/{verb}", encoded(image.as_str()));
        let body = Bytes::from(body.to_string());
        self.post(&path, "application/json", body).await
    }

    pub(crate) async fn overview(&self) -> anyhow::Result<Overview> {
        self.get("/v1/overview".to_owned()).await
    }

    /// Opens the stream of decisions that begins at `from` and hands each to `take`, until it
    /// answers `false` or the server ends the stream. Blocks.
    pub(crate) fn follow_decisions(
        &self,
        from: EventsFrom,
        take: &mut dyn FnMut(DecisionEvent) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let url = format!("{}/v1/events?from={from}", self.base);
        let request = self.signed(self.streams.get(url));
        let response = request.call().map_err(|error| self.unreachable(error))?;
        if !response.status().is_success() {
            return Err(remote_error(response));
        }
        let mut is_decision = true;
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line.context("the stream broke off")?;
            if let Some(event) = line.strip_prefix("event:") {
                is_decision = event.trim() == "decision";
            } else if let Some(data) = line.strip_prefix("data:") {
                if !is_decision {
                    anyhow::bail!("the server ended the stream: {}", data.trim());
                }
                let event = serde_json::from_str(data.trim_start())
                    .context("the server sent an event that is no decision")?;
                if !take(event)? {
                    break;
                }
            } else if line.is_empty() {
                is_decision = true;
            }
        }
        Ok(())
    }

    async fn get<T: DeserializeOwned + Send + 'static>(&self, path: String) -> anyhow::Result<T> {
        let client = self.clone();
        blocking(move || {
            let request = client.signed(client.agent.get(format!("{}{path}", client.base)));
            let response = request.call().map_err(|error| client.unreachable(error))?;
            read_answer(response)
        })
        .await
    }

    async fn post<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> anyhow::Result<T> {
        let client = self.clone();
        let (path, content_type) = (path.to_owned(), content_type.to_owned());
        blocking(move || {
            let request = client.signed(client.agent.post(format!("{}{path}", client.base)));
            let response = request
                .content_type(content_type)
                .send(body.as_ref())
                .map_err(|error| client.unreachable(error))?;
            read_answer(response)
        })
        .await
    }

    fn signed<Any>(&self, request: ureq::RequestBuilder<Any>) -> ureq::RequestBuilder<Any> {
        match &self.authorization {
            Some(value) => request.header("authorization", &**value),
            None => request,
        }
    }

    fn unreachable(&self, error: ureq::Error) -> anyhow::Error {
        crate::error::Refusal::Unavailable
            .because(format!("cannot reach the server at {}: {error}", self.base))
    }
}

/// Where a stream of decisions begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventsFrom {
    /// With the first ever.
    Beginning,
    /// With the next to come.
    Latest,
    /// With the first at this offset or after it.
    Offset(u64),
}

impl fmt::Display for EventsFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("beginning"),
            Self::Latest => f.write_str("latest"),
            Self::Offset(offset) => offset.fmt(f),
        }
    }
}

impl FromStr for EventsFrom {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "beginning" => Ok(Self::Beginning),
            "latest" => Ok(Self::Latest),
            offset => offset
                .parse()
                .map(Self::Offset)
                .map_err(|_| "expected `beginning`, `latest` or an offset"),
        }
    }
}

/// Reads an answer to a correction; nothing if what becomes of it is to come.
fn correction_of(answer: serde_json::Value) -> anyhow::Result<Option<CorrectionView>> {
    if answer.get("outcome").is_none() {
        return Ok(None);
    }
    let view = serde_json::from_value(answer)
        .context("the server's answer is not what this version expects")?;
    Ok(Some(view))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("a request was cancelled")?
}

type Response = ureq::http::Response<ureq::Body>;

fn read_answer<T: DeserializeOwned>(mut response: Response) -> anyhow::Result<T> {
    if !response.status().is_success() {
        return Err(remote_error(response));
    }
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER_BYTES)
        .read_to_vec()
        .context("cannot read the server's answer")?;
    serde_json::from_slice(&body).context("the server's answer is not what this version expects")
}

fn remote_error(mut response: Response) -> anyhow::Error {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER_BYTES)
        .read_to_vec()
        .unwrap_or_default();
    let (code, message) = match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(body) => (body.error.code, body.error.message),
        Err(_) => (
            "unknown".to_owned(),
            format!("the server answered with status {status}"),
        ),
    };
    anyhow::Error::new(RemoteError {
        status,
        code,
        message,
        retry_after,
    })
}

/// Percent-encodes everything but unreserved characters (RFC 3986, section 2.3).
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A `multipart/form-data` body (RFC 7578).
struct Form {
    boundary: String,
    body: Bytes,
}

impl Form {
    fn of(image: &NewImage) -> Self {
        // Random, so that it does not occur in the picture but by a chance of 2⁻⁷⁴.
        let boundary = format!("likeness-{}", ImageId::generate());
        let mut body = Vec::with_capacity(image.bytes.len() + 1024);
        let mut part = |name: &str, extra: &str, content: &[u8]| {
            let head = format!(
                "--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"{extra}\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        };
        if let Some(id) = &image.id {
            part("id", "", id.as_bytes());
        }
        if let Some(name) = &image.name {
            part("name", "", name.as_bytes());
        }
        part("file", "; filename=\"image\"", &image.bytes);
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        Self {
            boundary,
            body: body.into(),
        }
    }

    fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }
}

#[cfg(test)]
mod tests;
