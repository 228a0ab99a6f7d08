use std::sync::Arc;

use axum::extract::{Path, Query, State};
use likeness_engine::EngineError;
use likeness_engine::dedup::view::Page as Listed;
use likeness_engine::dedup::{BankMatchView, BankView, ReferenceView};
use maud::{Markup, html};
use serde::Deserialize;

use super::PageError;
use super::corrections::{Subject, bar};
use super::layout::{Nav, Page};
use super::parts::{count, counted, given, moment, pager, score, score_bar, thumbnail};
use crate::app::App;
use crate::assets::Asset;
use crate::urls;

const REFERENCES_PER_PAGE: usize = 24;
const MATCHES_PER_PAGE: usize = 24;

#[derive(Debug, Deserialize)]
pub(super) struct BankQuery {
    /// Where the page of references begins.
    references: Option<String>,
    /// Where the page of matches begins.
    matches: Option<String>,
}

pub(super) async fn list_page(State(app): State<Arc<App>>) -> Result<Markup, PageError> {
    let fail = |error: EngineError| PageError::new(&app, error);
    let banks = app.dedup.banks().await.map_err(fail)?;
    let page = Page {
        module: Some(Asset::Correct),
        ..Page::new(&app, "Banks", Nav::Banks)
    };
    Ok(page.render(&list(&banks)))
}

