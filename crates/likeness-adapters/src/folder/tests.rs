use tempfile::TempDir;

use super::*;

fn open_in(root: &TempDir) -> Arc<FolderObjectStore> {
    let config = FolderConfig {
        path: root.path().join("objects"),
    };
    open_folder(&config).expect("opening a folder")
}

fn path(text: &str) -> ObjectPath {
    ObjectPath::new(text).expect("a valid path")
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("reading a folder");
    let mut names: Vec<String> = entries
        .map(|entry| {
            let name = entry.expect("an entry").file_name();
            name.into_string().expect("a name in UTF-8")
        })
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn leftovers_of_a_crash_are_removed_unless_another_has_the_store_open() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let store = open_in(&root);
    let partials = root.path().join("objects").join(PARTIAL);
    fs::write(partials.join("12345-0"), "half a fil").expect("writing a file");

    let second = open_in(&root);
    assert_eq!(names_in(&partials), ["12345-0", "lock"]);
    assert_eq!(second.list("", None, 10).await.expect("list"), []);
    drop((store, second));
    drop(open_in(&root));
    assert_eq!(names_in(&partials), ["lock"]);
}

#[tokio::test]
async fn a_leftover_of_the_same_name_is_in_nobodys_way() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let store = open_in(&root);
    let name = format!("{}-0", std::process::id());
    let leftover = root.path().join("objects").join(PARTIAL).join(name);
    fs::write(leftover, "left by a process with this number").expect("writing a file");
    let put = store.put(&path("a"), Bytes::from("1")).await;
    put.expect("put");
    let found = store.get(&path("a")).await.expect("get");
    assert_eq!(found, Some(Bytes::from("1")));
}

#[tokio::test]
async fn puts_leave_no_partial_files_and_deletes_no_empty_folders() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let store = open_in(&root);
    let one = Bytes::from("1");
    store.put(&path("a/b/c"), one.clone()).await.expect("put");
    for _ in 0..2 {
        let put = store.put_new(&path("a/d"), one.clone()).await;
        put.expect("put_new");
    }
    let objects = root.path().join("objects");
    assert_eq!(names_in(&objects.join(PARTIAL)), ["lock"]);

    store.delete(&path("a/b/c")).await.expect("delete");
    assert_eq!(names_in(&objects.join("a")), ["d"]);
    store.delete(&path("a/d")).await.expect("delete");
    assert_eq!(names_in(&objects), [PARTIAL]);
}

#[tokio::test]
async fn files_that_are_no_objects_are_not_listed() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let store = open_in(&root);
    let objects = root.path().join("objects");
    for name in ["with space.jpg", "ünicode", "fine.jpg"] {
        fs::write(objects.join(name), "1").expect("writing a file");
    }
    let listed = store.list("", None, 10).await.expect("list");
    let names: Vec<&str> = listed.iter().map(|meta| meta.path.as_str()).collect();
    assert_eq!(names, ["fine.jpg"]);
}

#[tokio::test]
async fn links_are_followed_and_a_circle_of_them_is_an_error() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let store = open_in(&root);
    let (objects, elsewhere) = (root.path().join("objects"), root.path().join("elsewhere"));
    fs::create_dir(&elsewhere).expect("creating a folder");
    fs::write(elsewhere.join("file"), "1").expect("writing a file");
    std::os::unix::fs::symlink(&elsewhere, objects.join("link")).expect("a link");
    let listed = store.list("", None, 10).await.expect("list");
    assert_eq!(listed[0].path, path("link/file"));

    std::os::unix::fs::symlink(&objects, objects.join("circle")).expect("a link");
    let listed = store.list("", None, 10).await;
    assert!(
        matches!(listed, Err(StoreError::Unavailable { .. })),
        "{listed:?}"
    );
}

#[tokio::test]
async fn an_object_and_a_folder_of_one_name_are_refused() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let store = open_in(&root);
    let one = Bytes::from("1");
    store.put(&path("a/b"), one.clone()).await.expect("put");
    for place in ["a", "a/b/c"] {
        let put = store.put(&path(place), one.clone()).await;
        let put_new = store.put_new(&path(place), one.clone()).await;
        assert!(matches!(put, Err(StoreError::Invalid { .. })), "{put:?}");
        assert!(
            matches!(put_new, Err(StoreError::Invalid { .. })),
            "{put_new:?}"
        );
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_damages_nothing() {
    // Every write to this device fails as on a full disk.
    let full = Path::new("/dev/full");
    let root = tempfile::tempdir().expect("a temporary folder");
    let store = open_in(&root);
    let place = path("a");
    let old = Bytes::from("old");
    store.put(&place, old.clone()).await.expect("put");
    let partial = format!("{}-1", std::process::id());
    let partial = root.path().join("objects").join(PARTIAL).join(partial);
    std::os::unix::fs::symlink(full, partial).expect("a link");

    let put = store.put(&place, Bytes::from("new")).await;
    let Err(StoreError::NoSpace { source, .. }) = put else {
        panic!("expected `NoSpace`, got {put:?}");
    };
    let cause = source.downcast_ref::<io::Error>().expect("an I/O error");
    assert_eq!(cause.kind(), ErrorKind::StorageFull);
    assert_eq!(store.get(&place).await.expect("get"), Some(old));
}
