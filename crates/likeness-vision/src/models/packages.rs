//! Obtaining packages with the ordinary package clients.
//!
//! `python3 -m pip download`, `npm pack` and `apt-get download` know the user's mirrors, proxies and
//! credentials; nothing here speaks to a registry itself. What they bring counts only if its SHA-256
//! is the one asked for, and is then kept in a cache folder:
//! ```text
//! CACHE/<sha256>/<file>
//! ```
//! A cached file is checked again before it is handed out, and fetched anew if it was damaged.

mod process;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::process::{Outcome, run};
use super::digest::{FileDigest, VerifyError, check_digest};

/// A package file, by exact version and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Who publishes it.
    pub registry: Registry,
    /// Name of the package there, with its scope if it has one.
    pub package: String,
    /// Exact version.
    pub version: String,
    /// Name of the file that the client writes.
    pub file: String,
    /// SHA-256 of that file.
    pub sha256: FileDigest,
    /// Which of a version's wheels; PyPI only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<PythonTarget>,
}

/// Who publishes a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Registry {
    /// Python wheels, through pip.
    Pypi,
    /// JavaScript packages, through npm.
    Npm,
    /// Debian packages, through apt.
    Debian,
}

/// The Python that a wheel is made for, said explicitly so that every host obtains the same file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PythonTarget {
    /// For example `3.11`.
    pub version: String,
    /// For example `cp311`; only wheels with compiled code have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abi: Option<String>,
    /// For example `manylinux_2_28_x86_64`; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

impl Artifact {
    /// Checks that the texts can be handed to a package client and used as a file name.
    pub fn validate(&self) -> Result<(), FetchError> {
        let mut texts = vec![
            ("package", &self.package),
            ("version", &self.version),
            ("file", &self.file),
        ];
        if let Some(python) = &self.python {
            texts.push(("python.version", &python.version));
            texts.extend(python.abi.as_ref().map(|abi| ("python.abi", abi)));
            texts.extend(
                python
                    .platform
                    .as_ref()
                    .map(|text| ("python.platform", text)),
            );
        }
        for (field, text) in texts {
            // No shell sees these, but a leading dash would be read as an option, and `@`, `=` and
            // `:` in the wrong place would name another package or a location.
            let is_scope = field == "package" && self.registry == Registry::Npm;
            let is_allowed = |character: char| {
                character.is_ascii_alphanumeric()
                    || "._+~-%".contains(character)
                    || (is_scope && "@/".contains(character))
                    || (field == "version" && character == ':')
            };
            let starts_well = text.starts_with(|first: char| {
                first.is_ascii_alphanumeric() || (is_scope && first == '@')
            });
            if !starts_well || !text.chars().all(is_allowed) {
                return Err(FetchError::Invalid {
                    field,
                    text: text.clone(),
                });
            }
        }
        Ok(())
    }

    fn command(&self, tools: &Tools) -> (OsString, Vec<String>) {
        let exact = |separator: &str| format!("{}{separator}{}", self.package, self.version);
        let text = str::to_owned;
        match self.registry {
            Registry::Pypi => {
                // Wheels only: a source package would run its own code to tell its name.
                let mut arguments: Vec<String> =
                    ["-m", "pip", "download", "--no-deps"].map(text).to_vec();
                arguments.extend(
                    [
                        "--only-binary=:all:",
                        "--disable-pip-version-check",
                        "--no-input",
                    ]
                    .map(text),
                );
                if let Some(python) = &self.python {
                    arguments.extend([text("--python-version"), python.version.clone()]);
                    if let Some(abi) = &python.abi {
                        arguments.extend(["--implementation", "cp", "--abi", abi].map(text));
                    }
                    if let Some(platform) = &python.platform {
                        arguments.extend([text("--platform"), platform.clone()]);
                    }
                }
                arguments.push(exact("=="));
                (tools.python.clone(), arguments)
            }
            Registry::Npm => (
                tools.npm.clone(),
                vec![text("pack"), text("--ignore-scripts"), exact("@")],
            ),
            Registry::Debian => (tools.apt_get.clone(), vec![text("download"), exact("=")]),
        }
    }
}

/// The programs to run; names are looked up in `PATH`.
#[derive(Debug, Clone)]
pub struct Tools {
    /// A Python that has pip.
    pub python: OsString,
    /// npm.
    pub npm: OsString,
    /// apt-get.
    pub apt_get: OsString,
}

impl Default for Tools {
    fn default() -> Self {
        Self {
            python: "python3".into(),
            npm: "npm".into(),
            apt_get: "apt-get".into(),
        }
    }
}

/// Obtains packages, and keeps them.
#[derive(Debug, Clone)]
pub struct PackageFetcher {
    cache: PathBuf,
    tools: Tools,
    timeout: Duration,
}

