use maud::{DOCTYPE, Markup, html};

use crate::app::App;
use crate::assets::{self, Asset};

/// Entries of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nav {
    None,
    Overview,
    Clusters,
    Review,
    Corrections,
    Banks,
    Alarms,
    Orphans,
    Pins,
    Sql,
    Jobs,
    Upload,
}

/// What surrounds the content of a page.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    pub(crate) nav: Nav,
    /// JavaScript of this page alone.
    pub(crate) module: Option<Asset>,
    /// Whether to offer logging out.
    pub(crate) has_keys: bool,
    /// Whether embeddings come from elsewhere, so that there can be orphans.
    pub(crate) has_join: bool,
    /// Load again in two seconds: something is about to change.
    pub(crate) refresh: bool,
}

impl<'a> Page<'a> {
    pub(crate) fn new(app: &App, title: &'a str, nav: Nav) -> Self {
        Self {
            title,
            nav,
            module: None,
            has_keys: !app.config.keys.is_empty(),
            has_join: !app.dedup.config().join.is_off(),
            refresh: false,
        }
    }

    pub(crate) fn render(&self, content: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    @if self.refresh { meta http-equiv="refresh" content="2"; }
                    title { (self.title) " · likeness" }
                    link rel="icon" type="image/svg+xml" href=(assets::url(Asset::Icon));
                    link rel="stylesheet" href=(assets::url(Asset::Style));
                    // Not a module: it must run before the first paint, or a remembered theme flashes.
                    script src=(assets::url(Asset::Theme)) {}
                    script type="module" src=(assets::url(Asset::Base)) {}
                    @if let Some(module) = self.module {
                        script type="module" src=(assets::url(module)) {}
                    }
                }
                body {
                    a.skip href="#main" { "Skip to content" }
                    (self.header())
                    main #main tabindex="-1" { (content) }
                    footer.bottom {
                        span { "likeness " (env!("CARGO_PKG_VERSION")) }
                        a href="/openapi.json" { "API" }
                        a href="/metrics" { "Metrics" }
                        @if self.has_keys {
                            form method="post" action="/logout" {
                                button.link type="submit" { "Log out" }
                            }
                        }
                    }
                    (help())
                }
            }
        }
    }

    fn header(&self) -> Markup {
        html! {
            header.top {
                a.brand href="/" aria-label="likeness, overview" { (mark()) span { "likeness" } }
                nav aria-label="Main" {
                    (self.link(Nav::Overview, "/", "Overview"))
                    (self.link(Nav::Clusters, "/clusters", "Clusters"))
                    (self.link(Nav::Review, "/review", "Review"))
                    (self.link(Nav::Corrections, "/corrections", "Corrections"))
                    (self.link(Nav::Banks, "/banks", "Banks"))
                    (self.link(Nav::Alarms, "/alarms", "Alarms"))
                    @if self.has_join { (self.link(Nav::Orphans, "/orphans", "Orphans")) }
                    (self.link(Nav::Pins, "/pins", "Pins"))
                    (self.link(Nav::Sql, "/sql", "SQL"))
                    (self.link(Nav::Jobs, "/jobs", "Jobs"))
                    (self.link(Nav::Upload, "/upload", "Upload"))
                }
                form.search role="search" action="/go" method="get" {
                    label.hidden for="search" { "Go to an image by its id" }
                    input #search type="search" name="id" placeholder="Image id" autocomplete="off"
                        spellcheck="false" maxlength="128" required;
                    kbd aria-hidden="true" { "/" }
                }
                div.tools {
                    button.icon #theme type="button" aria-label="Switch between light and dark"
                        title="Light or dark" hidden { (theme_icon()) }
                    button.icon #help-open type="button" aria-label="Keyboard shortcuts"
                        title="Keyboard shortcuts" hidden { "?" }
                }
            }
        }
    }

    fn link(&self, nav: Nav, href: &str, text: &str) -> Markup {
        let current = (self.nav == nav).then_some("page");
        html! { a href=(href) aria-current=[current] { (text) } }
    }
}

/// The mark: a picture and its likeness.
fn mark() -> Markup {
    html! {
        svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" {
            rect.mark-back x="8.75" y="2.75" width="12.5" height="12.5" rx="3" {}
            rect.mark-front x="2" y="8" width="14" height="14" rx="3.5" {}
        }
    }
}

fn theme_icon() -> Markup {
    html! {
        svg viewBox="0 0 24 24" width="18" height="18" aria-hidden="true" {
            circle cx="12" cy="12" r="8.25" fill="none" stroke="currentColor" stroke-width="1.5" {}
            path d="M12 3.75a8.25 8.25 0 0 1 0 16.5z" fill="currentColor" {}
        }
    }
}

fn help() -> Markup {
    let shortcuts: [(&[&str], &str); 20] = [
        (&["/"], "Go to an image by its id"),
        (&["g", "o"], "Overview"),
        (&["g", "c"], "Clusters"),
        (&["g", "v"], "Review"),
        (&["g", "r"], "Corrections"),
        (&["g", "b"], "Banks"),
        (&["g", "a"], "Alarms"),
        (&["g", "p"], "Pins"),
        (&["g", "q"], "SQL"),
        (&["g", "u"], "Upload"),
        (&["j", "k"], "Next and previous picture"),
        (&["←", "↑", "↓", "→"], "Move over a gallery"),
        (&["x"], "In a cluster: pick the picture"),
        (
            &["s", "a", "h"],
            "Split the picked off, each alone, make it the head",
        ),
        (&["s", "d", "space"], "In the review: same, different, skip"),
        (&["u"], "In the review: take the last answer back"),
        (&["v"], "In the review: side by side, overlay, difference"),
        (&["Ctrl", "↵"], "In the editor of SQL: run the query"),
        (&["t"], "Light or dark"),
        (&["?"], "This help"),
    ];
    html! {
        dialog #help aria-labelledby="help-title" {
            // The dialog itself has no padding, so that a click on it is a click beside its content.
            div.help-body {
                form method="dialog" {
                    h2 #help-title { "Keyboard" }
                    button.icon type="submit" aria-label="Close" { "×" }
                }
                dl.keys {
                    @for (keys, what) in shortcuts {
                        div {
                            dt { @for key in keys { kbd { (key) } " " } }
                            dd { (what) }
                        }
                    }
                }
            }
        }
    }
}
