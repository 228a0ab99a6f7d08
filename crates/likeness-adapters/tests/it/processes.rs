//! Two processes: one holds the store open, one is killed. The second process is this test binary
//! again, told by an environment variable to play the other part of the same test.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use likeness_adapters::open_embedded;
use likeness_core::StoreError;
use likeness_core::step::{Durability, StepStore};

use crate::support::{count_whole_steps, numbered_step, open_small, small_config};

const FOLDER: &str = "LIKENESS_TEST_OTHER_PROCESS";

/// Says where to play the other part, if this process is to.
fn other_part() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Runs `test` once more as another process. Killed when dropped.
struct OtherProcess(Child);

impl OtherProcess {
    fn start(test: &str, folder: &Path) -> Self {
        let program = std::env::current_exe().expect("the path of this program");
        let child = Command::new(program)
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("starting another process");
        Self(child)
    }

    /// Returns the numbers it prints on lines of their own, until it ends.
    fn numbers(&mut self) -> impl Iterator<Item = u64> + use<> {
        let output = self.0.stdout.take().expect("taken once");
        BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .filter_map(|line| line.parse().ok())
    }

    fn kill(&mut self) {
        self.0.kill().expect("kill -9");
        self.0.wait().expect("the end of the other process");
    }
}

impl Drop for OtherProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Tells the first process a number, at once.
fn say(number: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{number}").expect("writing to the first process");
    out.flush().expect("writing to the first process");
}

#[test]
fn a_store_that_another_process_has_open_is_locked() {
    if let Some(folder) = other_part() {
        let _store = open_small(&folder);
        say(0);
        loop {
            std::thread::park();
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let test = "processes::a_store_that_another_process_has_open_is_locked";
    let mut other = OtherProcess::start(test, folder.path());
    assert_eq!(other.numbers().next(), Some(0), "the other did not open it");

    let refused = open_embedded(&small_config(folder.path())).expect_err("open elsewhere");
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused:?}");
    other.kill();
    drop(open_small(folder.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_every_acknowledged_step_and_no_half_of_one() {
    if let Some(folder) = other_part() {
        let store = open_small(&folder);
        for n in count_whole_steps(&store).await.. {
            let durability = match n % 10 {
                0 => Durability::Synced,
                _ => Durability::Process,
            };
            let outcome = store.commit(numbered_step(n), durability).await;
            outcome.expect("commit");
            say(n);
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let test = "processes::a_killed_process_leaves_every_acknowledged_step_and_no_half_of_one";
    let mut n_acknowledged = 0;
    for round in 1..=5u64 {
        let mut other = OtherProcess::start(test, folder.path());
        let mut numbers = other.numbers();
        let last = numbers.find(|n| *n >= n_acknowledged + 100 * round);
        other.kill();
        // What it said between the one we looked for and its death.
        let last = numbers.last().or(last);
        n_acknowledged = last.expect("the other committed nothing") + 1;
        let found = count_whole_steps(&open_small(folder.path())).await;
        assert!(
            found == n_acknowledged || found == n_acknowledged + 1,
            "{found} steps, {n_acknowledged} acknowledged"
        );
        n_acknowledged = found;
    }
}
