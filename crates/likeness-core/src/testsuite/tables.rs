//! What [`Tables`] promises.

mod rows;
mod searches;
mod writers;

use std::sync::Arc;

use serde_json::json;

use self::rows::{
    batches_may_be_of_any_size, rows_are_replaced_and_deleted_by_their_keys,
    values_come_back_as_they_were_written, what_breaks_a_rule_is_refused_and_nothing_is_written,
};
use self::searches::{
    pages_go_on_after_the_last_row, rows_are_found_by_a_column, rows_are_selected_in_order,
};
use self::writers::{
    a_position_moves_from_where_it_stands, of_two_writers_one_commits,
    random_steps_do_as_a_map_does,
};
use super::assert_invalid;
use crate::StoreError;
use crate::log::{Offset, Partition, Topic};
use crate::sql::{
    Advance, Find, MAX_INDEXED_BYTES, Migration, Select, TIMES, Tables, TablesOutcome, TablesStep,
};
use crate::step::Consumer;
use crate::table::ColumnType::{Boolean, Integer, Json, Real, Reals, Text, Texts, Timestamp};
use crate::table::{Column, Row, TableSpec, Value};

const THINGS: TableSpec = TableSpec {
    name: "suite_things",
    columns: &[
        Column::required("run", Text),
        Column::required("number", Integer),
        Column::nullable("name", Text),
        Column::nullable("size", Real),
        Column::nullable("is_new", Boolean),
        Column::nullable("made", Timestamp),
        Column::nullable("facts", Json),
        Column::nullable("words", Texts),
        Column::nullable("sides", Reals),
    ],
    num_key_columns: 2,
};

const KEYS: TableSpec = TableSpec {
    name: "suite_keys",
    columns: &[
        Column::required("run", Text),
        Column::required("at", Timestamp),
        Column::required("truth", Boolean),
    ],
    num_key_columns: 3,
};

/// [`KEYS`] after the last migration.
const WIDE_KEYS: TableSpec = TableSpec {
    columns: &[
        Column::required("run", Text),
        Column::required("at", Timestamp),
        Column::required("truth", Boolean),
        Column::nullable("note", Text),
    ],
    ..KEYS
};

/// What can be of no key, and of no index.
const SIZE: [Column; 1] = [Column::required("size", Real)];
const FACTS: [Column; 1] = [Column::nullable("facts", Json)];

const SET: &str = "suite";
const MIGRATIONS: [Migration; 4] = [
    Migration::CreateTable(THINGS),
    Migration::CreateIndex {
        name: "suite_things_by_name",
        table: "suite_things",
        columns: &[
            Column::nullable("name", Text),
            Column::nullable("size", Real),
        ],
    },
    Migration::CreateTable(KEYS),
    Migration::AddColumn {
        table: "suite_keys",
        column: Column::nullable("note", Text),
    },
];

const TOPIC: Topic = Topic("suite-events");

/// Checks every clause that does not need a restart.
///
/// # Panics
/// If `tables` breaks its contract.
pub async fn check_tables(tables: Arc<dyn Tables>) {
    migrations_run_once_and_others_are_refused(&*tables).await;
    values_come_back_as_they_were_written(&*tables).await;
    rows_are_replaced_and_deleted_by_their_keys(&*tables).await;
    rows_are_selected_in_order(&*tables).await;
    rows_are_found_by_a_column(&*tables).await;
    pages_go_on_after_the_last_row(&*tables).await;
    batches_may_be_of_any_size(&*tables).await;
    what_breaks_a_rule_is_refused_and_nothing_is_written(&*tables).await;
    a_position_moves_from_where_it_stands(&*tables).await;
    of_two_writers_one_commits(&tables).await;
    random_steps_do_as_a_map_does(&*tables).await;
}

/// Checks that what was committed survives a restart. `open` opens the same tables each time.
///
/// # Panics
/// If the tables break their contract.
pub async fn check_tables_reopen(open: impl AsyncFn() -> Arc<dyn Tables>) {
    let run = unique();
    let tables = open().await;
    migrate(&*tables).await;
    let rows = vec![thing(&run, 1), full(&run, 2)];
    let advance = Advance {
        next: Offset(7),
        ..advance(consumer(&run), 0)
    };
    let step = TablesStep {
        upserts: vec![(&THINGS, rows.clone())],
        positions: vec![advance],
        ..TablesStep::default()
    };
    assert_eq!(
        commit(&*tables, step.clone()).await,
        TablesOutcome::Committed
    );
    drop(tables);

    let tables = open().await;
    migrate(&*tables).await;
    assert_eq!(all(&*tables, &run).await, rows, "after a restart");
    let outcome = commit(&*tables, step).await;
    assert_eq!(outcome, TablesOutcome::AlreadyCommitted, "after a restart");
    let positions = tables.positions(advance.consumer).await.expect("positions");
    assert_eq!(positions.len(), 1);
    assert_eq!(positions[0].next, Offset(7));
}

