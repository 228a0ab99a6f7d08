//! What [`Lake`] promises.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::{Random, assert_invalid, join};
use crate::StoreError;
use crate::lake::{Day, FileKind, Lake, LakeChange, LakeFile, LakeOutcome, Snapshot};
use crate::log::{Offset, Partition, Topic};
use crate::sql::Advance;
use crate::step::Consumer;
use crate::table::{Column, ColumnType, Row, TableSpec, Value};

const CONSUMER: Consumer = Consumer("testsuite");
const TOPIC: Topic = Topic("testsuite");
const HOUR: Duration = Duration::from_secs(3_600);

/// Has every type.
const THINGS: TableSpec = TableSpec {
    name: "testsuite_things",
    columns: &[
        Column::required("id", ColumnType::Text),
        Column::nullable("n", ColumnType::Integer),
        Column::nullable("x", ColumnType::Real),
        Column::nullable("is", ColumnType::Boolean),
        Column::nullable("at", ColumnType::Timestamp),
        Column::nullable("more", ColumnType::Json),
        Column::nullable("texts", ColumnType::Texts),
        Column::nullable("reals", ColumnType::Reals),
    ],
    num_key_columns: 1,
};

/// The same with a column that came later.
const THINGS_LATER: TableSpec = TableSpec {
    name: "testsuite_things",
    columns: &[
        Column::required("id", ColumnType::Text),
        Column::nullable("note", ColumnType::Text),
        Column::nullable("n", ColumnType::Integer),
    ],
    num_key_columns: 1,
};

fn day() -> Day {
    Day::from_civil(2026, 1, 31).expect("it is a day")
}

/// Checks every clause that does not need a restart. The lake is the suite's alone.
///
/// # Panics
/// If `lake` breaks its contract.
pub async fn check_lake(lake: Arc<dyn Lake>) {
    values_come_back(&*lake).await;
    what_is_none_is_refused(&*lake).await;
    files_are_read_once_they_are_entered(&*lake).await;
    columns_come_later(&*lake).await;
    positions_move_once(&*lake).await;
    files_are_taken_out_once(&*lake).await;
    merged_files_have_all_in_order(&*lake).await;
    one_contender_commits(&lake).await;
    old_readers_read_on(&*lake).await;
    a_sweep_removes_what_no_list_names(&*lake).await;
}

/// Checks that what was committed survives a restart. `open` opens the same lake each time.
///
/// # Panics
/// If the lake breaks its contract.
pub async fn check_lake_reopen(open: impl AsyncFn() -> Arc<dyn Lake>) {
    let lake = open().await;
    let mut added = Vec::new();
    // Enough commits for whatever shortens the history.
    for number in 0..70 {
        let file = raw(&*lake, &format!("line {number}")).await;
        let remove = match number % 3 {
            2 => vec![added.remove(0)],
            _ => Vec::new(),
        };
        added.push(file.path.clone());
        let change = LakeChange {
            add: vec![file],
            remove,
            positions: vec![advance(1, number, number + 1)],
        };
        committed(&*lake, change).await;
    }
    let before = lake.snapshot().await.expect("snapshot");
    assert_eq!(paths(&before), sorted(added), "files before a restart");
    drop(lake);

    let lake = open().await;
    let after = lake.snapshot().await.expect("snapshot");
    assert_eq!(after, before, "the list after a restart");
    let stands = after.positions_of(CONSUMER);
    assert_eq!(stands.len(), 1);
    assert_eq!(stands[0].next, Offset(70));
    for file in &after.files {
        let lines = lake.read_raw(file).await.expect("read_raw");
        assert_eq!(lines.len(), 1);
    }
    let change = LakeChange {
        positions: vec![advance(1, 70, 71)],
        ..LakeChange::default()
    };
    let version = committed(&*lake, change).await;
    assert!(version > before.version, "versions grow");
}

fn advance(partition: u32, from: u64, next: u64) -> Advance {
    Advance {
        consumer: CONSUMER,
        topic: TOPIC,
        partition: Partition(partition),
        from: Offset(from),
        next: Offset(next),
    }
}

