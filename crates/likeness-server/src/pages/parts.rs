//! Pieces that several pages use.

use likeness_engine::dedup::view::{Decision, DecisionEvent, DecisionKind};
use maud::{Markup, html};

use crate::{time, urls};

/// A moment: UTC in the markup, made relative and local by the browser.
pub(crate) fn moment(millis: u64) -> Markup {
    let text = time::iso8601(millis);
    html! { time datetime=(text) data-ms=(millis) { (text.replace('T', " ").replace('Z', " UTC")) } }
}

/// A whole number with its thousands set apart.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 image`, `2 images`.
pub(crate) fn counted(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// A size in the largest unit that leaves at least one before the point.
pub(crate) fn byte_size(num_bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = num_bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1_024.0 {
            break;
        }
        value /= 1_024.0;
        unit = next;
    }
    if value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// A rate with as many digits as are worth reading.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second >= 100.0 {
        format!("{per_second:.0}")
    } else if per_second >= 0.05 {
        format!("{per_second:.1}")
    } else {
        "0".to_owned()
    }
}

/// A score, cut and not rounded: 0.9999 is not certainty.
pub(crate) fn score(value: f32) -> String {
    format!(
        "{:.3}",
        (f64::from(value) * 1_000.0 + 1e-4).floor() / 1_000.0
    )
}

/// Text that a user chose. Isolated, so that right-to-left marks in it disorder nothing around it.
pub(crate) fn given(text: &str) -> Markup {
    html! { bdi { (text) } }
}

/// Links to the first page and to the next one, as far as there are any.
pub(crate) fn pager(first: Option<String>, next: Option<String>) -> Markup {
    html! {
        @if first.is_some() || next.is_some() {
            nav.pager aria-label="Pages" {
                @if let Some(url) = first { a.button href=(url) { "First page" } }
                @if let Some(url) = next { a.button.primary href=(url) rel="next" { "Next page" } }
            }
        }
    }
}

/// A score on a scale from 0 to 1, with a tick at the threshold.
pub(crate) fn score_bar(value: f32, threshold: f32) -> Markup {
    let label = format!("score {}, threshold {}", score(value), score(threshold));
    let class = if value >= threshold {
        "bar over"
    } else {
        "bar"
    };
    html! {
        svg class=(class) viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label=(label) {
            rect.bar-track x="0" y="2" width="100" height="4" {}
            rect.bar-fill x="0" y="2" width=(percent(value)) height="4" {}
            rect.bar-tick x=(percent(threshold)) y="0" width="0.8" height="8" {}
        }
    }
}

fn percent(value: f32) -> String {
    format!("{:.1}", value.clamp(0.0, 1.0) * 100.0)
}

/// A thumbnail on its mat.
pub(crate) fn thumbnail(id: &str, alt: &str) -> Markup {
    html! { img src=(urls::thumbnail(id)) alt=(alt) loading="lazy" decoding="async"; }
}

/// What was decided, in words.
pub(crate) fn verdict(decision: &Decision) -> &'static str {
    match decision.kind {
        DecisionKind::NewCluster => "First of its kind",
        DecisionKind::Joined if decision.exact_copy => "Exact copy",
        DecisionKind::Joined => "Near-copy",
        DecisionKind::Rejected => "Not a picture",
    }
}

/// A decision as a tile: the image, beside the head that it is a copy of.
pub(crate) fn decision_tile(event: &DecisionEvent) -> Markup {
    let decision = &event.decision;
    let joined_head = match decision.kind {
        DecisionKind::Joined => decision.canonical_id.as_deref(),
        DecisionKind::NewCluster | DecisionKind::Rejected => None,
    };
    html! {
        li.tile {
            a data-item href=(urls::image_page(&decision.id)) {
                span.plate.pair[joined_head.is_some()] {
                    @if decision.kind == DecisionKind::Rejected {
                        span.no-picture aria-hidden="true" { "✕" }
                    } @else {
                        (thumbnail(&decision.id, "the new image"))
                    }
                    @if let Some(head) = joined_head {
                        (thumbnail(head, "the image that it is a copy of"))
                    }
                    @if let (Some(value), Some(_)) = (decision.score, joined_head) {
                        span.badge { (score(value)) }
                    }
                }
                span.caption {
                    span.verdict data-kind=(kind(decision)) { (verdict(decision)) }
                    span.id { (given(&decision.id)) }
                    span.muted { (moment(decision.decided_ms)) }
                }
            }
        }
    }
}

/// The kind of decision as CSS knows it.
pub(crate) fn kind(decision: &Decision) -> &'static str {
    match decision.kind {
        DecisionKind::NewCluster => "new",
        DecisionKind::Joined => "joined",
        DecisionKind::Rejected => "rejected",
    }
}

/// How to get pictures in, for pages that have nothing to show yet.
pub(crate) fn how_to_ingest(title: &str) -> Markup {
    html! {
        section.blank {
            p.blank-mark aria-hidden="true" { span.frame {} span.frame.solid {} }
            h1 { (title) }
            p { "Bring some pictures in. Each is compared with all that came before, and either joins a cluster or begins one." }
            p.actions { a.button.primary href="/upload" { "Upload pictures" } }
            p.muted { "or from a terminal" }
            pre { code { "curl -F file=@photo.jpg " span data-origin { "http://localhost" } "/v1/images?wait=true" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(12_345_678), "12,345,678");
        assert_eq!(counted(1, "image", "images"), "1 image");
        assert_eq!(byte_size(0), "0 B");
        assert_eq!(byte_size(1_536), "1.5 KiB");
        assert_eq!(byte_size(32 << 20), "32 MiB");
        assert_eq!(byte_size(300 << 20), "300 MiB");
        assert_eq!(rate(0.0), "0");
        assert_eq!(rate(12.34), "12.3");
    }

    #[test]
    fn a_score_short_of_one_never_reads_as_one() {
        assert_eq!(score(0.999_96), "0.999");
        assert_eq!(score(1.0), "1.000");
        assert_eq!(score(0.5), "0.500");
    }

    #[test]
    fn hostile_text_is_escaped() {
        let markup = given("<script>alert(1)</script>\u{202e}").into_string();
        assert!(!markup.contains("<script"), "{markup}");
    }
}
