use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use super::layout::{Nav, Page};
use super::parts::byte_size;
use crate::app::App;
use crate::assets::Asset;

pub(super) async fn page(State(app): State<Arc<App>>) -> Markup {
    let page = Page {
        module: Some(Asset::Upload),
        ..Page::new(&app, "Upload", Nav::Upload)
    };
    let max_bytes = app.max_image_bytes();
    page.render(&html! {
        div.page-head {
            div {
                h1 { "Upload" }
                p.muted { "Each picture gets its verdict: new, or a copy of which one." }
            }
            label.toggle {
                input #match-only type="checkbox";
                span.track aria-hidden="true" {}
                span { "Match without storing" }
            }
        }
        // Without JavaScript the form still stores one picture and answers with JSON.
        form #upload method="post" action="/v1/images?wait=true" enctype="multipart/form-data"
            data-max-bytes=(max_bytes) {
            label.drop for="files" {
                span.drop-frames aria-hidden="true" { span.frame {} span.frame.solid {} }
                strong { "Drop pictures here, paste, or choose files" }
                span.muted {
                    "JPEG, PNG, WebP, GIF, BMP or TIFF, up to " (byte_size(max_bytes)) " each"
                }
                input #files type="file" name="file" accept="image/*" multiple required;
            }
            noscript { button.button.primary type="submit" { "Upload" } }
        }
        p.summary #summary role="status" {}
        ul.verdicts.gallery #verdicts aria-label="Verdicts" {}
        (verdict_template())
    })
}

/// The row that the page's JavaScript fills for every file.
fn verdict_template() -> Markup {
    html! {
        template #verdict {
            li.verdict-row {
                span.plate.this-picture { img alt=""; }
                a.that-picture hidden {
                    span.plate { img alt="the picture that it is a copy of"; }
                }
                div.words {
                    span.verdict data-kind="pending" { "Waiting" }
                    span.name { bdi {} }
                    span.detail.muted {}
                    span.score-line hidden {}
                }
            }
        }
    }
}
