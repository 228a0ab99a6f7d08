use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use likeness_core::log::{Offset, Partition};
use likeness_core::sql::{
    Find, Migration, Select, StoredPosition, Tables, TablesOutcome, TablesStep, check_keys,
    compare, distinct,
};
use likeness_core::step::Consumer;
use likeness_core::table::{Row, TableSpec, Value};
use likeness_core::{StoreError, StoreResult};

const STORE: &str = "tables (memory)";

/// Rows in memory.
#[derive(Debug, Default)]
pub struct MemoryTables {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Texts of migrations, by set.
    migrations: HashMap<&'static str, Vec<String>>,
    /// By table, and by key in text.
    tables: HashMap<&'static str, BTreeMap<String, Row>>,
    positions: HashMap<(&'static str, &'static str, Partition), Offset>,
}

impl MemoryTables {
    /// Returns tables of which there are none yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held
            .lock()
            .expect("no holder of the lock panics: it only moves values")
    }
}

impl Held {
    fn rows(&self, spec: &TableSpec) -> StoreResult<&BTreeMap<String, Row>> {
        self.tables
            .get(spec.name)
            .ok_or_else(|| no_table(spec.name))
    }
}

fn no_table(name: &str) -> StoreError {
    StoreError::corrupt(STORE, name, "no such table")
}

fn key_text(key: &[Value]) -> String {
    format!("{key:?}")
}

#[async_trait]
impl Tables for MemoryTables {
    async fn migrate(&self, set: &'static str, migrations: &[Migration]) -> StoreResult<()> {
        Consumer(set).validate(STORE)?;
        migrations.iter().try_for_each(|one| one.validate(STORE))?;
        let mut held = self.held();
        let run = held.migrations.entry(set).or_default().clone();
        let texts: Vec<_> = migrations.iter().map(ToString::to_string).collect();
        if !texts.starts_with(&run) {
            return Err(StoreError::Format {
                store: STORE,
                found: u32::try_from(run.len()).unwrap_or(u32::MAX),
                expected: u32::try_from(texts.len()).unwrap_or(u32::MAX),
                advice: "its tables were made by other migrations",
            });
        }
        for migration in &migrations[run.len()..] {
            match migration {
                Migration::CreateTable(spec) => {
                    held.tables.insert(spec.name, BTreeMap::new());
                }
                Migration::CreateIndex { .. } => {}
                Migration::AddColumn { table, .. } => {
                    let rows = held.tables.get_mut(table).ok_or_else(|| no_table(table))?;
                    rows.values_mut().for_each(|row| row.0.push(Value::Null));
                }
            }
        }
        held.migrations.insert(set, texts);
        Ok(())
    }

    async fn get(&self, spec: &'static TableSpec, keys: Vec<Vec<Value>>) -> StoreResult<Vec<Row>> {
        check_keys(STORE, spec, &keys)?;
        let held = self.held();
        let rows = held.rows(spec)?;
        let found = distinct(&keys)
            .into_iter()
            .filter_map(|key| rows.get(&key_text(key)));
        Ok(found.cloned().collect())
    }

    async fn find(&self, spec: &'static TableSpec, find: Find) -> StoreResult<Vec<Row>> {
        find.validate(STORE, spec)?;
        let place = |name: &str| spec.column(name).expect("`validate` has found the column");
        let (column, order) = (place(find.column), place(find.order_by));
        let held = self.held();
        let mut by_value: HashMap<String, Vec<&Row>> = HashMap::new();
        for row in held.rows(spec)?.values() {
            let value = format!("{:?}", row.0[column]);
            by_value.entry(value).or_default().push(row);
        }
        let mut found = Vec::new();
        for value in distinct(&find.values) {
            let Some(mut rows) = by_value.remove(&format!("{value:?}")) else {
                continue;
            };
            rows.sort_by(|left, right| {
                let order = compare(&left.0[order], &right.0[order]);
                if find.descending {
                    order.reverse()
                } else {
                    order
                }
            });
            found.extend(rows.into_iter().take(find.limit_each).cloned());
        }
        Ok(found)
    }

    async fn select(&self, spec: &'static TableSpec, select: Select) -> StoreResult<Vec<Row>> {
        select.validate(STORE, spec)?;
        let place = |name: &str| spec.column(name).expect("`validate` has found the column");
        let order: Vec<_> = select.order(spec).iter().map(|name| place(name)).collect();
        let is_wanted = |row: &&Row| {
            let equal = |(name, value): &(&str, Value)| compare(&row.0[place(name)], value).is_eq();
            let in_range = |(name, from, before): &(&str, Option<Value>, Option<Value>)| {
                let found = &row.0[place(name)];
                // Nothing is in no range, but in the one without ends.
                (*found != Value::Null || from.is_none() && before.is_none())
                    && from
                        .as_ref()
                        .is_none_or(|from| compare(found, from).is_ge())
                    && before
                        .as_ref()
                        .is_none_or(|end| compare(found, end).is_lt())
            };
            let is_after = |after: &Vec<Value>| {
                let mut found = order.iter().zip(after);
                let order = found.find_map(|(&idx, value)| {
                    Some(compare(&row.0[idx], value)).filter(|order| order.is_ne())
                });
                order.is_some_and(|order| order.is_lt() == select.descending)
            };
            select.equals.iter().all(equal)
                && select.range.iter().all(in_range)
                && select.after.iter().all(is_after)
        };
        let held = self.held();
        let mut found: Vec<&Row> = held.rows(spec)?.values().filter(is_wanted).collect();
        found.sort_by(|left, right| {
            let mut orders = order
                .iter()
                .map(|&idx| compare(&left.0[idx], &right.0[idx]));
            let order = orders.find(|order| order.is_ne());
            let order = order.unwrap_or(std::cmp::Ordering::Equal);
            if select.descending {
                order.reverse()
            } else {
                order
            }
        });
        Ok(found.into_iter().take(select.limit).cloned().collect())
    }

    async fn commit(&self, step: TablesStep) -> StoreResult<TablesOutcome> {
        step.validate(STORE)?;
        let mut held = self.held();
        for advance in &step.positions {
            let key = (advance.consumer.0, advance.topic.0, advance.partition);
            let stands = held.positions.get(&key).copied().unwrap_or_default();
            if stands != advance.from {
                return Ok(TablesOutcome::AlreadyCommitted);
            }
        }
        let tables = step.deletes.iter().map(|(spec, _)| spec);
        for spec in tables.chain(step.upserts.iter().map(|(spec, _)| spec)) {
            held.rows(spec)?;
        }
        for advance in &step.positions {
            let key = (advance.consumer.0, advance.topic.0, advance.partition);
            held.positions.insert(key, advance.next);
        }
        for (spec, keys) in step.deletes {
            let rows = held.tables.entry(spec.name).or_default();
            for key in keys {
                rows.remove(&key_text(&key));
            }
        }
        for (spec, new) in step.upserts {
            let rows = held.tables.entry(spec.name).or_default();
            for row in new {
                rows.insert(key_text(row.key(spec)), row);
            }
        }
        Ok(TablesOutcome::Committed)
    }

    async fn positions(&self, consumer: Consumer) -> StoreResult<Vec<StoredPosition>> {
        consumer.validate(STORE)?;
        let held = self.held();
        let own = held
            .positions
            .iter()
            .filter(|((name, ..), _)| *name == consumer.0);
        Ok(own
            .map(|(&(_, topic, partition), &next)| StoredPosition {
                topic: topic.to_owned(),
                partition,
                next,
            })
            .collect())
    }
}
