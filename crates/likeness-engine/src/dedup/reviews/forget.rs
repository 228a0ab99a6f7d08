//! What an image that is erased leaves behind in the queue and among the labels.

use bytes::Bytes;
use likeness_core::state::{Key, Scan, StateStore, Table, Write};
use likeness_core::{ImageId, StoreError, StoreResult};

use super::{LABELS, LABELS_BY_IMAGE, LabelRecord, REVIEW_PAIRS, ReviewRecord, queue_key};
use crate::dedup::records::Totals;
use crate::dedup::tables::{SHARD, decode};

/// Rows of one read.
const PAGE: usize = 1_024;

/// Returns the writes that take an image out of the queue and out of the labels, and counts it out of
/// `totals`. For whoever erases the image, in the same commit.
///
/// # Errors
/// If the store fails.
pub(in crate::dedup) async fn forget_image(
    state: &dyn StateStore,
    totals: &mut Totals,
    image: &ImageId,
) -> StoreResult<Vec<Write>> {
    let mut writes = Vec::new();
    for sort in of_image(state, REVIEW_PAIRS, image).await? {
        let row = state.get(&queue_key(sort)).await?;
        let record: ReviewRecord = decode("reviews", &row.ok_or_else(|| missing("reviews"))?)?;
        writes.extend(record.delete());
        totals.open_reviews -= 1;
    }
    for sort in of_image(state, LABELS_BY_IMAGE, image).await? {
        let key = Key::new(LABELS, Bytes::from_static(SHARD), sort);
        let row = state.get(&key).await?;
        let record: LabelRecord = decode("labels", &row.ok_or_else(|| missing("labels"))?)?;
        writes.extend(record.delete());
        totals.labels -= 1;
    }
    Ok(writes)
}

fn missing(table: &'static str) -> StoreError {
    StoreError::corrupt("state", table, "missing, though an image leads to it")
}

/// Returns where the pairs of an image lie.
async fn of_image(
    state: &dyn StateStore,
    table: Table,
    image: &ImageId,
) -> StoreResult<Vec<Bytes>> {
    let mut scan = Scan::all(table, Bytes::copy_from_slice(image.as_bytes()), PAGE);
    let mut found = Vec::new();
    loop {
        let rows = state.scan(scan.clone()).await?;
        let Some(last) = rows.last() else {
            return Ok(found);
        };
        scan = scan.after(last.sort.clone());
        found.extend(rows.into_iter().map(|row| row.value));
    }
}
