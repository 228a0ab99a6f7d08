//! SQL: an editor, the tables that there are, reports, and answers as a table and a chart.
//!
//! Answers are drawn by `sql.js`. Without it a query is still answered, as a file: its form is sent to `/v1/sql`.

use std::sync::Arc;

use axum::extract::{Query, State};
use likeness_core::query::{QueryColumn, QueryError, QueryTable, Report};
use maud::{Markup, html};
use serde::Deserialize;

use super::PageError;
use super::layout::{Nav, Page};
use super::parts::{byte_size, counted, given};
use crate::api::find_report;
use crate::app::App;
use crate::assets::Asset;
use crate::error::ApiError;

/// What the editor holds where nothing else was asked for.
const EXAMPLE: &str =
    "SELECT category, count(*) AS pins\nFROM pins\nGROUP BY category\nORDER BY pins DESC\nLIMIT 20";

#[derive(Debug, Deserialize)]
pub(super) struct SqlQuery {
    /// A query to begin with. It is not run before somebody says so: a link must not make work.
    q: Option<String>,
    /// Name of a report, which is run at once.
    report: Option<String>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    Query(query): Query<SqlQuery>,
) -> Result<Markup, PageError> {
    let report = match query.report.as_deref() {
        Some(name) => Some(find_report(&app, name).map_err(|error| PageError::new(&app, error))?),
        None => None,
    };
    let tables = app.sql.tables().await;
    let page = Page {
        module: Some(Asset::Sql),
        ..Page::new(&app, "SQL", Nav::Sql)
    };
    let shown = Shown {
        text: report.map_or(query.q.as_deref(), |report| Some(report.sql)),
        report,
        reports: app.sql.reports(),
        tables,
    };
    Ok(page.render(&shown.content()))
}

/// What the page shows.
struct Shown<'a> {
    text: Option<&'a str>,
    report: Option<&'a Report>,
    reports: &'a [Report],
    tables: Result<Vec<QueryTable>, QueryError>,
}

impl Shown<'_> {
    fn content(self) -> Markup {
        let about = self.report.map(|report| report.about);
        // Of some tables rows are not known; where all that are known are none, nothing has come yet.
        let known = self.tables.iter().flatten().filter_map(|table| table.rows);
        let is_empty = known.max() == Some(0);
        html! {
            div.page-head {
                div {
                    h1 { "SQL" }
                    p.muted { (about.unwrap_or("Questions over rows of pins, raw events and live numbers. Nothing is changed by them.")) }
                }
            }
            @if is_empty {
                div.notice #sql-empty role="status" {
                    p { b { "Nothing is there yet. " } "Post some pins, or let some be made up; rows come here within seconds." }
                    pre { code { "likeness emulate --rate 100" } }
                }
            }
            div.sql-columns {
                div {
                    (self.editor())
                    section #sql-answer aria-label="Answer" {}
                }
                aside {
                    (self.reports())
                    section aria-labelledby="tables-title" {
                        h2 #tables-title { "Tables" }
                        (tables(self.tables))
                    }
                }
            }
        }
    }

    fn editor(&self) -> Markup {
        let chart = self.report.map(|report| (report.label, report.value));
        html! {
            form.sql-editor #sql method="post" action="/v1/sql" data-run[self.report.is_some()]
                data-label=[chart.map(|(label, _)| label)] data-value=[chart.map(|(_, value)| value)] {
                label.hidden for="sql-text" { "Query" }
                // A line break at the very beginning would be taken for the markup's.
                textarea #sql-text name="sql" rows="9" spellcheck="false" autocomplete="off" autocapitalize="off"
                    required { "\n" (self.text.unwrap_or(EXAMPLE)) }
                div.actions {
                    button.button.primary #sql-run type="button" hidden { "Run" kbd { "Ctrl ↵" } }
                    span.muted { "All rows as" }
                    @for (value, name) in [("csv", "CSV"), ("ndjson", "NDJSON"), ("parquet", "Parquet")] {
                        button.button type="submit" name="format" value=(value) formtarget="_blank" { (name) }
                    }
                    span #sql-status role="status" {}
                }
                noscript { p.muted { "Without JavaScript answers come as files." } }
            }
        }
    }

    fn reports(&self) -> Markup {
        let is_current = |report: &Report| {
            let current = self.report.is_some_and(|shown| shown.name == report.name);
            current.then_some("true")
        };
        html! {
            section aria-labelledby="reports-title" {
                h2 #reports-title { "Reports" }
                ul.sql-reports {
                    @for report in self.reports {
                        li {
                            a.button href=(format!("/sql?report={}", report.name)) title=(report.about)
                                aria-current=[is_current(report)] { (report.name) }
                        }
                    }
                }
                @if self.reports.is_empty() { p.muted { "There are none." } }
            }
        }
    }
}

fn tables(tables: Result<Vec<QueryTable>, QueryError>) -> Markup {
    html! {
        @match tables {
            Ok(tables) => {
                ul.sql-tables { @for table in &tables { li { (one_table(table)) } } }
                @if tables.is_empty() { p.muted { "There are none." } }
            }
            Err(error) => {
                p.bad { "They cannot be listed: " (given(&ApiError::from(error).public_message())) }
            }
        }
    }
}

fn one_table(table: &QueryTable) -> Markup {
    let mut facts = Vec::new();
    facts.extend(table.rows.map(|rows| counted(rows, "row", "rows")));
    facts.extend(table.bytes.map(byte_size));
    html! {
        button.link.id type="button" data-insert=(table.name) title="Insert" { (given(&table.name)) }
        @if !facts.is_empty() { " " span.muted { (facts.join(", ")) } }
        p.muted { (table.about) }
        details {
            summary { (counted(table.columns.len() as u64, "column", "columns")) }
            ul { @for column in &table.columns { li { (one_column(column)) } } }
        }
    }
}

fn one_column(column: &QueryColumn) -> Markup {
    html! {
        button.link.id type="button" data-insert=(identifier(&column.name)) title="Insert" { (given(&column.name)) }
        " " span.muted { (column.kind) @if column.nullable { ", or null" } }
    }
}

/// Returns a name as it stands in a query: quoted where it is not plain.
fn identifier(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    match name.bytes().all(is_plain) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_plain_are_quoted() {
        assert_eq!(identifier("follower_count"), "follower_count");
        for (name, quoted) in [
            ("Count(*)", "\"Count(*)\""),
            ("1st", "\"1st\""),
            ("a\"b", "\"a\"\"b\""),
        ] {
            assert_eq!(identifier(name), quoted);
        }
    }

    #[test]
    fn hostile_names_are_shown_as_text() {
        let table = QueryTable {
            name: "<script>t".to_owned(),
            about: "<b>".to_owned(),
            rows: Some(1),
            bytes: None,
            columns: vec![QueryColumn {
                name: "\"><i>".to_owned(),
                kind: "<u>".to_owned(),
                nullable: true,
            }],
        };
        let shown = one_table(&table).into_string();
        for markup in ["<script", "<b>", "<i>", "<u>"] {
            assert!(!shown.contains(markup), "{shown}");
        }
        assert!(shown.contains("1 row<"), "{shown}");
    }
}
