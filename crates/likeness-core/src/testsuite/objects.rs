//! What [`ObjectStore`] promises.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::{Random, assert_invalid, join};
use crate::StoreError;
use crate::objects::{ObjectMeta, ObjectPath, ObjectStore, PutOutcome};

/// Checks every clause that does not need a restart.
///
/// # Panics
/// If `store` breaks its contract.
pub async fn check_objects(store: Arc<dyn ObjectStore>) {
    missing_objects_read_as_nothing(&*store).await;
    reads_back_what_was_put(&*store).await;
    parts_are_read_within_their_object(&*store).await;
    put_new_leaves_what_stands_there(&*store).await;
    one_contender_creates_an_object(&store).await;
    readers_see_whole_objects(&store).await;
    listings_are_in_byte_order(&*store).await;
    listings_keep_prefix_start_and_limit(&*store).await;
    pages_cover_a_listing_exactly_once(&*store).await;
    the_longest_paths_fit(&*store).await;
    an_object_is_not_damaged_by_a_folder_of_its_name(&*store).await;
    random_operations_agree_with_a_map(&*store).await;
}

/// Checks that acknowledged puts and deletes survive a restart. `open` opens the same store each
/// time.
///
/// # Panics
/// If the store breaks its contract.
pub async fn check_objects_reopen(open: impl AsyncFn() -> Arc<dyn ObjectStore>) {
    let root = root("reopen");
    let store = open().await;
    for name in ["put", "deleted", "overwritten"] {
        put(&*store, &at(&root, name), name.as_bytes()).await;
    }
    put(&*store, &at(&root, "overwritten"), b"again").await;
    delete(&*store, &at(&root, "deleted")).await;
    let created = put_new(&*store, &at(&root, "folder/created"), b"new").await;
    assert_eq!(created, PutOutcome::Created);
    drop(store);

    let store = open().await;
    let listed = list(&*store, &root, None, 10).await;
    let expected = [
        meta(&root, "folder/created", 3),
        meta(&root, "overwritten", 5),
        meta(&root, "put", 3),
    ];
    assert_eq!(listed, expected, "a listing after a restart");
    let found = get(&*store, &at(&root, "overwritten")).await;
    assert_eq!(found.as_deref(), Some(&b"again"[..]));
    let again = put_new(&*store, &at(&root, "folder/created"), b"other").await;
    assert_eq!(again, PutOutcome::Exists);
}

async fn missing_objects_read_as_nothing(store: &dyn ObjectStore) {
    let root = root("missing");
    put(store, &at(&root, "folder/object"), b"1").await;
    for name in ["none", "none/none", "folder", "folder/none"] {
        let path = at(&root, name);
        assert_eq!(get(store, &path).await, None, "{path}");
        assert_eq!(head(store, &path).await, None, "{path}");
        delete(store, &path).await;
    }
    let found = get(store, &at(&root, "folder/object")).await;
    assert!(found.is_some(), "deleting what is no object removed one");
}

async fn reads_back_what_was_put(store: &dyn ObjectStore) {
    let root = root("read-back");
    let contents = [
        Bytes::new(),
        Bytes::from_static(b"\0\xff"),
        Bytes::from(vec![7; 5 << 20]),
    ];
    for (n, bytes) in contents.into_iter().enumerate() {
        let path = at(&root, &format!("a/b/{n}"));
        put(store, &path, &bytes).await;
        assert!(get(store, &path).await == Some(bytes.clone()), "{path}");
        let expected = meta(&root, &format!("a/b/{n}"), bytes.len() as u64);
        assert_eq!(head(store, &path).await, Some(expected.clone()));
        let listed = list(store, path.as_str(), None, 10).await;
        assert_eq!(listed, [expected], "list after write");

        put(store, &path, b"over").await;
        let found = get(store, &path).await;
        assert_eq!(found.as_deref(), Some(&b"over"[..]), "overwritten");
        delete(store, &path).await;
        assert_eq!(get(store, &path).await, None, "deleted");
        assert_eq!(list(store, path.as_str(), None, 10).await, []);
        delete(store, &path).await;
    }
    assert_eq!(list(store, &root, None, 10).await, [], "all was deleted");
    put(store, &at(&root, "a/b/again"), b"1").await;
    let again = meta(&root, "a/b/again", 1);
    assert_eq!(list(store, &root, None, 10).await, [again]);
}

