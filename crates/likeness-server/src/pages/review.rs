use std::sync::Arc;

use axum::extract::{Query, State};
use likeness_core::ImageId;
use likeness_engine::EngineError;
use likeness_engine::dedup::ReviewView;
use likeness_engine::dedup::view::ImageView;
use maud::{Markup, html};
use serde::Deserialize;

use super::PageError;
use super::clusters::format_name;
use super::layout::{Nav, Page};
use super::parts::{byte_size, count, counted, given, moment, pager, score, score_bar, thumbnail};
use crate::app::App;
use crate::assets::Asset;
use crate::urls;

/// Pairs on a page: what a person gets through before the next is loaded.
const PAIRS_PER_PAGE: usize = 20;

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    cursor: Option<String>,
}

/// A pair with what is known of its images; nothing of one that is gone since.
struct Shown {
    pair: ReviewView,
    images: [Option<ImageView>; 2],
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    Query(query): Query<ListQuery>,
) -> Result<Markup, PageError> {
    let fail = |error: EngineError| PageError::new(&app, error);
    let cursor = query.cursor.as_deref();
    let found = app
        .dedup
        .reviews(cursor, PAIRS_PER_PAGE)
        .await
        .map_err(fail)?;
    let (open, labels) = app.dedup.review_counts().await.map_err(fail)?;
    let mut shown = Vec::with_capacity(found.items.len());
    for pair in found.items {
        let images = [image(&app, &pair.a).await?, image(&app, &pair.b).await?];
        shown.push(Shown { pair, images });
    }
    let page = Page {
        module: (!shown.is_empty()).then_some(Asset::Review),
        ..Page::new(&app, "Review", Nav::Review)
    };
    let content = html! {
        div.page-head {
            div {
                h1 { "Review" }
                p.muted { "Pairs that the scorer is least sure of, the most uncertain first. What you say of them becomes a label, from which the next scorer is trained." }
            }
            p.muted #progress role="status" data-open=(open) data-labels=(labels) {
                (count(open)) " waiting · " (counted(labels, "label", "labels"))
            }
        }
        @if shown.is_empty() {
            (nothing(cursor.is_some(), labels))
        } @else {
            (bar())
            (stage())
            ol.queue { @for shown in &shown { (row(shown)) } }
            (pager(
                cursor.map(|_| "/review".to_owned()),
                found.next.as_deref().map(|next| format!("/review?cursor={}", urls::encode(next))),
            ))
        }
    };
    Ok(page.render(&content))
}

async fn image(app: &App, id: &str) -> Result<Option<ImageView>, PageError> {
    let id = ImageId::new(id).map_err(|error| PageError::new(app, EngineError::from(error)))?;
    match app.dedup.image(&id).await {
        Ok(image) => Ok(Some(image)),
        Err(EngineError::ImageNotFound(_)) => Ok(None),
        Err(error) => Err(PageError::new(app, error)),
    }
}

fn nothing(is_later_page: bool, labels: u64) -> Markup {
    html! {
        section.blank {
            h2 { @if is_later_page { "No more pairs" } @else { "Nothing to review" } }
            p { "A pair is queued when an image is decided and its score with the best head lies near the threshold, on either side." }
            p.actions {
                @if is_later_page { a.button.primary href="/review" { "First page" } }
                @if labels > 0 { a.button href="/v1/labels?limit=500" { "Labels as NDJSON" } }
                a.button href="/scorers/compare" { "Compare scorers" }
            }
        }
    }
}

