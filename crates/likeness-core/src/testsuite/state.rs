//! What [`StateStore`] promises.

mod model;

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use super::{assert_invalid, join, unique};
use crate::state::{CasOutcome, Direction, Key, Row, Scan, StateStore, Table, Write};

const TABLE: Table = Table("testsuite");
/// Its name continues the other's, which tells stores apart that glue names to keys.
const LONGER_TABLE: Table = Table("testsuite_");

/// Checks every clause that does not need a restart.
///
/// # Panics
/// If `store` breaks its contract.
pub async fn check_state(store: Arc<dyn StateStore>) {
    missing_rows_read_as_nothing(&*store).await;
    reads_back_what_was_written(&*store).await;
    an_empty_value_is_a_value(&*store).await;
    many_gets_keep_the_order_of_their_keys(&*store).await;
    later_writes_of_a_batch_win(&*store).await;
    sort_keys_order_as_unsigned_bytes(&*store).await;
    neighbouring_partitions_and_tables_stay_apart(&*store).await;
    bounds_are_kept_in_both_directions(&*store).await;
    pages_cover_a_partition_exactly_once(&*store).await;
    long_keys_and_values_fit(&*store).await;
    invalid_requests_are_refused_and_write_nothing(&*store).await;
    compare_and_set_swaps_only_what_is_expected(&*store).await;
    one_contender_wins_a_compare_and_set(&store).await;
    readers_see_whole_batches_of_a_partition(&store).await;
    model::random_operations_agree_with_a_map(&*store).await;
    a_sweep_returns_every_row_once(&*store).await;
}

/// Checks that acknowledged writes survive a restart. `open` opens the same store each time.
///
/// # Panics
/// If the store breaks its contract.
pub async fn check_state_reopen(open: impl AsyncFn() -> Arc<dyn StateStore>) {
    let partition = unique("reopen");
    let key = |sort: &'static str| Key::new(TABLE, partition.clone(), sort);

    let store = open().await;
    write(
        &*store,
        vec![
            Write::Put(key("kept"), Bytes::from("1")),
            Write::Put(key("deleted"), Bytes::from("2")),
        ],
    )
    .await;
    write(&*store, vec![Write::Delete(key("deleted"))]).await;
    let applied = compare_and_set(&*store, &key("claimed"), None, Some("3")).await;
    assert_eq!(applied, CasOutcome::Applied);
    drop(store);

    let store = open().await;
    let rows = scan(&*store, Scan::all(TABLE, partition.clone(), 10)).await;
    assert_eq!(
        rows,
        [row("claimed", "3"), row("kept", "1")],
        "what was acknowledged must be there after a restart, and nothing else"
    );
}

async fn missing_rows_read_as_nothing(store: &dyn StateStore) {
    let key = Key::new(TABLE, unique("missing"), "row");
    assert_eq!(get(store, &key).await, None, "a row that never was");
    write(store, vec![Write::Delete(key.clone())]).await;
    assert_eq!(get(store, &key).await, None, "a missing row, deleted");
    write(store, Vec::new()).await;
    let rows = scan(store, Scan::all(TABLE, key.partition, 10)).await;
    assert_eq!(rows, [], "a partition that never was");
}

async fn reads_back_what_was_written(store: &dyn StateStore) {
    let key = Key::single(TABLE, unique("read-back"));
    for value in ["first", "second"] {
        for _ in 0..2 {
            write(store, vec![Write::Put(key.clone(), Bytes::from(value))]).await;
            assert_eq!(get(store, &key).await, Some(Bytes::from(value)));
        }
    }
    write(store, vec![Write::Delete(key.clone())]).await;
    assert_eq!(get(store, &key).await, None, "a deleted row");
}

async fn an_empty_value_is_a_value(store: &dyn StateStore) {
    let key = Key::single(TABLE, unique("empty-value"));
    write(store, vec![Write::Put(key.clone(), Bytes::new())]).await;
    assert_eq!(get(store, &key).await, Some(Bytes::new()));
}

