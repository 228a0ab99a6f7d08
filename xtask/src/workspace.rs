//! Where things are, and how the binary under test comes to be.
//!
//! `LIKENESS_BINARY` names a binary to test instead of building one. `LIKENESS_CACHE` (default
//! `~/.cache/likeness`) is where models, tools and, in CI, build outputs stay between runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::process;

const BUILD_LIMIT: Duration = Duration::from_secs(50 * 60);
const PULL_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Returns the root of the workspace: as Cargo says when it runs this, else where it was built. Clones that share a
/// target folder share this program.
pub(crate) fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    match manifest.parent() {
        Some(root) => root.to_path_buf(),
        None => manifest,
    }
}

/// Returns the folder that outlives a run.
///
/// # Errors
/// If neither `LIKENESS_CACHE` nor `HOME` is set.
pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("LIKENESS_CACHE") {
        return Ok(PathBuf::from(folder));
    }
    let home = std::env::var_os("HOME").context("neither LIKENESS_CACHE nor HOME is set")?;
    Ok(Path::new(&home).join(".cache/likeness"))
}

/// Returns where Cargo builds: `CARGO_TARGET_DIR`, else the cache in CI, else `target`.
///
/// # Errors
/// As [`cache`].
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    if let Some(folder) = std::env::var_os("CARGO_TARGET_DIR") {
        return Ok(root().join(folder));
    }
    if std::env::var_os("CI").is_some() {
        return Ok(cache()?.join("target"));
    }
    Ok(root().join("target"))
}

/// Returns a Cargo command that runs in the workspace and builds where [`target`] says.
///
/// # Errors
/// As [`target`].
pub(crate) fn cargo(arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(arguments)
        .current_dir(root())
        .env("CARGO_TARGET_DIR", target()?);
    Ok(command)
}

/// Returns what `cargo metadata` says; `arguments` are added.
///
/// # Errors
/// If Cargo fails.
pub(crate) fn metadata(arguments: &[&str]) -> anyhow::Result<Value> {
    let mut command = cargo(&["metadata", "--format-version", "1"])?;
    let output = command
        .args(arguments)
        .output()
        .context("running cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_slice(&output.stdout).context("reading cargo metadata")
}

/// Builds `likeness` in the development profile and returns the binary.
///
/// # Errors
/// If the build fails.
pub(crate) fn build_likeness() -> anyhow::Result<PathBuf> {
    if let Some(binary) = std::env::var_os("LIKENESS_BINARY") {
        return existing(PathBuf::from(binary));
    }
    process::run(
        cargo(&["build", "--workspace", "--bin", "likeness"])?,
        BUILD_LIMIT,
    )?;
    existing(target()?.join("debug/likeness"))
}

/// Builds `likeness` with every feature, products and fail points alike, and returns a copy of the binary under a name
/// of its own, which the next build does not replace. One build, because features of the lowest crate rebuild all above.
///
/// # Errors
/// If the build fails.
pub(crate) fn build_likeness_all_features() -> anyhow::Result<PathBuf> {
    if let Some(binary) = std::env::var_os("LIKENESS_BINARY") {
        return existing(PathBuf::from(binary));
    }
    let arguments = [
        "build",
        "--workspace",
        "--bin",
        "likeness",
        "--all-features",
    ];
    process::run(cargo(&arguments)?, BUILD_LIMIT)?;
    keep("debug", "likeness-all-features")
}

/// Builds `likeness` in release with every product and returns a copy of the binary under a name of its own, which the
/// next build does not replace.
///
/// # Errors
/// If the build fails.
pub(crate) fn build_likeness_full_release() -> anyhow::Result<PathBuf> {
    if let Some(binary) = std::env::var_os("LIKENESS_BINARY") {
        return existing(PathBuf::from(binary));
    }
    let mut build = cargo(&["build", "--release", "--workspace", "--bin", "likeness"])?;
    build.args(["--features", "likeness/full"]);
    process::run(build, BUILD_LIMIT)?;
    keep("release", "likeness-full")
}

/// Copies what was just built in a profile's folder.
fn keep(profile: &str, name: &str) -> anyhow::Result<PathBuf> {
    let built = existing(target()?.join(profile).join("likeness"))?;
    let kept = built.with_file_name(name);
    std::fs::copy(&built, &kept).with_context(|| format!("copying to {}", kept.display()))?;
    Ok(kept)
}

/// Builds `likeness` in release and returns the binary.
///
/// # Errors
/// If the build fails.
pub(crate) fn build_likeness_release() -> anyhow::Result<PathBuf> {
    process::run(
        cargo(&["build", "--release", "-p", "likeness"])?,
        BUILD_LIMIT,
    )?;
    existing(target()?.join("release/likeness"))
}

/// Returns the model folder, filled: `LIKENESS_MODELS`, else `models` in the cache.
///
/// # Errors
/// If `likeness models pull` fails.
pub(crate) fn models(binary: &Path) -> anyhow::Result<PathBuf> {
    let folder = match std::env::var_os("LIKENESS_MODELS") {
        Some(folder) => PathBuf::from(folder),
        None => cache()?.join("models"),
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    // What is there already is checked and kept.
    let mut pull = Command::new(binary);
    pull.args(["models", "pull"])
        .env("LIKENESS_MODELS", &folder);
    process::run(pull, PULL_LIMIT)?;
    Ok(folder)
}

fn existing(path: PathBuf) -> anyhow::Result<PathBuf> {
    if path.is_file() {
        Ok(path)
    } else {
        bail!("there is no {}", path.display())
    }
}
