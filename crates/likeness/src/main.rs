//! The `likeness` program. `cli` holds a file per command, `wire` joins adapters and engine.

mod cli;
mod client;
mod config;
mod corpus;
mod error;
mod families;
mod files;
mod instance;
mod intake;
mod jobs_section;
mod logging;
mod onnx_scorer;
mod output;
mod pins_section;
mod progress;
mod random;
mod samples;
mod scorer_model;
mod session;
mod shutdown;
mod sql_section;
mod units;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::main() {
        Ok(()) => ExitCode::SUCCESS,
        // A reader such as `head` that has seen enough is not a failure.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(format_args!("error: {error:#}"));
            error::exit_code(&error)
        }
    }
}
