//! What `--help` says. A change of a text shows up here, to be looked at once.

mod changes;
mod daily;
mod guard;
mod joins;
mod measure;
mod parts;
mod pins;
mod review;

use crate::program::Sandbox;

/// Returns the text without the global options, which are the same in every command.
#[track_caller]
fn help(command: &[&str]) -> String {
    let run = Sandbox::new().run(&[command, &["--help"]].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mut is_global = false;
    let mut kept = String::new();
    for line in run.stdout.lines() {
        let is_title = !line.is_empty() && !line.starts_with(' ');
        if is_title {
            is_global = line == "Global options:" && !command.is_empty();
        }
        if !is_global {
            kept.push_str(line.trim_end());
            kept.push('\n');
        }
    }
    kept
}
