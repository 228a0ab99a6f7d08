use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use likeness_core::ImageId;
use likeness_engine::dedup::view::Page;
use likeness_engine::dedup::{
    BankChange, BankMatchView, BankView, Command, CorrectionView, NewCorrection, NewFile,
    NewReference, ReferenceView, ScanView,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::clusters::{check_limit, default_limit};
use super::corrections::{CorrectionReceipt, MAX_BODY_BYTES, parse, submit};
use crate::app::App;
use crate::body::{FormPicture, JsonPicture, parse_id, read_json_body, read_picture};
use crate::error::{ApiError, ErrorBody};
use crate::query::{IdPath, NoQuery, StrictQuery};

/// All banks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BankList {
    /// By name.
    items: Vec<BankView>,
}

/// A page of a bank's references.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReferencePage {
    /// In the order in which they were added.
    items: Vec<ReferenceView>,
    /// Pass as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A page of matches.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MatchPage {
    /// Those decided last first.
    items: Vec<BankMatchView>,
    /// Pass as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A bank to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBank {
    /// Id of the correction that makes it: a call with the same id and content is the same. Absent: generated.
    id: Option<String>,
    /// Who wants it.
    author: String,
    /// Why.
    reason: String,
    /// 1 to 64 of `a-z`, `0-9`, `-` and `_`.
    name: String,
    /// Score from 0 to 1 that an image needs with a reference.
    threshold: f32,
    /// Share of images that take part. Absent: 1.
    share: Option<f32>,
    /// Whether images that match stay alone. Absent: they do not.
    negative: Option<bool>,
}

/// Settings of a bank; those that are absent stay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BankSettings {
    /// As in a new bank.
    id: Option<String>,
    /// Who wants it.
    author: String,
    /// Why.
    reason: String,
    /// Score from 0 to 1 that an image needs with a reference.
    threshold: Option<f32>,
    /// Share of images that take part.
    share: Option<f32>,
    /// Whether it is in force.
    enabled: Option<bool>,
}

/// Who changes a bank, and why.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhyQuery {
    /// Who wants it.
    author: String,
    /// Why.
    reason: String,
}

/// Stored images that are to be references.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReferences {
    /// As in a new bank.
    id: Option<String>,
    /// Who wants it.
    author: String,
    /// Why.
    reason: String,
    /// Ids of decided images, at most 100.
    images: Vec<String>,
}

/// Parameters of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// `next` of the page before.
    cursor: Option<String>,
    /// Most entries on a page.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: usize,
}

/// Parameters of a scan.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ScanQuery {
    /// Begin anew, for example after the bank's threshold was changed.
    #[serde(default)]
    anew: bool,
}

/// Lists all banks by name.
#[utoipa::path(
    get, path = "/v1/banks", tag = "banks",
    responses(
        (status = 200, description = "All banks", body = BankList),
        (status = 400, description = "`invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
    ),
)]
pub(crate) async fn banks(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Result<Json<BankList>, ApiError> {
    let items = app.dedup.banks().await?;
    Ok(Json(BankList { items }))
}

/// Makes a bank, as a correction.
#[utoipa::path(
    post, path = "/v1/banks", tag = "banks",
    request_body = NewBank,
    responses(
        (status = 200, description = "Made, or refused: see `outcome`", body = CorrectionView),
        (status = 202, description = "Accepted; what becomes of it is to come", body = CorrectionReceipt),
        (status = 400, description = "`malformed_body`, `invalid_id`, `invalid_parameter`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; nothing was stored", body = ErrorBody),
    ),
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_json_body(&app, request, MAX_BODY_BYTES).await?;
    let new: NewBank = parse(&body)?;
    let change = BankChange::Create {
        bank: new.name,
        threshold: new.threshold,
        share: new.share.unwrap_or(1.0),
        negative: new.negative.unwrap_or(false),
    };
    make(&app, new.id, new.author, new.reason, change).await
}

/// Returns a bank.
#[utoipa::path(
    get, path = "/v1/banks/{name}", tag = "banks",
    params(("name" = String, Path, description = "Name of the bank")),
    responses(
        (status = 200, description = "The bank", body = BankView),
        (status = 400, description = "`invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 404, description = "`bank_not_found`", body = ErrorBody),
    ),
)]
pub(crate) async fn bank(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Result<Json<BankView>, ApiError> {
    Ok(Json(app.dedup.bank(&name).await?))
}

/// Changes the settings of a bank, as a correction.
#[utoipa::path(
    patch, path = "/v1/banks/{name}", tag = "banks",
    params(("name" = String, Path, description = "Name of the bank")),
    request_body = BankSettings,
    responses(
        (status = 200, description = "Changed, or refused: see `outcome`", body = CorrectionView),
        (status = 202, description = "Accepted; what becomes of it is to come", body = CorrectionReceipt),
        (status = 400, description = "`malformed_body`, `invalid_id`, `invalid_parameter`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; nothing was stored", body = ErrorBody),
    ),
)]
pub(crate) async fn set(
    State(app): State<Arc<App>>,
    Path(bank): Path<String>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_json_body(&app, request, MAX_BODY_BYTES).await?;
    let settings: BankSettings = parse(&body)?;
    let change = BankChange::Set {
        bank,
        threshold: settings.threshold,
        share: settings.share,
        enabled: settings.enabled,
    };
    make(&app, settings.id, settings.author, settings.reason, change).await
}

