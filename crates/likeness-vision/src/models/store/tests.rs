use super::*;
use crate::models::archive::tests::write_zip;
use crate::models::digest::FileDigest;
use crate::models::manifest::{ModelKind, Source};
use crate::models::packages::{Artifact, Registry};

const CONTENT: &[u8] = b"weights";

fn manifest(name: &str, version: &str) -> Manifest {
    Manifest {
        name: name.to_owned(),
        version: version.to_owned(),
        kind: ModelKind::Text,
        file: "model.onnx".to_owned(),
        sha256: FileDigest::of(CONTENT),
        bytes: CONTENT.len() as u64,
        licence: "MIT".to_owned(),
        target: None,
        input: None,
        output: None,
        source: None,
    }
}

/// A store in a fresh folder, and a model file beside it.
fn setup() -> (tempfile::TempDir, ModelStore, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let store = ModelStore::new(folder.path().join("models"));
    let file = folder.path().join("some.onnx");
    std::fs::write(&file, CONTENT).unwrap();
    (folder, store, file)
}

#[test]
fn added_models_are_listed_and_resolved() {
    let (_folder, store, file) = setup();
    assert_eq!(store.list().unwrap(), []);
    let added = store.add(&file, &manifest("b", "1")).unwrap();
    store.add(&file, &manifest("a", "2")).unwrap();
    let names: Vec<_> = store
        .list()
        .unwrap()
        .into_iter()
        .map(|model| model.manifest.name)
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(store.resolve("b").unwrap(), added);
    assert_eq!(std::fs::read(added.path).unwrap(), CONTENT);
}

#[test]
fn several_versions_must_be_told_apart() {
    let (_folder, store, file) = setup();
    store.add(&file, &manifest("m", "1")).unwrap();
    store.add(&file, &manifest("m", "2")).unwrap();
    let error = store.resolve("m").unwrap_err();
    assert!(error.to_string().contains("`1`, `2`"), "{error}");
    assert_eq!(store.resolve("m@2").unwrap().manifest.version, "2");
    store.remove("m@2").unwrap();
    assert_eq!(store.resolve("m").unwrap().manifest.version, "1");
    store.remove("m").unwrap();
    assert!(!store.root().join("m").exists());
}

#[test]
fn missing_models_name_the_command_that_obtains_them() {
    let (_folder, store, _file) = setup();
    for reference in ["m", "m@1", "../models", "m@../../x", ""] {
        let error = store.resolve(reference).unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
        assert!(
            error.to_string().contains("likeness models pull"),
            "{error}"
        );
    }
}

#[test]
fn a_changed_file_is_found_and_repaired_by_adding_again() {
    let (_folder, store, file) = setup();
    let added = store.add(&file, &manifest("m", "1")).unwrap();
    std::fs::write(&added.path, b"weightz").unwrap();
    assert!(matches!(
        store.verify("m"),
        Err(StoreError::Damaged {
            source: VerifyError::Digest { .. },
            ..
        })
    ));
    store.add(&file, &manifest("m", "1")).unwrap();
    store.verify("m").unwrap();
}

#[test]
fn a_file_that_is_not_the_promised_one_leaves_nothing_behind() {
    let (_folder, store, file) = setup();
    std::fs::write(&file, b"other").unwrap();
    let error = store.add(&file, &manifest("m", "1")).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch(_)), "{error}");
    assert_eq!(store.list().unwrap(), []);
    let left: Vec<_> = std::fs::read_dir(store.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["m"], "only the empty folder of the name");
}

#[test]
fn a_name_and_version_stand_for_one_file_forever() {
    let (_folder, store, file) = setup();
    store.add(&file, &manifest("m", "1")).unwrap();
    let mut other = manifest("m", "1");
    std::fs::write(&file, b"retrained").unwrap();
    other.sha256 = FileDigest::of(b"retrained");
    other.bytes = 9;
    assert!(matches!(
        store.add(&file, &other),
        Err(StoreError::Taken { .. })
    ));
    assert_eq!(
        std::fs::read(store.resolve("m").unwrap().path).unwrap(),
        CONTENT
    );
}

#[test]
fn a_file_is_installed_out_of_a_package() {
    let (folder, store, _file) = setup();
    let package = folder.path().join("p.whl");
    write_zip(
        &package,
        &[("pkg/readme", b"?"), ("pkg/model.onnx", CONTENT)],
    );
    let mut manifest = manifest("m", "1");
    let refused = store.install_from_archive(&package, &manifest);
    assert!(matches!(refused, Err(StoreError::NoSource { .. })));
    manifest.source = Some(Source {
        artifact: Artifact {
            registry: Registry::Pypi,
            package: "p".to_owned(),
            version: "1".to_owned(),
            file: "p.whl".to_owned(),
            sha256: FileDigest::of(b"not checked here"),
            python: None,
        },
        member: "pkg/model.onnx".to_owned(),
    });
    store.install_from_archive(&package, &manifest).unwrap();
    assert_eq!(store.resolve("m@1").unwrap().manifest, manifest);

    // A member larger than promised is cut off rather than unpacked.
    write_zip(&package, &[("pkg/model.onnx", &[0; 1 << 20])]);
    manifest.version = "2".to_owned();
    let refused = store.install_from_archive(&package, &manifest);
    assert!(
        matches!(
            refused,
            Err(StoreError::Archive(ArchiveError::TooLarge { .. }))
        ),
        "{refused:?}"
    );
}

#[test]
fn a_manifest_in_the_wrong_folder_is_an_error() {
    let (_folder, store, file) = setup();
    store.add(&file, &manifest("m", "1")).unwrap();
    std::fs::rename(store.root().join("m/1"), store.root().join("m/2")).unwrap();
    assert!(matches!(
        store.resolve("m"),
        Err(StoreError::Misplaced { .. })
    ));
}
