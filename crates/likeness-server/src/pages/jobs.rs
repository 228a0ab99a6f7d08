use std::sync::Arc;

use axum::extract::{Path, Query, State};
use likeness_core::Timestamp;
use likeness_engine::EngineError;
use likeness_engine::ops::{JobView, RunList, RunView, day_text};
use maud::{Markup, html};
use serde::Deserialize;

use super::PageError;
use super::layout::{Nav, Page};
use super::parts::{counted, given, moment, pager};
use crate::app::App;
use crate::assets::Asset;
use crate::urls;

const RUNS_PER_PAGE: usize = 40;

#[derive(Debug, Deserialize)]
pub(super) struct RunsQuery {
    before: Option<u64>,
}

pub(super) async fn list_page(State(app): State<Arc<App>>) -> Result<Markup, PageError> {
    let fail = |error: EngineError| PageError::new(&app, error);
    let list = app.jobs.list(Timestamp::now()).await.map_err(fail)?;
    let page = Page::new(&app, "Jobs", Nav::Jobs);
    Ok(page.render(&html! {
        div.page-head {
            div {
                h1 { "Jobs" }
                p.muted { "What runs by the clock, or when somebody asks for it. Times are in UTC." }
            }
        }
        @if list.jobs.is_empty() {
            section.blank {
                h2 { "No jobs" }
                p { "Nothing here runs by the clock." }
            }
        } @else {
            ol.corrections { @for job in &list.jobs { (job_row(job)) } }
        }
    }))
}

fn job_row(job: &JobView) -> Markup {
    html! {
        li.standing {
            span.what {
                a.id href=(urls::job_page(&job.name)) { (job.name) }
                span { (job.about) }
                span.muted { (when(job)) }
            }
            @match &job.last {
                Some(last) => { span { (state(last)) " " (moment(last.finished_ms.unwrap_or(last.due_ms))) } }
                None => { span.muted { "never ran" } }
            }
        }
    }
}

fn when(job: &JobView) -> Markup {
    html! {
        @match &job.schedule {
            Some(schedule) => {
                code { (schedule) }
                @if let Some(next) = job.next_ms { ", next " (moment(next)) }
            }
            None => { "on request only" }
        }
        ", at most " (counted(u64::from(job.max_attempts), "attempt", "attempts"))
        @if job.catch_up { ", catches up what was missed" }
    }
}

pub(super) async fn job_page(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(query): Query<RunsQuery>,
) -> Result<Markup, PageError> {
    let fail = |error: EngineError| PageError::new(&app, error);
    let found = app.jobs.runs(&name, query.before, RUNS_PER_PAGE).await;
    let runs = found.map_err(fail)?;
    let list = app.jobs.list(Timestamp::now()).await.map_err(fail)?;
    let is_open = |run: &RunView| matches!(run.state.as_str(), "queued" | "running");
    let page = Page {
        module: Some(Asset::Jobs),
        refresh: runs.runs.iter().any(is_open),
        ..Page::new(&app, &name, Nav::Jobs)
    };
    let job = list.jobs.iter().find(|job| job.name == name);
    Ok(page.render(&content(&name, job, &runs, query.before.is_none())))
}

fn content(name: &str, job: Option<&JobView>, runs: &RunList, is_first: bool) -> Markup {
    let yesterday = day_text(Timestamp(Timestamp::now().0.saturating_sub(86_400_000)));
    html! {
        div.page-head {
            div {
                h1 { (name) }
                @if let Some(job) = job { p.muted { (job.about) " (" (when(job)) ")." } }
            }
        }
        form.fields #run data-job=(name) hidden {
            label { "From " input type="date" name="from" value=(yesterday) max=(yesterday) required; }
            label { "to " input type="date" name="to" value=(yesterday) max=(yesterday) required; }
            button.button type="submit" { "Run for these days" }
            span #run-status role="status" {}
        }
        @if runs.runs.is_empty() && is_first {
            section.blank {
                h2 { "It never ran" }
                p { "Its first run comes by the schedule, or ask for one above." }
            }
        } @else {
            ol.corrections { @for run in &runs.runs { (run_row(run)) } }
            (pager(
                (!is_first).then(|| urls::job_page(name)),
                runs.next.map(|next| format!("{}?before={next}", urls::job_page(name))),
            ))
        }
    }
}

fn run_row(run: &RunView) -> Markup {
    let is_open = matches!(run.state.as_str(), "queued" | "running");
    html! {
        li.standing {
            span.what {
                span.id { "run " (run.id) }
                span { (interval(run)) ", by " (run.trigger) }
                span { (state(run)) @if run.attempts > 1 { ", attempt " (run.attempts) } }
                @if let Some(error) = &run.error { span.bad { (given(error)) } }
                @if let Some(output) = &run.output {
                    details { summary { "Figures" } pre { (figures(output)) } }
                }
            }
            span.muted { (moment(run.finished_ms.or(run.started_ms).unwrap_or(run.due_ms))) }
            @if is_open {
                span.actions {
                    button.button type="button" data-cancel=(run.id) hidden { "Cancel" }
                }
            }
        }
    }
}

fn figures(output: &serde_json::Value) -> String {
    serde_json::to_string_pretty(output).unwrap_or_default()
}

/// Days, as they are written; the last one is itself included.
fn interval(run: &RunView) -> String {
    let (first, last) = (
        day_text(Timestamp(run.begin_ms)),
        day_text(Timestamp(run.end_ms.saturating_sub(1))),
    );
    match first == last {
        true => first,
        false => format!("{first} to {last}"),
    }
}

fn state(run: &RunView) -> Markup {
    let kind = match run.state.as_str() {
        "succeeded" => "good",
        "failed" => "bad",
        _ => "muted",
    };
    html! { span class=(kind) { (run.state) } }
}
