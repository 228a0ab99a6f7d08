//! The JSON interface, and what operators ask.

mod banks;
mod clusters;
mod corrections;
mod embeddings;
mod erasures;
mod events;
mod floods;
mod images;
mod jobs;
mod matching;
mod operations;
mod orphans;
mod pin_numbers;
mod pins;
mod recluster;
mod reviews;
mod scorers;
mod sql;

use std::sync::Arc;

use axum::routing::{MethodRouter, delete, get, patch, post};

use crate::app::App;

pub(crate) use banks::{
    __path_add, __path_add_images, __path_bank, __path_banks, __path_create, __path_delete,
    __path_matches, __path_matches_of, __path_reference_thumbnail, __path_references,
    __path_remove, __path_scan, __path_set,
};
pub(crate) use banks::{BankList, MatchPage, ReferencePage};
pub(crate) use clusters::ClusterPage;
pub(crate) use clusters::{__path_cluster, __path_clusters};
pub(crate) use corrections::{__path_correct, __path_corrections, __path_of_image, __path_undo};
pub(crate) use corrections::{CorrectionPage, CorrectionReceipt};
pub(crate) use embeddings::{__path_push, EmbeddingAnswer, EmbeddingReceipts};
pub(crate) use erasures::EraseReceipt;
pub(crate) use erasures::{__path_erase, __path_proof};
pub(crate) use events::__path_events;
pub(crate) use floods::{__path_acknowledge, __path_alarms, __path_held, __path_quarantine};
pub(crate) use floods::{AlarmPage, HeldPage};
pub(crate) use images::{
    __path_explain, __path_file, __path_image, __path_thumbnail, __path_upload,
};
pub(crate) use jobs::QueuedRuns;
pub(crate) use jobs::{
    __path_cancel_run, __path_jobs, __path_request_runs, __path_run, __path_runs,
};
pub(crate) use matching::__path_match_picture;
pub(crate) use operations::{
    __path_healthz, __path_metrics, __path_openapi_document, __path_overview, __path_readyz,
    __path_scorer,
};
pub(crate) use orphans::{__path_drop_orphan, __path_orphan_journal, __path_orphans, __path_retry};
pub(crate) use orphans::{OrphanJournal, OrphanPage};

