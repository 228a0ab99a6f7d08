//! The scorer: its threshold on its curve, what it reads, and how well it did.

use std::sync::Arc;

use axum::extract::State;
use likeness_engine::dedup::features::Tier;
use likeness_engine::dedup::scorer::{CurvePoint, Manifest};
use likeness_engine::dedup::scorer_view::ScorerView;
use maud::{Markup, html};

use super::layout::{Nav, Page};
use super::parts::{count, given, score};
use crate::app::App;

/// Sides of the curve's picture, and the margin for its labels, in units of its view box.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 56.0;
/// Precision is drawn by its nines, up to so many.
const MAX_NINES: f64 = 6.0;

pub(super) async fn page(State(app): State<Arc<App>>) -> Markup {
    let view = app.dedup.scorer_view();
    Page::new(&app, "Scorer", Nav::None).render(&content(&view))
}

fn content(view: &ScorerView) -> Markup {
    html! {
        h1 { "Scorer " (given(&view.id)) }
        dl.facts {
            div { dt { "Threshold" } dd { (score(view.threshold))
                @if view.threshold.to_bits() != view.own_threshold.to_bits() {
                    " (configured; the scorer's own is " (score(view.own_threshold)) ")"
                } } }
            div { dt { "Least cosine" } dd { (score(view.cosine_floor)) } }
            @if let Some(grey) = view.grey {
                div { dt { "Close looks" } dd { "first scores from " (grey.low) " to " (grey.high)
                    ", at most " (view.max_looks) " an image" } }
            }
            @if let Some(manifest) = &view.manifest {
                div { dt { "Chosen by" } dd { (given(&manifest.threshold_by)) } }
                div { dt { "Made from" } dd { (given(&manifest.data)) } }
            }
        }
        @match &view.manifest {
            Some(manifest) => {
                section aria-labelledby="curve-title" {
                    h2 #curve-title { "Recall and precision" }
                    (curve(manifest, view.threshold))
                    p.muted { "Held-out pairs, at " (manifest.prior * 1e6) " copies in a million pairs." }
                    (figures(manifest))
                }
                section aria-labelledby="points-title" {
                    h2 #points-title { "Thresholds" }
                    (points(manifest, view.threshold))
                }
            }
            None => p.muted { "This scorer's file keeps no curve." }
        }
        section aria-labelledby="reads-title" {
            h2 #reads-title { "What it reads" }
            (reads(view))
        }
    }
}

/// Precision by its nines over recall; the threshold is a point on it.
fn curve(manifest: &Manifest, threshold: f32) -> Markup {
    let x = |recall: f64| MARGIN + recall * (WIDTH - MARGIN - 16.0);
    let y = |precision: f64| {
        let nines = -(1.0 - precision).max(1e-9).log10();
        HEIGHT - MARGIN / 2.0 - nines.clamp(0.0, MAX_NINES) / MAX_NINES * (HEIGHT - MARGIN)
    };
    let place = |point: &CurvePoint| format!("{:.1},{:.1}", x(point.recall), y(point.precision));
    let line: Vec<String> = manifest.curve.iter().map(place).collect();
    let at = at(manifest, threshold);
    let label = at.map_or_else(
        || "Recall and precision".to_owned(),
        |point| {
            format!(
                "Recall and precision: at the threshold {:.2} percent of copies are found, with a precision of {:.4} percent",
                100.0 * point.recall,
                100.0 * point.precision
            )
        },
    );
    html! {
        svg.curve viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(label) {
            @for nines in 0..=MAX_NINES as i32 {
                @let precision = 1.0 - 10f64.powi(-nines);
                line.curve-grid x1=(x(0.0)) x2=(x(1.0)) y1=(y(precision)) y2=(y(precision)) {}
                text.curve-label x=(x(0.0) - 6.0) y=(y(precision) + 4.0) text-anchor="end" {
                    (format!("{:.*} %", (nines - 2).max(0) as usize, 100.0 * precision))
                }
            }
            @for tenth in [0.0, 0.25, 0.5, 0.75, 1.0] {
                text.curve-label x=(x(tenth)) y=(HEIGHT - 4.0) text-anchor="middle" { (tenth * 100.0) " %" }
            }
            polyline.curve-line points=(line.join(" ")) {}
            @if let Some(point) = at {
                circle.curve-point cx=(x(point.recall)) cy=(y(point.precision)) r="6" {}
            }
        }
    }
}

/// Returns the point of the curve whose threshold is the nearest.
fn at(manifest: &Manifest, threshold: f32) -> Option<&CurvePoint> {
    manifest.curve.iter().min_by(|a, b| {
        let far = |point: &CurvePoint| (point.threshold - threshold).abs();
        far(a).total_cmp(&far(b))
    })
}

fn figures(manifest: &Manifest) -> Markup {
    html! {
        table {
            thead { tr { th { "Held out" } th { "Copies found" } th { "of" } th { "Strangers joined" } th { "of" } } }
            tbody {
                @for figures in &manifest.figures {
                    tr {
                        td { (given(&figures.kind)) }
                        td { (format!("{:.2} %", 100.0 * figures.held_out.recall)) }
                        td { (count(figures.held_out.recall_pairs)) }
                        td { (format!("{:.1e}", figures.held_out.fpr)) }
                        td { (count(figures.held_out.fpr_pairs)) }
                    }
                }
            }
        }
    }
}

fn points(manifest: &Manifest, threshold: f32) -> Markup {
    let current = at(manifest, threshold).map(|point| point.threshold.to_bits());
    html! {
        table {
            thead { tr { th { "Score" } th { "Recall" } th { "Strangers" } th { "Precision" } } }
            tbody {
                @for point in &manifest.curve {
                    tr aria-current=[(current == Some(point.threshold.to_bits())).then_some("true")] {
                        td { (format!("{:.6}", point.threshold)) }
                        td { (format!("{:.2} %", 100.0 * point.recall)) }
                        td { (format!("{:.1e}", point.fpr)) }
                        td { (format!("{:.4} %", 100.0 * point.precision)) }
                    }
                }
            }
        }
    }
}

fn reads(view: &ScorerView) -> Markup {
    html! {
        table {
            thead { tr { th { "Feature" } th { "What it is" } th { "Known" } } }
            tbody {
                @for feature in &view.reads {
                    tr {
                        td { (given(&feature.name)) }
                        td { (given(&feature.unit)) }
                        td { (match feature.tier {
                            Tier::Rows => "for every pair",
                            Tier::Look => "after a close look",
                        }) }
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
    fn the_threshold_is_the_nearest_point_of_the_curve() {
        let point = |threshold: f32, recall: f64, precision: f64| CurvePoint {
            threshold,
            recall,
            fpr: 1e-6,
            precision,
        };
        let manifest = Manifest {
            curve: vec![point(0.9, 0.8, 0.9999), point(0.5, 0.95, 0.99)],
            ..Manifest::default()
        };
        let drawn = curve(&manifest, 0.52).into_string();
        assert!(
            drawn.contains("95.00 percent of copies are found"),
            "{drawn}"
        );
        assert_eq!(drawn.matches("curve-point").count(), 1);
        let points = points(&manifest, 0.52).into_string();
        assert_eq!(points.matches("aria-current=\"true\"").count(), 1);
        // Nothing is drawn outside of the picture, whatever the file says.
        let certain = Manifest {
            curve: vec![point(1.0, 1.0, 1.0)],
            ..Manifest::default()
        };
        assert!(curve(&certain, 1.0).into_string().contains("cy=\"28\""));
    }
}