async fn many_gets_keep_the_order_of_their_keys(store: &dyn StateStore) {
    let partition = unique("many");
    let key = |n: u8| Key::new(TABLE, partition.clone(), vec![n]);
    let puts = (0..100).map(|n| Write::Put(key(n), Bytes::from(vec![n])));
    write(store, puts.collect()).await;

    let asked: Vec<u8> = vec![7, 200, 3, 7, 99, 0, 201, 50];
    let keys: Vec<Key> = asked.iter().map(|&n| key(n)).collect();
    let found = store.get_many(&keys).await.expect("get_many");
    let expected: Vec<Option<Bytes>> = asked
        .iter()
        .map(|&n| (n < 100).then(|| Bytes::from(vec![n])))
        .collect();
    assert_eq!(found, expected, "one entry per key, in order, repeats too");

    let all: Vec<Key> = (0..=255).rev().map(key).collect();
    let found = store.get_many(&all).await.expect("get_many of 256 keys");
    assert_eq!(found.len(), 256);
    assert_eq!(found.iter().flatten().count(), 100);
    let none = store.get_many(&[]).await.expect("get_many of nothing");
    assert_eq!(none, []);
}

async fn later_writes_of_a_batch_win(store: &dyn StateStore) {
    let partition = unique("order");
    let key = |sort: &'static str| Key::new(TABLE, partition.clone(), sort);
    write(
        store,
        vec![
            Write::Put(key("deleted last"), Bytes::from("1")),
            Write::Put(key("put last"), Bytes::from("1")),
            Write::Delete(key("put last")),
            Write::Put(key("put last"), Bytes::from("2")),
            Write::Delete(key("deleted last")),
        ],
    )
    .await;
    let rows = scan(store, Scan::all(TABLE, partition.clone(), 10)).await;
    assert_eq!(rows, [row("put last", "2")]);
}

async fn sort_keys_order_as_unsigned_bytes(store: &dyn StateStore) {
    let sorted: [&[u8]; 10] = [
        b"",
        b"\0",
        b"\0\0",
        b"\0\x01",
        b"\x01",
        b"a",
        b"a\0",
        b"\x7f",
        b"\x80",
        b"\xff\xff",
    ];
    let partition = unique("byte-order");
    let puts = sorted.iter().rev().map(|&sort| {
        let key = Key::new(TABLE, partition.clone(), Bytes::from_static(sort));
        Write::Put(key, Bytes::from_static(sort))
    });
    write(store, puts.collect()).await;

    let scan_all = Scan::all(TABLE, partition, 100);
    let ascending = scan(store, scan_all.clone()).await;
    let found: Vec<&[u8]> = ascending.iter().map(|row| &*row.sort).collect();
    assert_eq!(found, sorted, "ascending");
    let mut descending = scan(store, scan_all.descending()).await;
    descending.reverse();
    assert_eq!(descending, ascending, "descending is the reverse");
}