fn unique() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// A consumer of this run alone. Leaks a few bytes, in tests.
fn consumer(run: &str) -> Consumer {
    Consumer(format!("suite-{run}").leak())
}

fn advance(consumer: Consumer, from: u64) -> Advance {
    Advance {
        consumer,
        topic: TOPIC,
        partition: Partition(3),
        from: Offset(from),
        next: Offset(from),
    }
}

async fn migrate(tables: &dyn Tables) {
    tables.migrate(SET, &MIGRATIONS).await.expect("migrations");
}

async fn commit(tables: &dyn Tables, step: TablesStep) -> TablesOutcome {
    tables.commit(step).await.expect("a commit")
}

async fn put(tables: &dyn Tables, spec: &'static TableSpec, rows: Vec<Row>) {
    let step = TablesStep {
        upserts: vec![(spec, rows)],
        ..TablesStep::default()
    };
    assert_eq!(commit(tables, step).await, TablesOutcome::Committed);
}

fn of_run(run: &str) -> Select {
    Select {
        equals: vec![("run", run.into())],
        limit: usize::MAX,
        ..Select::default()
    }
}

async fn select(tables: &dyn Tables, select: Select) -> Vec<Row> {
    tables.select(&THINGS, select).await.expect("a selection")
}

async fn all(tables: &dyn Tables, run: &str) -> Vec<Row> {
    select(tables, of_run(run)).await
}

fn key(run: &str, number: i64) -> Vec<Value> {
    vec![run.into(), number.into()]
}

/// Returns a row of which only the key is known.
fn thing(run: &str, number: i64) -> Row {
    let mut values = key(run, number);
    values.resize(THINGS.columns.len(), Value::Null);
    Row(values)
}

fn named(run: &str, number: i64, name: Option<&str>, size: Option<f64>) -> Row {
    let mut row = thing(run, number);
    row.0[2] = name.map(str::to_owned).into();
    row.0[3] = size.into();
    row
}

fn full(run: &str, number: i64) -> Row {
    Row(vec![
        run.into(),
        number.into(),
        "a name".into(),
        0.1.into(),
        true.into(),
        Value::Timestamp(1),
        json!({"a": [1, null, "b"]}).into(),
        vec!["a".to_owned(), "b".to_owned()].into(),
        vec![0.5, -2.0].into(),
    ])
}

fn numbers(rows: &[Row]) -> Vec<i64> {
    let number = |row: &Row| match row.0[1] {
        Value::Integer(number) => number,
        ref other => panic!("{other:?} is no number"),
    };
    rows.iter().map(number).collect()
}

async fn migrations_run_once_and_others_are_refused(tables: &dyn Tables) {
    // As versions come: the first, then all, then all again.
    tables.migrate(SET, &MIGRATIONS[..3]).await.ok();
    migrate(tables).await;
    migrate(tables).await;
    for other in [&MIGRATIONS[..2], &MIGRATIONS[1..]] {
        let refused = tables.migrate(SET, other).await;
        assert!(
            matches!(refused, Err(StoreError::Format { .. })),
            "fewer or other migrations: {refused:?}"
        );
    }
    let no_key = TableSpec {
        num_key_columns: 0,
        ..THINGS
    };
    let real_key = TableSpec {
        columns: &SIZE,
        num_key_columns: 1,
        ..THINGS
    };
    for broken in [
        Migration::CreateTable(no_key),
        Migration::CreateTable(real_key),
        Migration::CreateTable(TableSpec {
            name: "suite things",
            ..KEYS
        }),
        Migration::AddColumn {
            table: "suite_things",
            column: Column::required("size_2", Real),
        },
        Migration::CreateIndex {
            name: "suite_things_by_facts",
            table: "suite_things",
            columns: &FACTS,
        },
    ] {
        assert_invalid(tables.migrate("suite-broken", &[broken]).await);
    }
    let run = unique();
    let row = Row(vec![
        run.as_str().into(),
        Value::Timestamp(0),
        true.into(),
        "later".into(),
    ]);
    put(tables, &WIDE_KEYS, vec![row.clone()]).await;
    let found = tables.get(&WIDE_KEYS, vec![row.0[..3].to_vec()]).await;
    assert_eq!(found.expect("rows"), [row], "with a column that was added");
}
