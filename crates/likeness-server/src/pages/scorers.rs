use std::sync::Arc;

use axum::extract::{Query, State};
use likeness_engine::EngineError;
use likeness_engine::dedup::{
    Agreement, ChangeKind, ChangedDecision, CompareOptions, ComparisonVerdict, ScorerComparison,
    ScorerSide, ScorerVersion,
};
use maud::{Markup, html};
use serde::Deserialize;

use super::PageError;
use super::layout::{Nav, Page};
use super::parts::{count, counted, given, score, thumbnail};
use crate::api::default_sample;
use crate::app::App;
use crate::urls;

#[derive(Debug, Deserialize)]
pub(super) struct CompareQuery {
    /// Nothing is compared before one is chosen.
    candidate: Option<String>,
    against: Option<String>,
    #[serde(default = "default_sample")]
    sample: usize,
    #[serde(default)]
    seed: u64,
}

pub(super) async fn page(
    State(app): State<Arc<App>>,
    Query(query): Query<CompareQuery>,
) -> Result<Markup, PageError> {
    let fail = |error: EngineError| PageError::new(&app, error);
    let versions = app.dedup.scorers().await.map_err(fail)?;
    let comparison = match query.candidate.clone().filter(|id| !id.is_empty()) {
        None => None,
        Some(candidate) => {
            let options = CompareOptions {
                candidate,
                against: query.against.clone().filter(|id| !id.is_empty()),
                sample: query.sample,
                seed: query.seed,
            };
            Some(app.dedup.compare_scorers(&options).await.map_err(fail)?)
        }
    };
    let content = html! {
        div.page-head {
            div {
                h1 { "Compare scorers" }
                p.muted { "What would change if another version decided. Looking changes nothing." }
            }
        }
        (choose(&versions, &query))
        @match &comparison {
            Some(comparison) => (result(comparison)),
            None => (nothing()),
        }
    };
    Ok(Page::new(&app, "Compare scorers", Nav::None).render(&content))
}

fn choose(versions: &[ScorerVersion], query: &CompareQuery) -> Markup {
    let select = |name: &str, label: &str, chosen: Option<&str>| {
        html! {
            label {
                span { (label) }
                select name=(name) {
                    @for version in versions {
                        option value=(version.id) selected[chosen == Some(version.id.as_str())] {
                            (version.id) @if version.is_live { " (decides now)" }
                        }
                    }
                }
            }
        }
    };
    let live = versions
        .iter()
        .find(|it| it.is_live)
        .map(|it| it.id.as_str());
    let last = versions.last().map(|it| it.id.as_str());
    html! {
        form.choose method="get" action="/scorers/compare" {
            (select("candidate", "Candidate", query.candidate.as_deref().or(last)))
            (select("against", "Against", query.against.as_deref().or(live)))
            input type="hidden" name="sample" value=(query.sample);
            input type="hidden" name="seed" value=(query.seed);
            button.button.primary type="submit" { "Compare" }
        }
    }
}

fn nothing() -> Markup {
    html! {
        section.blank {
            h2 { "Choose two versions" }
            p { "Or train one on the labels of the review queue, and keep it here to be compared." }
            pre { code { "likeness train scorer --help\nlikeness scorer add scorer.json" } }
            p.actions { a.button href="/review" { "Review pairs" } }
        }
    }
}