async fn neighbouring_partitions_and_tables_stay_apart(store: &dyn StateStore) {
    let base = unique("neighbour");
    let partition = |end: &[u8]| Bytes::from([&base[..], end].concat());
    // Any two of these could run into each other if parts were glued together without care.
    let places: Vec<(Table, Bytes, &[u8])> = vec![
        (TABLE, partition(b""), b""),
        (TABLE, partition(b""), b"ab"),
        (TABLE, partition(b"a"), b"b"),
        (TABLE, partition(b"a"), b""),
        (TABLE, partition(b"ab"), b""),
        (TABLE, partition(b"\0"), b""),
        (TABLE, partition(b"\0\0"), b""),
        (TABLE, partition(b"\0"), b"\0"),
        (TABLE, partition(b"\xff"), b"\xff"),
        (TABLE, partition(b"\xff\xff"), b""),
        (LONGER_TABLE, partition(b""), b""),
        (LONGER_TABLE, partition(b"a"), b"b"),
    ];
    for (n, (table, partition, sort)) in places.iter().enumerate() {
        let key = Key::new(*table, partition.clone(), Bytes::from_static(sort));
        write(store, vec![Write::Put(key, Bytes::from(vec![n as u8]))]).await;
    }
    for (table, partition, _) in &places {
        let mut expected: Vec<Row> = places
            .iter()
            .enumerate()
            .filter(|(_, place)| place.0 == *table && place.1 == *partition)
            .map(|(n, place)| Row {
                sort: Bytes::from_static(place.2),
                value: Bytes::from(vec![n as u8]),
            })
            .collect();
        expected.sort_by(|a, b| a.sort.cmp(&b.sort));
        let all = Scan::all(*table, partition.clone(), 100);
        assert_eq!(scan(store, all.clone()).await, expected, "{partition:?}");
        expected.reverse();
        let found = scan(store, all.descending()).await;
        assert_eq!(found, expected, "{partition:?}, descending");
    }
}

async fn bounds_are_kept_in_both_directions(store: &dyn StateStore) {
    use Bound::{Excluded, Included, Unbounded};
    let partition = unique("bounds");
    let puts = ["b", "d", "f"].map(|sort| {
        let key = Key::new(TABLE, partition.clone(), sort);
        Write::Put(key, Bytes::from(sort))
    });
    write(store, puts.to_vec()).await;

    let cases: [(Bound<&'static str>, Bound<&'static str>, &[&'static str]); 11] = [
        (Unbounded, Unbounded, &["b", "d", "f"]),
        (Included("b"), Included("f"), &["b", "d", "f"]),
        (Excluded("b"), Excluded("f"), &["d"]),
        (Included("a"), Included("z"), &["b", "d", "f"]),
        (Excluded("a"), Excluded("b"), &[]),
        (Included("c"), Unbounded, &["d", "f"]),
        (Unbounded, Excluded("d"), &["b"]),
        (Included("d"), Included("d"), &["d"]),
        (Excluded("d"), Included("d"), &[]),
        (Excluded("d"), Excluded("d"), &[]),
        (Excluded("f"), Unbounded, &[]),
    ];
    for (lower, upper, expected) in cases {
        let mut range = Scan::all(TABLE, partition.clone(), 10);
        range.lower = lower.map(Bytes::from);
        range.upper = upper.map(Bytes::from);
        let mut expected: Vec<Row> = expected.iter().map(|sort| row(sort, sort)).collect();
        let found = scan(store, range.clone()).await;
        assert_eq!(found, expected, "{lower:?}..{upper:?}");
        expected.reverse();
        let found = scan(store, range.descending()).await;
        assert_eq!(found, expected, "{lower:?}..{upper:?}, descending");
    }
}

async fn pages_cover_a_partition_exactly_once(store: &dyn StateStore) {
    let partition = unique("pages");
    let puts = (0..25u8).map(|n| {
        let key = Key::new(TABLE, partition.clone(), vec![n]);
        Write::Put(key, Bytes::new())
    });
    write(store, puts.collect()).await;

    for direction in [Direction::Ascending, Direction::Descending] {
        for limit in [1, 5, 7, 25, 26] {
            let mut page = Scan::all(TABLE, partition.clone(), limit);
            page.direction = direction;
            let mut seen = Vec::new();
            loop {
                let rows = scan(store, page.clone()).await;
                assert!(rows.len() <= limit, "more rows than the limit of {limit}");
                seen.extend(rows.iter().map(|row| row.sort[0]));
                if rows.len() < limit {
                    break;
                }
                page = page.after(rows[rows.len() - 1].sort.clone());
            }
            if direction == Direction::Descending {
                seen.reverse();
            }
            let all: Vec<u8> = (0..25).collect();
            assert_eq!(seen, all, "{direction:?}, {limit} rows a page");
        }
    }
}

async fn long_keys_and_values_fit(store: &dyn StateStore) {
    let mut partition = unique("long").to_vec();
    partition.resize(Key::MAX_PART_BYTES, 0xff);
    let key = Key::new(TABLE, partition.clone(), vec![0xff; Key::MAX_PART_BYTES]);
    let value = Bytes::from(vec![7; 1 << 20]);
    write(store, vec![Write::Put(key.clone(), value.clone())]).await;
    assert!(get(store, &key).await == Some(value), "1 MiB under 2 KiB");
    let rows = scan(store, Scan::all(TABLE, partition, 2)).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].sort, key.sort);
}

