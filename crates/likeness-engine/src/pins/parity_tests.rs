use std::sync::{Arc, Mutex};

use likeness_adapters::MemoryStore;
use likeness_core::Timestamp;
use likeness_core::table::ColumnType;

use super::super::emulate::{Emulator, EmulatorOptions};
use super::super::event::{RawEvent, key};
use super::super::tables::read;
use super::super::{Pins, partition_of};
use super::*;

const NOON: Timestamp = Timestamp(1_772_366_400_000);

fn day() -> Interval {
    crate::ops::day_of(NOON)
}

/// A way that holds rows in memory, by table and key.
#[derive(Debug, Default)]
struct Rows {
    rows: Mutex<Vec<(&'static TableSpec, Row)>>,
    positions: Mutex<Positions>,
}

impl Rows {
    fn put(&self, table: &'static TableSpec, row: Row) {
        let mut rows = self.rows.lock().unwrap();
        let is_same = |known: &(&TableSpec, Row)| {
            known.0.name == table.name && known.1.key(table) == row.key(table)
        };
        rows.retain(|known| !is_same(known));
        rows.push((table, row));
        rows.sort_by(|a, b| {
            a.0.name
                .cmp(b.0.name)
                .then_with(|| order(a.1.key(a.0), b.1.key(b.0)))
        });
    }

    fn change(&self, at: usize, column: usize, value: Value) {
        self.rows.lock().unwrap()[at].1.0[column] = value;
    }
}

#[async_trait]
impl Way for Rows {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn positions(&self) -> StoreResult<Positions> {
        Ok(self.positions.lock().unwrap().clone())
    }

    async fn rows(
        &self,
        table: &'static TableSpec,
        received: Interval,
        after: Option<&[Value]>,
        limit: usize,
    ) -> StoreResult<Vec<Row>> {
        let at = table.column("received").unwrap();
        let micros = |time: Timestamp| EventTime::from(time).micros();
        let range = micros(received.begin)..micros(received.end);
        let rows = self.rows.lock().unwrap();
        let wanted = rows.iter().filter(|(of, row)| {
            of.name == table.name
                && matches!(row.0[at], Value::Timestamp(at) if range.contains(&at))
                && after.is_none_or(|after| order(row.key(table), after).is_gt())
        });
        Ok(wanted.take(limit).map(|(_, row)| row.clone()).collect())
    }

    async fn row(&self, table: &'static TableSpec, key: &[Value]) -> StoreResult<Option<Row>> {
        let rows = self.rows.lock().unwrap();
        let mut found = rows
            .iter()
            .filter(|(of, row)| of.name == table.name && row.key(table) == key);
        Ok(found.next().map(|(_, row)| row.clone()))
    }
}

/// Rows of so many posts that were received at a time.
fn rows(numbers: std::ops::Range<u32>, received: Timestamp) -> Vec<(&'static TableSpec, Row)> {
    let emulator = Emulator::new(EmulatorOptions {
        dirty: 0.3,
        ..EmulatorOptions::default()
    });
    let mut rows = Vec::new();
    for number in numbers {
        for kind in EventKind::ALL {
            let event = emulator.post(number, received.into()).event(kind);
            let Ok(key) = key(kind, &event) else { continue };
            let place = (partition_of(&key), Offset(u64::from(number)));
            let payload = RawEvent { received, event }.encode();
            rows.push(read(kind, place, &payload).unwrap().into_row(kind, &key));
        }
    }
    rows
}

fn both(rows: &[(&'static TableSpec, Row)]) -> (Rows, Rows) {
    let ways = (Rows::default(), Rows::default());
    for (table, row) in rows {
        ways.0.put(table, row.clone());
        ways.1.put(table, row.clone());
    }
    ways
}

async fn compared((first, second): &(Rows, Rows)) -> Parity {
    let log = MemoryStore::new();
    let found = compare(&log, (first, second), day(), Duration::ZERO).await;
    found.unwrap()
}

#[tokio::test]
async fn ways_with_the_same_rows_agree_and_are_read_to_their_end() {
    let mut all = rows(0..2_500, NOON);
    all.extend(rows(2_500..2_600, Timestamp(day().end.0)));
    let parity = compared(&both(&all)).await;
    assert_eq!((parity.differing, parity.differences.len()), (0, 0));
    let pins = &parity.tables[0];
    assert!(pins.first == pins.second && pins.first > 2_000, "{pins:?}");
    assert!(parity.tables.iter().all(|table| table.first > 0));
}

#[tokio::test]
async fn what_differs_or_is_missing_is_told_by_row_and_column() {
    let ways = both(&rows(0..50, NOON));
    ways.1.change(3, 2, Value::Text("nowhere".to_owned()));
    let (table, gone) = ways.0.rows.lock().unwrap().pop().unwrap();
    let parity = compared(&ways).await;
    assert_eq!(parity.differing, 2, "{parity:?}");
    let [changed, missing] = &parity.differences[..] else {
        panic!("{parity:?}");
    };
    let (changed, missing) = match changed.first.is_some() && changed.second.is_some() {
        true => (changed, missing),
        false => (missing, changed),
    };
    assert_eq!(changed.columns.len(), 1);
    assert_eq!(changed.second, Some(vec!["nowhere".into()]));
    assert_eq!(missing.table, table.name);
    assert_eq!(
        missing.key,
        gone.key(table).iter().map(json).collect::<Vec<_>>()
    );
    assert_eq!(missing.first, None);
    assert_eq!(missing.second.as_ref().map(Vec::len), Some(gone.0.len()));
}

#[tokio::test]
async fn what_one_way_has_replaced_since_is_no_difference() {
    let ways = both(&rows(0..20, NOON));
    let later = Timestamp(day().end.0 + 5);
    for (table, row) in rows(0..10, later) {
        if table.name != REJECTED.name {
            ways.1.put(table, row);
        }
    }
    let parity = compared(&ways).await;
    assert_eq!(parity.differing, 0, "{:?}", parity.differences);
    assert!(parity.tables.iter().any(|table| table.replaced > 0));
}

#[tokio::test]
async fn a_way_that_is_behind_is_waited_for_and_then_named() {
    let log = Arc::new(MemoryStore::new());
    let event = serde_json::value::RawValue::from_string(r#"{"unique_id": "a"}"#.to_owned());
    let event = event.unwrap();
    let pins = Pins::new(log.clone());
    pins.ingest(EventKind::Pin, &[&event]).await.unwrap();
    let ways = (Rows::default(), Rows::default());
    let ends = ends(log.as_ref()).await.unwrap();
    *ways.0.positions.lock().unwrap() = ends.clone();
    let checked = async |patience| {
        let ways = (&ways.0 as &dyn Way, &ways.1 as &dyn Way);
        compare(log.as_ref(), ways, day(), patience).await
    };
    let error = checked(Duration::ZERO).await.unwrap_err().to_string();
    assert!(error.contains("of `pins` is read up to 0"), "{error}");
    let late = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        *ways.1.positions.lock().unwrap() = ends.clone();
    };
    let (found, ()) = tokio::join!(checked(Duration::from_secs(30)), late);
    assert_eq!(found.unwrap().differing, 0);
}

#[test]
fn keys_are_of_types_that_can_be_ordered() {
    for table in TABLES {
        for column in table.key() {
            let is_ordered = matches!(column.kind, ColumnType::Text | ColumnType::Integer);
            assert!(is_ordered, "`{}` of `{}`", column.name, table.name);
        }
    }
}
