//! The clients are small shell scripts, so that no test needs a network.

use std::os::unix::fs::PermissionsExt;

use super::*;

const CONTENT: &[u8] = b"package";

/// A folder with a cache and three clients that run `script`.
struct Workshop {
    folder: tempfile::TempDir,
    fetcher: PackageFetcher,
}

impl Workshop {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let client = folder.path().join("client");
        let log = folder.path().join("log");
        let text = format!("#!/bin/sh\necho \"$@\" >> '{}'\n{script}\n", log.display());
        std::fs::write(&client, text).unwrap();
        std::fs::set_permissions(&client, std::fs::Permissions::from_mode(0o755)).unwrap();
        let tools = Tools {
            python: client.clone().into(),
            npm: client.clone().into(),
            apt_get: client.into(),
        };
        let fetcher = PackageFetcher::new(folder.path().join("cache")).with_tools(tools);
        Self { folder, fetcher }
    }

    /// The arguments of every call of a client so far, a line each.
    fn calls(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

fn artifact(registry: Registry) -> Artifact {
    Artifact {
        registry,
        package: "thing".to_owned(),
        version: "1.2".to_owned(),
        file: "thing-1.2.whl".to_owned(),
        sha256: FileDigest::of(CONTENT),
        python: None,
    }
}

#[test]
fn each_client_is_asked_for_the_exact_version() {
    let workshop = Workshop::new("printf package > thing-1.2.whl");
    for (registry, last_argument) in [
        (Registry::Pypi, "thing==1.2"),
        (Registry::Npm, "thing@1.2"),
        (Registry::Debian, "thing=1.2"),
    ] {
        let mut artifact = artifact(registry);
        // Different digests would be needed to fetch three times; remove what is kept instead.
        let path = workshop.fetcher.fetch(&artifact).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
        std::fs::remove_file(path).unwrap();
        assert!(workshop.calls().last().unwrap().ends_with(last_argument));
        artifact.package = "--flag".to_owned();
        let refused = workshop.fetcher.fetch(&artifact);
        assert!(matches!(
            refused,
            Err(FetchError::Invalid {
                field: "package",
                ..
            })
        ));
    }
    assert_eq!(workshop.calls().len(), 3);
}

#[test]
fn a_python_target_is_spelled_out_for_pip() {
    let mut artifact = artifact(Registry::Pypi);
    artifact.python = Some(PythonTarget {
        version: "3.11".to_owned(),
        abi: Some("cp311".to_owned()),
        platform: Some("manylinux_2_28_x86_64".to_owned()),
    });
    let (program, arguments) = artifact.command(&Tools::default());
    assert_eq!(program, "python3");
    assert_eq!(
        arguments.join(" "),
        "-m pip download --no-deps --only-binary=:all: --disable-pip-version-check --no-input \
         --python-version 3.11 --implementation cp --abi cp311 --platform manylinux_2_28_x86_64 \
         thing==1.2"
    );
}

#[test]
fn kept_packages_are_reused_and_damaged_ones_fetched_again() {
    let workshop = Workshop::new("printf package > thing-1.2.whl");
    let artifact = artifact(Registry::Pypi);
    let path = workshop.fetcher.fetch(&artifact).unwrap();
    workshop.fetcher.fetch(&artifact).unwrap();
    assert_eq!(workshop.calls().len(), 1);
    std::fs::write(&path, b"pack").unwrap();
    workshop.fetcher.fetch(&artifact).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
    assert_eq!(workshop.calls().len(), 2);
}

#[test]
fn a_package_with_another_digest_is_not_kept() {
    let workshop = Workshop::new("printf tampered > thing-1.2.whl");
    let error = workshop
        .fetcher
        .fetch(&artifact(Registry::Npm))
        .unwrap_err();
    let message = error.to_string();
    assert!(message.contains("digest mismatch"), "{message}");
    for digest in [FileDigest::of(CONTENT), FileDigest::of(b"tampered")] {
        assert!(message.contains(&digest.to_string()), "{message}");
    }
    let left = file_names(&workshop.folder.path().join("cache")).unwrap();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn a_missing_client_says_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let tools = Tools {
        python: folder.path().join("no-python").into(),
        ..Tools::default()
    };
    let fetcher = PackageFetcher::new(folder.path().join("cache")).with_tools(tools);
    let error = fetcher.fetch(&artifact(Registry::Pypi)).unwrap_err();
    assert!(
        error.to_string().contains("not found: install Python 3"),
        "{error}"
    );
}

#[test]
fn a_failing_client_is_quoted() {
    let workshop = Workshop::new("echo 'no route to host' >&2; exit 3");
    let error = workshop
        .fetcher
        .fetch(&artifact(Registry::Npm))
        .unwrap_err();
    let message = error.to_string();
    assert!(message.contains("no route to host"), "{message}");
    assert!(message.contains("exit status: 3"), "{message}");
}

#[test]
fn a_client_that_hangs_is_stopped() {
    let workshop = Workshop::new("exec sleep 600");
    let fetcher = workshop
        .fetcher
        .clone()
        .with_timeout(Duration::from_millis(50));
    let error = fetcher.fetch(&artifact(Registry::Debian)).unwrap_err();
    assert!(matches!(error, FetchError::TimedOut { .. }), "{error}");
}

#[test]
fn a_client_that_brings_another_file_is_told_so() {
    let workshop = Workshop::new("printf package > thing-1.3.whl");
    let error = workshop
        .fetcher
        .fetch(&artifact(Registry::Pypi))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`thing-1.3.whl` instead of `thing-1.2.whl`"),
        "{error}"
    );
}

#[test]
fn names_that_a_client_could_misread_are_refused() {
    let refused = |change: fn(&mut Artifact)| {
        let mut artifact = artifact(Registry::Npm);
        change(&mut artifact);
        artifact.validate().is_err()
    };
    assert!(refused(|artifact| artifact.package = "-g".to_owned()));
    assert!(refused(|artifact| artifact.package = "a b".to_owned()));
    assert!(refused(|artifact| artifact.package = "git+ssh:x".to_owned()));
    assert!(refused(
        |artifact| artifact.version = "1 --registry=x".to_owned()
    ));
    assert!(refused(|artifact| artifact.file = "../escape".to_owned()));
    assert!(refused(|artifact| artifact.file = String::new()));
    assert!(!refused(
        |artifact| artifact.package = "@scope/name".to_owned()
    ));
    assert!(!refused(
        |artifact| artifact.version = "1:2.3~rc1-4+b2".to_owned()
    ));
}
