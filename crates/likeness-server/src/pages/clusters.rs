use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use likeness_core::ImageId;
use likeness_engine::EngineError;
use likeness_engine::dedup::view::{
    ClusterOrder, ClusterSummary, ClusterView, ImageView, MemberView, Page as Listed,
};
use maud::{Markup, html};
use serde::Deserialize;

use super::PageError;
use super::corrections::{Subject, bar};
use super::floods::banner;
use super::layout::{Nav, Page};
use super::parts::{
    byte_size, count, counted, given, how_to_ingest, moment, pager, score, score_bar, thumbnail,
};
use crate::app::App;
use crate::assets::Asset;
use crate::query::IdPath;
use crate::urls;

/// Clusters on a page: fills rows of two, three and four.
const CLUSTERS_PER_PAGE: usize = 24;
/// Members on a page.
const MEMBERS_PER_PAGE: usize = 60;
/// Pictures in a cluster's mosaic.
const MOSAIC: usize = 4;

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    order: ClusterOrder,
    /// Show clusters of one image too.
    #[serde(default)]
    all: bool,
    cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ClusterQuery {
    cursor: Option<String>,
}

pub(super) async fn list_page(
    State(app): State<Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Markup, PageError> {
    let fail = |error: EngineError| PageError::new(&app, error);
    let min_size = if query.all { 1 } else { 2 };
    let cursor = query.cursor.as_deref();
    let clusters = app
        .dedup
        .clusters(query.order, min_size, cursor, CLUSTERS_PER_PAGE)
        .await
        .map_err(fail)?;
    let page = Page::new(&app, "Clusters", Nav::Clusters);
    if clusters.items.is_empty() && cursor.is_none() {
        let overview = app.dedup.overview().await.map_err(fail)?;
        if overview.images == 0 {
            return Ok(page.render(&how_to_ingest("No clusters yet")));
        }
    }
    Ok(page.render(&list(&query, &clusters)))
}

fn list(query: &ListQuery, clusters: &Listed<ClusterSummary>) -> Markup {
    html! {
        div.page-head {
            div {
                h1 { "Clusters" }
                p.muted { "Every picture in a cluster is a near-copy of its head." }
            }
            div.switches {
                nav.switch aria-label="Order" {
                    (choice(query, ClusterOrder::Biggest, query.all, "Biggest"))
                    (choice(query, ClusterOrder::Newest, query.all, "Newest"))
                }
                nav.switch aria-label="Which clusters" {
                    (choice(query, query.order, false, "With copies"))
                    (choice(query, query.order, true, "All"))
                }
            }
        }
        @if clusters.items.is_empty() && clusters.next.is_none() && query.cursor.is_none() {
            section.blank {
                h2 { "Not a single copy so far" }
                p { "Every picture is one of a kind." }
                p.actions { a.button href=(list_url(query.order, true, None)) { "Show all clusters" } }
            }
        }
        ul.cards.gallery {
            @for cluster in &clusters.items { (card(cluster)) }
        }
        (pager(
            query.cursor.is_some().then(|| list_url(query.order, query.all, None)),
            clusters.next.as_deref().map(|next| list_url(query.order, query.all, Some(next))),
        ))
    }
}

fn choice(query: &ListQuery, order: ClusterOrder, all: bool, text: &str) -> Markup {
    let is_current = query.order == order && query.all == all;
    html! {
        a href=(list_url(order, all, None)) aria-current=[is_current.then_some("true")] { (text) }
    }
}

fn list_url(order: ClusterOrder, all: bool, cursor: Option<&str>) -> String {
    let order = match order {
        ClusterOrder::Biggest => "biggest",
        ClusterOrder::Newest => "newest",
    };
    let mut url = format!("/clusters?order={order}&all={all}");
    if let Some(cursor) = cursor {
        url.push_str("&cursor=");
        url.push_str(&urls::encode(cursor));
    }
    url
}

fn card(cluster: &ClusterSummary) -> Markup {
    let shown = &cluster.sample[..cluster.sample.len().min(MOSAIC)];
    html! {
        li.card {
            a data-item href=(urls::cluster_page(&cluster.head)) {
                span class={ "mosaic of-" (shown.len()) } {
                    @for id in shown { (thumbnail(id, "")) }
                    @if cluster.size > shown.len() as u64 {
                        span.more aria-hidden="true" { "+" (count(cluster.size - shown.len() as u64)) }
                    }
                }
                span.caption {
                    span.size { (counted(cluster.size, "picture", "pictures")) }
                    span.muted { (moment(cluster.updated_ms)) }
                    span.id { (given(&cluster.head)) }
                }
            }
        }
    }
}

pub(super) async fn cluster_page(
    State(app): State<Arc<App>>,
    IdPath(head): IdPath,
    Query(query): Query<ClusterQuery>,
) -> Result<Response, PageError> {
    let cursor = query.cursor.as_deref();
    let cluster = match app.dedup.cluster(&head, cursor, MEMBERS_PER_PAGE).await {
        Ok(cluster) => cluster,
        Err(error @ EngineError::ClusterNotFound(_)) => {
            // A member's id is a fair way to ask for its cluster.
            return match canonical_id(&app, &head).await {
                Some(head) => Ok(Redirect::to(&urls::cluster_page(&head)).into_response()),
                None => Err(PageError::new(&app, error)),
            };
        }
        Err(error) => return Err(PageError::new(&app, error)),
    };
    let fail = |error: EngineError| PageError::new(&app, error);
    let shown = match &cluster.shown {
        Some(id) => ImageId::new(id.clone()).map_err(|error| fail(error.into()))?,
        None => head,
    };
    let head_view = app.dedup.image(&shown).await.map_err(fail)?;
    let threshold = app.dedup.overview().await.map_err(fail)?.threshold;
    let canonical = ImageId::new(cluster.head.clone()).map_err(|error| fail(error.into()))?;
    let (alarm, guard) = app.dedup.flood_of(&canonical).await.map_err(fail)?;
    let banner = banner(&cluster.head, alarm.as_ref(), guard.as_ref());
    let title = format!("Cluster of {}", cluster.head);
    let page = Page {
        module: Some(Asset::Correct),
        ..Page::new(&app, &title, Nav::Clusters)
    };
    let content = cluster_content(&cluster, &banner, &head_view, threshold, cursor.is_some());
    Ok(page.render(&content).into_response())
}

/// Returns the head of an image's cluster, if the image is known, decided and not the head itself.
async fn canonical_id(app: &App, id: &ImageId) -> Option<String> {
    let image = app.dedup.image(id).await.ok()?;
    let head = image.decision?.canonical_id?;
    (head != id.as_str()).then_some(head)
}

fn cluster_content(
    cluster: &ClusterView,
    banner: &Markup,
    head: &ImageView,
    threshold: f32,
    is_later_page: bool,
) -> Markup {
    let page_url = urls::cluster_page(&cluster.head);
    html! {
        div.page-head {
            div {
                p.crumbs { a href="/clusters" { "Clusters" } }
                h1 { (counted(cluster.size, "picture", "pictures")) }
            }
        }
        (banner)
        div.split {
            section.head-panel aria-labelledby="head-title" {
                a.mat href=(urls::image_page(&head.id)) {
                    img src=(urls::file(&head.id)) alt="head of the cluster" decoding="async";
                }
                h2 #head-title.id { (given(&head.id)) }
                dl.facts {
                    @if head.id != cluster.head {
                        div { dt { "Canonical id" } dd.id { (given(&cluster.head)) } }
                    }
                    @if let Some(name) = &head.name { div { dt { "Name" } dd { (given(name)) } } }
                    @if let Some(signature) = &head.signature {
                        div { dt { "Size" } dd { (signature.width) " × " (signature.height) } }
                    }
                    div { dt { "First seen" } dd { (moment(cluster.created_ms)) } }
                    div { dt { "Last joined" } dd { (moment(cluster.updated_ms)) } }
                }
            }
            section aria-labelledby="members-title" {
                h2 #members-title.hidden { "Members, in the order in which they joined" }
                (bar(&Subject::Cluster(&cluster.head)))
                ul.members.gallery {
                    @for member in &cluster.members { (member_tile(member, &head.id, threshold)) }
                }
                (pager(
                    is_later_page.then(|| page_url.clone()),
                    cluster.next.as_deref().map(|next| format!("{page_url}?cursor={}", urls::encode(next))),
                ))
            }
        }
    }
}

fn member_tile(member: &MemberView, head: &str, threshold: f32) -> Markup {
    let is_head = member.id == head;
    html! {
        li.tile.is-head[is_head] {
            label.pick hidden {
                input type="checkbox" data-pick=(member.id) aria-label={ "Pick " (member.id) };
            }
            a data-item href=(urls::image_page(&member.id)) {
                span.plate.whole {
                    (thumbnail(&member.id, ""))
                    @if is_head { span.badge { "head" } }
                    @else if member.exact_copy { span.badge { "exact copy" } }
                }
                span.caption {
                    span.score-line { (score_bar(member.score, threshold)) b { (score(member.score)) } }
                    span.id { (given(member.name.as_deref().unwrap_or(&member.id))) }
                    span.muted {
                        (member.width) " × " (member.height) " · " (format_name(&member.format))
                        " · " (byte_size(member.num_bytes))
                    }
                    span.muted { (moment(member.joined_ms)) }
                }
            }
        }
    }
}

/// `web_p` → `WEBP`.
pub(super) fn format_name(format: &str) -> String {
    format.replace('_', "").to_uppercase()
}
