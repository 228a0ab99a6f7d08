//! The data, wherever it is open: in a running server, or in this process.

mod banks;

mod reviews;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use likeness_core::{ImageId, Sha256};
use likeness_engine::EngineError;
use likeness_engine::dedup::recluster::{ApplyPlan, Reclustered, Reclustering};
use likeness_engine::dedup::view::{
    ClusterOrder, ClusterSummary, ClusterView, Decision, DecisionKind, ExplainView, ImageStatus,
    ImageView, MatchView, Overview, Page, UploadReceipt,
};
use likeness_engine::dedup::{
    CorrectionView, Dedup, EmbeddingReceipt, ErasurePlan, ErasureProof, ErasureView, NewCorrection,
    NewErasure, NewImage, OrphanCommand, OrphanQuery, OrphanReceipt,
};
use likeness_server::EmbeddingBody;

use crate::cli::Context;
use crate::cli::orphans::OrphanList;
use crate::client::{Client, RemoteError};
use crate::{instance, wire};

/// How often a server is asked about an image that is not decided yet.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Access to the data, by the same methods wherever it is.
#[derive(Debug, Clone)]
pub(crate) enum Session {
    /// Opened here.
    Local(Arc<Dedup>),
    /// Held by a server.
    Remote(Client),
}

impl Session {
    /// Opens the data: the server that `--server` names, or the one that has the data directory
    /// open, or else the data directory itself.
    ///
    /// # Errors
    /// If a named server does not answer, models are missing, or a store cannot be opened.
    pub(crate) async fn open(context: &Context) -> anyhow::Result<Self> {
        let key = context.key.as_deref();
        if let Some(url) = &context.server {
            return Ok(Self::Remote(Client::new(url, key)));
        }
        if let Some(instance) = instance::read(&context.data_dir) {
            let client = Client::new(&instance.url, key);
            if client.is_alive().await {
                tracing::debug!(url = client.url(), "using the running server");
                return Ok(Self::Remote(client));
            }
        }
        Ok(Self::Local(wire::open(context).await?))
    }

