//! The one module that prints results: text and tables, or JSON, to stdout.
//!
//! With `--json` nothing but JSON reaches stdout: one object or array per command, one object per
//! line for streams. Logs, progress and errors go to stderr.

use std::fmt;
use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

/// Where results go, and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// Returns an output that prints JSON, or text.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Returns whether JSON was asked for.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints `value` as one JSON line, or what `text` makes of it.
    pub(crate) fn show<T: Serialize, D: fmt::Display>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> D,
    ) -> anyhow::Result<()> {
        if self.json {
            self.json_line(value)
        } else {
            write_line(&text(value))
        }
    }

    /// Prints `value` as one line of JSON, whatever was asked for.
    pub(crate) fn json_line<T: Serialize>(self, value: &T) -> anyhow::Result<()> {
        let line = serde_json::to_string(value).context("cannot encode the answer")?;
        write_line(&line)
    }

    /// Prints a line of text, unless JSON was asked for.
    pub(crate) fn text(self, line: impl fmt::Display) -> anyhow::Result<()> {
        if self.json {
            return Ok(());
        }
        write_line(&line)
    }

    /// Prints a text that is the result whatever the form (a script, a configuration).
    pub(crate) fn raw(self, text: &str) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .context("cannot write to stdout")
    }
}

fn write_line(line: &dyn fmt::Display) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")
        .and_then(|()| stdout.flush())
        .context("cannot write to stdout")
}

/// Tells the user something on stderr that is neither a result nor a log line.
#[expect(
    clippy::print_stderr,
    reason = "this module is the one that speaks to the terminal"
)]
pub(crate) fn note(line: impl fmt::Display) {
    eprintln!("{line}");
}

/// Returns whether `error` comes from a reader that closed the pipe, as `head` does.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// Columns of text: a header, then rows. Cells that all look like numbers are set to the right.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Returns an empty table with these column titles.
    pub(crate) fn new<const N: usize>(header: [&str; N]) -> Self {
        Self {
            header: header.map(str::to_owned).to_vec(),
            rows: Vec::new(),
        }
    }

    /// Returns an empty table with these column titles, of which there are as many as data has.
    pub(crate) fn of(header: Vec<String>) -> Self {
        let header = header.iter().map(|title| harmless(title)).collect();
        Self {
            header,
            rows: Vec::new(),
        }
    }

    /// Adds a row, as [`row`](Self::row) does, to a table that [`of`](Self::of) has made.
    pub(crate) fn row_of(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.header.len(), "as many cells as titles");
        self.rows
            .push(cells.iter().map(|cell| harmless(cell)).collect());
    }

    /// Adds a row. Control characters in cells are made harmless: names come from outside.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.header.len(), "as many cells as titles");
        self.rows
            .push(cells.iter().map(|cell| harmless(cell)).collect());
    }

    /// Returns whether there are no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_columns = self.header.len();
        let widths: Vec<usize> = (0..n_columns)
            .map(|column| {
                let cells = self.rows.iter().map(|row| row[column].chars().count());
                cells
                    .chain([self.header[column].chars().count()])
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let right: Vec<bool> = (0..n_columns)
            .map(|column| {
                !self.rows.is_empty() && self.rows.iter().all(|row| looks_numeric(&row[column]))
            })
            .collect();
        let lines = [&self.header].into_iter().chain(&self.rows);
        for (line_idx, line) in lines.enumerate() {
            let mut text = String::new();
            for (column, cell) in line.iter().enumerate() {
                let padding = " ".repeat(widths[column] - cell.chars().count());
                let (before, after) = if right[column] {
                    (padding.as_str(), "")
                } else {
                    ("", padding.as_str())
                };
                if column > 0 {
                    text.push_str("  ");
                }
                text.push_str(before);
                text.push_str(cell);
                text.push_str(after);
            }
            if line_idx > 0 {
                f.write_str("\n")?;
            }
            f.write_str(text.trim_end())?;
        }
        Ok(())
    }
}

/// Replaces what could steer a terminal.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn looks_numeric(cell: &str) -> bool {
    let is_part = |c: char| c.is_ascii_digit() || ".,-+e%×∞ ".contains(c);
    cell == "–" || (cell.chars().any(|c| c.is_ascii_digit()) && cell.chars().all(is_part))
}

/// Writes a count with thousands separated: `12,345`.
pub(crate) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a moment, in milliseconds since 1970 UTC, to the second.
pub(crate) fn moment(millis: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis);
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_numbers_are_set_to_the_right() {
        let mut table = Table::new(["name", "size"]);
        table.row(["a".to_owned(), "1".to_owned()]);
        table.row(["bcdef".to_owned(), "1,000".to_owned()]);
        assert_eq!(
            table.to_string(),
            "name    size\na          1\nbcdef  1,000"
        );
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        let mut table = Table::new(["name"]);
        table.row(["a\u{1b}[2Jb\n".to_owned()]);
        assert_eq!(table.to_string(), "name\na\u{fffd}[2Jb\u{fffd}");
    }

    #[test]
    fn counts_have_separators() {
        assert_eq!(count(0_u64), "0");
        assert_eq!(count(999_u64), "999");
        assert_eq!(count(1_234_567_u64), "1,234,567");
    }
}
