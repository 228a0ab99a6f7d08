use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use likeness_engine::EngineError;
use maud::html;

use super::layout::{Nav, Page};
use crate::app::App;
use crate::error::ApiError;

/// An error shown to a person. Status and wording come from [`ApiError`].
#[derive(Debug)]
pub(crate) struct PageError {
    cause: ApiError,
    has_keys: bool,
    has_join: bool,
}

impl PageError {
    pub(crate) fn new(app: &App, cause: impl Into<ApiError>) -> Self {
        Self {
            cause: cause.into(),
            has_keys: !app.config.keys.is_empty(),
            has_join: !app.dedup.config().join.is_off(),
        }
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (status, code) = self.cause.status_and_code();
        let title = title(&self.cause, status);
        let page = Page {
            title,
            nav: Nav::None,
            module: None,
            has_keys: self.has_keys,
            has_join: self.has_join,
            refresh: false,
        };
        let content = html! {
            section.blank {
                p.blank-mark aria-hidden="true" { (status.as_u16()) }
                h1 { (title) }
                p.lead { (self.cause.public_message()) }
                p.muted { code { (code) } }
                p.actions {
                    a.button.primary href="/" { "Overview" }
                    a.button href="/clusters" { "Clusters" }
                }
            }
        };
        let mut response = (status, page.render(&content)).into_response();
        self.cause.decorate(&mut response);
        response
    }
}

fn title(cause: &ApiError, status: StatusCode) -> &'static str {
    match cause {
        ApiError::Engine(EngineError::ImageNotFound(_)) => "No image has this id",
        ApiError::Engine(EngineError::Erased(_)) => "This picture was erased",
        ApiError::Engine(EngineError::ClusterNotFound(_)) => "No cluster has this head",
        _ if status == StatusCode::NOT_FOUND => "Nothing here bears a likeness",
        _ if status.is_client_error() => "That did not work",
        _ => "Something failed on our side",
    }
}
