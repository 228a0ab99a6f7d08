use std::sync::Arc;

use axum::extract::{Query, State};
use likeness_core::ImageId;
use likeness_engine::EngineError;
use likeness_engine::dedup::view::Page as Listed;
use likeness_engine::dedup::{AlarmView, GuardView, HeldView};
use maud::{Markup, html};
use serde::Deserialize;

use super::PageError;
use super::corrections::{Subject, bar};
use super::layout::{Nav, Page};
use super::parts::{counted, given, moment, pager, score, thumbnail};
use crate::app::App;
use crate::assets::Asset;
use crate::query::IdPath;
use crate::urls;

const ALARMS_PER_PAGE: usize = 40;
const HELD_PER_PAGE: usize = 60;

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    cursor: Option<String>,
}

pub(super) async fn alarms_page(
    State(app): State<Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Markup, PageError> {
    let cursor = query.cursor.as_deref();
    let alarms = app
        .dedup
        .alarms(cursor, ALARMS_PER_PAGE)
        .await
        .map_err(|error| PageError::new(&app, error))?;
    let page = Page {
        // Without an alarm there is nothing to acknowledge.
        module: (!alarms.items.is_empty() || cursor.is_some()).then_some(Asset::Correct),
        ..Page::new(&app, "Alarms", Nav::Alarms)
    };
    Ok(page.render(&alarms_content(&alarms, cursor.is_some())))
}

fn alarms_content(alarms: &Listed<AlarmView>, is_later_page: bool) -> Markup {
    html! {
        div.page-head {
            div {
                h1 { "Alarms" }
                p.muted { "Clusters that grew too fast or too large, newest first." }
            }
        }
        @if alarms.items.is_empty() && !is_later_page {
            section.blank {
                h2 { "No flood so far" }
                p { "No cluster has grown faster than the configuration allows." }
                p.actions { a.button href="/clusters" { "Clusters" } }
            }
        } @else {
            (bar(&Subject::None))
            ol.corrections {
                @for alarm in &alarms.items { (alarm_row(alarm)) }
            }
            (pager(
                is_later_page.then(|| "/alarms".to_owned()),
                alarms.next.as_deref().map(|next| format!("/alarms?cursor={}", urls::encode(next))),
            ))
        }
    }
}

fn alarm_row(alarm: &AlarmView) -> Markup {
    let is_open = alarm.acknowledged.is_none();
    html! {
        li.standing[is_open] id={ "alarm-" (alarm.sequence) } {
            span.what {
                span.plate { (thumbnail(&alarm.cluster, "")) }
                span { a.id href=(urls::cluster_page(&alarm.cluster)) { (given(&alarm.cluster)) } ": " (alarm.what.in_words()) }
            }
            span.muted {
                "#" (alarm.sequence) " · " (moment(alarm.time_ms))
                @if let Some(seen) = &alarm.acknowledged {
                    " · " span.tag { "seen by " (given(&seen.author)) } " " (given(&seen.reason))
                }
            }
            @if is_open {
                button.button type="button" data-correct="acknowledge" data-alarm=(alarm.sequence) hidden { "I have seen it" }
            }
        }
    }
}

/// What the page of a cluster says about floods: its latest alarm while nobody has seen it, and how it stands.
pub(super) fn banner(
    cluster: &str,
    alarm: Option<&AlarmView>,
    guard: Option<&GuardView>,
) -> Markup {
    let alarm = alarm.filter(|alarm| alarm.acknowledged.is_none());
    html! {
        @if let Some(alarm) = alarm {
            p.notice role="status" {
                b { "Alarm: " } (alarm.what.in_words()) " · " (moment(alarm.time_ms)) " "
                a href={ "/alarms#alarm-" (alarm.sequence) } { "all alarms" }
            }
        }
        @match guard {
            Some(GuardView::Quarantined { confirmed }) => {
                section.notice aria-label="Quarantine" {
                    p {
                        b { "Under quarantine" }
                        @if *confirmed { ", as a person said" }
                        ". Pictures that would join by score are held; equal bytes join as ever. "
                        a href={ (urls::cluster_page(cluster)) "/held" } { "Held pictures" }
                    }
                    div.actions {
                        button.button type="button" data-correct="confirm" data-cluster=(cluster) hidden { "It is right" }
                        button.button type="button" data-correct="release" data-cluster=(cluster) hidden { "Release, held pictures join" }
                        button.button type="button" data-correct="lift" data-cluster=(cluster) hidden { "Release for good" }
                    }
                }
            }
            Some(GuardView::Held { by }) => {
                p.notice { "Held by " a.id href=(urls::cluster_page(by)) { (given(by)) } ", which is under quarantine: it attracts nothing until a person decides." }
            }
            Some(GuardView::Negative { bank }) => {
                p.notice { "Matched the negative bank " a.id href=(urls::bank_page(bank)) { (given(bank)) } ": it attracts nothing." }
            }
            Some(GuardView::Lifted) => {
                p.muted { "Released for good: it is not put under quarantine however fast it grows." }
            }
            None => {}
        }
    }
}

pub(super) async fn held_page(
    State(app): State<Arc<App>>,
    IdPath(cluster): IdPath,
    Query(query): Query<ListQuery>,
) -> Result<Markup, PageError> {
    let cursor = query.cursor.as_deref();
    let read = async {
        let (alarm, guard) = app.dedup.flood_of(&cluster).await?;
        let held = app.dedup.held(&cluster, cursor, HELD_PER_PAGE).await?;
        Ok::<_, EngineError>((alarm, guard, held))
    };
    let (alarm, guard, held) = read.await.map_err(|error| PageError::new(&app, error))?;
    let title = format!("Held by {cluster}");
    let page = Page {
        module: Some(Asset::Correct),
        ..Page::new(&app, &title, Nav::Clusters)
    };
    let banner = banner(cluster.as_str(), alarm.as_ref(), guard.as_ref());
    Ok(page.render(&held_content(&cluster, &banner, &held, cursor.is_some())))
}

fn held_content(
    cluster: &ImageId,
    banner: &Markup,
    held: &Listed<HeldView>,
    is_later_page: bool,
) -> Markup {
    let url = format!("{}/held", urls::cluster_page(cluster.as_str()));
    html! {
        div.page-head {
            div {
                p.crumbs { a href=(urls::cluster_page(cluster.as_str())) { "Cluster of " (given(cluster.as_str())) } }
                h1 { "Held pictures" }
                p.muted { "They would have joined the cluster by score. Each is alone until a person decides." }
            }
        }
        (banner)
        (bar(&Subject::None))
        @if held.items.is_empty() && !is_later_page {
            section.blank { h2 { "Nothing is held" } }
        } @else {
            p.muted { (counted(held.items.len() as u64, "picture", "pictures")) " on this page" }
            ul.tiles.gallery {
                @for held in &held.items {
                    li.tile {
                        a data-item href=(urls::image_page(&held.id)) {
                            span.plate { (thumbnail(&held.id, "")) span.badge { (score(held.score)) } }
                            span.caption { span.id { (given(&held.id)) } span.muted { (moment(held.held_ms)) } }
                        }
                    }
                }
            }
            (pager(
                is_later_page.then(|| url.clone()),
                held.next.as_deref().map(|next| format!("{url}?cursor={}", urls::encode(next))),
            ))
        }
    }
}
