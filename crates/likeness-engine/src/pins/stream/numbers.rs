//! Numbers that a batch changes, as absolute values.

use std::collections::{BTreeMap, HashMap, HashSet};

use likeness_core::StoreResult;
use likeness_core::sql::{Find, Select, Tables, TablesStep};
use likeness_core::table::{Row, TableSpec, Value};

use super::apply::{Change, Counted};
use super::decay::{HalfLife, SPANS, score};
use super::schema::{
    EXPERIMENTAL_DATA, PINS_PER_MINUTE, PROFILE_ACTIVITY, PROFILES, fields, integer, text,
};

const MINUTE: i64 = 60_000_000;
/// Rows read at once in search of a profile's followers.
const PAGE: usize = 256;

/// A key of two columns: a text, and a number or a time.
type Key = (String, i64);

/// Changes of numbers, by the keys of their rows.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// By category and minute: pins, and how many of them are late.
    minutes: BTreeMap<Key, [i64; 2]>,
    /// By profile and span: pins, and their weights.
    spans: BTreeMap<Key, [i64; 2]>,
    /// By profile.
    pins: BTreeMap<String, i64>,
}

/// Of which pin a profile's followers are: the one received last, the greatest `unique_id` among equals.
type Rank = (i64, String);

impl Numbers {
    /// Adds up what pins count for now, and takes away what they counted for.
    pub(super) fn of(half_life: HalfLife, changes: &[Change]) -> Self {
        let mut numbers = Self::default();
        for change in changes {
            if let Some(before) = &change.before {
                numbers.count(half_life, before, -1);
            }
            numbers.count(half_life, &change.now, 1);
        }
        let is_change = |_: &Key, change: &mut [i64; 2]| *change != [0, 0];
        numbers.minutes.retain(is_change);
        numbers.spans.retain(is_change);
        numbers
    }

    fn count(&mut self, half_life: HalfLife, pin: &Counted, sign: i64) {
        let minute = pin.event_time.div_euclid(MINUTE) * MINUTE;
        // The first minute of the year 1 begins with it.
        let cell = self.minutes.entry((pin.category.clone(), minute));
        let cell = cell.or_default();
        cell[0] += sign;
        cell[1] += sign * i64::from(pin.is_late);
        if let Some(profile) = &pin.profile {
            let (span, weight) = half_life.weigh(pin.event_time);
            let cell = self.spans.entry((profile.clone(), span)).or_default();
            cell[0] += sign;
            cell[1] += sign * weight;
            *self.pins.entry(profile.clone()).or_default() += sign;
        }
    }

    /// Puts the rows that change into a step.
    pub(super) async fn into_step(
        self,
        tables: &dyn Tables,
        changes: &[Change],
        step: &mut TablesStep,
    ) -> StoreResult<()> {
        let minute = |key: &Key| vec![key.0.as_str().into(), Value::Timestamp(key.1)];
        add_up(tables, &PINS_PER_MINUTE, &self.minutes, minute, step).await?;
        let span = |key: &Key| vec![key.0.as_str().into(), key.1.into()];
        let deleted = add_up(tables, &PROFILE_ACTIVITY, &self.spans, span, step).await?;
        let mut num_deleted: HashMap<&str, usize> = HashMap::new();
        for (profile, _) in &deleted {
            *num_deleted.entry(profile).or_default() += 1;
        }
        let scores = self
            .scores(tables, num_deleted.into_values().max().unwrap_or(0), step)
            .await?;
        self.profiles(tables, changes, &scores, step).await
    }

    /// Returns the scores of the profiles that are touched.
    async fn scores(
        &self,
        tables: &dyn Tables,
        num_deleted: usize,
        step: &TablesStep,
    ) -> StoreResult<HashMap<String, f64>> {
        let find = Find {
            column: "profile",
            values: self.pins.keys().map(|name| name.as_str().into()).collect(),
            order_by: "span",
            descending: true,
            // Those of the latest that go away are no loss then.
            limit_each: SPANS + num_deleted,
        };
        let mut spans: BTreeMap<String, BTreeMap<i64, i64>> = BTreeMap::new();
        let mut put = |row: &Row| {
            let names = ["profile", "span", "weight"];
            let [profile, span, weight] = fields(&PROFILE_ACTIVITY, row, names);
            let of_profile = spans.entry(text(profile).unwrap_or_default().to_owned());
            of_profile
                .or_default()
                .insert(integer(span), integer(weight));
        };
        tables
            .find(&PROFILE_ACTIVITY, find)
            .await?
            .iter()
            .for_each(&mut put);
        for (_, rows) in of_table(&step.upserts, &PROFILE_ACTIVITY) {
            rows.iter().for_each(&mut put);
        }
        for (_, keys) in of_table(&step.deletes, &PROFILE_ACTIVITY) {
            for key in keys {
                if let Some(of_profile) = spans.get_mut(text(&key[0]).unwrap_or_default()) {
                    of_profile.remove(&integer(&key[1]));
                }
            }
        }
        let scored = spans.into_iter().filter_map(|(profile, spans)| {
            let latest: Vec<_> = spans.into_iter().rev().take(SPANS).collect();
            Some((profile, score(&latest)?))
        });
        Ok(scored.collect())
    }

