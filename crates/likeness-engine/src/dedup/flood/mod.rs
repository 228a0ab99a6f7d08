//! Floods, and clusters that grow without end.
//!
//! One bad head can attract everything: a grey page, a template, a blur. Two things are watched, as functions of
//! the log: event times count, not the clock, so a replay raises the same alarms and puts the same clusters under
//! quarantine (docs/adr/020-floods.md).
//!
//! - **Growth**: a cluster that gets more than `growth_alarm` images within `window` raises one alarm; the next
//!   one only after the flood has ebbed.
//! - **Attraction**: a head that more than `quarantine_after` images join *by score* within `window`, or whose
//!   cluster grows beyond `max_cluster`, is put under quarantine. From then on images that would join it by score
//!   found clusters of their own, attract nothing, and are listed as held by it, until a person decides. Equal
//!   bytes join as ever: they cannot be a wrong match.
//!
//! ```text
//! topic    payload
//! alarms   AlarmView (JSON): raised, and acknowledged
//!
//! table             partition, sort       → value
//! alarms            shard, sequence ↓     → AlarmView (JSON)
//! held              cluster, number       → HeldRecord
//! ```
//! What is watched of a cluster lies in its own row: two arrays of fixed length.

mod door;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use likeness_core::log::Topic;
use likeness_core::state::{Key, Table};
use likeness_core::{ImageId, ImageNumber, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::records::ClusterRecord;
use super::tables::SHARD;

/// Alarms, for everyone.
pub(super) const ALARMS_TOPIC: Topic = Topic("alarms");

pub(super) const ALARMS: Table = Table("alarms");
const HELD: Table = Table("held");

/// Parts of the window that are counted apart. A window is these and the one that has begun, so it is up to an
/// eighth longer than asked for, and no burst falls between two windows.
const SLOTS: usize = 8;

/// What is too much. Parts of a generation's parameters, since decisions depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloodConfig {
    /// Span of event time in which images are counted.
    pub window: Duration,
    /// More images than this that come to one cluster in a window raise an alarm. 0: none.
    pub growth_alarm: u64,
    /// More images than this that join one head by score in a window put it under quarantine. 0: never.
    pub quarantine_after: u64,
    /// A cluster of more images than this is put under quarantine when it grows on. 0: never.
    pub max_cluster: u64,
}

impl Default for FloodConfig {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(600),
            growth_alarm: 1_000,
            quarantine_after: 5_000,
            max_cluster: 100_000,
        }
    }
}

/// How a cluster stands towards images that come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Guard {
    /// Images join it.
    #[default]
    Open,
    /// Images join it, and a person said that this is right however many there are.
    Lifted,
    /// Images that would join by score are held.
    Quarantined {
        /// Whether a person said so.
        confirmed: bool,
    },
    /// Its first image is held by another cluster: it attracts nothing but equal bytes.
    Held {
        /// Canonical id of that cluster.
        by: ImageId,
    },
    /// Its first image matched a negative bank: it attracts nothing.
    Negative {
        /// Name of the bank.
        bank: String,
    },
}

/// What is watched of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Watch {
    /// Length of a slot. Counts of another length are begun anew.
    slot_ms: u64,
    /// The newest slot of event time.
    newest: u64,
    /// Images that came in each slot; slot `s` at `s % (SLOTS + 1)`.
    all: [u32; SLOTS + 1],
    /// Those that joined by score.
    by_score: [u32; SLOTS + 1],
    /// Whether an alarm of growth was raised and the flood has not ebbed.
    alarmed: bool,
    /// The latest alarm about this cluster.
    pub(super) alarm: Option<u64>,
}

impl Watch {
    fn new(slot_ms: u64) -> Self {
        Self {
            slot_ms,
            newest: 0,
            all: [0; SLOTS + 1],
            by_score: [0; SLOTS + 1],
            alarmed: false,
            alarm: None,
        }
    }