pub(crate) use pin_numbers::ProfileList;
pub(crate) use pin_numbers::{
    __path_lake_status, __path_live_pins, __path_pin_series, __path_pins_status,
    __path_popular_profiles, __path_rejected_pins, __path_trending_categories,
};
pub(crate) use pins::IngestedEvents;
pub(crate) use pins::{__path_geolocations, __path_pin, __path_pins, __path_users};
pub(crate) use recluster::__path_recluster;
pub(crate) use reviews::ReviewPage;
pub(crate) use reviews::{__path_labels, __path_review, __path_reviews};
pub(crate) use scorers::{__path_add_scorer, __path_compare_scorers, __path_scorers};
pub(crate) use scorers::{ScorerList, default_sample};
pub use sql::ReportView;
pub(crate) use sql::{__path_pin_report, __path_pin_reports, __path_sql, __path_sql_tables};
pub(crate) use sql::{ReportList, RowsBody, TableList, find_report};

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
    let delete = |path, handler| Route {
        path,
        method: "delete",
        handler,
    };
    vec![
        post("/v1/images", self::post(images::upload)),
        get("/v1/images/{id}", self::get(images::image)),
        delete("/v1/images/{id}", self::delete(erasures::erase)),
        get("/v1/images/{id}/erasure", self::get(erasures::proof)),
        get("/v1/images/{id}/file", self::get(images::file)),
        get("/v1/images/{id}/thumbnail", self::get(images::thumbnail)),
        get("/v1/images/{id}/explain", self::get(images::explain)),
        get("/v1/jobs", self::get(jobs::jobs)),
        get("/v1/jobs/{name}/runs", self::get(jobs::runs)),
        post("/v1/jobs/{name}/runs", self::post(jobs::request_runs)),
        get("/v1/jobs/{name}/runs/{id}", self::get(jobs::run)),
        delete("/v1/jobs/{name}/runs/{id}", self::delete(jobs::cancel_run)),
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
        get("/v1/banks", self::get(banks::banks)),
        post("/v1/banks", self::post(banks::create)),
        get("/v1/banks/{name}", self::get(banks::bank)),
        Route {
            path: "/v1/banks/{name}",
            method: "patch",
            handler: patch(banks::set),
        },
        Route {
            path: "/v1/banks/{name}",
            method: "delete",
            handler: self::delete(banks::delete),
        },
        get("/v1/banks/{name}/references", self::get(banks::references)),
        post("/v1/banks/{name}/references", self::post(banks::add)),
        post("/v1/banks/{name}/images", self::post(banks::add_images)),
        Route {
            path: "/v1/banks/{name}/references/{sha256}",
            method: "delete",
            handler: self::delete(banks::remove),
        },
        get(
            "/v1/banks/{name}/references/{sha256}/thumbnail",
            self::get(banks::reference_thumbnail),
        ),
        get("/v1/banks/{name}/matches", self::get(banks::matches)),
        post("/v1/banks/{name}/scan", self::post(banks::scan)),
        get("/v1/images/{id}/matches", self::get(banks::matches_of)),
        get("/v1/alarms", self::get(floods::alarms)),
        post(
            "/v1/alarms/{sequence}/acknowledge",
            self::post(floods::acknowledge),
        ),
        get("/v1/clusters/{head}/held", self::get(floods::held)),
        post(
            "/v1/clusters/{head}/quarantine",
            self::post(floods::quarantine),
        ),
        post("/v1/embeddings", self::post(embeddings::push)),
        get("/v1/orphans", self::get(orphans::orphans)),
        get("/v1/orphans/journal", self::get(orphans::orphan_journal)),
        post("/v1/orphans/{id}/retry", self::post(orphans::retry)),
        post("/v1/orphans/{id}/drop", self::post(orphans::drop_orphan)),
        post("/pin/", self::post(pins::pin)),
        post("/v1/pins", self::post(pins::pins)),
        post("/v1/geolocations", self::post(pins::geolocations)),
        post("/v1/users", self::post(pins::users)),
        get(
            "/v1/pins/popular-profiles",
            self::get(pin_numbers::popular_profiles),
        ),
        get(
            "/v1/pins/trending-categories",
            self::get(pin_numbers::trending_categories),
        ),
        get("/v1/pins/series", self::get(pin_numbers::pin_series)),
        get("/v1/pins/rejected", self::get(pin_numbers::rejected_pins)),
        get("/v1/pins/status", self::get(pin_numbers::pins_status)),
        get("/v1/pins/lake", self::get(pin_numbers::lake_status)),
        get("/v1/pins/live", self::get(pin_numbers::live_pins)),
        get("/v1/pins/reports", self::get(sql::pin_reports)),
        get("/v1/pins/reports/{name}", self::get(sql::pin_report)),
        post("/v1/sql", self::post(sql::sql)),
        get("/v1/sql/tables", self::get(sql::sql_tables)),
        get("/v1/reviews", self::get(reviews::reviews)),
        post("/v1/reviews/{pair}", self::post(reviews::review)),
        get("/v1/labels", self::get(reviews::labels)),
        get("/v1/scorers", self::get(scorers::scorers)),
        post("/v1/scorers", self::post(scorers::add_scorer)),
        get("/v1/scorers/compare", self::get(scorers::compare_scorers)),
        post("/v1/recluster", self::post(recluster::recluster)),
        get("/v1/events", self::get(events::events)),
        get("/v1/overview", self::get(operations::overview)),
        get("/v1/scorer", self::get(operations::scorer)),
        get("/openapi.json", self::get(operations::openapi_document)),
        get("/healthz", self::get(operations::healthz)),
        get("/readyz", self::get(operations::readyz)),
        get("/metrics", self::get(operations::metrics)),
    ]
}
