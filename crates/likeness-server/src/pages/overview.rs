use std::sync::Arc;

use axum::extract::State;
use likeness_engine::dedup::view::{DecisionEvent, Overview, StageView};
use maud::{Markup, html};

use super::PageError;
use super::layout::{Nav, Page};
use super::parts::{count, counted, decision_tile, given, how_to_ingest, moment, rate, score};
use crate::app::App;
use crate::assets::Asset;

/// Decisions shown; the page drops older ones as new ones come.
const LATEST: usize = 24;

pub(super) async fn page(State(app): State<Arc<App>>) -> Result<Markup, PageError> {
    let read = async {
        let overview = app.dedup.overview().await?;
        let latest = app.dedup.latest_decisions(LATEST).await?;
        Ok::<_, likeness_engine::EngineError>((overview, latest))
    };
    let (overview, latest) = read.await.map_err(|error| PageError::new(&app, error))?;
    let page = Page {
        module: Some(Asset::Overview),
        ..Page::new(&app, "Overview", Nav::Overview)
    };
    let is_empty = overview.images + overview.rejected + overview.pending + overview.waiting == 0;
    let content = if is_empty {
        html! { div data-reload-on-decision { (how_to_ingest("No pictures yet")) } }
    } else {
        dashboard(&overview, &latest)
    };
    Ok(page.render(&content))
}

fn dashboard(overview: &Overview, latest: &[DecisionEvent]) -> Markup {
    html! {
        @if overview.open_alarms > 0 {
            p.notice role="status" {
                b { (counted(overview.open_alarms, "alarm", "alarms")) } " about clusters that grow too fast"
                @if overview.held > 0 { ", " (counted(overview.held, "picture", "pictures")) " held" }
                ". " a href="/alarms" { "See them" }
            }
        }
        section.hero {
            h1 {
                strong data-count="images" { (count(overview.images)) } " pictures, "
                strong.accent data-count="duplicates" { (count(overview.duplicates)) }
                " of them copies."
            }
            (share_bar(overview))
            dl.figures {
                (figure("Clusters", "clusters", &count(overview.clusters)))
                (figure("With copies", "duplicate_clusters", &count(overview.duplicate_clusters)))
                (figure("Decided per second", "per_second", &rate(overview.per_second)))
                (figure("Waiting", "pending", &count(overview.pending)))
                (figure("Not pictures", "rejected", &count(overview.rejected)))
            }
        }
        div.columns {
            section aria-labelledby="latest-title" {
                div.section-head {
                    h2 #latest-title { "Latest decisions" }
                    button.live #live type="button" aria-pressed="true" hidden {
                        span.dot aria-hidden="true" {} span data-live-text { "Connecting" }
                    }
                }
                ul.tiles.gallery #latest data-max=(LATEST) {
                    @for event in latest { (decision_tile(event)) }
                }
                (tile_template())
            }
            aside {
                section aria-labelledby="stages-title" {
                    h2 #stages-title { "Stages" }
                    ol.stages {
                        @for stage in &overview.stages { (stage_row(stage)) }
                    }
                }
                section aria-labelledby="setup-title" {
                    h2 #setup-title { "Deciding with" }
                    dl.facts {
                        div { dt { "Model" } dd { (given(&overview.model)) } }
                        div { dt { "Scorer" } dd { a href="/scorer" { (given(&overview.scorer)) } } }
                        div { dt { "Threshold" } dd { (score(overview.threshold)) } }
                        div { dt { "Generation" } dd { (overview.generation) } }
                        div { dt { "Running since" } dd { (moment(overview.started_ms)) } }
                    }
                }
            }
        }
    }
}

fn figure(label: &str, name: &str, value: &str) -> Markup {
    html! { div { dt { (label) } dd data-count=(name) { (value) } } }
}

/// How many of the pictures are copies, as a bar.
fn share_bar(overview: &Overview) -> Markup {
    let share = if overview.images == 0 {
        0.0
    } else {
        overview.duplicates as f64 / overview.images as f64 * 100.0
    };
    let label = format!("{share:.1} percent of the pictures are copies");
    html! {
        svg.share #share viewBox="0 0 100 1" preserveAspectRatio="none" role="img" aria-label=(label) {
            rect.share-rest x="0" y="0" width="100" height="1" {}
            rect.share-copies x="0" y="0" width=(format!("{share:.2}")) height="1" {}
        }
    }
}

fn stage_row(stage: &StageView) -> Markup {
    html! {
        li data-stage=(stage.name) {
            span.stage-name { (stage.name) }
            span.stage-rate { b data-stage-rate { (rate(stage.per_second)) } " per second" }
            span.muted data-stage-total { (count(stage.processed)) " so far" }
        }
    }
}

/// The tile that the page's JavaScript fills for every decision that comes in.
fn tile_template() -> Markup {
    html! {
        template #tile {
            li.tile {
                a data-item {
                    span.plate {
                        img.this alt="the new image" decoding="async";
                        img.head alt="the image that it is a copy of" decoding="async";
                        span.badge {}
                    }
                    span.caption {
                        span.verdict {}
                        span.id { bdi {} }
                        span.muted { time {} }
                    }
                }
            }
        }
    }
}