    /// Stores an image. Waits while the other side is overloaded.
    pub(crate) async fn upload(&self, image: NewImage) -> anyhow::Result<UploadReceipt> {
        loop {
            let again = NewImage {
                id: image.id.clone(),
                name: image.name.clone(),
                bytes: image.bytes.clone(),
            };
            let error = match self.try_upload(again).await {
                Ok(receipt) => return Ok(receipt),
                Err(error) => error,
            };
            match retry_after(&error) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(error),
            }
        }
    }

    async fn try_upload(&self, image: NewImage) -> anyhow::Result<UploadReceipt> {
        match self {
            Self::Local(dedup) => {
                let _admission = dedup.admit(image.bytes.len() as u64)?;
                Ok(dedup.upload(image).await?)
            }
            Self::Remote(client) => client.upload(image).await,
        }
    }

    /// Waits until an image is decided. Returns nothing once it waits for an embedding from elsewhere.
    pub(crate) async fn wait_for_decision(&self, id: &ImageId) -> anyhow::Result<Option<Decision>> {
        const SLICE: Duration = Duration::from_secs(60);
        loop {
            match self {
                Self::Local(dedup) => {
                    let has_join = !dedup.config().join.is_off();
                    let slice = if has_join { POLL_INTERVAL } else { SLICE };
                    if let Some(decision) = dedup.wait_for_decision(id, slice).await? {
                        return Ok(Some(decision));
                    }
                    if has_join && !dedup.waiting_for(id).await?.is_empty() {
                        return Ok(None);
                    }
                }
                Self::Remote(client) => {
                    let image = client.image(id).await?;
                    match image.decision {
                        Some(decision) => return Ok(Some(decision)),
                        None if image.status == ImageStatus::Rejected => {
                            return Ok(Some(rejection(image)));
                        }
                        None if !image.waiting_for.is_empty() => return Ok(None),
                        None => tokio::time::sleep(POLL_INTERVAL).await,
                    }
                }
            }
        }
    }

    pub(crate) async fn image(&self, id: &ImageId) -> anyhow::Result<ImageView> {
        match self {
            Self::Local(dedup) => Ok(dedup.image(id).await?),
            Self::Remote(client) => client.image(id).await,
        }
    }

    /// Returns the bytes of an image, as uploaded.
    ///
    /// # Errors
    /// If there is none with this id, or it cannot be read.
    pub(crate) async fn file(&self, id: &ImageId) -> anyhow::Result<Bytes> {
        match self {
            Self::Local(dedup) => Ok(dedup.file(id).await?.bytes),
            Self::Remote(client) => client.file(id).await,
        }
    }

    pub(crate) async fn explain(&self, id: &ImageId) -> anyhow::Result<ExplainView> {
        match self {
            Self::Local(dedup) => Ok(dedup.explain(id).await?),
            Self::Remote(client) => client.explain(id).await,
        }
    }

    pub(crate) async fn match_image(
        &self,
        bytes: Bytes,
        limit: usize,
    ) -> anyhow::Result<MatchView> {
        match self {
            Self::Local(dedup) => Ok(dedup.match_image(bytes, limit).await?),
            Self::Remote(client) => client.match_image(bytes, limit).await,
        }
    }

    pub(crate) async fn clusters(
        &self,
        order: ClusterOrder,
        min_size: u64,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<ClusterSummary>> {
        match self {
            Self::Local(dedup) => Ok(dedup.clusters(order, min_size, cursor, limit).await?),
            Self::Remote(client) => client.clusters(order, min_size, cursor, limit).await,
        }
    }

    pub(crate) async fn cluster(
        &self,
        head: &ImageId,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<ClusterView> {
        match self {
            Self::Local(dedup) => Ok(dedup.cluster(head, cursor, limit).await?),
            Self::Remote(client) => client.cluster(head, cursor, limit).await,
        }
    }

    /// Makes a correction and waits until it is applied or refused.
    pub(crate) async fn correct(
        &self,
        correction: &NewCorrection,
    ) -> anyhow::Result<CorrectionView> {
        const SLICE: Duration = Duration::from_secs(60);
        loop {
            let found = match self {
                Self::Local(dedup) => {
                    let id = dedup.correct(correction.clone()).await?;
                    dedup.wait_for_correction(&id, SLICE).await?
                }
                Self::Remote(client) => client.correct(correction).await?,
            };
            // The same call is the same correction, so asking again does nothing but wait.
            if let Some(view) = found {
                return Ok(view);
            }
        }
    }

    pub(crate) async fn corrections(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> anyhow::Result<Page<CorrectionView>> {
        match self {
            Self::Local(dedup) => Ok(dedup.corrections(cursor, limit).await?),
            Self::Remote(client) => client.corrections(cursor, limit).await,
        }
    }

    /// Sends embeddings. Waits while the other side is overloaded.
    pub(crate) async fn push_embeddings(
        &self,
        embeddings: Vec<EmbeddingBody>,
    ) -> anyhow::Result<Vec<EmbeddingReceipt>> {
        loop {
            let outcome = match self {
                Self::Local(dedup) => {
                    let new: Result<Vec<_>, EngineError> = embeddings
                        .iter()
                        .cloned()
                        .map(EmbeddingBody::into_new)
                        .collect();
                    match new {
                        Ok(new) => dedup.push_embeddings(new).await.map_err(Into::into),
                        Err(error) => Err(error.into()),
                    }
                }
                Self::Remote(client) => client.push_embeddings(&embeddings).await,
            };
            let error = match outcome {
                Ok(receipts) => return Ok(receipts),
                Err(error) => error,
            };
            match retry_after(&error) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return Err(error),
            }
        }
    }

    pub(crate) async fn orphans(&self, query: &OrphanQuery) -> anyhow::Result<OrphanList> {
        match self {
            Self::Local(dedup) => {
                let page = dedup.orphans(query).await?;
                Ok(OrphanList {
                    join: dedup.join().await?,
                    items: page.items,
                    next: page.next,
                })
            }
            Self::Remote(client) => client.orphans(query).await,
        }
    }

    /// Does something with an orphan, and waits for what becomes of it.
    pub(crate) async fn orphan(
        &self,
        image: &ImageId,
        command: OrphanCommand,
        author: &str,
        reason: &str,
    ) -> anyhow::Result<OrphanReceipt> {
        match self {
            Self::Local(dedup) => {
                let timeout = dedup.config().decision_timeout;
                let (author, reason) = (author.to_owned(), reason.to_owned());
                Ok(dedup
                    .orphan(image, command, author, reason, timeout)
                    .await?)
            }
            Self::Remote(client) => client.orphan(image, command, author, reason).await,
        }
    }

    /// Erases an image and waits until nothing is left of it.
    pub(crate) async fn erase(&self, erasure: &NewErasure) -> anyhow::Result<ErasureView> {
        const SLICE: Duration = Duration::from_secs(60);
        loop {
            let found = match self {
                Self::Local(dedup) => dedup.erase(erasure.clone(), SLICE).await?,
                Self::Remote(client) => client.erase(erasure).await?,
            };
            // The same call is the same erasure, so asking again does nothing but wait.
            if let Some(view) = found {
                return Ok(view);
            }
        }
    }

    pub(crate) async fn plan_erasure(&self, id: &ImageId) -> anyhow::Result<ErasurePlan> {
        match self {
            Self::Local(dedup) => Ok(dedup.plan_erasure(id).await?),
            Self::Remote(client) => client.plan_erasure(id).await,
        }
    }

    pub(crate) async fn prove_erasure(
        &self,
        id: &ImageId,
        sha256: Option<Sha256>,
    ) -> anyhow::Result<ErasureProof> {
        match self {
            Self::Local(dedup) => Ok(dedup.prove_erasure(id, sha256).await?),
            Self::Remote(client) => client.prove_erasure(id, sha256).await,
        }
    }

    pub(crate) async fn recluster(&self) -> anyhow::Result<Reclustering> {
        match self {
            Self::Local(dedup) => Ok(dedup.recluster().await?),
            Self::Remote(client) => client.recluster().await,
        }
    }

    pub(crate) async fn apply_reclustering(&self, apply: ApplyPlan) -> anyhow::Result<Reclustered> {
        match self {
            Self::Local(dedup) => Ok(dedup.apply_reclustering(apply).await?),
            Self::Remote(client) => client.apply_reclustering(&apply).await,
        }
    }

    pub(crate) async fn overview(&self) -> anyhow::Result<Overview> {
        match self {
            Self::Local(dedup) => Ok(dedup.overview().await?),
            Self::Remote(client) => client.overview().await,
        }
    }

    /// Lets go of the data in good order.
    pub(crate) async fn close(self) {
        if let Self::Local(dedup) = self {
            dedup.shutdown().await;
        }
    }
}

fn rejection(image: ImageView) -> Decision {
    Decision {
        id: image.id,
        kind: DecisionKind::Rejected,
        canonical_id: None,
        score: None,
        exact_copy: false,
        number: None,
        cluster_size: 0,
        uploaded_ms: image.uploaded_ms,
        decided_ms: image.uploaded_ms,
        generation: 0,
        is_head: false,
        rejection: image.rejection,
    }
}

/// Returns how long to wait before the same call may succeed; `None` if it will not.
pub(crate) fn retry_after(error: &anyhow::Error) -> Option<Duration> {
    if let Some(EngineError::Overloaded { retry_after, .. }) = error.downcast_ref() {
        return Some(*retry_after);
    }
    let remote: &RemoteError = error.downcast_ref()?;
    matches!(remote.status, 429 | 503).then(|| {
        remote
            .retry_after
            .unwrap_or(Duration::from_secs(1))
            .min(Duration::from_secs(30))
    })
}

/// Runs `work` with a session and lets go of the data in good order, whatever comes of it.
pub(crate) async fn with_session<T>(
    context: &Context,
    work: impl AsyncFnOnce(&Session) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let started = Instant::now();
    let session = Session::open(context).await?;
    tracing::debug!(took = ?started.elapsed(), "opened the data");
    let outcome = work(&session).await;
    session.close().await;
    outcome
}
