use std::sync::Arc;

use axum::extract::{Query, State};
use likeness_core::ImageId;
use likeness_engine::EngineError;
use likeness_engine::dedup::view::Page as Listed;
use likeness_engine::dedup::{
    BankChange, Command, CorrectionOutcome, CorrectionView, FloodAct, ReviewVerdict,
};
use maud::{Markup, html};
use serde::Deserialize;

use super::PageError;
use super::layout::{Nav, Page};
use super::parts::{counted, given, moment, pager, thumbnail};
use crate::app::App;
use crate::assets::Asset;
use crate::urls;

const CORRECTIONS_PER_PAGE: usize = 40;
/// Members of a split that are shown.
const SHOWN_MEMBERS: usize = 4;
/// Corrections that an image's page lists.
pub(super) const OF_AN_IMAGE: usize = 20;

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    cursor: Option<String>,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Markup, PageError> {
    let fail = |error: EngineError| PageError::new(&app, error);
    let cursor = query.cursor.as_deref();
    let corrections = app
        .dedup
        .corrections(cursor, CORRECTIONS_PER_PAGE)
        .await
        .map_err(fail)?;
    let page = Page {
        // Without a correction there is nothing to undo.
        module: (!corrections.items.is_empty() || cursor.is_some()).then_some(Asset::Correct),
        ..Page::new(&app, "Corrections", Nav::Corrections)
    };
    Ok(page.render(&content(&corrections, cursor.is_some())))
}

fn content(corrections: &Listed<CorrectionView>, is_later_page: bool) -> Markup {
    html! {
        div.page-head {
            div {
                h1 { "Corrections" }
                p.muted { "What people changed by hand, newest first. Each survives every later run, and can be undone." }
            }
        }
        @if corrections.items.is_empty() && !is_later_page {
            section.blank {
                h2 { "Nothing was corrected so far" }
                p { "Open a cluster to split, merge or head it anew; open a picture to say what it is not a copy of." }
                p.actions { a.button href="/clusters" { "Clusters" } }
            }
        } @else {
            (bar(&Subject::None))
            (list(&corrections.items))
            (pager(
                is_later_page.then(|| "/corrections".to_owned()),
                corrections.next.as_deref().map(|next| format!("/corrections?cursor={}", urls::encode(next))),
            ))
        }
    }
}