async fn parts_are_read_within_their_object(store: &dyn ObjectStore) {
    let root = root("parts");
    let path = at(&root, "folder/object");
    put(store, &path, b"0123456789").await;
    for (range, expected) in [
        (0..10, "0123456789"),
        (3..7, "3456"),
        (9..10, "9"),
        (0..0, ""),
        (10..10, ""),
    ] {
        let found = store.get_range(&path, range.clone()).await;
        let found = found.expect("get_range");
        assert_eq!(found.as_deref(), Some(expected.as_bytes()), "{range:?}");
    }
    for (start, end) in [(0, 11), (10, 11), (11, 11), (7, 3), (0, u64::MAX)] {
        assert_invalid(store.get_range(&path, Range { start, end }).await);
    }
    for name in ["none", "folder"] {
        let found = store.get_range(&at(&root, name), 0..1).await;
        assert_eq!(found.expect("get_range"), None, "{name}");
    }
}

async fn put_new_leaves_what_stands_there(store: &dyn ObjectStore) {
    let path = at(&root("put-new"), "folder/object");
    assert_eq!(put_new(store, &path, b"1").await, PutOutcome::Created);
    assert_eq!(put_new(store, &path, b"22").await, PutOutcome::Exists);
    assert_eq!(get(store, &path).await.as_deref(), Some(&b"1"[..]));
    put(store, &path, b"333").await;
    assert_eq!(put_new(store, &path, b"4").await, PutOutcome::Exists);
    assert_eq!(get(store, &path).await.as_deref(), Some(&b"333"[..]));
    delete(store, &path).await;
    assert_eq!(put_new(store, &path, b"5").await, PutOutcome::Created);
    assert_eq!(get(store, &path).await.as_deref(), Some(&b"5"[..]));
}

async fn one_contender_creates_an_object(store: &Arc<dyn ObjectStore>) {
    const N_CONTENDERS: u8 = 8;
    let root = root("contended");
    for round in 0..5 {
        // A folder of its own, so that contenders race for creating that as well.
        let path = at(&root, &format!("{round}/object"));
        let contenders: Vec<_> = (0..N_CONTENDERS)
            .map(|n| {
                let (store, path) = (Arc::clone(store), path.clone());
                tokio::spawn(async move { put_new(&*store, &path, &[n; 1000]).await })
            })
            .collect();
        let mut winners = Vec::new();
        for (n, contender) in (0..N_CONTENDERS).zip(contenders) {
            if join(contender).await == PutOutcome::Created {
                winners.push(n);
            }
        }
        assert_eq!(winners.len(), 1, "one of the contenders must create it");
        let found = get(&**store, &path).await;
        assert_eq!(found.as_deref(), Some(&[winners[0]; 1000][..]));
    }
}

async fn readers_see_whole_objects(store: &Arc<dyn ObjectStore>) {
    const LEN: usize = 256 << 10;
    let path = at(&root("whole"), "object");
    let writer = {
        let (store, path) = (Arc::clone(store), path.clone());
        tokio::spawn(async move {
            for n in 0..20u8 {
                put(&*store, &path, &vec![n; LEN]).await;
            }
        })
    };
    loop {
        let finished = writer.is_finished();
        if let Some(bytes) = get(&**store, &path).await {
            assert_eq!(bytes.len(), LEN, "a part of an object is visible");
            assert!(
                bytes.iter().all(|byte| *byte == bytes[0]),
                "a mixture of two puts is visible"
            );
        }
        if finished {
            break;
        }
        tokio::task::yield_now().await;
    }
    join(writer).await;
}

