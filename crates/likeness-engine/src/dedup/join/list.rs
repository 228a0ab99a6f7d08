//! Questions about the join; nothing is changed.

use std::ops::Bound;

use bytes::Bytes;
use likeness_core::log::{Offset, ReadLimits};
use likeness_core::state::{Direction, Scan};
use likeness_core::{ImageId, StoreError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    JoinRow, JoinSide, JoinTotals, ORPHAN_DAYS, ORPHAN_JOURNAL, ORPHANS, OrphanAction,
    OrphanRecord, Place, day, join_key,
};
use crate::EngineError;
use crate::dedup::Dedup;
use crate::dedup::query::check_limit;
use crate::dedup::tables::{PARTITION, SHARD, decode};
use crate::dedup::view::Page;

/// Most rows that one page of a filtered list looks at; the next page goes on where it stopped, so that a
/// page can have fewer entries than asked for, or none, and still not be the last.
const MAX_SCANNED: usize = 10_000;
/// Rows of one scan.
const SCAN: usize = 500;

/// Which orphans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrphanQuery {
    /// Those of this day of event time, UTC, as `2026-01-31`. Absent: all, the newest day first.
    pub day: Option<String>,
    /// Those that lack this kind of embedding.
    pub kind: Option<String>,
    /// Those of which this side is there.
    pub side: Option<JoinSide>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// Most entries, 1 to 500.
    pub limit: usize,
}

/// An image of which one side came and the other one did not, until the watermark passed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrphanView {
    /// Id of the image.
    pub image: String,
    /// Day of its event time, UTC.
    pub day: String,
    /// Which side is there.
    pub side: JoinSide,
    /// Required kinds of embeddings that are missing.
    pub missing: Vec<String>,
    /// Kinds that are there.
    pub present: Vec<String>,
    /// Event time of the side that is there, in milliseconds since 1970 UTC.
    pub event_time_ms: u64,
}

/// A kind of embedding that is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KindView {
    /// Its name.
    pub name: String,
    /// The model that makes it.
    pub model: String,
    /// Components.
    pub dimension: usize,
    /// Whether an upload waits for it.
    pub required: bool,
    /// Whether the index holds it in place of the model that runs here.
    pub primary: bool,
}

/// How the join stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinView {
    /// Kinds of embeddings that are taken. None: nothing is joined.
    pub kinds: Vec<KindView>,
    /// Uploads that wait for an embedding.
    pub waiting_uploads: u64,
    /// Images whose embeddings wait for their upload.
    pub waiting_embeddings: u64,
    /// Uploads that are orphans.
    pub orphan_uploads: u64,
    /// Images whose embeddings are orphans.
    pub orphan_embeddings: u64,
    /// Images that had to wait and got what they waited for.
    pub joined: u64,
    /// Of these, those that had been given up by the watermark.
    pub late: u64,
    /// Dropped by people.
    pub dropped: u64,
    /// Event time, in milliseconds since 1970 UTC, before which nothing is waited for.
    pub watermark_ms: u64,
    /// Event time that one side waits for the other.
    pub lateness_ms: u64,
}

impl Dedup {
    /// Lists orphans: newest day first, by id within a day.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a day, a kind, a cursor or a limit that is none; if the store
    /// fails.
    pub async fn orphans(&self, query: &OrphanQuery) -> Result<Page<OrphanView>, EngineError> {
        check_limit(query.limit)?;
        if let Some(text) = query.day.as_deref().filter(|text| !day::is_day(text)) {
            return Err(invalid("day", format!("`{text}` is not as 2026-01-31")));
        }
        let (mut day, mut after) = match &query.cursor {
            Some(cursor) => {
                let (day, image) = cursor
                    .split_once('/')
                    .filter(|(text, _)| day::is_day(text))
                    .ok_or_else(|| invalid("cursor", "must be the `next` of the page before"))?;
                (Some(day.to_owned()), Some(image.to_owned()))
            }
            None => (query.day.clone(), None),
        };
        if day.is_none() {
            day = self.day_before(None).await?;
        }
        let (mut items, mut scanned) = (Vec::new(), 0);
        while let Some(of_day) = day {
            loop {
                let mut scan = Scan::all(ORPHANS, of_day.clone(), SCAN);
                if let Some(image) = &after {
                    scan = scan.after(Bytes::copy_from_slice(image.as_bytes()));
                }
                let rows = self.ports.state.scan(scan).await?;
                let is_end = rows.len() < SCAN;
                for row in rows {
                    let record: OrphanRecord = decode("orphans", &row.value)?;
                    let image = String::from_utf8(row.sort.to_vec()).map_err(|error| {
                        StoreError::corrupt("state", "orphans", error.to_string())
                    })?;
                    scanned += 1;
                    after = Some(image.clone());
                    if wanted(&record, query) {
                        items.push(view(image.clone(), &of_day, record));
                    }
                    if items.len() == query.limit || scanned >= MAX_SCANNED {
                        return Ok(Page {
                            items,
                            next: Some(format!("{of_day}/{image}")),
                        });
                    }
                }
                if is_end {
                    break;
                }
            }
            after = None;
            day = match query.day {
                Some(_) => None,
                None => self.day_before(Some(&of_day)).await?,
            };
        }
        Ok(Page { items, next: None })
    }

