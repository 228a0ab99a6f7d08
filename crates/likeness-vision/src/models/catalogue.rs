//! The models that are known by name, built into the program (`catalogue.toml`).

use serde::Deserialize;

use super::manifest::{Manifest, ModelKind};

/// Name of the copy-detection model used unless another is asked for.
pub const DEFAULT_COPY_DETECTION: &str = "sscd-distilled";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    model: Vec<Manifest>,
}

/// Returns every entry, for all machines.
pub fn entries() -> Vec<Manifest> {
    let file: CatalogueFile =
        toml::from_str(include_str!("catalogue.toml")).expect("a test reads the built-in text");
    file.model
}

/// Returns the entry of that name for this machine, if there is one.
pub fn find(name: &str) -> Option<Manifest> {
    entries()
        .into_iter()
        .find(|entry| entry.name == name && entry.fits_host())
}

/// Returns what a plain `likeness models pull` obtains on this machine: the inference library and
/// the default copy-detection model. Without the library if none is known for this machine.
pub fn defaults() -> Vec<Manifest> {
    entries()
        .into_iter()
        .filter(Manifest::fits_host)
        .filter(|entry| entry.kind == ModelKind::Runtime || entry.name == DEFAULT_COPY_DETECTION)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_entry_is_valid_and_says_where_it_comes_from() {
        let mut seen = HashSet::new();
        for entry in entries() {
            entry.validate().unwrap();
            let source = entry.source.as_ref().expect("no source");
            source.artifact.validate().unwrap();
            assert!(!source.member.is_empty() && !entry.licence.is_empty());
            let key = (entry.name, entry.version, entry.target);
            assert!(seen.insert(key.clone()), "twice: {key:?}");
        }
    }

    #[test]
    fn the_default_model_is_a_copy_detector() {
        let default = find(DEFAULT_COPY_DETECTION).unwrap();
        assert_eq!(default.kind, ModelKind::CopyDetection);
        assert_eq!(default.input.unwrap().side, 224);
        assert!(find("no-such-model").is_none());
    }

    #[cfg(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    ))]
    #[test]
    fn the_defaults_include_the_library_of_this_machine() {
        let defaults = defaults();
        assert_eq!(defaults.len(), 2);
        assert!(
            defaults
                .iter()
                .any(|entry| entry.kind == ModelKind::Runtime)
        );
    }
}