async fn raw(lake: &dyn Lake, line: &str) -> LakeFile {
    let lines = vec![Bytes::from(line.to_owned())];
    lake.write_raw(TOPIC, day(), lines)
        .await
        .expect("write_raw")
}

async fn committed(lake: &dyn Lake, change: LakeChange) -> u64 {
    match lake.commit(change).await.expect("commit") {
        LakeOutcome::Committed(version) => version,
        LakeOutcome::Conflict => panic!("a commit that follows was refused"),
    }
}

async fn enter(lake: &dyn Lake, add: Vec<LakeFile>, remove: &[&LakeFile]) -> u64 {
    let change = LakeChange {
        add,
        remove: remove.iter().map(|file| file.path.clone()).collect(),
        positions: Vec::new(),
    };
    committed(lake, change).await
}

fn paths(snapshot: &Snapshot) -> Vec<String> {
    snapshot
        .files
        .iter()
        .map(|file| file.path.clone())
        .collect()
}

fn sorted(mut paths: Vec<String>) -> Vec<String> {
    paths.sort();
    paths
}

fn rows() -> Vec<Row> {
    let full = |id: &str, n: i64, x: f64, more: serde_json::Value| {
        Row(vec![
            id.into(),
            n.into(),
            x.into(),
            (n % 2 == 0).into(),
            Value::Timestamp(n / 2),
            more.into(),
            vec![id.to_owned(), String::new()].into(),
            vec![x, -x].into(),
        ])
    };
    let nulls = Row([vec!["none".into()], vec![Value::Null; 7]].concat());
    let empty = Row(vec![
        "".into(),
        0.into(),
        0.0.into(),
        false.into(),
        Value::Timestamp(0),
        json!(null).into(),
        Value::Texts(Vec::new()),
        Value::Reals(Vec::new()),
    ]);
    vec![
        full(
            "a\n\"b\", c",
            i64::MIN,
            f64::MIN_POSITIVE,
            json!({"a": [1, 1.5, null]}),
        ),
        nulls,
        full("\u{10ffff}é", i64::MAX, f64::MAX, json!("\u{0}text")),
        empty,
        full("a\n\"b\", c", 7, 0.1, json!(1e300)),
    ]
}

async fn values_come_back(lake: &dyn Lake) {
    let rows = rows();
    let file = lake
        .write_rows(&THINGS, day(), rows.clone())
        .await
        .expect("write_rows");
    assert_eq!((file.kind, file.day), (FileKind::Rows, day()));
    assert_eq!((file.name.as_str(), file.num_rows), (THINGS.name, 5));
    enter(lake, vec![file.clone()], &[]).await;
    let read = lake.read_rows(&THINGS, &file).await.expect("read_rows");
    assert_eq!(read, rows, "rows come back as they were, in their order");

    let mut random = Random::new();
    let lines: Vec<Bytes> = (0..50)
        .map(|_| {
            random
                .bytes(300)
                .iter()
                .copied()
                .filter(|byte| *byte != b'\n')
                .collect()
        })
        .collect();
    let file = lake
        .write_raw(TOPIC, day(), lines.clone())
        .await
        .expect("write_raw");
    enter(lake, vec![file.clone()], &[]).await;
    let read = lake.read_raw(&file).await.expect("read_raw");
    assert_eq!(read, lines, "lines come back as they were, {random}");
}

async fn what_is_none_is_refused(lake: &dyn Lake) {
    assert_invalid(lake.write_rows(&THINGS, day(), Vec::new()).await);
    let short = vec![Row(vec!["a".into()])];
    assert_invalid(lake.write_rows(&THINGS, day(), short).await);
    assert_invalid(lake.write_raw(TOPIC, day(), Vec::new()).await);
    let two = vec![Bytes::from_static(b"a\nb")];
    assert_invalid(lake.write_raw(TOPIC, day(), two).await);
    let back = LakeChange {
        positions: vec![advance(9, 1, 0)],
        ..LakeChange::default()
    };
    assert_invalid(lake.commit(back).await);
    let file = raw(lake, "twice").await;
    let twice = LakeChange {
        add: vec![file.clone(), file.clone()],
        ..LakeChange::default()
    };
    assert_invalid(lake.commit(twice).await);
    enter(lake, vec![file.clone()], &[]).await;
    let again = LakeChange {
        add: vec![file],
        ..LakeChange::default()
    };
    assert_invalid(lake.commit(again).await);
}

