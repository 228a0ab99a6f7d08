//! When, where and of what a measurement was made.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::process;
use crate::workspace;

const LIMIT: Duration = Duration::from_secs(60);

/// Where a figure comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The commit, with `-dirty` if there was more than it.
    pub(crate) commit: String,
    /// The day, UTC.
    pub(crate) date: String,
    pub(crate) machine: String,
    /// What was typed.
    pub(crate) command: String,
}

/// Returns the origin of what is measured now.
///
/// # Errors
/// If git or `date` cannot be run.
pub(crate) fn origin(command: String) -> anyhow::Result<Origin> {
    let mut commit = asked("git", &["rev-parse", "--short=10", "HEAD"])?;
    // Results of other runs are written between measurements and change nothing that is measured.
    let changes = ["status", "--porcelain", "--", ".", ":(exclude)docs"];
    if !asked("git", &changes)?.is_empty() {
        commit.push_str("-dirty");
    }
    Ok(Origin {
        commit,
        date: asked("date", &["-u", "+%F"])?,
        machine: machine(),
        command,
    })
}

fn asked(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(workspace::root());
    let output = process::output(command, LIMIT).with_context(|| format!("asking {program}"))?;
    if !output.success {
        bail!(
            "{program} {}: {}",
            arguments.join(" "),
            output.stderr.trim()
        );
    }
    Ok(output.stdout.trim().to_owned())
}

/// Returns processor, number of CPUs and memory, as far as the system tells (Linux).
fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "processor".to_owned());
    let memory_gib = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib / (1 << 20));
    let extensions = field("/proc/cpuinfo", "flags").map_or_else(String::new, |flags| {
        let has = |name: &str| flags.split(' ').any(|flag| flag == name);
        let best = ["avx512_vpopcntdq", "avx512f", "avx2"]
            .into_iter()
            .find(|name| has(name));
        best.map_or_else(String::new, |name| format!(", {name}"))
    });
    format!("{processor}, {cpus} CPUs, {memory_gib} GiB{extensions}")
}

/// Returns the first value of a `name: value` file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn an_origin_names_commit_and_day() {
        let origin = origin("x".to_owned()).unwrap();
        assert!(origin.commit.len() >= 10, "{origin:?}");
        assert_eq!(origin.date.len(), 10, "{origin:?}");
    }
}
