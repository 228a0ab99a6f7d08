//! Operations: jobs that run by the clock, and their history.
//!
//! ```text
//! schedule ─┐
//! request  ─┼─▶ [queue, history] ─▶ lease ─▶ attempt ─▶ output, or another attempt later
//! backfill ─┘
//! ```
//! What a job does is the business of its own line; here is when, how often, by whom, and what is told of it.
//!
//! Invariants:
//! - A run works on an interval of time, which never changes; whoever repeats it must find the same.
//! - One process works on a job at a time, by a lease with a token. A run whose worker is gone is tried again.
//! - A tick of a schedule makes one run, whoever notices it first. What was missed while nobody was there is not
//!   caught up, but for the latest tick, unless the job says so.

mod job;
mod schedule;
mod scheduler;
#[cfg(test)]
mod tests;
mod view;

pub use job::{Covers, Job, JobError, JobSpec};
pub use schedule::{InvalidSchedule, Schedule, day_of, day_text, parse_day};
pub use scheduler::Scheduler;
pub use view::{JobList, JobView, RunList, RunView};
