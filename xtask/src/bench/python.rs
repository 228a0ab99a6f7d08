//! Python environments, one for each set of pinned packages, kept in the cache.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::process;
use crate::report;
use crate::workspace;

/// hnswlib is compiled when it is installed.
const INSTALL_LIMIT: Duration = Duration::from_secs(20 * 60);
/// First line of requirements that are all that is to be installed.
const WITHOUT_DEPENDENCIES: &str = "# without dependencies";

/// Returns where the drivers are.
pub(crate) fn drivers() -> PathBuf {
    workspace::root().join("xtask/bench")
}

/// Returns the folder that keeps environments, sets and built indexes.
///
/// # Errors
/// As [`workspace::cache`].
pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    Ok(workspace::cache()?.join("bench"))
}

/// Returns a command that runs a script of [`drivers`] in an environment, with one thread.
///
/// # Errors
/// If the environment cannot be made.
pub(crate) fn script(environment: &str, script: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(provide(environment)?);
    command.arg(drivers().join(script));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    for variable in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"] {
        command.env(variable, "1");
    }
    Ok(command)
}

/// Returns a command that runs a program which an environment has installed.
///
/// # Errors
/// If the environment cannot be made.
pub(crate) fn tool(environment: &str, program: &str) -> anyhow::Result<Command> {
    let python = provide(environment)?;
    let mut command = Command::new(python.with_file_name(program));
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// Returns the Python of an environment that holds exactly what its requirements say.
fn provide(environment: &str) -> anyhow::Result<PathBuf> {
    let requirements = drivers()
        .join("requirements")
        .join(environment)
        .with_extension("txt");
    let wanted = std::fs::read_to_string(&requirements)
        .with_context(|| format!("reading {}", requirements.display()))?;
    let folder = cache()?.join("environments").join(environment);
    let python = folder.join("bin/python");
    // Written last, so what is there was installed to the end.
    let marker = folder.join("installed.txt");
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    report::note(&format!("installing {}", listed(&wanted)));
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&folder);
    process::run(make, INSTALL_LIMIT)?;
    install(
        &python,
        &requirements,
        wanted.starts_with(WITHOUT_DEPENDENCIES),
    )?;
    std::fs::write(&marker, wanted).with_context(|| format!("writing {}", marker.display()))?;
    Ok(python)
}

fn install(python: &Path, requirements: &Path, as_listed: bool) -> anyhow::Result<()> {
    let mut install = Command::new(python);
    install
        .args(["-m", "pip", "install", "--quiet"])
        .args(["--disable-pip-version-check", "--requirement"])
        .arg(requirements);
    if as_listed {
        install.arg("--no-deps");
    }
    process::run(install, INSTALL_LIMIT)
}

/// Returns the packages of a requirements file on one line.
fn listed(requirements: &str) -> String {
    let packages: Vec<&str> = requirements
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    packages.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{drivers, listed};

    #[test]
    fn every_requirement_is_pinned_to_a_version() {
        for entry in std::fs::read_dir(drivers().join("requirements")).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let packages = listed(&text);
            assert!(!packages.is_empty());
            for package in packages.split(", ") {
                assert!(package.contains("=="), "{package}");
            }
        }
    }
}