    /// Returns the latest day with orphans that comes before another one.
    async fn day_before(&self, day: Option<&str>) -> Result<Option<String>, EngineError> {
        let rows = self
            .ports
            .state
            .scan(Scan {
                table: ORPHAN_DAYS,
                partition: Bytes::from_static(SHARD),
                lower: Bound::Unbounded,
                upper: day.map_or(Bound::Unbounded, |day| {
                    Bound::Excluded(Bytes::copy_from_slice(day.as_bytes()))
                }),
                direction: Direction::Descending,
                limit: 1,
            })
            .await?;
        let day = rows.first().map(|row| String::from_utf8(row.sort.to_vec()));
        Ok(day
            .transpose()
            .map_err(|error| StoreError::corrupt("state", "orphan_days", error.to_string()))?)
    }

    /// Returns how the join stands.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn join(&self) -> Result<JoinView, EngineError> {
        let config = &self.config.join;
        let totals = JoinTotals::read(self.ports.state.as_ref()).await?;
        let required = config.required_kinds();
        Ok(JoinView {
            kinds: config
                .kinds
                .iter()
                .map(|kind| KindView {
                    name: kind.name.clone(),
                    model: kind.model.clone(),
                    dimension: kind.dimension,
                    required: required.contains(kind.name.as_str()),
                    primary: config.primary.as_ref() == Some(&kind.name),
                })
                .collect(),
            waiting_uploads: totals.waiting_uploads,
            waiting_embeddings: totals.waiting_embeddings,
            orphan_uploads: totals.orphan_uploads,
            orphan_embeddings: totals.orphan_embeddings,
            joined: totals.joined,
            late: totals.late,
            dropped: totals.dropped,
            watermark_ms: totals.watermark(config).0,
            lateness_ms: u64::try_from(config.lateness.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Returns what people did with orphans, in order, the first entry at `from` or after it, with the offset
    /// to go on at.
    ///
    /// # Errors
    /// [`EngineError::InvalidParameter`] for a limit out of range; if the log fails.
    pub async fn orphan_journal(
        &self,
        from: u64,
        limit: usize,
    ) -> Result<(Vec<OrphanAction>, u64), EngineError> {
        check_limit(limit)?;
        let limits = ReadLimits {
            max_records: limit,
            ..ReadLimits::default()
        };
        let records = self
            .ports
            .log
            .read(ORPHAN_JOURNAL, PARTITION, Offset(from), limits)
            .await?;
        let next = records.last().map_or(from, |record| record.offset.next().0);
        let actions = records
            .iter()
            .map(|record| {
                serde_json::from_slice(&record.payload).map_err(|error| {
                    StoreError::corrupt("log", "orphan_journal", error.to_string()).into()
                })
            })
            .collect::<Result<Vec<_>, EngineError>>()?;
        Ok((actions, next))
    }

    /// Returns the kinds of embeddings that an upload waits for. Empty if it waits for none, or its event was
    /// not dealt with yet.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn waiting_for(&self, image: &ImageId) -> Result<Vec<String>, EngineError> {
        let row: Option<JoinRow> = self.row("join", &join_key(image)).await?;
        Ok(match row {
            Some(row)
                if row.upload.is_some()
                    && matches!(row.place, Place::Waiting(_) | Place::Orphan(_)) =>
            {
                row.missing(&self.config.join)
            }
            _ => Vec::new(),
        })
    }
}

fn wanted(record: &OrphanRecord, query: &OrphanQuery) -> bool {
    let is_side = query.side.is_none_or(|side| side == record.side);
    let lacks = |kind: &String| record.missing.contains(kind);
    is_side && query.kind.as_ref().is_none_or(lacks)
}

fn view(image: String, day: &str, record: OrphanRecord) -> OrphanView {
    OrphanView {
        image,
        day: day.to_owned(),
        side: record.side,
        missing: record.missing,
        present: record.present,
        event_time_ms: record.time.0,
    }
}

fn invalid(name: &'static str, reason: impl Into<String>) -> EngineError {
    EngineError::InvalidParameter {
        name,
        reason: reason.into(),
    }
}
