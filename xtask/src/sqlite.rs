//! Files of SQLite, read by Python's own module.
//!
//! `cargo xtask` is what installs the C compiler, so it must build before there is one; `cargo xtask deny`
//! checks that it does.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::process;

const LIMIT: Duration = Duration::from_secs(10 * 60);
/// Opens a file that exists, also one whose write-ahead log must be read first.
const SCRIPT: &str = "
import json, pathlib, sqlite3, sys
file = pathlib.Path(sys.argv[1]).absolute().as_uri() + '?mode=rw'
tables = sqlite3.connect(file, uri=True)
print(json.dumps([tables.execute(text).fetchall() for text in sys.argv[2:]]))
";

/// One row of an answer: its columns in order.
pub(crate) type Row = Vec<Value>;

/// Runs statements on a file and returns the rows of each.
///
/// # Errors
/// If there is no such file, or a statement fails.
pub(crate) fn query(path: &Path, texts: &[String]) -> anyhow::Result<Vec<Vec<Row>>> {
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT]).arg(path).args(texts);
    let output = process::output(python, LIMIT)?;
    ensure!(
        output.success,
        "{}: {}",
        path.display(),
        output.stderr.trim()
    );
    serde_json::from_str(&output.stdout)
        .with_context(|| format!("what python3 says of {}", path.display()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Makes a file, or changes it, by statements.
    pub(crate) fn execute(path: &Path, text: &str) {
        const SCRIPT: &str =
            "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2]).close()";
        let mut python = Command::new("python3");
        python.args(["-c", SCRIPT]).arg(path).arg(text);
        let output = process::output(python, LIMIT).unwrap();
        assert!(output.success, "{}", output.stderr);
    }

    #[test]
    fn rows_of_each_statement_are_told_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a file?.sqlite3");
        execute(
            &path,
            "CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x'), (2, NULL);",
        );
        let texts = ["SELECT b, a FROM t ORDER BY a", "SELECT 1 WHERE 0"].map(str::to_owned);
        let answers = query(&path, &texts).unwrap();
        assert_eq!(
            serde_json::json!(answers),
            serde_json::json!([[["x", 1], [null, 2]], []])
        );
    }

    #[test]
    fn a_missing_file_and_a_wrong_statement_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none.sqlite3");
        let one = ["SELECT 1".to_owned()];
        assert!(
            query(&path, &one)
                .unwrap_err()
                .to_string()
                .contains("unable to open")
        );
        assert!(!path.exists());
        execute(&path, "CREATE TABLE t (a)");
        let wrong = ["SELECT b FROM t".to_owned()];
        assert!(
            query(&path, &wrong)
                .unwrap_err()
                .to_string()
                .contains("no such column")
        );
    }
}
