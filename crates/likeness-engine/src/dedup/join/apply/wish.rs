//! What people want of orphans.

use likeness_core::StoreResult;
use likeness_core::log::{NewRecord, Offset};
use likeness_core::state::Write;

use super::{Joining, is_past, note};
use crate::dedup::join::door::digest;
use crate::dedup::join::{
    EmbeddingRecord, OrphanAction, OrphanCommand, OrphanEvent, OrphanOutcome, Place, claim_key,
};
use crate::dedup::view::Rejection;

impl Joining<'_> {
    /// Does what someone wants of an orphan. `signed` is the embedding that was computed here for it.
    ///
    /// # Errors
    /// If the store fails.
    pub(in crate::dedup) async fn orphan(
        &mut self,
        offset: Offset,
        wish: OrphanEvent,
        signed: Option<EmbeddingRecord>,
        signs: impl Fn(&str) -> bool,
    ) -> StoreResult<()> {
        let image = wish.image.clone();
        let mut before = self.row(&image).await?;
        if self.is_of_nothing(&image, &before).await? {
            self.redact(&image, offset);
            return Ok(());
        }
        if before.place != Place::Nowhere {
            let mut row = before.clone();
            note(&mut row, offset);
            row.has_acts = true;
            self.put(&image, &before, row.clone()).await?;
            before = row;
        }
        let outcome = if is_past(&before, offset) || before.place == Place::Nowhere {
            OrphanOutcome::Nothing
        } else {
            match wish.command {
                OrphanCommand::Retry { .. } => {
                    let mut row = before.clone();
                    for kind in row.missing(self.config) {
                        if let Some(record) = signed.clone().filter(|_| signs(&kind)) {
                            // As if its service had sent it: another one is a conflict from now on.
                            let claim = digest(&record.model, &record.vector);
                            self.writes
                                .push(Write::Put(claim_key(&image, &kind), claim));
                            self.attach(&image, &mut row, kind, record);
                        }
                    }
                    row.retried = Some(wish.time);
                    let waits = row.upload.is_none() || !row.missing(self.config).is_empty();
                    self.settle(&image, &before, row, offset, None).await?;
                    match waits {
                        true => OrphanOutcome::Waiting,
                        false => OrphanOutcome::Joined,
                    }
                }
                OrphanCommand::Drop => {
                    self.totals.dropped += 1;
                    if before.upload.is_some() {
                        let upload = self.upload_of(&image).await?;
                        let rejection = Rejection {
                            code: "orphan_dropped".to_owned(),
                            message: format!(
                                "given up by {}, since no embedding came: {}",
                                wish.author, wish.reason
                            ),
                        };
                        let row = before.clone();
                        self.complete(&before, row, offset, upload, Some(rejection))
                            .await?;
                    } else {
                        self.forget(&image).await?;
                    }
                    OrphanOutcome::Dropped
                }
            }
        };
        let action = OrphanAction {
            image: image.to_string(),
            author: wish.author,
            reason: wish.reason,
            time_ms: wish.time.0,
            command: wish.command,
            outcome,
        };
        self.journal.push(NewRecord {
            key: bytes::Bytes::copy_from_slice(image.as_bytes()),
            payload: serde_json::to_vec(&action)
                .expect("an action holds nothing that JSON cannot say")
                .into(),
        });
        Ok(())
    }
}
