use std::sync::Arc;

use axum::extract::{Form, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Nav, Page};
use crate::access::{Sessions, key_with_text};
use crate::app::App;

#[derive(Debug, Deserialize)]
pub(super) struct LoginQuery {
    next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct LoginForm {
    key: String,
    next: Option<String>,
}

pub(super) async fn page(State(app): State<Arc<App>>, Query(query): Query<LoginQuery>) -> Response {
    if app.config.keys.is_empty() {
        return Redirect::to("/").into_response();
    }
    form(&app, query.next.as_deref(), false).into_response()
}

pub(super) async fn log_in(State(app): State<Arc<App>>, Form(login): Form<LoginForm>) -> Response {
    let next = login.next.as_deref();
    match key_with_text(&app.config.keys, login.key.trim()) {
        Some(key) => {
            let cookie = app.sessions.login_cookie(key);
            (
                [(header::SET_COOKIE, cookie)],
                Redirect::to(local_path(next)),
            )
                .into_response()
        }
        None => (StatusCode::UNAUTHORIZED, form(&app, next, true)).into_response(),
    }
}

pub(super) async fn log_out() -> Response {
    let cookie = Sessions::logout_cookie();
    ([(header::SET_COOKIE, cookie)], Redirect::to("/login")).into_response()
}

/// Returns `next` if it leads to a page of this server. `//host` and `/\host` lead elsewhere.
fn local_path(next: Option<&str>) -> &str {
    match next {
        Some(next)
            if next.starts_with('/')
                && !next[1..].starts_with(['/', '\\'])
                && next.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            next
        }
        _ => "/",
    }
}

fn form(app: &App, next: Option<&str>, has_failed: bool) -> Markup {
    let page = Page {
        has_keys: false,
        ..Page::new(app, "Log in", Nav::None)
    };
    page.render(&html! {
        section.blank {
            h1 { "This server asks for a key" }
            form.login method="post" action="/login" {
                input type="hidden" name="next" value=(local_path(next));
                label for="key" { "Key" }
                input #key type="password" name="key" autocomplete="current-password" required
                    autofocus aria-invalid=[has_failed.then_some("true")];
                @if has_failed { p.bad role="alert" { "No such key. Check it and try again." } }
                button.button.primary type="submit" { "Log in" }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_back_to_this_server_only() {
        assert_eq!(
            local_path(Some("/clusters?order=newest")),
            "/clusters?order=newest"
        );
        for elsewhere in [
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "",
            "/a\r\nb",
        ] {
            assert_eq!(local_path(Some(elsewhere)), "/", "{elsewhere:?}");
        }
        assert_eq!(local_path(None), "/");
    }
}