/// Deletes a bank with its references, as a correction. Its matches can still be seen with their images.
#[utoipa::path(
    delete, path = "/v1/banks/{name}", tag = "banks",
    params(("name" = String, Path, description = "Name of the bank"), WhyQuery),
    responses(
        (status = 200, description = "Deleted, or refused: see `outcome`", body = CorrectionView),
        (status = 202, description = "Accepted; what becomes of it is to come", body = CorrectionReceipt),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
    ),
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Path(bank): Path<String>,
    StrictQuery(why): StrictQuery<WhyQuery>,
) -> Result<Response, ApiError> {
    let change = BankChange::Delete { bank };
    make(&app, None, why.author, why.reason, change).await
}

/// Lists the references of a bank in the order in which they were added.
#[utoipa::path(
    get, path = "/v1/banks/{name}/references", tag = "banks",
    params(("name" = String, Path, description = "Name of the bank"), ListQuery),
    responses(
        (status = 200, description = "A page of references", body = ReferencePage),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 404, description = "`bank_not_found`", body = ErrorBody),
    ),
)]
pub(crate) async fn references(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<ReferencePage>, ApiError> {
    let limit = check_limit(query.limit)?;
    let cursor = query.cursor.as_deref();
    let Page { items, next } = app.dedup.bank_references(&name, cursor, limit).await?;
    Ok(Json(ReferencePage { items, next }))
}

/// Adds a picture to a bank, as a correction. It is no upload: it is in no cluster.
///
/// Takes the same bodies as an upload; an id in them has no effect.
#[utoipa::path(
    post, path = "/v1/banks/{name}/references", tag = "banks",
    params(("name" = String, Path, description = "Name of the bank"), WhyQuery),
    request_body(content(
        (FormPicture = "multipart/form-data"),
        (JsonPicture<'_> = "application/json"),
        (String = "image/*"),
        (String = "application/octet-stream"),
    )),
    responses(
        (status = 200, description = "Added, or refused: see `outcome`", body = CorrectionView),
        (status = 202, description = "Accepted; what becomes of it is to come", body = CorrectionReceipt),
        (status = 400, description = "`malformed_body`, `invalid_id`, `invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`, `unknown_host`", body = ErrorBody),
        (status = 404, description = "`bank_not_found`", body = ErrorBody),
        (status = 408, description = "`body_timeout`", body = ErrorBody),
        (status = 413, description = "`too_many_bytes`", body = ErrorBody),
        (status = 415, description = "`unsupported_format`, `unsupported_media_type`", body = ErrorBody),
        (status = 422, description = "The bytes are not a picture that is decoded here; the code says why", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full; nothing was stored", body = ErrorBody),
    ),
)]
pub(crate) async fn add(
    State(app): State<Arc<App>>,
    Path(bank): Path<String>,
    StrictQuery(why): StrictQuery<WhyQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    app.dedup.bank(&bank).await?;
    let picture = read_picture(&app, request).await?;
    let file = NewFile {
        name: picture.name,
        bytes: picture.bytes,
    };
    let reference = app.dedup.keep_reference(file).await?;
    drop(picture.admission);
    let references = vec![reference];
    let change = BankChange::Add { bank, references };
    make(&app, None, why.author, why.reason, change).await
}

/// Adds stored images to a bank, as a correction.
#[utoipa::path(
    post, path = "/v1/banks/{name}/images", tag = "banks",
    params(("name" = String, Path, description = "Name of the bank")),
    request_body = NewReferences,
    responses(
        (status = 200, description = "Added, or refused: see `outcome`", body = CorrectionView),
        (status = 202, description = "Accepted; what becomes of it is to come", body = CorrectionReceipt),
        (status = 400, description = "`malformed_body`, `invalid_id`, `invalid_parameter`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
    ),
)]
pub(crate) async fn add_images(
    State(app): State<Arc<App>>,
    Path(bank): Path<String>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_json_body(&app, request, MAX_BODY_BYTES).await?;
    let new: NewReferences = parse(&body)?;
    let images: Result<Vec<ImageId>, _> = new.images.into_iter().map(parse_id).collect();
    let references = images?
        .into_iter()
        .map(|image| NewReference::Image { image })
        .collect();
    let change = BankChange::Add { bank, references };
    make(&app, new.id, new.author, new.reason, change).await
}

