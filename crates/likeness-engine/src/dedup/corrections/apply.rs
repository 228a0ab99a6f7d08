//! Checks a correction against the clusters as they are, and says what it changes.
//!
//! The one writer calls it, between two commits, so that what is read here is what is committed.

use std::collections::HashMap;

use likeness_core::log::{EventLog, NewRecord, Redaction};
use likeness_core::state::{StateStore, Write};
use likeness_core::{ImageId, ImageNumber, StoreError, Timestamp};
use serde::de::DeserializeOwned;

use super::erase::Erased;
use super::{
    Command, CorrectionEvent, CorrectionOutcome, CorrectionRecord, CorrectionView, Effect,
    MAX_MOVED, by_id_key, by_image_key, sequence_key,
};
use crate::EngineError;
use crate::dedup::banks::{BankChange, BankLimits, NewReference};
use crate::dedup::clusters::{list, unlist};
use crate::dedup::erasure::erased;
use crate::dedup::flood::{AlarmView, FloodAct};
use crate::dedup::keeper::Keeper;
use crate::dedup::pairs::PairScorer;
use crate::dedup::records::{ClusterRecord, NumberRecord, Totals, decode_number};
use crate::dedup::tables::{canonical_key, cluster_key, decode, encode, number_key};
use crate::dedup::upload::decode_decision;
use crate::dedup::view::Decision;

/// Why a correction is not made.
#[derive(Debug)]
pub(super) enum Refused {
    /// Something stands against it.
    Because { code: &'static str, message: String },
    /// A store failed; it will be tried again.
    Failed(EngineError),
}

impl Refused {
    pub(super) fn because(code: &'static str, message: impl Into<String>) -> Self {
        Self::Because {
            code,
            message: message.into(),
        }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        Self::Failed(error)
    }
}

pub(super) type Attempt<T> = Result<T, Refused>;

/// A decided image where it is.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) id: ImageId,
    pub(super) number: ImageNumber,
    pub(super) record: NumberRecord,
    pub(super) decision: Decision,
    /// Canonical id of its cluster.
    pub(super) home: ImageId,
}

impl Placed {
    /// Whether a cluster has its id: it cannot leave that cluster.
    pub(super) fn gave_name(&self) -> bool {
        self.id == self.record.head
    }
}

/// A correction while it is applied.
#[derive(Debug)]
pub(super) struct Applying<'a> {
    pub(super) state: &'a dyn StateStore,
    pub(super) log: &'a dyn EventLog,
    pub(super) scorer: &'a PairScorer,
    pub(super) limits: BankLimits,
    pub(super) keeper: Keeper,
    pub(super) event: &'a CorrectionEvent,
    pub(super) sequence: u64,
    pub(super) now: Timestamp,
    pub(super) totals: Totals,
    pub(super) writes: Vec<Write>,
    /// Alarms that it acknowledges.
    pub(super) alarms: Vec<AlarmView>,
    pub(super) redactions: Vec<Redaction>,
    pub(super) erased: Option<Erased>,
    /// Clusters as this correction leaves them.
    clusters: HashMap<ImageId, Option<ClusterRecord>>,
}

/// What the commit of a correction holds.
#[derive(Debug)]
pub(in crate::dedup) struct Corrected {
    pub(in crate::dedup) writes: Vec<Write>,
    pub(in crate::dedup) redactions: Vec<Redaction>,
    pub(in crate::dedup) totals: Totals,
    /// Set if it was an erasure that was made.
    pub(in crate::dedup) erased: Option<Erased>,
    /// For the stream of corrections.
    pub(in crate::dedup) event: NewRecord,
    /// For the stream of alarms.
    pub(in crate::dedup) alarms: Vec<AlarmView>,
}

/// What a correction is applied to and by.
#[derive(Debug)]
pub(in crate::dedup) struct Bench<'a> {
    pub(in crate::dedup) state: &'a dyn StateStore,
    pub(in crate::dedup) log: &'a dyn EventLog,
    pub(in crate::dedup) scorer: &'a PairScorer,
    pub(in crate::dedup) limits: BankLimits,
    pub(in crate::dedup) keeper: Keeper,
}

/// Applies a correction, or refuses it; nothing if it was dealt with before.
///
/// # Errors
/// If a store fails.
pub(in crate::dedup) async fn apply(
    bench: &Bench<'_>,
    totals: Totals,
    record: &NewRecord,
) -> Result<Option<Corrected>, EngineError> {
    let event: CorrectionEvent = decode("uploads", &record.payload)?;
    apply_event(bench, totals, event).await
}