async fn files_are_read_once_they_are_entered(lake: &dyn Lake) {
    let file = raw(lake, "entered").await;
    let before = lake.snapshot().await.expect("snapshot");
    assert!(
        !paths(&before).contains(&file.path),
        "it belongs to nothing yet"
    );
    let version = enter(lake, vec![file.clone()], &[]).await;
    let after = lake.snapshot().await.expect("snapshot");
    assert!(version > before.version && after.version == version);
    assert!(
        after.files.contains(&file),
        "a file is listed as it was written"
    );
    assert_eq!(paths(&after), sorted(paths(&after)), "files by their paths");
    assert!(
        after
            .files_of(FileKind::Raw, TOPIC.0)
            .any(|listed| listed == &file)
    );
    assert!(
        !after
            .files_of(FileKind::Rows, TOPIC.0)
            .any(|listed| listed == &file)
    );
}

async fn columns_come_later(lake: &dyn Lake) {
    let file = lake
        .write_rows(&THINGS, day(), rows())
        .await
        .expect("write_rows");
    enter(lake, vec![file.clone()], &[]).await;
    let read = lake
        .read_rows(&THINGS_LATER, &file)
        .await
        .expect("read_rows");
    let expected = rows()
        .into_iter()
        .map(|row| Row(vec![row.0[0].clone(), Value::Null, row.0[1].clone()]));
    assert_eq!(read, expected.collect::<Vec<_>>(), "a later column is null");
}

async fn positions_move_once(lake: &dyn Lake) {
    let place = |from, next| LakeChange {
        positions: vec![advance(2, from, next)],
        ..LakeChange::default()
    };
    committed(lake, place(0, 5)).await;
    let before = lake.snapshot().await.expect("snapshot");
    for (from, next) in [(0, 5), (0, 7), (4, 9), (6, 9)] {
        let file = raw(lake, "not entered").await;
        let mut change = place(from, next);
        change.add.push(file);
        let outcome = lake.commit(change).await.expect("commit");
        assert_eq!(outcome, LakeOutcome::Conflict, "from {from}");
    }
    assert_eq!(
        lake.snapshot().await.expect("snapshot"),
        before,
        "nothing was changed"
    );
    committed(lake, place(5, 5)).await;
    committed(lake, place(5, 8)).await;
    let stands = lake
        .snapshot()
        .await
        .expect("snapshot")
        .positions_of(CONSUMER);
    let of = stands.iter().find(|one| one.partition == Partition(2));
    assert_eq!(of.map(|one| one.next), Some(Offset(8)));
}

async fn files_are_taken_out_once(lake: &dyn Lake) {
    let (old, new) = (raw(lake, "old").await, raw(lake, "new").await);
    enter(lake, vec![old.clone()], &[]).await;
    enter(lake, vec![new.clone()], &[&old]).await;
    let now = paths(&lake.snapshot().await.expect("snapshot"));
    assert!(now.contains(&new.path) && !now.contains(&old.path));
    let again = LakeChange {
        remove: vec![old.path.clone()],
        ..LakeChange::default()
    };
    let outcome = lake.commit(again).await.expect("commit");
    assert_eq!(outcome, LakeOutcome::Conflict, "it is gone already");
}

