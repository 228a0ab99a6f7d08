//! Running a program with a time limit, keeping the end of what it writes.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Lines of a failed program's output that are shown.
const N_LINES: usize = 12;
/// Longer lines are cut, in bytes: progress bars write one endless line.
const MAX_LINE_BYTES: u64 = 2_000;
/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long to wait for the rest of the output after the end; a grandchild may hold the pipe open.
const OUTPUT_GRACE: Duration = Duration::from_secs(2);

/// How a program ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Succeeded,
    Failed {
        status: String,
        /// The last lines of its standard error.
        output: String,
    },
    TimedOut,
}

/// Runs `program` in `folder` without input. Fails only if it cannot be started or waited for.
pub(super) fn run(
    program: &OsStr,
    arguments: &[String],
    folder: &Path,
    timeout: Duration,
) -> io::Result<Outcome> {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = child.stderr.take().expect("stderr was asked to be a pipe");
    let (sender, receiver) = mpsc::sync_channel(1);
    // Reads along, so that the program never blocks on a full pipe. Ends with the pipe.
    std::thread::Builder::new()
        .name("likeness-package-output".to_owned())
        .spawn(move || {
            // A failed send means that nobody wants the output any more.
            drop(sender.send(last_lines(stderr)));
        })?;
    let Some(status) = wait(&mut child, timeout)? else {
        child.kill()?;
        child.wait()?;
        return Ok(Outcome::TimedOut);
    };
    if status.success() {
        return Ok(Outcome::Succeeded);
    }
    let output = receiver.recv_timeout(OUTPUT_GRACE).unwrap_or_default();
    Ok(Outcome::Failed {
        status: status.to_string(),
        output,
    })
}

/// Returns `None` if the program still runs after `timeout`.
fn wait(child: &mut Child, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(POLL);
    }
}

/// Reads to the end and returns the last lines that are not blank.
fn last_lines(stream: impl Read) -> String {
    let mut reader = BufReader::new(stream);
    let mut lines = VecDeque::new();
    loop {
        let mut line = Vec::new();
        match reader
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
        {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if text.is_empty() {
            continue;
        }
        if lines.len() == N_LINES {
            lines.pop_front();
        }
        lines.push_back(text);
    }
    Vec::from(lines).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_the_output_is_kept() {
        let text: String = (0..100).map(|line| format!("line {line}\n\n")).collect();
        let kept = last_lines(text.as_bytes());
        assert_eq!(kept.lines().count(), N_LINES);
        assert!(kept.starts_with("line 88") && kept.ends_with("line 99"));
        assert_eq!(last_lines(io::empty()), "");
    }
}