/// As [`apply`], given the event.
///
/// # Errors
/// If a store fails.
pub(in crate::dedup) async fn apply_event(
    bench: &Bench<'_>,
    totals: Totals,
    event: CorrectionEvent,
) -> Result<Option<Corrected>, EngineError> {
    let Bench {
        state,
        log,
        scorer,
        limits,
        keeper,
    } = *bench;
    if state.get(&by_id_key(&event.id)).await?.is_some() {
        return Ok(None);
    }
    let sequence = totals.corrections;
    let mut applying = Applying {
        state,
        log,
        scorer,
        limits,
        keeper,
        event: &event,
        sequence,
        now: event.time,
        totals,
        writes: Vec::new(),
        alarms: Vec::new(),
        redactions: Vec::new(),
        erased: None,
        clusters: HashMap::new(),
    };
    let (outcome, effect) = match applying.run_and_settle(&event.command).await {
        Ok(effect) => (CorrectionOutcome::Applied, effect),
        Err(Refused::Failed(error)) => return Err(error),
        Err(Refused::Because { code, message }) => {
            // What was prepared until then is dropped.
            applying.drop_prepared(totals);
            let code = code.to_owned();
            (
                CorrectionOutcome::Refused { code, message },
                Effect::default(),
            )
        }
    };
    let Applying {
        mut writes,
        mut totals,
        alarms,
        redactions,
        erased,
        ..
    } = applying;
    totals.corrections += 1;
    totals.harmless += u64::from(is_harmless(&event.command));
    let mut images: Vec<ImageId> = named(&event.command);
    for moved in &effect.moved {
        images.push(ImageId::new(moved.decision.id.clone())?);
    }
    // What is kept for its undoing is found by these when one of them is erased.
    images.extend(effect.beheaded.iter().map(|part| part.after.id.clone()));
    for record in &effect.settled {
        images.extend([record.image.clone(), record.head.clone()]);
    }
    if let Some(bank) = &effect.bank {
        images.extend(bank.images().cloned());
    }
    images.sort_unstable();
    images.dedup();
    let none = bytes::Bytes::new;
    writes.extend(
        images
            .iter()
            .map(|image| Write::Put(by_image_key(image, sequence), none())),
    );
    let record = CorrectionRecord {
        event,
        outcome,
        effect,
        undone_by: None,
        images: totals.images,
    };
    writes.push(Write::Put(sequence_key(sequence), encode(&record)));
    let number = bytes::Bytes::copy_from_slice(&sequence.to_be_bytes());
    writes.push(Write::Put(by_id_key(&record.event.id), number));
    let view: CorrectionView = record.view(sequence);
    let payload =
        serde_json::to_vec(&view).expect("a correction holds nothing that JSON cannot say");
    Ok(Some(Corrected {
        writes,
        redactions,
        totals,
        alarms,
        erased,
        event: NewRecord {
            key: bytes::Bytes::from(view.id.into_bytes()),
            payload: payload.into(),
        },
    }))
}

/// Whether a command leaves every image in its cluster.
fn is_harmless(command: &Command) -> bool {
    match command {
        Command::Bank(_) | Command::Label { correct: false, .. } => true,
        Command::Flood(act) => !matches!(act, FloodAct::Release { .. }),
        _ => false,
    }
}

/// Returns the images that a command names.
fn named(command: &Command) -> Vec<ImageId> {
    match command {
        Command::Split { members, .. } | Command::Move { members, .. } => {
            members.iter().take(MAX_MOVED).cloned().collect()
        }
        Command::Merge { into, from } | Command::Fold { into, from } => {
            vec![into.clone(), from.clone()]
        }
        Command::ReHead { cluster, head } => vec![cluster.clone(), head.clone()],
        Command::NeverTogether { a, b }
        | Command::AlwaysTogether { a, b }
        | Command::Label { a, b, .. } => vec![a.clone(), b.clone()],
        Command::Flood(act) => match act {
            FloodAct::Quarantine { cluster }
            | FloodAct::Confirm { cluster, .. }
            | FloodAct::Release { cluster, .. } => vec![cluster.clone()],
            FloodAct::Acknowledge { .. } => Vec::new(),
        },
        // What an erasure is of is not listed with it: it is gone.
        Command::Bank(BankChange::Add { references, .. }) => references
            .iter()
            .filter_map(|reference| match reference {
                NewReference::Image { image } => Some(image.clone()),
                NewReference::File { .. } => None,
            })
            .collect(),
        Command::Bank(_) | Command::Undo { .. } | Command::Erase { .. } => Vec::new(),
    }
}

