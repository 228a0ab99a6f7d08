//! What a batch of events does to the tables: a function of the events and of the rows that they meet.
//!
//! ```text
//! events ─▶ latest of each key ─▶ rows, in the place of older ones ─▶ pins that are new, replaced or moved
//!                                                                       │ what each counted for before, and now
//!                                                     numbers, absolute ◀┘
//! ```
//! Nothing depends on how events are put into batches, nor on the order of two keys: rows are ordered by their place in
//! the log, and numbers are functions of the rows, but for what is called late.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use likeness_core::StoreResult;
use likeness_core::sql::{Find, Tables, TablesStep};
use likeness_core::table::{Row, TableSpec, Value};

use super::numbers::Numbers;
use super::schema::{EXPERIMENTAL_DATA, STREAM_STATE, fields, indexed, integer, text};
use super::state::State;
use crate::pins::read::Batch;
use crate::pins::tables::{GEOLOCATIONS, PINS, REJECTED, USERS};
use crate::pins::{EventKind, StreamConfig};

/// Pins of one `ind` that its geolocation moves, the first by `unique_id`. Further ones keep their times: no service
/// has several pins of one number, so it is a fault or an attack, and a batch has to end.
pub(super) const MAX_MOVED: usize = 1_000;

/// What a batch did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// Rows that were written of pins, geolocations and users.
    pub(super) rows: [u64; 3],
    /// Events that could not be cleaned, by kind.
    pub(super) rejected: [u64; 3],
    /// Pins whose time the watermark had passed when it was learnt.
    pub(super) late: u64,
    /// Pins that were moved by a geolocation that came after them.
    pub(super) moved: u64,
}

/// A pin, as far as numbers go.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Counted {
    pub(super) unique_id: String,
    /// Empty if there is none.
    pub(super) category: String,
    pub(super) profile: Option<String>,
    pub(super) followers: Option<i64>,
    /// Microseconds since 1970.
    pub(super) received: i64,
    pub(super) event_time: i64,
    pub(super) is_late: bool,
}

impl Counted {
    pub(super) fn of(row: &Row) -> Self {
        let names = [
            "unique_id",
            "category",
            "profile",
            "follower_count",
            "received",
            "event_time",
            "late",
        ];
        let [id, category, profile, followers, received, event_time, late] =
            fields(&EXPERIMENTAL_DATA, row, names);
        Self {
            unique_id: text(id).unwrap_or_default().to_owned(),
            category: indexed(text(category).unwrap_or_default()).to_owned(),
            profile: text(profile).map(str::to_owned),
            followers: match followers {
                Value::Integer(followers) => Some(*followers),
                _ => None,
            },
            received: integer(received),
            event_time: integer(event_time),
            is_late: *late == Value::Boolean(true),
        }
    }
}

/// What a pin counted for, and counts for now.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) before: Option<Counted>,
    pub(super) now: Counted,
}

