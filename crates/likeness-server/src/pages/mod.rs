//! Pages for people, rendered by the server from typed templates.
//!
//! They read well without JavaScript; with it, the overview is live, uploads show their verdicts,
//! and everything can be reached by keyboard.

mod banks;
mod clusters;
mod corrections;
mod error;
mod floods;
mod image;
mod jobs;
mod layout;
mod login;
mod orphans;
mod overview;
mod parts;
mod pins;
mod review;
mod scorer;
mod scorers;
mod sql;
mod upload;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::app::App;
use crate::error::ApiError;
use crate::{assets, urls};

pub(crate) use error::PageError;

/// Returns the routes of pages and of what they load.
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(overview::page))
        .route("/clusters", get(clusters::list_page))
        .route("/clusters/{head}", get(clusters::cluster_page))
        .route("/clusters/{head}/held", get(floods::held_page))
        .route("/corrections", get(corrections::page))
        .route("/banks", get(banks::list_page))
        .route("/banks/{name}", get(banks::bank_page))
        .route("/alarms", get(floods::alarms_page))
        .route("/jobs", get(jobs::list_page))
        .route("/jobs/{name}", get(jobs::job_page))
        .route("/orphans", get(orphans::page))
        .route("/pins", get(pins::page))
        .route("/sql", get(sql::page))
        .route("/review", get(review::page))
        .route("/scorers/compare", get(scorers::page))
        .route("/images/{id}", get(image::page))
        .route("/scorer", get(scorer::page))
        .route("/upload", get(upload::page))
        .route("/go", get(go))
        .route("/login", get(login::page).post(login::log_in))
        .route("/logout", axum::routing::post(login::log_out))
        .route("/assets/{name}", get(assets::asset))
}

#[derive(Debug, Deserialize)]
struct GoQuery {
    #[serde(default)]
    id: String,
}

/// Where the search box leads when there is no JavaScript.
async fn go(Query(query): Query<GoQuery>) -> Redirect {
    let id = query.id.trim();
    if id.is_empty() {
        Redirect::to("/")
    } else {
        Redirect::to(&urls::image_page(id))
    }
}

/// Answers for a path that does not exist: JSON under `/v1`, a page elsewhere.
pub(crate) async fn unknown_path(State(app): State<Arc<App>>, uri: Uri) -> Response {
    answer_error(&app, &uri, ApiError::UnknownPath)
}

/// Answers for a method that a path does not have.
pub(crate) async fn method_not_allowed(State(app): State<Arc<App>>, uri: Uri) -> Response {
    answer_error(&app, &uri, ApiError::MethodNotAllowed)
}

fn answer_error(app: &App, uri: &Uri, error: ApiError) -> Response {
    if uri.path() == "/v1" || uri.path().starts_with("/v1/") {
        error.into_response()
    } else {
        PageError::new(app, error).into_response()
    }
}
