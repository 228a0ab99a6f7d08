use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use likeness_core::ImageId;
use likeness_engine::EngineError;
use likeness_engine::dedup::view::{
    CandidateSource, CandidateView, Decision, DecisionKind, ExplainView, ImageStatus, ImageView,
};
use likeness_engine::dedup::{BankMatchView, CorrectionView};
use maud::{Markup, html};

use super::PageError;
use super::banks::of_image;
use super::clusters::format_name;
use super::corrections::{self, OF_AN_IMAGE, Subject, bar};
use super::layout::{Nav, Page};
use super::parts::{
    byte_size, count, counted, given, kind, moment, score, score_bar, thumbnail, verdict,
};
use crate::app::App;
use crate::assets::Asset;
use crate::query::IdPath;
use crate::urls;

pub(super) async fn page(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
) -> Result<Response, PageError> {
    let fail = |error: EngineError| PageError::new(&app, error);
    let image = match app.dedup.image(&id).await {
        Err(EngineError::Erased(id)) => return tombstone(&app, &id).await,
        outcome => outcome.map_err(fail)?,
    };
    let explain = match app.dedup.explain(&id).await {
        Ok(explain) => Some(explain),
        Err(EngineError::NotDecided(_)) => None,
        Err(error) => return Err(fail(error)),
    };
    let made = app
        .dedup
        .corrections_of(&id, OF_AN_IMAGE)
        .await
        .map_err(fail)?;
    let matches = app
        .dedup
        .bank_matches_of(&id, OF_AN_IMAGE)
        .await
        .map_err(fail)?;
    let page = Page {
        // What waits for an embedding is not about to change.
        refresh: image.status == ImageStatus::Pending && image.waiting_for.is_empty(),
        module: explain.is_some().then_some(Asset::Correct),
        ..Page::new(&app, &image.id, Nav::None)
    };
    Ok(page
        .render(&content(&image, explain.as_ref(), &made, &matches))
        .into_response())
}

/// What is shown where an image was that was erased.
async fn tombstone(app: &App, id: &ImageId) -> Result<Response, PageError> {
    let fail = |error: EngineError| PageError::new(app, error);
    let erasure = app.dedup.erasure(id).await.map_err(fail)?;
    let erasure = erasure.ok_or_else(|| fail(EngineError::ImageNotFound(id.clone())))?;
    let named = match app.dedup.cluster(id, None, 1).await {
        Ok(cluster) => Some(cluster.size),
        Err(EngineError::ClusterNotFound(_)) => None,
        Err(error) => return Err(fail(error)),
    };
    let content = html! {
        section.blank {
            p.blank-mark aria-hidden="true" { "∅" }
            h1 { "This picture was erased" }
            p { span.id { (given(id.as_str())) } }
            p { (given(&erasure.reason)) }
            p.muted {
                "#" (erasure.correction) " · " (given(&erasure.author)) " · " (moment(erasure.erased_ms))
                @if !erasure.is_finished { " · its bytes are still to be deleted" }
            }
            @if let Some(size) = named {
                p {
                    "Its id is still the canonical id of "
                    a href=(urls::cluster_page(id.as_str())) { (counted(size, "picture", "pictures")) }
                    "."
                }
            }
            p.muted { "Its id is not given again. The same picture may be uploaded under another one." }
            p.actions {
                a.button href={ "/v1/images/" (urls::encode(id.as_str())) "/erasure" } { "Look for what is left of it" }
            }
        }
    };
    let page = Page::new(app, id.as_str(), Nav::None);
    Ok((StatusCode::GONE, page.render(&content)).into_response())
}