/// In byte order; `-` and `.` come before `/`, digits and letters after it.
const SORTED: [&str; 14] = [
    "%41", "+", "A/b", "Z", "a%2F", "a-b", "a.b", "a/b", "a/b-c", "a/c/d", "a0", "a_", "b", "b=@",
];

async fn listings_are_in_byte_order(store: &dyn ObjectStore) {
    let root = root("byte-order");
    for name in SORTED.iter().rev() {
        put(store, &at(&root, name), b"1").await;
    }
    let listed = list(store, &root, None, 100).await;
    let expected = SORTED.map(|name| meta(&root, name, 1));
    assert_eq!(listed, expected);
}

async fn listings_keep_prefix_start_and_limit(store: &dyn ObjectStore) {
    let root = root("ranges");
    for name in SORTED {
        put(store, &at(&root, name), b"1").await;
    }
    let prefixes = [
        "", "a", "a/", "a/b", "a/b-", "a/c/d", "A", "b=", "zz", "a//",
    ];
    let starts = ["%", "a", "a.b", "a/b", "a/c", "a/c/d/e", "b", "zzz"];
    for prefix in prefixes {
        for start in std::iter::once(None).chain(starts.into_iter().map(Some)) {
            for limit in [0, 1, 3, 100] {
                let expected: Vec<ObjectMeta> = SORTED
                    .iter()
                    .filter(|name| name.starts_with(prefix))
                    .filter(|name| start.is_none_or(|start| **name > start))
                    .take(limit)
                    .map(|name| meta(&root, name, 1))
                    .collect();
                let after = start.map(|start| at(&root, start));
                let prefix = format!("{root}{prefix}");
                let found = list(store, &prefix, after.as_ref(), limit).await;
                assert_eq!(found, expected, "{prefix} after {start:?}, at most {limit}");
            }
        }
    }
    // A prefix that ends within the first segment.
    let part = &root[..root.len() - 1];
    assert_eq!(list(store, part, None, 100).await.len(), SORTED.len());
    let before = ObjectPath::new("%").expect("a valid path");
    let found = list(store, &root, Some(&before), 100).await;
    assert_eq!(found.len(), SORTED.len(), "a start before the prefix");
}

async fn pages_cover_a_listing_exactly_once(store: &dyn ObjectStore) {
    let root = root("pages");
    for n in 0..30 {
        put(store, &at(&root, &format!("{}/{n}", n % 4)), b"1").await;
    }
    let whole = list(store, &root, None, 100).await;
    assert_eq!(whole.len(), 30);
    for limit in [1, 7, 30] {
        let mut pages: Vec<ObjectMeta> = Vec::new();
        loop {
            let after = pages.last().map(|meta| meta.path.clone());
            let page = list(store, &root, after.as_ref(), limit).await;
            if page.is_empty() {
                break;
            }
            pages.extend(page);
        }
        assert_eq!(pages, whole, "{limit} a page");
    }
}

async fn the_longest_paths_fit(store: &dyn ObjectStore) {
    let root = root("long");
    let segment = "s".repeat(ObjectPath::MAX_SEGMENT_BYTES);
    let first = format!("{root}{segment}/");
    let rest = "t".repeat(ObjectPath::MAX_BYTES - first.len());
    let path = ObjectPath::new(first + &rest).expect("as long as a path may be");
    put(store, &path, b"1").await;
    let listed = list(store, &root, None, 10).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].path, path);
}

async fn an_object_is_not_damaged_by_a_folder_of_its_name(store: &dyn ObjectStore) {
    let root = root("both");
    for (stands, comes) in [("a", "a/b"), ("c/d/e", "c/d")] {
        let (stands, comes) = (at(&root, stands), at(&root, comes));
        put(store, &stands, b"first").await;
        for result in [
            store.put(&comes, Bytes::from("second")).await,
            store
                .put_new(&comes, Bytes::from("second"))
                .await
                .map(|_| ()),
        ] {
            assert!(
                matches!(result, Ok(()) | Err(StoreError::Invalid { .. })),
                "`{comes}` beside `{stands}`: {result:?}"
            );
            assert_eq!(
                get(store, &stands).await.as_deref(),
                Some(&b"first"[..]),
                "`{comes}` damaged `{stands}`"
            );
        }
    }
}