/// What a page's corrections are about.
pub(super) enum Subject<'a> {
    None,
    Cluster(&'a str),
    Image(&'a str),
}

/// Who and why, and for a cluster what to do. Shown by the page's JavaScript, without which it could do
/// nothing.
pub(super) fn bar(subject: &Subject<'_>) -> Markup {
    let (cluster, image) = match subject {
        Subject::None => (None, None),
        Subject::Cluster(id) => (Some(*id), None),
        Subject::Image(id) => (None, Some(*id)),
    };
    html! {
        section.correct #correct aria-label="Correct by hand" data-cluster=[cluster] data-image=[image] hidden {
            div.fields {
                label { span { "Who" } input #correct-author type="text" maxlength="200" autocomplete="username"; }
                label.wide { span { "Why" } input #correct-reason type="text" maxlength="500" placeholder="others will read it"; }
            }
            @if cluster.is_some() {
                div.actions {
                    span.muted data-picked="" role="status" {}
                    button.button type="button" data-correct="split" data-needs="some" { "Split off together " kbd { "s" } }
                    button.button type="button" data-correct="alone" data-needs="some" { "Each on its own " kbd { "a" } }
                    button.button type="button" data-correct="head" data-needs="one" { "Make it the head " kbd { "h" } }
                    span.joined {
                        label.hidden for="correct-other" { "Id of the other cluster" }
                        input #correct-other type="text" placeholder="another cluster's id" maxlength="128" spellcheck="false";
                        button.button type="button" data-correct="merge" { "Merge it in" }
                    }
                }
            }
            p #correct-status role="status" {}
        }
    }
}

/// A table of corrections with a button to take each back.
pub(super) fn list(corrections: &[CorrectionView]) -> Markup {
    html! {
        ol.corrections {
            @for correction in corrections { (row(correction)) }
        }
    }
}

fn row(correction: &CorrectionView) -> Markup {
    let is_standing =
        correction.outcome == CorrectionOutcome::Applied && correction.undone_by.is_none();
    let cannot = matches!(
        correction.command,
        Command::Undo { .. }
            | Command::Erase { .. }
            | Command::Flood(_)
            | Command::Bank(BankChange::Delete { .. })
    );
    let can_undo = is_standing && !cannot;
    html! {
        li.standing[is_standing] id={ "correction-" (correction.sequence) } {
            span.what { (pictures(&correction.command)) (sentence(&correction.command)) }
            span.why-line { (given(&correction.reason)) }
            span.muted {
                "#" (correction.sequence) " · " (given(&correction.author)) " · " (moment(correction.time_ms))
                @match &correction.outcome {
                    CorrectionOutcome::Applied => {
                        @if let Some(refusal) = &correction.not_corrected {
                            " · the label stands, the clusters do not follow: " (refusal.message)
                        }
                        @if let Some(by) = correction.undone_by {
                            " · " span.tag { "undone by #" (by) }
                        }
                    }
                    CorrectionOutcome::Refused { code, message } => {
                        " · " span.tag.bad { "refused" } " " (message) " " code { (code) }
                    }
                }
            }
            @if can_undo {
                button.button type="button" data-correct="undo" data-sequence=(correction.sequence) hidden { "Undo" }
            }
        }
    }
}

fn pictures(command: &Command) -> Markup {
    let ids: Vec<&str> = match command {
        Command::Split { members, .. } | Command::Move { members, .. } => {
            let shown = members.iter().take(SHOWN_MEMBERS);
            shown.map(ImageId::as_str).collect()
        }
        Command::Merge { into, from } | Command::Fold { into, from } => {
            vec![into.as_str(), from.as_str()]
        }
        Command::ReHead { head, .. } => vec![head.as_str()],
        Command::NeverTogether { a, b }
        | Command::AlwaysTogether { a, b }
        | Command::Label { a, b, .. } => vec![a.as_str(), b.as_str()],
        Command::Flood(
            FloodAct::Quarantine { cluster }
            | FloodAct::Confirm { cluster, .. }
            | FloodAct::Release { cluster, .. },
        ) => vec![cluster.as_str()],
        Command::Bank(_) | Command::Flood(_) | Command::Undo { .. } | Command::Erase { .. } => {
            Vec::new()
        }
    };
    html! {
        @for id in ids { span.plate { (thumbnail(id, "")) } }
    }
}

fn sentence(command: &Command) -> Markup {
    let cluster = |id: &str| html! { a.id href=(urls::cluster_page(id)) { (given(id)) } };
    let image = |id: &str| html! { a.id href=(urls::image_page(id)) { (given(id)) } };
    html! {
        @match command {
            Command::Split { cluster: id, members, each_alone } => {
                span {
                    (counted(members.len() as u64, "picture", "pictures")) " split off from " (cluster(id.as_str()))
                    @if *each_alone && members.len() > 1 { ", each on its own" }
                }
            }
            Command::Move { into, members } => {
                span {
                    (counted(members.len() as u64, "picture", "pictures"))
                    @match into {
                        Some(into) => { " moved to " (cluster(into.as_str())) }
                        None => { " moved to a cluster of their own" }
                    }
                }
            }
            Command::Merge { into, from } | Command::Fold { into, from } => {
                span { (cluster(from.as_str())) " merged into " (cluster(into.as_str())) }
            }
            Command::ReHead { cluster: id, head } => {
                span { (image(head.as_str())) " made the head of " (cluster(id.as_str())) }
            }
            Command::NeverTogether { a, b } => {
                span { (image(a.as_str())) " and " (image(b.as_str())) " never together" }
            }
            Command::AlwaysTogether { a, b } => {
                span { (image(a.as_str())) " and " (image(b.as_str())) " always together" }
            }
            Command::Bank(change) => { span { (bank_sentence(change)) } }
            Command::Flood(act) => {
                @match act {
                    FloodAct::Acknowledge { alarm } => { span { a href={ "/alarms#alarm-" (alarm) } { "alarm #" (alarm) } " seen" } }
                    FloodAct::Quarantine { cluster: id } => { span { (cluster(id.as_str())) " put under quarantine" } }
                    FloodAct::Confirm { cluster: id, bank } => {
                        span { "quarantine of " (cluster(id.as_str())) " confirmed" @if let Some(bank) = bank { ", its head now in the bank " (bank_link(bank)) } }
                    }
                    FloodAct::Release { cluster: id, for_good } => {
                        span { (cluster(id.as_str())) " released" @if *for_good { " for good" } }
                    }
                }
            }
            Command::Label { a, b, verdict, .. } => {
                span {
                    (image(a.as_str())) " and " (image(b.as_str()))
                    @match verdict {
                        ReviewVerdict::Same => " labelled the same",
                        ReviewVerdict::Different => " labelled different",
                        ReviewVerdict::Skip => " skipped in the review",
                    }
                }
            }
            Command::Erase { image: id } => {
                span { (image(id.as_str())) " erased" }
            }
            Command::Undo { correction } => {
                span { "correction #" (correction) " undone" }
            }
        }
    }
}

fn bank_link(name: &str) -> Markup {
    html! { a.id href=(urls::bank_page(name)) { (given(name)) } }
}

fn bank_sentence(change: &BankChange) -> Markup {
    let bank = bank_link(change.bank());
    html! {
        @match change {
            BankChange::Create { negative, .. } => { @if *negative { "negative bank " } @else { "bank " } (bank) " made" }
            BankChange::Set { threshold, share, enabled, .. } => {
                "bank " (bank) " set"
                @if let Some(threshold) = threshold { ": threshold " (threshold) }
                @if let Some(share) = share { ", share " (share) }
                @if let Some(enabled) = enabled { @if *enabled { ", on" } @else { ", off" } }
            }
            BankChange::Delete { .. } => { "bank " (bank) " deleted" }
            BankChange::Add { references, .. } => { (counted(references.len() as u64, "picture", "pictures")) " added to the bank " (bank) }
            BankChange::Remove { references, .. } => { (counted(references.len() as u64, "picture", "pictures")) " removed from the bank " (bank) }
        }
    }
}