impl Applying<'_> {
    async fn run_and_settle(&mut self, command: &Command) -> Attempt<Effect> {
        let mut effect = self.run(command).await?;
        self.settle(command, &mut effect).await?;
        Ok(effect)
    }

    /// Drops what was prepared, and goes back to `totals`.
    pub(super) fn drop_prepared(&mut self, totals: Totals) {
        self.writes.clear();
        self.alarms.clear();
        self.redactions.clear();
        self.clusters.clear();
        self.totals = totals;
    }

    async fn run(&mut self, command: &Command) -> Attempt<Effect> {
        match command {
            Command::Split {
                cluster,
                members,
                each_alone,
            } => self.split(cluster, members, *each_alone).await,
            Command::Merge { into, from } => self.merge(into, from).await,
            Command::ReHead { cluster, head } => self.rehead(cluster, head).await,
            Command::NeverTogether { a, b } => self.never(a, b).await,
            Command::AlwaysTogether { a, b } => self.always(a, b).await,
            Command::Bank(change) => self.bank(change).await,
            Command::Flood(act) => self.flood(act).await,
            Command::Label {
                a,
                b,
                verdict,
                correct,
            } => self.label(a, b, *verdict, *correct).await,
            Command::Move { into, members } => self.move_images(into.as_ref(), members).await,
            Command::Fold { into, from } => self.fold(into, from).await,
            Command::Erase { image } => self.erase(image).await,
            Command::Undo { correction } => self.undo(*correction).await,
        }
    }

    pub(super) async fn row<T: DeserializeOwned>(
        &self,
        what: &'static str,
        key: &likeness_core::state::Key,
    ) -> Attempt<Option<T>> {
        let row = self.state.get(key).await?;
        Ok(row.map(|row| decode(what, &row)).transpose()?)
    }

    /// Returns the row of a cluster, merged or not, as this correction has left it so far.
    pub(super) async fn cluster(&self, id: &ImageId) -> Attempt<Option<ClusterRecord>> {
        match self.clusters.get(id) {
            Some(cluster) => Ok(cluster.clone()),
            None => self.row("clusters", &cluster_key(id)).await,
        }
    }

    /// Returns a cluster that others can be measured by: it exists, and is not merged into another.
    pub(super) async fn standing(&self, id: &ImageId) -> Attempt<ClusterRecord> {
        match self.cluster(id).await? {
            None => Err(Refused::because(
                "cluster_not_found",
                format!("no cluster has the canonical id `{id}`"),
            )),
            Some(ClusterRecord {
                merged_into: Some(into),
                ..
            }) => Err(Refused::because(
                "cluster_merged",
                format!("`{id}` was merged into `{into}`; name that one"),
            )),
            Some(cluster) => Ok(cluster),
        }
    }

    /// Writes a cluster, or deletes it, and keeps lists and totals in step.
    pub(super) async fn put(&mut self, id: &ImageId, after: Option<ClusterRecord>) -> Attempt<()> {
        if let Some(before) = self.cluster(id).await?.filter(ClusterRecord::is_standing) {
            self.writes.extend(unlist(&before));
            self.totals.clusters -= 1;
            self.totals.duplicate_clusters -= u64::from(before.size > 1);
        }
        match &after {
            Some(cluster) => {
                self.writes
                    .push(Write::Put(cluster_key(id), encode(cluster)));
                if cluster.is_standing() {
                    self.writes.extend(list(id, cluster));
                    self.totals.clusters += 1;
                    self.totals.duplicate_clusters += u64::from(cluster.size > 1);
                }
            }
            None => self.writes.push(Write::Delete(cluster_key(id))),
        }
        self.clusters.insert(id.clone(), after);
        Ok(())
    }

    /// Returns the canonical id of the cluster whose partition is that of `part`.
    pub(super) async fn home(&self, part: &ImageId) -> Attempt<ImageId> {
        let cluster = self.cluster(part).await?.ok_or_else(|| {
            StoreError::corrupt(
                "state",
                format!("clusters/{part}"),
                "missing, though an image is in it",
            )
        })?;
        Ok(cluster.merged_into.unwrap_or_else(|| part.clone()))
    }

    /// Returns a decided image.
    pub(super) async fn placed(&self, id: &ImageId) -> Attempt<Placed> {
        let row = self.state.get(&canonical_key(id)).await?;
        let decision = row.map(|row| decode_decision(&row)).transpose()?;
        let Some(decision) = decision else {
            if erased(self.state, id).await?.is_some() {
                return Err(Refused::because("erased", format!("`{id}` was erased")));
            }
            return Err(Refused::because(
                "not_decided",
                format!("there is no image `{id}`, or it is not decided yet"),
            ));
        };
        let Some(number) = decision.number.map(ImageNumber) else {
            return Err(Refused::because(
                "rejected_image",
                format!("`{id}` could not be decoded, so it is in no cluster"),
            ));
        };
        let row = self.state.get(&number_key(number)).await?;
        let record = row.map(|row| decode_number(&row)).transpose()?.flatten();
        let record = record
            .ok_or_else(|| StoreError::corrupt("state", format!("numbers/{number}"), "missing"))?;
        let home = self.home(&record.head).await?;
        Ok(Placed {
            id: id.clone(),
            number,
            record,
            decision,
            home,
        })
    }
}
