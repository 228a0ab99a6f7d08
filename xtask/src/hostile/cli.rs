//! The hostile files on the command line.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use super::corpus::Case;
use crate::pictures::Picture;
use crate::process;
use crate::report::Checks;

const LIMIT: Duration = Duration::from_secs(180);
/// Exit codes, as `likeness --help` lists them: done, invalid input.
const DONE: i32 = 0;
const INVALID: i32 = 4;
/// Good pictures among the bad.
const NUM_GOOD: u64 = 12;

/// Memory that a command took.
#[derive(Debug)]
pub(crate) struct Peak {
    /// Bytes.
    pub(crate) num_bytes: u64,
    /// The command.
    pub(crate) command: String,
}

impl Peak {
    fn grow(&mut self, num_bytes: u64, command: &str) {
        if num_bytes > self.num_bytes {
            self.num_bytes = num_bytes;
            self.command = command.to_owned();
        }
    }
}

/// Ingests the whole corpus with good pictures in between, and asks `match` for each file. Returns
/// the largest memory that a command took.
///
/// # Errors
/// If a command cannot be run at all.
pub(crate) fn run(
    binary: &Path,
    models: &Path,
    folder: &Path,
    cases: &[Case],
    checks: &mut Checks,
) -> anyhow::Result<Peak> {
    let files = folder.join("files");
    std::fs::create_dir_all(&files).context("creating a folder")?;
    for case in cases {
        let path = files.join(format!("{}.{}", case.name, case.extension));
        std::fs::write(&path, &case.bytes)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    for index in 0..NUM_GOOD {
        let path = files.join(format!("good-{index}.png"));
        std::fs::write(&path, Picture::draw(7_000 + index, 200, 150).png())
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let data = folder.join("cli-data");
    let command = |arguments: &[&str]| {
        let mut command = Command::new(binary);
        command
            .args(arguments)
            .arg("--data-dir")
            .arg(&data)
            .env("LIKENESS_MODELS", models);
        command
    };

    let mut ingest = command(&["ingest", "--json"]);
    ingest.arg(&files);
    let output = process::output(ingest, LIMIT)?;
    let mut peak = Peak {
        num_bytes: output.peak_memory,
        command: "ingest".to_owned(),
    };
    checks.that(output.success, || {
        format!(
            "`ingest` of the corpus: {:?} {}",
            output.code,
            tail(&output.stderr)
        )
    });

    let status = process::output(command(&["status", "--json"]), LIMIT)?;
    let overview: serde_json::Value =
        serde_json::from_str(&status.stdout).unwrap_or(serde_json::Value::Null);
    let num_images = overview["images"].as_u64().unwrap_or(0);
    let must = cases.iter().filter(|case| case.expected.codes.is_empty());
    let least = NUM_GOOD + must.count() as u64;
    let may = cases.iter().filter(|case| case.expected.accepted);
    let most = NUM_GOOD + may.count() as u64;
    // A folder is searched for names of pictures, so that valid files with foreign endings may stay
    // out; every good one must be in.
    checks.that((NUM_GOOD..=most).contains(&num_images), || {
        format!("`status` after `ingest`: {num_images} images, expected {least} to {most}")
    });

    for case in cases {
        let path = files.join(format!("{}.{}", case.name, case.extension));
        let mut command = command(&["match", "--json"]);
        command.arg(&path);
        let output = process::output(command, LIMIT)?;
        peak.grow(output.peak_memory, &format!("match {}", case.name));
        let fits = match output.code {
            Some(DONE) => case.expected.accepted,
            Some(INVALID) => !case.expected.codes.is_empty() && !output.stderr.trim().is_empty(),
            _ => false,
        };
        checks.that(fits, || {
            format!(
                "`match` of `{}`: exit {:?}, {}",
                case.name,
                output.code,
                tail(&output.stderr)
            )
        });
    }
    Ok(peak)
}

fn tail(text: &str) -> String {
    let trimmed = text.trim();
    let skipped = trimmed.chars().count().saturating_sub(300);
    trimmed.chars().skip(skipped).collect()
}
