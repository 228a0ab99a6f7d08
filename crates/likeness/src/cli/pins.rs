//! `likeness pins`: reports over posts of a service.

use clap::{Args, Subcommand};
use likeness_server::ReportView;

use super::Context;
use super::sql::{AnswerArgs, Engine};
use crate::error::Refusal;
use crate::output::Table;

/// Subcommands of `likeness pins`.
#[derive(Debug, Subcommand)]
pub(crate) enum PinsCommand {
    /// Answer a report; without a name, list those that there are
    Report(ReportArgs),
}

/// Arguments of `likeness pins report`.
#[derive(Debug, Args)]
#[command(after_help = "\
A report is a query with a name; `likeness pins report --json` shows their SQL. Asks the server that
has the data directory open, or the one that `--server` names; without one it reads the data
directory itself.

Examples:
  likeness pins report
  likeness pins report top-category-by-year
  likeness pins report users-joined-by-year --output joined.csv")]
pub(crate) struct ReportArgs {
    /// Name of the report
    name: Option<String>,
    #[command(flatten)]
    answer: AnswerArgs,
}

pub(crate) async fn run(command: PinsCommand, context: Context) -> anyhow::Result<()> {
    let PinsCommand::Report(args) = command;
    let engine = Engine::open(&context).await?;
    let reports = engine.reports().await?;
    let Some(name) = args.name else {
        return context.output.show(&reports, |reports| describe(reports));
    };
    let Some(report) = reports.iter().find(|report| report.name == name) else {
        let names: Vec<&str> = reports.iter().map(|report| report.name.as_str()).collect();
        let names = names.join(", ");
        return Err(
            Refusal::Missing.because(format!("no report is called `{name}`; there are: {names}"))
        );
    };
    args.answer.answer(&engine, &report.sql, &context).await
}

fn describe(reports: &[ReportView]) -> String {
    if reports.is_empty() {
        return "no reports".to_owned();
    }
    let mut table = Table::new(["report", "what it answers"]);
    for report in reports {
        table.row([report.name.clone(), report.about.clone()]);
    }
    table.to_string()
}
