//! Every implementation against its suite, and what happens to the durable ones in a crash.

mod damage;
mod embedded;
mod open_inference;
mod processes;
mod sequenced;
mod sqlite;
mod suites;
mod support;
mod tables;
