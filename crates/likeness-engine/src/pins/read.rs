//! Batches of the log, over all partitions of the three topics, for both ways.

use futures::future::select_all;
use likeness_core::log::{EventLog, Offset, Partition, ReadLimits};
use likeness_core::sql::{Advance, StoredPosition};
use likeness_core::step::Consumer;
use likeness_core::{StoreError, StoreResult, Timestamp};

use super::EventKind;
use super::ingest::PARTITIONS;
use super::tables::{Cleaned, read};

/// Who reads, and most of what is read at once; both are shared equally by the partitions, each of which may have one
/// record at least.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    pub(super) consumer: Consumer,
    pub(super) max_records: usize,
    pub(super) max_bytes: usize,
}

/// One partition of a topic, and where to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) kind: EventKind,
    pub(super) partition: Partition,
    pub(super) next: Offset,
    /// End of the partition when there was nothing to read: offsets may have gaps, so it can be after `next`.
    pub(super) empty_at: Offset,
}

/// Returns all partitions, at the positions that are stored.
pub(super) fn places(stored: &[StoredPosition]) -> Vec<Place> {
    let mut places = Vec::new();
    for kind in EventKind::ALL {
        for partition in (0..PARTITIONS).map(Partition) {
            let found = stored
                .iter()
                .find(|one| one.topic == kind.topic().0 && one.partition == partition);
            places.push(Place {
                kind,
                partition,
                next: found.map_or(Offset(0), |one| one.next),
                empty_at: Offset(0),
            });
        }
    }
    places
}

/// An event, cleaned or not.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    pub(super) kind: EventKind,
    pub(super) key: String,
    pub(super) cleaned: Cleaned,
}

/// Events of several partitions, and what they move.
#[derive(Debug, Clone, Default)]
pub(super) struct Batch {
    pub(super) events: Vec<Incoming>,
    /// Bytes of their payloads.
    pub(super) num_bytes: usize,
    pub(super) positions: Vec<Advance>,
    /// Numbers of places where there was nothing, and their ends.
    pub(super) empty: Vec<(usize, Offset)>,
}

/// Reads and cleans the next events of each partition.
///
/// # Errors
/// `Corrupt` for a record that the way in has not written.
pub(super) async fn batch(
    log: &dyn EventLog,
    places: &[Place],
    reader: Reader,
) -> StoreResult<Batch> {
    let limits = ReadLimits {
        max_records: (reader.max_records / places.len()).max(1),
        max_bytes: (reader.max_bytes / places.len()).max(1),
    };
    let mut batch = Batch::default();
    for (number, place) in places.iter().enumerate() {
        let (topic, partition) = (place.kind.topic(), place.partition);
        // Asked for first: what comes after that is more.
        let end = log.end(topic, partition).await?;
        let records = log.read(topic, partition, place.next, limits).await?;
        let Some(last) = records.last() else {
            batch.empty.push((number, end));
            continue;
        };
        batch.positions.push(Advance {
            consumer: reader.consumer,
            topic,
            partition,
            from: place.next,
            next: last.offset.next(),
        });
        batch.num_bytes += records
            .iter()
            .map(|record| record.payload.len())
            .sum::<usize>();
        for record in records {
            let key = format!("{topic}/{}/{}", partition.0, record.offset);
            let damaged = |reason: String| StoreError::corrupt("log", key.clone(), reason);
            let at = (partition, record.offset);
            let cleaned = read(place.kind, at, &record.payload);
            batch.events.push(Incoming {
                kind: place.kind,
                key: String::from_utf8(record.key.to_vec())
                    .map_err(|error| damaged(error.to_string()))?,
                cleaned: cleaned.map_err(|error| damaged(error.to_string()))?,
            });
        }
    }
    Ok(batch)
}

/// Waits until one of the partitions has more.
pub(super) async fn wait(log: &dyn EventLog, places: &[Place]) -> StoreResult<()> {
    let waits = places
        .iter()
        .map(|place| log.wait(place.kind.topic(), place.partition, place.next));
    let (outcome, ..) = select_all(waits).await;
    outcome
}

/// Returns how many records of each kind are not read yet, at most: offsets may have gaps.
pub(super) async fn unread(log: &dyn EventLog, places: &[Place]) -> StoreResult<[u64; 3]> {
    let mut unread = [0; 3];
    for place in places {
        let end = log.end(place.kind.topic(), place.partition).await?;
        if end > place.empty_at {
            unread[place.kind as usize] += end.0.saturating_sub(place.next.0);
        }
    }
    Ok(unread)
}

/// Returns how long ago the last record that was committed was received, if there are more.
pub(super) fn lag_seconds(unread: u64, received: Timestamp) -> f64 {
    match (unread, received) {
        (0, _) | (_, Timestamp(0)) => 0.0,
        _ => Timestamp::now().since(received).as_secs_f64(),
    }
}