fn content(
    image: &ImageView,
    explain: Option<&ExplainView>,
    made: &[CorrectionView],
    matches: &[BankMatchView],
) -> Markup {
    let is_picture = image.status != ImageStatus::Rejected;
    html! {
        div.split.wide-left {
            div.mat.large {
                @if is_picture {
                    a href=(urls::file(&image.id)) {
                        img src=(urls::file(&image.id)) alt=(image.name.as_deref().unwrap_or("the image"));
                    }
                } @else {
                    p.no-picture { "✕" }
                }
            }
            section.panel {
                (verdict_block(image, explain))
                @if !made.is_empty() {
                    p { a href="#made-title" { "Corrected by hand" } span.muted { " since it was decided" } }
                }
                h1.id { (given(&image.id)) }
                (facts(image))
                p.actions {
                    a.button href=(urls::file(&image.id)) { "Original file" }
                    @if explain.is_some() {
                        a.button href={ "/v1/images/" (urls::encode(&image.id)) "/explain" } { "Explanation as JSON" }
                    }
                }
            }
        }
        @if let Some(explain) = explain { (why(explain, &image.id)) }
        (of_image(matches))
        @if explain.is_some() { (erase_block()) }
        @if !made.is_empty() {
            section.why aria-labelledby="made-title" {
                h2 #made-title { "Corrections by hand" }
                (corrections::list(made))
            }
        }
    }
}

/// Opened first, so that one click erases nothing.
fn erase_block() -> Markup {
    html! {
        details.erase {
            summary { "Erase this picture …" }
            p {
                "It leaves its cluster, the index, the log and the disk, for good; nothing brings it back. Say above "
                "who wants it and why: that is kept, with its id."
            }
            button.button.danger type="button" data-correct="erase" hidden { "Erase it for good" }
        }
    }
}

fn verdict_block(image: &ImageView, explain: Option<&ExplainView>) -> Markup {
    let Some(decision) = &image.decision else {
        return match &image.rejection {
            Some(rejection) => html! {
                p.verdict data-kind="rejected" { "Not a picture" }
                p { (rejection.message) " " code { (rejection.code) } }
            },
            None if !image.waiting_for.is_empty() => html! {
                p.verdict data-kind="pending" { "Waits for an embedding" }
                p { "Missing: " (image.waiting_for.join(", ")) "." }
                p.muted { "Stored. It is decided once what is missing has come; if that takes too long, it is listed among the " a href="/orphans" { "orphans" } "." }
            },
            None => html! {
                p.verdict data-kind="pending" { "Being decided" }
                p.muted { "Stored. This page will show the decision in a moment." }
            },
        };
    };
    html! {
        p.verdict data-kind=(kind(decision)) { (verdict(decision)) }
        @match decision.kind {
            DecisionKind::Rejected => {
                @if let Some(rejection) = &decision.rejection {
                    p { (rejection.message) " " code { (rejection.code) } }
                }
            }
            DecisionKind::NewCluster => { (cluster_line(image, decision)) }
            DecisionKind::Joined => {
                @if let Some(head) = &decision.canonical_id {
                    a.likeness href=(urls::image_page(head)) {
                        span.plate { (thumbnail(head, "")) }
                        span {
                            span.muted { "of" }
                            span.id { (given(head)) }
                            @if let (Some(value), Some(explain)) = (decision.score, explain) {
                                span.score-line { (score_bar(value, explain.threshold)) b { (score(value)) } }
                            }
                        }
                    }
                }
                (cluster_line(image, decision))
            }
        }
    }
}

fn cluster_line(image: &ImageView, decision: &Decision) -> Markup {
    let size = image.cluster_size.unwrap_or(decision.cluster_size);
    html! {
        @if let Some(head) = &decision.canonical_id {
            p {
                @if size > 1 {
                    a href=(urls::cluster_page(head)) { "Its cluster has " (counted(size, "picture", "pictures")) }
                } @else {
                    span.muted { "Nothing like it has come in so far." }
                }
            }
        }
    }
}

