//! The JSON interface, and what operators ask.

mod clusters;
mod corrections;
mod events;
mod images;
mod matching;
mod operations;

use std::sync::Arc;

use axum::routing::{MethodRouter, get, post};

use crate::app::App;

pub(crate) use clusters::ClusterPage;
pub(crate) use clusters::{__path_cluster, __path_clusters};
pub(crate) use corrections::{__path_correct, __path_corrections, __path_of_image, __path_undo};
pub(crate) use corrections::{CorrectionPage, CorrectionReceipt};
pub(crate) use events::__path_events;
pub(crate) use images::{
    __path_explain, __path_file, __path_image, __path_thumbnail, __path_upload,
};
pub(crate) use matching::__path_match_picture;
pub(crate) use operations::{
    __path_healthz, __path_metrics, __path_openapi_document, __path_overview, __path_readyz,
};

/// A path and what answers there. Kept as a table so that a test can hold the OpenAPI document
/// against it.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) path: &'static str,
    /// In lower case, as OpenAPI names them.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by the test of the OpenAPI document")
    )]
    pub(crate) method: &'static str,
    pub(crate) handler: MethodRouter<Arc<App>>,
}

/// Returns all routes that the OpenAPI document describes.
pub(crate) fn routes() -> Vec<Route> {
    let get = |path, handler| Route {
        path,
        method: "get",
        handler,
    };
    let post = |path, handler| Route {
        path,
        method: "post",
        handler,
    };
    vec![
        post("/v1/images", self::post(images::upload)),
        get("/v1/images/{id}", self::get(images::image)),
        get("/v1/images/{id}/file", self::get(images::file)),
        get("/v1/images/{id}/thumbnail", self::get(images::thumbnail)),
        get("/v1/images/{id}/explain", self::get(images::explain)),
        post("/v1/match", self::post(matching::match_picture)),
        get("/v1/clusters", self::get(clusters::clusters)),
        get("/v1/clusters/{head}", self::get(clusters::cluster)),
        post("/v1/corrections", self::post(corrections::correct)),
        get("/v1/corrections", self::get(corrections::corrections)),
        post(
            "/v1/corrections/{sequence}/undo",
            self::post(corrections::undo),
        ),
        get(
            "/v1/images/{id}/corrections",
            self::get(corrections::of_image),
        ),
        get("/v1/events", self::get(events::events)),
        get("/v1/overview", self::get(operations::overview)),
        get("/openapi.json", self::get(operations::openapi_document)),
        get("/healthz", self::get(operations::healthz)),
        get("/readyz", self::get(operations::readyz)),
        get("/metrics", self::get(operations::metrics)),
    ]
}