/// Removes a reference of a bank, as a correction. What it matched stays as it was decided.
#[utoipa::path(
    delete, path = "/v1/banks/{name}/references/{sha256}", tag = "banks",
    params(
        ("name" = String, Path, description = "Name of the bank"),
        ("sha256" = String, Path, description = "SHA-256 of the reference's bytes, hex"),
        WhyQuery,
    ),
    responses(
        (status = 200, description = "Removed, or refused: see `outcome`", body = CorrectionView),
        (status = 202, description = "Accepted; what becomes of it is to come", body = CorrectionReceipt),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 429, description = "`overloaded`; see `Retry-After`", body = ErrorBody),
    ),
)]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Path((bank, sha256)): Path<(String, String)>,
    StrictQuery(why): StrictQuery<WhyQuery>,
) -> Result<Response, ApiError> {
    let references = vec![sha256];
    let change = BankChange::Remove { bank, references };
    make(&app, None, why.author, why.reason, change).await
}

/// Returns a small JPEG of a reference.
#[utoipa::path(
    get, path = "/v1/banks/{name}/references/{sha256}/thumbnail", tag = "banks",
    params(
        ("name" = String, Path, description = "Name of the bank"),
        ("sha256" = String, Path, description = "SHA-256 of the reference's bytes, hex"),
    ),
    responses(
        (status = 200, description = "A JPEG of at most 384 pixels on a side", content_type = "image/jpeg"),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 404, description = "`bank_not_found`", body = ErrorBody),
    ),
)]
pub(crate) async fn reference_thumbnail(
    State(app): State<Arc<App>>,
    Path((name, sha256)): Path<(String, String)>,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Result<Response, ApiError> {
    let thumbnail = app.dedup.reference_thumbnail(&name, &sha256).await?;
    // The same digest is the same picture for ever; who may see it may change.
    let headers = [
        (header::CONTENT_TYPE, "image/jpeg"),
        (header::CACHE_CONTROL, "private, max-age=86400, immutable"),
    ];
    Ok((headers, thumbnail.jpeg).into_response())
}

/// Lists the images that matched a bank, those decided last first.
#[utoipa::path(
    get, path = "/v1/banks/{name}/matches", tag = "banks",
    params(("name" = String, Path, description = "Name of the bank"), ListQuery),
    responses(
        (status = 200, description = "A page of matches", body = MatchPage),
        (status = 400, description = "`invalid_query`, `invalid_parameter`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 404, description = "`bank_not_found`", body = ErrorBody),
    ),
)]
pub(crate) async fn matches(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    StrictQuery(query): StrictQuery<ListQuery>,
) -> Result<Json<MatchPage>, ApiError> {
    let limit = check_limit(query.limit)?;
    let cursor = query.cursor.as_deref();
    let Page { items, next } = app.dedup.bank_matches(&name, cursor, limit).await?;
    Ok(Json(MatchPage { items, next }))
}

/// Lists the matches of an image with banks, found when it was decided or by a scan later.
#[utoipa::path(
    get, path = "/v1/images/{id}/matches", tag = "banks",
    params(("id" = String, Path, description = "Id of the image")),
    responses(
        (status = 200, description = "Its matches", body = MatchPage),
        (status = 400, description = "`invalid_id`, `invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 404, description = "`image_not_found`", body = ErrorBody),
    ),
)]
pub(crate) async fn matches_of(
    State(app): State<Arc<App>>,
    IdPath(id): IdPath,
    StrictQuery(NoQuery {}): StrictQuery<NoQuery>,
) -> Result<Json<MatchPage>, ApiError> {
    app.dedup.image(&id).await?;
    let items = app.dedup.bank_matches_of(&id, MAX_OF_IMAGE).await?;
    Ok(Json(MatchPage { items, next: None }))
}

/// Most matches listed of one image.
const MAX_OF_IMAGE: usize = 500;

/// Looks at the next stored images for a bank. Call it until `is_done`; it goes on where it was.
#[utoipa::path(
    post, path = "/v1/banks/{name}/scan", tag = "banks",
    params(("name" = String, Path, description = "Name of the bank"), ScanQuery),
    responses(
        (status = 200, description = "How far it is, after at most 2,000 images", body = ScanView),
        (status = 400, description = "`invalid_query`", body = ErrorBody),
        (status = 401, description = "`unauthorized`", body = ErrorBody),
        (status = 403, description = "`missing_scope`, `cross_origin`", body = ErrorBody),
        (status = 404, description = "`bank_not_found`", body = ErrorBody),
        (status = 503, description = "`busy`, `shutting_down`; see `Retry-After`", body = ErrorBody),
        (status = 507, description = "`no_space`: the disk is full", body = ErrorBody),
    ),
)]
pub(crate) async fn scan(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    StrictQuery(query): StrictQuery<ScanQuery>,
) -> Result<Json<ScanView>, ApiError> {
    Ok(Json(app.dedup.scan_bank(&name, query.anew).await?))
}

async fn make(
    app: &App,
    id: Option<String>,
    author: String,
    reason: String,
    change: BankChange,
) -> Result<Response, ApiError> {
    let correction = NewCorrection {
        id: id.map(parse_id).transpose()?,
        author,
        reason,
        command: Command::Bank(change),
    };
    submit(app, correction).await
}