/// Who and why, and what is done with many at once. Shown by the page's JavaScript.
fn bar() -> Markup {
    html! {
        section.correct #review aria-label="How to answer" hidden {
            div.fields {
                label { span { "Who" } input #review-author type="text" maxlength="200" autocomplete="username"; }
                label.wide { span { "Why" } input #review-reason type="text" maxlength="500" value="looked at the two"; }
            }
            div.actions {
                label.check { input #review-correct type="checkbox" checked; span { "Also keep them together, or apart" } }
            }
            p #review-status role="status" {}
        }
    }
}

/// The buttons of an answer; of the one that is shown, or of all that are picked.
fn verdicts(scope: &str) -> Markup {
    let answers = [
        ("same", "Same", "s"),
        ("different", "Different", "d"),
        ("skip", "Skip", "space"),
    ];
    html! {
        @for (verdict, name, key) in answers {
            button.button type="button" data-verdict=(verdict) data-scope=(scope) hidden[scope == "bulk"] {
                @if scope == "bulk" { "All " (name.to_lowercase()) } @else { (name) kbd { (key) } }
            }
        }
    }
}

/// Where the pair that is looked at is shown large.
fn stage() -> Markup {
    let modes = [
        ("side", "Side by side"),
        ("overlay", "Overlay"),
        ("difference", "Difference"),
    ];
    html! {
        section.stage #stage aria-label="The pair" hidden {
            div.stage-head {
                div.switch role="group" aria-label="How to look at them" {
                    @for (mode, name) in modes {
                        button type="button" data-mode=(mode) aria-pressed=(if mode == "side" { "true" } else { "false" }) { (name) }
                    }
                }
                span.muted #place {}
            }
            div.compare #compare data-mode="side" {
                img #stage-a alt="the earlier picture";
                img #stage-b alt="the new picture";
            }
            label.slide #slide-row {
                span.hidden { "How much of the new picture is seen" }
                input #slide type="range" min="0" max="100" value="50";
            }
            div.actions {
                (verdicts("one"))
                button.button type="button" #undo disabled { "Undo" kbd { "u" } }
                span.muted #picked role="status" { "x picks several to answer at once" }
                (verdicts("bulk"))
            }
        }
    }
}

fn row(shown: &Shown) -> Markup {
    let Shown { pair, images } = shown;
    html! {
        li.review data-review data-pair=(pair.pair) data-a=(urls::thumbnail(&pair.a)) data-b=(urls::thumbnail(&pair.b)) {
            button.plate.pair type="button" data-select aria-label={ "Look at the pair " (pair.pair) } {
                (thumbnail(&pair.a, "the earlier picture"))
                (thumbnail(&pair.b, "the new picture"))
            }
            label.pick hidden {
                span.hidden { "Pick the pair " (pair.pair) }
                input type="checkbox" data-pick=(pair.pair);
            }
            div.about {
                span.score-line { (score_bar(pair.score, pair.threshold)) b { (score(pair.score)) } }
                p.muted {
                    span.tag { @if pair.joined { "put together" } @else { "kept apart" } }
                    " threshold " (score(pair.threshold))
                    " · cosine " (format!("{:.3}", pair.cosine))
                    " · PDQ " (pair.pdq_distance) " bits at quality " (pair.pdq_quality)
                    @if let Some(view) = pair.view { " · " (view.in_words()) }
                    " · " (pair.scorer)
                }
                div.scroll { (facts(pair, images)) }
            }
        }
    }
}

fn facts(pair: &ReviewView, images: &[Option<ImageView>; 2]) -> Markup {
    let rows = [
        (&pair.a, &images[0], "earlier"),
        (&pair.b, &images[1], "new"),
    ];
    html! {
        table.facts-of-two {
            @for (id, image, which) in rows {
                tr {
                    th scope="row" { (which) }
                    td { a.id href=(urls::image_page(id)) { (given(id)) } }
                    @match image {
                        None => { td colspan="3" { "is gone" } }
                        Some(image) => {
                            td { @if let Some(name) = &image.name { (given(name)) } }
                            td.number {
                                @if let Some(signature) = &image.signature {
                                    (signature.width) " × " (signature.height) " " (format_name(&signature.format)) ", "
                                }
                                (byte_size(image.num_bytes))
                            }
                            td.muted { (moment(image.uploaded_ms)) }
                        }
                    }
                }
            }
        }
    }
}