async fn invalid_requests_are_refused_and_write_nothing(store: &dyn StateStore) {
    let partition = unique("invalid");
    let good = Key::single(TABLE, partition.clone());
    let too_long = vec![b'x'; Key::MAX_PART_BYTES + 1];
    let bad_keys = [
        Key::single(TABLE, Bytes::new()),
        Key::single(TABLE, too_long.clone()),
        Key::new(TABLE, partition.clone(), too_long),
        Key::single(Table("Upper"), partition.clone()),
        Key::single(Table(""), partition.clone()),
    ];
    for bad in bad_keys {
        assert_invalid(store.get(&bad).await);
        assert_invalid(store.get_many(&[good.clone(), bad.clone()]).await);
        assert_invalid(store.compare_and_set(&bad, None, None).await);
        let batch = vec![
            Write::Put(good.clone(), Bytes::from("half a batch")),
            Write::Put(bad, Bytes::new()),
        ];
        assert_invalid(store.write(batch).await);
    }
    assert_eq!(get(store, &good).await, None, "a refused batch wrote a row");

    assert_invalid(store.scan(Scan::all(TABLE, partition.clone(), 0)).await);
    let mut upside_down = Scan::all(TABLE, partition, 1);
    upside_down.lower = Bound::Included(Bytes::from("b"));
    upside_down.upper = Bound::Included(Bytes::from("a"));
    assert_invalid(store.scan(upside_down).await);
}

async fn compare_and_set_swaps_only_what_is_expected(store: &dyn StateStore) {
    let key = Key::single(TABLE, unique("compare"));
    let conflict = |value: Option<&'static str>| CasOutcome::Conflict(value.map(Bytes::from));
    let steps = [
        (Some("a"), Some("b"), conflict(None)),
        (None, None, CasOutcome::Applied),
        (None, Some("a"), CasOutcome::Applied),
        (None, Some("b"), conflict(Some("a"))),
        (None, Some("a"), conflict(Some("a"))),
        (Some("b"), None, conflict(Some("a"))),
        (Some("a"), Some("b"), CasOutcome::Applied),
        (Some("a"), Some("c"), conflict(Some("b"))),
        (Some("b"), None, CasOutcome::Applied),
        (Some("b"), Some("c"), conflict(None)),
        (None, Some(""), CasOutcome::Applied),
        (None, Some("c"), conflict(Some(""))),
    ];
    for (n, (expected, new, outcome)) in steps.into_iter().enumerate() {
        let found = compare_and_set(store, &key, expected, new).await;
        assert_eq!(found, outcome, "step {n}: {expected:?} → {new:?}");
        if found == CasOutcome::Applied {
            assert_eq!(get(store, &key).await, new.map(Bytes::from), "step {n}");
        }
    }
}

