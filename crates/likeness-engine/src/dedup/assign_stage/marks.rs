//! What decisions change besides clusters: matches of banks, alarms, and images that are held.

use bytes::Bytes;
use likeness_core::log::{NewRecord, Topic};
use likeness_core::state::Write;
use likeness_core::step::Emit;
use likeness_core::{ImageId, ImageNumber, StoreResult, Timestamp};

use super::AssignStage;
use super::changes::Changes;
use crate::dedup::banks::{
    BANK_MATCHES, BankMatch, BankMatchView, count_key, encode_match, match_by_image_key, match_key,
    read_u64,
};
use crate::dedup::flood::{
    ALARMS_TOPIC, AlarmView, Guard, HeldRecord, alarm_key, encode_alarm, grown, held_key,
};
use crate::dedup::guard::Guarded;
use crate::dedup::records::{ClusterRecord, UploadEvent};
use crate::dedup::tables::{PARTITION, encode};
use crate::metrics::{ALARMS_TOTAL, BANK_MATCHES_TOTAL, HELD_TOTAL};

/// Events and counts of a batch, besides decisions.
#[derive(Debug, Default)]
pub(super) struct Marks {
    matches: Vec<BankMatchView>,
    alarms: Vec<AlarmView>,
    num_held: u64,
    /// Whether the image at hand is decided as the log says: then its events are there as well.
    pub(super) is_replay: bool,
    /// By serial of the bank, absolute.
    counts: std::collections::BTreeMap<u64, u64>,
}

impl Changes {
    /// Writes down the banks that an image matches, and returns them with the time.
    pub(super) async fn add_matches(
        &mut self,
        stage: &AssignStage,
        id: &ImageId,
        number: ImageNumber,
        matches: Vec<BankMatch>,
        now: Timestamp,
    ) -> StoreResult<Vec<BankMatchView>> {
        let mut views = Vec::with_capacity(matches.len());
        for BankMatch { serial, view } in matches {
            let view = BankMatchView {
                time_ms: now.0,
                ..view
            };
            let count = match self.marks.counts.get(&serial) {
                Some(count) => *count,
                None => match stage.state.get(&count_key(serial)).await? {
                    Some(row) => read_u64(&row)?,
                    None => 0,
                },
            };
            self.marks.counts.insert(serial, count + 1);
            let row = encode_match(&view);
            self.writes.extend([
                Write::Put(match_key(serial, number.0), row.clone()),
                Write::Put(match_by_image_key(id, serial), row),
            ]);
            if !self.marks.is_replay {
                self.marks.matches.push(view.clone());
            }
            views.push(view);
        }
        Ok(views)
    }

    /// Gives the cluster that an image founds its guard, and lists the image if it is held.
    pub(super) fn found_guarded(
        &mut self,
        cluster: &mut ClusterRecord,
        id: &ImageId,
        number: ImageNumber,
        guarded: &Guarded,
        now: Timestamp,
    ) {
        if guarded.guard.is_open() {
            return;
        }
        cluster.guard = guarded.guard.clone();
        self.totals.guarded += 1;
        if let (Guard::Held { by }, Some(score)) = (&guarded.guard, guarded.held_score) {
            let held = HeldRecord {
                id: id.clone(),
                score,
                held: now,
            };
            self.totals.held += 1;
            self.marks.num_held += 1;
            self.writes
                .push(Write::Put(held_key(by, number), encode(&held)));
        }
    }

    /// Counts an image that has come to a cluster, and raises the alarms that follow.
    pub(super) fn watch(
        &mut self,
        stage: &AssignStage,
        cluster: &mut ClusterRecord,
        head: &ImageId,
        upload: &UploadEvent,
        by_bytes: bool,
    ) {
        let was_open = cluster.guard == Guard::Open;
        for what in grown(&stage.flood, cluster, upload.uploaded, !by_bytes) {
            let sequence = self.totals.alarms;
            self.totals.alarms += 1;
            self.totals.open_alarms += 1;
            if let Some(watch) = &mut cluster.watch {
                watch.alarm = Some(sequence);
            }
            let alarm = AlarmView {
                sequence,
                cluster: head.to_string(),
                what,
                image: upload.id.to_string(),
                time_ms: upload.uploaded.0,
                acknowledged: None,
            };
            self.writes
                .push(Write::Put(alarm_key(sequence), encode_alarm(&alarm)));
            if !self.marks.is_replay {
                self.marks.alarms.push(alarm);
            }
        }
        if was_open && cluster.guard != Guard::Open {
            self.totals.guarded += 1;
        }
    }
}

impl Marks {
    /// Returns the rows and events of the batch.
    pub(super) fn finish(&self) -> (Vec<Write>, Vec<Emit>) {
        let writes = self
            .counts
            .iter()
            .map(|(&serial, &count)| {
                Write::Put(
                    count_key(serial),
                    Bytes::copy_from_slice(&count.to_be_bytes()),
                )
            })
            .collect();
        let matches = self.matches.iter().map(|view| NewRecord {
            key: Bytes::copy_from_slice(view.image.as_bytes()),
            payload: encode_match(view),
        });
        let emits = [
            emit(BANK_MATCHES, matches.collect()),
            emit(ALARMS_TOPIC, alarm_events(&self.alarms)),
        ];
        (writes, emits.into_iter().flatten().collect())
    }

    /// Counts what was committed.
    pub(super) fn report(&self) {
        for view in &self.matches {
            metrics::counter!(BANK_MATCHES_TOTAL, "bank" => view.bank.clone(), "when" => "decision")
                .increment(1);
        }
        for alarm in &self.alarms {
            metrics::counter!(ALARMS_TOTAL, "kind" => alarm.what.name()).increment(1);
            tracing::warn!(
                cluster = %alarm.cluster,
                kind = alarm.what.name(),
                count = alarm.what.count(),
                "a cluster grows fast; see /v1/alarms"
            );
        }
        metrics::counter!(HELD_TOTAL).increment(self.num_held);
    }
}

/// Returns alarms as events.
pub(super) fn alarm_events(alarms: &[AlarmView]) -> Vec<NewRecord> {
    alarms
        .iter()
        .map(|alarm| NewRecord {
            key: Bytes::copy_from_slice(alarm.cluster.as_bytes()),
            payload: encode_alarm(alarm),
        })
        .collect()
}

fn emit(topic: Topic, records: Vec<NewRecord>) -> Option<Emit> {
    (!records.is_empty()).then_some(Emit {
        topic,
        partition: PARTITION,
        records,
    })
}

/// Returns the alarms that a correction acknowledged, as what its commit emits.
pub(super) fn acknowledged(alarms: &[AlarmView]) -> Option<Emit> {
    emit(ALARMS_TOPIC, alarm_events(alarms))
}
