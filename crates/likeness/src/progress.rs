//! Progress on stderr: a bar on a terminal, plain lines at intervals elsewhere.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::output::{count, note};

/// Time between two lines where stderr is not a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Progress of one piece of work with a known number of parts.
#[derive(Debug)]
pub(crate) struct Progress {
    what: &'static str,
    started: Instant,
    bar: ProgressBar,
    /// When a plain line was last written; only where there is no terminal.
    plain: Option<Mutex<Instant>>,
}

impl Progress {
    /// Starts. `what` names the parts, in the plural: `images`.
    pub(crate) fn start(what: &'static str, total: u64) -> Self {
        use std::io::IsTerminal;
        let started = Instant::now();
        let is_terminal = std::io::stderr().is_terminal();
        let bar = if is_terminal {
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10))
        } else {
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden())
        };
        let style = ProgressStyle::with_template(
            "{spinner} {human_pos}/{human_len} {prefix} [{wide_bar}] {rate} {eta} left",
        )
        .expect("the template is constant and tested")
        .with_key("rate", write_rate);
        let bar = bar.with_style(style).with_prefix(what);
        Self {
            what,
            started,
            bar,
            plain: (!is_terminal).then(|| Mutex::new(started)),
        }
    }

    /// Says that so many further parts are done.
    pub(crate) fn advance(&self, n_parts: u64) {
        self.bar.inc(n_parts);
        let Some(last_line) = &self.plain else {
            return;
        };
        let Ok(mut last_line) = last_line.try_lock() else {
            return; // another thread is writing the line
        };
        if last_line.elapsed() < LINE_INTERVAL {
            return;
        }
        *last_line = Instant::now();
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let per_second = done as f64 / self.started.elapsed().as_secs_f64();
        let left =
            Duration::from_secs_f64(total.saturating_sub(done) as f64 / per_second.max(0.01));
        note(format_args!(
            "{} of {} {}, {per_second:.0}/s, {} left",
            count(done),
            count(total),
            self.what,
            humantime::format_duration(Duration::from_secs(left.as_secs()))
        ));
    }

    /// Ends and clears the bar; returns how long it took.
    pub(crate) fn finish(self) -> Duration {
        self.bar.finish_and_clear();
        self.started.elapsed()
    }
}

/// What work of unknown length says of itself, as it comes.
#[derive(Debug)]
pub(crate) struct Meter {
    bar: ProgressBar,
    /// When a plain line was last written; only where there is no terminal.
    plain: Option<Instant>,
}

impl Meter {
    /// Starts. Nothing is shown yet: most work is done before anyone looks.
    pub(crate) fn start() -> Self {
        use std::io::IsTerminal;
        let is_terminal = std::io::stderr().is_terminal();
        let target = match is_terminal {
            true => ProgressDrawTarget::stderr_with_hz(10),
            false => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}")
            .expect("the template is constant and tested");
        Self {
            bar: ProgressBar::with_draw_target(None, target).with_style(style),
            plain: (!is_terminal).then(Instant::now),
        }
    }

    /// Shows `text` in the place of what was shown before; where there is no terminal, on a line from time to time.
    pub(crate) fn show(&mut self, text: &str) {
        self.bar.set_message(text.to_owned());
        self.bar.tick();
        if let Some(last_line) = &mut self.plain
            && last_line.elapsed() >= LINE_INTERVAL
        {
            *last_line = Instant::now();
            note(text);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Writes parts per second as a whole number; the bar's own key has four decimals.
fn write_rate(state: &ProgressState, text: &mut dyn fmt::Write) {
    if let Err(error) = write!(text, "{:.0}/s", state.per_sec()) {
        tracing::trace!(%error, "the bar was not drawn");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_parts_from_several_threads() {
        let progress = Progress::start("images", 100);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..25).for_each(|_| progress.advance(1)));
            }
        });
        assert_eq!(progress.bar.position(), 100);
        assert!(progress.finish() > Duration::ZERO);
    }
}
