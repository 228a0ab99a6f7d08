//! Pins: live numbers of the stream, and what could not be cleaned.

use std::sync::Arc;

use axum::extract::{Query, State};
use likeness_engine::EngineError;
use likeness_engine::pins::clean::time::EventTime;
use likeness_engine::pins::stream::view::{
    ProfileOrder, ProfileView, RejectedPage, RejectedView, SeriesView, StreamStatus, TrendList,
};
use maud::{Markup, html};
use serde::Deserialize;

use super::PageError;
use super::layout::{Nav, Page};
use super::parts::{count, given, pager, rate};
use crate::app::App;
use crate::assets::Asset;
use crate::urls;

/// Points of the chart.
const POINTS: u64 = 60;
const PROFILES: usize = 10;
const CATEGORIES: usize = 12;
const REJECTED_PER_PAGE: usize = 10;
/// Size of the chart, and the room for its labels, in units of its own.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 220.0;
const LABELS: f64 = 24.0;

#[derive(Debug, Deserialize)]
pub(super) struct PinsQuery {
    #[serde(default)]
    span: Span,
    #[serde(default)]
    by: ProfileOrder,
    cursor: Option<String>,
}

/// How much of the time is shown, and compared with as much before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Span {
    #[default]
    Hour,
    Day,
    Week,
}

impl Span {
    const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
        }
    }

    fn seconds(self) -> u64 {
        match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 7 * 86_400,
        }
    }
}

/// What the tables say.
struct Numbers {
    series: SeriesView,
    trends: TrendList,
    profiles: Vec<ProfileView>,
    rejected: RejectedPage,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    Query(query): Query<PinsQuery>,
) -> Result<Markup, PageError> {
    let read = async {
        let status = app.stream.status().await?;
        let is_reached = status.topics.iter().all(|topic| topic.records.is_some());
        let numbers = match is_reached && status.waits_for.is_none() {
            true => Some(numbers(&app, &query).await?),
            // The tables are away: the page says so, and asks no more.
            false => None,
        };
        Ok::<_, EngineError>((status, numbers))
    };
    let (status, numbers) = read.await.map_err(|error| PageError::new(&app, error))?;
    let page = Page {
        module: Some(Asset::Pins),
        ..Page::new(&app, "Pins", Nav::Pins)
    };
    Ok(page.render(&content(&query, &status, numbers.as_ref())))
}

async fn numbers(app: &App, query: &PinsQuery) -> Result<Numbers, EngineError> {
    let (stream, seconds) = (&app.stream, query.span.seconds());
    let trends = stream.trends(seconds, None, CATEGORIES).await?;
    let until: Option<EventTime> = trends.until.parse().ok();
    Ok(Numbers {
        series: stream.series(None, None, until, seconds / POINTS).await?,
        trends,
        profiles: stream.profiles(query.by, PROFILES).await?,
        rejected: stream
            .rejected(query.cursor.as_deref(), REJECTED_PER_PAGE)
            .await?,
    })
}

fn content(query: &PinsQuery, status: &StreamStatus, numbers: Option<&Numbers>) -> Markup {
    let is_empty = status.pins + status.geolocations + status.users + status.rejected == 0;
    html! {
        div.page-head {
            div {
                h1 { "Pins" }
                p.muted { "Posts of a service, cleaned and counted by the time at which they were made." }
            }
            button.live #live type="button" aria-pressed="true" hidden {
                span.dot aria-hidden="true" {} span data-live-text { "Connecting" }
            }
        }
        @if let Some(trouble) = &status.waits_for {
            p.notice role="status" #pins-waits {
                b { "The numbers stand still. " } "The stream waits: " (given(trouble))
                ". What is posted is kept, and counted once it goes on."
            }
        }
        (figures(status))
        @match numbers {
            None => {
                @if status.waits_for.is_none() { p.muted #pins-waits { "The tables are being opened." } }
            }
            Some(_) if is_empty => {
                section.blank #pins-empty {
                    h2 { "No pins yet" }
                    p { "Post some, or let some be made up." }
                    pre { code { "likeness emulate --rate 100" } }
                    p.muted { "or from a service" }
                    pre { code { "curl -H 'content-type: application/json' -d '{\"unique_id\": \"a\", \"category\": \"art\"}' " span data-origin { "http://localhost" } "/v1/pins" } }
                }
            }
            Some(numbers) => { (tables(query, numbers)) }
        }
    }
}

