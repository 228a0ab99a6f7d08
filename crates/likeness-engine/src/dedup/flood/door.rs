//! What callers ask of alarms, and of the images that clusters under quarantine hold.

use bytes::Bytes;
use likeness_core::ImageId;
use likeness_core::state::Scan;

use super::{
    ALARMS, AlarmView, GuardView, HeldRecord, HeldView, alarm_key, decode_alarm, held_scan,
};
use crate::EngineError;
use crate::dedup::Dedup;
use crate::dedup::query::check_limit;
use crate::dedup::records::ClusterRecord;
use crate::dedup::tables::{SHARD, cluster_key, decode};
use crate::dedup::view::Page;

impl Dedup {
    /// Lists alarms, newest first, acknowledged ones included.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a limit or a cursor that is not one; if the store fails.
    pub async fn alarms(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<AlarmView>, EngineError> {
        check_limit(limit)?;
        let scan = Scan::all(ALARMS, Bytes::from_static(SHARD), limit + 1);
        let (rows, next) = self.page(scan, cursor, limit).await?;
        let items = rows
            .iter()
            .map(|row| decode_alarm(&row.value))
            .collect::<Result<_, _>>()?;
        Ok(Page { items, next })
    }

    /// Returns the latest alarm about a cluster, and how the cluster stands towards images that come.
    ///
    /// # Errors
    /// [`EngineError::ClusterNotFound`]; if the store fails.
    pub async fn flood_of(
        &self,
        cluster: &ImageId,
    ) -> Result<(Option<AlarmView>, Option<GuardView>), EngineError> {
        let record: Option<ClusterRecord> = self.row("clusters", &cluster_key(cluster)).await?;
        let record = record.ok_or_else(|| EngineError::ClusterNotFound(cluster.clone()))?;
        let alarm = match record.watch.and_then(|watch| watch.alarm) {
            Some(sequence) => self.ports.state.get(&alarm_key(sequence)).await?,
            None => None,
        };
        let alarm = alarm.map(|row| decode_alarm(&row)).transpose()?;
        Ok((alarm, record.guard.view()))
    }

    /// Lists the images that a cluster under quarantine holds, in the order in which they came.
    ///
    /// # Errors
    /// As [`alarms`](Self::alarms).
    pub async fn held(
        &self,
        cluster: &ImageId,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<HeldView>, EngineError> {
        check_limit(limit)?;
        let (rows, next) = self
            .page(held_scan(cluster, limit + 1), cursor, limit)
            .await?;
        let items = rows
            .iter()
            .map(|row| {
                let record: HeldRecord = decode("held", &row.value)?;
                Ok(HeldView {
                    id: record.id.to_string(),
                    score: record.score,
                    held_ms: record.held.0,
                })
            })
            .collect::<Result<_, EngineError>>()?;
        Ok(Page { items, next })
    }
}
