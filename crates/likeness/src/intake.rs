//! Bringing many images in: loading, storing, and waiting for decisions, all at once and bounded.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use likeness_core::ImageId;
use likeness_engine::EngineError;
use likeness_engine::dedup::NewImage;
use likeness_engine::dedup::view::{Decision, DecisionKind};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::client::RemoteError;
use crate::files::Unusable;
use crate::progress::Progress;
use crate::session::Session;

/// Images that are loaded or stored at once. Storing waits for the disk, and those that wait
/// together are synced together.
const CONCURRENCY: usize = 32;

/// Images stored and not decided yet; further ones wait, so that nothing piles up.
const MAX_UNDECIDED: usize = 1_024;

/// What became of the images.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub(crate) struct Tally {
    /// Stored now.
    pub(crate) stored: u64,
    /// Their bytes.
    pub(crate) num_bytes: u64,
    /// Stored before with the same bytes; nothing was done.
    pub(crate) existed: u64,
    /// Of those stored now: heads of clusters of their own.
    pub(crate) new_clusters: u64,
    /// Of those stored now: members of a cluster that was there.
    pub(crate) joined: u64,
    /// Of those stored now: waiting for an embedding from elsewhere.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) waiting: u64,
    /// Passed over, with the reason.
    pub(crate) skipped: Vec<Skipped>,
    /// Whether it was stopped before the end.
    pub(crate) interrupted: bool,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// An image that was passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Skipped {
    /// What it is called.
    pub(crate) name: String,
    /// Why.
    pub(crate) reason: String,
}

/// Where images come from.
pub(crate) trait Source: Send + Sync + 'static {
    /// What it takes to load one.
    type Item: Send + 'static;

    /// Returns what the item is called in messages.
    fn name(&self, item: &Self::Item) -> String;

    /// Loads an image. Called on a thread that may block.
    ///
    /// # Errors
    /// Why the item is passed over.
    fn load(&self, item: &Self::Item) -> Result<NewImage, Unusable>;
}

/// What became of one item on its way in.
enum Stored {
    Skipped(Skipped),
    Known {
        id: ImageId,
        name: String,
        num_bytes: u64,
        existed: bool,
    },
}

/// Brings `items` in, roughly in order, and waits until each is decided. `decided` sees every
/// decision. Stops after those in flight once `stop` is cancelled.
///
/// # Errors
/// The first failure that is not an item's own.
pub(crate) async fn take_in<S: Source>(
    session: &Session,
    source: Arc<S>,
    items: Vec<S::Item>,
    progress: &Progress,
    stop: &CancellationToken,
    mut decided: impl FnMut(&Decision),
) -> anyhow::Result<Tally> {
    let (sender, mut receiver) = mpsc::channel::<Stored>(MAX_UNDECIDED);
    let mut tally = Tally::default();
    let n_items = items.len();
    let mut n_done = 0;
    let store_all = async {
        // Moved in, so that the receiver learns of the end.
        let sender = sender;
        stream::iter(items)
            .take_while(|_| std::future::ready(!stop.is_cancelled()))
            // Looked at only when the next one is asked for, so nothing in here may hold what deciding needs
            // while it waits: see `EmbeddedStore::in_turn` and `CpuPool::run`.
            .map(|item| store(session, Arc::clone(&source), item))
            .buffered(CONCURRENCY)
            .try_for_each(async |stored| {
                sender
                    .send(stored)
                    .await
                    .map_err(|_| anyhow::anyhow!("deciding has failed"))
            })
            .await
    };
    let decide_all = async {
        while let Some(stored) = receiver.recv().await {
            match stored {
                Stored::Skipped(skipped) => tally.skipped.push(skipped),
                Stored::Known {
                    id,
                    name,
                    num_bytes,
                    existed,
                } => match session.wait_for_decision(&id).await? {
                    Some(decision) => {
                        decided(&decision);
                        tally.count(&decision, name, num_bytes, existed);
                    }
                    None => tally.count_waiting(num_bytes, existed),
                },
            }
            n_done += 1;
            progress.advance(1);
        }
        anyhow::Ok(())
    };
    tokio::try_join!(store_all, decide_all)?;
    tally.interrupted = n_done < n_items;
    Ok(tally)
}

impl Tally {
    fn count_waiting(&mut self, num_bytes: u64, existed: bool) {
        if existed {
            self.existed += 1;
            return;
        }
        self.stored += 1;
        self.num_bytes += num_bytes;
        self.waiting += 1;
    }

    fn count(&mut self, decision: &Decision, name: String, num_bytes: u64, existed: bool) {
        if existed {
            self.existed += 1;
            return;
        }
        self.stored += 1;
        self.num_bytes += num_bytes;
        match decision.kind {
            DecisionKind::NewCluster => self.new_clusters += 1,
            DecisionKind::Joined => self.joined += 1,
            DecisionKind::Rejected => {
                let rejection = decision.rejection.as_ref();
                let reason = rejection.map_or("rejected", |rejection| &rejection.message);
                self.skipped.push(Skipped {
                    name,
                    reason: reason.to_owned(),
                });
            }
        }
    }
}

async fn store<S: Source>(
    session: &Session,
    source: Arc<S>,
    item: S::Item,
) -> anyhow::Result<Stored> {
    let name = source.name(&item);
    let skip = |reason: String| {
        Ok(Stored::Skipped(Skipped {
            name: name.clone(),
            reason,
        }))
    };
    let loaded = tokio::task::spawn_blocking(move || source.load(&item)).await?;
    let image = match loaded {
        Ok(image) => image,
        Err(reason) => return skip(reason.to_string()),
    };
    let num_bytes = image.bytes.len() as u64;
    match session.upload(image).await {
        Ok(receipt) => Ok(Stored::Known {
            id: ImageId::new(receipt.id)?,
            name,
            num_bytes,
            existed: receipt.existed,
        }),
        Err(error) if is_about_the_image(&error) => skip(format!("{error:#}")),
        Err(error) => Err(error.context(format!("cannot store `{name}`"))),
    }
}

/// Returns whether the fault lies with the image, so that others may do better.
fn is_about_the_image(error: &anyhow::Error) -> bool {
    if let Some(error) = error.downcast_ref::<EngineError>() {
        return error.is_callers();
    }
    error.downcast_ref::<RemoteError>().is_some_and(|error| {
        let is_refused = (400..500).contains(&error.status);
        is_refused && !matches!(error.status, 401 | 403 | 408 | 429)
    })
}
