//! Whether the OpenAPI document is one: asked of an independent validator, in a Python environment
//! that stays in the cache.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::process;
use crate::workspace;

const PACKAGE: &str = "openapi-spec-validator==0.7.2";
const INSTALL_LIMIT: Duration = Duration::from_secs(5 * 60);
const CHECK_LIMIT: Duration = Duration::from_secs(60);

/// Checks a document.
///
/// # Errors
/// If it is not valid OpenAPI, or the validator cannot be had.
pub(crate) fn check(document: &Value) -> anyhow::Result<()> {
    let python = validator()?;
    let file = tempfile::Builder::new()
        .suffix(".json")
        .tempfile()
        .context("making a file")?;
    serde_json::to_writer(&file, document).context("writing the document")?;
    let mut command = Command::new(python);
    command
        .args(["-m", "openapi_spec_validator"])
        .arg(file.path());
    let output = process::output(command, CHECK_LIMIT)?;
    if !output.success {
        bail!("not valid OpenAPI: {}{}", output.stdout, output.stderr);
    }
    Ok(())
}

/// Returns a Python that has the validator, making the environment if it is not there.
fn validator() -> anyhow::Result<PathBuf> {
    let folder = workspace::cache()?
        .join("tools")
        .join(PACKAGE.replace("==", "-"));
    let python = folder.join("bin/python");
    let works = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args(["-c", "import openapi_spec_validator"]);
        process::output(command, CHECK_LIMIT).is_ok_and(|output| output.success)
    };
    if works(&python) {
        return Ok(python);
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&folder);
    process::run(make, INSTALL_LIMIT)?;
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        PACKAGE,
    ]);
    process::run(install, INSTALL_LIMIT)?;
    Ok(python)
}