    /// Counts an image at its event time, and returns the counts of the window that ends with the newest slot.
    /// One that comes too late for the window is not counted.
    fn count(&mut self, at: Timestamp, by_score: bool) -> (u64, u64) {
        let slot = at.0 / self.slot_ms;
        let width = self.all.len() as u64;
        for passed in (self.newest + 1..=slot).rev().take(self.all.len()) {
            let place = (passed % width) as usize;
            (self.all[place], self.by_score[place]) = (0, 0);
        }
        self.newest = self.newest.max(slot);
        if slot + width > self.newest {
            let place = (slot % width) as usize;
            self.all[place] = self.all[place].saturating_add(1);
            self.by_score[place] = self.by_score[place].saturating_add(u32::from(by_score));
        }
        let sum = |counts: &[u32]| counts.iter().map(|&count| u64::from(count)).sum();
        (sum(&self.all), sum(&self.by_score))
    }

    fn clear(&mut self) {
        self.all = [0; SLOTS + 1];
        self.by_score = [0; SLOTS + 1];
        self.alarmed = false;
    }
}

/// Counts an image that has come to a cluster, its size counted already, and says which alarms that raises.
/// May put the cluster under quarantine.
pub(super) fn grown(
    config: &FloodConfig,
    cluster: &mut ClusterRecord,
    at: Timestamp,
    by_score: bool,
) -> Vec<AlarmKind> {
    let window = u64::try_from(config.window.as_millis()).unwrap_or(u64::MAX);
    let slot_ms = (window / SLOTS as u64).max(1);
    let alarm = cluster.watch.as_ref().and_then(|watch| watch.alarm);
    let watch = match &mut cluster.watch {
        Some(watch) if watch.slot_ms == slot_ms => watch,
        other => other.insert(Watch {
            alarm,
            ..Watch::new(slot_ms)
        }),
    };
    let (all, attracted) = watch.count(at, by_score);
    let mut raised = Vec::new();
    let is_flood = exceeds(all, config.growth_alarm);
    if is_flood && !watch.alarmed {
        raised.push(AlarmKind::Growth { count: all });
    }
    watch.alarmed = is_flood;
    if cluster.guard == Guard::Open {
        let reason = if exceeds(attracted, config.quarantine_after) {
            Some(AlarmKind::Attraction { count: attracted })
        } else if exceeds(cluster.size, config.max_cluster) {
            Some(AlarmKind::Size {
                count: cluster.size,
            })
        } else {
            None
        };
        if let Some(reason) = reason {
            cluster.guard = Guard::Quarantined { confirmed: false };
            raised.push(reason);
        }
    }
    raised
}

/// Forgets what was counted: a person has looked at it.
pub(super) fn begin_anew(cluster: &mut ClusterRecord) {
    if let Some(watch) = &mut cluster.watch {
        watch.clear();
    }
}

fn exceeds(count: u64, bound: u64) -> bool {
    bound > 0 && count > bound
}

/// What a person does about a flood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum FloodAct {
    /// Someone has seen an alarm.
    Acknowledge {
        /// Its sequence number.
        alarm: u64,
    },
    /// A cluster is put under quarantine by hand.
    Quarantine {
        /// Its canonical id.
        #[schema(value_type = String)]
        cluster: ImageId,
    },
    /// A quarantine is right: it stays until someone ends it.
    Confirm {
        /// Canonical id of the cluster.
        #[schema(value_type = String)]
        cluster: ImageId,
        /// A negative bank that takes the head as a reference: what is like it attracts nothing from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bank: Option<String>,
    },
    /// A quarantine ends, and the images that it held join, at most [`MAX_MOVED`](super::MAX_MOVED) at a time.
    Release {
        /// Canonical id of the cluster.
        #[schema(value_type = String)]
        cluster: ImageId,
        /// Whether it is never put under quarantine again unless by hand.
        #[serde(default)]
        for_good: bool,
    },
}

/// What an alarm is about, with the count that raised it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AlarmKind {
    /// So many images came to the cluster within the window.
    Growth {
        /// How many.
        count: u64,
    },
    /// So many joined its head by score within the window: it is under quarantine.
    Attraction {
        /// How many.
        count: u64,
    },
    /// It has so many images: it is under quarantine.
    Size {
        /// How many.
        count: u64,
    },
}