    async fn profiles(
        &self,
        tables: &dyn Tables,
        changes: &[Change],
        scores: &HashMap<String, f64>,
        step: &mut TablesStep,
    ) -> StoreResult<()> {
        let keys = self.pins.keys().map(|name| vec![name.as_str().into()]);
        let mut held = HashMap::new();
        for row in tables.get(&PROFILES, keys.collect()).await? {
            held.insert(text(&row.0[0]).unwrap_or_default().to_owned(), row);
        }
        let followers = Followers::of(changes);
        let (mut upserts, mut deletes) = (Vec::new(), Vec::new());
        for (profile, change) in &self.pins {
            let held = held.get(profile);
            let pins = change + held.map_or(0, |row| integer(fields(&PROFILES, row, ["pins"])[0]));
            let (Some(score), true) = (scores.get(profile), pins > 0) else {
                deletes.push(vec![profile.as_str().into()]);
                continue;
            };
            let mut values: Vec<Value> = vec![
                profile.as_str().into(),
                Value::Null,
                pins.into(),
                (*score).into(),
                Value::Null,
                Value::Null,
            ];
            if let Some((followers, (received, id))) =
                followers.of_profile(tables, profile, held).await?
            {
                values[1] = followers.into();
                values[4] = id.into();
                values[5] = Value::Timestamp(received);
            }
            upserts.push(Row(values));
        }
        step.upserts.push((&PROFILES, upserts));
        step.deletes.push((&PROFILES, deletes));
        Ok(())
    }
}

/// Returns the parts of a step that are about a table.
fn of_table<'a, T>(
    parts: &'a [(&'static TableSpec, T)],
    spec: &'static TableSpec,
) -> impl Iterator<Item = &'a (&'static TableSpec, T)> {
    parts.iter().filter(move |(one, _)| one.name == spec.name)
}

/// Adds changes to the rows of a table whose last two columns are numbers. Returns keys of rows of which nothing is
/// left: they are deleted.
async fn add_up<'a>(
    tables: &dyn Tables,
    spec: &'static TableSpec,
    changes: &'a BTreeMap<Key, [i64; 2]>,
    key_of: impl Fn(&Key) -> Vec<Value>,
    step: &mut TablesStep,
) -> StoreResult<Vec<&'a Key>> {
    let keys = changes.keys().map(&key_of).collect();
    let mut held: HashMap<Key, [i64; 2]> = HashMap::new();
    for row in tables.get(spec, keys).await? {
        let key = (
            text(&row.0[0]).unwrap_or_default().to_owned(),
            integer(&row.0[1]),
        );
        held.insert(key, [integer(&row.0[2]), integer(&row.0[3])]);
    }
    let (mut upserts, mut deletes, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
    for (key, change) in changes {
        let held = held.get(key).copied().unwrap_or_default();
        let sum = [held[0] + change[0], held[1] + change[1]];
        let mut values = key_of(key);
        if sum[0] > 0 {
            values.extend(sum.map(Value::from));
            upserts.push(Row(values));
        } else {
            deletes.push(values);
            deleted.push(key);
        }
    }
    step.upserts.push((spec, upserts));
    step.deletes.push((spec, deletes));
    Ok(deleted)
}

/// What the pins of a batch say of followers.
struct Followers<'a> {
    /// Pins that are touched.
    touched: HashSet<&'a str>,
    /// By profile: the best of these.
    best: HashMap<&'a str, (i64, Rank)>,
}

impl<'a> Followers<'a> {
    fn of(changes: &'a [Change]) -> Self {
        let mut best: HashMap<&str, (i64, Rank)> = HashMap::new();
        for Change { now, .. } in changes {
            let (Some(profile), Some(followers)) = (&now.profile, now.followers) else {
                continue;
            };
            let rank = (now.received, now.unique_id.clone());
            match best.get(profile.as_str()) {
                Some((_, held)) if *held >= rank => {}
                _ => {
                    best.insert(profile, (followers, rank));
                }
            }
        }
        Self {
            touched: changes
                .iter()
                .map(|change| change.now.unique_id.as_str())
                .collect(),
            best,
        }
    }

    /// Returns the followers of a profile after the batch, and of which pin they are.
    async fn of_profile(
        &self,
        tables: &dyn Tables,
        profile: &str,
        held: Option<&Row>,
    ) -> StoreResult<Option<(i64, Rank)>> {
        let best = self.best.get(profile).cloned();
        let names = ["followers", "followers_by", "followers_at"];
        let held = held.map(|row| fields(&PROFILES, row, names));
        let Some([followers, Value::Text(id), at]) = held else {
            return Ok(best);
        };
        let held = (integer(followers), (integer(at), id.clone()));
        let is_outranked = best.as_ref().is_some_and(|(_, rank)| *rank >= held.1);
        if is_outranked {
            return Ok(best);
        }
        if !self.touched.contains(id.as_str()) {
            return Ok(Some(held));
        }
        // The pin that said it says it no more, and no other of the batch was received later.
        let stored = self.stored(tables, profile).await?;
        Ok(best.into_iter().chain(stored).max_by(|a, b| a.1.cmp(&b.1)))
    }

    /// Returns what the latest stored pin of a profile says that is not touched and says anything.
    async fn stored(&self, tables: &dyn Tables, profile: &str) -> StoreResult<Option<(i64, Rank)>> {
        let mut after = None;
        loop {
            let select = Select {
                equals: vec![("profile", profile.into())],
                order_by: vec!["received", "unique_id"],
                descending: true,
                after,
                limit: PAGE,
                ..Select::default()
            };
            let rows = tables.select(&EXPERIMENTAL_DATA, select).await?;
            for row in &rows {
                let pin = Counted::of(row);
                if let Some(followers) = pin.followers
                    && !self.touched.contains(pin.unique_id.as_str())
                {
                    return Ok(Some((followers, (pin.received, pin.unique_id))));
                }
            }
            let Some(last) = rows.last().filter(|_| rows.len() == PAGE) else {
                return Ok(None);
            };
            let last = Counted::of(last);
            after = Some(vec![Value::Timestamp(last.received), last.unique_id.into()]);
        }
    }
}