async fn random_operations_agree_with_a_map(store: &dyn ObjectStore) {
    let mut random = Random::new();
    let root = root("model");
    let names = ["a", "b/a", "b/b", "b-", "c/d/a", "c/d/b", "c.d", "d"];
    let mut model: BTreeMap<ObjectPath, Bytes> = BTreeMap::new();
    for operation in 0..250 {
        let context = format!("{random}, operation {operation}");
        let name: &str = names[random.below(names.len())];
        let path = at(&root, name);
        match random.below(6) {
            0 => {
                let bytes = random.bytes(50);
                put(store, &path, &bytes).await;
                model.insert(path, bytes);
            }
            1 => {
                let bytes = random.bytes(50);
                let outcome = put_new(store, &path, &bytes).await;
                let expected = if model.contains_key(&path) {
                    PutOutcome::Exists
                } else {
                    model.insert(path.clone(), bytes);
                    PutOutcome::Created
                };
                assert_eq!(outcome, expected, "{context}: {path}");
            }
            2 => {
                delete(store, &path).await;
                model.remove(&path);
            }
            3 => {
                let found = get(store, &path).await;
                assert_eq!(found.as_ref(), model.get(&path), "{context}: {path}");
            }
            4 => {
                let found = head(store, &path).await.map(|meta| meta.num_bytes);
                let expected = model.get(&path).map(|bytes| bytes.len() as u64);
                assert_eq!(found, expected, "{context}: {path}");
            }
            _ => {
                let limit = 1 + random.below(9);
                let after = random.chance(2).then_some(path);
                let found = list(store, &root, after.as_ref(), limit).await;
                let expected: Vec<ObjectMeta> = model
                    .iter()
                    .filter(|(path, _)| after.as_ref().is_none_or(|after| *path > after))
                    .take(limit)
                    .map(|(path, bytes)| ObjectMeta {
                        path: path.clone(),
                        num_bytes: bytes.len() as u64,
                    })
                    .collect();
                assert_eq!(found, expected, "{context}: after {after:?}");
            }
        }
    }
}

/// Returns a folder, with `/` at its end, that no other run has used.
fn root(name: &str) -> String {
    format!("testsuite-{}/{name}/", uuid::Uuid::now_v7())
}

fn at(root: &str, name: &str) -> ObjectPath {
    ObjectPath::new(format!("{root}{name}")).expect("a valid path")
}

fn meta(root: &str, name: &str, num_bytes: u64) -> ObjectMeta {
    ObjectMeta {
        path: at(root, name),
        num_bytes,
    }
}

async fn put(store: &dyn ObjectStore, path: &ObjectPath, bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    store.put(path, bytes).await.expect("put");
}

async fn put_new(store: &dyn ObjectStore, path: &ObjectPath, bytes: &[u8]) -> PutOutcome {
    let bytes = Bytes::copy_from_slice(bytes);
    store.put_new(path, bytes).await.expect("put_new")
}

async fn get(store: &dyn ObjectStore, path: &ObjectPath) -> Option<Bytes> {
    store.get(path).await.expect("get")
}

async fn head(store: &dyn ObjectStore, path: &ObjectPath) -> Option<ObjectMeta> {
    store.head(path).await.expect("head")
}

async fn delete(store: &dyn ObjectStore, path: &ObjectPath) {
    store.delete(path).await.expect("delete");
}

async fn list(
    store: &dyn ObjectStore,
    prefix: &str,
    after: Option<&ObjectPath>,
    limit: usize,
) -> Vec<ObjectMeta> {
    store.list(prefix, after, limit).await.expect("list")
}