async fn one_contender_wins_a_compare_and_set(store: &Arc<dyn StateStore>) {
    const N_CONTENDERS: u8 = 8;
    for round in 0..10u8 {
        let key = Key::new(TABLE, unique("contended"), vec![round]);
        let contenders: Vec<_> = (0..N_CONTENDERS)
            .map(|n| {
                let (store, key) = (Arc::clone(store), key.clone());
                tokio::spawn(async move {
                    let mine = Some(Bytes::from(vec![n]));
                    store.compare_and_set(&key, None, mine).await
                })
            })
            .collect();
        let mut winner = None;
        let mut losers = Vec::new();
        for (n, contender) in (0..N_CONTENDERS).zip(contenders) {
            match join(contender).await.expect("compare_and_set") {
                CasOutcome::Applied => {
                    assert_eq!(winner.replace(n), None, "two contenders won");
                }
                CasOutcome::Conflict(found) => losers.push(found),
            }
        }
        let winner = winner.expect("one of the contenders must win");
        let value = Some(Bytes::from(vec![winner]));
        assert_eq!(get(&**store, &key).await, value);
        assert!(
            losers.iter().all(|found| *found == value),
            "losers must be told the winner's value {value:?}, not {losers:?}"
        );
    }
}

async fn readers_see_whole_batches_of_a_partition(store: &Arc<dyn StateStore>) {
    const N_BATCHES: u32 = 200;
    let partition = unique("whole-batches");
    let writer = {
        let (store, partition) = (Arc::clone(store), partition.clone());
        tokio::spawn(async move {
            for batch in 0..N_BATCHES {
                let value = Bytes::copy_from_slice(&batch.to_be_bytes());
                let puts = (0..8u8).map(|row| {
                    let key = Key::new(TABLE, partition.clone(), vec![row]);
                    Write::Put(key, value.clone())
                });
                write(&*store, puts.collect()).await;
            }
        })
    };
    loop {
        let finished = writer.is_finished();
        let rows = scan(&**store, Scan::all(TABLE, partition.clone(), 100)).await;
        assert!(
            rows.is_empty() || rows.len() == 8,
            "{} of a batch's 8 rows are visible",
            rows.len()
        );
        assert!(
            rows.windows(2).all(|pair| pair[0].value == pair[1].value),
            "rows of two batches are visible at once: {rows:?}"
        );
        if finished {
            break;
        }
        tokio::task::yield_now().await;
    }
    join(writer).await;
}

async fn a_sweep_returns_every_row_once(store: &dyn StateStore) {
    let name = unique("swept");
    let mut expected = Vec::new();
    for table in [TABLE, LONGER_TABLE] {
        for (end, sort) in [("", ""), ("", "a"), ("", "b"), ("x", "a")] {
            let partition = Bytes::from([&name[..], end.as_bytes()].concat());
            let key = Key::new(table, partition, sort);
            expected.push((table.0.to_owned(), key.partition.clone(), key.sort.clone()));
            write(store, vec![Write::Put(key, name.clone())]).await;
        }
    }
    expected.sort();
    for limit in [3, 1_000] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.sweep(after.clone(), limit).await.expect("sweeps");
            assert!(page.rows.len() <= limit, "the limit is kept");
            let of_this = page.rows.into_iter().filter(|row| row.value == name);
            found.extend(of_this.map(|row| (row.table, row.partition, row.sort)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        found.sort();
        assert_eq!(found, expected);
    }
}

fn row(sort: &'static str, value: &'static str) -> Row {
    Row {
        sort: Bytes::from(sort),
        value: Bytes::from(value),
    }
}

async fn get(store: &dyn StateStore, key: &Key) -> Option<Bytes> {
    store.get(key).await.expect("get")
}

async fn scan(store: &dyn StateStore, scan: Scan) -> Vec<Row> {
    store.scan(scan).await.expect("scan")
}

async fn write(store: &dyn StateStore, batch: Vec<Write>) {
    store.write(batch).await.expect("write");
}

async fn compare_and_set(
    store: &dyn StateStore,
    key: &Key,
    expected: Option<&'static str>,
    new: Option<&'static str>,
) -> CasOutcome {
    store
        .compare_and_set(key, expected.map(Bytes::from), new.map(Bytes::from))
        .await
        .expect("compare_and_set")
}