fn facts(image: &ImageView) -> Markup {
    html! {
        dl.facts {
            @if let Some(name) = &image.name { div { dt { "Name" } dd { (given(name)) } } }
            @if let Some(signature) = &image.signature {
                div { dt { "Picture" } dd {
                    (signature.width) " × " (signature.height) " " (format_name(&signature.format))
                } }
            }
            div { dt { "File" } dd { (byte_size(image.num_bytes)) } }
            div { dt { "Uploaded" } dd { (moment(image.uploaded_ms)) } }
            @if let Some(decision) = &image.decision {
                div { dt { "Decided" } dd {
                    (moment(decision.decided_ms))
                    span.muted { " after " (decision.decided_ms.saturating_sub(decision.uploaded_ms)) " ms" }
                } }
            }
            div { dt { "SHA-256" } dd.digest { (image.sha256) } }
            @if let Some(signature) = &image.signature {
                div { dt { "PDQ" } dd.digest { (signature.pdq) } }
                div { dt { "PDQ quality" } dd {
                    (signature.pdq_quality) " of 100"
                    @if signature.pdq_quality < 50 { span.muted { " (says little)" } }
                } }
                div { dt { "Plain ground" } dd { (signature.flatness) " % of the edge" } }
                div { dt { "Model" } dd { (given(&signature.model)) } }
            }
        }
    }
}

fn why(explain: &ExplainView, image: &str) -> Markup {
    html! {
        section.why aria-labelledby="why-title" {
            h2 #why-title { "Why" }
            p.lead { (explain.rule) }
            p.muted {
                (counted(explain.num_indexed, "image", "images")) " in the index, "
                (counted(explain.num_candidates.into(), "candidate", "candidates")) ", "
                (count(explain.num_recent.into())) " decided meanwhile, "
                (counted(explain.num_scored.into(), "pair", "pairs")) " scored by "
                (given(&explain.scorer)) ". A pair needs " b { (score(explain.threshold)) } ". Index: "
                (given(&explain.index)) "."
            }
            @if explain.candidates.is_empty() {
                p { "There was nothing to compare it with." }
                (bar(&Subject::Image(image)))
            } @else {
                (bar(&Subject::Image(image)))
                div.scroll tabindex="0" role="region" aria-label="Candidates" {
                    table {
                        thead { tr {
                            th scope="col" { span.hidden { "Picture" } }
                            th scope="col" { "Candidate" }
                            th scope="col" { "Score" }
                            th.number scope="col" { "Cosine" }
                            th.number scope="col" title="Bits that differ, of 256" { "PDQ distance" }
                            th.number scope="col" { "PDQ quality" }
                            th.number scope="col" title="Plain ground around both pictures; the more, the higher the cosine must be" { "Plain" }
                            th scope="col" { "Found" }
                            th scope="col" { span.hidden { "Correct by hand" } }
                        } }
                        tbody.gallery {
                            @for candidate in &explain.candidates {
                                (candidate_row(candidate, explain.threshold))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn candidate_row(candidate: &CandidateView, threshold: f32) -> Markup {
    let found = match candidate.source {
        CandidateSource::Index => "in the index",
        CandidateSource::Recent => "among the latest",
        CandidateSource::Head => "as a candidate's head",
    };
    html! {
        tr {
            td.picture { span.plate { (thumbnail(&candidate.id, "")) } }
            th scope="row" {
                a.id data-item href=(urls::image_page(&candidate.id)) { (given(&candidate.id)) }
                @if candidate.exact_copy { " " span.tag { "same bytes" } }
                @if candidate.head != candidate.id {
                    span.muted { "in the cluster of " a href=(urls::cluster_page(&candidate.head)) { (given(&candidate.head)) } }
                }
            }
            td { span.score-line { (score_bar(candidate.score, threshold)) b { (score(candidate.score)) } } }
            td.number { (format!("{:.3}", candidate.cosine)) }
            td.number { (candidate.pdq_distance) }
            td.number { (candidate.pdq_quality) }
            td.number { (candidate.flat_percent) " %" }
            td.muted {
                (found)
                @if let Some(view) = &candidate.view {
                    span title=(format!("{} × {} pixels at {}, {}", view.width, view.height, view.x, view.y)) { ", " (view.in_words()) }
                }
            }
            td.corrects {
                button.button type="button" data-correct="always" data-other=(candidate.id) title="Always in one cluster" hidden { "Same" }
                button.button type="button" data-correct="never" data-other=(candidate.id) title="Never in one cluster" hidden { "Different" }
            }
        }
    }
}