fn result(it: &ScorerComparison) -> Markup {
    let kind = match it.verdict {
        ComparisonVerdict::Better => "joined",
        ComparisonVerdict::Worse => "rejected",
        ComparisonVerdict::TooFewLabels | ComparisonVerdict::NoDifference => "pending",
    };
    html! {
        p.lead-verdict.verdict #verdict data-kind=(kind) { (it.in_words()) "." }
        dl.figures {
            div { dt { "decisions made again, of " (counted(it.images, "image", "images")) } dd { (count(it.sampled)) } }
            div { dt { "would no longer join" } dd { (count(it.join_to_alone)) } }
            div { dt { "would join" } dd { (count(it.alone_to_join)) } }
            div { dt { "would join another" } dd { (count(it.other_head)) } }
            div { dt { "of " (counted(it.reviews, "queued pair", "queued pairs")) " on another side" } dd { (count(it.reviews_changed)) } }
        }
        div.sides {
            (side(&it.candidate, "Candidate", it))
            (side(&it.against, "Against", it))
        }
        p.muted {
            "Labels on which one alone is right: " (it.candidate.id) " " (it.candidate_alone_right) ", "
            (it.against.id) " " (it.against_alone_right) ". Chance of that between two that are equally good: "
            (format!("{:.3}", it.chance)) " (McNemar's test). Seed " (it.seed) "."
            @if it.skipped > 0 { " " (counted(it.skipped, "image", "images")) " left out: what they were compared with is gone." }
        }
        section.why aria-labelledby="changed-title" {
            h2 #changed-title { "Decisions that would change" }
            @if it.changed.is_empty() {
                p.muted { "None of the sample." }
            } @else {
                ul.tiles.gallery { @for changed in &it.changed { (tile(changed)) } }
            }
        }
        section.why aria-labelledby="promote-title" {
            h2 #promote-title { "To promote it" }
            p { "Set " code { "dedup.scorer" } " to the file of the version, and start again: that opens a new generation. Images decided from then on are decided with it. What was decided stays as it was, with the score, threshold and scorer that decided it; " code { "likeness recluster" } " shows what deciding it anew would change." }
        }
    }
}

fn side(side: &ScorerSide, name: &str, it: &ScorerComparison) -> Markup {
    let rows = [
        ("Threshold", score(side.threshold)),
        (
            "Images that join",
            format!("{} of {}", count(side.joins), count(it.sampled)),
        ),
        (
            "Precision on labels",
            share(
                side.agreement.joins,
                &side.agreement,
                side.agreement.precision_interval,
            ),
        ),
        (
            "Recall on labels",
            share(
                side.agreement.copies,
                &side.agreement,
                side.agreement.recall_interval,
            ),
        ),
    ];
    html! {
        section {
            h2 { (name) " " (given(&side.id)) }
            (histogram(side))
            dl.facts { @for (what, value) in rows { div { dt { (what) } dd { (value) } } } }
        }
    }
}

fn share(total: u64, agreement: &Agreement, [low, high]: [f64; 2]) -> String {
    if total == 0 {
        return "no label says".to_owned();
    }
    let count = agreement.right_joins;
    let value = count as f64 / total as f64;
    format!("{value:.3}, {count} of {total} (95 %: {low:.3} to {high:.3})")
}

/// How many images score so much with their best head. Heights are logarithmic: most score next to nothing.
fn histogram(side: &ScorerSide) -> Markup {
    let height = |count: u64| (count as f64 + 1.0).ln();
    let most = side
        .histogram
        .iter()
        .copied()
        .map(height)
        .fold(1e-9, f64::max);
    let width = 100.0 / side.histogram.len().max(1) as f64;
    let threshold = f64::from(side.threshold) * 100.0;
    let label = format!("scores with the best head under {}, from 0 to 1", side.id);
    html! {
        svg.histogram viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label=(label) {
            @for (idx, &count) in side.histogram.iter().enumerate() {
                @let tall = height(count) / most * 38.0;
                rect.over[(idx as f64 + 1.0) * width > threshold] x=(format!("{:.2}", idx as f64 * width + 0.3)) y=(format!("{:.2}", 40.0 - tall))
                    width=(format!("{:.2}", width - 0.6)) height=(format!("{tall:.2}")) {
                    title { (count) }
                }
            }
            line x1=(format!("{threshold:.2}")) x2=(format!("{threshold:.2}")) y1="0" y2="40" {}
        }
    }
}

fn tile(changed: &ChangedDecision) -> Markup {
    let what = match changed.kind {
        ChangeKind::JoinToAlone => "Would no longer join",
        ChangeKind::AloneToJoin => "Would join",
        ChangeKind::OtherHead => "Would join another",
    };
    html! {
        li.tile {
            a data-item href=(urls::image_page(&changed.image)) {
                span.plate.pair { (thumbnail(&changed.image, "the image")) (thumbnail(&changed.head, "the head")) }
                span.caption {
                    span.verdict { (what) }
                    span.muted { (score(changed.score_now)) " now, " (score(changed.score_then)) " then" }
                    span.id { (given(&changed.image)) }
                }
            }
        }
    }
}
