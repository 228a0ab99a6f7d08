//! HTTP interface and pages of likeness, over [`Dedup`](likeness_engine::dedup::Dedup).
//!
//! - `/v1/…`: JSON. Every error has the body `{"error": {"code", "message"}}`; the one place that
//!   knows which cause has which status is [`ApiError`]. Unknown query parameters are errors.
//! - `/v1/sql`: queries, answered as JSON, or whole as a stream of CSV, NDJSON or Parquet.
//! - `/pin/`: one pin, where the posting emulators of such services send it.
//! - `/`, `/clusters`, `/clusters/{head}`, `/images/{id}`, `/upload`: pages, rendered here, with
//!   small modules of plain JavaScript where a page needs them. Everything they load is embedded in
//!   the binary, under names that carry a hash of the content.
//! - `/healthz`, `/readyz`, `/metrics`, `/openapi.json`.
//!
//! # Invariants
//! - Nothing a client sends is read before there is room for it: connections, requests, streams and
//!   bytes of uploads are bounded, and past a bound the answer is an immediate 429 or 503.
//! - Without keys the server answers on loopback only, to requests whose `Host` is a loopback name
//!   (a page elsewhere cannot reach it by DNS rebinding), and refuses changes that another site's
//!   page asks for (see `access.rs`).
//! - Pages have no inline script or style, so the content security policy allows none.
//! - Text that users gave (ids, names) reaches HTML through [`maud`]'s escaping or `textContent`,
//!   headers through an encoder, and paths percent-encoded (see `urls.rs`).

mod access;
mod api;
mod app;
mod assets;
mod body;
mod config;
mod embedding;
mod error;
mod layers;
mod metrics;
mod openapi;
mod pages;
mod query;
mod serve;
mod time;
mod urls;

pub use api::ReportView;
pub use app::{Lines, MetricsFn, router};
pub use config::{ApiKey, Scope, ServerConfig};
pub use embedding::{EmbeddingBody, VectorBody, VectorEncoding};
pub use error::{ApiError, ServerError};
pub use metrics::{
    HTTP_REQUEST_DURATION_SECONDS, HTTP_REQUESTS_TOTAL, HTTP_SHED_TOTAL, describe_metrics,
};
pub use openapi::openapi;
pub use serve::serve;