/// Returns what a batch changes, the state after it, and a report.
pub(super) async fn apply(
    tables: &dyn Tables,
    state: &State,
    batch: Batch,
    config: &StreamConfig,
) -> StoreResult<(TablesStep, State, Report)> {
    let mut report = Report::default();
    let mut state_after = state.with_half_life(config.half_life().micros());
    let newest = batch.events.iter().map(|one| one.cleaned.origin.received);
    let newest = newest.max().unwrap_or_default();
    let positions = batch.positions.clone();
    let Latest {
        pins,
        geolocations,
        users,
        rejected,
    } = latest(batch, &mut report);
    state_after.rejected += rejected.len() as i64;

    let users = newer(tables, &USERS, users).await?;
    state_after.users += users.iter().filter(|(_, old)| old.is_none()).count() as i64;
    let geolocations = newer(tables, &GEOLOCATIONS, geolocations).await?;
    let num_new = geolocations.iter().filter(|(_, old)| old.is_none()).count();
    state_after.geolocations += num_new as i64;
    let pins = newer(tables, &EXPERIMENTAL_DATA, pins).await?;

    let times = times(tables, &geolocations, &pins).await?;
    let mut placer = Placer {
        watermark: state.watermark(config),
        newest: crate::pins::clean::time::EventTime::from(newest).micros(),
        state: &mut state_after,
        report: &mut report,
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut changes: Vec<Change> = Vec::new();
    let mut replaced: BTreeSet<String> = BTreeSet::new();
    for (row, old) in pins {
        let before = old.as_ref().map(Counted::of);
        let (row, now) = placer.place(row, before.as_ref(), &times);
        replaced.insert(now.unique_id.clone());
        changes.push(Change { before, now });
        rows.push(row);
    }
    report_rows(placer.report, &rows, &geolocations, &users);
    let moved = Find {
        column: "ind",
        values: geolocations
            .iter()
            .map(|(row, _)| row.0[0].clone())
            .collect(),
        order_by: "unique_id",
        descending: false,
        limit_each: MAX_MOVED,
    };
    for old in tables.find(&EXPERIMENTAL_DATA, moved).await? {
        let before = Counted::of(&old);
        if replaced.contains(&before.unique_id) {
            continue;
        }
        let (row, now) = placer.place(old, Some(&before), &times);
        if now.event_time == before.event_time {
            continue;
        }
        placer.report.moved += 1;
        changes.push(Change {
            before: Some(before),
            now,
        });
        rows.push(row);
    }
    let num_new = changes.iter().filter(|change| change.before.is_none());
    state_after.pins += num_new.count() as i64;
    state_after.late += report.late as i64;

    let mut step = TablesStep {
        upserts: vec![
            (&EXPERIMENTAL_DATA, rows),
            (&GEOLOCATIONS, first(geolocations)),
            (&USERS, first(users)),
            (&REJECTED, rejected),
        ],
        positions,
        ..TablesStep::default()
    };
    Numbers::of(config.half_life(), &changes)
        .into_step(tables, &changes, &mut step)
        .await?;
    step.upserts
        .push((&STREAM_STATE, state.rows_changed(&state_after)));
    Ok((step, state_after, report))
}

fn first(rows: Vec<(Row, Option<Row>)>) -> Vec<Row> {
    rows.into_iter().map(|(row, _)| row).collect()
}

fn report_rows(
    report: &mut Report,
    pins: &[Row],
    geolocations: &[(Row, Option<Row>)],
    users: &[(Row, Option<Row>)],
) {
    report.rows = [pins.len(), geolocations.len(), users.len()].map(|count| count as u64);
}

/// The latest rows of each key of a batch, and all that was rejected.
struct Latest {
    pins: Vec<Row>,
    geolocations: Vec<Row>,
    users: Vec<Row>,
    rejected: Vec<Row>,
}

fn latest(batch: Batch, report: &mut Report) -> Latest {
    let mut by_kind: [HashMap<String, Row>; 3] = Default::default();
    // By their places: a record that is read twice is rejected once.
    let mut rejected = BTreeMap::new();
    for event in batch.events {
        let (spec, row) = event.cleaned.into_row(event.kind, &event.key);
        if spec.name == REJECTED.name {
            let place = (event.kind as usize, place_of(spec, &row));
            if rejected.insert(place, row).is_none() {
                report.rejected[event.kind as usize] += 1;
            }
            continue;
        }
        let held = by_kind[event.kind as usize].entry(event.key);
        match held {
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(row);
            }
            std::collections::hash_map::Entry::Occupied(mut held) => {
                if place_of(spec, &row) > place_of(spec, held.get()) {
                    held.insert(row);
                }
            }
        }
    }
    let sorted = |rows: HashMap<String, Row>| {
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by(|left, right| left.0.cmp(&right.0));
        rows.into_iter().map(|(_, row)| row).collect()
    };
    let [pins, geolocations, users] = by_kind;
    let (pins, geolocations, users) = (sorted(pins), sorted(geolocations), sorted(users));
    Latest {
        pins,
        geolocations,
        users,
        rejected: rejected.into_values().collect(),
    }
}