impl AlarmKind {
    /// Its name, as metrics and answers have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Growth { .. } => "growth",
            Self::Attraction { .. } => "attraction",
            Self::Size { .. } => "size",
        }
    }

    /// The count that raised it.
    pub fn count(&self) -> u64 {
        match self {
            Self::Growth { count } | Self::Attraction { count } | Self::Size { count } => *count,
        }
    }

    /// What happened, in words.
    pub fn in_words(&self) -> String {
        match self {
            Self::Growth { count } => format!("{count} images came within the window"),
            Self::Attraction { count } => {
                format!("{count} images joined by score within the window; it is under quarantine")
            }
            Self::Size { count } => format!("it has {count} images; it is under quarantine"),
        }
    }
}

/// Who has seen an alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Acknowledgement {
    /// Who.
    pub author: String,
    /// What they say.
    pub reason: String,
    /// When, in milliseconds since 1970 UTC.
    pub time_ms: u64,
}

/// An alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlarmView {
    /// Place in the order of alarms, from 0.
    pub sequence: u64,
    /// Canonical id of the cluster.
    pub cluster: String,
    /// What happened.
    #[serde(flatten)]
    pub what: AlarmKind,
    /// The image that raised it; empty if it was erased.
    pub image: String,
    /// When that was stored: event time, in milliseconds since 1970 UTC.
    pub time_ms: u64,
    /// Who has seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
}

/// An image that a cluster under quarantine holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct HeldRecord {
    pub(super) id: ImageId,
    /// Score with the head that it would have joined.
    pub(super) score: f32,
    pub(super) held: Timestamp,
}

/// An image that a cluster under quarantine holds: it would have joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HeldView {
    /// Its id, and the canonical id of the cluster that it founded.
    pub id: String,
    /// Score with the head that it would have joined.
    pub score: f32,
    /// When it came.
    pub held_ms: u64,
}

/// How a cluster stands towards images that come, if it does not take them as others do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GuardView {
    /// Never put under quarantine unless by hand.
    Lifted,
    /// Images that would join by score are held.
    Quarantined {
        /// Whether a person said so.
        confirmed: bool,
    },
    /// Held by another cluster: attracts nothing but equal bytes.
    Held {
        /// Canonical id of that cluster.
        by: String,
    },
    /// Matched a negative bank: attracts nothing.
    Negative {
        /// Name of the bank.
        bank: String,
    },
}

impl Guard {
    /// Returns what callers see; nothing of a cluster that is as others are.
    pub(super) fn view(&self) -> Option<GuardView> {
        Some(match self {
            Self::Open => return None,
            Self::Lifted => GuardView::Lifted,
            Self::Quarantined { confirmed } => GuardView::Quarantined {
                confirmed: *confirmed,
            },
            Self::Held { by } => GuardView::Held { by: by.to_string() },
            Self::Negative { bank } => GuardView::Negative { bank: bank.clone() },
        })
    }

    /// Whether it is as other clusters are; such rows do not say so.
    pub(super) fn is_open(&self) -> bool {
        *self == Self::Open
    }
}

pub(super) fn alarm_key(sequence: u64) -> Key {
    Key::new(
        ALARMS,
        Bytes::from_static(SHARD),
        Bytes::copy_from_slice(&(!sequence).to_be_bytes()),
    )
}

pub(super) fn held_key(cluster: &ImageId, number: ImageNumber) -> Key {
    Key::new(
        HELD,
        Bytes::copy_from_slice(cluster.as_bytes()),
        Bytes::copy_from_slice(&number.0.to_be_bytes()),
    )
}

/// Returns an alarm as the payload of an event and of its row.
pub(super) fn encode_alarm(alarm: &AlarmView) -> Bytes {
    serde_json::to_vec(alarm)
        .expect("an alarm holds nothing that JSON cannot say")
        .into()
}

/// Reads the row of an alarm.
pub(super) fn decode_alarm(row: &[u8]) -> likeness_core::StoreResult<AlarmView> {
    serde_json::from_slice(row)
        .map_err(|error| likeness_core::StoreError::corrupt("state", "alarms", error.to_string()))
}

/// Partition of the images that a cluster holds.
pub(super) fn held_scan(cluster: &ImageId, limit: usize) -> likeness_core::state::Scan {
    likeness_core::state::Scan::all(HELD, Bytes::copy_from_slice(cluster.as_bytes()), limit)
}