async fn merged_files_have_all_in_order(lake: &dyn Lake) {
    let rows = rows();
    let mut files = Vec::new();
    for rows in rows.chunks(2) {
        let written = lake.write_rows(&THINGS, day(), rows.to_vec()).await;
        files.push(written.expect("write_rows"));
    }
    let merged = lake.merge_rows(&THINGS, &files).await.expect("merge_rows");
    assert_eq!((merged.num_rows, merged.day), (rows.len() as u64, day()));
    let read = lake.read_rows(&THINGS, &merged).await.expect("read_rows");
    assert_eq!(read, rows, "merged rows in their order");

    let files = [raw(lake, "one").await, raw(lake, "two").await];
    let merged = lake.merge_raw(TOPIC, &files).await.expect("merge_raw");
    let read = lake.read_raw(&merged).await.expect("read_raw");
    assert_eq!(read, ["one", "two"], "merged lines in their order");
    assert_eq!(merged.num_rows, 2);
    assert_invalid(lake.merge_raw(TOPIC, &[]).await);
    assert_invalid(lake.merge_rows(&THINGS, &[]).await);
}

async fn one_contender_commits(lake: &Arc<dyn Lake>) {
    const N_CONTENDERS: usize = 8;
    for round in 0..5 {
        let contenders: Vec<_> = (0..N_CONTENDERS)
            .map(|n| {
                let lake = Arc::clone(lake);
                tokio::spawn(async move {
                    let file = raw(&*lake, &format!("{round} {n}")).await;
                    let change = LakeChange {
                        add: vec![file.clone()],
                        remove: Vec::new(),
                        positions: vec![advance(3, round, round + 1)],
                    };
                    let outcome = lake.commit(change).await.expect("commit");
                    matches!(outcome, LakeOutcome::Committed(_)).then_some(file.path)
                })
            })
            .collect();
        let mut winners = Vec::new();
        for contender in contenders {
            winners.extend(join(contender).await);
        }
        assert_eq!(winners.len(), 1, "of {N_CONTENDERS} that move one position");
        let now = paths(&lake.snapshot().await.expect("snapshot"));
        assert!(now.contains(&winners[0]));
    }
    // Those that do not meet all get through.
    let writers: Vec<_> = (0..8)
        .map(|n| {
            let lake = Arc::clone(lake);
            tokio::spawn(async move {
                let file = raw(&*lake, &format!("apart {n}")).await;
                enter(&*lake, vec![file.clone()], &[]).await;
                file.path
            })
        })
        .collect();
    for writer in writers {
        let path = join(writer).await;
        assert!(paths(&lake.snapshot().await.expect("snapshot")).contains(&path));
    }
}

async fn old_readers_read_on(lake: &dyn Lake) {
    let old = raw(lake, "of an old list").await;
    enter(lake, vec![old.clone()], &[]).await;
    let reader = lake.snapshot().await.expect("snapshot");
    let new = raw(lake, "of a new list").await;
    enter(lake, vec![new], &[&old]).await;
    lake.sweep(HOUR).await.expect("sweep");
    assert!(paths(&reader).contains(&old.path));
    let lines = lake.read_raw(&old).await.expect("it is kept for an hour");
    assert_eq!(lines, ["of an old list"]);
}

async fn a_sweep_removes_what_no_list_names(lake: &dyn Lake) {
    let left = raw(lake, "left by who was killed").await;
    let (old, new) = (raw(lake, "replaced").await, raw(lake, "kept").await);
    enter(lake, vec![old.clone()], &[]).await;
    enter(lake, vec![new.clone()], &[&old]).await;
    // What follows the last whole list keeps what it took out: so many commits make another one.
    for _ in 0..100 {
        committed(lake, LakeChange::default()).await;
    }
    let before = lake.snapshot().await.expect("snapshot");
    let swept = lake.sweep(Duration::ZERO).await.expect("sweep");
    assert!(swept.files >= 2 && swept.lists > 0, "{swept:?}");
    for file in [&left, &old] {
        let read = lake.read_raw(file).await;
        assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{read:?}");
    }
    assert_eq!(lake.snapshot().await.expect("snapshot"), before);
    for file in before
        .files
        .iter()
        .filter(|file| file.kind == FileKind::Raw)
    {
        lake.read_raw(file).await.expect("what is listed is there");
    }
    let file = raw(lake, "after a sweep").await;
    assert!(enter(lake, vec![file], &[]).await > before.version);
    let again = lake.sweep(Duration::ZERO).await.expect("sweep");
    assert_eq!(again.files, 0, "nothing is left to sweep");
}