/// Returns where a row comes from, by which versions are ordered.
fn place_of(spec: &TableSpec, row: &Row) -> (i64, i64) {
    let [partition, offset] = fields(spec, row, ["log_partition", "log_offset"]);
    (integer(partition), integer(offset))
}

/// Returns those of `rows` that are newer than what a table holds of their keys, with that.
async fn newer(
    tables: &dyn Tables,
    spec: &'static TableSpec,
    rows: Vec<Row>,
) -> StoreResult<Vec<(Row, Option<Row>)>> {
    let keys = rows.iter().map(|row| row.0[..1].to_vec()).collect();
    let mut held = HashMap::new();
    for row in tables.get(spec, keys).await? {
        held.insert(format!("{:?}", row.0[0]), row);
    }
    let mut newer = Vec::with_capacity(rows.len());
    for row in rows {
        let old = held.remove(&format!("{:?}", row.0[0]));
        if old
            .as_ref()
            .is_none_or(|old| place_of(spec, &row) > place_of(spec, old))
        {
            newer.push((row, old));
        }
    }
    Ok(newer)
}

/// Returns the times of the geolocations that pins of a batch have, and of those that are in the batch.
async fn times(
    tables: &dyn Tables,
    geolocations: &[(Row, Option<Row>)],
    pins: &[(Row, Option<Row>)],
) -> StoreResult<HashMap<i64, i64>> {
    let time_of = |row: &Row| {
        let [ind, time] = fields(&GEOLOCATIONS, row, ["ind", "timestamp"]);
        (integer(ind), integer(time))
    };
    let mut times: HashMap<_, _> = geolocations.iter().map(|(row, _)| time_of(row)).collect();
    let keys = pins.iter().filter_map(|(row, _)| {
        let [ind] = fields(&PINS, row, ["ind"]);
        let is_wanted = *ind != Value::Null && !times.contains_key(&integer(ind));
        is_wanted.then(|| vec![ind.clone()])
    });
    let keys = keys.collect();
    for row in tables.get(&GEOLOCATIONS, keys).await? {
        let (ind, time) = time_of(&row);
        times.insert(ind, time);
    }
    Ok(times)
}

/// Gives pins their times.
struct Placer<'a> {
    /// Where it stood before the batch.
    watermark: Option<i64>,
    /// When the newest event of the batch was received.
    newest: i64,
    state: &'a mut State,
    report: &'a mut Report,
}

impl Placer<'_> {
    /// Puts the last columns to a row, which has those of a pin, or all.
    fn place(
        &mut self,
        mut row: Row,
        before: Option<&Counted>,
        times: &HashMap<i64, i64>,
    ) -> (Row, Counted) {
        let [ind, received, poster] = fields(&PINS, &row, ["ind", "received", "poster_name"]);
        let time = match ind {
            Value::Integer(ind) => times.get(ind).copied(),
            _ => None,
        };
        let time = time.unwrap_or(integer(received));
        let is_late = match before {
            // It was learnt then.
            Some(before) if before.event_time == time => before.is_late,
            _ => {
                let is_late = self.watermark.is_some_and(|watermark| time < watermark);
                self.report.late += u64::from(is_late);
                is_late
            }
        };
        // A time that lies in the future is no reason to call what comes now late.
        let seen = time.min(self.newest);
        self.state.greatest = Some(self.state.greatest.map_or(seen, |held| held.max(seen)));
        let profile = text(poster).map(|name| indexed(name).to_owned());
        row.0.truncate(PINS.columns.len());
        row.0
            .extend([Value::Timestamp(time), is_late.into(), profile.into()]);
        let now = Counted::of(&row);
        (row, now)
    }
}

// Kinds are places in arrays.
const _: () = assert!(EventKind::Pin as usize == 0 && EventKind::User as usize == 2);
