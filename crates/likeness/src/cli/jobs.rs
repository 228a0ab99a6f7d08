use clap::{Args, Subcommand};
use likeness_core::Timestamp;
use likeness_engine::ops::{JobList, RunList, RunView, day_text};
use serde::{Deserialize, Serialize};

use super::Context;
use crate::client::Client;
use crate::output::{Table, harmless, moment};

/// Subcommands of `likeness jobs`.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Jobs run in a server: the one that has the data directory open, or the one that `--server` names.

Examples:
  likeness jobs list
  likeness jobs history recluster-plan
  likeness jobs run recluster-plan --from 2026-01-01 --to 2026-01-31
  likeness jobs cancel recluster-plan 17")]
pub(crate) enum JobsCommand {
    /// List jobs: when they run, and how they did last
    List,
    /// List runs of a job, latest first
    History(HistoryArgs),
    /// Run a job over some days, whatever was run before
    Run(RunArgs),
    /// Show a run and its figures
    Show(RunOf),
    /// Take a run out of the queue, or end it
    Cancel(RunOf),
}

/// Arguments of `likeness jobs history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Name of the job
    name: String,
    /// Most runs to list
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100))]
    limit: u64,
    /// Those with smaller numbers: the `next` that an earlier list gave
    #[arg(long, value_name = "RUN")]
    before: Option<u64>,
}

/// Arguments of `likeness jobs run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Name of the job
    name: String,
    /// First day, UTC [default: yesterday]
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Option<String>,
    /// Last day, itself included [default: the same as `--from`]
    #[arg(long, value_name = "YYYY-MM-DD", requires = "from")]
    to: Option<String>,
    /// Wait until all of them have come to their end; exit code 1 if one has not succeeded
    #[arg(long)]
    wait: bool,
}

/// A run of a job.
#[derive(Debug, Args)]
pub(crate) struct RunOf {
    /// Name of the job
    name: String,
    /// Number of the run
    run: u64,
}

/// Runs that were put into the queue.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct QueuedRuns {
    pub(crate) runs: Vec<RunView>,
}

pub(crate) async fn run(command: JobsCommand, context: Context) -> anyhow::Result<()> {
    let client = Client::find(&context).await?;
    match command {
        JobsCommand::List => {
            let list = client.jobs().await?;
            context.output.show(&list, describe_jobs)
        }
        JobsCommand::History(args) => {
            let runs = client.job_runs(&args.name, args.before, args.limit).await?;
            context.output.show(&runs, describe_runs)
        }
        JobsCommand::Run(args) => request(&args, &client, &context).await,
        JobsCommand::Show(of) => {
            let run = client.job_run(&of.name, of.run).await?;
            context.output.show(&run, describe_run)
        }
        JobsCommand::Cancel(of) => {
            let run = client.cancel_run(&of.name, of.run).await?;
            context.output.show(&run, describe_run)
        }
    }
}

async fn request(args: &RunArgs, client: &Client, context: &Context) -> anyhow::Result<()> {
    const DAY_MS: u64 = 86_400_000;
    let yesterday = || day_text(Timestamp(Timestamp::now().0.saturating_sub(DAY_MS)));
    let from = args.from.clone().unwrap_or_else(yesterday);
    let mut queued = client
        .request_runs(&args.name, &from, args.to.as_deref())
        .await?;
    if args.wait {
        for run in &mut queued.runs {
            while matches!(run.state.as_str(), "queued" | "running") {
                tokio::select! {
                    () = tokio::time::sleep(std::time::Duration::from_millis(500)) => {}
                    () = context.stop.cancelled() => anyhow::bail!("interrupted; the runs go on"),
                }
                *run = client.job_run(&args.name, run.id).await?;
            }
        }
    }
    let is_good = |run: &RunView| !args.wait || run.state == "succeeded";
    let bad = queued.runs.iter().filter(|run| !is_good(run)).count();
    context.output.show(&queued, |queued| table(&queued.runs))?;
    anyhow::ensure!(
        bad == 0,
        "{bad} of {} runs did not succeed",
        queued.runs.len()
    );
    Ok(())
}

fn describe_jobs(list: &JobList) -> String {
    if list.jobs.is_empty() {
        return "no jobs".to_owned();
    }
    let mut table = Table::new(["job", "schedule (UTC)", "next", "last", "what it does"]);
    for job in &list.jobs {
        let last = job.last.as_ref().map_or("never ran".to_owned(), |run| {
            format!("{}, {}", run.state, days(run))
        });
        table.row([
            job.name.clone(),
            job.schedule
                .clone()
                .unwrap_or_else(|| "on request".to_owned()),
            job.next_ms.map_or("-".to_owned(), moment),
            last,
            job.about.clone(),
        ]);
    }
    table.to_string()
}

fn describe_runs(list: &RunList) -> String {
    if list.runs.is_empty() {
        return "it never ran".to_owned();
    }
    let mut text = table(&list.runs);
    if let Some(next) = list.next {
        text.push_str(&format!("\nmore: --before {next}"));
    }
    text
}

fn table(runs: &[RunView]) -> String {
    let mut table = Table::new(["run", "days", "state", "attempts", "by", "since", "error"]);
    for run in runs {
        table.row([
            run.id.to_string(),
            days(run),
            run.state.clone(),
            run.attempts.to_string(),
            run.trigger.clone(),
            moment(run.finished_ms.or(run.started_ms).unwrap_or(run.due_ms)),
            harmless(run.error.as_deref().unwrap_or("")).to_string(),
        ]);
    }
    table.to_string()
}

fn describe_run(run: &RunView) -> String {
    let mut text = table(std::slice::from_ref(run));
    if let Some(output) = &run.output {
        let figures = serde_json::to_string_pretty(output).unwrap_or_default();
        text.push_str(&format!("\n{figures}"));
    }
    text
}

/// Days that a run works on; the last one is itself included.
fn days(run: &RunView) -> String {
    let first = day_text(Timestamp(run.begin_ms));
    let last = day_text(Timestamp(run.end_ms.saturating_sub(1)));
    match first == last {
        true => first,
        false => format!("{first} to {last}"),
    }
}