fn figures(status: &StreamStatus) -> Markup {
    let behind: u64 = status.topics.iter().filter_map(|one| one.records).sum();
    let seconds = status.topics.iter().map(|one| one.seconds);
    let seconds = seconds.fold(0.0, f64::max);
    html! {
        dl.figures #pins-figures {
            div { dt { "Pins" } dd data-pins="pins" { (count(status.pins)) } }
            div { dt { "Came late" } dd data-pins="late" { (count(status.late)) } }
            div { dt { "Could not be cleaned" } dd data-pins="rejected" { (count(status.rejected)) } }
            div { dt { "Records behind" } dd data-pins="behind" { (count(behind)) } }
            div { dt { "Seconds behind" } dd data-pins="seconds" { (rate(seconds)) } }
        }
    }
}

fn tables(query: &PinsQuery, numbers: &Numbers) -> Markup {
    html! {
        section.pins-section aria-labelledby="series-title" {
            div.section-head {
                h2 #series-title { "Pins over time" }
                nav.switch aria-label="Span of time" {
                    @for span in Span::ALL {
                        a href=(link(span, query.by)) aria-current=[(span == query.span).then_some("true")] { (span.name()) }
                    }
                }
            }
            div data-fresh="series" { (chart(&numbers.series)) }
        }
        div.pins-columns {
            section aria-labelledby="trends-title" {
                div.section-head { h2 #trends-title { "Trending categories" } }
                div.scroll data-fresh="trends" { (trends(query.span, &numbers.trends)) }
            }
            section aria-labelledby="profiles-title" {
                div.section-head {
                    h2 #profiles-title { "Popular profiles" }
                    nav.switch aria-label="Order of profiles" {
                        @for (order, name) in [(ProfileOrder::Score, "score"), (ProfileOrder::Followers, "followers"), (ProfileOrder::Pins, "pins")] {
                            a href=(link_by(query.span, name)) aria-current=[(order == query.by).then_some("true")] { (name) }
                        }
                    }
                }
                div.scroll data-fresh="profiles" { (profiles(&numbers.profiles)) }
            }
        }
        section.pins-section aria-labelledby="rejected-title" {
            div.section-head { h2 #rejected-title { "What could not be cleaned" } }
            div data-fresh="rejected" { (rejected(query, &numbers.rejected)) }
        }
    }
}

fn link(span: Span, by: ProfileOrder) -> String {
    let by = match by {
        ProfileOrder::Score => "score",
        ProfileOrder::Followers => "followers",
        ProfileOrder::Pins => "pins",
    };
    link_by(span, by)
}

fn link_by(span: Span, by: &str) -> String {
    format!("/pins?span={}&by={by}", span.name())
}

/// Bars, the late part of each set apart.
fn chart(series: &SeriesView) -> Markup {
    let most = series.points.iter().map(|point| point.pins).max();
    let most = most.unwrap_or(0).max(1);
    let total: u64 = series.points.iter().map(|point| point.pins).sum();
    let late: u64 = series.points.iter().map(|point| point.late).sum();
    let (first, last) = (series.points.first(), series.points.last());
    let at = |point: Option<&likeness_engine::pins::stream::view::SeriesPoint>| {
        point
            .map_or("", |point| &point.from[..16])
            .replace('T', " ")
    };
    let label = format!(
        "{} pins from {} to {} UTC, {} of them late; at most {} in {} minutes",
        count(total),
        at(first),
        at(last),
        count(late),
        count(most),
        series.step_seconds / 60,
    );
    let slot = WIDTH / series.points.len().max(1) as f64;
    let height = |pins: u64| (HEIGHT - LABELS) * pins as f64 / most as f64;
    let floor = HEIGHT - LABELS;
    html! {
        svg.pins-chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(label) {
            line.curve-grid x1="0" x2=(WIDTH) y1=(floor) y2=(floor) {}
            @for (number, point) in series.points.iter().enumerate() {
                @let x = format!("{:.1}", slot * number as f64 + 1.0);
                @let width = format!("{:.1}", slot - 2.0);
                @if point.pins > 0 {
                    rect.pins-bar x=(x) width=(width) y=(format!("{:.1}", floor - height(point.pins))) height=(format!("{:.1}", height(point.pins))) {
                        title { (&point.from[..16].replace('T', " ")) " UTC: " (count(point.pins)) ", late " (count(point.late)) }
                    }
                }
                @if point.late > 0 {
                    rect.pins-late x=(x) width=(width) y=(format!("{:.1}", floor - height(point.late))) height=(format!("{:.1}", height(point.late))) {}
                }
            }
            text.curve-label x="0" y=(HEIGHT - 6.0) { (at(first)) }
            text.curve-label x=(WIDTH) y=(HEIGHT - 6.0) text-anchor="end" { (at(last)) " UTC" }
            text.curve-label x="0" y="11" { (count(most)) }
        }
        p.muted.pins-legend {
            span.pins-key aria-hidden="true" {} " pins in " (series.step_seconds / 60) " min "
            span.pins-key.is-late aria-hidden="true" {} " of these, behind the watermark"
        }
    }
}

fn trends(span: Span, trends: &TrendList) -> Markup {
    html! {
        table {
            thead { tr { th { "Category" } th.number { "This " (span.name()) } th.number { "Before" } th.number { "Trend" } } }
            tbody {
                @for item in &trends.items {
                    tr {
                        th scope="row" {
                            @match &item.category {
                                Some(category) => (given(category)),
                                None => span.muted { "without one" },
                            }
                        }
                        td.number { (count(item.pins)) }
                        td.number { (count(item.before)) }
                        td.number { (format!("{:+.1}", item.score)) }
                    }
                }
            }
        }
        @if trends.items.is_empty() { p.muted { "None in this time." } }
    }
}

fn profiles(profiles: &[ProfileView]) -> Markup {
    html! {
        table {
            thead { tr { th { "Profile" } th.number { "Score" } th.number { "Followers" } th.number { "Pins" } } }
            tbody {
                @for profile in profiles {
                    tr {
                        th scope="row" { (given(&profile.poster_name)) }
                        td.number { (rate(profile.score)) }
                        td.number { (profile.followers.map_or("—".to_owned(), count)) }
                        td.number { (count(profile.pins)) }
                    }
                }
            }
        }
        @if profiles.is_empty() { p.muted { "No pin names who posted it." } }
    }
}

fn rejected(query: &PinsQuery, page: &RejectedPage) -> Markup {
    let here = link(query.span, query.by);
    html! {
        @if page.items.is_empty() {
            p.muted { "Nothing: every event was cleaned." }
        } @else {
            ul.pins-rejected {
                @for item in &page.items { (rejected_row(item)) }
            }
        }
        (pager(
            query.cursor.is_some().then(|| here.clone()),
            page.next.as_deref().map(|next| format!("{here}&cursor={}", urls::encode(next))),
        ))
    }
}

fn rejected_row(item: &RejectedView) -> Markup {
    let raw = serde_json::to_string_pretty(&item.event).unwrap_or_default();
    html! {
        li {
            p { b { (given(&item.field)) } " " (given(&item.reason)) ": " code { (given(&item.value.to_string())) } }
            p.muted { (item.kind) " " (given(&item.key)) " · " (item.received) " · " (item.kind) "s/" (item.partition) "/" (item.offset) }
            details { summary { "The event" } pre { code { (raw) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use likeness_engine::pins::stream::view::SeriesPoint;

    use super::*;

    #[test]
    fn the_chart_is_drawn_within_its_frame_and_says_what_it_shows() {
        let point = |minute: u64, pins, late| SeriesPoint {
            from: format!("2018-01-04T00:{minute:02}:00Z"),
            pins,
            late,
        };
        let series = SeriesView {
            category: None,
            step_seconds: 60,
            points: vec![point(0, 0, 0), point(1, 1_000, 10), point(2, 1, 0)],
        };
        let drawn = chart(&series).into_string();
        assert_eq!(drawn.matches("class=\"pins-bar\"").count(), 2);
        assert_eq!(drawn.matches("class=\"pins-late\"").count(), 1);
        assert!(
            drawn.contains(
                "1,001 pins from 2018-01-04 00:00 to 2018-01-04 00:02 UTC, 10 of them late"
            )
        );
        assert!(drawn.contains("y=\"0.0\" height=\"196.0\""), "{drawn}");
        let nothing = SeriesView {
            points: Vec::new(),
            ..series
        };
        assert!(chart(&nothing).into_string().contains("0 pins"));
    }

    #[test]
    fn hostile_events_are_shown_as_text() {
        let item = RejectedView {
            kind: "pin".to_owned(),
            partition: 1,
            offset: 2,
            key: "<i>".to_owned(),
            field: "title".to_owned(),
            reason: "must be text".to_owned(),
            value: serde_json::json!("<script>alert(1)</script>"),
            event: serde_json::json!({"title": "</pre><script>"}),
            received: "2018-01-04T00:00:00Z".to_owned(),
        };
        let shown = rejected_row(&item).into_string();
        assert!(
            !shown.contains("<script") && !shown.contains("<i>"),
            "{shown}"
        );
        assert!(shown.contains("&lt;i&gt;"), "{shown}");
    }
}