fn list(banks: &[BankView]) -> Markup {
    html! {
        div.page-head {
            div {
                h1 { "Banks" }
                p.muted { "Sets of reference pictures. Every upload is compared with them; what matches is an event, and stays alone if the bank is negative." }
            }
        }
        @if banks.is_empty() {
            section.blank {
                h2 { "No banks yet" }
                p { "Make one for known spam, for example, and give it a few pictures." }
            }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Banks" {
                table {
                    thead { tr {
                        th scope="col" { "Name" }
                        th scope="col" { "What it does" }
                        th.number scope="col" { "Threshold" }
                        th.number scope="col" title="Share of uploads that take part" { "Share" }
                        th.number scope="col" { "References" }
                        th.number scope="col" { "Matches" }
                    } }
                    tbody.gallery {
                        @for bank in banks {
                            tr {
                                th scope="row" { a.id data-item href=(urls::bank_page(&bank.name)) { (given(&bank.name)) } }
                                td { (kind(bank)) }
                                td.number { (score(bank.threshold)) }
                                td.number { (percent(bank.share)) }
                                td.number { (count(bank.references)) }
                                td.number { (count(bank.matches)) }
                            }
                        }
                    }
                }
            }
        }
        h2 { "A new bank" }
        (bar(&Subject::None))
        section.correct.bank-form aria-label="New bank" {
            div.fields {
                label { span { "Name" } input #bank-name type="text" maxlength="64" pattern="[a-z0-9_\\-]+" placeholder="spam" spellcheck="false"; }
                label { span { "Threshold" } input #bank-threshold type="number" min="0" max="1" step="0.01" value="0.9"; }
                label { span { "Share of uploads" } input #bank-share type="number" min="0" max="1" step="0.01" value="1"; }
                label.check { input #bank-negative type="checkbox"; span { "Negative: what matches stays alone" } }
            }
            div.actions { button.button.primary type="button" data-correct="bank-create" hidden { "Make it" } }
        }
    }
}

fn kind(bank: &BankView) -> Markup {
    html! {
        @if bank.negative { span.tag.bad { "negative" } } @else { span.tag { "reports" } }
        @if !bank.enabled { " " span.tag { "off" } }
    }
}

fn percent(share: f32) -> String {
    let percent = f64::from(share) * 100.0;
    let digits = format!("{percent:.2}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits} %")
}

pub(super) async fn bank_page(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(query): Query<BankQuery>,
) -> Result<Markup, PageError> {
    let read = async {
        let bank = app.dedup.bank(&name).await?;
        let references = app
            .dedup
            .bank_references(&name, query.references.as_deref(), REFERENCES_PER_PAGE)
            .await?;
        let matches = app
            .dedup
            .bank_matches(&name, query.matches.as_deref(), MATCHES_PER_PAGE)
            .await?;
        Ok::<_, EngineError>((bank, references, matches))
    };
    let (bank, references, matches) = read.await.map_err(|error| PageError::new(&app, error))?;
    let title = format!("Bank {name}");
    let page = Page {
        module: Some(Asset::Correct),
        ..Page::new(&app, &title, Nav::Banks)
    };
    Ok(page.render(&content(&bank, &references, &matches, &query)))
}

fn content(
    bank: &BankView,
    references: &Listed<ReferenceView>,
    matches: &Listed<BankMatchView>,
    query: &BankQuery,
) -> Markup {
    let url = urls::bank_page(&bank.name);
    html! {
        div.page-head {
            div {
                p.crumbs { a href="/banks" { "Banks" } }
                h1 { (given(&bank.name)) }
                p { (kind(bank)) " " span.muted { "made " (moment(bank.created_ms)) } }
            }
        }
        (bar(&Subject::None))
        section.correct.bank-form aria-label="Settings" data-bank=(bank.name) {
            div.fields {
                label { span { "Threshold" } input #bank-threshold type="number" min="0" max="1" step="any" value=(bank.threshold); }
                label { span { "Share of uploads" } input #bank-share type="number" min="0" max="1" step="any" value=(bank.share); }
                label.wide { span { "Pictures to add" } input #bank-files type="file" accept="image/*" multiple; }
            }
            div.actions {
                button.button type="button" data-correct="bank-set" data-bank=(bank.name) hidden { "Save settings" }
                button.button type="button" data-correct="bank-add" data-bank=(bank.name) hidden { "Add pictures" }
                button.button type="button" data-correct="bank-switch" data-bank=(bank.name) data-enabled=(!bank.enabled) hidden {
                    @if bank.enabled { "Switch it off" } @else { "Switch it on" }
                }
                button.button type="button" data-correct="bank-scan" data-bank=(bank.name) hidden { "Look at stored pictures" }
                button.button type="button" data-correct="bank-delete" data-bank=(bank.name) hidden { "Delete the bank" }
            }
            p.muted {
                (percent(bank.share)) " of uploads take part"
                @match &bank.scan {
                    Some(scan) if scan.is_done => {
                        "; " (counted(scan.scanned, "stored picture", "stored pictures")) " looked at, "
                        (counted(scan.matches, "match", "matches")) " found there"
                    }
                    Some(scan) => {
                        "; " (count(scan.scanned)) " of " (counted(scan.images, "stored picture", "stored pictures")) " looked at so far"
                    }
                    None => { "; stored pictures were not looked at" }
                }
                "."
            }
        }
        section aria-labelledby="references-title" {
            h2 #references-title { (counted(bank.references, "reference", "references")) }
            @if references.items.is_empty() {
                p.muted { "Nothing matches a bank without references." }
            }
            ul.tiles.gallery {
                @for reference in &references.items { (reference_tile(&bank.name, reference)) }
            }
            (pager(
                query.references.is_some().then(|| url.clone()),
                references.next.as_deref().map(|next| format!("{url}?references={}", urls::encode(next))),
            ))
        }
        section aria-labelledby="matches-title" {
            h2 #matches-title { (counted(bank.matches, "match", "matches")) " when decided" }
            @if matches.items.is_empty() {
                p.muted { "No picture has matched so far." }
            }
            ul.tiles.gallery {
                @for found in &matches.items { (match_tile(&bank.name, found)) }
            }
            (pager(
                query.matches.is_some().then(|| url.clone()),
                matches.next.as_deref().map(|next| format!("{url}?matches={}", urls::encode(next))),
            ))
        }
    }
}

fn reference_tile(bank: &str, reference: &ReferenceView) -> Markup {
    let name = reference
        .name
        .as_deref()
        .or(reference.image.as_deref())
        .unwrap_or(&reference.sha256[..12]);
    html! {
        li.tile {
            span.plate.whole {
                img src=(urls::reference_thumbnail(bank, &reference.sha256)) alt="" loading="lazy" decoding="async";
            }
            span.caption {
                span.id {
                    @if let Some(image) = &reference.image {
                        a data-item href=(urls::image_page(image)) { (given(name)) }
                    } @else { (given(name)) }
                }
                span.muted { (reference.width) " × " (reference.height) " · " (given(&reference.author)) " · " (moment(reference.added_ms)) }
                span.muted { (given(&reference.reason)) }
                button.button type="button" data-correct="bank-remove" data-bank=(bank) data-reference=(reference.sha256) hidden { "Remove" }
            }
        }
    }
}

fn match_tile(bank: &str, found: &BankMatchView) -> Markup {
    html! {
        li.tile {
            a data-item href=(urls::image_page(&found.image)) {
                span.plate.pair {
                    (thumbnail(&found.image, "the image"))
                    img src=(urls::reference_thumbnail(bank, &found.reference)) alt="the reference" loading="lazy" decoding="async";
                    span.badge { (score(found.score)) }
                }
                span.caption {
                    span.score-line { (score_bar(found.score, found.threshold)) b { (score(found.score)) } }
                    span.id { (given(&found.image)) }
                    span.muted {
                        (moment(found.time_ms))
                        @if found.retroactive { " · found later" }
                    }
                }
            }
        }
    }
}

/// The banks that an image matched, for its page.
pub(super) fn of_image(matches: &[BankMatchView]) -> Markup {
    html! {
        @if !matches.is_empty() {
            section.why aria-labelledby="banks-title" {
                h2 #banks-title { "In banks" }
                ul.plain {
                    @for found in matches {
                        li {
                            a.id href=(urls::bank_page(&found.bank)) { (given(&found.bank)) }
                            @if found.negative { " " span.tag.bad { "negative" } }
                            " " span.score-line { (score_bar(found.score, found.threshold)) b { (score(found.score)) } }
                            span.muted {
                                " cosine " (format!("{:.3}", found.cosine)) ", PDQ distance " (found.pdq_distance)
                                ", drawn " (format!("{:.3}", found.draw)) " of a share of " (percent(found.share))
                                " · " (moment(found.time_ms))
                                @if found.retroactive { " · found later" }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_read_well() {
        assert_eq!(percent(0.1), "10 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.005), "0.5 %");
    }
}