impl PackageFetcher {
    /// How long one package may take unless told otherwise: slow lines are slow.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15 * 60);

    /// Keeps packages in `cache`, which is made when first needed.
    pub fn new(cache: PathBuf) -> Self {
        Self {
            cache,
            tools: Tools::default(),
            timeout: Self::DEFAULT_TIMEOUT,
        }
    }

    /// Runs these programs instead of those found by their usual names.
    #[must_use]
    pub fn with_tools(mut self, tools: Tools) -> Self {
        self.tools = tools;
        self
    }

    /// Gives up on a package after `timeout`.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Returns the path of the verified file, fetching it unless the cache has it. Blocks.
    pub fn fetch(&self, artifact: &Artifact) -> Result<PathBuf, FetchError> {
        artifact.validate()?;
        let kept = self
            .cache
            .join(artifact.sha256.to_string())
            .join(&artifact.file);
        if kept.exists() {
            match verify(&kept, &artifact.sha256) {
                Ok(()) => return Ok(kept),
                Err(error) => {
                    tracing::warn!(%error, "damaged file in the package cache, will fetch again");
                    std::fs::remove_file(&kept)?;
                }
            }
        }
        std::fs::create_dir_all(&self.cache)?;
        // Inside the cache, so that the last step is a rename on one file system.
        let folder = tempfile::Builder::new()
            .prefix("fetch-")
            .tempdir_in(&self.cache)?;
        self.run_client(artifact, folder.path())?;
        let brought = folder.path().join(&artifact.file);
        if !brought.is_file() {
            return Err(FetchError::WrongFile {
                package: artifact.package.clone(),
                expected: artifact.file.clone(),
                found: file_names(folder.path())?.join("`, `"),
            });
        }
        verify(&brought, &artifact.sha256)?;
        if let Some(parent) = kept.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::rename(&brought, &kept)?;
        Ok(kept)
    }

    fn run_client(&self, artifact: &Artifact, folder: &Path) -> Result<(), FetchError> {
        let (program, arguments) = artifact.command(&self.tools);
        let tool = program.to_string_lossy().into_owned();
        match run(&program, &arguments, folder, self.timeout) {
            Ok(Outcome::Succeeded) => Ok(()),
            Ok(Outcome::Failed { status, output }) => Err(FetchError::Client {
                tool,
                package: artifact.package.clone(),
                status,
                output,
            }),
            Ok(Outcome::TimedOut) => Err(FetchError::TimedOut {
                tool,
                package: artifact.package.clone(),
                seconds: self.timeout.as_secs(),
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FetchError::MissingTool {
                tool,
                advice: match artifact.registry {
                    Registry::Pypi => "install Python 3 with pip",
                    Registry::Npm => "install Node.js with npm",
                    Registry::Debian => "this package needs a Debian or Ubuntu system",
                },
            }),
            Err(error) => Err(FetchError::Io(error)),
        }
    }
}

fn verify(path: &Path, expected: &FileDigest) -> Result<(), FetchError> {
    let (found, _) = FileDigest::of_file(path)?;
    Ok(check_digest(path, expected, &found)?)
}

fn file_names(folder: &Path) -> io::Result<Vec<String>> {
    std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// Why a package could not be obtained.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A name or version cannot be handed to a package client.
    #[error("`{text}` is no valid {field} of a package")]
    Invalid {
        /// The field.
        field: &'static str,
        /// Its value.
        text: String,
    },
    /// The package client is not installed.
    #[error("`{tool}` not found: {advice}")]
    MissingTool {
        /// The program looked for.
        tool: String,
        /// What to do.
        advice: &'static str,
    },
    /// The package client failed: no network, no such version.
    #[error("`{tool}` could not download `{package}` ({status}):\n{output}")]
    Client {
        /// The program.
        tool: String,
        /// The package.
        package: String,
        /// Its exit status in words.
        status: String,
        /// The last lines it wrote.
        output: String,
    },
    /// The package client took too long and was stopped.
    #[error("`{tool}` had not downloaded `{package}` after {seconds} s")]
    TimedOut {
        /// The program.
        tool: String,
        /// The package.
        package: String,
        /// The time it had.
        seconds: u64,
    },
    /// The package client brought another file.
    #[error("`{package}` brought `{found}` instead of `{expected}`")]
    WrongFile {
        /// The package.
        package: String,
        /// The file asked for.
        expected: String,
        /// The files that came.
        found: String,
    },
    /// The file is not the one asked for.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The cache folder cannot be used, or a program cannot be run.
    #[error("cannot fetch packages: {0}")]
    Io(#[from] io::Error),
}

#[cfg(test)]
mod tests;
