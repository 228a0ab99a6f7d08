//! What a replay puts in the place of an image that is erased later in the log.

use likeness_core::state::Write;
use likeness_core::{ImageId, ImageNumber, Sha256, StoreError, StoreResult, Timestamp};
use likeness_vision::PdqHash;
use likeness_vision::decode::ImageFormat;

use super::{AssignStage, Changes};
use crate::EngineError;
use crate::dedup::erasure::{Tombstone, erased_number_key};
use crate::dedup::records::{MemberRecord, NumberRecord};
use crate::dedup::tables::{encode, member_key, number_key};
use crate::dedup::view::{Decision, DecisionKind};

impl Changes {
    /// Lets a placeholder take the number and the place of an image that is erased later in the log.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the number is not the next one; if the store fails.
    pub(in crate::dedup::assign_stage) async fn stand_in(
        &mut self,
        stage: &AssignStage,
        tombstone: &Tombstone,
    ) -> Result<Option<ImageNumber>, EngineError> {
        let id = &tombstone.id;
        let mut decision = Decision {
            id: id.to_string(),
            kind: DecisionKind::Rejected,
            canonical_id: None,
            score: None,
            exact_copy: false,
            number: None,
            cluster_size: 0,
            uploaded_ms: 0,
            decided_ms: 0,
            generation: stage.generation.0,
            is_head: tombstone.is_head,
            rejection: None,
        };
        let Some((number, head)) = &tombstone.decided else {
            self.totals.rejected += 1;
            self.repeat(id, decision);
            return Ok(None);
        };
        check_number(id, Some(number.0), self.totals.next_number())?;
        let cluster = self.grow(stage, head, *number, Timestamp(0), None).await?;
        if tombstone.is_head {
            self.lead(head, id, *number);
        }
        decision.kind = match head == id {
            true => DecisionKind::NewCluster,
            false => DecisionKind::Joined,
        };
        decision.canonical_id = Some(head.to_string());
        decision.number = Some(number.0);
        decision.cluster_size = cluster.size;
        let record = NumberRecord {
            id: id.clone(),
            head: head.clone(),
            head_number: cluster.first_number,
            uploaded: Timestamp(0),
            sha256: Sha256([0; 32]),
            pdq: PdqHash([0; 32]),
            pdq_quality: 0,
            flatness: 0,
            embedding: bytes::Bytes::new(),
            width: 0,
            height: 0,
            views: Vec::new(),
        };
        let member = MemberRecord {
            id: id.clone(),
            name: None,
            score: 0.0,
            exact_copy: false,
            joined: Timestamp(0),
            width: 0,
            height: 0,
            num_bytes: 0,
            format: ImageFormat::Jpeg,
        };
        self.totals.images += 1;
        self.totals.erased += 1;
        self.writes.extend([
            Write::Put(number_key(*number), encode(&record)),
            Write::Put(erased_number_key(*number), bytes::Bytes::new()),
            Write::Put(member_key(head, *number), encode(&member)),
        ]);
        self.repeat(id, decision);
        Ok(Some(*number))
    }
}

/// Makes sure that what the log says of an image fits what comes of a replay.
pub(in crate::dedup::assign_stage) fn check_number(
    id: &ImageId,
    recorded: Option<u64>,
    next: ImageNumber,
) -> StoreResult<()> {
    if recorded == Some(next.0) {
        return Ok(());
    }
    Err(StoreError::corrupt(
        "log",
        format!("decisions/{id}"),
        format!("decided as number {recorded:?}, and comes as number {next} now"),
    ))
}
