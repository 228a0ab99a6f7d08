use std::sync::Arc;

use axum::extract::{Query, State};
use likeness_engine::EngineError;
use likeness_engine::dedup::view::Page as Listed;
use likeness_engine::dedup::{JoinSide, JoinView, OrphanQuery, OrphanView};
use maud::{Markup, html};
use serde::Deserialize;

use super::PageError;
use super::corrections::{Subject, bar};
use super::layout::{Nav, Page};
use super::parts::{counted, given, moment, pager, thumbnail};
use crate::app::App;
use crate::assets::Asset;
use crate::urls;

const ORPHANS_PER_PAGE: usize = 40;

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    side: Option<JoinSide>,
    cursor: Option<String>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Markup, PageError> {
    let fail = |error: EngineError| PageError::new(&app, error);
    let wanted = OrphanQuery {
        side: query.side,
        cursor: query.cursor,
        limit: ORPHANS_PER_PAGE,
        ..OrphanQuery::default()
    };
    let orphans = app.dedup.orphans(&wanted).await.map_err(fail)?;
    let join = app.dedup.join().await.map_err(fail)?;
    let page = Page {
        module: (!orphans.items.is_empty()).then_some(Asset::Orphans),
        ..Page::new(&app, "Orphans", Nav::Orphans)
    };
    Ok(page.render(&content(&join, &orphans, &wanted)))
}

fn content(join: &JoinView, orphans: &Listed<OrphanView>, query: &OrphanQuery) -> Markup {
    let is_first = query.cursor.is_none();
    html! {
        div.page-head {
            div {
                h1 { "Orphans" }
                p.muted { "Uploads whose embedding did not come in time, and embeddings without an upload. None is lost: a partner that comes late is joined after all." }
            }
        }
        @if join.kinds.is_empty() {
            section.blank {
                h2 { "Nothing is joined here" }
                p { "Embeddings are made by this service itself. To take those of another one, name their kinds in " code { "dedup.join.kinds" } "." }
            }
        } @else {
            (standing(join))
            @if orphans.items.is_empty() && is_first && orphans.next.is_none() {
                section.blank {
                    h2 { "No orphans" }
                    p { "Every upload and every embedding has its partner, or still waits for it." }
                }
            } @else {
                (bar(&Subject::None))
                ol.corrections { @for orphan in &orphans.items { (row(orphan)) } }
                (pager(
                    (!is_first).then(|| path(query.side, None)),
                    orphans.next.as_deref().map(|next| path(query.side, Some(next))),
                ))
            }
        }
    }
}

fn path(side: Option<JoinSide>, cursor: Option<&str>) -> String {
    let side = side.map(|side| match side {
        JoinSide::Upload => "side=upload".to_owned(),
        JoinSide::Embedding => "side=embedding".to_owned(),
    });
    let cursor = cursor.map(|cursor| format!("cursor={}", urls::encode(cursor)));
    let query: Vec<String> = side.into_iter().chain(cursor).collect();
    match query.is_empty() {
        true => "/orphans".to_owned(),
        false => format!("/orphans?{}", query.join("&")),
    }
}

fn standing(join: &JoinView) -> Markup {
    html! {
        p.muted {
            (counted(join.waiting_uploads, "upload waits", "uploads wait")) ", "
            (counted(join.waiting_embeddings, "image's embeddings wait", "images' embeddings wait")) ". Orphans: "
            a href="/orphans?side=upload" { (counted(join.orphan_uploads, "upload", "uploads")) } ", "
            a href="/orphans?side=embedding" { (counted(join.orphan_embeddings, "image's embeddings", "images' embeddings")) } ". "
            (counted(join.joined, "image", "images")) " waited and joined, " (join.late) " of them late."
            @if join.watermark_ms > 0 { " Watermark: " (moment(join.watermark_ms)) "." }
        }
    }
}

fn row(orphan: &OrphanView) -> Markup {
    let is_upload = orphan.side == JoinSide::Upload;
    html! {
        li.standing {
            span.what {
                @if is_upload { span.plate { (thumbnail(&orphan.image, "")) } }
                @if is_upload {
                    a.id href=(urls::image_page(&orphan.image)) { (given(&orphan.image)) }
                    span { "lacks " (orphan.missing.join(", ")) }
                } @else {
                    span.id { (given(&orphan.image)) }
                    span { "has " (orphan.present.join(", ")) " and no upload" }
                }
            }
            span.muted { (moment(orphan.event_time_ms)) }
            span.actions {
                button.button type="button" data-orphan="retry" data-image=(orphan.image) hidden { "Wait anew" }
                button.button type="button" data-orphan="drop" data-image=(orphan.image) hidden { "Give up" }
            }
        }
    }
}
