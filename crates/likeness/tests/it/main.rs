//! The program from outside: its texts, its exit codes, and its work on a data directory.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests are tests; the house rule covers functions marked as such only"
)]

mod flow;
mod help;
mod lake;
mod program;
mod refusals;
