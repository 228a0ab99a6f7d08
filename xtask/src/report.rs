//! The one place that writes to standard output and standard error.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the printer of the crate"
)]

use anyhow::bail;
use serde_json::Value;

/// Prints a line of results.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// Prints a line about progress or trouble, to standard error.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// Prints the figures of a command, one JSON object on one line.
pub(crate) fn figures(figures: &Value) {
    println!("{figures}");
}

/// Counts what held and keeps what did not, so that one breach does not hide the next.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    passed: usize,
    failures: Vec<String>,
}

impl Checks {
    /// Notes that `what` holds or not; a breach is printed at once.
    pub(crate) fn that(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if holds {
            self.passed += 1;
        } else {
            self.fail(what());
        }
    }

    /// Notes a breach.
    pub(crate) fn fail(&mut self, what: String) {
        line(&format!("  BREACH {what}"));
        self.failures.push(what);
    }

    /// Notes the outcome of a step: an error is a breach.
    pub(crate) fn step(&mut self, name: &str, outcome: anyhow::Result<()>) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(error) => self.fail(format!("{name}: {error:#}")),
        }
    }

    /// Returns how many checks held.
    pub(crate) fn passed(&self) -> usize {
        self.passed
    }

    /// Returns how many did not.
    pub(crate) fn failed(&self) -> usize {
        self.failures.len()
    }

    /// Turns breaches into an error.
    ///
    /// # Errors
    /// If anything failed, or if nothing was checked at all.
    pub(crate) fn verdict(&self, subject: &str) -> anyhow::Result<()> {
        if self.passed + self.failures.len() == 0 {
            bail!("{subject}: nothing was checked");
        }
        if !self.failures.is_empty() {
            bail!(
                "{subject}: {} of {} checks failed; the first: {}",
                self.failures.len(),
                self.passed + self.failures.len(),
                self.failures[0]
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Checks;

    #[test]
    fn a_breach_fails_the_verdict_and_is_counted() {
        let mut checks = Checks::default();
        checks.that(true, || "one".to_owned());
        checks.that(false, || "two".to_owned());
        assert_eq!((checks.passed(), checks.failed()), (1, 1));
        assert!(checks.verdict("x").unwrap_err().to_string().contains("two"));
    }

    #[test]
    fn checking_nothing_is_a_failure() {
        assert!(Checks::default().verdict("x").is_err());
    }
}
