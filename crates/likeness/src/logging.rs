//! Logs: `tracing` events on stderr, as text or JSON.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};
use crate::error::Refusal;

/// How talkative a command is unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Talk {
    /// A command that keeps running: its operator wants to see what happens.
    Running,
    /// A command that answers and ends.
    OneShot,
}

/// Starts logging for the process.
///
/// `verbosity` is the number of `-v` less that of `-q`; not 0, it wins over the configuration.
///
/// # Errors
/// If `config.level` is not a filter.
pub(crate) fn start(config: &LogConfig, verbosity: i16, talk: Talk) -> anyhow::Result<()> {
    let base: i16 = match talk {
        Talk::Running => 2,
        Talk::OneShot => 0,
    };
    let levels = ["error", "warn", "info", "debug", "trace"];
    let place = (base + verbosity).clamp(0, 4).unsigned_abs() as usize;
    let text = if config.level.is_empty() || verbosity != 0 {
        levels[place]
    } else {
        config.level.as_str()
    };
    let filter = EnvFilter::try_new(text).map_err(|error| {
        Refusal::Input.because(format!("`log.level` is not a filter: `{text}`: {error}"))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let outcome = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    outcome.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
